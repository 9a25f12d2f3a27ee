package sorting

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"rookery/imapworker/internal/search"
	"rookery/imapworker/internal/view"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/memstore"
	"rookery/internal/message"
	"rookery/internal/numset"
)

// An order that is kept and brought up to date is the one that sorting all
// messages gives, whatever came and went in between, for two sessions that were
// told different things.
func TestKept(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 3))
		store := memstore.New(memstore.Options{})
		deliver(t, store, rng, 20+rng.IntN(400))
		var views [2]*view.View
		for i := range views {
			box, err := store.Open("INBOX")
			if err != nil {
				t.Fatal(err)
			}
			defer box.Close()
			if views[i], err = view.New(box, false); err != nil {
				t.Fatal(err)
			}
		}
		sortIt, threadIt := Sort(search.Config{Limits: message.DefaultLimits()}), Thread(search.Config{Limits: message.DefaultLimits()})
		for range 12 {
			v := views[rng.IntN(2)]
			switch rng.IntN(4) {
			case 0:
				deliver(t, store, rng, 1+rng.IntN(20))
			case 1:
				uids := numset.Of(uint32(1+rng.IntN(400)), uint32(1+rng.IntN(400)))
				if _, err := v.Box().Expunge(uids); err != nil {
					t.Fatal(err)
				}
				// What is gone and still counted has no header for who sorts it anew.
				for _, v := range views {
					tell(t, v, view.May{Expunge: true})
				}
			case 2:
				tell(t, v, view.May{Expunge: true, Exists: true})
			}
			keys := []string{"ALL", "SUBJECT a", "LARGER 60"}[rng.IntN(3)]
			criteria := []string{"SUBJECT", "REVERSE SUBJECT", "DATE SUBJECT", "REVERSE SIZE"}[rng.IntN(4)]
			uid := rng.IntN(2) == 0
			for _, c := range []struct {
				kept, fresh view.Parse
				args        string
			}{
				{sortIt, Sort(search.Config{Limits: message.DefaultLimits()}), " (" + criteria + ") UTF-8 " + keys},
				{sortIt, Sort(search.Config{Limits: message.DefaultLimits()}), " RETURN (MIN ALL) (" + criteria + ") UTF-8 " + keys},
				{threadIt, Thread(search.Config{Limits: message.DefaultLimits()}), " ORDEREDSUBJECT UTF-8 " + keys},
			} {
				if got, want := answer(t, v, c.kept, c.args, uid), answer(t, v, c.fresh, c.args, uid); got != want {
					t.Fatalf("seed %d:%s:\n got  %s want %s", seed, c.args, got, want)
				}
			}
		}
	}
}

func deliver(t *testing.T, store mailstore.Store, rng *rand.Rand, n int) {
	t.Helper()
	a, err := store.Append("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		text := fmt.Sprintf("Subject: %s\r\nDate: %s\r\n\r\n%*s", []string{"a", "ab", "Re: a", "b", "c c"}[rng.IntN(5)],
			time.Unix(int64(rng.IntN(30))*86400, 0).UTC().Format(time.RFC1123Z), rng.IntN(20), "")
		w, err := a.Add(mailstore.AppendMeta{}, int64(len(text)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Commit(); err != nil {
		t.Fatal(err)
	}
}

func tell(t *testing.T, v *view.View, may view.May) {
	t.Helper()
	v.Refresh()
	var enc imapwire.Encoder
	if err := v.Announce(&enc, may); err != nil {
		t.Fatal(err)
	}
}

type nowhere struct{}

func (nowhere) Flush(*imapwire.Encoder) error { return nil }

func (nowhere) Body(mailstore.Message, int64, int64) error { return nil }

func answer(t *testing.T, v *view.View, parse view.Parse, args string, uid bool) string {
	t.Helper()
	d := imapwire.NewDecoder([]byte(args), imapwire.Limits{Line: 1000, Items: 100, Depth: 10})
	job, ok := parse(d, uid)
	if !ok {
		t.Fatalf("%s: %v", args, d.Err())
	}
	var enc imapwire.Encoder
	ctx := view.Context{View: v, Enc: &enc, Out: nowhere{}, Tag: "t", UID: uid, Fetched: &view.Fetched{}}
	if reply, err := job.Run(&ctx); err != nil || reply.Cond != imapwire.OK {
		t.Fatalf("%s: %v, %v", args, reply, err)
	}
	return string(enc.Bytes())
}

// What is kept is bounded, and what was used last stays.
func TestKeptBounds(t *testing.T) {
	k := &kept{}
	order := func(n int, guid byte) *keptOrder {
		return &keptOrder{moment: moment{mailbox: mailstore.GUID{guid}, n: n}, seqs: make([]uint32, n)}
	}
	for guid := range byte(5) {
		k.keep(order(maxKept/4, guid))
	}
	if k.order(order(0, 0).moment, "") != nil || k.order(order(0, 1).moment, "") == nil {
		t.Error("the first is not gone, or the second is")
	}
	k.keep(order(maxKept/4, 9)) // 1 was used last: 2 goes
	var left []byte
	for _, o := range k.orders {
		left = append(left, o.mailbox[0])
	}
	if !slices.Equal(left, []byte{3, 4, 1, 9}) {
		t.Errorf("kept %v", left)
	}
	if k.keep(order(maxKept+1, 7)); len(k.orders) != 4 {
		t.Errorf("%d kept beside one that is too large", len(k.orders))
	}
	for n := range 5 {
		k.keepThread(&keptThread{by: fmt.Sprint(n), text: make([]byte, maxThreads/4)})
	}
	if k.thread(moment{}, "0", false) != nil || k.thread(moment{}, "4", false) == nil || len(k.threads) != 4 {
		t.Errorf("%d threads kept", len(k.threads))
	}
}
