package mboxfmt

import (
	"bytes"
	"io"
	"time"

	"rookery/internal/errkind"
)

// windowSize is how much of the file a scanner holds. A From_ line and a
// metadata header's first line fit in half of it.
const windowSize = 128 << 10

// Message is one message's place in the file. All offsets are the file's.
type Message struct {
	From   int64 // of the From_ line
	Header int64 // after the From_ line
	Body   int64 // after the empty line that ends the header; End if there is none
	End    int64 // after the message's last octet, without the empty line that parts messages
	Next   int64 // of the next From_ line, or the file's end
	Date   time.Time
	Sender string
	CRLF   bool // the From_ line ends in CRLF
	Exact  bool // the end is known by a length that fits, not by a From_ line alone
	Meta   Meta
}

// Scanner reads messages one after another, with bounded memory.
type Scanner struct {
	src  io.ReaderAt
	size int64
	loc  *time.Location
	buf  []byte
	at   int64 // offset of buf in the file
	win  int   // how much the next look reads: grows to windowSize
	next int64
	junk bool // what stands before the first From_ line is passed over
	err  error
}

// NewScanner scans src from off, which is a From_ line's place (or 0: empty
// lines before the first one are skipped), to size.
func NewScanner(src io.ReaderAt, off, size int64, loc *time.Location) *Scanner {
	return &Scanner{src: src, size: size, loc: loc, next: off, win: windowSize}
}

// ReadHead reads one message's From_ line and header. End and Next are not
// found: End is size.
func ReadHead(src io.ReaderAt, from, size int64, loc *time.Location) (*Message, error) {
	s := NewScanner(src, from, size, loc)
	s.win = headWindow
	m, _, err := s.head()
	if err == nil {
		m.End, m.Next = size, size
	}
	return m, err
}

// Head reads the next message's From_ line and header without looking for its
// end; nil if there is no message any more. Next afterwards begins with it again.
func (s *Scanner) Head() (*Message, error) {
	if err := s.skipEmpty(); err != nil || s.next >= s.size {
		return nil, err
	}
	m, _, err := s.head()
	return m, err
}

// ReadHeader reads the header of a message that stands alone, without a From_
// line: Body and Meta are filled in. ended says that an empty line ends it.
func ReadHeader(src io.ReaderAt, size int64) (m *Message, ended bool, err error) {
	s := NewScanner(src, 0, size, time.UTC)
	s.win = headWindow
	m = &Message{End: size, Next: size}
	m.Meta.Length, m.Meta.Ours.Length = -1, -1
	ended, err = s.header(m)
	return m, ended, err
}

// headWindow is what a head is read with at first: most metadata lies in it.
const headWindow = 4 << 10

// look gives at least min(n, what is left) octets at off, n ≤ windowSize/2.
func (s *Scanner) look(off int64, n int) ([]byte, error) {
	if left := s.size - off; int64(n) > left {
		n = int(max(left, 0))
	}
	if off >= s.at && off+int64(n) <= s.at+int64(len(s.buf)) {
		return s.buf[off-s.at:], nil
	}
	win := max(s.win, 2*n)
	s.win = min(2*win, windowSize)
	if cap(s.buf) < win {
		s.buf = make([]byte, 0, win)
	}
	want := int(min(int64(win), s.size-off))
	s.at, s.buf = off, s.buf[:max(want, 0)]
	if got, err := s.src.ReadAt(s.buf, off); got < len(s.buf) {
		s.buf = s.buf[:0]
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF // it shrank
		}
		return nil, err
	}
	return s.buf, nil
}

// lineEnd gives the offset after the LF of the line at off, or the file's end.
func (s *Scanner) lineEnd(off int64) (int64, error) {
	for off < s.size {
		p, err := s.look(off, 1)
		if err != nil {
			return 0, err
		}
		if i := bytes.IndexByte(p, '\n'); i >= 0 {
			return off + int64(i) + 1, nil
		}
		off += int64(len(p))
	}
	return s.size, nil
}

// eol gives the length of the line end at off: 1, 2, or 0 if there is none.
func (s *Scanner) eol(off int64) (int64, error) {
	p, err := s.look(off, 2)
	switch {
	case err != nil:
		return 0, err
	case len(p) > 0 && p[0] == '\n':
		return 1, nil
	case len(p) > 1 && p[0] == '\r' && p[1] == '\n':
		return 2, nil
	}
	return 0, nil
}

