package mbox

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/mailstore/storetest"
	"rookery/internal/numset"
	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
)

// The tests here are small histories, each for one sync or a few: docs/syncs.md
// says which. Every one is done with the power gone after each change of the disk,
// and once it was answered.

func openFor(change func(*Options)) func(vfs.FS) (mailstore.Store, error) {
	return func(disk vfs.FS) (mailstore.Store, error) {
		opt := Options{Options: engine.Options{FS: disk, LockWait: 500 * time.Millisecond}, MailPath: "mail", InboxPath: "spool/user", Zone: time.UTC, JournalSize: 24 << 10}
		if change != nil {
			change(&opt)
		}
		return Open(opt)
	}
}

func putMail(box string, ids ...string) func(mailstore.Store) error {
	return func(s mailstore.Store) error {
		for _, id := range ids {
			if err := storetest.Put(s, box, mailstore.AppendMeta{}, "Subject: "+id+"\r\n\r\nHello.\r\n"); err != nil {
				return err
			}
		}
		return nil
	}
}

func inOrder(list ...func(mailstore.Store) error) func(mailstore.Store) error {
	return func(s mailstore.Store) error {
		for _, do := range list {
			if err := do(s); err != nil {
				return err
			}
		}
		return nil
	}
}

func makeBox(name string) func(mailstore.Store) error {
	return func(s mailstore.Store) error { _, err := s.Create(name, 0); return err }
}

func setSeen(s mailstore.Store) error {
	return storetest.Within(s, "INBOX", func(mb mailstore.Mailbox) error {
		_, err := mb.Store(mailstore.FlagChange{UIDs: numset.Of(1), Op: mailstore.AddFlags, Flags: mailstore.Seen | mailstore.Flagged})
		return err
	})
}

// checkAll looks at the control files, and mends them if repair is true.
func checkAll(s mailstore.Store, repair bool) (kinds string, err error) {
	err = s.(mailstore.Verifier).Verify(context.Background(), "", repair, func(f mailstore.Finding) { kinds += f.Kind + "\n" })
	return kinds, err
}

// TestSyncs: what was answered survives a power cut, and what was not is there
// whole or not at all.
func TestSyncs(t *testing.T) {
	mend := func(s mailstore.Store) error { _, err := checkAll(s, true); return err }
	full := func(s mailstore.Store, _ vfs.FS) (string, error) {
		kinds, err := checkAll(s, false)
		if err != nil {
			return "", err
		}
		pic, err := storetest.Picture(s)
		return kinds + pic, err
	}
	for _, c := range []struct {
		name   string
		prep   func(mailstore.Store) error
		spoil  func(disk *memfs.FS) error // by no store
		do     func(mailstore.Store) error
		whole  bool // also while the store is opened
		close  bool // with the store's end
		atOnce bool // no lock file may keep the next one waiting
		torn   int
		show   func(mailstore.Store, vfs.FS) (string, error)
	}{
		{name: "FirstUse", do: putMail("INBOX", "a"), whole: true},
		{name: "Create", prep: putMail("INBOX", "a"), do: makeBox("b/c")},
		{name: "CreateFirst", do: makeBox("b"), whole: true},
		{name: "Expunge", prep: putMail("INBOX", "a", "b", "c"), do: func(s mailstore.Store) error {
			return storetest.Within(s, "INBOX", func(mb mailstore.Mailbox) error { _, err := mb.Expunge(numset.Of(2)); return err })
		}},
		{name: "FlagsAtTheEnd", prep: putMail("INBOX", "a"), do: setSeen, close: true},
		{name: "Locked", do: putMail("INBOX", "a", "b"), whole: true, atOnce: true, torn: 12},
		{name: "Records", prep: inOrder(makeBox("b"), putMail("b", "x", "y")), do: mend, show: full, torn: 12,
			spoil: func(disk *memfs.FS) error { return appendTo(disk, "mail/.rookery/rookery-mboxes", "noise\n") }},
		{name: "Redo", prep: putMail("INBOX", "a", "b"), do: mend, show: full,
			spoil: func(disk *memfs.FS) error { return noise(disk, "mail/.rookery/"+redoFile) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			clock := memfs.NewClock(time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC))
			disk := memfs.New(memfs.Options{Now: clock.Now})
			cut := storetest.Cut{Name: c.name, Open: openFor(nil), Do: c.do, Opening: c.whole, Closing: c.close, Torn: c.torn, Show: c.show,
				May: func(string) bool { return true }, ByClock: true}
			if !c.atOnce {
				cut.Later = func() { clock.Jump(time.Hour) }
			}
			cut.Base = func() *memfs.FS { return disk.Survive(memfs.Kept, 0) }
			if c.prep != nil {
				cut.Base = storetest.Prepared(t, cut.Open, disk, c.prep)
			}
			if prepared := cut.Base; c.spoil != nil {
				cut.Base = func() *memfs.FS {
					disk := prepared()
					if err := c.spoil(disk); err != nil {
						t.Fatal(err)
					}
					return disk.Survive(memfs.Kept, 0)
				}
			}
			cut.Run(t)
		})
	}
}

func appendTo(disk vfs.FS, path, text string) error {
	f, err := disk.OpenFile(path, vfs.Write|vfs.Append, 0)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(text))
	return errors.Join(err, f.Close())
}

// noise makes a journal of which nothing can be read.
func noise(disk vfs.FS, path string) error {
	f, err := disk.OpenFile(path, vfs.Write|vfs.Create, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(strings.Repeat("noise ", 1000)), 0)
	if err == nil {
		err = f.Truncate(24 << 10)
	}
	return errors.Join(err, f.Close())
}

// TestLateFlush: a file that is given to a flusher which has ended is synced at
// once: nobody else will.
func TestLateFlush(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	put(t, disk, "a", "was")
	base := disk.Survive(memfs.Kept, 0)
	f, err := base.OpenFile("a", vfs.Read|vfs.Write, 0)
	if err == nil {
		_, err = f.WriteAt([]byte("is!"), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	l := newFlusher()
	l.close()
	l.add(f)
	if got := get(t, base.Survive(memfs.Lost, 0), "a"); got != "is!" {
		t.Fatalf("the disk holds %q", got)
	}
}
