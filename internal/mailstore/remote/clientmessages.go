package remote

import (
	"io"
	"sync"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
)

// maxAhead is how many whole messages are asked for beyond one.
const maxAhead = 32

// Message is mailstore.Mailbox's. Small messages that follow come along where they are
// opened in their order.
func (b *clientBox) Message(uid mailstore.UID) (mailstore.Message, error) {
	b.mu.Lock()
	if data, ok := b.whole[uid]; ok {
		delete(b.whole, uid)
		b.mu.Unlock()
		return memory{data}, nil
	}
	n := b.msgs.of(b.shown, uid, maxAhead)
	b.mu.Unlock()
	var out messageStart
	if err := b.asks(opMessage, "open message", &opening{b.n, uid, n}, &out); err != nil {
		return nil, err
	}
	b.mu.Lock()
	b.whole = nil
	last := uid
	for _, w := range out.Ahead {
		if w.UID <= last {
			b.mu.Unlock()
			b.c.end(broken("UID %d came along with %d", w.UID, uid))
			return nil, unavailable("open message")
		}
		if b.whole == nil {
			b.whole = map[mailstore.UID][]byte{}
		}
		b.whole[w.UID], last = w.Data, w.UID
	}
	b.msgs.last = last
	b.mu.Unlock()
	if out.Handle == 0 {
		return memory{out.Data}, nil
	}
	return &clientMessage{c: b.c, n: out.Handle, size: out.Size, now: window{data: out.Data}}, nil
}

// memory is a message that is here as a whole.
type memory struct{ data []byte }

var _ mailstore.InMemory = memory{}

func (m memory) Bytes() []byte                { return m.data }
func (m memory) Size() int64                  { return int64(len(m.data)) }
func (m memory) File() (uintptr, int64, bool) { return 0, 0, false }
func (m memory) Close() error                 { return nil }

