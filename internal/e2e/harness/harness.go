// Package harness starts whole servers for tests: it builds the programs once,
// runs `rookeryctl demo` in a fresh directory on free ports, and stops it again
// by its own process id.
//
// Only tests below internal/e2e and the benchmark import it.
package harness

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Root is the module's root, found from the working directory of a test.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	t.Fatal("no go.mod above the working directory")
	return ""
}

var build struct {
	once sync.Once
	dir  string
	err  error
}

// Bin gives the folder with the programs: ROOKERY_BIN, or a fresh build.
func Bin(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("ROOKERY_BIN"); dir != "" {
		return dir
	}
	root := Root(t)
	build.once.Do(func() {
		// Not below /root or a test's own folder: unprivileged processes must reach it.
		if build.dir, build.err = os.MkdirTemp("/var/tmp", "rookery-bin-"); build.err != nil {
			return
		}
		os.Chmod(build.dir, 0o755)
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-X rookery/internal/buildid.stamp=test-"+strconv.Itoa(os.Getpid()), "-o", build.dir+"/", "./cmd/...")
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			build.err = fmt.Errorf("%w\n%s", err, out)
		}
	})
	if build.err != nil {
		t.Fatalf("build: %v", build.err)
	}
	return build.dir
}

// Cleanup removes what Bin built; TestMain calls it.
func Cleanup() {
	if build.dir != "" {
		os.RemoveAll(build.dir)
	}
}

// Main is a TestMain's whole body.
func Main(m *testing.M) {
	code := m.Run()
	Cleanup()
	os.Exit(code)
}

// Demo is a running `rookeryctl demo`.
type Demo struct {
	t    testing.TB
	Dir  string // with rookery.toml, conf.d, users, tls, mail, rookery.log
	Base int    // of the ports
	Out  *lockedBuffer
	Wrap []string // a command that runs the demo as its arguments, by exec
	cmd  *exec.Cmd
	bin  string
	done chan error
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// NeedRoot ends the test where it is not root: real separation needs it.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: without it everything runs under one uid")
	}
}

// Prepare writes a demo's configuration without starting it, so that a test can
// change it before: Start does the rest.
func Prepare(t testing.TB) *Demo {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "rookery-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	os.Chmod(dir, 0o755)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return &Demo{t: t, Dir: filepath.Join(dir, "demo"), bin: Bin(t), Base: freeBase(t)}
}

// FreeBase finds a base port for a test's own servers.
func FreeBase(t testing.TB) int { return freeBase(t) }

var nextBase atomic.Int64

// freeBase finds a base port with which every listener of a demo is free.
func freeBase(t testing.TB) int {
	t.Helper()
	// A base is handed out once: between this look and the demo's own bind,
	// a parallel test must not find the same ports free. Not above the ports
	// that the kernel hands out to clients (32768).
	for try := nextBase.Add(1); try < 20000; try = nextBase.Add(1) {
		base := 1024 + (os.Getpid()*37+int(try)*97)%30000
		if portsFree(base) {
			return base
		}
	}
	t.Fatal("no free ports")
	return 0
}

