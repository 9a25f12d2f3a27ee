package search

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"rookery/imapworker/internal/opened"
	"rookery/imapworker/internal/view"
	"rookery/internal/errkind"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/message"
	"rookery/internal/numset"
)

// run is a SEARCH under way.
type run struct {
	*command
	ctx    *view.Context
	box    mailstore.Mailbox
	parser message.Parser
	needs  mailstore.FactsWant // what the cheaper keys ask of a message
	asked  uint64              // messages that were looked at
	broken error               // the first message that could not be read
	hits   []uint32            // sequence numbers
}

// subject is the message that the keys are asked about. Its memory is used
// again for the next.
type subject struct {
	opened.Message
	item  *view.Item
	facts mailstore.Facts
	have  mailstore.FactsWant // of facts
	text  []byte              // scratch: header fields
}

// batch is how many messages are looked up in the index at once.
const batch = 256

// errEnough ends a walk early.
var errEnough = errors.New("enough found")

// Run answers the command.
func (c *command) Run(ctx *view.Context) (reply view.Reply, err error) {
	if refused, ok := c.begin(ctx); !ok {
		return refused, nil
	}
	reply, err = c.answer(ctx)
	c.end(ctx, reply, err)
	return reply, err
}

func (c *command) answer(ctx *view.Context) (view.Reply, error) {
	r, refused, err := c.start(ctx)
	if r == nil {
		return refused, err
	}
	if err := r.search(); err != nil {
		return view.Reply{}, err
	}
	h, found := head{tag: ctx.Tag, uid: ctx.UID}, outcome{seqs: r.hits}
	switch {
	case !c.extended:
		r.writePlain()
	case !c.quiet():
		c.writeExtended(ctx, h, found)
	}
	if r.broken != nil {
		return view.Reply{}, r.broken
	}
	c.keep(ctx, found.seqs)
	c.follow(ctx, h, found, nil)
	return view.Done("Search completed."), nil
}

// start makes the command ready for the mailbox; r is nil if it is refused.
func (c *command) start(ctx *view.Context) (r *run, refused view.Reply, err error) {
	if refused, err = c.expand(ctx); refused.Cond != "" || err != nil {
		return nil, refused, err
	}
	r = &run{command: c, ctx: ctx, box: ctx.View.Box()}
	if !r.ready() {
		return nil, badCharset, nil
	}
	if c.modSeq {
		if refused, ok := ctx.NeedModSeqs(); !ok {
			return nil, refused, nil
		}
	}
	return r, view.Reply{}, nil
}

// badCharset names the charsets that there are (RFC 3501 §7.1).
var badCharset = view.Reply{Cond: imapwire.NO, Code: imapwire.Code{Name: "BADCHARSET", Args: "(" + strings.Join(message.CharsetNames(), " ") + ")"},
	Text: "Unknown charset."}

// ready prepares the keys; it is false if the charset is none that is known.
func (r *run) ready() bool {
	if err := r.prepare(r.root); err != nil {
		return false
	}
	_, ok := message.Decoder(r.charset)
	return ok || r.charset == ""
}

// prepare makes the texts comparable, resolves the sets, and puts cheap keys
// before costly ones: a message is opened only if the others leave a doubt.
func (r *run) prepare(n *node) error {
	for _, s := range n.sub {
		if err := r.prepare(s); err != nil {
			return err
		}
	}
	slices.SortStableFunc(n.sub, func(a, b *node) int { return a.cost() - b.cost() })
	switch n.kind {
	case kHeader, kBody, kText:
		key, err := message.NewKey(r.charset, n.text)
		if err != nil {
			return err
		}
		n.key = key
		if n.kind == kHeader {
			r.prepareField(n)
		}
	case kSent:
		r.prepareField(n)
	case kSeqs, kUIDs:
		r.prepareSet(n)
	case kInternal, kAge:
		r.needs.InternalDate = true
	case kSaved:
		r.needs.InternalDate, r.needs.SaveDate = true, true
	case kGUID:
		r.needs.GUID = true
	}
	return nil
}

// prepareSet resolves a set; what it names beyond the last message matches nothing.
func (r *run) prepareSet(n *node) {
	v := r.ctx.View
	last := v.Len()
	n.nums = numset.Set{}
	if last == 0 {
		return
	}
	if n.kind == kUIDs {
		n.nums = n.set.Resolve(v.UID(last))
	} else {
		n.nums = n.set.Resolve(last)
	}
	switch {
	case !n.set.HasSaved():
	case n.saved != nil:
		n.nums = n.nums.Union(*n.saved)
	case n.kind == kUIDs:
		n.nums = n.nums.Union(v.Saved())
	default:
		seqs, _ := v.Seqs(numset.Saved(), true)
		n.nums = n.nums.Union(seqs)
	}
}

