package remote

import (
	"encoding/binary"
	"fmt"
	"sort"

	"rookery/internal/mailstore"
)

// blockSize is how many messages share one piece of a picture.
const blockSize = 512

// item is a message of a picture.
type item struct {
	modseq mailstore.ModSeq
	uid    mailstore.UID
	state  uint32 // the number of the set of keywords; the flags in the lowest byte
}

func (it item) entry() mailstore.Entry {
	return mailstore.Entry{UID: it.uid, Flags: mailstore.Flags(it.state & 0xff), Keywords: it.state >> 8, ModSeq: it.modseq}
}

// block is some messages, at least one. It never changes.
type block struct {
	items []item
	high  mailstore.ModSeq // the highest of them
}

// snapshot is a picture that the guest was told. It never changes; the next one shares
// the blocks that are the same.
type snapshot struct {
	blocks []*block
	starts []int      // the position of each block's first message; one more at the end
	sets   [][]string // keywords by number; pictures that come later may have more
	next   mailstore.UID
	high   mailstore.ModSeq
}

var (
	_ mailstore.Snapshot    = (*snapshot)(nil)
	_ mailstore.EntryReader = (*snapshot)(nil)
)

var noMessages = snapshot{starts: []int{0}, sets: [][]string{nil}, next: 1}

// Len is the number of messages.
func (s *snapshot) Len() int { return s.starts[len(s.blocks)] }

// UIDNext is above every UID.
func (s *snapshot) UIDNext() mailstore.UID { return s.next }

// HighestModSeq is the highest in use.
func (s *snapshot) HighestModSeq() mailstore.ModSeq { return s.high }

// Keywords gives the names of a set.
func (s *snapshot) Keywords(set uint32) []string {
	if int(set) < len(s.sets) {
		return s.sets[set]
	}
	return nil
}

// locate finds block and message of a position.
func (s *snapshot) locate(pos int) (b, i int) {
	b = sort.Search(len(s.blocks), func(k int) bool { return s.starts[k+1] > pos })
	return b, pos - s.starts[b]
}

// At gives the entry at a position.
func (s *snapshot) At(pos int) mailstore.Entry {
	b, i := s.locate(pos)
	return s.blocks[b].items[i].entry()
}

// Entries fills dst from a position on.
func (s *snapshot) Entries(from int, dst []mailstore.Entry) int {
	if from < 0 || from >= s.Len() {
		return 0
	}
	n := 0
	for b, i := s.locate(from); b < len(s.blocks) && n < len(dst); b, i = b+1, 0 {
		for _, it := range s.blocks[b].items[i:] {
			if n == len(dst) {
				break
			}
			dst[n] = it.entry()
			n++
		}
	}
	return n
}

// Find gives the position of a UID.
func (s *snapshot) Find(uid mailstore.UID) (pos int, found bool) {
	b := sort.Search(len(s.blocks), func(k int) bool {
		items := s.blocks[k].items
		return items[len(items)-1].uid >= uid
	})
	if b == len(s.blocks) {
		return s.Len(), false
	}
	items := s.blocks[b].items
	i := sort.Search(len(items), func(k int) bool { return items[k].uid >= uid })
	return s.starts[b] + i, items[i].uid == uid
}

// Shared gives how many entries from pos on are those of an older picture from at on,
// without a look at them; 0 says nothing.
func (s *snapshot) Shared(pos int, old mailstore.Snapshot, at int) (n int) {
	o, ok := old.(*snapshot)
	if !ok || pos < 0 || at < 0 || pos >= s.Len() || at >= o.Len() {
		return 0
	}
	b, i := s.locate(pos)
	c, k := o.locate(at)
	for ; i == k && b < len(s.blocks) && c < len(o.blocks) && s.blocks[b] == o.blocks[c]; b, c, i, k = b+1, c+1, 0, 0 {
		n += len(s.blocks[b].items) - i
	}
	return n
}

// NextChanged gives the first position from pos on at which there may be a message with
// a MODSEQ above since.
func (s *snapshot) NextChanged(pos int, since mailstore.ModSeq) int {
	if pos < 0 || pos >= s.Len() {
		return pos
	}
	for b, i := s.locate(pos); b < len(s.blocks); b, i = b+1, 0 {
		if s.blocks[b].high > since {
			return s.starts[b] + i
		}
	}
	return s.Len()
}

