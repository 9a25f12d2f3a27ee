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
	base     *base    // nil: none
	pages    []*page  // nil: the base's, unchanged
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
	heap     int           // records and changes that are not in the base
	firstUID atomic.Uint32 // no message below it is unseen
}

var _ mailstore.Snapshot = (*View)(nil)

// Len is the number of messages.
func (v *View) Len() int { return v.counts.Messages }

// Built reports whether the index knows the mailbox: a driver has filled it
// since it was new, lost or reset. If not, the view shows what was known last,
// nothing if that is nothing, and whoever locks the user next must add everything
// anew: Begin begins with an empty mailbox then.
func (v *View) Built() bool { return v.built }

// Damaged reports whether the file under the picture was found damaged: what was
// read of it may have been blank then. Whoever is about to change mail or control
// files by what it read asks afterwards: false says that all of it was right.
func (v *View) Damaged() bool { return v.base != nil && v.base.bad.Load() }

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
	i = pos - int(v.starts[p])
	if pg := v.pages[p]; pg != nil {
		i = pg.gone.unmarked(i)
	}
	return p, i
}

// shape tells of a page: its records before removals, and which are removed.
func (v *View) shape(p int) (n int, gone *bitmap) {
	if pg := v.pages[p]; pg != nil {
		return pg.n, pg.gone
	}
	return v.base.pageLen(p), nil
}

// uidAt gives the UID of record i of a page.
func (v *View) uidAt(p, i int) uint32 {
	if pg := v.pages[p]; pg != nil && pg.recs != nil {
		return pg.recs[i].uid
	}
	return v.base.uid(p*pageSize + i)
}

// overlay puts what changed into a record.
func (pg *page) overlay(i int, c *core, x *extra) {
	if pg == nil {
		return
	}
	if k, ok := pg.find(i); ok {
		ch := &pg.ch[k]
		c.kw, c.modseq, c.flags, c.bits = ch.kw, ch.modseq, mailstore.Flags(ch.flags), ch.bits
		if x != nil && ch.x != nil {
			*x = *ch.x
		}
	}
}

// tryRec gives record i of a page; false if the base is damaged.
func (v *View) tryRec(p, i int) (c core, x extra, ok bool) {
	pg := v.pages[p]
	if pg != nil && pg.recs != nil {
		c, x = pg.recs[i].core, pg.recs[i].extra
	} else if c, x, ok = v.base.rec(p*pageSize + i); !ok {
		return c, x, false
	}
	pg.overlay(i, &c, &x)
	return c, x, true
}

// coreAt gives the changing part of record i of a page.
func (v *View) coreAt(p, i int) core {
	pg := v.pages[p]
	var c core
	if pg != nil && pg.recs != nil {
		c = pg.recs[i].core
	} else {
		var ok bool
		if c, ok = v.base.core(p*pageSize + i); !ok {
			c, _ = v.lost(p, i)
			return c
		}
	}
	pg.overlay(i, &c, nil)
	return c
}

// recAt gives all of record i of a page.
func (v *View) recAt(p, i int) (core, extra) {
	if c, x, ok := v.tryRec(p, i); ok {
		return c, x
	}
	return v.lost(p, i)
}

// lost stands in for a record whose bytes the disk has lost under us: the UID is
// known in any case, the rest is what the newest picture has. If that is this one
// or lost, too, the driver is asked to rebuild first. Its MODSEQ is 0, so that
// whoever compares it with another picture sees a change.
func (v *View) lost(p, i int) (core, extra) {
	uid := v.uidAt(p, i)
	for try := range 2 {
		now := v.box.View()
		if now.base == nil || !now.base.bad.Load() {
			if pos, ok := now.Find(uid); ok {
				if c, x, ok := now.tryRec(now.locate(pos)); ok {
					c.modseq = 0
					return c, x
				}
			} else {
				break
			}
		}
		if try == 0 {
			v.box.damaged()
		}
	}
	c, x := core{uid: uid}, extra{size: -1}
	v.pages[p].overlay(i, &c, &x)
	c.modseq = 0
	return c, x
}

func entryOf(c core) mailstore.Entry {
	return mailstore.Entry{UID: c.uid, Flags: c.flags, Keywords: c.kw, ModSeq: mailstore.ModSeq(c.modseq)}
}

// At gives the entry at a position.
func (v *View) At(pos int) mailstore.Entry {
	p, i := v.locate(pos)
	return entryOf(v.coreAt(p, i))
}

// Bits gives the driver's bits at a position.
func (v *View) Bits(pos int) uint8 {
	p, i := v.locate(pos)
	return v.coreAt(p, i).bits
}

