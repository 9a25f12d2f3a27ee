package imapwire

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"rookery/internal/abnf"
	"rookery/internal/imapname/mutf7"
	"rookery/internal/numset"
)

// Options say what the session has enabled, as far as it changes what is
// written: the Encoder looks at them. A Decoder has them for what they change in
// what a client may write.
type Options struct {
	Rev2    bool // RFC 9051: UTF-8 in names and quoted strings, no RECENT and no \Recent
	UTF8    bool // RFC 9755 UTF8=ACCEPT: UTF-8 in names and quoted strings
	UIDOnly bool // RFC 9586: UIDFETCH in place of FETCH, VANISHED in place of EXPUNGE
}

// UTF8OK reports whether names and quoted strings hold UTF-8.
func (o Options) UTF8OK() bool { return o.UTF8 || o.Rev2 }

// maxQuoted is the longest string that is written quoted; RFC 2683 §3.2.1.5
// asks for short ones.
const maxQuoted = 1024

// Encoder appends responses to a buffer. A token that its grammar does not
// allow is an error: the whole response that it stands in is taken back at
// CRLF, so that no half of it and nothing that a client did not expect is
// ever on the wire. Methods chain.
type Encoder struct {
	Options Options
	// Texts, if not nil, gives the texts of status responses in the client's
	// language, which are UTF-8 then (RFC 5255 §3.5).
	Texts func(english string) string
	buf   []byte
	start int // of the response that is being written
	err   error
	first error // the first error ever, for Err
}

// Len is the number of bytes that wait.
func (e *Encoder) Len() int { return len(e.buf) }

// Take gives the finished responses and begins anew. The bytes are the
// caller's until it gives the buffer back with Reuse.
func (e *Encoder) Take() []byte {
	out := e.buf
	e.buf, e.start = nil, 0
	return out
}

// Bytes gives what waits without taking it.
func (e *Encoder) Bytes() []byte { return e.buf }

// Reset forgets what waits and keeps the memory.
func (e *Encoder) Reset() {
	e.buf, e.start = e.buf[:0], 0
}

// Err is the first error of any response since the last call. It is a bug of
// ours, never the client's doing.
func (e *Encoder) Err() error {
	err := e.first
	e.first = nil
	return err
}

func (e *Encoder) fail(what, value string) *Encoder {
	if e.err == nil {
		e.err = fmt.Errorf("imapwire: %q is no %s", value, what)
		if e.first == nil {
			e.first = e.err
		}
	}
	return e
}

func (e *Encoder) raw(s string) *Encoder {
	e.buf = append(e.buf, s...)
	return e
}

// Untagged begins a response: "* ".
func (e *Encoder) Untagged() *Encoder { return e.raw("* ") }

// SP writes a space.
func (e *Encoder) SP() *Encoder { return e.raw(" ") }

// Open writes "(" and Close ")".
func (e *Encoder) Open() *Encoder { return e.raw("(") }

// Close writes ")".
func (e *Encoder) Close() *Encoder { return e.raw(")") }

// CRLF ends a response. After an error the response is taken back.
func (e *Encoder) CRLF() {
	if e.err != nil {
		e.buf = e.buf[:e.start]
		e.err = nil
		return
	}
	e.raw("\r\n")
	e.start = len(e.buf)
}

// Atom writes an atom = 1*ATOM-CHAR.
func (e *Encoder) Atom(s string) *Encoder {
	if s == "" || !abnf.AtomChar.All(s) {
		return e.fail("atom", s)
	}
	return e.raw(s)
}

// Num writes a number.
func (e *Encoder) Num(n uint32) *Encoder {
	e.buf = strconv.AppendUint(e.buf, uint64(n), 10)
	return e
}

// Num64 writes a number64, 0 to 2^63-1.
func (e *Encoder) Num64(n uint64) *Encoder {
	if n > 1<<63-1 {
		return e.fail("number64", strconv.FormatUint(n, 10))
	}
	e.buf = strconv.AppendUint(e.buf, n, 10)
	return e
}

// ModSeq writes fetch-mod-resp = "MODSEQ" SP "(" permsg-modsequence ")", 1 to
// 2^63-1 (RFC 7162 §7).
func (e *Encoder) ModSeq(n uint64) *Encoder {
	if n == 0 {
		return e.fail("mod-sequence", "0")
	}
	return e.raw("MODSEQ (").Num64(n).raw(")")
}

