package numset

import "strconv"

// Window is a part of an ordered list of results, as a client asked for it.
//
//	partial-range-first = nz-number ":" nz-number           RFC 9394 §4
//	partial-range-last  = MINUS nz-number ":" MINUS nz-number
type Window struct {
	A, B uint32 // places counted from 1, in either order
	Back bool   // counted from the end of the list: 1 is the last
}

// Of gives the places [from, to) of a list of n that are in the window, counted
// from 0; both are 0 where none is.
func (w Window) Of(n int) (from, to int) {
	first, last := uint64(min(w.A, w.B)), uint64(max(w.A, w.B))
	if first == 0 || first > uint64(n) {
		return 0, 0
	}
	last = min(last, uint64(n))
	if w.Back {
		return n - int(last), n - int(first) + 1
	}
	return int(first) - 1, int(last)
}

// AppendTo writes the window as it was parsed.
func (w Window) AppendTo(dst []byte) []byte {
	for i, n := range [...]uint32{w.A, w.B} {
		if i > 0 {
			dst = append(dst, ':')
		}
		if w.Back {
			dst = append(dst, '-')
		}
		dst = strconv.AppendUint(dst, uint64(n), 10)
	}
	return dst
}

// Size is how many places the window has.
func (w Window) Size() uint64 { return uint64(max(w.A, w.B)-min(w.A, w.B)) + 1 }
