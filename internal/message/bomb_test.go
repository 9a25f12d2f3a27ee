package message

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

// repeatReader is a message of any size that takes no memory: a head, then a
// unit again and again, of which %d is not expanded.
type repeatReader struct {
	head, unit string
	size       int64
	read       int64
}

func (r *repeatReader) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) && off+int64(n) < r.size {
		at := off + int64(n)
		room := min(len(p), n+int(r.size-at))
		if at < int64(len(r.head)) {
			n += copy(p[n:room], r.head[at:])
			continue
		}
		n += copy(p[n:room], r.unit[(at-int64(len(r.head)))%int64(len(r.unit)):])
	}
	r.read += int64(n)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// allocated gives the bytes that f allocates, freed or not.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// parseBomb parses a message and checks what that cost.
func parseBomb(t *testing.T, r *repeatReader, maxAlloc uint64) *Part {
	t.Helper()
	var root *Part
	var err error
	grown := allocated(func() { root, err = Parse(r, r.size, Limits{}) })
	if err != nil {
		t.Fatal(err)
	}
	if r.read > r.size+r.size/100+windowSize {
		t.Errorf("%d bytes were read of %d", r.read, r.size)
	}
	if grown > maxAlloc {
		t.Errorf("parsing allocated %d bytes", grown)
	}
	if n := len(AppendBodyStructure(nil, root, Limits{})); uint64(n) > maxAlloc {
		t.Errorf("BODYSTRUCTURE has %d bytes", n)
	}
	tree := AppendTree(nil, root)
	if _, err := DecodeTree(tree, Limits{}); err != nil {
		t.Errorf("a tree of %d bytes is not read back: %v", len(tree), err)
	}
	return root
}

func countParts(p *Part) int {
	n := 1
	for _, c := range p.Children {
		n += countParts(c)
	}
	return n
}

func depthOf(p *Part) int {
	n := 0
	for _, c := range p.Children {
		n = max(n, depthOf(c))
	}
	return n + 1
}

func TestBombParts(t *testing.T) {
	head := "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
	unit := "--b\r\n\r\nx\r\n"
	r := &repeatReader{head: head, unit: unit, size: int64(len(head) + 100_000*len(unit))}
	root := parseBomb(t, r, 10<<20)
	if n := countParts(root); n != 10_000 {
		t.Errorf("%d parts", n)
	}
	last := root.Children[len(root.Children)-1]
	if !last.Opaque || last.BodyEnd != r.size {
		t.Errorf("the rest is not one opaque part: %+v", last)
	}
	if text := string(AppendBodyStructure(nil, last, Limits{})); !strings.HasPrefix(text, `("application" "octet-stream" NIL NIL NIL "7bit" `) {
		t.Errorf("the opaque part shows as %s", text)
	}
}

func TestBombNestedMultiparts(t *testing.T) {
	var b strings.Builder
	b.WriteString("Content-Type: multipart/mixed; boundary=b0\r\n\r\n")
	for i := range 10_000 {
		fmt.Fprintf(&b, "--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n", i, i+1)
	}
	r := &repeatReader{head: b.String(), size: int64(b.Len())}
	root := parseBomb(t, r, 4<<20)
	if d := depthOf(root); d != 100 {
		t.Errorf("depth %d", d)
	}
}

func TestBombNestedMessages(t *testing.T) {
	unit := "Content-Type: message/rfc822\r\n\r\n"
	r := &repeatReader{unit: unit, size: int64(10_000 * len(unit))}
	root := parseBomb(t, r, 4<<20)
	if d := depthOf(root); d != 100 {
		t.Errorf("depth %d", d)
	}
}

// TestBombBoundaries has lines that look like delimiters of 99 open multiparts.
func TestBombBoundaries(t *testing.T) {
	var b strings.Builder
	b.WriteString("Content-Type: multipart/mixed; boundary=xxxxxxxxx100\r\n\r\n")
	for i := range 98 {
		fmt.Fprintf(&b, "--xxxxxxxxx%d\r\nContent-Type: multipart/mixed; boundary=xxxxxxxxx%d\r\n\r\n", 100+i, 101+i)
	}
	parseBomb(t, &repeatReader{head: b.String(), unit: "--xxxxxxxxx\r\n", size: 10 << 20}, 4<<20)
}

func TestBombParams(t *testing.T) {
	r := &repeatReader{head: "Content-Type: text/plain", unit: "; a=b", size: 5_000_000}
	root := parseBomb(t, r, 8<<20)
	if n := len(root.Params); n != 250 {
		t.Errorf("%d parameters", n)
	}
	r = &repeatReader{head: "Content-Type: multipart/mixed", unit: "; boundary*1=b; boundary*0*=c", size: 5_000_000}
	parseBomb(t, r, 8<<20)
}

func TestBombHeader(t *testing.T) {
	r := &repeatReader{head: "Subject: first\r\n", unit: "X-Filler: " + strings.Repeat("y", 60) + "\r\nTo: a@b.example\r\n", size: 100 << 20}
	root := parseBomb(t, r, 4<<20)
	if root.Envelope.Subject != "first" || root.BodyStart != r.size {
		t.Errorf("%+v", root)
	}
	r = &repeatReader{head: "Subject: ", unit: "folded\r\n ", size: 100 << 20}
	root = parseBomb(t, r, 12<<20)
	if n := len(root.Envelope.Subject); n > 1<<20 || n < 1<<19 {
		t.Errorf("a subject of %d bytes", n)
	}
	r.read = 0
	var text []byte
	grown := allocated(func() { text, _ = HeaderFields(r, root.Header(), []string{"To"}, false, Limits{}) })
	if string(text) != "\r\n" || grown > 12<<20 || r.read > r.size+1<<20 {
		t.Errorf("HEADER.FIELDS gave %d bytes, allocated %d, read %d", len(text), grown, r.read)
	}
}

func TestBombAddresses(t *testing.T) {
	r := &repeatReader{head: "From: x\r\nTo: a", unit: ",a", size: 50 << 20}
	root := parseBomb(t, r, 12<<20)
	text := AppendEnvelope(nil, root.Envelope, Limits{})
	if n := strings.Count(string(text), `"a" `); n > 20_000 || len(text) > 1<<20 {
		t.Errorf("%d addresses, %d bytes", n, len(text))
	}
	// Many nested messages with address lists share one budget.
	unit := "Content-Type: message/rfc822\r\nFrom: " + strings.Repeat("a,", 1000) + "\r\n\r\n"
	root = parseBomb(t, &repeatReader{unit: unit, size: int64(90 * len(unit))}, 12<<20)
	if n := strings.Count(string(AppendBodyStructure(nil, root, Limits{})), "MISSING_DOMAIN"); n > 20_000 {
		t.Errorf("%d addresses", n)
	}
}

func TestBombKeptStrings(t *testing.T) {
	unit := "--b\r\nContent-Description: " + strings.Repeat("d", 10_000) + "\r\n\r\n"
	head := "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
	r := &repeatReader{head: head, unit: unit, size: int64(len(head) + 9_000*len(unit))}
	root := parseBomb(t, r, 40<<20)
	total := 0
	for _, c := range root.Children {
		total += len(c.Description)
	}
	if total > 8<<20 {
		t.Errorf("%d bytes are kept", total)
	}
}
