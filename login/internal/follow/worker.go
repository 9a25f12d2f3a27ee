package follow

import (
	"bytes"

	"rookery/internal/abnf"
	"rookery/internal/imapwire"
)

// response is the worker's response at hand.
type response struct {
	left   int64  // octets of its literal
	within bool   // something of it has come
	later  bool   // it had a literal: its class is known
	data   bool   // untagged, and no status: it may have literals and quoted strings
	bye    bool   // the worker has said BYE, or is about to
	cr     bool   // the last byte was CR
	quoted bool   // within a quoted string
	slash  bool   // behind a backslash there
	head   []byte // its beginning, where it came in portions
	tail   []byte // the end of its line so far
	cut    bool   // tail lacks some
}

// respHead is how much of a response's beginning tells what it is: a tag and a
// condition.
const respHead = 1 << 10

func (r *response) clean() bool { return !r.within && !r.bye }

// Worker takes what the worker said, before the client gets it.
func (s *Session) Worker(p []byte) error {
	r := &s.told
	for len(p) > 0 && !s.blind {
		if r.left > 0 {
			k := min(int64(len(p)), r.left)
			r.left -= k
			p = p[k:]
			continue
		}
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			return r.portion(p)
		}
		seg := p[:i+1]
		p = p[i+1:]
		if !r.within && simple(seg) {
			continue
		}
		if err := r.scan(seg); err != nil {
			return err
		}
		if err := s.responseLine(seg); err != nil {
			return err
		}
	}
	return nil
}

// simple reports whether a whole line is one that changes nothing, as most are: an
// untagged response that begins with a number, has whole quoted strings without
// backslashes, and no literal.
func simple(p []byte) bool {
	n := len(p) - 2
	if n < 4 || p[0] != '*' || p[1] != ' ' || p[2] < '0' || p[2] > '9' || p[n] != '\r' || p[n-1] == '}' || bytes.IndexByte(p[:n], '\r') >= 0 {
		return false
	}
	q := bytes.IndexByte(p[:n], '"')
	return q < 0 || bytes.IndexByte(p[q:n], '\\') < 0 && bytes.Count(p[q:n], []byte{'"'})%2 == 0
}

// portion takes a piece of a line that goes on.
func (r *response) portion(p []byte) error {
	if err := r.scan(p); err != nil {
		return err
	}
	r.within = true
	if !r.later {
		r.head = append(r.head, p[:min(len(p), respHead-len(r.head))]...)
	}
	r.tail, r.cut = keepTail(r.tail, p, r.cut)
	return nil
}

// scan looks for CR and quotes in a piece of a line, which ends at its LF if it has
// one.
func (r *response) scan(p []byte) error {
	if r.cr && p[0] != '\n' {
		return errLineEnd
	}
	end := len(p)
	if p[end-1] == '\n' {
		end--
		switch {
		case end == 0 && !r.cr, end > 0 && p[end-1] != '\r':
			return errLineEnd
		}
	}
	if i := bytes.IndexByte(p[:end], '\r'); i >= 0 && i < end-1 {
		return errLineEnd
	}
	r.cr = p[len(p)-1] == '\r'
	r.quotes(p[:end])
	return nil
}

// quotes follows quoted strings. Most lines have none, and most of those with some
// have no backslash: for them it is enough to count.
func (r *response) quotes(p []byte) {
	if !r.quoted {
		i := bytes.IndexByte(p, '"')
		if i < 0 {
			return
		}
		p = p[i:]
	}
	if !r.slash && bytes.IndexByte(p, '\\') < 0 {
		if bytes.Count(p, []byte{'"'})%2 == 1 {
			r.quoted = !r.quoted
		}
		return
	}
	for len(p) > 0 {
		switch {
		case r.slash:
			r.slash = false
			p = p[1:]
		case !r.quoted:
			i := bytes.IndexByte(p, '"')
			if i < 0 {
				return
			}
			r.quoted = true
			p = p[i+1:]
		default:
			i := bytes.IndexByte(p, '"')
			if i < 0 {
				i = len(p)
			}
			if j := bytes.IndexByte(p[:i], '\\'); j >= 0 {
				r.slash = true
				p = p[j+1:]
			} else if i == len(p) {
				return
			} else {
				r.quoted = false
				p = p[i+1:]
			}
		}
	}
}

