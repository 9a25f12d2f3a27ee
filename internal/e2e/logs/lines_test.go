package logs

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"rookery/internal/e2e/harness"
)

// shape is a dialogue and the lines that it must leave, as normal makes them.
type shape struct {
	name string
	run  func(t *testing.T, d *harness.Demo)
	want []string
}

// show runs the shapes one after the other.
func show(t *testing.T, d *harness.Demo, shapes []shape) {
	t.Helper()
	for _, s := range shapes {
		t.Run(s.name, func(t *testing.T) {
			before := len(d.Log())
			s.run(t, d)
			for _, want := range s.want {
				found := false
				for end := time.Now().Add(20 * time.Second); !found && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
					for line := range strings.Lines(d.Log()[before:]) {
						found = found || normal(strings.TrimSuffix(line, "\n")) == want
					}
				}
				if !found {
					t.Errorf("no line\n%s\nin\n%s", want, d.Log()[before:])
				}
			}
		})
	}
}

const (
	u1      = "u1@example.test"
	message = "From: a@example.test\r\nSubject: s\r\n\r\nbody\r\n"
	local   = "rip=127.0.0.1, lip=127.0.0.1"
)

// before login's own lines, and authentication's.
func loginShapes() []shape {
	imap := func(f func(c *talk)) func(*testing.T, *harness.Demo) {
		return func(t *testing.T, d *harness.Demo) { c := dial(t, d.Addr("imap"), nil); f(c); c.close() }
	}
	pop3 := func(f func(c *talk)) func(*testing.T, *harness.Demo) {
		return func(t *testing.T, d *harness.Demo) { c := dial(t, d.Addr("pop3"), nil); f(c); c.close() }
	}
	end := ", " + local + ", secured, session=<S>"
	return []shape{
		{"wrong passwords", imap(func(c *talk) { c.imap("LOGIN u1 x"); c.imap("LOGIN u1 y"); c.imap("LOGIN u1 z") }), []string{
			"imap-login: Info: Disconnected (auth failed, 3 attempts in N secs): user=<u1>, method=PLAIN" + end,
			"auth: Info: passwd-file(u1@example.test,127.0.0.1,<S>): Password mismatch"}},
		{"unknown user", pop3(func(c *talk) { c.pop("USER who"); c.pop("PASS x"); c.pop("QUIT"); c.drain() }), []string{
			"pop3-login: Info: Aborted login (auth failed, 1 attempts in N secs): user=<who>, method=PLAIN" + end,
			"auth: Info: passwd-file(who@example.test,127.0.0.1,<S>): unknown user"}},
		{"a character that names have not", imap(func(c *talk) { c.imap(`LOGIN "a b,c" x`) }), []string{
			"imap-login: Info: Disconnected (auth failed, 1 attempts in N secs): user=<a b,c>, method=PLAIN" + end,
			"auth: Info: plain(?,127.0.0.1,<S>): Username character disallowed by auth_username_chars: 0x20 (username: a%20b%2Cc@example.test)"}},
		{"bad SASL", imap(func(c *talk) { c.imap("AUTHENTICATE PLAIN eA==") }), []string{
			"imap-login: Info: Disconnected (auth failed, 1 attempts in N secs): user=<>, method=PLAIN" + end}},
		{"given up", imap(func(c *talk) { c.imap("AUTHENTICATE LOGIN"); c.write("*\r\n"); c.line() }), []string{
			"imap-login: Info: Disconnected (aborted authentication): user=<>, method=LOGIN" + end}},
		{"gone in between", imap(func(c *talk) { c.imap("AUTHENTICATE LOGIN") }), []string{
			"imap-login: Info: Disconnected (client didn't finish SASL auth, waited N secs): user=<>, method=LOGIN" + end}},
		{"no such mechanism", pop3(func(c *talk) { c.pop("AUTH X-NONE") }), []string{
			"pop3-login: Info: Disconnected (tried to use unsupported auth mechanism): user=<>" + end}},
		{"nothing said", pop3(func(*talk) {}), []string{"pop3-login: Info: Disconnected (no auth attempts in N secs): user=<>" + end}},
		{"logged out", imap(func(c *talk) { c.imap("LOGOUT"); c.drain() }), []string{"imap-login: Info: Aborted login (no auth attempts in N secs): user=<>" + end}},
		{"garbage", imap(func(c *talk) { c.write("a b\r\na c\r\na d\r\n"); c.drain() }), []string{
			"imap-login: Info: Disconnected: Too many invalid commands (no auth attempts in N secs): user=<>" + end}},
		{"no TLS", func(t *testing.T, d *harness.Demo) {
			c := newTalk(t, mustDial(t, d.Addr("imaps")), nil)
			c.write("a LOGIN u1 pass\r\n")
			c.drain()
		}, []string{"imap-login: Info: Disconnected (no auth attempts in N secs): user=<>, " + local + ", TLS handshaking: the client does not speak TLS, session=<S>"}},
		{"TLS", func(t *testing.T, d *harness.Demo) {
			c := dial(t, d.Addr("pop3s"), trust(t, d))
			c.pop("USER u1")
			c.pop("PASS wrong")
			c.close()
		}, []string{"pop3-login: Info: Disconnected (auth failed, 1 attempts in N secs): user=<u1>, method=PLAIN, " + local + ", TLS, session=<S>"}},
	}
}

