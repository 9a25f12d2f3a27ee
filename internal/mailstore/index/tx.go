package index

import (
	"slices"
	"strconv"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// maxSets bounds the different combinations of keywords in one mailbox.
const maxSets = 1 << 20

// Tx is one change of a mailbox, which becomes visible whole. It is used by one
// goroutine, under User.Lock from Begin to Commit or Abort. Positions are those
// of View, whatever the transaction did already; messages that it added itself
// cannot be changed.
type Tx struct {
	b      *Box
	old    *View
	before *View // what was known before a Reset; else nil
	v      View  // as it will be
	owned  map[int]bool
	modseq uint64
	gone   numset.Set
	dirty  bool
	moved  bool // positions differ
	done   bool
	broken bool // the old picture's snapshot was lost under the transaction

	// For the log: positions with a change, those among them with an extra, and
	// how many were added.
	edits, extras []uint32
	added         int
	lastEdit      uint32
	locs          *strings.Builder // see keep
}

// Begin begins a transaction, under User.Lock. errkind.NotFound if the mailbox
// was dropped.
func (b *Box) Begin() (*Tx, error) {
	b.mu.Lock()
	dropped := b.dropped
	b.mu.Unlock()
	if dropped {
		return nil, errkind.Newf("change index", errkind.NotFound, "the mailbox was deleted")
	}
	old, before := b.View(), (*View)(nil)
	if !old.built {
		before, old = old, emptyView(b)
		old.high, old.validity = before.high, before.validity
	}
	tx := newTx(b, old)
	tx.before = before
	if !old.built {
		// What was before cannot be told: history begins here.
		tx.v.floor, tx.dirty = tx.ModSeq(), true
		tx.v.high = tx.modseq
	}
	return tx, nil
}

func newTx(b *Box, old *View) *Tx {
	tx := &Tx{b: b, old: old, owned: map[int]bool{}}
	tx.v = View{box: b, base: old.base, pages: old.pages, starts: old.starts, built: true, validity: old.validity, next: old.next,
		high: old.high, floor: old.floor, sets: old.sets, state: old.state, counts: old.counts, hist: old.hist, heap: old.heap}
	tx.v.firstUID.Store(old.firstUID.Load())
	return tx
}

// View is the picture that the transaction began with; empty after Reset.
func (tx *Tx) View() *View { return tx.old }

// ModSeq is the transaction's one MODSEQ, above all before in the mailbox.
func (tx *Tx) ModSeq() uint64 {
	if tx.modseq == 0 {
		u, high := tx.b.u, tx.old.high
		if tx.before != nil {
			high = max(high, tx.before.high)
		}
		if u.alone.Load() || !tx.old.built {
			// Nobody reads of this number, or the log that told of others' is gone.
			tx.modseq = u.modseq.jump(high)
		} else {
			tx.modseq = u.modseq.after(high)
		}
	}
	return tx.modseq
}

// touch gives a page that may be changed.
func (tx *Tx) touch(p int) *page {
	if tx.owned[p] {
		return tx.v.pages[p]
	}
	if len(tx.owned) == 0 {
		tx.v.pages = slices.Clone(tx.v.pages)
	}
	tx.owned[p], tx.dirty = true, true
	tx.v.pages[p] = tx.v.ownPage(p)
	return tx.v.pages[p]
}

// edit gives the change of a position, made from what is now if there was none.
func (tx *Tx) edit(pos int) *change {
	p, i := tx.old.locate(pos)
	pg := tx.touch(p)
	at, ok := pg.find(i)
	if !ok {
		c := tx.core(pos)
		pg.ch = slices.Insert(pg.ch, at, change{modseq: c.modseq, kw: c.kw, idx: uint16(i), flags: uint8(c.flags), bits: c.bits})
		tx.v.heap++
	}
	tx.edits = append(tx.edits, uint32(pos))
	return &pg.ch[at]
}

// now gives what the transaction has at a position.
func (tx *Tx) now(pos int) (core, extra) {
	c, x, ok := tx.v.tryRec(tx.old.locate(pos))
	if !ok {
		tx.broken = true
	}
	return c, x
}

// core is now without what needs another look at the base.
func (tx *Tx) core(pos int) core {
	p, i := tx.old.locate(pos)
	c, _, ok := tx.v.tryCore(p, i)
	if !ok {
		tx.broken = true
	}
	return c
}

// Set sets flags and keywords. Where nothing differs nothing happens; else the
// message gets the transaction's MODSEQ.
func (tx *Tx) Set(pos int, flags mailstore.Flags, keywords uint32) {
	c := tx.core(pos)
	flags &= mailstore.AllFlags
	if c.flags == flags && c.kw == keywords {
		return
	}
	m := tx.ModSeq()
	ch := tx.edit(pos)
	tx.v.counts.flip(c.flags, flags)
	ch.flags, ch.kw, ch.modseq = uint8(flags), keywords, m
	tx.v.high = max(tx.v.high, m)
	tx.unseen(c.uid, flags)
}

func (tx *Tx) unseen(uid uint32, flags mailstore.Flags) {
	if flags&mailstore.Seen == 0 && uid < tx.v.firstUID.Load() {
		tx.v.firstUID.Store(uid)
	}
}

// Touch gives a message the transaction's MODSEQ, as if its flags had changed.
func (tx *Tx) Touch(pos int) {
	m := tx.ModSeq()
	tx.edit(pos).modseq = m
	tx.v.high = max(tx.v.high, m)
}

// Bits sets the driver's bits. Clients are told nothing.
func (tx *Tx) Bits(pos int, bits uint8) {
	if tx.core(pos).bits != bits {
		tx.edit(pos).bits = bits
	}
}

// Loc sets where the message lies; clients are told nothing. A Loc longer than
// MaxLoc is the caller's bug.
func (tx *Tx) Loc(pos int, loc string) {
	checkLoc(loc)
	_, x := tx.now(pos)
	if x.loc != loc {
		x.loc = strings.Clone(loc)
		tx.edit(pos).x = &x
		tx.extras = append(tx.extras, uint32(pos))
	}
}

func checkLoc(loc string) {
	if len(loc) > MaxLoc {
		panic("index: a Loc longer than MaxLoc")
	}
}

// Facts puts in what was learnt of a message.
func (tx *Tx) Facts(pos int, f Facts) {
	c, x := tx.now(pos)
	was := x.size
	if x.learn(f) {
		tx.v.counts.add(c.flags, was, -1)
		tx.v.counts.add(c.flags, x.size, 1)
		tx.edit(pos).x = &x
		tx.extras = append(tx.extras, uint32(pos))
	}
}

// Remove takes messages out and notes them as expunged. Positions ascend.
func (tx *Tx) Remove(positions []int) {
	var uids []uint32
	for _, pos := range positions {
		p, i := tx.old.locate(pos)
		pg := tx.touch(p)
		if pg.gone.has(i) {
			continue
		}
		c, x := tx.now(pos)
		tx.v.counts.add(c.flags, x.size, -1)
		if pg.gone == nil {
			pg.gone = new(bitmap)
		}
		pg.gone[i>>6] |= 1 << (i & 63)
		pg.ngone++
		tx.moved = true
		uids = append(uids, c.uid)
	}
	if len(uids) > 0 {
		tx.gone = tx.gone.Union(numset.FromSorted(uids))
		tx.v.high = max(tx.v.high, tx.ModSeq())
	}
}

// Add puts a message at the end; UIDNext follows. Its UID must be at least the
// UIDNext of View, if that is Built, and above those that the transaction added:
// else it is errkind.Invalid, and nothing is added.
func (tx *Tx) Add(r Record) error {
	checkLoc(r.Loc)
	if r.UID == 0 || r.UID == 1<<32-1 || tx.old.built && r.UID < tx.old.next || r.UID <= tx.v.lastUID() {
		return errkind.Newf("add to index", errkind.Invalid, "the UID "+strconv.Itoa(int(r.UID))+" was given before")
	}
	nr := recOf(r)
	nr.loc = tx.keep(nr.loc)
	tx.remember(&nr)
	if nr.modseq == 0 {
		nr.modseq = tx.ModSeq()
	}
	tx.put(nr)
	return nil
}

// A transaction that adds few messages keeps each text by itself, so that none
// holds the others' memory; one that adds many puts them together.
const (
	fewAdded  = 64
	locsPiece = 64 << 10
)

// keep copies a text that the caller may have cut out of a larger one.
func (tx *Tx) keep(s string) string {
	if tx.added < fewAdded {
		return strings.Clone(s)
	}
	if tx.locs == nil || tx.locs.Cap()-tx.locs.Len() < len(s) {
		tx.locs = new(strings.Builder)
		tx.locs.Grow(locsPiece)
	}
	from := tx.locs.Len()
	tx.locs.WriteString(s)
	return tx.locs.String()[from:]
}

// put adds a record.
func (tx *Tx) put(nr rec) {
	tx.moved = true
	tx.added++
	tx.v.heap++
	last := len(tx.v.pages) - 1
	if last < 0 || tx.v.pages[last] == nil || tx.v.pages[last].recs == nil || tx.v.pages[last].n >= pageSize {
		if len(tx.owned) == 0 {
			tx.v.pages = slices.Clone(tx.v.pages)
		}
		room := 0
		if tx.added > pageSize { // a whole mailbox
			room = pageSize
		}
		tx.v.pages = append(tx.v.pages, &page{recs: make([]rec, 0, room)})
		last++
		tx.owned[last], tx.dirty = true, true
	}
	pg := tx.touch(last)
	// Growing in place is seen by nobody: older pages know their length, and
	// there is one writer.
	pg.recs = append(pg.recs[:pg.n], nr)
	pg.n++
	tx.v.counts.add(nr.flags, nr.size, 1)
	tx.v.next = max(tx.v.next, nr.uid+1)
	tx.v.high = max(tx.v.high, nr.modseq)
	if tx.v.counts.Unseen == 1 && nr.flags&mailstore.Seen == 0 {
		tx.v.firstUID.Store(nr.uid)
	}
}

// remember fills what is unknown from what was known before a Reset.
func (tx *Tx) remember(r *rec) {
	if tx.before == nil {
		return
	}
	pos, ok := tx.before.Find(r.uid)
	if !ok {
		return
	}
	_, x, ok := tx.before.tryRec(tx.before.locate(pos))
	if !ok || x.loc != r.loc {
		return
	}
	if r.guid == (mailstore.GUID{}) {
		r.guid = x.guid
	}
	f := Facts{-1, 0, 0, 0}
	if r.size < 0 {
		f.Size = x.size
	}
	for _, d := range [...]struct {
		have, was int64
		to        *int64
	}{{r.date, x.date, &f.Date}, {r.saved, x.saved, &f.Saved}, {r.sent, x.sent, &f.Sent}} {
		if d.have == 0 {
			*d.to = d.was
		}
	}
	r.learn(f)
}

// KeywordSet gives the number of a set of names, in any order; the same names
// have the same number. No names is 0. errkind.Limit if there are too many sets.
func (tx *Tx) KeywordSet(names []string) (uint32, error) {
	if len(names) == 0 {
		return 0, nil
	}
	names = slices.Clone(names)
	slices.Sort(names)
	names = slices.Compact(names)
	key := strings.Join(names, "\x00")
	tx.b.mu.Lock()
	defer tx.b.mu.Unlock()
	no := tx.b.setNumbers(tx.v.sets)
	if n, ok := no[key]; ok {
		return n, nil
	}
	if len(tx.v.sets) >= maxSets {
		return 0, errkind.Newf("store keywords", errkind.Limit, "too many combinations of keywords in one mailbox")
	}
	for i := range names {
		names[i] = strings.Clone(names[i])
	}
	n := uint32(len(tx.v.sets))
	tx.v.sets = append(tx.v.sets, names)
	no[key], tx.dirty = n, true
	return n, nil
}

// setNumbers gives the numbers by names; b.mu is held. Sets only grow, so that the count tells
// whether the map is of these; what takes one back clears the map.
func (b *Box) setNumbers(sets [][]string) map[string]uint32 {
	if len(b.setNo) != len(sets)-1 || b.setNo == nil {
		b.setNo = make(map[string]uint32, len(sets))
		for n, names := range sets[1:] {
			b.setNo[strings.Join(names, "\x00")] = uint32(n + 1)
		}
	}
	return b.setNo
}

// Next raises UIDNEXT: to what a control file says.
func (tx *Tx) Next(uid mailstore.UID) {
	if uid > tx.v.next {
		tx.v.next, tx.dirty = uid, true
	}
}

// Validity sets UIDVALIDITY.
func (tx *Tx) Validity(v uint32) {
	if v != tx.v.validity {
		tx.v.validity, tx.dirty = v, true
	}
}

// RaiseHigh raises HIGHESTMODSEQ to the transaction's MODSEQ, though no message changed.
func (tx *Tx) RaiseHigh() {
	tx.v.high = max(tx.v.high, tx.ModSeq())
	tx.dirty = true
}

// State keeps up to MaxState bytes of the driver with the picture: the stamps of
// what it saw on the disk. More is the caller's bug.
func (tx *Tx) State(state string) {
	if len(state) > MaxState {
		panic("index: a State longer than MaxState")
	}
	if state != tx.v.state {
		tx.v.state, tx.dirty = strings.Clone(state), true
	}
}

// Abort forgets the transaction. After Commit it does nothing.
func (tx *Tx) Abort() {
	if !tx.done {
		tx.done = true
		tx.b.forgetSets()
	}
}

// Commit publishes the picture and gives it; where nothing changed it is the old
// one. It publishes even if the log cannot be written: the index on the disk is
// then given up, with one Note, and this process goes on in memory.
func (tx *Tx) Commit() *View {
	if tx.done {
		return tx.b.View()
	}
	tx.done = true
	if !tx.dirty {
		return tx.old
	}
	tx.noteGone()
	return tx.b.u.commit(tx, tx.finish())
}

// noteGone puts what was expunged into history.
func (tx *Tx) noteGone() {
	if tx.gone.Empty() {
		return
	}
	var floor uint64
	if tx.v.hist, floor = tx.v.hist.add(tx.modseq, tx.gone); floor > 0 {
		tx.v.floor = max(tx.v.floor, floor)
	}
}

// finish lays the pages out.
func (tx *Tx) finish() *View {
	v := &View{box: tx.b, base: tx.v.base, built: true, validity: tx.v.validity, next: tx.v.next, high: tx.v.high, floor: tx.v.floor,
		sets: tx.v.sets, state: tx.v.state, counts: tx.v.counts, hist: tx.v.hist, pages: tx.v.pages, starts: tx.v.starts, heap: tx.v.heap}
	v.firstUID.Store(tx.v.firstUID.Load())
	if tx.moved {
		v.layOut()
	}
	return v
}

// layOut computes the positions of pages and drops own pages that are empty. The
// base's pages stay where they are, empty or not.
func (v *View) layOut() {
	v.starts = make([]uint32, 1, len(v.pages)+1)
	kept := v.pages[:0:0]
	pos := uint32(0)
	for p, pg := range v.pages {
		n := 0
		if pg == nil {
			n = v.base.pageLen(p)
		} else if n = pg.live(); pg.recs != nil && n == 0 {
			continue
		}
		pos += uint32(n)
		kept = append(kept, pg)
		v.starts = append(v.starts, pos)
	}
	v.pages = kept
}
