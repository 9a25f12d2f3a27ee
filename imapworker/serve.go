package imapworker

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"rookery/imapworker/internal/compress"
	"rookery/imapworker/internal/session"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/worker"
)

const (
	// stallTimeout is how long a client may take nothing of what is sent.
	stallTimeout = 5 * time.Minute
	// stallStep is how often a stalled write looks whether it was told to end.
	stallStep = 2 * time.Second
	// sendPiece is how much of a body is sent under one deadline.
	sendPiece = 1 << 20
)

// client is one session's process side: a goroutine that reads and runs what
// comes, and one that waits for all else. Whoever works on the session holds mu:
// a command needs no switch from one goroutine to another.
type client struct {
	ws      *worker.Session
	changes chan struct{}          // the selected mailbox changed
	wake    chan struct{}          // another process changed the mail
	kicked  atomic.Pointer[string] // what to say before the end, once told, or found
	watches atomic.Bool            // the client is told of other mailboxes than the one it has selected

	mu    sync.Mutex
	s     *session.Session
	layer *compress.Layer // nil until COMPRESS; made by the goroutine that reads
	sent  time.Time       // when something was last compressed
	timer *time.Timer
	armed time.Time // when timer fires; zero while it does not
}

// Serve runs one session.
func (s *server) Serve(ws *worker.Session) {
	c := &client{ws: ws, changes: make(chan struct{}, 1), wake: make(chan struct{}, 1)}
	cfg := s.config
	cfg.Out, cfg.Log, cfg.Changes = c, lines{ws}, c.changes
	cfg.Changed, cfg.Watching = func() { s.changed(c) }, c.watches.Store
	cfg.Language, cfg.Unauthenticate = ws.Go.Lang, ws.Go.Unauthenticate
	cfg.Kicked, cfg.Await = c.toldToEnd, c.await
	if s.compressors != nil {
		cfg.Compress = func() { c.layer = compress.New(s.compressors, c.write) }
	}
	c.s = session.New(cfg, time.Now())
	s.enter(c)
	defer s.leave(c)
	c.s.Start(ws.Go.Tag)
	c.run()
	_, why := c.s.Ended()
	ws.Log.Infof("%s %s", why, s.logoutText(ws, c.s.Counts()))
}

// wakeUp has the session look at the disk soon.
func (c *client) wakeUp() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// run serves until the session has ended.
func (c *client) run() {
	c.timer = time.NewTimer(time.Hour)
	defer c.timer.Stop()
	over := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(over)
		c.read()
	})
	defer c.rejoin(over, &reader)
	for on := c.do(func(time.Time) {}); on; {
		select {
		case <-over:
			return
		case <-c.changes:
			on = c.do(c.s.Changed)
		case <-c.wake:
			on = c.do(c.s.Wake)
		case <-c.timer.C:
			on = c.do(func(now time.Time) {
				c.armed = time.Time{}
				c.s.Tick(now)
			})
		case text := <-c.ws.End:
			c.kicked.Store(&text) // for a write that is stalled, and keeps mu
			on = c.do(func(now time.Time) { c.s.Bye(now, text) })
		}
	}
}

// rejoin waits for the goroutine that reads. One that has ended by itself needs no
// closed stream for that: then it is closed when master knows that the session is over.
func (c *client) rejoin(over <-chan struct{}, reader *sync.WaitGroup) {
	select {
	case <-over:
	default:
		c.ws.Stream.Close()
	}
	reader.Wait()
}

// do works on the session, and reports whether it goes on.
func (c *client) do(work func(now time.Time)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	work(now)
	if end, _ := c.s.Ended(); end != session.Running {
		if c.layer != nil {
			c.layer.Rest()
		}
		return false
	}
	// A deadline that is later now than it was is seen when the timer fires.
	if due := c.rest(now, c.s.Deadline()); !due.IsZero() && (c.armed.IsZero() || due.Before(c.armed)) {
		c.timer.Reset(time.Until(due))
		c.armed = due
	}
	return true
}

