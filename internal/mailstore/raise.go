package mailstore

// ModSeqRaiser is a Store that can raise a mailbox's HIGHESTMODSEQ.
type ModSeqRaiser interface {
	// RaiseModSeq raises it as a change of a message does, though none changes: what
	// changed belongs to the mailbox as a whole (RFC 7162 §3.2, of SETMETADATA). A power
	// cut may take the number back; what is told then is above it. errkind.NotFound.
	RaiseModSeq(name Name) error
}

// RaiseModSeq raises the HIGHESTMODSEQ of a mailbox of a store, or of one that the store
// stands before. Where none of them can, nothing happens.
func RaiseModSeq(s Store, name Name) error {
	for s != nil {
		if r, ok := s.(ModSeqRaiser); ok {
			return r.RaiseModSeq(name)
		}
		u, ok := s.(interface{ Unwrap() Store })
		if !ok {
			break
		}
		s = u.Unwrap()
	}
	return nil
}
