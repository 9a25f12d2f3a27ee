package mboxfmt

import (
	"bytes"
	"errors"
	"io"
	"math"
)

// body finds where the message ends: by a length that fits, else by the next
// From_ line.
func (s *Scanner) body(m *Message, ended bool) error {
	if end := m.byOurs(); end >= 0 && end <= s.size {
		if next, ok, err := s.fits(end); err != nil {
			return err
		} else if ok {
			m.End, m.Next, m.Exact = end, next, true
			m.Body = min(m.Body, m.End)
			return nil
		}
	}
	if l := m.Meta.Length; ended && l >= 0 && l <= s.size-m.Body {
		if next, ok, err := s.fits(m.Body + l); err != nil {
			return err
		} else if ok {
			m.End, m.Next, m.Exact = m.Body+l, next, true
			return nil
		}
	}
	if end := s.ownEnd(m, ended); end >= 0 {
		if n, err := s.eol(end); err != nil {
			return err
		} else if n > 0 { // only what another program left half written follows
			rest := &Message{Header: m.Header, Body: end}
			if err := s.search(rest); err != nil {
				return err
			}
			m.End, m.Next, m.Exact = end, rest.Next, true
			m.Body = min(m.Body, end)
			return nil
		}
	}
	// An empty line that ends the header may part messages, too; and where
	// there is none the header went on to the file's end.
	return s.search(m)
}

// ownEnd gives where a message ends that Rookery wrote, by its lengths; -1 for others.
func (s *Scanner) ownEnd(m *Message, ended bool) int64 {
	end := int64(-1)
	switch l := m.Meta.Length; {
	case !m.Meta.has(FieldOurs):
	case m.Meta.Ours.Length >= 0:
		end = m.byOurs()
	case ended && l >= 0 && l <= s.size-m.Body:
		end = m.Body + l
	}
	if end > s.size {
		return -1
	}
	return end
}

// byOurs gives where the content ends by the length in our own field; -1 where
// there is none, or where metadata stands behind that end: then it is the length of
// something else.
func (m *Message) byOurs() int64 {
	start, l := m.afterBlock(), m.Meta.Ours.Length
	if l < 0 || l > math.MaxInt64-start {
		return -1
	}
	if n := len(m.Meta.Fields); n > 0 && m.Meta.Fields[n-1].End > start+l {
		return -1
	}
	return start + l
}

// afterBlock gives the offset after the metadata headers that stand right
// after the From_ line.
func (m *Message) afterBlock() int64 {
	at := m.Header
	for _, f := range m.Meta.Fields {
		if f.Off != at {
			break
		}
		at = f.End
	}
	return at
}

// fits reports whether a message can end at off, and where the next begins.
func (s *Scanner) fits(off int64) (next int64, ok bool, err error) {
	for ends := 0; ; ends++ {
		if off == s.size {
			return off, true, nil
		}
		parted := ends > 0
		if !parted && off > 0 { // some count the empty line in
			at, err := s.emptyBefore(off - 1)
			if parted = at >= 0; err != nil {
				return 0, false, err
			}
		}
		if parted {
			if _, _, _, ok, err := s.fromAt(off); ok || err != nil {
				return off, ok, err
			}
		}
		n, err := s.eol(off)
		if err != nil || n == 0 || ends == 2 {
			return 0, false, err
		}
		off += n
	}
}

var lfFrom = []byte("\nFrom ")

// search looks for the next From_ line after an empty one.
func (s *Scanner) search(m *Message) error {
	// The LF before a From_ line may be that of the header's empty line.
	for off := m.Body - 1; off < s.size; {
		p, err := s.look(off, len(lfFrom))
		if err != nil {
			return err
		}
		i := bytes.Index(p, lfFrom)
		if i < 0 {
			off += int64(max(len(p)-len(lfFrom)+1, 1))
			continue
		}
		lf := off + int64(i)
		if off = lf + 1; off <= m.Header {
			continue
		}
		empty, err := s.emptyBefore(lf)
		if err != nil {
			return err
		}
		if empty < 0 {
			continue
		}
		if _, _, _, ok, err := s.fromAt(lf + 1); err != nil {
			return err
		} else if ok {
			m.Next = lf + 1
			m.End = max(empty, m.Body)
			return nil
		}
	}
	m.Next, m.End = s.size, s.size
	if s.size > m.Body {
		last, err := s.look(s.size-1, 1)
		if err != nil {
			return err
		}
		if last[0] == '\n' {
			if empty, err := s.emptyBefore(s.size - 1); err != nil {
				return err
			} else if empty >= m.Body {
				m.End = empty
			}
		}
	}
	return nil
}

// emptyBefore gives where the empty line begins whose LF is at lf; -1 if the
// line is not empty.
func (s *Scanner) emptyBefore(lf int64) (int64, error) {
	from := max(lf-2, 0)
	p, err := s.look(from, int(lf-from)+1)
	if err != nil || p[lf-from] != '\n' {
		return -1, err
	}
	p = p[:lf-from]
	switch {
	case len(p) > 0 && p[len(p)-1] == '\n':
		return lf, nil
	case len(p) > 1 && p[len(p)-1] == '\r' && p[len(p)-2] == '\n':
		return lf - 1, nil
	}
	return -1, nil
}

// Shown gives the ranges of the file that are the message as a client sees it:
// from its header to its end, without metadata headers.
func (m *Message) Shown() []Range {
	var out []Range
	at := m.Header
	for _, f := range m.Meta.Fields {
		if f.Off > at {
			out = append(out, Range{at, f.Off})
		}
		at = max(at, f.End)
	}
	if at < m.End {
		out = append(out, Range{at, m.End})
	}
	return out
}

// Range is a part of a file.
type Range struct{ From, To int64 }

// Stored gives the octets of all ranges.
func Stored(r []Range) (n int64) {
	for _, x := range r {
		n += x.To - x.From
	}
	return n
}

// Parts reads ranges of a file as one. A file that ends within one of them gives
// io.ErrUnexpectedEOF.
type Parts struct {
	File   io.ReaderAt
	Ranges []Range
}

// ReadAt reads octets of the whole; at its end the error is io.EOF.
func (r Parts) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for _, x := range r.Ranges {
		n := x.To - x.From
		if off >= n {
			off -= n
			continue
		}
		want := p[done:min(int64(len(p)), int64(done)+n-off)]
		got, err := r.File.ReadAt(want, x.From+off)
		if done += got; got < len(want) {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return done, err
		}
		if off = 0; done == len(p) {
			return done, nil
		}
	}
	return done, io.EOF
}
