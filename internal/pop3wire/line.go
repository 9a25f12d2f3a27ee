package pop3wire

import (
	"bytes"
	"strings"
)

// EventKind tells what the Splitter has found.
type EventKind uint8

// The kinds of events.
const (
	NeedMore EventKind = iota // all bytes are taken; bring more
	Line                      // Bytes is one line, without its end
	TooLong                   // a line above the limit was dropped; the stream is in step again
	NULByte                   // a line that held a NUL was dropped
)

// Event is what Next found. Bytes is valid until the next call of Next or Wipe.
type Event struct {
	Kind  EventKind
	Bytes []byte
}

// Splitter cuts a stream into lines. It holds what has arrived of one line and
// never more than its limit. The zero value takes only empty lines.
type Splitter struct {
	limit int // bytes of one line, its end not counted
	buf   []byte
	long  bool // the present line is above the limit and is being dropped
	nul   bool
	done  bool // buf holds what was already given out
}

// NewSplitter makes a Splitter for lines of at most limit bytes, line end not
// counted. RFC 2449 §4 has 255 octets for a whole command; SASL's responses
// need more.
func NewSplitter(limit int) *Splitter { return &Splitter{limit: limit} }

// SetLimit changes the limit, between lines.
func (s *Splitter) SetLimit(limit int) { s.limit = limit }

// Wipe overwrites and forgets what is held, part of a line included: after a
// password, and after STLS.
func (s *Splitter) Wipe() {
	clear(s.buf[:cap(s.buf)])
	*s = Splitter{limit: s.limit}
}

// Idle reports whether no part of a line is held or being dropped.
func (s *Splitter) Idle() bool { return s.done || len(s.buf) == 0 && !s.long && !s.nul }

// Next takes bytes from the front of p, tells how many, and gives at most one
// event. Call it with the rest until it says NeedMore. A line ends in CRLF or,
// since people type into nc, in LF alone.
func (s *Splitter) Next(p []byte) (n int, ev Event) {
	if s.done {
		s.buf, s.long, s.nul, s.done = s.buf[:0], false, false, false
	}
	n = bytes.IndexByte(p, '\n') + 1
	whole := n > 0
	if !whole {
		n = len(p)
	}
	part := p[:n]
	s.nul = s.nul || bytes.IndexByte(part, 0) >= 0
	// One byte above the limit is kept: it may be the CR of the line's end.
	if room := s.limit + 1 - len(s.buf); !s.long {
		text := bytes.TrimSuffix(part, []byte("\n"))
		s.long = len(text) > room
		s.buf = append(s.buf, text[:min(len(text), room)]...)
	}
	if !whole {
		return n, Event{}
	}
	return n, s.finish()
}

func (s *Splitter) finish() Event {
	s.done = true
	text := bytes.TrimSuffix(s.buf, []byte("\r"))
	switch {
	case s.long || len(text) > s.limit:
		return Event{Kind: TooLong}
	case s.nul:
		return Event{Kind: NULByte}
	}
	return Event{Kind: Line, Bytes: text}
}

// maxKeyword is more than any keyword of POP3 has (RFC 2449 §3: 3 or 4); a
// longer word is no command's name.
const maxKeyword = 16

// Command is a line in its two parts.
type Command struct {
	Name string // upper case; "" if the line begins with no keyword
	Args []byte // after the first space, untouched; shares memory with the line
	Has  bool   // a space stood after the name, so there are arguments, maybe empty
}

// Split takes a line apart: command = keyword *(SP param). The arguments are
// left whole, since PASS's argument is all the rest of the line, spaces
// included (RFC 1939 §7).
func Split(line []byte) Command {
	name, args, has := bytes.Cut(line, []byte(" "))
	if len(name) == 0 || len(name) > maxKeyword {
		return Command{Args: args, Has: has}
	}
	for _, b := range name {
		if b <= ' ' || b >= 0x7F {
			return Command{Args: args, Has: has}
		}
	}
	return Command{Name: strings.ToUpper(string(name)), Args: args, Has: has}
}

// Params splits the arguments at spaces; several spaces count as one. More
// than limit parameters give limit+1 of them, which no command takes.
func (c Command) Params(limit int) []string {
	var params []string
	for rest := c.Args; len(params) <= limit; {
		rest = bytes.TrimLeft(rest, " ")
		if len(rest) == 0 {
			break
		}
		n := bytes.IndexByte(rest, ' ')
		if n < 0 {
			n = len(rest)
		}
		params = append(params, string(rest[:n]))
		rest = rest[n:]
	}
	return params
}

// Number reads a decimal number of at most 2^31-1: a message number, a count of
// lines. Signs, spaces and anything else are refused.
func Number(s string) (int, bool) {
	if s == "" || len(s) > 10 {
		return 0, false
	}
	n := 0
	for _, b := range []byte(s) {
		if b < '0' || b > '9' {
			return 0, false
		}
		n = n*10 + int(b-'0')
	}
	return n, n <= 1<<31-1
}
