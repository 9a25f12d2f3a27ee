package tools

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rookery/internal/e2e/harness"
)

func TestMailbox(t *testing.T) {
	d := harness.Start(t, "--users", "2", "--empty")
	u1 := "u1@example.test"
	ctl(t, d, 0, "mailbox", "create", "-u", u1, "--subscribe", "Lists.Go", "Ärger")
	ctl(t, d, 0, "mailbox", "create", "-u", "u1", "Archive") // the bare name is the same user
	list := rows(t, d, "mailbox", "list", "-u", u1)
	names := fmt.Sprint(column(list, "mailbox"))
	for _, want := range []string{"INBOX", "Lists.Go", "Ärger", "Archive"} {
		if !strings.Contains(names, want) {
			t.Errorf("%s has no %s", names, want)
		}
	}
	if got := fmt.Sprint(column(rows(t, d, "mailbox", "list", "-u", u1, "--subscribed", "L*"), "mailbox")); got != "[Lists.Go]" {
		t.Errorf("subscribed: %s", got)
	}
	if out := ctl(t, d, 73, "mailbox", "create", "-u", u1, "Archive"); !strings.Contains(out, "u1@example.test has a mailbox Archive already") {
		t.Error(out)
	}
	if out := ctl(t, d, 66, "mailbox", "status", "-u", u1, "None"); !strings.Contains(out, "has no mailbox None; see: rookeryctl mailbox list -u u1@example.test") {
		t.Error(out)
	}
	if out := ctl(t, d, 67, "mailbox", "list", "-u", "nobody"); out == "" {
		t.Error("nothing is said of an unknown user")
	}
	if out := ctl(t, d, 64, "mailbox", "list"); !strings.Contains(out, "write -u USER") {
		t.Error(out)
	}
	c := d.Dial("imap")
	c.Login("u1")
	if err := c.Append("Lists.Go", `(\Seen) `, "Subject: x\r\n\r\nbody\r\n"); err != nil {
		t.Fatal(err)
	}
	c.OK("SELECT Lists.Go")
	st := rows(t, d, "mailbox", "status", "-u", u1, "Lists.Go")
	if len(st) != 1 || st[0]["messages"] != 1.0 || st[0]["unseen"] != 0.0 || st[0]["size"] != 20.0 || st[0]["uidnext"] != 2.0 {
		t.Errorf("%v", st)
	}
	ctl(t, d, 0, "mailbox", "rename", "-u", u1, "Archive", "Old.Archive")
	ctl(t, d, 0, "mailbox", "unsubscribe", "-u", u1, "Lists.Go")
	ctl(t, d, 66, "mailbox", "unsubscribe", "-u", u1, "Lists.Go")
	ctl(t, d, 0, "mailbox", "delete", "-u", u1, "-r", "Old")
	if got := fmt.Sprint(column(rows(t, d, "mailbox", "list", "-u", u1, "Old*"), "mailbox")); got != "[]" {
		t.Errorf("after delete: %s", got)
	}
	if out := ctl(t, d, 65, "mailbox", "delete", "-u", u1, "INBOX"); out == "" {
		t.Error("INBOX can be deleted")
	}
	d.NoCrash(t)
	d.Eventually("the processes have ended", func() bool { return len(d.Status().Of("mailtool")) == 0 })
}

// The tool is the user, in his sandbox: what a worker cannot reach, it cannot.
func TestSandbox(t *testing.T) {
	harness.NeedRoot(t)
	d := harness.Start(t, "--users", "2")
	// A link of u1's to u2's mail, as u1 could have made it.
	uid, gid := d.Owner(1)
	maildir := d.Maildir(1)
	ctl(t, d, 0, "mailbox", "list", "-u", "u1")
	ctl(t, d, 0, "mailbox", "list", "-u", "u2")
	link := filepath.Join(maildir, ".stolen")
	if err := os.Symlink(d.Maildir(2), link); err != nil {
		t.Fatal(err)
	}
	if err := os.Lchown(link, uid, gid); err != nil {
		t.Fatal(err)
	}
	out, _ := d.Ctl("mailbox", "status", "-u", "u1", "--json")
	for _, st := range rows(t, d, "mailbox", "list", "-u", "u1") {
		if st["mailbox"] == "stolen" {
			t.Errorf("another's mail is listed: %v\n%s", st, out)
		}
	}
	if d.Status().PID == 0 {
		t.Error("no master")
	}
	d.NoCrash(t)
}
