package maildir_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/numset"
	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
	"rookery/internal/vfs/watchfs"
)

// many is a store of many folders, some with mail.
type many struct {
	*tree
	layout   maildir.Layout
	names    []string
	changing bool
}

func newMany(t *testing.T, layout maildir.Layout, n int) *many {
	m := &many{tree: newTree(t), layout: layout}
	s := m.open(m.disk)
	for i := range n {
		name := fmt.Sprintf("f%03d", i)
		if i%4 == 3 {
			name = m.names[i-1] + "/sub"
		}
		_, err := s.Create(name, 0)
		m.must(err)
		m.names = append(m.names, name)
		if i%3 == 0 {
			m.add(s, name)
		}
	}
	m.must(s.Close())
	m.settle()
	return m
}

// settle lets time go by, so that nothing hides behind a stamp.
func (m *many) settle() { m.clock.Jump(10 * time.Second) }

func (m *many) open(disk vfs.FS) *maildir.Store {
	m.Helper()
	s, err := maildir.Open(maildir.Options{FS: disk, MailPath: "Maildir", Layout: m.layout, Host: "test.example", LockWait: 20e9})
	m.must(err)
	return s
}

func (m *many) add(s mailstore.Store, name string) {
	m.Helper()
	a, err := s.Append(name)
	m.must(err)
	w, err := a.Add(mailstore.AppendMeta{}, 12)
	m.must(err)
	_, err = w.Write([]byte("a: b\r\n\r\nhi\r\n"))
	m.must(err)
	_, err = a.Commit()
	m.must(err)
}

// dir gives the directory of a mailbox.
func (m *many) dir(name string) string {
	if m.layout == maildir.FSLayout {
		return "Maildir/" + name
	}
	return dirOf(name)
}

func (m *many) status(s mailstore.Store) map[string]mailstore.Status {
	m.Helper()
	out := map[string]mailstore.Status{}
	for _, n := range m.names {
		st, err := s.Status(n, mailstore.StatusWant{Size: true})
		if gone(err) {
			continue
		}
		m.must(err)
		out[n] = st
	}
	return out
}

// gone reports whether a mailbox is not there, or only the parent of others.
func gone(err error) bool {
	return errkind.Is(err, errkind.NotFound) || errkind.Is(err, errkind.Invalid)
}

func (m *many) same(what string, got, want map[string]mailstore.Status) {
	m.Helper()
	if len(got) != len(want) {
		m.Fatalf("%s: %d mailboxes, want %d", what, len(got), len(want))
	}
	for n, w := range want {
		g := got[n]
		if m.changing { // a process remembers what it moved out of new/ and told nobody
			g.Recent, w.Recent = 0, 0
		}
		if g != w {
			m.Fatalf("%s: STATUS of %s is %+v, want %+v", what, n, g, w)
		}
	}
}

func bothLayouts(t *testing.T, f func(t *testing.T, layout maildir.Layout)) {
	t.Run("maildir++", func(t *testing.T) { f(t, maildir.MaildirPP) })
	t.Run("fs", func(t *testing.T) { f(t, maildir.FSLayout) })
}

// STATUS of a folder that did not change costs stats, in this process and in the
// next, and LIST reads no directory that did not.
func TestUnchangedFolders(t *testing.T) {
	bothLayouts(t, func(t *testing.T, layout maildir.Layout) {
		m := newMany(t, layout, 80)
		disk := watchfs.New(m.disk)
		s := m.open(disk)
		var want map[string]mailstore.Status
		if ops := disk.During(func() { want = m.status(s) }); len(ops) < 80 {
			t.Fatalf("the first answers opened %d files: the watch is blind", len(ops))
		}
		list, err := s.List()
		m.must(err)
		if len(list) != 81 {
			t.Fatalf("%d mailboxes in the list", len(list))
		}
		if st := want["f000"]; st.Messages != 1 || st.Recent != 1 || st.Unseen != 1 || st.UIDNext != 2 || st.Size != 12 {
			t.Fatalf("%+v", st)
		}
		for _, when := range []string{"the same process", "the next process"} {
			var got map[string]mailstore.Status
			var again []mailstore.Folder
			m.settle()
			if ops := disk.During(func() { got = m.status(s) }); slices.ContainsFunc(ops, notList) {
				t.Errorf("%s: STATUS: %q", when, ops[:min(len(ops), 5)])
			}
			// Who closes or opens a store makes and renames files in the mail directory
			// itself: that one is read again, and no other.
			root := func(op string) bool { return notList(op) && (op != "readdir Maildir" || when == "the same process") }
			if ops := disk.During(func() { again, err = s.List() }); err != nil || slices.ContainsFunc(ops, root) {
				t.Errorf("%s: LIST: %v, %q", when, err, ops)
			}
			m.same(when, got, want)
			if !slices.Equal(list, again) {
				t.Errorf("%s: another list", when)
			}
			m.must(s.Close())
			s = m.open(disk)
		}
		m.must(s.Close())
	})
}

