package remote

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"rookery/internal/mailstore"
)

// plain is a picture as a list.
type plain struct {
	list []mailstore.Entry
	sets [][]string
	next mailstore.UID
	high mailstore.ModSeq
	sure bool // Shared may say something
}

func (p *plain) Len() int                        { return len(p.list) }
func (p *plain) At(pos int) mailstore.Entry      { return p.list[pos] }
func (p *plain) Keywords(set uint32) []string    { return p.sets[set] }
func (p *plain) UIDNext() mailstore.UID          { return p.next }
func (p *plain) HighestModSeq() mailstore.ModSeq { return p.high }
func (p *plain) Find(uid mailstore.UID) (int, bool) {
	return slices.BinarySearchFunc(p.list, uid, func(e mailstore.Entry, u mailstore.UID) int { return int(e.UID) - int(u) })
}

// Shared knows what is the same at the beginning.
func (p *plain) Shared(pos int, old mailstore.Snapshot, at int) (n int) {
	o, ok := old.(*plain)
	if !ok || !p.sure || pos != at || &p.sets[0] != &o.sets[0] {
		return 0
	}
	for pos+n < len(p.list) && pos+n < len(o.list) && p.list[pos+n] == o.list[pos+n] {
		n++
	}
	return n
}

// changed makes another picture of it.
func (p *plain) changed(rnd *rand.Rand) *plain {
	n := *p
	n.list = slices.Clone(p.list)
	n.high += mailstore.ModSeq(1 + rnd.IntN(100))
	n.sure = rnd.IntN(2) == 0
	if rnd.IntN(4) == 0 { // the sets get other numbers
		n.sets = slices.Clone(p.sets)
		perm := rnd.Perm(len(n.sets) - 1)
		for i, k := range perm {
			n.sets[k+1] = p.sets[i+1]
		}
		for i := range n.list {
			if k := n.list[i].Keywords; k > 0 {
				n.list[i].Keywords = uint32(perm[k-1]) + 1
			}
		}
	}
	if rnd.IntN(3) == 0 && len(n.sets) < 50 {
		n.sets = append(slices.Clone(n.sets), []string{fmt.Sprint("k", len(n.sets)), "z"})
	}
	state := func(e *mailstore.Entry) {
		e.Flags, e.Keywords, e.ModSeq = mailstore.Flags(rnd.IntN(32)), uint32(rnd.IntN(len(n.sets))), n.high
	}
	switch rnd.IntN(8) {
	case 5: // a flag that is somebody's own changes no MODSEQ
		if len(n.list) > 0 {
			n.list[rnd.IntN(len(n.list))].Flags ^= mailstore.Seen
		}
	case 0: // many go
		n.list = slices.DeleteFunc(n.list, func(mailstore.Entry) bool { return rnd.IntN(3) == 0 })
	case 1: // a range goes
		if len(n.list) > 0 {
			a := rnd.IntN(len(n.list))
			n.list = slices.Delete(n.list, a, min(len(n.list), a+rnd.IntN(1500)))
		}
	case 2: // all change
		for i := range n.list {
			state(&n.list[i])
		}
	case 3: // all go
		if rnd.IntN(5) == 0 {
			n.list = nil
		}
	case 4:
		return &n
	}
	for range rnd.IntN(6) {
		if len(n.list) > 0 {
			state(&n.list[rnd.IntN(len(n.list))])
		}
	}
	for range []int{0, 1, 3, 700, 2000}[rnd.IntN(5)] {
		e := mailstore.Entry{UID: n.next}
		state(&e)
		n.list = append(n.list, e)
		n.next += mailstore.UID(1 + rnd.IntN(3)*rnd.IntN(200))
	}
	return &n
}

