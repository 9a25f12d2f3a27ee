// Package inflate decodes DEFLATE (RFC 1951) as a machine: bytes in any portions
// go in, bytes come out.
//
// It gives out every octet that the bits which have come decide, and waits for
// none beyond them. compress/flate reads ahead: data that end in zlib's partial
// flush, without the four octets of a full one, stay in it until more comes, and a
// client that waits for the answer to what it flushed so waits for ever.
//
// Everybody may call it. It never reads, writes, allocates without a bound or
// knows what the data mean: a Decoder holds at most 32 KiB of what it gave out,
// less while that is less, and 4 KiB of tables once a block brings its own.
package inflate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"sync"
)

// ErrDamaged is in every error of Decode.
var ErrDamaged = errors.New("damaged compressed data")

const (
	windowSize  = 32 << 10 // RFC 1951 §2: distances
	firstWindow = 1 << 10  // what an idle stream's window costs
	maxLit      = 286      // codes for literals and lengths
	maxDist     = 30
	endOfBlock  = 256
)

// step is what the bits at hand mean.
type step uint8

const (
	blockHead    step = iota // BFINAL, BTYPE
	storedHead               // LEN, NLEN of a stored block
	storedBody               // its octets
	dynamicHead              // HLIT, HDIST, HCLEN
	codeLengths              // the lengths of the codes for lengths
	lengths                  // the lengths of the codes
	symbols                  // literals and lengths
	lengthBits               // a length's extra bits
	distance                 // its distance's code
	distanceBits             // and extra bits
	match                    // octets that were given out before
	ended                    // the last block is over
)

// Decoder decodes one stream. The zero value is ready.
type Decoder struct {
	in, out []byte // of the call under way: what is still to be read and filled
	hold    uint64 // bits that were read, the next one lowest; those above are 0
	bits    uint   // how many
	step    step
	final   bool
	symbol  int // the length's or distance's that waits for its extra bits
	left    int // octets of a stored block or a match still to come
	back    int // the match's distance
	lit     *tree
	dist    *tree
	dynamic *dynamic
	window  []byte // a ring once it is windowSize long
	at      int    // where the next octet goes
	wrapped bool
	err     error
}

// dynamic is what a block with codes of its own needs.
type dynamic struct {
	lit, dist tree
	lens      [maxLit + maxDist]uint8
	nlit      int
	ndist     int
	ncode     int
	at        int // lens that are known
	repeat    int // 16, 17 or 18 while its extra bits are missing
}

// Decode decodes as much of src into dst as there is room for, and tells how much
// it filled and took. Where it filled all of dst there may be more, without a
// further octet of src; else it has given out all that src decides. An error comes
// with what was decoded before it, and stays.
func (z *Decoder) Decode(dst, src []byte) (n, used int, err error) {
	z.in, z.out = src, dst
	for z.err == nil && z.run() {
	}
	n, used = len(dst)-len(z.out), len(src)-len(z.in)
	z.in, z.out = nil, nil
	return n, used, z.err
}

// Ended reports whether the stream's last block is over.
func (z *Decoder) Ended() bool { return z.step == ended && z.err == nil }

// run does one step. It is false when bits or room are missing, or on an error.
func (z *Decoder) run() bool {
	switch z.step {
	case blockHead:
		return z.runBlockHead()
	case storedHead:
		return z.runStoredHead()
	case storedBody:
		return z.runStoredBody()
	case dynamicHead:
		return z.runDynamicHead()
	case codeLengths:
		return z.runCodeLengths()
	case lengths:
		return z.runLengths()
	case symbols:
		return z.runSymbols()
	case lengthBits:
		return z.runLengthBits()
	case distance:
		return z.runDistance()
	case distanceBits:
		return z.runDistanceBits()
	case match:
		return z.runMatch()
	}
	if z.bits >= 8 || len(z.in) > 0 {
		return z.fail("data after the end")
	}
	return false
}

func (z *Decoder) fail(what string) bool {
	if z.err == nil {
		z.err = fmt.Errorf("%w: %s", ErrDamaged, what)
	}
	return false
}

// fill reads ahead as many octets as fit.
func (z *Decoder) fill() {
	if len(z.in) >= 8 {
		n := (63 - z.bits) / 8
		z.hold |= (binary.LittleEndian.Uint64(z.in) & (1<<(8*n) - 1)) << z.bits
		z.bits += 8 * n
		z.in = z.in[n:]
		return
	}
	for z.bits <= 55 && len(z.in) > 0 {
		z.hold |= uint64(z.in[0]) << z.bits
		z.bits += 8
		z.in = z.in[1:]
	}
}

// need reports whether n bits are there, at most 32.
func (z *Decoder) need(n uint) bool {
	if z.bits < n {
		z.fill()
	}
	return z.bits >= n
}

// take takes n bits that are there.
func (z *Decoder) take(n uint) int {
	v := z.hold & (1<<n - 1)
	z.hold >>= n
	z.bits -= n
	return int(v)
}

// put gives one octet out. There must be room.
func (z *Decoder) put(b byte) {
	if z.at == len(z.window) {
		z.grow()
	}
	z.window[z.at] = b
	z.at++
	z.out[0] = b
	z.out = z.out[1:]
}

