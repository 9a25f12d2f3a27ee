package view

import (
	"math/rand/v2"
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// forgetful is a mailbox whose history of expunges reaches back to a
// mod-sequence only.
type forgetful struct {
	mailstore.Mailbox
	floor mailstore.ModSeq
}

func (b forgetful) ExpungedSince(m mailstore.ModSeq) (numset.Set, bool, error) {
	uids, complete, err := b.Mailbox.ExpungedSince(max(m, b.floor))
	return uids, complete && m >= b.floor, err
}

// What has vanished is, of the UIDs that are asked about, those that went since
// then; or all that are not there, where nobody knows when they went. Never those
// that the client still counts, or that no message had.
func TestVanished(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		n := 1 + rng.IntN(600)
		_, mem := mailbox(t, n)
		gone := map[mailstore.UID]mailstore.ModSeq{}
		expunge := func() {
			var uids numset.Set
			for range rng.IntN(n) / 2 {
				if uid := mailstore.UID(1 + rng.IntN(n)); gone[uid] == 0 {
					uids.Add(uid)
				}
			}
			done, err := mem.Expunge(uids)
			if err != nil {
				t.Fatal(err)
			}
			for uid := range done.All() {
				gone[uid] = mem.Snapshot().HighestModSeq()
			}
		}
		start := mem.Snapshot().HighestModSeq()
		expunge()
		middle := mem.Snapshot().HighestModSeq()
		expunge()
		box := forgetful{mem, start}
		if rng.IntN(2) == 0 {
			box.floor = middle
		}
		v := open(t, box)
		expunge() // the client still counts these
		v.Refresh()
		known := numset.Of()
		for range 1 + rng.IntN(4) {
			first := uint32(1 + rng.IntN(n+3))
			known.AddRange(first, first+uint32(rng.IntN(n)))
		}
		since := start
		if rng.IntN(2) == 0 {
			since = middle
		}
		var want numset.Set
		for uid := mailstore.UID(1); uid <= mailstore.UID(n); uid++ {
			_, counted := v.Seq(uid)
			if known.Contains(uid) && !counted && (gone[uid] > since || since < box.floor) {
				want.Add(uid)
			}
		}
		got, err := v.Vanished(since, known)
		if err != nil || !got.Equal(want) {
			t.Fatalf("seed %d: of %v since %d (history from %d): %v, want %v, %v", seed, known, since, box.floor, got, want, err)
		}
	}
}

// The pairs of a sample that fit are those before the first message that went.
func TestMatched(t *testing.T) {
	_, box := mailbox(t, 9)
	if _, err := box.Expunge(numset.Of(4, 5)); err != nil {
		t.Fatal(err)
	}
	v := open(t, box) // 1 2 3 6 7 8 9
	for _, c := range []struct {
		seqs, uids string
		want       mailstore.UID
	}{
		{"", "", 0}, {"1", "1", 1}, {"1", "2", 0}, {"3", "3", 3}, {"1:9", "1:9", 3}, {"2,4", "2,6", 6}, {"2,4,6", "2,6,9", 6}, {"1:4294967295", "1:4294967295", 3},
		{"7", "9", 9}, {"8", "10", 0}, {"7,8", "9,10", 9},
	} {
		if got := v.Matched(set(t, c.seqs), set(t, c.uids)); got != c.want {
			t.Errorf("(%s %s): %d, want %d", c.seqs, c.uids, got, c.want)
		}
	}
}

func set(t *testing.T, text string) numset.Set {
	t.Helper()
	if text == "" {
		return numset.Set{}
	}
	expr, err := numset.Parse([]byte(text), 10)
	if err != nil {
		t.Fatal(err)
	}
	return expr.Resolve(0)
}
