package index

import (
	"cmp"
	"errors"
	"slices"
	"sort"

	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

var (
	errReplay = errors.New("a record of the log does not fit the mailbox")
	errUnbase = errors.New("its snapshot is gone")
)

// replayer brings a picture up to date by records of the log. It copies a page
// once, however many records change it, and lays the pages out at the end:
// records work with UIDs, which it finds without positions.
type replayer struct {
	b      *Box
	v      *View  // nobody else has it
	owned  []bool // pages that are ours alone, by place; nil before the first change
	first  uint32 // what View.firstUID becomes
	moved  bool   // positions differ from those laid out
	modseq uint64 // of the record
	gone   []uint32
	broken bool
}

func newReplayer(b *Box, old *View) *replayer {
	r := &replayer{b: b}
	r.begin(old)
	return r
}

// begin goes on from a picture, which stays as it is.
func (r *replayer) begin(old *View) {
	r.v = &View{box: r.b, base: old.base, pages: old.pages, starts: old.starts, built: old.built, validity: old.validity, next: old.next,
		high: old.high, floor: old.floor, sets: old.sets, state: old.state, counts: old.counts, hist: old.hist, heap: old.heap}
	r.first = old.firstUID.Load()
	r.owned, r.moved = nil, false
}

// apply replays one record. After an error the replayer is of no use.
func (r *replayer) apply(rec *logRec) error {
	d := decode(rec.body)
	if isReset(rec.body) {
		r.begin(emptyView(r.b))
		r.v.built, r.moved = true, true
	} else if !r.v.built {
		return errUnbase
	}
	r.modseq, r.gone = rec.modseq, r.gone[:0]
	for len(d.B) > 0 && !r.broken {
		r.part(&d)
	}
	if d.Bad || r.broken {
		return errReplay
	}
	if len(r.gone) > 0 {
		var floor uint64
		slices.Sort(r.gone)
		if r.v.hist, floor = r.v.hist.add(r.modseq, numset.FromSorted(r.gone)); floor > 0 {
			r.v.floor = max(r.v.floor, floor)
		}
	}
	return nil
}

// isReset reports whether a transaction's record forgets all before it.
func isReset(body []byte) bool { return len(body) > 0 && body[0] == partReset }

// view gives the outcome; the replayer is done.
func (r *replayer) view() *View {
	if r.moved {
		r.v.layOut()
	}
	r.v.firstUID.Store(r.first)
	return r.v
}

func (r *replayer) part(d *decoder) {
	v := r.v
	switch d.Byte() {
	case partReset:
		v.floor = d.Uvarint()
	case partHead:
		v.validity, v.next, v.high = d.Max32(), d.Max32(), d.Uvarint()
	case partState:
		v.state = d.Text(MaxState)
	case partSets:
		r.sets(d)
	case partChange:
		r.change(d)
	case partExtra:
		r.extra(d)
	case partExpunge:
		r.eachOf(d, r.remove)
	case partAdd:
		r.added(d)
	case partFirstUID:
		r.first = d.Max32()
	default:
		d.Fail()
	}
}

// page gives a page that may be changed.
func (r *replayer) page(p int) *page {
	v := r.v
	if r.owned == nil {
		v.pages = slices.Clone(v.pages)
		r.owned = make([]bool, len(v.pages), len(v.pages)+4)
	}
	if r.owned[p] {
		return v.pages[p]
	}
	r.owned[p] = true
	v.pages[p] = v.ownPage(p)
	return v.pages[p]
}

// ownPage gives a copy of a page, which may be changed.
func (v *View) ownPage(p int) *page {
	if v.pages[p] == nil {
		return &page{n: v.base.pageLen(p)}
	}
	pg := *v.pages[p]
	pg.ch = slices.Clone(pg.ch)
	if pg.gone != nil {
		g := *pg.gone
		pg.gone = &g
	}
	return &pg
}

// edit gives the change of a record, made from c, what it is now, if there was none.
func (r *replayer) edit(p, i int, c core) *change {
	pg := r.page(p)
	at, ok := pg.find(i)
	if !ok {
		pg.ch = slices.Insert(pg.ch, at, change{modseq: c.modseq, kw: c.kw, idx: uint16(i), flags: uint8(c.flags), bits: c.bits})
		r.v.heap++
	}
	return &pg.ch[at]
}

func (r *replayer) change(d *decoder) {
	flags, bits, kw, touched := d.Byte(), d.Byte(), d.Max32(), d.Byte() == 1
	r.eachOf(d, func(p, i int) {
		c, _, ok := r.v.tryCore(p, i)
		if !ok {
			r.broken = true
			return
		}
		ch := r.edit(p, i, c)
		r.v.counts.flip(c.flags, mailstore.Flags(flags)&mailstore.AllFlags)
		ch.flags, ch.bits, ch.kw = flags&uint8(mailstore.AllFlags), bits, kw
		if touched {
			ch.modseq = r.modseq
		}
	})
}

func (r *replayer) extra(d *decoder) {
	uid := d.Max32()
	x := d.extra()
	p, i, ok := r.v.seek(uid)
	if !ok || d.Bad {
		r.broken = true
		return
	}
	c, size, ok := r.v.tryCore(p, i)
	if !ok {
		r.broken = true
		return
	}
	r.v.counts.add(c.flags, size, -1)
	r.v.counts.add(c.flags, x.size, 1)
	r.edit(p, i, c).x = &x
}

func (r *replayer) remove(p, i int) {
	c, size, ok := r.v.tryCore(p, i)
	if !ok {
		r.broken = true
		return
	}
	pg := r.page(p)
	if pg.gone == nil {
		pg.gone = new(bitmap)
	}
	pg.gone[i>>6] |= 1 << (i & 63)
	pg.ngone++
	r.v.counts.add(c.flags, size, -1)
	r.gone = append(r.gone, c.uid)
	r.moved = true
}

// eachOf passes on the messages of the UIDs that follow: a range names the
// messages at its ends, and all between them.
func (r *replayer) eachOf(d *decoder, f func(p, i int)) {
	for _, span := range d.Ranges().Ranges() {
		p, i, found := r.v.seek(span.First)
		q, k, last := r.v.seek(span.Last)
		if !found || !last {
			r.broken = true
			return
		}
		for ; p <= q && !r.broken; p, i = p+1, 0 {
			size, gone := r.v.shape(p)
			if p == q {
				size = k + 1
			}
			for ; i < size && !r.broken; i++ {
				if !gone.has(i) {
					f(p, i)
				}
			}
		}
	}
}

func (r *replayer) sets(d *decoder) {
	v := r.v
	if d.Uvarint() != uint64(len(v.sets)) {
		d.Fail()
		return
	}
	for range d.Count() {
		set := make([]string, d.Count())
		for k := range set {
			set[k] = d.Text(maxName)
		}
		if len(v.sets) >= maxSets {
			d.Fail()
			return
		}
		v.sets = append(v.sets, set)
	}
}

func (r *replayer) added(d *decoder) {
	uid := uint64(0)
	last := r.v.lastUID()
	for range d.Count() {
		uid += d.Uvarint()
		nr := rec{core: core{flags: mailstore.Flags(d.Byte()) & mailstore.AllFlags, bits: d.Byte(), kw: d.Max32(), modseq: d.Uvarint()}}
		nr.extra = d.extra()
		if d.Bad || uid == 0 || uid >= 1<<32-1 || uint32(uid) <= last {
			d.Fail()
			return
		}
		nr.uid, last = uint32(uid), uint32(uid)
		nr.modseq = cmp.Or(nr.modseq, r.modseq)
		r.put(&nr)
	}
}

// put adds a record at the end.
func (r *replayer) put(nr *rec) {
	v := r.v
	last := len(v.pages) - 1
	if last < 0 || v.pages[last] == nil || v.pages[last].recs == nil || v.pages[last].n >= pageSize {
		if r.owned == nil {
			v.pages = slices.Clone(v.pages)
			r.owned = make([]bool, len(v.pages), len(v.pages)+4)
		}
		v.pages = append(v.pages, &page{recs: []rec{}})
		r.owned = append(r.owned, true)
		last++
	}
	pg := r.page(last)
	pg.recs = append(pg.recs[:pg.n], *nr) // see Tx.put
	pg.n++
	r.moved = true
	v.heap++
	v.counts.add(nr.flags, nr.size, 1)
	v.next = max(v.next, nr.uid+1)
	v.high = max(v.high, nr.modseq)
}

// seek gives page and record of a message; pages need not be laid out.
func (v *View) seek(uid uint32) (p, i int, ok bool) {
	based := 0
	if v.base != nil {
		if k := v.base.find(uid); k < v.base.n {
			p, i = k/pageSize, k%pageSize
			_, gone := v.shape(p)
			return p, i, !gone.has(i) && v.base.uid(k) == uid
		}
		based = v.base.pages()
	}
	own := v.pages[based:]
	p = sort.Search(len(own), func(k int) bool { return own[k].recs[own[k].n-1].uid >= uid })
	if p == len(own) {
		return 0, 0, false
	}
	pg := own[p]
	i = sort.Search(pg.n, func(k int) bool { return pg.recs[k].uid >= uid })
	return based + p, i, pg.recs[i].uid == uid && !pg.gone.has(i)
}

// lastUID is the UID of the last record, removed or not.
func (v *View) lastUID() uint32 {
	if n := len(v.pages); n > 0 {
		size, _ := v.shape(n - 1)
		return v.uidAt(n-1, size-1)
	}
	return 0
}

// tryCore gives the changing part of record i of a page, and its size; false if
// the base is damaged.
func (v *View) tryCore(p, i int) (c core, size int64, ok bool) {
	pg := v.pages[p]
	if pg != nil && pg.recs != nil {
		c, size = pg.recs[i].core, pg.recs[i].size
	} else if c, size, ok = v.base.sized(p*pageSize + i); !ok {
		return c, size, false
	}
	if pg != nil {
		if k, ok := pg.find(i); ok {
			ch := &pg.ch[k]
			c.kw, c.modseq, c.flags, c.bits = ch.kw, ch.modseq, mailstore.Flags(ch.flags), ch.bits
			if ch.x != nil {
				size = ch.x.size
			}
		}
	}
	return c, size, true
}
