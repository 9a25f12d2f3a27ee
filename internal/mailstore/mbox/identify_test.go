package mbox_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/mailstore/mbox"
	"rookery/internal/numset"
	"rookery/internal/vfs"
	"rookery/internal/vfs/faultfs"
	"rookery/internal/vfs/memfs"
)

func openMbox(t *testing.T, disk vfs.FS) *engine.Store {
	t.Helper()
	s, err := mbox.Open(options(disk))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// add appends one message; its text names it.
func add(s mailstore.Store, name, text string, meta mailstore.AppendMeta) error {
	a, err := s.Append(name)
	if err != nil {
		return err
	}
	defer a.Abort()
	w, err := a.Add(meta, -1)
	if err == nil {
		_, err = io.WriteString(w, "Subject: "+text+"\r\n\r\nbody\r\n")
	}
	if err == nil {
		_, err = a.Commit()
	}
	return err
}

// all tells what clients remember of a mailbox.
func all(t *testing.T, s mailstore.Store, name string) string {
	t.Helper()
	mb, err := s.Open(name)
	must(t, err)
	defer mb.Close()
	snap, err := mb.Sync()
	must(t, err)
	i := mb.Info()
	out := fmt.Sprintf("v%d n%d %x", i.UIDValidity, snap.UIDNext(), i.GUID[:2])
	for i := range snap.Len() {
		e := snap.At(i)
		m, err := mb.Message(e.UID)
		must(t, err)
		text, err := io.ReadAll(io.NewSectionReader(m, 0, m.Size()))
		m.Close()
		must(t, err)
		f, err := mb.Facts(e.UID, mailstore.FactsWant{InternalDate: true, SaveDate: true, GUID: true, UIDL: true})
		must(t, err)
		subject, _, _ := strings.Cut(strings.TrimPrefix(string(text), "Subject: "), "\r\n")
		out += fmt.Sprintf("; %d %s %d%v %d %d %x %s %d", e.UID, subject, e.Flags, snap.Keywords(e.Keywords), f.InternalDate.Unix(), f.SaveDate.Unix(), f.GUID[:2], f.UIDL, f.Order)
	}
	return out
}

var one = mailstore.AppendMeta{UID: 600, Flags: mailstore.Seen, Keywords: []string{"$k"}, UIDL: "u", Order: 3, GUID: mailstore.GUID{4},
	SaveDate: time.Unix(1e9, 0), InternalDate: time.Unix(9e8, 0)}

const oneText = "; 600 one 8[$k] 900000000 1000000000 0400 u 3"

// pseudo is c-client's message that is none.
const pseudo = "From MAILER-DAEMON Sat Nov 29 22:33:52 2003\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 0000000077 0000009000\nStatus: RO\n\ninternal\n\n"

// The last UID of another UIDVALIDITY says nothing of this one's.
func TestForeignBase(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	s := openMbox(t, disk)
	must(t, s.Restore("INBOX", mailstore.Identity{UIDValidity: 78, UIDNext: 500, GUID: mailstore.GUID{9}}))
	must(t, with(disk, "INBOX", func(f vfs.File, size int64) error { _, err := f.WriteAt([]byte(pseudo), size); return err }))
	must(t, add(s, "INBOX", "one", one))
	want := "v78 n601 0900" + oneText
	for range 2 {
		if got := all(t, s, "INBOX"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		must(t, s.Close())
		must(t, dropIndex(disk))
		s = openMbox(t, disk)
	}
}

// A mailbox is restored with the identity that its clients know, whatever lay
// there without messages: nothing, an empty file, c-client's pseudo-message, mail
// that was expunged.
func TestRestore(t *testing.T) {
	before := map[string]func(t *testing.T, disk vfs.FS, s *engine.Store, name string){
		"nothing": func(*testing.T, vfs.FS, *engine.Store, string) {},
		"an empty file": func(t *testing.T, disk vfs.FS, s *engine.Store, name string) {
			must(t, with(disk, name, func(vfs.File, int64) error { return nil }))
		},
		"a pseudo-message": func(t *testing.T, disk vfs.FS, s *engine.Store, name string) {
			must(t, with(disk, name, func(f vfs.File, size int64) error { _, err := f.WriteAt([]byte(pseudo), size); return err }))
		},
		"expunged mail": func(t *testing.T, disk vfs.FS, s *engine.Store, name string) {
			must(t, s.Restore(name, mailstore.Identity{UIDValidity: 77, UIDNext: 8000, GUID: mailstore.GUID{9}}))
			must(t, add(s, name, "old", mailstore.AppendMeta{}))
			mb, err := s.Open(name)
			must(t, err)
			_, err = mb.Expunge(numset.Of(8000))
			must(t, err)
			mb.Close()
		},
	}
	for what, do := range before {
		for _, name := range []string{"INBOX", "box"} {
			t.Run(what+" in "+name, func(t *testing.T) {
				disk := memfs.New(memfs.Options{})
				s := openMbox(t, disk)
				do(t, disk, s, name)
				old, err := s.Open(name)
				if err == nil {
					_, err = old.Sync()
					must(t, err)
				}
				id := mailstore.Identity{UIDValidity: 77, UIDNext: 500, GUID: mailstore.GUID{9}, HighestModSeq: 1 << 51}
				must(t, s.Restore(name, id))
				if old != nil {
					if _, err := old.Sync(); !errkind.Is(err, errkind.NotFound) {
						t.Errorf("a session that has it open is told %v", err)
					}
					old.Close()
				}
				if got := all(t, s, name); got != "v77 n500 0900" {
					t.Fatal(got)
				}
				must(t, add(s, name, "one", one))
				want := "v77 n601 0900" + oneText
				if got := all(t, s, name); got != want {
					t.Errorf("%s, want %s", got, want)
				}
				if err := add(s, name, "again", mailstore.AppendMeta{UID: 600}); !errkind.Is(err, errkind.Invalid) {
					t.Errorf("a UID was given twice: %v", err)
				}
				if err := s.Restore(name, id); !errkind.Is(err, errkind.Exists) {
					t.Errorf("a mailbox with mail was restored: %v", err)
				}
				if err := s.Restore("other", mailstore.Identity{UIDValidity: 5, UIDNext: 1, GUID: id.GUID}); !errkind.Is(err, errkind.Invalid) {
					t.Errorf("a GUID was given twice: %v", err)
				}
				must(t, s.Close())
				must(t, dropIndex(disk))
				s = openMbox(t, disk)
				if got := all(t, s, name); got != want {
					t.Errorf("opened again: %s, want %s", got, want)
				}
				mb, err := s.Open(name)
				must(t, err)
				if m := mb.Snapshot().HighestModSeq(); m <= 1<<51 {
					t.Error("MODSEQ", m)
				}
				mb.Close()
			})
		}
	}
}

// A new UIDVALIDITY leaves the mail as it is, with its UIDs, in the mbox too.
func TestRenew(t *testing.T) {
	for _, name := range []string{"INBOX", "box"} {
		disk := memfs.New(memfs.Options{})
		s := openMbox(t, disk)
		must(t, s.Restore(name, mailstore.Identity{UIDValidity: 4000000000, UIDNext: 500, GUID: mailstore.GUID{9}}))
		must(t, add(s, name, "one", one))
		must(t, deliver(disk, name, "Subject: two\n\nbody\n"))
		_ = all(t, s, name)
		mb, err := s.Open(name)
		must(t, err)
		_, err = mb.Store(mailstore.FlagChange{UIDs: numset.Of(601), Op: mailstore.AddFlags, Keywords: []string{"other"}})
		must(t, err)
		was := all(t, s, name)
		v, err := s.Renew(name)
		must(t, err)
		if v != 4000000001 {
			t.Error("UIDVALIDITY", v)
		}
		if _, err := mb.Sync(); !errkind.Is(err, errkind.NotFound) {
			t.Errorf("a session that has it open is told %v", err)
		}
		mb.Close()
		file, err := vfs.ReadFile(disk, pathOf(name), 1<<20)
		if err != nil || !strings.Contains(string(file), "X-IMAPbase: 4000000001 0000000601 ") {
			t.Errorf("%v, the file is\n%s", err, file)
		}
		want := strings.Replace(was, "v4000000000 ", "v4000000001 ", 1)
		if got := all(t, s, name); got != want || !strings.Contains(got, " n602 ") {
			t.Errorf("%s, want %s", got, want)
		}
		must(t, s.Close())
		must(t, dropIndex(disk))
		s = openMbox(t, disk)
		if got := all(t, s, name); got != want {
			t.Errorf("opened again: %s, want %s", got, want)
		}
		must(t, s.Close())
	}
	disk := memfs.New(memfs.Options{})
	if _, err := openMbox(t, disk).Renew("nowhere"); !errkind.Is(err, errkind.NotFound) {
		t.Error(err)
	}
}

// The power fails after each change: what was answered holds, and a mailbox has
// one identity or the other, never a part of each.
func TestIdentifyPowerCut(t *testing.T) {
	for _, name := range []string{"INBOX", "box"} {
		for k, changes := 1, 2; k <= changes; k++ {
			for fate, seeds := range map[memfs.Fate]uint64{memfs.Lost: 1, memfs.Kept: 1, memfs.Torn: 3} {
				for seed := range seeds {
					n := cutIdentify(t, name, k, fate, seed)
					changes = max(changes, n)
					if t.Failed() {
						t.Fatalf("%s, cut after change %d, fate %d, seed %d", name, k, fate, seed)
					}
				}
			}
		}
	}
}

func cutIdentify(t *testing.T, name string, k int, fate memfs.Fate, seed uint64) (changes int) {
	t.Helper()
	disk := memfs.New(memfs.Options{})
	s := openMbox(t, disk)
	must(t, s.Restore(name, mailstore.Identity{UIDValidity: 4000000000, UIDNext: 8000, GUID: mailstore.GUID{1}}))
	must(t, s.Close())
	f := faultfs.New(disk.Survive(memfs.Kept, 0))
	f.CutAfter(k, fate, seed)
	// Each state is possible from the step that leads to it until the next was answered.
	states := []string{"v4000000000 n8000 0100"}
	first := 0
	did := func(err error, after string) bool {
		if states = append(states, after); err != nil {
			if !f.Dead() {
				t.Fatal(err)
			}
			return false
		}
		first = len(states) - 1
		return true
	}
	run := func() {
		s, err := mbox.Open(options(f))
		if err != nil {
			return
		}
		defer s.Close()
		if !did(s.Restore(name, mailstore.Identity{UIDValidity: 4000000007, UIDNext: 500, GUID: mailstore.GUID{2}}), "v4000000007 n500 0200") ||
			!did(s.Restore(name, mailstore.Identity{UIDValidity: 4000000007, UIDNext: 400, GUID: mailstore.GUID{2}}), "v4000000007 n400 0200") ||
			!did(add(s, name, "one", one), "v4000000007 n601 0200"+oneText) {
			return
		}
		if _, err := s.Renew(name); !did(err, "v4000000008 n601 0200"+oneText) {
			return
		}
		two := one
		two.UID = 700
		did(add(s, name, "two", two), "v4000000008 n701 0200"+oneText+strings.Replace(oneText, "600 one", "700 two", 1))
	}
	run()
	if !f.Dead() {
		changes = f.Changes()
	} else {
		changes = k + 1
	}
	after := f.Survivor(fate, seed)
	for range 2 {
		s := openMbox(t, after)
		got, ok := all(t, s, name), false
		for _, want := range states[first:] {
			// A crash may leave UIDs out, those of an addition that did not get there.
			ok = ok || got == want || f.Dead() && skips(got, want)
		}
		if !ok {
			t.Errorf("after the cut: %s; can be %q", got, states[first:])
		}
		must(t, s.Close())
		must(t, dropIndex(after))
	}
	return changes
}

// skips reports whether got is want with a higher UIDNEXT.
func skips(got, want string) bool {
	g, w := strings.SplitN(got, " ", 3), strings.SplitN(want, " ", 3)
	return g[0] == w[0] && g[2] == w[2] && nextOf(g[1]) > nextOf(w[1])
}

func nextOf(word string) (n int) {
	fmt.Sscanf(word, "n%d", &n)
	return n
}
