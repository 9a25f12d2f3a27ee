package message

import (
	"bytes"
	"io"
)

const (
	windowSize = 32 << 10
	lfDashes   = "\n--" // what a delimiter line begins with, and the line end before it
)

// scanner shows a window of a message and counts line ends as it moves on.
type scanner struct {
	r     io.ReaderAt
	size  int64
	buf   []byte
	base  int64 // offset of buf[0]
	n     int   // bytes of buf that are filled
	pos   int64
	lines int64 // LFs before pos
	err   error // the reader's; size is then cut to what could be read
}

func (s *scanner) reset(r io.ReaderAt, size int64, buf []byte) {
	if buf == nil {
		buf = make([]byte, windowSize)
	}
	*s = scanner{r: r, size: max(size, 0), buf: buf}
}

// at shows the bytes from off on: at least want (far less than a window), or all
// that the message still has. The bytes live until the next call.
func (s *scanner) at(off int64, want int) []byte {
	if off >= s.size {
		return nil
	}
	end := s.base + int64(s.n)
	if off < s.base || off > end || (end-off < int64(want) && end < s.size) {
		s.fill(off)
		end = s.base + int64(s.n)
	}
	if off >= end {
		return nil
	}
	return s.buf[off-s.base : s.n]
}

// fill moves the window so that it begins two bytes before off: the line end
// before a delimiter can then be seen without going back.
func (s *scanner) fill(off int64) {
	start := max(off-2, 0)
	kept := 0
	if end := s.base + int64(s.n); start >= s.base && start < end {
		kept = copy(s.buf, s.buf[start-s.base:s.n])
	}
	s.base, s.n = start, kept
	want := min(int64(len(s.buf)), s.size-start)
	for int64(s.n) < want {
		n, err := s.r.ReadAt(s.buf[s.n:want], start+int64(s.n))
		n = max(n, 0)
		s.n += n
		if int64(s.n) >= want {
			break
		}
		if err == io.EOF || (err == nil && n == 0) {
			err = errShort()
		}
		if err != nil {
			s.err = err
			s.size = start + int64(s.n)
			return
		}
	}
}

// eolBefore gives the length of the line end just before pos: 0, 1 or 2.
func (s *scanner) eolBefore(pos int64) int64 {
	i := pos - s.base
	if i < 1 || i > int64(s.n) || s.buf[i-1] != '\n' {
		return 0
	}
	if i >= 2 && s.buf[i-2] == '\r' {
		return 2
	}
	return 1
}

// move goes n bytes on, which the window shows.
func (s *scanner) move(w []byte) {
	s.lines += int64(bytes.Count(w, []byte{'\n'}))
	s.pos += int64(len(w))
}

// skipAll goes to the message's end.
func (s *scanner) skipAll() {
	for w := s.at(s.pos, 1); len(w) > 0; w = s.at(s.pos, 1) {
		s.move(w)
	}
}

// skipLine goes to the start of the next line.
func (s *scanner) skipLine() {
	for w := s.at(s.pos, 1); len(w) > 0; w = s.at(s.pos, 1) {
		if i := bytes.IndexByte(w, '\n'); i >= 0 {
			s.move(w[:i+1])
			return
		}
		s.move(w)
	}
}

// skipToDashes goes to the next line after this one that begins with two
// dashes, or to the end.
func (s *scanner) skipToDashes() {
	for w := s.at(s.pos, len(lfDashes)); len(w) > 0; w = s.at(s.pos, len(lfDashes)) {
		if i := bytes.Index(w, []byte(lfDashes)); i >= 0 {
			s.move(w[:i+1])
			return
		}
		if len(w) >= len(lfDashes) && s.pos+int64(len(w)) < s.size {
			w = w[:len(w)-2] // a delimiter may begin in the last two bytes
		}
		s.move(w)
	}
}
