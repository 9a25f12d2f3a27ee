package message

import (
	"io"
	"slices"
)

// Spec is what follows the part numbers of a section (RFC 3501 §6.4.5).
type Spec uint8

// The specs. HEADER.FIELDS is SpecHeader and then HeaderFields on the range.
const (
	SpecNone   Spec = iota // the whole message, or a part's body
	SpecHeader             // HEADER: of the message, or of the one in a message/rfc822 part
	SpecText               // TEXT: its body
	SpecMIME               // MIME: the part's own header; needs part numbers
)

// Section finds a section of the message whose root p is. It reports false if
// there is no such part, or the spec does not fit it (FETCH answers NIL then).
func (p *Part) Section(path []int, spec Spec) (Range, bool) {
	part, ok := p.Find(path)
	if !ok {
		return Range{}, false
	}
	switch spec {
	case SpecNone:
		if len(path) == 0 {
			return p.Whole(), true
		}
		return part.Body(), true
	case SpecMIME:
		return part.Header(), len(path) > 0
	case SpecHeader, SpecText:
		msg := part
		if len(path) > 0 {
			if msg = part.Message(); msg == nil {
				return Range{}, false
			}
		}
		if spec == SpecHeader {
			return msg.Header(), true
		}
		return msg.Body(), true
	}
	return Range{}, false
}

// Find gives the part with these numbers; p is the message's root, and an empty
// path is the root itself. Part 1 of a message that is no multipart is its body
// (RFC 3501 §6.4.5).
func (p *Part) Find(path []int) (*Part, bool) {
	part, whole := p, true // whole: part stands for a message, numbers count inside
	for _, n := range path {
		if !whole && !part.IsMultipart() {
			msg := part.Message()
			if msg == nil {
				return nil, false
			}
			part, whole = msg, true
		}
		switch {
		case part.IsMultipart():
			if n < 1 || n > len(part.Children) {
				return nil, false
			}
			part = part.Children[n-1]
		case n != 1:
			return nil, false
		}
		whole = false
	}
	return part, true
}

// HeaderFields gives the fields of a header whose names are in the list, or with
// not set those that are not, as they stand in the message, and the blank line
// that ends the header (RFC 3501 §6.4.5: absent only where the message has no
// blank line). Names are compared without case. The text is at most
// lim.HeaderBytes long: fields beyond that are left out whole. The error is the
// reader's.
func HeaderFields(r io.ReaderAt, header Range, names []string, not bool, lim Limits) ([]byte, error) {
	lim = lim.filled()
	set := make(map[string]struct{}, len(names))
	for _, name := range names {
		set[lowerString(name)] = struct{}{}
	}
	var text, name []byte
	hr := NewHeaderReader(r, header, lim)
	for hr.Next() {
		f := hr.Field()
		if f.Name == nil {
			continue
		}
		name = name[:0]
		for _, c := range f.Name {
			name = append(name, lower(c))
		}
		if _, listed := set[string(name)]; listed == not {
			continue
		}
		if int64(len(text))+f.Range.Len() > lim.HeaderBytes {
			continue
		}
		var err error
		if text, err = appendRange(text, r, f.Range); err != nil {
			return nil, err
		}
		if n := len(text); n > 0 && text[n-1] != '\n' {
			text = append(text, "\r\n"...) // cut by a delimiter or the end
		}
	}
	if hr.Err() != nil {
		return nil, hr.Err()
	}
	if header.Len() > lim.HeaderBytes && hr.BlankLine().Len() == 0 {
		return append(text, "\r\n"...), nil // the reader stopped before it
	}
	return appendRange(text, r, hr.BlankLine())
}

// appendRange appends a range of the message, at most what is there.
func appendRange(dst []byte, r io.ReaderAt, rng Range) ([]byte, error) {
	n := len(dst)
	need := int(max(rng.Len(), 0))
	dst = slices.Grow(dst, need)[:n+need]
	got, err := r.ReadAt(dst[n:], rng.Start)
	if got == need {
		err = nil
	} else if err == io.EOF || err == nil {
		err = errShort()
	}
	return dst[:n+got], err
}
