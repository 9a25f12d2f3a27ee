package index

import (
	"testing"
	"time"

	"rookery/internal/mailstore"
)

// grow adds a message, and gives HIGHESTMODSEQ then.
func grow(t *testing.T, p *process, box int) uint64 {
	t.Helper()
	if err := p.u.Lock(time.Second); err != nil {
		t.Fatal(err)
	}
	defer p.u.Unlock()
	tx, err := p.boxes[box].Begin()
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Add(Record{UID: tx.View().UIDNext(), GUID: mailstore.NewGUID()}); err != nil {
		t.Fatal(err)
	}
	return uint64(tx.Commit().HighestModSeq())
}

// TestMailboxesCountAlone: the numbers of one mailbox tell nothing of the others, in
// one process and in another that follows.
func TestMailboxesCountAlone(t *testing.T) {
	w := newWorld(t, 1, 2)
	p, q := w.start(w.mem, w.options(nil)), w.start(w.mem, w.options(nil))
	first, busy := grow(t, p, 0), grow(t, p, 1)
	for i := range uint64(50) {
		if got := grow(t, p, 1); got != busy+1+i {
			t.Fatalf("the %dth change of the busy mailbox has %d after %d", i+2, got, busy)
		}
	}
	for i, in := range []*process{p, q, p, q} {
		if got, want := grow(t, in, 0), first+1+uint64(i); got != want {
			t.Fatalf("change %d of the quiet mailbox has %d, not %d", i, got, want)
		}
	}
	// A restored mailbox, and each that is not above it, jumps once.
	to := first + 1<<40
	p.u.RaiseModSeq(to)
	got := grow(t, p, 0)
	if next := grow(t, p, 0); got <= to || next != got+1 {
		t.Fatalf("raised to %d: %d, then %d", to, got, next)
	}
	p.stop()
	q.stop()
	// A jump is above what was raised, though nothing was numbered since.
	p = w.start(w.mem, w.options(nil))
	p.u.RaiseModSeq(to << 1)
	p.stop()
	p = w.start(w.mem, w.options(nil))
	if got := p.u.modseq.jump(0); got <= to<<1 {
		t.Fatalf("raised to %d by one process, another begins at %d", to<<1, got)
	}
	p.stop()
}

// TestOneMailboxBeyondTheCeiling: a mailbox that has used the block up goes on by one,
// below a ceiling that goes on with it.
func TestOneMailboxBeyondTheCeiling(t *testing.T) {
	w := newWorld(t, 1, 0)
	u, err := Open(w.options(w.mem))
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	last := u.modseq.jump(0)
	for range 3 * modseqBlock {
		next := u.modseq.after(last)
		if next != last+1 || next > u.modseq.limit {
			t.Fatalf("%d after %d, the ceiling is %d", next, last, u.modseq.limit)
		}
		last = next
	}
}