func (m memory) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errkind.Newf("read message", errkind.Invalid, "a negative offset")
	}
	if off >= int64(len(m.data)) {
		return 0, io.EOF
	}
	n := copy(p, m.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// window are some octets of a message.
type window struct {
	off  int64
	data []byte
}

func (w *window) at(off int64) []byte {
	if off < w.off || off >= w.off+int64(len(w.data)) {
		return nil
	}
	return w.data[off-w.off:]
}

// clientMessage is a message whose octets come as they are read, the next ones while
// the last are looked at.
type clientMessage struct {
	c    *Client
	n    uint32
	size int64

	mu     sync.Mutex
	now    window
	next   []chan window // of what was asked for beforehand, in its order
	asked  int64         // where that ends
	closed bool
}

// Size is mailstore.Message's.
func (m *clientMessage) Size() int64 { return m.size }

// File is mailstore.Message's: there is none.
func (m *clientMessage) File() (uintptr, int64, bool) { return 0, 0, false }

// ReadAt is mailstore.Message's.
func (m *clientMessage) ReadAt(p []byte, off int64) (n int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return 0, errkind.Newf("read message", errkind.Invalid, "the message is closed")
	case off < 0:
		return 0, errkind.Newf("read message", errkind.Invalid, "a negative offset")
	}
	for n < len(p) && off < m.size {
		b := m.now.at(off)
		if b == nil {
			if err := m.load(off); err != nil {
				return n, err
			}
			continue
		}
		k := copy(p[n:], b)
		n, off = n+k, off+int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// readAhead is how many answers are asked for beforehand.
const readAhead = 3

// load brings the octets at off here. Where they follow the last ones, those after
// them are asked for beforehand.
func (m *clientMessage) load(off int64) error {
	follows := off == m.now.off+int64(len(m.now.data))
	m.now.data = nil
	for len(m.next) > 0 && m.now.at(off) == nil {
		m.now = <-m.next[0]
		m.next = m.next[1:]
	}
	if m.now.at(off) == nil {
		w, err := m.ask(off)
		if err != nil {
			return err
		}
		m.now = w
	}
	if len(m.next) == 0 {
		m.asked = m.now.off + int64(len(m.now.data))
	}
	for follows && len(m.next) < readAhead && m.asked < m.size {
		next, at := make(chan window, 1), m.asked
		go func() {
			w, _ := m.ask(at) // an error comes again when the octets are needed
			next <- w
		}()
		m.next = append(m.next, next)
		m.asked += min(maxChunk, m.size-at)
	}
	return nil
}

// ask asks the owner's end for octets.
func (m *clientMessage) ask(off int64) (window, error) {
	want := min(maxChunk, m.size-off)
	var out chunk
	if err := m.c.call(opRead, "read message", &readingAt{m.n, off, uint32(want)}, &out); err != nil {
		return window{}, err
	}
	if int64(len(out.Data)) != want {
		m.c.end(broken("%d octets of a message where %d were asked for", len(out.Data), want))
		return window{}, unavailable("read message")
	}
	return window{off, out.Data}, nil
}

// Close is mailstore.Message's.
func (m *clientMessage) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	for _, next := range m.next {
		<-next
	}
	m.next, m.now = nil, window{}
	m.c.call(opCloseMessage, "close message", &handle{m.n}, &none{})
	return nil
}

// Append is mailstore.Store's.
func (c *Client) Append(name mailstore.Name) (mailstore.Appender, error) {
	var h handle
	if err := c.call(opAppend, "append", &named{name}, &h); err != nil {
		return nil, err
	}
	return &clientAppender{c: c, n: h.N}, nil
}

// clientAppender is a mailstore.Appender. Octets are gathered before they are sent.
type clientAppender struct {
	c    *Client
	n    uint32
	buf  []byte
	err  error // the first of a Write
	over bool
	goOn func() error // of Commit; nil: it is not broken off
}

// StopBy is mailstore.CommitStopper's.
func (a *clientAppender) StopBy(goOn func() error) { a.goOn = goOn }

// appendWriter takes the octets of one message.
type appendWriter struct{ a *clientAppender }

// Add is mailstore.Appender's. What identifies a message in another protocol's terms is
// not told.
func (a *clientAppender) Add(meta mailstore.AppendMeta, size int64) (io.Writer, error) {
	if err := a.flush(); err != nil {
		return nil, err
	}
	meta.Flags &= mailstore.AllFlags
	if err := a.c.call(opAdd, "append", &adding{a.n, meta, max(size, -1)}, &none{}); err != nil {
		return nil, err
	}
	return &appendWriter{a}, nil
}

// Write is io.Writer's.
func (w *appendWriter) Write(p []byte) (n int, err error) {
	a := w.a
	if a.over {
		return 0, errkind.Newf("append", errkind.Invalid, "it is over")
	}
	for n < len(p) {
		k := min(len(p)-n, maxChunk-len(a.buf))
		a.buf = append(a.buf, p[n:n+k]...)
		n += k
		if len(a.buf) == maxChunk {
			if err := a.flush(); err != nil {
				return n - k, err
			}
		}
	}
	return n, nil
}

// flush sends what was gathered.
func (a *clientAppender) flush() error {
	if a.over {
		return errkind.Newf("append", errkind.Invalid, "it is over")
	}
	if a.err == nil && len(a.buf) > 0 {
		a.err = a.c.call(opWrite, "append", &writing{a.n, a.buf}, &none{})
		a.buf = a.buf[:0]
	}
	return a.err
}

// Commit is mailstore.Appender's.
func (a *clientAppender) Commit() (mailstore.AppendResult, error) {
	if err := a.flush(); err != nil {
		return mailstore.AppendResult{}, err
	}
	a.over, a.buf = true, nil
	var out appended
	err := a.c.callWith(opCommit, "append", &handle{a.n}, &out, calling{goOn: a.goOn})
	return out.AppendResult, err
}

// Abort is mailstore.Appender's.
func (a *clientAppender) Abort() {
	if a.over {
		return
	}
	a.over, a.buf = true, nil
	a.c.call(opAbort, "append", &handle{a.n}, &none{})
}