func trust(t *testing.T, d *harness.Demo) *tls.Config {
	t.Helper()
	conf, err := d.TLS()
	if err != nil {
		t.Fatal(err)
	}
	return conf
}

// sessionShapes are those of sessions.
func sessionShapes() []shape {
	return []shape{
		{"IMAP", func(t *testing.T, d *harness.Demo) {
			c := dial(t, d.Addr("imap"), nil)
			c.imap("LOGIN u1 pass")
			c.imap("APPEND INBOX {%d+}\r\n%s", len(message), message)
			c.imap("SELECT INBOX")
			c.imap("FETCH 1 BODY[]")
			c.imap("FETCH 1 BODY[HEADER]")
			c.imap(`STORE 1 +FLAGS (\Deleted)`)
			c.imap("EXPUNGE")
			c.imap("LOGOUT")
			c.drain()
		}, []string{
			"imap-login: Info: Login: user=<u1@example.test>, method=PLAIN, " + local + ", mpid=PID, secured, session=<S>",
			fmt.Sprintf("imap(%s)<PID><S>: Info: Disconnected: Logged out in=N out=N deleted=1 expunged=1 trashed=0 hdr_count=1 hdr_bytes=36 body_count=1 body_bytes=%d", u1, len(message))}},
		{"IMAP, gone in IDLE", func(t *testing.T, d *harness.Demo) {
			c := dial(t, d.Addr("imaps"), trust(t, d))
			c.imap("LOGIN u1 pass")
			c.imap("IDLE")
			c.close()
		}, []string{
			"imap-login: Info: Login: user=<u1@example.test>, method=PLAIN, " + local + ", mpid=PID, TLS, session=<S>",
			"imap(u1@example.test)<PID><S>: Info: Disconnected: Connection closed (IDLE running for N secs) in=N out=N deleted=0 expunged=0 trashed=0 hdr_count=0 hdr_bytes=0 body_count=0 body_bytes=0"}},
		{"IMAP, too many bad commands", func(t *testing.T, d *harness.Demo) {
			c := dial(t, d.Addr("imap"), nil)
			c.imap("LOGIN u1 pass")
			c.write(strings.Repeat("x y\r\n", 25))
			c.drain()
		}, []string{"imap(u1@example.test)<PID><S>: Info: Disconnected: Too many invalid IMAP commands in=N out=N deleted=0 expunged=0 trashed=0 hdr_count=0 hdr_bytes=0 body_count=0 body_bytes=0"}},
		{"IMAP, kicked", func(t *testing.T, d *harness.Demo) {
			c := dial(t, d.Addr("imap"), nil)
			c.imap("LOGIN u1 pass")
			d.MustCtl("kick", u1)
			c.drain()
		}, []string{
			"imap(u1@example.test)<PID><S>: Info: Disconnected: Disconnected by the administrator. in=N out=N deleted=0 expunged=0 trashed=0 hdr_count=0 hdr_bytes=0 body_count=0 body_bytes=0",
			`master: Info: 1 sessions of "u1@example.test" are ended by the administrator`}},
		{"POP3", func(t *testing.T, d *harness.Demo) {
			im := dial(t, d.Addr("imap"), nil)
			im.imap("LOGIN u1 pass")
			im.imap("APPEND INBOX {%d+}\r\n%s", len(message), message)
			im.imap("APPEND INBOX {%d+}\r\n%s", len(message), message)
			im.close()
			c := dial(t, d.Addr("pop3"), nil)
			logins()[3].run(c, "u1", "pass")
			c.pop("STAT")
			c.pop("RETR 1")
			skip(c)
			c.pop("TOP 2 0")
			skip(c)
			c.pop("DELE 1")
			c.pop("QUIT")
			c.drain()
		}, []string{
			"pop3-login: Info: Login: user=<u1@example.test>, method=APOP, " + local + ", mpid=PID, secured, session=<S>",
			fmt.Sprintf("pop3(%s)<PID><S>: Info: Disconnected: Logged out top=1/36, retr=1/%d, del=1/2, size=%d", u1, len(message), 2*len(message))}},
		{"POP3, gone", func(t *testing.T, d *harness.Demo) {
			c := dial(t, d.Addr("pop3s"), trust(t, d))
			c.pop("USER u1")
			c.pop("PASS pass")
			c.close()
		}, []string{fmt.Sprintf("pop3(%s)<PID><S>: Info: Disconnected: Connection closed top=0/0, retr=0/0, del=0/1, size=%d", u1, len(message))}},
	}
}

