package spawn

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Child is a process that was started.
type Child struct {
	PID     int
	Stderr  *os.File // reading end; nil if Spec.Stderr was given. The caller closes it.
	Started time.Time
	pidfd   *os.File
}

// Exit is how a child ended.
type Exit struct {
	Code   int            // if it ended by itself
	Signal syscall.Signal // 0 if it ended by itself
}

// String is for log lines.
func (e Exit) String() string {
	if e.Signal != 0 {
		return fmt.Sprintf("killed by %s", unix.SignalName(e.Signal))
	}
	return fmt.Sprintf("exit code %d", e.Code)
}

func newChild(pid, pidfd int, stderr *os.File) (*Child, error) {
	if pidfd < 0 {
		syscall.Kill(pid, syscall.SIGKILL)
		syscall.Wait4(pid, nil, 0, nil)
		return nil, fmt.Errorf("the kernel gave no pidfd (Linux 5.4 is needed)")
	}
	// Before os.NewFile: only then does the runtime poll it.
	if err := unix.SetNonblock(pidfd, true); err != nil {
		return nil, err
	}
	return &Child{PID: pid, Stderr: stderr, Started: time.Now(), pidfd: os.NewFile(uintptr(pidfd), "pidfd")}, nil
}

// Wait waits for the end and reaps. It is called once; it holds a goroutine,
// not a thread.
func (c *Child) Wait() (Exit, error) {
	raw, err := c.pidfd.SyscallConn()
	if err != nil {
		return Exit{}, err
	}
	var status syscall.WaitStatus
	var waitErr error
	err = raw.Read(func(uintptr) bool {
		for {
			var pid int
			pid, waitErr = syscall.Wait4(c.PID, &status, syscall.WNOHANG, nil)
			if waitErr != syscall.EINTR {
				return pid != 0 || waitErr != nil
			}
		}
	})
	c.pidfd.Close()
	if err == nil {
		err = waitErr
	}
	if err != nil {
		return Exit{}, fmt.Errorf("waiting for pid %d: %w", c.PID, err)
	}
	if status.Signaled() {
		return Exit{Signal: status.Signal()}, nil
	}
	return Exit{Code: status.ExitStatus()}, nil
}

// Signal sends a signal; a child that has ended is not found, and no other
// process is hit.
func (c *Child) Signal(sig syscall.Signal) error {
	raw, err := c.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	err = raw.Control(func(fd uintptr) { sendErr = unix.PidfdSendSignal(int(fd), sig, nil, 0) })
	if err == nil {
		err = sendErr
	}
	return err
}

// Environment is what every child gets: nothing from master's own. procs is
// GOMAXPROCS, memory GOMEMLIMIT in bytes (0: none), tz the time zone ("" is the
// system's).
//
// The two GODEBUG words keep the runtime from rereading files of its cgroup,
// which the sandbox would answer with death half a minute after start.
func Environment(procs int, memory int64, tz string) []string {
	env := []string{
		fmt.Sprintf("GOMAXPROCS=%d", procs),
		"GODEBUG=containermaxprocs=0,updatemaxprocs=0",
	}
	if memory > 0 {
		env = append(env, fmt.Sprintf("GOMEMLIMIT=%d", memory))
	}
	if tz != "" {
		env = append(env, "TZ="+tz)
	}
	return env
}
