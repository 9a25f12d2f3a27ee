package memstore

import (
	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
)

var _ mailstore.Restorer = (*Store)(nil)

// Restore is for mailstore.Restorer.
func (s *Store) Restore(name mailstore.Name, id mailstore.Identity) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id.UIDValidity == 0 || id.UIDNext == 0 {
		return errkind.Newf("restore", errkind.Invalid, "UIDVALIDITY and UIDNEXT are at least 1")
	}
	if err := imapname.Name(name).Check(); err != nil {
		return errkind.New("restore", errkind.Invalid, err)
	}
	b := s.boxes[name]
	if b == nil {
		b = s.makeBox(name, 0)
	}
	if len(b.snapshot.entries) > 0 {
		return errkind.Newf("restore", errkind.Exists, "the mailbox has messages")
	}
	s.modseq = max(s.modseq, id.HighestModSeq+1)
	b.uidvalidity, b.guid = id.UIDValidity, id.GUID
	s.uidvalidity = max(s.uidvalidity, id.UIDValidity)
	next := b.change()
	next.next, next.modseq = id.UIDNext, s.firstModSeq()
	b.publish(next)
	return nil
}

// Renew is for mailstore.Restorer.
func (s *Store) Renew(name mailstore.Name) (uint32, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.boxes[name]
	if b == nil {
		return 0, errkind.New("renew", errkind.NotFound, nil)
	}
	s.uidvalidity++
	b.uidvalidity = s.uidvalidity
	return b.uidvalidity, nil
}
