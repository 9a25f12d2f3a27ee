// Package crc32c computes CRC-32C (Castagnoli, RFC 3720 §B.4) without a cost at
// program start.
//
// hash/crc32 prepares its fast way of this polynomial by 1.5 MB of work at the
// first use, a quarter of a millisecond. A process that lives for one short
// session and checks a few records should not pay that: here small inputs go
// through a table of 8 KiB that is made in microseconds, and the fast way is
// taken once a process has summed up enough to earn it.
//
// Everybody may call it. It knows nothing of what the bytes mean.
package crc32c

import (
	"encoding/binary"
	"hash"
	"hash/crc32"
	"sync"
	"sync/atomic"
)

// poly is the reversed polynomial.
const poly = crc32.Castagnoli

// large is how many octets a process sums up the slow way: the fast way costs
// about as much to prepare.
const large = 256 << 10

// slicing holds the tables for eight octets at a time.
type slicing [8][256]uint32

var (
	small = sync.OnceValue(makeTables)
	fast  = sync.OnceValue(func() *crc32.Table { return crc32.MakeTable(poly) })
	// summed counts octets until they are more than large.
	summed atomic.Int64
)

func makeTables() *slicing {
	t := new(slicing)
	for i := range 256 {
		c := uint32(i)
		for range 8 {
			if c&1 == 1 {
				c = c>>1 ^ poly
			} else {
				c >>= 1
			}
		}
		t[0][i] = c
	}
	for i := range 256 {
		c := t[0][i]
		for k := 1; k < 8; k++ {
			c = t[0][c&0xff] ^ c>>8
			t[k][i] = c
		}
	}
	return t
}

// Update adds p to a checksum; 0 is the start.
func Update(crc uint32, p []byte) uint32 {
	if summed.Load() > large || summed.Add(int64(len(p))) > large {
		return crc32.Update(crc, fast(), p)
	}
	return update(small(), crc, p)
}

func update(t *slicing, crc uint32, p []byte) uint32 {
	crc = ^crc
	for len(p) >= 8 {
		crc ^= binary.LittleEndian.Uint32(p)
		crc = t[0][p[7]] ^ t[1][p[6]] ^ t[2][p[5]] ^ t[3][p[4]] ^
			t[4][crc>>24] ^ t[5][crc>>16&0xff] ^ t[6][crc>>8&0xff] ^ t[7][crc&0xff]
		p = p[8:]
	}
	for _, b := range p {
		crc = t[0][byte(crc)^b] ^ crc>>8
	}
	return ^crc
}

// Checksum is Update from the start.
func Checksum(p []byte) uint32 { return Update(0, p) }

// Digest is a running checksum. Its zero value is ready.
type Digest struct{ sum uint32 }

var _ hash.Hash32 = (*Digest)(nil)

// Write adds p; it never fails.
func (d *Digest) Write(p []byte) (int, error) {
	d.sum = Update(d.sum, p)
	return len(p), nil
}

// Sum32 is the checksum of what was written.
func (d *Digest) Sum32() uint32 { return d.sum }

// Sum appends the checksum, most significant octet first.
func (d *Digest) Sum(b []byte) []byte { return binary.BigEndian.AppendUint32(b, d.sum) }

// Reset starts anew.
func (d *Digest) Reset() { d.sum = 0 }

// Size is the octets of a checksum.
func (d *Digest) Size() int { return 4 }

// BlockSize is 1: any amount may be written.
func (d *Digest) BlockSize() int { return 1 }
