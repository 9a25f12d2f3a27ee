package storetest

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

func testEmpty(e *env) {
	p := e.start()
	ns := p.Namespaces()
	if len(ns) == 0 || ns[0].Kind != mailstore.Private {
		e.Fatal("no private namespace")
	}
	e.listIs(p, "INBOX:")
	mb := p.open("INBOX")
	s := e.see(mb, "")
	info := mb.Info()
	if info.Name != "INBOX" || info.UIDValidity == 0 || info.GUID == (mailstore.GUID{}) || info.ReadOnly ||
		info.PermanentFlags != mailstore.AllFlags || !info.NewKeywords {
		e.Fatalf("%+v", info)
	}
	if s.UIDNext() != 1 || s.HighestModSeq() == 0 {
		e.Fatal(s.UIDNext(), s.HighestModSeq())
	}
	e.must(mb.Close())
	p.stop()
}

func testAppend(e *env) {
	p := e.start()
	r, err := tryAppend(p, "INBOX", mailstore.AppendMeta{Flags: mailstore.Seen | mailstore.Flagged}, text("a"))
	e.must(err)
	mb := p.open("INBOX")
	if len(r.UIDs) != 1 || r.UIDs[0] != 1 || r.UIDValidity != mb.Info().UIDValidity {
		e.Fatalf("%+v", r)
	}
	s := e.see(mb, "1:fs")
	if s.UIDNext() != 2 {
		e.Fatal(s.UIDNext())
	}
	before := s.HighestModSeq()
	p.add("INBOX", mailstore.AppendMeta{}, "b")
	s = e.see(mb, "1:fs 2:")
	if s.HighestModSeq() <= before || s.At(1).ModSeq != s.HighestModSeq() || s.At(0).ModSeq > before {
		e.Fatal("MODSEQ of an append")
	}
	if b, err := body(mb, 2); err != nil || b != text("b") {
		e.Fatalf("%v %q", err, b)
	}
	_, err = tryAppend(p, "nowhere", mailstore.AppendMeta{}, text("a"))
	e.kind(err, errkind.NotFound)
}

func testAppendBad(e *env) {
	p := e.start()
	mb := p.open("INBOX")
	try := func(what string, f func(a mailstore.Appender) error, want errkind.Kind) {
		e.Helper()
		a, err := p.Append("INBOX")
		e.must(err)
		if err := f(a); !errkind.Is(err, want) {
			e.Fatalf("%s: %v", what, err)
		}
		a.Abort()
	}
	write := func(a mailstore.Appender, size int64, text string) error {
		w, err := a.Add(mailstore.AppendMeta{}, size)
		e.must(err)
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
		_, err = a.Commit()
		return err
	}
	try("empty", func(a mailstore.Appender) error { return write(a, 0, "") }, errkind.Invalid)
	try("too few", func(a mailstore.Appender) error { return write(a, 10, "abc\r\n") }, errkind.Invalid)
	try("too many", func(a mailstore.Appender) error { return write(a, 2, "abc\r\n") }, errkind.Invalid)
	try("second is bad", func(a mailstore.Appender) error {
		w, err := a.Add(mailstore.AppendMeta{}, -1)
		e.must(err)
		_, err = io.WriteString(w, text("good"))
		e.must(err)
		return write(a, 3, "")
	}, errkind.Invalid)
	a, err := p.Append("INBOX")
	e.must(err)
	w, err := a.Add(mailstore.AppendMeta{}, -1)
	e.must(err)
	_, err = io.WriteString(w, text("dropped"))
	e.must(err)
	a.Abort()
	a.Abort()
	if _, err := a.Commit(); err == nil {
		e.Fatal("commit after abort")
	}
	e.see(mb, "")
	if r := p.add("INBOX", mailstore.AppendMeta{}, "x"); r[0] != 1 {
		e.Fatal("aborted appends used UIDs:", r)
	}
}

func testAppendMany(e *env) {
	p := e.start()
	mb := p.open("INBOX")
	a, err := p.Append("INBOX")
	e.must(err)
	for i := range 5 {
		meta := mailstore.AppendMeta{}
		if i%2 == 0 {
			meta.Flags = mailstore.Draft
		}
		w, err := a.Add(meta, -1)
		e.must(err)
		for _, c := range []byte(text(fmt.Sprint(i))) { // in small pieces
			_, err := w.Write([]byte{c})
			e.must(err)
		}
	}
	e.see(mb, "")
	r, err := a.Commit()
	e.must(err)
	if !slices.Equal(r.UIDs, []mailstore.UID{1, 2, 3, 4, 5}) {
		e.Fatal(r.UIDs)
	}
	a.Abort() // nothing
	e.see(mb, "1:t 2: 3:t 4: 5:t")
	for i := range 5 {
		if b, err := body(mb, mailstore.UID(i+1)); err != nil || id(b) != fmt.Sprint(i) {
			e.Fatalf("%d: %v %q", i, err, b)
		}
	}
	a, err = p.Append("INBOX")
	e.must(err)
	if r, err := a.Commit(); err != nil || len(r.UIDs) != 0 {
		e.Fatal("an append of nothing:", r, err)
	}
}

