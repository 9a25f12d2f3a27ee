package mbox

import (
	"io"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/mailstore/mbox/mboxfmt"
)

var _ engine.Identifier = (*Format)(nil)

// Identify gives a mailbox another identity: one line of rookery-mboxes, durable,
// is the moment of it. X-IMAPbase follows in place: after a crash between the two
// it has another UIDVALIDITY than the mailbox, does not count, and the next Sync
// writes it anew, with the UIDs that stand in the messages.
//
// The file is never taken away: mail that another program delivered a moment ago
// is in it. A mailbox without messages gets exactly next, even if that is lower
// than what it was to give.
func (f *Format) Identify(old, now engine.Folder, next mailstore.UID) error {
	rec, known, err := f.recs.get(old.Name)
	if err != nil {
		return err
	}
	fresh := record{guid: now.GUID, validity: now.UIDValidity, next: next}
	sp, err := f.spoolOf(now.Name)
	if err != nil {
		return err
	}
	if _, err := sp.Stat(); missing(err) { // INBOX before its first mail
		return f.recs.put([]change{{now.Name, fresh}}, nil)
	} else if err != nil {
		return err
	}
	// Locked before anything is changed: a mailbox that cannot be written stays as it is.
	eb, err := f.Box(now)
	if err != nil {
		return err
	}
	b := eb.(*box)
	defer b.Close()
	if err := b.Lock(true); err != nil {
		return err
	}
	defer b.Unlock()
	empty, err := b.empty()
	if err != nil {
		return err
	}
	if !empty && known {
		fresh.next = max(fresh.next, rec.next)
	}
	if err := f.recs.put([]change{{now.Name, fresh}}, nil); err != nil {
		return err
	}
	return b.rebase(old, now, empty, next-1)
}

// empty reports whether the locked file has no message; c-client's pseudo-message
// is none.
func (b *box) empty() (bool, error) {
	size, err := b.size()
	if err != nil || size == 0 {
		return err == nil, err
	}
	s := mboxfmt.NewScanner(b.file, 0, size, b.f.opt.Zone)
	s.SkipJunk()
	m, err := s.Next()
	if err == nil && m.Meta.Pseudo {
		_, err = s.Next()
	}
	if err == io.EOF {
		return true, nil
	}
	return false, err
}

// rebase writes the new UIDVALIDITY into the locked file's X-IMAPbase, durable.
// With messages one of another mailbox's is left: it says nothing of their UIDs.
func (b *box) rebase(old, now engine.Folder, empty bool, last mailstore.UID) error {
	head, err := b.first()
	if err != nil || head == nil || head.Meta.Base == nil {
		return err
	}
	base := *head.Meta.Base
	switch {
	case empty:
		base.LastUID = last
	case old.GUID != now.GUID || base.UIDValidity != old.UIDValidity:
		return nil
	}
	base.UIDValidity = now.UIDValidity
	m, err := b.mover()
	if err != nil {
		return err
	}
	if _, err := b.writeBase(m, head, base); err != nil {
		return err
	}
	return m.sync()
}

// writeBase writes X-IMAPbase in place; ok is false if it has no room. It is not
// synced.
func (b *box) writeBase(m *mover, head *mboxfmt.Message, base mboxfmt.Base) (ok bool, err error) {
	for _, f := range head.Meta.Fields {
		if f.Kind != mboxfmt.FieldBase && f.Kind != mboxfmt.FieldPseudo {
			continue
		}
		if value, fits := f.InPlace(mboxfmt.BaseValue(base)); fits {
			b.wrote = true
			_, err := m.overwrite(f.Value, value)
			return err == nil, err
		}
	}
	return false, nil
}
