package inflate

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// texts are streams of all kinds: empty, short, repeating at every distance,
// random, longer than the window.
func texts() map[string][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, 100_000)
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	var mixed bytes.Buffer
	for mixed.Len() < 200_000 {
		if at := r.IntN(mixed.Len() + 1); r.IntN(3) > 0 && mixed.Len() > at+300 {
			mixed.Write(mixed.Bytes()[at : at+3+r.IntN(256)])
		} else {
			fmt.Fprintf(&mixed, "* %d FETCH (UID %d FLAGS (\\Seen))\r\n", r.IntN(1000), r.Uint32())
		}
	}
	return map[string][]byte{
		"empty": {}, "one": []byte("a"), "short": []byte("a1 NOOP\r\n"), "run": bytes.Repeat([]byte("a"), 70_000),
		"random": random, "mixed": mixed.Bytes(), "far": append(append(bytes.Clone(random[:32<<10]), random[:300]...), random[:20]...),
	}
}

// deflated compresses text with a flush after each of the pieces.
func deflated(t testing.TB, text []byte, level, piece int, end bool) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, level)
	if err != nil {
		t.Fatal(err)
	}
	for rest := text; len(rest) > 0; {
		n := min(piece, len(rest))
		w.Write(rest[:n])
		w.Flush()
		rest = rest[n:]
	}
	if end {
		w.Close()
	}
	return out.Bytes()
}

// all decodes src in pieces, with room for room octets at a time.
func all(z *Decoder, src []byte, piece, room int) (out []byte, err error) {
	buf := make([]byte, room)
	for {
		n := min(piece, len(src))
		p := src[:n]
		src = src[n:]
		for {
			n, used, err := z.Decode(buf, p)
			out = append(out, buf[:n]...)
			p = p[used:]
			if err != nil {
				return out, err
			}
			if n < len(buf) {
				if len(p) > 0 {
					return out, errors.New("octets were left though there was room")
				}
				break
			}
		}
		if len(src) == 0 {
			return out, nil
		}
	}
}

// Every stream comes out as it went in, in whatever portions.
func TestDecode(t *testing.T) {
	for name, text := range texts() {
		for _, level := range []int{flate.HuffmanOnly, 0, 1, 6, 9} {
			src := deflated(t, text, level, 10_000, true)
			for _, portion := range [][2]int{{1 << 20, 1 << 20}, {1, 1 << 16}, {1 << 20, 1}, {7, 13}, {1000, 5000}} {
				var z Decoder
				got, err := all(&z, src, portion[0], portion[1])
				if err != nil || !bytes.Equal(got, text) || !z.Ended() {
					t.Errorf("%s, level %d, portions of %d into %d: %d octets, want %d; ended %v, %v",
						name, level, portion[0], portion[1], len(got), len(text), z.Ended(), err)
				}
			}
		}
	}
}

// fixedBits writes blocks of fixed codes bit by bit.
type fixedBits struct {
	out  []byte
	hold uint
	n    uint
}

func (f *fixedBits) bits(v, n uint) {
	f.hold |= v << f.n
	f.n += n
	for ; f.n >= 8; f.n -= 8 {
		f.out = append(f.out, byte(f.hold))
		f.hold >>= 8
	}
}

// code writes a Huffman code: its highest bit first.
func (f *fixedBits) code(v, n uint) {
	for i := n; i > 0; i-- {
		f.bits(v>>(i-1)&1, 1)
	}
}

func (f *fixedBits) block(text string) {
	f.bits(0b010, 3) // not the last; fixed codes
	for _, b := range []byte(text) {
		if b < 144 {
			f.code(0x30+uint(b), 8)
		} else {
			f.code(0x190+uint(b)-144, 9)
		}
	}
	f.code(0, 7)
}

// What a partial flush sends is the block, an empty one and no padding: the bits
// that fill no octet come with what is sent next. The text is there all the same.
func TestPartialFlush(t *testing.T) {
	for prefix := range 8 { // blocks that begin at each bit
		var z Decoder
		var f fixedBits
		for range prefix {
			f.block("")
		}
		buf := make([]byte, 64)
		sent := 0
		for i := range 20 {
			line := fmt.Sprintf("a%d NOOP\r\n", i)
			f.block(line)
			f.block("")
			n, used, err := z.Decode(buf, f.out[sent:])
			if string(buf[:n]) != line || used != len(f.out)-sent || err != nil {
				t.Fatalf("after %d blocks, line %d: %q, %v", prefix, i, buf[:n], err)
			}
			sent = len(f.out)
		}
	}
}

