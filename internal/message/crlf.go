package message

import (
	"bytes"
	"io"
	"sync"
)

// Shape is what one pass over a stored message tells. It is an io.Writer that
// counts what is written to it; its zero value is ready.
type Shape struct {
	Stored   int64 // bytes as stored
	Lines    int64 // LFs
	BareLF   int64 // LFs without a CR before them; each costs a byte more on the wire
	NUL      bool  // a NUL is in it: bytes need HideNUL before they go into a literal
	EightBit bool  // a byte above 0x7f is in it
	lastCR   bool
}

// Wire is the size in CRLF form: RFC822.SIZE, which must equal what BODY[] gives.
func (s *Shape) Wire() int64 { return s.Stored + s.BareLF }

// Write counts p. It never fails.
func (s *Shape) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	s.Stored += int64(len(p))
	n := int64(bytes.Count(p, []byte{'\n'}))
	s.Lines += n
	s.BareLF += n - int64(bytes.Count(p, []byte("\r\n")))
	if p[0] == '\n' && s.lastCR {
		s.BareLF--
	}
	s.lastCR = p[len(p)-1] == '\r'
	s.NUL = s.NUL || bytes.IndexByte(p, 0) >= 0
	s.EightBit = s.EightBit || !isASCII(p)
	return len(p), nil
}

// Measure reads a stored message and gives its shape. The error is the reader's.
func Measure(r io.ReaderAt, size int64) (Shape, error) {
	var s Shape
	_, err := io.CopyBuffer(&s, onlyReader{io.NewSectionReader(r, 0, size)}, make([]byte, min(windowSize, max(size, 1))))
	if err == nil && s.Stored < size {
		err = errShort()
	}
	return s, err
}

// onlyReader hides WriterTo, so that CopyBuffer uses its buffer.
type onlyReader struct{ io.Reader }

// CRLFReader shows a stored message, whose lines may end in LF, CRLF or both, as
// its wire form: every bare LF becomes CRLF. It learns the file as far as it is
// asked and keeps marks, at most maxMarks of them, so that reading anywhere
// costs no more than the way from the mark before. Safe for several goroutines.
type CRLFReader struct {
	r      io.ReaderAt
	stored int64

	mu    sync.Mutex
	marks []mark // every so far; marks[0] is the start
	every int64  // stored bytes between marks
	end   mark   // how far the file is known
	last  mark   // where the last read ended: going on costs nothing
	buf   []byte
	err   error
}

// mark pairs offsets: the byte at stored is shown at wire. It is never an LF
// after a CR, so that reading can begin here without looking back.
type mark struct{ stored, wire int64 }

const (
	firstEvery = 32 << 10
	maxMarks   = 1024
	crlfBuffer = 16 << 10
)

// NewCRLFReader shows a stored message of size bytes.
func NewCRLFReader(r io.ReaderAt, size int64) *CRLFReader {
	return &CRLFReader{r: r, stored: max(size, 0), marks: []mark{{}}, every: firstEvery}
}

// Size is the size in CRLF form; it reads what is not yet known of the file.
func (c *CRLFReader) Size() (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.end.stored < c.stored && c.err == nil {
		c.learn()
	}
	return c.end.wire, c.err
}

// Identical reports whether the stored bytes are the wire form already, so that
// the file itself can be sent. It reads what is not yet known of the file.
func (c *CRLFReader) Identical() (bool, error) {
	n, err := c.Size()
	return n == c.stored, err
}

// ReadAt implements io.ReaderAt on the wire form.
func (c *CRLFReader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errShort()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	at := c.find(off)
	n := 0
	for n < len(p) {
		b, err := c.load(at.stored, int64(len(p)-n)+off+int64(n)-at.wire+1)
		if len(b) == 0 {
			if err == nil {
				err = io.EOF
			}
			return n, err
		}
		used, wrote := convert(p[n:], b, off+int64(n)-at.wire)
		at.stored += int64(used.stored)
		at.wire += used.wire
		n += wrote
	}
	c.last = at // convert leaves it at a mark
	return n, nil
}

