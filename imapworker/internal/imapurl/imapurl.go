// Package imapurl reads the URLs of CATENATE (RFC 4469 §3): relative IMAP URLs
// (RFC 5092 §11) that name a message, or a part of one, of the user who sends
// them.
//
// The session machine uses it. It is pure: it must never know a mailbox, and
// refuses whatever would lead to another server, another user, or a list of
// messages.
package imapurl

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"rookery/internal/abnf"
	"rookery/internal/imapwire"
)

// URL is a message, or a part of one.
type URL struct {
	// Mailbox is the name in UTF-8, levels parted as the server's names on the wire
	// have it; "" stands for the selected mailbox.
	Mailbox string
	// Relative says that the name stands below the level of the selected mailbox, if
	// there is one: it does not begin with a slash (RFC 4469 §3, RFC 3986 §5.2.3).
	Relative    bool
	UIDValidity uint32 // 0: not given
	UID         uint32
	Section     imapwire.Section // its zero value is the whole message
	// Offset and Length name a piece of the section; without one Length is
	// math.MaxInt64.
	Offset, Length int64
}

// Max is the longest URL, in octets.
const Max = 4096

// The errors. All of them are BADURL to a client; none is worth a line in a log.
var (
	ErrAbsolute = errors.New("URL of another server or user")
	ErrSyntax   = errors.New("not the URL of a message")
)

// Parse reads
//
//	imsg-or-part, or "/" imessagepart                                  RFC 5092 §11
//	imessagepart = enc-mailbox [";UIDVALIDITY=" nz-number]
//	               "/;UID=" nz-number ["/;SECTION=" enc-section] ["/;PARTIAL=" partial-range]
//
// The names of the parameters have any case. A URL that begins with ";UID=" is one
// of the selected mailbox.
func Parse(text string) (u URL, err error) {
	path, absolute := strings.CutPrefix(text, "/")
	switch first, _, _ := strings.Cut(text, "/"); {
	case len(text) > Max:
		return u, ErrSyntax
	case strings.HasPrefix(text, "//"), strings.Contains(first, ":"):
		return u, ErrAbsolute // a server, or a scheme (RFC 3986 §4.2)
	}
	u.Length = math.MaxInt64
	var params []string
	if absolute || !strings.HasPrefix(path, ";") {
		params = strings.Split(path, "/;")
		if !u.mailbox(params[0]) {
			return URL{}, ErrSyntax
		}
		u.Relative = !absolute
		params = params[1:]
	} else {
		params = strings.Split(path[1:], "/;")
	}
	order := -1 // of the parameter before
	for _, p := range params {
		n, ok := u.param(p)
		if !ok || n <= order {
			return URL{}, ErrSyntax
		}
		order = n
	}
	if u.UID == 0 {
		return URL{}, ErrSyntax // a mailbox, or a part of the URL that is the base
	}
	return u, nil
}

// mailbox reads enc-mailbox [uidvalidity].
func (u *URL) mailbox(text string) bool {
	text, validity, given := strings.Cut(text, ";")
	if given {
		value, ok := cutName(validity, "UIDVALIDITY")
		if !ok || !number(value, 1, &u.UIDValidity) {
			return false
		}
	}
	name, ok := unescape(text)
	u.Mailbox = name
	return ok && name != "" && utf8.ValidString(name)
}

// param reads a parameter of a message and gives its place in the order.
func (u *URL) param(text string) (order int, ok bool) {
	if value, is := cutName(text, "UID"); is {
		return 0, number(value, 1, &u.UID)
	}
	if value, is := cutName(text, "SECTION"); is {
		spec, ok := unescape(value)
		d := imapwire.NewDecoder([]byte("["+spec+"]"), imapwire.Limits{Items: 1000, Depth: 2})
		// "SECTION=" alone would be the whole message: nothing is asked for then.
		return 1, ok && spec != "" && d.WantSection(&u.Section) && d.WantEnd()
	}
	value, is := cutName(text, "PARTIAL")
	if !is {
		return 0, false
	}
	offset, length, both := strings.Cut(value, ".")
	var n uint32
	ok = number(offset, 0, &n)
	u.Offset = int64(n)
	if both {
		ok = ok && number(length, 1, &n)
		u.Length = int64(n)
	}
	return 2, ok
}

// cutName takes "NAME=" from a parameter.
func cutName(text, name string) (value string, ok bool) {
	if len(text) <= len(name) || text[len(name)] != '=' || !strings.EqualFold(text[:len(name)], name) {
		return "", false
	}
	return text[len(name)+1:], true
}

// number reads 1*DIGIT from low to 2^32-1.
func number(text string, low uint64, out *uint32) bool {
	n, err := strconv.ParseUint(text, 10, 32)
	*out = uint32(n)
	return err == nil && n >= low && abnf.Digit.All(text)
}

// bchar = achar / ":" / "@" / "/", without pct-encoded     RFC 5092 §11
var bchar = abnf.Alpha.Plus(abnf.Digit).Plus(abnf.Bytes("-._~!$'()*+,&=:@/"))

// unescape reads *bchar.
func unescape(text string) (string, bool) {
	if !strings.Contains(text, "%") {
		return text, bchar.All(text)
	}
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '%' {
			if i+2 >= len(text) {
				return "", false
			}
			n, err := strconv.ParseUint(text[i+1:i+3], 16, 8)
			if err != nil {
				return "", false
			}
			c, i = byte(n), i+2
		} else if !bchar.Has(c) {
			return "", false
		}
		out = append(out, c)
	}
	return string(out), true
}

// Shown gives a URL as an argument of the response code BADURL (RFC 4469 §4.1), in
// quotes as the examples there have it. What the code cannot hold is escaped, and
// a long one is cut.
func Shown(text string) string {
	const digits = "0123456789ABCDEF"
	out := []byte{'"'}
	for i := 0; i < len(text); i++ {
		if len(out) > maxShown {
			out = append(out, "..."...)
			break
		}
		c := text[i]
		if c <= ' ' || c == '"' || c == '\\' || !abnf.CodeChar.Has(c) {
			out = append(out, '%', digits[c>>4], digits[c&15])
			continue
		}
		out = append(out, c)
	}
	return string(append(out, '"'))
}

const maxShown = 500
