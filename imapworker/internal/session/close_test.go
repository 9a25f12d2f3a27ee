package session

import (
	"strings"
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/numset"
	"rookery/internal/vfs/memfs"
)

// besides opens a session's store in a Maildir with messages, and another process's.
func besides(t *testing.T, messages string) (p *peer, other mailstore.Mailbox) {
	t.Helper()
	disk := memfs.New(memfs.Options{Now: memfs.NewClock(start).Now})
	if err := disk.Mkdir("Maildir", 0o700); err != nil {
		t.Fatal(err)
	}
	open := func() mailstore.Store {
		s, err := maildir.Open(maildir.Options{FS: disk, MailPath: "Maildir"})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	p = &peer{t: t, settings: Defaults(), store: open()}
	p.Now, p.Begin = start, p.begin
	t.Cleanup(p.Close)
	p.fill([]string{"INBOX", messages})
	second := open()
	t.Cleanup(func() { second.Close() })
	other, err := second.Open("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	return p, other
}

func change(t *testing.T, box mailstore.Mailbox, c mailstore.FlagChange) {
	t.Helper()
	_, err := box.Sync()
	if err == nil {
		_, err = box.Store(c)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// CLOSE removes what is \Deleted, not what was when the session was last told: another
// process may have taken the flag away, or set it (RFC 3501 §6.4.2).
func TestCloseLooks(t *testing.T) {
	p, box := besides(t, "3")
	p.Send(1, []byte("a SELECT INBOX\r\na STORE 1:2 +FLAGS.SILENT (\\Deleted)\r\n"))
	p.Take(1)
	change(t, box, mailstore.FlagChange{UIDs: numset.Of(1), Op: mailstore.RemoveFlags, Flags: mailstore.Deleted})
	change(t, box, mailstore.FlagChange{UIDs: numset.Of(3), Op: mailstore.AddFlags, Flags: mailstore.Deleted})
	p.Send(1, []byte("a CLOSE\r\n"))
	if got := string(p.Take(1)); !strings.Contains(got, "a OK") {
		t.Fatal(got)
	}
	snap, err := box.Sync()
	if err != nil || snap.Len() != 1 || snap.At(0).UID != 1 {
		t.Errorf("%d messages are left, the first is UID %d, %v", snap.Len(), snap.At(0).UID, err)
	}
}

// With \Seen, which BODY[] sets, others' changes come: their keywords are told first
// (RFC 3501 §7.2.6).
func TestFetchTellsKeywords(t *testing.T) {
	p, box := besides(t, "1")
	p.Send(1, []byte("a SELECT INBOX\r\n"))
	p.Take(1)
	change(t, box, mailstore.FlagChange{UIDs: numset.Of(1), Op: mailstore.AddFlags, Keywords: []string{"new"}})
	p.Send(1, []byte("a FETCH 1 BODY[]\r\n"))
	got := string(p.Take(1))
	if told, shown := strings.Index(got, "* FLAGS ("), strings.Index(got, "FETCH (FLAGS ("); told < 0 || shown < told {
		t.Errorf("the keyword is not told before it is shown: %s", got)
	}
}
