// Package relay copies between a TLS client and the worker that has its
// session, for as long as both live.
//
// login uses it. A session that is quiet holds no buffer: each direction waits
// for its socket and takes a buffer out of a pool only when something has come.
// It must never know a protocol or look at a byte.
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
}

// Usual are the timeouts of a server.
var Usual = Timeouts{Write: 10 * time.Minute, Half: time.Minute, Linger: 2 * time.Second}

// Session is one relayed session. The handshake on TLS must be done.
type Session struct {
	Client   *sock.Conn // what TLS runs on
	TLS      *tls.Conn
	Worker   *sock.Conn // our end of the stream that the worker has
	Timeouts Timeouts

	running    atomic.Int32
	clientDone atomic.Bool // the client has said all
	workerDone atomic.Bool // the worker has said all
	deaf       bool        // the worker takes no more; up's alone
}

// Run relays until both directions have ended or one has failed, and closes
// all. It returns at once; done is called after the end.
func (s *Session) Run(done func()) {
	s.running.Store(2)
	// Both directions have fresh goroutines: the handshake's stack is large.
	for _, direction := range []func(){s.up, s.down} {
		go func() {
			direction()
			if s.running.Add(-1) == 0 {
				s.Cut()
				done()
			}
		}()
	}
}

// Cut ends the relay now.
func (s *Session) Cut() {
	s.Client.Close()
	s.Worker.Close()
}

// up copies what the client says to the worker.
func (s *Session) up() {
	s.Client.SetInstant(true)
	err := s.copy(s.Client, s.TLS, s.toWorker)
	if !errors.Is(err, io.EOF) {
		s.Cut()
		return
	}
	// What the worker still says goes on, for as long as it says something.
	s.clientDone.Store(true)
	s.Worker.CloseWrite()
	s.Worker.SetReadDeadline(time.Now().Add(s.Timeouts.Half))
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
	// ECONNRESET: the worker closed with bytes of the client's unread. It comes
	// after all that the worker said.
	if !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
		s.Cut()
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
	if s.clientDone.Load() {
		s.Worker.SetReadDeadline(time.Now().Add(s.Timeouts.Half))
	}
	s.Client.SetWriteDeadline(time.Now().Add(s.Timeouts.Write))
	_, err := s.TLS.Write(p)
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