// skip reads the rest of a multi-line answer.
func skip(c *talk) {
	for line := c.line(); line != "." && line != ""; line = c.line() {
	}
}

// Every line's shape, to the letter.
func TestLineShapes(t *testing.T) {
	harness.NeedRoot(t)
	d := harness.StartWith(t, []string{`auth_failure_delay = "0"`, `auth_verbose = true`, `login_timeout = "10 secs"`}, "--users", "1", "--empty")
	began := len(d.Log())
	slow := dial(t, d.Addr("imap"), nil)
	show(t, d, loginShapes())
	show(t, d, sessionShapes())
	t.Run("the worker's pid is the one of its lines", func(t *testing.T) {
		login := regexp.MustCompile(`mpid=(\d+).*session=<([^>]+)>`)
		for _, m := range login.FindAllStringSubmatch(d.Log(), -1) {
			if !strings.Contains(d.Log(), ")<"+m[1]+"><"+m[2]+">: Info: ") {
				t.Errorf("session %s: no line of process %s", m[2], m[1])
			}
		}
	})
	slow.drain() // login_timeout
	eventually(t, "the line of a silent client", func() bool { return strings.Contains(d.Log(), "Inactivity") })
	if got := grep(d.Log(), "Inactivity"); len(got) != 1 || got[0] != "imap-login: Info: Disconnected: Inactivity (no auth attempts in N secs): user=<>, "+local+", secured, session=<S>" {
		t.Errorf("the line of a silent client: %q", got)
	}
	format := regexp.MustCompile(`^[A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d (master|(imap|pop3)-login|auth|(imap|pop3)\([^ )]+\)<\d+><[A-Za-z0-9+/]{16}>): (Debug|Info|Warning|Error): [^ ]`)
	for line := range strings.Lines(d.Log()[began:]) {
		if !format.MatchString(line) {
			t.Errorf("a line of another form: %s", line)
		}
	}
}

