package spawn

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Cred is whom a child runs as.
type Cred struct {
	UID, GID uint32
	Groups   []uint32
}

// Spec is one process to start.
type Spec struct {
	Program *Program
	Args    []string // without argv[0]
	// Files become descriptors 3, 4, 5, …; -1 leaves a number free. The caller
	// keeps its own.
	Files []int
	// Stderr becomes descriptor 2; nil makes a pipe (Child.Stderr).
	Stderr *os.File
	Env    []string
	Cred   *Cred // nil: this process's own
	// PID gives a pid namespace, Net empty network and IPC namespaces of its
	// own. Both need root. A shared forker's children have its Net.
	PID, Net bool
	// Chroot leaves CAP_SYS_CHROOT, for the child's first acts; needs root.
	Chroot bool
}

// Forker starts processes from one thread that never ends.
type Forker struct {
	jobs chan job
	null *os.File
}

type job struct {
	spec Spec
	done chan<- result
}

type result struct {
	child *Child
	err   error
}

// NewForker starts the thread. shared puts it into empty network and IPC
// namespaces, which its children inherit; this needs root.
func NewForker(shared bool) (*Forker, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	f := &Forker{jobs: make(chan job), null: null}
	up := make(chan error, 1)
	go f.run(shared, up)
	if err := <-up; err != nil {
		null.Close()
		return nil, err
	}
	return f, nil
}

// run never lets go of its thread: PDEATHSIG would fire.
func (f *Forker) run(shared bool, up chan<- error) {
	runtime.LockOSThread()
	if shared {
		if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWIPC); err != nil {
			up <- fmt.Errorf("namespaces for workers: %w", err)
			return
		}
	}
	up <- nil
	for j := range f.jobs {
		child, err := f.start(j.spec)
		j.done <- result{child, err}
	}
}

// Start starts a process. It takes about a millisecond: the event loop calls
// it from elsewhere.
func (f *Forker) Start(s Spec) (*Child, error) {
	done := make(chan result, 1)
	f.jobs <- job{s, done}
	r := <-done
	return r.child, r.err
}

// Close ends the thread, and with it every child that still lives.
func (f *Forker) Close() { close(f.jobs) }

func (f *Forker) start(s Spec) (*Child, error) {
	stderr, reader := s.Stderr, (*os.File)(nil)
	if stderr == nil {
		var err error
		if reader, stderr, err = stderrPipe(); err != nil {
			return nil, err
		}
		defer stderr.Close()
	}
	files := []uintptr{f.null.Fd(), f.null.Fd(), stderr.Fd()}
	for _, fd := range s.Files {
		files = append(files, uintptr(fd)) // -1 is Go's own sign for "closed"
	}
	exe, err := s.Program.above(files)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", s.Program.Name, err)
	}
	defer unix.Close(exe)
	pidfd := -1
	attr := &syscall.ProcAttr{Dir: "/", Env: s.Env, Files: files, Sys: s.sys(&pidfd)}
	pid, err := syscall.ForkExec(fmt.Sprintf("/proc/self/fd/%d", exe), append([]string{s.Program.Name}, s.Args...), attr)
	if err != nil {
		if reader != nil {
			reader.Close()
		}
		return nil, fmt.Errorf("starting %s: %w", s.Program.Name, err)
	}
	c, err := newChild(pid, pidfd, reader)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", s.Program.Name, err)
	}
	return c, nil
}

func (s Spec) sys(pidfd *int) *syscall.SysProcAttr {
	sys := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, PidFD: pidfd}
	if s.Cred != nil {
		sys.Credential = &syscall.Credential{Uid: s.Cred.UID, Gid: s.Cred.GID, Groups: s.Cred.Groups}
	}
	if s.PID {
		sys.Cloneflags |= syscall.CLONE_NEWPID
	}
	if s.Net {
		sys.Cloneflags |= syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC
	}
	if s.Chroot {
		sys.AmbientCaps = []uintptr{unix.CAP_SYS_CHROOT}
	}
	return sys
}

// stderrPipe's reading end is polled; the writing end blocks, as programs
// expect of standard error.
func stderrPipe() (r, w *os.File, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("pipe: %w", err)
	}
	if err := unix.SetNonblock(p[0], true); err != nil {
		return nil, nil, errors.Join(err, unix.Close(p[0]), unix.Close(p[1]))
	}
	return os.NewFile(uintptr(p[0]), "standard error of a child"), os.NewFile(uintptr(p[1]), "standard error"), nil
}

// Prepare is called once, before the first start: what this process inherited
// stays its own, and no process of ours leaves a core file.
func Prepare() error {
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close_range: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("RLIMIT_CORE: %w", err)
	}
	return nil
}
