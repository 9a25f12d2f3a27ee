package attack_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/attack"
	"rookery/internal/sandbox"
	"rookery/internal/sandbox/sandboxtest"
	"rookery/internal/sandbox/sandboxtest/inside"
)

const (
	attackerUID = 64401
	strangerUID = 64402
)

// config is one combination of guards around the attacker.
type config struct {
	role     sandbox.Role
	shared   bool // the victim has the attacker's uid
	abi      int
	without  sandbox.Protection
	noChroot bool // the layout in which a user's paths lie below no common directory
	ns       uintptr
	twoSteps bool
	private  bool // Options.PrivateUID
}

// guards are those of the config, as the catalogue counts them.
func (c config) guards() attack.Guard {
	var g attack.Guard
	add := func(have bool, guard attack.Guard) {
		if have {
			g |= guard
		}
	}
	add(!c.noChroot && c.without&sandbox.Chroot == 0, attack.Chroot)
	add(c.without&sandbox.DropCaps == 0, attack.Capabilities)
	add(c.without&sandbox.Undumpable == 0, attack.Undumpable)
	add(c.without&sandbox.Landlock == 0, attack.LandlockFS)
	add(c.without&sandbox.Landlock == 0 && (c.abi == 0 || c.abi >= 6), attack.LandlockFull)
	add(c.without&sandbox.Seccomp == 0, attack.Seccomp)
	add(c.ns&unix.CLONE_NEWNET != 0, attack.NetNS)
	add(c.ns&unix.CLONE_NEWPID != 0, attack.PidNS)
	add(c.ns&unix.CLONE_NEWIPC != 0, attack.IPCNS)
	add(!c.shared, attack.UID)
	return g
}

// world is what the attacker aims at. Each run has its own, since attempts
// that come through change it.
type world struct {
	env     attack.Env
	own     string
	sockets []*os.File // two streams, two listeners, one MPTCP listener
}

func newWorld(t *testing.T, victimUID int) *world {
	t.Helper()
	base := sandboxtest.PublicDir(t)
	w := &world{own: filepath.Join(base, "own")}
	w.env = attack.Env{Own: w.own, Other: filepath.Join(base, "other"), Link: filepath.Join(base, "other", "a link"),
		UnixPath: filepath.Join(base, "socket"), Abstract: filepath.Base(base)}
	for dir, uid := range map[string]int{w.own: attackerUID, w.env.Other: victimUID} {
		must(t, os.Mkdir(dir, 0o700))
		must(t, os.Chown(dir, uid, uid))
	}
	for _, a := range attack.Catalogue() {
		name := filepath.Join(w.env.Other, filepath.Base(a.Name))
		must(t, os.WriteFile(name, []byte("the victim's mail"), 0o600))
		must(t, os.Chown(name, victimUID, victimUID))
	}
	must(t, os.Symlink("somewhere", w.env.Link))
	must(t, os.Symlink(filepath.Join(w.env.Other, "symbolic link, found"), filepath.Join(w.own, "trap")))
	w.openSockets(t)
	w.shareMemory(t)
	return w
}

// pipe is one whose ends the test closes.
func pipe(t *testing.T) (r, w []*os.File) {
	t.Helper()
	a, b, err := os.Pipe()
	must(t, err)
	t.Cleanup(func() { a.Close(); b.Close() })
	return []*os.File{a}, []*os.File{b}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) openSockets(t *testing.T) {
	t.Helper()
	target, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	must(t, err)
	path, err := net.Listen("unix", w.env.UnixPath)
	must(t, err)
	must(t, os.Chmod(w.env.UnixPath, 0o777))
	abstract, err := net.Listen("unix", "@"+w.env.Abstract)
	must(t, err)
	w.env.TCP, w.env.UDP = target.Addr().String(), udp.LocalAddr().String()
	closers := []io.Closer{target, udp, path, abstract}
	for range 2 {
		client, err := net.Dial("tcp4", target.Addr().String())
		must(t, err)
		accepted, err := target.Accept()
		must(t, err)
		f, err := accepted.(*net.TCPConn).File()
		must(t, err)
		accepted.Close()
		w.sockets = append(w.sockets, f)
		closers = append(closers, client)
	}
	for _, multipath := range []bool{false, false, true} {
		var conf net.ListenConfig
		conf.SetMultipathTCP(multipath)
		l, err := conf.Listen(context.Background(), "tcp4", "127.0.0.1:0")
		must(t, err)
		f, err := l.(*net.TCPListener).File()
		must(t, err)
		l.Close()
		w.sockets = append(w.sockets, f)
	}
	t.Cleanup(func() {
		for _, f := range w.sockets {
			closers = append(closers, f)
		}
		for _, c := range closers {
			c.Close()
		}
	})
}

func (w *world) shareMemory(t *testing.T) {
	t.Helper()
	w.env.ShmKey = 0x526b0000 | os.Getpid()&0xffff
	id, err := unix.SysvShmGet(w.env.ShmKey, 4096, unix.IPC_CREAT|0o666)
	must(t, err)
	t.Cleanup(func() { unix.SysvShmCtl(id, unix.IPC_RMID, nil) })
}

// victim starts the process that is attacked.
func victim(t *testing.T, prog string, uid uint32) int {
	t.Helper()
	p := sandboxtest.Launch(t, sandboxtest.Start{Program: prog, UID: uid, NoCap: true, Spec: inside.Spec{Job: "victim"}})
	t.Cleanup(p.Kill)
	p.WaitReady()
	return p.PID()
}

// run lets the attacker try everything in the config's sandbox.
func run(t *testing.T, prog string, c config) map[string]attack.Outcome {
	t.Helper()
	uid := uint32(strangerUID)
	if c.shared {
		uid = attackerUID
	}
	w := newWorld(t, int(uid))
	w.env.VictimPID = victim(t, prog, uid)
	s := sandboxtest.Start{Program: prog, UID: attackerUID, Flags: c.ns, Timeout: 30 * time.Second,
		Extra: w.sockets,
		Spec:  inside.Spec{Role: c.role, ABI: c.abi, Without: c.without, TwoSteps: c.twoSteps, Private: c.private}}
	switch c.role {
	case sandbox.IMAPWorker, sandbox.POP3Worker:
		s.Places = []sandboxtest.Place{{Path: w.own, Access: sandbox.ReadWrite}}
		if !c.noChroot {
			s.Root = w.own
		}
	default:
		if !c.noChroot {
			s.Root = filepath.Join(filepath.Dir(w.own), "empty")
			must(t, os.Mkdir(s.Root, 0o755))
		}
	}
	if s.Root != "" && c.without&sandbox.Chroot == 0 {
		w.env.Own = "/"
	}
	env, err := json.Marshal(w.env)
	must(t, err)
	s.Spec.Args = []string{string(env)}
	res := sandboxtest.Run(t, s)
	var list []attack.Outcome
	if err := json.Unmarshal(res.Report, &list); err != nil {
		t.Fatalf("%v: exit code %d, %q, stderr:\n%s", err, res.Code, res.Report, res.Stderr)
	}
	out := map[string]attack.Outcome{}
	for _, o := range list {
		out[o.Name] = o
	}
	return out
}
