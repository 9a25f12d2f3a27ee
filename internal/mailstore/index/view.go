package index

import (
	"sort"
	"sync/atomic"

	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// View is an immutable picture of a mailbox, a mailstore.Snapshot and more.
// Views share what did not change; making one costs nothing per message. A view
// stays right as long as somebody holds it, whatever happens to the files.
type View struct {
	box      *Box
	pages    []*page
	starts   []uint32 // position of each page's first record; one more at the end
	built    bool
	validity uint32
	next     uint32
	high     uint64
	floor    uint64 // history reaches back to it
	sets     [][]string
	state    string
	counts   Counts
	hist     *history
	firstUID atomic.Uint32 // no message below it is unseen
}

var _ mailstore.Snapshot = (*View)(nil)

// Len is the number of messages.
func (v *View) Len() int { return v.counts.Messages }

// Built reports whether the index knows the mailbox: a driver has filled it
// since it was new, lost or reset. If not, the view is empty, and whoever locks
// the user next adds everything.
func (v *View) Built() bool { return v.built }

// UIDValidity is what Tx.Validity set; 0 if nothing did.
func (v *View) UIDValidity() uint32 { return v.validity }

// UIDNext is above every UID of the mailbox; see Tx.Next.
func (v *View) UIDNext() mailstore.UID { return v.next }

// HighestModSeq is the last MODSEQ used in the mailbox. It never goes down.
func (v *View) HighestModSeq() mailstore.ModSeq { return mailstore.ModSeq(v.high) }

// State is what Tx.State kept, "" if nothing.
func (v *View) State() string { return v.state }

// Counts gives the sums, which cost nothing.
func (v *View) Counts() Counts { return v.counts }

// Keywords gives the names of a set, sorted; the caller must not change it.
func (v *View) Keywords(set uint32) []string {
	if int(set) < len(v.sets) {
		return v.sets[set]
	}
	return nil
}

// Sets gives the names of all keyword sets by number; 0 is the empty one. The
// caller must not change them.
func (v *View) Sets() [][]string { return v.sets }

// locate finds page and record of a position.
func (v *View) locate(pos int) (p, i int) {
	// Pages are mostly full: the guess is right or a little low.
	p = min(pos/pageSize, len(v.pages)-1)
	if pos < int(v.starts[p]) || pos >= int(v.starts[p+1]) {
		p = sort.Search(len(v.pages), func(k int) bool { return int(v.starts[k+1]) > pos })
	}
	return p, v.pages[p].gone.unmarked(pos - int(v.starts[p]))
}

// coreOf gives the changing part of record i of a page.
func (p *page) coreOf(i int) core {
	c := p.recs[i].core
	if k, ok := p.find(i); ok {
		ch := &p.ch[k]
		c.kw, c.modseq, c.flags, c.bits = ch.kw, ch.modseq, mailstore.Flags(ch.flags), ch.bits
	}
	return c
}

// extraOf gives the other part.
func (p *page) extraOf(i int) extra {
	if k, ok := p.find(i); ok && p.ch[k].x != nil {
		return *p.ch[k].x
	}
	return p.recs[i].extra
}

func entryOf(c core) mailstore.Entry {
	return mailstore.Entry{UID: c.uid, Flags: c.flags, Keywords: c.kw, ModSeq: mailstore.ModSeq(c.modseq)}
}

// At gives the entry at a position.
func (v *View) At(pos int) mailstore.Entry {
	p, i := v.locate(pos)
	return entryOf(v.pages[p].coreOf(i))
}

// Bits gives the driver's bits at a position.
func (v *View) Bits(pos int) uint8 {
	p, i := v.locate(pos)
	return v.pages[p].coreOf(i).bits
}

// Rec gives everything about the message at a position.
func (v *View) Rec(pos int) Record {
	p, i := v.locate(pos)
	return recordOf(v.pages[p].coreOf(i), v.pages[p].extraOf(i))
}

// Loc gives the message's Loc.
func (v *View) Loc(pos int) string {
	p, i := v.locate(pos)
	return v.pages[p].extraOf(i).loc
}

// Entries fills dst from position from on and gives how many it filled: faster
// than At where many are asked for.
func (v *View) Entries(from int, dst []mailstore.Entry) int {
	n := min(len(dst), v.Len()-from)
	if n <= 0 {
		return 0
	}
	p, i := v.locate(from)
	for k := 0; k < n; p, i = p+1, 0 {
		pg := v.pages[p]
		for ; i < pg.n && k < n; i++ {
			if !pg.gone.has(i) {
				dst[k] = entryOf(pg.coreOf(i))
				k++
			}
		}
	}
	return n
}

// Each calls yield for every message from position from on, until it returns false.
func (v *View) Each(from int, yield func(pos int, r Record) bool) {
	if from >= v.Len() {
		return
	}
	pos := from
	for p, i := v.locate(from); p < len(v.pages); p, i = p+1, 0 {
		pg := v.pages[p]
		for ; i < pg.n; i++ {
			if pg.gone.has(i) {
				continue
			}
			if !yield(pos, recordOf(pg.coreOf(i), pg.extraOf(i))) {
				return
			}
			pos++
		}
	}
}

// Find gives the position of uid, or where it would stand.
func (v *View) Find(uid mailstore.UID) (pos int, found bool) {
	p := sort.Search(len(v.pages), func(k int) bool { return v.pages[k].recs[v.pages[k].n-1].uid >= uid })
	if p == len(v.pages) {
		return v.Len(), false
	}
	pg := v.pages[p]
	i := sort.Search(pg.n, func(k int) bool { return pg.recs[k].uid >= uid })
	return int(v.starts[p]) + i - pg.gone.below(i), pg.recs[i].uid == uid && !pg.gone.has(i)
}

// FirstUnseen gives the position of the first message without \Seen.
func (v *View) FirstUnseen() (pos int, ok bool) {
	if v.counts.Unseen == 0 {
		return 0, false
	}
	from, _ := v.Find(v.firstUID.Load())
	var buf [64]mailstore.Entry
	for {
		n := v.Entries(from, buf[:])
		for i, e := range buf[:n] {
			if e.Flags&mailstore.Seen == 0 {
				v.firstUID.Store(e.UID)
				return from + i, true
			}
		}
		if n == 0 {
			return 0, false
		}
		from += n
	}
}

// ExpungedSince gives the UIDs expunged after m; complete is false where history
// does not reach back to m: then nothing is said of older ones.
func (v *View) ExpungedSince(m mailstore.ModSeq) (uids numset.Set, complete bool) {
	return v.hist.since(uint64(m)), uint64(m) >= v.floor
}
