package mbox

import (
	"reflect"
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/mbox/mboxfmt"
)

func sampleStep() *step {
	return &step{number: 7, state: gap, inode: 3, dst: 10, data: []byte("data"), from: 14, to: 20, name: "a/b",
		before: check{2, []byte("12345678")}, after: check{20, []byte("x")}, marker: [markerLen]byte{1, 2, 3}}
}

// FuzzStep: a head reads as what was written, and any other bytes as none or as a
// step within the limits.
func FuzzStep(f *testing.F) {
	f.Add(sampleStep().encode())
	f.Add((&step{number: 1}).encode())
	f.Add([]byte(redoMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, n, crc, ok := decodeStep(b)
		if !ok {
			return
		}
		if n > chunkMax || s.from > s.to || s.dst < 0 || s.state > fill || len(s.before.was) > checkLen || len(s.after.was) > checkLen {
			t.Fatalf("%+v", s)
		}
		again := s
		again.data = make([]byte, 0)
		got, _, _, ok := decodeStep(again.encode())
		got.data = again.data
		if !ok || !reflect.DeepEqual(got, again) && n == 0 && crc == 0 {
			t.Fatalf("%+v came back as %+v", again, got)
		}
	})
}

func FuzzPlace(f *testing.F) {
	f.Add(place{from: 1, header: 20, end: 300, next: 301, print: 4, shown: []mboxfmt.Range{{From: 20, To: 30}, {From: 50, To: 300}}}.encode())
	f.Add("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
	f.Fuzz(func(t *testing.T, s string) {
		p, ok := decodePlace(s)
		if !ok {
			return
		}
		if p.from < 0 || p.header < p.from || p.end < p.header || p.next < p.end {
			t.Fatalf("%+v", p)
		}
		q, ok := decodePlace(p.encode())
		if !ok || !reflect.DeepEqual(p, q) {
			t.Fatalf("%+v came back as %+v", p, q)
		}
	})
}

func FuzzRecord(f *testing.F) {
	f.Add(formatRecord("a/b", record{mailstore.GUID{1}, 5, 6}))
	f.Add("x\t0\t1\t2\t3\n")
	f.Fuzz(func(t *testing.T, line string) {
		name, rec, ok := parseRecord(line)
		if !ok {
			return
		}
		again, rec2, ok := parseRecord(formatRecord(name, rec))
		if !ok || again != name || rec2 != rec {
			t.Fatalf("%q came back as %q", name, again)
		}
	})
}
