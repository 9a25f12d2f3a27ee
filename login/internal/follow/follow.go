// Package follow follows what an IMAP client and the worker that has its session say
// to each other, so that login finds the command UNAUTHENTICATE (RFC 8437) by itself:
// what stands behind it may be the next user's password, and a worker that somebody
// has taken over must neither read it nor decide where it begins.
//
// login's relay uses it. It is pure: bytes of both directions go in, and it says how
// far the client's may go on to the worker. It must never know what a command means,
// but for the three below; it holds no more than the beginning and the end of a line.
//
// # What it believes
//
// A client's commands are lines with literals. "{n+}" is followed by n octets in any
// case, "{n}" only once the worker has said "+". So behind a line that waits for an
// answer the client is held until there is one: "+", or the command's own tagged
// response. IDLE is held in the same way (what follows its "+" is one line; only
// "{n+}" is a literal there, RFC 7888 §3), and COMPRESS, which ends the following if it is answered OK: no
// UNAUTHENTICATE is found after it.
//
// What the worker says is believed only where every client reads it in the same way.
// A client that takes "{n}" at the end of a line for a literal, and one that does not;
// one that ends lines at LF, and one that does so at CRLF; one that goes on with a
// quoted string beyond a line's end, and one that does not: between two of them a
// worker could tell the client that its literal is refused and us that it is not, and
// read as a literal what the client means for us. All of that is against the grammar,
// our workers do not write it, and it ends the session. So does a "+" that nothing
// waits for and a tagged response to no command, or to one that is not yet whole.
package follow

import (
	"bytes"
	"errors"

	"rookery/internal/abnf"
	"rookery/internal/imapwire"
)

// Limits, in bytes. Nobody's client comes near them; one that does is cut off, since
// what cannot be followed may not be relayed.
const (
	// MaxTag is the longest tag.
	MaxTag = 128
	// maxHead is the longest beginning of a line that is held back while it may still
	// become "tag UNAUTHENTICATE": a tag, the name, blanks.
	maxHead = 256
	// tailLen is how much of a line's end is kept: a literal's head and more zeros
	// before its digits than anybody writes.
	tailLen = 64
	// maxOwed bounds the tags of commands that are not answered; a client with more
	// waits until some are.
	maxOwed = 4 << 10
)

// The errors. Each ends the session.
var (
	errTag      = errors.New("the client's tag is too long")
	errNoTag    = errors.New("the client announces a literal in a command without a tag")
	errSize     = errors.New("the client's literal has no size")
	errLineEnd  = errors.New("the worker ends a line with CR or LF alone")
	errResponse = errors.New("the worker's response is none")
	errLiteral  = errors.New("the worker announces a literal where none may be")
	errQuote    = errors.New("the worker's quoted string does not end")
	errPlus     = errors.New("the worker asks for what no client has announced")
	errAnswer   = errors.New("the worker answers a command that was not given")
)

// where the client's next byte stands.
type where uint8

const (
	atHead    where = iota // at a line's beginning, or in the part of it that is held back
	inLine                 // behind that
	inLiteral              // in a literal
	over                   // behind UNAUTHENTICATE
)

// wait is what the worker has to say before the client goes on.
type wait uint8

const (
	nothing wait = iota
	forLiteral
	forIdle
	forCompress
)

// Session follows one session from its login on.
type Session struct {
	// The client's direction.
	at    where
	wait  wait
	name  wait   // forIdle or forCompress: what the command at hand will wait for at its end
	raw   bool   // the line at hand is the one that ends IDLE
	open  bool   // the last of owed is a command that is not yet whole
	given bool   // head was given out by the last call
	left  int64  // octets of the literal at hand, or of the one that is waited for
	tag   []byte // of the command at hand
	head  []byte // of a line, held back
	tail  []byte // of a line that came in several portions: its last bytes
	cut   bool   // tail lacks some
	owed  []byte // tags of commands without an answer, each with LF behind it

	// The worker's direction.
	told  response
	blind bool // COMPRESS is active
}

// New follows a session that begins with the answer to the login command of that tag.
func New(tag string) *Session {
	return &Session{owed: append([]byte(tag), '\n')}
}

