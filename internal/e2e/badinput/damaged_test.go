package badinput

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/e2e/harness"
)

// damage is what other hands do to a user's INBOX, which holds five messages
// with the subjects m0 to m4, in cur/.
type damage struct {
	name string
	do   func(t *testing.T, d *harness.Demo, user int, dir string)
	want int    // messages that SELECT tells afterwards
	bad  int    // of these, how many cannot be read
	log  string // a line that the log must have; "" for none
}

// curFiles lists the files in cur/.
func curFiles(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "cur", "*"))
	must(t, err)
	return all
}

func uidlist(dir string) string { return filepath.Join(dir, "dovecot-uidlist") }

func damages() []damage {
	rewrite := func(change func(string) string) func(*testing.T, *harness.Demo, int, string) {
		return func(t *testing.T, d *harness.Demo, user int, dir string) {
			text, err := os.ReadFile(uidlist(dir))
			must(t, err)
			put(t, d, user, uidlist(dir), change(string(text)))
		}
	}
	return []damage{
		{"uidlist cut in the middle of a line", rewrite(func(s string) string { return s[:len(s)-20] }), 5, 0, ""},
		{"uidlist cut in its header", rewrite(func(s string) string { return s[:5] }), 5, 0, "the uidlist of INBOX cannot be used"},
		{"uidlist empty", rewrite(func(string) string { return "" }), 5, 0, "the uidlist of INBOX cannot be used"},
		{"uidlist garbage", rewrite(func(string) string { return strings.Repeat("\x00\xff\n garbage ", 1000) }), 5, 0, "the uidlist of INBOX cannot be used"},
		{"uidlist with garbage lines", rewrite(func(s string) string {
			return s + "x\n4294967296 :a\n-1 :b\n7\n8 \n9 :\n3 :../../../etc/passwd\n10 Zq :" + in(100_000, "n") + "\n"
		}), 5, 0, ""},
		{"uidlist with the highest UID", rewrite(func(s string) string { return s + "4294967295 :nothing\n" }), 5, 0, ""},
		{"uidlist removed", func(t *testing.T, _ *harness.Demo, _ int, dir string) { must(t, os.Remove(uidlist(dir))) }, 5, 0, ""},
		{"uidlist is a folder", func(t *testing.T, _ *harness.Demo, _ int, dir string) {
			must(t, os.Remove(uidlist(dir)))
			must(t, os.Mkdir(uidlist(dir), 0o700))
		}, -1, 0, "dovecot-uidlist"},
		{"uidlist is a link to /etc/passwd", func(t *testing.T, _ *harness.Demo, _ int, dir string) {
			must(t, os.Remove(uidlist(dir)))
			must(t, os.Symlink("/etc/passwd", uidlist(dir)))
		}, -1, 0, ""},
		{"uidlist unreadable", func(t *testing.T, _ *harness.Demo, _ int, dir string) {
			must(t, os.Chown(uidlist(dir), 0, 0))
			must(t, os.Chmod(uidlist(dir), 0o600))
		}, -1, 0, "dovecot-uidlist"},
		{"keywords garbage", func(t *testing.T, d *harness.Demo, user int, dir string) {
			put(t, d, user, filepath.Join(dir, "dovecot-keywords"), "0 a\n0 b\n99 c\n-1 d\n\xff\x00\n1 (bad name)\n")
			put(t, d, user, filepath.Join(dir, "rookery-keywords"), in(1000, "garbage\x00 "))
		}, 5, 0, ""},
		{"cur removed", func(t *testing.T, _ *harness.Demo, _ int, dir string) {
			must(t, os.RemoveAll(filepath.Join(dir, "cur")))
		}, 0, 0, ""},
		{"cur, new and tmp removed", func(t *testing.T, _ *harness.Demo, _ int, dir string) {
			for _, n := range []string{"cur", "new", "tmp"} {
				must(t, os.RemoveAll(filepath.Join(dir, n)))
			}
		}, 0, 0, ""},
		{"new is a file", func(t *testing.T, d *harness.Demo, user int, dir string) {
			must(t, os.RemoveAll(filepath.Join(dir, "new")))
			put(t, d, user, filepath.Join(dir, "new"), "x")
		}, -1, 0, "new"},
		{"the Maildir is gone", func(t *testing.T, _ *harness.Demo, _ int, dir string) { must(t, os.RemoveAll(dir)) }, 0, 0, ""},
		{"two files unreadable", func(t *testing.T, _ *harness.Demo, _ int, dir string) {
			for _, f := range curFiles(t, dir)[:2] {
				must(t, os.Chown(f, 0, 0))
				must(t, os.Chmod(f, 0o600))
			}
		}, 5, 2, "permission denied"},
		{"folders, links, pipes and sockets among the messages", func(t *testing.T, d *harness.Demo, user int, dir string) {
			for _, sub := range []string{"cur", "new"} {
				must(t, os.Mkdir(filepath.Join(dir, sub, "1700000001.dir.test:2,S"), 0o700))
				must(t, os.Symlink("/etc/passwd", filepath.Join(dir, sub, "1700000002.link.test:2,S")))
				must(t, os.Symlink(filepath.Join(d.Dir, "users"), filepath.Join(dir, sub, "1700000003.link.test:2,S")))
				must(t, os.Symlink("../nowhere", filepath.Join(dir, sub, "1700000004.link.test:2,S")))
				fifo := filepath.Join(dir, sub, "1700000005.fifo.test:2,S")
				must(t, unix.Mkfifo(fifo, 0o600))
				own(t, d, user, fifo)
				must(t, unix.Mknod(filepath.Join(dir, sub, "1700000006.dev.test:2,S"), unix.S_IFCHR|0o666, 1<<8|5)) // /dev/zero
			}
		}, -2, -1, ""},
		{"names that are none", func(t *testing.T, d *harness.Demo, user int, dir string) {
			for _, name := range []string{"a\nb:2,S", "\xff\xfe:2,", "x\ty:2,zzZZ", "1:2,S:2,S", ".hidden", "sp ace:2,SS", in(250, "l"), ":2,S", "q\"\\:2,", "%s%n:2,"} {
				put(t, d, user, filepath.Join(dir, "cur", name), "Subject: odd\n\nText of odd.\n")
			}
		}, -2, 0, ""},
		{"messages cut to nothing", func(t *testing.T, d *harness.Demo, user int, dir string) {
			for _, f := range curFiles(t, dir)[:2] {
				put(t, d, user, f, "")
			}
		}, -2, -1, ""},
		{"messages larger than their names say", func(t *testing.T, d *harness.Demo, user int, dir string) {
			for _, f := range curFiles(t, dir)[:2] {
				put(t, d, user, f, "Subject: longer\n\n"+in(10000, "Text of longer.\n"))
			}
		}, -2, -1, ""},
		{"control files of others", func(t *testing.T, d *harness.Demo, user int, dir string) {
			for _, name := range []string{"subscriptions", "dovecot-uidvalidity", "rookery-lock", "dovecot-uidlist.lock.x"} {
				put(t, d, user, filepath.Join(dir, name), in(100, "\x00garbage\xff\n../..\n"))
			}
		}, 5, 0, ""},
		{"subscriptions is a folder", func(t *testing.T, d *harness.Demo, user int, dir string) {
			os.Remove(filepath.Join(dir, "subscriptions"))
			must(t, os.Mkdir(filepath.Join(dir, "subscriptions"), 0o700))
		}, 5, 0, ""},
		{"links as folders", func(t *testing.T, d *harness.Demo, user int, dir string) {
			must(t, os.Symlink("/etc", filepath.Join(dir, ".Evil")))
			must(t, os.Symlink(d.Maildir(user%20+1), filepath.Join(dir, ".Other")))
			must(t, os.Symlink("../..", filepath.Join(dir, ".Up")))
		}, 5, 0, ""},
	}
}

