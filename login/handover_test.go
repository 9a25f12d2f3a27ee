package login

import (
	"strings"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/ipc"
	"rookery/internal/ipc/authmsg"
	"rookery/internal/ipc/envelopemsg"
	"rookery/internal/ipc/handoffmsg"

	"golang.org/x/sys/unix"
)

// dup keeps a copy of an envelope, as master does until a worker has read GO.
func dup(t *testing.T, fd int) int {
	t.Helper()
	copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	return copied
}

func (r *rig) envelope(fd int) *ipc.Conn {
	r.t.Helper()
	env, err := ipc.NewConn(fd, envelopemsg.Protocol, ipc.FromServer)
	if err != nil {
		r.t.Fatal(err)
	}
	return env
}

// The first worker dies at one of several moments; a second one gets the session.
func TestSecondWorker(t *testing.T) {
	for _, test := range []struct {
		name  string
		first func(r *rig, fd int)
	}{
		{"before ACCEPT", func(r *rig, fd int) { r.envelope(fd).Close() }},
		{"after ACCEPT, GO unread", func(r *rig, fd int) {
			env := r.envelope(fd)
			env.Send(&envelopemsg.Accept{}, -1)
			env.Close()
		}},
		{"after reading GO", func(r *rig, fd int) {
			env := r.envelope(fd)
			env.Send(&envelopemsg.Accept{}, -1)
			if _, stream, err := env.Recv(); err == nil {
				unix.Close(stream)
			}
			env.Close()
		}},
	} {
		for _, name := range []string{"imap", "imaps"} {
			r := start(t, options{}, func(r *rig) {
				r.take = func(m *handoffmsg.Request, fd int) {
					r.wg.Go(func() {
						second := dup(t, fd)
						test.first(r, fd)
						r.work(second)
						r.master.Send(&handoffmsg.Done{ID: m.ID, PID: 2}, -1)
					})
				}
			})
			c := r.dial(name)
			if name == "imaps" {
				c = c.startTLS(r, nil)
			}
			c.hear("* OK")
			c.Write([]byte("a1 LOGIN ann pass\r\na2 NOOP\r\n"))
			w := r.next()
			if name == "imaps" { // what is pending comes by the stream, where login looks at it
				w.hear(t, "a2 NOOP\r\n")
				w.Go.Pending = []byte("a2 NOOP\r\n")
			}
			if w.Go.Tag != "a1" || string(w.Go.Pending) != "a2 NOOP\r\n" || w.Go.Unauthenticate != (name == "imaps") {
				t.Errorf("%s: %+v", test.name, w.Go)
			}
			w.say("a1 OK\r\n")
			c.hear("a1 OK")
			c.say("a3 NOOP")
			w.hear(t, "a3 NOOP\r\n")
			r.wait("Login: user=<ann@example.test>", "mpid=2")
		}
	}
}

// Before GO a failure is a NO on a living connection, and the next try works.
func TestFailureBeforeGo(t *testing.T) {
	tries := 0
	r := start(t, options{welcome: handoffmsg.Welcome{Credits: 1, HostName: "h"}}, func(r *rig) {
		r.take = func(m *handoffmsg.Request, fd int) {
			tries++
			switch tries {
			case 1: // a limit
				unix.Close(fd)
				r.master.Send(&handoffmsg.Done{ID: m.ID, Failed: true, Kind: errkind.Limit, Text: "Maximum number of connections from user+IP exceeded (mail_max_userip_connections=50)"}, -1)
			case 2: // the answer comes before the envelope is closed
				r.master.Send(&handoffmsg.Done{ID: m.ID, Failed: true, Kind: errkind.Unavailable}, -1)
				unix.Close(fd)
			default:
				r.wg.Go(func() {
					r.work(fd)
					r.master.Send(&handoffmsg.Done{ID: m.ID, PID: 3}, -1)
				})
			}
		}
	})
	c := r.dial("imap")
	c.hear("* OK")
	c.Write([]byte("a1 LOGIN ann pass\r\na2 NOOP\r\n"))
	c.hear("a1 NO [LIMIT] Maximum number of connections from user+IP exceeded (mail_max_userip_connections=50)")
	c.hear("a2 OK")
	r.wait("imap-login: Maximum number of connections from user+IP exceeded (mail_max_userip_connections=50): user=<ann@example.test>, method=PLAIN, ")
	c.say("a3 LOGIN ann pass")
	c.hear("a3 NO [UNAVAILABLE]")
	r.wait("Internal login failure: unavailable: user=<ann@example.test>")
	c.say("a4 LOGIN ann pass") // the only credit has come back twice
	if w := r.next(); w.Go.Tag != "a4" {
		t.Errorf("%+v", w.Go)
	}
}

