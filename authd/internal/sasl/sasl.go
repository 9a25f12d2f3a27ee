// Package sasl holds the server side of the SASL mechanisms as machines
// without I/O: a client's bytes go in, an Action comes out.
//
// Only authd uses it. The machines know no database, no clock and no random
// source; what they need of those is in Env. A caller runs
//
//	a := m.Start(hasInitial, initial)
//	for { act on a; a = m.Next(response) or m.Credentials(c) }
//
// until a.Kind is Verify, Anonymous, Accept, Reject or Malformed. A machine
// that has ended answers Malformed to everything. Passwords leave in
// secret.Bytes and nowhere else; Reason never holds one.
package sasl

import (
	"bytes"
	"fmt"
	"slices"
	"unicode/utf8"

	"rookery/authd/internal/passhash"
	"rookery/internal/secret"
)

// Limits, in bytes. RFC 4616 §2 asks for names and passwords of 255.
const (
	MaxName     = 255
	MaxPassword = passhash.MaxPassword
	MaxTrace    = 1020 // RFC 4505 §2: 255 characters of UTF-8
	MaxResponse = 4096 // one response of any mechanism
)

// Kind is what a machine wants next.
type Kind uint8

// The kinds.
const (
	Challenge Kind = iota + 1 // send Data to the client, then Next
	Verify                    // compare Password with what is stored for Authcid; the machine has ended
	Lookup                    // find Authcid's stored secret, then Credentials
	Anonymous                 // let the client in as the anonymous user; Data is the trace
	Accept                    // the client proved that it knows Authcid's secret
	Reject                    // it did not
	Malformed                 // the client broke the mechanism's grammar; Reason says how
)

// Action is a machine's answer.
type Action struct {
	Kind     Kind
	Data     []byte
	Authcid  string       // whose secret; valid UTF-8 without NUL
	Authzid  string       // who to become; "" if the same
	Password secret.Bytes // Verify
	Reason   string       // Reject, Malformed: for the log
}

// Credentials is what a database told about Authcid. For an unknown user SCRAM
// holds a made-up verifier and Known is false: the exchange then runs to its
// end and fails there.
type Credentials struct {
	Known bool
	Plain []byte // APOP
	CRAM  passhash.CRAM
	SCRAM passhash.SCRAM
}

// Env is what a new machine may need.
type Env struct {
	Challenge []byte                  // CRAM-MD5: "<random.time@host>", never used before
	Nonce     []byte                  // SCRAM: printable ASCII but ",", at least 16 bytes, never used before
	APOP      func(stamp string) bool // APOP: is this timestamp ours and unused?
}

// Machine is one exchange.
type Machine interface {
	// Start begins. has tells an empty initial response from none (RFC 4422 §3).
	Start(has bool, initial []byte) Action
	// Next takes the answer to a Challenge.
	Next(response []byte) Action
	// Credentials takes the answer to a Lookup.
	Credentials(c Credentials) Action
}

// Info describes a mechanism.
type Info struct {
	Name      string
	Plaintext bool // shows the password to whoever reads the connection
	Private   bool // not listed to clients (APOP has its own command)
	Secret    bool // needs a stored secret, not just a verification
	make      func(Env) Machine
}

// infos lists all; nothing ever changes it.
var infos = [...]Info{
	{"PLAIN", true, false, false, func(Env) Machine { return &plain{} }},
	{"LOGIN", true, false, false, func(Env) Machine { return &login{} }},
	{"ANONYMOUS", false, false, false, func(Env) Machine { return &anonymous{} }},
	{"CRAM-MD5", false, false, true, func(e Env) Machine { return &cram{challenge: e.Challenge} }},
	{"APOP", false, true, true, func(e Env) Machine { return &apop{check: e.APOP} }},
	{"SCRAM-SHA-1", false, false, true, func(e Env) Machine { return newSCRAM("SCRAM-SHA-1", e.Nonce) }},
	{"SCRAM-SHA-256", false, false, true, func(e Env) Machine { return newSCRAM("SCRAM-SHA-256", e.Nonce) }},
}