func testAppendTogether(e *env) {
	p := e.start()
	mb := p.open("INBOX")
	var wg sync.WaitGroup
	got := make([][]mailstore.UID, 8)
	errs := make([]error, 8)
	for g := range 8 {
		wg.Go(func() {
			for i := range 5 {
				r, err := tryAppend(p, "INBOX", mailstore.AppendMeta{}, text(fmt.Sprintf("%d.%d", g, i)))
				if err != nil {
					errs[g] = err
					return
				}
				got[g] = append(got[g], r.UIDs...)
			}
		})
	}
	wg.Wait()
	s, err := mb.Sync()
	e.must(err)
	if s.Len() != 40 || s.UIDNext() != 41 {
		e.Fatal(show(s), errs)
	}
	for g := range got {
		for i, u := range got[g] {
			if b, err := body(mb, u); err != nil || id(b) != fmt.Sprintf("%d.%d", g, i) {
				e.Fatalf("UID %d: %v %q", u, err, b)
			}
		}
	}
}

func testBody(e *env) {
	p := e.start()
	mb := p.open("INBOX")
	long := text("long") + strings.Repeat("A line of some length, again and again.\r\n", 20000)
	cases := []struct{ in, out string }{
		{text("crlf"), text("crlf")},
		{"no end", "no end"},
		{"nul \x00 and 8 bit \xff\r\n", "nul \x00 and 8 bit \xff\r\n"},
		{"bare\nLF\n", "bare\r\nLF\r\n"}, // the CRLF form of what was kept
		{"lone \r CR\r\n", "lone \r CR\r\n"},
		{"\r\n", "\r\n"},
		{long, long},
	}
	for i, c := range cases {
		r, err := tryAppend(p, "INBOX", mailstore.AppendMeta{}, c.in)
		e.must(err)
		got, err := body(mb, r.UIDs[0])
		if err != nil || got != c.out {
			e.Fatalf("case %d: %v, %d octets, want %d", i, err, len(got), len(c.out))
		}
		f, err := mb.Facts(r.UIDs[0], mailstore.FactsWant{Size: true})
		if err != nil || f.Size != int64(len(c.out)) {
			e.Fatalf("case %d: %v, size %d, want %d", i, err, f.Size, len(c.out))
		}
	}
	m, err := mb.Message(7)
	e.must(err)
	defer m.Close()
	part := make([]byte, 50)
	if n, err := m.ReadAt(part, 30000); n != 50 || err != nil || string(part) != long[30000:30050] {
		e.Fatal(n, err)
	}
	if n, err := m.ReadAt(part, m.Size()-10); n != 10 || err != io.EOF {
		e.Fatal(n, err)
	}
	if n, err := m.ReadAt(part, m.Size()+10); n != 0 || err != io.EOF {
		e.Fatal(n, err)
	}
	_, err = mb.Message(99)
	e.kind(err, errkind.Expunged)
	_, err = mb.Facts(99, mailstore.FactsWant{})
	e.kind(err, errkind.Expunged)
}

func testDates(e *env) {
	p := e.start()
	mb := p.open("INBOX")
	when := time.Date(1996, 7, 17, 2, 44, 25, 0, time.FixedZone("", -7*3600))
	u := p.add("INBOX", mailstore.AppendMeta{InternalDate: when}, "old")[0]
	now := e.clock.Now()
	v := p.add("INBOX", mailstore.AppendMeta{}, "new")[0]
	want := mailstore.FactsWant{InternalDate: true, SaveDate: true}
	f, err := mb.Facts(u, want)
	e.must(err)
	if !f.InternalDate.Equal(when) || f.SaveDate.Before(now.Add(-time.Minute)) {
		e.Fatalf("%+v", f)
	}
	g, err := mb.Facts(v, want)
	e.must(err)
	if d := g.InternalDate.Sub(now); d < -time.Second || d > time.Minute {
		e.Fatalf("%v, now is %v", g.InternalDate, now)
	}
	e.clock.Jump(time.Hour)
	r, err := mb.Copy(uids(u), "INBOX")
	e.must(err)
	h, err := mb.Facts(r.To[0], want)
	e.must(err)
	if !h.InternalDate.Equal(when) || !h.SaveDate.After(f.SaveDate.Add(59*time.Minute)) {
		e.Fatalf("copy: %+v", h)
	}
	store(e, mb, uids(u), mailstore.AddFlags, mailstore.Seen)
	if again, err := mb.Facts(u, want); err != nil || again.InternalDate != f.InternalDate || !again.SaveDate.Equal(f.SaveDate) {
		e.Fatalf("a flag change moved the dates: %+v, %+v", f, again)
	}
}

