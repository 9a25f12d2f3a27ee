package imapwire

import (
	"bytes"

	"rookery/internal/abnf"
)

// EventKind tells what the Framer has found.
type EventKind uint8

// The kinds of events.
const (
	NeedMore EventKind = iota // all bytes are taken; bring more
	Command                   // Bytes is one whole command
	Line                      // Bytes is one line, in raw mode
	Continue                  // answer "+ …": the client waits with its literal
	Chunk                     // Bytes is a piece of the streamed literal
	ChunkEnd                  // the streamed literal is complete
	Refused                   // answer the command in Bytes (as far as it came) by Reason; the stream is in step again
	Fatal                     // the stream cannot be brought in step: say BYE and close
)

// Reason tells why a command was refused.
type Reason uint8

// The reasons.
const (
	NoReason        Reason = iota
	LineTooLong            // a line is longer than Limits.Line
	LiteralTooBig          // one literal, or all together, exceed the limits
	TooManyLiterals        // more than Limits.LiteralCount
	NULByte                // a NUL in a line or, literal8 aside, in a buffered literal
	ByDecider              // the Decider refused; Verdict.Tag is what it gave
	BadLiteral             // a literal whose size cannot be a number (Fatal)
	StrayLiteral           // a literal that does not wait, behind a line in raw mode
)

// String gives the reason in the words of the answer.
func (r Reason) String() string {
	return [...]string{"", "Command line too long", "Literal too big", "Too many literals", "NUL byte in command",
		"Refused", "Invalid literal size", "No literal can stand here"}[r]
}

// Event is what Next found. Bytes is valid until the next call of Next.
type Event struct {
	Kind    EventKind
	Bytes   []byte
	Reason  Reason
	Verdict Verdict // the Decider's, for ByDecider
	Since   int     // of a Command: offset in Bytes after its last literal
	// Streamed is, of a Command, the offset in Bytes after its last streamed literal;
	// 0 if it had none. Buffered literals may stand behind it.
	Streamed int
}

// Text gives a Command without the blanks at its end: people who type leave
// some, and so do a few clients. Blanks that end a literal are its own.
func (e Event) Text() []byte {
	n := len(e.Bytes)
	for n > e.Since && e.Bytes[n-1] == ' ' {
		n--
	}
	return e.Bytes[:n]
}

// Announced describes a literal whose bytes have not come yet.
type Announced struct {
	Prefix []byte // the command up to the literal's "{" or "~{", streamed literals' bytes left out
	Since  int    // offset in Prefix where the text after the previous literal begins
	// Streamed is the offset in Prefix where the text after the last streamed literal
	// begins; 0 if there was none. Buffered literals may stand behind it.
	Streamed int
	Size     int64 // bytes to come
	Index    int   // how many literals came before it
	NonSync  bool  // "{n+}": the bytes come whatever we answer (RFC 7888)
	Binary   bool  // "~{n}": literal8, may hold NUL (RFC 3516)
}

// Action says what to do with an announced literal.
type Action uint8

// The actions.
const (
	Buffer Action = iota // make it part of the command, under the limits
	Stream               // give it out as Chunk events; Limits.Literal does not count, and Limits.Line begins anew
	Refuse               // refuse the command
)

// Verdict is a Decider's decision. Tag is handed back with the Refused event
// and means nothing to the Framer.
type Verdict struct {
	Action Action
	Tag    any
}

// Decider is asked about each literal before anything is answered.
type Decider func(Announced) Verdict

type state uint8

const (
	inLine      state = iota // collecting a line
	inLiteral                // collecting a buffered literal
	inStream                 // giving out a streamed literal
	skipLine                 // dropping the rest of a refused command
	skipLiteral              // dropping a non-synchronizing literal of a refused command
)

// tailLen is how much of a dropped line's end is kept, to see a literal
// announced there: "~{" + 19 digits + "+}" + CR.
const tailLen = 26

// Framer assembles commands. It holds no more than about twice what has
// really arrived of one command, and never more than the limits allow.
type Framer struct {
	limits  Limits
	decide  Decider
	raw     bool
	state   state
	buf     []byte
	line    int   // bytes of lines in buf
	since   int   // offset in buf after the last literal
	count   int   // literals so far
	total   int64 // bytes of buffered literals so far
	left    int64 // bytes of the present literal still to come
	binary  bool  // the present literal is a literal8
	nul     bool  // a NUL was seen where none may be
	refusal Event // what to report at the end of a refused command
	tail    []byte
	keep    int  // length of buf after the head of the first streamed literal
	done    bool // buf holds what was already given out
	emitEnd bool // ChunkEnd is due
}

