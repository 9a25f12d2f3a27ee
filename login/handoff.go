package login

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/errkind"
	"rookery/internal/ipc"
	"rookery/internal/ipc/envelopemsg"
	"rookery/internal/ipc/handoffmsg"
	"rookery/login/internal/follow"
	"rookery/login/internal/prelogin"
	"rookery/login/internal/relay"
	"rookery/login/internal/sock"
)

// handoff is one request to master.
type handoff struct {
	id   uint64
	env  *ipc.Conn // our end of the envelope
	done chan *handoffmsg.Done
}

// doneTimeout is how long master's Done is waited for when the envelope is
// closed already.
const doneTimeout = 30 * time.Second

// errNotTaken: after GO neither a worker nor we may answer the client.
var errNotTaken = errors.New("no worker took the session")

// refusal is why nobody took a session before GO.
type refusal struct {
	kind errkind.Kind
	text string
}

func (r *refusal) Error() string { return r.text }

// handOver asks master for a worker and gives it the stream. handed says that
// the client is the worker's; otherwise the machine has an answer for it.
func (c *session) handOver(e prelogin.HandOver) (handed bool, effects []prelogin.Effect, err error) {
	stream, err := c.newStream(e)
	if err != nil {
		c.log.Errorf("Internal login failure: %v", err)
		return false, c.machine.HandoffFailed(errkind.Unavailable, ""), nil
	}
	pid, err := c.deliver(e, stream)
	stream.closeOurs()
	if stream.follow == nil {
		clear(e.Pending)
	}
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		stream.drop()
		c.refused(refused)
		return false, c.machine.HandoffFailed(refused.kind, refused.text), nil
	case errors.Is(err, errKicked):
		stream.drop()
		return false, nil, err
	case err != nil:
		// After GO: the client reads the end of the connection, nothing else.
		stream.drop()
		c.log.Errorf("%s", c.srv.cfg.format.Line("Internal login failure: "+err.Error(), c.facts()))
		c.machine.Wipe()
		c.timer.Stop()
		c.conn.Close()
		c.srv.leave(c)
		return true, nil, nil
	}
	c.finish(stream, pid, e.Pending)
	return true, nil, nil
}

// refused tells the log: a limit is the user's affair, the rest the operator's.
func (c *session) refused(r *refusal) {
	text := r.text
	if text == "" {
		text = r.kind.String()
	}
	line := c.srv.cfg.format.Line(prelogin.Text(text, "Login failed"), c.facts())
	if r.kind == errkind.Limit || r.kind == errkind.InUse {
		c.log.Infof("%s", line)
		return
	}
	c.log.Errorf("Internal login failure: %s", line)
}

// finish ends our part of a session that a worker has. The relay is there
// before we wait for anything; from then on c may be in another goroutine's hands,
// if the client comes back.
func (c *session) finish(stream *stream, pid func() uint32, pending []byte) {
	facts, log, format := c.facts(), c.log, c.srv.cfg.format
	c.machine.Wipe()
	c.timer.Stop()
	if stream.ours == nil {
		c.conn.Close()
	} else {
		c.startRelay(stream, pending)
	}
	facts.WorkerPID = pid()
	log.Infof("%s", format.Line("Login", facts))
	if stream.ours == nil {
		c.srv.leave(c)
	}
}

// startRelay gives the client to the relay. What it has said already goes the same
// way as the rest where that is followed: the next user's password may be in it.
func (c *session) startRelay(stream *stream, pending []byte) {
	c.conn.SetDeadline(time.Time{})
	r := &relay.Session{Client: c.conn, TLS: c.tls, Worker: stream.ours, Timeouts: c.srv.relayFor}
	f := stream.follow
	if f != nil {
		r.Watch, r.First = watch{f}, pending
	}
	c.mu.Lock()
	c.relay = r
	severed := c.severed
	c.mu.Unlock()
	if severed {
		r.Cut()
	}
	c.srv.relayBegins()
	r.Run(func(rest []byte, again bool) {
		if err := r.Trouble(); err != nil {
			c.log.Warnf("session <%s> is ended: %v", c.id, err)
		}
		if again {
			c.srv.all.Go(func() { c.again(f, rest) })
		} else {
			c.srv.leave(c)
		}
		c.srv.relayEnded()
	})
}

