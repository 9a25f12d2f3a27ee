package search

import (
	"slices"
	"time"

	"rookery/imapworker/internal/view"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// Order puts messages into the order of a command: seqs are sequence numbers,
// ascending. Of two messages it says the same in whatever company they come, and
// whenever it is asked.
type Order func(ctx *view.Context, seqs []uint32) []uint32

// live is a search whose client is told what joins its outcome and what leaves it
// (RFC 5267 §4.3). It knows which messages the client believes to match, and asks
// its keys about those alone that have changed since it did so last.
type live struct {
	c     *command
	head  head
	in    numset.Set       // UIDs of the outcome, as the client was told
	since mailstore.ModSeq // up to which changes were looked at
	next  mailstore.UID    // below which messages were looked at
	star  bool             // a set of UIDs has "*": what it means changes with the newest message
	last  mailstore.UID    // which was that
	timed bool             // a key looks at the clock
	asked time.Time        // when all messages were looked at for that
	order Order            // nil for the mailbox's order
	list  []mailstore.UID  // the outcome in its order, where there is one
}

// timedEvery is how often all messages are asked about what the clock changes: "the
// server might perform the evaluation periodically" (RFC 5032 §3).
const timedEvery = 10 * time.Second

// newLive begins with what a command has just answered.
func newLive(c *command, ctx *view.Context, h head, found outcome, order Order) *live {
	v := ctx.View
	own := *c
	own.root = c.root.clone() // others go on with the command's
	l := &live{c: &own, head: h, in: uidsOf(v, found.seqs), since: v.Newest().HighestModSeq(), next: uidNext(v), last: newest(v), asked: ctx.Now}
	if found.sorted {
		l.order, l.list = order, slices.Clone(numbers(v, found.seqs, true))
	}
	l.freeze(own.root, v)
	return l
}

// freeze makes UIDs of sequence numbers: they "are evaluated at the time the
// command is received; therefore, if the messages referred to by such message
// sequence numbers change, no notifications will be emitted" (RFC 5267 §4.3).
func (l *live) freeze(n *node, v *view.View) {
	for _, s := range n.sub {
		l.freeze(s, v)
	}
	switch n.kind {
	case kSeqs:
		var uids numset.Set
		for seq := range n.nums.Intersect(v.All()).All() {
			uids.Add(v.UID(seq))
		}
		n.kind, n.nums = kFixed, uids
	case kUIDs:
		saved := v.Saved()
		n.saved = &saved
		l.star = l.star || n.set.HasStar() && !n.set.OnlySaved()
	case kAge:
		l.timed = true
	}
}

// Tag is for view.Live.
func (l *live) Tag() string { return l.head.tag }

// Sorted is for view.Live.
func (l *live) Sorted() bool { return l.order != nil }

// Leave is for view.Live.
func (l *live) Leave(ctx *view.Context, gone numset.Set) {
	if gone = gone.Intersect(l.in); !gone.Empty() {
		l.tell(ctx, numset.Set{}, gone)
	}
}

// Follow is for view.Live.
func (l *live) Follow(ctx *view.Context) error {
	v := ctx.View
	highest, next := v.Newest().HighestModSeq(), uidNext(v)
	since := l.since
	if timed := l.timed && ctx.Now.Sub(l.asked) >= timedEvery; timed || l.star && newest(v) != l.last {
		since, l.asked = 0, ctx.Now
	} else if highest > 0 && since == highest && next == l.next {
		return nil
	}
	r := &run{command: l.c, ctx: ctx, box: v.Box()}
	if err := r.prepare(l.c.root); err != nil {
		return err // no charset has become unknown
	}
	old, _ := v.Told().Find(l.next)
	var joined, left numset.Set
	decide := func(it *view.Item, match bool) bool {
		switch in := l.in.Contains(it.UID); {
		case it.Gone: // Leave has told, or will
		case match && !in:
			joined.Add(it.UID)
		case !match && in:
			left.Add(it.UID)
		}
		return true
	}
	if since == 0 || since < highest {
		if err := r.each(numset.Span(1, uint32(old)), since, decide); err != nil {
			return err
		}
	}
	if err := r.each(numset.Span(uint32(old)+1, v.Len()), 0, decide); err != nil {
		return err
	}
	fresh := joined.Intersect(numset.Span(l.next, maxUID))
	l.since, l.next, l.last = highest, next, newest(v)
	if l.c.items != nil && ctx.FetchNew != nil && !fresh.Empty() {
		// RFC 5465 §7: behind EXISTS and before ESEARCH; "No untagged FETCH response
		// SHOULD be returned if a message becomes a member of UPDATE SEARCH due to
		// flag or annotation changes."
		if err := ctx.FetchNew(l.c.items, fresh); err != nil {
			return err
		}
	}
	if !joined.Empty() || !left.Empty() {
		l.tell(ctx, joined, left)
	}
	return nil
}

// newest is the last message's UID, 0 if there is none.
func newest(v *view.View) mailstore.UID {
	if v.Len() == 0 {
		return 0
	}
	return v.UID(v.Len())
}

// tell writes what joined and what left, and takes note of it.
func (l *live) tell(ctx *view.Context, joined, left numset.Set) {
	l.in = l.in.Minus(left).Union(joined)
	l.head.write(ctx.Enc)
	if l.order == nil {
		// Place 0 leaves it to the client, which knows the mailbox's order
		// (RFC 5267 §4.3.3, §4.3.4).
		l.write(ctx, "REMOVEFROM", []piece{{0, uids(left)}})
		l.write(ctx, "ADDTO", []piece{{0, uids(joined)}})
	} else {
		l.write(ctx, "REMOVEFROM", l.take(left))
		l.write(ctx, "ADDTO", l.put(ctx, joined))
	}
	ctx.Enc.CRLF()
}

// piece is some messages at a place in the outcome, counted from 1.
type piece struct {
	at   uint32
	uids []mailstore.UID
}

func uids(set numset.Set) []mailstore.UID { return slices.Collect(set.All()) }

// write writes one list of pieces, nothing where they hold no message.
func (l *live) write(ctx *view.Context, name string, pieces []piece) {
	if len(pieces) == 0 || len(pieces[0].uids) == 0 {
		return
	}
	enc := ctx.Enc
	enc.SP().Atom(name).SP().Open()
	for i, p := range pieces {
		if i > 0 {
			enc.SP()
		}
		if !l.head.uid {
			for j, uid := range p.uids {
				p.uids[j], _ = ctx.View.Seq(uid)
			}
		}
		o := outcome{sorted: l.order != nil}
		o.set(enc.Num(p.at).SP(), p.uids)
	}
	enc.Close()
}

// take takes messages out of the list. Each piece stands where it is once the ones
// before are gone (RFC 5267 §4.3.4).
func (l *live) take(left numset.Set) (pieces []piece) {
	kept, open := l.list[:0], false
	for _, uid := range l.list {
		switch {
		case !left.Contains(uid):
			kept, open = append(kept, uid), false
		case open:
			last := &pieces[len(pieces)-1]
			last.uids = append(last.uids, uid)
		default:
			pieces, open = append(pieces, piece{uint32(len(kept)) + 1, []mailstore.UID{uid}}), true
		}
	}
	l.list = kept
	return pieces
}

// fewJoin is up to how many messages are put into the list one by one; for more it
// is sorted anew.
const fewJoin = 32

// put puts messages into the list. Each piece stands where it comes to lie once
// the ones before are there (RFC 5267 §4.3.3): so they are in the list's order.
func (l *live) put(ctx *view.Context, joined numset.Set) (pieces []piece) {
	if joined.Len() > fewJoin {
		seqs := seqsOf(ctx.View, l.in)
		l.list = numbers(ctx.View, l.order(ctx, seqs), true)
	} else {
		for uid := range joined.All() {
			at, _ := slices.BinarySearchFunc(l.list, uid, func(a, b mailstore.UID) int { return l.compare(ctx, a, b) })
			l.list = slices.Insert(l.list, at, uid)
		}
	}
	open := false
	for i, uid := range l.list {
		switch {
		case !joined.Contains(uid):
			open = false
		case open:
			last := &pieces[len(pieces)-1]
			last.uids = append(last.uids, uid)
		default:
			pieces, open = append(pieces, piece{uint32(i) + 1, []mailstore.UID{uid}}), true
		}
	}
	return pieces
}

// compare puts two messages into the order.
func (l *live) compare(ctx *view.Context, a, b mailstore.UID) int {
	pair := seqsOf(ctx.View, numset.Of(a, b))
	if len(pair) < 2 {
		return 0
	}
	if ctx.View.UID(l.order(ctx, pair)[0]) == a {
		return -1
	}
	return 1
}

// seqsOf gives the sequence numbers of UIDs, ascending.
func seqsOf(v *view.View, uids numset.Set) (seqs []uint32) {
	for seq := range v.Each(uids) {
		seqs = append(seqs, seq)
	}
	return seqs
}

var _ view.Live = (*live)(nil)