// stepReader makes a picture out of the one before and the steps that the owner's end
// tells. It believes none of them.
type stepReader struct {
	old    *snapshot
	b, i   int // the next message of old
	out    snapshot
	open   []item // the block that is being made
	n      int    // messages so far
	uid    mailstore.UID
	modseq mailstore.ModSeq
	want   int // messages in the end
}

// newStepReader begins. base is the picture that the steps are told by.
func newStepReader(base *snapshot, head *picture) (*stepReader, error) {
	if head.Len > maxMessages {
		return nil, fmt.Errorf("a picture of %d messages", head.Len)
	}
	if head.UIDNext == 0 {
		return nil, fmt.Errorf("the next UID is 0")
	}
	if base == nil {
		base = &noMessages
	}
	if head.UIDNext < base.next {
		return nil, fmt.Errorf("the next UID went from %d to %d", base.next, head.UIDNext)
	}
	if head.High < base.high {
		return nil, fmt.Errorf("the highest mod-sequence went from %d to %d", base.high, head.High)
	}
	return &stepReader{old: base, want: int(head.Len),
		out: snapshot{starts: make([]int, 1, len(base.starts)+1), sets: base.sets, next: head.UIDNext, high: head.High}}, nil
}

// read takes some steps. None is cut by the end of p.
func (r *stepReader) read(p []byte) error {
	c := coder{b: p, reading: true}
	for len(c.b) > 0 && c.err == nil {
		var v uint64
		c.uvarint(&v)
		n := v >> 2
		if c.err == nil && (n == 0 || n > maxMessages) {
			c.fail("a step of %d messages", n)
		}
		for left := int(n); left > 0 && c.err == nil; {
			switch v & 3 {
			case stepKeep:
				left -= r.keep(&c, left)
			case stepDrop:
				left -= r.drop(&c, left)
			case stepFlag:
				r.flag(&c)
				left--
			default:
				r.add(&c)
				left--
			}
		}
	}
	return c.err
}

// rest gives the messages of the old picture's block that are next; none is an error.
func (r *stepReader) rest(c *coder) []item {
	if r.b == len(r.old.blocks) {
		c.fail("a step beyond the old picture")
		return nil
	}
	return r.old.blocks[r.b].items[r.i:]
}

// pass goes n messages on in a block of the old picture.
func (r *stepReader) pass(n int) {
	if r.i += n; r.i == len(r.old.blocks[r.b].items) {
		r.b, r.i = r.b+1, 0
	}
}

func (r *stepReader) drop(c *coder, n int) int {
	rest := r.rest(c)
	n = min(n, len(rest))
	if n > 0 {
		r.pass(n)
	}
	return n
}

func (r *stepReader) keep(c *coder, n int) int {
	rest := r.rest(c)
	n = min(n, len(rest))
	if n == 0 {
		return 0
	}
	if rest[0].uid <= r.uid {
		c.fail("UID %d comes after %d", rest[0].uid, r.uid)
		return 0
	}
	r.uid = rest[n-1].uid
	if !r.room(c, n) {
		return 0
	}
	if r.i == 0 && n == len(rest) {
		r.share(r.old.blocks[r.b])
	} else {
		for _, it := range rest[:n] {
			r.put(it)
		}
	}
	r.pass(n)
	return n
}

// room counts n messages more.
func (r *stepReader) room(c *coder, n int) bool {
	if r.n+n > r.want {
		c.fail("more than the %d messages that were announced", r.want)
		return false
	}
	r.n += n
	return true
}

func (r *stepReader) flag(c *coder) {
	rest := r.rest(c)
	if len(rest) == 0 {
		return
	}
	it := rest[0]
	r.pass(1)
	if it.uid <= r.uid {
		c.fail("UID %d comes after %d", it.uid, r.uid)
	}
	r.uid = it.uid
	if r.state(c, &it) && r.room(c, 1) {
		r.put(it)
	}
}

