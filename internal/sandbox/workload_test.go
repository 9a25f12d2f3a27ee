package sandbox_test

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/sandbox"
	"rookery/internal/sandbox/sandboxtest"
	"rookery/internal/sandbox/sandboxtest/inside"
)

const testUID = 64391

// outcome mirrors what testprog reports.
type outcome struct {
	Sandbox sandbox.Report
	Error   string
	Counts  map[string]int
}

func runProg(t *testing.T, s sandboxtest.Start) (outcome, sandboxtest.Result) {
	t.Helper()
	res := sandboxtest.Run(t, s)
	var o outcome
	if len(res.Report) > 0 {
		if err := json.Unmarshal(res.Report, &o); err != nil {
			t.Fatalf("report %q: %v", res.Report, err)
		}
	}
	return o, res
}

// stage is a prepared place for one role.
type stage struct {
	start sandboxtest.Start
	peer  func() // talks to the process from outside
}

func emptyDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(sandboxtest.PublicDir(t), "empty")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// userDir is a directory that belongs to the test's uid.
func userDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(sandboxtest.PublicDir(t), "user")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := os.Chown(dir, testUID, testUID); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// pair is a socketpair; the second end answers everything with itself, and
// descriptors too.
func pair(t *testing.T, kind int) *os.File {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer unix.Close(fds[1])
		buf, oob := make([]byte, 64<<10), make([]byte, 128)
		for {
			n, oobn, _, _, err := unix.Recvmsg(fds[1], buf, oob, unix.MSG_CMSG_CLOEXEC)
			if err != nil || n == 0 {
				return
			}
			if err := unix.Sendmsg(fds[1], buf[:n], oob[:oobn], nil, unix.MSG_NOSIGNAL); err != nil {
				return
			}
			msgs, _ := unix.ParseSocketControlMessage(oob[:oobn])
			for _, m := range msgs {
				passed, _ := unix.ParseUnixRights(&m)
				for _, fd := range passed {
					unix.Close(fd)
				}
			}
		}
	}()
	return os.NewFile(uintptr(fds[0]), "pair")
}

func stageFor(t *testing.T, role sandbox.Role, d time.Duration) stage {
	t.Helper()
	s := stage{start: sandboxtest.Start{UID: testUID, Flags: sandboxtest.AllNamespaces, Timeout: d + time.Minute}, peer: func() {}}
	s.start.Spec = inside.Spec{Role: role, Strict: true, Job: "work", Args: []string{d.String()}}
	extra := func(f *os.File) {
		t.Cleanup(func() { f.Close() })
		s.start.Extra = append(s.start.Extra, f)
	}
	switch role {
	case sandbox.Login:
		s.start.Root = emptyDir(t)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().String()
		l.Close()
		extra(f)
		extra(pair(t, unix.SOCK_SEQPACKET))
		s.peer = func() { tlsClients(t, addr, time.Now().Add(d-time.Second)) }
	case sandbox.Authd:
		file := filepath.Join(sandboxtest.PublicDir(t), "users")
		if err := os.WriteFile(file, []byte("u1:{PLAIN}pass\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		s.start.Places = []sandboxtest.Place{{Path: filepath.Dir(file), Access: sandbox.ReadOnly}}
		s.start.Spec.Args = append(s.start.Spec.Args, file)
		extra(pair(t, unix.SOCK_SEQPACKET))
	case sandbox.Logd:
		s.start.Root = emptyDir(t)
		log, err := os.Create(filepath.Join(t.TempDir(), "log"))
		if err != nil {
			t.Fatal(err)
		}
		extra(pair(t, unix.SOCK_SEQPACKET))
		extra(log)
	case sandbox.IMAPWorker, sandbox.POP3Worker, sandbox.Dotlock:
		dir := userDir(t)
		s.start.Root = dir
		s.start.Places = []sandboxtest.Place{{Path: dir, Access: sandbox.ReadWrite}}
		s.start.Spec.Args = append(s.start.Spec.Args, "/")
		kind := unix.SOCK_STREAM
		if role == sandbox.Dotlock {
			kind = unix.SOCK_SEQPACKET
		}
		extra(pair(t, kind))
	}
	return s
}

// tlsClients speak to login's listener until the time is over.
func tlsClients(t *testing.T, addr string, end time.Time) {
	for time.Now().Before(end) {
		conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true}) // what is tested is the other side's calls
		if err != nil {
			t.Errorf("client: %v", err)
			return
		}
		buf := make([]byte, 5)
		_, err = conn.Write([]byte("hello"))
		if err == nil {
			_, err = io.ReadFull(conn, buf)
		}
		if err != nil || string(buf) != "hello" {
			t.Errorf("client read %q, %v", buf, err)
		}
		conn.Close()
	}
}

