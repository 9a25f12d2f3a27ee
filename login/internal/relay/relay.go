// Package relay copies between a TLS client and the worker that has its
// session, for as long as both live.
//
// login uses it. A session that is quiet holds no buffer: each direction waits
// for its socket and takes a buffer out of a pool only when something has come.
// It must never know a protocol or look at a byte: where a session can end while its
// client's connection goes on, somebody else looks (Watch) and says what is whose.
package relay

import (
	"crypto/tls"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"rookery/login/internal/sock"
)

// bufferSize is that of a TLS record's content.
const bufferSize = 16 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// Timeouts of a relay. Tests have shorter ones.
type Timeouts struct {
	// Write is how long one portion may take to be taken by the other side.
	Write time.Duration
	// Half is how long one direction may stay quiet after the other has ended.
	Half time.Duration
	// Linger is how long a client may take to close after both have ended.
	Linger time.Duration
	// Finish is how long a worker may take in all to say the rest once the client has
	// left it, but not us.
	Finish time.Duration
}

// Usual are the timeouts of a server.
var Usual = Timeouts{Write: 10 * time.Minute, Half: time.Minute, Linger: 2 * time.Second, Finish: 10 * time.Minute}

// Watch sees all bytes before they go on. Calls come one at a time.
type Watch interface {
	// Client takes n bytes of what the client said; out is for the worker. Where n is
	// less than len(p), Held or Over say why.
	Client(p []byte) (out []byte, n int, err error)
	// Held reports whether what the client says next waits for what the worker says.
	Held() bool
	// Over reports whether the client has left the worker: nothing more is for it.
	Over() bool
	// Worker sees what the worker said.
	Worker(p []byte) error
}

// Session is one relayed session. The handshake on TLS must be done.
type Session struct {
	Client   *sock.Conn // what TLS runs on
	TLS      *tls.Conn
	Worker   *sock.Conn // our end of the stream that the worker has
	Timeouts Timeouts
	// Watch, if not nil, sees all bytes. An error of its ends the session.
	Watch Watch
	// First is what the client has said already. It is overwritten.
	First []byte

	running    atomic.Int32
	clientDone atomic.Bool // the client has said all
	workerDone atomic.Bool // the worker has said all
	left       atomic.Bool // the client has left the worker
	deaf       bool        // the worker takes no more; up's alone
	finish     time.Time   // when the worker must have ended, once left
	rest       []byte      // what the client said behind that
	whole      bool        // the worker ended after the client had left it; down's until the end

	mu      sync.Mutex
	turn    sync.Cond // of mu: the worker has said something that a held client waits for
	mute    bool      // the worker says no more
	trouble error     // of Watch
}

// errLeft ends up: what comes now is not the worker's.
var errLeft = errors.New("the client has left the worker")

// Run relays until both directions have ended or one has failed, and closes
// all. It returns at once; done is called after the end, with what the client said
// next where it has left the worker and is still there: its connection is open then.
func (s *Session) Run(done func(rest []byte, again bool)) {
	s.running.Store(2)
	s.turn.L = &s.mu
	// Both directions have fresh goroutines: the handshake's stack is large.
	for _, direction := range []func(){s.up, s.down} {
		go func() {
			direction()
			switch {
			case s.running.Add(-1) > 0:
			case s.left.Load() && s.whole:
				s.Worker.Close()
				done(s.rest, true)
			default:
				s.Cut()
				clear(s.rest)
				done(nil, false)
			}
		}()
	}
}

// Trouble is why Watch ended the session; nil if it did not. It may be asked after the
// end.
func (s *Session) Trouble() error { return s.trouble }

// Cut ends the relay now.
func (s *Session) Cut() {
	s.Client.Close()
	s.Worker.Close()
}

// up copies what the client says to the worker.
func (s *Session) up() {
	s.Client.SetInstant(true)
	write := s.toWorker
	if s.Watch != nil {
		write = s.watched
	}
	var err error
	if len(s.First) > 0 {
		err = write(s.First)
		clear(s.First)
		s.First = nil
	}
	if err == nil {
		err = s.copy(s.Client, s.TLS, write)
	}
	if errors.Is(err, errLeft) {
		return
	}
	if !errors.Is(err, io.EOF) {
		s.Cut()
		return
	}
	// What the worker still says goes on, for as long as it says something.
	s.clientDone.Store(true)
	s.Worker.CloseWrite()
	s.Worker.SetReadDeadline(time.Now().Add(s.Timeouts.Half))
}

