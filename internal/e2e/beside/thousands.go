package beside

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"rookery/internal/e2e/harness"
)

// Way is a program that delivers.
type Way struct {
	Name     string
	Messages int
	Lanes    int    // how many of it run at once
	Pause    int    // seconds between one's end and the next's start
	Command  string // for a shell that runs as the user: a command that takes a message from standard input
	From     bool   // it wants a From_ line
	Postfix  *Postfix
}

// Traffic is what happens in one mailbox at once.
type Traffic struct {
	Demo    *harness.Demo
	User    *User
	Service string // of the sessions in IDLE
	Mailbox string // the path that mutt opens
	Lock    string // the lock file beside it; empty: there is none
	Ways    []Way
	Also    func(stop <-chan struct{}) // something more beside it all; may be nil
	Files   func() ([]byte, error)     // all messages as they are on the disk, one after another
	Limit   time.Duration              // for all deliveries
}

// traffic is one run of it.
type traffic struct {
	*Traffic
	t     testing.TB
	clock *clock

	mu   sync.Mutex
	ends []time.Duration // when a delivery was seen to have ended, in order
}

// ended notes the end of one delivery.
func (r *traffic) ended() {
	at := r.clock.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ends = append(r.ends, at)
}

func (r *traffic) delivered() int { r.mu.Lock(); defer r.mu.Unlock(); return len(r.ends) }

// Thousands has programs deliver at once, each with its own locks, while two
// sessions wait in IDLE, others look in and store flags, and mutt has the mailbox
// open, flags and syncs. At the end every message must be there once, on the disk
// and over IMAP, and every one must have been told within two seconds of the end of
// its delivery.
func (tr *Traffic) Thousands(t *testing.T) {
	r := &traffic{Traffic: tr, t: t, clock: newClock(tr.Lock)}
	listeners := []*listener{listen(t, r.Demo, r.Service, r.clock), listen(t, r.Demo, r.Service, r.clock)}
	mutt := StartMutt(r.User, r.Mailbox)

	ctx, cancel := context.WithTimeout(context.Background(), r.Limit)
	defer cancel()
	stop := make(chan struct{})
	var work, beside sync.WaitGroup
	beside.Go(func() { r.check(mutt.Work(stop)) })
	beside.Go(func() { r.check(lookIn(r.Demo, stop)) })
	if r.Also != nil {
		beside.Go(func() { r.Also(stop) })
	}
	began := time.Now()
	total := 0
	for _, w := range r.Ways {
		total += w.Messages
		work.Go(func() {
			r.check(r.way(ctx, w))
			t.Logf("%s: %d messages in %v", w.Name, w.Messages, time.Since(began).Round(time.Millisecond))
		})
	}
	work.Wait()
	for _, l := range listeners {
		within(30*time.Second, func() bool { return t.Failed() || l.count() >= total })
	}
	close(stop)
	beside.Wait()
	r.clock.end()
	if n := r.delivered(); n != total {
		t.Fatalf("%d of %d messages are delivered", n, total)
	}
	for i, l := range listeners {
		late, worst := l.delays(r.ends)
		t.Logf("session %d: told %d times of %d messages, the slowest after %v (not counted: the machine stood still for %v, others held the lock for %v)",
			i, len(l.told), total, worst.Round(time.Millisecond), r.clock.stood.Round(time.Millisecond), r.clock.locked.Round(time.Millisecond))
		if late > 0 || l.count() != total {
			t.Errorf("session %d was told of %d of %d messages, of %d later than %v, of the last of them after %v", i, l.count(), total, late, SeenWithin, worst)
		}
		if l.bad != "" {
			t.Errorf("session %d: %s", i, l.bad)
		}
		r.check(l.done())
	}
	r.flagged(mutt, listeners[0].c)
	r.onceEach(listeners[0].c, total)
	r.Demo.NoCrash(t)
}

// check notes what failed beside the test's own goroutine.
func (r *traffic) check(err error) {
	if err != nil {
		r.t.Errorf("after %v: %v", r.clock.now().Round(time.Millisecond), err)
	}
}

// flagged sees to it that mutt's flags and our own sessions' are in the mailbox.
func (r *traffic) flagged(mutt *Mutt, c *harness.Client) {
	found := regexp.MustCompile(`^\* SEARCH \d`)
	if !within(20*time.Second, func() bool {
		if found.MatchString(c.OK("SEARCH FLAGGED")[0]) {
			return true
		}
		r.check(mutt.Sync())
		time.Sleep(time.Second)
		return r.t.Failed()
	}) {
		r.t.Error("nothing that mutt flagged is seen")
	}
	r.t.Logf("mutt synced %d times", mutt.syncs)
	r.check(mutt.Quit())
	if lines := c.OK("SEARCH ANSWERED KEYWORD seen-here"); !found.MatchString(lines[0]) {
		r.t.Errorf("the flags that sessions stored are not seen: %q", lines)
	}
}

// Letter is a small message, with a line that a mailbox in one file must not take for
// a message's beginning.
func Letter(id string) string {
	return "From: Ann <ann@example.test>\nTo: u1@local.test\nSubject: " + id + "\nDate: Mon, 02 Mar 2026 10:00:00 +0000\nMessage-ID: <" + id +
		"@example.test>\n\nLetter " + id + ".\n\nFrom the start of a line\n"
}

