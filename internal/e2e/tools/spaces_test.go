package tools

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rookery/internal/e2e/harness"
)

// archived are two namespaces: mail in a Maildir, an archive in mbox files with
// index and control files apart.
var archived = []string{
	`[[namespace]]`, `name = "inbox"`, `inbox = true`,
	`[[namespace.mailbox]]`, `name = "Trash"`, `special_use = ["\\Trash"]`, `auto = "subscribe"`,
	`[[namespace]]`, `name = "archive"`, `prefix = "Archive."`, `mail_driver = "mbox"`, `mail_path = "~/archive"`, `mail_index_path = "~/archive-index"`,
	`mail_control_path = "~/archive-control"`, `list = "children"`,
	`[[namespace.mailbox]]`, `name = "Old"`, `special_use = ["\\Archive"]`, `auto = "create"`,
}

// A user with two namespaces of two formats sees one tree, and mail goes between
// them whole.
func TestTwoNamespaces(t *testing.T) {
	d := harness.StartWith(t, append([]string{`quota_storage_size = "40 KiB"`}, archived...), "--users", "1", "--empty")
	c := d.Dial("imap")
	c.Login("u1")
	expect := func(want, format string, args ...any) {
		t.Helper()
		lines := c.IMAP(format, args...)
		lines[len(lines)-1] = lines[len(lines)-1][strings.IndexByte(lines[len(lines)-1], ' ')+1:] // without the tag
		if got := strings.Join(lines, "\n"); got != want {
			t.Errorf(format+":\n%s\nwant\n%s", append(args, got, want)...)
		}
	}
	expect("* NAMESPACE ((\"\" \".\")(\"Archive.\" \".\")) NIL NIL\nOK Namespace completed.", "NAMESPACE")
	expect("* LIST (\\HasNoChildren) \".\" INBOX\n* LIST (\\Noselect \\HasChildren) \".\" Archive\n* LIST (\\HasNoChildren \\Archive) \".\" Archive.Old\n* LIST (\\HasNoChildren \\Trash) \".\" Trash\nOK List completed.", `LIST "" *`)
	expect("* LSUB () \".\" Trash\nOK Lsub completed.", `LSUB "" *`)
	c.OK("CREATE Archive.2020.May")
	c.OK("SUBSCRIBE Archive.2020.May")
	expect("* LSUB () \".\" Archive.2020.May\nOK Lsub completed.", `LSUB "" Archive.*`)
	for _, text := range []string{"one", "two", "three"} {
		if err := c.Append("INBOX", `(\Flagged $Work) "01-Feb-2024 10:00:00 +0000" `, "Subject: "+text+"\r\n\r\n"+strings.Repeat("x", 3000)+"\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	c.OK("SELECT INBOX")
	if lines := c.OK("COPY 1:2 Archive.2020.May"); !strings.Contains(lines[len(lines)-1], "1:2 1:2]") {
		t.Error(lines)
	}
	if lines := c.OK("MOVE 3 Archive.2020.May"); !strings.Contains(strings.Join(lines, "\n"), "3 3]") {
		t.Error(lines)
	}
	if lines := c.IMAP("RENAME Archive.2020.May Elsewhere"); !strings.Contains(lines[0], "NO [CANNOT]") {
		t.Error(lines)
	}
	if lines := c.IMAP("CREATE Archive"); !strings.Contains(lines[0], "NO [ALREADYEXISTS]") {
		t.Error(lines)
	}
	// One quota for all: 15 KB are used, no matter where.
	if err := c.Append("Archive.Old", "", "Subject: big\r\n\r\n"+strings.Repeat("x", 26000)+"\r\n"); err == nil || !strings.Contains(err.Error(), "OVERQUOTA") {
		t.Errorf("an archive has a quota of its own: %v", err)
	}
	c.OK("SELECT Archive.2020.May")
	if got := strings.Join(c.OK("FETCH 3 (FLAGS INTERNALDATE BODY.PEEK[HEADER.FIELDS (SUBJECT)])"), "\n"); !strings.Contains(got, `\Flagged`) || !strings.Contains(got, "$Work") ||
		!strings.Contains(got, "01-Feb-2024") || !strings.Contains(got, "Subject: three") {
		t.Error(got)
	}
	c.OK(`STORE 1 +FLAGS (\Deleted)`)
	c.OK("EXPUNGE")
	b, err := os.ReadFile(filepath.Join(filepath.Dir(d.Maildir(1)), "archive", "2020", "May"))
	if err != nil || strings.Count(string(b), "\nSubject: ") != 2 {
		t.Errorf("%v\n%.300s", err, b)
	}
	// The tools see both; what was expunged in the archive comes back there.
	if got := column(rows(t, d, "mailbox", "status", "-u", "u1", "Archive.2020.May"), "messages"); len(got) != 1 || got[0] != 2.0 {
		t.Error(got)
	}
	if got := rows(t, d, "undelete", "-u", "u1"); len(got) != 1 || got[0]["mailbox"] != "Archive.2020.May" || got[0]["messages"] != 1.0 {
		t.Error(got)
	}
	c.OK("NOOP")
	if got := column(rows(t, d, "mailbox", "status", "-u", "u1", "Archive.2020.May"), "messages"); got[0] != 3.0 {
		t.Error(got)
	}
	ctl(t, d, 0, "verify", "-u", "u1")
	ctl(t, d, 0, "copy", "-u", "u1", "INBOX", "-m", "Archive.2020.May", "subject", "three")
	// A worker has both roots and no more.
	if out, err := d.Ctl("privileges"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	p := d.Dial("pop3")
	p.ExpectPrefix("+OK")
	p.POP3("USER u1")
	if line := p.POP3("PASS pass"); !strings.HasPrefix(line, "+OK") {
		t.Error(line)
	}
	if line := p.POP3("STAT"); !strings.HasPrefix(line, "+OK 3 ") {
		t.Error(line)
	}
	d.NoCrash(t)
}