// compare checks that a picture that was told is the one that it was told of.
func compare(t *testing.T, got *snapshot, want *plain) {
	t.Helper()
	if got.Len() != want.Len() || got.UIDNext() != want.next || got.HighestModSeq() != want.high {
		t.Fatalf("%d messages, next %d, highest %d; want %d, %d, %d", got.Len(), got.UIDNext(), got.HighestModSeq(), want.Len(), want.next, want.high)
	}
	buf := make([]mailstore.Entry, got.Len()+1)
	if n := got.Entries(0, buf); n != got.Len() {
		t.Fatalf("Entries gives %d of %d", n, got.Len())
	}
	for pos, w := range want.list {
		e := got.At(pos)
		if e != buf[pos] || e.UID != w.UID || e.Flags != w.Flags || e.ModSeq != w.ModSeq || !slices.Equal(got.Keywords(e.Keywords), want.sets[w.Keywords]) {
			t.Fatalf("at %d: %+v %q, want %+v %q", pos, e, got.Keywords(e.Keywords), w, want.sets[w.Keywords])
		}
	}
}

// lookups checks Find, Shared and NextChanged against a plain search.
func lookups(t *testing.T, rnd *rand.Rand, now, old *snapshot, want *plain) {
	t.Helper()
	for range 20 {
		uid := mailstore.UID(rnd.IntN(int(want.next) + 5))
		p, ok := now.Find(uid)
		if q, wok := want.Find(uid); p != q || ok != wok {
			t.Fatalf("Find(%d) gives %d %v, want %d %v", uid, p, ok, q, wok)
		}
		since := mailstore.ModSeq(rnd.IntN(int(want.high) + 1))
		from := rnd.IntN(want.Len() + 1)
		first := slices.IndexFunc(want.list[from:], func(e mailstore.Entry) bool { return e.ModSeq > since })
		if first < 0 {
			first = want.Len() - from
		}
		if got := now.NextChanged(from, since); got > from+first || got < from {
			t.Fatalf("NextChanged(%d, %d) gives %d, the next change is at %d", from, since, got, from+first)
		}
		if old == nil || old.Len() == 0 || now.Len() == 0 {
			continue
		}
		at := rnd.IntN(old.Len())
		pos, found := now.Find(old.At(at).UID)
		if !found {
			continue
		}
		for n := range now.Shared(pos, old, at) {
			if now.At(pos+n) != old.At(at+n) {
				t.Fatalf("Shared(%d, %d) is wrong after %d messages", pos, at, n)
			}
		}
	}
}

// Pictures that are told by steps are the ones that they are told of, whatever happens
// in between, and old ones stay as they are.
func TestSteps(t *testing.T) {
	seeds := uint64(400)
	if testing.Short() {
		seeds = 100
	}
	for seed := range seeds {
		rnd := rand.New(rand.NewPCG(seed, 1))
		truth := &plain{sets: [][]string{nil, {"a"}, {"a", "b"}}, next: 1, high: 1}
		var told *plain
		var now, first *snapshot
		var firstTruth *plain
		sets := newWordSets()
		for range 12 {
			truth = truth.changed(rnd)
			if rnd.IntN(8) == 0 { // begun anew
				told, now, sets = nil, nil, newWordSets()
			}
			var old mailstore.Snapshot
			if told != nil {
				old = told
			}
			w := newStepWriter(old, truth, sets)
			r, err := newStepReader(now, &picture{Len: uint32(truth.Len()), UIDNext: truth.next, High: truth.high})
			must(t, err)
			for more := true; more; {
				var steps []byte
				steps, more = w.next(1 + rnd.IntN(5000))
				must(t, r.read(steps))
			}
			before := now
			now, err = r.done()
			must(t, err)
			compare(t, now, truth)
			lookups(t, rnd, now, before, truth)
			if told = truth; first == nil {
				first, firstTruth = now, truth
			}
			if blocks := len(now.blocks); blocks > 2*now.Len()/(blockSize/2)+2 {
				t.Fatalf("seed %d: %d messages are in %d blocks", seed, now.Len(), blocks)
			}
		}
		compare(t, first, firstTruth)
	}
}

