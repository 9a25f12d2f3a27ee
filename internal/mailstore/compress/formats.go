package compress

import (
	"bufio"
	"compress/bzip2"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"

	"github.com/pierrec/lz4/v4"
)

// decode begins at a point.
func (b *Body) decode(p point) (io.Reader, error) {
	src := b.from(p.stored)
	switch b.format {
	case Zstd:
		if b.zstd != nil {
			return b.zstd, b.zstd.Reset(src)
		}
		d, err := b.codec.decoder(src)
		if err != nil {
			return nil, err
		}
		b.zstd = d
		return d, nil
	case Gzip:
		return gzip.NewReader(bufio.NewReader(src))
	case Bzip2:
		return bzip2.NewReader(bufio.NewReader(src)), nil
	case LZ4:
		return &lz4Frames{src: bufio.NewReader(src)}, nil
	case LZ4Dovecot:
		return newDovecotLZ4(bufio.NewReader(src))
	}
	return b.openXZ(p)
}

// lz4Frames reads LZ4 frames that follow each other.
type lz4Frames struct {
	src *bufio.Reader
	z   *lz4.Reader
}

func (f *lz4Frames) Read(p []byte) (int, error) {
	for {
		if f.z == nil {
			magic, err := f.src.Peek(4)
			if len(magic) == 0 && err == io.EOF {
				return 0, io.EOF
			}
			// The old frame of LZ4, whose end is told by nothing, is not taken.
			if err != nil || string(magic) != "\x04\x22\x4d\x18" {
				return 0, errors.New("something else follows the frame")
			}
			f.z = lz4.NewReader(f.src)
		}
		n, err := f.z.Read(p)
		if err == io.EOF {
			f.z, err = nil, nil
			if n == 0 && len(p) > 0 {
				continue
			}
		}
		return n, err
	}
}

// errTorn is for what ends too early: io.ErrUnexpectedEOF would pass for a short
// last chunk.
var errTorn = errors.New("it ends too early")

// Dovecot's own form of LZ4: the magic, the largest plain size of a chunk (4
// bytes, big-endian), then chunks, each its stored length (4 bytes, big-endian)
// and an LZ4 block.
const (
	dovecotMagic    = "Dovecot-LZ4\x0d\x2a\x9b\xc5"
	maxDovecotChunk = 1 << 20
)

type dovecotLZ4 struct {
	src         *bufio.Reader
	plain, pack []byte
	rest        []byte
}

func newDovecotLZ4(src *bufio.Reader) (io.Reader, error) {
	var head [len(dovecotMagic) + 4]byte
	if _, err := io.ReadFull(src, head[:]); err != nil {
		return nil, torn(err, nil)
	}
	size := binary.BigEndian.Uint32(head[len(dovecotMagic):])
	if size == 0 || size > maxDovecotChunk {
		return nil, errors.New("an impossible size of chunks")
	}
	return &dovecotLZ4{src: src, plain: make([]byte, size)}, nil
}

// torn makes an early end an error of its own; lawful is one that is none.
func torn(err, lawful error) error {
	if err != lawful && (err == io.EOF || err == io.ErrUnexpectedEOF) {
		return errTorn
	}
	return err
}

func (d *dovecotLZ4) Read(p []byte) (int, error) {
	for len(d.rest) == 0 {
		var size [4]byte
		if n, err := io.ReadFull(d.src, size[:]); n == 0 && err == io.EOF {
			return 0, io.EOF
		} else if err != nil {
			return 0, torn(err, nil)
		}
		n := binary.BigEndian.Uint32(size[:])
		if int64(n) > int64(lz4.CompressBlockBound(len(d.plain))) {
			return 0, errors.New("a chunk is larger than it can be")
		}
		if uint32(cap(d.pack)) < n {
			d.pack = make([]byte, n)
		}
		d.pack = d.pack[:n]
		if _, err := io.ReadFull(d.src, d.pack); err != nil {
			return 0, torn(err, nil)
		}
		got, err := lz4.UncompressBlock(d.pack, d.plain)
		if err != nil {
			return 0, err
		}
		d.rest = d.plain[:got]
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}
