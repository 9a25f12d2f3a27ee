package spawn

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"rookery/internal/child"
	"rookery/internal/ipc"
)

// The test binary is the program that is started; argv[1] says what to do.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if f, ok := programs[os.Args[1]]; ok {
			f(os.Args[2:])
			os.Exit(0)
		}
		if done, exit := child.MakeDirsMode(os.Args[1:]); done {
			os.Exit(exit)
		}
	}
	os.Exit(m.Run())
}

var programs = map[string]func([]string){
	"inherit": func(args []string) { report(inherited(child.Role(args[0]))) },
	"self":    func([]string) { report(self()) },
	"exit":    func(args []string) { n, _ := strconv.Atoi(args[0]); os.Exit(n) },
	"wait":    func([]string) { io.Copy(io.Discard, os.NewFile(3, "")) },
	"parent":  parentProgram,
}

func listener(name string) child.ListenerInfo {
	return child.ListenerInfo{Name: name, Protocol: "pop3", Haproxy: true}
}

func report(v any) { json.NewEncoder(os.Stderr).Encode(v) }

type inheritedReport struct {
	Err       string
	Env       child.Env
	FDs       []string // "number:kind" of all that is open afterwards
	CloseExec bool
}

func inherited(role child.Role) (r inheritedReport) {
	env, err := child.Inherit(role)
	if err != nil {
		r.Err = err.Error()
		return r
	}
	r.Env, r.FDs, r.CloseExec = *env, openFDs(), true
	for _, fd := range []int{env.Control, env.Log, env.Root, env.Auth} {
		if fd < 0 {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			r.CloseExec = false
		}
	}
	return r
}

// openFDs lists the open descriptors but the runtime's poller.
func openFDs() (out []string) {
	for fd := range 300 {
		var st unix.Stat_t
		if unix.Fstat(fd, &st) != nil {
			continue
		}
		link, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		if strings.HasPrefix(link, "anon_inode:[event") {
			continue
		}
		kind, _, _ := strings.Cut(link, ":")
		if strings.HasPrefix(link, "/") {
			kind = map[bool]string{true: "null", false: "path"}[link == "/dev/null"]
		}
		out = append(out, fmt.Sprintf("%d:%s", fd, kind))
	}
	return out
}

type selfReport struct {
	UID, GID, PID int
	Groups        []int
	Ambient       uint64
	Interfaces    []string
	Env           []string
	Core          uint64
	Net, IPC      string
}

func self() (r selfReport) {
	r.UID, r.GID, r.PID = os.Getuid(), os.Getgid(), os.Getpid()
	r.Groups, _ = os.Getgroups()
	status, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(status), "\n") {
		if hex, ok := strings.CutPrefix(line, "CapAmb:\t"); ok {
			r.Ambient, _ = strconv.ParseUint(hex, 16, 64)
		}
	}
	ifs, _ := net.Interfaces()
	for _, i := range ifs {
		r.Interfaces = append(r.Interfaces, fmt.Sprintf("%s/%d", i.Name, i.Flags&net.FlagUp))
	}
	r.Env = os.Environ()
	var lim unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_CORE, &lim)
	r.Core = lim.Max
	r.Net, _ = os.Readlink("/proc/self/ns/net")
	r.IPC, _ = os.Readlink("/proc/self/ns/ipc")
	return r
}

// parentProgram starts a child that waits, tells its pid and waits itself.
func parentProgram([]string) {
	f, err := NewForker(false)
	if err != nil {
		panic(err)
	}
	exe, _ := os.Executable()
	prog, err := Open(filepath.Dir(exe), filepath.Base(exe))
	if err != nil {
		panic(err)
	}
	r, w, _ := os.Pipe()
	defer w.Close()
	c, err := f.Start(Spec{Program: prog, Args: []string{"wait"}, Files: []int{int(r.Fd())}, Env: Environment(1, 0, "")})
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(os.Stderr, c.PID)
	io.Copy(io.Discard, os.NewFile(3, ""))
}

