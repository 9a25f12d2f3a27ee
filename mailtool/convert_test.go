package mailtool

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/ipc/toolmsg"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/guarded"
	"rookery/internal/mailstore/ownnotes"
	"rookery/internal/mailstore/ownseen"
	"rookery/internal/numset"
	"rookery/internal/vfs"
	"rookery/internal/worker"
)

// stir changes a store at random, as sessions do.
func stir(t *testing.T, s mailstore.Store, r *rand.Rand, steps int) {
	t.Helper()
	names := []string{"INBOX", "A", "A/B", "C"}
	for range steps {
		n := names[r.IntN(len(names))]
		box, err := s.Open(n)
		if err != nil {
			if _, err := s.Create(n, 0); err != nil {
				t.Fatal(err)
			}
			continue
		}
		snap := box.Snapshot()
		var some numset.Set
		for i := range snap.Len() {
			if r.IntN(3) == 0 {
				some.Add(snap.At(i).UID)
			}
		}
		switch k := r.IntN(20); {
		case k < 9:
			put(t, s, n, fmt.Sprintf("Subject: %d\r\n\r\n%s\r\n", r.IntN(1000), strings.Repeat("x", r.IntN(200))),
				mailstore.AppendMeta{Flags: mailstore.Flags(r.IntN(32)), Keywords: []string{"$a", "b"}[:r.IntN(3)], InternalDate: time.Unix(int64(1700000000+r.IntN(1000)), 0),
					SaveDate: time.Unix(int64(1710000000+r.IntN(1000)), 0), UIDL: []string{"", "uidl"}[r.IntN(2)], Order: uint32(r.IntN(3))})
		case k < 13:
			box.Store(mailstore.FlagChange{UIDs: some, Op: mailstore.FlagOp(r.IntN(3)), Flags: mailstore.Flags(r.IntN(32)), Keywords: []string{"c"}[:r.IntN(2)]})
		case k < 16:
			box.Expunge(some)
		case k < 18:
			s.Subscribe(n, r.IntN(2) == 0)
		case n != "INBOX":
			box.Close()
			if r.IntN(2) == 0 {
				s.Delete(n)
			} else {
				s.Rename(n, fmt.Sprintf("R%d", r.IntN(100)))
			}
			continue
		}
		box.Close()
	}
}

// differs names the first line that is not the same.
func differs(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range a {
		if i >= len(b) || a[i] != b[i] {
			return fmt.Sprintf("line %d of %d is %.150q, want %.150q", i, len(a), a[i], b[min(i, len(b)-1)])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(a), len(b))
}

// A conversion carries everything over, whatever happened to the source
// meanwhile, and switches.
func TestConvert(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 1))
		h := newHome(t)
		source := h.current(t)
		stir(t, source, r, 80)
		c := dial(t, h)
		c.must(toolmsg.Convert, []string{"new"}, "phase=copy")
		stir(t, source, r, 60)
		c.must(toolmsg.Convert, []string{"new"}, "phase=copy")
		stir(t, source, r, 20)
		want := dump(t, source)
		lines := c.must(toolmsg.Convert, []string{"new"}, "phase=finish")
		if last := lines[len(lines)-1]; last["step"] != "switched" || last["to"] != "new" || last["below"] != "rookery-store-1" {
			t.Errorf("%v", lines)
		}
		if p, err := h.Place(); err != nil || p != (worker.Place{Driver: "new", Below: "rookery-store-1"}) {
			t.Fatalf("seed %d: %v %v", seed, p, err)
		}
		if got := dump(t, h.current(t)); got != want {
			t.Fatalf("seed %d: %s", seed, differs(got, want))
		}
		c.refused(73, "--discard-old", toolmsg.Convert, []string{"third"}, "phase=copy")
		c.must(toolmsg.Convert, nil, "phase=discard")
		if got := dump(t, source); strings.Contains(got, "Subject") {
			t.Errorf("the old mail is there:\n%s", got)
		}
		if got := dump(t, h.current(t)); got != want {
			t.Errorf("discarding changed the mail:\n%s", got)
		}
		// And back, into a third place; then the second one can go as a directory.
		c.must(toolmsg.Convert, []string{"old"}, "phase=copy")
		c.must(toolmsg.Convert, []string{"old"}, "phase=finish")
		c.must(toolmsg.Convert, nil, "phase=discard")
		if _, err := h.fs.Stat("m/rookery-store-1"); err == nil {
			t.Error("the directory of the discarded store is there")
		}
		if got := dump(t, h.current(t)); got != want {
			t.Fatalf("seed %d, back: %s", seed, differs(got, want))
		}
		c.hang()
	}
}

