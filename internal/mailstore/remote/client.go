package remote

import (
	"errors"
	"io"
	"sync"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/ipc"
	"rookery/internal/mailstore"
)

// ClientOptions say how the guest's end works.
type ClientOptions struct {
	// Owner is the owner's user name, for Namespaces.
	Owner string
	// Changed is called when something in the owner's store may have changed: mailboxes
	// that are not open, too. It must not wait, nor use the Client. nil: nobody is told.
	Changed func()
	// Timeout is how long a call may take before the owner's end is given up: 5 minutes.
	Timeout time.Duration
	// Usable says whether a derived fact that the owner's end gave may be used. Some of
	// them go to mail programs as they are, so they must be what their names say. nil:
	// none is used.
	Usable func(field string, value []byte) bool
	// Facts bounds the octets of derived facts that are kept: 512 KiB.
	Facts int
}

// Client is the guest's end: the owner's store as far as the guest may use it, under the
// owner's own names. Its methods may be called from several goroutines. Once the channel
// has ended every call is errkind.Unavailable.
type Client struct {
	conn  *ipc.Conn
	opt   ClientOptions
	slots chan struct{}
	done  chan struct{}
	facts factCache

	mu     sync.Mutex
	last   uint32
	calls  map[uint32]*calling
	boxes  map[uint32]*clientBox
	reason error
}

var _ mailstore.Sharer = (*Client)(nil)

// calling is a call under way.
type calling struct {
	answer chan *Answer
	// first is called with the answer before any message after it is looked at.
	first func(a *Answer)
	// goOn, if not nil, is asked again and again: with its error the owner's end is told
	// to break the call off.
	goOn func() error
}

// NewClient begins. It owns fd, a SOCK_SEQPACKET socket.
func NewClient(fd int, opt ClientOptions) (*Client, error) {
	conn, err := ipc.NewConn(fd, Protocol, ipc.FromClient)
	if err != nil {
		return nil, errkind.New("reach the owner's mail", errkind.Unavailable, err)
	}
	if opt.Timeout == 0 {
		opt.Timeout = 5 * time.Minute
	}
	if opt.Facts == 0 {
		opt.Facts = 512 << 10
	}
	c := &Client{conn: conn, opt: opt, slots: make(chan struct{}, maxCalls), done: make(chan struct{}),
		calls: map[uint32]*calling{}, boxes: map[uint32]*clientBox{}}
	c.facts.limit = opt.Facts
	go c.receive()
	return c, nil
}

// Done is closed when the channel has ended.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err gives why the channel ended, nil before and where nobody broke a rule.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reason
}

// Close ends the channel. What was begun and not committed is given up.
func (c *Client) Close() error {
	c.conn.Close()
	<-c.done
	return nil
}

// end ends the channel for a reason.
func (c *Client) end(reason error) {
	c.mu.Lock()
	if c.reason == nil {
		c.reason = reason
	}
	c.mu.Unlock()
	c.conn.Close()
}

// receive takes messages until the channel ends. Who watches a mailbox is told of the
// end: he would wait for ever.
func (c *Client) receive() {
	defer func() {
		close(c.done)
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, b := range c.boxes {
			b.changed(true)
		}
	}()
	for {
		m, _, err := c.conn.Recv()
		if err == nil {
			err = c.message(m)
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			c.end(err)
			return
		}
	}
}

func (c *Client) message(m ipc.Message) error {
	switch m := m.(type) {
	case *Answer:
		c.mu.Lock()
		call := c.calls[m.ID]
		c.mu.Unlock()
		if call == nil {
			return broken("an answer to call %d, which is not under way", m.ID)
		}
		if call.first != nil {
			call.first(m)
		}
		select {
		case call.answer <- m:
			return nil
		default:
			return broken("two answers to call %d", m.ID)
		}
	case *Changed:
		c.send(&Heard{Box: m.Box}) // where that fails Recv tells why
		if m.Box == 0 {
			if c.opt.Changed != nil {
				c.opt.Changed()
			}
			return nil
		}
		c.mu.Lock()
		b := c.boxes[m.Box]
		c.mu.Unlock()
		if b != nil {
			b.changed(true)
		}
		return nil
	case *Ping:
		c.send(&Pong{})
	}
	return nil
}

