// Package compress is the layer of COMPRESS=DEFLATE between a session and its
// stream (RFC 4978): what goes out is deflated, what comes in inflated.
//
// Only code of the IMAP worker uses it. It must never read a stream, a clock or a
// setting: octets come and go by its arguments.
//
// # What a session costs
//
// A compressor holds 1 MB, and is needed only while something is written. So
// sessions have none of their own: a Pool lends one from the first octet that is
// written to Rest, which comes after a quiet moment. A session keeps the last 4 KiB of what it sent, with
// which the next compressor begins, so that responses which look like those before
// them still become short. On the way in it keeps as much as the client has sent,
// 32 KiB at most.
package compress

import (
	"sync"

	"github.com/klauspost/compress/flate"

	"rookery/internal/inflate"
)

const (
	historySize = 4 << 10  // of what was sent
	pieceSize   = 32 << 10 // given to the compressor at once
	sendAt      = 16 << 10 // deflated octets that are sent before there are more
)

// Pool lends compressors to the sessions of a process. Its methods may be called
// from several goroutines.
type Pool struct {
	level int
	kinds [2]sync.Pool // usual ones and fast ones
}

// kind is what a compressor is for: base64 gives a quarter at any level, and all but
// the fastest take four times as long for that (RFC 4978 §4 has the idea).
type kind uint8

const (
	usual kind = iota
	fast
)

// NewPool makes a pool of compressors of a level from 1, the fastest, to 9, on zlib's
// scale.
func NewPool(level int) *Pool { return &Pool{level: levels[min(max(level, 1), 9)]} }

// levels are the library's for zlib's. Its levels up to 6 forget what was sent when
// less than 128 octets are flushed, so that short responses stay as long as they are:
// the usual level is one that does not. It takes less time than zlib's 6 and makes as
// much of text.
var levels = [10]int{1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 7, 7: 8, 8: 8, 9: 9}

// compressor collects what its flate.Writer writes.
type compressor struct {
	*flate.Writer
	kind kind
	out  []byte
}

// collector takes what the flate.Writer writes.
type collector struct{ to *compressor }

func (c collector) Write(p []byte) (int, error) {
	c.to.out = append(c.to.out, p...)
	return len(p), nil
}

// get lends a compressor that knows history as what was sent last.
func (p *Pool) get(k kind, history []byte) (*compressor, error) {
	c, _ := p.kinds[k].Get().(*compressor)
	if c == nil {
		c = &compressor{kind: k}
		level := p.level
		if k == fast {
			level = flate.BestSpeed
		}
		w, err := flate.NewWriter(collector{c}, level)
		if err != nil {
			return nil, err
		}
		c.Writer = w
	} else {
		c.Reset(collector{c})
	}
	if len(history) > 0 {
		// What comes out is for nobody: the client has had it. The stream goes on
		// at the beginning of an octet, as each flush leaves it.
		if _, err := c.Writer.Write(history); err != nil {
			return nil, err
		}
		if err := c.Flush(); err != nil {
			return nil, err
		}
	}
	c.out = c.out[:0]
	return c, nil
}

// Layer is one session's. Its methods for one direction are for one goroutine at a
// time; the two directions have nothing in common.
type Layer struct {
	pool    *Pool
	send    func([]byte) error
	lent    *compressor
	history []byte
	in      inflate.Decoder
}

// New makes the layer of a session from whose stream nothing was read and to which
// nothing was written compressed. What is to be written goes to send.
func New(pool *Pool, send func([]byte) error) *Layer { return &Layer{pool: pool, send: send} }

// Write compresses p. It may keep some until Flush.
func (l *Layer) Write(p []byte) error { return l.write(usual, p) }

// WriteBody is Write for a piece of a large message.
func (l *Layer) WriteBody(p []byte) error {
	if dense(p) {
		return l.write(fast, p)
	}
	return l.write(usual, p)
}

// dense reports whether a piece looks like base64, which has no words to find again.
func dense(p []byte) bool {
	if len(p) < 1<<10 {
		return false // not worth another compressor
	}
	for _, b := range p[:1<<10] {
		switch {
		case b >= 'A' && b <= 'Z', b >= 'a' && b <= 'z', b >= '/' && b <= '9', b == '+', b == '=', b == '\r', b == '\n':
		default:
			return false
		}
	}
	return true
}

func (l *Layer) write(k kind, p []byte) error {
	if l.lent != nil && l.lent.kind != k {
		if err := l.Flush(); err != nil {
			return err
		}
		l.Rest()
	}
	if l.lent == nil {
		c, err := l.pool.get(k, l.history)
		if err != nil {
			return err
		}
		l.lent = c
	}
	l.remember(p)
	for len(p) > 0 {
		n := min(len(p), pieceSize)
		if _, err := l.lent.Write(p[:n]); err != nil {
			return err
		}
		p = p[n:]
		if len(l.lent.out) >= sendAt {
			if err := l.sendOut(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Flush sends all that was written, so that the client can read it at once.
func (l *Layer) Flush() error {
	if l.lent == nil {
		return nil
	}
	if err := l.lent.Flush(); err != nil {
		return err
	}
	return l.sendOut()
}

func (l *Layer) sendOut() error {
	err := l.send(l.lent.out)
	l.lent.out = l.lent.out[:0]
	return err
}

// Busy reports whether the session has a compressor.
func (l *Layer) Busy() bool { return l.lent != nil }

// Rest gives the compressor back: nothing will be written for a while. What was
// written must have been flushed, unless the session is at its end.
func (l *Layer) Rest() {
	if l.lent == nil {
		return
	}
	l.pool.kinds[l.lent.kind].Put(l.lent)
	l.lent = nil
}

// remember keeps the end of what was sent.
func (l *Layer) remember(p []byte) {
	if l.history == nil {
		l.history = make([]byte, 0, historySize)
	}
	if len(p) >= historySize {
		l.history = append(l.history[:0], p[len(p)-historySize:]...)
		return
	}
	if over := len(l.history) + len(p) - historySize; over > 0 {
		l.history = append(l.history[:0], l.history[over:]...)
	}
	l.history = append(l.history, p...)
}

// Decode inflates what came: see inflate.Decoder.Decode.
func (l *Layer) Decode(dst, src []byte) (n, used int, err error) { return l.in.Decode(dst, src) }
