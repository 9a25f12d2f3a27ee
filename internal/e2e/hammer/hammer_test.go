package hammer

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"rookery/internal/e2e/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// length is how long the hammer falls: a minute in CI, less where somebody waits.
func length() time.Duration {
	switch {
	case os.Getenv("ROOKERY_SOAK") != "":
		return 20 * time.Minute
	case os.Getenv("CI") == "true":
		return time.Minute
	}
	return 15 * time.Second
}

func TestMaildir(t *testing.T) { hammer(t, "maildir", maildirPlace) }

func TestPack(t *testing.T) { hammer(t, "pack", packPlace) }

func TestMbox(t *testing.T) { hammer(t, "mbox", mboxPlace) }

func hammer(t *testing.T, driver string, place func(*harness.Demo) place) {
	if testing.Short() {
		t.Skip("takes too long for -short")
	}
	d := harness.Start(t, "--users", "1", "--empty", "--driver", driver)
	f := &field{d: d, l: newLedger(), stop: make(chan struct{})}
	p := place(d)
	first, err := f.open("first", "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.run(free, "CREATE Box"); err != nil {
		t.Fatal(err)
	}
	first.c.Close()
	var actors sync.WaitGroup
	for i := range 6 {
		actors.Go(func() { f.imapActor(fmt.Sprintf("i%d", i)) })
	}
	for _, actor := range []func(){f.pop3Actor, func() { f.deliverer(p) }, func() { f.meddler(p) }, func() { f.operator(harness.Bin(t)) }, f.vandal} {
		actors.Go(actor)
	}
	time.Sleep(length())
	close(f.stop)
	actors.Wait()
	f.l.judge(f.settled(t))
	f.saidOnce(t)
	for _, w := range f.l.wrong {
		t.Error(w)
	}
	t.Logf("%d acknowledged changes, %d readings", f.l.acked, f.l.readings)
	if f.l.acked < 50 {
		t.Errorf("%d changes in %v prove nothing", f.l.acked, length())
	}
}

// settled gives what is there. What was delivered in the last moment may have
// hidden behind a folder's unchanged time: it has two seconds to be seen.
func (f *field) settled(t *testing.T) map[string][]string {
	t.Helper()
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		there := map[string][]string{"INBOX": f.there(t, "INBOX"), "Box": f.there(t, "Box")}
		if time.Now().After(end) || !f.l.misses(there) {
			return there
		}
	}
}

var builtAnew = regexp.MustCompile(`rookery\.index was built anew, messages=\d+: (.*)`)

// Each damage of an index file may make each process build each mailbox's index
// anew, and say so once: two workers and the tool, two mailboxes and those for
// what is held.
const (
	linesPerDamage = 4
	linesAtFirst   = 20
)

// saidOnce checks that the log says what was rebuilt, and why, and does not go on
// saying it.
func (f *field) saidOnce(t *testing.T) {
	lines := builtAnew.FindAllStringSubmatch(f.d.Log(), -1)
	damages := int(f.damages.Load())
	t.Logf("%d index files damaged, %d lines of what was built anew", damages, len(lines))
	if len(lines) > linesPerDamage*damages+linesAtFirst {
		t.Errorf("%d lines of the log say that an index was built anew, after %d damages", len(lines), damages)
	}
	if damages > 20 && len(lines) == 0 {
		t.Error("no line of the log says that an index was built anew")
	}
	for _, l := range lines {
		if strings.Trim(l[1], `" `) == "" {
			t.Errorf("a line without a reason: %q", l[0])
		}
	}
}

// there lists the ids of a mailbox's messages.
func (f *field) there(t *testing.T, box string) (ids []string) {
	s, err := f.open("last", box)
	if err != nil {
		t.Fatal(err)
	}
	defer s.c.Close()
	if len(s.v.uids) == 0 {
		return nil
	}
	lines, err := s.run(free, "UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (X-Hammer)])")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		if m := hammerID.FindStringSubmatch(line); m != nil {
			ids = append(ids, m[1])
		} else if strings.Contains(line, "FETCH") {
			t.Errorf("a message without an id: %q", line)
		}
	}
	if len(ids) != len(s.v.uids) {
		t.Errorf("%s: %d messages, %d were fetched", box, len(s.v.uids), len(ids))
	}
	return ids
}
