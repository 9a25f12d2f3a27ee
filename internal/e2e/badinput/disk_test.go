package badinput

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"rookery/internal/e2e/harness"
)

// smallDisk mounts a file system of size bytes as u1's home.
func smallDisk(t *testing.T, options string) *harness.Demo {
	t.Helper()
	harness.NeedRoot(t)
	d := harness.Prepare(t)
	d.Write("--users", "2", "--empty")
	uid, gid := d.Owner(1)
	home := filepath.Dir(d.Maildir(1))
	if err := unix.Mount("none", home, "tmpfs", 0, fmt.Sprintf("%s,mode=700,uid=%d,gid=%d", options, uid, gid)); err != nil {
		t.Skipf("needs root that may mount: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(home, unix.MNT_DETACH) })
	d.Start("--users", "2", "--empty")
	return d
}

// fill leaves no free byte in a file system.
func fill(t *testing.T, d *harness.Demo) (path string) {
	t.Helper()
	path = filepath.Join(filepath.Dir(d.Maildir(1)), "filler")
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	for _, size := range []int{64 << 10, 4 << 10, 1} {
		for {
			if _, err := f.Write(make([]byte, size)); err != nil {
				break
			}
		}
	}
	return path
}

// TestFullDisk: a full disk is told as one; nothing half-written is ever seen;
// reading and expunging go on, and what they free can be used.
func TestFullDisk(t *testing.T) {
	d := smallDisk(t, "size=2m")
	c := login(t, d, "imap", "u1")
	c.OK("SELECT INBOX")
	body := in(1000, in(76, "x")+"\r\n")
	stored := 0
	for ; stored < 100; stored++ {
		err := c.Append("INBOX", "", mail(fmt.Sprint(stored))+body)
		if err == nil {
			continue
		}
		if !strings.Contains(err.Error(), " NO [OVERQUOTA] ") {
			t.Fatalf("APPEND %d: %v", stored, err)
		}
		break
	}
	if stored < 5 || stored == 100 {
		t.Fatalf("%d messages on the small disk", stored)
	}
	filler := fill(t, d)
	for n := range 3 {
		if err := c.Append("INBOX", "", mail("too much")); err == nil || !strings.Contains(err.Error(), " NO [OVERQUOTA] ") {
			t.Errorf("APPEND on a full disk: %v", err)
		}
		// Sent without waiting: drained.
		must(t, c.Send(fmt.Sprintf("x%d APPEND INBOX {%d+}\r\n%s\r\n", n, len(body), body)))
		if lines, err := c.Until(fmt.Sprintf("x%d", n)); err != nil || !strings.Contains(last(lines), " NO [OVERQUOTA] ") {
			t.Errorf("APPEND of a non-synchronizing literal: %q, %v", lines, err)
		}
	}
	for _, command := range []string{"CREATE fresh", "COPY 1 INBOX", "MOVE 1 Trash"} {
		got := last(c.IMAP("%s", command))
		if !strings.Contains(got, " NO [OVERQUOTA] ") && !strings.Contains(got, " OK ") {
			t.Errorf("%s: %q", command, got)
		}
		t.Logf("%s: %s", command, got)
		if list := c.OK(`LIST "" fresh`); strings.Contains(got, " NO ") && command == "CREATE fresh" && len(list) != 1 {
			t.Errorf("CREATE was refused, and LIST shows %q", list)
		}
	}
	c.OK("NOOP")
	now := exists(login(t, d, "imap", "u1").OK("SELECT INBOX"))
	checkAll(t, d, c, now)
	if left := inTmp(t, d, 1); len(left) > 0 {
		t.Errorf("left in tmp: %q", left)
	}
	sessionLine(t, d, "(disk full|no space left on device)")
	// POP3 reads too.
	p := login(t, d, "pop3", "u1")
	if got := p.POP3Lines("RETR 1"); !strings.HasPrefix(got[0], "+OK") || len(got) < 1000 {
		t.Errorf("RETR on a full disk: %d lines, %q", len(got), got[0])
	}
	if got := p.POP3("QUIT"); !strings.HasPrefix(got, "+OK") && !strings.HasPrefix(got, "-ERR") {
		t.Errorf("QUIT: %q", got)
	}
	// Expunging works although nothing can be written, and frees room.
	c.OK(`STORE 1:3 +FLAGS (\Deleted)`)
	c.OK("EXPUNGE")
	if got := exists(c.OK("SELECT INBOX")); got != now-3 {
		t.Errorf("%d messages after the EXPUNGE of 3 of %d", got, now)
	}
	checkAll(t, d, c, now-3)
	must(t, os.Remove(filler))
	if err := c.Append("INBOX", "", mail("fits again")); err != nil {
		t.Errorf("APPEND with room again: %v", err)
	}
	checkAll(t, d, c, now-2)
	// Nobody else was touched.
	other := login(t, d, "imap", "u2")
	must(t, other.Append("INBOX", "", mail("other")))
	d.NoCrash(t)
	d.Stop()
	d.Start()
	c = login(t, d, "imap", "u1")
	c.OK("SELECT INBOX")
	checkAll(t, d, c, now-2)
}

// checkAll reads every message: each is whole.
func checkAll(t *testing.T, d *harness.Demo, c *harness.Client, want int) {
	t.Helper()
	c.OK("NOOP")
	n := 0
	for _, line := range c.OK("FETCH 1:* BODY.PEEK[]") {
		if !strings.Contains(line, " FETCH (") {
			continue
		}
		n++
		if !strings.Contains(line, "Subject: ") || !strings.Contains(line, "Text of ") || !strings.HasSuffix(line, "\r\n)") {
			t.Errorf("half a message: %.100q … %.100q", line, line[max(0, len(line)-100):])
		}
	}
	if n != want {
		t.Errorf("%d messages can be read, want %d", n, want)
	}
}

// TestNoInodes: no file can be made, though there is room for bytes.
func TestNoInodes(t *testing.T) {
	d := smallDisk(t, "size=4m,nr_inodes=40")
	c := login(t, d, "imap", "u1")
	c.OK("SELECT INBOX")
	stored := 0
	for ; stored < 50; stored++ {
		if err := c.Append("INBOX", "", mail(fmt.Sprint(stored))); err != nil {
			if !strings.Contains(err.Error(), " NO [OVERQUOTA] ") {
				t.Errorf("APPEND: %v", err)
			}
			break
		}
	}
	if stored == 0 || stored == 50 {
		t.Fatalf("%d messages", stored)
	}
	checkAll(t, d, c, stored)
	c.OK(`STORE 1 +FLAGS (\Deleted)`)
	c.OK("EXPUNGE")
	checkAll(t, d, c, stored-1)
	must(t, c.Append("INBOX", "", mail("again")))
	checkAll(t, d, c, stored)
	c.OK("LOGOUT")
	// A delivery takes the last inode: who comes now can still read, and make room.
	spare := filepath.Join(d.Maildir(1), "new", "1.spare.test")
	put(t, d, 1, spare, "Subject: spare\n\nText of spare.\n")
	for n := 0; ; n++ {
		f, err := os.Create(filepath.Join(filepath.Dir(d.Maildir(1)), fmt.Sprint("filler", n)))
		if err != nil {
			break
		}
		f.Close()
	}
	endWorkers(t, d)
	c = login(t, d, "imap", "u1")
	if got := exists(c.OK("SELECT INBOX")); got < stored {
		t.Errorf("%d messages are shown, %d were there", got, stored)
	}
	c.OK("UID FETCH 1:* BODY.PEEK[]")
	c.OK(`STORE 1:2 +FLAGS (\Deleted)`)
	c.OK("EXPUNGE")
	d.Eventually("the delivery is shown, once there is room for its UID", func() bool {
		return exists(c.OK("SELECT INBOX")) == stored-1
	})
	checkAll(t, d, c, stored-1)
	d.NoCrash(t)
}

// endWorkers ends the processes of all users, as if all had been idle for long.
func endWorkers(t *testing.T, d *harness.Demo) {
	t.Helper()
	for _, role := range []string{"imapworker", "pop3worker"} {
		for _, p := range d.Status().Of(role) {
			must(t, unix.Kill(p.PID, unix.SIGKILL))
		}
	}
	d.Eventually("the workers have ended", func() bool { s := d.Status(); return len(s.Of("imapworker"))+len(s.Of("pop3worker")) == 0 })
}

// TestReadOnlyDisk: mail on a file system that may not be written can be read,
// and changes are refused.
func TestReadOnlyDisk(t *testing.T) {
	d := smallDisk(t, "size=4m")
	c := login(t, d, "imap", "u1")
	for n := range 3 {
		must(t, c.Append("INBOX", "", mail(fmt.Sprint(n))))
	}
	c.OK("SELECT INBOX")
	home := filepath.Dir(d.Maildir(1))
	endWorkers(t, d)
	must(t, unix.Mount("none", home, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	c = login(t, d, "imap", "u1")
	lines := c.IMAP("EXAMINE INBOX")
	if !strings.Contains(last(lines), " OK ") || exists(lines) != 3 {
		t.Fatalf("EXAMINE: %q", lines)
	}
	checkAll(t, d, c, 3)
	if err := c.Append("INBOX", "", mail("no")); err == nil || !strings.Contains(err.Error(), " NO ") {
		t.Errorf("APPEND on a read-only disk: %v", err)
	}
	for command, want := range map[string]string{"SELECT INBOX": " OK [READ-ONLY] ", `STORE 1 +FLAGS (\Seen)`: " NO ", "CREATE x": " NO ", "NOOP": " OK "} {
		if got := last(c.IMAP("%s", command)); !strings.Contains(got, want) {
			t.Errorf("%s: %q", command, got)
		}
	}
	checkAll(t, d, c, 3)
	d.NoCrash(t)
}
