package query

import (
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/message"
	"rookery/internal/numset"
)

// Mail is one message while it is looked at: opened only when needed, and as
// little of it read as will do.
type Mail struct {
	Box   mailstore.Mailbox
	Entry mailstore.Entry
	Seq   uint32
	// Keywords are the entry's.
	Keywords []string

	parser *message.Parser
	facts  mailstore.Facts
	known  mailstore.FactsWant
	msg    mailstore.Message
	head   *message.Part
	tree   *message.Part
}

// limits bound what parsing a hostile message costs.
var limits = message.DefaultLimits()

// Open gives the message itself; errkind.Expunged if it is gone.
func (m *Mail) Open() (mailstore.Message, error) {
	if m.msg == nil {
		msg, err := m.Box.Message(m.Entry.UID)
		if err != nil {
			return nil, err
		}
		m.msg = msg
	}
	return m.msg, nil
}

// Head gives the header.
func (m *Mail) Head() (*message.Part, error) {
	if m.tree != nil {
		return m.tree, nil
	}
	if m.head != nil {
		return m.head, nil
	}
	msg, err := m.Open()
	if err != nil {
		return nil, err
	}
	m.head, err = m.parser.ParseHeader(msg, msg.Size(), limits)
	return m.head, err
}

func (m *Mail) whole() (*message.Part, error) {
	if m.tree != nil {
		return m.tree, nil
	}
	msg, err := m.Open()
	if err != nil {
		return nil, err
	}
	m.tree, err = m.parser.Parse(msg, msg.Size(), limits)
	return m.tree, err
}

// Facts gives what is known of the message; what was asked for once is kept.
func (m *Mail) Facts(want mailstore.FactsWant) (mailstore.Facts, error) {
	all := mailstore.FactsWant{Size: want.Size || m.known.Size, InternalDate: want.InternalDate || m.known.InternalDate,
		SaveDate: want.SaveDate || m.known.SaveDate, GUID: want.GUID || m.known.GUID, UIDL: want.UIDL || m.known.UIDL}
	if all == m.known && all != (mailstore.FactsWant{}) {
		return m.facts, nil
	}
	f, err := m.Box.Facts(m.Entry.UID, all)
	if err == nil {
		m.facts, m.known = f, all
	}
	return f, err
}

// Close closes the message, if it was opened.
func (m *Mail) Close() {
	if m.msg != nil {
		m.msg.Close()
		m.msg = nil
	}
}

// cost is how much of a message a key must see: cheaper ones are asked first.
func (n *node) cost() int {
	switch n.kind {
	case kAnd, kOr, kNot:
		c := 0
		for _, s := range n.sub {
			c = max(c, s.cost())
		}
		return c
	case kInternal, kSaved, kSize, kGUID:
		return 1
	case kSent, kHeader:
		return 2
	case kBody, kText:
		return 3
	}
	return 0
}

// prepare resolves the sets for one mailbox and puts cheap keys first.
func (n *node) prepare(snap mailstore.Snapshot) {
	for _, s := range n.sub {
		s.prepare(snap)
	}
	slices.SortStableFunc(n.sub, func(a, b *node) int { return a.cost() - b.cost() })
	n.nums = numset.Set{}
	if snap.Len() == 0 {
		return
	}
	switch n.kind {
	case kUID:
		n.nums = n.expr.Resolve(snap.At(snap.Len() - 1).UID)
	case kSeq:
		n.nums = n.expr.Resolve(uint32(snap.Len()))
	}
}

// Run calls yield for each message of the picture that the query names, in
// order. A message that is gone matches nothing; one that cannot be read, here or
// in yield, is told to broken, and the search goes on. step is called for each message looked at.
func (q *Query) Run(box mailstore.Mailbox, snap mailstore.Snapshot, step func(done int) error, broken func(mailstore.UID, error), yield func(*Mail) error) error {
	q.root.prepare(snap)
	parser := &message.Parser{}
	for i := range snap.Len() {
		if err := step(i); err != nil {
			return err
		}
		e := snap.At(i)
		m := &Mail{Box: box, Entry: e, Seq: uint32(i) + 1, Keywords: snap.Keywords(e.Keywords), parser: parser}
		ok, err := m.matches(q.root)
		if err == nil && ok {
			err = yield(m)
		}
		m.Close()
		if err != nil && errkind.Of(err) == errkind.Other {
			return err // not the store's
		}
		if err != nil && !errkind.Is(err, errkind.Expunged) {
			broken(e.UID, err)
		}
	}
	return nil
}

func (m *Mail) matches(n *node) (bool, error) {
	switch n.kind {
	case kAll:
		return true, nil
	case kAnd:
		for _, s := range n.sub {
			if ok, err := m.matches(s); !ok || err != nil {
				return false, err
			}
		}
		return true, nil
	case kOr:
		for _, s := range n.sub {
			if ok, err := m.matches(s); ok || err != nil {
				return ok, err
			}
		}
		return false, nil
	case kNot:
		ok, err := m.matches(n.sub[0])
		return !ok && err == nil, err
	case kFlag:
		return m.Entry.Flags&n.flag != 0, nil
	case kKeyword:
		return slices.ContainsFunc(m.Keywords, func(k string) bool { return strings.EqualFold(k, n.name) }), nil
	case kUID:
		return n.nums.Contains(m.Entry.UID), nil
	case kSeq:
		return n.nums.Contains(m.Seq), nil
	case kInternal, kSaved, kSize, kGUID:
		return m.fact(n)
	}
	return m.content(n)
}

func (m *Mail) fact(n *node) (bool, error) {
	f, err := m.Facts(mailstore.FactsWant{Size: n.kind == kSize, InternalDate: n.kind == kInternal, SaveDate: n.kind == kSaved, GUID: n.kind == kGUID})
	if err != nil {
		return false, err
	}
	switch n.kind {
	case kSize:
		if n.order == before {
			return f.Size < n.size, nil
		}
		return f.Size > n.size, nil
	case kGUID:
		return hex.EncodeToString(f.GUID[:]) == n.name, nil
	case kSaved:
		return n.fits(f.SaveDate), nil
	}
	return n.fits(f.InternalDate), nil
}

// fits compares moments, or days as they were written (RFC 3501 §6.4.4: no zone
// counts).
func (n *node) fits(t time.Time) bool {
	if n.exact { // RFC 5032 §1: the moment itself is both older and younger
		return n.order == before && !t.After(n.at) || n.order == since && !t.Before(n.at)
	}
	c := day(t).Compare(day(n.at))
	switch n.order {
	case before:
		return c < 0
	case on:
		return c == 0
	}
	return c >= 0
}

func day(t time.Time) time.Time { return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC) }

// content asks the keys that must read the message.
func (m *Mail) content(n *node) (bool, error) {
	if n.kind == kSent || n.kind == kHeader {
		head, err := m.Head()
		if err != nil {
			return false, err
		}
		if n.kind == kSent {
			date, ok := message.ParseDate(head.Envelope.Date)
			return ok && n.fits(date), nil
		}
		msg, err := m.Open()
		if err != nil {
			return false, err
		}
		return n.key.InHeader(msg, head, n.name, limits)
	}
	if n.key.Empty() {
		return true, nil
	}
	tree, err := m.whole()
	if err != nil {
		return false, err
	}
	msg, err := m.Open()
	if err != nil {
		return false, err
	}
	if n.kind == kText {
		return n.key.InText(msg, tree, limits)
	}
	return n.key.InBody(msg, tree, limits)
}