// A process that dies after any number of changes leaves the user's mail as it
// was, and the next one goes on.
func TestConvertKilled(t *testing.T) {
	for seed := range uint64(6) {
		for k := 0; ; k++ {
			r := rand.New(rand.NewPCG(seed, 2))
			h := newHome(t)
			source := h.current(t)
			stir(t, source, r, 60)
			h.left = k
			c := dial(t, h)
			_, done := c.do(toolmsg.Convert, []string{"new"}, "phase=copy")
			if done.Exit == 0 {
				_, done = c.do(toolmsg.Convert, []string{"new"}, "phase=finish")
			}
			c.hang()
			over := done.Exit == 0
			if p, err := h.Place(); err != nil || !over && p.Below != "" {
				t.Fatalf("seed %d, cut after %d: %v %v", seed, k, p, err)
			}
			if !over {
				stir(t, source, r, 10)
				h.left = -1
				c = dial(t, h)
				c.must(toolmsg.Convert, []string{"new"}, "phase=copy")
				c.must(toolmsg.Convert, []string{"new"}, "phase=finish")
				c.hang()
			}
			if got, want := dump(t, h.current(t)), dump(t, source); got != want || h.current(t) == source {
				t.Fatalf("seed %d, cut after %d: %s", seed, k, differs(got, want))
			}
			if over {
				break
			}
		}
	}
}

// What was delivered to the old place between the last look and the switch
// comes over too.
func TestConvertLate(t *testing.T) {
	h := newHome(t)
	source := h.current(t)
	put(t, source, "INBOX", "Subject: early\r\n\r\n", mailstore.AppendMeta{})
	c := dial(t, h)
	c.must(toolmsg.Convert, []string{"new"}, "phase=copy")
	h.mu.Lock()
	h.atSwitch = func() { put(t, source, "INBOX", "Subject: late\r\n\r\n", mailstore.AppendMeta{}) }
	h.mu.Unlock()
	lines := c.must(toolmsg.Convert, []string{"new"}, "phase=finish")
	if fmt.Sprintf("%v %v", lines[1]["step"], lines[1]["messages"]) != "late 1" {
		t.Errorf("%v", lines)
	}
	if got := dump(t, h.current(t)); !strings.Contains(got, "Subject: late") {
		t.Error(got)
	}
}

func TestConvertRefuses(t *testing.T) {
	h := newHome(t)
	put(t, h.current(t), "INBOX", "Subject: x\r\n\r\n", mailstore.AppendMeta{})
	c := dial(t, h)
	c.refused(64, "which format", toolmsg.Convert, nil, "phase=copy")
	c.refused(64, "kept as old already", toolmsg.Convert, []string{"old"}, "phase=copy")
	c.refused(66, "no old mail", toolmsg.Convert, nil, "phase=discard")
	c.refused(66, "no unfinished", toolmsg.Convert, nil, "phase=abandon")
	c.refused(70, "cannot take over UIDs", toolmsg.Convert, []string{"simple"}, "phase=copy")
	if _, err := h.fs.Stat("m/" + convertFile); err == nil {
		t.Error("a conversion that could not begin has left its file")
	}
	c.must(toolmsg.Convert, []string{"new"}, "phase=copy")
	second := dial(t, h)
	second.refused(75, "another conversion", toolmsg.Convert, []string{"new"}, "phase=copy")
	second.hang()
	c.refused(64, "conversion to new is not finished", toolmsg.Convert, []string{"other"}, "phase=copy")
	c.must(toolmsg.Convert, nil, "phase=abandon")
	if _, err := h.fs.Stat("m/rookery-store-1"); err == nil {
		t.Error("the abandoned copy is there")
	}
	if lines := c.must(toolmsg.Convert, nil, "phase=plan"); lines[0]["messages"] != 1.0 || lines[0]["driver"] != "old" {
		t.Errorf("%v", lines)
	}
}

