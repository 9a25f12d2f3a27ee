package index

import (
	"math/rand/v2"
	"testing"
	"time"

	"rookery/internal/mailstore"
)

// checkChanged finds, by NextChanged, all messages above a MODSEQ, and says how
// many it had to look at.
func checkChanged(t testing.TB, v *View, since mailstore.ModSeq) (looked int) {
	t.Helper()
	var found, want []mailstore.UID
	for pos := v.NextChanged(0, since); pos < v.Len(); pos = v.NextChanged(pos+1, since) {
		looked++
		if e := v.At(pos); e.ModSeq > since {
			found = append(found, e.UID)
		}
	}
	for pos := range v.Len() {
		if e := v.At(pos); e.ModSeq > since {
			want = append(want, e.UID)
		}
	}
	if len(found) != len(want) {
		t.Fatalf("above %d: found %d messages, want %d", since, len(found), len(want))
	}
	for i := range want {
		if found[i] != want[i] {
			t.Fatalf("above %d: found UID %d, want %d", since, found[i], want[i])
		}
	}
	return looked
}

// What changed since the snapshot was written is found without a look at the rest.
func TestNextChanged(t *testing.T) {
	const n = 20 * pageSize
	root, u, b := filled(t, n)
	b.Close()
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	u, err := Open(Options{FS: root, NoBackground: true})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if b, err = u.Box(mailstore.GUID{1}, "box"); err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	v := b.View()
	if v.base == nil || v.Len() != n {
		t.Fatal("no snapshot was written")
	}
	start := v.HighestModSeq()
	if looked := checkChanged(t, v, start); looked != 0 {
		t.Errorf("looked at %d messages where nothing has changed", looked)
	}
	change := func(do func(tx *Tx)) *View {
		if err := u.Lock(time.Minute); err != nil {
			t.Fatal(err)
		}
		defer u.Unlock()
		tx, err := b.Begin()
		if err != nil {
			t.Fatal(err)
		}
		do(tx)
		return tx.Commit()
	}
	v = change(func(tx *Tx) { tx.Set(7*pageSize+5, mailstore.Flagged, 0) })
	if looked := checkChanged(t, v, start); looked != pageSize {
		t.Errorf("looked at %d messages after one change, want a page of %d", looked, pageSize)
	}
	middle := v.HighestModSeq()
	v = change(func(tx *Tx) {
		tx.Add(Record{UID: n + 1, Size: 1, Loc: "new"})
		tx.Remove([]int{9*pageSize + 1})
	})
	if looked := checkChanged(t, v, middle); looked != 1 {
		t.Errorf("looked at %d messages after one was added, want 1", looked)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 40 {
		v = change(func(tx *Tx) {
			for range rng.IntN(4) {
				tx.Set(rng.IntN(v.Len()), mailstore.Flags(rng.IntN(32)), 0)
			}
		})
		checkChanged(t, v, start-1+mailstore.ModSeq(rng.IntN(int(v.HighestModSeq()-start)+3)))
	}
}
