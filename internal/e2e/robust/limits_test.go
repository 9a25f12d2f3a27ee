package robust

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"rookery/internal/e2e/harness"
)

// answer tries a login that must fail, and gives what the server said.
func answer(t *testing.T, d *harness.Demo, service, user string) string {
	t.Helper()
	c, err := login(d, service, user)
	if err == nil {
		c.Close()
		t.Fatalf("login of %s over %s succeeded", user, service)
	}
	return err.Error()
}

func counter(t *testing.T, d *harness.Demo, name string, want uint64) {
	t.Helper()
	if got := d.Status().Counters[name]; got != want {
		t.Errorf("counter %s is %d, want %d", name, got, want)
	}
}

// TestConnectionLimits: a client over a limit is told which; each protocol counts
// for itself; a session that ends makes room.
func TestConnectionLimits(t *testing.T) {
	d := harness.StartWith(t, []string{"mail_max_userip_connections = 2", "mail_max_user_connections = 3"}, "--users", "3", "--empty", "--no-localhost-exemption")
	first := mustLogin(t, d, "imap", "u1")
	mustLogin(t, d, "imaps", "u1")
	if got, want := answer(t, d, "imap", "u1"), "l NO [LIMIT] Maximum number of connections from user+IP exceeded (mail_max_userip_connections=2)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	mustLogin(t, d, "pop3", "u1")
	pop := mustLogin(t, d, "pop3", "u1")
	if got, want := answer(t, d, "pop3", "u1"), "-ERR [IN-USE] Maximum number of connections from user+IP exceeded (mail_max_userip_connections=2)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	counter(t, d, "over_user_ip_limit", 2)
	mustLogin(t, d, "imap", "u2") // others are not touched
	// On the same connection, once there is room.
	again := d.Dial("imap")
	again.ExpectPrefix("* OK ")
	if got := again.IMAP("LOGIN u1 pass"); !strings.Contains(got[len(got)-1], "[LIMIT]") {
		t.Errorf("third session: %q", got)
	}
	first.OK("LOGOUT")
	d.Eventually("there is room again", func() bool {
		got, err := again.TryIMAP("LOGIN u1 pass")
		return err == nil && strings.Contains(got[len(got)-1], " OK ")
	})
	pop.Close() // without QUIT
	d.Eventually("there is room for POP3", func() bool {
		c, err := login(d, "pop3", "u1")
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	d.NoCrash(t)
}

// TestUserLimit: the limit of a user's connections counts exempt addresses too.
func TestUserLimit(t *testing.T) {
	d := harness.StartWith(t, []string{"mail_max_userip_connections = 2", "mail_max_user_connections = 3"}, "--users", "2", "--empty")
	for range 3 {
		mustLogin(t, d, "imap", "u1")
	}
	if got, want := answer(t, d, "imaps", "u1"), "l NO [LIMIT] Maximum number of connections of the user exceeded (mail_max_user_connections=3)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	counter(t, d, "over_user_limit", 1)
	counter(t, d, "over_user_ip_limit", 0)
	if got := d.Status().Limits["mail_max_user_connections"]; got != 3 {
		t.Errorf("status tells a limit of %d", got)
	}
	mustLogin(t, d, "imap", "u2")
}

// TestWorkerLimit: when all places of workers hold sessions, the next user is
// told; when one only lingers, it makes room.
func TestWorkerLimit(t *testing.T) {
	d := harness.StartWith(t, []string{"worker_process_limit = 2", `worker_idle_kill_interval = "1 hour"`}, "--users", "4", "--empty")
	first := mustLogin(t, d, "imap", "u1")
	mustLogin(t, d, "imap", "u2")
	if got, want := answer(t, d, "imap", "u3"), "l NO [LIMIT] Maximum number of mail processes reached (worker_process_limit=2)."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := answer(t, d, "pop3", "u1"), "-ERR [IN-USE] Maximum number of mail processes reached (worker_process_limit=2)."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	counter(t, d, "over_worker_limit", 2)
	mustLogin(t, d, "imap", "u1") // his process is there
	for _, c := range []*harness.Client{first} {
		c.OK("LOGOUT")
	}
	if got := answer(t, d, "imap", "u3"); !strings.Contains(got, "[LIMIT]") {
		t.Errorf("with a session of u1 left: %q", got)
	}
	d.MustCtl("kick", "u1@example.test")
	d.Eventually("the lingering worker makes room", func() bool {
		c, err := login(d, "imap", "u3")
		if err == nil {
			t.Cleanup(c.Close)
		}
		return err == nil
	})
	if got := d.Status().Of("imapworker"); len(got) > 2 {
		t.Errorf("%d workers, the limit is 2", len(got))
	}
	d.NoCrash(t)
}

// TestStrangerPlaces: when all places before login are taken, the oldest goes,
// and is told; a login of a newcomer succeeds meanwhile.
func TestStrangerPlaces(t *testing.T) {
	// One login process has half of them: there are two, or one per core.
	d := harness.StartWith(t, []string{"login_unauthenticated_client_limit = 8", "login_process_min_avail = 1"}, "--users", "1", "--empty")
	var strangers []*harness.Client
	for range 24 {
		c := d.Dial("imap")
		c.ExpectPrefix("* OK ")
		strangers = append(strangers, c)
	}
	mustLogin(t, d, "imap", "u1")
	for n, c := range strangers[:16] {
		if got := c.Rest(); len(got) != 1 || got[0] != "* BYE [UNAVAILABLE] Too many connections that have not logged in." {
			t.Errorf("stranger %d: %q", n, got)
		}
	}
	alive := 0
	for _, c := range strangers[16:] {
		if lines, err := c.TryIMAP("NOOP"); err == nil && strings.Contains(lines[len(lines)-1], " OK ") {
			alive++
		}
	}
	if alive < 7 {
		t.Errorf("%d of the youngest live", alive)
	}
	d.Eventually("status counts them", func() bool { s := d.Status(); return s.Login.Dropped >= 16 && s.Login.Unauthenticated <= 8 })
	d.WaitLog("Disconnected: Connection queue full")
	d.NoCrash(t)
}

// TestStrangersOfOneAddress: one address may not take all places.
func TestStrangersOfOneAddress(t *testing.T) {
	d := harness.StartWith(t, []string{"login_unauthenticated_userip_limit = 3", "login_process_min_avail = 1"}, "--users", "1", "--empty", "--no-localhost-exemption")
	var strangers []*harness.Client
	for range 3 {
		c := d.Dial("imap")
		c.ExpectPrefix("* OK ")
		strangers = append(strangers, c)
	}
	for service, want := range map[string]string{"imap": "* BYE [UNAVAILABLE] Too many connections from your address", "pop3": "-ERR [SYS/TEMP] Too many connections from your address"} {
		if got := d.Dial(service).Rest(); len(got) != 1 || !strings.HasPrefix(got[0], want) || !strings.Contains(got[0], "login_unauthenticated_userip_limit=3") {
			t.Errorf("%s: %q", service, got)
		}
	}
	strangers[0].OK("LOGIN u1 pass") // has its place no more
	d.Eventually("there is room again", func() bool {
		c, err := d.TryDial("imap")
		if err != nil {
			return false
		}
		defer c.Close()
		line, _ := c.TryLine()
		return strings.HasPrefix(line, "* OK ")
	})
}

// TestLoginTimeout: one time for the whole login, whatever the client says
// meanwhile; a session after login has no part in it.
func TestLoginTimeout(t *testing.T) {
	d := harness.StartWith(t, []string{`login_timeout = "10 secs"`}, "--users", "1", "--empty")
	in := mustLogin(t, d, "imap", "u1")
	begin := time.Now()
	c := d.Dial("imap")
	c.ExpectPrefix("* OK ")
	pop := d.Dial("pop3")
	pop.ExpectPrefix("+OK ")
	half := d.Dial("imap") // in the middle of AUTHENTICATE
	half.ExpectPrefix("* OK ")
	must(t, half.Send("a AUTHENTICATE PLAIN\r\n"))
	half.ExpectPrefix("+ ")
	mute := d.Dial("imap") // in the middle of a handshake
	mute.ExpectPrefix("* OK ")
	mute.OK("STARTTLS")
	var last []string
	for n := range 1000 {
		if err := c.Send(fmt.Sprintf("n%d NOOP\r\n", n)); err != nil {
			break
		}
		lines, err := c.Until(fmt.Sprintf("n%d", n))
		last = append(last, lines...)
		if err != nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if took := time.Since(begin); took < 9900*time.Millisecond || took > 15*time.Second {
		t.Errorf("a busy stranger was ended after %v", took)
	}
	if !hasBye(last, "* BYE Disconnected for inactivity during authentication.") {
		t.Errorf("a busy stranger was told %q", last[max(0, len(last)-2):])
	}
	if got := pop.Rest(); len(got) != 1 || got[0] != "-ERR Disconnected for inactivity during authentication." {
		t.Errorf("POP3: %q", got)
	}
	if got := half.Rest(); !hasBye(got, "* BYE Disconnected for inactivity") {
		t.Errorf("in AUTHENTICATE: %q", got)
	}
	if got := mute.Rest(); len(got) != 0 {
		t.Errorf("in a handshake: %q", got)
	}
	in.OK("NOOP")
	d.NoCrash(t)
}

// TestHighSecurity: one login process for each connection, a mail session's as
// well as a stranger's, and no session tickets.
func TestHighSecurity(t *testing.T) {
	d := harness.StartWith(t, []string{"login_high_security = true", "login_unauthenticated_client_limit = 6"}, "--users", "2", "--empty")
	idle := runtime.NumCPU() // so many wait
	d.Eventually("the demo's own looks are over", func() bool { return len(d.Status().Of("login")) == idle })
	var all []*harness.Client
	for n := range 4 { // TLS: login relays
		all = append(all, mustLogin(t, d, []string{"imaps", "pop3s"}[n%2], "u1"))
	}
	d.Eventually("each TLS session has its process", func() bool { return len(d.Status().Of("login")) == idle+4 })
	mustLogin(t, d, "imap", "u2") // plain: its process has nothing more to do
	d.Eventually("a plain session needs none", func() bool { return len(d.Status().Of("login")) == idle+4 })
	stranger := d.Dial("imap")
	stranger.ExpectPrefix("* OK ")
	d.Eventually("a stranger has one", func() bool { return len(d.Status().Of("login")) == idle+5 })
	startIdle(t, all[0])
	must(t, d.Deliver(1, "1.hs.test", plain(1)))
	if err := awaitLine(all[0], 2*time.Second, " 1 EXISTS"); err != nil {
		t.Error(err)
	}
	for _, c := range all {
		c.Close()
	}
	d.Eventually("processes end with their connections", func() bool { return len(d.Status().Of("login")) == idle+1 })
	if got := tickets(t, d); got != 0 {
		t.Errorf("%d session tickets", got)
	}
	// The oldest goes when there are too many.
	for range 12 {
		c := d.Dial("imap")
		c.ExpectPrefix("* OK ")
	}
	if got := stranger.Rest(); !hasBye(got, "* BYE [UNAVAILABLE] Too many connections") {
		t.Errorf("the oldest stranger: %q", got)
	}
	mustLogin(t, d, "imaps", "u2")
	d.NoCrash(t)
}