// workTime is long enough for what Go does late: half a minute after start it
// looks at its cgroup files. With master's environment it does not, and a short
// time does.
func workTime(env string) time.Duration {
	if env == goDefaults && !testing.Short() {
		return 45 * time.Second
	}
	return 3 * time.Second
}

const (
	goDefaults = "GODEBUG="
	asMaster   = "GODEBUG=containermaxprocs=0,updatemaxprocs=0"
	abi2       = " ABI 2" // with the Landlock that Debian 12 has
)

// TestWorkload runs an ordinary Go program as each role, all at once, in the
// environment that master gives and in Go's own, and with the oldest Landlock.
// Nothing that it does is refused.
func TestWorkload(t *testing.T) {
	sandboxtest.NeedRoot(t)
	prog := sandboxtest.Build(t, "rookery/internal/sandbox/testprog", "")
	wantCounts := map[sandbox.Role][]string{
		sandbox.Login:      {"TLS clients", "envelopes"},
		sandbox.Authd:      {"passwd-file", "channel"},
		sandbox.Logd:       {"log file", "channel"},
		sandbox.IMAPWorker: {"files", "bodies"},
		sandbox.POP3Worker: {"files", "bodies", "watch"},
		sandbox.Dotlock:    {"locks"},
	}
	var wg sync.WaitGroup
	for role, counts := range wantCounts {
		for _, env := range []string{goDefaults, asMaster, asMaster + abi2} {
			s := stageFor(t, role, workTime(env))
			s.start.Program, s.start.Env = prog, []string{strings.TrimSuffix(env, abi2)}
			if strings.HasSuffix(env, abi2) {
				s.start.Spec.ABI = 2
			}
			s.start.Spec.TwoSteps = role == sandbox.POP3Worker
			s.start.Spec.Private = role == sandbox.POP3Worker
			p := sandboxtest.Launch(t, s.start)
			wg.Go(func() {
				s.peer()
				checkWork(t, role.String()+" "+env, s.start, p.Wait(), append(counts, "memory", "threads"))
			})
		}
	}
	wg.Wait()
}

func checkWork(t *testing.T, name string, s sandboxtest.Start, res sandboxtest.Result, counts []string) {
	var o outcome
	if err := json.Unmarshal(res.Report, &o); err != nil || o.Error != "" || res.Code != 7 {
		t.Errorf("%s: %v: exit code %d, error %q, report %q; %s\n%s", name, err, res.Code, o.Error, res.Report, res.LastSyscall(), res.Stderr)
		return
	}
	for _, c := range counts {
		if o.Counts[c] == 0 {
			t.Errorf("%s: %s was never done: %v", name, c, o.Counts)
		}
	}
	checkReport(t, s.Spec.Role, s, o.Sandbox)
}

func checkReport(t *testing.T, role sandbox.Role, s sandboxtest.Start, r sandbox.Report) {
	t.Helper()
	want := sandbox.DropCaps | sandbox.NoNewPrivs | sandbox.Undumpable | sandbox.NoCore | sandbox.Landlock | sandbox.Seccomp
	if s.Root != "" {
		want |= sandbox.Chroot
	}
	if r.Held != want || r.Role != role || r.Stage != 2 || r.FilterRows < 50 {
		t.Errorf("report %+v, want held %b", r, want)
	}
}

// TestEnds checks the ways in which a Go program ends: each says what it has
// to say and gives Go's own exit code, under every role.
func TestEnds(t *testing.T) {
	sandboxtest.NeedRoot(t)
	prog := sandboxtest.Build(t, "rookery/internal/sandbox/testprog", "")
	for _, role := range []sandbox.Role{sandbox.Login, sandbox.Authd, sandbox.Logd, sandbox.IMAPWorker, sandbox.POP3Worker, sandbox.Dotlock} {
		for _, c := range []struct {
			job, stderr string
			code        int
		}{
			{"nothing", "", 7},
			{"panic", "panic: runtime error: index out of range [5] with length 0", 2},
			{"thrown", "panic: in another goroutine", 2},
		} {
			t.Run(role.String()+"/"+c.job, func(t *testing.T) {
				s := stageFor(t, role, time.Second)
				s.start.Program, s.start.Spec.Job = prog, c.job
				_, res := runProg(t, s.start)
				if res.Code != c.code || !strings.HasPrefix(res.Stderr, c.stderr) {
					t.Errorf("exit code %d, stderr %q; want %d, %q", res.Code, res.Stderr, c.code, c.stderr)
				}
			})
		}
	}
}
