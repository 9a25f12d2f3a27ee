package tools

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"rookery/internal/e2e/harness"
)

// runKilled gives a command of rookeryctl and kills a process of it after a while:
// its mailtool (0), rookeryctl (1) or both (2). No error: it ended first.
func runKilled(t *testing.T, d *harness.Demo, after time.Duration, which int, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(filepath.Join(harness.Bin(t), "rookeryctl"), append([]string{"-c", filepath.Join(d.Dir, "rookery.toml")}, args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return out.String(), err
	case <-time.After(after):
	}
	if which != 0 {
		cmd.Process.Kill()
	}
	if which != 1 {
		for _, p := range d.Status().Of("mailtool") {
			syscall.Kill(p.PID, syscall.SIGKILL)
		}
	}
	err := <-ended
	return out.String(), err
}