// call asks for something and waits for the answer. reply may hold what was done also
// beside an error.
func (c *Client) call(o op, name string, args, reply fields) error {
	return c.callWith(o, name, args, reply, calling{})
}

func (c *Client) callFirst(o op, name string, args, reply fields, first func(*Answer)) error {
	return c.callWith(o, name, args, reply, calling{first: first})
}

func (c *Client) callWith(o op, name string, args, reply fields, p calling) error {
	data, err := encode(args)
	if err == nil && len(data) > maxBlob {
		err = errors.New("too much at once")
	}
	if err != nil {
		return errkind.New(name, errkind.Limit, err)
	}
	select {
	case c.slots <- struct{}{}:
	case <-c.done:
		return unavailable(name)
	}
	defer func() { <-c.slots }()
	p.answer = make(chan *Answer, 1)
	id := c.begin(&p)
	defer c.forget(id)
	for len(data) > maxPart {
		if err := c.send(&Part{ID: id, Data: data[:maxPart]}); err != nil {
			return c.lost(name)
		}
		data = data[maxPart:]
	}
	if err := c.send(&Call{ID: id, Op: uint8(o), Data: data}); err != nil {
		return c.lost(name)
	}
	return c.wait(id, &p, name, reply)
}

// lost is the error of a call that could not be sent. The channel has ended, and who
// looks at Done after it sees that.
func (c *Client) lost(name string) error {
	c.conn.Close()
	<-c.done
	return unavailable(name)
}

// begin gives a call its number.
func (c *Client) begin(p *calling) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if c.last++; c.last != 0 && c.calls[c.last] == nil {
			c.calls[c.last] = p
			return c.last
		}
	}
}

func (c *Client) forget(id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.calls, id)
}

// send sends a message. An owner's end that does not read is given up.
func (c *Client) send(m ipc.Message) error {
	err := c.conn.Send(m, -1)
	if errors.Is(err, ipc.ErrQueueFull) {
		c.end(err)
	}
	return err
}

// wait gathers the parts of an answer.
func (c *Client) wait(id uint32, p *calling, name string, reply fields) error {
	timer := time.NewTimer(c.opt.Timeout)
	defer timer.Stop()
	var look <-chan time.Time
	if p.goOn != nil {
		ticker := time.NewTicker(stopLook)
		defer ticker.Stop()
		look = ticker.C
	}
	var stopped error
	var head *Answer
	var data []byte
	for more := true; more; {
		var a *Answer
		select {
		case a = <-p.answer:
		case <-look:
			if stopped = p.goOn(); stopped != nil {
				look = nil
				c.send(&Break{ID: id}) // where that fails the channel has ended
			}
			continue
		case <-timer.C:
			c.end(broken("call %q was not answered", name))
			return unavailable(name)
		case <-c.done:
			select { // it may have come before the end
			case a = <-p.answer:
			default:
				return unavailable(name)
			}
		}
		if head == nil {
			head, data = a, a.Data[:len(a.Data):len(a.Data)]
		} else {
			data = append(data, a.Data...)
		}
		more = a.More
		if len(data) > maxBlob || more && len(a.Data) == 0 {
			c.end(broken("the answer to call %q has no end", name))
			return unavailable(name)
		}
		if more {
			if err := c.send(&More{ID: id}); err != nil {
				return unavailable(name)
			}
		}
	}
	if !head.Failed || len(data) > 0 {
		if err := decode(data, reply); err != nil {
			c.end(broken("the answer to call %q: %v", name, err))
			return unavailable(name)
		}
	}
	switch {
	case head.Failed && stopped != nil && head.Kind == errkind.Unavailable:
		return errkind.New(name, head.Kind, stopped)
	case head.Failed:
		return errkind.New(name, head.Kind, nil)
	}
	return nil
}

// stopLook is how often a call that can be broken off looks whether it is to be.
const stopLook = 50 * time.Millisecond
