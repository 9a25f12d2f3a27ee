package toolmsg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"rookery/internal/ipc"
)

// Flow is one end of the channel that never sends more than the other end
// reads: a message counts until it was taken by Next, and at most Window count
// at once. Send may be called from several goroutines, Next from one.
//
// Two ends that both only send wait for each other: who sends much must take
// what comes meanwhile in another goroutine.
type Flow struct {
	conn *ipc.Conn
	in   chan received
	read uint32 // since the last Ack; of Next alone

	mu     sync.Mutex
	wake   *sync.Cond
	unread uint32 // messages that the other end has not read
	err    error  // of the reader; nothing can be sent any more
}

type received struct {
	m   ipc.Message
	fd  int
	err error
}

// errFlood is a peer that does not wait for Ack.
var errFlood = errors.New("channel tool: the peer sends more than it may")

// NewFlow takes the descriptor of a channel's end.
func NewFlow(fd int, self ipc.From) (*Flow, error) {
	conn, err := ipc.NewConn(fd, Protocol, self)
	if err != nil {
		return nil, err
	}
	f := &Flow{conn: conn, in: make(chan received, Window+1)}
	f.wake = sync.NewCond(&f.mu)
	go f.receive()
	return f, nil
}

// receive takes Acks out of what comes. It ends with the channel.
func (f *Flow) receive() {
	defer close(f.in)
	for {
		m, fd, err := f.conn.Recv()
		if ack, ok := m.(*Ack); ok {
			err = f.acked(ack.Count)
			if err == nil {
				continue
			}
		}
		if err == nil && len(f.in) >= Window {
			if err = errFlood; fd >= 0 {
				unix.Close(fd)
			}
		}
		if err != nil {
			f.fail(err)
			f.in <- received{fd: -1, err: err} // one place is kept for it
			return
		}
		f.in <- received{m, fd, nil}
	}
}

func (f *Flow) acked(n uint32) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n > f.unread {
		return fmt.Errorf("channel tool: %d messages are acknowledged, %d were sent", n, f.unread)
	}
	f.unread -= n
	f.wake.Broadcast()
	return nil
}

func (f *Flow) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
	f.wake.Broadcast()
}

// Send waits until the other end has read enough. io.EOF: it is gone.
func (f *Flow) Send(m ipc.Message) error { return f.SendFD(m, -1) }

// SendFD is Send with a descriptor, which stays the caller's.
func (f *Flow) SendFD(m ipc.Message, fd int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.unread >= Window && f.err == nil {
		f.wake.Wait()
	}
	if f.err != nil {
		return f.err
	}
	err := f.conn.Send(m, fd)
	if errors.Is(err, unix.EPIPE) || errors.Is(err, os.ErrClosed) {
		return io.EOF
	}
	if err == nil {
		f.unread++
	}
	return err
}

// Next waits for a message. fd is the caller's, or -1. io.EOF: the other end is
// gone; ctx's error: it is over. After an error the channel is of no use.
func (f *Flow) Next(ctx context.Context) (m ipc.Message, fd int, err error) {
	select {
	case <-ctx.Done():
		return nil, -1, context.Cause(ctx)
	case r, ok := <-f.in:
		if !ok {
			return nil, -1, io.EOF
		}
		if r.err != nil {
			return nil, -1, r.err
		}
		if f.read++; f.read >= Window/2 {
			if err := f.conn.Send(&Ack{Count: f.read}, -1); err != nil && !errors.Is(err, unix.EPIPE) {
				return nil, -1, err // EPIPE: what it sent before can still be read
			}
			f.read = 0
		}
		return r.m, r.fd, nil
	}
}

// Gone is called in a goroutine of its own once the other end is gone; what it
// had sent can still be read.
func (f *Flow) Gone(do func()) (stop func()) {
	stopped := false
	go func() {
		f.mu.Lock()
		for f.err == nil && !stopped {
			f.wake.Wait()
		}
		call := !stopped
		f.mu.Unlock()
		if call {
			do()
		}
	}()
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		stopped = true
		f.wake.Broadcast()
	}
}

// Close ends the channel and all that waits on it.
func (f *Flow) Close() error {
	err := f.conn.Close()
	f.fail(io.EOF)
	return err
}
