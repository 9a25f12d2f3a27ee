package preview

import (
	"bufio"
	"html"
	"io"
	"strings"
	"unicode"
)

// fromHTML gives the first words of a text in HTML, which is given in UTF-8: what
// stands between the tags, character references decoded, without comments and
// without the content of elements that are not shown. It is no parser of HTML,
// and needs none: whatever the text is, it gives some words of it, reads it once,
// and holds no more than a name and a reference of it. The error is r's.
func fromHTML(r io.Reader) (string, error) {
	s := stripper{in: bufio.NewReader(r)}
	for !s.words.full() {
		c, ok := s.next()
		if !ok {
			break
		}
		switch c {
		case '<':
			s.markup()
		case '&':
			s.reference()
		default:
			s.words.add(c)
		}
	}
	return s.words.String(), s.err
}

type stripper struct {
	in    *bufio.Reader
	words words
	err   error // the reader's
}

// next gives the next character; ok is false at the end.
func (s *stripper) next() (c rune, ok bool) {
	c, _, err := s.in.ReadRune()
	if err != nil && err != io.EOF {
		s.err = err
	}
	return c, err == nil
}

func (s *stripper) back() { s.in.UnreadRune() }

// ahead reports whether text follows, in lower case.
func (s *stripper) ahead(text string) bool {
	p, _ := s.in.Peek(len(text))
	return strings.EqualFold(string(p), text)
}

// markup passes over what begins with "<": a tag, a comment, a declaration. A "<"
// that begins none is text.
func (s *stripper) markup() {
	if s.ahead("!--") {
		s.in.Discard(len("!--"))
		s.passComment()
		return
	}
	c, ok := s.next()
	switch {
	case !ok:
		s.words.add('<')
	case c == '!' || c == '?':
		s.passTo('>')
	case c == '/' || isLetter(c):
		name := ""
		if c != '/' {
			name = string(unicode.ToLower(c))
		}
		name, ends := s.name(name)
		if !ends {
			s.passTag()
		}
		if !inline[name] {
			s.words.add(' ')
		}
		if c != '/' && hidden[name] {
			s.passElement(name)
		}
	default:
		s.words.add('<')
		s.back()
	}
}

func isLetter(c rune) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// maxName is the longest name of an element that means something here.
const maxName = 16

// name reads the rest of an element's name, in lower case, and reports whether the
// tag ended with it.
func (s *stripper) name(name string) (full string, ends bool) {
	for {
		c, ok := s.next()
		switch {
		case !ok || c == '>':
			return name, true
		case isLetter(c) || c >= '0' && c <= '9':
			if len(name) < maxName {
				name += string(unicode.ToLower(c))
			}
		default:
			s.back()
			return name, false
		}
	}
}

// passTag passes over a tag's attributes. A quote hides a ">" only where a value
// begins with it.
func (s *stripper) passTag() {
	value := false // "=" and blanks were the last
	for {
		c, ok := s.next()
		switch {
		case !ok || c == '>':
			return
		case value && (c == '"' || c == '\''):
			s.passTo(c)
			value = false
		case c == '=':
			value = true
		case !unicode.IsSpace(c):
			value = false
		}
	}
}

// passTo passes over everything up to and including end.
func (s *stripper) passTo(end rune) {
	for {
		if c, ok := s.next(); !ok || c == end {
			return
		}
	}
}

// passComment passes over a comment up to and including "-->" or "--!>". A ">"
// that follows at once, and "->", end it as well.
func (s *stripper) passComment() {
	dashes := 2
	for {
		c, ok := s.next()
		switch {
		case !ok, c == '>' && dashes >= 2:
			return
		case c == '-':
			dashes++
		case c == '!' && dashes >= 2:
		default:
			dashes = 0
		}
	}
}

// passElement passes over the content of an element that is not shown, up to and
// including its end tag.
func (s *stripper) passElement(name string) {
	for {
		c, ok := s.next()
		if !ok {
			return
		}
		if c == '<' && s.ahead("/"+name) {
			s.in.Discard(1 + len(name))
			s.passTag()
			return
		}
	}
}

// maxReference is the longest character reference.
const maxReference = 32

// reference decodes a character reference; the "&" was read. What is none stays
// as it is.
func (s *stripper) reference() {
	p, _ := s.in.Peek(maxReference)
	n := 0
	for n < len(p) && (isLetter(rune(p[n])) || p[n] >= '0' && p[n] <= '9' || n == 0 && p[n] == '#') {
		n++
	}
	if n < len(p) && p[n] == ';' {
		n++
	}
	for _, c := range html.UnescapeString("&" + string(p[:n])) {
		s.words.add(c)
	}
	s.in.Discard(n)
}

// hidden are the elements whose content is no text for readers.
var hidden = map[string]bool{"script": true, "style": true, "title": true, "template": true, "textarea": true, "select": true,
	"noframes": true, "noembed": true, "iframe": true, "object": true, "svg": true, "xml": true}

// inline are the elements that do not part words from each other.
var inline = map[string]bool{"a": true, "abbr": true, "acronym": true, "b": true, "bdi": true, "bdo": true, "big": true, "cite": true,
	"code": true, "del": true, "dfn": true, "em": true, "font": true, "i": true, "ins": true, "kbd": true, "mark": true, "nobr": true,
	"q": true, "s": true, "samp": true, "small": true, "span": true, "strike": true, "strong": true, "sub": true, "sup": true,
	"tt": true, "u": true, "var": true, "wbr": true}
