package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/ipc"
	"rookery/internal/mailstore"
)

// Limits bound what one guest may hold at the owner's end. A zero is the default.
type Limits struct {
	Boxes     int           // open mailboxes: 64
	Messages  int           // open messages: 64
	Appenders int           // appenders: 16
	Append    int64         // octets appended and not committed: 1 GiB
	Patience  time.Duration // how long a guest may leave unread what was sent: 30 s
	// Pause is how long the owner's end waits between two words that something in the
	// store has changed: 100 ms.
	Pause time.Duration
}

func (l *Limits) fill() {
	def := func(p *int, n int) {
		if *p == 0 {
			*p = n
		}
	}
	def(&l.Boxes, 64)
	def(&l.Messages, 64)
	def(&l.Appenders, 16)
	if l.Append == 0 {
		l.Append = 1 << 30
	}
	if l.Patience == 0 {
		l.Patience = 30 * time.Second
	}
	if l.Pause == 0 {
		l.Pause = 100 * time.Millisecond
	}
}

// ServeOptions say how a guest is served. Each function may be nil; they are called
// from several goroutines.
type ServeOptions struct {
	// Changed is called when the guest may have changed mail, flags or names.
	Changed func()
	// SharesChanged is called when he may have changed who may see which mailboxes, or
	// what those are called.
	SharesChanged func()
	// Wake says that something in the store may have changed by another process, or in
	// a mailbox that the guest has not open: what he has open is looked at, and he is
	// told. Nobody need close it.
	Wake <-chan struct{}
	// Maker gives who makes derived facts that the owner's cache lacks, in the mailbox of
	// a name, so that the guest need not have whole messages sent to make them himself.
	// It is asked for once for each mailbox that the guest has open; nil: there is none.
	Maker func(name mailstore.Name) Maker
	// Failed is told of errors that are the owner's business, with their texts.
	Failed func(op string, err error)
	Limits Limits
}

// Maker makes derived facts. Whether the guest may have them is checked before. Its
// methods may be called from several goroutines.
type Maker interface {
	// Is reports whether it is of the mailbox with this identity.
	Is(box mailstore.GUID, uidValidity uint32) bool
	// Make gives a fact; ok is false if it cannot.
	Make(uid mailstore.UID, field string) (value []byte, ok bool)
	Close() error
}

// errRules is wrapped by what Serve and Client give for a peer that broke the rules.
var errRules = errors.New("the peer broke the rules of the channel")

func broken(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errRules, fmt.Sprintf(format, args...))
}

// tooMuch is the error of what does not fit into a call or an answer.
func tooMuch(cause error) error { return errkind.New("guest", errkind.Limit, cause) }

// server serves one guest.
type server struct {
	conn  *ipc.Conn
	store mailstore.Sharer
	opt   ServeOptions
	rows  [lastOp]row

	calls  sync.WaitGroup
	gone   chan struct{} // closed once nobody hears an answer any more
	sent   chan struct{} // something was sent: see mind
	ponged chan struct{}

	mu        sync.Mutex
	under     map[uint32]bool   // calls under way, or with parts of the answer to come
	stop      map[uint32]bool   // of these, those that the guest wants broken off
	args      map[uint32][]byte // parts of calls to come
	rest      map[uint32][]byte // parts of answers to come
	held      int               // bytes in args and rest
	last      uint32            // the handle that was given last
	counts    struct{ boxes, messages, appenders int }
	boxes     map[uint32]*serverBox
	messages  map[uint32]*serverMessage
	appenders map[uint32]*serverAppender
	octets    int64 // appended and not committed
	told      bool  // Changed of the store was sent and not heard
	untold    bool  // and there was another change since
	reason    error // why the channel was ended here
}