// restAfter is how long a session that has sent something keeps its compressor: what
// the next one has to learn first costs more than a short response does.
const restAfter = time.Second

// rest gives the compressor back if it is time for that, and tells when the session
// has to be looked at again: at due, or before.
func (c *client) rest(now, due time.Time) time.Time {
	if c.layer == nil || !c.layer.Busy() {
		return due
	}
	at := c.sent.Add(restAfter)
	if !now.Before(at) {
		c.layer.Rest()
		return due
	}
	if due.IsZero() || at.Before(due) {
		return at
	}
	return due
}

func closedText(err error) string {
	if errors.Is(err, io.EOF) {
		return "Disconnected: Connection closed"
	}
	return "Disconnected: " + err.Error()
}

// big are buffers for sessions that send much; others make do with a small one
// of their own, so that an idle session costs little.
var big = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// read runs what comes, until the stream or the session ends.
func (c *client) read() {
	small := make([]byte, 1<<10)
	much := false
	for {
		buf := small
		var pooled *[32 << 10]byte
		if much {
			pooled = big.Get().(*[32 << 10]byte)
			buf = pooled[:]
		}
		n, err := c.ws.Stream.Read(buf)
		on := n == 0 || c.input(buf[:n])
		if pooled != nil {
			big.Put(pooled)
		}
		much = n == len(buf)
		if on && err != nil {
			on = c.do(func(now time.Time) { c.s.Close(closedText(err) + " " + c.s.Doing(now)) })
		}
		if !on || err != nil {
			return
		}
	}
}

// input runs what came, and reports whether the session goes on.
func (c *client) input(p []byte) (on bool) {
	on = true
	for on && len(p) > 0 && c.layer == nil {
		on = c.do(func(now time.Time) { p = p[c.s.Feed(now, p):] })
	}
	if on && len(p) > 0 {
		return c.inflate(p)
	}
	return on
}

// inflated are buffers for what compressed data become.
var inflated = sync.Pool{New: func() any { return new([16 << 10]byte) }}

// inflate is input for compressed data. However much they become, little of it is
// held, and between two pieces the session can be told to end.
func (c *client) inflate(p []byte) (on bool) {
	buf := inflated.Get().(*[16 << 10]byte)
	defer inflated.Put(buf)
	for {
		n, used, err := c.layer.Decode(buf[:], p)
		p = p[used:]
		if n > 0 && !c.do(func(now time.Time) { c.s.Input(now, buf[:n]) }) {
			return false
		}
		if err != nil {
			return c.do(func(now time.Time) { c.s.Damaged(now, err.Error()) })
		}
		if n < len(buf) {
			return true
		}
	}
}

// Flush is for view.Output.
func (c *client) Flush(enc *imapwire.Encoder) error {
	err := c.put(enc.Bytes())
	if err == nil && c.layer != nil {
		err = c.layer.Flush()
	}
	enc.Reset()
	return err
}

// put sends all of p, compressed where that was asked for: then Flush has to follow.
func (c *client) put(p []byte) error {
	if c.layer != nil {
		c.sent = time.Now()
		return c.layer.Write(p)
	}
	return c.write(p)
}

// putBody is put for a piece of a large message.
func (c *client) putBody(p []byte) error {
	if c.layer != nil {
		c.sent = time.Now()
		return c.layer.WriteBody(p)
	}
	return c.write(p)
}

// write sends all of p. A client that takes nothing for stallTimeout is given
// up; while it takes nothing the session can still be told to end.
func (c *client) write(p []byte) error {
	n, err := c.ws.Stream.WriteNow(p)
	if err != nil {
		return broken(err)
	}
	if p = p[n:]; len(p) == 0 {
		return nil
	}
	defer c.ws.Stream.SetWriteDeadline(time.Time{}) // or the next write could be late for it
	last := time.Now()
	for len(p) > 0 {
		c.ws.Stream.SetWriteDeadline(time.Now().Add(stallStep))
		n, err := c.ws.Stream.Write(p)
		p = p[n:]
		if n > 0 {
			last = time.Now()
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return broken(err)
		}
		if err := c.stalled(last); err != nil {
			return err
		}
	}
	return nil
}