// way delivers one way's messages.
func (r *traffic) way(ctx context.Context, w Way) error {
	if w.Postfix != nil {
		return r.byPostfix(ctx, w)
	}
	errs := make([]error, w.Lanes)
	var lanes sync.WaitGroup
	for lane := range w.Lanes {
		lanes.Go(func() { errs[lane] = r.lane(ctx, w, lane) })
	}
	lanes.Wait()
	return errors.Join(errs...)
}

// lane is a shell of the user's that starts one program after another and says of
// each when it has exited: a delivery has ended then.
func (r *traffic) lane(ctx context.Context, w Way, lane int) error {
	message := Letter("$id")
	if w.From {
		message = "From ann@example.test Mon Mar  2 10:00:00 2026\n" + message
	}
	var ids strings.Builder
	for i := lane; i < w.Messages; i += w.Lanes {
		fmt.Fprintf(&ids, "%s-%d\n", w.Name, i)
	}
	cmd := r.User.Command(ctx, "/bin/sh", "-c", fmt.Sprintf("while read -r id; do\n%s 2>&1 <<END\n%sEND\necho \"=$?\"\nsleep %d\ndone", w.Command, message, w.Pause))
	cmd.Stdin = strings.NewReader(ids.String())
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return err
	}
	var bad []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() == "=0" {
			r.ended()
		} else if len(bad) < 10 {
			bad = append(bad, lines.Text())
		}
	}
	if err := cmd.Wait(); err != nil || len(bad) > 0 {
		return fmt.Errorf("%s: %v %q", w.Name, err, bad)
	}
	return nil
}

// batch is how many recipients one message has that Postfix gets: address extensions
// of the user. local(8) delivers to each by itself, and says which in Delivered-To.
const batch = 50

// byPostfix hands messages in, and reads in Postfix's log of each delivery's end.
func (r *traffic) byPostfix(ctx context.Context, w Way) error {
	failed := make(chan error, 1)
	go func() {
		for i := 0; i < w.Messages && ctx.Err() == nil; i += batch {
			var to []string
			for k := i; k < min(i+batch, w.Messages); k++ {
				to = append(to, fmt.Sprintf("%s+%s-%d@local.test", name, w.Name, k))
			}
			if err := w.Postfix.Send(Letter(w.Name), to...); err != nil {
				failed <- err
				return
			}
		}
	}()
	f, err := os.Open(w.Postfix.log)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewReader(f)
	for n, part := 0, ""; n < w.Messages; {
		text, err := lines.ReadString('\n')
		if part += text; err == nil {
			if strings.Contains(part, "status=sent") {
				n++
				r.ended()
			}
			part = ""
			continue
		}
		select { // the log's end, for now
		case err := <-failed:
			return err
		case <-ctx.Done():
			return fmt.Errorf("%s: %d delivered: %w", w.Name, n, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// lookIn opens session after session, reads the last message, and stores a flag
// and a keyword in it.
func lookIn(d *harness.Demo, stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		case <-time.After(time.Second):
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

// Who delivered a message: its Subject says it, or for Postfix's the address.
var (
	subjectLine = regexp.MustCompile(`(?mi)^Subject: (\S+)\r?$`)
	addressLine = regexp.MustCompile(`(?m)^Delivered-To: u1\+(\S+)@local\.test\r?$`)
)

// ids gives the messages in a text by their names.
func ids(text []byte, seen map[string]int) {
	for _, m := range addressLine.FindAllSubmatch(text, -1) {
		seen[string(m[1])]++
	}
	for _, m := range subjectLine.FindAllSubmatch(text, -1) {
		if bytes.Contains(m[1], []byte("-")) { // not the Subject that a batch has in common
			seen[string(m[1])]++
		}
	}
}

// onceEach compares the mailbox with what was delivered, on the disk and over IMAP.
func (r *traffic) onceEach(c *harness.Client, total int) {
	seen, whole := map[string]int{}, 0
	for _, line := range c.OK("UID FETCH 1:* (BODY.PEEK[])") {
		m := subjectLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		ids([]byte(line), seen)
		if strings.Contains(line, "\r\n\r\nLetter "+m[1]+".\r\n\r\n") && strings.Contains(line, "From the start of a line\r\n") {
			whole++
		}
	}
	r.once("over IMAP", seen)
	if whole != total {
		r.t.Errorf("%d of %d messages are whole", whole, total)
	}
	files, err := r.Files()
	r.check(err)
	held := map[string]int{}
	ids(files, held)
	r.once("on the disk", held)
}

// once wants each message once and no other.
func (r *traffic) once(where string, seen map[string]int) {
	wrong := 0
	for _, w := range r.Ways {
		for i := range w.Messages {
			id := fmt.Sprintf("%s-%d", w.Name, i)
			if seen[id] != 1 {
				if wrong++; wrong < 20 {
					r.t.Errorf("%s is there %d times %s", id, seen[id], where)
				}
			}
			delete(seen, id)
		}
	}
	if len(seen) > 0 {
		r.t.Errorf("%d messages %s that nobody delivered: %v", len(seen), where, seen)
	}
}
