package maildir

import (
	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/control"
)

const subsFile = control.SubsFile

// separator is the tree's own.
func (s *Store) separator() byte {
	if s.opt.Layout == FSLayout {
		return '/'
	}
	return '.'
}

// readSubs reads the file; Courier's list is taken over until there is one.
func (s *Store) readSubs() (control.Subs, error) {
	return s.control().ReadSubs(s.separator(), s.opt.MailPath)
}

// Subscriptions gives all subscribed names, with those that the settings
// subscribe as long as they have not been made.
func (s *Store) Subscriptions() ([]mailstore.Name, error) {
	names, err := s.subscribed()
	if err != nil {
		return nil, err
	}
	return s.tree.Subscriptions(names, func(inner mailstore.Name) (bool, error) {
		_, there, err := s.lookDir(inner)
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
		if _, err := s.find(name); err != nil {
			return errkind.Wrap("subscribe", err)
		}
	}
	if err := s.lock(); err != nil {
		return errkind.Wrap("subscribe", err)
	}
	defer s.unlock()
	_, err := s.replaceLocked(join(s.opt.ControlPath, subsFile), func() ([]byte, error) {
		l, err := s.readSubs()
		if err != nil {
			return nil, err
		}
		return l.Edit(inner, on, s.opt.MaxFolders)
	})
	return s.fail("subscribe", err)
}
