package attack_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"rookery/internal/attack"
	"rookery/internal/sandbox"
	"rookery/internal/sandbox/sandboxtest"
	"rookery/internal/sandbox/sandboxtest/inside"
)

// done lists the attempts that came through.
func done(got map[string]attack.Outcome) []string {
	var names []string
	for name, o := range got {
		if o.Done {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// TestRoles tries the catalogue as each role, with the whole Landlock and with
// what Debian 12 has, against a victim of the same uid and of another. What
// comes through is listed here, with the reason.
func TestRoles(t *testing.T) {
	prog := attacker(t)
	ownPair := []string{"descriptors through a fresh pair"} // login makes envelopes
	for _, c := range []struct {
		role     sandbox.Role
		noChroot bool
		shared   bool
		want     []string
	}{
		{sandbox.Login, false, true, ownPair},
		{sandbox.Login, false, false, ownPair},
		{sandbox.Login, true, true, ownPair}, // not started by root: nobody can chroot
		{sandbox.Authd, false, true, nil},
		{sandbox.Authd, true, false, nil},
		{sandbox.Authd, true, true, []string{"stat"}}, // it looks whether a passwd-file has changed
		{sandbox.Logd, false, true, nil},
		{sandbox.Logd, true, true, nil},
		{sandbox.IMAPWorker, false, true, nil},
		{sandbox.IMAPWorker, true, false, nil},
		{sandbox.IMAPWorker, true, true, []string{"stat", "stat by O_PATH"}}, // Landlock stops neither
		{sandbox.POP3Worker, false, true, nil},
		{sandbox.POP3Worker, true, false, nil},
		{sandbox.POP3Worker, true, true, []string{"stat", "stat by O_PATH"}},
	} {
		for _, abi := range []int{0, 2} {
			t.Run(fmt.Sprintf("%v/chroot=%v/shared=%v/abi=%d", c.role, !c.noChroot, c.shared, abi), func(t *testing.T) {
				got := run(t, prog, config{role: c.role, shared: c.shared, abi: abi, noChroot: c.noChroot, ns: sandboxtest.AllNamespaces})
				if names := done(got); !slices.Equal(names, c.want) {
					t.Errorf("came through: %q, want %q", names, c.want)
				}
			})
		}
	}
}

// TestPrivateUID gives a worker with a uid of his own what it gets for that:
// inotify shows nothing of another uid's directory.
func TestPrivateUID(t *testing.T) {
	prog := attacker(t)
	c := config{role: sandbox.IMAPWorker, noChroot: true, ns: sandboxtest.AllNamespaces, private: true}
	if names := done(run(t, prog, c)); names != nil {
		t.Errorf("came through: %q", names)
	}
	c.shared = true // what the option must never be set for
	if names := done(run(t, prog, c)); !slices.Equal(names, []string{"inotify", "stat", "stat by O_PATH"}) {
		t.Errorf("came through under a shared uid: %q", names)
	}
}

// TestTakenAway takes each guard from the weakest sandbox that is allowed (a
// shared uid, no common directory, ABI 2). At least one attempt comes through,
// or Stays says why the guard is there all the same, and with that other guard
// gone too one does.
func TestTakenAway(t *testing.T) {
	prog := attacker(t)
	base := config{role: sandbox.IMAPWorker, shared: true, noChroot: true, ns: sandboxtest.AllNamespaces}
	without := map[attack.Guard]func(*config){
		attack.Capabilities: func(c *config) { c.without |= sandbox.DropCaps },
		attack.Undumpable:   func(c *config) { c.without |= sandbox.Undumpable },
		attack.LandlockFS:   func(c *config) { c.without |= sandbox.Landlock },
		attack.LandlockFull: func(c *config) { c.abi = 2 },
		attack.Seccomp:      func(c *config) { c.without |= sandbox.Seccomp },
		attack.NetNS:        func(c *config) { c.ns &^= unix.CLONE_NEWNET },
		attack.PidNS:        func(c *config) { c.ns &^= unix.CLONE_NEWPID },
		attack.IPCNS:        func(c *config) { c.ns &^= unix.CLONE_NEWIPC },
	}
	stillThere := done(run(t, prog, base))
	for guard, take := range without {
		t.Run(guard.String(), func(t *testing.T) {
			c := base
			take(&c)
			more := len(done(run(t, prog, c))) > len(stillThere)
			stays, has := attack.Stays[guard]
			if more == has {
				t.Fatalf("something came through: %v; a reason to stay: %v", more, has)
			}
			if !has {
				return
			}
			before := base
			for other, takeOther := range without {
				if stays.With&other != 0 {
					takeOther(&before)
				}
			}
			after := before
			take(&after)
			if a, b := done(run(t, prog, before)), done(run(t, prog, after)); len(b) <= len(a) {
				t.Errorf("without %v: %q; without %v as well: %q", stays.With, a, guard, b)
			}
		})
	}
}

// TestChrootAndUID are the two that the test above starts without.
func TestChrootAndUID(t *testing.T) {
	prog := attacker(t)
	strong := config{role: sandbox.IMAPWorker, shared: true, ns: sandboxtest.AllNamespaces}
	weak := strong
	weak.without = sandbox.Chroot
	if a, b := done(run(t, prog, strong)), done(run(t, prog, weak)); a != nil || !slices.Contains(b, "stat") {
		t.Errorf("with the chroot %q, without %q", a, b)
	}
	weak.shared = false
	if got := done(run(t, prog, weak)); got != nil {
		t.Errorf("with a uid of his own %q", got)
	}
}

// TestOutside is what another program of the same uid tries on a confined
// process. Without "undumpable" it reads its memory.
func TestOutside(t *testing.T) {
	prog := attacker(t)
	for _, without := range []sandbox.Protection{0, sandbox.Undumpable} {
		r, w := pipe(t)
		p := sandboxtest.Launch(t, sandboxtest.Start{Program: prog, UID: attackerUID, NoCap: true, Flags: sandboxtest.AllNamespaces,
			Extra: r, Spec: inside.Spec{Role: sandbox.Logd, Job: "wait", Without: without}})
		p.WaitReady()
		res := sandboxtest.Run(t, sandboxtest.Start{Program: prog, UID: attackerUID, NoCap: true,
			Spec: inside.Spec{Job: "outside", Args: []string{strconv.Itoa(p.PID())}}})
		var got map[string]string
		must(t, json.Unmarshal(res.Report, &got))
		for _, name := range []string{"environ", "mem", "fd", "ptrace"} {
			if came := got[name] == ""; came != (without != 0) {
				t.Errorf("without %v: %s came through: %v (%s)", without, name, came, got[name])
			}
		}
		w[0].Close()
		if res := p.Wait(); res.Code != 0 {
			t.Errorf("the confined process ended with %d: %s", res.Code, res.Stderr)
		}
	}
}

// TestExec runs a program from inside: refused by seccomp, and by nothing else
// where the program lies in memory.
func TestExec(t *testing.T) {
	prog := attacker(t)
	for _, c := range []struct {
		without sandbox.Protection
		want    bool
	}{{0, false}, {sandbox.Landlock, false}, {sandbox.Seccomp, true}} {
		res := sandboxtest.Run(t, sandboxtest.Start{Program: prog, UID: attackerUID, NoCap: true, Flags: sandboxtest.AllNamespaces,
			Spec: inside.Spec{Role: sandbox.IMAPWorker, Job: "exec", Without: c.without}})
		if got := strings.TrimSpace(res.Stderr) == attack.ExecArg; got != c.want {
			t.Errorf("without %v: %d, %q; want executed: %v", c.without, res.Code, res.Stderr, c.want)
		}
	}
}

// TestOtherNumbers uses the kernel's other tables of numbers: the process ends
// at once, handler or not.
func TestOtherNumbers(t *testing.T) {
	prog := attacker(t)
	start := sandboxtest.Start{Program: prog, UID: attackerUID, NoCap: true, Spec: inside.Spec{Role: sandbox.IMAPWorker, Job: "32 bit"}}
	for _, job := range []string{"32 bit", "x32"} {
		start.Spec.Job, start.Spec.Without = job, 0
		if res := sandboxtest.Run(t, start); res.Code != -1 || res.Stderr != "" {
			t.Errorf("%s: %d, %q; want the end by SIGSYS", job, res.Code, res.Stderr)
		}
		start.Spec.Without = sandbox.Seccomp
		if res := sandboxtest.Run(t, start); res.Code != 70 || !strings.Contains(res.Stderr, "got through") {
			t.Errorf("%s without seccomp: %d, %q", job, res.Code, res.Stderr)
		}
	}
}
