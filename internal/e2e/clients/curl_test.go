package clients

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rookery/internal/e2e/harness"
)

// curl is curl on one server in one mode.
type curl struct {
	t     *testing.T
	d     *harness.Demo
	m     mode
	proto string // "imap" or "pop3"
	user  string
	auth  []string
}

// url gives the address of something below the service's root.
func (c *curl) url(path string) string {
	service, scheme := c.m.imap, c.proto
	if c.proto == "pop3" {
		service = c.m.pop3
	}
	if c.m.tls {
		scheme += "s"
	}
	return fmt.Sprintf("%s://localhost:%d/%s", scheme, c.d.Port(service), path)
}

func (c *curl) args(path string, more ...string) []string {
	args := []string{"-sS", "--ipv4", "--max-time", "30", "--cacert", c.d.Cert(), "-u", c.user}
	if c.m.starttls {
		args = append(args, "--ssl-reqd")
	}
	args = append(args, c.auth...)
	return append(append(args, more...), c.url(path))
}

// get runs curl, which must succeed.
func (c *curl) get(path string, more ...string) string {
	c.t.Helper()
	return ok(c.t, "curl", c.args(path, more...)...)
}

// fails runs curl, which must end with this exit code.
func (c *curl) fails(code int, path string, more ...string) {
	c.t.Helper()
	if r := run(c.t, "curl", c.args(path, more...)...); r.code != code {
		c.t.Errorf("curl %q: exit %d, want %d\n%s%s", c.args(path, more...), r.code, code, r.out, r.err)
	}
}

// quick takes away the waiting after each wrong password: this is no test of it.
var quick = []string{`auth_failure_delay = "0 secs"`}

// gsasl says whether this curl knows SCRAM.
func gsasl(t *testing.T) bool {
	return strings.Contains(ok(t, "curl", "--version"), "gsasl")
}

// logins tries each way of curl's to authenticate, and some that the server
// does not offer: those must fail and not fall back.
func (c *curl) logins(path string) {
	offered := []string{"*", "PLAIN", "LOGIN", "CRAM-MD5"}
	if c.proto == "pop3" {
		offered = append(offered, "+APOP")
	}
	if gsasl(c.t) {
		offered = append(offered, "SCRAM-SHA-256")
	}
	for _, name := range offered {
		for _, more := range [][]string{nil, {"--sasl-ir"}} {
			c.auth = append([]string{"--login-options", "AUTH=" + name}, more...)
			c.get(path)
			c.user = "u1:wrong"
			c.fails(67, path)
			c.user = "u1@example.test:pass"
			c.get(path)
			c.user = "u1:pass"
		}
	}
	for _, name := range []string{"DIGEST-MD5", "NTLM", "XOAUTH2", "GSSAPI"} {
		c.auth = []string{"--login-options", "AUTH=" + name}
		c.fails(67, path)
	}
	c.auth = nil
	c.user = ";AUTH=PLAIN:pass"
	c.fails(67, path)
	c.user = "nobody:pass"
	c.fails(67, path)
	c.user = "u1:pass"
	c.fails(67, path, "--oauth2-bearer", "token", "--login-options", "AUTH=OAUTHBEARER")
}

func TestCurlIMAP(t *testing.T) {
	harness.Need(t, "curl", "curl")
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			d := harness.StartWith(t, quick, "--users", "1", "--empty")
			c := &curl{t: t, d: d, m: m, proto: "imap", user: "u1:pass"}
			c.logins("")
			curlUpload(t, c)
			curlCustom(t, c)
		})
	}
}

// curlUpload appends and reads back.
func curlUpload(t *testing.T, c *curl) {
	dir := t.TempDir()
	one := plainMail("first", "Line one\n.\n..two dots\nGrüße, 8 bit\n")
	long := plainMail("long", strings.Repeat(strings.Repeat("x", 70)+"\n", 5000))
	for i, text := range []string{one, long} {
		file := write(t, filepath.Join(dir, fmt.Sprint(i)), crlf(text))
		c.get("INBOX", "-T", file)
	}
	inbox := c.d.Maildir(1)
	wantMessages(t, inbox, kept{"S", crlf(one)}, kept{"S", crlf(long)}) // kept as they were sent

	for path, want := range map[string]string{
		"INBOX;MAILINDEX=1":        crlf(one),
		"INBOX;MAILINDEX=2":        crlf(long),
		"INBOX;UID=1":              crlf(one),
		"INBOX;UID=1;SECTION=TEXT": "Line one\r\n.\r\n..two dots\r\nGrüße, 8 bit\r\n",
		"INBOX;UID=1;SECTION=HEADER.FIELDS%20(SUBJECT)":           "Subject: first\r\n\r\n",
		"INBOX;UID=1;SECTION=HEADER.FIELDS%20(SUBJECT);PARTIAL=9": "",
	} {
		if path == "INBOX;UID=1;SECTION=HEADER.FIELDS%20(SUBJECT);PARTIAL=9" {
			path, want = "INBOX;UID=2;PARTIAL=0.20", crlf(long)[:20]
		}
		if got := c.get(path); got != want {
			t.Errorf("%s: %q, want %q", path, short(got), short(want))
		}
	}
	c.fails(78, "INBOX;UID=77")
	c.fails(67, "NoSuch;UID=1") // SELECT is refused
	uidvalidity := c.get("INBOX", "-X", "STATUS INBOX (UIDVALIDITY)")
	number := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(uidvalidity), "* STATUS INBOX (UIDVALIDITY "), ")")
	if got := c.get("INBOX;UIDVALIDITY=" + number + ";UID=1"); got != crlf(one) {
		t.Errorf("with its UIDVALIDITY %q: %q", number, got)
	}
	c.fails(78, "INBOX;UIDVALIDITY=1;UID=1")
}

