// Package ipc is how Rookery's processes talk: SOCK_SEQPACKET socketpairs that
// carry numbered messages, one packet each, with at most one descriptor.
//
// A channel is a Protocol: a name, a version, and the list of its messages.
// Each direction opens with a hello that names channel, version and build;
// programs of two builds part at once with a line that says so. Receiving is
// strict: a missing field, bytes left over, an unknown message, a descriptor
// that is not announced, is missing, or is of another type than announced: each
// is an error that names channel and message. What to do then is the caller's
// rule (docs/architecture.md: from below, close that peer; from above, die).
//
// Sending never blocks: what the socket does not take waits in a bounded queue,
// and a peer whose queue is full gets ErrQueueFull.
//
// Every process uses it. It must never know what the messages mean.
package ipc

import (
	"errors"
	"fmt"

	"rookery/internal/buildid"
)

// Type is a message's number within its channel. Never reused. 0 is the hello.
type Type uint16

// Message is one message of a channel.
type Message interface {
	Type() Type
	// Fields names each field to the codec, in order, in both directions.
	Fields(c *Codec)
}

// FDKind says what descriptor must come with a message.
type FDKind uint8

// The kinds of descriptors. All are checked on receipt.
const (
	FDNone     FDKind = iota // none may come
	FDStream                 // a SOCK_STREAM socket (TCP or Unix), not listening
	FDPacket                 // a Unix SOCK_SEQPACKET socket
	FDFile                   // a regular file
	FDDir                    // a directory
	FDListener               // a listening SOCK_STREAM socket
	FDDatagram               // a Unix SOCK_DGRAM socket
)

// From says who may send a message.
type From uint8

// The two ends. Server is the more trusted one: authd for login, master for all.
const (
	FromClient From = 1 << iota
	FromServer
	FromBoth = FromClient | FromServer
)

// Def is one row of a channel's list of messages.
type Def struct {
	New  func() Message
	From From
	FD   FDKind
	// OptionalFD lets the descriptor be missing.
	OptionalFD bool
}

// Protocol is a channel's definition; Define makes it usable.
type Protocol struct {
	Name     string
	Version  uint16
	MaxBytes int // largest packet; at most 196608 (a packet holds about 200 KB)
	// MaxServer, if not 0, is the largest packet that the server sends: what a
	// client's receive buffer takes.
	MaxServer int
	NoHello   bool // for channels whose first message must not wait (envelopes)
	Defs      []Def
	byType    []*Def
}

// Define completes a protocol whose other fields are set. It panics if two
// messages share a number or one takes the hello's.
func Define(p Protocol) *Protocol {
	for i := range p.Defs {
		t := int(p.Defs[i].New().Type())
		for len(p.byType) <= t {
			p.byType = append(p.byType, nil)
		}
		if t == 0 || p.byType[t] != nil {
			panic(fmt.Sprintf("channel %s: message number %d is taken", p.Name, t))
		}
		p.byType[t] = &p.Defs[i]
	}
	return &p
}

// maxFrom is the largest packet that may come from an end.
func (p *Protocol) maxFrom(from From) int {
	if from == FromServer && p.MaxServer > 0 {
		return p.MaxServer
	}
	return p.MaxBytes
}

func (p *Protocol) find(t Type) *Def {
	if int(t) >= len(p.byType) {
		return nil
	}
	return p.byType[t]
}

// Encode makes a packet out of a message.
func (p *Protocol) Encode(m Message) ([]byte, error) {
	c := Codec{buf: make([]byte, 0, 256)}
	t := uint16(m.Type())
	c.U16(&t)
	m.Fields(&c)
	if c.err == nil && len(c.buf) > p.MaxBytes {
		c.Fail("%d bytes, the limit is %d", len(c.buf), p.MaxBytes)
	}
	if c.err != nil {
		return nil, fmt.Errorf("channel %s: encoding %T: %w", p.Name, m, c.err)
	}
	return c.buf, nil
}

// Decode reads a packet that came from the given end.
func (p *Protocol) Decode(packet []byte, from From) (Message, *Def, error) {
	c := Codec{buf: packet, reading: true}
	var t uint16
	c.U16(&t)
	if c.err != nil {
		return nil, nil, fmt.Errorf("channel %s: a packet of %d bytes", p.Name, len(packet))
	}
	def := p.find(Type(t))
	if def == nil || def.From&from == 0 {
		return nil, nil, fmt.Errorf("channel %s: message %d is unknown from this side", p.Name, t)
	}
	m := def.New()
	m.Fields(&c)
	if c.err == nil && len(c.buf) > 0 {
		c.Fail("%d bytes are left over", len(c.buf))
	}
	if c.err != nil {
		return nil, nil, fmt.Errorf("channel %s: message %T: %w", p.Name, m, c.err)
	}
	return m, def, nil
}

type hello struct {
	name    string
	version uint16
	build   string
}

func (p *Protocol) encodeHello() []byte {
	h := hello{p.Name, p.Version, buildid.ID()}
	var c Codec
	h.fields(&c)
	return c.buf
}

func isHello(packet []byte) bool { return len(packet) >= 2 && packet[0] == 0 && packet[1] == 0 }

func (h *hello) fields(c *Codec) {
	var t uint16
	c.U16(&t)
	if t != 0 {
		c.Fail("message %d came before the hello", t)
	}
	c.String(&h.name, 64)
	c.U16(&h.version)
	c.String(&h.build, 128)
}

// ErrBuild means that the two ends are not of one build.
var ErrBuild = errors.New("programs of two builds cannot talk; restart after the upgrade")

func (p *Protocol) checkHello(packet []byte) error {
	var h hello
	c := Codec{buf: packet, reading: true}
	h.fields(&c)
	if c.err == nil && len(c.buf) > 0 {
		c.Fail("%d bytes are left over", len(c.buf))
	}
	if c.err != nil {
		return fmt.Errorf("channel %s: hello: %w", p.Name, c.err)
	}
	if h.name != p.Name || h.version != p.Version || h.build != buildid.ID() {
		return fmt.Errorf("peer speaks %.64q/%d of build %.64q, this is %s/%d of build %s: %w",
			h.name, h.version, h.build, p.Name, p.Version, buildid.ID(), ErrBuild)
	}
	return nil
}
