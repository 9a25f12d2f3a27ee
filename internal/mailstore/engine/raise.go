package engine

import (
	"rookery/internal/mailstore"
	"rookery/internal/vfs"
)

var _ mailstore.ModSeqRaiser = (*Store)(nil)

// RaiseModSeq is mailstore.ModSeqRaiser's: a change of the index alone.
func (s *Store) RaiseModSeq(name mailstore.Name) error {
	mb, err := s.get(name)
	if err != nil {
		return vfs.Kinded("raise MODSEQ", err)
	}
	defer s.put(mb)
	err = s.locked(func() error {
		if err := mb.alive(); err != nil {
			return err
		}
		if err := mb.box.Lock(false); err != nil {
			return err
		}
		defer mb.box.Unlock()
		c, err := mb.current()
		if err == nil {
			c.tx.RaiseHigh()
			c.commit()
		}
		return err
	})
	return vfs.Kinded("raise MODSEQ", err)
}
