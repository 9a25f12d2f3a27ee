package storetest

import (
	"fmt"
	"slices"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
)

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