// After GO nobody but a worker may speak: the connection ends without a word.
func TestFailureAfterGo(t *testing.T) {
	r := start(t, options{}, func(r *rig) {
		r.take = func(m *handoffmsg.Request, fd int) {
			env := r.envelope(fd)
			env.Send(&envelopemsg.Accept{}, -1)
			_, stream, err := env.Recv()
			if err != nil {
				t.Error(err)
			}
			unix.Close(stream)
			r.master.Send(&handoffmsg.Done{ID: m.ID, Failed: true, Kind: errkind.Unavailable, Text: "the worker died twice"}, -1)
			env.SetReadDeadline(time.Now().Add(10 * time.Second))
			env.Recv() // until login closes it
			env.Close()
		}
	})
	for _, name := range []string{"imap", "imaps"} {
		c := r.dial(name)
		if name == "imaps" {
			c = c.startTLS(r, nil)
		}
		c.hear("* OK")
		c.say("a1 LOGIN ann pass")
		c.end()
	}
	r.wait("Internal login failure: no worker took the session: the worker died twice: user=<ann@example.test>")
}

// Requests beyond the credits wait their turn.
func TestCredits(t *testing.T) {
	requests := make(chan *handoffmsg.Request, 10)
	r := start(t, options{welcome: handoffmsg.Welcome{Credits: 1, HostName: "h"}}, func(r *rig) {
		r.take = func(m *handoffmsg.Request, fd int) {
			unix.Close(fd)
			requests <- m
		}
	})
	a, b := r.dial("imap"), r.dial("imap")
	for _, c := range []*client{a, b} {
		c.hear("* OK")
		c.say("a1 LOGIN ann pass")
	}
	first := <-requests
	for len(r.server.credits) > 0 {
		t.Fatal("a credit is left")
	}
	select {
	case <-requests:
		t.Fatal("a second request without a credit")
	case <-time.After(50 * time.Millisecond):
	}
	r.master.Send(&handoffmsg.Done{ID: first.ID, Failed: true, Kind: errkind.Unavailable}, -1)
	second := <-requests
	if second.ID == first.ID || second.Session == first.Session || second.Ticket != [16]byte{7} {
		t.Errorf("%+v", second)
	}
	r.master.Send(&handoffmsg.Done{ID: second.ID, Failed: true, Kind: errkind.Unavailable}, -1)
	a.hear("a1 NO [UNAVAILABLE]")
	b.hear("a1 NO [UNAVAILABLE]")
}

// authd is started anew: what was under way is lost, sessions and process stay.
func TestAuthdIsReplaced(t *testing.T) {
	r := start(t, options{}, func(r *rig) { r.decide = func(*authmsg.Begin) ipc.Message { return nil } })
	c := r.dial("imap")
	c.hear("* OK")
	c.say("a1 LOGIN ann pass")
	for begun := 0; begun == 0; {
		r.mu.Lock()
		begun = len(r.begun)
		r.mu.Unlock()
	}
	r.mu.Lock()
	r.decide = nil
	r.authd.Close()
	r.mu.Unlock()
	c.hear("a1 NO [UNAVAILABLE]")
	c.say("a2 LOGIN ann pass")
	c.hear("a2 NO [UNAVAILABLE]")
	ours, theirs, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	r.startAuthd(theirs)
	r.master.Send(&handoffmsg.Auth{}, ours)
	unix.Close(ours)
	for deadline := time.Now().Add(10 * time.Second); ; {
		c.say("a3 LOGIN ann wrong")
		if line := c.hear("a3 NO ["); strings.Contains(line, "AUTHENTICATIONFAILED") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the new channel is not used")
		}
	}
	r.dialTLS("imaps", nil).hear("* OK") // signatures too
}

func TestAuthdThatBreaksTheRulesIsFatal(t *testing.T) {
	r := start(t, options{})
	ours, theirs, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	r.master.Send(&handoffmsg.Auth{}, ours)
	unix.Close(ours)
	unix.Sendmsg(theirs, []byte("garbage"), nil, nil, 0)
	if err := r.ended(); err == nil || !strings.Contains(err.Error(), "channel auth") {
		t.Error(err)
	}
	unix.Close(theirs)
}

