package imapname

import (
	"strings"
	"unicode/utf8"

	"rookery/internal/imapname/mutf7"
)

// Dialect is how one session writes names: its separator and encoding.
type Dialect struct {
	Separator byte // between the levels on the wire; 0 stands for '/'
	UTF8      bool // names are UTF-8 (RFC 6855, RFC 9051), not modified UTF-7
}

func (d Dialect) separator() string {
	if d.Separator == 0 {
		return Separator
	}
	return string(rune(d.Separator))
}

// text decodes wire and puts '/' between the levels. A separator is printable
// US-ASCII, so it is the same before and after decoding.
func (d Dialect) text(wire string) (string, error) {
	text := wire
	if !d.UTF8 {
		var err error
		if text, err = mutf7.Decode(wire); err != nil {
			return "", ErrEncoding
		}
	}
	if !utf8.ValidString(text) {
		return "", ErrUTF8
	}
	if sep := d.separator(); sep != Separator {
		if strings.Contains(text, Separator) {
			return "", ErrSlash
		}
		text = strings.ReplaceAll(text, sep, Separator)
	}
	return text, nil
}

// Parse makes a Name of what a client sent. trim says that one separator at the
// end is ignored, as CREATE must (RFC 3501 §6.3.3).
func (d Dialect) Parse(wire string, trim bool) (Name, error) {
	if len(wire) > MaxName {
		return "", ErrLong
	}
	text, err := d.text(wire)
	if err != nil {
		return "", err
	}
	if trim {
		text = strings.TrimSuffix(text, Separator)
	}
	name := Canonical(text)
	return name, name.Check()
}

// Show gives the name in UTF-8 with the dialect's separator. It says false for
// a name that has the separator inside a level: this client cannot be told of it.
func (d Dialect) Show(name Name) (string, bool) {
	sep := d.separator()
	if sep == Separator {
		return string(name), true
	}
	if strings.Contains(string(name), sep) {
		return "", false
	}
	return strings.ReplaceAll(string(name), Separator, sep), true
}
