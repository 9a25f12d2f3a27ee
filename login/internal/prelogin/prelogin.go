// Package prelogin is what the two protocols have in common before a login: the
// effects that their machines ask for, the states around authd and master (Core),
// what the machines are told of the connection, and the words of the lines that
// end it.
//
// login and its machines (preimap, prepop3) use it. It is pure: no input and
// output, no clock. It must never know a password's worth or a user's place.
package prelogin

import (
	"net/netip"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/secret"
)

// MaxPending is the most, in bytes, that a machine holds of what a client sent
// beyond the command at work.
const MaxPending = 8 << 10

// Mechanism is one that authd offers.
type Mechanism struct {
	Name      string // upper case
	Plaintext bool   // shows the password to whoever reads the connection
	Private   bool   // not told in lists (APOP)
}

// Facts is what counts of the connection now; TLS changes them.
type Facts struct {
	TLS      bool // TLS is active, here or, by a trusted PROXY header, before us
	Secured  bool // mechanisms that show a password may be used (docs/security.md)
	StartTLS bool // TLS can be begun
	Refuse   bool // no mechanism at all: ssl = "required" without TLS
	// Trusted clients (login_trusted_networks) may speak for others by ID.
	Trusted bool
}

// Allows reports whether a mechanism may be used.
func (f Facts) Allows(m Mechanism) bool { return !f.Refuse && (!m.Plaintext || f.Secured) }

// Find gives the mechanism of a name, whatever its case.
func Find(list []Mechanism, name string) (Mechanism, bool) {
	for _, m := range list {
		if strings.EqualFold(m.Name, name) {
			return m, true
		}
	}
	return Mechanism{}, false
}

// Machine is a protocol before login. Calls come one at a time; each gives what
// is to be done, in order.
type Machine interface {
	// Greet begins, once.
	Greet() []Effect
	// Feed takes bytes of the client's. While the machine is Busy they wait, up
	// to MaxPending.
	Feed(p []byte) []Effect
	// Busy: an answer is awaited that does not come from the client; the caller
	// should not read on.
	Busy() bool

	// Challenge is the next thing that the mechanism says, not yet base64.
	Challenge(data []byte) []Effect
	// Granted: the secret is right; the machine answers with HandOver.
	Granted(user string) []Effect
	// Refused ends the authentication. user is "" if none was named.
	Refused(kind errkind.Kind, user, text string) []Effect
	// HandoffFailed: nobody took the session; the client is as before.
	HandoffFailed(kind errkind.Kind, text string) []Effect
	// TLSStarted: the handshake that StartTLS asked for is done. What the
	// client said before is forgotten.
	TLSStarted(now Facts) []Effect
	// Bye says goodbye, for a timeout or a shutdown.
	Bye(text string, unavailable bool) []Effect

	// Stats is what the last line of the connection tells.
	Stats() Stats
	// Wipe overwrites what is held of the client's input.
	Wipe()
}

// Returning is a machine that can begin with a client who was logged in.
type Returning interface {
	Machine
	// Carry is what the machine after this one begins with.
	Carry() Carried
	// Return begins in the place of Greet: the command of that tag has ended a login.
	Return(tag string, carried Carried) []Effect
}

// Carried is what counts against a client beyond a login that went well.
type Carried struct {
	Bad   int   // bad commands in a row
	Tally Stats // of the logins that failed
}

// Effect is something that a machine wants done.
type Effect interface{ effect() }

// Send gives bytes for the client.
type Send []byte

// BeginAuth starts an authentication. For APOP the initial response is the
// timestamp, NUL, the name, NUL, the digest.
type BeginAuth struct {
	Mech       string
	HasInitial bool
	Initial    secret.Bytes
}

// ContinueAuth answers the last challenge.
type ContinueAuth struct{ Response secret.Bytes }

// CancelAuth gives the authentication up; no event answers it.
type CancelAuth struct{}

// StartTLS asks for a handshake once what was sent is on its way. Bytes that
// were read but not yet fed must be thrown away, as the machine has done with
// its own.
type StartTLS struct{}

// HandOver asks for a worker. The machine keeps the pending bytes until the
// session is gone.
type HandOver struct {
	Tag, Command string
	Pending      []byte
	UTF8         bool
	Lang         string
	Client       []string // "name=value"
}

// Close ends the connection. Why is in Dovecot's words, without the part in
// parentheses; "" for a disconnect by the client.
type Close struct{ Why string }

// Forward says for whom a trusted client speaks. Fields that it did not give
// are zero.
type Forward struct {
	Remote, Local netip.AddrPort
	Session       string
}

func (Send) effect()         {}
func (BeginAuth) effect()    {}
func (ContinueAuth) effect() {}
func (CancelAuth) effect()   {}
func (StartTLS) effect()     {}
func (HandOver) effect()     {}
func (Close) effect()        {}
func (Forward) effect()      {}

// PlainMessage makes PLAIN's message of a name and a password (RFC 4616 §2).
// The bytes are a copy.
func PlainMessage(user, password []byte) secret.Bytes {
	b := make([]byte, 0, len(user)+len(password)+2)
	b = append(b, 0)
	b = append(b, user...)
	b = append(b, 0)
	return secret.New(append(b, password...))
}

// Text makes a text that may stand in an answer: printable ASCII, at most 400
// bytes; the fallback if nothing is left.
func Text(s, fallback string) string {
	if len(s) > 400 {
		s = s[:400]
	}
	b := []byte(s)
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
		}
	}
	if t := strings.TrimSpace(string(b)); t != "" {
		return t
	}
	return fallback
}
