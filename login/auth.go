package login

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/ipc"
	"rookery/internal/ipc/authmsg"
	"rookery/internal/secret"
	"rookery/login/internal/prelogin"
)

// auth is our end of authd's channel. It outlives a channel: when authd was
// started anew, master passes another.
type auth struct {
	fatal func(error) // authd broke the rules: it is above us
	now   func() time.Time

	mu       sync.Mutex
	conn     *ipc.Conn // nil while there is no authd
	next     uint64    // ids and APOP's counter; never reused
	attempts map[uint64]*attempt
	signs    map[uint64]*signature
	mechs    []prelogin.Mechanism
	prefix   string
	welcomed chan struct{} // closed by the first Welcome
	readers  sync.WaitGroup
}

func newAuth(now func() time.Time, fatal func(error)) *auth {
	return &auth{now: now, fatal: fatal, attempts: map[uint64]*attempt{}, signs: map[uint64]*signature{}, welcomed: make(chan struct{})}
}

// attach takes a channel into use and reads from it until it ends.
func (a *auth) attach(conn *ipc.Conn) {
	a.mu.Lock()
	old := a.conn
	a.conn, a.prefix = conn, "" // the Welcome tells the new one's
	a.mu.Unlock()
	if old != nil {
		old.Close()
	}
	a.readers.Go(func() { a.read(conn) })
}

func (a *auth) read(conn *ipc.Conn) {
	for {
		m, _, err := conn.Recv()
		if err != nil {
			a.lost(conn)
			if !errors.Is(err, io.EOF) {
				a.fatal(err)
			}
			return
		}
		a.take(m)
	}
}

// lost ends what was under way on a channel: authd's new process knows nothing
// of it.
func (a *auth) lost(conn *ipc.Conn) {
	conn.Close()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn == conn {
		a.conn = nil
	}
	for id, t := range a.attempts {
		if t.conn == conn {
			a.end(id, &authmsg.Refused{ID: id, Kind: errkind.Unavailable})
		}
	}
	for id, sig := range a.signs {
		if sig.conn == conn {
			delete(a.signs, id)
			close(sig.reply)
		}
	}
}

func (a *auth) take(m ipc.Message) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch m := m.(type) {
	case *authmsg.Welcome:
		a.welcome(m)
	case *authmsg.Challenge:
		if t := a.attempts[m.ID]; t != nil {
			select {
			case t.replies <- m:
			default: // two challenges without a response: authd is wrong, the client waits for its timeout
			}
		}
	case *authmsg.Granted:
		a.end(m.ID, m)
	case *authmsg.Refused:
		a.end(m.ID, m)
	case *authmsg.Signed:
		if sig := a.signs[m.ID]; sig != nil {
			delete(a.signs, m.ID)
			sig.reply <- m.Signature
		}
	}
}

// end gives the last message of an attempt. Its channel has room for it and a
// challenge before it.
func (a *auth) end(id uint64, m ipc.Message) {
	if t := a.attempts[id]; t != nil {
		delete(a.attempts, id)
		t.replies <- m
	}
}

func (a *auth) welcome(m *authmsg.Welcome) {
	a.mechs = nil
	for _, mech := range m.Mechanisms {
		a.mechs = append(a.mechs, prelogin.Mechanism{Name: mech.Name, Plaintext: mech.Plaintext, Private: mech.Private})
	}
	a.prefix = m.APOPPrefix
	select {
	case <-a.welcomed:
	default:
		close(a.welcomed)
	}
}

// offer gives what authd offers now, and a new timestamp for APOP where it is
// among it.
func (a *auth) offer(host string) (mechs []prelogin.Mechanism, timestamp string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := prelogin.Find(a.mechs, "APOP"); ok && a.prefix != "" {
		a.next++
		timestamp = fmt.Sprintf("<%s.%d.%d@%s>", a.prefix, a.next, a.now().Unix(), host)
	}
	return a.mechs, timestamp
}

// attempt is one authentication.
type attempt struct {
	auth    *auth
	id      uint64
	conn    *ipc.Conn        // on which it was begun
	replies chan ipc.Message // Challenge, Granted, Refused
}

// signature is one that is awaited.
type signature struct {
	conn  *ipc.Conn
	reply chan []byte
}

// begin starts an authentication. The reply comes even if there is no authd.
// A digest of a timestamp that an earlier authd's channel made proves nothing to
// this one, whatever the password: the client is asked to come again, and is not
// told that it is wrong.
func (a *auth) begin(peer authmsg.Peer, e prelogin.BeginAuth) *attempt {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.next++
	t := &attempt{auth: a, id: a.next, conn: a.conn, replies: make(chan ipc.Message, 2)}
	m := &authmsg.Begin{ID: t.id, Peer: peer, Mech: e.Mech, HasInitial: e.HasInitial, Initial: e.Initial}
	if a.conn == nil || e.Mech == "APOP" && !a.stamped(e.Initial) || a.conn.Send(m, -1) != nil {
		t.replies <- &authmsg.Refused{ID: t.id, Kind: errkind.Unavailable}
		return t
	}
	a.attempts[t.id] = t
	return t
}

// stamped reports whether APOP's initial response is about a timestamp of the
// present channel's.
func (a *auth) stamped(initial secret.Bytes) bool {
	return a.prefix != "" && bytes.HasPrefix(initial.Reveal(), []byte("<"+a.prefix+"."))
}

// proceed answers a challenge.
func (t *attempt) proceed(e prelogin.ContinueAuth) {
	a := t.auth
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.attempts[t.id] == nil {
		return // it ended meanwhile, and the reply is there
	}
	if t.conn.Send(&authmsg.Continue{ID: t.id, Response: e.Response}, -1) != nil {
		a.end(t.id, &authmsg.Refused{ID: t.id, Kind: errkind.Unavailable})
	}
}

// cancel gives the attempt up.
func (t *attempt) cancel() {
	a := t.auth
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.attempts[t.id] == nil {
		return
	}
	delete(a.attempts, t.id)
	t.conn.Send(&authmsg.Cancel{ID: t.id}, -1)
}

// signTimeout is how long a handshake waits for its signature.
const signTimeout = 10 * time.Second

var errNoSignature = errors.New("no signature from authd")

// Sign is for tlsserver.Signer.
func (a *auth) Sign(spki [32]byte, scheme tls.SignatureScheme, content []byte) ([]byte, error) {
	a.mu.Lock()
	a.next++
	id := a.next
	if a.conn == nil || len(content) > authmsg.MaxToSign || a.conn.Send(&authmsg.Sign{ID: id, SPKI: spki, Scheme: uint16(scheme), Content: content}, -1) != nil {
		a.mu.Unlock()
		return nil, errNoSignature
	}
	sig := &signature{conn: a.conn, reply: make(chan []byte, 1)}
	a.signs[id] = sig
	a.mu.Unlock()
	timer := time.NewTimer(signTimeout)
	defer timer.Stop()
	select {
	case s := <-sig.reply:
		if len(s) == 0 {
			return nil, errNoSignature
		}
		return s, nil
	case <-timer.C:
		a.mu.Lock()
		delete(a.signs, id)
		a.mu.Unlock()
		return nil, errNoSignature
	}
}

// close ends the channel.
func (a *auth) close() {
	a.mu.Lock()
	conn := a.conn
	a.mu.Unlock()
	if conn != nil {
		conn.Close()
	}
	a.readers.Wait()
}
