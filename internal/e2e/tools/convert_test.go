package tools

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"rookery/internal/e2e/harness"
)

// login waits until the user is let in: a killed rookeryctl's hold ends when the
// server notices.
func login(t *testing.T, d *harness.Demo) (c *harness.Client) {
	t.Helper()
	d.Eventually("the user is let in", func() bool {
		c = d.Dial("imap")
		c.ExpectPrefix("* OK ")
		lines := c.IMAP("LOGIN u1 pass")
		return strings.Contains(lines[len(lines)-1], " OK ")
	})
	return c
}

// seen is what a client would have to download again if it changed.
func seen(t *testing.T, d *harness.Demo, boxes ...string) string {
	t.Helper()
	c := login(t, d)
	defer c.Close()
	var b strings.Builder
	for _, box := range boxes {
		for _, line := range c.OK("SELECT %q", box) {
			if strings.Contains(line, "UIDVALIDITY") || strings.Contains(line, "UIDNEXT") || strings.Contains(line, "EXISTS") {
				fmt.Fprintln(&b, line)
			}
		}
		for _, line := range c.OK("UID FETCH 1:* (FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])") {
			if strings.HasPrefix(line, "*") {
				fmt.Fprintln(&b, line)
			}
		}
	}
	for _, line := range c.OK(`LSUB "" *`) {
		if strings.HasPrefix(line, "*") {
			fmt.Fprintln(&b, line)
		}
	}
	return b.String()
}

