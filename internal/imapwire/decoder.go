package imapwire

import (
	"fmt"
	"math"
	"strings"

	"rookery/internal/abnf"
	"rookery/internal/numset"
)

// SyntaxError is the first thing in a command that the grammar does not allow.
type SyntaxError struct {
	Offset int    // in the assembled command
	Want   string // what should have stood there
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("expected %s at byte %d", e.Want, e.Offset)
}

// Decoder reads tokens out of an assembled command (Event.Bytes of Command).
//
// Methods come in two families. Atom(&s) tries: when no atom stands here it
// takes nothing and says false. WantAtom(&s) records an error if none does;
// the first error stays, and after it every method says false. So the parser
// of a command is one chain of && that reads like its grammar.
//
// Strings are copies; the Bytes variants share memory with the command.
type Decoder struct {
	// Options are what the session has enabled, for the parsers that must know.
	Options Options

	p      []byte
	at     int
	depth  int
	limits Limits
	err    *SyntaxError
}

// NewDecoder makes a Decoder of p, of which Depth and Items of the limits count.
func NewDecoder(p []byte, limits Limits) *Decoder { return &Decoder{p: p, limits: limits} }

// Err is the first error, nil if none was recorded.
func (d *Decoder) Err() error {
	if d.err == nil {
		return nil
	}
	return d.err
}

// Fail records an error here, for what the grammar allows but the command
// does not, and says false.
func (d *Decoder) Fail(want string) bool {
	if d.err == nil {
		d.err = &SyntaxError{Offset: d.at, Want: want}
	}
	return false
}

func (d *Decoder) want(ok bool, what string) bool {
	if d.err != nil {
		return false
	}
	return ok || d.Fail(what)
}

// Offset is where the next token begins.
func (d *Decoder) Offset() int { return d.at }

// Since gives what was taken from offset on. It shares memory with the command.
func (d *Decoder) Since(offset int) []byte { return d.p[offset:d.at] }

// Peek gives the next byte without taking it, 0 at the end.
func (d *Decoder) Peek() byte {
	if d.err != nil || d.at >= len(d.p) {
		return 0
	}
	return d.p[d.at]
}

// Ahead reports whether text stands here, whatever its case, without taking it:
// for the few places where what follows decides.
func (d *Decoder) Ahead(text string) bool {
	return d.err == nil && len(d.p)-d.at >= len(text) && strings.EqualFold(string(d.p[d.at:d.at+len(text)]), text)
}

// AtEnd reports whether nothing is left.
func (d *Decoder) AtEnd() bool { return d.at == len(d.p) }

// WantEnd demands the end of the command; its CRLF is not part of it.
func (d *Decoder) WantEnd() bool { return d.want(d.AtEnd(), "end of command") }

// Byte takes b.
func (d *Decoder) Byte(b byte) bool {
	if d.err != nil || d.at >= len(d.p) || d.p[d.at] != b {
		return false
	}
	d.at++
	return true
}

// WantByte demands b.
func (d *Decoder) WantByte(b byte) bool { return d.want(d.Byte(b), fmt.Sprintf("%q", b)) }

// SP takes one space.
func (d *Decoder) SP() bool { return d.Byte(' ') }

// WantSP demands one space.
func (d *Decoder) WantSP() bool { return d.want(d.SP(), "space") }

// span takes 1*class.
func (d *Decoder) span(class *abnf.Class, s *string) bool {
	if d.err != nil {
		return false
	}
	n := class.Span(d.p[d.at:])
	if n == 0 {
		return false
	}
	*s = string(d.p[d.at : d.at+n])
	d.at += n
	return true
}

// WantTag demands a tag = 1*<any ASTRING-CHAR except "+">.
func (d *Decoder) WantTag(s *string) bool { return d.want(d.span(&abnf.TagChar, s), "tag") }

// Atom takes atom = 1*ATOM-CHAR.
func (d *Decoder) Atom(s *string) bool { return d.span(&abnf.AtomChar, s) }

// WantAtom demands an atom.
func (d *Decoder) WantAtom(s *string) bool { return d.want(d.Atom(s), "atom") }

// wordChar is what the names of FETCH items and search keys are made of. An
// atom would take "[" and "<" too.
var wordChar = abnf.Alpha.Plus(abnf.Digit).Plus(abnf.Bytes(".-"))

// Word takes letters, digits, "." and "-": the name of a FETCH item, a STATUS
// item, a search key.
func (d *Decoder) Word(s *string) bool { return d.span(&wordChar, s) }

// WantWord demands a Word.
func (d *Decoder) WantWord(s *string) bool { return d.want(d.Word(s), "name") }

// Keyword takes an atom that equals word, whatever its case.
func (d *Decoder) Keyword(word string) bool {
	before := d.at
	var s string
	if d.Atom(&s) && strings.EqualFold(s, word) {
		return true
	}
	d.at = before
	return false
}

