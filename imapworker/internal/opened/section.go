package opened

import (
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/message"
)

// Section is what a section of a message names (RFC 3501 §6.4.5): a range of the
// message, or bytes that were made of it (HEADER.FIELDS).
type Section struct {
	Found bool
	Where message.Range
	Made  []byte
	// IsMade says that Made has the bytes, not Where.
	IsMade bool
}

// Len is the number of bytes.
func (s *Section) Len() int64 {
	if s.IsMade {
		return int64(len(s.Made))
	}
	return s.Where.Len()
}

// Cut keeps what <origin.count> names (RFC 3501 §6.4.5).
func (s *Section) Cut(origin, count int64) {
	if !s.IsMade {
		s.Where = s.Where.Partial(origin, count)
		return
	}
	r := message.Range{Start: 0, End: int64(len(s.Made))}.Partial(origin, count)
	s.Made = s.Made[r.Start:r.End]
}

// Section finds a section in the message; it is not Found where there is no such
// part. The error is that of opening or reading the message.
func (m *Message) Section(sec *imapwire.Section) (s Section, err error) {
	deep := len(sec.Part) > 0
	fields := sec.Text == imapwire.HeaderFields || sec.Text == imapwire.HeaderFieldsNot
	switch {
	case deep || sec.Text == imapwire.MIME:
		var root *message.Part
		if root, err = m.Tree(); err != nil {
			return s, err
		}
		s.Where, s.Found = root.Section(PartPath(sec), specs[sec.Text])
	case fields:
		s.Found, s.IsMade = true, true
		not := sec.Text == imapwire.HeaderFieldsNot
		s.Made, err = m.HeaderFields(nil, message.NewFieldSet(sec.Fields, not), sec.Fields, not)
		return s, err
	default:
		return m.sectionAtTop(sec)
	}
	if s.Found && fields {
		msg, err := m.Open()
		if err != nil {
			return s, err
		}
		s.Made, err = message.HeaderFields(msg, s.Where, sec.Fields, sec.Text == imapwire.HeaderFieldsNot, m.Limits)
		if err != nil {
			return s, err
		}
		s.IsMade = true
	}
	return s, nil
}

// sectionAtTop finds the message itself, its header or its text: no structure is
// needed for them.
func (m *Message) sectionAtTop(sec *imapwire.Section) (s Section, err error) {
	msg, err := m.Open()
	if err != nil {
		return s, err
	}
	s.Found, s.Where = true, message.Range{Start: 0, End: msg.Size()}
	if sec.Text == imapwire.WholePart {
		return s, nil
	}
	end, err := m.HeaderEnd()
	if err != nil {
		return s, err
	}
	if sec.Text == imapwire.Header {
		s.Where.End = end
	} else {
		s.Where.Start = min(end, s.Where.End)
	}
	return s, nil
}

// PartPath makes the path that package message takes.
func PartPath(sec *imapwire.Section) []int {
	path := make([]int, len(sec.Part))
	for i, n := range sec.Part {
		path[i] = int(min(n, 1<<30))
	}
	return path
}

var specs = map[imapwire.SectionText]message.Spec{imapwire.WholePart: message.SpecNone, imapwire.Header: message.SpecHeader,
	imapwire.HeaderFields: message.SpecHeader, imapwire.HeaderFieldsNot: message.SpecHeader, imapwire.Text: message.SpecText, imapwire.MIME: message.SpecMIME}

// maxPiece is how much of a message that is not in memory is read at once.
const maxPiece = 64 << 10

// Each gives the bytes of a range to f, piece by piece, as they are in the
// message. f must not keep them. The error is f's, or that of reading the message.
func (m *Message) Each(where message.Range, f func(p []byte) error) error {
	msg, err := m.Open()
	if err != nil {
		return err
	}
	if b := mailstore.Bytes(msg); b != nil && int64(len(b)) >= where.End {
		if where.Len() > 0 {
			return f(b[where.Start:where.End])
		}
		return nil
	}
	if want := min(where.Len(), maxPiece); int64(cap(m.piece)) < want {
		m.piece = make([]byte, want)
	}
	for at := where.Start; at < where.End; {
		p := m.piece[:min(where.End-at, int64(cap(m.piece)))]
		n, err := msg.ReadAt(p, at)
		if n == 0 {
			return errShort(err)
		}
		if err := f(p[:n]); err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}