// grow makes room in the window: twice as much, up to its full size.
func (z *Decoder) grow() {
	if len(z.window) == windowSize {
		z.at, z.wrapped = 0, true
		return
	}
	larger := make([]byte, max(firstWindow, 2*len(z.window)))
	copy(larger, z.window)
	z.window = larger
}

// runBlockHead reads RFC 1951 §3.2.3.
func (z *Decoder) runBlockHead() bool {
	if !z.need(3) {
		return false
	}
	z.final = z.take(1) == 1
	switch z.take(2) {
	case 0:
		z.take(z.bits % 8) // the rest of the octet
		z.step = storedHead
	case 1:
		f := fixed()
		z.lit, z.dist, z.step = &f.lit, &f.dist, symbols
	case 2:
		z.step = dynamicHead
	default:
		return z.fail("a block of no known type")
	}
	return true
}

func (z *Decoder) endBlock() {
	z.step = blockHead
	if z.final {
		z.take(z.bits % 8)
		z.step = ended
	}
}

func (z *Decoder) runStoredHead() bool {
	if !z.need(32) {
		return false
	}
	n, complement := z.take(16), z.take(16)
	if n != complement^0xFFFF {
		return z.fail("a stored block's length")
	}
	z.left, z.step = n, storedBody
	return true
}

func (z *Decoder) runStoredBody() bool {
	for z.left > 0 && len(z.out) > 0 {
		if z.bits > 0 {
			z.put(byte(z.take(8)))
			z.left--
			continue
		}
		n := min(z.left, len(z.out), len(z.in))
		if n == 0 {
			return false
		}
		for _, b := range z.in[:n] {
			z.put(b)
		}
		z.in = z.in[n:]
		z.left -= n
	}
	if z.left > 0 {
		return false
	}
	z.endBlock()
	return true
}

// runSymbols decodes literals, up to a length or the block's end.
func (z *Decoder) runSymbols() bool {
	for len(z.out) > 0 {
		symbol, ok := z.decode(z.lit)
		switch {
		case !ok:
			return false
		case symbol < endOfBlock:
			z.put(byte(symbol))
			continue
		case symbol == endOfBlock:
			z.endBlock()
		case symbol >= maxLit:
			return z.fail("a length that does not exist")
		default:
			z.symbol, z.step = symbol-endOfBlock-1, lengthBits
		}
		return true
	}
	return false
}

// The lengths and their extra bits (RFC 1951 §3.2.5).
var (
	lengthBase  = [...]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthExtra = [...]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
)

func (z *Decoder) runLengthBits() bool {
	extra := uint(lengthExtra[z.symbol])
	if !z.need(extra) {
		return false
	}
	z.left, z.step = int(lengthBase[z.symbol])+z.take(extra), distance
	return true
}

func (z *Decoder) runDistance() bool {
	symbol, ok := z.decode(z.dist)
	if !ok {
		return false
	}
	if symbol >= maxDist {
		return z.fail("a distance that does not exist")
	}
	z.symbol, z.step = symbol, distanceBits
	return true
}

// runDistanceBits reads the extra bits: none for the first four distances, then
// one more for every second.
func (z *Decoder) runDistanceBits() bool {
	extra := uint(max(z.symbol/2, 1) - 1)
	if !z.need(extra) {
		return false
	}
	z.back = z.symbol + 1
	if extra > 0 {
		z.back = 1 + (2+z.symbol%2)<<extra
	}
	z.back += z.take(extra)
	if !z.wrapped && z.back > z.at {
		return z.fail("a distance to before the beginning")
	}
	z.step = match
	return true
}

func (z *Decoder) runMatch() bool {
	for z.left > 0 && len(z.out) > 0 {
		from := z.at - z.back
		if from < 0 {
			from += windowSize
		}
		z.put(z.window[from])
		z.left--
	}
	if z.left > 0 {
		return false
	}
	z.step = symbols
	return true
}

func (z *Decoder) runDynamicHead() bool {
	if !z.need(14) {
		return false
	}
	if z.dynamic == nil {
		z.dynamic = &dynamic{}
	}
	d := z.dynamic
	d.nlit, d.ndist, d.ncode = 257+z.take(5), 1+z.take(5), 4+z.take(4)
	if d.nlit > maxLit || d.ndist > maxDist {
		return z.fail("too many codes")
	}
	clear(d.lens[:])
	d.at, d.repeat, z.step = 0, 0, codeLengths
	return true
}

// codeOrder is the order in which the lengths of the codes for lengths come.
var codeOrder = [...]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

func (z *Decoder) runCodeLengths() bool {
	d := z.dynamic
	for ; d.at < d.ncode; d.at++ {
		if !z.need(3) {
			return false
		}
		d.lens[codeOrder[d.at]] = uint8(z.take(3))
	}
	// The tree of distances is not needed yet, so it serves.
	if !d.dist.build(d.lens[:len(codeOrder)]) {
		return z.fail("the codes of lengths")
	}
	clear(d.lens[:len(codeOrder)])
	d.at, z.step = 0, lengths
	return true
}

