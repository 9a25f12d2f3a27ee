package imapwire

import (
	"bytes"
	"encoding/base64"
	"unicode/utf8"

	"rookery/internal/abnf"
)

// quotedBytes takes quoted = DQUOTE *QUOTED-CHAR DQUOTE. Bytes above 127 are
// taken too: many clients send them, and no other token could begin there. The
// result shares memory with the command unless it holds an escape.
func (d *Decoder) quotedBytes(out *[]byte) bool {
	if d.Peek() != '"' {
		return false
	}
	start := d.at + 1
	var unescaped []byte
	escaped := false
	for i := start; i < len(d.p); i++ {
		b := d.p[i]
		switch {
		case b == '"':
			if escaped {
				unescaped = append(unescaped, d.p[start:i]...)
				*out = unescaped
			} else {
				*out = d.p[start:i]
			}
			if d.Options.UTF8OK() && !utf8.Valid(*out) {
				// RFC 9755 §3: "MUST reject, with a BAD response, any octet sequences
				// with the high bit set that fail to comply with" UTF-8
				d.at = start
				return d.Fail("UTF-8")
			}
			d.at = i + 1
			return true
		case b == '\\':
			if i+1 >= len(d.p) || !abnf.QuotedSpecials.Has(d.p[i+1]) {
				d.at = i
				return d.Fail(`\" or \\`)
			}
			escaped = true
			unescaped = append(unescaped, d.p[start:i]...)
			start = i + 1
			i++
		case b < 0x80 && !abnf.QuotedChar.Has(b):
			d.at = i
			return d.Fail("closing quote")
		}
	}
	d.at = len(d.p)
	return d.Fail("closing quote")
}

// literalBytes takes literal = "{" number ["+"] "}" CRLF *CHAR8, with "~"
// before it only where binary is true.
func (d *Decoder) literalBytes(out *[]byte, binary bool) bool {
	if d.err != nil {
		return false
	}
	before := d.at
	tilde := binary && d.Byte('~')
	var size uint64
	if !d.Byte('{') || !d.digits(1<<62, &size) {
		d.at = before
		return false
	}
	d.Byte('+')
	if !bytes.HasPrefix(d.p[d.at:], []byte("}\r\n")) {
		d.at = before
		return false
	}
	d.at += 3
	if size > uint64(len(d.p)-d.at) {
		return d.Fail("the literal's bytes")
	}
	body := d.p[d.at : d.at+int(size)]
	if !tilde && bytes.IndexByte(body, 0) >= 0 {
		return d.Fail("literal without NUL")
	}
	d.at += int(size)
	*out = body
	return true
}

// StringBytes takes string = quoted / literal.
func (d *Decoder) StringBytes(out *[]byte) bool {
	return d.quotedBytes(out) || d.literalBytes(out, false)
}

// AstringBytes takes astring = 1*ASTRING-CHAR / string.
func (d *Decoder) AstringBytes(out *[]byte) bool {
	if d.err != nil {
		return false
	}
	if n := abnf.AstringChar.Span(d.p[d.at:]); n > 0 {
		*out = d.p[d.at : d.at+n]
		d.at += n
		return true
	}
	return d.StringBytes(out)
}

// WantAstringBytes demands an astring, for secrets: no copy is made unless a
// quoted string holds an escape.
func (d *Decoder) WantAstringBytes(out *[]byte) bool { return d.want(d.AstringBytes(out), "string") }

// Astring takes an astring.
func (d *Decoder) Astring(s *string) bool {
	var b []byte
	if !d.AstringBytes(&b) {
		return false
	}
	*s = string(b)
	return true
}

// WantAstring demands an astring.
func (d *Decoder) WantAstring(s *string) bool { return d.want(d.Astring(s), "string") }

// String takes string = quoted / literal.
func (d *Decoder) String(s *string) bool {
	var b []byte
	if !d.StringBytes(&b) {
		return false
	}
	*s = string(b)
	return true
}

// WantString demands a string.
func (d *Decoder) WantString(s *string) bool { return d.want(d.String(s), "string") }

// WantBinary demands a literal or literal8, whose bytes may be anything.
func (d *Decoder) WantBinary(out *[]byte) bool { return d.want(d.literalBytes(out, true), "literal") }

// NString is nstring = string / nil.
type NString struct {
	S   string
	Set bool // false for NIL
}

// WantNString demands an nstring.
func (d *Decoder) WantNString(s *NString) bool {
	if d.Keyword("NIL") {
		*s = NString{}
		return true
	}
	s.Set = d.want(d.String(&s.S), "string or NIL")
	return s.Set
}

// WantMailbox demands mailbox = "INBOX" / astring, as raw bytes: imapname
// makes a name of them.
func (d *Decoder) WantMailbox(s *string) bool { return d.want(d.Astring(s), "mailbox name") }

// WantListMailbox demands list-mailbox = 1*list-char / string, as raw bytes.
func (d *Decoder) WantListMailbox(s *string) bool {
	return d.want(d.span(&abnf.ListChar, s) || d.String(s), "mailbox pattern")
}

// Flag takes flag = "\" atom / atom. Which flags there are is for the caller.
func (d *Decoder) Flag(s *string) bool {
	before := d.at
	backslash := d.Byte('\\')
	if !d.Atom(s) {
		d.at = before
		return false
	}
	if backslash {
		*s = `\` + *s
	}
	return true
}

// WantFlag demands a flag.
func (d *Decoder) WantFlag(s *string) bool { return d.want(d.Flag(s), "flag") }

// WantFlagList demands flag-list = "(" [flag *(SP flag)] ")".
func (d *Decoder) WantFlagList(flags *[]string) bool {
	return d.WantEmptyList(func() bool { return d.wantFlagInto(flags) })
}

func (d *Decoder) wantFlagInto(flags *[]string) bool {
	var flag string
	if !d.WantFlag(&flag) {
		return false
	}
	*flags = append(*flags, flag)
	return true
}

// WantFlags demands flag-list / (flag *(SP flag)), as STORE has it.
func (d *Decoder) WantFlags(flags *[]string) bool {
	if d.Peek() == '(' {
		return d.WantFlagList(flags)
	}
	for {
		if len(*flags) == d.limits.Items {
			return d.Fail("fewer flags")
		}
		if !d.wantFlagInto(flags) {
			return false
		}
		if !d.SP() {
			return true
		}
	}
}

// WantBase64 demands a base64 token, decoded; "=" stands for no bytes, as the
// initial response of AUTHENTICATE has it (RFC 4959 §3).
func (d *Decoder) WantBase64(out *[]byte) bool {
	if d.err != nil {
		return false
	}
	class := abnf.Base64Char.Plus(abnf.Bytes("="))
	n := class.Span(d.p[d.at:])
	token := d.p[d.at : d.at+n]
	if n == 0 {
		return d.Fail("base64")
	}
	if n == 1 && token[0] == '=' {
		d.at++
		*out = []byte{}
		return true
	}
	decoded, ok := DecodeBase64(token)
	if !ok {
		return d.Fail("base64")
	}
	d.at += n
	*out = decoded
	return true
}

// DecodeBase64 decodes base64 = *(4base64-char) [base64-terminal] strictly:
// padding is demanded, unused bits must be zero, no line ends.
func DecodeBase64(token []byte) ([]byte, bool) {
	class := abnf.Base64Char.Plus(abnf.Bytes("="))
	if class.Span(token) != len(token) {
		return nil, false
	}
	enc := base64.StdEncoding.Strict()
	out := make([]byte, enc.DecodedLen(len(token)))
	n, err := enc.Decode(out, token)
	return out[:n], err == nil
}