func (r *stepReader) add(c *coder) {
	var gap uint64
	c.uvarint(&gap)
	if c.err == nil && (gap == 0 || gap > 1<<32 || uint64(r.uid)+gap >= uint64(r.out.next)) {
		c.fail("UID %d is followed by one %d above it, the next UID is %d", r.uid, gap, r.out.next)
	}
	if c.err != nil {
		return
	}
	it := item{uid: r.uid + mailstore.UID(gap)}
	r.uid = it.uid
	if r.state(c, &it) && r.room(c, 1) {
		r.put(it)
	}
}

// state reads flags, keywords and MODSEQ.
func (r *stepReader) state(c *coder, it *item) bool {
	flags := c.take(1)
	set := r.words(c)
	if c.err != nil {
		return false
	}
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.fail("a number is cut")
		return false
	}
	c.b = c.b[n:]
	m := int64(r.modseq) + v
	if m < 0 || mailstore.ModSeq(m) > r.out.high || mailstore.Flags(flags[0])&^mailstore.AllFlags != 0 {
		c.fail("UID %d has flags %#x and the mod-sequence %d, the highest is %d", it.uid, flags[0], m, r.out.high)
		return false
	}
	r.modseq = mailstore.ModSeq(m)
	it.modseq, it.state = r.modseq, set<<8|uint32(flags[0])
	return true
}

// words reads the number of a set of keywords, and its names if it is a new one.
func (r *stepReader) words(c *coder) uint32 {
	var no uint32
	num(c, &no)
	known := uint32(len(r.out.sets))
	switch {
	case c.err != nil || no < known:
	case no > known || no > 2*maxSets:
		c.fail("the set of keywords %d is unknown", no)
	default:
		var names []string
		c.texts(&names, maxKeywords, maxKeyword)
		if c.err == nil && len(names) == 0 {
			c.fail("a set of keywords without any")
		}
		// Older pictures have the same array, and see no more of it than they know.
		r.out.sets = append(r.out.sets, names)
	}
	return no
}

// put adds a message to the block that is being made.
func (r *stepReader) put(it item) {
	if r.open == nil && len(r.out.blocks) > 0 {
		// Rather a larger block than two small ones.
		if last := r.out.blocks[len(r.out.blocks)-1]; len(last.items) < blockSize/2 {
			r.out.blocks = r.out.blocks[:len(r.out.blocks)-1]
			r.out.starts = r.out.starts[:len(r.out.starts)-1]
			r.open = append(make([]item, 0, blockSize), last.items...)
		}
	}
	if r.open == nil {
		r.open = make([]item, 0, min(blockSize, r.want-r.n+1))
	}
	if r.open = append(r.open, it); len(r.open) >= blockSize {
		r.flush()
	}
}

// flush ends the block that is being made.
func (r *stepReader) flush() {
	if len(r.open) > 0 {
		r.block(newBlock(r.open))
	}
	r.open = nil
}

func newBlock(items []item) *block {
	b := &block{items: items}
	for i := range items {
		b.high = max(b.high, items[i].modseq)
	}
	return b
}

func (r *stepReader) block(b *block) {
	r.out.blocks = append(r.out.blocks, b)
	r.out.starts = append(r.out.starts, r.out.starts[len(r.out.starts)-1]+len(b.items))
}

// share takes over a block of the old picture. Small ones are joined.
func (r *stepReader) share(b *block) {
	if len(r.open) > 0 && len(r.open)+len(b.items) <= blockSize {
		r.open = append(r.open, b.items...)
		return
	}
	r.flush()
	r.block(b)
}

// done gives the picture.
func (r *stepReader) done() (*snapshot, error) {
	r.flush()
	switch {
	case r.n != r.want:
		return nil, fmt.Errorf("a picture of %d messages has %d", r.want, r.n)
	case r.b != len(r.old.blocks):
		return nil, fmt.Errorf("the old picture's last messages are not spoken of")
	case len(r.out.blocks) > 0 && r.uid >= r.out.next:
		return nil, fmt.Errorf("UID %d is there, the next is %d", r.uid, r.out.next)
	}
	out := r.out
	return &out, nil
}
