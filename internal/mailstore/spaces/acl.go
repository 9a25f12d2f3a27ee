package spaces

import (
	"rookery/internal/acl"
	"rookery/internal/mailstore"
)

var _ mailstore.ACLKeeper = (*Store)(nil)

// ACL is mailstore.ACLKeeper's.
func (s *Store) ACL(name mailstore.Name) (acl.List, error) {
	m, inner, err := s.route("read access control list", name)
	if err != nil {
		return acl.List{}, err
	}
	k, err := of[mailstore.ACLKeeper](m, "read access control list")
	if err != nil {
		return acl.List{}, err
	}
	return k.ACL(inner)
}

// DefaultACL is mailstore.ACLKeeper's: that of the namespace which the name is in.
func (s *Store) DefaultACL(name mailstore.Name) (acl.List, error) {
	m, inner, err := s.route("read access control list", name)
	if err != nil {
		return acl.List{}, err
	}
	k, err := of[mailstore.ACLKeeper](m, "read access control list")
	if err != nil {
		return acl.List{}, err
	}
	return k.DefaultACL(inner)
}

// EditACL is mailstore.ACLKeeper's.
func (s *Store) EditACL(name mailstore.Name, edit func(acl.List) (acl.List, error)) error {
	m, inner, err := s.route("change access control list", name)
	if err != nil {
		return err
	}
	k, err := of[mailstore.ACLKeeper](m, "change access control list")
	if err != nil {
		return err
	}
	return k.EditACL(inner, edit)
}
