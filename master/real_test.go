package master

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// realServer runs the real programs, in their sandboxes, with the users ann and bob.
func realServer(t *testing.T, extra string) *server {
	t.Helper()
	if testing.Short() {
		t.Skip("the real programs run in the full tests")
	}
	s := newServer(t, extra)
	if err := os.Rename(filepath.Join(s.dir, "bin", fakeName), filepath.Join(s.dir, "bin", realName)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"rookery", "rookery-logd", "rookery-login", "rookery-authd", "rookery-imapworker", "rookery-pop3worker"} {
		link := filepath.Join(s.dir, "bin", name)
		os.Remove(link)
		if err := os.Symlink(realName, link); err != nil {
			t.Fatal(err)
		}
	}
	uid := serverUID()
	gid := uid
	if asRoot() {
		uid, gid = 64200, 64200
	}
	var users string
	for _, u := range []string{"ann", "bob", "carl"} {
		users += fmt.Sprintf("%s:{PLAIN}pass:%d:%d::%s/mail/%s::\n", u, uid, gid, s.dir, u)
	}
	s.write("users", users)
	s.write("conf.d/20-names.toml", "auth_anonymous_username = \"anonymous\"\nauth_allow_cleartext = true\nfirst_valid_gid = 1\n")
	toml, err := os.ReadFile(filepath.Join(s.dir, "rookery.toml"))
	if err != nil {
		t.Fatal(err)
	}
	var keep []string
	for _, line := range strings.Split(string(toml), "\n") {
		if !strings.HasPrefix(line, "auth_anonymous_username") { // that was for the fakes
			keep = append(keep, line)
		}
	}
	s.write("rookery.toml", strings.Join(keep, "\n"))
	return s
}

// imapLogin gives the tagged answer.
func (s *server) imapLogin(user, password string) (*client, string) {
	s.t.Helper()
	c := s.dial(s.imap)
	if got := c.hear(); !strings.HasPrefix(got, "* OK") {
		s.t.Fatalf("greeting %q", got)
	}
	return c, c.imap("a LOGIN " + user + " " + password)
}

// imap says a command and gives the tagged answer.
func (c *client) imap(command string) string {
	c.say(command + "\r")
	tag, _, _ := strings.Cut(command, " ")
	for {
		got := c.hear()
		if strings.HasPrefix(got, tag+" ") || !strings.HasPrefix(got, "* ") {
			return got
		}
	}
}

func (s *server) wantIMAP(user string) *client {
	s.t.Helper()
	c, got := s.imapLogin(user, "pass")
	if !strings.HasPrefix(got, "a OK ") {
		s.t.Fatalf("login of %s: %q", user, got)
	}
	return c
}

func TestRealLogins(t *testing.T) {
	s := realServer(t, "mail_max_userip_connections = 2\n").start()
	c := s.wantIMAP("ann")
	if got := c.imap("b SELECT INBOX"); !strings.HasPrefix(got, "b OK [READ-WRITE]") {
		t.Error(got)
	}
	s.wantIMAP("ann")
	if _, got := s.imapLogin("ann", "pass"); got != "a NO [LIMIT] Maximum number of connections from user+IP exceeded (mail_max_userip_connections=2)" {
		t.Error(got)
	}
	if _, got := s.imapLogin("ann", "wrong"); !strings.HasPrefix(got, "a NO [AUTHENTICATIONFAILED]") {
		t.Error(got)
	}
	p := s.dial(s.pop3)
	for _, line := range []struct{ say, want string }{{"", "+OK"}, {"USER bob", "+OK"}, {"PASS pass", "+OK"}, {"STAT", "+OK 0 0"}, {"QUIT", "+OK"}} {
		if line.say != "" {
			p.say(line.say + "\r")
		}
		if got := p.hear(); !strings.HasPrefix(got, line.want) {
			t.Errorf("%s: %q, want %s", line.say, got, line.want)
		}
	}
	for _, dir := range []string{"ann", "bob"} {
		if st, err := os.Stat(filepath.Join(s.dir, "mail", dir, "Maildir/cur")); err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("%v %v", st, err)
		}
	}
	s.stop()
	if got := c.hear(); !strings.HasPrefix(got, "* BYE") {
		t.Error(got)
	}
	if log := s.log(); strings.Contains(log, "SIGSYS") || strings.Contains(log, "panic") || !strings.Contains(log, "imap-login: Info: Login: user=<ann>") {
		t.Error(log)
	}
}

