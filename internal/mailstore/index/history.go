package index

import (
	"cmp"
	"slices"

	"rookery/internal/numset"
)

// Bounds of the history of expunges of one mailbox.
const (
	maxHistory       = 4096 // expunges
	maxHistoryRanges = 8192 // ranges of UIDs in them
)

// history is which UIDs were expunged when, oldest first. It is never changed:
// add gives a longer one, which may share the shorter one's array.
type history struct {
	list   []gone
	ranges int
}

type gone struct {
	modseq uint64
	uids   numset.Set
}

// add notes an expunge. Beyond the bounds the older half is forgotten: floor is
// then the MODSEQ up to which nothing is known any more, else 0.
func (h *history) add(m uint64, uids numset.Set) (next *history, floor uint64) {
	n := len(uids.Ranges())
	if n > maxHistoryRanges {
		return &history{}, m
	}
	next = &history{list: append(h.list, gone{m, uids}), ranges: h.ranges + n}
	if len(next.list) <= maxHistory && next.ranges <= maxHistoryRanges {
		return next, 0
	}
	cut, left := 0, next.ranges
	for left > maxHistoryRanges/2 || len(next.list)-cut > maxHistory/2 {
		if cut == len(next.list)-1 {
			break
		}
		floor = next.list[cut].modseq
		left -= len(next.list[cut].uids.Ranges())
		cut++
	}
	return &history{list: slices.Clone(next.list[cut:]), ranges: left}, floor
}

// since gives what was expunged after m.
func (h *history) since(m uint64) (uids numset.Set) {
	var all []numset.Range
	for i := len(h.list) - 1; i >= 0 && h.list[i].modseq > m; i-- {
		all = append(all, h.list[i].uids.Ranges()...)
	}
	slices.SortFunc(all, func(a, b numset.Range) int { return cmp.Compare(a.First, b.First) })
	for _, r := range all {
		uids.AddRange(r.First, r.Last)
	}
	return uids
}
