package others

import (
	"strings"

	"rookery/internal/imapname"
	"rookery/internal/mailstore"
)

func prefixOf(ns mailstore.Namespace) string {
	return strings.ReplaceAll(ns.Prefix, string(rune(ns.Separator)), imapname.Separator)
}

// outer gives the name of an owner's mailbox, or with "" that of his level.
func (s *Store) outer(owner string, inner mailstore.Name) mailstore.Name {
	switch {
	case s.opt.Owner != "":
		return s.prefix + inner
	case inner == "":
		return s.prefix + level(owner, s.opt.Namespace.Separator)
	}
	return s.prefix + level(owner, s.opt.Namespace.Separator) + imapname.Separator + inner
}

// split is the reverse of outer. ok is false for a name that nothing here can have.
func (s *Store) split(name mailstore.Name) (owner string, inner mailstore.Name, ok bool) {
	rest, ok := strings.CutPrefix(name, s.prefix)
	if !ok || rest == "" {
		return "", "", false
	}
	owner, inner = s.opt.Owner, rest
	if owner == "" {
		var first string
		first, inner, _ = strings.Cut(rest, imapname.Separator)
		if owner, ok = ownerOf(first, s.opt.Namespace.Separator); !ok {
			return "", "", false
		}
	}
	return owner, inner, mailstore.Name(imapname.Canonical(inner)) == inner
}

const hexDigits = "0123456789ABCDEF"

// level writes an owner's name as one level of a mailbox's.
func level(owner string, separator byte) string {
	plain := escape(owner, func(c byte) bool {
		return c < ' ' || c == 0x7f || c == separator || strings.IndexByte("/=%*", c) >= 0
	})
	if keeps(plain) {
		return plain
	}
	return escape(owner, func(c byte) bool {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9'
		return !letter && strings.IndexByte("@_+-", c) < 0
	})
}

// keeps reports whether a level is one that a name can have, and comes out as it is.
func keeps(level string) bool {
	name := "x" + imapname.Separator + level
	return imapname.Name(name).Check() == nil && string(imapname.Canonical(name)) == name
}

func escape(s string, bad func(c byte) bool) string {
	var out strings.Builder
	for i := range len(s) {
		if c := s[i]; bad(c) {
			out.WriteByte('=')
			out.WriteByte(hexDigits[c>>4])
			out.WriteByte(hexDigits[c&15])
		} else {
			out.WriteByte(c)
		}
	}
	return out.String()
}

// ownerOf is the reverse of level. ok is false for what level does not write.
func ownerOf(text string, separator byte) (owner string, ok bool) {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '=' {
			if i+2 >= len(text) {
				return "", false
			}
			high, low := strings.IndexByte(hexDigits, text[i+1]), strings.IndexByte(hexDigits, text[i+2])
			if high < 0 || low < 0 {
				return "", false
			}
			c, i = byte(high<<4|low), i+2
		}
		out.WriteByte(c)
	}
	owner = out.String()
	return owner, owner != "" && level(owner, separator) == text
}
