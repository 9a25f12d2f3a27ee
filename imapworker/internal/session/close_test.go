package session

import (
	"strings"
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/numset"
	"rookery/internal/vfs/memfs"
)

// CLOSE removes what is \Deleted, not what was when the session was last told: another
// process may have taken the flag away, or set it (RFC 3501 §6.4.2).
func TestCloseLooks(t *testing.T) {
	disk := memfs.New(memfs.Options{Now: memfs.NewClock(start).Now})
	if err := disk.Mkdir("Maildir", 0o700); err != nil {
		t.Fatal(err)
	}
	open := func() mailstore.Store {
		t.Helper()
		s, err := maildir.Open(maildir.Options{FS: disk, MailPath: "Maildir"})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	p := &peer{t: t, settings: Defaults(), store: open()}
	p.Now, p.Begin = start, p.begin
	defer p.Close()
	p.fill([]string{"INBOX", "3"})
	other := open()
	defer other.Close()
	p.Send(1, []byte("a SELECT INBOX\r\na STORE 1:2 +FLAGS.SILENT (\\Deleted)\r\n"))
	p.Take(1)
	box, err := other.Open("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	for uid, op := range map[uint32]mailstore.FlagOp{1: mailstore.RemoveFlags, 3: mailstore.AddFlags} {
		if _, err := box.Sync(); err != nil {
			t.Fatal(err)
		}
		if _, err := box.Store(mailstore.FlagChange{UIDs: numset.Of(uid), Op: op, Flags: mailstore.Deleted}); err != nil {
			t.Fatal(err)
		}
	}
	p.Send(1, []byte("a CLOSE\r\n"))
	if got := string(p.Take(1)); !strings.Contains(got, "a OK") {
		t.Fatal(got)
	}
	snap, err := box.Sync()
	if err != nil || snap.Len() != 1 || snap.At(0).UID != 1 {
		t.Errorf("%d messages are left, the first is UID %d, %v", snap.Len(), snap.At(0).UID, err)
	}
}
