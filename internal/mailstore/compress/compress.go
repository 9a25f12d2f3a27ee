// Package compress reads messages that are stored compressed, whoever wrote
// them, and writes them with zstd.
//
// Storage drivers call it: Codec.View between the stored bytes and everything
// that reads a message, Codec.NewWriter between a message and its file. It must
// never know where the bytes lie or what they mean.
//
// # What is taken for compressed
//
// zstd (RFC 8878), gzip (RFC 1952), bzip2, LZ4 frames and the form of LZ4 that
// Dovecot writes, and xz, each by its magic number, which no header of a mail
// begins with. What begins with one and of which not even one byte can be
// decoded is a mail that only looks so, and is served as it is. What decodes at
// first and fails later is damaged: errkind.Corrupt. So a message that a client
// hands in and that begins with a magic number must not be stored as it is, or
// it would come back decoded: NeedsWrap tells, and NewWriter's form is always safe.
//
// # Bounds
//
// A reader holds at most its decoder's window (zstd 8 MiB, xz 64 MiB, LZ4 4 MiB;
// what asks for more is errkind.TooBig) and 1 MiB of decoded chunks, whatever the
// bytes promise. Plain sizes above MaxPlain are errkind.TooBig: a bomb costs time
// up to there, never memory.
//
// # Random access
//
// zstd is entered at any frame (NewWriter begins one every 256 KiB), xz at any
// block; the others are decoded from their beginning, and going back further than
// what is held begins anew. Where the sizes are told by the stored bytes (zstd
// with content sizes, xz's index) opening decodes the first 64 KiB only; else it
// decodes the whole once to learn the size, unless the caller knows it.
package compress

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"

	"rookery/internal/errkind"
)

// Format is a way of compressing.
type Format uint8

// The formats.
const (
	None Format = iota
	Zstd
	Gzip
	Bzip2
	LZ4
	LZ4Dovecot
	XZ
)

// String gives the format's name.
func (f Format) String() string {
	return [...]string{"none", "zstd", "gzip", "bzip2", "lz4", "lz4 (Dovecot)", "xz"}[f]
}

const (
	// MagicLen is how many bytes Detect wants to see.
	MagicLen = 15
	// MaxPlain is the largest plain size that is read, in bytes.
	MaxPlain = 1 << 30

	maxWindow = 8 << 20  // of zstd
	maxDict   = 64 << 20 // of xz
)

// magics tell the formats; the longer the better for mail that only looks so.
var magics = [...]struct {
	format Format
	magic  string
}{
	{Zstd, "\x28\xb5\x2f\xfd"},
	{Gzip, "\x1f\x8b\x08"},
	{XZ, "\xfd7zXZ\x00"},
	{LZ4, "\x04\x22\x4d\x18"},
	{LZ4Dovecot, dovecotMagic},
}

// Detect tells the format by the first bytes; a shorter prefix than MagicLen is
// the whole message.
func Detect(prefix []byte) Format {
	for _, m := range magics {
		if !bytes.HasPrefix(prefix, []byte(m.magic)) {
			continue
		}
		if m.format == Gzip && len(prefix) > 3 && prefix[3]&0xe0 != 0 {
			break // RFC 1952 §2.3.1.2: reserved bits are zero
		}
		return m.format
	}
	// "BZh", the size of blocks, and the magic of a block or of an empty stream's end.
	if len(prefix) >= 10 && string(prefix[:3]) == "BZh" && prefix[3] >= '1' && prefix[3] <= '9' &&
		(string(prefix[4:10]) == "1AY&SY" || string(prefix[4:10]) == "\x17\x72\x45\x38\x50\x90") {
		return Bzip2
	}
	// A skippable frame before zstd or LZ4 data: only zstd's tools write that first.
	if len(prefix) >= 4 && prefix[0]&0xf0 == 0x50 && string(prefix[1:4]) == "\x2a\x4d\x18" {
		return Zstd
	}
	return None
}

// NeedsWrap reports whether a message that begins with these bytes (MagicLen of
// them, or all) must be stored through NewWriter even where nothing is compressed.
func NeedsWrap(prefix []byte) bool { return Detect(prefix) != None }

// Codec reads and writes; it keeps decoders and encoders for the next message
// until the memory is wanted elsewhere. The zero Codec is ready. A store has one.
type Codec struct {
	decoders, encoders sync.Pool
}

// View gives the message that is stored in src, whose length is size: src itself
// if it is not compressed. A Body that it gives should be closed.
//
//	src, size, err = s.codec.View(src, size) // in a driver, before anything reads
func (c *Codec) View(src io.ReaderAt, size int64) (io.ReaderAt, int64, error) {
	b, err := c.Open(src, size, -1)
	if err != nil || b == nil {
		return src, size, err
	}
	return b, b.Size(), nil
}

// View is Codec.View for who reads a message now and then and keeps no Codec.
func View(src io.ReaderAt, size int64) (io.ReaderAt, int64, error) {
	return new(Codec).View(src, size)
}

// Open is View for a caller that may know the plain size (else -1): then nothing
// is decoded to learn it. A nil Body means that src is not compressed. What the
// stored bytes tell of their size comes before what the caller knows; where they
// tell nothing and he was wrong, reading answers errkind.Corrupt, and opening
// with -1 tells the truth.
func (c *Codec) Open(src io.ReaderAt, size, plain int64) (*Body, error) {
	var prefix [MagicLen]byte
	n, err := src.ReadAt(prefix[:min(MagicLen, max(size, 0))], 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	format := Detect(prefix[:n])
	if format == None {
		return nil, nil
	}
	b := &Body{codec: c, format: format, src: src, stored: size, plain: plain}
	if err := b.learn(); err != nil {
		b.Close()
		if err == errLooksSo {
			return nil, nil
		}
		return nil, err
	}
	return b, nil
}

// errLooksSo says that nothing could be decoded.
var errLooksSo = errkind.Newf("decompress", errkind.Invalid, "it only looks compressed")

func corrupt(f Format, why error) error {
	if errkind.Of(why) != errkind.Other {
		return why
	}
	return errkind.New("decompress "+f.String(), errkind.Corrupt, why)
}

func tooBig(f Format, why string) error {
	return errkind.Newf("decompress "+f.String(), errkind.TooBig, why)
}

// decoder gives a zstd decoder that reads from r.
func (c *Codec) decoder(r io.Reader) (*zstd.Decoder, error) {
	if d, ok := c.decoders.Get().(*zstd.Decoder); ok {
		return d, d.Reset(r)
	}
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(MaxPlain))
}

func (c *Codec) giveBack(d *zstd.Decoder) {
	if d.Reset(nil) == nil {
		c.decoders.Put(d)
	}
}
