package acl

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"rookery/internal/saslprep"
)

// Kind is a kind of identifier. Of kinds that fit one user the higher one counts.
type Kind uint8

// The kinds, in Dovecot's order.
const (
	Anyone        Kind = iota // everybody, anonymous users too
	Authenticated             // everybody who has logged in by a name of his own
	Group
	Owner
	User
	GroupOverride // as Group, and stronger than User
)

// ID is an identifier of a list.
type ID struct {
	Kind     Kind
	Name     string // of User, Group, GroupOverride
	Negative bool   // its rights are taken away
}

// MaxName bounds a user's or group's name, in bytes.
const MaxName = 255

// The words of the file, and of the wire where a name would be taken for
// something else.
var fileWords = map[Kind]string{Anyone: "anyone", Authenticated: "authenticated", Owner: "owner", User: "user=", Group: "group=", GroupOverride: "group-override="}

// The prefixes of group names on the wire, as Dovecot has them.
const (
	wireGroup    = "$"
	wireOverride = "!$"
)

// Wide reports whether an identifier means more users than somebody could name.
func (id ID) Wide() bool { return id.Kind == Anyone || id.Kind == Authenticated }

// named reports whether identifiers of this kind have a name.
func (k Kind) named() bool { return k == User || k == Group || k == GroupOverride }

// The errors of identifiers. Their texts may be shown to clients.
var (
	errIdentEmpty = errors.New("the identifier is empty")
	errIdentLong  = errors.New("the identifier is too long")
	errIdentChars = errors.New("the identifier has characters that no name has")
)

// ParseID reads an identifier as clients write it: a user's name, "$" or "!$" and a
// group's, "anyone", "authenticated", "owner", or the words of the file; "-" before
// it takes rights away. It is prepared as RFC 4314 §3 says; a client that gets an
// error is to be told BAD.
func ParseID(wire string) (ID, error) {
	prepared, err := saslprep.Prepare(wire)
	if err != nil {
		return ID{}, errIdentChars
	}
	rest, negative := strings.CutPrefix(prepared, "-")
	id := parseBare(rest)
	if id.Kind == User && !strings.HasPrefix(rest, fileWords[User]) {
		switch {
		case strings.HasPrefix(rest, wireOverride):
			id = ID{Kind: GroupOverride, Name: rest[len(wireOverride):]}
		case strings.HasPrefix(rest, wireGroup):
			id = ID{Kind: Group, Name: rest[len(wireGroup):]}
		}
	}
	id.Negative = negative
	return id, id.check(true)
}

// parseBare reads one in the file's words; what is none of them is a user's name.
func parseBare(s string) ID {
	for _, k := range []Kind{User, Group, GroupOverride} {
		if name, ok := strings.CutPrefix(s, fileWords[k]); ok {
			return ID{Kind: k, Name: name}
		}
	}
	for _, k := range []Kind{Anyone, Authenticated, Owner} {
		if s == fileWords[k] {
			return ID{Kind: k}
		}
	}
	return ID{Kind: User, Name: s}
}

// check refuses names that nobody has, or that would not come through a file, a
// log or a terminal as they are. A group may have blanks in its name, a user only
// where blanks says so: what is in a list already can be named.
func (id ID) check(blanks bool) error {
	switch {
	case !id.Kind.named():
		return nil
	case id.Name == "":
		return errIdentEmpty
	case len(id.Name) > MaxName:
		return errIdentLong
	case !utf8.ValidString(id.Name) || strings.TrimSpace(id.Name) != id.Name:
		return errIdentChars
	}
	for _, r := range id.Name {
		if !unicode.IsPrint(r) || r == ' ' && id.Kind == User && !blanks || r == utf8.RuneError {
			return errIdentChars
		}
	}
	return nil
}

// Wire writes an identifier for clients. ParseID reads it back.
func (id ID) Wire() string {
	out := ""
	switch id.Kind {
	case User:
		out = id.Name
	case Group:
		out = wireGroup + id.Name
	case GroupOverride:
		out = wireOverride + id.Name
	default:
		out = fileWords[id.Kind]
	}
	if id.Kind == User && parseBare(out) != (ID{Kind: User, Name: id.Name}) || id.Kind == User && strings.ContainsAny(out[:min(1, len(out))], "-$!#") {
		out = fileWords[User] + id.Name // the name of something else
	}
	return id.sign() + out
}

// String is Wire.
func (id ID) String() string { return id.Wire() }

func (id ID) sign() string {
	if id.Negative {
		return "-"
	}
	return ""
}

// Who is a user, as a list sees him.
type Who struct {
	User      string
	Groups    []string
	Owner     bool // of the mailbox
	Anonymous bool // logged in without a name of his own
}

// fits reports whether an identifier means a user.
func (id ID) fits(w Who) bool {
	switch id.Kind {
	case Anyone:
		return true
	case Authenticated:
		return !w.Anonymous
	case Owner:
		return w.Owner
	case User:
		return !w.Anonymous && id.Name == w.User
	}
	for _, g := range w.Groups {
		if g == id.Name {
			return true
		}
	}
	return false
}
