package storetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

func testCopy(e *env) {
	p := e.start()
	mb := p.open("INBOX")
	_, err := p.Create("box", 0)
	e.must(err)
	p.add("box", mailstore.AppendMeta{}, "there")
	p.add("INBOX", mailstore.AppendMeta{Flags: mailstore.Seen, Keywords: []string{"k"}}, "a")
	p.add("INBOX", mailstore.AppendMeta{}, "b", "c")
	store(e, mb, uids(3), mailstore.AddFlags, mailstore.Deleted)
	r, err := mb.Copy(uids(3, 1, 50), "box")
	e.must(err)
	box := p.open("box")
	if !slices.Equal(r.From, []mailstore.UID{1, 3}) || !slices.Equal(r.To, []mailstore.UID{2, 3}) || r.UIDValidity != box.Info().UIDValidity {
		e.Fatalf("%+v", r)
	}
	e.see(box, "1: 2:s[k] 3:d")
	e.see(mb, "1:s[k] 2: 3:d")
	for i, want := range []string{"there", "a", "c"} {
		if b, err := body(box, mailstore.UID(i+1)); err != nil || id(b) != want {
			e.Fatal(i, err, b)
		}
	}
	// A copy lives on when its source goes, and its flags are its own.
	store(e, box, uids(2), mailstore.SetFlags, mailstore.Flagged)
	_, err = mb.Expunge(uids(1, 3))
	e.must(err)
	e.see(box, "1: 2:f 3:d")
	if b, err := body(box, 2); err != nil || b != text("a") {
		e.Fatal(err, b)
	}
	r, err = mb.Copy(uids(1), "box")
	if err != nil || len(r.From) != 0 || len(r.To) != 0 {
		e.Fatal("copy of nothing:", r, err)
	}
	_, err = mb.Copy(uids(2), "nowhere")
	e.kind(err, errkind.NotFound)
}

func testCopySame(e *env) {
	p := e.start()
	mb := p.open("INBOX")
	p.add("INBOX", mailstore.AppendMeta{Flags: mailstore.Seen}, "a", "b")
	r, err := mb.Copy(uids(1, 2), "INBOX")
	e.must(err)
	if !slices.Equal(r.To, []mailstore.UID{3, 4}) {
		e.Fatalf("%+v", r)
	}
	e.see(mb, "1:s 2:s 3:s 4:s")
	r, err = mb.Move(uids(1), "INBOX")
	e.must(err)
	if !slices.Equal(r.From, []mailstore.UID{1}) || !slices.Equal(r.To, []mailstore.UID{5}) {
		e.Fatalf("%+v", r)
	}
	e.see(mb, "2:s 3:s 4:s 5:s")
	if b, err := body(mb, 5); err != nil || id(b) != "a" {
		e.Fatal(err, b)
	}
}

func testMove(e *env) {
	p := e.start()
	mb := p.open("INBOX")
	_, err := p.Create("box", 0)
	e.must(err)
	p.add("INBOX", mailstore.AppendMeta{Flags: mailstore.Seen, Keywords: []string{"$Junk"}}, "a")
	p.add("INBOX", mailstore.AppendMeta{}, "b", "c")
	m0 := e.see(mb, "1:s[$Junk] 2: 3:").HighestModSeq()
	r, err := mb.Move(uids(1, 3, 8), "box")
	e.must(err)
	if !slices.Equal(r.From, []mailstore.UID{1, 3}) || !slices.Equal(r.To, []mailstore.UID{1, 2}) {
		e.Fatalf("%+v", r)
	}
	e.see(mb, "2:")
	box := p.open("box")
	e.see(box, "1:s[$Junk] 2:")
	gone, _, err := mb.ExpungedSince(m0)
	e.must(err)
	sameSet(e, "expunged by the move", gone, 1, 3)
	if b, err := body(box, 2); err != nil || b != text("c") {
		e.Fatal(err, b)
	}
	_, err = mb.Move(uids(2), "nowhere")
	e.kind(err, errkind.NotFound)
	e.see(mb, "2:")
	p.stop()
	p = e.start()
	e.see(p.open("INBOX"), "2:")
	e.see(p.open("box"), "1:s[$Junk] 2:")
}

