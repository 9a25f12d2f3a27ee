// Package workermsg is the channel between master and a worker: whose mail it
// serves, the sessions handed to it, the other users who may see some of it, and
// how it may end.
//
// master is the server. A worker serves one user and dies.
package workermsg

import (
	"time"

	"rookery/internal/ipc"
	"rookery/internal/ipc/redeemmsg"
)

// Protocol is the channel.
var Protocol = ipc.Define(ipc.Protocol{Name: "worker", Version: 1, MaxBytes: 160 << 10, Defs: []ipc.Def{
	{New: func() ipc.Message { return new(Root) }, From: ipc.FromServer, FD: ipc.FDDir},
	{New: func() ipc.Message { return new(User) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(Session) }, From: ipc.FromServer, FD: ipc.FDPacket},
	{New: func() ipc.Message { return new(MayExit) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(Kick) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(Wake) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(Shutdown) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(LogDebug) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(Ready) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(Taken) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(Ended) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(AskExit) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(Changed) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(Inbox) }, From: ipc.FromServer, FD: ipc.FDPacket},
	{New: func() ipc.Message { return new(Reach) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(Reached) }, From: ipc.FromServer, FD: ipc.FDPacket, OptionalFD: true},
	{New: func() ipc.Message { return new(AskShares) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(Shares) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(SharesChanged) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(Publish) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(Guest) }, From: ipc.FromServer, FD: ipc.FDPacket},
	{New: func() ipc.Message { return new(GuestEnded) }, From: ipc.FromClient},
}})

// The messages' numbers.
const (
	typeRoot ipc.Type = 1 + iota
	typeUser
	typeSession
	typeMayExit
	typeKick
	typeWake
	typeShutdown
	typeLogDebug
	typeReady
	typeTaken
	typeEnded
	typeAskExit
	typeChanged
	typeInbox
	typeReach
	typeReached
	typeAskShares
	typeShares
	typeSharesChanged
	typePublish
	typeGuest
	typeGuestEnded
)

// Root passes a directory that the user's mail lies in, opened by master
// without following links but those in root-owned directories. Roots come
// before User.
type Root struct {
	Path   string // as in the settings after expansion; absolute
	Chroot bool   // all other roots lie below this one: chroot here
}

// Type is for ipc.
func (*Root) Type() ipc.Type { return typeRoot }

// Fields is for ipc.
func (m *Root) Fields(c *ipc.Codec) {
	c.String(&m.Path, redeemmsg.MaxPath)
	c.Bool(&m.Chroot)
}

// Inbox passes the channel to rookery-dotlock (dotlockmsg), which opens an mbox
// that lies in no root. It comes before User.
type Inbox struct{}

// Type is for ipc.
func (*Inbox) Type() ipc.Type { return typeInbox }

// Fields is for ipc.
func (*Inbox) Fields(*ipc.Codec) {}

// User says whose mail this process serves. A spare waits for it, unconfined to
// one user but confined otherwise; then it takes the user's rules and says Ready.
type User struct {
	Record     redeemmsg.Record
	PrivateUID bool // nobody else's mail is kept under this uid (inotify may be used)
}

// Type is for ipc.
func (*User) Type() ipc.Type { return typeUser }

// Fields is for ipc.
func (m *User) Fields(c *ipc.Codec) {
	m.Record.Codec(c)
	c.Bool(&m.PrivateUID)
}

// Ready says that the worker is confined to its user and takes sessions. A
// spare also says it once before, when it is waiting for its user.
type Ready struct{ Spare bool }

// Type is for ipc.
func (*Ready) Type() ipc.Type { return typeReady }

// Fields is for ipc.
func (m *Ready) Fields(c *ipc.Codec) { c.Bool(&m.Spare) }

// Session hands over one session: the descriptor is the envelope. Sessions may
// be sent before Ready; they wait in the channel.
type Session struct {
	ID      uint64
	Session string
	Record  redeemmsg.Record // addresses, mechanism, TLS of this session
}

// Type is for ipc.
func (*Session) Type() ipc.Type { return typeSession }

// Fields is for ipc.
func (m *Session) Fields(c *ipc.Codec) {
	c.U64(&m.ID)
	c.String(&m.Session, 64)
	m.Record.Codec(c)
}

// Taken is sent only after GO has been read from the envelope: master then
// drops its copy.
type Taken struct{ ID uint64 }

// Type is for ipc.
func (*Taken) Type() ipc.Type { return typeTaken }

// Fields is for ipc.
func (m *Taken) Fields(c *ipc.Codec) { c.U64(&m.ID) }

// Ended says that a session is over (also one whose login end went before GO).
type Ended struct {
	ID      uint64
	In, Out uint64 // octets
}

// Type is for ipc.
func (*Ended) Type() ipc.Type { return typeEnded }

// Fields is for ipc.
func (m *Ended) Fields(c *ipc.Codec) {
	c.U64(&m.ID)
	c.U64(&m.In)
	c.U64(&m.Out)
}

// AskExit: no session for some seconds, may I go? master takes the worker off
// its list and answers MayExit; if it has sent a Session meanwhile it does not
// answer, and the worker stays.
type AskExit struct{}

// Type is for ipc.
func (*AskExit) Type() ipc.Type { return typeAskExit }

// Fields is for ipc.
func (*AskExit) Fields(*ipc.Codec) {}

// MayExit lets the worker end: no session will come any more. master may also
// send it unasked to a worker that has none.
type MayExit struct{}

// Type is for ipc.
func (*MayExit) Type() ipc.Type { return typeMayExit }

// Fields is for ipc.
func (*MayExit) Fields(*ipc.Codec) {}

// Kick ends one session, or all if ID is 0; the client reads Text in a BYE.
type Kick struct {
	ID   uint64
	Text string
}

// Type is for ipc.
func (*Kick) Type() ipc.Type { return typeKick }

// Fields is for ipc.
func (m *Kick) Fields(c *ipc.Codec) {
	c.U64(&m.ID)
	c.String(&m.Text, 512)
}

// Changed says that this process changed the user's mail; master wakes the
// user's other processes.
type Changed struct{}

// Type is for ipc.
func (*Changed) Type() ipc.Type { return typeChanged }

// Fields is for ipc.
func (*Changed) Fields(*ipc.Codec) {}

// Wake says that another process of this user changed the mail: look.
type Wake struct{}

// Type is for ipc.
func (*Wake) Type() ipc.Type { return typeWake }

// Fields is for ipc.
func (*Wake) Fields(*ipc.Codec) {}

// Shutdown: finish the command under way, say BYE to all, end within Within.
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
