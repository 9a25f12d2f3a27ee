package search

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

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
	broken error    // the first message that could not be read
	hits   []uint32 // sequence numbers
	enough bool     // the first one will do
}

// subject is the message that the keys are asked about. Its memory is used
// again for the next.
type subject struct {
	opened.Message
	item  *view.Item
	facts mailstore.Facts
	known bool   // facts are there
	text  []byte // scratch: header fields
}

// batch is how many messages are looked up in the index at once.
const batch = 256

// errEnough ends a walk early.
var errEnough = errors.New("enough found")

// Run answers the command.
func (c *command) Run(ctx *view.Context) (view.Reply, error) {
	r := &run{command: c, ctx: ctx, box: ctx.View.Box(), enough: c.extended && c.want == rMin}
	if !r.ready() {
		return badCharset, nil
	}
	if c.modSeq {
		if refused, ok := ctx.NeedModSeqs(); !ok {
			return refused, nil
		}
	}
	if err := r.search(); err != nil {
		return view.Reply{}, err
	}
	highest := c.highestOf(ctx.View, r.hits)
	wantedNumbers(ctx, r.hits)
	r.answer(r.hits, highest)
	if r.broken != nil {
		return view.Reply{}, r.broken
	}
	return view.Done("Search completed."), nil
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

// wantedNumbers makes UIDs of sequence numbers, where the command wants UIDs.
func wantedNumbers(ctx *view.Context, seqs []uint32) {
	if !ctx.UID {
		return
	}
	for i, seq := range seqs {
		seqs[i] = ctx.View.UID(seq)
	}
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
	case kSeqs:
		if last := r.ctx.View.Len(); last > 0 {
			n.nums = n.set.Resolve(last)
		}
	case kUIDs:
		if last := r.ctx.View.Len(); last > 0 {
			n.nums = n.set.Resolve(r.ctx.View.UID(last))
		}
	}
	return nil
}

