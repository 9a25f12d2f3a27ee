package sandbox_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/sandbox"
	"rookery/internal/sandbox/sandboxtest"
	"rookery/internal/sandbox/sandboxtest/inside"
)

func nothing(t *testing.T, role sandbox.Role) sandboxtest.Start {
	t.Helper()
	return sandboxtest.Start{Program: sandboxtest.Build(t, "rookery/internal/sandbox/testprog", ""), UID: testUID,
		Spec: inside.Spec{Role: role, Job: "nothing"}}
}

// TestWithoutRoot: whoever has no privilege still gets what needs none.
func TestWithoutRoot(t *testing.T) {
	s := nothing(t, sandbox.Login)
	if os.Getuid() != 0 {
		s.UID = 0
	}
	s.NoCap = true
	s.Root = emptyDir(t)
	o, res := runProg(t, s)
	want := sandbox.DropCaps | sandbox.NoNewPrivs | sandbox.Undumpable | sandbox.NoCore | sandbox.Landlock | sandbox.Seccomp
	left := sandbox.LeftOut{Protection: sandbox.Chroot, Why: "no CAP_SYS_CHROOT: not started by root"}
	if res.Code != 7 || o.Sandbox.Held != want || !slices.Equal(o.Sandbox.LeftOut, []sandbox.LeftOut{left}) {
		t.Errorf("%d, %+v\n%s", res.Code, o, res.Stderr)
	}
	line := "login: capabilities no_new_privs dumpable core limit landlock(abi 6) seccomp("
	if got := o.Sandbox.String(); !strings.HasPrefix(got, line) || !strings.HasSuffix(got, "; without chroot: no CAP_SYS_CHROOT: not started by root") {
		t.Errorf("report %q", got)
	}
	s.Spec.Strict = true
	o, res = runProg(t, s)
	if res.Code != 70 || o.Error != "sandbox: enter login: chroot cannot be had: no CAP_SYS_CHROOT: not started by root" {
		t.Errorf("strict: %d, %q", res.Code, o.Error)
	}
}

// TestRefusals: what must not go on.
func TestRefusals(t *testing.T) {
	sandboxtest.NeedRoot(t)
	for _, c := range []struct {
		name, want string
		change     func(*sandboxtest.Start)
	}{
		{"as root", "the process runs as root", func(s *sandboxtest.Start) { s.UID = 0 }},
		{"a stray directory", "is a directory that nobody named", func(s *sandboxtest.Start) {
			s.Root = emptyDir(t)
			dir, err := os.Open("/")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { dir.Close() })
			s.Extra = []*os.File{dir}
		}},
		{"Landlock too old", "landlock cannot be had: the kernel offers ABI", func(s *sandboxtest.Start) { s.Spec.ABI, s.Spec.Strict = 1, true }},
		{"a rule on nothing", "unknown access", func(s *sandboxtest.Start) { s.Places = []sandboxtest.Place{{Path: "/", Access: 9}} }},
		{"stage 2 before stage 1", "stage 1 was not entered", func(s *sandboxtest.Start) { s.Spec.Role, s.Spec.Job = sandbox.IMAPWorker, "stage 2" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := nothing(t, sandbox.Logd)
			c.change(&s)
			o, res := runProg(t, s)
			if res.Code != 70 || !strings.Contains(o.Error, c.want) {
				t.Errorf("%d, %q; want %q\n%s", res.Code, o.Error, c.want, res.Stderr)
			}
		})
	}
}

// TestLandlockCap: a capped sandbox is the older kernel's.
func TestLandlockCap(t *testing.T) {
	sandboxtest.NeedRoot(t)
	for _, abi := range []int{2, 3, 4, 5, 6} {
		s := nothing(t, sandbox.Logd)
		s.Spec.ABI, s.Spec.Strict = abi, true
		o, res := runProg(t, s)
		r := o.Sandbox
		if res.Code != 7 || r.LandlockABI != abi || r.LandlockNet != (abi >= 4) || r.ScopedIPC != (abi >= 6) {
			t.Errorf("abi %d: %d, %+v", abi, res.Code, o)
		}
	}
}

