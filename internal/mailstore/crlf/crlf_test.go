package crlf

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"testing"
)

// slow is the definition, written plainly.
func slow(in []byte) []byte {
	var out []byte
	for i, c := range in {
		if c == '\n' && (i == 0 || in[i-1] != '\r') {
			out = append(out, '\r')
		}
		out = append(out, c)
	}
	return out
}

func check(t *testing.T, in []byte) {
	t.Helper()
	want := slow(in)
	v, err := Scan(bytes.NewReader(in), int64(len(in)))
	if err != nil {
		t.Fatal(err)
	}
	if v.Size() != int64(len(want)) || v.Plain() != bytes.Equal(in, want) {
		t.Fatalf("size %d, want %d", v.Size(), len(want))
	}
	if got := Append([]byte("before"), in); string(got) != "before"+string(want) || Bare(in) != int64(len(want)-len(in)) {
		t.Fatalf("Append gives %d octets, Bare %d", len(got), Bare(in))
	}
	other := v.Of(bytes.NewReader(in))
	got, err := io.ReadAll(io.NewSectionReader(other, 0, other.Size()))
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%v: the view of another reader differs", err)
	}
	got, err = io.ReadAll(io.NewSectionReader(v, 0, v.Size()))
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%v: %d octets differ from %d", err, len(got), len(want))
	}
	for _, step := range []int{1, 7, blockSize - 1, blockSize + 1, 3*blockSize + 5, 11 * blockSize} {
		if len(want)/step > 2000 {
			continue
		}
		p := make([]byte, step)
		for off := 0; off <= len(want); off += step {
			n, err := v.ReadAt(p, int64(off))
			if full := min(step, len(want)-off); n != full || (n < step) != (err == io.EOF) || !bytes.Equal(p[:n], want[off:off+n]) {
				if n == full && bytes.Equal(p[:n], want[off:off+n]) && err == io.EOF && off+n == len(want) {
					continue
				}
				t.Fatalf("step %d at %d: %d %v", step, off, n, err)
			}
		}
	}
}

func TestView(t *testing.T) {
	for _, s := range []string{"", "\n", "\r", "\r\n", "a\nb", "a\r\nb\n\n\r\n\rx\n", "\x00\n\x00", "no end"} {
		check(t, []byte(s))
	}
	long := strings.Repeat("line of a message\n", 5000)
	check(t, []byte(long))
	check(t, []byte(regexp.MustCompile("\n").ReplaceAllString(long, "\r\n")))
	// CR and LF on both sides of a block's edge, and every place near it
	for d := -2; d <= 2; d++ {
		for _, end := range []string{"\n", "\r\n", "\r\r\n", "\n\n"} {
			check(t, []byte(strings.Repeat("x", blockSize+d)+end+strings.Repeat("y\n", 20)))
		}
	}
}

func TestShrunkFile(t *testing.T) {
	in := []byte(strings.Repeat("x\n", 100))
	if _, err := Scan(bytes.NewReader(in[:50]), 200); err != io.ErrUnexpectedEOF {
		t.Fatal(err)
	}
}

func FuzzView(f *testing.F) {
	f.Add([]byte("a\nb\r\n\r\n\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		check(t, in)
		if len(in) > 0 {
			check(t, bytes.Repeat(in, min(64, 1+3*blockSize/len(in))))
		}
	})
}
