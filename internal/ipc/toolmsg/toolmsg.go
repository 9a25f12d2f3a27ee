// Package toolmsg is the channel between rookeryctl and the process that works
// on one user's mail for it (rookery-mailtool): a request, then lines of
// result, progress and messages both ways, then the end of the request with
// its error. Several requests may follow one another.
//
// rookeryctl is the server, since it is the more trusted end: it runs as root,
// and what comes from the tool may come from somebody who took it over. So each
// field has a limit, a line is JSON that rookeryctl parses and cleans before it
// shows it, and neither end may have more than Window messages unread by the
// other ([Flow]).
package toolmsg

import (
	"time"

	"rookery/internal/ipc"
)

// Limits of fields.
const (
	MaxLine    = 64 << 10 // of a piece of a line
	MaxData    = 64 << 10 // octets of a message in one packet
	MaxText    = 16 << 10
	MaxName    = 2 << 10 // a mailbox's name
	MaxArgs    = 1024    // arguments, and options, of a request
	MaxArg     = 8 << 10
	MaxKeyword = 1 << 10
	Window     = 64 // messages that may be on their way, unread
)

// Protocol is the channel.
var Protocol = ipc.Define(ipc.Protocol{Name: "tool", Version: 1, MaxBytes: 160 << 10, Defs: []ipc.Def{
	{New: func() ipc.Message { return new(Request) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(Stream) }, From: ipc.FromServer, FD: ipc.FDStream},
	{New: func() ipc.Message { return new(End) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(Line) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(Progress) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(Done) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(Ack) }, From: ipc.FromBoth},
	{New: func() ipc.Message { return new(Folder) }, From: ipc.FromBoth},
	{New: func() ipc.Message { return new(Item) }, From: ipc.FromBoth},
	{New: func() ipc.Message { return new(Data) }, From: ipc.FromBoth},
}})

// The messages' numbers.
const (
	typeRequest ipc.Type = 1 + iota
	typeStream
	typeEnd
	typeLine
	typeProgress
	typeDone
	typeAck
	typeFolder
	typeItem
	typeData
)

// The verbs. package mailtool says what each takes and gives.
const (
	List        = "list"
	Status      = "status"
	Create      = "create"
	Delete      = "delete"
	Rename      = "rename"
	Subscribe   = "subscribe"
	Unsubscribe = "unsubscribe"
	Restored    = "restored"
	Search      = "search"
	Fetch       = "fetch"
	Flags       = "flags"
	Expunge     = "expunge"
	Copy        = "copy"
	Move        = "move"
	Index       = "index"
	Verify      = "verify"
	Purge       = "purge"
	Import      = "import"
	Export      = "export"
	Quota       = "quota"
	Undelete    = "undelete"
	Convert     = "convert"
	Relocate    = "relocate"
	Adopt       = "adopt"
	Share       = "share"
	Unshare     = "unshare"
	Shares      = "shares"
	Publish     = "publish"
)

// Request asks for one thing. A Done answers it, whatever comes before.
type Request struct {
	Verb    string
	Args    []string // in the verb's order
	Options []string // "name=value", or "name" for a switch
}

// Type is for ipc.
func (*Request) Type() ipc.Type { return typeRequest }

// Fields is for ipc.
func (m *Request) Fields(c *ipc.Codec) {
	c.String(&m.Verb, 32)
	c.Strings(&m.Args, MaxArgs, MaxArg)
	c.Strings(&m.Options, MaxArgs, MaxArg)
}

// Stream passes a connection to another server, for Adopt: it has spoken
// nothing yet, and TLS, if any, is rookeryctl's.
type Stream struct{}

// Type is for ipc.
func (*Stream) Type() ipc.Type { return typeStream }

// Fields is for ipc.
func (*Stream) Fields(*ipc.Codec) {}

// End says that all messages of an Import were sent.
type End struct{}

// Type is for ipc.
func (*End) Type() ipc.Type { return typeEnd }

// Fields is for ipc.
func (*End) Fields(*ipc.Codec) {}

// Line is a piece of one object of the result, in JSON; the pieces are joined.
type Line struct {
	JSON []byte
	More bool // another piece follows
}

// Type is for ipc.
func (*Line) Type() ipc.Type { return typeLine }

// Fields is for ipc.
func (m *Line) Fields(c *ipc.Codec) {
	c.Bytes(&m.JSON, MaxLine)
	c.Bool(&m.More)
}

// Progress tells how far the work is. Total is 0 where it is not known.
type Progress struct {
	Count, Total uint64
	Text         string // what is being done
}

// Type is for ipc.
func (*Progress) Type() ipc.Type { return typeProgress }

// Fields is for ipc.
func (m *Progress) Fields(c *ipc.Codec) {
	c.U64(&m.Count)
	c.U64(&m.Total)
	c.String(&m.Text, MaxName+256)
}

// Done ends a request.
type Done struct {
	Exit uint8  // of sysexits(3); 0 is success
	Text string // for a failure: what is wrong and what to do
}

// Type is for ipc.
func (*Done) Type() ipc.Type { return typeDone }

// Fields is for ipc.
func (m *Done) Fields(c *ipc.Codec) {
	c.U8(&m.Exit)
	c.String(&m.Text, MaxText)
}

// Ack says that so many messages more were read. Flow sends and reads it.
type Ack struct{ Count uint32 }

// Type is for ipc.
func (*Ack) Type() ipc.Type { return typeAck }

// Fields is for ipc.
func (m *Ack) Fields(c *ipc.Codec) { c.U32(&m.Count) }

// Folder names a mailbox whose messages follow; there may be none.
type Folder struct {
	Name       string // UTF-8, "/" between the levels
	Subscribed bool
	// UIDValidity and UIDNext are what another server's clients know of it; 0: not known.
	UIDValidity, UIDNext uint32
}

// Type is for ipc.
func (*Folder) Type() ipc.Type { return typeFolder }

// Fields is for ipc.
func (m *Folder) Fields(c *ipc.Codec) {
	c.String(&m.Name, MaxName)
	c.Bool(&m.Subscribed)
	c.U32(&m.UIDValidity)
	c.U32(&m.UIDNext)
}

// Item begins a message of the Folder that came last; its octets follow as Data.
type Item struct {
	UID          uint32
	Flags        uint8 // mailstore.Flags
	Keywords     []string
	InternalDate time.Time
	Size         int64 // octets; -1 if not known
}

// Type is for ipc.
func (*Item) Type() ipc.Type { return typeItem }

// Fields is for ipc.
func (m *Item) Fields(c *ipc.Codec) {
	c.U32(&m.UID)
	c.U8(&m.Flags)
	c.Strings(&m.Keywords, 256, MaxKeyword)
	c.Time(&m.InternalDate)
	c.I64(&m.Size)
}

// Data is a piece of a message.
type Data struct {
	Bytes []byte
	Last  bool // of this message
}

// Type is for ipc.
func (*Data) Type() ipc.Type { return typeData }

// Fields is for ipc.
func (m *Data) Fields(c *ipc.Codec) {
	c.Bytes(&m.Bytes, MaxData)
	c.Bool(&m.Last)
}