func openSelf(t *testing.T) *Program {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := Open(filepath.Dir(exe), filepath.Base(exe))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func forker(t *testing.T, shared bool) *Forker {
	t.Helper()
	f, err := NewForker(shared)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// runs starts the spec, reads its standard error whole and reaps it.
func runs(t *testing.T, f *Forker, s Spec, into any) Exit {
	t.Helper()
	if s.Env == nil {
		s.Env = Environment(1, 0, "")
	}
	c, err := f.Start(s)
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(c.Stderr)
	c.Stderr.Close()
	if err != nil {
		t.Error(err)
	}
	exit, err := c.Wait()
	if err != nil {
		t.Error(err)
	}
	if into != nil {
		if err := json.Unmarshal(out, into); err != nil {
			t.Fatalf("%v in %q, %v", err, out, exit)
		}
	}
	return exit
}

// birth makes a role's descriptors; listeners are added for login.
func birth(t *testing.T, role child.Role, info child.Info) (files []int) {
	t.Helper()
	keep := func(fd int, err error) int {
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	channel := func() int {
		a, b, err := ipc.Pair()
		keep(b, err)
		return keep(a, err)
	}
	memfd, err := child.Seal("settings", info.Encode())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { memfd.Close() })
	dir := keep(unix.Open(t.TempDir(), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0))
	switch role {
	case child.Login:
		files = []int{channel(), int(memfd.Fd()), channel(), dir, channel()}
	case child.Authd:
		files = []int{channel(), int(memfd.Fd()), channel(), dir}
	case child.Logd:
		files = []int{channel(), int(memfd.Fd()), -1, dir}
	case child.MailTool:
		files = []int{channel(), int(memfd.Fd()), channel(), -1, channel()}
	case child.Dotlock:
		files = []int{channel(), int(memfd.Fd()), channel(), dir, channel()}
	default:
		files = []int{channel(), int(memfd.Fd()), channel()}
	}
	for range info.Listeners {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		t.Cleanup(func() { f.Close() })
		files = append(files, int(f.Fd()))
	}
	return files
}

// Each child's open descriptors, and just those.
func TestInherit(t *testing.T) {
	if err := Prepare(); err != nil {
		t.Fatal(err)
	}
	f, prog := forker(t, false), openSelf(t)
	std := []string{"0:null", "1:null", "2:pipe"}
	for role, want := range map[child.Role]struct {
		env child.Env
		fds []string
	}{
		child.Login: {child.Env{Control: 3, Log: 5, Root: 6, Auth: 7, Tool: -1, Listeners: []child.Listener{{ListenerInfo: listener("imap"), FD: 8}, {ListenerInfo: listener("imap"), FD: 9}}},
			[]string{"3:socket", "5:socket", "6:path", "7:socket", "8:socket", "9:socket"}},
		child.Authd:      {child.Env{Control: 3, Log: 5, Root: 6, Auth: -1, Tool: -1}, []string{"3:socket", "5:socket", "6:path"}},
		child.Logd:       {child.Env{Control: 3, Log: -1, Root: 6, Auth: -1, Tool: -1}, []string{"3:socket", "6:path"}},
		child.IMAPWorker: {child.Env{Control: 3, Log: 5, Root: -1, Auth: -1, Tool: -1, Strict: true, Spare: true}, []string{"3:socket", "5:socket"}},
		child.POP3Worker: {child.Env{Control: 3, Log: 5, Root: -1, Auth: -1, Tool: -1}, []string{"3:socket", "5:socket"}},
		child.Dotlock:    {child.Env{Control: 3, Log: 5, Root: 6, Auth: -1, Tool: 7}, []string{"3:socket", "5:socket", "6:path", "7:socket"}},
		child.MailTool:   {child.Env{Control: 3, Log: 5, Root: -1, Auth: -1, Tool: 7}, []string{"3:socket", "5:socket", "7:socket"}},
	} {
		info := child.Info{Settings: []byte("the settings"), Strict: want.env.Strict, Spare: want.env.Spare}
		for _, l := range want.env.Listeners {
			info.Listeners = append(info.Listeners, l.ListenerInfo)
		}
		want.env.Role, want.env.Settings = role, info.Settings
		files := birth(t, role, info)
		for len(files) < 20 { // what nobody named: closed by Inherit
			files = append(files, -1)
		}
		files = append(files, int(prog.file.Fd()), files[0])
		var got inheritedReport
		runs(t, f, Spec{Program: prog, Args: []string{"inherit", string(role)}, Files: files}, &got)
		if got.Err != "" || !reflect.DeepEqual(got.Env, want.env) || !slices.Equal(got.FDs, append(slices.Clone(std), want.fds...)) || !got.CloseExec {
			t.Errorf("%s: %+v, want %+v", role, got, want)
		}
	}
}

// What is not as promised is refused, each by name.
func TestInheritRefuses(t *testing.T) {
	f, prog := forker(t, false), openSelf(t)
	other, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	unsealed, err := unix.MemfdCreate("x", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(unsealed)
	garbage, err := child.Seal("x", []byte("something else"))
	if err != nil {
		t.Fatal(err)
	}
	defer garbage.Close()
	good := birth(t, child.Login, child.Info{Listeners: []child.ListenerInfo{listener("imap")}})
	for _, c := range []struct {
		at, fd int // good's number is replaced
		role   child.Role
		want   string
	}{
		{0, int(other.Fd()), child.Login, "descriptor 3 (control channel)"},
		{0, -1, child.Login, "descriptor 3 (control channel)"},
		{0, good[5], child.Login, "descriptor 3 (control channel)"},
		{1, int(other.Fd()), child.Login, "descriptor 4 (settings)"},
		{1, unsealed, child.Login, "descriptor 4 (settings)"},
		{1, int(garbage.Fd()), child.Login, "descriptor 4 (settings)"},
		{3, int(other.Fd()), child.Login, "descriptor 6 (empty directory)"},
		{4, -1, child.Login, "descriptor 7 (auth channel)"},
		{5, good[0], child.Login, "descriptor 8 (listener imap)"},
		{5, -1, child.Login, "descriptor 8 (listener imap)"},
		{0, good[0], child.Authd, "authd was given listeners"},
		{0, good[0], "queen", `no role "queen"`},
	} {
		files := slices.Clone(good)
		files[c.at] = c.fd
		var got inheritedReport
		runs(t, f, Spec{Program: prog, Args: []string{"inherit", string(c.role)}, Files: files}, &got)
		if !strings.Contains(got.Err, c.want) {
			t.Errorf("%s with %d at %d: %q, want %q", c.role, c.fd, c.at, got.Err, c.want)
		}
	}
}

func TestEnvironmentAndLimits(t *testing.T) {
	if err := Prepare(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("LEAKED", "1")
	var got selfReport
	runs(t, forker(t, false), Spec{Program: openSelf(t), Args: []string{"self"}, Env: Environment(2, 64<<20, "UTC")}, &got)
	want := []string{"GOMAXPROCS=2", "GODEBUG=containermaxprocs=0,updatemaxprocs=0", "GOMEMLIMIT=67108864", "TZ=UTC"}
	if !slices.Equal(got.Env, want) || got.Core != 0 || got.UID != os.Getuid() || got.Ambient != 0 {
		t.Errorf("%+v, want environment %q and no core", got, want)
	}
}

func TestPrivileges(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	// The thread that asks, not the process: /proc/self is the first thread,
	// which may be the one that a forker sits on.
	netNS, _ := os.Readlink("/proc/thread-self/ns/net")
	// The binary must be reachable for nobody but by descriptor.
	shared, prog := forker(t, true), openSelf(t)
	own := forker(t, false)
	spec := Spec{Program: prog, Args: []string{"self"}, Cred: &Cred{UID: 64123, GID: 64124, Groups: []uint32{64125}}, PID: true, Chroot: true}
	var a, b, c selfReport
	runs(t, shared, spec, &a)
	runs(t, shared, spec, &b)
	spec.Net, spec.Chroot = true, false
	runs(t, own, spec, &c)
	for _, r := range []selfReport{a, b, c} {
		if r.UID != 64123 || r.GID != 64124 || !slices.Equal(r.Groups, []int{64125}) || r.PID != 1 ||
			!slices.Equal(r.Interfaces, []string{"lo/0"}) || r.Net == netNS {
			t.Errorf("%+v", r)
		}
	}
	if a.Net != b.Net || a.IPC != b.IPC || a.Net == c.Net || a.IPC == c.IPC {
		t.Errorf("namespaces: workers %s %s and %s %s, login %s %s", a.Net, a.IPC, b.Net, b.IPC, c.Net, c.IPC)
	}
	if a.Ambient != 1<<unix.CAP_SYS_CHROOT || c.Ambient != 0 {
		t.Errorf("ambient capabilities: %x with Chroot, %x without", a.Ambient, c.Ambient)
	}
	if now, _ := os.Readlink("/proc/thread-self/ns/net"); now != netNS {
		t.Error("the process left its network namespace")
	}
}

func TestExit(t *testing.T) {
	f, prog := forker(t, false), openSelf(t)
	if got := runs(t, f, Spec{Program: prog, Args: []string{"exit", "7"}}, nil); got != (Exit{Code: 7}) || got.String() != "exit code 7" {
		t.Errorf("%+v %s", got, got)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	c, err := f.Start(Spec{Program: prog, Args: []string{"wait"}, Files: []int{int(r.Fd())}, Env: Environment(1, 0, "")})
	r.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stderr.Close()
	if err := c.Signal(syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	if got, err := c.Wait(); err != nil || got != (Exit{Signal: syscall.SIGKILL}) || got.String() != "killed by SIGKILL" {
		t.Errorf("%+v %v", got, err)
	}
	if err := c.Signal(syscall.SIGKILL); err == nil {
		t.Error("a child that was reaped was signalled")
	}
}

// A child dies with the process that started it.
func TestDiesWithParent(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	c, err := forker(t, false).Start(Spec{Program: openSelf(t), Args: []string{"parent"}, Files: []int{int(r.Fd())}, Env: Environment(1, 0, "")})
	r.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stderr.Close()
	line := make([]byte, 32)
	n, err := c.Stderr.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(line[:n])))
	if err != nil {
		t.Fatal(err)
	}
	grandchild, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(grandchild)
	c.Signal(syscall.SIGKILL)
	c.Wait()
	poll := []unix.PollFd{{Fd: int32(grandchild), Events: unix.POLLIN}}
	if n, err := unix.Poll(poll, 5000); n != 1 {
		syscall.Kill(pid, syscall.SIGKILL)
		t.Errorf("the grandchild lives on: %d %v", n, err)
	}
}

// The program is the one that was opened, whatever happened to its name since.
func TestUpgradeUnderUs(t *testing.T) {
	exe, _ := os.Executable()
	content, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "program")
	if err := os.WriteFile(path, content, 0o755); err != nil {
		t.Fatal(err)
	}
	prog, err := Open(dir, "program")
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/false\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := runs(t, forker(t, false), Spec{Program: prog, Args: []string{"exit", "3"}}, nil); got.Code != 3 {
		t.Errorf("%v", got)
	}
	if _, err := Open(dir, "nothing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := Open(filepath.Dir(dir), filepath.Base(dir)); err == nil {
		t.Error("a directory was opened as a program")
	}
}

func TestMakeDirs(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	base, err := os.MkdirTemp("/var/tmp", "rookery-test") // t.TempDir's parents keep others out
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(base)
	os.Chmod(base, 0o755)
	own := filepath.Join(base, "own")
	os.Mkdir(own, 0o700)
	os.Chown(own, 64123, 64124)
	f, prog := forker(t, true), openSelf(t)
	makeDirs := func(uid uint32, path string) Exit {
		return runs(t, f, Spec{Program: prog, Args: []string{child.MakeDirsFlag, path}, Cred: &Cred{UID: uid, GID: 64124}, PID: true}, nil)
	}
	if got := makeDirs(64123, own+"/a/b"); got.Code != 0 {
		t.Errorf("%v", got)
	}
	var st unix.Stat_t
	if err := unix.Stat(own+"/a/b", &st); err != nil || st.Uid != 64123 || st.Gid != 64124 || st.Mode&0o7777 != 0o700 {
		t.Errorf("%v %+v", err, st)
	}
	if got := makeDirs(64123, own+"/a/b"); got.Code != 0 {
		t.Errorf("again: %v", got)
	}
	for _, c := range []struct {
		uid  uint32
		path string
	}{{64123, base + "/c"}, {64125, own + "/d"}, {64123, "relative"}, {64123, own + "/../x"}, {0, own + "/e"}} {
		if got := makeDirs(c.uid, c.path); got.Code != 73 {
			t.Errorf("uid %d, %s: %v", c.uid, c.path, got)
		}
	}
}
