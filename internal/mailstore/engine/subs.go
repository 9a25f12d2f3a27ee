package engine

import (
	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/control"
	"rookery/internal/vfs"
)

func (s *Store) readSubs() (control.Subs, error) {
	return s.control().ReadSubs(s.opt.SubsSeparator, "")
}

// subscribed gives the names in the file.
func (s *Store) subscribed() ([]mailstore.Name, error) {
	l, err := s.readSubs()
	return l.Names(), err
}

// Subscriptions gives all subscribed names, with those that the settings
// subscribe as long as they have not been made.
func (s *Store) Subscriptions() ([]mailstore.Name, error) {
	names, err := s.subscribed()
	if err != nil {
		return nil, err
	}
	return s.tree.Subscriptions(names, func(inner mailstore.Name) (bool, error) {
		_, there, err := s.format.Find(inner)
		return there, err
	}), nil
}

// Subscribe adds or removes a name.
func (s *Store) Subscribe(name mailstore.Name, on bool) error {
	inner := s.tree.Inner(name)
	if err := imapname.Name(inner).Check(); err != nil {
		return errkind.New("subscribe", errkind.Invalid, err)
	}
	if !on && s.tree.Subscribes(inner) {
		// Only a mailbox that is there can be subscribed otherwise than the
		// settings say: find makes it, and subscribes it.
		if _, err := s.find(inner); err != nil {
			return errkind.Wrap("subscribe", err)
		}
	}
	return vfs.Kinded("subscribe", s.locked(func() error { return s.subscribeLocked(inner, on) }))
}

func (s *Store) subscribeLocked(inner mailstore.Name, on bool) error {
	l, err := s.readSubs()
	if err != nil {
		return err
	}
	data, err := l.Edit(inner, on, s.opt.MaxFolders)
	if err != nil || data == nil {
		return err
	}
	_, err = vfs.Replace(s.fs, vfs.Join(s.opt.ControlPath, control.SubsFile), data, s.opt.FileMode)
	return err
}
