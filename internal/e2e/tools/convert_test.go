package tools

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
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

// A conversion that is killed at any moment loses nothing, and the next one ends
// it. The moments are spread over as long as a conversion takes here.
func TestConvertKilled(t *testing.T) {
	const kills, most = 12, 100
	d := harness.Start(t, "--users", "1", "--empty")
	fill(t, d, 120)
	seen(t, d, "INBOX", "Lists.Go") // takes \Recent away
	before := seen(t, d, "INBOX", "Lists.Go")
	start := time.Now()
	ctl(t, d, 0, "convert", "-u", "u1", "--to", "pack")
	took := time.Since(start)
	ctl(t, d, 0, "convert", "-u", "u1", "--discard-old")
	killed, to := 0, "maildir"
	for try := 0; killed < kills; try++ {
		if try == most {
			t.Fatalf("only %d of %d conversions were killed before they ended", killed, try)
		}
		out, err := killedConvert(t, d, to, rand.N(took), try%2 == 0)
		if after := seen(t, d, "INBOX", "Lists.Go"); after != before {
			t.Fatalf("after kill %d: %s\n%s", try, differs(after, before), out)
		}
		if err != nil {
			killed++
			continue
		}
		to = endConvert(t, d, to)
	}
	endConvert(t, d, to)
	if after := seen(t, d, "INBOX", "Lists.Go"); after != before {
		t.Errorf("at the end: %s", differs(after, before))
	}
	if _, err := os.Stat(filepath.Join(d.Maildir(1), "rookery-place")); err != nil {
		t.Error(err)
	}
}

// killedConvert begins a conversion and kills it after a while: the tool that
// works on the mail, or the rookeryctl that asked for it. No error: it ended first.
func killedConvert(t *testing.T, d *harness.Demo, to string, after time.Duration, tool bool) (string, error) {
	t.Helper()
	cmd := exec.Command(filepath.Join(harness.Bin(t), "rookeryctl"), "-c", filepath.Join(d.Dir, "rookery.toml"), "convert", "-u", "u1", "--to", to)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return out.String(), err
	case <-time.After(after):
	}
	if tool {
		for _, p := range d.Status().Of("mailtool") {
			syscall.Kill(p.PID, syscall.SIGKILL)
		}
	} else {
		cmd.Process.Kill()
	}
	err := <-ended
	return out.String(), err
}

// endConvert brings a conversion to its end and gives the old mail up; the next
// one goes back to the other driver, which it names.
func endConvert(t *testing.T, d *harness.Demo, to string) string {
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
	return map[string]string{"pack": "maildir", "maildir": "pack"}[to]
}