// TestUnlistedCall: the process ends, and says with which number.
func TestUnlistedCall(t *testing.T) {
	s := nothing(t, sandbox.Logd)
	if os.Getuid() != 0 {
		s.UID = 0
	}
	s.Spec.Job = "unlisted"
	_, res := runProg(t, s)
	if res.Code != 2 || !strings.HasPrefix(res.Stderr, "SIGSYS: bad system call") || res.LastSyscall() == "" {
		t.Errorf("%d, %q", res.Code, res.Stderr)
	}
}

// TestBuildsWithC: the race detector's builds run, with less; others that link
// the C library are refused, since their threads cannot be confined.
func TestBuildsWithC(t *testing.T) {
	sandboxtest.NeedRoot(t)
	s := stageFor(t, sandbox.IMAPWorker, time.Second).start
	s.Program, s.Spec.Strict = sandboxtest.BuildC(t, "rookery/internal/sandbox/testprog", "-race"), false
	o, res := runProg(t, s)
	why := "race-detector build: C threads cannot be confined one by one"
	left := []sandbox.LeftOut{{Protection: sandbox.DropCaps, Why: why}, {Protection: sandbox.Landlock, Why: why}}
	if res.Code != 7 || o.Error != "" || !slices.Equal(o.Sandbox.LeftOut, left) || !o.Sandbox.Holds(sandbox.Seccomp) {
		t.Errorf("%d, %+v; %s\n%s", res.Code, o, res.LastSyscall(), res.Stderr)
	}
	s = nothing(t, sandbox.IMAPWorker)
	s.Program = sandboxtest.BuildC(t, "rookery/internal/sandbox/testprog")
	o, res = runProg(t, s)
	if res.Code != 70 || !strings.Contains(o.Error, "this build links cgo") {
		t.Errorf("%d, %q", res.Code, o.Error)
	}
}

