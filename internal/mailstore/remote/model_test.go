package remote

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/mailstore/pack"
	"rookery/internal/numset"
	"rookery/internal/vfs/memfs"
)

// model is some guests who work on one store beside its owner.
type model struct {
	*testing.T
	rnd    *rand.Rand
	store  mailstore.Store
	own    mailstore.Sharer
	guests []*served
	views  []*viewed
	n      int
}

// viewed is a mailbox that a guest has open, and one that is open beside it without a
// channel.
type viewed struct {
	far, near mailstore.Mailbox
	kept      []mailstore.Snapshot
	said      []string
}

// show writes a picture with everything that it tells.
func show(s mailstore.Snapshot) string {
	var out strings.Builder
	fmt.Fprintf(&out, "next %d high %d:", s.UIDNext(), s.HighestModSeq())
	for pos := range s.Len() {
		e := s.At(pos)
		fmt.Fprintf(&out, " %d/%d/%d%s", e.UID, e.Flags, e.ModSeq, s.Keywords(e.Keywords))
	}
	return out.String()
}

var boxNames = []mailstore.Name{"INBOX", "A", "A/B"}

func (m *model) one(names []mailstore.Name) mailstore.Name { return names[m.rnd.IntN(len(names))] }

// uids are some UIDs, of messages that are there or not.
func (m *model) uids(snap mailstore.Snapshot) (set numset.Set) {
	if m.rnd.IntN(10) == 0 {
		return numset.Span(1, 1<<32-1)
	}
	for range 1 + m.rnd.IntN(5) {
		first := uint32(1 + m.rnd.IntN(int(snap.UIDNext())))
		set.AddRange(first, first+uint32(m.rnd.IntN(4)))
	}
	return set
}

// act changes something, through a store and a mailbox of it.
func (m *model) act(s mailstore.Store, mb mailstore.Mailbox) error {
	snap := mb.Snapshot()
	words := [][]string{nil, {"a"}, {"b", "a"}, {fmt.Sprint("k", m.rnd.IntN(30))}}
	var err error
	switch m.rnd.IntN(9) {
	case 0, 1, 2:
		var a mailstore.Appender
		if a, err = s.Append(m.one(boxNames)); err != nil {
			return err
		}
		defer a.Abort()
		for range []int{1, 1, 3, 40}[m.rnd.IntN(4)] {
			m.n++
			text := fmt.Sprintf("Subject: %d\r\n\r\n%s", m.n, strings.Repeat("x", m.rnd.IntN(20)*m.rnd.IntN(20)))
			var w io.Writer
			if w, err = a.Add(mailstore.AppendMeta{Flags: mailstore.Flags(m.rnd.IntN(32)), Keywords: words[m.rnd.IntN(4)]}, -1); err == nil {
				_, err = io.WriteString(w, text)
			}
			if err != nil {
				return err
			}
		}
		_, err = a.Commit()
	case 3, 4, 5:
		c := mailstore.FlagChange{UIDs: m.uids(snap), Op: mailstore.FlagOp(m.rnd.IntN(3)), Flags: mailstore.Flags(m.rnd.IntN(32)), Keywords: words[m.rnd.IntN(4)]}
		if m.rnd.IntN(3) == 0 {
			high := snap.HighestModSeq() - mailstore.ModSeq(m.rnd.IntN(3))
			c.UnchangedSince = &high
		}
		var r mailstore.StoreResult
		r, err = mb.Store(c)
		if !r.Changed.Intersect(r.Modified).Empty() {
			m.Fatalf("%+v", r)
		}
	case 6:
		_, err = mb.Expunge(m.uids(snap))
	case 7:
		_, err = mb.Copy(m.uids(snap), m.one(boxNames))
	default:
		_, err = mb.Move(m.uids(snap), m.one(boxNames))
	}
	return err
}