// The symbols above 15 among the codes of lengths (RFC 1951 §3.2.7).
const (
	repeatLast  = 16
	repeatZero  = 17
	repeatZeros = 18
)

func (z *Decoder) runLengths() bool {
	d := z.dynamic
	for all := d.nlit + d.ndist; d.at < all; {
		if d.repeat == 0 {
			symbol, ok := z.decode(&d.dist)
			if !ok {
				return false
			}
			if symbol < repeatLast {
				d.lens[d.at] = uint8(symbol)
				d.at++
				continue
			}
			d.repeat = symbol
		}
		if !z.runRepeat(d, all) {
			return false
		}
	}
	if !d.lit.build(d.lens[:d.nlit]) || !d.dist.build(d.lens[d.nlit:d.nlit+d.ndist]) {
		return z.fail("the codes")
	}
	z.lit, z.dist, z.step = &d.lit, &d.dist, symbols
	return true
}

// runRepeat writes a length as often as the symbol says.
func (z *Decoder) runRepeat(d *dynamic, all int) bool {
	extra, least, value := uint(2), 3, uint8(0)
	switch d.repeat {
	case repeatLast:
		if d.at == 0 {
			return z.fail("a length before the first")
		}
		value = d.lens[d.at-1]
	case repeatZero:
		extra = 3
	case repeatZeros:
		extra, least = 7, 11
	}
	if !z.need(extra) {
		return false
	}
	end := d.at + least + z.take(extra)
	if end > all {
		return z.fail("too many lengths")
	}
	for ; d.at < end; d.at++ {
		d.lens[d.at] = value
	}
	d.repeat = 0
	return true
}

const (
	maxBits   = 15 // of a code
	shortBits = 9  // of those that one look finds
)

// tree is a Huffman code (RFC 1951 §3.2.2).
type tree struct {
	short   [1 << shortBits]uint16 // symbol<<4 | length by the next bits; 0: longer, or none
	count   [maxBits + 1]uint16    // codes of each length
	sorted  [maxLit + 2]uint16     // symbols by their codes
	longest uint
}

// build makes the tree of the lengths of all symbols' codes. It is false for what
// is no prefix code: too many codes, or too few, but for a single one of one bit
// (§3.2.7) and none at all, of which nothing can be decoded.
func (t *tree) build(lens []uint8) bool {
	clear(t.count[:])
	clear(t.short[:])
	t.longest = 0
	for _, n := range lens {
		t.count[n]++
		t.longest = max(t.longest, uint(n))
	}
	t.count[0] = 0
	if t.longest == 0 {
		return true
	}
	var next [maxBits + 2]uint16 // where the symbols of each length go
	free := 1
	for n := 1; n <= maxBits; n++ {
		free = 2*free - int(t.count[n])
		if free < 0 {
			return false
		}
		next[n+1] = next[n] + t.count[n]
	}
	if free > 0 && !(t.longest == 1 && t.count[1] == 1) {
		return false
	}
	for symbol, n := range lens {
		if n > 0 {
			t.sorted[next[n]] = uint16(symbol)
			next[n]++
		}
	}
	t.fillShort()
	return true
}

// fillShort writes each short code at all places that begin with it.
func (t *tree) fillShort() {
	code, index := uint16(0), 0
	for n := uint(1); n <= shortBits; n++ {
		for range t.count[n] {
			first := int(bits.Reverse16(code) >> (16 - n))
			for i := first; i < 1<<shortBits; i += 1 << n {
				t.short[i] = t.sorted[index]<<4 | uint16(n)
			}
			code++
			index++
		}
		code <<= 1
	}
}

// decode takes one symbol. It is false when bits are missing, or on an error.
func (z *Decoder) decode(t *tree) (symbol int, ok bool) {
	if z.bits < maxBits {
		z.fill()
	}
	if e := t.short[z.hold&(1<<shortBits-1)]; e != 0 {
		n := uint(e & 15)
		if n > z.bits {
			return 0, false
		}
		z.take(n)
		return int(e >> 4), true
	}
	code, first, index := 0, 0, 0
	for n := uint(1); n <= t.longest; n++ {
		if n > z.bits {
			return 0, false
		}
		code |= int(z.hold>>(n-1)) & 1
		count := int(t.count[n])
		if code-first < count {
			z.take(n)
			return int(t.sorted[index+code-first]), true
		}
		index += count
		first = (first + count) << 1
		code <<= 1
	}
	return 0, z.fail("a code that does not exist")
}

// fixedCodes are those of RFC 1951 §3.2.6.
type fixedCodes struct{ lit, dist tree }

var fixed = sync.OnceValue(func() *fixedCodes {
	var lens [maxLit + 2]uint8
	for i := range lens {
		switch {
		case i < 144:
			lens[i] = 8
		case i < 256:
			lens[i] = 9
		case i < 280:
			lens[i] = 7
		default:
			lens[i] = 8
		}
	}
	f := &fixedCodes{}
	f.lit.build(lens[:])
	for i := range maxDist + 2 {
		lens[i] = 5
	}
	f.dist.build(lens[:maxDist+2])
	return f
})
