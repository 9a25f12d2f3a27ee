package login

import (
	"bytes"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"rookery/internal/ipc/handoffmsg"
	"rookery/internal/settings"
	"rookery/login/internal/relay"
)

// rest reads all that a worker still gets.
func (w *worker) rest(t *testing.T) string {
	t.Helper()
	p, err := io.ReadAll(w.stream)
	if err != nil {
		t.Fatalf("%q, %v", p, err)
	}
	return string(p)
}

// greeted is a rig with a client over TLS that was greeted.
func greeted(t *testing.T, o options) (*rig, *client) {
	t.Helper()
	r := start(t, o)
	return r, r.greet("imaps")
}

// greet gives a client over TLS that was greeted.
func (r *rig) greet(name string) *client {
	c := r.dialTLS(name, nil)
	c.hear("* OK")
	return c
}

// loggedIn is greeted, and ann logged in, as a1.
func loggedIn(t *testing.T, o options) (*rig, *client, *worker) {
	t.Helper()
	r, c := greeted(t, o)
	c.say("a1 LOGIN ann pass")
	w := r.next()
	w.say("a1 OK x\r\n")
	c.hear("a1 OK")
	return r, c, w
}

// Two users on one connection, all in one write: the first one's worker reads what is
// his, the second one's password is nobody's but authd's.
func TestUnauthenticate(t *testing.T) {
	r, c := greeted(t, options{})
	c.say("a1 LOGIN ann pass\r\na2 NOOP\r\na3 UNAUTHENTICATE\r\na4 LOGIN bob pass\r\na5 NOOP\r\na6 UNAUTHENTICATE")
	first := r.next()
	if !first.Go.Unauthenticate || len(first.Go.Pending) > 0 {
		t.Errorf("%+v", first.Go)
	}
	if got := first.rest(t); got != "a2 NOOP\r\na3 UNAUTHENTICATE\r\n" {
		t.Errorf("the first worker read %q", got)
	}
	first.say("a1 OK x\r\na2 OK x\r\n")
	first.stream.Close()
	c.hear("a1 OK x")
	c.hear("a2 OK x")
	if line := c.hear("a3 OK [CAPABILITY IMAP4rev1 "); !strings.Contains(line, " AUTH=PLAIN ") || strings.Contains(line, "STARTTLS") {
		t.Error(line)
	}
	second := r.next()
	if second.Go.Tag != "a4" || second.Go.Session == first.Go.Session {
		t.Errorf("%+v", second.Go)
	}
	if begin := r.begin(-1); begin.Peer.Session != second.Go.Session || !begin.Peer.TLS {
		t.Errorf("%+v", begin.Peer)
	}
	if got := second.rest(t); got != "a5 NOOP\r\na6 UNAUTHENTICATE\r\n" {
		t.Errorf("the second worker read %q", got)
	}
	second.say("a4 OK x\r\na5 OK x\r\n")
	second.stream.Close()
	c.hear("a4 OK x")
	c.hear("a5 OK x")
	c.hear("a6 OK [CAPABILITY")
	r.wait("UNAUTHENTICATE of user=<ann@example.test>, what follows is session=<" + second.Go.Session + ">")
	r.wait("Login: user=<bob@example.test>", "session=<"+second.Go.Session+">")
	c.say("a7 LOGOUT")
	c.hear("* BYE")
	c.hear("a7 OK")
	c.end()
	r.wait("Aborted login (no auth attempts in 0 secs): user=<>, ")
}

// However the bytes come, the next one's password is in nobody's stream.
func TestUnauthenticateByteByByte(t *testing.T) {
	r, c, w := loggedIn(t, options{})
	for _, b := range []byte("a2 APPEND x {20+}\r\na3 UNAUTHENTICATE\r\n\r\na4 unauthenticate \r\na5 LOGIN bob pass\r\n") {
		c.Write([]byte{b})
	}
	if got := w.rest(t); got != "a2 APPEND x {20+}\r\na3 UNAUTHENTICATE\r\n\r\na4 unauthenticate \r\n" {
		t.Errorf("%q", got)
	}
	w.say("a2 OK x\r\n")
	w.stream.Close()
	c.hear("a2 OK")
	c.hear("a4 OK [CAPABILITY")
	if second := r.next(); second.Go.Tag != "a5" {
		t.Errorf("%+v", second.Go)
	}
}