// find gives the best place to begin reading for a wire offset, learning the
// file up to it.
func (c *CRLFReader) find(off int64) mark {
	for c.end.wire <= off && c.end.stored < c.stored && c.err == nil {
		c.learn()
	}
	lo, hi := 0, len(c.marks)
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; c.marks[mid].wire <= off {
			lo = mid
		} else {
			hi = mid
		}
	}
	best := c.marks[lo]
	for _, m := range [...]mark{c.last, c.end} {
		if m.wire <= off && m.wire > best.wire {
			best = m
		}
	}
	return best
}

// learn reads on from the end of what is known.
func (c *CRLFReader) learn() {
	b, err := c.load(c.end.stored, crlfBuffer)
	if len(b) == 0 {
		c.err = err
		if c.err == nil {
			c.err = errShort()
		}
		return
	}
	bare := bytes.Count(b, []byte{'\n'}) - bytes.Count(b, []byte("\r\n"))
	c.end.stored += int64(len(b))
	c.end.wire += int64(len(b) + bare)
	if c.end.stored-c.marks[len(c.marks)-1].stored < c.every {
		return
	}
	c.marks = append(c.marks, c.end)
	if len(c.marks) >= maxMarks { // keep every second one
		for i := range len(c.marks) / 2 {
			c.marks[i] = c.marks[2*i]
		}
		c.marks = c.marks[:len(c.marks)/2]
		c.every *= 2
	}
}

// load gives stored bytes from a mark on, at most need (at least 2) and what the
// buffer holds. A CR at their end is left for the next
// time unless it ends the file, so that what follows is a mark again.
func (c *CRLFReader) load(off, need int64) ([]byte, error) {
	want := min(crlfBuffer, c.stored-off, max(need, 2))
	if want <= 0 {
		return nil, nil
	}
	if c.buf == nil {
		c.buf = make([]byte, min(crlfBuffer, c.stored))
	}
	n, err := c.r.ReadAt(c.buf[:want], off)
	if int64(n) < want && (err == nil || err == io.EOF) {
		err = errShort()
	} else if int64(n) == want {
		err = nil
	}
	b := c.buf[:n]
	if len(b) > 1 && b[len(b)-1] == '\r' && off+int64(len(b)) < c.stored {
		b = b[:len(b)-1]
	}
	return b, err
}

// convert writes the wire form of src to dst, without its first skip bytes. It
// gives how far it came, in stored and wire bytes, and how much it wrote. Where
// dst ends between the CR and the LF that a bare LF became, the LF is not used
// up; the next call skips the CR.
func convert(dst, src []byte, skip int64) (used struct {
	stored int
	wire   int64
}, wrote int) {
	for used.stored < len(src) {
		rest := src[used.stored:]
		line := len(rest) // bytes before a bare LF
		for from := 0; ; {
			i := bytes.IndexByte(rest[from:], '\n')
			if i < 0 {
				break
			}
			i += from
			if i == 0 && used.stored > 0 && src[used.stored-1] == '\r' || i > 0 && rest[i-1] == '\r' {
				from = i + 1
				continue
			}
			line = i
			break
		}
		if n := int64(line); skip >= n {
			skip -= n
			used.stored, used.wire = used.stored+line, used.wire+n
		} else {
			n := copy(dst[wrote:], rest[skip:line])
			wrote += n
			used.stored, used.wire = used.stored+int(skip)+n, used.wire+skip+int64(n)
			if skip += int64(n); skip < int64(line) { // dst is full
				if used.stored > 0 && src[used.stored-1] == '\r' && src[used.stored] == '\n' {
					used.stored, used.wire = used.stored-1, used.wire-1
				}
				return used, wrote
			}
			skip = 0
		}
		if line == len(rest) {
			return used, wrote
		}
		if skip >= 2 {
			skip -= 2
		} else {
			n := copy(dst[wrote:], "\r\n"[skip:])
			wrote += n
			if skip+int64(n) < 2 {
				return used, wrote
			}
			skip = 0
		}
		used.stored, used.wire = used.stored+1, used.wire+2
	}
	return used, wrote
}