// stream is what GO carries: the client's socket, or with TLS one end of a
// fresh pair.
type stream struct {
	kind   envelopemsg.StreamKind
	socket *sock.Conn      // the client's, not TLS
	ours   *sock.Conn      // our end of the pair
	theirs int             // the other end; -1 when closed
	follow *follow.Session // nil: the client cannot leave its worker
}

func (c *session) newStream(e prelogin.HandOver) (*stream, error) {
	if c.tls == nil {
		return &stream{kind: envelopemsg.StreamSocket, socket: c.conn, theirs: -1}, nil
	}
	a, b, err := ipc.StreamPair()
	if err != nil {
		return nil, err
	}
	ours, err := sock.New(a, c.local, c.remote)
	if err != nil {
		unix.Close(b)
		return nil, err
	}
	s := &stream{kind: envelopemsg.StreamRelay, ours: ours, theirs: b}
	if c.l.service == "imap" && c.srv.cfg.unauthenticate && len(e.Tag) <= follow.MaxTag {
		s.follow = follow.New(e.Tag)
	}
	return s, nil
}

// with calls f with the descriptor that goes to the worker.
func (s *stream) with(f func(fd int) error) error {
	if s.socket != nil {
		return s.socket.WithFD(f)
	}
	return f(s.theirs)
}

// closeOurs closes our copy of the worker's end.
func (s *stream) closeOurs() {
	if s.theirs >= 0 {
		unix.Close(s.theirs)
		s.theirs = -1
	}
}

func (s *stream) drop() {
	if s.ours != nil {
		s.ours.Close()
	}
}

// deliver sends the request and plays login's part in the envelope (design:
// the client's stream is not touched meanwhile, and kept until the envelope
// closes). The error is a refusal before GO, errKicked, or another after GO.
func (c *session) deliver(e prelogin.HandOver, stream *stream) (pid func() uint32, err error) {
	select {
	case <-c.srv.credits:
	case <-c.gone:
		return nil, errKicked
	}
	h, err := c.srv.request(c)
	if err != nil {
		c.srv.credits <- struct{}{}
		c.log.Errorf("Internal login failure: %v", err)
		return nil, &refusal{kind: errkind.Unavailable}
	}
	defer func() {
		c.setEnvelope(nil)
		h.env.Close()
	}()
	if !c.setEnvelope(h.env) {
		return nil, errKicked
	}
	accepts, sent := 0, false
	for {
		m, _, err := h.env.Recv()
		switch {
		case err == nil:
			if _, ok := m.(*envelopemsg.Accept); !ok || accepts == 2 {
				return nil, errNotTaken
			}
			accepts++
			if sent, err = c.sendGo(h, e, stream, sent); err != nil {
				return nil, err
			}
		case errors.Is(err, os.ErrDeadlineExceeded):
			pid, over, err := c.woken(h, sent)
			if over {
				return pid, err
			}
		case errors.Is(err, io.EOF):
			return c.envelopeClosed(h, sent)
		case sent:
			return nil, fmt.Errorf("%w: %w", errNotTaken, err)
		default:
			return nil, &refusal{kind: errkind.Unavailable, text: ""}
		}
	}
}

// setEnvelope says what a kick must wake.
func (c *session) setEnvelope(env *ipc.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if env != nil && c.kicked != nil {
		return false
	}
	c.env = env
	return true
}

// sendGo gives the stream; sent says whether it was given before, and its
// result whether it is now. From here on a kick does nothing.
func (c *session) sendGo(h *handoff, e prelogin.HandOver, stream *stream, sent bool) (bool, error) {
	c.mu.Lock()
	kicked := c.kicked != nil && !c.handed
	c.handed = c.handed || !kicked
	c.mu.Unlock()
	if kicked {
		return sent, errKicked
	}
	c.srv.noStranger(c)
	m := &envelopemsg.Go{Kind: stream.kind, Session: c.id, Tag: e.Tag, Command: e.Command, Pending: e.Pending,
		Remote: c.remote, Local: c.local, TLS: c.standing().tls, UTF8: e.UTF8, Lang: e.Lang, Client: e.Client, Unauthenticate: stream.follow != nil}
	if stream.follow != nil {
		m.Pending = nil // it comes by the stream, as far as it is the worker's
	}
	err := stream.with(func(fd int) error { return h.env.Send(m, fd) })
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.EPIPE):
		// Nobody holds the other end any more: GO is nowhere. An earlier one may
		// have been read.
		if !sent {
			c.stranger()
		}
		return sent, nil
	}
	return false, fmt.Errorf("%w: %w", errNotTaken, err)
}