// responseLine takes the end of a line, which may be the end of a response.
func (s *Session) responseLine(seg []byte) error {
	r := &s.told
	head, tail := seg, seg
	if len(r.head) > 0 {
		head = append(r.head, seg[:min(len(seg), respHead-len(r.head))]...)
	}
	if len(r.tail) > 0 {
		r.tail, r.cut = keepTail(r.tail, seg, r.cut)
		tail = r.tail
	}
	kind, word := byte('*'), head
	if !r.later {
		var err error
		if kind, word, err = s.classify(head); err != nil {
			return err
		}
	}
	text := trimEnd(tail)
	size, nonSync, ok := imapwire.LiteralHead(text)
	switch {
	case r.data && r.quoted:
		return errQuote
	case ok && (!r.data || nonSync || size < 0 || size == 1<<63-1), !ok && r.cut && lostHead(text):
		return errLiteral
	case ok:
		r.within, r.later, r.left = true, true, size
		r.next()
		return nil
	}
	bye := r.bye
	head, tail = r.head[:0], r.tail[:0]
	*r = response{bye: bye, head: head, tail: tail}
	switch kind {
	case '+':
		return s.plus()
	case 't':
		return s.tagged(word)
	}
	return nil
}

// next begins the part of a response behind a literal's head.
func (r *response) next() {
	r.head, r.tail, r.cut, r.quoted, r.slash, r.cr = r.head[:0], r.tail[:0], false, false, false, false
}

// classify tells what a response is: '+', '*', or 't' with its tag, a space and the
// condition.
func (s *Session) classify(p []byte) (kind byte, word []byte, err error) {
	r := &s.told
	switch p[0] {
	case '+':
		if len(p) < 2 || p[1] != ' ' {
			return 0, nil, errResponse
		}
		r.data = false
		return '+', nil, nil
	case '*':
		if len(p) < 3 || p[1] != ' ' {
			return 0, nil, errResponse
		}
		cond := condition(p[2:])
		r.data = cond == ""
		r.bye = r.bye || cond == imapwire.BYE
		return '*', nil, nil
	}
	t := abnf.TagChar.Span(p)
	if t == 0 || t == len(p) || p[t] != ' ' {
		return 0, nil, errResponse
	}
	switch cond := condition(p[t+1:]); cond {
	case imapwire.OK, imapwire.NO, imapwire.BAD:
		r.data = false
		return 't', p[:t+1+len(cond)], nil
	}
	return 0, nil, errResponse
}

// condition is that of a status response; "" where there is none. Whether a client
// minds the case of letters or what follows the word is its own affair: both readings
// are taken for a status.
func condition(p []byte) string {
	if len(p) == 0 || !abnf.Alpha.Has(p[0]) {
		return ""
	}
	word := p[:abnf.Alpha.Span(p)]
	for _, cond := range []string{imapwire.OK, imapwire.NO, imapwire.BAD, imapwire.BYE, imapwire.PREAUTH} {
		if equalFold(word, cond) {
			return cond
		}
	}
	return ""
}

// plus is the worker's "+".
func (s *Session) plus() error {
	switch s.wait {
	case forLiteral:
		s.newLine(inLiteral)
		if s.left == 0 {
			s.newLine(inLine)
		}
	case forIdle:
		s.raw = true
	default:
		return errPlus
	}
	s.wait = nothing
	return nil
}

// tagged is the answer to a command: the first one with its tag, since what is left
// of those before it had answers without a tag. word is the tag, a space, the
// condition.
func (s *Session) tagged(word []byte) error {
	sp := bytes.IndexByte(word, ' ')
	for rest := s.owed; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n')
		tag := rest[:i]
		rest = rest[i+1:]
		if !bytes.Equal(tag, word[:sp]) {
			continue
		}
		last := len(rest) == 0
		switch {
		case last && s.raw:
			return errAnswer // IDLE's end is the client's to ask for
		case last && s.wait != nothing:
			s.blind = s.wait == forCompress && equalFold(word[sp+1:], imapwire.OK)
			s.wait, s.open = nothing, false
			s.newLine(atHead)
		case last && s.open:
			return errAnswer
		}
		s.owed = append(s.owed[:0], rest...)
		return nil
	}
	return errAnswer
}