func testGUIDs(e *env) {
	p := e.start()
	mb := p.open("INBOX")
	given := mailstore.GUID{1, 2, 3, 15: 255}
	a := p.add("INBOX", mailstore.AppendMeta{GUID: given}, "a")[0]
	b := p.add("INBOX", mailstore.AppendMeta{}, "b")[0]
	guid := func(mb mailstore.Mailbox, u mailstore.UID) mailstore.GUID {
		e.Helper()
		f, err := mb.Facts(u, mailstore.FactsWant{GUID: true})
		e.must(err)
		return f.GUID
	}
	gb := guid(mb, b)
	if guid(mb, a) != given || gb == given || gb == (mailstore.GUID{}) {
		e.Fatal("GUIDs", guid(mb, a), gb)
	}
	store(e, mb, uids(b), mailstore.AddFlags, mailstore.Seen)
	r, err := mb.Copy(uids(a, b), "INBOX")
	e.must(err)
	if guid(mb, r.To[0]) != given || guid(mb, r.To[1]) != gb {
		e.Fatal("a copy has another GUID")
	}
	mbox := mb.Info().GUID
	p.stop()
	p = e.start()
	mb = p.open("INBOX")
	if guid(mb, a) != given || guid(mb, b) != gb || mb.Info().GUID != mbox {
		e.Fatal("GUIDs changed by a restart")
	}
	_, err = p.Create("other", 0)
	e.must(err)
	if p.open("other").Info().GUID == mbox {
		e.Fatal("two mailboxes have one GUID")
	}
}

func testFlags(e *env) {
	p := e.start()
	mb := p.open("INBOX")
	p.add("INBOX", mailstore.AppendMeta{}, "a", "b", "c")
	s0 := e.see(mb, "1: 2: 3:")
	r := store(e, mb, uids(1, 3, 99), mailstore.AddFlags, mailstore.Seen|mailstore.Draft)
	sameSet(e, "changed", r.Changed, 1, 3)
	s1 := e.see(mb, "1:st 2: 3:st")
	if s1.HighestModSeq() <= s0.HighestModSeq() || s1.At(0).ModSeq <= s0.HighestModSeq() || s1.At(1).ModSeq != s0.At(1).ModSeq {
		e.Fatal("MODSEQ of a store")
	}
	sameSet(e, "again", store(e, mb, uids(1), mailstore.AddFlags, mailstore.Seen).Changed)
	sameSet(e, "set", store(e, mb, uids(1, 2), mailstore.SetFlags, mailstore.Answered|mailstore.Deleted|mailstore.Flagged).Changed, 1, 2)
	e.see(mb, "1:afd 2:afd 3:st")
	store(e, mb, uids(1), mailstore.RemoveFlags, mailstore.Flagged|mailstore.Seen)
	store(e, mb, uids(2), mailstore.SetFlags, 0)
	e.see(mb, "1:ad 2: 3:st")
	if show(s0) != "1: 2: 3:" || show(s1) != "1:st 2: 3:st" {
		e.Fatal("a store changed an older snapshot")
	}
	if got := show(mb.Snapshot()); got != "1:ad 2: 3:st" {
		e.Fatal(got)
	}
}

func testFlagsMerge(e *env) {
	a, b := e.start(), e.start()
	ma, mb := a.open("INBOX"), b.open("INBOX")
	a.add("INBOX", mailstore.AppendMeta{}, "x")
	e.seeSoon(mb, "1:")
	store(e, ma, uids(1), mailstore.AddFlags, mailstore.Seen, "red")
	store(e, mb, uids(1), mailstore.AddFlags, mailstore.Flagged, "blue") // has not seen the other
	e.seeSoon(ma, "1:fs[blue red]")
	e.seeSoon(mb, "1:fs[blue red]")
	store(e, ma, uids(1), mailstore.RemoveFlags, mailstore.Flagged)
	store(e, mb, uids(1), mailstore.RemoveFlags, mailstore.Seen)
	e.seeSoon(ma, "1:[blue red]")
	e.seeSoon(mb, "1:[blue red]")
}

