package compress

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// The container of xz (The .xz File Format, version 1.2.1) is read here, by its
// index from the end, so that its sizes are known before anything is decoded and
// no block's header decides over memory; LZMA2 itself is the library's.

const (
	xzHeader = "\xfd7zXZ\x00"
	xzFooter = "YZ"
	xzEnds   = 12 // length of a stream's header, and of its footer

	maxXZStreams = 64
)

// xzBlock is one block, by the index.
type xzBlock struct {
	at, unpadded int64
	plain        int64
	check        byte
}

// walkXZ finds the blocks of all streams.
func (b *Body) walkXZ() error {
	var streams [][]xzBlock
	end := b.stored
	for end > 0 {
		var tail [4]byte
		if err := b.xzRead(tail[:], end-4); err != nil {
			return err
		}
		if tail == [4]byte{} && len(streams) > 0 || tail == [4]byte{} && end > xzEnds {
			end -= 4 // stream padding
			continue
		}
		blocks, start, err := b.xzStream(end)
		if err != nil {
			return err
		}
		if streams = append(streams, blocks); len(streams) > maxXZStreams {
			return errStructure
		}
		end = start
	}
	var plain int64
	for i := len(streams) - 1; i >= 0; i-- {
		for _, k := range streams[i] {
			b.points = append(b.points, point{plain: plain, stored: k.at, block: len(b.xz)})
			b.xz = append(b.xz, k)
			if plain += k.plain; plain > MaxPlain || len(b.xz) > maxPoints {
				return tooBig(XZ, "the message would be larger than any may be")
			}
		}
	}
	if len(b.points) == 0 {
		b.points = []point{{}}
	}
	b.plain = plain
	return nil
}

func (b *Body) xzRead(p []byte, at int64) error {
	if at < 0 {
		return errStructure
	}
	n, err := b.src.ReadAt(p, at)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		return errStructure
	}
	return &sourceError{err}
}

// xzStream reads the stream that ends at an offset: footer (§2.1.2), index (§4),
// header (§2.1.1).
func (b *Body) xzStream(end int64) (blocks []xzBlock, start int64, err error) {
	var foot, head [xzEnds]byte
	if err := b.xzRead(foot[:], end-xzEnds); err != nil {
		return nil, 0, err
	}
	if string(foot[10:]) != xzFooter || crc32.ChecksumIEEE(foot[4:10]) != binary.LittleEndian.Uint32(foot[:]) || foot[8] != 0 || foot[9] > 15 {
		return nil, 0, errStructure
	}
	size := (int64(binary.LittleEndian.Uint32(foot[4:])) + 1) * 4
	if size > maxPoints*20 || size > end-2*xzEnds {
		return nil, 0, errStructure
	}
	index := make([]byte, size)
	if err := b.xzRead(index, end-xzEnds-size); err != nil {
		return nil, 0, err
	}
	blocks, length, err := parseXZIndex(index)
	if err != nil {
		return nil, 0, err
	}
	if start = end - 2*xzEnds - size - length; start < 0 {
		return nil, 0, errStructure
	}
	if err := b.xzRead(head[:], start); err != nil {
		return nil, 0, err
	}
	if string(head[:6]) != xzHeader || head[6] != foot[8] || head[7] != foot[9] || crc32.ChecksumIEEE(head[6:8]) != binary.LittleEndian.Uint32(head[8:]) {
		return nil, 0, errStructure
	}
	at := start + xzEnds
	for i := range blocks {
		blocks[i].at, blocks[i].check = at, head[7]
		at += (blocks[i].unpadded + 3) &^ 3
	}
	return blocks, start, nil
}

// parseXZIndex reads an index, all of p. length is that of the blocks with padding.
func parseXZIndex(p []byte) (blocks []xzBlock, length int64, err error) {
	body := p[:len(p)-4]
	if p[0] != 0 || crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(p[len(p)-4:]) {
		return nil, 0, errStructure
	}
	body = body[1:]
	number := func() int64 {
		v, n := binary.Uvarint(body)
		if n <= 0 || n > 9 || v > 1<<62 {
			err = errStructure
			return 0
		}
		body = body[n:]
		return int64(v)
	}
	count := number()
	if err != nil || count > maxPoints {
		return nil, 0, errStructure
	}
	for range count {
		k := xzBlock{unpadded: number(), plain: number()}
		if err != nil || k.unpadded < 5 || k.unpadded > 1<<40 || k.plain > 1<<40 {
			return nil, 0, errStructure
		}
		length += (k.unpadded + 3) &^ 3
		blocks = append(blocks, k)
	}
	if len(body) > 3 {
		return nil, 0, errStructure
	}
	for _, c := range body {
		if c != 0 {
			return nil, 0, errStructure
		}
	}
	return blocks, length, nil
}

// openXZ decodes from a block on.
func (b *Body) openXZ(p point) (io.Reader, error) {
	return &xzReader{b: b, next: p.block}, nil
}

