package modelclient

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"rookery/internal/numset"
)

// Message is what a client believes of one message.
type Message struct {
	Known  bool   // its flags have been told
	Flags  string // in lower case, sorted, \Recent left out: see FlagText
	ModSeq uint64 // 0: not told
}

// FlagText gives flags as a Message has them.
func FlagText(names []string) string {
	out := make([]string, 0, len(names))
	for _, name := range names {
		if name = strings.ToLower(name); name != `\recent` {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), " ")
}

// Cache is what a client of QRESYNC keeps of a mailbox over connections.
type Cache struct {
	Validity uint32
	Highest  uint64 // it has all changes up to this mod-sequence
	Next     uint32 // it knows all messages below this UID; at least 1
	Messages map[uint32]Message
	Sample   []uint32 // the UIDs by sequence number at the end of some command; 0 unknown
}

// NewCache is one that knows nothing.
func NewCache() *Cache { return &Cache{Next: 1, Messages: map[uint32]Message{}} }

// Clone copies it.
func (c *Cache) Clone() *Cache {
	out := *c
	out.Messages, out.Sample = maps.Clone(c.Messages), slices.Clone(c.Sample)
	return &out
}

// Known says which UIDs a client of QRESYNC asks about (RFC 7162 §3.2.5.2).
type Known uint8

// What it may name.
const (
	AskAll   Known = iota // nothing: that is all
	AskBelow              // those below Cache.Next
	AskKnown              // those that it knows of
)

// Resync gives the argument of SELECT's QRESYNC, and forgets what the client may have
// only half of. sampled chooses positions of Sample for the match data, which UIDONLY
// forbids (RFC 9586 §3.6), nil for none.
func (c *Cache) Resync(known Known, sampled func(pos int) bool) string {
	maps.DeleteFunc(c.Messages, func(uid uint32, _ Message) bool { return uid >= c.Next })
	args := fmt.Sprintf("%d %d", c.Validity, c.Highest)
	switch {
	case known == AskBelow:
		args += " " + numset.Span(1, max(c.Next-1, 1)).String()
	case known == AskKnown && len(c.Messages) > 0:
		args += " " + numset.FromSorted(slices.Sorted(maps.Keys(c.Messages))).String()
	}
	var seqs, uids []uint32
	for pos, uid := range c.Sample {
		if sampled != nil && uid > 0 && sampled(pos) {
			seqs, uids = append(seqs, uint32(pos)+1), append(uids, uid)
		}
	}
	if len(seqs) > 0 {
		args += fmt.Sprintf(" (%s %s)", numset.FromSorted(seqs), numset.FromSorted(uids))
	}
	return "QRESYNC (" + args + ")"
}

// Quiet is what a client expects of a STORE with .SILENT: Change of the flags of those
// of UIDs that the answer says nothing of.
type Quiet struct {
	UIDs   []uint32
	Change func(flags string) string
}

// Unasked says what a server may send while no command is under way.
type Unasked uint8

// What may come unasked.
const (
	Nothing     Unasked = iota
	NoExpunges          // NOTIFY with SELECTED-DELAYED
	AllMessages         // IDLE, or NOTIFY with SELECTED
)

// Client is one connection's client. The caller says by Begin which command it sends,
// and passes every response to Learn.
type Client struct {
	// What was enabled. The caller sets it, once it may hold.
	Condstore, Qresync, UIDOnly, Rev2 bool
	MayModSeq                         bool    // MODSEQ may come, but need not
	Unasked                           Unasked // what may come between commands

	// The selected mailbox.
	Selected  bool
	Slots     []uint32 // the UIDs by sequence number, 0 where it is not known
	Cache     *Cache   // what is known of its messages
	Validity  uint32
	UIDNext   uint32          // as SELECT told
	Keywords  map[string]bool // those of FLAGS, in lower case
	Permanent []string        // PERMANENTFLAGS, in lower case; nil before it was told

	// The command under way, or the last one.
	Tag, Verb string
	Tagged    Response           // its answer, once it has come
	Told      map[uint32]Message // by UID: what FETCH told of flags and MODSEQ since Begin
	quiet     *Quiet
	next      *Cache // of the mailbox that SELECT opens
	opening   bool   // the cache's messages have no sequence numbers yet
	quick     bool   // SELECT has QRESYNC
	seen      uint64 // the highest MODSEQ since the last answer
	coded     uint64 // HIGHESTMODSEQ since the last answer, 0 for none
}

// verbOf gives the command's name, with UID before it where it has that.
func verbOf(command string) string {
	words := strings.SplitN(strings.ToUpper(command), " ", 3)
	if words[0] == "UID" && len(words) > 1 {
		return "UID " + words[1]
	}
	return strings.TrimRight(words[0], "\r\n")
}

// Begin says that a command is being sent. cache is what SELECT and EXAMINE begin
// with, NewCache without QRESYNC.
func (c *Client) Begin(tag, command string, cache *Cache, quiet *Quiet) {
	c.Tag, c.Verb, c.Tagged, c.quiet = tag, verbOf(command), Response{}, quiet
	c.Told = map[uint32]Message{}
	if c.selecting() {
		c.next, c.quick = cache, strings.Contains(command, "QRESYNC (")
		if !c.Selected {
			c.open()
		}
	}
}

// open begins with a mailbox that SELECT is about to describe.
func (c *Client) open() {
	c.Selected, c.opening, c.Cache, c.next = true, true, c.next, nil
	c.Slots, c.Keywords, c.Permanent, c.Validity, c.UIDNext = nil, nil, nil, 0, 0
	c.Told = map[uint32]Message{}
	c.seen, c.coded = 0, 0
}

// Deselect is for what leaves a mailbox without saying so: DELETE of it.
func (c *Client) Deselect() {
	c.Selected, c.opening, c.Cache, c.Slots = false, false, nil, nil
}

func (c *Client) selecting() bool { return c.Verb == "SELECT" || c.Verb == "EXAMINE" }

// underWay reports whether a command waits for its answer.
func (c *Client) underWay() bool { return c.Tag != "" && c.Tagged.Tag == "" }
