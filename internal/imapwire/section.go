package imapwire

import (
	"math"
	"strings"

	"rookery/internal/abnf"
)

// SectionText says which piece of a part a section names.
type SectionText uint8

// The pieces.
const (
	WholePart       SectionText = iota // the part, or with no part number the message
	Header                             // HEADER
	HeaderFields                       // HEADER.FIELDS (…)
	HeaderFieldsNot                    // HEADER.FIELDS.NOT (…)
	Text                               // TEXT
	MIME                               // MIME, of a numbered part only
)

var sectionTexts = [...]string{"", "HEADER", "HEADER.FIELDS", "HEADER.FIELDS.NOT", "TEXT", "MIME"}

// Section is what stands in the brackets of BODY[…].
type Section struct {
	Part   []uint32 // empty for the message itself
	Text   SectionText
	Fields []string // of HeaderFields and HeaderFieldsNot, as the client wrote them
}

// Partial is "<" number64 "." nz-number64 ">" (RFC 9051 §9), of which RFC 3501's has
// the first 32 bits.
type Partial struct {
	Offset uint64 // below 2^63
	Length uint64 // 0 when no partial was given
}

// WantSection demands section = "[" [section-spec] "]".
//
//	section-spec    = section-msgtext / (section-part ["." section-text])   RFC 3501 §9
//	section-part    = nz-number *("." nz-number)
//	section-text    = section-msgtext / "MIME"
//	section-msgtext = "HEADER" / "HEADER.FIELDS" [".NOT"] SP header-list / "TEXT"
//
// A part number has at most Limits.Items levels.
func (d *Decoder) WantSection(s *Section) bool {
	*s = Section{}
	if !d.WantByte('[') {
		return false
	}
	more := true
	for more && abnf.Digit.Has(d.Peek()) {
		var n uint32
		if len(s.Part) == d.limits.Items {
			return d.Fail("fewer part numbers")
		}
		if !d.WantNZNumber(&n) {
			return false
		}
		s.Part = append(s.Part, n)
		more = d.Byte('.')
	}
	if d.Peek() != ']' || len(s.Part) > 0 && more {
		if !more || !d.wantSectionText(s) {
			return d.Fail("part number or section")
		}
	}
	return d.WantByte(']')
}

func (d *Decoder) wantSectionText(s *Section) bool {
	before := d.at
	var word string
	if !d.WantWord(&word) {
		return false
	}
	for i, name := range sectionTexts {
		if i > 0 && strings.EqualFold(word, name) {
			s.Text = SectionText(i)
		}
	}
	if s.Text == WholePart || s.Text == MIME && len(s.Part) == 0 {
		d.at = before
		return d.Fail("HEADER, HEADER.FIELDS, TEXT or MIME")
	}
	if s.Text != HeaderFields && s.Text != HeaderFieldsNot {
		return true
	}
	return d.WantSP() && d.WantList(func() bool {
		var field string
		if !d.WantAstring(&field) {
			return false
		}
		s.Fields = append(s.Fields, field)
		return true
	})
}

// WantSectionBinary demands section-binary = "[" [section-part] "]" (RFC 3516 §7):
// part numbers and nothing behind them.
func (d *Decoder) WantSectionBinary(s *Section) bool {
	before := d.at
	if !d.WantSection(s) {
		return false
	}
	if s.Text != WholePart {
		d.at = before
		return d.Fail("part numbers alone")
	}
	return true
}

// Partial takes "<" number64 "." nz-number64 ">".
func (d *Decoder) Partial(p *Partial) bool {
	return d.Byte('<') && d.WantNumber64(&p.Offset) && d.WantByte('.') &&
		d.want(abnf.DigitNZ.Has(d.Peek()) && d.Number64(&p.Length), "number above zero") && d.WantByte('>')
}

// End is the offset after the last byte that the partial names, at most 2^63-1.
func (p Partial) End() int64 {
	if p.Length == 0 || p.Offset+p.Length > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(p.Offset + p.Length)
}
