package index

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/numset"
	"rookery/internal/vfs/memfs"
)

// modelBox is the plainest mailbox there can be.
type modelBox struct {
	recs     []Record // by UID
	names    map[uint32][]string
	next     uint32
	validity uint32
	state    string
	high     uint64
	expunged map[uint32]uint64
	small    bool // no transaction is large
}

func newModel() *modelBox { return &modelBox{next: 1, expunged: map[uint32]uint64{}} }

func (m *modelBox) clone() *modelBox {
	c := *m
	c.recs = slices.Clone(m.recs)
	c.expunged = maps.Clone(m.expunged)
	return &c
}

// check compares a view with the model in every way that views can be asked.
func (m *modelBox) check(t testing.TB, v *View) {
	t.Helper()
	if v.Len() != len(m.recs) || v.UIDNext() != m.next || v.State() != m.state || v.UIDValidity() != m.validity {
		t.Fatalf("view has %d messages, UIDNEXT %d, state %q, UIDVALIDITY %d; want %d, %d, %q, %d",
			v.Len(), v.UIDNext(), v.State(), v.UIDValidity(), len(m.recs), m.next, m.state, m.validity)
	}
	var counts Counts
	entries := make([]mailstore.Entry, len(m.recs)+3)
	if n := v.Entries(0, entries); n != len(m.recs) {
		t.Fatalf("Entries gives %d of %d", n, len(m.recs))
	}
	first := -1
	for pos, want := range m.recs {
		got := v.Rec(pos)
		if got != want {
			t.Fatalf("position %d: %+v, want %+v", pos, got, want)
		}
		e := mailstore.Entry{UID: want.UID, Flags: want.Flags, Keywords: want.Keywords, ModSeq: mailstore.ModSeq(want.ModSeq)}
		if v.At(pos) != e || entries[pos] != e || v.Loc(pos) != want.Loc || v.Bits(pos) != want.Bits {
			t.Fatalf("position %d: At %+v, Entries %+v, want %+v", pos, v.At(pos), entries[pos], e)
		}
		if p, ok := v.Find(want.UID); !ok || p != pos {
			t.Fatalf("Find(%d) is %d %v, want %d", want.UID, p, ok, pos)
		}
		counts.add(want.Flags, want.Size, 1)
		if first < 0 && want.Flags&mailstore.Seen == 0 {
			first = pos
		}
	}
	if v.Counts() != counts {
		t.Fatalf("counts %+v, want %+v", v.Counts(), counts)
	}
	if p, ok := v.FirstUnseen(); ok != (first >= 0) || ok && p != first {
		t.Fatalf("first unseen %d %v, want %d", p, ok, first)
	}
	at := 0
	v.Each(len(m.recs)/2, func(pos int, r Record) bool {
		if pos != len(m.recs)/2+at || r != m.recs[pos] {
			t.Fatalf("Each gives %d %+v", pos, r)
		}
		at++
		return true
	})
	if at != len(m.recs)-len(m.recs)/2 {
		t.Fatalf("Each gave %d", at)
	}
	for u := range uint32(20) {
		uid := m.next - min(u, m.next-1)
		want, found := slices.BinarySearchFunc(m.recs, uid, func(r Record, u uint32) int { return int(r.UID) - int(u) })
		if pos, ok := v.Find(uid); pos != want || ok != found {
			t.Fatalf("Find(%d) is %d %v, want %d %v", uid, pos, ok, want, found)
		}
	}
}

// checkShared compares what is said to be shared, and says how much it is.
func checkShared(t testing.TB, v, old *View) (all int) {
	t.Helper()
	for pos, at := 0, 0; pos < v.Len() && at < old.Len(); {
		n := v.Shared(pos, old, at)
		for k := range n {
			if v.At(pos+k) != old.At(at+k) {
				t.Fatalf("positions %d and %d are said to be shared, and are %+v and %+v", pos+k, at+k, v.At(pos+k), old.At(at+k))
			}
		}
		all += n
		pos, at = pos+n, at+n
		if n > 0 || pos == v.Len() || at == old.Len() {
			continue
		}
		a, b := v.At(pos), old.At(at)
		if a.UID <= b.UID {
			pos++
		}
		if a.UID >= b.UID {
			at++
		}
	}
	return all
}

// checkHistory compares what was expunged since a MODSEQ.
func (m *modelBox) checkHistory(t testing.TB, v *View, since uint64) {
	t.Helper()
	got, complete := v.ExpungedSince(mailstore.ModSeq(since))
	if !complete {
		return
	}
	var want []uint32
	for u, at := range m.expunged {
		if at > since {
			want = append(want, u)
		}
	}
	slices.Sort(want)
	if w := numset.FromSorted(want); !got.Equal(w) {
		t.Fatalf("expunged since %d: %v, want %v", since, got, w)
	}
}

