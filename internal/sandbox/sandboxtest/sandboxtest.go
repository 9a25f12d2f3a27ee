// Package sandboxtest starts programs as master starts its children: their own
// uid, empty namespaces, a chroot capability and open descriptors, so that
// tests can look at what the sandbox lets them do.
//
// Tests only.
package sandboxtest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/sandbox"
	"rookery/internal/sandbox/sandboxtest/inside"
)

// NeedRoot skips a test that only root can run.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: gives uids, namespaces and a chroot to the processes that it starts")
	}
}

// PublicDir is a temporary directory whose every part others may traverse.
func PublicDir(t testing.TB) string {
	t.Helper()
	base := os.TempDir()
	if !publicPath(base) {
		base = "/var/tmp"
	}
	dir, err := os.MkdirTemp(base, "rookery-sandbox-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func publicPath(dir string) bool {
	for ; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		if dir == "/" {
			return true
		}
	}
}

// Build compiles a program of this module as it is installed (without cgo and
// so without the race detector) and gives its path.
func Build(t testing.TB, pkg, tags string) string {
	t.Helper()
	return build(t, pkg, "0", "-tags", tags)
}

// BuildC compiles one that links the C library, with further flags of go build.
func BuildC(t testing.TB, pkg string, flags ...string) string {
	t.Helper()
	return build(t, pkg, "1", flags...)
}

func build(t testing.TB, pkg, cgo string, flags ...string) string {
	t.Helper()
	noteSources(t, pkg)
	out := filepath.Join(PublicDir(t), filepath.Base(pkg))
	cmd := exec.Command("go", append(append([]string{"build", "-buildvcs=false"}, flags...), "-o", out, pkg)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo, "GOFLAGS=")
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, msg)
	}
	if err := os.Chmod(out, 0o755); err != nil {
		t.Fatal(err)
	}
	return out
}

// noteSources looks at a program's files, so that go test does not take an old
// result for a changed program.
func noteSources(t testing.TB, pkg string) {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil || dir == "/" {
			break
		}
		dir = filepath.Dir(dir)
	}
	files, err := filepath.Glob(filepath.Join(dir, strings.TrimPrefix(pkg, "rookery/"), "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no sources: %v", pkg, err)
	}
	for _, f := range files {
		if _, err := os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
}

// Place is a directory or file that a rule names.
type Place struct {
	Path   string
	Access sandbox.Access
}

// Start describes a process to start.
type Start struct {
	Program string
	Spec    inside.Spec // HasRoot, Rules and Extra are filled in
	UID     uint32      // also the gid; 0: as the test itself, without privileges to give
	Root    string      // "" for no chroot
	Places  []Place
	Extra   []*os.File
	NoCap   bool    // without CAP_SYS_CHROOT
	Flags   uintptr // CLONE_NEW…
	Env     []string
	Timeout time.Duration // default a minute
}

// AllNamespaces is what master gives.
const AllNamespaces = unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC

// Result is what came of it.
type Result struct {
	Code   int    // exit code, -1 for a signal
	Report []byte // what the program wrote to its report descriptor
	Stderr string
}

// Run starts the process and waits for it.
func Run(t testing.TB, s Start) Result {
	t.Helper()
	p := Launch(t, s)
	return p.Wait()
}

// Process is one that runs.
type Process struct {
	t      testing.TB
	cmd    *exec.Cmd
	cancel context.CancelFunc
	stdin  io.Closer
	stderr bytes.Buffer
	report chan []byte
	ready  chan struct{} // closed when the program has written its first bytes, or ended
}

// WaitReady waits until the program has written to its report descriptor.
func (p *Process) WaitReady() { <-p.ready }

// PID is the process's number as the test sees it.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Launch starts the process.
func Launch(t testing.TB, s Start) *Process {
	t.Helper()
	if s.Timeout == 0 {
		s.Timeout = time.Minute
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.Timeout)
	p := &Process{t: t, cancel: cancel, report: make(chan []byte, 1), ready: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, s.Program)
	p.cmd.Stderr = &p.stderr
	stdin, err := p.cmd.StdinPipe() // ends with the process, not before
	if err != nil {
		t.Fatal(err)
	}
	p.stdin = stdin
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.passDescriptors(t, p.cmd, w)
	text, err := json.Marshal(s.Spec)
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Env = append([]string{inside.EnvSpec + "=" + string(text), "GOMAXPROCS=2", "TZ=UTC"}, s.Env...)
	attr := &syscall.SysProcAttr{Cloneflags: s.Flags}
	if s.UID != 0 {
		attr.Credential = &syscall.Credential{Uid: s.UID, Gid: s.UID}
		if !s.NoCap {
			attr.AmbientCaps = []uintptr{unix.CAP_SYS_CHROOT}
		}
	}
	p.cmd.SysProcAttr = attr
	p.cmd.Dir = "/"
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", s.Program, err)
	}
	for _, f := range p.cmd.ExtraFiles {
		if !contains(s.Extra, f) {
			f.Close()
		}
	}
	go func() {
		var text bytes.Buffer
		first := make([]byte, 512)
		n, _ := r.Read(first)
		close(p.ready)
		text.Write(first[:n])
		io.Copy(&text, r)
		r.Close()
		p.report <- text.Bytes()
	}()
	return p
}

func (s *Start) passDescriptors(t testing.TB, cmd *exec.Cmd, report *os.File) {
	t.Helper()
	cmd.ExtraFiles = []*os.File{report}
	if s.Root != "" {
		fd, _, err := sandbox.OpenRoot(s.Root)
		if err != nil {
			t.Fatal(err)
		}
		s.Spec.HasRoot = true
		cmd.ExtraFiles = append(cmd.ExtraFiles, os.NewFile(uintptr(fd), s.Root))
	}
	for _, place := range s.Places {
		fd, err := unix.Open(place.Path, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatalf("%s: %v", place.Path, err)
		}
		s.Spec.Rules = append(s.Spec.Rules, place.Access)
		cmd.ExtraFiles = append(cmd.ExtraFiles, os.NewFile(uintptr(fd), place.Path))
	}
	s.Spec.Extra = len(s.Extra)
	cmd.ExtraFiles = append(cmd.ExtraFiles, s.Extra...)
}

func contains(files []*os.File, f *os.File) bool {
	for _, have := range files {
		if have == f {
			return true
		}
	}
	return false
}

// Wait waits for the end. A process that outlived its time is a failure.
func (p *Process) Wait() Result {
	p.t.Helper()
	err := p.cmd.Wait()
	p.cancel()
	r := Result{Code: p.cmd.ProcessState.ExitCode(), Report: <-p.report, Stderr: p.stderr.String()}
	if _, ok := err.(*exec.ExitError); err != nil && !ok {
		p.t.Errorf("wait: %v", err)
	}
	if st, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && st.Signaled() && st.Signal() == syscall.SIGKILL {
		p.t.Errorf("ended by SIGKILL (time over, or a call that leaves no trace); stderr:\n%s", p.stderr.String())
	}
	return r
}

// LastSyscall is the number of the refused call in a SIGSYS traceback, as the
// "rax" or "r8" line gives it; "" without one. For messages.
func (r Result) LastSyscall() string {
	for _, line := range strings.Split(r.Stderr, "\n") {
		if strings.HasPrefix(line, "rax ") || strings.HasPrefix(line, "r8 ") {
			return line
		}
	}
	return ""
}

// Kill ends the process and waits for it.
func (p *Process) Kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
	p.cancel()
	<-p.report
}
