package index

import "rookery/internal/mailstore"

// NextChanged gives the first position from pos on, at most Len, at which there
// may be a message with a MODSEQ above since: whoever looks for changes begins
// there. Where the snapshot is as old as since only what was written after it is
// looked at, and no message of its own.
func (v *View) NextChanged(pos int, since mailstore.ModSeq) int {
	if v.base == nil || uint64(since) < v.base.high || v.base.bad.Load() {
		return pos
	}
	based := v.base.pages()
	for pos < v.Len() {
		p, _ := v.locate(pos)
		if p >= based || v.pages[p].changedSince(uint64(since)) {
			break
		}
		pos = int(v.starts[p+1])
	}
	return min(pos, v.Len())
}

// changedSince reports whether a page of the base has changes above m.
func (pg *page) changedSince(m uint64) bool {
	if pg == nil {
		return false
	}
	if pg.recs != nil {
		return true
	}
	for i := range pg.ch {
		if pg.ch[i].modseq > m {
			return true
		}
	}
	return false
}