// differs names the first line that is not the same.
func differs(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range a {
		if i >= len(b) || a[i] != b[i] {
			return fmt.Sprintf("line %d of %d is %.200q, want %.200q", i, len(a), a[i], b[min(i, len(b)-1)])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(a), len(b))
}

func fill(t *testing.T, d *harness.Demo, n int) {
	t.Helper()
	c := d.Dial("imap")
	defer c.Close()
	c.Login("u1")
	c.OK("CREATE Lists.Go")
	c.OK("SUBSCRIBE Lists.Go")
	for i := range n {
		box := []string{"INBOX", "Lists.Go"}[i%2]
		if err := c.Append(box, `(\Answered $Work) "01-Feb-2024 10:00:00 +0000" `, fmt.Sprintf("Subject: m%d\r\n\r\n%s\r\n", i, strings.Repeat("x", i*70))); err != nil {
			t.Fatal(err)
		}
	}
	c.OK("SELECT INBOX")
	c.OK(`STORE 2,%d +FLAGS (\Deleted)`, n/2)
	c.OK("EXPUNGE")
}

// A client's view of the mail is the same after a conversion; its session ends,
// and a new one finds everything.
func TestConvert(t *testing.T) {
	d := harness.Start(t, "--users", "1", "--empty")
	fill(t, d, 40)
	seen(t, d, "INBOX", "Lists.Go") // takes \Recent away
	before := seen(t, d, "INBOX", "Lists.Go")
	c := d.Dial("imap")
	c.Login("u1")
	if got := rows(t, d, "convert", "-u", "u1", "--dry-run"); got[0]["driver"] != "maildir" || got[0]["messages"] != 38.0 {
		t.Errorf("%v", got)
	}
	got := rows(t, d, "convert", "-u", "u1", "--to", "pack")
	if last := got[len(got)-1]; last["step"] != "switched" || last["to"] != "pack" {
		t.Errorf("%v", got)
	}
	if line, err := c.TryLine(); err != nil || !strings.HasPrefix(line, "* BYE") {
		t.Errorf("the session is told %q, %v", line, err)
	}
	if after := seen(t, d, "INBOX", "Lists.Go"); after != before {
		t.Errorf("after: %s", differs(after, before))
	}
	ctl(t, d, 64, "convert", "-u", "u1")
	ctl(t, d, 73, "convert", "-u", "u1", "--to", "maildir") // the old mail is there
	ctl(t, d, 0, "convert", "-u", "u1", "--discard-old")
	if files, _ := filepath.Glob(filepath.Join(d.Maildir(1), "cur", "*")); len(files) > 0 {
		t.Errorf("%d old messages are there", len(files))
	}
	if after := seen(t, d, "INBOX", "Lists.Go"); after != before {
		t.Errorf("after discarding: %s", differs(after, before))
	}
	for _, driver := range []string{"maildir", "mbox", "pack", "maildir"} {
		ctl(t, d, 0, "convert", "-u", "u1", "--to", driver)
		if after := seen(t, d, "INBOX", "Lists.Go"); after != before {
			t.Errorf("as %s: %s", driver, differs(after, before))
		}
		ctl(t, d, 0, "convert", "-u", "u1", "--discard-old")
	}
	if left, _ := filepath.Glob(filepath.Join(d.Maildir(1), "rookery-store-*")); len(left) != 1 {
		t.Errorf("there are %q", left)
	}
	// What is new goes on where it was.
	c = d.Dial("imap")
	c.Login("u1")
	if err := c.Append("INBOX", "", "Subject: new\r\n\r\nx\r\n"); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(column(rows(t, d, "search", "-u", "u1", "-m", "INBOX", "subject", "new"), "uid")); got != "[21]" {
		t.Errorf("the next UID is %s", got)
	}
	d.NoCrash(t)
}

// A conversion from any format to any other that is killed at any moment loses
// nothing, and the next one ends it; a client that keeps copies never downloads one
// again. The moments are spread over as long as a conversion takes here.
func TestConvertKilled(t *testing.T) {
	const kills, most = 2, 40 // of each pair
	d := harness.Start(t, "--users", "1", "--empty")
	fill(t, d, 120)
	seen(t, d, "INBOX", "Lists.Go") // takes \Recent away
	before := seen(t, d, "INBOX", "Lists.Go")
	copies := newCopies(t, d)
	if n := copies.sync(); n != 118 {
		t.Fatalf("mbsync downloads %d messages at first", n)
	}
	start := time.Now()
	ctl(t, d, 0, "convert", "-u", "u1", "--to", "pack")
	took := time.Since(start)
	ctl(t, d, 0, "convert", "-u", "u1", "--discard-old")
	from := "pack"
	for _, to := range []string{"mbox", "maildir", "mbox", "pack", "maildir", "pack"} {
		for killed, try := 0, 0; killed < kills; try++ {
			if try == most {
				t.Fatalf("only %d of %d conversions to %s were killed before they ended", killed, try, to)
			}
			out, err := runKilled(t, d, rand.N(took), try%2, "convert", "-u", "u1", "--to", to)
			if after := seen(t, d, "INBOX", "Lists.Go"); after != before {
				t.Fatalf("to %s, after kill %d: %s\n%s", to, try, differs(after, before), out)
			}
			if err != nil && !strings.Contains(out, "was converted") {
				killed++
				continue
			}
			endConvert(t, d, to) // the kill came too late: back, and once more
			endConvert(t, d, from)
		}
		endConvert(t, d, to)
		from = to
		if after := seen(t, d, "INBOX", "Lists.Go"); after != before {
			t.Errorf("as %s: %s", to, differs(after, before))
		}
		if n := copies.sync(); n != 0 {
			t.Errorf("as %s: mbsync downloads %d messages again", to, n)
		}
	}
	if _, err := os.Stat(filepath.Join(d.Maildir(1), "rookery-place")); err != nil {
		t.Error(err)
	}
	d.NoCrash(t)
}

// copies is mbsync with what it keeps of u1's mail.
type copies struct {
	t  *testing.T
	d  *harness.Demo
	rc string
}

func newCopies(t *testing.T, d *harness.Demo) copies {
	dir := t.TempDir()
	c := copies{t, d, filepath.Join(dir, "mbsyncrc")}
	text := fmt.Sprintf("IMAPAccount demo\nHost localhost\nPort %d\nUser u1\nPass pass\nSSLType None\nAuthMechs LOGIN\n\nIMAPStore far\nAccount demo\n\n"+
		"MaildirStore near\nPath %s/\nInbox %s/INBOX\nSubFolders Verbatim\n\nChannel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\nSyncState *\n", d.Port("imap"), dir, dir)
	if err := os.WriteFile(c.rc, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// sync runs mbsync and gives how many messages it downloaded, as the server logs.
func (c copies) sync() int {
	c.t.Helper()
	login(c.t, c.d).Close() // once the user is let in
	before := len(c.d.Log())
	if out, err := exec.Command("mbsync", "-c", c.rc, "-a").CombinedOutput(); err != nil {
		c.t.Fatalf("mbsync: %v\n%s", err, out)
	}
	var found []string
	c.d.Eventually("mbsync's logout is logged", func() bool {
		found = downloads.FindStringSubmatch(c.d.Log()[before:])
		return found != nil
	})
	if found == nil {
		c.t.FailNow()
	}
	n, err := strconv.Atoi(found[1])
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

var downloads = regexp.MustCompile(`Logged out .* body_count=(\d+) `)

// endConvert brings a conversion to its end and gives the old mail up.
func endConvert(t *testing.T, d *harness.Demo, to string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) { // the killed process's lock may still be held
		out, err := d.Ctl("convert", "-u", "u1", "--to", to)
		if err == nil || strings.Contains(out, "was converted") || strings.Contains(out, "as "+to+" already") {
			break
		}
		if time.Now().After(end) {
			t.Fatal(out)
		}
	}
	ctl(t, d, 0, "convert", "-u", "u1", "--discard-old")
}
