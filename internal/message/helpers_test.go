package message

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// crlf turns the LFs of a test text into CRLF.
func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

func mustParse(t testing.TB, msg string) *Part {
	t.Helper()
	root, err := Parse(strings.NewReader(msg), int64(len(msg)), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// checkTree fails the test if a tree breaks what its type promises.
func checkTree(t testing.TB, msg []byte, root *Part, lim Limits) {
	t.Helper()
	lim = lim.filled()
	count := 0
	var walk func(p *Part, from, end int64, depth int)
	walk = func(p *Part, from, end int64, depth int) {
		count++
		if depth > lim.Depth+1 {
			t.Fatalf("depth %d", depth)
		}
		if p.HeaderStart < from || p.BodyStart < p.HeaderStart || p.BodyEnd < p.BodyStart || p.BodyEnd > end {
			t.Fatalf("offsets %d %d %d outside %d %d", p.HeaderStart, p.BodyStart, p.BodyEnd, from, end)
		}
		if p.Type == "" || p.Subtype == "" {
			t.Fatal("a part without a type")
		}
		if n := int64(bytes.Count(msg[p.HeaderStart:p.BodyStart], []byte("\n"))); n != p.HeaderLines {
			t.Fatalf("header lines %d, counted %d", p.HeaderLines, n)
		}
		if n := int64(bytes.Count(msg[p.BodyStart:p.BodyEnd], []byte("\n"))); n != p.BodyLines {
			t.Fatalf("body lines %d, counted %d of %q", p.BodyLines, n, msg[p.BodyStart:p.BodyEnd])
		}
		if len(p.Children) == 0 && !p.Opaque && isContainer(p.Type, p.Subtype, true) {
			t.Fatal("a container without parts")
		}
		at := p.BodyStart
		for _, child := range p.Children {
			walk(child, at, p.BodyEnd, depth+1)
			at = child.BodyEnd
		}
	}
	walk(root, 0, int64(len(msg)), 1)
	if root.HeaderStart != 0 || root.BodyEnd != int64(len(msg)) {
		t.Fatalf("the root covers %d to %d of %d", root.HeaderStart, root.BodyEnd, len(msg))
	}
	if count > 2*lim.Parts+1 {
		t.Fatalf("%d parts", count)
	}
}

// slowReader gives one byte at a time.
type slowReader struct{ r io.Reader }

func (s slowReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return s.r.Read(p[:1])
}

// failingReader fails for reads beyond an offset.
type failingReader struct {
	r     io.ReaderAt
	limit int64
}

var errDisk = errors.New("disk on fire")

func (f failingReader) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > f.limit {
		n := 0
		if off < f.limit {
			n, _ = f.r.ReadAt(p[:f.limit-off], off)
		}
		return n, errDisk
	}
	return f.r.ReadAt(p, off)
}

func newRand() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }
