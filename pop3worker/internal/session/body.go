package session

import (
	"bytes"
	"errors"
	"io"
	"slices"

	"rookery/internal/mailstore"
	"rookery/internal/pop3wire"
)

// Body is a message on its way to the client, as the lines of a multi-line
// response. The caller calls Append until io.EOF and sends what it gives.
type Body struct {
	msg     mailstore.Message
	off     int64
	lines   int // of the body still to send; -1 for all
	inBody  bool
	matched int // how much of the empty line has been seen: ends with LF, then CR
	stuff   pop3wire.Stuffer
	noNULs  bool
	addEOH  bool
	buf     []byte
	sent    int64
	done    bool
}

// bodyChunk is how much of a message is in memory at a time.
const bodyChunk = 256 << 10

func (s *Session) retr(params []string) {
	if len(params) == 0 {
		s.fail("RETR needs a message number.")
		return
	}
	m, n := s.pick(params[0])
	if m == nil {
		return
	}
	if !s.open(m, -1) {
		return
	}
	s.highest = max(s.highest, n)
	if !s.cfg.NoFlagUpdates && !m.seen {
		m.seen = true
		s.seen = append(s.seen, m.uid)
	}
}

func (s *Session) top(params []string) {
	if len(params) < 2 {
		s.fail("TOP needs a message number and a count of lines.")
		return
	}
	lines, ok := pop3wire.Number(params[1])
	if !ok {
		s.fail("Not a count of lines.")
		return
	}
	if m, _ := s.pick(params[0]); m != nil {
		s.open(m, lines)
	}
}

// open begins to send a message: its whole, or its head and some lines.
func (s *Session) open(m *message, lines int) bool {
	msg, err := s.box.Message(m.uid)
	if err != nil {
		s.storeError(err)
		return false
	}
	if lines < 0 {
		s.ok(itoa(msg.Size()) + " octets")
	} else {
		s.ok("")
	}
	s.Body = Body{msg: msg, lines: lines, noNULs: s.cfg.NoNULs, addEOH: s.cfg.EndOfHeaders, matched: 2}
	s.effect = Send
	return true
}

// Append appends the next piece to dst; io.EOF after the last. Any other error
// leaves the response without its end: the caller must close.
func (b *Body) Append(dst []byte) ([]byte, error) {
	if b.done {
		return dst, io.EOF
	}
	whole, err := b.load()
	if err != nil {
		return dst, err
	}
	b.off += int64(len(whole))
	piece := b.cut(whole)
	if b.noNULs {
		piece = b.withoutNULs(piece)
	}
	b.sent += int64(len(piece))
	dst = b.stuff.Append(slices.Grow(dst, len(piece)+64), piece)
	if b.off >= b.msg.Size() || b.lines == 0 && b.inBody {
		b.done = true
		if !b.inBody && b.addEOH {
			if !b.stuff.AtLineStart() {
				dst = append(dst, "\r\n"...)
			}
			dst = append(dst, "\r\n"...)
		}
		dst = b.stuff.End(dst)
	}
	return dst, nil
}

// load gives the next bytes of the message: all of it where it is in memory.
func (b *Body) load() ([]byte, error) {
	if all := mailstore.Bytes(b.msg); all != nil {
		return all[b.off:], nil
	}
	if b.buf == nil {
		b.buf = make([]byte, min(bodyChunk, b.msg.Size()))
	}
	n, err := b.msg.ReadAt(b.buf[:min(int64(len(b.buf)), max(0, b.msg.Size()-b.off))], b.off)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if n == 0 && b.off < b.msg.Size() {
		return nil, io.ErrUnexpectedEOF
	}
	return b.buf[:n], nil
}

// withoutNULs gives p with each NUL as 0x80, in memory of its own if p is the
// store's.
func (b *Body) withoutNULs(p []byte) []byte {
	if bytes.IndexByte(p, 0) < 0 {
		return p
	}
	if b.buf == nil {
		p = bytes.Clone(p)
	}
	for i, c := range p {
		if c == 0 {
			p[i] = 0x80
		}
	}
	return p
}

// cut ends the piece after the lines that TOP asked for, and notes where the
// header ends.
func (b *Body) cut(p []byte) []byte {
	if b.lines < 0 && !b.addEOH {
		return p // nobody asks where the header ends
	}
	i := 0
	for !b.inBody && i < len(p) {
		switch c := p[i]; {
		case c == '\n' && b.matched >= 2: // an empty line: LF after a line's end, CR or not
			b.inBody = true
		case c == '\n':
			b.matched = 2
		case c == '\r' && b.matched == 2:
			b.matched = 3
		default:
			b.matched = 0
		}
		i++
	}
	if b.lines < 0 || !b.inBody {
		return p
	}
	for b.lines > 0 && i < len(p) {
		lf := bytes.IndexByte(p[i:], '\n')
		if lf < 0 {
			return p
		}
		i += lf + 1
		b.lines--
	}
	if b.lines == 0 {
		return p[:i]
	}
	return p
}

// Sent ends the effect Send. The caller goes on feeding.
func (s *Session) Sent() {
	if s.Body.lines < 0 {
		s.stats.RetrCount++
		s.stats.RetrBytes += s.Body.sent
	} else {
		s.stats.TopCount++
		s.stats.TopBytes += s.Body.sent
	}
	s.Body.msg.Close()
	s.Body = Body{}
}
