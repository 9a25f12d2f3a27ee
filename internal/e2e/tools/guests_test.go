package tools

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rookery/internal/e2e/harness"
)

// heard waits for a line that a session is told without asking.
func heard(t *testing.T, c *harness.Client, prefix string) {
	t.Helper()
	for {
		line, err := c.LineWithin(20 * time.Second)
		if err != nil {
			t.Fatalf("waiting for %q: %v", prefix, err)
		}
		if strings.HasPrefix(line, prefix) {
			return
		}
	}
}

// One user shares from his mail program, another reads, is told at once, and changes;
// both ways, over the death of the owner's process, and each with a \Seen of his own.
func TestGuestsLive(t *testing.T) {
	private := strings.Replace(others, `type = "shared"`, "type = \"shared\"\nseen = \"private\"", 1)
	d := harness.StartWith(t, []string{private}, "--users", "2", "--empty")
	ann, bob := d.Dial("imap"), d.Dial("imap")
	ann.Login("u1")
	bob.Login("u2")
	ann.OK("CREATE Team")
	if err := ann.Append("Team", "", "Subject: one\r\n\r\nhello\r\n"); err != nil {
		t.Fatal(err)
	}
	ann.OK("SETACL Team u2@example.test lrswite")
	wantListed(t, d, "shared over IMAP", bob, "Team")
	bob.OK(`SELECT "Other Users/u1@example.test/Team"`)
	ann.OK("SELECT Team")
	idle := func(c *harness.Client) {
		if err := c.Send("i IDLE\r\n"); err != nil {
			t.Fatal(err)
		}
		heard(t, c, "+ idling")
	}
	done := func(c *harness.Client) {
		if err := c.Send("DONE\r\n"); err != nil {
			t.Fatal(err)
		}
		heard(t, c, "i OK")
	}
	idle(bob)
	if err := ann.Append("Team", "", "Subject: two\r\n\r\nhello\r\n"); err != nil {
		t.Fatal(err)
	}
	heard(t, bob, "* 2 EXISTS")
	done(bob)
	idle(ann)
	bob.OK(`STORE 1 +FLAGS (\Flagged \Seen)`)
	heard(t, ann, "* 1 FETCH")
	done(ann)
	if got := strings.Join(ann.OK("FETCH 1 (FLAGS)"), " "); strings.Contains(got, `\Seen`) || !strings.Contains(got, `\Flagged`) {
		t.Errorf("the owner has %s", got)
	}
	bob.OK(`COPY 1 INBOX`)
	bob.OK(`MOVE 2 INBOX`)
	if got := strings.Join(bob.OK("STATUS INBOX (MESSAGES)"), " "); !strings.Contains(got, "MESSAGES 2") {
		t.Errorf("bob's own: %s", got)
	}
	ann.OK("NOOP")
	if got := strings.Join(ann.OK("STATUS Team (MESSAGES UNSEEN)"), " "); !strings.Contains(got, "MESSAGES 1 UNSEEN 1") {
		t.Errorf("ann's: %s", got)
	}
	kept, _ := filepath.Glob(filepath.Join(d.Maildir(1), "rookery-seen", "*"))
	if len(kept) != 1 {
		t.Errorf("files of what bob has seen: %q", kept)
	} else if info, err := os.Stat(kept[0]); err != nil || info.Sys().(*syscall.Stat_t).Uid != uidOf(t, d.Maildir(1)) {
		t.Errorf("%s is not the owner's: %v", kept[0], err)
	}

	// The owner's process dies: bob goes on in the same mailbox, with what he had.
	for _, pid := range imapOf(d, "u1@example.test") {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	d.Eventually("bob goes on", func() bool {
		lines := bob.IMAP("UID FETCH 1 (FLAGS BODY.PEEK[TEXT])")
		return strings.Contains(lines[len(lines)-1], "OK") && slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, `\Flagged`) && strings.Contains(l, `\Seen`) })
	})
	ann = d.Dial("imap")
	ann.Login("u1")
	ann.OK("DELETEACL Team u2@example.test")
	wantListed(t, d, "taken away", bob2(d))
	if err := bob.Send("n NOOP\r\n"); err != nil {
		t.Fatal(err)
	}
	heard(t, bob, "* BYE Selected mailbox was deleted")
}

// bob2 is another session of the guest's.
func bob2(d *harness.Demo) *harness.Client {
	c := d.Dial("imap")
	c.Login("u2")
	return c
}

func uidOf(t *testing.T, path string) uint32 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Uid
}
