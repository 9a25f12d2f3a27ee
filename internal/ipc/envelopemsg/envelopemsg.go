// Package envelopemsg is the envelope: a fresh socketpair through which a
// worker and a login process meet for one session.
//
// login sends one end to master, which passes it to a worker unread and keeps a
// copy until the worker says that it has read GO. The worker is the server: it
// sends Accept; login, which touches no byte of the client's any more, sends Go
// with the stream. A second Accept on the same envelope means that the first
// worker is gone. There is no hello: both are of one build, since master
// started both.
package envelopemsg

import (
	"net/netip"

	"rookery/internal/ipc"
)

// MaxPending is the most that login may have read beyond the login command.
const MaxPending = 8 << 10

// Protocol is the channel.
var Protocol = ipc.Define(ipc.Protocol{Name: "envelope", Version: 1, MaxBytes: 32 << 10, MaxServer: 16, NoHello: true, Defs: []ipc.Def{
	{New: func() ipc.Message { return new(Accept) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(Go) }, From: ipc.FromClient, FD: ipc.FDStream},
}})

// Accept says that a worker is ready to take the session.
type Accept struct{}

// Type is for ipc.
func (*Accept) Type() ipc.Type { return 1 }

// Fields is for ipc.
func (*Accept) Fields(*ipc.Codec) {}

// StreamKind says what the descriptor in Go is.
type StreamKind = uint8

// The kinds of streams.
const (
	StreamSocket StreamKind = 1 // the client's own socket, no TLS
	StreamRelay  StreamKind = 2 // one end of a socketpair; login keeps TLS and relays
)

// Go passes the client's stream; the answer to the login command is the
// worker's to give.
type Go struct {
	Kind          StreamKind
	Session       string
	Tag           string // IMAP's tag of LOGIN or AUTHENTICATE; "" for POP3
	Command       string // "LOGIN", "AUTHENTICATE", "PASS", "APOP", "AUTH"
	Pending       []byte // what the client sent after it, already read
	Remote, Local netip.AddrPort
	TLS           bool
	UTF8          bool   // POP3: UTF8 was given before login (RFC 6856)
	Lang          string // LANGUAGE's choice, POP3: LANG's; ""
	// Client is what the client told of itself by ID, "name=value" each.
	Client []string
	// Unauthenticate: login follows the stream, and will take the client back where it
	// says UNAUTHENTICATE (RFC 8437). Then Pending is empty, what is in it comes by the
	// stream, and the command is the last thing that does. The worker does not answer
	// it: it closes the stream once it has answered what came before.
	Unauthenticate bool
}

// Type is for ipc.
func (*Go) Type() ipc.Type { return 2 }

// Fields is for ipc.
func (m *Go) Fields(c *ipc.Codec) {
	c.U8(&m.Kind)
	c.String(&m.Session, 64)
	c.String(&m.Tag, 1<<10)
	c.String(&m.Command, 16)
	c.Bytes(&m.Pending, MaxPending)
	c.Addr(&m.Remote)
	c.Addr(&m.Local)
	c.Bool(&m.TLS)
	c.Bool(&m.UTF8)
	c.String(&m.Lang, 32)
	c.Strings(&m.Client, 30, 256)
	c.Bool(&m.Unauthenticate)
}