// fromAt reads the From_ line at off.
func (s *Scanner) fromAt(off int64) (f From, length int64, crlf, ok bool, err error) {
	p, err := s.look(off, MaxFrom+2)
	if err != nil {
		return From{}, 0, false, false, err
	}
	if !bytes.HasPrefix(p, prefix) {
		return From{}, 0, false, false, nil
	}
	p = p[:min(len(p), MaxFrom+2)]
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		if off+int64(len(p)) < s.size {
			return From{}, 0, false, false, nil // too long
		}
		i = len(p) - 1
	}
	f, ok = ParseFrom(p[:i+1], s.loc)
	return f, int64(i + 1), i > 0 && p[i-1] == '\r', ok, nil
}

// ErrNoFrom says that no From_ line stands where one must: the file is no mbox.
var ErrNoFrom = errkind.Newf("read mbox", errkind.Corrupt, "there is no valid From_ line where a message must begin")

// Next gives the next message; io.EOF after the last.
func (s *Scanner) Next() (*Message, error) {
	if s.err != nil {
		return nil, s.err
	}
	m, err := s.message()
	if err != nil {
		s.err = err
		return nil, err
	}
	s.next = m.Next
	return m, nil
}

// SkipJunk makes the scanner pass over what stands at the start of the file
// before the first From_ line, such as a delivery that a crash cut short, which otherwise is ErrNoFrom.
func (s *Scanner) SkipJunk() { s.junk = true }

// skipEmpty passes empty lines before the first message, and junk.
func (s *Scanner) skipEmpty() error {
	if s.junk && s.next == 0 && s.size > 0 {
		s.junk = false
		if _, _, _, ok, err := s.fromAt(0); err != nil {
			return err
		} else if !ok {
			m := &Message{Header: 1, Body: 1}
			if err := s.search(m); err != nil {
				return err
			}
			s.next = m.Next
		}
	}
	for s.next < s.size {
		n, err := s.eol(s.next)
		if err != nil || n == 0 {
			return err
		}
		s.next += n
	}
	return nil
}

func (s *Scanner) message() (*Message, error) {
	if err := s.skipEmpty(); err != nil {
		return nil, err
	}
	if s.next >= s.size {
		return nil, io.EOF
	}
	m, ended, err := s.head()
	if err == nil {
		err = s.body(m, ended)
	}
	return m, err
}

// head reads the From_ line and the header at s.next.
func (s *Scanner) head() (*Message, bool, error) {
	f, n, crlf, ok, err := s.fromAt(s.next)
	if err != nil {
		return nil, false, err
	}
	if !ok {
		return nil, false, ErrNoFrom
	}
	m := &Message{From: s.next, Header: s.next + n, Date: f.Date, Sender: f.Sender, CRLF: crlf}
	m.Meta.Length, m.Meta.Ours.Length = -1, -1
	ended, err := s.header(m)
	if err == nil && m.Meta.Ours.Date != 0 {
		m.Date = time.Unix(m.Meta.Ours.Date, 0)
	}
	return m, ended, err
}

// header reads the header lines. ended says that an empty line ends them.
func (s *Scanner) header(m *Message) (ended bool, err error) {
	off := m.Header
	for off < s.size {
		n, err := s.eol(off)
		if err != nil {
			return false, err
		}
		if n > 0 {
			m.Body = off + n
			return true, nil
		}
		p, err := s.look(off, maxName+2)
		if err != nil {
			return false, err
		}
		kind, colon := KindOf(p)
		end, err := s.lineEnd(off)
		if err != nil {
			return false, err
		}
		if kind != FieldNone {
			if end, err = s.field(m, Field{Kind: kind, Off: off, End: end, Value: off + int64(colon)}); err != nil {
				return false, err
			}
		}
		off = end
	}
	m.Body = s.size
	return false, nil
}

// field reads one metadata header with its continuation lines, and gives where it ends.
func (s *Scanner) field(m *Message, f Field) (int64, error) {
	value, err := s.text(f.Value, f.End)
	if err != nil {
		return 0, err
	}
	f.Room = f.End - f.Value
	if n := len(value); f.Room == int64(n) { // not cut
		f.Room -= int64(n - len(bytes.TrimRight(value, "\r\n")))
	}
	text := string(value)
	for f.End < s.size {
		p, err := s.look(f.End, 1)
		if err != nil {
			return 0, err
		}
		if p[0] != ' ' && p[0] != '\t' {
			break
		}
		end, err := s.lineEnd(f.End)
		if err != nil {
			return 0, err
		}
		if len(text) < MaxValue {
			more, err := s.text(f.End, end)
			if err != nil {
				return 0, err
			}
			text += string(more)
		}
		f.End, f.Room = end, 0
	}
	m.Meta.add(f, text)
	return f.End, nil
}

// text reads [from, to), at most MaxValue octets of it.
func (s *Scanner) text(from, to int64) ([]byte, error) {
	n := int(min(to-from, MaxValue, windowSize/2))
	p, err := s.look(from, n)
	if err != nil {
		return nil, err
	}
	return p[:n], nil
}
