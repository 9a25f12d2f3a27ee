// Package numset has sets of message numbers and UIDs: parsed as a client
// writes them, resolved to a canonical form, walked, joined and written.
//
// Everybody may use it. It must never know whether a number is a sequence
// number or a UID, nor which messages exist; the caller passes what "*" is.
//
// Numbers are 32-bit and never zero (RFC 3501 §9 nz-number).
package numset

import (
	"errors"
	"iter"
	"sort"
	"strconv"
)

// Range is the numbers from First to Last, both included. In a Set First is at
// least 1 and at most Last.
type Range struct{ First, Last uint32 }

// Set is a canonical set: ranges ascending, none overlapping, none adjacent.
// The zero value is empty. A Set is changed by its Add methods only; copies
// made by assignment share memory, so clone before changing one of two.
type Set struct{ r []Range }

// Of makes a set of some numbers in any order; zeroes are left out.
func Of(numbers ...uint32) Set {
	var s Set
	for _, n := range numbers {
		s.Add(n)
	}
	return s
}

// Span makes the set first to last. It is empty when first is 0 or above last.
func Span(first, last uint32) Set {
	var s Set
	s.AddRange(first, last)
	return s
}

// FromSorted makes a set of ascending numbers in one pass; equal neighbours
// are allowed. Numbers out of order are still taken, more slowly.
func FromSorted(numbers []uint32) Set {
	var s Set
	for _, n := range numbers {
		s.Add(n)
	}
	return s
}

// FromRanges makes a set of ranges of another set's, ascending and apart. It shares
// their memory: it is for reading.
func FromRanges(ranges []Range) Set { return Set{ranges} }

// At gives the number that stands at pos, counted from 0; ok is false beyond the
// last. It takes time linear in the ranges.
func (s Set) At(pos uint64) (n uint32, ok bool) {
	for _, r := range s.r {
		size := uint64(r.Last-r.First) + 1
		if pos < size {
			return r.First + uint32(pos), true
		}
		pos -= size
	}
	return 0, false
}

// Add puts one number in. Zero is no number and is left out.
func (s *Set) Add(n uint32) { s.AddRange(n, n) }

// AddRange puts first to last in. Appending above the highest number costs
// constant time, anything else time linear in the ranges.
func (s *Set) AddRange(first, last uint32) {
	if first == 0 || first > last {
		return
	}
	if n := len(s.r); n == 0 || first > s.r[n-1].Last && first-s.r[n-1].Last > 1 {
		s.r = append(s.r, Range{first, last})
		return
	}
	// from is the first range that touches or follows the new one, to the
	// first that lies wholly above it and does not touch.
	from := sort.Search(len(s.r), func(i int) bool { return s.r[i].Last >= first || first-s.r[i].Last == 1 })
	to := from
	for to < len(s.r) && (s.r[to].First <= last || s.r[to].First-last == 1) {
		first, last = min(first, s.r[to].First), max(last, s.r[to].Last)
		to++
	}
	if to == from {
		s.r = append(s.r, Range{})
		copy(s.r[from+1:], s.r[from:])
		s.r[from] = Range{first, last}
		return
	}
	s.r[from] = Range{first, last}
	s.r = append(s.r[:from+1], s.r[to:]...)
}

// Ranges gives the ranges themselves; the caller must not change them.
func (s Set) Ranges() []Range { return s.r }

// Empty reports whether no number is in the set.
func (s Set) Empty() bool { return len(s.r) == 0 }

// Len is how many numbers are in the set: 0 to 2^32-1.
func (s Set) Len() uint64 {
	var n uint64
	for _, r := range s.r {
		n += uint64(r.Last-r.First) + 1
	}
	return n
}

// Min is the lowest number, 0 if there is none.
func (s Set) Min() uint32 {
	if len(s.r) == 0 {
		return 0
	}
	return s.r[0].First
}

// Max is the highest number, 0 if there is none.
func (s Set) Max() uint32 {
	if len(s.r) == 0 {
		return 0
	}
	return s.r[len(s.r)-1].Last
}

// Contains reports whether n is in the set, in time logarithmic in the ranges.
func (s Set) Contains(n uint32) bool {
	i := sort.Search(len(s.r), func(i int) bool { return s.r[i].Last >= n })
	return i < len(s.r) && s.r[i].First <= n && n != 0
}

// All walks the numbers in ascending order.
func (s Set) All() iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for _, r := range s.r {
			for n := uint64(r.First); n <= uint64(r.Last); n++ {
				if !yield(uint32(n)) {
					return
				}
			}
		}
	}
}

// Clone gives a set that shares no memory with s.
func (s Set) Clone() Set { return Set{append([]Range(nil), s.r...)} }

// Equal reports whether both have the same numbers.
func (s Set) Equal(other Set) bool {
	if len(s.r) != len(other.r) {
		return false
	}
	for i := range s.r {
		if s.r[i] != other.r[i] {
			return false
		}
	}
	return true
}

// Union gives the numbers of both, in time linear in the ranges of both.
func (s Set) Union(other Set) Set {
	var out Set
	i, j := 0, 0
	for i < len(s.r) || j < len(other.r) {
		if j == len(other.r) || i < len(s.r) && s.r[i].First <= other.r[j].First {
			out.AddRange(s.r[i].First, s.r[i].Last)
			i++
		} else {
			out.AddRange(other.r[j].First, other.r[j].Last)
			j++
		}
	}
	return out
}

// Intersect gives the numbers that are in both.
func (s Set) Intersect(other Set) Set {
	var out Set
	i, j := 0, 0
	for i < len(s.r) && j < len(other.r) {
		a, b := s.r[i], other.r[j]
		out.AddRange(max(a.First, b.First), min(a.Last, b.Last))
		if a.Last < b.Last {
			i++
		} else {
			j++
		}
	}
	return out
}

// Minus gives the numbers of s that are not in other.
func (s Set) Minus(other Set) Set {
	var out Set
	j := 0
	for _, a := range s.r {
		first := uint64(a.First)
		for ; j < len(other.r) && other.r[j].Last < a.First; j++ {
		}
		for k := j; k < len(other.r) && other.r[k].First <= a.Last; k++ {
			if uint64(other.r[k].First) > first {
				out.AddRange(uint32(first), other.r[k].First-1)
			}
			first = max(first, uint64(other.r[k].Last)+1)
		}
		if first <= uint64(a.Last) {
			out.AddRange(uint32(first), a.Last)
		}
	}
	return out
}

// AppendTo writes the set as a sequence-set: "1,3:5". An empty set writes
// nothing, which is no sequence-set: the caller must not send it.
func (s Set) AppendTo(dst []byte) []byte {
	for i, r := range s.r {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(r.First), 10)
		if r.Last > r.First {
			dst = append(dst, ':')
			dst = strconv.AppendUint(dst, uint64(r.Last), 10)
		}
	}
	return dst
}

// String is AppendTo as a string.
func (s Set) String() string { return string(s.AppendTo(nil)) }

// The errors of Parse.
var (
	ErrSyntax   = errors.New("not a sequence set")
	ErrTooMany  = errors.New("sequence set has too many ranges")
	ErrZero     = errors.New("zero in a sequence set")
	ErrTooLarge = errors.New("number in a sequence set exceeds 32 bits")
)
