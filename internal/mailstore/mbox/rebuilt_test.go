package mbox

import (
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/numset"
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

func addOne(t *testing.T, s mailstore.Store) mailstore.UID {
	t.Helper()
	a, err := s.Append("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	w, err := a.Add(mailstore.AppendMeta{}, 2)
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
