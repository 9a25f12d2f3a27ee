package ipc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrQueueFull means that the peer does not read; the caller drops it.
var ErrQueueFull = errors.New("the peer's queue is full")

// MaxQueue is how many packets may wait for a peer whose socket is full.
const MaxQueue = 1024

// Conn is one end of a channel. Send may be called from several goroutines,
// Recv from one.
type Conn struct {
	proto *Protocol
	peer  From // whose messages arrive here
	file  *os.File
	raw   syscall.RawConn
	buf   []byte
	greet bool // the peer's hello is still to come
	reset bool // ECONNRESET was seen
	// resumed: the hello may have been read by the end's former holder.
	resumed bool

	mu      sync.Mutex
	queue   []packet
	writing bool
	closed  bool
}

type packet struct {
	data []byte
	fd   int // -1 for none; owned by the queue
}

// NewConn takes ownership of fd, a SOCK_SEQPACKET socket, and sends the hello.
// self is this end: FromServer for the more trusted side.
func NewConn(fd int, proto *Protocol, self From) (*Conn, error) {
	return newConn(fd, proto, self, false)
}

// Resume is NewConn for an end whose former holder died while master kept a
// copy of it: no hello is sent again, and one is taken but not awaited.
func Resume(fd int, proto *Protocol, self From) (*Conn, error) {
	return newConn(fd, proto, self, true)
}

func newConn(fd int, proto *Protocol, self From, resumed bool) (*Conn, error) {
	if err := CheckFD(fd, FDPacket); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("channel %s: %w", proto.Name, err)
	}
	// Before os.NewFile: only then does the runtime poll it.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("channel %s: %w", proto.Name, err)
	}
	c := &Conn{proto: proto, peer: FromBoth &^ self, file: os.NewFile(uintptr(fd), "channel "+proto.Name), greet: !proto.NoHello, resumed: resumed}
	raw, err := c.file.SyscallConn()
	if err != nil {
		c.file.Close()
		return nil, fmt.Errorf("channel %s: %w", proto.Name, err)
	}
	c.raw = raw
	if !proto.NoHello && !resumed {
		// A peer that is gone already may have left packets to read.
		if err := c.sendPacket(proto.encodeHello(), -1); err != nil && !errors.Is(err, unix.EPIPE) {
			c.file.Close()
			return nil, err
		}
	}
	return c, nil
}

// Name is the channel's name.
func (c *Conn) Name() string { return c.proto.Name }

// Send sends a message, with the descriptor fd unless it is -1. The caller
// keeps fd. It never waits: ErrQueueFull if the peer does not read.
func (c *Conn) Send(m Message, fd int) error {
	def := c.proto.find(m.Type())
	if def == nil || def.From&(FromBoth&^c.peer) == 0 {
		panic(fmt.Sprintf("channel %s: %T is not sent from this side", c.proto.Name, m))
	}
	if (fd >= 0) != (def.FD != FDNone) && !(fd < 0 && def.OptionalFD) {
		panic(fmt.Sprintf("channel %s: %T with descriptor %d", c.proto.Name, m, fd))
	}
	data, err := c.proto.Encode(m)
	if err != nil {
		return err
	}
	return c.sendPacket(data, fd)
}

func (c *Conn) sendPacket(data []byte, fd int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return fmt.Errorf("channel %s: %w", c.proto.Name, os.ErrClosed)
	}
	if !c.writing {
		err := c.writeNow(data, fd)
		if err == nil || !errors.Is(err, unix.EAGAIN) {
			return err
		}
	}
	if len(c.queue) >= MaxQueue {
		return fmt.Errorf("channel %s: %w", c.proto.Name, ErrQueueFull)
	}
	if fd >= 0 {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return fmt.Errorf("channel %s: %w", c.proto.Name, err)
		}
		fd = dup
	}
	c.queue = append(c.queue, packet{data, fd})
	if !c.writing {
		c.writing = true
		go c.drain()
	}
	return nil
}