// A copy that differs in anything is not switched to.
func TestConvertChecks(t *testing.T) {
	to := worker.Place{Driver: "new", Below: "rookery-store-1"}
	for name, spoil := range map[string]func(t *testing.T, h *fakeHome){
		"a message more": func(t *testing.T, h *fakeHome) {
			put(t, h.at(to), "INBOX", "Subject: y\r\n\r\n", mailstore.AppendMeta{})
		},
		"a mailbox more": func(t *testing.T, h *fakeHome) { h.at(to).Create("Other", 0) },
		"UIDVALIDITY":    func(t *testing.T, h *fakeHome) { h.at(to).Renew("INBOX") },
		"flags": func(t *testing.T, h *fakeHome) {
			box, _ := h.at(to).Open("INBOX")
			box.Store(mailstore.FlagChange{UIDs: numset.Of(1), Op: mailstore.AddFlags, Flags: mailstore.Seen})
			box.Close()
		},
	} {
		h := newHome(t)
		source := h.current(t)
		put(t, source, "INBOX", "Subject: x\r\n\r\n", mailstore.AppendMeta{})
		c := dial(t, h)
		c.must(toolmsg.Convert, []string{"new"}, "phase=copy")
		spoil(t, h)
		// finish brings everything up to date first: each of these is put right.
		c.must(toolmsg.Convert, []string{"new"}, "phase=finish")
		if got, want := dump(t, h.current(t)), dump(t, source); got != want {
			t.Errorf("%s: %s", name, differs(got, want))
		}
	}
	// The comparison itself.
	h := newHome(t)
	a, b := h.at(worker.Place{Driver: "a"}), h.at(worker.Place{Driver: "b"})
	s := &service{now: time.Now, store: a}
	r := &replica{call: &call{service: s, ctx: t.Context(), told: time.Now().Add(time.Hour)}, from: a, to: b}
	id := mailstore.Identity{UIDValidity: 9, UIDNext: 1, HighestModSeq: 1}
	date := time.Unix(1700000000, 0)
	metas := map[string]mailstore.AppendMeta{"same": {}, "date": {InternalDate: date.Add(time.Hour)}, "save date": {SaveDate: date}, "GUID": {GUID: mailstore.GUID{9}}, "UIDL": {UIDL: "u"},
		"order": {Order: 3}, "flags": {Flags: mailstore.Seen}, "keywords": {Keywords: []string{"k"}}, "UID": {UID: 7}}
	for name, meta := range metas {
		for _, st := range []*struct {
			s    mailstore.Store
			meta mailstore.AppendMeta
		}{{a, mailstore.AppendMeta{}}, {b, meta}} {
			r2 := &replica{to: st.s}
			if err := r2.wipe("INBOX"); err != nil {
				t.Fatal(err)
			}
			if err := st.s.(mailstore.Restorer).Restore("INBOX", id); err != nil {
				t.Fatal(err)
			}
			if st.meta.InternalDate.IsZero() {
				st.meta.InternalDate = date
			}
			if st.meta.GUID == (mailstore.GUID{}) {
				st.meta.GUID = mailstore.GUID{1}
			}
			put(t, st.s, "INBOX", "Subject: x\r\n\r\n", st.meta)
		}
		_, _, err := r.check()
		if (err == nil) != (name == "same") {
			t.Errorf("%s: %v", name, err)
		}
	}
	box, _ := b.Open("INBOX")
	box.Expunge(uidsOf(box.Snapshot()))
	box.Close()
	b.Restore("INBOX", id)
	put(t, b, "INBOX", "Subject: z\r\n\r\n", mailstore.AppendMeta{UID: 1, GUID: mailstore.GUID{1}, InternalDate: date})
	p, err := openPair(a, b, "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if err := new(replica).sameOctets(p, 1); err == nil {
		t.Error("another text was taken for the same")
	}
}

