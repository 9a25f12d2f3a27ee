package mailstore

import "rookery/internal/acl"

// ACLKeeper is a Store that keeps an access control list for each mailbox (RFC
// 4314). It only keeps them: who may do what is a matter of package guarded, which
// stands before the store. A list goes with its mailbox's RENAME, and is gone with
// its DELETE. A mailbox that is made gets the list of the nearest mailbox above it
// that is there, or else the default one, as they are at that moment.
type ACLKeeper interface {
	// ACL gives a mailbox's list, an empty one where it has none. errkind: NotFound,
	// Invalid for a mere parent, TooBig for a file that is not served.
	ACL(name Name) (acl.List, error)
	// DefaultACL gives the list that a mailbox of that name would get if none is
	// above it.
	DefaultACL(name Name) (acl.List, error)
	// EditACL replaces a mailbox's list by what edit makes of it, durable; nothing
	// changes it between. An error of edit leaves it as it is. edit is called at most
	// once, and must not use the store.
	EditACL(name Name, edit func(acl.List) (acl.List, error)) error
}

// ACLs finds who keeps a store's lists, through what stands before it; ok is false
// where nobody does.
func ACLs(s Store) (k ACLKeeper, ok bool) {
	for s != nil {
		if k, ok = s.(ACLKeeper); ok {
			return k, true
		}
		u, is := s.(interface{ Unwrap() Store })
		if !is {
			break
		}
		s = u.Unwrap()
	}
	return nil, false
}

// Sharer is a Store that checks the lists for one user, and lets him see and change
// them as far as they allow it (RFC 4314 §3). Every method gives errkind.NotFound for
// a mailbox that he may not know of, as for one that is not there.
type Sharer interface {
	Store
	// MyRights gives what the user may do with a mailbox.
	MyRights(name Name) (acl.Rights, error)
	// GetACL gives the list. errkind.NoPermission without acl.Admin.
	GetACL(name Name) (acl.List, error)
	// SetACL changes an identifier's rights. errkind: NoPermission, Limit, Invalid.
	SetACL(name Name, id acl.ID, change acl.Change) error
	// DeleteACL takes an identifier out of the list, whether it is in it or not.
	DeleteACL(name Name, id acl.ID) error
	// Grantable gives the rights that an identifier always has, and those that it can
	// be given beyond (RFC 4314 §3.4). errkind.NoPermission without acl.Admin.
	Grantable(name Name, id acl.ID) (always, can acl.Rights, err error)
}