// NewFramer makes a Framer. decide may be nil: every literal is buffered.
func NewFramer(limits Limits, decide Decider) *Framer {
	return &Framer{limits: limits, decide: decide}
}

// SetLimits changes the limits; login's are smaller than the worker's.
func (f *Framer) SetLimits(limits Limits) { f.limits = limits }

// SetRaw switches to lines without literals, as IDLE's DONE and the answers of
// AUTHENTICATE are, or back to commands. It may be called between commands or
// lines only.
func (f *Framer) SetRaw(raw bool) { f.raw = raw }

// Idle reports whether no part of a command is held.
func (f *Framer) Idle() bool {
	return f.state == inLine && (f.done || len(f.buf) == 0)
}

// Next takes bytes from the front of p, tells how many, and gives at most one
// event. Call it with the rest until it says NeedMore; bytes after an event
// belong to what follows it, so a caller that is busy with a command simply
// keeps them.
func (f *Framer) Next(p []byte) (n int, ev Event) {
	if f.emitEnd {
		f.emitEnd = false
		return 0, Event{Kind: ChunkEnd}
	}
	if f.done {
		f.reset()
	}
	for {
		var used int
		var found bool
		switch f.state {
		case inLine:
			used, ev, found = f.takeLine(p[n:])
		case inLiteral:
			used, ev, found = f.takeLiteral(p[n:])
		case inStream:
			used, ev, found = f.takeStream(p[n:])
		case skipLine:
			used, ev, found = f.dropLine(p[n:])
		case skipLiteral:
			used, ev, found = f.dropLiteral(p[n:])
		}
		n += used
		if found || n == len(p) && !f.progress() {
			return n, ev
		}
	}
}

// progress reports whether a step is due that needs no further byte: the end
// of a literal of which nothing is left.
func (f *Framer) progress() bool {
	return f.left == 0 && (f.state == inLiteral || f.state == inStream || f.state == skipLiteral)
}

func (f *Framer) reset() {
	// A large command's memory is given back, not kept for the next NOOP.
	if cap(f.buf) > 16<<10 {
		f.buf = nil
	}
	*f = Framer{limits: f.limits, decide: f.decide, raw: f.raw, buf: f.buf[:0]}
}

// finish gives an event that ends the command.
func (f *Framer) finish(ev Event) Event {
	f.done = true
	return ev
}

// takeLine collects up to and including LF.
func (f *Framer) takeLine(p []byte) (int, Event, bool) {
	n := bytes.IndexByte(p, '\n') + 1
	whole := n > 0
	if !whole {
		n = len(p)
	}
	if f.line+n > f.limits.Line+2 { // + CRLF, which the limit does not count
		return f.overflow(p[:n])
	}
	f.nul = f.nul || bytes.IndexByte(p[:n], 0) >= 0
	f.buf = append(f.buf, p[:n]...)
	f.line += n
	if !whole {
		return n, Event{}, false
	}
	ev, found := f.lineEnds()
	return n, ev, found
}

// overflow begins to drop a line that is too long. What was collected stays
// for its tag.
func (f *Framer) overflow(p []byte) (int, Event, bool) {
	f.tail = append(f.tail[:0], f.buf[max(f.since, len(f.buf)-tailLen):]...)
	// What is kept must not depend on how the bytes came in portions.
	if room := f.limits.Line - f.line; room > 0 {
		f.buf = append(f.buf, p[:min(room, len(p))]...)
	}
	f.refusal = Event{Kind: Refused, Reason: LineTooLong}
	f.state = skipLine
	return 0, Event{}, false
}

