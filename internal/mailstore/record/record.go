// Package record writes and reads the fields of records that our own files keep:
// the index, pack's files. A record's frame (length, number, checksum) is its
// file's own affair; here is what stands within.
//
// The packages below mailstore use it. It is pure and must never know what a field
// means. Forms: a number is a varint (encoding/binary's), or little-endian where
// its width is in the name; a text is its length as a number and its bytes; a set of
// UIDs is the number of its ranges and, for each, the distance of its first from
// the last before it (at least 1) and how many follow the first.
//
// What is read may be damaged in a way that its checksum did not show: a Decoder
// never panics, allocates no more than the record's own length suggests, and ends
// at the first field that cannot be.
package record

import (
	"encoding/binary"

	"rookery/internal/numset"
)

// AppendText appends a text.
func AppendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// AppendRanges appends a set, given as its ascending ranges.
func AppendRanges(b []byte, ranges []numset.Range) []byte {
	b = binary.AppendUvarint(b, uint64(len(ranges)))
	last := uint32(0)
	for _, r := range ranges {
		b = binary.AppendUvarint(b, uint64(r.First-last))
		b = binary.AppendUvarint(b, uint64(r.Last-r.First))
		last = r.Last
	}
	return b
}

// Decoder reads fields off the front of B. After the first that is not there or
// cannot be, Bad is set and all that follows is zero.
type Decoder struct {
	B   []byte
	Bad bool
}

// Fail ends the reading.
func (d *Decoder) Fail() { d.Bad, d.B = true, nil }

// End reports whether all was read and all fitted.
func (d *Decoder) End() bool { return !d.Bad && len(d.B) == 0 }

// Bytes gives n bytes; they are those of the record.
func (d *Decoder) Bytes(n uint64) []byte {
	if n > uint64(len(d.B)) {
		d.Fail()
		return nil
	}
	p := d.B[:n:n]
	d.B = d.B[n:]
	return p
}

// Byte reads one byte.
func (d *Decoder) Byte() byte {
	if p := d.Bytes(1); p != nil {
		return p[0]
	}
	return 0
}

// U32 reads four bytes.
func (d *Decoder) U32() uint32 {
	if p := d.Bytes(4); p != nil {
		return binary.LittleEndian.Uint32(p)
	}
	return 0
}

// U64 reads eight bytes.
func (d *Decoder) U64() uint64 {
	if p := d.Bytes(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

// Uvarint reads a number.
func (d *Decoder) Uvarint() uint64 { return number(d, binary.Uvarint) }

// Varint reads a number with a sign.
func (d *Decoder) Varint() int64 { return number(d, binary.Varint) }

func number[N int64 | uint64](d *Decoder, read func([]byte) (N, int)) N {
	v, n := read(d.B)
	if n <= 0 {
		d.Fail()
		return 0
	}
	d.B = d.B[n:]
	return v
}

// Max32 is a number of at most 32 bits.
func (d *Decoder) Max32() uint32 {
	v := d.Uvarint()
	if v > 1<<32-1 {
		d.Fail()
		return 0
	}
	return uint32(v)
}

// Count is how many things follow, each of at least one byte: damage cannot make
// us allocate more than the record's length.
func (d *Decoder) Count() int {
	v := d.Uvarint()
	if v > uint64(len(d.B)) {
		d.Fail()
		return 0
	}
	return int(v)
}

// Text is a text of at most limit bytes.
func (d *Decoder) Text(limit int) string {
	n := d.Uvarint()
	if n > uint64(limit) {
		d.Fail()
		return ""
	}
	return string(d.Bytes(n))
}

// Ranges reads a set.
func (d *Decoder) Ranges() (s numset.Set) {
	last := uint64(0)
	for range d.Count() {
		gap := d.Uvarint()
		more := d.Uvarint()
		if gap == 0 || gap > 1<<32 || more > 1<<32 || last+gap+more > 1<<32-1 {
			d.Fail()
			return numset.Set{}
		}
		s.AddRange(uint32(last+gap), uint32(last+gap+more))
		last += gap + more
	}
	return s
}