// What the databases say of a login, and the limits.
func TestRefusalShapes(t *testing.T) {
	harness.NeedRoot(t)
	d := harness.Prepare(t)
	flags := []string{"--users", "1", "--empty", "--no-localhost-exemption"}
	d.Write(flags...)
	users := filepath.Join(d.Dir, "users")
	line := strings.TrimSpace(read(users))
	text := line + "\n" + strings.NewReplacer("u1@", "nets@", "::\n", "::").Replace(line) + "allow_nets=192.0.2.0/24\n" +
		strings.Replace(line, "u1@", "nologin@", 1) + "nologin=y reason=Away until Monday\n" +
		strings.Replace(strings.Replace(line, "u1@", "scheme@", 1), "{PLAIN}", "{WHAT}", 1) + "\n" +
		strings.Replace(strings.Replace(line, "u1@", "hash@", 1), "{PLAIN}pass", "{SHA256}0OTvUD+lpzeZNxQJBZlDqQDw3nKJ8W5Q2hY5b2GRqLc=", 1) + "\n" +
		strings.Replace(line, "u1@", "proxied@", 1) + "proxy=y host=192.0.2.1\n"
	if err := os.WriteFile(users, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	masters := filepath.Join(d.Dir, "masters")
	write(t, masters, "admin:{PLAIN}adminpass\n")
	os.Chmod(masters, 0o640)
	os.Chown(masters, 0, groupOf(t, users))
	d.Set(`auth_failure_delay = "0"`, `auth_internal_failure_delay = "0"`, `auth_penalty = false`, `auth_verbose = true`, `mail_max_userip_connections = 1`, `auth_master_user_separator = "*"`, `auth_default_domain = ""`,
		`[[passdb]]`, `name = "masters"`, `driver = "passwd-file"`, `master = true`, fmt.Sprintf("passwd_file_path = %q", masters))
	d.Start(flags...)
	as := func(user, password string) func(*testing.T, *harness.Demo) {
		return func(t *testing.T, d *harness.Demo) {
			c := dial(t, d.Addr("imap"), nil)
			c.imap("LOGIN %s %q", user, password)
			c.close()
		}
	}
	auth := func(driver, user, text string) string {
		return "auth: " + driver + "(" + user + ",127.0.0.1,<S>): " + text
	}
	disconnected := func(user string) string {
		return "imap-login: Info: Disconnected (auth failed, 1 attempts in N secs): user=<" + user + ">, method=PLAIN, " + local + ", secured, session=<S>"
	}
	info := func(s string) string { return strings.Replace(s, "auth: ", "auth: Info: ", 1) }
	fault := func(s string) string { return strings.Replace(s, "auth: ", "auth: Error: ", 1) }
	show(t, d, []shape{
		{"allow_nets", as("nets@example.test", "pass"), []string{disconnected("nets@example.test"),
			info(auth("passwd-file", "nets@example.test", "allow_nets check failed: IP 127.0.0.1 not in allowed networks"))}},
		{"nologin", as("nologin@example.test", "pass"), []string{info(auth("passwd-file", "nologin@example.test", "nologin is set"))}},
		{"scheme", as("scheme@example.test", "pass"), []string{fault(auth("passwd-file", "scheme@example.test", "The stored password cannot be used: unknown scheme WHAT")),
			"imap-login: Info: Disconnected (auth process communication failure): user=<scheme@example.test>, method=PLAIN, " + local + ", secured, session=<S>"}},
		{"proxy", as("proxied@example.test", "pass"), []string{fault(auth("passwd-file", "proxied@example.test",
			"The extra field proxy is set, but this release does not proxy logins: remove proxy, proxy_maybe and host for this user"))}},
		{"CRAM-MD5 with a hash", func(t *testing.T, d *harness.Demo) {
			c := dial(t, d.Addr("imap"), nil)
			saslLogins("imap")[3].run(c, "hash@example.test", "pass")
			c.close()
		}, []string{info(auth("passwd-file", "hash@example.test", "Requested CRAM-MD5 scheme, but we have only SHA256"))}},
		{"master user", as(`"u1@example.test*admin"`, "wrong"), []string{disconnected("u1@example.test"),
			"auth: Info: passwd-file(admin,127.0.0.1,master,<S>): Password mismatch"}},
		{"one session too many", func(t *testing.T, d *harness.Demo) {
			one, two := dial(t, d.Addr("imap"), nil), dial(t, d.Addr("imap"), nil)
			one.imap("LOGIN u1@example.test pass")
			if got := two.imap("LOGIN u1@example.test pass"); !strings.HasPrefix(got, "NO [LIMIT] ") {
				t.Errorf("answer %q", got)
			}
			two.close()
			one.imap("LOGOUT")
			one.close()
		}, []string{"imap-login: Info: Maximum number of connections from user+IP exceeded (mail_max_userip_connections=1): user=<u1@example.test>, method=PLAIN, " + local + ", secured, session=<S>"}},
	})
	t.Run("a second passdb", func(t *testing.T) {
		d.Set(`auth_failure_delay = "0"`, `auth_penalty = false`, `auth_verbose_passwords = "plain"`, `auth_default_domain = ""`,
			`[[passdb]]`, `name = "more"`, `driver = "passwd-file"`, fmt.Sprintf("passwd_file_path = %q", masters))
		d.MustCtl("reload")
		show(t, d, []shape{{"both", as("u1@example.test", "a'b"), []string{
			info(auth("passwd-file", "u1@example.test", "Password mismatch (given password: a'b) - trying the next passdb")),
			info(auth("passwd-file", "u1@example.test", "unknown user (given password: a'b)"))}}})
	})
	t.Run("TLS is required", func(t *testing.T) {
		d.Set(`auth_failure_delay = "0"`, `auth_allow_cleartext = false`, `ssl = "required"`)
		d.MustCtl("reload")
		show(t, d, []shape{{"IMAP", as("u1@example.test", "pass"), []string{
			"imap-login: Info: Disconnected (tried to use disallowed plaintext auth): user=<u1@example.test>, method=PLAIN, " + local + ", session=<S>"}}})
	})
}

// What is dangerous is said loudly at each start.
func TestWarningsAtStart(t *testing.T) {
	harness.NeedRoot(t)
	d := harness.StartWith(t, []string{"auth_debug_passwords = true", `auth_verbose_passwords = "yes"`, "auth_allow_weak_schemes = true"}, "--users", "1", "--empty")
	for _, want := range []string{
		`master: Warning: auth_debug_passwords = true: every password that is typed stands in the log; use it only on a test server`,
		`master: Warning: auth_verbose_passwords = "plain": passwords of failed logins stand in the log`,
		`auth: Warning: auth_debug_passwords = true: passwords, right and wrong, and stored secrets are written to the log. Switch it off and delete the log when you are done`,
		`auth: Warning: auth_verbose_passwords = "plain": passwords of failed logins are written to the log. Switch it off when you are done`,
		`auth: Warning: auth_allow_weak_schemes = true: stored passwords in MD5 and DES schemes are accepted; whoever gets the file finds them in little time`,
	} {
		if !strings.Contains(d.Log(), want+"\n") {
			t.Errorf("no line %q in\n%s", want, d.Log())
		}
	}
	if out := d.MustCtl("log", "errors"); strings.Count(out, "  auth: auth_debug_passwords = true: passwords, right and wrong") != 1 {
		t.Errorf("log errors: %s", out)
	}
	if quiet := harness.Start(t, "--users", "1", "--empty"); strings.Contains(quiet.Log(), "Warning: ") {
		t.Errorf("warnings without a reason:\n%s", quiet.Log())
	}
}
