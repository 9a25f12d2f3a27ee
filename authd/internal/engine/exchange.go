package engine

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"time"

	"rookery/authd/internal/authdb"
	"rookery/authd/internal/sasl"
	"rookery/internal/errkind"
	"rookery/internal/ipc/authmsg"
	"rookery/internal/maillog"
	"rookery/internal/secret"
)

// maxSilence ends an exchange whose client says nothing; login has its own,
// shorter limit and cancels.
const maxSilence = 65 * time.Minute

// exchange is one authentication, run by one goroutine.
type exchange struct {
	c    *Client
	e    *Engine
	cfg  *Config
	id   uint64
	peer authmsg.Peer
	mech string
	ip   string // "" without an address

	responses chan secret.Bytes // capacity 1
	asked     bool              // under mu: a response may come
	mu        sync.Mutex
	gone      chan struct{} // closed by cancel
	goneOnce  sync.Once

	authcid    string // as the client wrote it
	user       string // as log lines show it: the name that is looked up
	loginUser  string // whom a master user logs in as
	master     string
	asMaster   bool   // the lines are about the master user
	password   []byte // what was typed, for auth_verbose_passwords; nil where mechanisms show none
	hashed     bool   // a secret was compared: the work of a known user is done
	noDelay    bool
	noLogin    bool
	deferAdmit bool          // allow_nets and the like wait until the proof has come
	mustExist  bool          // a master user's target must be in a passdb
	blocked    authdb.Result // what the last extra field that refuses said; OK: none
	reason     string        // shown to the client: the field "reason" or "fail"
	sig        string        // APOP's timestamp
	test       func(answer)  // rookeryctl auth test: takes the end in place of the channel
}

// answer is how an exchange ended.
type answer struct {
	kind errkind.Kind // of a failure
	text string
	ok   bool
	who  identity
}

func newExchange(c *Client, m *authmsg.Begin) *exchange {
	return &exchange{c: c, e: c.e, cfg: c.e.config.Load(), id: m.ID, peer: m.Peer, mech: m.Mech, ip: ipText(m.Peer.Remote),
		responses: make(chan secret.Bytes, 1), gone: make(chan struct{})}
}

func (x *exchange) cancel() { x.goneOnce.Do(func() { close(x.gone) }) }

func (x *exchange) log() *maillog.Logger { return x.e.logger.Session(x.peer.Session) }

func (x *exchange) debugging() bool { return x.e.logger.Debugging(x.user, x.ip) }

// source is the word before "(" in lines about the mechanism itself. A name
// that a client made up does not get there.
func (x *exchange) source() string {
	if _, known := sasl.Find(x.mech); !known {
		return "sasl"
	}
	return strings.ToLower(x.mech)
}

// deliver hands a response to the goroutine; false if none was asked for.
func (x *exchange) deliver(r secret.Bytes) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.asked {
		r.Wipe()
		return false
	}
	x.asked = false
	x.responses <- r
	return true
}

// ask sends a challenge and waits for the response; ok is false if none comes.
func (x *exchange) ask(data []byte) (r secret.Bytes, ok bool) {
	x.mu.Lock()
	x.asked = true
	x.mu.Unlock()
	x.debug(x.source(), "client passdb out: CONT %d %s", x.id, x.hidden(data))
	x.c.reply(&authmsg.Challenge{ID: x.id, Data: data})
	timer := time.NewTimer(maxSilence)
	defer timer.Stop()
	select {
	case r = <-x.responses:
		x.debug(x.source(), "client in: CONT %d %s", x.id, x.hidden(r.Reveal()))
		return r, true
	case <-x.gone:
	case <-timer.C:
	}
	return r, false
}

// hidden shows SASL data in debug lines only with auth_debug_passwords.
func (x *exchange) hidden(data []byte) string {
	if x.cfg.DebugPasswords {
		return base64.StdEncoding.EncodeToString(data)
	}
	return "<hidden>"
}

func (x *exchange) debugBegin(m *authmsg.Begin) {
	if !x.debugging() {
		return
	}
	line := fmt.Sprintf("client in: AUTH %d %s service=%s", x.id, logName(x.mech), logName(x.peer.Service))
	if x.peer.Secured {
		line += " secured"
	}
	if x.peer.TLS {
		line += " tls=" + logName(x.peer.TLSVersion)
	}
	line += fmt.Sprintf(" session=%s lip=%s rip=%s lport=%d rport=%d", logName(x.peer.Session), ipText(x.peer.Local), x.ip, x.peer.Local.Port(), x.peer.Remote.Port())
	if m.HasInitial {
		line += " resp=" + x.hidden(m.Initial.Reveal())
	}
	x.log().Debugf("%s", line)
}

