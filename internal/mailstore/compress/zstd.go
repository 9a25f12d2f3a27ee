package compress

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"
)

// errStructure is for what contradicts a format's own rules.
var errStructure = errors.New("its structure is wrong")

// maxPoints bounds what is kept of a message's frames or blocks: 1 GiB in frames
// of 256 KiB, and some.
const maxPoints = 1 << 13

// walkZstd goes through the frames without decoding: where each begins, and what
// they say of their sizes. A frame that does not tell its size is found by decoding.
func (b *Body) walkZstd() error {
	var at, plain int64
	sized := true
	step := int64(0) // between points, so that there are not too many
	for at < b.stored {
		size, content, skip, err := b.frame(at)
		if err != nil {
			return err
		}
		if !skip {
			if sized && len(b.points) < maxPoints && (len(b.points) == 0 || plain >= b.points[len(b.points)-1].plain+step) {
				b.points = append(b.points, point{plain: plain, stored: at})
				step = chunkSize
			}
			if content < 0 {
				sized = false
			}
			if plain += max(content, 0); plain > MaxPlain {
				return tooBig(Zstd, "the message would be larger than any may be")
			}
		}
		at += size
	}
	if len(b.points) == 0 {
		return errStructure
	}
	if sized {
		b.plain = plain
	}
	return nil
}

// frame reads the outline of the frame at an offset (RFC 8878 §3.1): how long
// it is, and the size of its content, -1 if it does not say.
func (b *Body) frame(at int64) (size, content int64, skip bool, err error) {
	var head [zstd.HeaderMaxSize]byte
	n, rerr := b.src.ReadAt(head[:min(int64(len(head)), b.stored-at)], at)
	if rerr != nil && rerr != io.EOF {
		return 0, 0, false, rerr
	}
	p := head[:n]
	if len(p) < 8 {
		return 0, 0, false, errStructure
	}
	if p[0]&0xf0 == 0x50 && string(p[1:4]) == "\x2a\x4d\x18" {
		if size = 8 + int64(binary.LittleEndian.Uint32(p[4:])); size > b.stored-at {
			return 0, 0, false, errStructure
		}
		return size, 0, true, nil
	}
	var h zstd.Header
	if err := h.Decode(p); err != nil || h.DictionaryID != 0 || string(p[:4]) != "\x28\xb5\x2f\xfd" {
		return 0, 0, false, errStructure
	}
	if h.WindowSize > maxWindow {
		return 0, 0, false, tooBig(Zstd, "it needs a larger window than 8 MiB")
	}
	content = -1
	if h.HasFCS {
		content = int64(min(h.FrameContentSize, MaxPlain+1))
	}
	end, err := b.blocks(at + int64(h.HeaderSize))
	if h.HasCheckSum {
		end += 4
	}
	if err == nil && end > b.stored {
		err = errStructure
	}
	return end - at, content, false, err
}

// blocks goes from the first block of a frame to its end (RFC 8878 §3.1.1.2).
func (b *Body) blocks(at int64) (int64, error) {
	var head [3]byte
	for {
		if at+3 > b.stored {
			return 0, errStructure
		}
		if _, err := b.src.ReadAt(head[:], at); err != nil && err != io.EOF {
			return 0, err
		}
		v := uint32(head[0]) | uint32(head[1])<<8 | uint32(head[2])<<16
		size := int64(v >> 3)
		switch v >> 1 & 3 {
		case 1: // RLE: one byte, many times
			size = 1
		case 3:
			return 0, errStructure
		}
		if at += 3 + size; at > b.stored {
			return 0, errStructure
		}
		if v&1 != 0 {
			return at, nil
		}
	}
}

// frameSize is how much plain text NewWriter puts into one frame: enough for the
// ratio, few enough to enter anywhere quickly.
const frameSize = 256 << 10

// Writer compresses a message with zstd, in frames of 256 KiB with their sizes
// and checksums.
type Writer struct {
	codec *Codec
	dst   io.Writer
	enc   *zstd.Encoder
	buf   []byte
	out   []byte
	wrote bool
}

// NewWriter gives a writer to dst. Close finishes; it does not close dst.
func (c *Codec) NewWriter(dst io.Writer) *Writer { return &Writer{codec: c, dst: dst} }

func (c *Codec) encoder() (*zstd.Encoder, error) {
	if e, ok := c.encoders.Get().(*zstd.Encoder); ok {
		return e, nil
	}
	// The faster levels leave base64 as it is, which most of mail is; this one
	// takes a quarter off it, and costs no more on text.
	return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(frameSize),
		zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(true))
}

func (w *Writer) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n := min(len(p)-done, frameSize-len(w.buf))
		w.buf = append(w.buf, p[done:done+n]...)
		done += n
		if len(w.buf) == frameSize {
			if err := w.flush(); err != nil {
				return done, err
			}
		}
	}
	return done, nil
}

func (w *Writer) flush() error {
	if w.enc == nil {
		enc, err := w.codec.encoder()
		if err != nil {
			return err
		}
		w.enc = enc
	}
	w.out = w.enc.EncodeAll(w.buf, w.out[:0])
	w.buf, w.wrote = w.buf[:0], true
	_, err := w.dst.Write(w.out)
	return err
}

// Close writes what is left.
func (w *Writer) Close() error {
	var err error
	if len(w.buf) > 0 || !w.wrote {
		err = w.flush()
	}
	if w.enc != nil {
		w.codec.encoders.Put(w.enc)
		w.enc = nil
	}
	return err
}
