package message

import (
	"encoding/binary"
	"slices"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// appendFold appends text of UTF-8 as i;unicode-casemap compares it (RFC 5051
// §2): each character in titlecase, then in its full decomposition. The pieces
// of a decomposition are put in titlecase again, so that "ﬁ" is found by "fi"
// and "ǆ" by "dž", which the letter of the RFC would not find. Characters are
// folded one by one: no state, and no order of marks is changed. Bytes that are
// no UTF-8 become U+FFFD.
func appendFold(dst, text []byte) []byte {
	dst = slices.Grow(dst, len(text))
	for i := 0; i < len(text); {
		j := i
		for j < len(text) && text[j] < utf8.RuneSelf {
			j++
		}
		if j > i { // the fast path: a run of ASCII
			run := len(dst)
			dst = append(dst, text[i:j]...)
			upperASCII(dst[run:])
			i = j
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		i += n
		dst = appendFoldRune(dst, r)
	}
	return dst
}

// upperASCII turns a to z into A to Z in bytes below 0x80.
func upperASCII(b []byte) {
	const ones = 0x0101010101010101
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		// The high bit of each byte tells whether it is at least 'a', and above 'z'.
		low := (x + ones*(0x80-'a')) &^ (x + ones*(0x7f-'z')) & (ones * 0x80)
		binary.LittleEndian.PutUint64(b, x^low>>2)
		b = b[8:]
	}
	for i, c := range b {
		if c-'a' < 26 {
			b[i] = c - ('a' - 'A')
		}
	}
}

func appendFoldRune(dst []byte, r rune) []byte {
	var buf [utf8.UTFMax]byte
	r = unicode.ToTitle(r)
	if isHangul(r) {
		return appendJamo(dst, r)
	}
	n := utf8.EncodeRune(buf[:], r)
	whole := norm.NFKD.Properties(buf[:n]).Decomposition()
	if whole == nil {
		return append(dst, buf[:n]...)
	}
	for _, piece := range string(whole) {
		dst = utf8.AppendRune(dst, unicode.ToTitle(piece))
	}
	return dst
}

// Hangul syllables decompose by arithmetic (The Unicode Standard §3.12).
const (
	hangulFirst = 0xac00
	hangulLast  = 0xd7a3
	jamoL       = 0x1100
	jamoV       = 0x1161
	jamoT       = 0x11a7
	jamoVCount  = 21
	jamoTCount  = 28
)

func isHangul(r rune) bool { return hangulFirst <= r && r <= hangulLast }

func appendJamo(dst []byte, r rune) []byte {
	s := r - hangulFirst
	dst = utf8.AppendRune(dst, jamoL+s/(jamoVCount*jamoTCount))
	dst = utf8.AppendRune(dst, jamoV+s%(jamoVCount*jamoTCount)/jamoTCount)
	if t := s % jamoTCount; t > 0 {
		dst = utf8.AppendRune(dst, jamoT+t)
	}
	return dst
}

// AppendFolded appends text of UTF-8 as i;unicode-casemap compares it (RFC 5051):
// two texts are the same by that collation if their forms are the same bytes, and
// stand in its order as these do.
func AppendFolded(dst []byte, text string) []byte {
	return appendFold(dst, []byte(text))
}
