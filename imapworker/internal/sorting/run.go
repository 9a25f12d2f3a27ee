package sorting

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"rookery/imapworker/internal/opened"
	"rookery/imapworker/internal/thread"
	"rookery/imapworker/internal/view"
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/message"
)

// looker reads facts of the messages that were found, one after another. One that
// is gone or cannot be read has none: it is sorted as if its header were empty,
// and named in the log.
type looker struct {
	ctx    *view.Context
	msg    opened.Message
	parser message.Parser
	fact   []byte
	refs   []byte
	fields *message.FieldSet
	broken error
	gone   bool // one was expunged

	stopped error // the client is gone
}

// complete reports whether the facts of all messages were there.
func (l *looker) complete() bool { return l.broken == nil && !l.gone && l.stopped == nil }

func newLooker(ctx *view.Context, limits message.Limits) *looker {
	l := &looker{ctx: ctx, fields: message.NewFieldSet(referencesName, false)}
	l.msg = opened.Message{Box: ctx.View.Box(), Parser: &l.parser, Limits: limits}
	return l
}

// nothing are the facts of a message without a header.
var nothing = facts(appendFacts(nil, &message.Envelope{}))

func (l *looker) next(seq uint32) { l.msg.Next(l.ctx.View.UID(seq)) }

// sort gives the fact imap.sort of the message; it is valid until the next one.
func (l *looker) sort() facts {
	f, err := sortFacts(&l.msg, l.fact)
	if l.failed(err) {
		return nothing
	}
	l.fact = f
	return f
}

func (l *looker) ids() (own thread.ID, refs []thread.ID) {
	own, refs, out, err := references(&l.msg, l.refs, l.fields)
	l.refs = out
	if l.failed(err) {
		return thread.ID{}, nil
	}
	return own, refs
}

func (l *looker) facts(want mailstore.FactsWant) mailstore.Facts {
	f, err := l.msg.Box.Facts(l.msg.UID, want)
	l.failed(err)
	return f
}

// sentOr gives the sent date, or where there is none the INTERNALDATE
// (RFC 5256 §2.2).
func (l *looker) sentOr(f facts) int64 {
	if sent, ok := f.sent(); ok {
		return sent
	}
	return l.facts(mailstore.FactsWant{InternalDate: true}).InternalDate.Unix()
}

func (l *looker) failed(err error) bool {
	if err == nil || errkind.Is(err, errkind.Expunged) {
		l.gone = l.gone || err != nil
		return err != nil
	}
	if l.ctx.Log != nil {
		l.ctx.Log(fmt.Sprintf("message with UID %d cannot be sorted: %v", l.msg.UID, err))
	}
	if l.broken == nil {
		l.broken = err
	}
	return true
}

// column holds what all messages are compared by in one criterion: numbers, or
// texts with their first eight bytes as a number.
type column struct {
	criterion
	numbers []int64
	heads   []uint64
	ends    []uint32 // where each text ends in arena
	arena   []byte
}

func (c *column) add(l *looker, f facts) {
	switch c.key.kind {
	case kText:
		s := f.text(c.key.text)
		var head [8]byte
		copy(head[:], s)
		c.heads = append(c.heads, binary.BigEndian.Uint64(head[:]))
		c.arena = append(c.arena, s...)
		c.ends = append(c.ends, uint32(len(c.arena)))
	case kSent:
		c.numbers = append(c.numbers, l.sentOr(f))
	case kArrival:
		c.numbers = append(c.numbers, l.facts(mailstore.FactsWant{InternalDate: true}).InternalDate.Unix())
	case kSize:
		c.numbers = append(c.numbers, l.facts(mailstore.FactsWant{Size: true}).Size)
	}
}

func (c *column) text(i int32) []byte {
	start := uint32(0)
	if i > 0 {
		start = c.ends[i-1]
	}
	return c.arena[start:c.ends[i]]
}

func (c *column) compare(a, b int32) int {
	var r int
	if c.key.kind != kText {
		r = cmp.Compare(c.numbers[a], c.numbers[b])
	} else if r = cmp.Compare(c.heads[a], c.heads[b]); r == 0 {
		r = bytes.Compare(c.text(a), c.text(b))
	}
	if c.reverse {
		return -r
	}
	return r
}

// columns are one for each criterion, empty.
func (c *sortCommand) columns() []column {
	columns := make([]column, len(c.criteria))
	for i, one := range c.criteria {
		columns[i].criterion = one
	}
	return columns
}

// fill puts a message into the columns, as their next row.
func (c *sortCommand) fill(columns []column, l *looker, seq uint32) {
	l.next(seq)
	var f facts
	if slices.ContainsFunc(c.criteria, criterion.header) {
		f = l.sort()
	}
	for i := range columns {
		columns[i].add(l, f)
	}
}

// compare compares two rows by all criteria.
func compare(columns []column, a, b int32) int {
	for i := range columns {
		if r := columns[i].compare(a, b); r != 0 {
			return r
		}
	}
	return 0
}