func testKeywords(e *env) {
	p := e.start()
	mb := p.open("INBOX")
	p.add("INBOX", mailstore.AppendMeta{Keywords: []string{"$Junk", "Work"}}, "a")
	p.add("INBOX", mailstore.AppendMeta{}, "b")
	e.see(mb, "1:[$Junk Work] 2:")
	store(e, mb, uids(2), mailstore.AddFlags, mailstore.Seen, "work", "$Forwarded")
	e.see(mb, "1:[$Junk Work] 2:s[$Forwarded Work]")
	store(e, mb, uids(1), mailstore.SetFlags, 0, "$MDNSent")
	store(e, mb, uids(2), mailstore.RemoveFlags, 0, "WORK", "unknown")
	e.see(mb, "1:[$MDNSent] 2:s[$Forwarded]")
	names := mb.Keywords()
	for _, k := range []string{"$Junk", "Work", "$Forwarded", "$MDNSent"} {
		if !slices.Contains(names, k) {
			e.Fatalf("Keywords has no %s: %q", k, names)
		}
	}
	if slices.Contains(names, "unknown") {
		e.Fatal("removing made a keyword")
	}
	_, err := p.Create("other", 0)
	e.must(err)
	p.add("other", mailstore.AppendMeta{Keywords: []string{"first", "second"}}, "x")
	_, err = mb.Copy(uids(1, 2), "other") // letters differ there
	e.must(err)
	e.see(p.open("other"), "1:[first second] 2:[$MDNSent] 3:s[$Forwarded]")
	p.stop()
	e.see(e.start().open("INBOX"), "1:[$MDNSent] 2:s[$Forwarded]")
}

func testManyKeywords(e *env) {
	p, q := e.start(), e.start()
	mb, mq := p.open("INBOX"), q.open("INBOX")
	p.add("INBOX", mailstore.AppendMeta{}, "a", "b", "c")
	var all []string
	for i := range 60 {
		all = append(all, fmt.Sprintf("key%02d", i))
	}
	for i := range 3 {
		store(e, mb, uids(1), mailstore.AddFlags, 0, all[20*i:20*i+20]...)
	}
	one := "1:[" + strings.Join(all, " ") + "]"
	e.see(mb, one+" 2: 3:")
	e.seeSoon(mq, one+" 2: 3:")
	store(e, mq, uids(2), mailstore.SetFlags, mailstore.Seen, "key59", "key00", "other")
	e.seeSoon(mb, one+" 2:s[key00 key59 other] 3:")
	store(e, mb, uids(2), mailstore.RemoveFlags, 0, "key59")
	store(e, mq, uids(2), mailstore.AddFlags, 0, "key58") // merged with the removal
	e.seeSoon(mb, one+" 2:s[key00 key58 other] 3:")
	r, err := mb.Copy(uids(1, 2), "INBOX")
	e.must(err)
	p.add("INBOX", mailstore.AppendMeta{Keywords: []string{"key45", "last"}}, "d")
	want := one + " 2:s[key00 key58 other] 3: 4:[" + strings.Join(all, " ") + "] 5:s[key00 key58 other] 6:[key45 last]"
	e.see(mb, want)
	if len(r.To) != 2 {
		e.Fatal(r)
	}
	_, err = mb.Expunge(uids(1))
	e.must(err)
	p.stop()
	q.stop()
	e.see(e.start().open("INBOX"), strings.TrimPrefix(want, one+" "))
}

func testKeywordLimits(e *env) {
	p := e.start()
	mb := p.open("INBOX")
	p.add("INBOX", mailstore.AppendMeta{}, "a")
	bad := func(keywords ...string) {
		e.Helper()
		_, err := mb.Store(mailstore.FlagChange{UIDs: uids(1), Op: mailstore.AddFlags, Keywords: keywords})
		e.kind(err, errkind.Limit)
		_, err = tryAppend(p, "INBOX", mailstore.AppendMeta{Keywords: keywords}, text("x"))
		e.kind(err, errkind.Limit)
	}
	bad(strings.Repeat("x", 5000))
	bad("a b")
	bad("a\nb")
	var many []string
	for i := range 20000 {
		many = append(many, fmt.Sprint("k", i))
	}
	bad(many...)
	// One mailbox holds so many names and no more, however they come.
	made := 0
	for ; made < 20000; made += 50 {
		_, err := mb.Store(mailstore.FlagChange{UIDs: uids(1), Op: mailstore.SetFlags, Keywords: many[made : made+50]})
		if err != nil {
			e.kind(err, errkind.Limit)
			break
		}
	}
	if made < 64 || made >= 20000 {
		e.Fatalf("%d keywords could be made", made)
	}
	store(e, mb, uids(1), mailstore.SetFlags, mailstore.Seen, "k0")
	e.see(mb, "1:s[k0]")
}

