package tools

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rookery/internal/e2e/harness"
)

// The operator and the user see the same lists, in Dovecot's files, and a conversion
// takes them along.
func TestShare(t *testing.T) {
	d := harness.Start(t, "--users", "3", "--empty")
	c := d.Dial("imap")
	c.Login("u1")
	c.OK("SELECT INBOX") // it is made
	for _, name := range []string{"Team", "Team.Plans", "Other"} {
		c.OK("CREATE %s", name)
	}
	acl := func(name string) string {
		t.Helper()
		for _, line := range c.OK("GETACL %s", name) {
			if rest, ok := strings.CutPrefix(line, "* ACL "+name+" "); ok {
				return rest
			}
		}
		return ""
	}
	const all = "owner lrswipkxteacd"
	ctl(t, d, 0, "share", "-u", "u1", "Team.*", "--with", "u2", "--rights", "lrs")
	ctl(t, d, 0, "share", "-u", "u1", "Team", "--with", "u2@example.test", "--with", "-u3", "--rights", "+i")
	c.OK("SETACL Team.Plans $board lr")
	c.OK("CREATE Team.Plans.New")
	for name, want := range map[string]string{
		"Team":           all + " u2@example.test lrsi -u3@example.test i",
		"Team.Plans":     all + " u2@example.test lrs $board lr",
		"Team.Plans.New": all + " u2@example.test lrs $board lr",
		"Other":          all,
	} {
		if got := acl(name); got != want {
			t.Errorf("%s has %q, want %q", name, got, want)
		}
	}
	file, err := os.ReadFile(filepath.Join(d.Maildir(1), ".Team", "dovecot-acl"))
	if want := "user=u2@example.test lrsi\n-user=u3@example.test i\n"; err != nil || string(file) != want {
		t.Errorf("the file has %q, %v, want %q", file, err, want)
	}
	shared := func() (out []string) {
		for _, r := range rows(t, d, "shares", "-u", "u1") {
			out = append(out, fmt.Sprint(r["mailbox"], " ", r["identifier"], " ", r["rights"]))
		}
		return out
	}
	want := []string{"Team u2@example.test lrsi", "Team -u3@example.test i", "Team.Plans u2@example.test lrs", "Team.Plans $board lr",
		"Team.Plans.New u2@example.test lrs", "Team.Plans.New $board lr"}
	if got := shared(); !slices.Equal(got, want) {
		t.Errorf("shares: %q, want %q", got, want)
	}
	ctl(t, d, 65, "share", "-u", "u1", "Team", "--with", "a b", "--rights", "lr")
	ctl(t, d, 66, "share", "-u", "u1", "None", "--with", "u2", "--rights", "lr")
	if out := ctl(t, d, 66, "share", "-u", "u1", "None", "--with", "ghost", "--rights", "lr"); !strings.Contains(out, "no userdb knows ghost: ") {
		t.Errorf("of an unknown user is told %q", out)
	}
	ctl(t, d, 66, "unshare", "-u", "u1", "Other")
	ctl(t, d, 0, "unshare", "-u", "u1", "Team.*", "--with", "u2@example.test")
	want = []string{"Team -u3@example.test i", "Team.Plans $board lr", "Team.Plans.New $board lr"}
	if got := shared(); !slices.Equal(got, want) {
		t.Errorf("after unshare: %q, want %q", got, want)
	}
	// What the owner takes from himself holds in his sessions.
	ctl(t, d, 0, "share", "-u", "u1", "Team", "--with", "owner", "--rights", "lr")
	if lines := c.IMAP("DELETE Team"); !strings.Contains(lines[len(lines)-1], "NO [NOPERM]") {
		t.Errorf("DELETE: %q", lines)
	}
	c.Close()
	ctl(t, d, 0, "verify", "-u", "u1")
	ctl(t, d, 0, "convert", "-u", "u1", "--to", "pack")
	ctl(t, d, 0, "verify", "-u", "u1")
	if got := shared(); !slices.Equal(got, append([]string{"Team owner lra"}, want...)) {
		t.Errorf("after convert: %q, want %q", got, want)
	}
	d.NoCrash(t)
}
