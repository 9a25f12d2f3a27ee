// Package imapname makes and checks mailbox names, matches them against LIST's
// patterns and maps them to Maildir++ folder names.
//
// Workers and storage drivers use it. It must never open a folder or know
// which mailboxes exist.
package imapname

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"rookery/internal/imapname/mutf7"
)

// Inbox is the one name that every user has.
const Inbox = "INBOX"

// Separator stands between the levels of a Name, whatever the client sees.
const Separator = "/"

// MaxPart is the longest part of a name in bytes, as UTF-8 and as modified
// UTF-7; MaxName the longest name in UTF-8.
const (
	MaxPart = 255
	MaxName = 4096
)

// MaxDepth is how many levels a name may have.
const MaxDepth = 64

// The errors of Parse and Check. Their texts may be shown to clients.
var (
	ErrEmpty    = errors.New("mailbox name is empty or has an empty part")
	ErrLeading  = errors.New("mailbox name begins with / or ~")
	ErrDots     = errors.New("mailbox name has . or .. as a part")
	ErrControl  = errors.New("mailbox name has a control character")
	ErrLong     = errors.New("mailbox name is too long")
	ErrEncoding = errors.New("mailbox name is not valid modified UTF-7")
	ErrUTF8     = errors.New("mailbox name is not valid UTF-8")
	ErrSlash    = errors.New("mailbox name has a / that is not this namespace's separator")

	ErrUnassigned = errors.New("mailbox name has a character that Unicode does not have")
)

// Name is a mailbox's name: valid UTF-8 in NFC, '/' between the levels, INBOX
// in upper case as a whole and as the first level.
type Name string

// Parse makes a Name of what a client sent. utf8Mode says that the session has
// enabled UTF-8 names (RFC 6855, RFC 9051); then they are taken as UTF-8, else
// as modified UTF-7 (RFC 3501 §5.1.3).
func Parse(wire string, utf8Mode bool) (Name, error) {
	return Dialect{UTF8: utf8Mode}.Parse(wire, false)
}

// Canonical gives NFC with INBOX in upper case. It does not check: s must be
// valid UTF-8.
func Canonical(s string) Name {
	s = norm.NFC.String(s)
	if len(s) >= len(Inbox) && strings.EqualFold(s[:len(Inbox)], Inbox) && (len(s) == len(Inbox) || s[len(Inbox)] == '/') {
		return Name(Inbox + s[len(Inbox):])
	}
	return Name(s)
}

// Check reports what keeps n from being a mailbox's name: ErrEmpty, ErrLeading,
// ErrDots, ErrControl, ErrLong or ErrUTF8.
func (n Name) Check() error {
	if !utf8.ValidString(string(n)) {
		return ErrUTF8
	}
	if len(n) > MaxName || strings.Count(string(n), Separator) >= MaxDepth {
		return ErrLong
	}
	if n != "" && n[0] == '/' {
		return ErrLeading
	}
	for _, part := range n.Parts() {
		switch {
		case part == "":
			return ErrEmpty
		case part == "." || part == "..":
			return ErrDots
		case len(part) > MaxPart || len(mutf7.Encode(part)) > MaxPart:
			return ErrLong
		}
	}
	for _, r := range n {
		// C0, DEL, C1, and the line and paragraph separators that some
		// programs take for line ends
		if r < 0x20 || r >= 0x7F && r < 0xA0 || r == 0x2028 || r == 0x2029 {
			return ErrControl
		}
	}
	return nil
}

// CheckNew is Check for a mailbox that is to be made: a name that begins with
// '~' is refused too, since other servers and clients take it for another
// user's home, and one that is no Net-Unicode (ErrUnassigned), as RFC 9051 §5.1
// demands: RFC 5198 §2 has neither a byte order mark at the beginning nor code points
// that are unassigned, whose normal form may be another one tomorrow. A mailbox that
// another program made is served.
func (n Name) CheckNew() error {
	if strings.HasPrefix(string(n), "~") {
		return ErrLeading
	}
	if err := n.Check(); err != nil {
		return err
	}
	for i, r := range n {
		if i == 0 && r == '\uFEFF' || !unicode.IsGraphic(r) && !unicode.In(r, unicode.Cf, unicode.Co) {
			return ErrUnassigned
		}
	}
	return nil
}

// Parts gives the levels, "" for the empty name.
func (n Name) Parts() []string { return strings.Split(string(n), Separator) }

// Parent is the name without its last level, "" for a name of one level.
func (n Name) Parent() Name {
	if i := strings.LastIndex(string(n), Separator); i >= 0 {
		return n[:i]
	}
	return ""
}

// Base is the last level.
func (n Name) Base() string {
	return string(n)[strings.LastIndex(string(n), Separator)+1:]
}

// Below reports whether n lies anywhere below parent; every name lies below "".
func (n Name) Below(parent Name) bool {
	if parent == "" {
		return n != ""
	}
	return len(n) > len(parent)+1 && n[len(parent)] == '/' && n[:len(parent)] == parent
}

// Moved gives n with the level or levels from at its front replaced by to: what
// becomes of n when from is renamed. n must be from or lie below it.
func (n Name) Moved(from, to Name) Name { return to + n[len(from):] }

// Wire writes the name as clients without UTF-8 names see it.
func (n Name) Wire() string { return mutf7.Encode(string(n)) }
