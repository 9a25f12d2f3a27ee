package login

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"time"

	"rookery/internal/ipc"
	"rookery/internal/ipc/authmsg"
	"rookery/internal/maillog"
	"rookery/login/internal/places"
	"rookery/login/internal/preimap"
	"rookery/login/internal/prelogin"
	"rookery/login/internal/prepop3"
	"rookery/login/internal/relay"
	"rookery/login/internal/sock"
)

// writeTimeout is how long a stranger may take to read an answer.
const writeTimeout = 30 * time.Second

// byeTimeout is the same for the last one.
const byeTimeout = 2 * time.Second

// buffers are for what is read of strangers.
var buffers = sync.Pool{New: func() any { return new(sock.Buffer) }}

// kickReason is why a stranger must go.
type kickReason struct {
	why  string // for the log
	text string // for the client
	busy bool   // the client may try again soon
}

var (
	kickInactivity = kickReason{prelogin.WhyInactivity, "Disconnected for inactivity during authentication.", false}
	kickShutdown   = kickReason{prelogin.WhyShutdown, "Server is shutting down.", true}
	kickFull       = kickReason{prelogin.WhyFull, "Too many connections that have not logged in.", true}
)

// errKicked ends what a session waits for.
var errKicked = errors.New("the session must end")

// session is one client, from accept to the hand-over or, with TLS, to the end.
// Its goroutine alone uses the fields above mu.
type session struct {
	srv     *server
	l       *listener
	id      string
	created time.Time
	first   time.Time // of the first authentication
	log     *maillog.Logger

	conn                  *sock.Conn
	tls                   *tls.Conn
	remote, local         netip.AddrPort // as a PROXY header or a trusted client says
	realRemote, realLocal netip.AddrPort
	proxyTLS              bool
	proxyVersion, proxyCipher,
	serverName string
	own, trusted bool
	unforward    func()            // takes back what was said of another client before TLS
	unspoken     [2]netip.AddrPort // remote and local as they were before a client spoke for another
	tlsState     string
	master       string // the master user

	machine prelogin.Machine
	attempt *attempt
	ticket  [16]byte
	place   places.Entry
	rest    []byte // what the client said behind UNAUTHENTICATE, and the machine has not had

	timer *time.Timer

	mu      sync.Mutex
	kicked  *kickReason
	gone    chan struct{} // closed by kick
	handed  bool          // the stream is a worker's: no kick any more
	severed bool          // cut was called: a relay that is yet to come must not
	env     *ipc.Conn     // the envelope, while it is waited for
	relay   *relay.Session
}

func newSession(s *server, l *listener, conn *sock.Conn) *session {
	c := &session{srv: s, l: l, conn: conn, id: newID(), created: s.now(), gone: make(chan struct{}),
		remote: conn.Remote(), local: conn.Local(), realRemote: conn.Remote(), realLocal: conn.Local()}
	c.place.Client = c
	c.log = s.log.Prefix(l.service + "-login").Session(c.id)
	return c
}

// newID makes a session's id: unique, 16 characters of base64.
func newID() string {
	var b [12]byte
	rand.Read(b[:]) // never fails
	return base64.StdEncoding.EncodeToString(b[:])
}

// kick makes a stranger go. After the hand-over it does nothing.
func (c *session) kick(r kickReason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kicked != nil || c.handed {
		return
	}
	c.kicked = &r
	close(c.gone)
	past := time.Unix(1, 0)
	c.conn.SetDeadline(past)
	if c.env != nil {
		c.env.SetReadDeadline(past)
	}
}

// cut ends the session at once, a relayed one too.
func (c *session) cut() {
	c.kick(kickShutdown)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.severed = true
	if c.env != nil {
		c.env.Close()
	}
	if c.relay != nil {
		c.relay.Cut()
	}
}

// clearReadDeadline takes a bound away that was for one thing. A kick stays.
func (c *session) clearReadDeadline() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kicked != nil {
		return errKicked
	}
	return c.conn.SetReadDeadline(time.Time{})
}

func (c *session) isKicked() *kickReason {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kicked
}

