package crc32c

import (
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

// The check value of the polynomial, and RFC 3720 §B.4's examples.
func TestKnown(t *testing.T) {
	ascending := make([]byte, 32)
	for i := range ascending {
		ascending[i] = byte(i)
	}
	for _, c := range []struct {
		in   []byte
		want uint32
	}{{nil, 0}, {[]byte("123456789"), 0xe3069283}, {make([]byte, 32), 0x8a9136aa}, {ascending, 0x46dd794e}} {
		if got := Checksum(c.in); got != c.want {
			t.Errorf("%x: %08x, want %08x", c.in, got, c.want)
		}
	}
}

// By table, by hardware and in pieces it is the same.
func TestSame(t *testing.T) {
	want := crc32.MakeTable(crc32.Castagnoli)
	r := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 3*large)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	for range 200 {
		a, b := r.IntN(len(data)), r.IntN(len(data))
		p := data[min(a, b):max(a, b)]
		if r.IntN(2) == 0 {
			p = p[:min(len(p), r.IntN(100))]
		}
		var d Digest
		cut := r.IntN(len(p) + 1)
		d.Write(p[:cut])
		d.Write(p[cut:])
		sum := crc32.Checksum(p, want)
		if d.Sum32() != sum || update(small(), 0, p) != sum {
			t.Fatalf("%d octets: %08x and %08x, want %08x", len(p), d.Sum32(), update(small(), 0, p), sum)
		}
	}
}

func BenchmarkTable(b *testing.B) {
	p := make([]byte, 4096)
	b.SetBytes(4096)
	for b.Loop() {
		update(small(), 0, p)
	}
}
