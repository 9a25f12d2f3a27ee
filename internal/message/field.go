package message

import (
	"bytes"
	"io"
	"strings"
)

// Field is one header field as it stands in the message.
type Field struct {
	Name  []byte // as written, blanks before the colon removed; nil for a line that is no field
	Value []byte // after the colon, folded, line ends included; cut at Limits.FieldBytes
	Range Range  // of the whole field, name and line ends included
}

// Unfolded appends the value with its line ends removed and trimmed (RFC 5322
// §2.2.3).
func (f Field) Unfolded(dst []byte) []byte {
	for v := trimBlank(f.Value); len(v) > 0; {
		i := bytes.IndexByte(v, '\n')
		if i < 0 {
			dst = append(dst, v...)
			break
		}
		line := v[:i]
		if len(line) > 0 && line[len(line)-1] == '\r' {
			line = line[:len(line)-1]
		}
		dst, v = append(dst, line...), v[i+1:]
	}
	return dst
}

// Is reports whether the field has this name, without case.
func (f Field) Is(name string) bool {
	if f.Name == nil || len(f.Name) != len(name) {
		return false
	}
	for i := range f.Name {
		if lower(f.Name[i]) != lower(name[i]) {
			return false
		}
	}
	return true
}

// HeaderReader goes over the fields of a header. It looks at Limits.HeaderBytes
// of it and stops.
type HeaderReader struct {
	s     scanner
	lim   Limits
	field Field
	buf   []byte
	start int64
	blank Range
}

// NewHeaderReader reads the header in a range of a message (Part.Header).
func NewHeaderReader(r io.ReaderAt, header Range, lim Limits) *HeaderReader {
	h := &HeaderReader{lim: lim.filled(), start: header.Start, blank: Range{header.End, header.End}}
	h.s.reset(r, header.End, make([]byte, min(windowSize, max(header.Len(), 64))))
	h.s.pos = header.Start
	return h
}

// Next reads the next field and reports whether there was one. The bytes of the
// field before are gone then.
func (h *HeaderReader) Next() bool {
	s := &h.s
	if s.pos >= s.size || s.pos-h.start >= h.lim.HeaderBytes {
		return false
	}
	start := s.pos
	h.buf = h.buf[:0]
	for first := true; ; first = false {
		w := s.at(s.pos, 2)
		if len(w) == 0 {
			break
		}
		if first {
			if w[0] == '\n' || (w[0] == '\r' && len(w) > 1 && w[1] == '\n') {
				s.skipLine()
				h.blank = Range{start, s.pos}
				s.pos = s.size
				return false
			}
		} else if w[0] != ' ' && w[0] != '\t' {
			break
		}
		h.takeLine()
	}
	h.field = fieldOf(h.buf, Range{start, s.pos})
	return s.pos > start
}

// fieldOf takes a field apart; buf is its text, as far as the limit lets it.
func fieldOf(buf []byte, where Range) Field {
	f := Field{Range: where}
	colon := bytes.IndexByte(buf[:min(len(buf), maxFieldName)], ':')
	if colon <= 0 || isBlank(buf[0]) {
		return f
	}
	if lineEnd := bytes.IndexByte(buf[:colon], '\n'); lineEnd < 0 {
		f.Name = buf[:colon]
		for n := colon; f.Name[n-1] == ' ' || f.Name[n-1] == '\t'; {
			n-- // the first byte is no blank
			f.Name = buf[:n]
		}
		f.Value = buf[colon+1:]
	}
	return f
}

// takeLine adds the line at the position to buf, as far as the limit lets it.
func (h *HeaderReader) takeLine() {
	s := &h.s
	for w := s.at(s.pos, 1); len(w) > 0; w = s.at(s.pos, 1) {
		i := bytes.IndexByte(w, '\n')
		if i >= 0 {
			w = w[:i+1]
		}
		if room := h.lim.FieldBytes + maxFieldName - len(h.buf); room > 0 {
			h.buf = append(h.buf, w[:min(len(w), room)]...)
		}
		s.move(w)
		if i >= 0 {
			return
		}
	}
}

// Field is the field that Next read. Its bytes live until the next call of Next.
func (h *HeaderReader) Field() Field { return h.field }

// BlankLine is the range of the blank line that ended the header, empty if none
// was reached.
func (h *HeaderReader) BlankLine() Range { return h.blank }

// Err is the reader's error, if it had one.
func (h *HeaderReader) Err() error { return h.s.err }

func equalFold(a, b string) bool { return strings.EqualFold(a, b) }

func lowerString(s string) string {
	b := []byte(s)
	for i := range b {
		b[i] = lower(b[i])
	}
	return string(b)
}
