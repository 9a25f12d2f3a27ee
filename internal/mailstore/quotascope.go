package mailstore

// QuotaScoper is a Store whose quota may leave some mailboxes out.
type QuotaScoper interface {
	// QuotaCovers reports whether what is in a mailbox counts. It need not be there.
	QuotaCovers(name Name) bool
}

// QuotaCovers asks a store, or one that it stands before; without an answer every
// mailbox is covered.
func QuotaCovers(s Store, name Name) bool {
	for s != nil {
		if q, ok := s.(QuotaScoper); ok {
			return q.QuotaCovers(name)
		}
		u, ok := s.(interface{ Unwrap() Store })
		if !ok {
			break
		}
		s = u.Unwrap()
	}
	return true
}
