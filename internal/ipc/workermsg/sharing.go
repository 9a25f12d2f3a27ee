package workermsg

import (
	"rookery/internal/errkind"
	"rookery/internal/ipc"
	"rookery/internal/ipc/redeemmsg"
)

// What several channels carry of the list of shares.
type (
	// Published is a mailbox that its owner's list lets others see.
	Published = redeemmsg.Published
	// Shared is a mailbox that somebody else shares with this user.
	Shared = redeemmsg.Shared
)

// Reach asks for a channel to the process that has another's mail. Reached answers.
type Reach struct {
	ID    uint64 // the worker's own number
	Owner string
}

// Type is for ipc.
func (*Reach) Type() ipc.Type { return typeReach }

// Fields is for ipc.
func (m *Reach) Fields(c *ipc.Codec) {
	c.U64(&m.ID)
	c.String(&m.Owner, redeemmsg.MaxUser)
}

// Reached answers Reach. Without an error the descriptor is the channel; with one
// there is none. Kind: NotFound (there is no such owner, or he shares nothing with
// this user: the two are told alike), Limit, Unavailable.
type Reached struct {
	ID   uint64
	Kind errkind.Kind
	Text string
}

// Type is for ipc.
func (*Reached) Type() ipc.Type { return typeReached }

// Fields is for ipc.
func (m *Reached) Fields(c *ipc.Codec) {
	c.U64(&m.ID)
	c.Kind(&m.Kind)
	c.String(&m.Text, redeemmsg.MaxText)
}

// AskShares asks what others share with this user. It starts no process. One or
// more Shares answer.
type AskShares struct{ ID uint64 }

// Type is for ipc.
func (*AskShares) Type() ipc.Type { return typeAskShares }

// Fields is for ipc.
func (m *AskShares) Fields(c *ipc.Codec) { c.U64(&m.ID) }

// Shares is a part of the answer to AskShares, in the order of owner and name.
type Shares struct {
	ID    uint64
	Boxes []Shared
	Last  bool   // no part follows
	Text  string // why the list cannot be had now; Last is set then. "": it can
}

// Type is for ipc.
func (*Shares) Type() ipc.Type { return typeShares }

// Fields is for ipc.
func (m *Shares) Fields(c *ipc.Codec) {
	c.U64(&m.ID)
	redeemmsg.SharedCodec(c, &m.Boxes)
	c.Bool(&m.Last)
	c.String(&m.Text, redeemmsg.MaxText)
}

// SharesChanged says that what others share with this user may have changed.
type SharesChanged struct{}

// Type is for ipc.
func (*SharesChanged) Type() ipc.Type { return typeSharesChanged }

// Fields is for ipc.
func (*SharesChanged) Fields(*ipc.Codec) {}

// Publish tells, in one or more parts, which mailboxes of this process's user
// others may see, by their lists. When the last part has come, it replaces what
// was told before. master adds whose they are.
type Publish struct {
	First, Last bool
	Boxes       []Published
}

// Type is for ipc.
func (*Publish) Type() ipc.Type { return typePublish }

// Fields is for ipc.
func (m *Publish) Fields(c *ipc.Codec) {
	c.Bool(&m.First)
	c.Bool(&m.Last)
	redeemmsg.PublishedCodec(c, &m.Boxes)
}

// Guest hands over another user, who sees of this user's mail what the lists let
// him: the descriptor is the channel to his process. Who he is and which groups he
// is in was asked of authd. Guests may be sent before Ready; they wait in the
// channel.
type Guest struct {
	ID     uint64 // of the sessions' numbers
	User   string
	Groups []string // sorted
}

// Type is for ipc.
func (*Guest) Type() ipc.Type { return typeGuest }

// Fields is for ipc.
func (m *Guest) Fields(c *ipc.Codec) {
	c.U64(&m.ID)
	c.String(&m.User, redeemmsg.MaxUser)
	c.Strings(&m.Groups, redeemmsg.MaxACLGroups, redeemmsg.MaxACLGroup)
}

// GuestEnded says that a guest has gone, or was sent away.
type GuestEnded struct{ ID uint64 }

// Type is for ipc.
func (*GuestEnded) Type() ipc.Type { return typeGuestEnded }

// Fields is for ipc.
func (m *GuestEnded) Fields(c *ipc.Codec) { c.U64(&m.ID) }