// Each octet comes out with the bit that decides it.
func TestEagerly(t *testing.T) {
	var f fixedBits
	text := strings.Repeat("a\xff", 20) + strings.Repeat("\xff", 5) + strings.Repeat("a", 40)
	f.block(text)
	var z Decoder
	buf := make([]byte, 8)
	out, decided, need := 0, 0, 3
	width := func(b byte) int { return 8 + int(b>>7) }
	for i, b := range f.out[:len(f.out)-1] {
		for decided < len(text) && need+width(text[decided]) <= 8*(i+1) {
			need += width(text[decided])
			decided++
		}
		n, _, err := z.Decode(buf, []byte{b})
		if out += n; err != nil || out != decided {
			t.Fatalf("after %d octets %d are out, want %d; %v", i+1, out, decided, err)
		}
	}
}

// zlib's own flushes: each line of the file is a kind of flush, a text and what
// zlib wrote for it, one stream in all.
func TestZlibFlushes(t *testing.T) {
	file, err := os.ReadFile("testdata/zlib_flushes.txt")
	if err != nil {
		t.Fatal(err)
	}
	streams := map[string]*Decoder{}
	for _, line := range strings.Split(strings.TrimSpace(string(file)), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		var kind, text string
		var sent []byte
		if _, err := fmt.Sscanf(line, "%s %q %x", &kind, &text, &sent); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if streams[kind] == nil {
			streams[kind] = &Decoder{}
		}
		got, err := all(streams[kind], sent, 1, 1<<10)
		if string(got) != text || err != nil {
			t.Errorf("%s: %q, want %q; %v", kind, got, text, err)
		}
	}
	if len(streams) != 4 {
		t.Errorf("%d kinds of flush, want 4", len(streams))
	}
}

// Each way in which data can be wrong, by the first bits that are.
func TestDamaged(t *testing.T) {
	bitsOf := func(write func(f *fixedBits)) []byte {
		var f fixedBits
		write(&f)
		f.bits(0, 7) // the last octet
		for range 20 {
			f.bits(0, 8)
		}
		return f.out
	}
	for _, test := range []struct {
		name string
		src  []byte
		want string
	}{
		{"type 3", []byte{0x06}, "a block of no known type"},
		{"stored length", []byte{0x00, 1, 0, 1, 0}, "a stored block's length"},
		{"after the end", []byte{0x03, 0x00, 0x00}, "data after the end"},
		{"too many literals", bitsOf(func(f *fixedBits) { f.bits(0b100, 3); f.bits(30, 5) }), "too many codes"},
		{"too many distances", bitsOf(func(f *fixedBits) { f.bits(0b100, 3); f.bits(0, 5); f.bits(30, 5) }), "too many codes"},
		{"distance", bitsOf(func(f *fixedBits) { f.bits(0b010, 3); f.code(0x30+'a', 8); f.code(1, 7); f.code(1, 5) }), "a distance to before the beginning"},
		{"no such distance", bitsOf(func(f *fixedBits) { f.bits(0b010, 3); f.code(0x30+'a', 8); f.code(1, 7); f.code(30, 5) }), "a distance that does not exist"},
		{"no such length", bitsOf(func(f *fixedBits) { f.bits(0b010, 3); f.code(0b11000110, 8) }), "a length that does not exist"},
		{"codes of lengths", bitsOf(func(f *fixedBits) {
			f.bits(0b100, 3)
			f.bits(0, 14)
			for range 4 {
				f.bits(1, 3) // four codes of one bit
			}
		}), "the codes of lengths"},
		{"too few codes of lengths", bitsOf(func(f *fixedBits) {
			f.bits(0b100, 3)
			f.bits(0, 14)
			f.bits(2, 3) // one code of two bits
			f.bits(0, 9)
		}), "the codes of lengths"},
		{"repeat of nothing", bitsOf(func(f *fixedBits) {
			f.bits(0b100, 3)
			f.bits(0, 14)
			f.bits(1, 3) // 16
			f.bits(1, 3) // 17
			f.bits(0, 6)
			f.code(0, 1)
		}), "a length before the first"},
		{"too many lengths", bitsOf(func(f *fixedBits) {
			f.bits(0b100, 3)
			f.bits(0, 14)
			f.bits(0, 6)
			f.bits(1, 3) // 18
			f.bits(1, 3) // 0
			for range 2 {
				f.code(1, 1)
				f.bits(127, 7) // 138 zeros: 276 of 258
			}
		}), "too many lengths"},
		{"codes", bitsOf(func(f *fixedBits) {
			f.bits(0b100, 3)
			f.bits(0, 5+5)
			f.bits(14, 4) // 18 lengths, up to the one of 1
			for _, n := range []uint{0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1} {
				f.bits(n, 3)
			}
			for range 3 {
				f.code(0, 1) // three literals of one bit
			}
			f.code(1, 1)
			f.bits(127, 7)
			f.code(1, 1)
			f.bits(117-11, 7) // 255 zeros
		}), "the codes"},
		{"no such code", bitsOf(func(f *fixedBits) {
			f.bits(0b100, 3)
			f.bits(0, 14)
			f.bits(0, 6)
			f.bits(1, 3) // 18 alone, of one bit: 0
			f.bits(0, 3)
			f.code(1, 1)
		}), "a code that does not exist"},
	} {
		for _, piece := range []int{1, 1000} {
			var z Decoder
			_, err := all(&z, test.src, piece, 1000)
			if !errors.Is(err, ErrDamaged) || !strings.HasSuffix(err.Error(), ": "+test.want) {
				t.Errorf("%s: %v, want %s", test.name, err, test.want)
			}
			if n, used, again := z.Decode(make([]byte, 10), []byte("x")); n != 0 || used != 0 || again != err {
				t.Errorf("%s: the error does not stay: %v", test.name, again)
			}
			if z.Ended() {
				t.Errorf("%s: ended", test.name)
			}
		}
	}
}