// order sorts sequence numbers. What is alike in all criteria stays in the
// mailbox's order.
func (c *sortCommand) order(l *looker, seqs []uint32) []uint32 {
	columns := c.columns()
	for n, seq := range seqs {
		if !l.progress(n, len(seqs)) {
			break
		}
		c.fill(columns, l, seq)
	}
	l.msg.Close()
	if l.stopped != nil {
		return seqs
	}
	rows := make([]int32, len(seqs))
	for i := range rows {
		rows[i] = int32(i)
	}
	slices.SortFunc(rows, func(a, b int32) int {
		return cmp.Or(compare(columns, a, b), cmp.Compare(a, b))
	})
	out := make([]uint32, len(rows))
	for i, row := range rows {
		out[i] = seqs[row]
	}
	return out
}

// Run answers SORT.
func (c *sortCommand) Run(ctx *view.Context) (reply view.Reply, err error) {
	reply, err = c.answer(ctx)
	c.program.End(ctx, reply, err)
	return reply, err
}

func (c *sortCommand) answer(ctx *view.Context) (view.Reply, error) {
	first, second := halves(ctx)
	seqs, refused, broken, err := c.program.Find(first)
	if err != nil || refused != nil {
		return orNone(refused), err
	}
	l := newLooker(second, c.limits)
	if seqs = c.sorted(l, seqs); l.stopped != nil {
		return view.Reply{}, l.stopped
	}
	if c.program.Extended() {
		c.program.Answer(ctx, seqs)
	} else {
		ctx.Enc.Untagged().Atom("SORT")
		for _, seq := range seqs {
			ctx.Enc.SP().Num(number(ctx, seq))
		}
		c.program.WriteHighest(ctx, seqs)
		ctx.Enc.CRLF()
	}
	if err := errors.Join(broken, l.broken); err != nil {
		return view.Reply{}, err
	}
	c.program.Keep(ctx, seqs, func(ctx *view.Context, seqs []uint32) []uint32 {
		return c.order(newLooker(ctx, c.limits), seqs)
	})
	return view.Done("Sort completed."), nil
}

// halves makes two contexts of one, whose progress is that of the first and of the
// second half of a command.
func halves(ctx *view.Context) (first, second *view.Context) {
	if ctx.Progress == nil {
		return ctx, ctx
	}
	goal := uint64(ctx.View.Len())
	one, two := *ctx, *ctx
	one.Progress = func(done, of uint64) error { return ctx.Progress(done*goal/of/2, goal) }
	two.Progress = func(done, of uint64) error { return ctx.Progress(goal/2+done*goal/of/2, goal) }
	return &one, &two
}

// progress tells how far a step is that looks at some messages; it says false when
// the command must end.
func (l *looker) progress(done, goal int) bool {
	if done%progressEvery == progressEvery-1 && l.ctx.Progress != nil && l.stopped == nil {
		l.stopped = l.ctx.Progress(uint64(done), uint64(goal))
	}
	return l.stopped == nil
}

// progressEvery is after how many messages the clock is looked at.
const progressEvery = 64

func orNone(r *view.Reply) view.Reply {
	if r == nil {
		return view.Reply{}
	}
	return *r
}

// number is what the client calls a message.
func number(ctx *view.Context, seq uint32) uint32 {
	if ctx.UID {
		return ctx.View.UID(seq)
	}
	return seq
}

// Run answers THREAD.
func (c *threadCommand) Run(ctx *view.Context) (view.Reply, error) {
	first, second := halves(ctx)
	seqs, refused, broken, err := c.program.Find(first)
	if err != nil || refused != nil {
		return orNone(refused), err
	}
	now := momentOf(ctx.View)
	all := len(seqs) == now.n
	text := []byte(nil)
	if all {
		text = c.kept.thread(now, c.name, ctx.UID)
	}
	l := newLooker(second, c.limits)
	if text == nil && len(seqs) > 0 {
		text = c.build(c.messages(l, seqs)).Append(nil)
		if all && l.complete() {
			c.kept.keepThread(&keptThread{moment: now, by: c.name, uid: ctx.UID, text: text})
		}
	}
	if l.stopped != nil {
		return view.Reply{}, l.stopped
	}
	ctx.Enc.Untagged().Atom("THREAD")
	if len(seqs) > 0 {
		ctx.Enc.SP().Append(text)
	}
	ctx.Enc.CRLF()
	return view.Done("Thread completed."), errors.Join(broken, l.broken)
}

// messages gives what the algorithm looks at.
func (c *threadCommand) messages(l *looker, seqs []uint32) []thread.Message {
	messages := make([]thread.Message, len(seqs))
	for i, seq := range seqs {
		if !l.progress(i, len(seqs)) {
			break
		}
		l.next(seq)
		f := l.sort()
		m := thread.Message{Num: number(l.ctx, seq), Sent: l.sentOr(f)}
		if c.needs&needsSubject != 0 {
			m.Subject, m.Reply = string(f.text(subject)), f.reply()
		}
		if c.needs&needsRefs != 0 {
			m.ID, m.Refs = l.ids()
		}
		messages[i] = m
	}
	l.msg.Close()
	return messages
}