// stranger takes the session back after a GO that nobody got.
func (c *session) stranger() {
	c.mu.Lock()
	c.handed = false
	c.mu.Unlock()
	c.timer.Reset(max(c.srv.cfg.timeout-c.srv.now().Sub(c.created), 0))
}

// woken looks why the envelope's read was woken: master's answer, or a kick.
func (c *session) woken(h *handoff, sent bool) (pid func() uint32, over bool, err error) {
	select {
	case done := <-h.done:
		pid, err := outcome(done, sent)
		return pid, true, err
	default:
	}
	if !sent && c.isKicked() != nil {
		return nil, true, errKicked
	}
	h.env.SetReadDeadline(time.Time{})
	select { // an answer that came between is not lost
	case done := <-h.done:
		pid, err := outcome(done, sent)
		return pid, true, err
	default:
	}
	return nil, false, nil
}

// envelopeClosed: after GO a worker has the session, and master will say which.
// Before it nobody has.
func (c *session) envelopeClosed(h *handoff, sent bool) (pid func() uint32, err error) {
	if sent {
		return func() uint32 { return h.wait(c.srv.stopped) }, nil
	}
	select {
	case done := <-h.done:
		return outcome(done, false)
	case <-time.After(doneTimeout):
		return nil, &refusal{kind: errkind.Unavailable}
	case <-c.srv.stopped:
		return nil, errKicked
	case <-c.gone:
		return nil, errKicked
	}
}

// wait gives the worker's pid once master has told it, 0 if it does not.
func (h *handoff) wait(stopped <-chan struct{}) uint32 {
	timer := time.NewTimer(doneTimeout)
	defer timer.Stop()
	select {
	case done := <-h.done:
		return done.PID
	case <-timer.C:
	case <-stopped:
	}
	return 0
}

func outcome(done *handoffmsg.Done, sent bool) (pid func() uint32, err error) {
	switch {
	case !done.Failed && sent:
		return func() uint32 { return done.PID }, nil
	case sent:
		return nil, fmt.Errorf("%w: %s", errNotTaken, done.Text)
	case done.Failed:
		return nil, &refusal{kind: done.Kind, text: done.Text}
	}
	return nil, &refusal{kind: errkind.Unavailable}
}

// request sends a Request with a fresh envelope.
func (s *server) request(c *session) (*handoff, error) {
	ours, theirs, err := ipc.Pair()
	if err != nil {
		return nil, err
	}
	defer unix.Close(theirs)
	env, err := ipc.NewConn(ours, envelopemsg.Protocol, ipc.FromClient)
	if err != nil {
		return nil, err
	}
	h := &handoff{env: env, done: make(chan *handoffmsg.Done, 1)}
	s.mu.Lock()
	s.next++
	h.id = s.next
	s.requests[h.id] = h
	s.mu.Unlock()
	err = s.ctl.Send(&handoffmsg.Request{ID: h.id, Ticket: c.ticket, Service: c.l.service, Session: c.id}, theirs)
	clear(c.ticket[:])
	if err != nil {
		s.mu.Lock()
		delete(s.requests, h.id)
		s.mu.Unlock()
		env.Close()
		return nil, err
	}
	return h, nil
}

// requestDone gives a request its answer and its credit back.
func (s *server) requestDone(m *handoffmsg.Done) {
	s.mu.Lock()
	h := s.requests[m.ID]
	delete(s.requests, m.ID)
	s.mu.Unlock()
	if h == nil {
		s.end(fmt.Errorf("master answered request %d, which is not under way", m.ID))
		return
	}
	h.done <- m
	h.env.SetReadDeadline(time.Unix(1, 0))
	s.credits <- struct{}{}
}