// testSnapshots changes a mailbox of many messages in many ways and compares
// each picture with a plain model.
func testSnapshots(e *env) {
	p := e.start()
	mb := p.open("INBOX")
	type msg struct {
		uid mailstore.UID
		f   mailstore.Flags
	}
	var model []msg
	picture := func() string {
		var out []string
		for _, m := range model {
			out = append(out, fmt.Sprintf("%d:%s", m.uid, flagText(m.f)))
		}
		return strings.Join(out, " ")
	}
	var kept []mailstore.Snapshot
	var said []string
	next := mailstore.UID(1)
	add := func(n int) {
		a, err := p.Append("INBOX")
		e.must(err)
		for range n {
			w, err := a.Add(mailstore.AppendMeta{}, -1)
			e.must(err)
			_, err = w.Write([]byte("x\r\n"))
			e.must(err)
			model = append(model, msg{next, 0})
			next++
		}
		_, err = a.Commit()
		e.must(err)
	}
	check := func() {
		e.Helper()
		want := picture()
		kept, said = append(kept, e.see(mb, want)), append(said, want)
	}
	add(1300)
	check()
	store(e, mb, uids(5, 700, 1299), mailstore.AddFlags, mailstore.Seen)
	for _, u := range []int{5, 700, 1299} {
		model[u-1].f |= mailstore.Seen
	}
	check()
	expunge := func(set numset.Set) {
		_, err := mb.Expunge(set)
		e.must(err)
		model = slices.DeleteFunc(model, func(m msg) bool { return set.Contains(m.uid) })
	}
	expunge(numset.Span(500, 1100))
	check()
	add(3)
	check()
	var odd numset.Set
	for u := mailstore.UID(1); u < next; u += 2 {
		odd.Add(u)
	}
	expunge(odd)
	check()
	add(600)
	store(e, mb, numset.Span(1, 1<<32-1), mailstore.AddFlags, mailstore.Flagged)
	for i := range model {
		model[i].f |= mailstore.Flagged
	}
	check()
	expunge(numset.Span(1, 1<<32-1))
	add(2)
	check()
	for i, s := range kept {
		if show(s) != said[i] {
			e.Fatalf("snapshot %d changed", i)
		}
		for _, u := range []mailstore.UID{0, 1, 499, 500, 1101, 5000, 1<<32 - 1} {
			pos, found := s.Find(u)
			if found && s.At(pos).UID != u || pos < s.Len() && s.At(pos).UID < u || pos > 0 && s.At(pos-1).UID >= u {
				e.Fatalf("snapshot %d: Find(%d) gives %d", i, u, pos)
			}
		}
	}
}

func testWatch(e *env) {
	p := e.start()
	mb, other := p.open("INBOX"), p.open("INBOX")
	c, full := make(chan struct{}, 1), make(chan struct{}, 1)
	full <- struct{}{} // nobody waits for it
	stop := mb.Watch(c)
	defer mb.Watch(full)()
	woken := func(what string, f func()) {
		e.Helper()
		for len(c) > 0 {
			<-c
		}
		f()
		if len(c) != 1 {
			e.Fatalf("%s woke nobody", what)
		}
	}
	woken("append", func() { p.add("INBOX", mailstore.AppendMeta{}, "a") })
	woken("store", func() { store(e, other, uids(1), mailstore.AddFlags, mailstore.Seen) })
	woken("copy", func() {
		_, err := other.Copy(uids(1), "INBOX")
		e.must(err)
	})
	woken("expunge", func() {
		_, err := other.Expunge(uids(1))
		e.must(err)
	})
	q := e.start()
	q.add("INBOX", mailstore.AppendMeta{}, "b")
	woken("a sync that found something", func() {
		_, err := other.Sync()
		e.must(err)
	})
	stop()
	for len(c) > 0 {
		<-c
	}
	p.add("INBOX", mailstore.AppendMeta{}, "c")
	if len(c) != 0 {
		e.Fatal("woken after stop")
	}
}

func testRecent(e *env) {
	p, q := e.start(), e.start()
	mp, mq := p.open("INBOX"), q.open("INBOX")
	claim := func(mb mailstore.Mailbox, peek bool, want ...mailstore.UID) {
		e.Helper()
		got, err := mb.ClaimRecent(peek)
		e.must(err)
		sameSet(e, "recent", got, want...)
	}
	p.add("INBOX", mailstore.AppendMeta{}, "a", "b")
	e.seeSoon(mq, "1: 2:")
	claim(mp, true, 1, 2)
	claim(mq, true, 1, 2)
	st, err := p.Status("INBOX", mailstore.StatusWant{})
	if err != nil || st.Recent != 2 {
		e.Fatal(st, err)
	}
	claim(mp, true, 1, 2)
	claim(mp, false, 1, 2)
	claim(mp, false)
	claim(mp, true)
	claim(mq, false) // taken by the other process
	e.seeSoon(mq, "1: 2:")
	claim(mq, true)
	p.add("INBOX", mailstore.AppendMeta{Flags: mailstore.Seen}, "c")
	p.add("INBOX", mailstore.AppendMeta{}, "d")
	store(e, mp, uids(4), mailstore.AddFlags, mailstore.Seen) // flags do not make it old
	claim(mp, false, 3, 4)
	claim(mp, false)
	p.add("INBOX", mailstore.AppendMeta{}, "e")
	e.seeSoon(mq, "1: 2: 3:s 4:s 5:")
	claim(mq, false, 5)
	_, err = mp.Sync()
	e.must(err)
	claim(mp, false)
	e.seeSoon(mp, "1: 2: 3:s 4:s 5:")
}

