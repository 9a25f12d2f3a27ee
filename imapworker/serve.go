package imapworker

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

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

// client is one session's process side: two goroutines, of which one only reads.
type client struct {
	ws      *worker.Session
	s       *session.Session
	changes chan struct{} // the selected mailbox changed
	wake    chan struct{} // another process changed the mail
	kicked  string        // what to say before the end, once told
}

// Serve runs one session.
func (s *server) Serve(ws *worker.Session) {
	c := &client{ws: ws, changes: make(chan struct{}, 1), wake: make(chan struct{}, 1)}
	cfg := s.config
	cfg.Out, cfg.Log, cfg.Changes = c, lines{ws}, c.changes
	c.s = session.New(cfg, time.Now())
	s.enter(c)
	defer s.leave(c)
	c.s.Start(ws.Go.Tag)
	c.run()
	_, why := c.s.Ended()
	ws.Log.Infof("%s %s", why, s.logoutText(ws, c.s.Counts()))
}

// run serves until the session has ended.
func (c *client) run() {
	input := make(chan piece)
	stop := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() { c.read(input, stop) })
	defer reader.Wait()
	defer c.ws.Stream.Close()
	defer close(stop)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if end, _ := c.s.Ended(); end != session.Running {
			return
		}
		if due := c.s.Deadline(); !due.IsZero() {
			timer.Reset(time.Until(due))
		}
		select {
		case p := <-input:
			if p.err != nil {
				c.s.Close(closedText(p.err) + " " + c.s.Doing(time.Now()))
				continue
			}
			c.s.Input(time.Now(), p.bytes)
			p.taken()
		case <-c.changes:
			c.s.Changed(time.Now())
		case <-c.wake:
			c.s.Wake(time.Now())
		case <-timer.C:
			c.s.Tick(time.Now())
		case text := <-c.ws.End:
			c.kicked = text
			c.s.Bye(time.Now(), text)
		}
	}
}

func closedText(err error) string {
	if errors.Is(err, io.EOF) {
		return "Disconnected: Connection closed"
	}
	return "Disconnected: " + err.Error()
}

// piece is what was read at once. taken gives the buffer back to the reader.
type piece struct {
	bytes []byte
	err   error
	taken func()
}

// big are buffers for sessions that send much; others make do with a small one
// of their own, so that an idle session costs little.
var big = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// read passes on what comes, until the stream ends or stop is closed.
func (c *client) read(input chan<- piece, stop <-chan struct{}) {
	small := make([]byte, 1<<10)
	used := make(chan struct{}, 1)
	much := false
	for {
		buf := small
		var pooled *[32 << 10]byte
		if much {
			pooled = big.Get().(*[32 << 10]byte)
			buf = pooled[:]
		}
		n, err := c.ws.Stream.Read(buf)
		if n > 0 {
			select {
			case input <- piece{bytes: buf[:n], taken: func() { used <- struct{}{} }}:
				select {
				case <-used:
				case <-stop:
					return
				}
			case <-stop:
				return
			}
		}
		if pooled != nil {
			big.Put(pooled)
		}
		much = n == len(buf)
		if err != nil {
			select {
			case input <- piece{err: err}:
			case <-stop:
			}
			return
		}
	}
}

// Flush is for view.Output.
func (c *client) Flush(enc *imapwire.Encoder) error {
	err := c.write(enc.Bytes())
	enc.Reset()
	return err
}

// write sends all of p. A client that takes nothing for stallTimeout is given
// up; while it takes nothing the session can still be told to end.
func (c *client) write(p []byte) error {
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
		c.kicked = text
	default:
	}
	switch {
	case c.kicked != "":
		return errors.New(c.kicked)
	case time.Since(last) > stallTimeout:
		return errors.New("inactivity in reading our output")
	}
	return nil
}

// Body is for view.Output: without a copy through this process where the store
// keeps the message as it is sent.
func (c *client) Body(m mailstore.Message, off, n int64) error {
	if fd, start, ok := m.File(); ok {
		return c.sendFile(fd, start+off, n)
	}
	buf := big.Get().(*[32 << 10]byte)
	defer big.Put(buf)
	for n > 0 {
		want := buf[:min(n, int64(len(buf)))]
		got, err := m.ReadAt(want, off)
		if got < len(want) {
			return fmt.Errorf("message is shorter than it was: %w", err)
		}
		if err := c.write(want); err != nil {
			return err
		}
		off, n = off+int64(got), n-int64(got)
	}
	return nil
}

// sendFile sends n bytes of a file from off on.
func (c *client) sendFile(fd uintptr, off, n int64) error {
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
