package robust

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rookery/internal/e2e/harness"
)

// mustLogin opens a session that ends with the test.
func mustLogin(t *testing.T, d *harness.Demo, service, user string) *harness.Client {
	t.Helper()
	c, err := login(d, service, user)
	if err != nil {
		t.Fatalf("login of %s: %v", user, err)
	}
	t.Cleanup(c.Close)
	return c
}

// startIdle selects INBOX and begins IDLE.
func startIdle(t *testing.T, c *harness.Client) {
	t.Helper()
	c.OK("SELECT INBOX")
	if err := c.Send("i IDLE\r\n"); err != nil {
		t.Fatal(err)
	}
	c.ExpectPrefix("+ ")
}

// awaitLine reads until a line ends so, for at most limit.
func awaitLine(c *harness.Client, limit time.Duration, suffix string) error {
	var seen []string
	for end := time.Now().Add(limit); ; {
		line, err := c.LineWithin(time.Until(end))
		if err != nil {
			return fmt.Errorf("no %q within %v, but %q: %w", suffix, limit, seen, err)
		}
		if strings.HasSuffix(line, suffix) {
			return nil
		}
		seen = append(seen, line)
	}
}

// signal sends master a signal.
func signal(t *testing.T, d *harness.Demo, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(d.Status().PID, s); err != nil {
		t.Fatal(err)
	}
}

// hup sends SIGHUP and waits for the next generation.
func hup(t *testing.T, d *harness.Demo) {
	t.Helper()
	was := d.Status().Generation
	signal(t, d, syscall.SIGHUP)
	d.Eventually("the settings are reloaded", func() bool { s := d.Status(); return s.Generation > was && s.State == "running" })
}

func pids(list []harness.Process) []int {
	var out []int
	for _, p := range list {
		out = append(out, p.PID)
	}
	slices.Sort(out)
	return out
}

func plain(n int) string { return fmt.Sprintf("Subject: number %d\n\nText.\n", n) }

// TestReloadKeepsIdle: SIGHUP with 100 IDLE sessions drops none of them, and each
// is told of new mail afterwards, whether worker settings, login settings or none
// have changed.
func TestReloadKeepsIdle(t *testing.T) {
	const users, each = 10, 10
	d := harness.Start(t, "--users", fmt.Sprint(users), "--empty")
	clients := make([][]*harness.Client, users)
	for u := range users {
		for k := range each {
			c := mustLogin(t, d, []string{"imap", "imaps"}[k%2], fmt.Sprintf("u%d", u+1))
			startIdle(t, c)
			clients[u] = append(clients[u], c)
		}
	}
	for round, setting := range []string{"# nothing", `imap_idle_notify_interval = "90 secs"`, `login_greeting = "Another."`} {
		before := d.Status()
		d.Set(setting)
		hup(t, d)
		after := d.Status()
		if round == 2 {
			if after.Login.Generations != 2 || after.Login.Draining == 0 {
				t.Errorf("after %s: %+v, want a second generation beside the draining first", setting, after.Login)
			}
		} else if !slices.Equal(pids(before.Of("login")), pids(after.Of("login"))) {
			t.Errorf("after %q the login processes are %v, were %v", setting, pids(after.Of("login")), pids(before.Of("login")))
		}
		everyoneIsTold(t, d, clients, round+1)
	}
	who := d.MustCtl("who", "--json")
	if n := strings.Count(who, `"session"`); n != users*each {
		t.Errorf("%d sessions are left of %d", n, users*each)
	}
	for _, list := range clients {
		for _, c := range list {
			if err := c.Send("DONE\r\n"); err != nil {
				t.Error(err)
			}
			if lines, err := c.Until("i"); err != nil || !strings.HasPrefix(lines[len(lines)-1], "i OK") {
				t.Errorf("IDLE ended with %q, %v", lines, err)
			}
		}
	}
	c, err := d.TryDial("imap")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if line, _ := c.TryLine(); !strings.HasSuffix(line, "Another.") {
		t.Errorf("greeting after the reload: %q", line)
	}
	for _, list := range clients {
		for _, c := range list {
			c.Close()
		}
	}
	d.Eventually("the old login processes end with their last session", func() bool { s := d.Status(); return s.Login.Generations == 1 && s.Login.Draining == 0 })
	d.NoCrash(t)
}

// everyoneIsTold delivers a message to every user; all sessions must hear of it
// within two seconds.
func everyoneIsTold(t *testing.T, d *harness.Demo, clients [][]*harness.Client, total int) {
	t.Helper()
	var all sync.WaitGroup
	for u, list := range clients {
		if err := d.Deliver(u+1, fmt.Sprintf("%d.r%d.test", time.Now().Unix(), total), plain(total)); err != nil {
			t.Fatal(err)
		}
		for k, c := range list {
			all.Go(func() {
				if err := awaitLine(c, 2*time.Second, fmt.Sprintf(" %d EXISTS", total)); err != nil {
					t.Errorf("user %d, session %d: %v", u+1, k, err)
				}
			})
		}
	}
	all.Wait()
}

