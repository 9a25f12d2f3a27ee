package login

import (
	"time"

	"rookery/login/internal/follow"
	"rookery/login/internal/prelogin"
)

// watch is follow.Session for the relay.
type watch struct{ *follow.Session }

func (w watch) Over() bool {
	_, over := w.Session.Over()
	return over
}

// again takes a client back that has said UNAUTHENTICATE (RFC 8437 §3). Its worker has
// ended the session, and f tells whether it has answered all that came before: if not,
// the client could not tell our answers from those that it still waits for. rest is
// what the client said behind the command.
//
// Nothing of the session before is left but TLS, what the PROXY header said, and what
// counts against a client that guesses: its bad commands and failed logins. The
// session's id is a new one, so that a log and authd's tickets tell the two apart.
func (c *session) again(f *follow.Session, rest []byte) {
	tag, _ := f.Over()
	was, carried := c.machine.Stats().User, c.machine.(prelogin.Returning).Carry()
	c.rest, c.attempt, c.master = rest, nil, ""
	c.remote, c.local, c.unforward = c.unspoken[0], c.unspoken[1], nil
	now := c.srv.now()
	id := newID()
	c.log.Infof("UNAUTHENTICATE of user=<%s>, what follows is session=<%s>", was, id)
	c.id, c.created = id, now
	c.log = c.srv.log.Prefix(c.l.service + "-login").Session(c.id)
	if carried.Tally.Attempts == 0 {
		c.first = time.Time{}
	}
	m := c.newMachine().(prelogin.Returning)
	c.machine = m
	c.mu.Lock()
	c.relay = nil
	c.handed = false
	severed := c.severed
	if !severed {
		c.conn.SetDeadline(time.Time{})
	}
	c.mu.Unlock()
	if severed {
		c.over(errKicked)
		return
	}
	c.conn.SetInstant(true)
	c.timer.Reset(c.srv.cfg.timeout)
	if why := c.srv.stranger(c); why != nil {
		c.kick(*why)
	} else if !f.Clean() {
		c.perform(m.Bye("Internal error, try again later.", true))
		c.over(&closed{prelogin.WhyGone})
		return
	}
	c.converse(m.Return(tag, carried))
}