// toldToEnd is for session.Config: a command runs while c.mu is held.
func (c *client) toldToEnd() string {
	if text := c.kicked.Load(); text != nil {
		return *text
	}
	return ""
}

// await is for session.Config. Whoever calls it has c.mu, and writes nothing before
// stop.
func (c *client) await(line []byte) (stop func()) {
	var mu sync.Mutex
	over := false
	var timer *time.Timer
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(session.ProgressAfter, func() {
		mu.Lock()
		defer mu.Unlock()
		if over {
			return
		}
		err := c.put(line)
		if err == nil && c.layer != nil {
			err = c.layer.Flush()
		}
		if err != nil { // nobody hears the answer any more: the work need not go on
			text := err.Error()
			text = strings.ToUpper(text[:1]) + text[1:]
			c.kicked.CompareAndSwap(nil, &text)
			return
		}
		timer.Reset(session.ProgressAfter)
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		over = true
		timer.Stop()
	}
}

// broken puts the usual ends of a connection into the log's words.
func broken(err error) error {
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return errors.New("connection closed")
	}
	return err
}

// stalled decides whether a write that made no progress since last goes on.
func (c *client) stalled(last time.Time) error {
	select {
	case text := <-c.ws.End:
		c.kicked.Store(&text)
	default:
	}
	switch text := c.kicked.Load(); {
	case text != nil:
		return errors.New(*text)
	case time.Since(last) > stallTimeout:
		return errors.New("inactivity in reading our output")
	}
	return nil
}

// bodies are buffers for large messages that are not stored as they are sent.
var bodies = sync.Pool{New: func() any { return new([256 << 10]byte) }}

// Body is for view.Output: without a copy through this process where the store
// keeps the message as it is sent and nothing is compressed.
func (c *client) Body(m mailstore.Message, off, n int64) error {
	if fd, start, ok := m.File(); ok && c.layer == nil {
		return c.sendFile(fd, start+off, n)
	}
	buf := bodies.Get().(*[256 << 10]byte)
	defer bodies.Put(buf)
	for n > 0 {
		want := buf[:min(n, int64(len(buf)))]
		got, err := m.ReadAt(want, off)
		if got < len(want) {
			return fmt.Errorf("message is shorter than it was: %w", err)
		}
		if err := c.putBody(want); err != nil {
			return err
		}
		off, n = off+int64(got), n-int64(got)
	}
	return nil
}

// sendFile sends n bytes of a file from off on.
func (c *client) sendFile(fd uintptr, off, n int64) error {
	defer c.ws.Stream.SetWriteDeadline(time.Time{})
	last := time.Now()
	for n > 0 {
		_, before := c.ws.Stream.Octets()
		c.ws.Stream.SetWriteDeadline(time.Now().Add(stallStep))
		err := c.ws.Stream.SendFile(fd, off, min(n, sendPiece))
		_, after := c.ws.Stream.Octets()
		sent := int64(after - before)
		if sent > 0 {
			last = time.Now()
		}
		off, n = off+sent, n-sent
		if err == nil {
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return broken(err)
		}
		if err := c.stalled(last); err != nil {
			return err
		}
	}
	return nil
}

// lines is a session's log.
type lines struct{ ws *worker.Session }

func (l lines) Info(text string)  { l.ws.Log.Infof("%s", text) }
func (l lines) Warn(text string)  { l.ws.Log.Warnf("%s", text) }
func (l lines) Error(text string) { l.ws.Log.Errorf("%s", text) }
