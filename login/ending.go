package login

import (
	"crypto/tls"
	"errors"
	"os"
	"strings"
	"time"

	"rookery/internal/ipc/authmsg"
	"rookery/login/internal/logline"
	"rookery/login/internal/prelogin"
	"rookery/login/internal/sock"
)

// closed is the machine's own end of a connection.
type closed struct{ why string }

func (e *closed) Error() string { return e.why }

// over ends the session with its line in the log.
func (c *session) over(err error) {
	c.timer.Stop()
	clear(c.rest)
	var stats prelogin.Stats // before the goodbye: how far the login came
	if c.machine != nil {
		stats = c.machine.Stats()
	}
	why := prelogin.WhyGone
	var end *closed
	var refused *refusedProxy
	switch kicked := c.isKicked(); {
	case errors.As(err, &end):
		why = end.why
	case errors.As(err, &refused):
		why = "Disconnected: " + refused.Error()
	case kicked != nil:
		why = kicked.why
		c.bye(kicked)
	case errors.Is(err, os.ErrDeadlineExceeded):
		why = prelogin.WhyInactivity // it does not read
	}
	c.cancel()
	first := c.first
	if first.IsZero() {
		first = c.created
	}
	c.log.Infof("%s", c.srv.cfg.format.Line(why+" "+stats.Extra(c.created, first, c.srv.now()), c.facts()))
	if c.machine != nil {
		c.machine.Wipe()
	}
	c.close()
	c.srv.leave(c)
}

// bye tells a client why it must go.
func (c *session) bye(r *kickReason) {
	if c.machine == nil {
		return
	}
	for _, e := range c.machine.Bye(r.text, r.busy) {
		if p, ok := e.(prelogin.Send); ok {
			c.send(p, byeTimeout)
		}
	}
	c.linger()
}

// linger lets our last words arrive: closing with bytes unread would make the
// client's system throw away what it has not read yet.
func (c *session) linger() {
	c.conn.SetWriteDeadline(time.Now().Add(byeTimeout))
	if c.tls != nil {
		c.tls.CloseWrite()
	}
	c.conn.CloseWrite()
	c.conn.SetInstant(true)
	buf := buffers.Get().(*sock.Buffer)
	defer buffers.Put(buf)
	for range 16 {
		if n, err := c.conn.Read(buf[:]); n == 0 || err != nil {
			return
		}
	}
}

func (c *session) close() {
	if c.tls != nil {
		c.conn.SetWriteDeadline(time.Now().Add(byeTimeout))
		c.tls.CloseWrite()
	}
	c.conn.Close()
}

// peer is what authd learns of the connection.
func (c *session) peer() authmsg.Peer {
	p := authmsg.Peer{Service: c.l.service, Session: c.id, Remote: c.remote, Local: c.local, RealRemote: c.realRemote, RealLocal: c.realLocal,
		TLSServerName: c.serverName, Secured: c.standing().facts().Secured}
	p.TLS = c.standing().tls
	p.TLSVersion, p.TLSCipher = c.tlsWords()
	return p
}

// tlsWords names TLS version and cipher; "" without TLS.
func (c *session) tlsWords() (version, cipher string) {
	if c.tls == nil {
		return c.proxyVersion, c.proxyCipher
	}
	st := c.tls.ConnectionState()
	return strings.Replace(tls.VersionName(st.Version), "TLS ", "TLSv", 1), tls.CipherSuiteName(st.CipherSuite)
}

// facts is what a log line can tell.
func (c *session) facts() logline.Facts {
	f := logline.Facts{Service: c.l.service, Remote: c.remote, Local: c.local, RealRemote: c.realRemote, RealLocal: c.realLocal,
		TLS: c.standing().tls, TLSState: c.tlsState, ServerName: c.serverName, Session: c.id, Listener: c.l.name, AuthUser: c.master,
		Secured: c.standing().unlisted()}
	f.TLSVersion, f.TLSCipher = c.tlsWords()
	if c.machine != nil {
		stats := c.machine.Stats()
		f.User, f.Mechanism, f.OriginalUser = stats.User, stats.Mech, stats.User
	}
	return f
}