func (c *Conn) writeNow(data []byte, fd int) error {
	var sendErr error
	err := c.raw.Control(func(s uintptr) { sendErr = sendmsg(int(s), data, fd) })
	if err == nil {
		err = sendErr
	}
	if err != nil {
		return fmt.Errorf("channel %s: %w", c.proto.Name, err)
	}
	return nil
}

func sendmsg(s int, data []byte, fd int) error {
	var oob []byte
	if fd >= 0 {
		oob = unix.UnixRights(fd)
	}
	for {
		_, err := unix.SendmsgN(s, data, oob, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		if err != unix.EINTR {
			return err
		}
	}
}

// drain sends what waits, then ends. An error ends the channel: Recv tells it.
func (c *Conn) drain() {
	for {
		p, ok := c.next()
		if !ok {
			return
		}
		var sendErr error
		err := c.raw.Write(func(s uintptr) bool {
			sendErr = sendmsg(int(s), p.data, p.fd)
			return sendErr != unix.EAGAIN
		})
		if p.fd >= 0 {
			unix.Close(p.fd)
		}
		if err != nil || sendErr != nil {
			c.mu.Lock()
			c.dropQueue()
			c.mu.Unlock()
		}
	}
}

// next takes the oldest packet out of the queue: while it is being sent, its
// descriptor is drain's alone, so that Close cannot close it under the send.
func (c *Conn) next() (packet, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 || c.closed {
		c.writing = false
		return packet{}, false
	}
	p := c.queue[0]
	c.queue = c.queue[1:]
	return p, true
}

func (c *Conn) dropQueue() {
	for _, p := range c.queue {
		if p.fd >= 0 {
			unix.Close(p.fd)
		}
	}
	c.queue = nil
}

// Recv waits for a message. fd is the descriptor that came with it, owned by
// the caller, or -1. io.EOF means that the peer is gone; os.ErrDeadlineExceeded
// that the read deadline has passed; every other error that the peer broke the
// rules or the socket failed: close the channel.
func (c *Conn) Recv() (m Message, fd int, err error) {
	if err := c.needBuffer(); err != nil {
		return nil, -1, err
	}
	if c.greet {
		n, fd, err := c.recvPacket()
		if err != nil {
			return nil, -1, err
		}
		c.greet = false
		if c.resumed && !isHello(c.buf[:n]) {
			return c.message(n, fd)
		}
		if fd >= 0 {
			unix.Close(fd)
			return nil, -1, fmt.Errorf("channel %s: hello with a descriptor", c.proto.Name)
		}
		if err := c.proto.checkHello(c.buf[:n]); err != nil {
			return nil, -1, err
		}
	}
	n, fd, err := c.recvPacket()
	if err != nil {
		return nil, -1, err
	}
	return c.message(n, fd)
}

// message reads the packet of n bytes that has just come with fd.
func (c *Conn) message(n, fd int) (Message, int, error) {
	m, def, err := c.proto.Decode(c.buf[:n], c.peer)
	clear(c.buf[:n]) // passwords pass through here
	if c.proto.NoHello {
		c.buf = nil
	}
	if err == nil {
		err = c.checkCarried(m, def, fd)
	}
	if err != nil {
		if fd >= 0 {
			unix.Close(fd)
		}
		return nil, -1, err
	}
	return m, fd, nil
}

// needBuffer makes the receive buffer: for a channel that lives for one packet
// as large as that packet is, since there is one for each login; for others as
// large as a packet can be.
func (c *Conn) needBuffer() error {
	if c.buf != nil {
		return nil
	}
	size := c.proto.maxFrom(c.peer)
	if c.proto.NoHello {
		n := 0
		var peekErr error
		err := c.raw.Read(func(s uintptr) bool {
			for {
				n, _, _, _, peekErr = unix.Recvmsg(int(s), nil, nil, unix.MSG_PEEK|unix.MSG_TRUNC|unix.MSG_DONTWAIT)
				if peekErr != unix.EINTR {
					return peekErr != unix.EAGAIN
				}
			}
		})
		switch {
		case err != nil && c.isClosed():
			return io.EOF
		case err != nil: // the deadline
			return fmt.Errorf("channel %s: %w", c.proto.Name, err)
		case peekErr == nil:
			size = min(size, n)
		}
	}
	c.buf = make([]byte, size+1)
	return nil
}

func (c *Conn) checkCarried(m Message, def *Def, fd int) error {
	switch {
	case def.FD == FDNone && fd >= 0:
		return fmt.Errorf("channel %s: message %T came with a descriptor", c.proto.Name, m)
	case def.FD != FDNone && fd < 0 && !def.OptionalFD:
		return fmt.Errorf("channel %s: message %T came without its descriptor", c.proto.Name, m)
	case fd >= 0:
		if err := CheckFD(fd, def.FD); err != nil {
			return fmt.Errorf("channel %s: message %T: %w", c.proto.Name, m, err)
		}
	}
	return nil
}

func (c *Conn) recvPacket() (n, fd int, err error) {
	fd = -1
	oob := make([]byte, unix.CmsgSpace(4*4))
	var oobn, flags int
	var recvErr error
	err = c.raw.Read(func(s uintptr) bool {
		for {
			n, oobn, flags, _, recvErr = unix.Recvmsg(int(s), c.buf, oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
			if recvErr == unix.ECONNRESET && !c.reset {
				// The peer closed with packets of ours unread. This error comes once,
				// before what it had sent.
				c.reset = true
				continue
			}
			if recvErr != unix.EINTR {
				return recvErr != unix.EAGAIN
			}
		}
	})
	if err == nil {
		err = recvErr
	}
	switch {
	case errors.Is(err, unix.ECONNRESET):
		return 0, -1, io.EOF
	case err != nil && c.isClosed(): // here; the runtime's error for it has no name
		return 0, -1, io.EOF
	case err != nil:
		return 0, -1, fmt.Errorf("channel %s: %w", c.proto.Name, err)
	}
	fds, err := parseRights(oob[:oobn])
	if len(fds) == 1 && err == nil {
		fd = fds[0]
	}
	switch {
	case err != nil || len(fds) > 1 || flags&unix.MSG_CTRUNC != 0:
		closeAll(fds)
		return 0, -1, fmt.Errorf("channel %s: a packet with more than one descriptor", c.proto.Name)
	case flags&unix.MSG_TRUNC != 0 || n >= len(c.buf):
		closeAll(fds)
		return 0, -1, fmt.Errorf("channel %s: a packet of over %d bytes", c.proto.Name, len(c.buf)-1)
	case n == 0:
		closeAll(fds)
		return 0, -1, io.EOF
	}
	return n, fd, nil
}

func parseRights(oob []byte) (fds []int, err error) {
	if len(oob) == 0 {
		return nil, nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for i := range msgs {
		got, perr := unix.ParseUnixRights(&msgs[i])
		if perr != nil {
			err = perr
			continue
		}
		fds = append(fds, got...)
	}
	return fds, err
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

func (c *Conn) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// SetReadDeadline bounds Recv; the zero time takes the bound away.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.file.SetReadDeadline(t) }

// SetSendBuffer enlarges the socket's queue to n bytes, beyond the system's
// limit where this process may (master).
func (c *Conn) SetSendBuffer(n int) {
	c.raw.Control(func(s uintptr) {
		if unix.SetsockoptInt(int(s), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, n) != nil {
			unix.SetsockoptInt(int(s), unix.SOL_SOCKET, unix.SO_SNDBUF, n)
		}
	})
}

// Close closes this end; a Recv that waits returns io.EOF.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	c.dropQueue()
	c.mu.Unlock()
	return c.file.Close()
}