// check compares a guest's mailbox with the one beside it.
func (m *model) check(v *viewed) {
	m.Helper()
	near, nerr := v.near.Sync()
	far, ferr := v.far.Sync()
	if errkind.Of(nerr) != errkind.Of(ferr) || (nerr == nil) != (ferr == nil) {
		m.Fatalf("sync: %v, want %v", ferr, nerr)
	}
	if nerr != nil {
		return
	}
	want := show(near)
	if got := show(far); got != want {
		m.Fatalf("the guest sees\n  %s\nwant\n  %s", got, want)
	}
	if got := show(v.far.Snapshot()); got != want {
		m.Fatalf("the guest's newest picture is\n  %s\nwant\n  %s", got, want)
	}
	i, j := v.far.Info(), v.near.Info()
	i.Namespace, j.Namespace = mailstore.Namespace{}, mailstore.Namespace{}
	if i != j || !slices.Equal(v.far.Keywords(), v.near.Keywords()) {
		m.Fatalf("%+v %q, want %+v %q", i, v.far.Keywords(), j, v.near.Keywords())
	}
	v.kept, v.said = append(v.kept, far), append(v.said, want)
	since := v.kept[m.rnd.IntN(len(v.kept))].HighestModSeq()
	gone, complete, err := v.far.ExpungedSince(since)
	wgone, wcomplete, werr := v.near.ExpungedSince(since)
	if !gone.Equal(wgone) || complete != wcomplete || err != nil || werr != nil {
		m.Fatalf("expunged since %d: %s %v %v, want %s %v %v", since, gone, complete, err, wgone, wcomplete, werr)
	}
	if far.Len() == 0 {
		return
	}
	uid := far.At(m.rnd.IntN(far.Len())).UID
	if got, want := text(m, v.far, uid), text(m, v.near, uid); got != want {
		m.Fatalf("UID %d is %q, want %q", uid, got, want)
	}
	want1 := mailstore.FactsWant{Size: true, InternalDate: true, SaveDate: true, GUID: true}
	f, err := v.far.Facts(uid, want1)
	must(m, err)
	w, err := v.near.Facts(uid, want1)
	must(m, err)
	w.BaseName, w.UIDL, w.Order = "", "", 0
	if f.Size != w.Size || f.GUID != w.GUID || !f.InternalDate.Equal(w.InternalDate) || !f.SaveDate.Equal(w.SaveDate) {
		m.Fatalf("facts of UID %d: %+v, want %+v", uid, f, w)
	}
}

func (m *model) open(name mailstore.Name) {
	m.Helper()
	far := open(m, m.guests[m.rnd.IntN(len(m.guests))], name)
	m.views = append(m.views, &viewed{far: far, near: open(m, m.own, name)})
}

func (m *model) close(i int) {
	v := m.views[i]
	m.views = slices.Delete(m.views, i, i+1)
	for k, s := range v.kept {
		if show(s) != v.said[k] {
			m.Fatalf("a picture changed: %s, was %s", show(s), v.said[k])
		}
	}
	must(m, v.far.Close())
	must(m, v.near.Close())
}

func (m *model) run(steps int) {
	for _, name := range boxNames[1:] {
		_, err := m.store.Create(name, 0)
		must(m, err)
	}
	for _, name := range boxNames {
		m.open(name)
	}
	for range steps {
		v := m.views[m.rnd.IntN(len(m.views))]
		switch n := m.rnd.IntN(20); {
		case n < 6:
			m.allowed(m.act(m.own, v.near))
		case n < 13:
			m.allowed(m.act(m.guests[m.rnd.IntN(len(m.guests))], v.far))
		case n < 18:
			m.check(v)
		case n < 19 && len(m.views) < 12:
			m.open(m.one(boxNames))
		case len(m.views) > 3:
			m.close(m.rnd.IntN(len(m.views)))
		}
	}
	for _, v := range m.views {
		m.check(v)
	}
	for len(m.views) > 0 {
		m.close(0)
	}
	for _, g := range m.guests {
		g.stop()
		if g.err != nil || g.Err() != nil {
			m.Fatalf("a channel ended: %v, %v", g.err, g.Err())
		}
	}
	must(m, m.store.Close())
}

// allowed is the only error that there may be.
func (m *model) allowed(err error) {
	m.Helper()
	if err != nil && !errkind.Is(err, errkind.Limit) {
		m.Fatal(err)
	}
}

// Guests see what the owner sees, whoever changes it, and pictures stay as they are.
func TestModel(t *testing.T) {
	disk := func() *memfs.FS {
		clock := memfs.NewClock(time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC))
		return memfs.New(memfs.Options{Now: clock.Now})
	}
	for _, d := range []struct {
		name  string
		seeds uint64
		open  func() (mailstore.Store, error)
	}{
		{"memory", 60, func() (mailstore.Store, error) { return newStore(), nil }},
		{"maildir", 20, func() (mailstore.Store, error) {
			return maildir.Open(maildir.Options{FS: disk(), MailPath: "mail", Host: "test.example"})
		}},
		{"pack", 20, func() (mailstore.Store, error) {
			return pack.Open(pack.Options{FS: disk(), MailPath: "mail", Step: 4096, JournalStep: 4096})
		}},
	} {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			seeds := d.seeds
			if !testing.Short() {
				seeds *= 3
			}
			for seed := range seeds {
				store, err := d.open()
				must(t, err)
				m := &model{T: t, rnd: rand.New(rand.NewPCG(seed, 7)), store: store, own: asOwner(t, store)}
				for range 2 {
					m.guests = append(m.guests, serve(t, asOwner(t, store), ServeOptions{}, ClientOptions{}))
				}
				m.run(120)
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		})
	}
}
