// Package others shows one user the mailboxes that other users share with him, as a
// namespace of his own tree of names (RFC 2342): "Other Users" with a level for each
// owner, or a public namespace whose mail is one owner's.
//
// The IMAP worker puts it beside the user's own store (spaces.Whole). Where the mail
// really is, who may see it and how its owner's process is reached is the business of
// a Directory. The package must never know a process, a channel or a file, and decides
// nothing about rights: the owner's end checks each call.
//
// # Names
//
// A mailbox of the owner ann is the namespace's prefix, "ann", "/" and the name that
// she has for it; INBOX too, and it is nothing special there. In a public namespace
// the owner's level is not there. What cannot stand in an owner's level is written "="
// and two upper-case hexadecimal digits for each octet: the separator of the names as
// clients see them, "/", "=", "%", "*" and control characters; in a name that would
// not stay as it is in NFC all that is not ASCII. Each owner has one name: another
// spelling of it is none.
//
// # What is there
//
// LIST and Lookup answer from the Directory's list alone. A name that is not in it, and
// is not above one that is, gets the error of a mailbox that is not there at once, and
// nobody is asked: neither the answer nor the time tells a hidden mailbox, an owner who
// shares nothing and an owner who does not exist from each other. What is made, renamed
// or deleted here counts before the list has it.
//
// # Annotations
//
// Those below /shared are the owner's: his end checks the rights, and keeps them within
// his limits. Those below /private are the user's own and lie with his own mail (Notes). A
// change by others is told while a way to the owner is open: from the first use of his
// mail, or because somebody asked for it (FollowAnnotations). What was changed while it
// was not is told by nothing.
//
// # When the owner's end goes away
//
// A call finds out by asking the Directory for the owner's store, and goes to the new
// one if it is another than before. Calls that only look are tried again once; those
// that change something are not, since nobody knows whether they were done: they fail
// with errkind.Unavailable. An open mailbox is opened anew in the new store, and goes on
// where its UIDVALIDITY and GUID are the same; else it is gone as a deleted one is.
package others

import (
	"sync"

	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
)

// Share is a mailbox that its owner lets the user see.
type Share struct {
	Owner string
	Name  mailstore.Name // the owner's own
}

// Directory knows what is shared with the user, and how to get there. Its methods may
// be called from several goroutines.
type Directory interface {
	// Shares gives what is shared with the user, in the order of owner and name. Nobody
	// changes a list once it was given: a new one is another slice. It starts nothing.
	Shares() ([]Share, error)
	// Reach gives the store of an owner as the user may see it, by the owner's names,
	// starting what has to be started. It is the same one as long as that works.
	// errkind: NotFound (he shares nothing with the user, or there is nobody of that
	// name), Unavailable, Limit.
	Reach(owner string) (mailstore.Sharer, error)
}

// Options say what a Store shows.
type Options struct {
	// Namespace has a prefix.
	Namespace mailstore.Namespace
	// Owner is whose mail a public namespace shows; "": all owners', a level for each.
	Owner string
	// Hidden are owners who have no level: the user himself, and those with a
	// namespace of their own.
	Hidden    []string
	Directory Directory
	// Notes keeps the user's own annotations; nil: he can make none.
	Notes Notes
}

// Store is a mailstore.Sharer for others' mail.
type Store struct {
	opt    Options
	prefix string // with '/'
	mu     sync.Mutex
	shown  *picture
	early  []amendment // what was done here and is not in the Directory's list yet
	notes  noting
}

var _ mailstore.Sharer = (*Store)(nil)

// Open makes the store. It asks nobody. errkind.Invalid: a namespace without a prefix.
func Open(opt Options) (*Store, error) {
	if opt.Namespace.Prefix == "" || opt.Namespace.Prefix[len(opt.Namespace.Prefix)-1] != opt.Namespace.Separator {
		return nil, errkind.Newf("open namespace", errkind.Invalid, "others' mail needs a prefix that ends in the separator")
	}
	return &Store{opt: opt, prefix: prefixOf(opt.Namespace)}, nil
}

func notFound(op string) error {
	return errkind.Newf(op, errkind.NotFound, "there is no such mailbox")
}

func onlyParent(op string) error {
	return errkind.Newf(op, errkind.Invalid, "the name is only a parent of mailboxes")
}