// Serve serves one guest until he goes, ctx ends or he breaks the rules; of these only
// the last is an error. It owns fd, a SOCK_SEQPACKET socket, and closes it. store must
// be guarded for the guest; it is not closed. What the guest had open is closed, and
// what he had begun to append is given up, when Serve returns.
func Serve(ctx context.Context, fd int, store mailstore.Sharer, opt ServeOptions) error {
	conn, err := ipc.NewConn(fd, Protocol, ipc.FromServer)
	if err != nil {
		return err
	}
	opt.Limits.fill()
	s := &server{conn: conn, store: store, opt: opt, rows: rows(), sent: make(chan struct{}, 1), ponged: make(chan struct{}, 1),
		gone: make(chan struct{}), under: map[uint32]bool{}, stop: map[uint32]bool{}, args: map[uint32][]byte{}, rest: map[uint32][]byte{}, boxes: map[uint32]*serverBox{},
		messages: map[uint32]*serverMessage{}, appenders: map[uint32]*serverAppender{}}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	var helpers sync.WaitGroup
	helpers.Go(func() { s.mind(ctx) })
	helpers.Go(func() { s.follow(ctx) })
	err = s.receive()
	close(s.gone)
	stop()
	cancel()
	conn.Close()
	helpers.Wait()
	s.calls.Wait()
	s.closeAll()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reason != nil {
		return s.reason
	}
	return err
}

// end ends the channel for a reason.
func (s *server) end(reason error) {
	s.mu.Lock()
	if s.reason == nil {
		s.reason = reason
	}
	s.mu.Unlock()
	s.conn.Close()
}

// receive takes messages until the channel ends.
func (s *server) receive() error {
	for {
		m, _, err := s.conn.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *Part:
			err = s.part(m)
		case *Call:
			err = s.call(m)
		case *More:
			err = s.more(m)
		case *Heard:
			err = s.heard(m)
		case *Break:
			s.breakOff(m)
		case *Pong:
			select {
			case s.ponged <- struct{}{}:
			default:
				err = broken("an answer to no ping")
			}
		}
		if err != nil {
			return err
		}
	}
}

// part keeps a part of the arguments of a call to come.
func (s *server) part(m *Part) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(m.Data) == 0 || s.held+len(m.Data) > maxBlob || s.args[m.ID] == nil && len(s.args) >= maxCalls {
		return broken("more arguments than any call has")
	}
	s.args[m.ID] = append(s.args[m.ID], m.Data...)
	s.held += len(m.Data)
	return nil
}

// call begins a call.
func (s *server) call(m *Call) error {
	if o := op(m.Op); o == 0 || o >= lastOp {
		return broken("call %d is unknown", m.Op)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.under[m.ID] || len(s.under) >= maxCalls {
		return broken("call %d is under way, or too many are", m.ID)
	}
	args := m.Data
	if before := s.args[m.ID]; before != nil {
		args = append(before, args...)
		s.held -= len(before)
		delete(s.args, m.ID)
	}
	s.under[m.ID] = true
	s.calls.Go(func() { s.run(m.ID, op(m.Op), args) })
	return nil
}

// run carries a call out and answers it.
func (s *server) run(id uint32, o op, args []byte) {
	row := &s.rows[o]
	reply, bad, err := row.run(s, id, args)
	if bad != nil {
		s.end(broken("call %q: %v", row.name, bad))
		return
	}
	if row.effect != 0 {
		s.settle()
		if row.effect&changes != 0 && s.opt.Changed != nil {
			s.opt.Changed()
		}
		if row.effect&shares != 0 && s.opt.SharesChanged != nil {
			s.opt.SharesChanged()
		}
	}
	a := &Answer{ID: id}
	if err != nil {
		a.Failed, a.Kind = true, errkind.Of(err)
		s.failed(row.name, a.Kind, err)
	}
	s.answer(a, reply)
}

// failed tells the owner of what is wrong with his mail.
func (s *server) failed(name string, kind errkind.Kind, err error) {
	switch kind {
	case errkind.Other, errkind.Corrupt, errkind.IO, errkind.NoSpace, errkind.TooMany:
		if s.opt.Failed != nil {
			s.opt.Failed(name, err)
		}
	}
}

// answer sends an answer, or its first part.
func (s *server) answer(a *Answer, reply []byte) {
	n := min(len(reply), maxPart)
	a.Data, a.More = reply[:n], n < len(reply)
	s.mu.Lock()
	if a.More && s.held+len(reply)-n > maxBlob {
		*a = Answer{ID: a.ID, Failed: true, Kind: errkind.Limit}
	}
	if a.More {
		s.rest[a.ID] = reply[n:]
		s.held += len(reply) - n
	} else {
		delete(s.under, a.ID)
	}
	delete(s.stop, a.ID)
	s.mu.Unlock()
	s.send(a)
}

// breakOff notes that the guest wants a call broken off. One that is not under way was
// answered meanwhile.
func (s *server) breakOff(m *Break) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.under[m.ID] && s.rest[m.ID] == nil {
		s.stop[m.ID] = true
	}
}