// TestReadProc reads a confined process as rookeryctl does.
func TestReadProc(t *testing.T) {
	sandboxtest.NeedRoot(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	s := nothing(t, sandbox.IMAPWorker)
	dir := userDir(t)
	s.Root, s.Places = dir, []sandboxtest.Place{{Path: dir, Access: sandbox.ReadWrite}}
	s.Flags, s.Extra = sandboxtest.AllNamespaces, []*os.File{r}
	s.Spec.Job, s.Spec.Strict, s.Spec.TwoSteps = "wait", true, true
	s.Env = []string{"GODEBUG=containermaxprocs=0,updatemaxprocs=0"} // else the runtime holds cgroup files
	p := sandboxtest.Launch(t, s)
	r.Close()
	p.WaitReady()
	got, err := sandbox.ReadProc(p.PID())
	if err != nil {
		t.Fatal(err)
	}
	all4 := [4]int{testUID, testUID, testUID, testUID}
	if got.UIDs != all4 || got.GIDs != all4 || len(got.Groups) != 0 || !got.NoNewPrivs || got.Seccomp != 2 || got.Filters != 2 ||
		got.Dumpable || got.Unconfined != nil || got.Threads < 2 || got.Root != dir || got.Comm != "rookery-imapwor" {
		t.Errorf("%+v", got)
	}
	for _, set := range []string{"inh", "prm", "eff", "amb"} {
		if got.Caps[set] != "0000000000000000" {
			t.Errorf("capabilities %s: %s", set, got.Caps[set])
		}
	}
	if !slices.Equal(got.OwnNS, []string{"ipc", "net", "pid"}) {
		t.Errorf("own namespaces %q", got.OwnNS)
	}
	for _, d := range got.Descriptors {
		if strings.HasPrefix(d.Target, "/") && d.Target != "/dev/null" {
			t.Errorf("descriptor %d is still %s", d.FD, d.Target)
		}
	}
	w.Close()
	if res := p.Wait(); res.Code != 7 {
		t.Errorf("exit code %d: %s", res.Code, res.Stderr)
	}
	if _, err := sandbox.ReadProc(p.PID()); err == nil {
		t.Error("a process that is gone was read")
	}
	if text, err := json.Marshal(got); err != nil || !strings.Contains(string(text), `"seccomp":2`) {
		t.Errorf("as JSON: %s, %v", text, err)
	}
}

// TestReadOwnProc: the test itself is not confined, and reading says so.
func TestReadOwnProc(t *testing.T) {
	got, err := sandbox.ReadProc(os.Getpid())
	if err != nil || got.NoNewPrivs || got.Seccomp != 0 || got.OwnNS != nil || got.UIDs[0] != os.Getuid() {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestProbe: this is what the tests' own machine has to have.
func TestProbe(t *testing.T) {
	p := sandbox.Probe()
	if p.LandlockABI < 2 || !p.Seccomp {
		t.Errorf("%+v", p)
	}
	if os.Getuid() == 0 && p.MissingForSharedUID() != nil {
		t.Errorf("missing: %q", p.MissingForSharedUID())
	}
	if got := (sandbox.Probed{}).MissingForSharedUID(); len(got) != 5 {
		t.Errorf("a kernel with nothing misses %q", got)
	}
	if got := (sandbox.Probed{LandlockABI: 1, Seccomp: true, PIDNS: true, NetNS: true, IPCNS: true}).MissingForSharedUID(); len(got) != 1 {
		t.Errorf("Landlock ABI 1 misses %q", got)
	}
}

// TestOpenRoot walks paths with links in all sorts of directories.
func TestOpenRoot(t *testing.T) {
	base := sandboxtest.PublicDir(t)
	in := func(name string) string { return filepath.Join(base, name) }
	for dir, mode := range map[string]os.FileMode{"real": 0o700, "real/sub": 0o700, "safe": 0o755, "group": 0o775, "sticky": 0o777 | os.ModeSticky} {
		if err := os.MkdirAll(in(dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(in(dir), mode); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{
		"safe/absolute": in("real"), "safe/relative": "../real", "safe/loop": "loop", "group/link": in("real"), "sticky/link": in("real"),
		"safe/twice": "relative/sub", "safe/bad": "/no/such/directory",
	} {
		if err := os.Symlink(target, in(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(in("real/file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, real, err string }{
		{in("real"), in("real"), ""},
		{in("real") + "/./sub//", in("real/sub"), ""},
		{"/", "/", ""},
		{in("safe/absolute"), in("real"), ""},
		{in("safe/relative/sub"), in("real/sub"), ""},
		{in("safe/twice"), in("real/sub"), ""},
		{in("safe/loop"), "", "too many levels"},
		{in("safe/bad"), "", "no such file"},
		{in("group/link"), "", "others can write"},
		{in("sticky/link"), "", "others can write"},
		{in("real/file"), "", "not a directory"},
		{in("none"), "", "no such file"},
		{"relative", "", "not absolute"},
		{"", "", "not absolute"},
	} {
		fd, real, err := sandbox.OpenRoot(c.path)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v, want %q", c.path, err, c.err)
			}
			continue
		}
		if err != nil || real != c.real {
			t.Errorf("%s: %q, %v; want %q", c.path, real, err, c.real)
			continue
		}
		var got, want unix.Stat_t
		if unix.Fstat(fd, &got) != nil || unix.Stat(c.real, &want) != nil || got.Ino != want.Ino {
			t.Errorf("%s: inode %d, want %d", c.path, got.Ino, want.Ino)
		}
		unix.Close(fd)
	}
}

// TestOpenRootOfAnother: a link in a user's directory is the user's to bend.
func TestOpenRootOfAnother(t *testing.T) {
	sandboxtest.NeedRoot(t)
	dir := userDir(t)
	if err := os.Symlink("/etc", filepath.Join(dir, "Maildir")); err != nil {
		t.Fatal(err)
	}
	_, _, err := sandbox.OpenRoot(filepath.Join(dir, "Maildir"))
	if err == nil || !strings.Contains(err.Error(), "a link in a directory of uid 64391 is not followed") {
		t.Errorf("%v", err)
	}
}

// TestNoTable: roles of later versions cannot enter.
func TestNoTable(t *testing.T) {
	for _, role := range []sandbox.Role{0, sandbox.Lmtpd, sandbox.Deliver, 99} {
		if _, err := sandbox.Enter(role, sandbox.Options{}); err == nil || !strings.Contains(err.Error(), "no table") {
			t.Errorf("%v: %v", role, err)
		}
	}
	for _, role := range []sandbox.Role{sandbox.Login, sandbox.Authd, sandbox.Logd} {
		if _, err := sandbox.EnterStage1(role, sandbox.Options{}); err == nil {
			t.Errorf("%v entered as a spare", role)
		}
	}
}