// Whatever process dies, sessions that do not need it go on, and new logins work.
func TestRealDeaths(t *testing.T) {
	s := realServer(t, "").start()
	c := s.wantIMAP("ann")
	for _, role := range []string{"logd", "authd", "login"} {
		old := s.pids(role)
		for _, pid := range old {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		if got := c.imap("n NOOP"); !strings.HasPrefix(got, "n OK") {
			t.Errorf("%s died: %q", role, got)
		}
		s.eventually(role+" is back", func() bool {
			now := s.pids(role)
			return len(now) == len(old) && !slices.Contains(now, old[0])
		})
		s.eventually("logins work after "+role, func() bool {
			x, err := net.Dial("tcp", s.imap)
			if err != nil {
				return false
			}
			x.Close()
			_, got := s.imapLogin("bob", "pass")
			return strings.HasPrefix(got, "a OK")
		})
	}
	for _, pid := range s.pids("imapworker") {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	s.wantIMAP("ann")
	s.stop()
}

// A TLS session outlives the process that checked its password, a reload that
// starts new login processes, and new certificates.
func TestRealTLS(t *testing.T) {
	s := realServer(t, "").start()
	dial := func() *client {
		t.Helper()
		c := s.dial(s.imap)
		c.hear()
		if got := c.imap("s STARTTLS"); !strings.HasPrefix(got, "s OK") {
			t.Fatal(got)
		}
		conn := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true}) // the certificate is the test's own
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		c.Conn = conn
		c.r.Reset(conn)
		if got := c.imap("a LOGIN ann pass"); !strings.HasPrefix(got, "a OK") {
			t.Fatal(got)
		}
		return c
	}
	serial := func(c *client) string {
		return string(c.Conn.(*tls.Conn).ConnectionState().PeerCertificates[0].RawSubjectPublicKeyInfo)
	}
	c := dial()
	noop := func(when string) {
		t.Helper()
		if got := c.imap("n NOOP"); !strings.HasPrefix(got, "n OK") {
			t.Errorf("%s: %q", when, got)
		}
	}
	s.write("conf.d/99-local.toml", "login_greeting = \"Hello.\"\n")
	if g, text := s.reload(); g != 2 {
		t.Fatal(text)
	}
	noop("reload")
	cert, key := makePair(t)
	s.write("tls.key", key)
	s.write("tls.cert", cert)
	s.eventually("the new certificate is seen", func() bool { return strings.Count(s.log(), "(localhost), valid until") == 2 })
	s.eventually("the new certificate is shown", func() bool {
		x := dial()
		defer x.Close()
		return serial(x) != serial(c)
	})
	noop("new certificate")
	for _, pid := range s.pids("authd") {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	noop("authd")
	s.eventually("a new authd signs", func() bool {
		conn, err := net.Dial("tcp", s.imap)
		if err != nil {
			return false
		}
		defer conn.Close()
		x := s.dial(s.imap)
		x.hear()
		if !strings.HasPrefix(x.imap("s STARTTLS"), "s OK") {
			return false
		}
		return tls.Client(x.Conn, &tls.Config{InsecureSkipVerify: true}).Handshake() == nil
	})
	dial()
	if n := s.status().Logins; n.Draining == 0 || n.Relayed == 0 {
		t.Errorf("%+v: the first session is with an old process", n)
	}
	s.stop()
}

// One login process for each connection.
func TestRealHighSecurity(t *testing.T) {
	s := realServer(t, "login_high_security = true\nlogin_unauthenticated_userip_limit = 4\n").start()
	a, b := s.wantIMAP("ann"), s.wantIMAP("bob")
	strangers := []*client{s.dial(s.imap), s.dial(s.imap), s.dial(s.imap)}
	for _, c := range strangers {
		if got := c.hear(); !strings.HasPrefix(got, "* OK") {
			t.Error(got)
		}
	}
	s.eventually("each has its own", func() bool { return len(s.pids("login")) >= 3+2 })
	for _, c := range []*client{a, b} {
		if got := c.imap("n NOOP"); !strings.HasPrefix(got, "n OK") {
			t.Error(got)
		}
	}
	more := []*client{s.dial(s.imap), s.dial(s.imap)}
	closed := func(c *client) bool {
		c.SetDeadline(time.Now().Add(2 * time.Second))
		for range 3 {
			if got := c.hear(); strings.HasPrefix(got, "* BYE") && !strings.Contains(got, "Too many connections") {
				t.Errorf("he is told %q", got)
			} else if got == "EOF" || strings.Contains(got, "reset") {
				return true
			}
		}
		return false
	}
	if closed(more[0]) == closed(more[1]) {
		t.Error("the fifth stranger of one address is to be sent away, and only he")
	}
	if !strings.Contains(s.log(), "login_unauthenticated_userip_limit (4)") {
		t.Error("the log does not say why")
	}
	for _, c := range append(strangers, more...) {
		c.Close()
	}
	s.eventually("their processes end", func() bool { return len(s.pids("login")) == 2 })
	s.stop()
	if strings.Contains(s.log(), "ended:") && !raceBuild { // which takes a second to end
		t.Error("a process that ended by itself was taken for a dead one")
	}
}
