package attack_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"rookery/internal/child"
	"rookery/internal/e2e/harness"
	"rookery/internal/sandbox"
)

// workerNoAim are the attempts for which a worker holds no socket.
var workerNoAim = []string{"client socket: disconnect, connect", "listener: disconnect, connect", "MPTCP listener: disconnect, connect", "listener: shutdown, MSG_FASTOPEN"}

// takenWorker logs in; the session is then the evil worker's.
func (s *server) takenWorker(role child.Role, user string) *harness.Client {
	s.t.Helper()
	if role == child.POP3Worker {
		c, err := s.dial("pop3")
		must(s.t, err)
		c.ExpectPrefix("+OK")
		c.POP3("USER %s", user)
		must(s.t, c.Send("PASS pass\r\n"))
		if line := c.Line(); !strings.HasSuffix(line, "OK taken over") {
			s.t.Fatalf("logged in: %q", line)
		}
		return c
	}
	c, err := s.dial("imap")
	must(s.t, err)
	c.ExpectPrefix("* OK")
	must(s.t, c.Send("a LOGIN "+user+" pass\r\n"))
	if line := c.Line(); line != "a OK taken over" {
		s.t.Fatalf("logged in: %q", line)
	}
	return c
}

// TestWorker takes over the processes that hold one user's mail: with the
// whole Landlock and with Debian 12's, with a uid of his own and with another
// user's.
func TestWorker(t *testing.T) {
	for _, role := range []child.Role{child.IMAPWorker, child.POP3Worker} {
		for _, abi := range []int{0, 2} {
			for _, shared := range []bool{false, true} {
				s := setup{role: role, shared: shared, abi: abi}
				t.Run(s.String(), func(t *testing.T) {
					srv := start(t, s)
					if shared {
						srv.waitSpare(role)
					}
					c := srv.takenWorker(role, "u1")
					if n := srv.inTwoStages(role); shared != (n == 1) {
						t.Errorf("%d workers entered their sandbox in two stages", n)
					}
					got := readSummary(t, order(c, "try"))
					if got.Done != nil {
						t.Errorf("came through: %q", got.Done)
					}
					if !slices.Equal(got.NoAim, workerNoAim) {
						t.Errorf("not tried: %q", got.NoAim)
					}
				})
			}
		}
	}
}

// TestNextPassword: UNAUTHENTICATE, with the next user's login in the same write, before
// it and in pieces. A taken-over worker of the first user reads none of it.
func TestNextPassword(t *testing.T) {
	srv := start(t, setup{role: child.IMAPWorker})
	for _, piece := range []int{1 << 20, 1, 7} {
		c, err := srv.demo.TryDial("imaps")
		must(t, err)
		t.Cleanup(c.Close)
		c.ExpectPrefix("* OK")
		text := "a LOGIN u1 pass\r\nb UNAUTHENTICATE\r\nc AUTHENTICATE PLAIN AHUyAHBhc3M=\r\nd UNAUTHENTICATE\r\ne LOGIN {2+}\r\nu3 {4+}\r\npass\r\n"
		for rest := text; rest != ""; {
			n := min(piece, len(rest))
			must(t, c.Send(rest[:n]))
			rest = rest[n:]
		}
		for _, want := range []string{"a OK taken over", "b OK [CAPABILITY", "c OK taken over", "d OK [CAPABILITY", "e OK taken over"} {
			c.ExpectPrefix(want)
		}
	}
	// The same process, asked on another connection.
	got, err := strconv.Unquote(order(srv.takenWorker(child.IMAPWorker, "u1"), "heard"))
	if want := strings.Repeat("b UNAUTHENTICATE\r\n", 3) + "heard\r\n"; err != nil || got != want {
		t.Errorf("the first user's worker heard %q, %v; want %q", got, err, want)
	}
}

// waitSpare has two other users of the same uid log in, after which a process
// waits, already started, for the next one.
func (s *server) waitSpare(role child.Role) {
	s.t.Helper()
	s.takenWorker(role, "u2")
	s.takenWorker(role, "u3")
	s.eventually("a spare waits", func() bool {
		for _, p := range s.workers(role) {
			if p.Filters == 1 && p.Caps["prm"] != "0000000000000000" { // CAP_SYS_CHROOT, for its user's directory
				return true
			}
		}
		return false
	})
}

// workers are master's children of a role.
func (s *server) workers(role child.Role) []sandbox.ProcState {
	s.t.Helper()
	return slices.DeleteFunc(s.children(), func(p sandbox.ProcState) bool { return !strings.HasPrefix(role.Program(), p.Comm) })
}

// inTwoStages counts workers with two filters, one upon the other.
func (s *server) inTwoStages(role child.Role) int {
	n := 0
	for _, p := range s.workers(role) {
		if p.Filters == 2 {
			n++
		}
	}
	return n
}

// TestWorkerChannels breaks every rule of the channel between a worker and
// master, and of the log. Another user's session goes on all the while. Each
// time it is another user's worker: one whose workers die at once must wait.
func TestWorkerChannels(t *testing.T) {
	srv := start(t, setup{role: child.IMAPWorker})
	bystander := srv.takenWorker(child.IMAPWorker, "u2")
	before := srv.descriptors()
	for i, kind := range []string{"unknown message", "bytes left over", "cut short", "one byte", "nothing", "huge", "noise", "other side's message",
		"wrong descriptor", "many descriptors", "itself as descriptor", "flood", "flood of descriptors"} {
		c := srv.takenWorker(child.IMAPWorker, "u"+strconv.Itoa(4+i))
		order(c, "abuse %s", kind)
		if got := order(bystander, "ping"); got != "here" {
			t.Fatalf("%s: the other user's session says %q", kind, got)
		}
		c.Close()
	}
	c := srv.takenWorker(child.IMAPWorker, "u3")
	order(c, "other") // claims about others' sessions
	c.Close()
	c = srv.takenWorker(child.IMAPWorker, "u1")
	if who, err := srv.demo.Ctl("who"); err != nil || !strings.Contains(who, "u2@example.test") {
		t.Errorf("who does not know the other user any more: %q, %v", who, err)
	}
	if got := order(bystander, "ping"); got != "here" {
		t.Errorf("the other user's session says %q", got)
	}
	if got := order(c, "log"); got != "done" {
		t.Errorf("forged lines: %q", got)
	}
	srv.forgedAs("imap")
	c.Close()
	srv.eventually("master holds no more descriptors than before", func() bool { return srv.descriptors() <= before+8 })
}
