package maildir

import "rookery/internal/mailstore/control"

// control is the user's control directory.
func (s *Store) control() control.Dir {
	return control.Dir{FS: s.fs, Path: s.opt.ControlPath, Mode: s.opt.FileMode}
}

// lockValidity keeps the user's other processes from giving the same number: the
// user's own lock is not always held where one is needed.
func (s *Store) lockValidity() (*held, error) {
	return s.lockOFD(join(s.opt.ControlPath, "rookery-uidvalidity-lock"))
}

// nextValidity gives a UIDVALIDITY that no mailbox had, above above, and makes it certain.
func (s *Store) nextValidity(above uint32) (uint32, error) {
	lock, err := s.lockValidity()
	if err != nil {
		return 0, err
	}
	defer lock.release()
	return s.control().NextValidity(above)
}

// raiseValidity makes sure that values up to v are never given again.
func (s *Store) raiseValidity(v uint32) error {
	lock, err := s.lockValidity()
	if err != nil {
		return err
	}
	defer lock.release()
	return s.control().RaiseValidity(v)
}
