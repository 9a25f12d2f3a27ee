package index

import "math/bits"

// pageSize is how many records share one copy-on-write piece.
const pageSize = 512

// bitmap marks records of a page.
type bitmap [pageSize / 64]uint64

func (b *bitmap) has(i int) bool { return b != nil && b[i>>6]&(1<<(i&63)) != 0 }

// below counts marks under i.
func (b *bitmap) below(i int) (n int) {
	if b == nil {
		return 0
	}
	for w := range i >> 6 {
		n += bits.OnesCount64(b[w])
	}
	if i&63 != 0 {
		n += bits.OnesCount64(b[i>>6] << (64 - i&63))
	}
	return n
}

// unmarked gives the place of the k-th record that is not marked.
func (b *bitmap) unmarked(k int) int {
	if b == nil {
		return k
	}
	for w, word := range b {
		free := 64 - bits.OnesCount64(word)
		if k >= free {
			k -= free
			continue
		}
		word = ^word
		for range k {
			word &= word - 1
		}
		return w*64 + bits.TrailingZeros64(word)
	}
	return pageSize
}

// change is what differs from a page's record, whole but for x.
type change struct {
	modseq uint64
	x      *extra // nil: as in the record
	kw     uint32
	idx    uint16
	flags  uint8
	bits   uint8
}

// page is up to pageSize records: the base's with what changed since, or some
// of its own. Pages of a published view are never changed, but that recs may
// grow behind what the view knows.
type page struct {
	recs  []rec   // nil: the base's
	n     int     // records before removals
	gone  *bitmap // removed ones; nil is none
	ngone int
	ch    []change // by idx
}

func (p *page) live() int { return p.n - p.ngone }

// find looks for the change of record i.
func (p *page) find(i int) (at int, ok bool) {
	if k := len(p.ch); k == 0 || int(p.ch[k-1].idx) < i {
		return k, false
	}
	lo, hi := 0, len(p.ch)-1 // the last is not below i
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if int(p.ch[mid].idx) < i {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, int(p.ch[lo].idx) == i
}
