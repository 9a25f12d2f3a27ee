package maildir_test

import (
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/numset"
	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
)

// fullFS lets nothing be made while full is set: no file, no link, no directory,
// and no file grows.
type fullFS struct {
	vfs.FS
	full bool
}

func (f *fullFS) OpenFile(name string, flags vfs.Flag, mode fs.FileMode) (vfs.File, error) {
	if f.full && flags&vfs.Create != 0 {
		if _, err := f.FS.Stat(name); err != nil {
			return nil, syscall.ENOSPC
		}
	}
	return f.FS.OpenFile(name, flags, mode)
}

func (f *fullFS) Link(a, b string) error {
	if f.full {
		return syscall.ENOSPC
	}
	return f.FS.Link(a, b)
}

func (f *fullFS) Mkdir(name string, mode fs.FileMode) error {
	if f.full {
		return syscall.ENOSPC
	}
	return f.FS.Mkdir(name, mode)
}

// TestFullDiskOpens: a user whose disk is full, with a delivery that has no UID
// yet, opens his mailbox, reads and expunges; the delivery comes when there is
// room. This failed when a mailbox was opened only if all in it could get a UID.
func TestFullDiskOpens(t *testing.T) {
	disk := &fullFS{FS: memfs.New(memfs.Options{})}
	var notes []string
	open := func() mailstore.Mailbox {
		s, err := maildir.Open(maildir.Options{FS: disk, MailPath: "Maildir", Host: "test.example", Probe: true, Note: func(s string) { notes = append(notes, s) }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		mb, err := s.Open("INBOX")
		if err != nil {
			t.Fatal(err)
		}
		return mb
	}
	uids := func(mb mailstore.Mailbox) (out []mailstore.UID) {
		t.Helper()
		snap, err := mb.Sync()
		if err != nil {
			t.Fatal(err)
		}
		for i := range snap.Len() {
			out = append(out, snap.At(i).UID)
		}
		return out
	}
	for _, text := range []string{"Subject: a\n\n", "Subject: b\n\n"} {
		if err := deliver(disk, "INBOX", text); err != nil {
			t.Fatal(err)
		}
	}
	if got := uids(open()); len(got) != 2 {
		t.Fatalf("%d messages", len(got))
	}
	if err := deliver(disk, "INBOX", "Subject: c\n\n"); err != nil {
		t.Fatal(err)
	}
	disk.full = true
	mb := open()
	for range 3 {
		if got := uids(mb); len(got) != 2 || got[0] != 1 || got[1] != 2 {
			t.Fatalf("on a full disk: %v", got)
		}
	}
	if text := strings.Join(notes, "\n"); strings.Count(text, "not shown until there is room") != 1 || strings.Count(text, "cannot be written") != 1 || strings.Contains(text, "no hard links") {
		t.Errorf("notes: %s", text)
	}
	if gone, err := mb.Expunge(numset.Of(1)); err != nil || gone.Len() != 1 {
		t.Fatalf("expunge on a full disk: %v, %v", gone, err)
	}
	if _, err := mb.Store(mailstore.FlagChange{UIDs: numset.Of(2), Op: mailstore.AddFlags, Flags: mailstore.Seen}); err != nil {
		t.Fatalf("store on a full disk: %v", err)
	}
	disk.full = false
	if got := uids(mb); len(got) != 2 || got[0] != 2 || got[1] != 3 {
		t.Errorf("with room again: %v", got)
	}
	if got := uids(open()); len(got) != 2 || got[0] != 2 || got[1] != 3 {
		t.Errorf("opened anew: %v", got)
	}
}

// TestFullDiskFresh: without a uidlist there is nothing that could be shown.
func TestFullDiskFresh(t *testing.T) {
	disk := &fullFS{FS: memfs.New(memfs.Options{})}
	if err := deliver(disk, "INBOX", "Subject: a\n\n"); err != nil {
		t.Fatal(err)
	}
	disk.full = true
	s, err := maildir.Open(maildir.Options{FS: disk, MailPath: "Maildir", Host: "test.example", Probe: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Open("INBOX"); !errkind.Is(err, errkind.NoSpace) {
		t.Errorf("INBOX opened: %v", err)
	}
}
