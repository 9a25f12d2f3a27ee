package mboxfmt

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestParts(t *testing.T) {
	file := strings.NewReader("0123456789abcdef")
	r := Parts{file, []Range{{2, 4}, {4, 4}, {8, 11}, {15, 16}}}
	const want = "2389af"
	if got, err := io.ReadAll(io.NewSectionReader(r, 0, 100)); string(got) != want || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := iotest.TestReader(io.NewSectionReader(r, 0, Stored(r.Ranges)), []byte(want)); err != nil {
		t.Error(err)
	}
	for off := range len(want) + 2 {
		for n := range len(want) + 2 {
			p := make([]byte, n)
			got, err := r.ReadAt(p, int64(off))
			rest := want[min(off, len(want)):]
			whole := n <= len(rest) && rest != ""
			if string(p[:got]) != rest[:min(n, len(rest))] || whole != (err == nil) || !whole && err != io.EOF {
				t.Errorf("%d octets at %d: %q, %v", n, off, p[:got], err)
			}
		}
	}
	short := Parts{file, []Range{{14, 20}, {0, 3}}} // the file is shorter than it was
	p := make([]byte, 8)
	if n, err := short.ReadAt(p, 0); string(p[:n]) != "ef" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%q, %v", p[:n], err)
	}
	broken := Parts{brokenFile{}, []Range{{0, 4}}}
	if n, err := broken.ReadAt(p, 0); n != 1 || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("%d, %v", n, err)
	}
}

type brokenFile struct{}

func (brokenFile) ReadAt([]byte, int64) (int, error) { return 1, io.ErrClosedPipe }
