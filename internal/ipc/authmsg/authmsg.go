// Package authmsg is the channel on which a login process asks authd: does this
// client know a user's secret, and sign this handshake.
//
// login is the client, authd the server. Each login process has a channel of
// its own, which master made and attached (redeemmsg.Attach).
package authmsg

import (
	"net/netip"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/ipc"
	"rookery/internal/secret"
)

// Limits of fields, in bytes.
const (
	MaxUser     = 512
	MaxMech     = 32
	MaxSession  = 64
	MaxResponse = 8 << 10 // one SASL response, decoded
	MaxText     = 1 << 10
	MaxToSign   = 4 << 10
)

// Protocol is the channel.
var Protocol = ipc.Define(ipc.Protocol{Name: "auth", Version: 1, MaxBytes: 32 << 10, Defs: []ipc.Def{
	{New: func() ipc.Message { return new(Begin) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(Continue) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(Cancel) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(Sign) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(Welcome) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(Challenge) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(Granted) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(Refused) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(Signed) }, From: ipc.FromServer},
}})

// The messages' numbers.
const (
	typeBegin ipc.Type = 1 + iota
	typeContinue
	typeCancel
	typeSign
	typeWelcome
	typeChallenge
	typeGranted
	typeRefused
	typeSigned
)

// Peer is what login knows of a client's connection. Addresses behind a trusted
// PROXY header are the header's; Real ones are of the socket.
type Peer struct {
	Service               string // "imap", "pop3"
	Session               string // the session id of every log line, unique
	Remote, Local         netip.AddrPort
	RealRemote, RealLocal netip.AddrPort
	TLS                   bool   // this connection is TLS to us, or the trusted proxy says so
	TLSVersion            string // "TLSv1.3", "" without TLS
	TLSCipher             string // Go's name of the cipher suite
	TLSServerName         string // SNI
	Secured               bool   // as docs/security.md defines: a mechanism may show a password
}

// Fields is for ipc.
func (p *Peer) Fields(c *ipc.Codec) {
	c.String(&p.Service, 16)
	c.String(&p.Session, MaxSession)
	c.Addr(&p.Remote)
	c.Addr(&p.Local)
	c.Addr(&p.RealRemote)
	c.Addr(&p.RealLocal)
	c.Bool(&p.TLS)
	c.String(&p.TLSVersion, 16)
	c.String(&p.TLSCipher, 64)
	c.String(&p.TLSServerName, 255)
	c.Bool(&p.Secured)
}

// Begin starts one authentication. A channel may have many under way, each
// named by its ID.
type Begin struct {
	ID   uint64 // never reused on a channel
	Peer Peer
	Mech string // upper case: "PLAIN", "LOGIN", "APOP", …
	// Initial is the initial response, decoded; HasInitial tells an empty one
	// from none. For APOP it is timestamp NUL name NUL digest (16 bytes).
	HasInitial bool
	Initial    secret.Bytes
}

// Type is for ipc.
func (*Begin) Type() ipc.Type { return typeBegin }

// Fields is for ipc.
func (m *Begin) Fields(c *ipc.Codec) {
	c.U64(&m.ID)
	m.Peer.Fields(c)
	c.String(&m.Mech, MaxMech)
	c.Bool(&m.HasInitial)
	c.Secret(&m.Initial, MaxResponse)
}

// Continue answers a Challenge.
type Continue struct {
	ID       uint64
	Response secret.Bytes
}

// Type is for ipc.
func (*Continue) Type() ipc.Type { return typeContinue }

// Fields is for ipc.
func (m *Continue) Fields(c *ipc.Codec) {
	c.U64(&m.ID)
	c.Secret(&m.Response, MaxResponse)
}

// Cancel gives an authentication up; no answer comes. Unknown IDs are ignored:
// an answer may have crossed it.
type Cancel struct{ ID uint64 }

// Type is for ipc.
func (*Cancel) Type() ipc.Type { return typeCancel }

// Fields is for ipc.
func (m *Cancel) Fields(c *ipc.Codec) { c.U64(&m.ID) }