// notList reports whether an operation is another than reading the file of
// folders once, or a list of subscriptions that is not there.
func notList(op string) bool {
	return !strings.Contains(op, "rookery.index.folders") && !strings.Contains(op, "subscriptions") && !strings.Contains(op, "courierimapsubscribed")
}

// Whoever changes a folder, the next STATUS and LIST tell of it.
func TestChangedFolders(t *testing.T) {
	bothLayouts(t, func(t *testing.T, layout maildir.Layout) {
		rnd := rand.New(rand.NewPCG(1, uint64(layout)))
		m := newMany(t, layout, 24)
		m.changing = true
		s, other := m.open(m.disk), m.open(m.disk)
		for round := range 120 {
			if rnd.IntN(2) == 0 {
				m.settle()
			}
			name := m.names[rnd.IntN(len(m.names))]
			what := m.change(rnd, s, other, name)
			if rnd.IntN(3) == 0 { // a doubt may hide what other programs did only as long as the clock stands
				m.settle()
			}
			m.clock.Jump(100 * time.Millisecond)
			// First the one that remembers: what the other finds, it tells by the index.
			got := m.status(s)
			list, err := s.List()
			m.must(err)
			fresh := m.open(m.disk)
			want := m.status(fresh)
			wantList, err := fresh.List()
			m.must(err)
			m.must(fresh.Close())
			m.same(fmt.Sprintf("round %d: %s %s", round, what, name), got, want)
			if !slices.Equal(list, wantList) {
				t.Fatalf("round %d: %s %s: LIST gives %v, want %v", round, what, name, list, wantList)
			}
		}
		m.must(s.Close())
		m.must(other.Close())
	})
}

// change does one thing to a folder.
func (m *many) change(rnd *rand.Rand, s, other mailstore.Store, name string) string {
	m.Helper()
	who := s
	if rnd.IntN(2) == 0 {
		who = other
	}
	if _, err := who.Status(name, mailstore.StatusWant{}); gone(err) {
		_, err := who.Create(name, 0)
		m.must(err)
		return "create"
	}
	file := func() (path string) { // any message's
		m.disk.ReadDir(m.dir(name)+"/cur", func(e vfs.DirEntry) bool { path = m.dir(name) + "/cur/" + e.Name; return false })
		return path
	}
	switch rnd.IntN(8) {
	case 0:
		m.add(who, name)
		return "append"
	case 1:
		m.must(m.write(fmt.Sprintf("%s/new/%d.other", m.dir(name), rnd.IntN(1<<30))))
		return "delivery"
	case 2:
		if p := file(); p != "" {
			base, _, _ := strings.Cut(p, ":")
			m.must(m.disk.Rename(p, base+[]string{":2,", ":2,S", ":2,ST"}[rnd.IntN(3)]))
		}
		return "flags by another program"
	case 3:
		if p := file(); p != "" {
			m.must(m.disk.Remove(p))
		}
		return "removal by another program"
	case 4:
		m.must(who.Delete(name))
		return "delete"
	case 5:
		m.must(who.Subscribe(name, true))
		return "subscribe"
	}
	mb, err := who.Open(name)
	m.must(err)
	defer mb.Close()
	all := numset.Span(1, 1<<32-1)
	if rnd.IntN(3) == 0 {
		_, err = mb.ClaimRecent(false)
		m.must(err)
		return "recent"
	}
	if rnd.IntN(3) == 0 {
		_, err = mb.Expunge(all)
		m.must(err)
		return "expunge"
	}
	_, err = mb.Store(mailstore.FlagChange{UIDs: all, Op: mailstore.FlagOp(rnd.IntN(3)), Flags: mailstore.Seen | mailstore.Deleted})
	m.must(err)
	return "store"
}