// prepareField makes a key of a header field ready: the fact that holds the field
// of each message, and, where another one holds it among others, that.
func (r *run) prepareField(n *node) {
	name := n.field()
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

// search finds the messages that match: r.hits are their sequence numbers.
func (r *run) search() error {
	s := &subject{Message: opened.Message{Box: r.box, Parser: &r.parser, Limits: r.cfg.Limits}}
	defer s.Close()
	all := r.ctx.View.All()
	err := r.ctx.View.WalkChanged(all, r.since(), make([]view.Item, min(batch, all.Len())), nil, func(items []view.Item) error {
		for i := range items {
			s.next(&items[i])
			ok, err := r.matches(r.root, s)
			if err != nil {
				r.failed(s.UID, err)
				continue
			}
			if !ok {
				continue
			}
			r.hits = append(r.hits, s.item.Seq)
			if r.enough {
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
	s.item, s.known, s.text = it, false, s.text[:0]
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

func (r *run) matches(n *node, s *subject) (bool, error) {
	switch n.kind {
	case kAll:
		return true, nil
	case kAnd:
		for _, sub := range n.sub {
			if ok, err := r.matches(sub, s); !ok || err != nil {
				return false, err
			}
		}
		return true, nil
	case kOr:
		for _, sub := range n.sub {
			if ok, err := r.matches(sub, s); ok || err != nil {
				return ok, err
			}
		}
		return false, nil
	case kNot:
		ok, err := r.matches(n.sub[0], s)
		return !ok && err == nil, err
	case kFlag:
		return s.item.Flags&n.flag != 0, nil
	case kKeyword:
		return s.item.Keywords != 0 && view.HasKeyword(r.ctx.View.KeywordsOf(s.item), n.name), nil
	case kRecent:
		return r.ctx.View.Recent(s.UID), nil
	case kSeqs:
		return n.nums.Contains(s.item.Seq), nil
	case kUIDs:
		return n.nums.Contains(s.UID), nil
	case kModSeq:
		return r.ctx.View.ModSeqOf(s.item.Entry) >= n.modSeq, nil
	}
	return r.looks(n, s)
}

// looks asks the keys that must see the message.
func (r *run) looks(n *node, s *subject) (bool, error) {
	switch n.kind {
	case kInternal, kAge, kSize:
		if err := r.learn(s, n.kind == kSize); err != nil {
			return false, err
		}
		return n.compareFacts(s.facts, r.ctx.Now), nil
	case kSent:
		text, err := r.field(n, s)
		if err != nil {
			return false, err
		}
		date, ok := message.HeaderDate(text, r.cfg.Limits)
		return ok && n.compareDate(imapwire.DateOf(date)), nil
	case kHeader:
		text, err := r.field(n, s)
		return err == nil && n.key.InHeaderBytes(text, n.name, r.cfg.Limits), err
	}
	if n.key.Empty() {
		return true, nil
	}
	return r.inBody(n, s)
}

// field gives the header of a message with no fields but the one that a key
// asks of. What had to be read is kept for the next time. The text is valid until
// the next message.
func (r *run) field(n *node, s *subject) (text []byte, err error) {
	start := len(s.text) // keys before may have theirs there
	cached := false
	if n.fact != "" && !s.item.Gone {
		if n.wider != "" {
			s.text, cached = s.Fact(s.text, n.wider)
		}
		if !cached {
			s.text, cached = s.Fact(s.text, n.fact)
		}
	}
	if cached {
		return s.text[start:], nil
	}
	if s.text, err = s.HeaderFields(s.text, n.fields, []string{n.field()}, false); err != nil {
		return nil, err
	}
	if n.fact != "" {
		r.box.PutCached(s.UID, n.fact, s.text[start:])
	}
	return s.text[start:], nil
}

// inBody asks a key of the body, or of the whole text.
func (r *run) inBody(n *node, s *subject) (bool, error) {
	tree, err := s.Tree()
	if err != nil {
		return false, err
	}
	msg, err := s.Open() // the structure may have come out of the cache
	if err != nil {
		return false, err
	}
	b := mailstore.Bytes(msg)
	switch {
	case b != nil && n.kind == kText:
		return n.key.InTextBytes(b, tree, r.cfg.Limits)
	case b != nil:
		return n.key.InBodyBytes(b, tree, r.cfg.Limits)
	case n.kind == kText:
		return n.key.InText(msg, tree, r.cfg.Limits)
	}
	return n.key.InBody(msg, tree, r.cfg.Limits)
}

// learn asks for size and date once for a message, the size only if a key wants it.
func (r *run) learn(s *subject, size bool) error {
	if s.known && (!size || s.facts.Size > 0) {
		return nil
	}
	facts, err := r.box.Facts(s.UID, mailstore.FactsWant{Size: size, InternalDate: true})
	s.facts, s.known = facts, err == nil
	return err
}

func (n *node) compareFacts(f mailstore.Facts, now time.Time) bool {
	switch n.kind {
	case kSize:
		if n.order == before {
			return f.Size < int64(n.number)
		}
		return f.Size > int64(n.number)
	case kAge: // RFC 5032 §1: seconds before now, time of day and all
		limit := now.Add(-time.Duration(n.number) * time.Second)
		if n.order == before {
			return !f.InternalDate.After(limit)
		}
		return !f.InternalDate.Before(limit)
	}
	return n.compareDate(imapwire.DateOf(f.InternalDate))
}

// compareDate compares days as they were written: no zone counts (RFC 3501 §6.4.4).
func (n *node) compareDate(d imapwire.Date) bool {
	c := d.Compare(n.date)
	switch n.order {
	case before:
		return c < 0
	case on:
		return c == 0
	}
	return c >= 0
}

// answer writes SEARCH, or ESEARCH (RFC 4466 §2.6.2, RFC 4731 §3.1).
func (r *run) answer(hits []uint32, highest uint64) {
	enc := r.ctx.Enc
	if !r.extended {
		enc.Untagged().Atom("SEARCH")
		for _, n := range hits {
			enc.SP().Num(n)
		}
		writeHighest(enc, highest)
		enc.CRLF()
		return
	}
	r.writeExtended(hits, highest, func(enc *imapwire.Encoder) { enc.Set(numset.FromSorted(hits)) })
}

// writeExtended writes ESEARCH; all writes the numbers that were found.
func (r *run) writeExtended(hits []uint32, highest uint64, all func(*imapwire.Encoder)) {
	enc := r.ctx.Enc
	enc.Untagged().Atom("ESEARCH").SP().Open().Atom("TAG").SP().Quoted(r.ctx.Tag).Close()
	if r.ctx.UID {
		enc.SP().Atom("UID")
	}
	if len(hits) > 0 {
		if r.want&rMin != 0 {
			enc.SP().Atom("MIN").SP().Num(hits[0])
		}
		if r.want&rMax != 0 {
			enc.SP().Atom("MAX").SP().Num(hits[len(hits)-1])
		}
		if r.want&rAll != 0 {
			all(enc.SP().Atom("ALL").SP())
		}
	}
	if r.want&rCount != 0 {
		enc.SP().Atom("COUNT").SP().Num(uint32(len(hits)))
	}
	if highest > 0 {
		enc.SP().Atom("MODSEQ").SP().Num64(highest)
	}
	enc.CRLF()
}

// writeHighest writes SP search-sort-mod-seq, if there is one (RFC 7162 §7).
func writeHighest(enc *imapwire.Encoder, highest uint64) {
	if highest > 0 {
		enc.SP().Open().Atom("MODSEQ").SP().Num64(highest).Close()
	}
}

// highestOf gives the highest mod-sequence of the messages that the answer names,
// given in its order: where only the first, the last or both are asked for, of
// these (RFC 4731 §3.2). It is 0, and not told, where MODSEQ was no key or nothing
// was found.
func (c *command) highestOf(v *view.View, seqs []uint32) (highest uint64) {
	if !c.modSeq || len(seqs) == 0 {
		return 0
	}
	see := func(seq uint32) {
		e, _, _ := v.Entry(v.UID(seq))
		highest = max(highest, v.ModSeqOf(e))
	}
	if c.extended && c.want&^(rMin|rMax) == 0 {
		if c.want&rMin != 0 {
			see(seqs[0])
		}
		if c.want&rMax != 0 {
			see(seqs[len(seqs)-1])
		}
		return highest
	}
	for _, seq := range seqs {
		see(seq)
	}
	return highest
}