// A worker that does not end, or ends in the middle, takes the connection with it; what
// the client said behind the command is in nobody's stream.
func TestUnauthenticateOfBadWorkers(t *testing.T) {
	for _, test := range []struct {
		name   string
		worker func(w *worker)
		bye    bool
	}{
		{"silent", func(w *worker) {}, false},
		{"without an end", func(w *worker) {
			w.say("a1 OK x\r\n")
			for {
				if _, err := w.stream.Write([]byte("* OK x\r\n")); err != nil {
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		}, false},
		{"it asks for more", func(w *worker) { w.say("a1 OK x\r\n+ OK\r\n") }, false},
		{"it answers what was not asked", func(w *worker) { w.say("a1 OK x\r\na9 OK\r\n") }, false},
		{"it answers for login", func(w *worker) { w.say("a1 OK x\r\na2 OK\r\n") }, false},
		{"dead", func(w *worker) { w.stream.Close() }, true},
		{"half a response", func(w *worker) {
			w.say("a1 OK x\r\n* 1 FETCH (X {5}\r\nab")
			w.stream.Close()
		}, true},
		{"a bye", func(w *worker) {
			w.say("a1 OK x\r\n* BYE x\r\n")
			w.stream.Close()
		}, true},
		{"half closed", func(w *worker) {
			w.say("a1 OK x\r\n* BYE x\r\n")
			w.stream.CloseWrite()
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			timeouts := relay.Timeouts{Write: time.Minute, Half: 100 * time.Millisecond, Finish: 300 * time.Millisecond, Linger: 50 * time.Millisecond}
			if test.name == "without an end" {
				timeouts.Half = time.Minute // Finish alone ends it
			}
			r, c := greeted(t, options{relay: timeouts})
			c.say("a1 LOGIN ann pass\r\na2 UNAUTHENTICATE\r\na3 LOGIN bob pass\r\na4 NOOP")
			w := r.next()
			if got := w.rest(t); got != "a2 UNAUTHENTICATE\r\n" {
				t.Errorf("the worker read %q", got)
			}
			began := time.Now()
			test.worker(w)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("the worker could go on for %v", took)
			}
			all, _ := io.ReadAll(c)
			if bytes.Contains(all, []byte("a3 ")) || bytes.Contains(all, []byte("[CAPABILITY")) || bytes.HasSuffix(all, []byte("* BYE [UNAVAILABLE] Internal error, try again later.\r\n")) != test.bye {
				t.Errorf("the client read %q", all)
			}
			r.mu.Lock()
			begun := len(r.begun)
			r.mu.Unlock()
			if begun != 1 {
				t.Errorf("%d logins were begun", begun)
			}
			for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
				r.server.mu.Lock()
				left, relayed := len(r.server.sessions), r.server.relayed
				r.server.mu.Unlock()
				if left == 0 && relayed == 0 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("%d sessions are left, %d relayed", left, relayed)
				}
			}
		})
	}
}

// A worker that tells the client and login different things, of one and the same
// bytes, ends the session before either goes on.
func TestWorkerThatMisleads(t *testing.T) {
	for _, said := range []string{
		"* OK x {20}\r\n* 1 FETCH (X {40}\r\n+ go\r\n", // a literal to some
		"* OK x\n+ go\r\n", // a line to some
		"* LIST () \"/\" \"x\r\n+ go\r\n\"\r\n",
		"+ go\r\n",
		"a3 NO x\r\n", // before it was asked
	} {
		r, c, w := loggedIn(t, options{})
		w.say(said)
		r.wait("is ended: the worker")
		c.Write([]byte("a3 LOGIN bob pass\r\n")) // may fail: the connection is gone
		if got := w.rest(t); got != "" {
			t.Errorf("after %q the worker read %q", said, got)
		}
		if all, _ := io.ReadAll(c); len(all) > 0 {
			t.Errorf("the client read %q", all)
		}
	}
}

// A worker that has said all may still read: it gets nothing.
func TestNothingAfterTheLastWord(t *testing.T) {
	r, c := greeted(t, options{})
	c.say("a1 LOGIN ann pass")
	w := r.next()
	w.say("a1 OK x\r\n")
	w.stream.CloseWrite()
	c.hear("a1 OK")
	c.end()
	c.Write([]byte("a2 UNAUTHENTICATE\r\na3 LOGIN bob pass\r\n"))
	c.Close()
	if got := w.rest(t); got != "" {
		t.Errorf("the worker read %q", got)
	}
}

// What counts against a client stays: failed logins and bad commands; its places and
// login_timeout begin anew.
func TestStrangerAgain(t *testing.T) {
	r, c := greeted(t, options{config: func(c *config) { c.badCommands, c.timeout = 4, 500*time.Millisecond }})
	c.say("a1 LOGIN ann wrong")
	c.hear("a1 NO")
	for range 3 {
		c.say("a2 NONSENSE")
		c.hear("a2 BAD")
	}
	c.say("a3 LOGIN ann pass")
	w := r.next()
	if n := r.strangers(); n != 0 {
		t.Errorf("%d strangers", n)
	}
	time.Sleep(600 * time.Millisecond) // beyond login_timeout, which is for strangers
	w.say("a3 OK x\r\n")
	c.hear("a3 OK")
	c.say("a4 UNAUTHENTICATE")
	w.rest(t)
	w.stream.Close()
	c.hear("a4 OK")
	if n := r.strangers(); n != 1 {
		t.Errorf("%d strangers", n)
	}
	c.say("a5 NONSENSE")
	c.hear("a5 BAD")
	c.hear("* BYE Too many invalid commands.")
	c.end()
	r.wait("Disconnected: Too many invalid commands (auth failed, 1 attempts in")
	if n := r.strangers(); n != 0 {
		t.Errorf("%d strangers", n)
	}
	c = r.again(t, "imaps")
	c.hear("* BYE Disconnected for inactivity")
	c.end()
}

