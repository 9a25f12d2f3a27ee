package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// syncCalls are the system calls that wait until something is on disk.
const syncCalls = "fsync,fdatasync,syncfs,sync,msync,sync_file_range"

// countSyncs runs work while strace is attached to every process of the
// server, and gives how often the server asked for a sync. It slows the server
// down, so it is never part of a measurement of time; and where several
// clients share a sync it sees fewer of them meet than there would be.
func countSyncs(ctx context.Context, g *group, scratch string, work func() error) (int, error) {
	path, err := exec.LookPath("strace")
	if err != nil {
		return 0, err
	}
	pids := g.pids()
	out := scratch + ".strace"
	args := []string{"-f", "-c", "-o", out, "-e", "trace=" + syncCalls}
	for _, pid := range pids {
		args = append(args, "-p", strconv.Itoa(pid))
	}
	cmd := exec.CommandContext(ctx, path, args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	attached := waitAttached(ctx, pids, cmd.Process.Pid)
	var failed error
	if attached {
		failed = work()
	}
	_ = cmd.Process.Signal(os.Interrupt) // it writes its table and lets go; gone already is fine
	_ = cmd.Wait()                       // it ends with the signal that it was sent
	if !attached {
		return 0, fmt.Errorf("strace does not attach: %s", bytes.TrimSpace(said.Bytes()))
	}
	if failed != nil {
		return 0, failed
	}
	data, err := os.ReadFile(out)
	if err != nil {
		return 0, err
	}
	return parseStrace(string(data))
}

// waitAttached waits until every process has the tracer, or is gone.
func waitAttached(ctx context.Context, pids []int, tracer int) bool {
	for range 500 {
		missing := 0
		for _, pid := range pids {
			data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			if err == nil && tracerOf(string(data)) != tracer {
				missing++
			}
		}
		if missing == 0 {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

// tracerOf reads TracerPid from the text of /proc/PID/status.
func tracerOf(status string) int {
	for _, line := range strings.Split(status, "\n") {
		if rest, ok := strings.CutPrefix(line, "TracerPid:"); ok {
			pid, _ := strconv.Atoi(strings.TrimSpace(rest)) // the kernel writes a number
			return pid
		}
	}
	return 0
}

// parseStrace sums the column "calls" of the table that strace -c writes:
//
//	% time     seconds  usecs/call     calls    errors syscall
//	------ ----------- ----------- --------- --------- ----------------
//	 75.00    0.003000          30       100         2 fsync
//	------ ----------- ----------- --------- --------- ----------------
//	100.00    0.004000          26       150         2 total
//
// An empty table is no calls. sync_file_range only begins or waits for
// writing a file's data and asks the drive for nothing: it is not counted.
func parseStrace(table string) (int, error) {
	total := 0
	for _, line := range strings.Split(table, "\n") {
		f := strings.Fields(line)
		if len(f) < 5 || f[0] == "%" || strings.HasPrefix(f[0], "---") {
			continue
		}
		call := f[len(f)-1]
		if call == "total" || call == "sync_file_range" {
			continue
		}
		n, err := strconv.Atoi(f[3])
		if err != nil || !strings.Contains(","+syncCalls+",", ","+call+",") {
			return 0, fmt.Errorf("strace's table has the line %q", line)
		}
		total += n
	}
	return total, nil
}
