package message

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// wireForm is CRLFReader's rule, said plainly.
func wireForm(b []byte) []byte {
	var out []byte
	for i, c := range b {
		if c == '\n' && (i == 0 || b[i-1] != '\r') {
			out = append(out, '\r')
		}
		out = append(out, c)
	}
	return out
}

func TestShape(t *testing.T) {
	cases := []struct {
		in    string
		lines int64
		bare  int64
		nul   bool
		eight bool
	}{
		{"", 0, 0, false, false},
		{"a\nb\r\nc", 2, 1, false, false},
		{"\n", 1, 1, false, false},
		{"\r\r\n\n\r", 2, 1, false, false},
		{"a\x00b\xe9\n", 1, 1, true, true},
	}
	for _, c := range cases {
		for _, step := range []int{1, 2, 100} {
			var s Shape
			for i := 0; i < len(c.in); i += step {
				s.Write([]byte(c.in[i:min(i+step, len(c.in))]))
			}
			if s.Lines != c.lines || s.BareLF != c.bare || s.NUL != c.nul || s.EightBit != c.eight || s.Stored != int64(len(c.in)) {
				t.Errorf("%q in steps of %d: %+v", c.in, step, s)
			}
			if s.Wire() != int64(len(wireForm([]byte(c.in)))) {
				t.Errorf("%q: wire size %d", c.in, s.Wire())
			}
		}
	}
	if _, err := Measure(strings.NewReader("abc"), 5); err == nil {
		t.Error("a file shorter than its size was measured")
	}
}

// randomText is made of the bytes that matter to line ends.
func randomText(n int) []byte {
	rnd := newRand()
	b := make([]byte, n)
	for i := range b {
		b[i] = "\r\n\nabcdefghijklmno"[rnd.IntN(18)]
	}
	return b
}

func TestCRLFReaderReadsAnywhere(t *testing.T) {
	stored := append(randomText(150_000), bytes.Repeat([]byte("\r"), 40_000)...)
	stored = append(stored, randomText(60_000)...)
	want := wireForm(stored)
	for _, plan := range []string{"forward", "random", "size first"} {
		c := NewCRLFReader(bytes.NewReader(stored), int64(len(stored)))
		if plan == "size first" {
			if n, err := c.Size(); err != nil || n != int64(len(want)) {
				t.Fatalf("size %d, %v; want %d", n, err, len(want))
			}
		}
		rnd := newRand()
		off := 0
		for range 5000 {
			n := rnd.IntN(300) + 1
			if plan != "forward" {
				off = rnd.IntN(len(want) + 10)
			}
			p := make([]byte, n)
			got, err := c.ReadAt(p, int64(off))
			exp := want[min(off, len(want)):min(off+n, len(want))]
			if !bytes.Equal(p[:got], exp) {
				t.Fatalf("%s: at %d: got %q, want %q", plan, off, p[:got], exp)
			}
			if (err == io.EOF) != (len(exp) < n) || (err != nil && err != io.EOF) {
				t.Fatalf("%s: at %d: %v", plan, off, err)
			}
			off += n
		}
	}
}

func TestCRLFReaderWhole(t *testing.T) {
	for _, stored := range []string{"", "\n", "\r", "\r\n", "a", "\r\r\n\r", "\n\n\n", "x\r\ny\nz"} {
		c := NewCRLFReader(strings.NewReader(stored), int64(len(stored)))
		want := wireForm([]byte(stored))
		for size := 1; size < 5; size++ {
			got, err := io.ReadAll(slowReader{io.NewSectionReader(c, 0, 100)})
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%q: %q, %v", stored, got, err)
			}
		}
		same, err := c.Identical()
		if err != nil || same != (stored == string(want)) {
			t.Errorf("%q: identical %v, %v", stored, same, err)
		}
	}
}

// countingReader counts the bytes that are read from it.
type countingReader struct {
	r    io.ReaderAt
	read int64
}

func (c *countingReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.r.ReadAt(p, off)
	c.read += int64(n)
	return n, err
}

func TestCRLFReaderCost(t *testing.T) {
	stored := bytes.Repeat([]byte("a line of text\n"), 1_000_000)
	count := &countingReader{r: bytes.NewReader(stored)}
	c := NewCRLFReader(count, int64(len(stored)))
	p := make([]byte, 100)
	if _, err := c.ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	if count.read > 2*crlfBuffer {
		t.Errorf("the first bytes cost %d", count.read)
	}
	size, _ := c.Size()
	if len(c.marks) > maxMarks {
		t.Errorf("%d marks", len(c.marks))
	}
	count.read = 0
	if _, err := c.ReadAt(p, size-100); err != nil || string(p[98:]) != "\r\n" {
		t.Fatal(err)
	}
	if count.read > 2*c.every+2*crlfBuffer {
		t.Errorf("a read at the end cost %d", count.read)
	}
	count.read = 0
	if _, err := io.Copy(io.Discard, io.NewSectionReader(c, 0, size)); err != nil {
		t.Fatal(err)
	}
	if count.read > 2*int64(len(stored)) {
		t.Errorf("reading all of %d bytes cost %d", len(stored), count.read)
	}
}

func TestCRLFReaderErrors(t *testing.T) {
	stored := bytes.Repeat([]byte("line\n"), 20_000)
	c := NewCRLFReader(failingReader{bytes.NewReader(stored), 50_000}, int64(len(stored)))
	if _, err := c.Size(); !errors.Is(err, errDisk) {
		t.Errorf("size: %v", err)
	}
	if _, err := c.ReadAt(make([]byte, 10), 80_000); !errors.Is(err, errDisk) {
		t.Errorf("read: %v", err)
	}
	c = NewCRLFReader(bytes.NewReader(stored[:10]), 20)
	if _, err := c.Size(); err == nil {
		t.Error("a short file gave a size")
	}
}

// TestCRLFReaderBorders has a CR as the last byte of a buffer.
func TestCRLFReaderBorders(t *testing.T) {
	for n := 2; n < 40; n++ {
		stored := bytes.Repeat([]byte(strings.Repeat("x", n-2)+"\r\n"), 3*crlfBuffer/n)
		c := NewCRLFReader(bytes.NewReader(stored), int64(len(stored)))
		if same, err := c.Identical(); !same || err != nil {
			t.Fatalf("lines of %d bytes: %v, %v", n, same, err)
		}
		got, err := io.ReadAll(io.NewSectionReader(NewCRLFReader(bytes.NewReader(stored), int64(len(stored))), 0, 1<<20))
		if err != nil || !bytes.Equal(got, stored) {
			t.Fatalf("lines of %d bytes: %v", n, err)
		}
	}
}