// turnAway tells a client that there is no place for it. It has no goroutine
// yet, and may not block us.
func (c *session) turnAway(text string) {
	defer c.conn.Close()
	c.log.Infof("%s", c.srv.cfg.format.Line("Disconnected: "+text, c.facts()))
	if c.l.implicit || c.l.haproxy {
		return
	}
	line := "* BYE [UNAVAILABLE] " + text
	if c.l.service == "pop3" {
		line = "-ERR [SYS/TEMP] " + text
	}
	c.conn.SetWriteDeadline(time.Now().Add(time.Millisecond))
	c.conn.Write([]byte(line + "\r\n"))
}

// serve is the session's goroutine.
func (c *session) serve() {
	c.timer = time.AfterFunc(c.srv.cfg.timeout, func() { c.kick(kickInactivity) })
	if err := c.open(); err != nil {
		c.over(err)
		return
	}
	c.converse(c.machine.Greet())
}

// converse serves a client until it is handed over or gone. After the hand-over c is
// not ours any more.
func (c *session) converse(effects []prelogin.Effect) {
	for {
		handed, err := c.perform(effects)
		if err != nil || handed {
			if !handed {
				c.over(err)
			}
			return
		}
		if effects, err = c.next(); err != nil {
			c.over(err)
			return
		}
	}
}

// open does what comes before the greeting.
func (c *session) open() error {
	if c.l.haproxy {
		if err := c.readProxyHeader(); err != nil {
			return err
		}
	}
	c.trusted = contains(c.srv.cfg.trusted, c.remote.Addr())
	c.own = ownHost(c.realRemote, c.realLocal) && ownHost(c.remote, c.local)
	c.unspoken = [2]netip.AddrPort{c.remote, c.local}
	// A listener for TLS begins with TLS, whatever a proxy says of the client's
	// own connection: it may have opened another to us.
	if c.l.implicit {
		if err := c.handshake(); err != nil {
			return err
		}
	}
	c.machine = c.newMachine()
	c.debugf("client connected to listener %s from %v", c.l.name, c.remote)
	c.conn.SetInstant(true)
	return nil
}

func (c *session) newMachine() prelogin.Machine {
	cfg := c.srv.cfg
	mechs, timestamp := c.srv.auth.offer(c.srv.host)
	if c.l.service == "pop3" {
		return prepop3.New(prepop3.Config{Greeting: cfg.greeting, Mechanisms: mechs, Facts: c.standing().facts(), BadCommands: cfg.badCommands,
			Timestamp: timestamp, LoginDelay: cfg.loginDelay, Expire: cfg.expire, Implementation: implementation(cfg.id)})
	}
	return preimap.New(preimap.Config{Greeting: cfg.greeting, Mechanisms: mechs, Facts: c.standing().facts(), BadCommands: cfg.badCommands, ID: cfg.id})
}

// implementation is what CAPA says of us, if ID may say it.
func implementation(id []string) string {
	for i := 0; i+1 < len(id); i += 2 {
		if id[i] == "name" {
			return strings.ReplaceAll(prelogin.Text(id[i+1], ""), " ", "-")
		}
	}
	return ""
}

func (c *session) standing() standing {
	cfg := c.srv.cfg
	return standing{ssl: cfg.ssl, cleartext: cfg.cleartext, tls: c.tls != nil || c.proxyTLS, own: c.own, trusted: c.trusted, canTLS: c.srv.tls.Ready()}
}

// next waits for what moves the machine on: the client, or authd.
func (c *session) next() ([]prelogin.Effect, error) {
	if c.machine.Busy() {
		return c.reply()
	}
	if len(c.rest) > 0 {
		n := min(len(c.rest), sock.BufferSize)
		effects := c.machine.Feed(c.rest[:n])
		clear(c.rest[:n])
		c.rest = c.rest[n:]
		return effects, nil
	}
	if c.tls == nil {
		buf, n, err := c.conn.ReadPooled(&buffers)
		if err != nil {
			return nil, err
		}
		return c.feed(buf, n), nil
	}
	for {
		buf := buffers.Get().(*sock.Buffer)
		n, err := c.tls.Read(buf[:])
		if n > 0 {
			return c.feed(buf, n), nil
		}
		buffers.Put(buf)
		if err != nil && !errors.Is(err, sock.ErrWouldBlock) {
			return nil, err
		}
		// Nothing is held while a client is quiet.
		if err := c.conn.Wait(); err != nil {
			return nil, err
		}
	}
}