// WantKeyword demands word.
func (d *Decoder) WantKeyword(word string) bool { return d.want(d.Keyword(word), word) }

// Number takes number = 1*DIGIT, 0 to 2^32-1 (RFC 3501 §9).
func (d *Decoder) Number(n *uint32) bool {
	var v uint64
	before := d.at
	if d.digits(math.MaxUint32, &v) {
		*n = uint32(v)
		return true
	}
	d.at = before
	return false
}

// WantNumber demands a number.
func (d *Decoder) WantNumber(n *uint32) bool { return d.want(d.Number(n), "number") }

// Number64 takes number64 = 1*DIGIT, 0 to 2^63-1 (RFC 9051 §9).
func (d *Decoder) Number64(n *uint64) bool {
	before := d.at
	if d.digits(math.MaxInt64, n) {
		return true
	}
	d.at = before
	return false
}

// WantNumber64 demands a number64.
func (d *Decoder) WantNumber64(n *uint64) bool { return d.want(d.Number64(n), "number") }

// WantModSeq demands mod-sequence-value = 1*DIGIT, 1 to 2^63-1 (RFC 7162 §7).
func (d *Decoder) WantModSeq(n *uint64) bool {
	before := d.at
	if d.Number64(n) && *n > 0 {
		return true
	}
	d.at = before
	return d.want(false, "mod-sequence from 1 to 9223372036854775807")
}

// WantModSeqZero demands mod-sequence-valzer = "0" / mod-sequence-value.
func (d *Decoder) WantModSeqZero(n *uint64) bool {
	if d.Peek() == '0' && (d.at+1 == len(d.p) || !abnf.Digit.Has(d.p[d.at+1])) {
		*n = 0
		return d.Byte('0')
	}
	return d.WantModSeq(n)
}

// WantNZNumber demands nz-number = digit-nz *DIGIT, 1 to 2^32-1.
func (d *Decoder) WantNZNumber(n *uint32) bool {
	return d.want(abnf.DigitNZ.Has(d.Peek()) && d.Number(n), "number above zero")
}

func (d *Decoder) digits(limit uint64, n *uint64) bool {
	if d.err != nil {
		return false
	}
	start, v := d.at, uint64(0)
	for d.at < len(d.p) && abnf.Digit.Has(d.p[d.at]) {
		digit := uint64(d.p[d.at] - '0')
		if v > (limit-digit)/10 {
			return false
		}
		v = v*10 + digit
		d.at++
	}
	*n = v
	return d.at > start
}

// WantSet demands a sequence-set of at most Limits.Items ranges; "$" is one too
// (RFC 5182 §2.1).
func (d *Decoder) WantSet(set *numset.Expr) bool {
	if d.err != nil {
		return false
	}
	n := abnf.SetChar.Span(d.p[d.at:])
	e, err := numset.Parse(d.p[d.at:d.at+n], d.limits.Items)
	if err != nil {
		return d.Fail("sequence set (" + err.Error() + ")")
	}
	*set = e
	d.at += n
	return true
}

// WantWindow demands partial-range = partial-range-first / partial-range-last
// (RFC 9394 §4): 1:50, or -1:-50, which counts from the end.
func (d *Decoder) WantWindow(w *numset.Window) bool {
	w.Back = d.Byte('-')
	return d.WantNZNumber(&w.A) && d.WantByte(':') && (!w.Back || d.WantByte('-')) && d.WantNZNumber(&w.B)
}

// Enter goes one level deeper, for grammars that nest; Limits.Depth is the
// deepest. Every Enter that says true needs a Leave.
func (d *Decoder) Enter() bool {
	if d.depth >= d.limits.Depth {
		return d.Fail("less nesting")
	}
	d.depth++
	return d.err == nil
}

// Leave goes one level up.
func (d *Decoder) Leave() { d.depth-- }

// List takes "(" [item *(SP item)] ")"; item reads one with Want methods. It
// says false with nothing taken when no "(" stands here, and false with an
// error when the list is wrong or has more than Limits.Items elements.
func (d *Decoder) List(item func() bool) bool {
	if d.Peek() != '(' || !d.Enter() {
		return false
	}
	defer d.Leave()
	d.at++
	if d.Byte(')') {
		return true
	}
	for n := 0; ; n++ {
		if n == d.limits.Items {
			return d.Fail("fewer list elements")
		}
		if !item() {
			return d.want(false, "list element")
		}
		if d.Byte(')') {
			return true
		}
		if !d.WantSP() {
			return false
		}
	}
}

// WantList demands a List of at least one element.
func (d *Decoder) WantList(item func() bool) bool {
	if d.Peek() == '(' && d.at+1 < len(d.p) && d.p[d.at+1] == ')' {
		return d.Fail("list element")
	}
	return d.want(d.List(item), "list")
}

// WantEmptyList demands a List that may be empty.
func (d *Decoder) WantEmptyList(item func() bool) bool { return d.want(d.List(item), "list") }