// secret is what no client may ever read: of the system, of the password file,
// of the neighbour.
var secret = regexp.MustCompile(`root:[^:]*:0:0|\{PLAIN\}|the neighbour's mail`)

// TestDamagedMailboxes: whatever other hands did, a mailbox is mended or the log
// names it, nothing leaks, nothing crashes, and nobody else is touched.
func TestDamagedMailboxes(t *testing.T) {
	harness.NeedRoot(t)
	list := damages()
	users := 2*len(list) + 1
	d := harness.Start(t, "--users", fmt.Sprint(users), "--empty")
	neighbour := login(t, d, "imap", fmt.Sprintf("u%d", users))
	must(t, neighbour.Append("INBOX", "", mail("the neighbour's mail")))
	for u := range users - 1 {
		c := login(t, d, "imap", fmt.Sprintf("u%d", u+1))
		for n := range 5 {
			must(t, c.Append("INBOX", `(\Seen) `, mail(fmt.Sprint("m", n))))
		}
		c.OK("CREATE Box")
		must(t, c.Append("Box", "", mail("box")))
		c.OK("LOGOUT")
	}
	for n, x := range list {
		t.Run(x.name+", seen by an open session", func(t *testing.T) { x.underOpen(t, d, 2*n+1) })
		t.Run(x.name, func(t *testing.T) {
			endWorker(t, d, 2*n+2)
			x.do(t, d, 2*n+2, d.Maildir(2*n+2))
			x.check(t, d, 2*n+2, x.log)
		})
	}
	neighbour = login(t, d, "imap", fmt.Sprintf("u%d", users))
	neighbour.OK("SELECT INBOX")
	if got := neighbour.OK("FETCH 1 BODY.PEEK[]"); !secret.MatchString(strings.Join(got, "\n")) {
		t.Errorf("what must not leak would not be known: %q", got)
	}
	d.NoCrash(t)
}

