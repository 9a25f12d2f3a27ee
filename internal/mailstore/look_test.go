package mailstore_test

import (
	"errors"
	"testing"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/memstore"
)

// half is a store whose mailboxes cannot be synced.
type half struct {
	mailstore.Store
	open int
}

type halfBox struct {
	mailstore.Mailbox
	of *half
}

var errSync = errors.New("no picture")

func (h *half) Open(name mailstore.Name) (mailstore.Mailbox, error) {
	mb, err := h.Store.Open(name)
	if err != nil {
		return nil, err
	}
	h.open++
	return halfBox{mb, h}, nil
}

func (b halfBox) Sync() (mailstore.Snapshot, error) { return nil, errSync }

func (b halfBox) Close() error {
	b.of.open--
	return b.Mailbox.Close()
}

func TestLook(t *testing.T) {
	s := memstore.New(memstore.Options{})
	mb, snap, err := mailstore.Look(s, "INBOX")
	if err != nil || snap.Len() != 0 || mb.Info().Name != "INBOX" {
		t.Fatalf("%v, %v", snap, err)
	}
	if err := mb.Close(); err != nil {
		t.Error(err)
	}
	if _, _, err := mailstore.Look(s, "none"); !errkind.Is(err, errkind.NotFound) {
		t.Errorf("%v, want %v", err, errkind.NotFound)
	}
	h := &half{Store: s}
	if mb, _, err := mailstore.Look(h, "INBOX"); mb != nil || !errors.Is(err, errSync) || h.open != 0 {
		t.Errorf("%v, %v; %d mailboxes stay open", mb, err, h.open)
	}
}
