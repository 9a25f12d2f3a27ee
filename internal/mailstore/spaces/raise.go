package spaces

import "rookery/internal/mailstore"

var _ mailstore.ModSeqRaiser = (*Store)(nil)

// RaiseModSeq is mailstore.ModSeqRaiser's.
func (s *Store) RaiseModSeq(name mailstore.Name) error {
	m, inner, err := s.route("raise MODSEQ", name)
	if err != nil {
		return err
	}
	return mailstore.RaiseModSeq(m.Store, inner)
}
