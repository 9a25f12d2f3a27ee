package guarded

import (
	"math"

	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// Own is what one grantee has seen of a mailbox, and when that changed. It does not
// change; the zero Own has seen nothing.
//
// Changes of his own need mod-sequences that are his own: the store knows nothing of
// them. He is shown the store's numbers, each raised by how many changes of his own came
// before it, and a change of his own has the number above the highest that he was shown
// then. So no number is used twice, and none goes down. What is remembered of the changes
// is bounded: of the oldest, two become one, and more messages than need be count as
// changed by it.
type Own struct {
	Seen  numset.Set
	Marks []Mark // ascending
}

// Mark is a change of a grantee's own.
type Mark struct {
	After mailstore.ModSeq // the mailbox's highest number then, as the store has it
	Off   mailstore.ModSeq // by how much the store's numbers above After are raised
	At    mailstore.ModSeq // the number of the change, as the grantee is shown it
	UIDs  numset.Set       // the messages whose \Seen changed
}

// MaxMarks bounds the changes that are remembered.
const MaxMarks = 32

// Changed gives what is so after a change. highest is the store's for the mailbox; 0: it
// has no numbers, and there are none of the grantee's.
func (o Own) Changed(add, remove numset.Set, highest mailstore.ModSeq) Own {
	out := Own{Seen: o.Seen.Union(add).Minus(remove), Marks: o.Marks}
	uids := add.Union(remove)
	if highest == 0 || uids.Empty() {
		return out
	}
	at := o.Highest(highest) + 1
	out.Marks = append(append([]Mark{}, o.Marks...), Mark{After: highest, At: at, Off: at - highest, UIDs: uids})
	if len(out.Marks) > MaxMarks {
		a, b := out.Marks[0], out.Marks[1]
		out.Marks[1] = Mark{After: a.After, Off: b.Off, At: b.At, UIDs: a.UIDs.Union(b.UIDs)}
		out.Marks = out.Marks[1:]
	}
	return out
}

// shown gives a number of the store's as the grantee is shown it.
func (o Own) shown(m mailstore.ModSeq) mailstore.ModSeq {
	for i := len(o.Marks) - 1; i >= 0 && m > 0; i-- {
		if o.Marks[i].After < m {
			return m + o.Marks[i].Off
		}
	}
	return m
}

// Highest gives the mailbox's highest number as the grantee is shown it.
func (o Own) Highest(m mailstore.ModSeq) mailstore.ModSeq {
	if n := len(o.Marks); n > 0 && m > 0 {
		return max(o.shown(m), o.Marks[n-1].At)
	}
	return m
}

// number gives an entry's number as the grantee is shown it.
func (o Own) number(e mailstore.Entry) mailstore.ModSeq {
	for i := len(o.Marks) - 1; i >= 0 && e.ModSeq > 0; i-- {
		if o.Marks[i].UIDs.Contains(e.UID) {
			return max(o.Marks[i].At, o.shown(e.ModSeq))
		}
	}
	return o.shown(e.ModSeq)
}

// since gives the highest of the store's numbers that is shown as one not above m.
func (o Own) since(m mailstore.ModSeq) mailstore.ModSeq {
	top := mailstore.ModSeq(math.MaxInt64)
	for i := len(o.Marks) - 1; i >= 0; i-- {
		if k := o.Marks[i]; m > k.Off && m-k.Off > k.After {
			return min(m-k.Off, top)
		}
		top = o.Marks[i].After
	}
	return min(m, top)
}

// ownWatchers are told of a grantee's own changes, which the store does not know of.
type ownWatchers map[mailstore.GUID]map[*chan<- struct{}]struct{}

// watchOwn adds somebody; stop ends it.
func (s *Store) watchOwn(box mailstore.GUID, c chan<- struct{}) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watchers == nil {
		s.watchers = ownWatchers{}
	}
	if s.watchers[box] == nil {
		s.watchers[box] = map[*chan<- struct{}]struct{}{}
	}
	s.watchers[box][&c] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if delete(s.watchers[box], &c); len(s.watchers[box]) == 0 {
			delete(s.watchers, box)
		}
	}
}

// tellOwn tells who watches a mailbox.
func (s *Store) tellOwn(box mailstore.GUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.watchers[box] {
		select {
		case *c <- struct{}{}:
		default:
		}
	}
}

// Watch tells of the user's own changes, too.
func (b *box) Watch(c chan<- struct{}) (stop func()) {
	inner := b.Mailbox.Watch(c)
	if !b.s.private() {
		return inner
	}
	own := b.s.watchOwn(b.Mailbox.Info().GUID, c)
	return func() {
		inner()
		own()
	}
}