// curlCustom sends commands with -X.
func curlCustom(t *testing.T, c *curl) {
	for _, step := range []struct{ path, command, want string }{
		{"", "CREATE Work", ""},
		{"", "CREATE \"Two words\"", ""},
		{"", `LIST "" "Work"`, "* LIST (\\HasNoChildren) \".\" Work\r\n"},
		{"INBOX", "STORE 1 +FLAGS (\\Flagged $Todo)", "* 1 FETCH (FLAGS (\\Flagged \\Seen $Todo))\r\n"},
		{"INBOX", "COPY 1 \"Two words\"", ""},
		{"INBOX", "SEARCH FLAGGED", "* SEARCH 1\r\n"},
		{"INBOX", "UID SEARCH ALL", "* SEARCH 1 2\r\n"},
		{"INBOX", "FETCH 1 (RFC822.SIZE FLAGS)", ""},
		{"INBOX", "STORE 2 +FLAGS.SILENT \\Deleted", ""},
		{"INBOX", "EXPUNGE", "* 2 EXPUNGE\r\n"},
		{"", "NOOP", ""},
		{"", "RENAME Work Done", ""},
		{"", "STATUS \"Two words\" (MESSAGES UNSEEN)", "* STATUS \"Two words\" (MESSAGES 1 UNSEEN 0)\r\n"},
		{"", "DELETE Done", ""},
	} {
		got := c.get(step.path, "-X", step.command)
		if step.want != "" && got != step.want {
			t.Errorf("%s: %q, want %q", step.command, got, step.want)
		}
	}
	if got := c.get("INBOX?FLAGGED"); got != "* SEARCH 1\r\n" {
		t.Errorf("search by URL: %q", got)
	}
	c.fails(21, "", "-X", "DELETE Done") // there is none now: curl's "quote error"
	one := plainMail("first", "Line one\n.\n..two dots\nGrüße, 8 bit\n")
	wantMessages(t, c.d.Maildir(1), kept{"FSa", crlf(one)})
	wantMessages(t, filepath.Join(c.d.Maildir(1), ".Two words"), kept{"FSa", crlf(one)})
	if _, err := os.Stat(filepath.Join(c.d.Maildir(1), ".Work")); err == nil {
		t.Error("the renamed and deleted folder is still there")
	}
}

func TestCurlPOP3(t *testing.T) {
	harness.Need(t, "curl", "curl")
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			d := harness.StartWith(t, quick, "--users", "1", "--empty")
			one, two := plainMail("one", "a\n.\n..b\n"), plainMail("two", "no newline at the end")
			deliver(t, d, 1, "", "1000000001.M1P1.host", one)
			deliver(t, d, 1, "", "1000000002.M1P1.host", two)
			c := &curl{t: t, d: d, m: m, proto: "pop3", user: "u1:pass"}
			c.logins("")

			wireTwo := crlf(two) + "\r\n"
			// A message without a last newline has its own size; the line end that
			// POP3's dot needs is added on the wire.
			sizeTwo := len(crlf(two))
			want := fmt.Sprintf("1 %d\r\n2 %d\r\n", len(crlf(one)), sizeTwo)
			if got := c.get(""); got != want {
				t.Errorf("LIST: %q, want %q", got, want)
			}
			if got := c.get("1"); got != crlf(one) {
				t.Errorf("RETR 1: %q, want %q", got, crlf(one))
			}
			if got := c.get("2"); got != wireTwo {
				t.Errorf("RETR 2: %q, want %q", got, wireTwo)
			}
			head, _, _ := strings.Cut(crlf(one), "\r\n\r\n")
			if got := c.get("", "-X", "TOP 1 1"); got != head+"\r\n\r\na\r\n" {
				t.Errorf("TOP 1 1: %q", got)
			}
			uidl := c.get("", "-X", "UIDL")
			if again := c.get("", "-X", "UIDL"); again != uidl || strings.Count(uidl, "\r\n") != 2 {
				t.Errorf("UIDL: %q, then %q", uidl, again)
			}
			c.get("1", "-l", "-X", "DELE")
			if got, want := c.get(""), fmt.Sprintf("1 %d\r\n", sizeTwo); got != want {
				t.Errorf("LIST after DELE: %q, want %q", got, want)
			}
			if got := c.get("", "-X", "UIDL"); got != strings.Replace(strings.SplitAfter(uidl, "\r\n")[1], "2 ", "1 ", 1) {
				t.Errorf("UIDL after DELE: %q, before %q", got, uidl)
			}
			c.fails(8, "9") // -ERR, which curl calls a weird reply
			wantMessages(t, d.Maildir(1), kept{"S", two})
		})
	}
}
