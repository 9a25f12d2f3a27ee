package badinput

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"rookery/internal/e2e/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// login opens an IMAP or POP3 session.
func login(t *testing.T, d *harness.Demo, service, user string) *harness.Client {
	t.Helper()
	c := d.Dial(service)
	if strings.HasPrefix(service, "imap") {
		c.Login(user)
		return c
	}
	c.ExpectPrefix("+OK ")
	if got := c.POP3("USER %s", user); !strings.HasPrefix(got, "+OK") {
		t.Fatal(got)
	}
	if got := c.POP3("PASS pass"); !strings.HasPrefix(got, "+OK") {
		t.Fatal(got)
	}
	return c
}

// send sends bytes as they are; a connection that the server ended is no error.
func send(c *harness.Client, text string) { _ = c.Send(text) }

// last is the tagged line of an answer.
func last(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return lines[len(lines)-1]
}

// put writes a file that belongs to a user of the demo.
func put(t *testing.T, d *harness.Demo, user int, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
	own(t, d, user, path)
}

func own(t *testing.T, d *harness.Demo, user int, path string) {
	t.Helper()
	uid, gid := d.Owner(user)
	must(t, os.Lchown(path, uid, gid))
}

func mail(subject string) string {
	return "From: a@example.test\r\nSubject: " + subject + "\r\n\r\nText of " + subject + ".\r\n"
}

// sessionLine waits for a line of the log that matches and has a session's id in
// it, either form: <id> of a mail process's prefix or session=<id> of login.
func sessionLine(t *testing.T, d *harness.Demo, pattern string) {
	t.Helper()
	re := regexp.MustCompile(`(?m)^.*(?:<\d+><[A-Za-z0-9+/]{16}>: .*` + pattern + `|` + pattern + `.*session=<[A-Za-z0-9+/]{16}>).*$`)
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if re.MatchString(d.Log()) {
			return
		}
	}
	t.Errorf("no line of the log with a session's id matches %q", pattern)
}

// alive checks that the processes of a role are the same as before.
func alive(t *testing.T, before, after []harness.Process) {
	t.Helper()
	now := map[int]bool{}
	for _, p := range after {
		now[p.PID] = true
	}
	for _, p := range before {
		if !now[p.PID] {
			t.Errorf("%s[%d] of %q is gone", p.Role, p.PID, p.User)
		}
	}
}

// exists is how many messages SELECT tells.
func exists(lines []string) int {
	n := -1
	for _, line := range lines {
		if count, ok := strings.CutSuffix(line, " EXISTS"); ok {
			fmt.Sscanf(count, "* %d", &n)
		}
	}
	return n
}

// inTmp lists what stands in the tmp/ of a user's INBOX.
func inTmp(t *testing.T, d *harness.Demo, user int) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(d.Maildir(user), "tmp"))
	must(t, err)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}
