package view

import (
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// flagged are the messages of a picture that have \Deleted.
type flagged struct {
	of   mailstore.Snapshot // nil: not known
	uids numset.Set
}

// Deleted gives the messages of the newest picture that have \Deleted. The first
// time it looks at all of them, later at what has changed since.
func (v *View) Deleted() numset.Set {
	if v.deleted.of == v.cur {
		return v.deleted.uids
	}
	if shares, ok := v.cur.(mailstore.PictureSharer); ok && v.deleted.of != nil {
		v.deleted.uids = changedDeleted(v.deleted, v.cur, shares)
	} else {
		v.deleted.uids = allDeleted(v.cur)
	}
	v.deleted.of = v.cur
	return v.deleted.uids
}

func allDeleted(s mailstore.Snapshot) (uids numset.Set) {
	var entries [256]mailstore.Entry
	for pos := 0; ; {
		n := mailstore.Entries(s, pos, entries[:])
		if n == 0 {
			return uids
		}
		for _, e := range entries[:n] {
			if e.Flags&mailstore.Deleted != 0 {
				uids.Add(e.UID)
			}
		}
		pos += n
	}
}

// changedDeleted brings the messages of an older picture up to date.
func changedDeleted(old flagged, cur mailstore.Snapshot, shares mailstore.PictureSharer) numset.Set {
	var gone, come numset.Set
	olds, news := mailstore.EntryWindow{Of: old.of}, mailstore.EntryWindow{Of: cur}
	i, j := 0, 0
	for i < old.of.Len() || j < cur.Len() {
		if n := shares.Shared(j, old.of, i); n > 0 {
			i, j = i+n, j+n
			continue
		}
		var a, b mailstore.Entry
		left, right := i < old.of.Len(), j < cur.Len()
		if left {
			a = olds.At(i)
		}
		if right {
			b = news.At(j)
		}
		switch {
		case !right || left && a.UID < b.UID:
			gone.Add(a.UID)
			i++
		case !left || a.UID > b.UID:
			if b.Flags&mailstore.Deleted != 0 {
				come.Add(b.UID)
			}
			j++
		default:
			if b.Flags&mailstore.Deleted != 0 {
				come.Add(b.UID)
			} else {
				gone.Add(a.UID)
			}
			i++
			j++
		}
	}
	return old.uids.Minus(gone).Union(come)
}