// feed gives the machine what came. The pool is shared, and this may be a
// password.
func (c *session) feed(buf *sock.Buffer, n int) []prelogin.Effect {
	effects := c.machine.Feed(buf[:n])
	clear(buf[:n])
	buffers.Put(buf)
	return effects
}

// reply waits for authd.
func (c *session) reply() ([]prelogin.Effect, error) {
	if c.attempt == nil {
		return nil, errors.New("the machine waits for nothing") // a bug of ours
	}
	select {
	case m := <-c.attempt.replies:
		switch m := m.(type) {
		case *authmsg.Challenge:
			return c.machine.Challenge(m.Data), nil
		case *authmsg.Granted:
			c.attempt = nil
			c.ticket, c.master = m.Ticket, m.Master
			effects := c.machine.Granted(m.User)
			c.debugf("authentication granted, a worker is asked for")
			return effects, nil
		case *authmsg.Refused:
			c.attempt = nil
			effects := c.machine.Refused(m.Kind, m.User, m.Text)
			c.debugf("authentication refused: %v", m.Kind)
			return effects, nil
		}
		return nil, errors.New("authd sent another message") // attempts get no other
	case <-c.gone:
		return nil, errKicked
	}
}

// perform does what the machine wants. handed says that the session is no
// longer ours to talk to.
func (c *session) perform(effects []prelogin.Effect) (handed bool, err error) {
	for len(effects) > 0 {
		e := effects[0]
		effects = effects[1:]
		switch e := e.(type) {
		case prelogin.Send:
			err = c.send(e, writeTimeout)
		case prelogin.BeginAuth:
			if c.first.IsZero() {
				c.first = c.srv.now()
			}
			c.debugf("authentication by %s begins", e.Mech)
			c.attempt = c.srv.auth.begin(c.peer(), e)
			e.Initial.Wipe()
		case prelogin.ContinueAuth:
			c.attempt.proceed(e)
			e.Response.Wipe()
		case prelogin.CancelAuth:
			c.cancel()
		case prelogin.Forward:
			c.forward(e)
		case prelogin.StartTLS:
			if err = c.handshake(); err == nil {
				c.conn.SetInstant(true)
				if c.unforward != nil {
					c.unforward()
					c.unforward = nil
				}
				effects = append(effects, c.machine.TLSStarted(c.standing().facts())...)
			}
		case prelogin.HandOver:
			var more []prelogin.Effect
			if handed, more, err = c.handOver(e); handed {
				return true, nil
			}
			effects = append(effects, more...)
		case prelogin.Close:
			c.linger()
			return false, &closed{e.Why}
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// debugf writes a line for log_debug. Arguments hold no secret.
func (c *session) debugf(format string, args ...any) {
	user := ""
	if c.machine != nil {
		user = c.machine.Stats().User
	}
	if c.log.Debugging(user, c.remote.Addr().String()) {
		c.log.Debugf(format, args...)
	}
}

func (c *session) cancel() {
	if c.attempt != nil {
		c.attempt.cancel()
		c.attempt = nil
	}
}

// forward: a trusted client says for whom it speaks.
func (c *session) forward(e prelogin.Forward) {
	if c.tls == nil && c.unforward == nil {
		remote, local, id, log := c.remote, c.local, c.id, c.log
		c.unforward = func() { c.remote, c.local, c.id, c.log = remote, local, id, log }
	}
	if e.Remote.IsValid() {
		c.remote = e.Remote
	}
	if e.Local.IsValid() {
		c.local = e.Local
	}
	if e.Session != "" {
		c.debugf("this session is %s from here on", e.Session)
		c.id = e.Session
		c.log = c.srv.log.Prefix(c.l.service + "-login").Session(c.id)
	}
}

func (c *session) send(p []byte, within time.Duration) error {
	if c.isKicked() != nil && within != byeTimeout {
		return errKicked
	}
	c.conn.SetWriteDeadline(time.Now().Add(within))
	var err error
	if c.tls != nil {
		_, err = c.tls.Write(p)
	} else {
		_, err = c.conn.Write(p)
	}
	// A kick that came before this deadline was set must not be lost.
	if c.isKicked() != nil && within != byeTimeout {
		return errKicked
	}
	return err
}