// goOn is an error once nobody wants a call any more: the guest has gone, or has said so.
func (s *server) goOn(id uint32) error {
	select {
	case <-s.gone:
		return errStopped
	default:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop[id] {
		return errStopped
	}
	return nil
}

// errStopped is what a call is broken off with. It has the kind of a call whose channel
// ended.
var errStopped = errkind.Newf("guest", errkind.Unavailable, "the guest does not want it any more")

// more sends the next part of an answer.
func (s *server) more(m *More) error {
	s.mu.Lock()
	reply := s.rest[m.ID]
	n := min(len(reply), maxPart)
	a := &Answer{ID: m.ID, More: n < len(reply), Data: reply[:n]}
	s.held -= n
	if a.More {
		s.rest[m.ID] = reply[n:]
	} else {
		delete(s.rest, m.ID)
		delete(s.under, m.ID)
	}
	s.mu.Unlock()
	if n == 0 {
		return broken("more of an answer that has no more")
	}
	s.send(a)
	return nil
}

// maxQueued is how many packets may wait for a guest beyond what the socket holds: who
// reads never has as many, since he may have maxCalls calls under way.
const maxQueued = 2 * maxCalls

// send sends a message, and ends the channel of a guest who does not read.
func (s *server) send(m ipc.Message) {
	err := s.conn.Send(m, -1)
	if err == nil && s.conn.Queued() > maxQueued {
		err = broken("the guest does not read")
	}
	if err != nil {
		if errors.Is(err, errRules) {
			s.end(err)
		}
		s.conn.Close()
		return
	}
	if _, is := m.(*Ping); is {
		return
	}
	select {
	case s.sent <- struct{}{}:
	default:
	}
}

// mind drops a guest who has not read within Patience what was sent.
func (s *server) mind(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for {
		select {
		case <-s.sent:
		case <-ctx.Done():
			return
		}
		s.send(&Ping{})
		timer.Reset(s.opt.Limits.Patience)
		ponged := false
		for waiting := true; waiting; {
			select {
			case <-s.ponged:
				if ponged {
					s.end(broken("an answer to no ping"))
					return
				}
				ponged = true // the rest of the time is a pause
			case <-timer.C:
				waiting = false
			case <-ctx.Done():
				return
			}
		}
		if !ponged {
			s.end(broken("the guest does not read"))
			return
		}
	}
}

// follow passes on that something changed.
func (s *server) follow(ctx context.Context) {
	for {
		select {
		case <-s.opt.Wake:
		case <-ctx.Done():
			return
		}
		for _, b := range s.allBoxes() {
			s.with("sync", b.n, func(b *serverBox) error {
				_, err := b.mb.Sync() // what it finds wakes the mailbox's own watcher
				return err
			})
		}
		s.tellStore()
		select {
		case <-time.After(s.opt.Limits.Pause):
		case <-ctx.Done():
			return
		}
	}
}

// tellStore says that something in the store changed, once until it was heard.
func (s *server) tellStore() {
	s.mu.Lock()
	told := s.told
	s.told, s.untold = true, told
	s.mu.Unlock()
	if !told {
		s.send(&Changed{})
	}
}

// heard notes that a Changed was read.
func (s *server) heard(m *Heard) error {
	if m.Box != 0 {
		s.mu.Lock()
		b := s.boxes[m.Box]
		s.mu.Unlock()
		if b == nil {
			return nil // closed meanwhile
		}
		return b.heard()
	}
	s.mu.Lock()
	told, again := s.told, s.untold
	s.told, s.untold = again, false
	s.mu.Unlock()
	switch {
	case !told:
		return broken("a word was heard that was not said")
	case again:
		s.send(&Changed{})
	}
	return nil
}

// allBoxes are the open mailboxes.
func (s *server) allBoxes() []*serverBox {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*serverBox, 0, len(s.boxes))
	for _, b := range s.boxes {
		out = append(out, b)
	}
	return out
}

// closeAll gives up what the guest had. Nothing of his is under way any more.
func (s *server) closeAll() {
	for _, a := range s.appenders {
		a.Abort()
	}
	for _, m := range s.messages {
		m.Close()
	}
	for _, b := range s.boxes {
		b.stop()
	}
	clear(s.appenders)
	clear(s.messages)
	clear(s.boxes)
}
