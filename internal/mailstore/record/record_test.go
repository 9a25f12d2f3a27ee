package record

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"rookery/internal/numset"
)

func TestRoundTrip(t *testing.T) {
	set := numset.Of(1, 2, 3, 7, 1<<32-1)
	b := []byte{9}
	b = binary.LittleEndian.AppendUint32(b, 1<<31)
	b = binary.LittleEndian.AppendUint64(b, 1<<63)
	b = binary.AppendVarint(binary.AppendUvarint(b, math.MaxUint64), math.MinInt64)
	b = AppendText(b, "tëxt")
	b = AppendRanges(b, set.Ranges())
	b = append(b, "rest"...)
	d := Decoder{B: b}
	if d.Byte() != 9 || d.U32() != 1<<31 || d.U64() != 1<<63 || d.Uvarint() != math.MaxUint64 || d.Varint() != math.MinInt64 ||
		d.Text(5) != "tëxt" || d.Ranges().String() != set.String() || d.End() || string(d.Bytes(4)) != "rest" || !d.End() {
		t.Fatalf("%+v", d)
	}
	for cut := range len(b) { // every field that is cut off is told
		d := Decoder{B: b[:cut]}
		d.Byte()
		d.U32()
		d.U64()
		d.Uvarint()
		d.Varint()
		d.Text(5)
		d.Ranges()
		d.Bytes(4)
		if !d.Bad || d.End() {
			t.Fatalf("%d of %d bytes are enough", cut, len(b))
		}
	}
}

func TestWhatCannotBe(t *testing.T) {
	num := func(n ...uint64) (b []byte) {
		for _, n := range n {
			b = binary.AppendUvarint(b, n)
		}
		return b
	}
	for what, c := range map[string]struct {
		b    []byte
		read func(d *Decoder)
	}{
		"more than 32 bits":       {num(1 << 32), func(d *Decoder) { d.Max32() }},
		"more things than bytes":  {num(3, 0, 0), func(d *Decoder) { d.Count() }},
		"a text over its limit":   {AppendText(nil, "abc"), func(d *Decoder) { d.Text(2) }},
		"a text that is too long": {num(1<<63, 0), func(d *Decoder) { d.Text(math.MaxInt) }},
		"ranges that touch":       {num(2, 1, 0, 0, 0), func(d *Decoder) { d.Ranges() }},
		"a range past 32 bits":    {num(1, 1<<31, 1<<31), func(d *Decoder) { d.Ranges() }},
		"a sum that wraps":        {num(2, 5, 0, 1<<64-3, 1), func(d *Decoder) { d.Ranges() }},
		"a number without an end": {bytes.Repeat([]byte{0xff}, 11), func(d *Decoder) { d.Uvarint() }},
	} {
		d := Decoder{B: c.b}
		if c.read(&d); !d.Bad || len(d.B) > 0 {
			t.Errorf("%s is taken: %+v", what, d)
		}
	}
}

func FuzzDecoder(f *testing.F) {
	f.Add(AppendRanges(AppendText(nil, "x"), []numset.Range{{First: 1, Last: 5}, {First: 9, Last: 9}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := Decoder{B: b}
		text := d.Text(1 << 10)
		set := d.Ranges()
		if d.Bad {
			return
		}
		again := Decoder{B: AppendRanges(AppendText(nil, text), set.Ranges())}
		if got := again.Text(1 << 10); got != text {
			t.Fatalf("%q, again %q", text, got)
		}
		if got := again.Ranges(); !again.End() || got.String() != set.String() {
			t.Fatalf("%v, again %v", set, got)
		}
	})
}
