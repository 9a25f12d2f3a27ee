package message

import (
	"bytes"
	"time"
)

// What follows reads messages that are in memory. Each function gives what its
// counterpart over an io.ReaderAt gives, without a window and without a heap.

// HeaderEnd gives where the header of the message p ends, its blank line
// included: Part.BodyStart of what ParseHeader would say.
func HeaderEnd(p []byte) int {
	for pos := 0; pos < len(p); {
		if p[pos] == '\n' {
			return pos + 1
		}
		if p[pos] == '\r' && pos+1 < len(p) && p[pos+1] == '\n' {
			return pos + 2
		}
		i := bytes.IndexByte(p[pos:], '\n')
		if i < 0 {
			break
		}
		pos += i + 1
	}
	return len(p)
}

// memFields goes over the fields of a header in memory as HeaderReader does.
type memFields struct {
	text  []byte // the header
	lim   Limits // filled
	pos   int
	field Field
	blank Range
}

func newMemFields(header []byte, lim Limits) memFields {
	end := int64(len(header))
	return memFields{text: header, lim: lim.filled(), blank: Range{end, end}}
}

// next is HeaderReader.Next.
func (h *memFields) next() bool {
	if h.pos >= len(h.text) || int64(h.pos) >= h.lim.HeaderBytes {
		return false
	}
	start := h.pos
	for first := true; h.pos < len(h.text); first = false {
		c := h.text[h.pos]
		if first {
			if c == '\n' || c == '\r' && h.pos+1 < len(h.text) && h.text[h.pos+1] == '\n' {
				h.skipLine()
				h.blank = Range{int64(start), int64(h.pos)}
				h.pos = len(h.text)
				return false
			}
		} else if c != ' ' && c != '\t' {
			break
		}
		h.skipLine()
	}
	raw := h.text[start:h.pos]
	h.field = fieldOf(raw[:min(len(raw), h.lim.FieldBytes+maxFieldName)], Range{int64(start), int64(h.pos)})
	return true
}

func (h *memFields) skipLine() {
	if i := bytes.IndexByte(h.text[h.pos:], '\n'); i >= 0 {
		h.pos += i + 1
		return
	}
	h.pos = len(h.text)
}

// FieldSet is a list of names of header fields for FETCH's HEADER.FIELDS, ready
// to be compared. It is for one goroutine.
type FieldSet struct {
	names map[string]struct{}
	not   bool
	first [256]bool // what a name begins with, in lower case
	name  []byte    // scratch
}

// NewFieldSet makes the set; with not it is of all fields but these
// (HEADER.FIELDS.NOT).
func NewFieldSet(names []string, not bool) *FieldSet {
	s := &FieldSet{names: make(map[string]struct{}, len(names)), not: not}
	for _, n := range names {
		n = lowerString(n)
		s.names[n] = struct{}{}
		if n != "" {
			s.first[n[0]] = true
		}
	}
	return s
}

// has reports whether a field belongs to the set.
func (s *FieldSet) has(name []byte) bool {
	listed := false
	if len(name) == 0 || s.first[lower(name[0])] {
		s.name = s.name[:0]
		for _, c := range name {
			s.name = append(s.name, lower(c))
		}
		_, listed = s.names[string(s.name)]
	}
	return listed != s.not
}

// Append appends what HeaderFields gives of a header, which holds its blank line
// if there is one.
func (s *FieldSet) Append(dst, header []byte, lim Limits) []byte {
	start := len(dst)
	h := newMemFields(header, lim)
	for h.next() {
		f := &h.field
		if f.Name == nil || !s.has(f.Name) || int64(len(dst)-start)+f.Range.Len() > h.lim.HeaderBytes {
			continue
		}
		dst = append(dst, header[f.Range.Start:f.Range.End]...)
		if dst[len(dst)-1] != '\n' {
			dst = append(dst, "\r\n"...) // cut by a delimiter or the end
		}
	}
	if int64(len(header)) > h.lim.HeaderBytes && h.blank.Len() == 0 {
		return append(dst, "\r\n"...) // the walk stopped before it
	}
	return append(dst, header[h.blank.Start:h.blank.End]...)
}

// HeaderDate reads the first Date field of a header in memory.
func HeaderDate(header []byte, lim Limits) (time.Time, bool) {
	h := newMemFields(header, lim)
	for h.next() {
		if h.field.Is("Date") {
			return ParseDate(string(h.field.Unfolded(nil)))
		}
	}
	return ParseDate("")
}