func (m *many) write(path string) error {
	f, err := m.disk.OpenFile(path, vfs.Write|vfs.Create, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write([]byte("s: t\r\n\r\n"))
	return err
}

// LIST tells of a subscription that another process made, where nothing else changed.
func TestSubscribedList(t *testing.T) {
	m := newMany(t, maildir.MaildirPP, 4)
	m.must(m.disk.Mkdir("control", 0o700))
	open := func() mailstore.Store {
		s, err := maildir.Open(maildir.Options{FS: m.disk, MailPath: "Maildir", ControlPath: "control", Host: "test.example", LockWait: 20e9})
		m.must(err)
		return s
	}
	s, other := open(), open()
	for _, on := range []bool{true, false, true} {
		m.must(other.Subscribe("f001", on))
		m.settle()
		list, err := s.List()
		m.must(err)
		i := slices.IndexFunc(list, func(f mailstore.Folder) bool { return f.Name == "f001" })
		if got := list[i].Attrs&mailstore.Subscribed != 0; got != on {
			t.Errorf("subscribed: %v, want %v", got, on)
		}
	}
	m.must(s.Close())
	m.must(other.Close())
}

// A change that only the index and rookery-keywords show raises HIGHESTMODSEQ.
func TestStatusOfManyKeywords(t *testing.T) {
	m := newMany(t, maildir.MaildirPP, 1)
	s, other := m.open(m.disk), m.open(m.disk)
	mb, err := other.Open("f000")
	m.must(err)
	last := mailstore.ModSeq(0)
	for i := range 30 { // more than there are letters
		_, err := mb.Store(mailstore.FlagChange{UIDs: numset.Of(1), Op: mailstore.AddFlags, Keywords: []string{fmt.Sprintf("k%02d", i)}})
		m.must(err)
		for range 2 {
			m.settle()
			st, err := s.Status("f000", mailstore.StatusWant{})
			m.must(err)
			if want := mb.Snapshot().HighestModSeq(); st.HighestModSeq != want || want <= last {
				t.Fatalf("keyword %d: HIGHESTMODSEQ %d, want %d", i, st.HighestModSeq, want)
			}
		}
		last = mb.Snapshot().HighestModSeq()
	}
	m.must(mb.Close())
	m.must(s.Close())
	m.must(other.Close())
}

// A UIDVALIDITY that another program gave is told, though no message moved.
func TestStatusOfAnotherList(t *testing.T) {
	m := newMany(t, maildir.MaildirPP, 1)
	s := m.open(m.disk)
	m.status(s)
	m.settle()
	m.status(s)
	list := m.get(".f000/dovecot-uidlist")
	at := strings.IndexByte(list, 'V')
	m.put(".f000/other", list[:at]+"V1999999999"+list[at+strings.IndexByte(list[at:], ' '):])
	m.must(m.disk.Rename("Maildir/.f000/other", "Maildir/.f000/dovecot-uidlist"))
	m.settle()
	if st := m.status(s)["f000"]; st.UIDValidity != 1999999999 {
		t.Errorf("%+v", st)
	}
	m.must(s.Close())
}

// What arrives in the same tick of the clock as the last answer hides behind the
// same stamp: such an answer is not remembered.
func TestStatusWithinATick(t *testing.T) {
	m := &many{tree: newTree(t)}
	m.disk = memfs.New(memfs.Options{Now: m.clock.Still, Granularity: 10 * time.Millisecond})
	for _, d := range []string{"cur", "new", "tmp", ".f000/cur", ".f000/new", ".f000/tmp"} {
		m.must(vfs.MkdirAll(m.disk, "Maildir/"+d, 0o700))
	}
	m.names = []string{"f000"}
	m.settle()
	s := m.open(m.disk)
	m.status(s)
	m.settle()
	for i := range 5 {
		m.must(m.write(fmt.Sprintf("Maildir/.f000/new/17%d.0.other", i)))
		m.status(s)
		m.must(m.write(fmt.Sprintf("Maildir/.f000/new/17%d.1.other", i)))
		m.settle()
		if st := m.status(s)["f000"]; st.Messages != uint32(2*i+2) {
			t.Fatalf("round %d: %+v", i, st)
		}
	}
	m.must(s.Close())
}

// The file of folders is believed only where it is whole and of this run of the
// machine; without it all is found again.
func TestListingFile(t *testing.T) {
	m := newMany(t, maildir.MaildirPP, 80)
	s := m.open(m.disk)
	want := m.status(s)
	m.must(s.Close())
	const path = "Maildir/rookery.index.folders"
	good, err := vfs.ReadFile(m.disk, path, 1<<20)
	m.must(err)
	noise := slices.Clone(good)
	noise[len(noise)/2] ^= 1
	for what, data := range map[string][]byte{"nothing": nil, "empty": {}, "cut": good[:len(good)/2], "noise": noise, "longer": append(slices.Clone(good), 0)} {
		m.settle()
		m.must(m.disk.Remove(path))
		if data != nil {
			m.put("rookery.index.folders", string(data))
		}
		s := m.open(m.disk)
		m.same(what, m.status(s), want)
		m.must(s.Close())
		if now, err := vfs.ReadFile(m.disk, path, 1<<20); err != nil || len(now) < len(good)/2 {
			t.Errorf("%s: it was not written again: %v", what, err)
		}
	}
	// An older version, whose answers are not right any more.
	m.settle()
	s = m.open(m.disk)
	m.add(s, "f001")
	want = m.status(s)
	m.must(s.Close())
	m.must(m.disk.Remove(path))
	m.put("rookery.index.folders", string(good))
	s = m.open(m.disk)
	m.same("an older version", m.status(s), want)
	m.must(s.Close())
}

// Folders that another program made are remembered from the first answer on.
func TestUnchangedAdopted(t *testing.T) {
	m := &many{tree: newTree(t), layout: maildir.MaildirPP}
	for i := range 80 { // more than stay open
		name := fmt.Sprintf("f%03d", i)
		m.names = append(m.names, name)
		m.put(fmt.Sprintf(".%s/new/x", name), "")
		m.must(m.disk.Remove(fmt.Sprintf("Maildir/.%s/new/x", name)))
		for k := range 3 {
			m.put(fmt.Sprintf(".%s/cur/17%08d.M%dP1.host,S=4,W=4:2,S", name, i, k), "a\r\n\n")
		}
		m.put(fmt.Sprintf(".%s/tmp/x", name), "")
		m.must(m.disk.Remove(fmt.Sprintf("Maildir/.%s/tmp/x", name)))
	}
	m.settle()
	disk := watchfs.New(m.disk)
	s := m.open(disk)
	want := m.status(s)
	if st := want["f000"]; st.Messages != 3 || st.Recent != 0 || st.UIDNext != 4 {
		t.Fatalf("%+v", st)
	}
	if ops := disk.During(func() { m.same("again", m.status(s), want) }); slices.ContainsFunc(ops, notList) {
		t.Errorf("%q", ops[:min(len(ops), 20)])
	}
	m.must(s.Close())
}

// Trim gives up what a store of many folders remembers, once the file of folders
// has it: the store goes on, and what it asks again costs no more than stats.
func TestTrimmedListing(t *testing.T) {
	m := newMany(t, maildir.MaildirPP, 160) // and as many answers: more than stay in memory
	disk := watchfs.New(m.disk)
	s := m.open(disk)
	m.status(s)
	m.settle() // a compaction in the background may have kept an answer from being remembered
	want := m.status(s)
	list, err := s.List()
	m.must(err)
	for round := range 2 {
		m.settle()
		s.Trim()
		var got map[string]mailstore.Status
		var again []mailstore.Folder
		ops := disk.During(func() {
			got = m.status(s)
			again, err = s.List()
		})
		m.must(err)
		m.same(fmt.Sprintf("round %d", round), got, want)
		if !slices.Equal(list, again) {
			t.Errorf("round %d: another list", round)
		}
		if !slices.ContainsFunc(ops, func(op string) bool {
			return strings.HasPrefix(op, "open ") && strings.HasSuffix(op, "rookery.index.folders")
		}) {
			t.Errorf("round %d: nothing was given up: %q", round, ops)
		}
		// The file itself was made in the mail directory: that one is read again.
		if slices.ContainsFunc(ops, func(op string) bool { return notList(op) && op != "readdir Maildir" }) {
			t.Errorf("round %d: %q", round, ops[:min(len(ops), 5)])
		}
	}
	m.add(s, "f001")
	if st := m.status(s)["f001"]; st.Messages != want["f001"].Messages+1 {
		t.Errorf("after an APPEND: %+v", st)
	}
	m.must(s.Close())
}