// Set writes a sequence-set, which cannot be empty.
func (e *Encoder) Set(s numset.Set) *Encoder {
	if s.Empty() {
		return e.fail("sequence set", "")
	}
	e.buf = s.AppendTo(e.buf)
	return e
}

// Nil writes NIL.
func (e *Encoder) Nil() *Encoder { return e.raw("NIL") }

// utf8OK reports whether quoted strings may hold UTF-8.
func (e *Encoder) utf8OK() bool { return e.Options.UTF8OK() }

// quotable reports whether s can stand in quotes.
func (e *Encoder) quotable(s string) bool {
	if len(s) > maxQuoted {
		return false
	}
	high := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] >= 0x80:
			high = true
		case !abnf.TextChar.Has(s[i]):
			return false
		}
	}
	return !high || e.utf8OK() && utf8.ValidString(s)
}

func (e *Encoder) quoted(s string) *Encoder {
	e.buf = append(e.buf, '"')
	for i := 0; i < len(s); i++ {
		if abnf.QuotedSpecials.Has(s[i]) {
			e.buf = append(e.buf, '\\')
		}
		e.buf = append(e.buf, s[i])
	}
	e.buf = append(e.buf, '"')
	return e
}

// Quoted writes a quoted string where the grammar allows no literal. Bytes
// that cannot be quoted are an error.
func (e *Encoder) Quoted(s string) *Encoder {
	if !e.quotable(s) {
		return e.fail("quoted string", s)
	}
	return e.quoted(s)
}

// String writes a string = quoted / literal, whichever holds s. A literal
// cannot hold NUL (CHAR8): a NUL of a broken message is written as 0x80, as
// in bodies.
func (e *Encoder) String(s string) *Encoder {
	if e.quotable(s) {
		return e.quoted(s)
	}
	e.literalHead(int64(len(s)), false)
	at := len(e.buf)
	e.buf = append(e.buf, s...)
	MaskNUL(e.buf[at:])
	return e
}

// MaskNUL overwrites each NUL in p with 0x80. Lengths stay, so offsets of
// parts and RFC822.SIZE stay true.
func MaskNUL(p []byte) {
	for {
		i := bytes.IndexByte(p, 0)
		if i < 0 {
			return
		}
		p[i] = 0x80
		p = p[i+1:]
	}
}

// NString writes nstring = string / nil.
func (e *Encoder) NString(s NString) *Encoder {
	if !s.Set {
		return e.Nil()
	}
	return e.String(s.S)
}

// Astring writes astring = 1*ASTRING-CHAR / string, as an atom where it can be
// one; the word NIL is quoted, since many clients would read it as nil.
func (e *Encoder) Astring(s string) *Encoder {
	if s != "" && abnf.AstringChar.All(s) && len(s) <= maxQuoted && !(len(s) == 3 && (s[0]|0x20) == 'n' && (s[1]|0x20) == 'i' && (s[2]|0x20) == 'l') {
		return e.raw(s)
	}
	return e.String(s)
}

// Mailbox writes a mailbox name, given in UTF-8: as it is under rev2 and
// UTF8=ACCEPT, else in modified UTF-7 (RFC 3501 §5.1.3).
func (e *Encoder) Mailbox(name string) *Encoder {
	if !utf8.ValidString(name) {
		return e.fail("mailbox name", name)
	}
	if !e.utf8OK() {
		name = mutf7.Encode(name)
	}
	return e.Astring(name)
}

// Prefix writes the beginning of mailbox names, given in UTF-8, as NAMESPACE has it
// (RFC 2342 §6): quoted whatever it is, in the encoding of Mailbox.
func (e *Encoder) Prefix(name string) *Encoder {
	if !e.utf8OK() {
		name = mutf7.Encode(name)
	}
	return e.Quoted(name)
}

// Flag writes flag = "\" atom / atom, and the "\*" of PERMANENTFLAGS.
func (e *Encoder) Flag(s string) *Encoder {
	name := s
	if len(s) > 1 && s[0] == '\\' {
		name = s[1:]
	}
	if s != `\*` && (name == "" || !abnf.AtomChar.All(name)) {
		return e.fail("flag", s)
	}
	return e.raw(s)
}

