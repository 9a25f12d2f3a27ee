package mbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"rookery/internal/e2e/harness"
)

// seenWithin is how long a delivery by another program may take to be told to
// a session in IDLE.
const seenWithin = 2 * time.Second

// many is how much mail arrives in TestThousands. Programs that wait for a lock
// sleep for seconds, so that thousands take many minutes.
func many() int {
	if os.Getenv("ROOKERY_SOAK") != "" {
		return 5000
	}
	return 400
}

// withMutt says that mutt works on the mbox, too. With it deliveries were once kept
// from the lock for two minutes; by whom is not known yet, so that only the long
// runs have it.
func withMutt() bool { return os.Getenv("ROOKERY_SOAK") != "" }

// listener is a session in IDLE.
type listener struct {
	c    *harness.Client
	over chan struct{}

	mu   sync.Mutex
	n    int
	last time.Time
	bad  string
}

var existsLine = regexp.MustCompile(`^\* (\d+) EXISTS$`)

func listen(t *testing.T, d *harness.Demo) *listener {
	t.Helper()
	l := &listener{c: d.Dial("imap"), over: make(chan struct{})}
	l.c.Login("u1")
	l.c.OK("SELECT INBOX")
	if err := l.c.Send("idle IDLE\r\n"); err != nil {
		t.Fatal(err)
	}
	l.c.ExpectPrefix("+ ")
	go func() {
		defer close(l.over)
		for {
			line, err := l.c.LineWithin(10 * time.Minute)
			if err != nil || strings.HasPrefix(line, "idle ") {
				return
			}
			l.mu.Lock()
			if m := existsLine.FindStringSubmatch(line); m != nil {
				n, _ := strconv.Atoi(m[1])
				if n < l.n {
					l.bad = fmt.Sprintf("%q after %d", line, l.n)
				}
				l.n, l.last = n, time.Now()
			} else if strings.Contains(line, "EXPUNGE") || strings.Contains(line, "BYE") {
				l.bad = line
			}
			l.mu.Unlock()
		}
	}()
	return l
}

func (l *listener) count() int { l.mu.Lock(); defer l.mu.Unlock(); return l.n }

// TestThousands has four programs deliver into one mbox at once, each with its
// own locks, while sessions wait in IDLE, others look in and store flags, and
// mutt flags and syncs the same file. Every message must appear once, whole, and
// be told within two seconds.
func TestThousands(t *testing.T) {
	harness.NeedRoot(t)
	procmail, maildrop := need(t, "procmail", "procmail"), need(t, "maildrop", "maildrop")
	need(t, "postfix", "postfix")
	mutt, python := need(t, "mutt", "mutt"), need(t, "/usr/bin/python3", "python3")
	spool := spoolDir(t)
	path := filepath.Join(spool, "u1")
	d := harness.StartWith(t, []string{`mail_inbox_path = "` + spool + `/%{user | username}"`}, "--driver", "mbox", "--users", "1", "--empty")
	o := newOthers(t, d, path)
	p := startPostfix(o, spool)
	listeners := []*listener{listen(t, d), listen(t, d)}
	filter := o.write(".mailfilter", "to \""+path+"\"\n")

	// A program that finds the lock taken sleeps a second or more: those that are
	// started for each message have few, so that the whole takes no longer than them.
	each := map[string]int{"procmail": many() / 20, "maildrop": many() / 20, "postfix": many() * 3 / 10, "python": many() * 6 / 10}
	one := func(deliver func(id string) error) func(name string) error {
		return func(name string) error {
			for i := range each[name] {
				if err := deliver(fmt.Sprintf("%s-%d", name, i)); err != nil {
					return err
				}
			}
			return nil
		}
	}
	ways := map[string]func(name string) error{
		"procmail": one(func(id string) error {
			return o.run("From ann@example.test Mon Mar  2 10:00:00 2026\n"+letter(id), procmail, "LOCKSLEEP=1", "LOGFILE=/dev/null", "ORGMAIL="+path, "DEFAULT="+path, "/dev/null")
		}),
		"maildrop": one(func(id string) error { return o.run(letter(id), maildrop, filter) }),
		"postfix":  one(func(id string) error { return p.send(letter(id)) }),
		"python": func(name string) error {
			return o.run("", python, "-c", pythonDelivers, path, name, fmt.Sprint(each[name]), letter("@ID@"))
		},
	}
	var work, beside sync.WaitGroup
	for name, deliver := range ways {
		work.Go(func() {
			began := time.Now()
			if err := deliver(name); err != nil {
				t.Error(err)
			}
			t.Logf("%s: %d messages in %v", name, each[name], time.Since(began).Round(time.Millisecond))
		})
	}
	stop := make(chan struct{})
	if withMutt() {
		beside.Go(func() { muttFlags(o, mutt, stop) })
	}
	beside.Go(func() {
		if err := lookIn(d, stop); err != nil {
			t.Error(err)
		}
	})
	work.Wait()
	total := 0
	for _, n := range each {
		total += n
	}
	arrived := within(5*time.Minute, func() bool { return t.Failed() || countLetters(path) >= total })
	delivered := time.Now()
	close(stop)
	beside.Wait()
	if !arrived {
		t.Fatalf("%d of %d messages are in the mbox", countLetters(path), total)
	}
	for i, l := range listeners {
		within(30*time.Second, func() bool { return l.count() == total })
		l.mu.Lock()
		if late := l.last.Sub(delivered); l.n != total || late > seenWithin {
			t.Errorf("session %d was told of %d messages, of the last %v after it was there", i, l.n, late)
		}
		if l.bad != "" {
			t.Errorf("session %d: %s", i, l.bad)
		}
		l.mu.Unlock()
		if err := l.c.Send("DONE\r\n"); err != nil {
			t.Fatal(err)
		}
		<-l.over
	}
	onceEach(t, listeners[0].c, each, total)
	for _, key := range []string{"FLAGGED", "ANSWERED KEYWORD seen-here"} { // mutt's, and our own sessions'
		if key == "FLAGGED" && !withMutt() {
			continue
		}
		if lines := listeners[0].c.OK("SEARCH %s", key); !regexp.MustCompile(`^\* SEARCH \d`).MatchString(lines[0]) {
			t.Errorf("SEARCH %s: %q", key, lines)
		}
	}
	d.NoCrash(t)
}