func portsFree(base int) bool {
	for _, p := range []int{110, 143, 993, 995} {
		l, err := net.Listen("tcp", Addr(base+p))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}

// Addr is 127.0.0.1 and a port.
func Addr(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// Start begins a demo with these flags and waits until it is ready.
func Start(t testing.TB, flags ...string) *Demo {
	t.Helper()
	d := Prepare(t)
	d.Start(flags...)
	return d
}

// Write makes the demo's folder without starting the server, so that Set can
// change settings that count from the start. Start then takes the same flags.
func (d *Demo) Write(flags ...string) {
	d.t.Helper()
	args := append([]string{"demo", "--dir", d.Dir, "--base-port", strconv.Itoa(d.Base), "--write-only"}, flags...)
	if out, err := exec.Command(filepath.Join(d.bin, "rookeryctl"), args...).CombinedOutput(); err != nil {
		d.t.Fatalf("rookeryctl demo --write-only: %v\n%s", err, out)
	}
}

// StartWith is Start with lines in conf.d/99-local.toml.
func StartWith(t testing.TB, lines []string, flags ...string) *Demo {
	t.Helper()
	d := Prepare(t)
	d.Write(flags...)
	d.Set(lines...)
	d.Start(flags...)
	return d
}

// Start runs it and waits for "rookery ready".
func (d *Demo) Start(flags ...string) {
	d.t.Helper()
	if err := d.TryStart(flags...); err != nil {
		d.t.Fatalf("%v\n%s\nlog:\n%s", err, d.Out.String(), d.Log())
	}
	d.t.Cleanup(func() {
		d.Stop()
		if d.t.Failed() {
			d.t.Logf("the server's log:\n%s", tail(d.Log(), 60))
		}
	})
}

// TryStart is Start that gives the error.
func (d *Demo) TryStart(flags ...string) error {
	args := append([]string{"demo", "--dir", d.Dir, "--base-port", strconv.Itoa(d.Base)}, flags...)
	args = append(append(d.Wrap[:len(d.Wrap):len(d.Wrap)], filepath.Join(d.bin, "rookeryctl")), args...)
	d.cmd = exec.Command(args[0], args[1:]...)
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	d.Out = &lockedBuffer{}
	pipe, err := d.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	d.cmd.Stderr = d.Out
	if err := d.cmd.Start(); err != nil {
		return err
	}
	d.done = make(chan error, 1)
	ready := make(chan struct{})
	go func() {
		lines := bufio.NewScanner(pipe)
		told := false
		for lines.Scan() {
			fmt.Fprintln(d.Out, lines.Text())
			if lines.Text() == "rookery ready" && !told {
				told = true
				close(ready)
			}
		}
		d.done <- d.cmd.Wait()
	}()
	select {
	case <-ready:
		return nil
	case err := <-d.done:
		d.cmd = nil
		return fmt.Errorf("the demo ended before it was ready: %v", err)
	case <-time.After(60 * time.Second):
		d.Stop()
		return fmt.Errorf("the demo was not ready after a minute")
	}
}

// Stop ends the demo as Ctrl-C does, and tells how long it took.
func (d *Demo) Stop() time.Duration {
	if d.cmd == nil {
		return 0
	}
	began := time.Now()
	d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.done:
	case <-time.After(20 * time.Second):
		d.cmd.Process.Kill()
		<-d.done
		d.t.Errorf("the demo did not stop within 20 seconds")
	}
	d.cmd = nil
	return time.Since(began)
}

// PID is the demo's process; its child is master.
func (d *Demo) PID() int { return d.cmd.Process.Pid }

// Port gives the port of "imap", "imaps", "pop3", "pop3s".
func (d *Demo) Port(service string) int {
	return d.Base + map[string]int{"imap": 143, "imaps": 993, "pop3": 110, "pop3s": 995}[service]
}

// Addr gives the address of a service.
func (d *Demo) Addr(service string) string { return Addr(d.Port(service)) }

// Cert is the demo's certificate file.
func (d *Demo) Cert() string { return filepath.Join(d.Dir, "tls", "cert.pem") }

// Log is what the server has logged.
func (d *Demo) Log() string {
	data, err := os.ReadFile(filepath.Join(d.Dir, "rookery.log"))
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// WaitLog waits until the log holds text.
func (d *Demo) WaitLog(text string) {
	d.t.Helper()
	d.Eventually("the log has "+strconv.Quote(text), func() bool { return strings.Contains(d.Log(), text) })
}

// Eventually waits up to ten seconds for something to become true.
func (d *Demo) Eventually(what string, ok func() bool) {
	d.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	d.t.Errorf("not within ten seconds: %s", what)
}

// Ctl runs rookeryctl on this server.
func (d *Demo) Ctl(args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(d.bin, "rookeryctl"), append([]string{"-c", filepath.Join(d.Dir, "rookery.toml")}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// MustCtl is Ctl that must succeed.
func (d *Demo) MustCtl(args ...string) string {
	d.t.Helper()
	out, err := d.Ctl(args...)
	if err != nil {
		d.t.Fatalf("rookeryctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// Set writes lines into conf.d/99-local.toml, which is read last.
func (d *Demo) Set(lines ...string) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.Dir, "conf.d", "99-local.toml"), []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		d.t.Fatal(err)
	}
}

// Maildir is a user's, by number.
func (d *Demo) Maildir(user int) string {
	return filepath.Join(d.Dir, "mail", fmt.Sprintf("u%d@example.test", user), "Maildir")
}

func tail(s string, lines int) string {
	all := strings.Split(s, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