// run is the whole exchange.
func (x *exchange) run(m *authmsg.Begin) {
	defer m.Initial.Wipe()
	x.debugBegin(m)
	info, known := sasl.Find(x.mech)
	switch {
	case !known || !x.cfg.offers(x.mech):
		x.info(x.source(), "unsupported or disabled mechanism")
		x.refuse(errkind.Invalid, "Unsupported authentication mechanism.", x.cfg.FailureDelay)
		return
	case x.cfg.TLSRequired && !x.peer.TLS, info.Plaintext && !x.peer.Secured && !x.cfg.AllowCleartext:
		x.info(x.source(), "cleartext authentication is not allowed on this connection")
		x.refuse(errkind.Privacy, "", 0)
		return
	}
	var env sasl.Env
	if info.Secret {
		env = x.env()
	}
	machine := info.New(env)
	a := machine.Start(m.HasInitial, m.Initial.Reveal())
	x.drive(machine, a)
}

func (x *exchange) env() sasl.Env {
	random := make([]byte, 18)
	rand.Read(random)
	text := base64.RawURLEncoding.EncodeToString(random)
	return sasl.Env{
		Nonce:     []byte(text),
		Challenge: fmt.Appendf(nil, "<%s.%d@%s>", text, x.e.now().Unix(), x.e.hostname),
		APOP: func(stamp string) bool {
			x.sig = stamp
			return x.c.apop.check(stamp, x.peer.Session, x.e.now())
		},
	}
}

func (x *exchange) drive(machine sasl.Machine, a sasl.Action) {
	var found *secretLookup
	for {
		switch a.Kind {
		case sasl.Challenge:
			r, ok := x.ask(a.Data)
			if !ok {
				x.c.finish(x, nil)
				return
			}
			a = machine.Next(r.Reveal())
			r.Wipe()
		case sasl.Lookup:
			if !x.wait() {
				return
			}
			found = x.lookupSecret(a.Authcid, a.Authzid)
			if found.failure == authdb.Internal {
				x.end(authdb.Internal)
				return
			}
			a = machine.Credentials(found.cred)
		case sasl.Verify:
			if x.wait() {
				x.verifyPlain(a)
			}
			return
		case sasl.Anonymous:
			x.anonymous(a.Data)
			return
		case sasl.Accept:
			if x.sig != "" {
				x.c.apop.spent(x.sig, x.e.now())
			}
			x.proved(found)
			return
		case sasl.Reject:
			x.rejected(found, a.Reason)
			return
		default:
			x.info(x.source(), "invalid input: "+a.Reason)
			x.penalise(0)
			x.refuse(errkind.Invalid, "Invalid authentication data.", x.cfg.FailureDelay)
			return
		}
	}
}

// wait serves the penalty of the client's address; false if he went away.
func (x *exchange) wait() bool {
	if !x.cfg.Penalty || x.test != nil || x.cfg.exempt(x.peer.Remote.Addr()) {
		return true
	}
	d := x.e.penalties.Wait(x.e.now(), x.peer.Remote.Addr())
	if d == 0 {
		return true
	}
	x.debug(x.source(), "waits %d secs for earlier failures of this address", int(d.Seconds()))
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-x.gone:
		x.c.finish(x, nil)
		return false
	}
}

// penalise counts a failure of the address. attempt 0 always counts.
func (x *exchange) penalise(attempt uint64) {
	if x.cfg.Penalty && x.test == nil && !x.cfg.exempt(x.peer.Remote.Addr()) {
		x.e.penalties.Failed(x.e.now(), x.peer.Remote.Addr(), attempt)
	}
}

// end turns a result into the client's answer. The kinds tell a client no more
// than he may know: "no such user", "wrong password", a deny list and a wrong
// network look alike.
func (x *exchange) end(r authdb.Result) {
	wait := x.cfg.FailureDelay
	if x.noDelay {
		wait = 0
	}
	if r == authdb.Internal {
		x.refuse(errkind.Unavailable, "", internalDelay(x.cfg.InternalFailureDelay))
		return
	}
	attempt := uint64(0)
	if x.password != nil {
		attempt = x.e.attemptHash(x.authcid, x.password)
	}
	x.penalise(attempt) // before the answer: the client's next attempt may follow at once
	kind := errkind.AuthFailed
	if r == authdb.Expired {
		kind = errkind.Expired
	}
	x.refuse(kind, x.reason, wait)
}

// refuse answers a failure, late.
func (x *exchange) refuse(kind errkind.Kind, text string, wait time.Duration) {
	name := x.authcid
	if x.loginUser != "" {
		name = x.loginUser
	}
	if len(name) > authmsg.MaxUser {
		name = name[:authmsg.MaxUser]
	}
	if len(text) > authmsg.MaxText {
		text = text[:authmsg.MaxText]
	}
	if x.debugging() {
		x.log().Debugf("client passdb out: FAIL %d user=%s code=%v", x.id, logName(name), kind)
	}
	if x.test != nil {
		x.test(answer{kind: kind, text: text})
		return
	}
	began := x.e.now()
	x.e.queue.Hold(began, wait, func() {
		x.c.finish(x, &authmsg.Refused{ID: x.id, Kind: kind, User: name, Text: text, Delayed: x.e.now().Sub(began)})
	})
}
