// Package handoffmsg is the channel between master and a login process: login
// asks for a worker to take over a client that authd has granted, master tells
// login what it needs to serve strangers.
//
// master is the server. login cannot name a user here: it shows authd's ticket.
package handoffmsg

import (
	"net/netip"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/ipc"
)

// Limits of fields.
const (
	MaxText   = 1 << 10
	MaxNames  = 64 // names of one certificate pair
	TicketKey = 32 // bytes of a TLS session ticket key
)

// Protocol is the channel.
var Protocol = ipc.Define(ipc.Protocol{Name: "handoff", Version: 1, MaxBytes: 160 << 10, Defs: []ipc.Def{
	{New: func() ipc.Message { return new(Request) }, From: ipc.FromClient, FD: ipc.FDPacket},
	{New: func() ipc.Message { return new(Load) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(Accepted) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(Welcome) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(Done) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(Certificate) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(CertificatesEnd) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(TicketKeys) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(Drain) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(Shutdown) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(LogDebug) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(Ready) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(Auth) }, From: ipc.FromServer, FD: ipc.FDPacket},
	{New: func() ipc.Message { return new(TooMany) }, From: ipc.FromServer},
}})

// The messages' numbers.
const (
	typeRequest ipc.Type = 1 + iota
	typeLoad
	typeAccepted
	typeWelcome
	typeDone
	typeCertificate
	typeCertificatesEnd
	typeTicketKeys
	typeDrain
	typeShutdown
	typeLogDebug
	typeReady
	typeAuth
	typeTooMany
)

// Request hands over a client: the descriptor is one end of the envelope
// (package envelopemsg), login keeps the other. It uses up one credit.
type Request struct {
	ID      uint64
	Ticket  [16]byte
	Service string // "imap", "pop3"
	Session string
}

// Type is for ipc.
func (*Request) Type() ipc.Type { return typeRequest }

// Fields is for ipc.
func (m *Request) Fields(c *ipc.Codec) {
	c.U64(&m.ID)
	c.Fixed(m.Ticket[:])
	c.String(&m.Service, 16)
	c.String(&m.Session, 64)
}

// Done ends a Request and gives its credit back. Kind Other with Failed false
// is success: a worker has taken the session. Otherwise Text tells the client.
type Done struct {
	ID     uint64
	Failed bool
	Kind   errkind.Kind
	Text   string
	PID    uint32 // of the worker, as master sees it, for login's log line; 0 if unknown
}

// Type is for ipc.
func (*Done) Type() ipc.Type { return typeDone }

// Fields is for ipc.
func (m *Done) Fields(c *ipc.Codec) {
	c.U64(&m.ID)
	c.Bool(&m.Failed)
	c.Kind(&m.Kind)
	c.String(&m.Text, MaxText)
	c.U32(&m.PID)
}

// Load tells how busy login is; sent at most once a second, when it changed.
type Load struct {
	Unauthenticated uint32 // clients that have not logged in
	Relayed         uint32 // sessions whose TLS it keeps
	Dropped         uint64 // strangers dropped so far because all places were taken
}

// Type is for ipc.
func (*Load) Type() ipc.Type { return typeLoad }

// Fields is for ipc.
func (m *Load) Fields(c *ipc.Codec) {
	c.U32(&m.Unauthenticated)
	c.U32(&m.Relayed)
	c.U64(&m.Dropped)
}

// Accepted is sent under login_high_security: this process has its one client
// and accepts no more, master starts the next one.
type Accepted struct{ Remote netip.AddrPort }

// Type is for ipc.
func (*Accepted) Type() ipc.Type { return typeAccepted }

// Fields is for ipc.
func (m *Accepted) Fields(c *ipc.Codec) { c.Addr(&m.Remote) }

// Welcome is master's first message. Certificates and ticket keys follow it.
type Welcome struct {
	Credits   uint32 // Requests that may be in flight
	Processes uint32 // login processes that share the listeners, for limits in all
	HostName  string // for greetings and APOP timestamps
}

// Type is for ipc.
func (*Welcome) Type() ipc.Type { return typeWelcome }

