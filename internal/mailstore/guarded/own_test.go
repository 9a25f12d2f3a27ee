package guarded

import (
	"math/rand/v2"
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// Clients that remember a HIGHESTMODSEQ find with it every change since then, of the
// store and of their user's own; no number goes down, none is used for two changes that
// a client can stand between, and what the store forgot by a number is asked for by it.
func TestOwnNumbers(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 7))
		const messages = 12
		var inner [messages + 1]mailstore.ModSeq // of each message, by UID
		counter, highest := mailstore.ModSeq(100), mailstore.ModSeq(100)
		for uid := range inner {
			inner[uid] = highest
		}
		var own Own
		type client struct {
			at    mailstore.ModSeq // HIGHESTMODSEQ that it holds
			inner mailstore.ModSeq // the store's then
			since numset.Set       // changed since then
		}
		var clients []client
		last := mailstore.ModSeq(0)
		for step := range 200 {
			var touched numset.Set
			switch r.IntN(4) {
			case 0: // a change that all see
				counter += mailstore.ModSeq(1 + r.IntN(3)) // other mailboxes use numbers too
				highest = counter
				uid := 1 + r.IntN(messages)
				inner[uid] = highest
				touched.Add(uint32(uid))
			case 1, 2: // the user's own
				for range 1 + r.IntN(3) {
					touched.Add(uint32(1 + r.IntN(messages)))
				}
				if r.IntN(2) == 0 {
					own = own.Changed(touched, numset.Set{}, highest)
				} else {
					own = own.Changed(numset.Set{}, touched, highest)
				}
			case 3:
				clients = append(clients, client{at: own.Highest(highest), inner: highest})
			}
			for i := range clients {
				clients[i].since = clients[i].since.Union(touched)
			}
			now := own.Highest(highest)
			if now < last || !touched.Empty() && now == last || len(own.Marks) > MaxMarks {
				t.Fatalf("seed %d, step %d: HIGHESTMODSEQ %d after %d", seed, step, now, last)
			}
			last = now
			for _, c := range clients {
				for uid := uint32(1); uid <= messages; uid++ {
					n := own.number(mailstore.Entry{UID: uid, ModSeq: inner[uid]})
					if n > now || c.since.Contains(uid) && n <= c.at {
						t.Fatalf("seed %d, step %d: message %d has %d; a client at %d does not find its change (highest %d)", seed, step, uid, n, c.at, now)
					}
				}
				if got := own.since(c.at); got > c.inner {
					t.Fatalf("seed %d, step %d: a client at %d is taken for one at the store's %d, and was at %d", seed, step, c.at, got, c.inner)
				}
			}
		}
	}
}

// A user without changes of his own is shown the store's numbers; where the store has
// none there are none.
func TestOwnNothing(t *testing.T) {
	var own Own
	if own.Highest(7) != 7 || own.number(mailstore.Entry{UID: 1, ModSeq: 5}) != 5 || own.since(6) != 6 {
		t.Error("numbers without changes")
	}
	own = own.Changed(numset.Of(1), numset.Set{}, 0)
	if own.Highest(0) != 0 || own.number(mailstore.Entry{UID: 1}) != 0 || !own.Seen.Contains(1) {
		t.Error("numbers of a store that has none")
	}
	if again := own.Changed(numset.Set{}, numset.Set{}, 9); len(again.Marks) != 0 {
		t.Error("a change of nothing is one")
	}
}
