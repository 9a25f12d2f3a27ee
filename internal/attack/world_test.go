package attack_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/attack"
	"rookery/internal/attack/attacktest"
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

// newWorld makes the directories of the attacker and of his victim.
func newWorld(t *testing.T, victimUID int) *attacktest.World {
	t.Helper()
	base := sandboxtest.PublicDir(t)
	own, other := filepath.Join(base, "own"), filepath.Join(base, "other")
	for dir, uid := range map[string]int{own: attackerUID, other: victimUID} {
		must(t, os.Mkdir(dir, 0o700))
		must(t, os.Chown(dir, uid, uid))
	}
	return attacktest.New(t, base, own, other, victimUID)
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

// run lets the attacker try everything in the config's sandbox.
func run(t *testing.T, prog string, c config) map[string]attack.Outcome {
	t.Helper()
	uid := uint32(strangerUID)
	if c.shared {
		uid = attackerUID
	}
	w := newWorld(t, int(uid))
	w.Victim(t, prog, int(uid))
	own := w.Env.Own
	s := sandboxtest.Start{Program: prog, UID: attackerUID, Flags: c.ns, Timeout: 30 * time.Second,
		Extra: w.Sockets,
		Spec:  inside.Spec{Role: c.role, ABI: c.abi, Without: c.without, TwoSteps: c.twoSteps, Private: c.private}}
	switch c.role {
	case sandbox.IMAPWorker, sandbox.POP3Worker:
		s.Places = []sandboxtest.Place{{Path: own, Access: sandbox.ReadWrite}}
		if !c.noChroot {
			s.Root = own
		}
	default:
		if !c.noChroot {
			s.Root = filepath.Join(filepath.Dir(own), "empty")
			must(t, os.Mkdir(s.Root, 0o755))
		}
	}
	if s.Root != "" && c.without&sandbox.Chroot == 0 {
		w.Env.Own = "/"
	}
	env, err := json.Marshal(w.Env)
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
