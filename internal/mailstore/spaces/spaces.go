// Package spaces joins the stores of a user's namespaces (RFC 2342) to one: each
// namespace keeps its mail in a place and a format of its own, and whoever uses
// the mail sees one tree of names.
//
// Package worker joins what the settings name; limits and the hold for undelete
// go around the whole. It must never know a protocol or a mail format: between
// two namespaces it reads with the interface of one and appends with that of the
// other.
//
// # Names
//
// A name belongs to the namespace with the longest prefix that it begins with;
// INBOX to the one that holds it, whatever its prefix. What a store has under a
// name that belongs to another namespace cannot be seen. A namespace that does
// not hold INBOX has one of its own all the same (the top directory of a Maildir,
// say): it is prefix + "INBOX", and listed if there is mail in it. A prefix
// itself, without its separator, is no mailbox and cannot become one.
//
// # Between namespaces
//
// COPY is all or nothing, as the appending store is. MOVE copies, then expunges,
// in steps: a power cut in between leaves a step's messages in both places, an
// error while expunging takes those copies back whose originals stay. RENAME is
// refused: UIDs and UIDVALIDITY could not be kept.
//
// # Others' mail
//
// Whole puts namespaces of other users' mail beside a user's own store, with the
// limits, the hold and the guard that stand around that: none of these is asked about
// what is another's. Its subscriptions are the user's own; it has no annotations and
// no quota for him.
package spaces

import (
	"errors"
	"slices"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
)

// Member is a namespace's store. Its Namespaces gives the one namespace.
type Member struct {
	Store mailstore.Store
	Inbox bool // it holds INBOX; exactly one does
	// Subscriptions of its names are kept here; else by the nearest one above that
	// keeps its own, which must be there.
	Subscriptions bool
}

// space is a member with its place in the names.
type space struct {
	Member
	ns     mailstore.Namespace
	prefix string // with '/': "" or ends in it
	keeper *space // of its subscriptions
}

// root is the prefix as a name; "" if there is none.
func (m *space) root() mailstore.Name { return strings.TrimSuffix(m.prefix, imapname.Separator) }

// Store is a mailstore.Store of several.
type Store struct {
	spaces []*space // the one with INBOX first
	inbox  *space
	merged bool // some space does not keep its own subscriptions
}

var _ mailstore.Store = (*Store)(nil)

