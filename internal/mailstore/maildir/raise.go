package maildir

import (
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
)

var _ mailstore.ModSeqRaiser = (*Store)(nil)

// RaiseModSeq is mailstore.ModSeqRaiser's: a change of the index alone.
func (s *Store) RaiseModSeq(name mailstore.Name) error {
	mb, err := s.get(name)
	if err == nil {
		err = mb.raise()
		s.put(mb)
	}
	return errkind.Wrap("raise MODSEQ", err)
}

func (mb *mailbox) raise() error {
	mb.op.Lock()
	defer mb.op.Unlock()
	if err := mb.enterSettled(); err != nil {
		return err
	}
	defer mb.leave()
	tx, err := mb.begin()
	if err != nil {
		return err
	}
	tx.RaiseHigh()
	mb.put(tx)
	return nil
}
