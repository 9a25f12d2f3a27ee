package childtest

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// A process stands still after SIGSTOP, not before it, nor after SIGCONT; one that is gone
// is an error.
func TestStopped(t *testing.T) {
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	is := func(want bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			got, err := Stopped(cmd.Process.Pid)
			if err != nil {
				t.Fatal(err)
			}
			if got == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("stopped is %v", got)
			}
		}
	}
	is(false)
	cmd.Process.Signal(syscall.SIGSTOP)
	is(true)
	cmd.Process.Signal(syscall.SIGCONT)
	is(false)
	in.Close()
	cmd.Wait()
	if _, err := Stopped(cmd.Process.Pid); err == nil {
		t.Error("a process that has ended is no error")
	}
	if got, err := Stopped(os.Getpid()); got || err != nil {
		t.Errorf("this process is stopped: %v, %v", got, err)
	}
}
