package worker

import (
	"context"
	"io"
	"testing"
	"time"

	"rookery/internal/maillog"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/held"
	"rookery/internal/numset"
	"rookery/internal/settings"
	"rookery/internal/vfs"
)

// tendedHost is a user whose mail lies in a fresh directory.
func tendedHost(t *testing.T) (*Host, *int) {
	t.Helper()
	dir := t.TempDir()
	disk, err := vfs.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { disk.Close() })
	changed := 0
	set := settings.New()
	settings.Hostname.Put(set, "mx.example")
	set.PutRow("namespace", settings.Row{Name: "inbox", Values: map[string]any{"inbox": true}, Sub: []settings.Row{
		{Name: "Junk", Values: map[string]any{"auto": "create", "autoexpunge_max_mails": int64(2)}}}})
	h := &Host{Log: maillog.Discard(), Settings: set, Changed: func() { changed++ }, roots: []root{{"/", disk}}}
	h.User.User, h.User.Home = "ann", "/home"
	if err := disk.Mkdir("home", 0o700); err != nil {
		t.Fatal(err)
	}
	return h, &changed
}

func fill(t *testing.T, s mailstore.Store, name string, n int) {
	t.Helper()
	a, err := s.Append(name)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		w, err := a.Add(mailstore.AppendMeta{}, -1)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, "x\r\n")
	}
	if _, err := a.Commit(); err != nil {
		t.Fatal(err)
	}
}

func messages(t *testing.T, s mailstore.Store, name string) uint32 {
	t.Helper()
	st, err := s.Status(name, mailstore.StatusWant{})
	if err != nil {
		t.Fatal(err)
	}
	return st.Messages
}

// A pass expunges what is over, into the hold; closing the store waits for it.
func TestTend(t *testing.T) {
	h, changed := tendedHost(t)
	store, err := h.OpenStore("imap")
	if err != nil {
		t.Fatal(err)
	}
	fill(t, store, "Junk", 5)
	h.tend()
	h.tend() // one at a time
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	h.tend() // no more once it is closed
	if *changed != 1 {
		t.Errorf("master was told %d times", *changed)
	}
	if store, err = h.OpenStore("imap"); err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if n := messages(t, store, "Junk"); n != 2 {
		t.Errorf("%d messages stay in Junk", n)
	}
	back, err := store.(interface {
		Undelete(context.Context, held.Request) ([]held.Restored, error)
	}).Undelete(context.Background(), held.Request{})
	if err != nil || len(back) != 1 || back[0].Messages != 3 {
		t.Errorf("undelete: %+v, %v", back, err)
	}
}

// The settings of undelete reach the hold: without one, nothing comes back.
func TestNoHold(t *testing.T) {
	h, _ := tendedHost(t)
	settings.MailUndeleteHold.Put(h.Settings, 0)
	store, err := h.OpenStore("pop3")
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	fill(t, store, "INBOX", 2)
	mb, err := store.Open("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	defer mb.Close()
	if gone, err := mb.Expunge(numset.Of(1)); err != nil || gone.Len() != 1 {
		t.Fatal(gone, err)
	}
	back, err := store.(*tended).Undelete(context.Background(), held.Request{Since: time.Time{}})
	if err != nil || len(back) != 0 {
		t.Errorf("undelete: %+v, %v", back, err)
	}
}