func testUnchanged(e *env) {
	p := e.start()
	mb := p.open("INBOX")
	p.add("INBOX", mailstore.AppendMeta{}, "a", "b", "c")
	s := e.see(mb, "1: 2: 3:")
	store(e, mb, uids(2), mailstore.AddFlags, mailstore.Seen)
	since := s.HighestModSeq()
	r, err := mb.Store(mailstore.FlagChange{UIDs: uids(1, 2, 3), Op: mailstore.AddFlags, Flags: mailstore.Deleted, UnchangedSince: &since})
	e.must(err)
	sameSet(e, "changed", r.Changed, 1, 3)
	sameSet(e, "modified", r.Modified, 2)
	e.see(mb, "1:d 2:s 3:d")
	zero := mailstore.ModSeq(0)
	r, err = mb.Store(mailstore.FlagChange{UIDs: uids(1), Op: mailstore.AddFlags, Flags: mailstore.Seen, UnchangedSince: &zero})
	e.must(err)
	sameSet(e, "modified", r.Modified, 1)
}

func testExpunge(e *env) {
	p := e.start()
	mb := p.open("INBOX")
	p.add("INBOX", mailstore.AppendMeta{}, "a", "b", "c", "d")
	s := e.see(mb, "1: 2: 3: 4:")
	got, err := mb.Expunge(uids(2, 4, 77))
	e.must(err)
	sameSet(e, "expunged", got, 2, 4)
	s2 := e.see(mb, "1: 3:")
	if s2.UIDNext() != 5 || s2.HighestModSeq() <= s.HighestModSeq() || show(s) != "1: 2: 3: 4:" {
		e.Fatal(s2.UIDNext(), show(s))
	}
	_, err = mb.Message(2)
	e.kind(err, errkind.Expunged)
	if b, err := body(mb, 3); err != nil || b != text("c") {
		e.Fatal(err, b)
	}
	got, err = mb.Expunge(uids(2))
	e.must(err)
	sameSet(e, "expunged again", got)
	_, err = mb.Expunge(numset.Span(1, 1<<32-1))
	e.must(err)
	if s := e.see(mb, ""); s.UIDNext() != 5 {
		e.Fatal(s.UIDNext())
	}
	if u := p.add("INBOX", mailstore.AppendMeta{}, "e"); u[0] != 5 {
		e.Fatal("a UID came twice:", u)
	}
}

func testExpungedSince(e *env) {
	p := e.start()
	mb := p.open("INBOX")
	p.add("INBOX", mailstore.AppendMeta{}, "a", "b", "c", "d")
	m0 := e.see(mb, "1: 2: 3: 4:").HighestModSeq()
	_, err := mb.Expunge(uids(2))
	e.must(err)
	m1 := mb.Snapshot().HighestModSeq()
	_, err = mb.Expunge(uids(3, 4))
	e.must(err)
	for _, c := range []struct {
		m    mailstore.ModSeq
		want []mailstore.UID
	}{{m0, []mailstore.UID{2, 3, 4}}, {m1, []mailstore.UID{3, 4}}, {mb.Snapshot().HighestModSeq(), nil}} {
		got, complete, err := mb.ExpungedSince(c.m)
		if e.must(err); !complete {
			e.Fatal("history is too short")
		}
		sameSet(e, "since", got, c.want...)
	}
	if _, complete, err := mb.ExpungedSince(1); err != nil || complete {
		e.Fatal("says to know what was before it", err)
	}
}

func testOpenAfterExpunge(e *env) {
	p, q := e.start(), e.start()
	mb := p.open("INBOX")
	p.add("INBOX", mailstore.AppendMeta{}, "a")
	m, err := mb.Message(1)
	e.must(err)
	_, err = q.open("INBOX").Expunge(uids(1))
	e.must(err)
	b, err := io.ReadAll(io.NewSectionReader(m, 0, m.Size()))
	if err != nil || string(b) != text("a") {
		e.Fatal("an open message went with its expunge:", err)
	}
	e.must(m.Close())
	_, err = mb.Message(1)
	e.kind(err, errkind.Expunged)
	e.see(mb, "")
}