// A client that goes away during each wait leaves nothing behind.
func TestClientsThatGoAway(t *testing.T) {
	r := start(t, options{config: func(c *config) { c.timeout = 300 * time.Millisecond }}, func(r *rig) {
		r.decide = func(m *authmsg.Begin) ipc.Message {
			if strings.Contains(string(m.Initial.Reveal()), "hang") {
				return nil
			}
			return plainAuthd(m)
		}
		r.take = func(m *handoffmsg.Request, fd int) { // nobody ever answers
			r.t.Cleanup(func() { unix.Close(fd) })
		}
	})
	a, b, c := r.dial("imap"), r.dial("imap"), r.dial("imap")
	a.hear("* OK")
	a.Close()
	r.wait("Disconnected (no auth attempts in 0 secs): user=<>, ")
	b.hear("* OK")
	b.say("a1 LOGIN hang x")
	b.hear("* BYE Disconnected for inactivity")
	b.end()
	r.wait("Disconnected: Inactivity (disconnected while authenticating, waited 0 secs): user=<hang>, ")
	c.hear("* OK")
	c.hear("* BYE Disconnected for inactivity")
	d := r.dial("imap")
	d.hear("* OK")
	d.say("a1 LOGIN ann pass")
	d.hear("* BYE Disconnected for inactivity")
	r.wait("Disconnected: Inactivity (disconnected while finishing login, waited 0 secs): user=<ann@example.test>, ")
	for deadline := time.Now().Add(10 * time.Second); ; {
		r.server.mu.Lock()
		n := len(r.server.sessions)
		r.server.mu.Unlock()
		if n == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(n, "sessions are left")
		}
	}
	r.server.auth.mu.Lock()
	defer r.server.auth.mu.Unlock()
	if len(r.server.auth.attempts) != 0 {
		t.Error("attempts are left")
	}
}

// A GO that nobody can get any more is no GO: the client has its answer.
func TestGoThatReachesNobody(t *testing.T) {
	r := start(t, options{}, func(r *rig) {
		r.take = func(m *handoffmsg.Request, fd int) {
			r.server.mu.Lock() // login cannot send GO before the envelope is closed
			env := r.envelope(fd)
			env.Send(&envelopemsg.Accept{}, -1)
			env.Close()
			r.server.mu.Unlock()
			r.master.Send(&handoffmsg.Done{ID: m.ID, Failed: true, Kind: errkind.Unavailable}, -1)
		}
	})
	c := r.dial("imap")
	c.hear("* OK")
	c.say("a1 LOGIN ann pass")
	c.hear("a1 NO [UNAVAILABLE]")
	c.say("a2 NOOP")
	c.hear("a2 OK")
}

// The process ends in time though a worker and master leave it hanging.
func TestEndWhileHandingOver(t *testing.T) {
	for _, name := range []string{"imap", "imaps"} {
		held := make(chan *ipc.Conn, 1)
		r := start(t, options{}, func(r *rig) {
			r.take = func(m *handoffmsg.Request, fd int) {
				env := r.envelope(fd)
				env.Send(&envelopemsg.Accept{}, -1)
				if _, stream, err := env.Recv(); err == nil {
					unix.Close(stream)
				}
				held <- env
			}
		})
		c := r.dial(name)
		if name == "imaps" {
			c = c.startTLS(r, nil)
		}
		c.hear("* OK")
		c.say("a1 LOGIN ann pass")
		env := <-held
		r.master.Send(&handoffmsg.Shutdown{Within: time.Millisecond}, -1)
		if err := r.ended(); err != nil {
			t.Error(err)
		}
		env.Close()
	}
}

// A new channel to authd may come before the old one's end is seen.
func TestOldAttemptsDieWithTheirChannel(t *testing.T) {
	r := start(t, options{}, func(r *rig) { r.decide = func(*authmsg.Begin) ipc.Message { return nil } })
	c := r.dial("imap")
	c.hear("* OK")
	c.say("a1 LOGIN ann pass")
	for begun := 0; begun == 0; {
		r.mu.Lock()
		begun = len(r.begun)
		r.mu.Unlock()
	}
	ours, theirs, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	old := r.authd
	r.startAuthd(theirs)
	r.master.Send(&handoffmsg.Auth{}, ours)
	unix.Close(ours)
	c.hear("a1 NO [UNAVAILABLE]")
	old.Close()
}

// Once GO is given, neither login_timeout nor a shutdown touches the client,
// though the worker takes its time.
func TestNoKickAfterGo(t *testing.T) {
	for _, name := range []string{"imap", "imaps"} {
		got := make(chan *ipc.Conn, 1)
		requests := make(chan uint64, 1)
		r := start(t, options{config: func(c *config) { c.timeout = 200 * time.Millisecond }}, func(r *rig) {
			r.take = func(m *handoffmsg.Request, fd int) {
				env := r.envelope(fd)
				env.Send(&envelopemsg.Accept{}, -1)
				r.readGo(env)
				got <- env
				requests <- m.ID
			}
		})
		c := r.dial(name)
		if name == "imaps" {
			c = c.startTLS(r, nil)
		}
		c.hear("* OK")
		c.say("a1 LOGIN ann pass")
		w, env, id := r.next(), <-got, <-requests
		time.Sleep(300 * time.Millisecond) // beyond login_timeout
		r.master.Send(&handoffmsg.Shutdown{Within: time.Minute}, -1)
		w.say("a1 OK\r\n")
		env.Close()
		r.master.Send(&handoffmsg.Done{ID: id, PID: 1}, -1)
		c.hear("a1 OK")
		c.say("a2 NOOP")
		w.hear(t, "a2 NOOP\r\n")
		w.stream.Close()
		c.end()
		c.Close()
		if err := r.ended(); err != nil {
			t.Error(err)
		}
	}
}
