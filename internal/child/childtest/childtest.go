// Package childtest is for tests that look at processes which they started.
//
// Only tests use it.
package childtest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Stopped reports whether all threads of a process stand still: SIGSTOP does not stop
// them at once. A process that is not there is an error.
func Stopped(pid int) (bool, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return false, err
	}
	if len(threads) == 0 {
		return false, fmt.Errorf("process %d: %w", pid, os.ErrProcessDone)
	}
	for _, path := range threads {
		stat, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it ended meanwhile
		}
		if err != nil {
			return false, err
		}
		// PID (NAME) STATE …: the name may have anything in it.
		at := strings.LastIndexByte(string(stat), ')')
		if at < 0 || !strings.HasPrefix(string(stat[at:]), ") T") {
			return false, nil
		}
	}
	return true, nil
}
