package remote

import (
	"rookery/internal/errkind"
	"rookery/internal/ipc"
)

// Bounds of a packet, in bytes.
const (
	maxPart   = 60 << 10 // of a call's or an answer's bytes
	maxPacket = maxPart + 64
	// maxBlob bounds a call or an answer, all its parts together: an answer of as
	// many UIDs as a large mailbox has fits.
	maxBlob = 4 << 20
)

// maxCalls is how many calls a guest may have under way.
const maxCalls = 8

// Protocol is the channel. The owner's end is the server.
var Protocol = ipc.Define(ipc.Protocol{Name: "guest", Version: 1, MaxBytes: maxPacket, Defs: []ipc.Def{
	{New: func() ipc.Message { return new(Part) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(Call) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(More) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(Answer) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(Changed) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(Heard) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(Ping) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(Pong) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(Break) }, From: ipc.FromClient},
}})

// The messages' numbers.
const (
	typePart ipc.Type = 1 + iota
	typeCall
	typeMore
	typeAnswer
	typeChanged
	typeHeard
	typePing
	typePong
	typeBreak
)

// Part is a piece of the arguments of a call to come that do not fit into it.
type Part struct {
	ID   uint32
	Data []byte
}

// Type is for ipc.
func (*Part) Type() ipc.Type { return typePart }

// Fields is for ipc.
func (m *Part) Fields(c *ipc.Codec) {
	c.U32(&m.ID)
	c.Bytes(&m.Data, maxPart)
}

// Call asks for something. Its arguments are all Parts of that ID and Data.
type Call struct {
	ID   uint32 // of one of the calls under way
	Op   uint8
	Data []byte
}

// Type is for ipc.
func (*Call) Type() ipc.Type { return typeCall }

// Fields is for ipc.
func (m *Call) Fields(c *ipc.Codec) {
	c.U32(&m.ID)
	c.U8(&m.Op)
	c.Bytes(&m.Data, maxPart)
}

// More asks for the next part of an answer that has more.
type More struct{ ID uint32 }

// Type is for ipc.
func (*More) Type() ipc.Type { return typeMore }

// Fields is for ipc.
func (m *More) Fields(c *ipc.Codec) { c.U32(&m.ID) }

// Answer is a part of a call's answer. The call ends with the one that has no more.
type Answer struct {
	ID     uint32
	More   bool
	Failed bool
	Kind   errkind.Kind // if Failed; what was done all the same may be in Data
	Data   []byte
}

// Type is for ipc.
func (*Answer) Type() ipc.Type { return typeAnswer }

// Fields is for ipc.
func (m *Answer) Fields(c *ipc.Codec) {
	c.U32(&m.ID)
	c.Bool(&m.More)
	c.Bool(&m.Failed)
	c.Kind(&m.Kind)
	c.Bytes(&m.Data, maxPart)
	if c.Reading() && !m.Failed && m.Kind != 0 {
		c.Fail("an answer without an error has its kind")
	}
}

// Changed says that an open mailbox may look different, or, of mailbox 0, that
// something in the owner's store does. It is not sent again before Heard.
type Changed struct{ Box uint32 }

// Type is for ipc.
func (*Changed) Type() ipc.Type { return typeChanged }

// Fields is for ipc.
func (m *Changed) Fields(c *ipc.Codec) { c.U32(&m.Box) }

// Heard says that a Changed has come.
type Heard struct{ Box uint32 }

// Type is for ipc.
func (*Heard) Type() ipc.Type { return typeHeard }

// Fields is for ipc.
func (m *Heard) Fields(c *ipc.Codec) { c.U32(&m.Box) }

// Ping is answered by Pong at once, by who reads.
type Ping struct{}

// Type is for ipc.
func (*Ping) Type() ipc.Type { return typePing }

// Fields is for ipc.
func (*Ping) Fields(*ipc.Codec) {}

// Pong is the answer to Ping.
type Pong struct{}

// Type is for ipc.
func (*Pong) Type() ipc.Type { return typePong }

// Fields is for ipc.
func (*Pong) Fields(*ipc.Codec) {}

// Break asks to break a call off. The call is answered all the same, and may have been
// before.
type Break struct{ ID uint32 }

// Type is for ipc.
func (*Break) Type() ipc.Type { return typeBreak }

// Fields is for ipc.
func (m *Break) Fields(c *ipc.Codec) { c.U32(&m.ID) }
