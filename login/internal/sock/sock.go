// Package sock holds one stream socket: a client's, or the end of a relay. It
// is a net.Conn made of a plain descriptor, so that the descriptor can be sent
// on and taken out of the runtime's poller without a copy, and so that waiting
// for a quiet peer holds no buffer.
//
// login uses it. It must never know a protocol.
package sock

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrWouldBlock says that nothing has come. Only Reads after SetInstant give
// it. crypto/tls takes it for a passing error: the connection stays good.
var ErrWouldBlock net.Error = wouldBlock{}

type wouldBlock struct{}

func (wouldBlock) Error() string   { return "nothing to read yet" }
func (wouldBlock) Timeout() bool   { return true }
func (wouldBlock) Temporary() bool { return true }

// Conn is one stream. Reads come from one goroutine, writes from one; the rest
// may be called by any.
type Conn struct {
	file          *os.File
	raw           syscall.RawConn
	local, remote netip.AddrPort
	instant       bool
	closed        atomic.Bool
}

// New takes ownership of fd, which must be non-blocking. Addresses may be
// invalid (a Unix socket).
func New(fd int, local, remote netip.AddrPort) (*Conn, error) {
	c := &Conn{file: os.NewFile(uintptr(fd), "stream"), local: local, remote: remote}
	if c.file == nil {
		return nil, errors.New("not a descriptor")
	}
	raw, err := c.file.SyscallConn()
	if err != nil {
		c.file.Close()
		return nil, err
	}
	c.raw = raw
	return c, nil
}