func TestConversionFile(t *testing.T) {
	for _, v := range []conversion{{worker.Place{Driver: "maildir"}, worker.Place{Driver: "pack", Below: "rookery-store-1"}, stateCopying},
		{worker.Place{Driver: "pack", Below: "rookery-store-1"}, worker.Place{Driver: "mbox", Below: "rookery-store-2"}, stateSwitched}} {
		if got, err := decodeConversion(v.encode()); err != nil || got != v {
			t.Errorf("%+v %v", got, err)
		}
	}
	for _, bad := range []string{"", "rookery-convert 1\nfrom a -\nto b -\nstate copying\n", "rookery-convert 1\nfrom a rookery-store-1\nto b rookery-store-1\nstate copying\n",
		"rookery-convert 1\nfrom a -\nto b ../x\nstate copying\n", "rookery-convert 1\nfrom a -\nto b rookery-store-1\nstate done\n", "rookery-convert 1\nfrom  -\nto b rookery-store-1\nstate copying\n"} {
		if got, err := decodeConversion([]byte(bad)); !errkind.Is(err, errkind.Corrupt) {
			t.Errorf("%q was read as %+v, %v", bad, got, err)
		}
	}
}

func FuzzDecodeConversion(f *testing.F) {
	f.Add(conversion{worker.Place{Driver: "a"}, worker.Place{Driver: "b", Below: "rookery-store-1"}, stateCopying}.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		if v, err := decodeConversion(data); err == nil && string(v.encode()) != string(data) {
			t.Errorf("%q was read as %+v", data, v)
		}
	})
}

// Only a conversion's own directories are ever removed.
func TestRemoveTree(t *testing.T) {
	h := newHome(t)
	vfs.MkdirAll(h.fs, "m/cur", 0o700)
	c := controls{h.fs, []string{"m"}}
	for _, name := range []string{"cur", "..", "", "rookery-store-", "rookery-store-1/../cur"} {
		if err := c.remove(name); err == nil {
			t.Errorf("%q was removed", name)
		}
	}
	if _, err := h.fs.Stat("m/cur"); err != nil {
		t.Error(err)
	}
}

// What is held for undelete can still be put back after a conversion, and what clients
// noted of mailboxes is there.
func TestConvertCarries(t *testing.T) {
	h := newHome(t)
	c := dial(t, h)
	for _, name := range []string{"rookery-held", "rookery-metadata"} {
		if err := (controls{h.fs, []string{"m"}}).replace(name, []byte("of "+name)); err != nil {
			t.Fatal(err)
		}
	}
	c.must(toolmsg.Convert, []string{"new"}, "phase=copy")
	c.must(toolmsg.Convert, []string{"new"}, "phase=finish")
	for _, name := range []string{"rookery-held", "rookery-metadata"} {
		if data, err := vfs.ReadFile(h.fs, "m/rookery-store-1/"+name, 1<<10); string(data) != "of "+name {
			t.Errorf("%q %v", data, err)
		}
	}
}