// A stream that has sent little costs little.
func TestMemory(t *testing.T) {
	for _, test := range []struct{ sent, want int }{{0, 0}, {10, 1 << 10}, {1 << 10, 1 << 10}, {1<<10 + 1, 2 << 10}, {1 << 20, windowSize}} {
		var z Decoder
		if _, err := all(&z, deflated(t, make([]byte, test.sent), 6, 1<<30, false), 1<<20, 1<<20); err != nil || len(z.window) != test.want {
			t.Errorf("after %d octets the window has %d, want %d; %v", test.sent, len(z.window), test.want, err)
		}
	}
}

// The decoder gives what compress/flate gives, in any portions, and refuses what
// that refuses.
func FuzzDecode(f *testing.F) {
	for _, text := range texts() {
		for _, level := range []int{flate.HuffmanOnly, 0, 1, 6} {
			text := text[:min(len(text), 2000)]
			f.Add(deflated(f, text, level, 500, true), uint16(7), uint16(9))
		}
	}
	f.Add([]byte{0x03, 0x00}, uint16(1), uint16(1))
	f.Add([]byte{0x05, 0xe0, 0x81, 0x08, 0x00, 0x00, 0x00, 0x00, 0x20, 0x7f, 0xeb, 0x0b, 0x00, 0x00}, uint16(1), uint16(300))
	f.Fuzz(func(t *testing.T, src []byte, piece, room uint16) {
		const most = 1 << 20
		model := flate.NewReader(io.MultiReader(bytes.NewReader(src)))
		want, wrong := io.ReadAll(io.LimitReader(model, most))
		if len(want) == most {
			return
		}
		var z Decoder
		got, err := all(&z, src, max(int(piece), 1), max(int(room), 1))
		if n := min(len(got), len(want)); !bytes.Equal(got[:n], want[:n]) {
			t.Fatalf("%q, want %q", got, want)
		}
		after := err != nil && strings.HasSuffix(err.Error(), "data after the end") // flate.Reader leaves them
		if whole := z.Ended() || after; whole != (wrong == nil) {
			t.Fatalf("ended %v, %v; flate says %v", z.Ended(), err, wrong)
		}
		if wrong == nil && !bytes.Equal(got, want) {
			t.Fatalf("%d octets, want %d", len(got), len(want))
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	text := texts()["mixed"]
	src := deflated(b, text, 6, 10_000, true)
	buf := make([]byte, 16<<10)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		var z Decoder
		for p, n := src, len(buf); len(p) > 0 || n == len(buf); {
			var used int
			n, used, _ = z.Decode(buf, p)
			p = p[used:]
		}
	}
}