// endWorker ends one user's processes.
func endWorker(t *testing.T, d *harness.Demo, user int) {
	t.Helper()
	for _, p := range processesOf(d, user) {
		must(t, unix.Kill(p.PID, unix.SIGKILL))
	}
	eventually(t, "the worker has ended", func() bool { return len(processesOf(d, user)) == 0 })
}

func processesOf(d *harness.Demo, user int) (list []harness.Process) {
	for _, p := range d.Status().Processes {
		if p.User == fmt.Sprintf("u%d@example.test", user) {
			list = append(list, p)
		}
	}
	return list
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Errorf("not within thirty seconds: %s", what)
}

// underOpen does the damage while a session has the mailbox selected.
func (x damage) underOpen(t *testing.T, d *harness.Demo, user int) {
	open := login(t, d, "imap", fmt.Sprintf("u%d", user))
	open.OK("SELECT INBOX")
	open.OK("FETCH 1:* (FLAGS RFC822.SIZE)")
	before := processesOf(d, user)
	x.do(t, d, user, d.Maildir(user))
	left := use(t, open)
	if left >= 0 {
		left = use(t, open)
	}
	if left >= 0 { // a worker without a session may end
		alive(t, before, processesOf(d, user))
	}
	open.Close()
	endWorker(t, d, user)
	x.check(t, d, user, "") // it may have been mended
}

