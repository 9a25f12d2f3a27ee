package engine

import (
	"iter"
	"slices"

	"rookery/internal/mailstore"
)

// Edit is a mailbox's picture and what is to become of it. Positions are always
// those of the picture as it was when the Edit began: nothing moves until the
// engine commits. It is used under the user's lock by one goroutine.
type Edit struct {
	pic   picture
	words *words
	next  mailstore.UID
	flags map[int]flagEdit
	locs  map[int]string
	gone  map[int]bool
	added []Message
	dirty bool
}

// picture is what an Edit needs of an index's view.
type picture interface {
	mailstore.Snapshot
	message(pos int) Message
	loc(pos int) string
}

type flagEdit struct {
	flags    mailstore.Flags
	keywords []string
}

func newEdit(p picture, w *words) *Edit { return &Edit{pic: p, words: w, next: p.UIDNext()} }

// Sound is asked by a format that is about to change its files by what it read in
// the picture: an error, to be returned as it is, says that this may have been
// blank, since the index turned out damaged.
func (e *Edit) Sound() error {
	if p, ok := e.pic.(interface{ Damaged() bool }); ok && p.Damaged() {
		return errPicture
	}
	return nil
}

// Len is the number of messages in the picture.
func (e *Edit) Len() int { return e.pic.Len() }

// UID gives the UID at a position.
func (e *Edit) UID(pos int) mailstore.UID { return e.pic.At(pos).UID }

// Loc gives where the message at a position is, as SetLoc left it.
func (e *Edit) Loc(pos int) string {
	if l, ok := e.locs[pos]; ok {
		return l
	}
	return e.pic.loc(pos)
}

// Flags gives the flags and the keywords at a position, as SetFlags left them.
func (e *Edit) Flags(pos int) (mailstore.Flags, []string) {
	if f, ok := e.flags[pos]; ok {
		return f.flags, f.keywords
	}
	at := e.pic.At(pos)
	return at.Flags, e.pic.Keywords(at.Keywords)
}

// At gives all that is known of the message at a position.
func (e *Edit) At(pos int) Message {
	m := e.pic.message(pos)
	m.Loc = e.Loc(pos)
	m.Flags, m.Keywords = e.Flags(pos)
	return m
}

// Find gives the position of a UID, or where it would stand.
func (e *Edit) Find(uid mailstore.UID) (pos int, found bool) { return e.pic.Find(uid) }

// Next is the UID that the next message gets.
func (e *Edit) Next() mailstore.UID { return e.next }

// SetNext raises Next; a lower number does nothing.
func (e *Edit) SetNext(uid mailstore.UID) {
	if uid > e.next {
		e.next, e.dirty = uid, true
	}
}

// SetFlags says that a message's flags and keywords are these now. The same ones
// again change nothing.
func (e *Edit) SetFlags(pos int, flags mailstore.Flags, keywords []string) {
	was, words := e.Flags(pos)
	keywords = e.words.spell(keywords)
	if was == flags&mailstore.AllFlags && slices.Equal(words, keywords) {
		return
	}
	if e.flags == nil {
		e.flags = map[int]flagEdit{}
	}
	e.flags[pos], e.dirty = flagEdit{flags & mailstore.AllFlags, keywords}, true
}

// SetLoc says where a message is now.
func (e *Edit) SetLoc(pos int, loc string) {
	if e.Loc(pos) == loc {
		return
	}
	if e.locs == nil {
		e.locs = map[int]string{}
	}
	e.locs[pos], e.dirty = loc, true
}

// Remove says that messages are gone.
func (e *Edit) Remove(positions ...int) {
	if e.gone == nil {
		e.gone = map[int]bool{}
	}
	for _, p := range positions {
		e.gone[p], e.dirty = true, true
	}
}

// Removed reports whether Remove named a position.
func (e *Edit) Removed(pos int) bool { return e.gone[pos] }

// Add puts a message behind all others. Its UID must be Next or above, and Next
// is then the one after it.
func (e *Edit) Add(m Message) {
	m.Keywords = e.words.spell(m.Keywords)
	e.added, e.dirty = append(e.added, m), true
	e.next = max(e.next, m.UID+1)
}

// All compares a whole list of the mailbox's messages, ascending by UID, with the
// picture and notes every difference: what a format does whose Sync reads
// everything. A message of the list whose UID is below Next and not in the
// picture is Corrupt input: it is left out, and told by the second result.
func (e *Edit) All(list iter.Seq2[Message, error]) (odd []mailstore.UID, err error) {
	pos, n := 0, e.Len()
	var last mailstore.UID
	for m, err := range list {
		if err != nil {
			return odd, err
		}
		if m.UID <= last {
			odd = append(odd, m.UID)
			continue
		}
		last = m.UID
		for pos < n && e.UID(pos) < m.UID {
			e.Remove(pos)
			pos++
		}
		switch {
		case pos < n && e.UID(pos) == m.UID:
			e.SetFlags(pos, m.Flags, m.Keywords)
			e.SetLoc(pos, m.Loc)
			pos++
		case m.UID >= e.next:
			e.Add(m)
		default:
			odd = append(odd, m.UID)
		}
	}
	for ; pos < n; pos++ {
		e.Remove(pos)
	}
	return odd, nil
}