// One change of a large mailbox costs few bytes and shares all blocks but one.
func TestStepsAreFew(t *testing.T) {
	old := &plain{sets: [][]string{nil}, next: 100_001, high: 5, sure: true}
	for i := range 100_000 {
		old.list = append(old.list, mailstore.Entry{UID: mailstore.UID(i + 1), ModSeq: 5})
	}
	sets := newWordSets()
	tell := func(was mailstore.Snapshot, base *snapshot, now *plain) (*snapshot, int) {
		w := newStepWriter(was, now, sets)
		steps, more := w.next(10 << 20)
		if more {
			t.Fatal("more")
		}
		r, err := newStepReader(base, &picture{Len: uint32(now.Len()), UIDNext: now.next, High: now.high})
		must(t, err)
		must(t, r.read(steps))
		out, err := r.done()
		must(t, err)
		return out, len(steps)
	}
	first, n := tell(nil, nil, old)
	if n > 6*100_000 {
		t.Errorf("%d bytes for 100,000 messages", n)
	}
	now := *old
	now.list = slices.Clone(old.list)
	now.high = 6
	now.list[70_000].Flags, now.list[70_000].ModSeq = mailstore.Seen, 6
	second, n := tell(old, first, &now)
	compare(t, second, &now)
	if n > 20 {
		t.Errorf("%d bytes for one flag", n)
	}
	other := 0
	for i := range second.blocks {
		if second.blocks[i] != first.blocks[i] {
			other++
		}
	}
	if other != 1 || second.Shared(0, first, 0) < 69_000 || second.NextChanged(0, 5) < 69_000 {
		t.Errorf("%d blocks are others; %d shared; the next change is sought from %d on", other, second.Shared(0, first, 0), second.NextChanged(0, 5))
	}
}

// Steps that cannot be are refused, each for its own reason.
func TestRefusedSteps(t *testing.T) {
	sets := newWordSets()
	base := &plain{sets: [][]string{nil}, next: 10, high: 5, list: []mailstore.Entry{{UID: 2, ModSeq: 1}, {UID: 5, ModSeq: 5}}}
	w := newStepWriter(nil, base, sets)
	steps, _ := w.next(1000)
	r, err := newStepReader(nil, &picture{Len: 2, UIDNext: 10, High: 5})
	must(t, err)
	must(t, r.read(steps))
	old, err := r.done()
	must(t, err)
	for _, c := range []struct {
		steps string
		n     uint32
		want  string
	}{
		{"\x0c", 2, "beyond the old picture"},             // keep 3
		{"\x0d", 0, "beyond the old picture"},             // drop 3
		{"\x08\x06\x00\x00\x00", 3, "beyond the old"},     // keep 2, flag 1
		{"\x08", 1, "more than the 1 messages"},           // keep 2
		{"\x04", 1, "not spoken of"},                      // keep 1
		{"\x08", 3, "a picture of 3 messages has 2"},      // keep 2
		{"\x00", 2, "a step of 0 messages"},               //
		{"\x08\x07\x00\x00\x00\x00", 3, "is followed by"}, // UID 5 again
		{"\x08\x07\x05\x00\x00\x00", 3, "is followed by"}, // UID 10 of UIDNEXT 10
		{"\x08\x07\x01\x40\x00\x00", 3, "has flags"},      // a flag that is none
		{"\x08\x07\x01\x00\x00\x0c", 3, "mod-sequence 6"}, // above the highest
		{"\x08\x07\x01\x00\x00\x01", 3, "mod-sequence -1"},
		{"\x08\x07\x01\x00\x02\x00", 3, "keywords 2 is unknown"},
		{"\x08\x07\x01\x00\x01\x00\x00", 3, "without any"},
		{"\x08\x07\x01\x00\x01\x7f", 3, "a list has 127"},
		{"\x07\x03\x00\x00\x00\x08", 3, "UID 2 comes after 3"}, // a new message before an old one
		{"\x08\x07\x01\x00\x00", 3, "is cut"},
		{"\x88", 3, "is cut"},
	} {
		r, err := newStepReader(old, &picture{Len: c.n, UIDNext: 10, High: 5})
		must(t, err)
		if err = r.read([]byte(c.steps)); err == nil {
			_, err = r.done()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.steps, err, c.want)
		}
	}
	for _, head := range []picture{{Len: maxMessages + 1, UIDNext: 1 << 31, High: 5}, {UIDNext: 0, High: 5}, {UIDNext: 9, High: 5}, {UIDNext: 10, High: 4}} {
		if _, err := newStepReader(old, &head); err == nil {
			t.Errorf("%+v was taken", head)
		}
	}
}