func testStatus(e *env) {
	p, q := e.start(), e.start()
	e.create(p, "a")
	p.add("a", mailstore.AppendMeta{Flags: mailstore.Seen}, "1")
	p.add("a", mailstore.AppendMeta{}, "2", "3")
	p.add("a", mailstore.AppendMeta{Flags: mailstore.Deleted}, "4")
	mb := p.open("a")
	for _, s := range []*process{q, p} {
		st, err := s.Status("a", mailstore.StatusWant{Size: true})
		e.must(err)
		if st.Messages != 4 || st.Unseen != 3 || st.Deleted != 1 || st.UIDNext != 5 || st.UIDValidity != mb.Info().UIDValidity ||
			st.Size != uint64(4*len(text("1"))) || st.HighestModSeq == 0 || st.GUID != mb.Info().GUID || st.Recent < 2 {
			e.Fatalf("%+v", st)
		}
	}
	got, err := mb.ClaimRecent(false)
	if err != nil || got.Len() != 4 {
		e.Fatal("a status took recent messages:", got, err)
	}
}

func testReopen(e *env) {
	p := e.start()
	e.create(p, "a")
	for i := range 12 {
		p.add("a", mailstore.AppendMeta{Flags: mailstore.Flags(i) & mailstore.AllFlags}, fmt.Sprint(i))
	}
	mb := p.open("a")
	_, err := mb.Expunge(uids(1, 5, 12))
	e.must(err)
	store(e, mb, uids(3), mailstore.AddFlags, 0, "k1", "k2")
	want := show(mb.Snapshot())
	info, next := mb.Info(), mb.Snapshot().UIDNext()
	for range 3 {
		e.must(mb.Close())
		p.stop()
		p = e.start()
		mb = p.open("a")
		if s := e.see(mb, want); s.UIDNext() != next {
			e.Fatal("UIDNEXT", s.UIDNext(), next)
		}
		if i := mb.Info(); i != info {
			e.Fatalf("%+v, was %+v", i, info)
		}
	}
	if u := p.add("a", mailstore.AppendMeta{}, "x"); u[0] != next {
		e.Fatal(u)
	}
	mb2 := p.open("a")
	e.must(mb.Close())
	e.must(mb.Close()) // once more does nothing
	_, err = mb2.Sync()
	e.must(err)
	e.must(mb2.Close())
	mb = p.open("a")
	e.see(mb, want+fmt.Sprintf(" %d:", next))
}

// The MODSEQs of one mailbox tell nothing of how busy the others are.
func testModSeqsAlone(e *env) {
	p := e.start()
	e.create(p, "quiet", "busy")
	high := func(name string) mailstore.ModSeq {
		e.Helper()
		s, err := p.open(name).Sync()
		e.must(err)
		return s.HighestModSeq()
	}
	p.add("quiet", mailstore.AppendMeta{}, "1", "2")
	first := high("quiet")
	p.add("busy", mailstore.AppendMeta{}, "1", "2", "3")
	for i := range 20 {
		op := []mailstore.FlagOp{mailstore.AddFlags, mailstore.RemoveFlags}[i%2]
		store(e, p.open("busy"), uids(1, 2), op, mailstore.Flagged)
	}
	_, err := p.open("busy").Expunge(uids(3))
	e.must(err)
	store(e, p.open("quiet"), uids(1, 2), mailstore.AddFlags, mailstore.Seen)
	if got := high("quiet"); got != first+1 {
		e.Fatalf("a STORE's MODSEQ is %d after %d, while another mailbox changed", got, first)
	}
	_, err = p.open("quiet").Expunge(uids(1))
	e.must(err)
	if got := high("quiet"); got != first+2 {
		e.Fatalf("an EXPUNGE's MODSEQ is %d after %d", got, first+1)
	}
	_, err = p.open("busy").Expunge(uids(2))
	e.must(err)
	p.add("quiet", mailstore.AppendMeta{}, "3")
	if got := high("quiet"); got != first+3 {
		e.Fatalf("an APPEND's MODSEQ is %d after %d, while another mailbox changed", got, first+2)
	}
}

func testModSeqs(e *env) {
	p := e.start()
	e.create(p, "a")
	last := mailstore.ModSeq(0)
	step := func(what string) {
		e.Helper()
		s, err := p.open("a").Sync()
		e.must(err)
		if m := s.HighestModSeq(); m <= last || m >= 1<<53 {
			e.Fatalf("%s: HIGHESTMODSEQ %d after %d", what, m, last)
		} else {
			last = m
		}
	}
	step("new")
	p.add("a", mailstore.AppendMeta{}, "1", "2")
	step("append")
	store(e, p.open("a"), uids(1), mailstore.AddFlags, mailstore.Seen)
	step("store")
	_, err := p.open("a").Expunge(uids(1))
	e.must(err)
	step("expunge")
	same, err := p.open("a").Sync()
	if err != nil || same.HighestModSeq() != last {
		e.Fatal("a sync that found nothing raised it")
	}
	for range 3 { // not lower after a restart, even if the clock went back
		p.stop()
		e.clock.Jump(-24 * time.Hour)
		p = e.start()
		last--
		step("restart")
	}
}