func denied(op string) error {
	return errkind.Newf(op, errkind.NoPermission, "the access control list does not allow it")
}

// place finds a mailbox that the user may see. errkind: NotFound, Invalid for a name
// that is only above one.
func (s *Store) place(op string, name mailstore.Name) (owner string, inner mailstore.Name, err error) {
	p, err := s.picture()
	if err != nil {
		return "", "", err
	}
	owner, inner, ok := s.split(name)
	switch p.state(owner, inner) {
	case isMailbox:
		if ok && inner != "" {
			return owner, inner, nil
		}
	case isParent:
		if ok {
			return "", "", onlyParent(op)
		}
	}
	return "", "", notFound(op)
}

// reach gives an owner's store.
func (s *Store) reach(op, owner string) (mailstore.Sharer, error) {
	store, err := s.opt.Directory.Reach(owner)
	switch {
	case errkind.Is(err, errkind.NotFound):
		return nil, notFound(op)
	case err != nil:
		return nil, errkind.Wrap(op, err)
	}
	s.notes.use(owner, store)
	return store, nil
}

// once calls f with the owner's store and the name there.
func once[T any](s *Store, op string, name mailstore.Name, f func(mailstore.Sharer, mailstore.Name) (T, error)) (out T, err error) {
	owner, inner, err := s.place(op, name)
	if err != nil {
		return out, err
	}
	store, err := s.reach(op, owner)
	if err != nil {
		return out, err
	}
	return f(store, inner)
}

// again is once for what changes nothing: it is tried with a new store if the first
// one has gone away.
func again[T any](s *Store, op string, name mailstore.Name, f func(mailstore.Sharer, mailstore.Name) (T, error)) (T, error) {
	var used mailstore.Sharer
	out, err := once(s, op, name, func(store mailstore.Sharer, inner mailstore.Name) (T, error) {
		used = store
		return f(store, inner)
	})
	if used == nil || !errkind.Is(err, errkind.Unavailable) {
		return out, err
	}
	return once(s, op, name, func(store mailstore.Sharer, inner mailstore.Name) (T, error) {
		if store == used {
			return out, err
		}
		return f(store, inner)
	})
}

// nothing is the result of calls that have none.
type nothing = struct{}

// Namespaces gives the one namespace.
func (s *Store) Namespaces() []mailstore.Namespace {
	return []mailstore.Namespace{s.opt.Namespace}
}

// List gives the Directory's mailboxes and the parents that they imply.
func (s *Store) List() ([]mailstore.Folder, error) {
	p, err := s.picture()
	if err != nil {
		return nil, err
	}
	return p.folders, nil
}

// Lookup finds what List gives.
func (s *Store) Lookup(name mailstore.Name) (mailstore.Folder, error) {
	p, err := s.picture()
	if err != nil {
		return mailstore.Folder{}, err
	}
	if i, ok := p.find(name); ok {
		return p.folders[i], nil
	}
	return mailstore.Folder{}, notFound("lookup")
}

// Subscriptions gives none: they are kept with the user's own mail.
func (s *Store) Subscriptions() ([]mailstore.Name, error) { return nil, nil }

// Subscribe keeps nothing.
func (s *Store) Subscribe(mailstore.Name, bool) error {
	return errkind.Newf("subscribe", errkind.Invalid, "subscriptions are kept with the user's own mail")
}

// Create makes a mailbox of an owner who shares something with the user. For all
// others it is denied at once.
func (s *Store) Create(name mailstore.Name, use mailstore.Attr) (mailstore.Name, error) {
	const op = "create"
	p, err := s.picture()
	if err != nil {
		return "", err
	}
	owner, inner, ok := s.split(name)
	if !ok || inner == "" || len(p.names[owner]) == 0 {
		return "", denied(op)
	}
	if err := imapname.Name(inner).CheckNew(); err != nil {
		return "", errkind.New(op, errkind.Invalid, err)
	}
	store, err := s.reach(op, owner)
	if err != nil {
		return "", err
	}
	made, err := store.Create(inner, use)
	if err != nil {
		return "", err
	}
	s.amend(amendment{share: Share{owner, made}, there: true})
	return s.outer(owner, made), nil
}