// Mechanisms lists all, in the order of a client's preference, weakest first.
func Mechanisms() []Info { return slices.Clone(infos[:]) }

// Find gives the mechanism of that name, in upper case.
func Find(name string) (Info, bool) {
	for _, i := range infos {
		if i.Name == name {
			return i, true
		}
	}
	return Info{}, false
}

// New makes a machine.
func (i Info) New(e Env) Machine { return i.make(e) }

func malformed(format string, args ...any) Action {
	return Action{Kind: Malformed, Reason: fmt.Sprintf(format, args...)}
}

// goodName holds for names of every mechanism.
func goodName(b []byte) error {
	switch {
	case len(b) == 0:
		return fmt.Errorf("empty user name")
	case len(b) > MaxName:
		return fmt.Errorf("user name of %d bytes, at most %d", len(b), MaxName)
	case bytes.IndexByte(b, 0) >= 0:
		return fmt.Errorf("NUL in user name")
	case !utf8.Valid(b):
		return fmt.Errorf("user name is not UTF-8")
	}
	return nil
}

// ended serves what a mechanism never gets.
type ended struct{}

func (ended) Next([]byte) Action             { return malformed("response after the end") }
func (ended) Credentials(Credentials) Action { return malformed("credentials not asked for") }

func verify(authzid, authcid, password []byte) Action {
	if err := goodName(authcid); err != nil {
		return malformed("%v", err)
	}
	if len(authzid) > 0 {
		if err := goodName(authzid); err != nil {
			return malformed("authorization identity: %v", err)
		}
	}
	if len(password) > MaxPassword {
		return malformed("password of %d bytes, at most %d", len(password), MaxPassword)
	}
	return Action{Kind: Verify, Authcid: string(authcid), Authzid: string(authzid), Password: secret.New(bytes.Clone(password))}
}

// plain is RFC 4616.
type plain struct {
	ended
	done bool
}

func (p *plain) Start(has bool, initial []byte) Action {
	if !has {
		return Action{Kind: Challenge}
	}
	return p.Next(initial)
}

func (p *plain) Next(response []byte) Action {
	if p.done {
		return p.ended.Next(nil)
	}
	p.done = true
	if len(response) > MaxResponse {
		return malformed("response of %d bytes", len(response))
	}
	// message = [authzid] UTF8NUL authcid UTF8NUL passwd          RFC 4616 §2
	f := bytes.Split(response, []byte{0})
	if len(f) != 3 {
		return malformed("%d NULs, need 2", len(f)-1)
	}
	return verify(f[0], f[1], f[2])
}

// login is the LOGIN mechanism of draft-murchison-sasl-login.
type login struct {
	ended
	step int
	user []byte
}

func (l *login) Start(has bool, initial []byte) Action {
	l.step = 1
	if !has {
		return Action{Kind: Challenge, Data: []byte("Username:")}
	}
	return l.Next(initial)
}

func (l *login) Next(response []byte) Action {
	switch {
	case len(response) > MaxResponse:
		l.step = 0
		return malformed("response of %d bytes", len(response))
	case l.step == 1:
		l.step = 2
		if err := goodName(response); err != nil {
			l.step = 0
			return malformed("%v", err)
		}
		l.user = bytes.Clone(response)
		return Action{Kind: Challenge, Data: []byte("Password:")}
	case l.step == 2:
		l.step = 0
		if bytes.IndexByte(response, 0) >= 0 {
			return malformed("NUL in password")
		}
		return verify(nil, l.user, response)
	}
	return l.ended.Next(nil)
}

// anonymous is RFC 4505.
type anonymous struct {
	ended
	done bool
}

func (a *anonymous) Start(has bool, initial []byte) Action {
	if !has {
		return Action{Kind: Challenge}
	}
	return a.Next(initial)
}

func (a *anonymous) Next(response []byte) Action {
	if a.done {
		return a.ended.Next(nil)
	}
	a.done = true
	if len(response) > MaxTrace || !utf8.Valid(response) || bytes.IndexByte(response, 0) >= 0 {
		return malformed("trace must be UTF-8 of at most 255 characters")
	}
	return Action{Kind: Anonymous, Data: bytes.Clone(response)}
}
