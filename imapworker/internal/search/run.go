package search

import (
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
	broken error // the first message that could not be read
}

// subject is the message that the keys are asked about.
type subject struct {
	opened.Message
	entry    mailstore.Entry
	keywords []string
	seq      uint32
	facts    mailstore.Facts
	known    bool // facts are there
}

// Run answers the command.
func (c *command) Run(ctx *view.Context) (view.Reply, error) {
	r := &run{command: c, ctx: ctx, box: ctx.View.Box()}
	if err := r.prepare(c.root); err != nil {
		return badCharset, nil
	}
	if _, ok := message.Decoder(c.charset); c.charset != "" && !ok {
		return badCharset, nil
	}
	hits := r.search()
	r.answer(hits)
	if r.broken != nil {
		return view.Reply{}, r.broken
	}
	return view.Done("Search completed."), nil
}

// badCharset names the charsets that there are (RFC 3501 §7.1).
var badCharset = view.Reply{Cond: imapwire.NO, Code: imapwire.Code{Name: "BADCHARSET", Args: "(" + strings.Join(message.CharsetNames(), " ") + ")"},
	Text: "Unknown charset."}

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

// search gives the positions' numbers that match: sequence numbers, or UIDs.
func (r *run) search() []uint32 {
	told := r.ctx.View.Told()
	var hits []uint32
	for i := range told.Len() {
		uid := told.At(i).UID
		entry, keywords, _ := r.ctx.View.Entry(uid)
		s := &subject{entry: entry, keywords: keywords, seq: uint32(i) + 1,
			Message: opened.Message{Box: r.box, UID: uid, Parser: &r.parser, Limits: r.cfg.Limits}}
		ok, err := r.matches(r.root, s)
		s.Close()
		if err != nil {
			r.failed(uid, err)
			continue
		}
		if !ok {
			continue
		}
		n := s.seq
		if r.ctx.UID {
			n = uid
		}
		hits = append(hits, n)
		if r.extended && r.want == rMin {
			break
		}
	}
	return hits
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
		return s.entry.Flags&n.flag != 0, nil
	case kKeyword:
		return slices.ContainsFunc(s.keywords, func(k string) bool { return strings.EqualFold(k, n.name) }), nil
	case kRecent:
		return r.ctx.View.Recent(s.UID), nil
	case kSeqs:
		return n.nums.Contains(s.seq), nil
	case kUIDs:
		return n.nums.Contains(s.UID), nil
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
		head, err := s.Head()
		if err != nil {
			return false, err
		}
		date, ok := message.ParseDate(head.Envelope.Date)
		return ok && n.compareDate(imapwire.DateOf(date)), nil
	case kHeader:
		head, err := s.Head()
		if err != nil {
			return false, err
		}
		return r.in(s, func(msg mailstore.Message) (bool, error) { return n.key.InHeader(msg, head, n.name, r.cfg.Limits) })
	}
	if n.key.Empty() {
		return true, nil
	}
	tree, err := s.Tree()
	if err != nil {
		return false, err
	}
	look := n.key.InBody
	if n.kind == kText {
		look = n.key.InText
	}
	return r.in(s, func(msg mailstore.Message) (bool, error) { return look(msg, tree, r.cfg.Limits) })
}

func (r *run) in(s *subject, look func(mailstore.Message) (bool, error)) (bool, error) {
	msg, err := s.Open() // the structure may have come out of the cache
	if err != nil {
		return false, err
	}
	return look(msg)
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
func (r *run) answer(hits []uint32) {
	enc := r.ctx.Enc
	if !r.extended {
		enc.Untagged().Atom("SEARCH")
		for _, n := range hits {
			enc.SP().Num(n)
		}
		enc.CRLF()
		return
	}
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
			enc.SP().Atom("ALL").SP().Set(numset.FromSorted(hits))
		}
	}
	if r.want&rCount != 0 {
		enc.SP().Atom("COUNT").SP().Num(uint32(len(hits)))
	}
	enc.CRLF()
}
