// Package mutf7 has the modified UTF-7 of mailbox names (RFC 3501 §5.1.3).
//
// The wire's writer and imapname use it. It must never know what a mailbox is.
package mutf7

import (
	"encoding/base64"
	"errors"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"rookery/internal/abnf"
)

var (
	encoding       = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding)
	strictEncoding = encoding.Strict()
)

// The errors of Decode.
var (
	ErrEightBit    = errors.New("byte outside printable US-ASCII")
	ErrUnended     = errors.New("shift without its end")
	ErrBase64      = errors.New("bad base64 in a shift")
	ErrSurrogate   = errors.New("unpaired surrogate")
	ErrPrintable   = errors.New("printable US-ASCII inside a shift")
	ErrSuperfluous = errors.New("superfluous shift")
)

// Encode writes s, which must be valid UTF-8, in the one form that RFC 3501
// §5.1.3 allows: "&" is "&-", other printable US-ASCII stands for itself, runs
// of everything else are shifted together.
func Encode(s string) string {
	if abnf.MailboxDirectChar.All(s) {
		return s
	}
	var out strings.Builder
	for len(s) > 0 {
		n := 0
		for n < len(s) && abnf.MailboxDirectChar.Has(s[n]) {
			n++
		}
		out.WriteString(s[:n])
		s = s[n:]
		if s == "" {
			break
		}
		if s[0] == '&' {
			out.WriteString("&-")
			s = s[1:]
			continue
		}
		var raw []byte
		for len(s) > 0 && s[0] != '&' && !abnf.MailboxDirectChar.Has(s[0]) {
			r, size := utf8.DecodeRuneInString(s)
			for _, unit := range utf16.AppendRune(nil, r) {
				raw = append(raw, byte(unit>>8), byte(unit))
			}
			s = s[size:]
		}
		out.WriteByte('&')
		out.WriteString(encoding.EncodeToString(raw))
		out.WriteByte('-')
	}
	return out.String()
}

// Decode reads a name. Only what Encode writes is taken: RFC 3501 §5.1.3 says
// that a shift MUST NOT represent printable US-ASCII and that shifts MUST NOT
// be superfluous, and two spellings of one name would be two doors to it.
func Decode(s string) (string, error) {
	if abnf.MailboxDirectChar.All(s) {
		return s, nil
	}
	var out strings.Builder
	shifted := -1 // where the last shift ended
	for i := 0; i < len(s); {
		switch {
		case abnf.MailboxDirectChar.Has(s[i]):
			out.WriteByte(s[i])
			i++
			continue
		case s[i] != '&':
			return "", ErrEightBit
		}
		end := strings.IndexByte(s[i:], '-')
		if end < 0 {
			return "", ErrUnended
		}
		token := s[i+1 : i+end]
		if token == "" {
			out.WriteByte('&')
		} else {
			if shifted == i {
				return "", ErrSuperfluous
			}
			if err := decodeShift(token, &out); err != nil {
				return "", err
			}
			shifted = i + end + 1
		}
		i += end + 1
	}
	return out.String(), nil
}

// decodeShift reads the base64 between "&" and "-".
func decodeShift(token string, out *strings.Builder) error {
	if !abnf.MailboxBase64Char.All(token) {
		return ErrBase64
	}
	raw, err := strictEncoding.DecodeString(token)
	if err != nil || len(raw)%2 != 0 {
		return ErrBase64
	}
	for i := 0; i < len(raw); i += 2 {
		r := rune(raw[i])<<8 | rune(raw[i+1])
		if utf16.IsSurrogate(r) {
			if i+3 >= len(raw) {
				return ErrSurrogate
			}
			r = utf16.DecodeRune(r, rune(raw[i+2])<<8|rune(raw[i+3]))
			if r == utf8.RuneError {
				return ErrSurrogate
			}
			i += 2
		}
		if r >= 0x20 && r < 0x7F {
			return ErrPrintable
		}
		out.WriteRune(r)
	}
	return nil
}