// Held reports whether what the client says next has to wait for the worker.
func (s *Session) Held() bool {
	return s.wait != nothing || len(s.owed) > maxOwed && s.at == atHead && !s.raw
}

// Over reports whether UNAUTHENTICATE was found, and with which tag.
func (s *Session) Over() (tag string, yes bool) {
	if s.at != over {
		return "", false
	}
	return string(s.tag), true
}

// Clean reports whether the worker's last word is one: each command has its answer,
// no response is cut, no BYE was said. Only then can another session follow.
func (s *Session) Clean() bool {
	return len(s.owed) == 0 && s.told.clean() && !s.blind
}

// Client takes what the client said. It takes n bytes of p; out is for the worker,
// and is valid until the next call or a change of p. Call it with the rest until
// nothing is left, or until Held or Over say that the rest is not the worker's: of a
// line that may become UNAUTHENTICATE nothing goes out before it has ended.
func (s *Session) Client(p []byte) (out []byte, n int, err error) {
	if s.blind {
		return p, len(p), nil
	}
	if s.given {
		s.head, s.given = s.head[:0], false
	}
	if len(s.head) > 0 && !s.Held() {
		return s.longHead(p)
	}
	for n < len(p) && s.at != over && !s.Held() {
		var took int
		switch s.at {
		case inLiteral:
			took = s.literal(p[n:])
		case inLine:
			took, err = s.line(p[n:])
		case atHead:
			var held bool
			if took, held, err = s.begin(p[n:]); held {
				return p[:n], len(p), nil
			}
		}
		if err != nil {
			return nil, n, err
		}
		n += took
	}
	return p[:n], n, nil
}

func (s *Session) literal(p []byte) int {
	took := int(min(int64(len(p)), s.left))
	s.left -= int64(took)
	if s.left == 0 {
		s.newLine(inLine)
	}
	return took
}

// newLine begins a line, or the part of one behind a literal.
func (s *Session) newLine(at where) {
	s.at, s.tail, s.cut = at, s.tail[:0], false
}

// begin takes a line's beginning. held says that all of p is now in head.
func (s *Session) begin(p []byte) (took int, held bool, err error) {
	if i := bytes.IndexByte(p, '\n'); i >= 0 {
		if err := s.see(p[:i+1]); err != nil || s.at == over {
			return i + 1, false, err
		}
		return i + 1, false, s.lineEnds(p[:i+1])
	}
	if undecided(p) {
		if len(p) > maxHead {
			return 0, false, errTag
		}
		s.head = append(s.head[:0], p...)
		return len(p), true, nil
	}
	if err := s.see(p); err != nil {
		return 0, false, err
	}
	s.at = inLine
	s.keep(p)
	return len(p), false, nil
}

// longHead is begin where a part of the line was held back.
func (s *Session) longHead(p []byte) (out []byte, n int, err error) {
	n = min(len(p), maxHead+1-len(s.head))
	if i := bytes.IndexByte(p[:n], '\n'); i >= 0 {
		n = i + 1
	}
	s.head = append(s.head, p[:n]...)
	whole := bytes.HasSuffix(s.head, []byte("\n"))
	switch {
	case !whole && undecided(s.head) && len(s.head) > maxHead:
		return nil, 0, errTag
	case !whole && undecided(s.head):
		return nil, n, nil
	}
	if err := s.see(s.head); err != nil {
		return nil, 0, err
	}
	s.given = true
	switch {
	case s.at == over:
	case whole:
		err = s.lineEnds(s.head)
	default:
		s.at = inLine
		s.keep(s.head)
	}
	if err != nil {
		return nil, 0, err
	}
	return s.head, n, nil
}

// The names that matter, and what their commands wait for.
var names = []struct {
	name string
	wait wait
}{{"UNAUTHENTICATE", nothing}, {"IDLE", forIdle}, {"COMPRESS", forCompress}}

