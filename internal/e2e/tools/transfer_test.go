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

// A Maildir of Dovecot's or Courier's comes with UIDs, UIDVALIDITY, UIDNEXT, keywords
// and subscriptions, where the mailbox is empty.
func TestImportKeepsUIDs(t *testing.T) {
	d := harness.Start(t, "--users", "1", "--empty")
	dir := filepath.Join(d.Dir, "old")
	for path, text := range map[string]string{
		"cur/1000.M1P1.x:2,Sa": "Subject: one\n\n1\n", "cur/1001.M1P1.x:2,": "Subject: two\n\n2\n", "new/1002.M1P1.x": "Subject: three\n\n3\n",
		"dovecot-uidlist":  "3 V77 N40 G0123456789abcdef0123456789abcdef\n5 :1001.M1P1.x\n9 W17 :1000.M1P1.x\n",
		"dovecot-keywords": "0 $Job\n", "subscriptions": "V\t2\n\nINBOX\nOld\tCourier\n",
		".Old.Courier/cur/2000.M1P1.x:2,": "Subject: four\n\n4\n", ".Old.Courier/new/.k": "", ".Old.Courier/courierimapuiddb": "1 88 12\n11 2000.M1P1.x\n",
		".Old.Courier/courierimapkeywords/:list": "urgent\nlater\n\n2000.M1P1.x:1\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := writeFile(filepath.Join(dir, path), text); err != nil {
			t.Fatal(err)
		}
	}
	ctl(t, d, 0, "import", "-u", "u1", "--keep-uids", dir)
	facts := func(box string) string {
		var b strings.Builder
		for _, r := range rows(t, d, "fetch", "-u", "u1", "-m", box, "-f", "uid,flags,subject", "all") {
			fmt.Fprint(&b, r["uid"], " ", r["flags"], " ", r["subject"], "; ")
		}
		st := rows(t, d, "mailbox", "status", "-u", "u1", box)[0]
		return fmt.Sprint(b.String(), st["uidvalidity"], " ", st["uidnext"])
	}
	if got := facts("INBOX"); got != `5  two; 9 \Seen $Job one; 10  three; 77 40` {
		t.Error(got)
	}
	if got := facts("Old.Courier"); got != "11 later four; 88 12" {
		t.Error(got)
	}
	if got := fmt.Sprint(column(rows(t, d, "mailbox", "list", "-u", "u1", "--subscribed"), "mailbox")); !strings.Contains(got, "Old.Courier") {
		t.Error(got)
	}
	if out := ctl(t, d, 73, "import", "-u", "u1", "--keep-uids", dir); !strings.Contains(out, "empty mailbox") {
		t.Error(out)
	}
	d.NoCrash(t)
}
