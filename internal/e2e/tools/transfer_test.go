package tools

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rookery/internal/e2e/harness"
)

// What is exported and imported again is the same mail.
func TestTransfer(t *testing.T) {
	d := harness.Start(t, "--users", "3", "--empty")
	c := d.Dial("imap")
	c.Login("u1")
	c.OK("CREATE Lists.Go")
	c.OK("SUBSCRIBE Lists.Go")
	for i := range 30 {
		box := []string{"INBOX", "Lists.Go"}[i%2]
		if err := c.Append(box, `(\Seen $Work) "01-Feb-2024 10:00:00 +0000" `, fmt.Sprintf("Subject: m%d\r\nMessage-ID: <%d@x>\r\n\r\nFrom here %s\r\n", i, i, strings.Repeat("x", i*9000))); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(d.Dir, "exports")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	facts := func(user string) string {
		var b strings.Builder
		for _, r := range rows(t, d, "fetch", "-u", user, "-f", "flags,size,date,subject", "all") {
			fmt.Fprintln(&b, r["mailbox"], r["flags"], r["size"], r["date"], r["subject"])
		}
		return b.String()
	}
	maildir := filepath.Join(dir, "maildir")
	if got := fmt.Sprint(rows(t, d, "export", "-u", "u1", maildir)); !strings.Contains(got, "exported:15 mailbox:Lists.Go") {
		t.Error(got)
	}
	if out := ctl(t, d, 73, "export", "-u", "u1", maildir); !strings.Contains(out, "not empty") {
		t.Error(out)
	}
	if got := fmt.Sprint(rows(t, d, "import", "-u", "u2", "-n", maildir)); !strings.Contains(got, "folder:Lists/Go messages:15") {
		t.Error(got)
	}
	if got := facts("u2"); got != "" {
		t.Errorf("a dry run imported %s", got)
	}
	ctl(t, d, 0, "import", "-u", "u2", maildir)
	if a, b := facts("u1"), facts("u2"); a != b || !strings.Contains(a, "Lists.Go \\Seen $Work") {
		t.Errorf("%s\nis not\n%s", b, a)
	}
	if got := fmt.Sprint(column(rows(t, d, "mailbox", "list", "-u", "u2", "--subscribed"), "mailbox")); !strings.Contains(got, "Lists.Go") {
		t.Error(got)
	}
	// Again, with one message more.
	if err := os.WriteFile(filepath.Join(maildir, "new", "1.x.y"), []byte("Subject: more\n\nx\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(rows(t, d, "import", "-u", "u2", "--new-only", maildir)); !strings.Contains(got, "imported:1 mailbox:INBOX there_already:15") {
		t.Error(got)
	}
	for _, format := range []string{"eml", "mh", "mbox", "mbx"} {
		ctl(t, d, 0, "export", "-u", "u1", "-m", "Lists.Go", "--format", format, filepath.Join(dir, format), "smaller", "100k")
	}
	// Each format comes back, with the flags that it has.
	texts := func(user, box string, fields string) string {
		return fmt.Sprint(column(rows(t, d, "fetch", "-u", user, "-m", box, "-f", fields, "smaller", "100k"), "text"),
			column(rows(t, d, "fetch", "-u", user, "-m", box, "-f", fields, "smaller", "100k"), "flags"))
	}
	for format, fields := range map[string]string{"mbox": "text,flags", "mbx": "text,flags", "mh": "text"} {
		ctl(t, d, 0, "import", "-u", "u3", "--to", "From-"+format, "--format", format, filepath.Join(dir, format))
		got, want := texts("u3", "From-"+format+".Lists.Go", fields), texts("u1", "Lists.Go", fields)
		if format == "mbox" { // nobody can tell who put the ">" there: it stays
			got = strings.ReplaceAll(got, "\n>From here", "\nFrom here")
		}
		if got != want {
			t.Errorf("%s: %s", format, differs(got, want))
		}
	}
	ctl(t, d, 0, "import", "-u", "u3", "--to", "Old", filepath.Join(dir, "eml"))
	if got := fmt.Sprint(rows(t, d, "search", "-u", "u3", "--count", "-m", "Old*", "all")); !strings.Contains(got, "count:6 mailbox:Old.Lists.Go") {
		t.Error(got)
	}
	ctl(t, d, 66, "import", "-u", "u3", filepath.Join(dir, "none"))
	ctl(t, d, 64, "export", "-u", "u3", "--format", "zip", filepath.Join(dir, "zip"))
	d.NoCrash(t)
}