// lineEnds looks at the line that buf now ends with. A bare LF ends a line as
// well as CRLF does: people type into nc, and no grammar allows LF elsewhere.
func (f *Framer) lineEnds() (Event, bool) {
	// A CR that ends a literal is not part of the line end after it.
	text := f.buf[:f.since+len(trimEnd(f.buf[f.since:]))]
	if f.line-(len(f.buf)-len(text)) > f.limits.Line {
		f.refusal = Event{Kind: Refused, Reason: LineTooLong}
		return f.dropped(text[f.since:])
	}
	if f.raw {
		if lit, _, ok := announcement(text); ok && lit.NonSync {
			// RFC 7888 §3: "MUST check the end of every received line", also where no
			// literal can stand: what follows is no command.
			f.refusal = Event{Kind: Refused, Reason: StrayLiteral}
			return f.dropped(text)
		}
		if f.nul {
			return f.finish(Event{Kind: Refused, Reason: NULByte, Bytes: text}), true
		}
		return f.finish(Event{Kind: Line, Bytes: text}), true
	}
	lit, at, ok := announcement(text[f.since:])
	if !ok {
		if f.nul {
			return f.finish(Event{Kind: Refused, Reason: NULByte, Bytes: text}), true
		}
		return f.finish(Event{Kind: Command, Bytes: text, Since: f.since, Streamed: f.keep}), true
	}
	lit.Prefix, lit.Since, lit.Streamed, lit.Index = text[:f.since+at], f.since, f.keep, f.count
	f.count++
	// The Decoder relies on CRLF after the size, however the client ended it.
	f.buf = append(text, '\r', '\n')
	if lit.Size < 0 {
		return f.finish(Event{Kind: Fatal, Reason: BadLiteral, Bytes: lit.Prefix}), true
	}
	return f.literal(lit)
}

// trimEnd cuts one CRLF or LF off.
func trimEnd(p []byte) []byte {
	p = p[:len(p)-1]
	if len(p) > 0 && p[len(p)-1] == '\r' {
		p = p[:len(p)-1]
	}
	return p
}

// literal decides about an announced literal and begins it.
func (f *Framer) literal(lit Announced) (Event, bool) {
	verdict := Verdict{}
	switch {
	case f.nul:
		return f.refuse(Event{Kind: Refused, Reason: NULByte}, lit)
	case f.count > f.limits.LiteralCount:
		return f.refuse(Event{Kind: Refused, Reason: TooManyLiterals}, lit)
	case f.decide != nil:
		verdict = f.decide(lit)
	}
	switch {
	case verdict.Action == Refuse:
		return f.refuse(Event{Kind: Refused, Reason: ByDecider, Verdict: verdict}, lit)
	case verdict.Action == Stream:
		f.state = inStream
		// A command of many streamed literals (RFC 3502) may be of any length:
		// only its beginning and what follows the last literal is kept.
		if f.keep == 0 {
			f.keep = len(f.buf)
		}
	case lit.Size > f.limits.Literal || lit.Size > f.limits.LiteralsTotal-f.total:
		return f.refuse(Event{Kind: Refused, Reason: LiteralTooBig}, lit)
	default:
		f.state = inLiteral
		f.total += lit.Size
	}
	f.left, f.binary = lit.Size, lit.Binary
	if lit.NonSync {
		return Event{}, false
	}
	return Event{Kind: Continue}, true
}

// refuse reports at once when the client waits for "+", which then never
// comes; else after its bytes and the rest of its command have been dropped.
func (f *Framer) refuse(ev Event, lit Announced) (Event, bool) {
	if f.refusal.Kind == Refused {
		ev = f.refusal
	}
	if !lit.NonSync {
		ev.Bytes = f.prefix()
		return f.finish(ev), true
	}
	f.refusal = ev
	f.tail = f.tail[:0]
	f.state, f.left = skipLiteral, lit.Size
	return Event{}, false
}

// prefixLen is how much of a refused command is shown: enough for its tag and
// name, and the same however the bytes came in portions.
const prefixLen = 256

func (f *Framer) prefix() []byte {
	return bytes.TrimRight(f.buf[:min(len(f.buf), f.limits.Line, prefixLen)], "\r\n")
}

func (f *Framer) takeLiteral(p []byte) (int, Event, bool) {
	n := int(min(int64(len(p)), f.left))
	if !f.binary && bytes.IndexByte(p[:n], 0) >= 0 {
		// literal = "{" number "}" CRLF *CHAR8, and CHAR8 is any octet but NUL
		f.nul = true
	}
	f.buf = append(f.buf, p[:n]...)
	f.left -= int64(n)
	if f.left == 0 {
		f.state, f.since = inLine, len(f.buf)
	}
	return n, Event{}, false
}

