package attack_test

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"rookery/internal/attack"
	"rookery/internal/sandbox"
	"rookery/internal/sandbox/sandboxtest"
)

func attacker(t *testing.T) string {
	t.Helper()
	sandboxtest.NeedRoot(t)
	return sandboxtest.Build(t, "rookery/internal/attack/attacker", "rookery_attack")
}

// everything is what the sandbox itself gives, but for two that have
// tests of their own.
const everything = sandbox.Chroot | sandbox.DropCaps | sandbox.Undumpable | sandbox.Landlock | sandbox.Seccomp

// compare holds the catalogue's claims against what happened: an attempt comes
// through exactly if none of the guards that stop it is there.
func compare(t *testing.T, c config, got map[string]attack.Outcome) {
	t.Helper()
	have := c.guards()
	for _, a := range attack.Catalogue() {
		o, ok := got[a.Name]
		switch want := a.Stopped&have == 0; {
		case !ok || o.NoAim:
			t.Errorf("%s: was not tried", a.Name)
		case want && !o.Done:
			t.Errorf("%s: should come through without %v, but: %s", a.Name, a.Stopped, o.Detail)
		case !want && o.Done:
			t.Errorf("%s: came through %v", a.Name, have)
		}
	}
}

// TestClaims tries the whole catalogue with no guard at all, where everything
// must come through (or the attempt proves nothing), and then with each guard
// alone and with all guards but one.
func TestClaims(t *testing.T) {
	prog := attacker(t)
	none := config{role: sandbox.IMAPWorker, shared: true, without: everything, noChroot: true}
	all := config{role: sandbox.IMAPWorker, ns: sandboxtest.AllNamespaces}
	cases := map[string]config{"no guard": none, "all guards": all}
	add := func(name string, from config, change func(*config)) {
		change(&from)
		cases[name] = from
	}
	add("chroot alone", none, func(c *config) { c.noChroot, c.without = false, everything&^sandbox.Chroot })
	add("capabilities alone", none, func(c *config) { c.without &^= sandbox.DropCaps })
	add("undumpable alone", none, func(c *config) { c.without &^= sandbox.Undumpable })
	add("landlock alone", none, func(c *config) { c.without &^= sandbox.Landlock })
	add("landlock abi 2 alone", none, func(c *config) { c.without &^= sandbox.Landlock; c.abi = 2 })
	add("seccomp alone", none, func(c *config) { c.without &^= sandbox.Seccomp })
	add("netns alone", none, func(c *config) { c.ns = unix.CLONE_NEWNET })
	add("pidns alone", none, func(c *config) { c.ns = unix.CLONE_NEWPID })
	add("ipcns alone", none, func(c *config) { c.ns = unix.CLONE_NEWIPC })
	add("uid alone", none, func(c *config) { c.shared = false })
	for _, abi := range []int{0, 2} {
		for _, shared := range []bool{true, false} {
			kind := fmt.Sprintf(" (abi %d, shared uid %v)", abi, shared)
			base := all
			base.abi, base.shared = abi, shared
			cases["all"+kind] = base
			add("all, as a spare"+kind, base, func(c *config) { c.twoSteps = true })
			add("no chroot"+kind, base, func(c *config) { c.noChroot = true })
			add("no landlock"+kind, base, func(c *config) { c.without = sandbox.Landlock })
			add("no chroot, no landlock"+kind, base, func(c *config) { c.noChroot = true; c.without = sandbox.Landlock })
			add("no seccomp"+kind, base, func(c *config) { c.without = sandbox.Seccomp })
			add("no chroot, no seccomp"+kind, base, func(c *config) { c.noChroot = true; c.without = sandbox.Seccomp })
			add("no netns"+kind, base, func(c *config) { c.ns &^= unix.CLONE_NEWNET })
			add("no pidns"+kind, base, func(c *config) { c.ns &^= unix.CLONE_NEWPID })
			add("no ipcns"+kind, base, func(c *config) { c.ns &^= unix.CLONE_NEWIPC })
			add("no capabilities dropped"+kind, base, func(c *config) { c.without = sandbox.DropCaps })
			add("no netns, no seccomp"+kind, base, func(c *config) { c.ns &^= unix.CLONE_NEWNET; c.without = sandbox.Seccomp })
			add("no pidns, no seccomp"+kind, base, func(c *config) { c.ns &^= unix.CLONE_NEWPID; c.without = sandbox.Seccomp })
			add("no ipcns, no seccomp"+kind, base, func(c *config) { c.ns &^= unix.CLONE_NEWIPC; c.without = sandbox.Seccomp })
			add("no seccomp, no capabilities dropped"+kind, base, func(c *config) { c.without = sandbox.Seccomp | sandbox.DropCaps })
		}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) { compare(t, c, run(t, prog, c)) })
	}
}
