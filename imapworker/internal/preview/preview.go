// Package preview makes the few words by which a client shows what a message is
// about (RFC 8970).
//
// FETCH uses it. It is pure: it reads a message, and must never know a mailbox, a
// cache or the clock. What it reads of a message is bounded, whatever its size.
//
// The words are those of the first text a reader sees: of text/plain, or where
// there is none of text/html without its markup; never of an attachment, of a
// message inside the message, or of anything encrypted. Lines that quote another
// message are left out where others are left. Blanks, line ends, controls and
// characters that nobody sees become one space or none.
package preview

import (
	"bufio"
	"io"
	"strings"
	"unicode"

	"rookery/internal/message"
)

// Chars is how many characters a preview has at most: RFC 8970 §3.3 says that it
// SHOULD be 200 and MUST NOT be above 256.
const Chars = 200

const (
	plainBytes = 64 << 10  // of a plain text, decoded, that are looked at
	htmlBytes  = 512 << 10 // of a text in HTML: style sheets come first
	maxTexts   = 16        // parts that are tried
)

// Of gives the preview of a message whose structure is root; "" where nothing can
// be shown (RFC 8970 §3.2: "the server MUST return a zero-length string"). The
// error is the reader's.
func Of(msg io.ReaderAt, root *message.Part) (string, error) {
	l := looker{msg: msg}
	l.look(root)
	return l.text, l.err
}

// looker looks for a text.
type looker struct {
	msg   io.ReaderAt
	text  string
	err   error
	tried int
	over  bool // nothing more is looked at
}

// look looks at a part and those below it, in the reader's order, until there is a
// text.
func (l *looker) look(p *message.Part) {
	switch {
	case l.done(), strings.EqualFold(p.Disposition, "attachment"), p.IsMessage(), p.Opaque:
	case encrypted(p):
		l.over = true
	case !p.IsMultipart():
		l.leaf(p)
	case strings.EqualFold(p.Subtype, "alternative"):
		for _, c := range p.Children {
			if is(c, "plain") {
				l.look(c)
			}
		}
		for _, c := range p.Children {
			if !is(c, "plain") {
				l.look(c)
			}
		}
	case strings.EqualFold(p.Subtype, "related"), strings.EqualFold(p.Subtype, "signed"):
		l.look(p.Children[0]) // the others belong to it (RFC 2387, RFC 1847)
	default:
		for _, c := range p.Children {
			l.look(c)
		}
	}
}

func (l *looker) done() bool {
	return l.over || l.err != nil || l.text != "" || l.tried == maxTexts
}

func is(p *message.Part, subtype string) bool {
	return p.IsText() && strings.EqualFold(p.Subtype, subtype)
}

// encrypted reports whether a part hides its content (RFC 1847, RFC 8551).
func encrypted(p *message.Part) bool {
	switch {
	case strings.EqualFold(p.Type, "multipart"):
		return strings.EqualFold(p.Subtype, "encrypted")
	case strings.EqualFold(p.Type, "application"):
		return strings.EqualFold(p.Subtype, "pkcs7-mime") || strings.EqualFold(p.Subtype, "x-pkcs7-mime")
	}
	return false
}

// leaf takes the text of a part that is one.
func (l *looker) leaf(p *message.Part) {
	html := is(p, "html")
	if !html && !is(p, "plain") {
		return
	}
	l.tried++
	if html {
		l.text, l.err = fromHTML(io.LimitReader(p.TextReader(l.msg), htmlBytes))
		return
	}
	for _, quotes := range []bool{false, true} {
		l.text, l.err = fromPlain(io.LimitReader(p.TextReader(l.msg), plainBytes), quotes)
		if l.text != "" || l.err != nil {
			return
		}
	}
}

// fromPlain gives the first words of a plain text; with quotes also of the lines
// that begin with ">".
func fromPlain(r io.Reader, quotes bool) (string, error) {
	var w words
	in := bufio.NewReader(r)
	begins, skip := true, false
	for !w.full() {
		c, _, err := in.ReadRune()
		if err == io.EOF {
			break
		} else if err != nil {
			return "", err
		}
		if begins {
			skip = !quotes && c == '>'
		}
		begins = c == '\n'
		if !skip || begins {
			w.add(c)
		}
	}
	return w.String(), nil
}

// words gathers text, folded.
type words struct {
	text   strings.Builder
	chars  int
	space  bool // one is due before the next character
	joiner rune // likewise, of one that is not seen alone
}

const (
	zeroWidthNonJoiner = '\u200c'
	zeroWidthJoiner    = '\u200d'
	zeroWidthSpace     = '\u200b'
	graphemeJoiner     = '\u034f'
)

func (w *words) full() bool { return w.chars >= Chars }

// add takes the next character.
func (w *words) add(c rune) {
	switch {
	case c == zeroWidthNonJoiner || c == zeroWidthJoiner:
		w.joiner = c
		return
	case c == graphemeJoiner || unicode.Is(unicode.Cf, c) && c != zeroWidthSpace:
		return // nobody sees it; some senders fill their first lines with such
	case c == zeroWidthSpace || unicode.IsSpace(c) || unicode.IsControl(c):
		w.space = true
		return
	}
	if w.space && w.chars > 0 {
		if w.chars+1 >= Chars {
			w.chars = Chars // no room for more than the space
			return
		}
		w.put(' ')
	} else if w.joiner != 0 && w.chars > 0 {
		w.put(w.joiner)
	}
	w.space, w.joiner = false, 0
	if !w.full() {
		w.put(c)
	}
}

func (w *words) put(c rune) {
	w.text.WriteRune(c)
	w.chars++
}

func (w *words) String() string { return w.text.String() }