// Fields is for ipc.
func (m *Welcome) Fields(c *ipc.Codec) {
	c.U32(&m.Credits)
	c.U32(&m.Processes)
	c.String(&m.HostName, 255)
}

// Certificate is one pair as authd has checked it; a set of them ends with
// CertificatesEnd and then replaces the set before.
type Certificate struct {
	Name    string   // of the settings table; "" is the default pair
	Names   []string // SNI names it serves (may have a leading "*."); empty for the default
	SPKI    [32]byte // names the key to authd
	KeyType uint8    // 1 RSA, 2 ECDSA, 3 Ed25519
	Chain   [][]byte // DER, leaf first
}

// Type is for ipc.
func (*Certificate) Type() ipc.Type { return typeCertificate }

// Fields is for ipc.
func (m *Certificate) Fields(c *ipc.Codec) {
	c.String(&m.Name, 255)
	c.Strings(&m.Names, MaxNames, 255)
	c.Fixed(m.SPKI[:])
	c.U8(&m.KeyType)
	c.Chain(&m.Chain)
}

// CertificatesEnd puts the certificates sent before it into use.
type CertificatesEnd struct{ Count uint32 }

// Type is for ipc.
func (*CertificatesEnd) Type() ipc.Type { return typeCertificatesEnd }

// Fields is for ipc.
func (m *CertificatesEnd) Fields(c *ipc.Codec) { c.U32(&m.Count) }

// TicketKeys are shared among login processes and rotated by master; the first
// encrypts. Empty: no session tickets (login_high_security).
type TicketKeys struct{ Keys [][TicketKey]byte }

// Type is for ipc.
func (*TicketKeys) Type() ipc.Type { return typeTicketKeys }

// Fields is for ipc.
func (m *TicketKeys) Fields(c *ipc.Codec) {
	n := c.Count(len(m.Keys), 8)
	if c.Reading() {
		m.Keys = make([][TicketKey]byte, n)
	}
	for i := 0; i < n; i++ {
		c.Fixed(m.Keys[i][:])
	}
}

// Drain: accept no more, serve what is there, end when the last session has
// ended. Sent when newer settings have a newer process.
type Drain struct{}

// Type is for ipc.
func (*Drain) Type() ipc.Type { return typeDrain }

// Fields is for ipc.
func (*Drain) Fields(*ipc.Codec) {}

// Shutdown: accept no more, tell strangers goodbye now, relay sessions until
// their workers end them, end after Within at the latest.
type Shutdown struct{ Within time.Duration }

// Type is for ipc.
func (*Shutdown) Type() ipc.Type { return typeShutdown }

// Fields is for ipc.
func (m *Shutdown) Fields(c *ipc.Codec) { c.Duration(&m.Within) }

// LogDebug sets whose debug lines are logged from now on (log_debug at run time).
type LogDebug struct{ Filter string }

// Type is for ipc.
func (*LogDebug) Type() ipc.Type { return typeLogDebug }

// Fields is for ipc.
func (m *LogDebug) Fields(c *ipc.Codec) { c.Filter(&m.Filter) }

// Ready is login's first message: it is confined. master counts it as started.
type Ready struct{}

// Type is for ipc.
func (*Ready) Type() ipc.Type { return typeReady }

// Fields is for ipc.
func (*Ready) Fields(*ipc.Codec) {}

// Auth passes a new auth channel after authd was started anew: the end of the
// old one is no reason for login to end. Between the two, what needs authd is
// answered Unavailable; authentications that were under way are lost.
type Auth struct{}

// Type is for ipc.
func (*Auth) Type() ipc.Type { return typeAuth }

// Fields is for ipc.
func (*Auth) Fields(*ipc.Codec) {}

// TooMany is for a process with one client, under login_high_security: he is
// one too many that has not logged in, in all or of his address. Send him away
// with the words of these limits.
type TooMany struct{}

// Type is for ipc.
func (*TooMany) Type() ipc.Type { return typeTooMany }

// Fields is for ipc.
func (*TooMany) Fields(*ipc.Codec) {}