// FlagList writes "(" [flag *(SP flag)] ")".
func (e *Encoder) FlagList(flags []string) *Encoder {
	e.Open()
	first := true
	for _, flag := range flags {
		if e.Options.Rev2 && flag == `\Recent` {
			continue // RFC 9051 §9: flag "does not include" it
		}
		if !first {
			e.SP()
		}
		first = false
		e.Flag(flag)
	}
	return e.Close()
}

// DateTime writes date-time, in t's own zone. Of the two forms of
// date-day-fixed (RFC 3501 §9) it writes the one without a space: some clients
// cut the string into words.
func (e *Encoder) DateTime(t time.Time) *Encoder {
	if y := t.Year(); y < 0 || y > 9999 {
		return e.fail("date and time", t.String())
	}
	e.buf = t.AppendFormat(e.buf, `"02-Jan-2006 15:04:05 -0700"`)
	return e
}

// Section writes section = "[" [section-spec] "]".
func (e *Encoder) Section(s Section) *Encoder {
	e.raw("[")
	for i, n := range s.Part {
		if i > 0 {
			e.raw(".")
		}
		e.Num(n)
	}
	if s.Text != WholePart {
		if len(s.Part) > 0 {
			e.raw(".")
		}
		e.raw(sectionTexts[s.Text])
	}
	if s.Text == HeaderFields || s.Text == HeaderFieldsNot {
		e.raw(" (")
		for i, field := range s.Fields {
			if i > 0 {
				e.SP()
			}
			e.Astring(field)
		}
		e.Close()
	}
	return e.raw("]")
}

// Origin writes "<" number64 ">", the answer to a Partial.
func (e *Encoder) Origin(offset uint64) *Encoder { return e.raw("<").Num64(offset).raw(">") }

func (e *Encoder) literalHead(size int64, binary bool) {
	if binary {
		e.raw("~")
	}
	e.buf = append(e.buf, '{')
	e.buf = strconv.AppendInt(e.buf, size, 10)
	e.raw("}\r\n")
}

// Literal writes the head of a literal, or of a literal8, whose size bytes
// the caller sends itself after what waits here. What was written so far can
// then not be taken back any more: it says false when an error did so already
// and no byte of the body may be sent.
func (e *Encoder) Literal(size int64, binary bool) bool {
	if size < 0 {
		e.fail("literal size", strconv.FormatInt(size, 10))
	}
	if e.err != nil {
		return false
	}
	e.literalHead(size, binary)
	e.start = len(e.buf)
	return true
}

// Append writes bytes that are themselves whole tokens, made by another
// Encoder: a stored ENVELOPE. They are not looked at again.
func (e *Encoder) Append(tokens []byte) *Encoder {
	e.buf = append(e.buf, tokens...)
	return e
}

// Body appends bytes of a literal whose head Literal wrote; a NUL is masked
// unless the literal is binary.
func (e *Encoder) Body(p []byte, binary bool) {
	at := len(e.buf)
	e.buf = append(e.buf, p...)
	if !binary {
		MaskNUL(e.buf[at:])
	}
	e.start = len(e.buf)
}

// BodyFrom appends n bytes of a literal that is not binary, as r has them from
// off on but for NUL, which is masked. It says false, with nothing appended, when
// r does not give all of them.
func (e *Encoder) BodyFrom(r io.ReaderAt, off int64, n int) bool {
	at := len(e.buf)
	e.buf = slices.Grow(e.buf, n)[:at+n]
	if got, _ := r.ReadAt(e.buf[at:], off); got < n {
		e.buf = e.buf[:at]
		return false
	}
	MaskNUL(e.buf[at:])
	e.start = len(e.buf)
	return true
}

// Shrink gives a large buffer's memory back once it is empty, so that a session
// that waits costs little.
func (e *Encoder) Shrink() {
	if len(e.buf) == 0 && cap(e.buf) > 4<<10 {
		if cap(e.buf) == roomySize {
			roomy.Put((*[roomySize]byte)(e.buf[:roomySize]))
		}
		e.buf = nil
	}
}

// roomySize is the length of the buffers of commands that write much.
const roomySize = 96 << 10

var roomy = sync.Pool{New: func() any { return new([roomySize]byte) }}

// Reserve takes a large buffer for a command that will write much, in place of one
// that grows; Shrink gives it back.
func (e *Encoder) Reserve() {
	if cap(e.buf) < roomySize {
		e.buf = append(roomy.Get().(*[roomySize]byte)[:0], e.buf...)
	}
}
