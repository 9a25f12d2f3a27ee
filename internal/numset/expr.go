package numset

import "strconv"

// Star stands for "*" in the ranges of an Expr.
const Star = 0

// Expr is a sequence-set as a client wrote it: order and repetition kept, "*" and
// "$" not yet resolved, ranges in either direction.
type Expr []Range

// saved stands for "$", the result of the last search that was saved (RFC 5182
// §2.1), in an Expr. It is no other range's value: "4294967295:*" is kept as
// "*:4294967295", which means the same.
var saved = Range{First: 1<<32 - 1, Last: Star}

// Saved is "$" alone.
func Saved() Expr { return Expr{saved} }

// Parse reads the whole of p as a sequence-set of at most maxRanges ranges.
//
//	seq-number   = nz-number / "*"                          RFC 3501 §9
//	seq-range    = seq-number ":" seq-number
//	sequence-set = (seq-number / seq-range) *("," sequence-set)
//	sequence-set =/ seq-last-command                        RFC 5182 §3
//	seq-last-command = "$"
//
// By that grammar "$" stands alone or behind a comma: "1,$", but not "$,1".
//
// Its error is one of ErrSyntax, ErrTooMany, ErrZero, ErrTooLarge.
func Parse(p []byte, maxRanges int) (Expr, error) {
	var out Expr
	for {
		if len(out) == maxRanges {
			return nil, ErrTooMany
		}
		if len(p) > 0 && p[0] == '$' {
			out, p = append(out, saved), p[1:]
			if len(p) == 0 {
				return out, nil
			}
			if p[0] != ',' || len(out) == 1 {
				return nil, ErrSyntax
			}
			p = p[1:]
			continue
		}
		first, n, err := seqNumber(p)
		if err != nil {
			return nil, err
		}
		p = p[n:]
		r := Range{first, first}
		if len(p) > 0 && p[0] == ':' {
			if r.Last, n, err = seqNumber(p[1:]); err != nil {
				return nil, err
			}
			p = p[1+n:]
		}
		if r == saved {
			r = Range{r.Last, r.First}
		}
		out = append(out, r)
		if len(p) == 0 {
			return out, nil
		}
		if p[0] != ',' {
			return nil, ErrSyntax
		}
		p = p[1:]
	}
}

// seqNumber reads nz-number / "*" and gives its length.
func seqNumber(p []byte) (value uint32, n int, err error) {
	if len(p) > 0 && p[0] == '*' {
		return Star, 1, nil
	}
	var v uint64
	for n < len(p) && p[n] >= '0' && p[n] <= '9' {
		v = v*10 + uint64(p[n]-'0')
		if v > 1<<32-1 {
			return 0, 0, ErrTooLarge
		}
		n++
	}
	switch {
	case n == 0:
		return 0, 0, ErrSyntax
	case p[0] == '0':
		// nz-number = digit-nz *DIGIT: "0" and "01" alike
		return 0, 0, ErrZero
	}
	return uint32(v), n, nil
}

// Resolve gives the set that the expression means where star is the highest
// number in use, 0 if there is none; then "*" means nothing, and a range with
// it is left out. RFC 3501 §9 seq-range: "the order of the two values does not
// matter", and so 999:* holds star itself where star is below 999. "$" is left
// out: HasSaved tells whether it is there.
func (e Expr) Resolve(star uint32) Set {
	var out Set
	for _, r := range e {
		if r == saved {
			continue
		}
		first, last := r.First, r.Last
		if first == Star || last == Star {
			if star == 0 {
				continue
			}
			if first == Star {
				first = star
			}
			if last == Star {
				last = star
			}
		}
		out.AddRange(min(first, last), max(first, last))
	}
	return out
}

// HasSaved reports whether "$" stands anywhere in it.
func (e Expr) HasSaved() bool {
	for _, r := range e {
		if r == saved {
			return true
		}
	}
	return false
}

// OnlySaved reports whether nothing but "$" stands in it.
func (e Expr) OnlySaved() bool {
	for _, r := range e {
		if r != saved {
			return false
		}
	}
	return len(e) > 0
}

// HasStar reports whether "*" stands anywhere in it, or "$": whether what it means
// depends on more than itself.
func (e Expr) HasStar() bool {
	for _, r := range e {
		if r.First == Star || r.Last == Star {
			return true
		}
	}
	return false
}

// Highest is the highest number written, 0 if only "*" and "$" are.
func (e Expr) Highest() uint32 {
	var n uint32
	for _, r := range e {
		if r != saved {
			n = max(n, r.First, r.Last)
		}
	}
	return n
}

// AppendTo writes the expression as it was parsed, but "4294967295:*" the other
// way round.
func (e Expr) AppendTo(dst []byte) []byte {
	for i, r := range e {
		if i > 0 {
			dst = append(dst, ',')
		}
		if r == saved {
			dst = append(dst, '$')
			continue
		}
		dst = appendSeqNumber(dst, r.First)
		if r.Last != r.First {
			dst = append(dst, ':')
			dst = appendSeqNumber(dst, r.Last)
		}
	}
	return dst
}

// String is AppendTo as a string.
func (e Expr) String() string { return string(e.AppendTo(nil)) }

func appendSeqNumber(dst []byte, n uint32) []byte {
	if n == Star {
		return append(dst, '*')
	}
	return strconv.AppendUint(dst, uint64(n), 10)
}
