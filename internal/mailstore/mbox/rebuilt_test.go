package mbox

import (
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/numset"
	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
)

// A process that finds the index gone gives no UID twice, though no X-IMAPbase is left
// in an mbox that it knows well: the control file says how far they went.
func TestNoUIDTwice(t *testing.T) {
	for _, empty := range []func(mb mailstore.Mailbox, s *engine.Store) error{
		func(mb mailstore.Mailbox, _ *engine.Store) error { _, err := mb.Expunge(numset.Of(1)); return err },
		func(_ mailstore.Mailbox, s *engine.Store) error { return s.Rename("INBOX", "Old") },
		func(mb mailstore.Mailbox, _ *engine.Store) error {
			_, err := mb.Move(numset.Of(1), "INBOX")
			return err
		},
	} {
		disk := memfs.New(memfs.Options{})
		var notes []string
		p, q := openOn(t, disk, &notes), openOn(t, disk, &notes)
		addOne(t, q)
		dropLog(t, disk)
		mb, err := p.Open("INBOX")
		if err != nil {
			t.Fatal(err)
		}
		if err := empty(mb, p); err != nil {
			t.Fatal(err)
		}
		snap, err := mb.Sync()
		if err != nil {
			t.Fatal(err)
		}
		next := snap.UIDNext()
		dropLog(t, disk)
		if uid := addOne(t, q); uid < next {
			t.Errorf("UID %d is given, UIDNEXT was %d", uid, next)
		}
		mb.Close()
	}
}

// A MOVE within a mailbox leaves X-IMAPbase as high as the UIDs that it gave: an index
// that is built anew has nothing else to go by.
func TestMovedWithin(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	var notes []string
	s := openOn(t, disk, &notes)
	addOne(t, s)
	addOne(t, s)
	mb, err := s.Open("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	defer mb.Close()
	if _, err := mb.Move(numset.Of(1), "INBOX"); err != nil {
		t.Fatal(err)
	}
	if _, err := mb.Expunge(numset.Of(3)); err != nil {
		t.Fatal(err)
	}
	dropLog(t, disk)
	if uid := addOne(t, openOn(t, disk, &notes)); uid != 4 {
		t.Errorf("UID %d is given, want 4", uid)
	}
}

func addOne(t *testing.T, s mailstore.Store, keywords ...string) mailstore.UID {
	t.Helper()
	a, err := s.Append("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	w, err := a.Add(mailstore.AppendMeta{Keywords: keywords}, 2)
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("x\n"))
	res, err := a.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return res.UIDs[0]
}

// cutLog cuts the user's index log somewhere.
func cutLog(t *testing.T, disk *memfs.FS) {
	t.Helper()
	for _, dir := range []string{"mail/.rookery", "mail"} {
		f, err := disk.OpenFile(dir+"/rookery.index.log", vfs.Write, 0)
		if err != nil {
			continue
		}
		defer f.Close()
		info, err := f.Stat()
		if err == nil {
			err = f.Truncate(info.Size / 2)
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatal("there is no index log")
}

// dropLog removes the user's index log.
func dropLog(t *testing.T, disk *memfs.FS) {
	t.Helper()
	for _, dir := range []string{"mail/.rookery", "mail"} {
		if err := disk.Remove(dir + "/rookery.index.log"); err == nil {
			return
		}
	}
	t.Fatal("there is no index log")
}

// A process that knows a mailbox's keywords takes others away, too, that came with an
// index that another process has built anew, however they are spelled.
func TestOthersKeywords(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	var notes []string
	p, q := openOn(t, disk, &notes), openOn(t, disk, &notes)
	mb, err := p.Open("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	defer mb.Close()
	cutLog(t, disk)
	addOne(t, p, "k1", "$Y")
	if _, err := mb.Expunge(numset.Of(1)); err != nil {
		t.Fatal(err)
	}
	addOne(t, q, "$y", "k2")
	if _, err := mb.Sync(); err != nil {
		t.Fatal(err)
	}
	for _, op := range []mailstore.FlagOp{mailstore.AddFlags, mailstore.RemoveFlags} {
		if _, err := mb.Store(mailstore.FlagChange{UIDs: numset.Of(2), Op: op, Keywords: []string{"k1", "K2", "$Y"}}); err != nil {
			t.Fatal(err)
		}
		s := mb.Snapshot()
		if got, want := s.Keywords(s.At(0).Keywords), map[mailstore.FlagOp]int{mailstore.AddFlags: 3}[op]; len(got) != want {
			t.Errorf("the message has %q, want %d", got, want)
		}
	}
}
