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

// listIs compares the whole list: "name:attributes".
func (e *env) listIs(s mailstore.Store, want ...string) {
	e.Helper()
	list, err := s.List()
	e.must(err)
	var got []string
	for _, f := range list {
		t := f.Name + ":"
		for _, a := range []struct {
			a mailstore.Attr
			c string
		}{{mailstore.NoSelect, "n"}, {mailstore.NonExistent, "x"}, {mailstore.HasChildren, "c"}, {mailstore.Subscribed, "s"}} {
			if f.Attrs&a.a != 0 {
				t += a.c
			}
		}
		got = append(got, t)
		if g, err := s.Lookup(f.Name); err != nil || g != f {
			e.Fatalf("Lookup(%s): %+v %v", f.Name, g, err)
		}
	}
	if !slices.Equal(got, want) {
		e.Fatalf("the list is %q, want %q", got, want)
	}
}

func (e *env) create(p *process, names ...mailstore.Name) {
	e.Helper()
	for _, n := range names {
		got, err := p.Create(n, 0)
		if err != nil || got != n {
			e.Fatalf("create %q: %q, %v", n, got, err)
		}
	}
}

func testFolders(e *env) {
	p, q := e.start(), e.start()
	e.create(p, "b", "a/x/y", "a b/ü&~", "INBOX/sub", "with.dot", "日本語/台北")
	want := []string{"INBOX:c", "INBOX/sub:", "a:nxc", "a b:nxc", "a b/ü&~:", "a/x:nxc", "a/x/y:", "b:", "with.dot:", "日本語:nxc", "日本語/台北:"}
	e.listIs(p, want...)
	e.listIs(q, want...)
	e.create(q, "a")
	want[2] = "a:c"
	e.listIs(p, want...)
	for i, n := range []mailstore.Name{"with.dot", "a b/ü&~", "INBOX/sub"} {
		p.add(n, mailstore.AppendMeta{}, fmt.Sprint(i))
		if b, err := body(q.open(n), 1); err != nil || id(b) != fmt.Sprint(i) {
			e.Fatal(n, err, b)
		}
	}
	e.must(q.Delete("a"))
	want[2] = "a:nxc"
	e.listIs(p, want...)
	e.must(p.Delete("a/x/y"))
	e.must(p.Delete("日本語/台北"))
	e.listIs(q, "INBOX:c", "INBOX/sub:", "a b:nxc", "a b/ü&~:", "b:", "with.dot:")
	_, err := p.Lookup("a")
	e.kind(err, errkind.NotFound)
}

func testFolderErrors(e *env) {
	p := e.start()
	e.create(p, "a/b")
	_, err := p.Create("a/b", 0)
	e.kind(err, errkind.Exists)
	_, err = p.Create("INBOX", 0)
	e.kind(err, errkind.Exists)
	for _, n := range []mailstore.Name{"", "/a", "a//b", "a/../b", "..", "a\x00b", "a\nb", "a/", "\xff", strings.Repeat("x", 300), strings.Repeat("a/", 200) + "a"} {
		if _, err := p.Create(n, 0); !errkind.Is(err, errkind.Invalid) {
			e.Fatalf("create %q: %v", n, err)
		}
		if err := p.Rename("a/b", n); !errkind.Is(err, errkind.Invalid) {
			e.Fatalf("rename to %q: %v", n, err)
		}
		if _, err := p.Open(n); err == nil {
			e.Fatalf("opened %q", n)
		}
	}
	e.kind(p.Delete("INBOX"), errkind.Invalid)
	e.kind(p.Delete("a"), errkind.Invalid)
	e.kind(p.Delete("nowhere"), errkind.NotFound)
	e.kind(p.Rename("nowhere", "x"), errkind.NotFound)
	e.kind(p.Rename("a/b", "INBOX"), errkind.Exists)
	e.kind(p.Rename("a/b", "a/b"), errkind.Exists)
	e.kind(p.Rename("a", "a/b/c"), errkind.Invalid)
	_, err = p.Open("a")
	e.kind(err, errkind.Invalid)
	_, err = p.Open("nowhere")
	e.kind(err, errkind.NotFound)
	_, err = p.Status("nowhere", mailstore.StatusWant{})
	e.kind(err, errkind.NotFound)
	e.listIs(p, "INBOX:", "a:nxc", "a/b:")
}