// Join makes one store of the members', which are its own from then on. They are
// at least one, in the order of the settings; INBOX's comes out first. An error
// closes them.
func Join(members []Member) (*Store, error) {
	s := &Store{}
	for _, m := range members {
		sp := &space{Member: m, ns: m.Store.Namespaces()[0]}
		sp.prefix = strings.ReplaceAll(sp.ns.Prefix, string(rune(sp.ns.Separator)), imapname.Separator)
		if m.Inbox {
			s.spaces, s.inbox = append([]*space{sp}, s.spaces...), sp
		} else {
			s.spaces = append(s.spaces, sp)
		}
	}
	err := s.check()
	for _, sp := range s.spaces {
		sp.keeper = sp
		if !sp.Subscriptions {
			s.merged = true
			if sp.keeper = s.above(sp); sp.keeper == nil && err == nil {
				err = errkind.Newf("open store", errkind.Invalid, "the namespace "+sp.ns.Prefix+" keeps no subscriptions, and none above it does")
			}
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Store) check() error {
	bad := func(text string) error { return errkind.Newf("open store", errkind.Invalid, text) }
	inboxes, prefixes := 0, map[string]bool{}
	for _, sp := range s.spaces {
		if sp.Inbox {
			inboxes++
		}
		if prefixes[sp.prefix] {
			return bad("two namespaces have the prefix \"" + sp.ns.Prefix + "\"")
		}
		prefixes[sp.prefix] = true
		if sp.ns.Separator != s.spaces[0].ns.Separator {
			return bad("the namespaces have different separators")
		}
	}
	if inboxes != 1 {
		return bad("exactly one namespace must hold INBOX")
	}
	return nil
}

// above finds the nearest space above one that keeps its own subscriptions.
func (s *Store) above(of *space) (best *space) {
	for _, sp := range s.spaces {
		if sp != of && sp.Subscriptions && strings.HasPrefix(of.prefix, sp.prefix) && (best == nil || len(sp.prefix) > len(best.prefix)) {
			best = sp
		}
	}
	return best
}

// owner gives the space that a name belongs to; nil if none.
func (s *Store) owner(name mailstore.Name) (best *space) {
	if name == imapname.Inbox {
		return s.inbox
	}
	for _, sp := range s.spaces {
		if strings.HasPrefix(name, sp.prefix) && (best == nil || len(sp.prefix) > len(best.prefix)) {
			best = sp
		}
	}
	return best
}

// isRoot reports whether a name is a namespace's prefix.
func (s *Store) isRoot(name mailstore.Name) bool {
	return name != imapname.Inbox && slices.ContainsFunc(s.spaces, func(sp *space) bool { return name != "" && sp.root() == name })
}

// inner is the name as the space's own store has it.
func (m *space) inner(name mailstore.Name) mailstore.Name {
	if !m.Inbox && name == m.prefix+imapname.Inbox {
		return imapname.Inbox
	}
	return name
}

// outer is the name of a mailbox of the space's store; shown is false if it cannot
// be seen.
func (s *Store) outer(m *space, name mailstore.Name) (out mailstore.Name, shown bool) {
	if !m.Inbox && name == imapname.Inbox {
		if name = m.prefix + name; m.prefix == "" {
			return "", false
		}
	}
	return name, s.owner(name) == m && !s.isRoot(name)
}

// route finds the space of a mailbox, and its name there. errkind: NotFound,
// Invalid for a prefix.
func (s *Store) route(op string, name mailstore.Name) (*space, mailstore.Name, error) {
	if s.isRoot(name) {
		return nil, "", errkind.Newf(op, errkind.Invalid, "the name is only a parent of mailboxes")
	}
	m := s.owner(name)
	if m == nil {
		return nil, "", errkind.Newf(op, errkind.NotFound, "there is no such mailbox")
	}
	return m, m.inner(name), nil
}

// Namespaces gives all, that of INBOX first: clients take the first for the
// user's main one.
func (s *Store) Namespaces() []mailstore.Namespace {
	out := make([]mailstore.Namespace, len(s.spaces))
	for i, sp := range s.spaces {
		out[i] = sp.ns
	}
	return out
}

// Status looks without opening.
func (s *Store) Status(name mailstore.Name, want mailstore.StatusWant) (mailstore.Status, error) {
	m, inner, err := s.route("status", name)
	if err != nil {
		return mailstore.Status{}, err
	}
	return m.Store.Status(inner, want)
}

// Append begins to add messages.
func (s *Store) Append(name mailstore.Name) (mailstore.Appender, error) {
	m, inner, err := s.route("append", name)
	if err != nil {
		return nil, err
	}
	return m.Store.Append(inner)
}

// Open opens a mailbox.
func (s *Store) Open(name mailstore.Name) (mailstore.Mailbox, error) {
	m, inner, err := s.route("open", name)
	if err != nil {
		return nil, err
	}
	mb, err := m.Store.Open(inner)
	if err != nil {
		return nil, err
	}
	return &box{mb, s, m}, nil
}

// Create makes a mailbox.
func (s *Store) Create(name mailstore.Name, use mailstore.Attr) (mailstore.Name, error) {
	if s.isRoot(name) {
		return "", errkind.Newf("create", errkind.Exists, "the name is that of a namespace")
	}
	m, inner, err := s.route("create", name)
	if errkind.Is(err, errkind.NotFound) {
		return "", errkind.Newf("create", errkind.Invalid, "the name is in no namespace")
	}
	if err != nil {
		return "", err
	}
	out, err := m.Store.Create(inner, use)
	if err != nil {
		return "", err
	}
	out, _ = s.outer(m, out)
	return out, nil
}

// Delete removes a mailbox's mail.
func (s *Store) Delete(name mailstore.Name) error {
	m, inner, err := s.route("delete", name)
	if err != nil {
		return err
	}
	return m.Store.Delete(inner)
}

// Rename moves a mailbox within its namespace.
func (s *Store) Rename(from, to mailstore.Name) error {
	m, inner, err := s.route("rename", from)
	if err != nil {
		return err
	}
	if s.isRoot(to) {
		return errkind.Newf("rename", errkind.Exists, "the name is that of a namespace")
	}
	if s.owner(to) != m {
		return errkind.Newf("rename", errkind.Invalid, "a mailbox cannot be renamed into another namespace; create one there and move the messages")
	}
	// Mailboxes below it would come to lie under names of another namespace.
	for _, sp := range s.spaces {
		if sp != m && imapname.Name(sp.root()).Below(imapname.Name(to)) && from != imapname.Inbox {
			return errkind.Newf("rename", errkind.Invalid, "the namespace "+sp.ns.Prefix+" is below the new name")
		}
	}
	return m.Store.Rename(inner, m.inner(to))
}

// Quota is that of INBOX's store.
func (s *Store) Quota() (mailstore.Quota, bool, error) { return s.inbox.Store.Quota() }

// Close gives up all stores.
func (s *Store) Close() error {
	var err error
	for _, sp := range s.spaces {
		err = errors.Join(err, sp.Store.Close())
	}
	return err
}
