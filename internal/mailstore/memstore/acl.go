package memstore

import (
	"rookery/internal/acl"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
)

var _ mailstore.ACLKeeper = (*Store)(nil)

// ACL is for mailstore.ACLKeeper.
func (s *Store) ACL(name mailstore.Name) (acl.List, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.lookup("read access control list", name)
	if err != nil {
		return acl.List{}, err
	}
	return b.acl, nil
}

// DefaultACL is for mailstore.ACLKeeper.
func (s *Store) DefaultACL(mailstore.Name) (acl.List, error) { return s.opt.DefaultACL, nil }

// inherited gives the list that a new mailbox gets. It needs the lock.
func (s *Store) inherited(name string) acl.List {
	for p := imapname.Name(name).Parent(); p != ""; p = p.Parent() {
		if b := s.boxes[string(p)]; b != nil {
			return b.acl.Inherited()
		}
	}
	return s.opt.DefaultACL.Inherited()
}

// EditACL is for mailstore.ACLKeeper.
func (s *Store) EditACL(name mailstore.Name, edit func(acl.List) (acl.List, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.lookup("change access control list", name)
	if err != nil {
		return err
	}
	list, err := edit(b.acl)
	if err == nil {
		b.acl = list
	}
	return err
}