func testUIDValidity(e *env) {
	p := e.start()
	e.create(p, "a", "b")
	va, vb := p.open("a").Info().UIDValidity, p.open("b").Info().UIDValidity
	if va == vb {
		e.Fatal("two mailboxes share a UIDVALIDITY")
	}
	p.add("a", mailstore.AppendMeta{}, "1", "2")
	for i := range 3 {
		e.must(p.Delete("a"))
		if i == 1 { // also over a restart
			p.stop()
			p = e.start()
		}
		e.create(p, "a")
		mb := p.open("a")
		v := mb.Info().UIDValidity
		if v <= va {
			e.Fatalf("made anew with UIDVALIDITY %d after %d", v, va)
		}
		va = v
		e.see(mb, "")
		p.add("a", mailstore.AppendMeta{}, "x")
	}
	if v := p.open("b").Info().UIDValidity; v != vb {
		e.Fatal("another mailbox's UIDVALIDITY changed")
	}
}

func testRename(e *env) {
	p := e.start()
	e.create(p, "a", "a/b", "a/b/c", "ab", "z")
	p.add("a", mailstore.AppendMeta{Keywords: []string{"k"}}, "1", "2")
	p.add("a/b/c", mailstore.AppendMeta{}, "3")
	_, err := p.open("a").Expunge(uids(1))
	e.must(err)
	v := p.open("a").Info()
	e.kind(p.Rename("a", "z"), errkind.Exists)
	e.kind(p.Rename("a", "a/b"), errkind.Invalid)
	e.must(p.Rename("a", "fresh/place"))
	e.listIs(p, "INBOX:", "ab:", "fresh:nxc", "fresh/place:c", "fresh/place/b:c", "fresh/place/b/c:", "z:")
	check := func() {
		e.Helper()
		mb := p.open("fresh/place")
		if i := mb.Info(); i.UIDValidity != v.UIDValidity || i.GUID != v.GUID || i.Name != "fresh/place" {
			e.Fatalf("%+v, was %+v", i, v)
		}
		if s := e.see(mb, "2:[k]"); s.UIDNext() != 3 {
			e.Fatal(s.UIDNext())
		}
		e.see(p.open("fresh/place/b/c"), "1:")
	}
	check()
	p.stop()
	p = e.start()
	check()
	e.must(p.Rename("fresh", "q")) // an implied parent
	e.listIs(p, "INBOX:", "ab:", "q:nxc", "q/place:c", "q/place/b:c", "q/place/b/c:", "z:")
	e.create(p, "a")
	if nv := p.open("a").Info().UIDValidity; nv <= v.UIDValidity {
		e.Fatal("the old name was given the old UIDVALIDITY")
	}
	e.create(p, "t", "t/place")
	e.kind(p.Rename("q", "t"), errkind.Exists)
}

func testRenameInbox(e *env) {
	p := e.start()
	e.create(p, "INBOX/sub")
	mb := p.open("INBOX")
	p.add("INBOX", mailstore.AppendMeta{Flags: mailstore.Seen}, "a", "b")
	v := mb.Info().UIDValidity
	e.must(p.Rename("INBOX", "old"))
	e.listIs(p, "INBOX:c", "INBOX/sub:", "old:")
	s := e.see(mb, "")
	if mb.Info().UIDValidity != v || s.UIDNext() != 3 {
		e.Fatal("INBOX was made anew")
	}
	e.see(p.open("old"), "1:s 2:s")
	e.kind(p.Rename("INBOX", "old"), errkind.Exists)
}