// Addr makes an address of a socket's; invalid for a Unix socket. IPv4 in IPv6
// becomes IPv4.
func Addr(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// SetInstant makes Read give ErrWouldBlock in place of waiting. The reading
// goroutine alone calls it.
func (c *Conn) SetInstant(on bool) { c.instant = on }

// Read is for net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	var n int
	var readErr error
	err := c.raw.Read(func(fd uintptr) bool {
		for {
			n, readErr = unix.Read(int(fd), p)
			if readErr != unix.EINTR {
				return readErr != unix.EAGAIN || c.instant
			}
		}
	})
	switch {
	case err != nil:
		return 0, c.wrap("read", err)
	case readErr == unix.EAGAIN:
		return 0, ErrWouldBlock
	case readErr != nil:
		return 0, c.wrap("read", readErr)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// BufferSize is that of the buffers of ReadPooled.
const BufferSize = 4 << 10

// Buffer is what a pool for ReadPooled holds, by pointer.
type Buffer = [BufferSize]byte

// ReadPooled waits for bytes without holding a buffer, and reads them into one
// of the pool. The caller gives the buffer back, if there is no error.
func (c *Conn) ReadPooled(pool *sync.Pool) (buf *Buffer, n int, err error) {
	var readErr error
	err = c.raw.Read(func(fd uintptr) bool {
		buf = pool.Get().(*Buffer)
		for {
			n, readErr = unix.Read(int(fd), buf[:])
			if readErr != unix.EINTR {
				break
			}
		}
		if readErr == nil && n > 0 {
			return true
		}
		pool.Put(buf)
		buf = nil
		return readErr != unix.EAGAIN
	})
	switch {
	case err != nil: // before a try, or after one that found nothing
	case readErr != nil:
		err = readErr
	case n == 0:
		return nil, 0, io.EOF
	default:
		return buf, n, nil
	}
	return nil, 0, c.wrap("read", err)
}

// wrap keeps net.Error's methods of the cause.
func (c *Conn) wrap(op string, err error) error {
	if c.closed.Load() {
		err = net.ErrClosed
	}
	return &net.OpError{Op: op, Net: "tcp", Err: err}
}

// Wait waits until something can be read or the stream has ended.
func (c *Conn) Wait() error {
	var one [1]byte
	_, err := c.Peek(one[:], func(b []byte) bool { return true })
	if err == io.EOF {
		return nil
	}
	return err
}

// Peek looks at what has come without taking it, until enough says so or p is
// full. It gives io.EOF if nothing came before the end.
func (c *Conn) Peek(p []byte, enough func([]byte) bool) (int, error) {
	var n int
	var recvErr error
	err := c.raw.Read(func(fd uintptr) bool {
		for {
			n, _, _, _, recvErr = unix.Recvmsg(int(fd), p, nil, unix.MSG_PEEK|unix.MSG_DONTWAIT)
			if recvErr == unix.EINTR {
				continue
			}
			if recvErr == unix.EAGAIN {
				return false
			}
			return recvErr != nil || n == 0 || n == len(p) || enough(p[:n])
		}
	})
	if err == nil {
		err = recvErr
	}
	switch {
	case err != nil:
		return 0, c.wrap("peek", err)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write is for net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.file.Write(p)
	if err != nil {
		err = c.wrap("write", err)
	}
	return n, err
}

// CloseWrite ends our half of the stream.
func (c *Conn) CloseWrite() error {
	var callErr error
	err := c.raw.Control(func(fd uintptr) { callErr = unix.Shutdown(int(fd), unix.SHUT_WR) })
	if err == nil {
		err = callErr
	}
	return err
}

// PeerGone reports, for one end of a Unix socketpair, whether the other end is
// closed or takes no more. Nothing is sent.
func (c *Conn) PeerGone() bool {
	var sendErr error
	err := c.raw.Control(func(fd uintptr) {
		sendErr = unix.Sendmsg(int(fd), nil, nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
	})
	return err != nil || sendErr == unix.EPIPE || sendErr == unix.ECONNRESET
}

// WithFD calls f with the descriptor, which stays c's.
func (c *Conn) WithFD(f func(fd int) error) error {
	var callErr error
	err := c.raw.Control(func(fd uintptr) { callErr = f(int(fd)) })
	if err == nil {
		err = callErr
	}
	return err
}

// Close closes our copy of the descriptor, once.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	return c.file.Close()
}

// Local and Remote are the addresses given to New.
func (c *Conn) Local() netip.AddrPort { return c.local }

// Remote is the peer's address.
func (c *Conn) Remote() netip.AddrPort { return c.remote }

// LocalAddr is for net.Conn.
func (c *Conn) LocalAddr() net.Addr { return netAddr(c.local) }

// RemoteAddr is for net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return netAddr(c.remote) }

func netAddr(a netip.AddrPort) net.Addr {
	if !a.IsValid() {
		return &net.UnixAddr{Net: "unix"}
	}
	return net.TCPAddrFromAddrPort(a)
}

// SetDeadline is for net.Conn.
func (c *Conn) SetDeadline(t time.Time) error { return c.file.SetDeadline(t) }

// SetReadDeadline is for net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.file.SetReadDeadline(t) }

// SetWriteDeadline is for net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.file.SetWriteDeadline(t) }

// Listener is an inherited listening socket.
type Listener struct {
	file *os.File
	raw  syscall.RawConn
}

// NewListener takes ownership of fd and sets what accepted sockets inherit:
// no delay, keep-alive. It must be called before the sandbox is entered.
func NewListener(fd int) (*Listener, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("listener: %w", err)
	}
	// A Unix socket has none of these.
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 300)
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 60)
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 5)
	l := &Listener{file: os.NewFile(uintptr(fd), "listener")}
	raw, err := l.file.SyscallConn()
	if err != nil {
		l.file.Close()
		return nil, fmt.Errorf("listener: %w", err)
	}
	l.raw = raw
	return l, nil
}

// ErrTaken says that the gate is shut: its one client has come.
var ErrTaken = errors.New("no further client is taken")

// Gate lets one client in, whatever listener it comes to.
type Gate struct {
	mu   sync.Mutex
	shut bool
}

// Accept waits for a client. With a gate that is not nil it takes none once
// the gate has let one in, from this or another listener.
func (l *Listener) Accept(gate *Gate) (*Conn, error) {
	var fd int
	var sa unix.Sockaddr
	var acceptErr error
	err := l.raw.Read(func(s uintptr) bool {
		fd, sa, acceptErr = gate.accept(int(s))
		return acceptErr != unix.EAGAIN
	})
	if err == nil {
		err = acceptErr
	}
	if err != nil {
		return nil, err
	}
	local, err := unix.Getsockname(fd)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("getsockname: %w", err)
	}
	return New(fd, Addr(local), Addr(sa))
}

func (g *Gate) accept(s int) (fd int, sa unix.Sockaddr, err error) {
	if g != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.shut {
			return -1, nil, ErrTaken
		}
	}
	for {
		fd, sa, err = unix.Accept4(s, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err == unix.EINTR || err == unix.ECONNABORTED {
			continue
		}
		if g != nil && err == nil {
			g.shut = true
		}
		return fd, sa, err
	}
}

// Close ends Accept; other processes' listening goes on.
func (l *Listener) Close() error { return l.file.Close() }