// Delete removes a mailbox's mail.
func (s *Store) Delete(name mailstore.Name) error {
	deleted := s.forgetNotes(name)
	_, err := once(s, "delete", name, func(store mailstore.Sharer, inner mailstore.Name) (nothing, error) {
		return nothing{}, store.Delete(inner)
	})
	if err == nil {
		owner, inner, _ := s.split(name)
		s.amend(amendment{share: Share{owner, inner}})
		deleted()
	}
	return err
}

// Rename moves a mailbox of an owner's to another name of the same owner's.
func (s *Store) Rename(from, to mailstore.Name) error {
	const op = "rename"
	p, err := s.picture()
	if err != nil {
		return err
	}
	owner, inner, ok := s.split(from)
	if !ok || p.state(owner, inner) == isNothing {
		return notFound(op)
	}
	other, target, ok := s.split(to)
	switch {
	case !ok || target == "" || other != owner:
		return errkind.Newf(op, errkind.Invalid, "a mailbox cannot be renamed to another owner's; create one there and move the messages")
	case inner == "":
		return onlyParent(op)
	}
	if err := imapname.Name(target).CheckNew(); err != nil {
		return errkind.New(op, errkind.Invalid, err)
	}
	store, err := s.reach(op, owner)
	if err != nil {
		return err
	}
	if err := store.Rename(inner, target); err != nil {
		return err
	}
	s.amend(renamed(p.names[owner], owner, inner, target)...)
	return nil
}

// Status looks without opening.
func (s *Store) Status(name mailstore.Name, want mailstore.StatusWant) (mailstore.Status, error) {
	return again(s, "status", name, func(store mailstore.Sharer, inner mailstore.Name) (mailstore.Status, error) {
		return store.Status(inner, want)
	})
}

// Open opens a mailbox.
func (s *Store) Open(name mailstore.Name) (mailstore.Mailbox, error) {
	return again(s, "open", name, func(store mailstore.Sharer, inner mailstore.Name) (mailstore.Mailbox, error) {
		mb, err := store.Open(inner)
		if err != nil {
			return nil, err
		}
		owner, _, _ := s.split(name)
		return newBox(s, owner, store, mb), nil
	})
}

// Append begins to add messages.
func (s *Store) Append(name mailstore.Name) (mailstore.Appender, error) {
	return again(s, "append", name, func(store mailstore.Sharer, inner mailstore.Name) (mailstore.Appender, error) {
		return store.Append(inner)
	})
}

// Quota is told to the owner alone.
func (s *Store) Quota() (mailstore.Quota, bool, error) { return mailstore.Quota{}, false, nil }

// Close gives up nothing: the owners' stores are the Directory's.
func (s *Store) Close() error { return nil }

// MyRights is mailstore.Sharer's.
func (s *Store) MyRights(name mailstore.Name) (acl.Rights, error) {
	return again(s, "myrights", name, mailstore.Sharer.MyRights)
}

// GetACL is mailstore.Sharer's.
func (s *Store) GetACL(name mailstore.Name) (acl.List, error) {
	return again(s, "getacl", name, mailstore.Sharer.GetACL)
}

// SetACL is mailstore.Sharer's.
func (s *Store) SetACL(name mailstore.Name, id acl.ID, change acl.Change) error {
	_, err := once(s, "setacl", name, func(store mailstore.Sharer, inner mailstore.Name) (nothing, error) {
		return nothing{}, store.SetACL(inner, id, change)
	})
	return err
}

// DeleteACL is mailstore.Sharer's.
func (s *Store) DeleteACL(name mailstore.Name, id acl.ID) error {
	_, err := once(s, "deleteacl", name, func(store mailstore.Sharer, inner mailstore.Name) (nothing, error) {
		return nothing{}, store.DeleteACL(inner, id)
	})
	return err
}

// Grantable is mailstore.Sharer's.
func (s *Store) Grantable(name mailstore.Name, id acl.ID) (always, can acl.Rights, err error) {
	both, err := again(s, "listrights", name, func(store mailstore.Sharer, inner mailstore.Name) ([2]acl.Rights, error) {
		always, can, err := store.Grantable(inner, id)
		return [2]acl.Rights{always, can}, err
	})
	return both[0], both[1], err
}