func testRenameOpen(e *env) {
	p := e.start()
	e.create(p, "a", "a/kid")
	mb := p.open("a")
	p.add("a", mailstore.AppendMeta{}, "1")
	app, err := p.Append("a")
	e.must(err)
	w, err := app.Add(mailstore.AppendMeta{}, -1)
	e.must(err)
	_, err = w.Write([]byte(text("2")))
	e.must(err)
	e.must(p.Rename("a", "b"))
	_, err = app.Commit()
	e.must(err)
	e.see(mb, "1: 2:")
	if n := mb.Info().Name; n != "b" {
		e.Fatal(n)
	}
	store(e, mb, uids(1), mailstore.AddFlags, mailstore.Seen)
	e.see(p.open("b"), "1:s 2:")
	_, err = p.Open("a")
	e.kind(err, errkind.NotFound)
}

func testDeleteOpen(e *env) {
	p, q := e.start(), e.start()
	e.create(p, "a")
	p.add("a", mailstore.AppendMeta{}, "1")
	mp, mq := p.open("a"), q.open("a")
	app, err := q.Append("a")
	e.must(err)
	w, err := app.Add(mailstore.AppendMeta{}, -1)
	e.must(err)
	_, err = w.Write([]byte(text("2")))
	e.must(err)
	e.must(p.Delete("a"))
	e.create(p, "a")
	for _, mb := range []mailstore.Mailbox{mp, mq} {
		_, err := mb.Sync()
		e.kind(err, errkind.NotFound)
		_, err = mb.Store(mailstore.FlagChange{UIDs: uids(1), Op: mailstore.AddFlags, Flags: mailstore.Seen})
		e.kind(err, errkind.NotFound)
		_, err = mb.Expunge(uids(1))
		e.kind(err, errkind.NotFound)
		_, err = mb.Message(1)
		e.kind(err, errkind.NotFound)
		_, err = mb.Copy(uids(1), "INBOX")
		e.kind(err, errkind.NotFound)
		if show(mb.Snapshot()) != "1:" {
			e.Fatal("the last picture is gone")
		}
		e.must(mb.Close())
	}
	if _, err = app.Commit(); err == nil {
		e.Fatal("appended to a mailbox that was deleted")
	}
	e.see(p.open("a"), "")
	e.see(q.open("a"), "")
}

func testSubscriptions(e *env) {
	p, q := e.start(), e.start()
	e.create(p, "a", "a/b.c", "ü")
	for _, n := range []mailstore.Name{"a/b.c", "not/there", "INBOX", "ü"} {
		e.must(p.Subscribe(n, true))
		e.must(p.Subscribe(n, true))
	}
	is := func(want ...string) {
		e.Helper()
		for _, s := range []*process{p, q} {
			got, err := s.Subscriptions()
			if err != nil || !slices.Equal(got, want) {
				e.Fatalf("%q %v, want %q", got, err, want)
			}
		}
	}
	is("INBOX", "a/b.c", "not/there", "ü")
	e.listIs(q, "INBOX:s", "a:c", "a/b.c:s", "ü:s")
	e.must(q.Subscribe("not/there", false))
	e.kind(q.Subscribe("not/there", false), errkind.NotFound)
	e.kind(q.Subscribe("a", false), errkind.NotFound)
	e.must(p.Delete("ü"))
	e.must(p.Rename("a/b.c", "d"))
	is("INBOX", "a/b.c", "ü") // neither deleting nor renaming touches subscriptions
	e.kind(p.Subscribe("../x", true), errkind.Invalid)
	p.stop()
	p = e.start()
	is("INBOX", "a/b.c", "ü")
	for _, n := range []mailstore.Name{"INBOX", "a/b.c", "ü"} {
		e.must(p.Subscribe(n, false))
	}
	is()
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
		e.clock.jump(-24 * time.Hour)
		p = e.start()
		last--
		step("restart")
	}
}