// watched gives the worker what Watch says is its own. After the worker's last word it
// gets nothing: who has closed one half of its stream may still read the other.
func (s *Session) watched(p []byte) error {
	for len(p) > 0 {
		out, n, left, err := s.look(p)
		if err != nil {
			return err
		}
		if left {
			// What the worker reads next must not find us unprepared for its end.
			s.rest = append([]byte(nil), p[n:]...)
			s.finish = time.Now().Add(s.Timeouts.Finish)
			s.left.Store(true)
		}
		if len(out) > 0 {
			if err := s.toWorker(out); err != nil {
				return err
			}
		}
		if left {
			s.Worker.CloseWrite()
			s.Worker.SetReadDeadline(s.patience())
			return errLeft
		}
		p = p[n:]
	}
	return nil
}

// look asks Watch about what the client said, once it may go on.
func (s *Session) look(p []byte) (out []byte, n int, left bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.Watch.Held() && !s.mute {
		s.turn.Wait()
	}
	if s.mute {
		s.deaf = true
		return p, len(p), false, s.trouble
	}
	if out, n, err = s.Watch.Client(p); err != nil {
		s.trouble = err
	}
	return out, n, s.Watch.Over(), err
}

// patience is until when a worker that the client has left may be quiet.
func (s *Session) patience() time.Time {
	t := time.Now().Add(s.Timeouts.Half)
	if s.finish.Before(t) {
		return s.finish
	}
	return t
}

func (s *Session) toWorker(p []byte) error {
	if s.workerDone.Load() {
		s.Client.SetReadDeadline(time.Now().Add(s.quiet()))
	}
	if s.deaf {
		return nil
	}
	s.Worker.SetWriteDeadline(time.Now().Add(s.Timeouts.Write))
	_, err := s.Worker.Write(p)
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	// The worker has closed. Its last words may still be on their way to the
	// client: down sees to the end, and what the client says is dropped.
	s.deaf = true
	return nil
}

// quiet is how long the client may be quiet after the worker has said all.
func (s *Session) quiet() time.Duration {
	if s.Worker.PeerGone() {
		return s.Timeouts.Linger
	}
	return s.Timeouts.Half
}

// down copies what the worker says to the client.
func (s *Session) down() {
	s.Worker.SetInstant(true)
	err := s.copy(s.Worker, s.Worker, s.toClient)
	s.mu.Lock()
	s.mute = true
	s.turn.Broadcast()
	s.mu.Unlock()
	// ECONNRESET: the worker closed with bytes of the client's unread. It comes
	// after all that the worker said.
	if !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
		s.Cut()
		return
	}
	if s.left.Load() {
		s.whole = true
		return
	}
	// close_notify, then the end of our half. Closing at once could take away
	// what is still on its way, if more has come from the client (RST).
	s.workerDone.Store(true)
	s.Client.SetWriteDeadline(time.Now().Add(s.Timeouts.Linger))
	s.TLS.CloseWrite()
	s.Client.CloseWrite()
	s.Client.SetReadDeadline(time.Now().Add(s.quiet()))
}

func (s *Session) toClient(p []byte) error {
	if s.Watch != nil {
		if err := s.heard(p); err != nil {
			return err
		}
	}
	switch {
	case s.left.Load():
		s.Worker.SetReadDeadline(s.patience())
	case s.clientDone.Load():
		s.Worker.SetReadDeadline(time.Now().Add(s.Timeouts.Half))
	}
	s.Client.SetWriteDeadline(time.Now().Add(s.Timeouts.Write))
	_, err := s.TLS.Write(p)
	return err
}

// heard shows Watch what the worker said, and lets a client go on that was held.
func (s *Session) heard(p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.Watch.Worker(p)
	if err != nil {
		s.trouble = err
	}
	if err != nil || !s.Watch.Held() {
		s.turn.Broadcast()
	}
	return err
}

// copy reads from the stream in, which runs on the socket on, until it ends.
// The error is never nil.
func (s *Session) copy(on *sock.Conn, in io.Reader, write func([]byte) error) error {
	for {
		if err := portion(in, write); !errors.Is(err, sock.ErrWouldBlock) {
			return err
		}
		if err := on.Wait(); err != nil {
			return err
		}
	}
}

// portion copies what is there now, with a buffer of the pool.
func portion(in io.Reader, write func([]byte) error) error {
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	for {
		n, err := in.Read(buf[:])
		if n > 0 {
			werr := write(buf[:n])
			clear(buf[:n]) // the pool is shared: nobody's mail stays in it
			if werr != nil {
				return werr
			}
		}
		if err != nil {
			return err
		}
	}
}
