package index

import (
	"encoding/binary"
	"math/bits"

	"rookery/internal/numset"
)

// decoder reads the fields of a record. After the first field that is not there
// or cannot be, bad is set and all that follows is zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) fail() { d.bad, d.b = true, nil }

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	p := d.b[:n:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) byte() byte {
	if p := d.bytes(1); p != nil {
		return p[0]
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if p := d.bytes(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

// max32 is a number of at most 32 bits.
func (d *decoder) max32() uint32 {
	v := d.uvarint()
	if v > 1<<32-1 {
		d.fail()
		return 0
	}
	return uint32(v)
}

// count is how many things follow, each of at least one byte: damage cannot make
// us allocate more than the record's length.
func (d *decoder) count() int {
	v := d.uvarint()
	if v > uint64(len(d.b)) {
		d.fail()
		return 0
	}
	return int(v)
}

// text is a length and as many bytes, at most limit.
func (d *decoder) text(limit int) string {
	n := d.uvarint()
	if n > uint64(limit) {
		d.fail()
		return ""
	}
	return string(d.bytes(n))
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// A set of numbers is a count of ranges, and for each the distance from the end
// of the one before (at least 1) and how many follow its first.
func appendRanges(b []byte, ranges []numset.Range) []byte {
	b = binary.AppendUvarint(b, uint64(len(ranges)))
	last := uint32(0)
	for _, r := range ranges {
		b = binary.AppendUvarint(b, uint64(r.First-last))
		b = binary.AppendUvarint(b, uint64(r.Last-r.First))
		last = r.Last
	}
	return b
}

func (d *decoder) ranges() (s numset.Set) {
	last := uint64(0)
	for range d.count() {
		gap := d.uvarint()
		more := d.uvarint()
		if gap == 0 || gap > 1<<32 || more > 1<<32 || last+gap+more > 1<<32-1 {
			d.fail()
			return numset.Set{}
		}
		s.AddRange(uint32(last+gap), uint32(last+gap+more))
		last += gap + more
	}
	return s
}

// mix is a checksum of few bytes that costs a few nanoseconds. It finds damage;
// it does not resist whoever can write the file.
func mix(seed uint64, p []byte) uint32 {
	const k1, k2 = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93
	h := seed*k1 ^ uint64(len(p))
	for len(p) >= 8 {
		hi, lo := bits.Mul64(h^binary.LittleEndian.Uint64(p), k2)
		h = hi ^ lo + k1
		p = p[8:]
	}
	if len(p) > 0 {
		var last [8]byte
		copy(last[:], p)
		hi, lo := bits.Mul64(h^binary.LittleEndian.Uint64(last[:]), k2)
		h = hi ^ lo + k1
	}
	h ^= h >> 29
	h *= k2
	return uint32(h >> 32)
}

// put40 and get40 keep numbers within ±2^39 in five bytes.
func put40(b []byte, n int64) {
	u := uint64(n)
	b[0], b[1], b[2], b[3], b[4] = byte(u), byte(u>>8), byte(u>>16), byte(u>>24), byte(u>>32)
}

func get40(b []byte) int64 {
	u := uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 | uint64(b[4])<<32
	return int64(u<<24) >> 24
}