// undecided reports whether a line that begins with p, and has no end yet, may still
// have one of the names.
func undecided(p []byte) bool {
	t := abnf.TagChar.Span(p)
	if t == len(p) {
		return true
	}
	if t == 0 || p[t] != ' ' {
		return false
	}
	name := p[t+1:]
	for _, n := range names {
		if len(name) <= len(n.name) && equalFold(name, n.name[:len(name)]) {
			return true
		}
	}
	return isUnauthenticate(bytes.TrimSuffix(name, []byte("\r")))
}

func equalFold(p []byte, word string) bool {
	return len(p) == len(word) && bytes.EqualFold(p, []byte(word))
}

// isUnauthenticate: blanks at a line's end are nothing to imapwire (Event.Text).
func isUnauthenticate(name []byte) bool {
	return equalFold(bytes.TrimRight(name, " "), names[0].name)
}

// see looks at a line's beginning, or at a whole line: its tag and its name. In the
// middle of IDLE a line is no command, but one that reads as UNAUTHENTICATE ends the
// following there too: who writes it means it.
func (s *Session) see(p []byte) error {
	t := abnf.TagChar.Span(p)
	switch {
	case t > MaxTag:
		return errTag
	case t > 0 && t < len(p) && p[t] == ' ' && p[len(p)-1] == '\n' && isUnauthenticate(trimEnd(p[t+1:])):
		s.tag = append(s.tag[:0], p[:t]...)
		s.at, s.raw = over, false
		return nil
	case s.raw:
		return nil
	}
	s.tag = append(s.tag[:0], p[:t]...)
	s.name, s.open = nothing, t > 0
	if t == 0 {
		return nil // answered without a tag
	}
	s.owed = append(append(s.owed, p[:t]...), '\n')
	if t == len(p) || p[t] != ' ' {
		return nil
	}
	name := p[t+1:]
	name = name[:abnf.AtomChar.Span(name)]
	for _, n := range names {
		if equalFold(name, n.name) {
			s.name = n.wait
		}
	}
	return nil
}

func trimEnd(p []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(p, []byte("\n")), []byte("\r"))
}

// line takes what follows in a line.
func (s *Session) line(p []byte) (int, error) {
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		s.keep(p)
		return len(p), nil
	}
	if len(s.tail) == 0 {
		return i + 1, s.lineEnds(p[:i+1])
	}
	s.keep(p[:i+1])
	return i + 1, s.lineEnds(s.tail)
}

// keep keeps the end of a line that goes on.
func (s *Session) keep(p []byte) {
	s.tail, s.cut = keepTail(s.tail, p, s.cut)
}

// keepTail appends p and keeps the last tailLen bytes, a line end apart; cut says
// that bytes were left out.
func keepTail(tail, p []byte, cut bool) ([]byte, bool) {
	if extra := len(tail) + len(p) - tailLen - 2; extra > 0 {
		cut = true
		if extra >= len(tail) {
			p = p[extra-len(tail):]
			tail = tail[:0]
		} else {
			tail = append(tail[:0], tail[extra:]...)
		}
	}
	return append(tail, p...), cut
}

// lineEnds looks at the end of a line, or of as much of it as there is since its last
// literal.
func (s *Session) lineEnds(p []byte) error {
	text := trimEnd(p)
	size, nonSync, ok := imapwire.LiteralHead(text)
	if s.raw {
		ok = ok && nonSync // the worker waits for no other
	}
	switch {
	case !ok && s.cut && lostHead(text), ok && size < 0:
		return errSize
	case ok && nonSync:
		s.left = size
		s.newLine(inLiteral)
		if size == 0 {
			s.newLine(inLine)
		}
	case s.raw:
		s.raw = false
		s.newLine(atHead)
	case ok && !s.open:
		return errNoTag
	case ok:
		s.wait, s.left = forLiteral, size
		s.newLine(atHead)
	default:
		s.wait, s.open = s.name, false
		s.newLine(atHead)
	}
	return nil
}

// lostHead reports whether a line's kept end is digits up to a literal's last bytes:
// its "{" is lost.
func lostHead(text []byte) bool {
	digits, ok := bytes.CutSuffix(text, []byte("}"))
	if !ok {
		return false
	}
	digits = bytes.TrimSuffix(digits, []byte("+"))
	return abnf.Digit.Span(digits) == len(digits)
}
