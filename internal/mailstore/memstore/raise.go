package memstore

import "rookery/internal/mailstore"

var _ mailstore.ModSeqRaiser = (*Store)(nil)

// RaiseModSeq is mailstore.ModSeqRaiser's.
func (s *Store) RaiseModSeq(name mailstore.Name) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.lookup("raise MODSEQ", name)
	if err == nil {
		b.publish(b.change())
	}
	return err
}
