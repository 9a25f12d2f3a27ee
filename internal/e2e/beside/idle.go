package beside

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"rookery/internal/e2e/harness"
)

// SeenWithin is how long a delivery by another program may take to be told to a
// session in IDLE.
const SeenWithin = 2 * time.Second

// listener is a session in IDLE, with what it was told, and when.
type listener struct {
	c    *harness.Client
	over chan struct{}

	mu   sync.Mutex
	told []tidings
	bad  string
}

type tidings struct {
	n  int
	at time.Duration
}

var existsLine = regexp.MustCompile(`^\* (\d+) EXISTS$`)

// listen logs in, selects INBOX and begins IDLE.
func listen(t testing.TB, d *harness.Demo, service string, clock *clock) *listener {
	t.Helper()
	l := &listener{c: d.Dial(service), over: make(chan struct{})}
	l.c.Login(name)
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
			l.hear(line, clock.now())
		}
	}()
	return l
}

func (l *listener) hear(line string, at time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := existsLine.FindStringSubmatch(line); m != nil {
		n, _ := strconv.Atoi(m[1])
		if len(l.told) > 0 && n < l.told[len(l.told)-1].n {
			l.bad = fmt.Sprintf("%q after %d", line, l.told[len(l.told)-1].n)
		}
		l.told = append(l.told, tidings{n, at})
	} else if strings.Contains(line, "EXPUNGE") || strings.Contains(line, "BYE") {
		l.bad = line
	}
}

func (l *listener) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.told) == 0 {
		return 0
	}
	return l.told[len(l.told)-1].n
}

// done ends IDLE.
func (l *listener) done() error {
	if err := l.c.Send("DONE\r\n"); err != nil {
		return err
	}
	<-l.over
	return nil
}

// delays compares with when deliveries were seen to have ended, in order. IDLE tells
// numbers, not names: when the k-th delivery has ended there are at least k messages, so
// that "k EXISTS" or more must have come within SeenWithin of it.
func (l *listener) delays(ends []time.Duration) (late int, worst time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := 0
	for k, end := range ends {
		for i < len(l.told) && l.told[i].n < k+1 {
			i++
		}
		if i == len(l.told) {
			late++
			continue
		}
		delay := l.told[i].at - end
		if worst = max(worst, delay); delay > SeenWithin {
			late++
		}
	}
	return late, worst
}
