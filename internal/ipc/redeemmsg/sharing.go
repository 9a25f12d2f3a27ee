package redeemmsg

import "rookery/internal/ipc"

// Limits of the list of shares. A part of a list has at most MaxPart mailboxes and
// is to have about MaxPartBytes octets; a message is refused beyond the packet's
// size.
const (
	MaxMailbox   = 4 << 10 // octets of a name, in UTF-8
	MaxEntry     = 1 << 10 // octets of an entry: an identifier and its rights
	MaxEntries   = 1000    // of one mailbox
	MaxPart      = 4096
	MaxPartBytes = 96 << 10
	MaxACLGroups = 256 // that one user is in
	MaxACLGroup  = 255 // octets of a group's name
	MaxAffected  = 256

	// What one owner's list may have in all: mailboxes, and octets by PublishedSize.
	MaxOwnerBoxes = 20_000
	MaxOwnerBytes = 1 << 20
)

// Published is a mailbox that its owner's list lets others see.
type Published struct {
	Name string // the owner's own name of it, as his store has it
	// Entries are the list's, in the form of the file dovecot-acl (package acl):
	// "user=bob lr".
	Entries []string
}

// PublishedSize is how much of MaxPartBytes and MaxOwnerBytes a mailbox takes.
func PublishedSize(p Published) int {
	n := len(p.Name) + 8
	for _, e := range p.Entries {
		n += len(e) + 4
	}
	return n
}

// Shared is a mailbox that somebody shares.
type Shared struct {
	Owner string
	Name  string // the owner's own name of it
}

// PublishedCodec is for ipc.
func PublishedCodec(c *ipc.Codec, p *[]Published) {
	partCodec(c, p, func(b *Published) {
		c.String(&b.Name, MaxMailbox)
		c.Strings(&b.Entries, MaxEntries, MaxEntry)
	})
}

// SharedCodec is for ipc.
func SharedCodec(c *ipc.Codec, p *[]Shared) {
	partCodec(c, p, func(b *Shared) {
		c.String(&b.Owner, MaxUser)
		c.String(&b.Name, MaxMailbox)
	})
}

// partCodec is for a part of a list. What is read grows with what has come: a count
// alone takes no memory.
func partCodec[T any](c *ipc.Codec, p *[]T, one func(*T)) {
	n := c.Count(len(*p), MaxPart)
	if c.Reading() {
		*p = nil
	}
	for i := range n {
		if c.Reading() {
			if c.Failed() {
				return
			}
			var empty T
			*p = append(*p, empty)
		}
		one(&(*p)[i])
	}
}

// Publish is a part of what a user's process told of his mailboxes. master has
// added whose they are, and which process told it.
type Publish struct {
	Owner       string
	Source      uint64 // of the process: parts of two do not mix. Never reused
	First, Last bool
	Boxes       []Published
}

// Type is for ipc.
func (*Publish) Type() ipc.Type { return typePublish }

// Fields is for ipc.
func (m *Publish) Fields(c *ipc.Codec) {
	c.String(&m.Owner, MaxUser)
	c.U64(&m.Source)
	c.Bool(&m.First)
	c.Bool(&m.Last)
	PublishedCodec(c, &m.Boxes)
}

// PublishSeen answers each Publish, so that master knows how many authd has still
// to read.
type PublishSeen struct {
	Owner   string
	Changed bool // the list is another than before
	// Users are whom the change may concern, by name; All: anybody.
	Users   []string
	All     bool
	Problem string // why the list was not taken; "" if it was, or is not whole yet
}

// Type is for ipc.
func (*PublishSeen) Type() ipc.Type { return typePublishSeen }

// Fields is for ipc.
func (m *PublishSeen) Fields(c *ipc.Codec) {
	c.String(&m.Owner, MaxUser)
	c.Bool(&m.Changed)
	c.Strings(&m.Users, MaxAffected, MaxUser)
	c.Bool(&m.All)
	c.String(&m.Problem, MaxText)
}

// SharesOf asks what is shared with a user, himself and by his groups. Shares
// answer.
type SharesOf struct {
	ID   uint64
	User string // after auth_username_format
}

// Type is for ipc.
func (*SharesOf) Type() ipc.Type { return typeSharesOf }

// Fields is for ipc.
func (m *SharesOf) Fields(c *ipc.Codec) {
	c.U64(&m.ID)
	c.String(&m.User, MaxUser)
}

// Shares is a part of the answer to SharesOf, in the order of owner and name.
type Shares struct {
	ID    uint64
	Boxes []Shared
	Last  bool
	Text  string // why the list cannot be had now; "": it can
}

// Type is for ipc.
func (*Shares) Type() ipc.Type { return typeShares }

// Fields is for ipc.
func (m *Shares) Fields(c *ipc.Codec) {
	c.U64(&m.ID)
	SharedCodec(c, &m.Boxes)
	c.Bool(&m.Last)
	c.String(&m.Text, MaxText)
}

// Visit asks whether a user may be let in at another's. Visited or Failed answers:
// NotFound if there is no such owner, or if he shares nothing with the guest.
type Visit struct {
	ID           uint64
	Guest, Owner string // after auth_username_format
}

// Type is for ipc.
func (*Visit) Type() ipc.Type { return typeVisit }

// Fields is for ipc.
func (m *Visit) Fields(c *ipc.Codec) {
	c.U64(&m.ID)
	c.String(&m.Guest, MaxUser)
	c.String(&m.Owner, MaxUser)
}

// Visited says that he may.
type Visited struct {
	ID     uint64
	Owner  Record
	Groups []string // that the guest is in; sorted
}

// Type is for ipc.
func (*Visited) Type() ipc.Type { return typeVisited }

// Fields is for ipc.
func (m *Visited) Fields(c *ipc.Codec) {
	c.U64(&m.ID)
	m.Owner.Codec(c)
	c.Strings(&m.Groups, MaxACLGroups, MaxACLGroup)
}

// ListUsers asks for all users whom userdbs can name, for rookeryctl shares
// --rebuild. Owners in the list of shares whom no userdb knows any more are taken
// out of it. Users answer.
type ListUsers struct{ ID uint64 }

// Type is for ipc.
func (*ListUsers) Type() ipc.Type { return typeListUsers }

// Fields is for ipc.
func (m *ListUsers) Fields(c *ipc.Codec) { c.U64(&m.ID) }

// Users is a part of the answer to ListUsers, in order.
type Users struct {
	ID    uint64
	Names []string
	// Unlisted, in the last part, are the userdbs that cannot say whom they know.
	Unlisted []string
	Last     bool
}

// Type is for ipc.
func (*Users) Type() ipc.Type { return typeUsers }

// Fields is for ipc.
func (m *Users) Fields(c *ipc.Codec) {
	c.U64(&m.ID)
	c.Strings(&m.Names, MaxPart, MaxUser)
	c.Strings(&m.Unlisted, 64, MaxUser)
	c.Bool(&m.Last)
}