// prepareField makes a key of a header field ready: the fact that holds the field
// of each message, and, where another one holds it among others, that.
func (r *run) prepareField(n *node) {
	name := n.field()
	n.wider = ""
	n.fields = message.NewFieldSet([]string{name}, false)
	if n.fact = opened.FieldsKey([]string{name}); n.fact == "" {
		return
	}
	for _, known := range mailstore.CachedFields(r.box) {
		if known == n.fact {
			n.wider = ""
			return
		}
		if opened.HoldsField(known, name) {
			n.wider = known
		}
	}
}

// search finds the messages that match, as many as the answer needs: r.hits are
// their sequence numbers.
func (r *run) search() error {
	need, last := r.enough()
	if !last {
		return r.collect(r.ctx.Within(r.candidates()), need)
	}
	among := r.ctx.Within(r.candidates())
	var blocks [][]uint32
	for end := r.ctx.View.Len(); end > 0 && need > 0; {
		first := end - min(end, batch) + 1
		r.hits = nil
		if err := r.collect(among.Intersect(numset.Span(first, end)), 0); err != nil {
			return err
		}
		blocks = append(blocks, r.hits)
		need -= min(need, uint64(len(r.hits)))
		end = first - 1
	}
	slices.Reverse(blocks)
	r.hits = slices.Concat(blocks...)
	return nil
}

// candidates are the messages that the keys are asked about, by sequence numbers:
// those alone that each set of the client's names.
func (r *run) candidates() numset.Set {
	v := r.ctx.View
	all := v.All()
	for _, n := range r.root.sub {
		switch n.kind {
		case kSeqs:
			all = all.Intersect(n.nums)
		case kUIDs, kFixed:
			all = all.Intersect(v.SeqsOf(n.nums))
		}
	}
	return all
}

// settled reports whether all candidates match: no key asks more of them.
func (r *run) settled() bool {
	return !slices.ContainsFunc(r.root.sub, func(n *node) bool {
		return n.kind != kSeqs && n.kind != kUIDs && n.kind != kFixed && !n.takesAll()
	})
}

// collect adds those of some candidates that match to r.hits, all or the first need.
func (r *run) collect(seqs numset.Set, need uint64) error {
	if need == 0 && r.settled() && r.since() == 0 && r.ctx.View.Current() {
		r.hits = slices.Grow(r.hits, int(seqs.Len()))
		for seq := range seqs.All() {
			r.hits = append(r.hits, seq)
		}
		return nil
	}
	return r.each(seqs, r.since(), func(it *view.Item, match bool) bool {
		if match {
			r.hits = append(r.hits, it.Seq)
		}
		return need == 0 || uint64(len(r.hits)) < need
	})
}

// each asks the keys about some messages, those alone whose mod-sequence is above
// since; decide gets the answers and says whether to go on. What cannot be read is
// left out.
func (r *run) each(seqs numset.Set, since mailstore.ModSeq, decide func(it *view.Item, match bool) bool) error {
	s := &subject{Message: opened.Message{Box: r.box, Parser: &r.parser, Limits: r.cfg.Limits}}
	defer s.Close()
	every := uint64(1 << 10)
	if r.root.cost() > 1 {
		every = 16
	}
	err := r.ctx.View.WalkChanged(seqs, since, make([]view.Item, min(batch, seqs.Len())), nil, func(items []view.Item) error {
		for i := range items {
			if r.asked++; r.asked%every == 0 && r.ctx.Progress != nil {
				if err := r.ctx.Progress(r.asked, uint64(r.ctx.View.Len())); err != nil {
					return err
				}
			}
			s.next(&items[i])
			match, err := r.matches(r.root, s)
			if err != nil {
				r.failed(s.UID, err)
				continue
			}
			if !decide(s.item, match) {
				return errEnough
			}
		}
		return nil
	})
	if err == errEnough {
		return nil
	}
	return err
}

// since gives the mod-sequence that every message that matches is above, 0 if the
// keys say nothing of the kind.
func (r *run) since() (since mailstore.ModSeq) {
	for _, n := range r.root.sub {
		if n.kind == kModSeq && n.modSeq > 0 {
			since = max(since, mailstore.ModSeq(n.modSeq-1))
		}
	}
	return since
}

// next goes on to another message.
func (s *subject) next(it *view.Item) {
	s.Next(it.UID)
	s.item, s.have, s.text = it, mailstore.FactsWant{}, s.text[:0]
}

// failed notes a message that could not be read; one that is gone matches nothing.
func (r *run) failed(uid uint32, err error) {
	if errkind.Is(err, errkind.Expunged) {
		return
	}
	if r.ctx.Log != nil {
		r.ctx.Log(fmt.Sprintf("message with UID %d cannot be searched: %v", uid, err))
	}
	if r.broken == nil {
		r.broken = err
	}
}

// writePlain writes SEARCH (RFC 3501 §7.2.5, RFC 7162 §3.1.5).
func (r *run) writePlain() {
	enc := r.ctx.Enc
	enc.Untagged().Atom("SEARCH")
	for _, seq := range r.hits {
		n := seq
		if r.ctx.UID {
			n = r.ctx.View.UID(seq)
		}
		enc.SP().Num(n)
	}
	writeHighest(enc, r.highestOf(r.ctx.View, r.hits))
	enc.CRLF()
}