// check looks with a worker that never saw the mailbox whole.
func (x damage) check(t *testing.T, d *harness.Demo, user int, log string) {
	name := fmt.Sprintf("u%d", user)
	c := d.Dial("imap")
	c.ExpectPrefix("* OK")
	eventually(t, "a worker starts", func() bool {
		lines, err := c.TryIMAP("LOGIN %s pass", name)
		return err == nil && strings.Contains(last(lines), " OK ")
	})
	lines, err := c.TryIMAP("SELECT INBOX")
	must(t, err)
	if got := exists(lines); x.want >= 0 && got != x.want || x.want == -1 && !strings.Contains(last(lines), " NO ") && got != 5 || x.want == -2 && got < 3 {
		t.Errorf("SELECT tells %d messages, want %d: %q", got, x.want, last(lines))
	}
	unread := use(t, c)
	if x.bad >= 0 && unread != x.bad {
		t.Errorf("%d messages cannot be read, want %d", unread, x.bad)
	}
	if lines := c.IMAP("SELECT Box"); x.name != "the Maildir is gone" && exists(lines) != 1 {
		t.Errorf("another mailbox: %q", lines)
	}
	c.IMAP(`LIST "" *`)
	c.IMAP(`LSUB "" *`)
	if log != "" {
		eventually(t, "the log names it: "+log, func() bool {
			for line := range strings.Lines(d.Log()) {
				if strings.Contains(line, "("+name+"@example.test)") && strings.Contains(line, log) {
					return true
				}
			}
			return false
		})
	}
	overPOP3(t, d, name)
}

// use does what clients do; whatever the answers are, they come, and leak
// nothing. It gives how many messages could not be read, or -1 if the session
// ended with BYE because its mailbox is gone.
func use(t *testing.T, c *harness.Client) (unread int) {
	t.Helper()
	var all []string
	bye := false // the mailbox is gone under the session
	do := func(command string) []string {
		if bye {
			return nil
		}
		lines, err := c.TryIMAP("%s", command)
		if bye = strings.HasPrefix(last(lines), "* BYE "); !bye && err != nil {
			t.Fatalf("%s: %v after %q", command, err, lines)
		}
		all = append(all, lines...)
		return lines
	}
	do("NOOP")
	messages := 0
	for _, line := range do("UID SEARCH ALL") {
		if rest, ok := strings.CutPrefix(line, "* SEARCH "); ok {
			for _, uid := range strings.Fields(rest) {
				messages++
				if got := do("UID FETCH " + uid + " (UID BODY.PEEK[])"); !strings.Contains(last(got), " OK ") || !strings.Contains(strings.Join(got, ""), "Text of ") {
					unread++
				}
			}
		}
	}
	if messages > 0 {
		do("FETCH 1:* (ENVELOPE BODYSTRUCTURE RFC822.SIZE INTERNALDATE)")
		do(`STORE 1:* +FLAGS (\Flagged Later)`)
		do("SEARCH TEXT root:")
		do("COPY 1:* Box2")
	}
	for _, box := range []string{"Evil", "Other", "Up"} {
		do("STATUS " + box + " (MESSAGES)")
		do("EXAMINE " + box)
		do("FETCH 1 BODY.PEEK[]")
		do("UNSELECT")
	}
	do("SELECT INBOX")
	if found := secret.FindString(strings.Join(all, "\n")); found != "" {
		t.Errorf("a client read %q", found)
	}
	if bye {
		return -1
	}
	return unread
}

// overPOP3 reads all there is over POP3.
func overPOP3(t *testing.T, d *harness.Demo, name string) {
	t.Helper()
	c := d.Dial("pop3")
	c.ExpectPrefix("+OK")
	c.POP3("USER %s", name)
	if got := c.POP3("PASS pass"); !strings.HasPrefix(got, "+OK") {
		return // told so
	}
	status := c.POP3("STAT")
	n := 0
	fmt.Sscanf(status, "+OK %d", &n)
	for i := 1; i <= n; i++ {
		if err := c.Send(fmt.Sprintf("RETR %d\r\n", i)); err != nil {
			return
		}
		for first := true; ; first = false {
			line, err := c.TryLine()
			if err != nil {
				return // in the middle of a message that cannot be read: the connection ends
			}
			if secret.MatchString(line) {
				t.Errorf("POP3 showed %q", line)
			}
			if line == "." || first && strings.HasPrefix(line, "-ERR") {
				break
			}
		}
	}
}