// step makes one random transaction in both.
func (m *modelBox) step(t testing.TB, r *rand.Rand, b *Box) *View {
	t.Helper()
	tx, err := b.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if m.validity == 0 {
		m.validity = 7
	}
	tx.Validity(m.validity)
	changed := false
	random := func() int { return r.IntN(len(m.recs)) }
	if len(m.recs) > 0 {
		for range r.IntN(4) {
			pos := random()
			rec := &m.recs[pos]
			set, _ := tx.KeywordSet([]string{fmt.Sprint("k", r.IntN(4)), "a"}[:r.IntN(3)])
			flags := mailstore.Flags(r.IntN(32))
			tx.Set(pos, flags, set)
			if rec.Flags != flags || rec.Keywords != set {
				rec.Flags, rec.Keywords, rec.ModSeq, changed = flags, set, tx.ModSeq(), true
			}
		}
		for range r.IntN(3) {
			pos := random()
			m.recs[pos].Bits = uint8(r.IntN(3))
			tx.Bits(pos, m.recs[pos].Bits)
		}
		for range r.IntN(2) {
			pos := random()
			m.recs[pos].Loc = fmt.Sprint("moved ", r.Uint32())
			tx.Loc(pos, m.recs[pos].Loc)
		}
		for range r.IntN(2) {
			pos := random()
			m.recs[pos].Size, m.recs[pos].Sent = int64(r.IntN(1e6)), int64(r.IntN(1e6)+1)
			tx.Facts(pos, Facts{Size: m.recs[pos].Size, Sent: m.recs[pos].Sent})
		}
	}
	var gone []int
	if len(m.recs) > 0 && r.IntN(3) == 0 {
		from := random()
		for pos := from; pos < min(len(m.recs), from+1+r.IntN(40)); pos += 1 + r.IntN(2) {
			gone = append(gone, pos)
		}
		tx.Remove(gone)
	}
	var added []Record
	if r.IntN(2) == 0 {
		n := r.IntN(8)
		if r.IntN(20) == 0 && !m.small {
			n = 1500
		}
		for range n {
			m.next += uint32(r.IntN(3))
			rec := Record{UID: m.next, Flags: mailstore.Flags(r.IntN(32)), Size: int64(r.IntN(1000)) - 1, Date: int64(r.Uint32()),
				Loc: fmt.Sprint("base.", m.next)}
			if r.IntN(5) == 0 {
				rec.GUID[3] = 9
			}
			if err := tx.Add(rec); err != nil {
				t.Fatal(err)
			}
			rec.ModSeq = tx.ModSeq()
			added = append(added, rec)
			m.next++
			changed = true
		}
	}
	m.state = fmt.Sprint("state ", r.Uint64())
	tx.State(m.state)
	if r.IntN(10) == 0 {
		tx.Next(m.next + 5)
		m.next += 5
	}
	got := tx.Commit()
	for _, pos := range slices.Backward(gone) {
		m.expunged[m.recs[pos].UID] = tx.ModSeq()
		m.recs = slices.Delete(m.recs, pos, pos+1)
		changed = true
	}
	m.recs = append(m.recs, added...)
	if uint64(got.HighestModSeq()) < m.high || changed && uint64(got.HighestModSeq()) != tx.ModSeq() {
		t.Fatalf("HIGHESTMODSEQ %d after %d, transaction %d", got.HighestModSeq(), m.high, tx.ModSeq())
	}
	m.high = uint64(got.HighestModSeq())
	return got
}

func TestAgainstModel(t *testing.T) {
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 1))
		u, err := Open(Options{FS: memfs.New(memfs.Options{})})
		if err != nil {
			t.Fatal(err)
		}
		b, err := u.Box(mailstore.GUID{1}, "box")
		if err != nil {
			t.Fatal(err)
		}
		m := newModel()
		type old struct {
			v *View
			m *modelBox
		}
		var olds []old
		for i := range 300 {
			if err := u.Lock(time.Minute); err != nil {
				t.Fatal(err)
			}
			v := m.step(t, r, b)
			u.Unlock()
			if i%10 == 0 {
				m.check(t, v)
				olds = append(olds, old{v, m.clone()})
				o := olds[r.IntN(len(olds))]
				m.checkHistory(t, v, o.m.high)
				checkShared(t, v, o.v)
			}
		}
		// Nothing that came later has changed older pictures.
		for _, o := range olds {
			o.m.check(t, o.v)
		}
		b.Close()
		if err := u.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
