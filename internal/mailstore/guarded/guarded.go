// Package guarded stands before a mailstore.Store and lets one user do with it what
// the access control lists of its mailboxes allow him (RFC 4314 §4): the owner
// himself, or another user, a grantee.
//
// The IMAP worker puts one around its user's own store; whoever serves a grantee,
// one for him around the owner's. It works on every driver that keeps lists
// (mailstore.ACLKeeper). It must never know a protocol, a process, or how a user
// proved who he is: that is told in acl.Who.
//
// # What a grantee sees
//
// A mailbox without the right l is not there for him: every call gives the error of a
// name that is no mailbox's, made in one place, and RENAME, CREATE and COPY tell it
// from nothing either. What a list grants beside l is of no use without it. A list
// that cannot be read grants nothing.
//
// Nor does the work that a call makes tell them apart, and so its time: a name that the
// grantee was not known to see is looked for by a look at all names and all lists, which
// is the same whatever the name was, and files of a mailbox are touched only after it was
// found to be one of his. The first call after a right was taken is answered by a look at
// that mailbox's list alone: of what he was shown a moment before he may learn that.
//
// A right is looked up when it is needed, not kept: what the owner takes away is gone
// with the next call, in mailboxes that are open, too; one whose l or r is taken is
// then gone as a deleted one is. The owner's own l, r and a are his whatever the list
// says (acl.OwnerAlways), so that his reading costs no look at it.
//
// A grantee gives no message a GUID, a UID or a UIDL, keeps nothing in the cache of
// derived facts, and takes no \Recent: they are the owner's. He sees no subscriptions
// and no quota; his subscriptions are kept where his own mail is.
//
// # Flags
//
// \Seen needs s, \Deleted t, all other flags and keywords w. STORE changes what it
// may and fails only if that is nothing; COPY, MOVE and APPEND into a mailbox need i,
// and leave away the flags that may not be set there. MOVE needs t and e where the
// messages are, as RFC 6851 §4.2 has it.
//
// # \Seen of one's own
//
// With Options.Private a grantee's \Seen is his own: it is kept by whoever
// implements Private, and the shared flag is neither shown nor changed. A change of it
// has a mod-sequence of his own (see Own), so that his other sessions, SEARCH, CONDSTORE
// and QRESYNC know of it, and nobody else's do. Sessions on other Stores of the same
// grantee are told with the next look.
package guarded

import (
	"sync"
	"sync/atomic"
	"time"

	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
)

// Options say for whom.
type Options struct {
	// Who is the user. Who.Owner says that the mail is his.
	Who acl.Who
	// Owner is the owner's user name.
	Owner string
	// Wide lets anyone and authenticated be given rights (imap_acl_allow_anyone).
	Wide bool
	// Private keeps a grantee's own \Seen; nil: he shares the owner's.
	Private Private
	// Now is the clock by which the owner's Sync looks for changes of a list by other
	// processes once a second, and not each time. nil: each time. What he may do is
	// looked up when he does it in any case.
	Now func() time.Time
}

// Store is the store as the user may see it.
type Store struct {
	inner mailstore.Store
	lists mailstore.ACLKeeper
	opt   Options

	mu       sync.Mutex
	known    map[mailstore.Name]bool // what a grantee could see at the last survey
	watchers ownWatchers
	edits    atomic.Uint64 // of lists, by this Store
}

// OwnStore is a Store for the owner. What else the store offers he may use.
type OwnStore struct{ *Store }

// Unwrap gives the store inside.
func (s *OwnStore) Unwrap() mailstore.Store { return s.Store.inner }

var (
	_ mailstore.Sharer = (*Store)(nil)
	_ mailstore.Sharer = (*OwnStore)(nil)
)

// Wrap puts the guard around a store. ok is false if the store keeps no lists: then
// it can be served to its owner only, as it is.
func Wrap(inner mailstore.Store, opt Options) (s mailstore.Sharer, ok bool) {
	lists, ok := mailstore.ACLs(inner)
	if !ok {
		return nil, false
	}
	g := &Store{inner: inner, lists: lists, opt: opt}
	if opt.Who.Owner {
		return &OwnStore{g}, true
	}
	return g, true
}

// notFound is the error for every mailbox that is not there, or that the user may not
// know of: it says nothing else.
func notFound(op string) error {
	return errkind.Newf(op, errkind.NotFound, "there is no such mailbox")
}

func denied(op string) error {
	return errkind.Newf(op, errkind.NoPermission, "the access control list does not allow it")
}

// rights gives what the user may do with a mailbox. errkind.NotFound as notFound
// says; the owner gets the store's own errors.
func (s *Store) rights(op string, name mailstore.Name) (acl.Rights, error) {
	if s.opt.Who.Owner {
		list, err := s.lists.ACL(name)
		switch {
		case errkind.Is(err, errkind.NotFound), errkind.Is(err, errkind.Invalid):
			return acl.All, err
		case err != nil:
			return acl.All, nil // his mail is his though his list is damaged
		}
		return list.Rights(s.opt.Who), nil
	}
	if !s.knows(name) {
		now, err := s.survey()
		if err != nil || !now.rights[name].Has(acl.Lookup) {
			return 0, notFound(op)
		}
	}
	list, err := s.lists.ACL(name)
	if err == nil {
		if r := list.Rights(s.opt.Who); r.Has(acl.Lookup) {
			return r, nil
		}
	}
	s.forget(name)
	return 0, notFound(op)
}