// What guests have seen of the user's mailboxes, and what he noted of others', is found
// after a conversion and after the old mail went: by the same GUIDs and UIDVALIDITYs, in
// the same place.
func TestConvertKeepsOwn(t *testing.T) {
	h := newHome(t)
	source := h.current(t)
	for range 3 {
		put(t, source, "INBOX", "Subject: old\r\n\r\n", mailstore.AppendMeta{})
	}
	control, err := h.fs.Sub("m")
	if err != nil {
		t.Fatal(err)
	}
	was, err := source.Status("INBOX", mailstore.StatusWant{})
	if err != nil {
		t.Fatal(err)
	}
	seen := guarded.Own{}.Changed(numset.Of(1, 3), numset.Set{}, was.HighestModSeq)
	if err := ownseen.New(control, "", "bob").Change(was.GUID, was.UIDValidity, func(guarded.Own) guarded.Own { return seen }); err != nil {
		t.Fatal(err)
	}
	if err := ownnotes.New(control, "", mailstore.AnnotationLimits{}).Change("carol", mailstore.GUID{9}, []mailstore.Annotation{{Entry: "/private/comment", Value: []byte("his")}}); err != nil {
		t.Fatal(err)
	}
	check := func(what string) {
		t.Helper()
		st, err := h.current(t).Status("INBOX", mailstore.StatusWant{})
		if err != nil {
			t.Fatal(err)
		}
		own, err := ownseen.New(control, "", "bob").Own(st.GUID, st.UIDValidity)
		if err != nil || !own.Seen.Equal(seen.Seen) || len(own.Marks) != 1 {
			t.Errorf("%s: bob has seen %v, %v", what, own, err)
		}
		notes, err := ownnotes.New(control, "", mailstore.AnnotationLimits{}).Own("carol", mailstore.GUID{9})
		if err != nil || len(notes) != 1 {
			t.Errorf("%s: %v is noted, %v", what, notes, err)
		}
	}
	c := dial(t, h)
	for _, driver := range []string{"new", "third"} {
		c.must(toolmsg.Convert, []string{driver}, "phase=copy")
		c.must(toolmsg.Convert, []string{driver}, "phase=finish")
		check(driver)
		c.must(toolmsg.Convert, nil, "phase=discard")
		check("without the old mail")
	}
}

// What was seen by a session is not recent again.
func TestConvertRecent(t *testing.T) {
	h := newHome(t)
	source := h.current(t)
	c := dial(t, h)
	recent := func(s mailstore.Store) uint32 {
		st, err := s.Status("INBOX", mailstore.StatusWant{})
		if err != nil {
			t.Fatal(err)
		}
		return st.Recent
	}
	for range 3 {
		put(t, source, "INBOX", "Subject: old\r\n\r\n", mailstore.AppendMeta{})
	}
	box, _ := source.Open("INBOX")
	defer box.Close()
	box.ClaimRecent(false)
	put(t, source, "INBOX", "Subject: new\r\n\r\n", mailstore.AppendMeta{})
	c.must(toolmsg.Convert, []string{"new"}, "phase=copy")
	if n := recent(h.at(worker.Place{Driver: "new", Below: "rookery-store-1"})); n != 1 {
		t.Errorf("%d messages are recent", n)
	}
	box.ClaimRecent(false)
	c.must(toolmsg.Convert, []string{"new"}, "phase=finish")
	if n := recent(h.current(t)); n != 0 {
		t.Errorf("%d messages are recent", n)
	}
}

// A format that cannot have the hidden mailboxes of expunged messages takes all
// else, and it is told.
func TestConvertLeavesHeld(t *testing.T) {
	h := newHome(t)
	source := h.current(t)
	if _, err := source.Create("rookery-held/0123", 0); err != nil {
		t.Fatal(err)
	}
	put(t, source, "rookery-held/0123", "Subject: expunged\r\n\r\n", mailstore.AppendMeta{})
	put(t, source, "INBOX", "Subject: x\r\n\r\n", mailstore.AppendMeta{})
	c := dial(t, h)
	c.must(toolmsg.Convert, []string{"new"}, "phase=copy")
	lines := c.must(toolmsg.Convert, []string{"new"}, "phase=finish")
	if last := lines[len(lines)-1]; last["messages"] != 1.0 || !strings.Contains(fmt.Sprint(last["note"]), "of 1 mailboxes") {
		t.Errorf("%v", last)
	}
}
