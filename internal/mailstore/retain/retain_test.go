package retain

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/memstore"
)

type world struct {
	*testing.T
	now   time.Time
	store *memstore.Store
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	w.store = memstore.New(memstore.Options{Now: func() time.Time { return w.now }})
	return w
}

func (w *world) add(name string, n int) {
	w.Helper()
	if name != "INBOX" {
		w.store.Create(name, 0)
	}
	a, err := w.store.Append(name)
	for i := 0; i < n && err == nil; i++ {
		var to io.Writer
		// INTERNALDATE is old: it is not what counts.
		if to, err = a.Add(mailstore.AppendMeta{InternalDate: time.Unix(1, 0)}, -1); err == nil {
			_, err = io.WriteString(to, "x\r\n")
		}
	}
	if err == nil {
		_, err = a.Commit()
	}
	if err != nil {
		w.Fatal(err)
	}
}

// left tells how many messages a mailbox has and the UID of the first.
func (w *world) left(name string) string {
	mb, err := w.store.Open(name)
	if err != nil {
		w.Fatal(err)
	}
	s := mb.Snapshot()
	if s.Len() == 0 {
		return "0"
	}
	return fmt.Sprintf("%d from %d", s.Len(), s.At(0).UID)
}

func (w *world) pass(rules ...Rule) (steps, removed int) {
	w.Helper()
	k := New(w.store, rules, w.now)
	for {
		n, more, err := k.Step(context.Background())
		if err != nil {
			w.Fatal(err)
		}
		if n > stepSize {
			w.Errorf("one step removed %d", n)
		}
		removed += n
		if steps++; !more {
			return steps, removed
		}
	}
}

func TestAge(t *testing.T) {
	w := newWorld(t)
	w.add("Trash", 3)
	w.add("Trash/old", 2)
	w.add("Trash2", 1)
	w.add("INBOX", 1)
	day := 24 * time.Hour
	w.now = w.now.Add(10 * day)
	w.add("Trash", 2)
	w.now = w.now.Add(20*day - time.Second)
	if _, n := w.pass(Rule{Mailbox: "Trash", Age: 30 * day}); n != 0 {
		t.Errorf("%d removed a second before their time", n)
	}
	w.now = w.now.Add(time.Second)
	if _, n := w.pass(Rule{Mailbox: "Trash", Age: 30 * day}); n != 3 || w.left("Trash") != "2 from 4" || w.left("Trash/old") != "2 from 1" {
		t.Errorf("%d removed, %s stay", n, w.left("Trash"))
	}
	if _, n := w.pass(Rule{Mailbox: "Trash", Age: 0}, Rule{Mailbox: "Trash*", Age: 30 * day}); n != 3 || w.left("Trash2") != "0" || w.left("Trash/old") != "0" || w.left("Trash") != "2 from 4" {
		t.Errorf("%d removed by a pattern behind a name", n)
	}
	if w.left("INBOX") != "1 from 1" {
		t.Error("a mailbox without a rule was touched")
	}
}

func TestMost(t *testing.T) {
	w := newWorld(t)
	w.add("Junk", 2000)
	if steps, n := w.pass(Rule{Mailbox: "Junk", Most: 300}); n != 1700 || steps < 4 || w.left("Junk") != "300 from 1701" {
		t.Errorf("%d removed in %d steps, %s stay", n, steps, w.left("Junk"))
	}
	w.now = w.now.Add(2 * time.Hour)
	w.add("Junk", 10)
	if _, n := w.pass(Rule{Mailbox: "Junk", Most: 305, Age: time.Hour}); n != 300 || w.left("Junk") != "10 from 2001" {
		t.Errorf("%d removed, %s stay", n, w.left("Junk"))
	}
}

func TestCancelled(t *testing.T) {
	w := newWorld(t)
	w.add("Junk", 5)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if n, more, err := New(w.store, []Rule{{Mailbox: "Junk", Most: 1}}, w.now).Step(ctx); n != 0 || !more || err != nil {
		t.Error(n, more, err)
	}
}