// TestBadReload: a bad file changes nothing and says why.
func TestBadReload(t *testing.T) {
	d := harness.Start(t, "--users", "1", "--empty")
	before := d.Status()
	d.Set(`login_greeting = "Never."`, `auth_verbos = true`)
	out, err := d.Ctl("reload")
	if err == nil || !strings.Contains(out, "99-local.toml") || !strings.Contains(out, "auth_verbose") || !strings.Contains(out, "2") {
		t.Errorf("reload of a bad file: %v, %q", err, out)
	}
	after := d.Status()
	if after.Generation != before.Generation || !slices.Equal(pids(before.Of("login")), pids(after.Of("login"))) {
		t.Errorf("a bad file changed the server: %+v, was %+v", after, before)
	}
	c := d.Dial("imap")
	c.ExpectPrefix("* OK ")
	d.WaitLog("reload refused, the old settings stay in use")
}

// TestGenerationLimit: while too many old login processes hold sessions, another
// reload is refused and says why.
func TestGenerationLimit(t *testing.T) {
	d := harness.StartWith(t, []string{"reload_generation_limit = 2"}, "--users", "1", "--empty")
	old := mustLogin(t, d, "imaps", "u1")
	d.Set("reload_generation_limit = 2", `login_greeting = "Two."`)
	d.MustCtl("reload")
	d.Set("reload_generation_limit = 2", `login_greeting = "Three."`)
	out, err := d.Ctl("reload")
	if err == nil || !strings.Contains(out, "2 generations of login processes still hold sessions (reload_generation_limit = 2)") {
		t.Errorf("a third generation: %v, %q", err, out)
	}
	old.OK("NOOP")
	old.Close()
	d.Eventually("with the old session gone it works", func() bool { _, err := d.Ctl("reload"); return err == nil })
}

// TestSessionsSeeEachOther: what one session does another sees in IDLE within a
// second, also across IMAP and POP3, and another program's delivery within two.
func TestSessionsSeeEachOther(t *testing.T) {
	d := harness.Start(t, "--users", "1", "--empty")
	watcher := mustLogin(t, d, "imaps", "u1")
	startIdle(t, watcher)
	soon := func(limit time.Duration, suffix string) {
		t.Helper()
		if err := awaitLine(watcher, limit, suffix); err != nil {
			t.Error(err)
		}
	}
	other := mustLogin(t, d, "imap", "u1")
	for n := range 3 {
		if err := other.Append("INBOX", "", fmt.Sprintf("Subject: a%d\r\n\r\nText.\r\n", n)); err != nil {
			t.Fatal(err)
		}
		soon(time.Second, fmt.Sprintf(" %d EXISTS", n+1))
	}
	other.OK("SELECT INBOX")
	other.OK(`STORE 1 +FLAGS (\Flagged $Work)`)
	soon(time.Second, `* 1 FETCH (FLAGS (\Flagged \Recent $Work))`)
	other.OK(`STORE 1 +FLAGS (\Deleted)`)
	soon(time.Second, `* 1 FETCH (FLAGS (\Flagged \Deleted \Recent $Work))`)
	other.OK("EXPUNGE")
	soon(time.Second, "* 1 EXPUNGE")

	pop := mustLogin(t, d, "pop3", "u1")
	if got := pop.POP3("DELE 2"); !strings.HasPrefix(got, "+OK") {
		t.Fatal(got)
	}
	if got := pop.POP3("QUIT"); !strings.HasPrefix(got, "+OK") {
		t.Fatal(got)
	}
	soon(time.Second, "* 2 EXPUNGE")
	for n := range 3 {
		if err := d.Deliver(1, fmt.Sprintf("%d.d%d.test", time.Now().Unix(), n), plain(n)); err != nil {
			t.Fatal(err)
		}
		soon(2*time.Second, fmt.Sprintf(" %d EXISTS", n+2))
	}
	// A POP3 session that logs in now sees them, and one open before does not change.
	pop = mustLogin(t, d, "pop3", "u1")
	if got := pop.POP3("STAT"); !strings.HasPrefix(got, "+OK 4 ") {
		t.Errorf("STAT: %q", got)
	}
	other.OK("NOOP") // hears of what POP3 deleted
	other.OK(`STORE 1:* +FLAGS.SILENT (\Deleted)`)
	other.OK("EXPUNGE")
	soon(time.Second, "* 1 EXPUNGE")
	if got := pop.POP3("STAT"); !strings.HasPrefix(got, "+OK 4 ") {
		t.Errorf("STAT of an open session: %q", got)
	}
	if got := pop.POP3("RETR 1"); !strings.HasPrefix(got, "-ERR") {
		t.Errorf("RETR of a message that is gone: %q", got)
	}
}