// Rec gives everything about the message at a position.
func (v *View) Rec(pos int) Record {
	return recordOf(v.recAt(v.locate(pos)))
}

// Loc gives the message's Loc.
func (v *View) Loc(pos int) string {
	_, x := v.recAt(v.locate(pos))
	return x.loc
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
		size, gone := v.shape(p)
		if gone == nil && v.entries(p, i, dst[k:min(n, k+size-i)]) {
			k += size - i
			continue
		}
		for ; i < size && k < n; i++ {
			if !gone.has(i) {
				dst[k] = entryOf(v.coreAt(p, i))
				k++
			}
		}
	}
	return n
}

// entries fills dst from record i of a page without removals, as many as dst
// holds; false if it cannot.
func (v *View) entries(p, i int, dst []mailstore.Entry) bool {
	pg := v.pages[p]
	if pg != nil && pg.recs != nil {
		for k := range dst {
			dst[k] = entryOf(pg.recs[i+k].core)
		}
	} else if !v.base.entries(p*pageSize+i, dst) {
		return false
	}
	if pg != nil {
		at, _ := pg.find(i)
		for _, ch := range pg.ch[at:] {
			if k := int(ch.idx) - i; k < len(dst) {
				e := &dst[k]
				e.Flags, e.Keywords, e.ModSeq = mailstore.Flags(ch.flags), ch.kw, mailstore.ModSeq(ch.modseq)
			}
		}
	}
	return true
}

// Each calls yield for every message from position from on, until it returns false.
func (v *View) Each(from int, yield func(pos int, r Record) bool) {
	v.walk(from, func(pos int, c core, x extra) bool { return yield(pos, recordOf(c, x)) }, v.lost)
}

// walk goes through records from a position on. What the disk has lost comes
// from lost; without that the walk ends, and whole is false.
func (v *View) walk(from int, yield func(int, core, extra) bool, lost func(p, i int) (core, extra)) (whole bool) {
	if from >= v.Len() {
		return true
	}
	pos := from
	for p, i := v.locate(from); p < len(v.pages); p, i = p+1, 0 {
		size, gone := v.shape(p)
		for ; i < size; i++ {
			if gone.has(i) {
				continue
			}
			c, x, ok := v.tryRec(p, i)
			if !ok {
				if lost == nil {
					return false
				}
				c, x = lost(p, i)
			}
			if !yield(pos, c, x) {
				return true
			}
			pos++
		}
	}
	return true
}

// Find gives the position of uid, or where it would stand.
func (v *View) Find(uid mailstore.UID) (pos int, found bool) {
	based := 0
	if v.base != nil {
		if k := v.base.find(uid); k < v.base.n {
			p, i := k/pageSize, k%pageSize
			_, gone := v.shape(p)
			return int(v.starts[p]) + i - gone.below(i), !gone.has(i) && v.base.uid(k) == uid
		}
		based = v.base.pages()
	}
	own := v.pages[based:]
	p := sort.Search(len(own), func(k int) bool { return own[k].recs[own[k].n-1].uid >= uid })
	if p == len(own) {
		return v.Len(), false
	}
	pg := own[p]
	i := sort.Search(pg.n, func(k int) bool { return pg.recs[k].uid >= uid })
	return int(v.starts[based+p]) + i - pg.gone.below(i), pg.recs[i].uid == uid && !pg.gone.has(i)
}

// self tells a View from another Snapshot, also inside a driver's own type.
func (v *View) self() *View { return v }

// Shared compares two pictures without looking at messages: it gives how many
// entries from position pos on are certain to be those of old from position at
// on. 0 says nothing. Whoever compares pictures skips them: what one STORE left
// alone is not looked at then.
func (v *View) Shared(pos int, old mailstore.Snapshot, at int) (n int) {
	s, ok := old.(interface{ self() *View })
	if !ok || pos < 0 || at < 0 || pos >= v.Len() || at >= old.Len() {
		return 0
	}
	o := s.self()
	if o.base != v.base {
		return 0
	}
	p, i := v.locate(pos)
	q, k := o.locate(at)
	if i != k || v.base == nil && p != q {
		return 0
	}
	based := 0
	if v.base != nil {
		based = v.base.pages()
	}
	from := int(v.starts[p])
	for ; p < len(v.pages) && q < len(o.pages) && v.pages[p] == o.pages[q]; p, q = p+1, q+1 {
		if p != q && (p < based || q < based) {
			break // the base's pages are those of their number
		}
		n += int(v.starts[p+1]) - max(from, int(v.starts[p]))
	}
	if n > 0 {
		n -= pos - from
	}
	return max(n, 0)
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