func (f *Framer) takeStream(p []byte) (int, Event, bool) {
	n := int(min(int64(len(p)), f.left))
	f.left -= int64(n)
	if f.left == 0 {
		f.buf = f.buf[:f.keep]
		f.state, f.since, f.line = inLine, f.keep, 0
		if n == 0 {
			return 0, Event{Kind: ChunkEnd}, true
		}
		f.emitEnd = true
	}
	if n == 0 {
		return 0, Event{}, false
	}
	return n, Event{Kind: Chunk, Bytes: p[:n]}, true
}

func (f *Framer) dropLine(p []byte) (int, Event, bool) {
	n := bytes.IndexByte(p, '\n') + 1
	whole := n > 0
	if !whole {
		n = len(p)
	}
	if n >= tailLen {
		f.tail = append(f.tail[:0], p[n-tailLen:n]...)
	} else {
		f.tail = append(f.tail, p[:n]...)
		if extra := len(f.tail) - tailLen; extra > 0 {
			f.tail = append(f.tail[:0], f.tail[extra:]...)
		}
	}
	if !whole {
		return n, Event{}, false
	}
	ev, found := f.dropped(trimEnd(f.tail))
	return n, ev, found
}

// dropped ends a line of a refused command, of which text is the end.
func (f *Framer) dropped(text []byte) (Event, bool) {
	lit, _, ok := announcement(text)
	if f.raw {
		ok = ok && lit.NonSync // nothing is waited for
	}
	switch {
	case ok && (lit.Size < 0 || f.raw && lit.Size > f.limits.Literal), !ok && endsInDigits(text):
		return f.finish(Event{Kind: Fatal, Reason: BadLiteral, Bytes: f.prefix()}), true
	case ok:
		return f.refuse(f.refusal, lit)
	}
	ev := f.refusal
	ev.Bytes = f.prefix()
	return f.finish(ev), true
}

// endsInDigits reports whether a dropped line's kept end is all digits before
// its "+}": a size so long that its "{" is lost.
func endsInDigits(text []byte) bool {
	digits, ok := bytes.CutSuffix(text, []byte("+}"))
	return ok && len(digits) >= tailLen-4 && abnf.Digit.Span(digits) == len(digits)
}

func (f *Framer) dropLiteral(p []byte) (int, Event, bool) {
	n := int(min(int64(len(p)), f.left))
	f.left -= int64(n)
	if f.left == 0 {
		f.state = skipLine
	}
	return n, Event{}, false
}

// announcement finds a literal's head at the end of a line's text.
//
//	literal  = "{" number ["+"] "}" CRLF *CHAR8             RFC 3501 §9, RFC 7888 §8
//	literal8 = "~{" number ["+"] "}" CRLF *OCTET            RFC 3516 §7, RFC 7888 §8
//
// It does not ask what stands before: where a head stands in a place in which
// the grammar allows none, the command is wrong, but a client that wrote it
// sends the literal's bytes, and they must not be taken for commands. A size
// above 2^63-1 is given as -1 when the client does not wait for us, else as
// 2^63-1, which every limit refuses.
func announcement(text []byte) (lit Announced, at int, ok bool) {
	end := len(text) - 1
	if end < 2 || text[end] != '}' {
		return lit, 0, false
	}
	if text[end-1] == '+' {
		lit.NonSync = true
		end--
	}
	at = end
	for at > 0 && abnf.Digit.Has(text[at-1]) {
		at--
	}
	if at == end || at == 0 || text[at-1] != '{' {
		return Announced{}, 0, false
	}
	for _, b := range text[at:end] {
		if lit.Size > (1<<63-1-9)/10 {
			lit.Size = 1<<63 - 1
			if lit.NonSync {
				lit.Size = -1
			}
			break
		}
		lit.Size = lit.Size*10 + int64(b-'0')
	}
	at--
	if at > 0 && text[at-1] == '~' {
		lit.Binary = true
		at--
	}
	return lit, at, true
}

// LiteralHead finds a literal's head at the end of a line's text, as the Framer does:
// of the line since its last literal, without its CRLF or LF. It is for who follows a
// stream between two that frame it. A size above 2^63-1 is -1 or 2^63-1: see
// announcement.
func LiteralHead(text []byte) (size int64, nonSync, ok bool) {
	lit, _, ok := announcement(text)
	return lit.Size, lit.NonSync, ok
}
