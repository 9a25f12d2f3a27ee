package mailstore

// Look opens a mailbox and brings its picture up to date: the errors are those of
// Store.Open and Mailbox.Sync. The caller closes the mailbox.
func Look(s Store, name Name) (Mailbox, Snapshot, error) {
	mb, err := s.Open(name)
	if err != nil {
		return nil, nil, err
	}
	snap, err := mb.Sync()
	if err != nil {
		mb.Close()
		return nil, nil, err
	}
	return mb, snap, nil
}
