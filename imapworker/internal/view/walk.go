package view

import (
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// Item is one message of a walk.
type Item struct {
	Seq             uint32
	mailstore.Entry      // the newest that is known
	Gone            bool // it was expunged: the entry is the last one known
}

// Seqs gives the sequence numbers of the messages that a sequence set of this
// client names: Resolve without a look at each of them.
func (v *View) Seqs(set numset.Expr, uid bool) (numset.Set, error) {
	n := v.told.Len()
	var out numset.Set
	switch {
	case uid && n > 0:
		out = v.seqsOf(set.Resolve(v.told.At(n - 1).UID))
	case uid:
	case set.Highest() > uint32(n) || n == 0 && set.HasStar() && !set.OnlySaved():
		return out, errkind.Newf("message set", errkind.Invalid, "message number beyond the last message")
	default:
		out = set.Resolve(uint32(n))
	}
	if set.HasSaved() {
		out = out.Union(v.seqsOf(v.saved))
	}
	return out, nil
}

// seqsOf gives the sequence numbers of those messages of uids that the client
// knows of.
func (v *View) seqsOf(uids numset.Set) (out numset.Set) {
	for _, r := range uids.Ranges() {
		first, _ := v.told.Find(r.First)
		last, found := v.told.Find(r.Last)
		if found {
			last++
		}
		out.AddRange(uint32(first)+1, uint32(last))
	}
	return out
}

// Save makes uids what "$" names from now on (RFC 5182 §2.1). Messages leave it
// when their expunge is told.
func (v *View) Save(uids numset.Set) { v.saved = uids }

// Saved gives the UIDs that "$" names.
func (v *View) Saved() (out numset.Set) {
	for _, uid := range v.each(v.saved) {
		out.Add(uid)
	}
	return out
}

// All are the sequence numbers of all messages that the client knows of.
func (v *View) All() numset.Set { return numset.Span(1, v.Len()) }

// Walk calls do with the messages of some sequence numbers, ascending, as many at
// a time as buf holds. before, which may be nil, gets the same messages first and
// may change the mailbox: do sees them as they are then. The items are valid until
// do returns.
func (v *View) Walk(seqs numset.Set, buf []Item, before func([]Item) error, do func([]Item) error) error {
	return v.WalkChanged(seqs, 0, buf, before, do)
}

// changeFinder is a picture that knows where nothing is newer than a mod-sequence:
// it gives the first position from pos on at which there may be something.
type changeFinder interface {
	NextChanged(pos int, since mailstore.ModSeq) int
}

// WalkChanged is Walk, of those messages alone whose mod-sequence is above since
// before before is called. It looks at no more messages than it must.
func (v *View) WalkChanged(seqs numset.Set, since mailstore.ModSeq, buf []Item, before func([]Item) error, do func([]Item) error) error {
	if since > 0 && since >= v.cur.HighestModSeq() {
		return nil
	}
	entries := make([]mailstore.Entry, len(buf))
	finder, _ := v.told.(changeFinder)
	if since == 0 || !v.same() { // what told does not know may have changed anywhere
		finder = nil
	}
	for _, r := range seqs.Ranges() {
		for pos, end := int(r.First)-1, min(int(r.Last), v.told.Len()); pos < end; {
			if finder != nil {
				if pos = finder.NextChanged(pos, since); pos >= end {
					break
				}
			}
			n := mailstore.Entries(v.told, pos, entries[:min(len(entries), end-pos)])
			if n == 0 {
				return nil
			}
			for i, e := range entries[:n] {
				buf[i] = Item{Seq: uint32(pos+i) + 1, Entry: e}
			}
			pos += n
			items := buf[:n]
			if since > 0 {
				v.renew(items)
				items = v.changedSince(items, since)
			}
			if before != nil && len(items) > 0 {
				if err := before(items); err != nil {
					return err
				}
			}
			v.renew(items)
			if len(items) == 0 {
				continue
			}
			if err := do(items); err != nil {
				return err
			}
		}
	}
	return nil
}

// changedSince leaves the items that are newer than since.
func (v *View) changedSince(items []Item, since mailstore.ModSeq) []Item {
	kept := items[:0]
	for _, it := range items {
		if v.ModSeqOf(it.Entry) > uint64(since) {
			kept = append(kept, it)
		}
	}
	return kept
}

// renew puts the newest state into items that hold what the client was told. Where that
// is the same, the numbers of sets of keywords may be others still: another's mailbox
// that was opened anew, say.
func (v *View) renew(items []Item) {
	if v.told == v.cur {
		return
	}
	same := v.same()
	for i := range items {
		it := &items[i]
		if same {
			it.Entry = v.cur.At(int(it.Seq) - 1)
			continue
		}
		it.Entry, _, it.Gone = v.Entry(it.UID)
	}
}

// MarkItemsTold is MarkTold of each item.
func (v *View) MarkItemsTold(items []Item) {
	if v.unchanged() {
		return
	}
	for i := range items {
		v.MarkTold(items[i].UID)
	}
}

// Current reports whether the client has been told all that is known here.
func (v *View) Current() bool { return v.same() }

// same reports whether the newest picture has nothing that told has not.
func (v *View) same() bool {
	return v.told.HighestModSeq() == v.cur.HighestModSeq() && v.told.Len() == v.cur.Len() && v.told.UIDNext() == v.cur.UIDNext()
}

// KeywordsOf gives the names of an item's keywords.
func (v *View) KeywordsOf(it *Item) []string {
	switch last, ok := v.flags[it.UID]; {
	case it.Gone && ok:
		return last.keywords
	case it.Keywords == 0:
		return nil
	case it.Gone:
		return v.told.Keywords(it.Keywords)
	}
	return v.cur.Keywords(it.Keywords)
}

// FlagTexts are the lists of flags that FETCH writes, made once for each
// combination that a command meets.
type FlagTexts struct {
	plain [mailstore.AllFlags + 1][]byte
	sets  map[flagKey][]byte
	of    mailstore.Snapshot // that the numbers of sets belong to
}

type flagKey struct {
	flags    mailstore.Flags
	keywords uint32
	recent   bool
}

// maxFlagTexts bounds how many combinations are kept.
const maxFlagTexts = 1 << 12

// Flags gives a message's flags as FETCH FLAGS shows them, by make, which writes
// a list of names.
func (t *FlagTexts) Flags(v *View, it *Item, make func(names []string) []byte) []byte {
	recent := !v.recent.Empty() && v.recent.Contains(it.UID)
	if it.Keywords == 0 && !recent && !it.Gone {
		text := &t.plain[it.Flags&mailstore.AllFlags]
		if *text == nil {
			*text = make(SystemFlags(it.Flags))
		}
		return *text
	}
	if t.sets == nil || t.of != v.cur || len(t.sets) >= maxFlagTexts {
		t.sets, t.of = map[flagKey][]byte{}, v.cur
	}
	key := flagKey{it.Flags, it.Keywords, recent}
	if text, ok := t.sets[key]; ok && !it.Gone {
		return text
	}
	names := SystemFlags(it.Flags)
	if recent {
		names = append(names, `\Recent`)
	}
	text := make(append(names, v.KeywordsOf(it)...))
	if !it.Gone { // else the number is another picture's
		t.sets[key] = text
	}
	return text
}
