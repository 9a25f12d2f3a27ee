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
}

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

// order sorts sequence numbers. What is alike in all criteria stays in the
// mailbox's order.
func (c *sortCommand) order(l *looker, seqs []uint32) []uint32 {
	columns := make([]column, len(c.criteria))
	headers := false // whether any criterion needs the message's header
	for i, one := range c.criteria {
		columns[i].criterion = one
		headers = headers || one.key.kind == kText || one.key.kind == kSent
	}
	for _, seq := range seqs {
		l.next(seq)
		var f facts
		if headers {
			f = l.sort()
		}
		for i := range columns {
			columns[i].add(l, f)
		}
	}
	l.msg.Close()
	rows := make([]int32, len(seqs))
	for i := range rows {
		rows[i] = int32(i)
	}
	slices.SortFunc(rows, func(a, b int32) int {
		for i := range columns {
			if r := columns[i].compare(a, b); r != 0 {
				return r
			}
		}
		return cmp.Compare(a, b)
	})
	out := make([]uint32, len(rows))
	for i, row := range rows {
		out[i] = seqs[row]
	}
	return out
}

// Run answers SORT.
func (c *sortCommand) Run(ctx *view.Context) (view.Reply, error) {
	seqs, refused, broken, err := c.program.Find(ctx)
	if err != nil || refused != nil {
		return orNone(refused), err
	}
	l := newLooker(ctx, c.limits)
	seqs = c.order(l, seqs)
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
	return view.Done("Sort completed."), errors.Join(broken, l.broken)
}

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
	seqs, refused, broken, err := c.program.Find(ctx)
	if err != nil || refused != nil {
		return orNone(refused), err
	}
	l := newLooker(ctx, c.limits)
	messages := make([]thread.Message, len(seqs))
	for i, seq := range seqs {
		l.next(seq)
		f := l.sort()
		m := thread.Message{Num: number(ctx, seq), Sent: l.sentOr(f)}
		if c.needs&needsSubject != 0 {
			m.Subject, m.Reply = string(f.text(subject)), f.reply()
		}
		if c.needs&needsRefs != 0 {
			m.ID, m.Refs = l.ids()
		}
		messages[i] = m
	}
	l.msg.Close()
	ctx.Enc.Untagged().Atom("THREAD")
	if len(messages) > 0 {
		ctx.Enc.SP().Append(c.build(messages).Append(nil))
	}
	ctx.Enc.CRLF()
	return view.Done("Thread completed."), errors.Join(broken, l.broken)
}
