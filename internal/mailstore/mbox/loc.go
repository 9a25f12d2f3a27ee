package mbox

import (
	"encoding/binary"

	"rookery/internal/mailstore/mbox/mboxfmt"
)

// place is where a message lies: what the index keeps as its Loc. In it, all
// numbers are uvarints: from; header − from; end − header; next − end; the print; then
// the number of shown ranges and, for each, its begin − the end of the one
// before (the first: − header) and its length. Many ranges are not kept (the
// number is 0): the header is read again for them.
type place struct {
	from, header, end, next int64
	print                   uint32
	shown                   []mboxfmt.Range
}

const maxRanges = 16

func (p place) encode() string {
	b := make([]byte, 0, 64)
	put := func(n int64) { b = binary.AppendUvarint(b, uint64(n)) }
	put(p.from)
	put(p.header - p.from)
	put(p.end - p.header)
	put(p.next - p.end)
	put(int64(p.print))
	if len(p.shown) > maxRanges {
		put(0)
		return string(b)
	}
	put(int64(len(p.shown)))
	at := p.header
	for _, r := range p.shown {
		put(r.From - at)
		put(r.To - r.From)
		at = r.To
	}
	return string(b)
}

// decodePlace reads a Loc; ok is false for what encode would not write.
func decodePlace(s string) (p place, ok bool) {
	b, bad := []byte(s), false
	get := func() int64 {
		n, k := binary.Uvarint(b)
		if k <= 0 || n > 1<<62 {
			bad, b = true, nil
			return 0
		}
		b = b[k:]
		return int64(n)
	}
	add := func(a, n int64) int64 {
		if bad = bad || n > 1<<62-a; bad {
			return a
		}
		return a + n
	}
	p.from = get()
	p.header = add(p.from, get())
	p.end = add(p.header, get())
	p.next = add(p.end, get())
	p.print = uint32(get())
	n := get()
	if bad || n > maxRanges {
		return place{}, false
	}
	at := p.header
	for range n {
		from := add(at, get())
		at = add(from, get())
		p.shown = append(p.shown, mboxfmt.Range{From: from, To: at})
	}
	return p, !bad && at <= p.end && len(b) == 0
}

// move shifts it by d octets.
func (p place) move(d int64) place {
	p.from, p.header, p.end, p.next = p.from+d, p.header+d, p.end+d, p.next+d
	shown := make([]mboxfmt.Range, len(p.shown))
	for i, r := range p.shown {
		shown[i] = mboxfmt.Range{From: r.From + d, To: r.To + d}
	}
	p.shown = shown
	return p
}
