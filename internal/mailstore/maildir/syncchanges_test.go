package maildir_test

import (
	"io"
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/numset"
	"rookery/internal/vfs/memfs"
)

// With SyncChanges, what Store and Expunge answered survives a power cut that
// takes all that was not synced; without it, it need not.
func TestSyncChanges(t *testing.T) {
	for _, always := range []bool{true, false} {
		disk := memfs.New(memfs.Options{})
		if err := disk.Mkdir("Maildir", 0o700); err != nil {
			t.Fatal(err)
		}
		if err := disk.SyncDir(""); err != nil {
			t.Fatal(err)
		}
		opt := maildir.Options{FS: disk, MailPath: "Maildir", Host: "test.example", SyncChanges: always}
		box := openInbox(t, opt, 2)
		keywords := make([]string, 30) // more than have letters
		for i := range keywords {
			keywords[i] = "kw" + string(rune('a'+i%26)) + string(rune('a'+i/26))
		}
		if _, err := box.Store(mailstore.FlagChange{UIDs: numset.Of(1), Op: mailstore.AddFlags, Flags: mailstore.Seen, Keywords: keywords}); err != nil {
			t.Fatal(err)
		}
		if done, err := box.Expunge(numset.Of(2)); err != nil || !done.Contains(2) {
			t.Fatal(done, err)
		}
		opt.FS = disk.Survive(memfs.Lost, 0)
		after := openInbox(t, opt, 0)
		s, err := after.Sync()
		if err != nil {
			t.Fatal(err)
		}
		kept := s.Len() == 1
		if kept {
			e := s.At(0)
			kept = e.Flags&mailstore.Seen != 0 && len(s.Keywords(e.Keywords)) == len(keywords)
		}
		if kept != always {
			t.Errorf("always is %v: after the power cut there are %d messages, all changes kept: %v", always, s.Len(), kept)
		}
	}
}

// openInbox opens INBOX and adds n messages to it.
func openInbox(t *testing.T, opt maildir.Options, n int) mailstore.Mailbox {
	t.Helper()
	s, err := maildir.Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for range n {
		a, err := s.Append("INBOX")
		if err != nil {
			t.Fatal(err)
		}
		w, err := a.Add(mailstore.AppendMeta{}, 6)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, "a: b\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	box, err := s.Open("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { box.Close() })
	return box
}