// need is the error of a call that needs rights; all of want must be there.
func (s *Store) need(op string, name mailstore.Name, want acl.Rights) error {
	if s.opt.Who.Owner && acl.OwnerAlways.Has(want) {
		return nil
	}
	r, err := s.rights(op, name)
	switch {
	case err == nil && !r.Has(want):
		return denied(op)
	case err == nil, s.opt.Who.Owner: // the store's own error is told by the store
		return nil
	}
	return s.missing(op, name, err)
}

// missing is the error of a grantee's call for what is no mailbox of his: that of a
// mere parent where something below it is.
func (s *Store) missing(op string, name mailstore.Name, err error) error {
	if s.opt.Who.Owner {
		return err
	}
	list, lerr := s.List()
	if lerr != nil {
		return err
	}
	for _, f := range list {
		if f.Name == name && f.Attrs&(mailstore.NoSelect|mailstore.NonExistent) != 0 {
			return errkind.Newf(op, errkind.Invalid, "the name is only a parent of mailboxes")
		}
	}
	return err
}

// Namespaces gives the owner's.
func (s *Store) Namespaces() []mailstore.Namespace { return s.inner.Namespaces() }

// Status needs r.
func (s *Store) Status(name mailstore.Name, want mailstore.StatusWant) (mailstore.Status, error) {
	if err := s.need("status", name, acl.Read); err != nil {
		return mailstore.Status{}, err
	}
	st, err := s.inner.Status(name, want)
	if err == nil && s.private() {
		err = s.countUnseen(name, &st)
	}
	return st, s.hide("status", err)
}

// hide makes the error of a mailbox that went away between the look at its list and
// the call that of one that is not there.
func (s *Store) hide(op string, err error) error {
	if err != nil && !s.opt.Who.Owner && errkind.Is(err, errkind.NotFound) {
		return notFound(op)
	}
	return err
}

// Quota is told to the owner alone.
func (s *Store) Quota() (mailstore.Quota, bool, error) {
	if !s.opt.Who.Owner {
		return mailstore.Quota{}, false, nil
	}
	return s.inner.Quota()
}

// Close gives up everything.
func (s *Store) Close() error { return s.inner.Close() }

// MyRights is mailstore.Sharer's. Whoever has l may ask (RFC 4314 §4 names more
// rights; none of them is of use without l). Of a mailbox that he is known to see it costs
// no look at the list of mailboxes.
func (s *Store) MyRights(name mailstore.Name) (acl.Rights, error) {
	r, err := s.rights("myrights", name)
	if err != nil {
		return 0, s.missing("myrights", name, err)
	}
	return r, nil
}

// there makes the owner's calls fail for names that what stands before the store
// hides; need does the rest.
func (s *Store) there(op string, name mailstore.Name) error {
	f, err := s.Lookup(name)
	if err != nil {
		return s.hide(op, err)
	}
	if f.Attrs&(mailstore.NoSelect|mailstore.NonExistent) != 0 {
		return errkind.Newf(op, errkind.Invalid, "the name is only a parent of mailboxes")
	}
	return nil
}

// administer is the error of a call that needs a.
func (s *Store) administer(op string, name mailstore.Name) error {
	if err := s.there(op, name); err != nil {
		return err
	}
	return s.need(op, name, acl.Admin)
}

// GetACL is mailstore.Sharer's.
func (s *Store) GetACL(name mailstore.Name) (acl.List, error) {
	if err := s.administer("getacl", name); err != nil {
		return acl.List{}, err
	}
	list, err := s.lists.ACL(name)
	return list, s.hide("getacl", err)
}

// SetACL is mailstore.Sharer's.
func (s *Store) SetACL(name mailstore.Name, id acl.ID, change acl.Change) error {
	const op = "setacl"
	if err := s.administer(op, name); err != nil {
		return err
	}
	if id.Wide() && !id.Negative && !s.opt.Wide && change.Op != '-' && change.Rights != 0 {
		return errkind.Newf(op, errkind.NoPermission, "nothing can be shared with everybody: imap_acl_allow_anyone is off")
	}
	defer s.edits.Add(1)
	return s.hide(op, s.lists.EditACL(name, func(l acl.List) (acl.List, error) {
		// The list may have changed since the look above.
		if !l.Rights(s.opt.Who).Has(acl.Lookup | acl.Admin) {
			return l, denied(op)
		}
		return l.Changed(id, change)
	}))
}

// DeleteACL is mailstore.Sharer's.
func (s *Store) DeleteACL(name mailstore.Name, id acl.ID) error {
	const op = "deleteacl"
	if err := s.administer(op, name); err != nil {
		return err
	}
	defer s.edits.Add(1)
	return s.hide(op, s.lists.EditACL(name, func(l acl.List) (acl.List, error) {
		if !l.Rights(s.opt.Who).Has(acl.Lookup | acl.Admin) {
			return l, denied(op)
		}
		out, _ := l.Without(id)
		return out, nil
	}))
}

// Grantable is mailstore.Sharer's.
func (s *Store) Grantable(name mailstore.Name, id acl.ID) (always, can acl.Rights, err error) {
	if err := s.administer("listrights", name); err != nil {
		return 0, 0, err
	}
	always, can = acl.Grantable(id, s.opt.Owner, s.opt.Wide)
	return always, can, nil
}