func (r *rig) strangers() int {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	return r.server.places.Len()
}

// again gives a client that has logged in and said UNAUTHENTICATE.
func (r *rig) again(t *testing.T, name string) *client {
	t.Helper()
	c := r.greet(name)
	c.say("b1 LOGIN ann pass\r\nb2 UNAUTHENTICATE")
	w := r.next()
	w.say("b1 OK x\r\n")
	w.rest(t)
	w.stream.Close()
	c.hear("b1 OK")
	c.hear("b2 OK [CAPABILITY")
	return c
}

// Whom a trusted client speaks for, its ID and its language are forgotten.
func TestUnauthenticateForgets(t *testing.T) {
	r, c := greeted(t, options{config: func(c *config) { c.trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }})
	c.say(`a0 ID ("name" "web" "x-originating-ip" "192.0.2.9" "x-session-id" "theirs")`)
	c.hear("* ID")
	c.hear("a0 OK")
	c.say("a1 LANGUAGE de")
	c.hear("* LANGUAGE")
	c.hear("a1 OK")
	c.say("a2 LOGIN ann pass\r\na3 UNAUTHENTICATE\r\na4 LOGIN bob pass")
	w := r.next()
	if w.Go.Remote.Addr().String() != "192.0.2.9" || w.Go.Session != "theirs" || w.Go.Lang != "de" || len(w.Go.Client) == 0 {
		t.Errorf("%+v", w.Go)
	}
	w.say("a2 OK x\r\n")
	w.rest(t)
	w.stream.Close()
	c.hear("a2 OK")
	c.hear("a3 OK [CAPABILITY")
	w = r.next()
	if w.Go.Remote.String() != c.LocalAddr().String() || w.Go.Session == "theirs" || w.Go.Lang != "" || len(w.Go.Client) > 0 {
		t.Errorf("%+v", w.Go)
	}
	if p := r.begin(-1).Peer; p.Remote.String() != c.LocalAddr().String() {
		t.Errorf("%+v", p)
	}
}

// After Shutdown nobody logs in again, though the session before was let finish.
func TestUnauthenticateInShutdown(t *testing.T) {
	r, c, w := loggedIn(t, options{})
	r.master.Send(&handoffmsg.Shutdown{Within: 20 * time.Second}, -1)
	stranger := r.isLeaving()
	if !stranger {
		t.Fatal("it does not shut down")
	}
	c.say("a2 UNAUTHENTICATE\r\na3 LOGIN bob pass")
	w.rest(t)
	w.stream.Close()
	c.hear("* BYE [UNAVAILABLE] Server is shutting down.")
	c.end()
	if err := r.ended(); err != nil {
		t.Error(err)
	}
}

func (r *rig) isLeaving() bool {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		r.server.mu.Lock()
		leaving := r.server.leaving
		r.server.mu.Unlock()
		if leaving {
			return true
		}
	}
	return false
}

// Under imap_unauthenticate = false, over a connection without TLS, and with POP3, login
// looks at nothing.
func TestNoUnauthenticate(t *testing.T) {
	for _, name := range []string{"imap", "imaps", "pop3"} {
		r := start(t, options{set: func(s *settings.Set) { settings.IMAPUnauthenticate.Put(s, name != "imaps") }})
		var c *client
		switch name {
		case "imap":
			c = r.dial(name)
			c.hear("* OK")
			c.say("a1 LOGIN ann pass\r\na2 UNAUTHENTICATE\r\na3 x")
		case "imaps":
			c = r.greet(name)
			c.say("a1 LOGIN ann pass\r\na2 UNAUTHENTICATE\r\na3 x")
		default:
			c = r.dial(name)
			c.hear("+OK")
			c.say("STLS")
			c.hear("+OK")
			c = c.startTLS(r, nil)
			c.say("USER ann\r\nPASS pass\r\na2 UNAUTHENTICATE\r\na3 x")
			c.hear("+OK")
		}
		w := r.next()
		if string(w.Go.Pending) != "a2 UNAUTHENTICATE\r\na3 x\r\n" || w.Go.Unauthenticate {
			t.Errorf("%s: %+v", name, w.Go)
		}
		w.say("+ whatever\n")
		c.hear("+ whatever")
		c.say("a4 UNAUTHENTICATE")
		w.hear(t, "a4 UNAUTHENTICATE\r\n")
	}
}