// countLetters counts what was delivered, by a header that each has.
func countLetters(path string) int {
	b, _ := os.ReadFile(path)
	return bytes.Count(b, []byte("\nMessage-ID: <"))
}

// muttFlags has mutt open the mbox, flag the last message, and write it, again
// and again. It may find it locked: then it goes without.
func muttFlags(o *others, mutt string, stop chan struct{}) {
	rc := o.write("muttrc", "set folder=~ move=no quit=yes mark_old=no wait_key=no confirmappend=no delete=no\nset header_cache=\"\" tmpdir=\"~\" realname=Tester\n")
	line := fmt.Sprintf(`%s -n -F %s -f %s -e "push <last-entry><flag-message><sync-mailbox><quit>"`, mutt, rc, o.mbox)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		defer cancel()
		<-stop
	}()
	for {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		cmd := o.command(ctx, "script", "-qec", line, "/dev/null")
		cmd.WaitDelay = time.Second
		_ = cmd.Run()
		cancel()
		select {
		case <-stop:
			return
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// lookIn opens session after session, reads the last message, and stores a flag
// and a keyword in it.
func lookIn(d *harness.Demo, stop chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		case <-time.After(300 * time.Millisecond):
		}
		if err := look(d); err != nil {
			return err
		}
	}
}

func look(d *harness.Demo) error {
	c, err := d.TryDial("imap")
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.TryLine(); err != nil {
		return err
	}
	for _, command := range []string{"LOGIN u1 pass", "SELECT INBOX", "UID SEARCH ALL", "FETCH * (UID RFC822.SIZE BODY.PEEK[])", `STORE * +FLAGS (\Answered seen-here)`, "LOGOUT"} {
		lines, err := c.TryIMAP("%s", command)
		if err != nil {
			return fmt.Errorf("%s: %w", command, err)
		}
		last := lines[len(lines)-1]
		switch {
		case strings.Contains(last, " OK "):
		case strings.HasPrefix(command, "FETCH") || strings.HasPrefix(command, "STORE"): // of an empty mailbox
			if !strings.Contains(last, " BAD ") {
				return errors.New(command + ": " + last)
			}
		default:
			return errors.New(command + ": " + last)
		}
		if strings.HasPrefix(command, "FETCH") && len(lines) > 1 && !strings.Contains(lines[0], "From the start of a line\r\n") {
			return fmt.Errorf("a message is not whole: %q", lines[0])
		}
	}
	return nil
}

// onceEach compares the mailbox with what was delivered.
func onceEach(t *testing.T, c *harness.Client, each map[string]int, total int) {
	t.Helper()
	subject := regexp.MustCompile(`(?mi)^Subject: (\S+)\r$`)
	seen, whole := map[string]int{}, 0
	for _, line := range c.OK("UID FETCH 1:* (BODY.PEEK[])") {
		if m := subject.FindStringSubmatch(line); m != nil {
			seen[m[1]]++
			if strings.Contains(line, "\r\n\r\nLetter "+m[1]+".\r\n\r\n") && strings.Contains(line, "From the start of a line\r\n") {
				whole++
			}
		}
	}
	wrong := 0
	for way, n := range each {
		for i := range n {
			id := fmt.Sprintf("%s-%d", way, i)
			if seen[id] != 1 {
				if wrong++; wrong < 20 {
					t.Errorf("%s is there %d times", id, seen[id])
				}
			}
			delete(seen, id)
		}
	}
	if len(seen) > 0 {
		t.Errorf("%d messages that nobody delivered: %v", len(seen), seen)
	}
	if whole != total {
		t.Errorf("%d of %d messages are whole", whole, total)
	}
}
