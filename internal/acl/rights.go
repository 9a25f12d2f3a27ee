// Package acl is the algebra of access control lists (RFC 4314): rights,
// identifiers, lists of both, what one user may do by a list, and Dovecot's file
// dovecot-acl.
//
// Stores keep lists, the guard around a store reckons with them, IMAP sessions
// and the operator's tool change them. The package is pure. It must never know a
// mailbox, a session, or who is in which group: that is told in Who.
//
// # Reckoning
//
// Several identifiers of a list may fit one user. They have an order, Dovecot's:
// group-override, user, owner, group, authenticated, anyone. The highest kind that
// has an entry for the user decides alone; entries of several of his groups are
// joined. From that is taken what any negative entry that fits him names (RFC 4314
// §2: a negative right removes what another identifier grants). The owner has all
// rights as long as no entry for the owner, for his user name or for an overriding
// group says otherwise, and what is said of lower kinds does not concern him.
// Whatever a list says he keeps OwnerAlways, so that nobody can lock him out of his
// own mail and he can give himself the rest again (RFC 4314 §2: rights may always
// be granted to particular identifiers).
//
// # The file
//
// A line is an identifier, a blank, rights as letters, and perhaps a blank, ":" and
// rights in words, separated by blanks or commas:
//
//	owner lrwstipekxa
//	"user=Jane Doe" lr :write-seen
//	-group=guests w
//	# a comment
//
// An identifier is "user=", "group=" or "group-override=" with a name, or "owner",
// "authenticated", "anyone", "anonymous" (which means anyone). One with a blank in
// it stands in quotes, with a backslash before each quote and backslash; "-" before
// it (within the quotes) takes rights away. Lines that are not understood grant
// nothing and stay in the file. One of them that begins with "-" would have taken
// something from somebody: as long as it stands there, nobody but the owner has any
// right. An identifier that stands there twice has the rights of both lines.
package acl

import (
	"fmt"
	"strings"
)

// Rights are the standard rights of RFC 4314 §2.1.
type Rights uint16

// The rights, with their letters.
const (
	Lookup  Rights = 1 << iota // l: LIST shows it, SUBSCRIBE
	Read                       // r: SELECT, STATUS
	Seen                       // s: change \Seen
	Write                      // w: change flags other than \Seen and \Deleted
	Insert                     // i: APPEND, COPY into it
	Post                       // p: send mail to it; not IMAP's
	Create                     // k: CREATE below it, RENAME to below it
	Delete                     // x: DELETE it, RENAME it away
	Deleted                    // t: change \Deleted
	Expunge                    // e
	Admin                      // a: see and change the list
	All     Rights = 1<<iota - 1
)

// OwnerAlways is what the owner has whatever the list says.
const OwnerAlways = Lookup | Read | Admin

// letters are the rights' letters, by bit.
const letters = "lrswipkxtea"

// The virtual rights of RFC 4314 §2.1.1 with what they stand for: of the two
// readings of RFC 2086 the one of the document's examples.
const (
	oldCreate = Create | Delete
	oldDelete = Expunge | Deleted
)

// Extra are the rights that RFC 2086 had not: what the capability RIGHTS= tells.
const Extra = "texk"

// Of gives the right of a letter; those of "c" and "d" are several.
func Of(letter byte) (Rights, bool) {
	switch letter {
	case 'c':
		return oldCreate, true
	case 'd':
		return oldDelete, true
	}
	if i := strings.IndexByte(letters, letter); i >= 0 {
		return 1 << i, true
	}
	return 0, false
}

// ParseRights reads a string of letters. Its error may be shown to clients (RFC 4314
// §3.1: no right that is not known may be ignored).
func ParseRights(s string) (r Rights, err error) {
	for i := range len(s) {
		one, ok := Of(s[i])
		switch {
		case ok:
			r |= one
		case 'A' <= s[i] && s[i] <= 'Z':
			return 0, fmt.Errorf("rights are lower-case letters")
		case '!' <= s[i] && s[i] <= '~':
			return 0, fmt.Errorf("the right %c is not supported", s[i])
		default:
			return 0, fmt.Errorf("rights are lower-case letters")
		}
	}
	return r, nil
}

// Has reports whether all of want are there.
func (r Rights) Has(want Rights) bool { return r&want == want }

// String gives the letters, in the RFC's order.
func (r Rights) String() string { return r.in(letters) }

func (r Rights) in(order string) string {
	out := make([]byte, 0, len(order)+2)
	for i := range len(order) {
		if one, _ := Of(order[i]); r&one != 0 {
			out = append(out, order[i])
		}
	}
	return string(out)
}

// Wire gives the letters as responses have them: with "c" and "d" as soon as one
// of their members is there (RFC 4314 §2.1.1).
func (r Rights) Wire() string { return r.in(letters + "cd") }

// Each gives the rights one by one, in the RFC's order.
func (r Rights) Each() (out []Rights) {
	for i := range len(letters) {
		if r&(1<<i) != 0 {
			out = append(out, 1<<i)
		}
	}
	return out
}

// Change is the third argument of SETACL (RFC 4314 §3.1).
type Change struct {
	Op     byte // '+' adds, '-' removes, 0 replaces
	Rights Rights
}

// ParseChange reads it. Its error may be shown to clients.
func ParseChange(s string) (c Change, err error) {
	if s != "" && (s[0] == '+' || s[0] == '-') {
		c.Op, s = s[0], s[1:]
	}
	c.Rights, err = ParseRights(s)
	return c, err
}

// Apply gives what becomes of rights.
func (c Change) Apply(old Rights) Rights {
	switch c.Op {
	case '+':
		return old | c.Rights
	case '-':
		return old &^ c.Rights
	}
	return c.Rights
}

// Grantable tells what LISTRIGHTS does (RFC 4314 §3.4): what an identifier always
// has, and what beyond that it can be given. owner is the owner's user name; wide
// says whether anyone and authenticated can be given anything
// (imap_acl_allow_anyone).
func Grantable(id ID, owner string, wide bool) (always, can Rights) {
	switch {
	case id.Wide() && !id.Negative && !wide:
		return 0, 0
	case id.Negative:
		return 0, All
	case id.Kind == Owner || id.Kind == User && id.Name == owner:
		return OwnerAlways, All &^ OwnerAlways
	}
	return 0, All
}
