// Package saslprep prepares user names and passwords as RFC 4013 says, so that
// two spellings of one name are one name.
//
// It is pure. Strings are treated as queries (RFC 3454 §7): code points that
// were unassigned in Unicode 3.2 pass.
package saslprep

import (
	"errors"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/bidi"
	"golang.org/x/text/unicode/norm"
)

// ErrProhibited means that a string cannot be prepared.
var ErrProhibited = errors.New("contains characters that RFC 4013 prohibits")

// Prepare gives the prepared form. ASCII without control characters comes back
// as it is. The error is ErrProhibited.
func Prepare(s string) (string, error) {
	if plainASCII(s) {
		return s, nil
	}
	if !utf8.ValidString(s) {
		return "", ErrProhibited
	}
	mapped := make([]rune, 0, len(s))
	for _, r := range s {
		switch {
		case mapsToNothing(r): // RFC 3454 table B.1
		case isSpace(r): // table C.1.2
			mapped = append(mapped, ' ')
		default:
			mapped = append(mapped, r)
		}
	}
	out := norm.NFKC.String(string(mapped))
	for _, r := range out {
		if prohibited(r) {
			return "", ErrProhibited
		}
	}
	if !bidiOK(out) {
		return "", ErrProhibited
	}
	return out, nil
}

func plainASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// RFC 3454 table B.1.
func mapsToNothing(r rune) bool {
	switch r {
	case 0xad, 0x34f, 0x1806, 0x180b, 0x180c, 0x180d, 0x200b, 0x200c, 0x200d, 0x2060, 0xfeff:
		return true
	}
	return r >= 0xfe00 && r <= 0xfe0f
}

// RFC 3454 table C.1.2.
func isSpace(r rune) bool {
	switch r {
	case 0xa0, 0x1680, 0x202f, 0x205f, 0x3000:
		return true
	}
	return r >= 0x2000 && r <= 0x200a
}

// RFC 4013 §2.3: tables C.1.2, C.2.1, C.2.2, C.3 to C.9 of RFC 3454.
func prohibited(r rune) bool {
	switch {
	case isSpace(r), r < 0x20, r >= 0x7f && r <= 0x9f: // C.1.2, C.2.1, C.2.2
		return true
	case r == 0x6dd, r == 0x70f, r == 0x180e, r >= 0x200c && r <= 0x200f, r >= 0x2028 && r <= 0x202e: // C.2.2, C.8
		return true
	case r >= 0x2060 && r <= 0x2063, r >= 0x206a && r <= 0x206f, r == 0xfeff: // C.2.2, C.8
		return true
	case r >= 0xfff9 && r <= 0xfffd, r >= 0x1d173 && r <= 0x1d17a: // C.2.2, C.6
		return true
	case unicode.Is(unicode.Co, r), unicode.Is(unicode.Cs, r): // C.3, C.5
		return true
	case r >= 0xfdd0 && r <= 0xfdef, r&0xfffe == 0xfffe: // C.4
		return true
	case r >= 0x2ff0 && r <= 0x2ffb, r == 0x340, r == 0x341: // C.7, C.8
		return true
	case r == 0xe0001, r >= 0xe0020 && r <= 0xe007f: // C.9
		return true
	}
	return false
}

// RFC 3454 §6: right-to-left strings begin and end so, and hold no left-to-right letter.
func bidiOK(s string) bool {
	var rtl, ltr, first, last bool
	for i, r := range s {
		p, _ := bidi.LookupRune(r)
		c := p.Class()
		isRTL := c == bidi.R || c == bidi.AL
		rtl = rtl || isRTL
		ltr = ltr || c == bidi.L
		if i == 0 {
			first = isRTL
		}
		last = isRTL
	}
	return !rtl || (!ltr && first && last)
}