// Sign asks for a signature of a TLS handshake message: the content that is
// signed in a TLS 1.3 server CertificateVerify (RFC 8446 §4.4.3) or a TLS 1.2
// ServerKeyExchange (RFC 5246 §7.4.3, RFC 8422 §5.4), not its hash.
type Sign struct {
	ID      uint64
	SPKI    [32]byte // SHA-256 of the key's SubjectPublicKeyInfo
	Scheme  uint16   // TLS SignatureScheme
	Content []byte
}

// Type is for ipc.
func (*Sign) Type() ipc.Type { return typeSign }

// Fields is for ipc.
func (m *Sign) Fields(c *ipc.Codec) {
	c.U64(&m.ID)
	c.Fixed(m.SPKI[:])
	c.U16(&m.Scheme)
	c.Bytes(&m.Content, MaxToSign)
}

// Mechanism is one that authd offers.
type Mechanism struct {
	Name string
	// Plaintext mechanisms show the password to whoever reads the connection:
	// not offered unless secured.
	Plaintext bool
	// Private ones (APOP) are not told in AUTH= lists.
	Private bool
}

// Welcome is authd's first message, and comes again when its settings change.
type Welcome struct {
	Mechanisms []Mechanism
	// APOPPrefix begins every APOP timestamp that login makes on this channel:
	// "<" APOPPrefix "." counter "." unix-seconds "@" host ">". authd accepts each
	// timestamp once and none that does not begin so.
	APOPPrefix string
}

// Type is for ipc.
func (*Welcome) Type() ipc.Type { return typeWelcome }

// Fields is for ipc.
func (m *Welcome) Fields(c *ipc.Codec) {
	n := c.Count(len(m.Mechanisms), 32)
	if c.Reading() {
		m.Mechanisms = make([]Mechanism, n)
	}
	for i := 0; i < n; i++ {
		c.String(&m.Mechanisms[i].Name, MaxMech)
		c.Bool(&m.Mechanisms[i].Plaintext)
		c.Bool(&m.Mechanisms[i].Private)
	}
	c.String(&m.APOPPrefix, 64)
}

// Challenge wants a Continue. Data is what the client gets, not yet base64.
type Challenge struct {
	ID   uint64
	Data []byte
}

// Type is for ipc.
func (*Challenge) Type() ipc.Type { return typeChallenge }

// Fields is for ipc.
func (m *Challenge) Fields(c *ipc.Codec) {
	c.U64(&m.ID)
	c.Bytes(&m.Data, MaxResponse)
}

// Granted says that the client is User. The ticket lets master learn the rest.
type Granted struct {
	ID     uint64
	User   string // for log lines and "Login:"; login never gets more
	Master string // the master user who logged in as User; ""
	Ticket [16]byte
}

// Type is for ipc.
func (*Granted) Type() ipc.Type { return typeGranted }

// Fields is for ipc.
func (m *Granted) Fields(c *ipc.Codec) {
	c.U64(&m.ID)
	c.String(&m.User, MaxUser)
	c.String(&m.Master, MaxUser)
	c.Fixed(m.Ticket[:])
}

// Refused ends an authentication. It comes when the client may be told, after
// auth_failure_delay.
type Refused struct {
	ID      uint64
	Kind    errkind.Kind  // AuthFailed, AuthzFailed, Expired, Unavailable, Privacy, ContactAdmin, Limit, Invalid (bad SASL data)
	User    string        // the name that was tried, for the log line; "" if none was named
	Text    string        // may be shown to the client; "" for the usual one
	Delayed time.Duration // how long the answer was held back
}

// Type is for ipc.
func (*Refused) Type() ipc.Type { return typeRefused }

// Fields is for ipc.
func (m *Refused) Fields(c *ipc.Codec) {
	c.U64(&m.ID)
	c.Kind(&m.Kind)
	c.String(&m.User, MaxUser)
	c.String(&m.Text, MaxText)
	c.Duration(&m.Delayed)
}

// Signed answers Sign; an empty Signature is a refusal, which authd logs.
type Signed struct {
	ID        uint64
	Signature []byte
}

// Type is for ipc.
func (*Signed) Type() ipc.Type { return typeSigned }

// Fields is for ipc.
func (m *Signed) Fields(c *ipc.Codec) {
	c.U64(&m.ID)
	c.Bytes(&m.Signature, 1<<10)
}
