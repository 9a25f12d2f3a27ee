package index

import (
	"encoding/binary"
	"math/bits"

	"rookery/internal/mailstore/record"
)

// decoder reads the fields of a record.
type decoder struct{ record.Decoder }

func decode(b []byte) decoder { return decoder{record.Decoder{B: b}} }

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