// xzReader reads blocks one after the other.
type xzReader struct {
	b    *Body
	next int
	in   io.Reader // of the present block
	left int64     // plain bytes that it still has
	sum  hash.Hash // nil: a check that is not known, or none
	at   int64     // where the present block's check lies
}

func (x *xzReader) Read(p []byte) (int, error) {
	for x.in == nil {
		if x.next == len(x.b.xz) {
			return 0, io.EOF
		}
		if err := x.open(&x.b.xz[x.next]); err != nil {
			return 0, err
		}
		x.next++
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := x.in.Read(p[:min(int64(len(p)), max(x.left, 1))])
	if int64(n) > x.left {
		return 0, errors.New("a block is longer than the index says")
	}
	x.left -= int64(n)
	if x.sum != nil {
		x.sum.Write(p[:n])
	}
	switch {
	case err == io.EOF && x.left == 0:
		return n, x.finish()
	case err == io.EOF, err == io.ErrUnexpectedEOF:
		return n, errTorn
	}
	return n, err
}

// finish compares the check (§3.4) and leaves the block.
func (x *xzReader) finish() error {
	x.in = nil
	if x.sum == nil {
		return nil
	}
	want := make([]byte, x.sum.Size())
	if err := x.b.xzRead(want, x.at); err != nil {
		return err
	}
	got := x.sum.Sum(nil)
	for i := range got {
		w := want[i]
		if x.sum.Size() <= 8 { // CRCs are stored little-endian, Sum gives the other order
			w = want[len(want)-1-i]
		}
		if got[i] != w {
			return errors.New("a block's check is wrong")
		}
	}
	return nil
}

// open reads a block's header (§3.1): LZMA2 alone, with a bounded dictionary.
func (x *xzReader) open(k *xzBlock) error {
	var size [1]byte
	if err := x.b.xzRead(size[:], k.at); err != nil {
		return err
	}
	head := make([]byte, (int(size[0])+1)*4)
	if size[0] == 0 || int64(len(head)) >= k.unpadded {
		return errors.New("a block's header is wrong")
	}
	if err := x.b.xzRead(head, k.at); err != nil {
		return err
	}
	if crc32.ChecksumIEEE(head[:len(head)-4]) != binary.LittleEndian.Uint32(head[len(head)-4:]) {
		return errors.New("a block's header is wrong")
	}
	dict, err := parseXZFilters(head[1 : len(head)-4])
	if err != nil {
		return err
	}
	var check int64
	x.sum, check = xzCheck(k.check)
	// §3: header, data, padding to 4 bytes, check; the unpadded size leaves the padding out.
	packed := k.unpadded - int64(len(head)) - check
	x.at = k.at + (k.unpadded+3)&^3 - check
	if packed <= 0 || x.at+check > x.b.stored {
		return errors.New("a block is shorter than it can be")
	}
	src := source{io.NewSectionReader(x.b.src, k.at+int64(len(head)), packed)}
	// No more than the block needs, whatever its header says.
	dict = min(dict, max(k.plain, lzma.MinDictCap))
	x.in, err = lzma.Reader2Config{DictCap: int(dict)}.NewReader2(bufio.NewReader(src))
	x.left = k.plain
	return err
}

// parseXZFilters reads the flags, sizes and filters of a block's header.
func parseXZFilters(p []byte) (dict int64, err error) {
	bad := errors.New("a block's header is wrong")
	flags := p[0]
	if flags&0x3f != 0 {
		return 0, errors.New("it uses filters beside LZMA2")
	}
	p = p[1:]
	for _, bit := range [...]byte{0x40, 0x80} { // stored and plain size; the index has them
		if flags&bit != 0 {
			_, n := binary.Uvarint(p)
			if n <= 0 {
				return 0, bad
			}
			p = p[n:]
		}
	}
	if len(p) < 3 || p[0] != 0x21 || p[1] != 1 {
		return 0, errors.New("it uses another filter than LZMA2")
	}
	code := p[2]
	for _, c := range p[3:] {
		if c != 0 {
			return 0, bad
		}
	}
	if code > 40 {
		return 0, bad
	}
	// §5.3.1: 2 or 3 at the place that the code names.
	dict = int64(2|code&1) << (code/2 + 11)
	if dict > maxDict {
		return 0, tooBig(XZ, fmt.Sprintf("it needs a dictionary of %d MiB, more than %d", dict>>20, maxDict>>20))
	}
	return dict, nil
}

// xzCheck gives the check of a stream's number (§2.1.1.2) and its length.
func xzCheck(n byte) (hash.Hash, int64) {
	sizes := [16]int64{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}
	switch n {
	case 1:
		return crc32.NewIEEE(), 4
	case 4:
		return crc64.New(crc64.MakeTable(crc64.ECMA)), 8
	case 10:
		return sha256.New(), 32
	}
	return nil, sizes[n&15]
}
