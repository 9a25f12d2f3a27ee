package compress

import (
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"

	"rookery/internal/errkind"
)

var errLonger = errors.New("it is longer than it was said to be")

const (
	chunkSize = 64 << 10
	maxChunks = 16 // held at once
)

// Body is a compressed message, decoded as it is read. It may be read from
// several goroutines, one after the other.
type Body struct {
	codec  *Codec
	format Format
	src    io.ReaderAt
	stored int64
	plain  int64 // -1 until it is known

	mu     sync.Mutex
	xz     []xzBlock
	points []point // where decoding can begin, ascending; the first is at 0
	in     io.Reader
	at     int64 // plain offset of in
	zstd   *zstd.Decoder
	chunks map[int64][]byte // by number; the last one may be short
	order  []int64          // of chunks, the oldest first
}

// point is a place where decoding can begin.
type point struct {
	plain, stored int64
	block         int // of xz
}

// Size is the length of the message, in bytes.
func (b *Body) Size() int64 { return b.plain }

// Format tells how it is stored.
func (b *Body) Format() Format { return b.format }

// Close gives the decoder back. Reading after it begins anew.
func (b *Body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.in = nil
	if b.zstd != nil {
		b.codec.giveBack(b.zstd)
		b.zstd = nil
	}
	return nil
}

// learn finds the places to begin and the plain size, and proves that it decodes.
func (b *Body) learn() error {
	var enter func() error
	known := b.plain
	switch b.format {
	case Zstd:
		enter = b.walkZstd
	case XZ:
		enter = b.walkXZ
	default:
		b.points = []point{{}}
		enter = func() error { return nil }
	}
	if err := enter(); err != nil {
		if errkind.Is(err, errkind.TooBig) || !errors.Is(err, errStructure) {
			return err
		}
		// The structure is wrong. If something decodes all the same it is damage,
		// else it is a mail.
		b.points, b.plain = []point{{}}, known
		if first, _ := b.chunk(0); b.format == XZ || len(first) == 0 {
			return errLooksSo
		}
		return corrupt(b.format, err)
	}
	if b.plain > MaxPlain {
		return tooBig(b.format, "the message would be larger than any may be")
	}
	first, err := b.chunk(0)
	switch {
	case errkind.Is(err, errkind.TooBig), err != nil && errkind.Of(err) != errkind.Corrupt:
		return err
	case err != nil && len(first) == 0 && b.format != XZ: // xz's index and its checks are no chance
		return errLooksSo
	case err != nil:
		return err
	}
	return b.measure()
}

// measure decodes everything once if the plain size is not known.
func (b *Body) measure() error {
	for n := int64(0); b.plain < 0; n++ {
		c, err := b.chunk(n)
		if err != nil {
			return err
		}
		if len(c) < chunkSize {
			b.plain = n*chunkSize + int64(len(c))
		} else if (n+1)*chunkSize > MaxPlain {
			return tooBig(b.format, "the message would be larger than any may be")
		}
	}
	return nil
}

// ReadAt reads the plain message.
func (b *Body) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errkind.Newf("read", errkind.Invalid, "an offset below 0")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	done := 0
	for done < len(p) && off < b.plain {
		c, err := b.chunk(off / chunkSize)
		if err != nil {
			return done, err
		}
		within := off % chunkSize
		if within >= int64(len(c)) {
			return done, corrupt(b.format, io.ErrUnexpectedEOF)
		}
		n := copy(p[done:min(int64(len(p)), int64(done)+b.plain-off)], c[within:])
		done, off = done+n, off+int64(n)
	}
	if done < len(p) {
		return done, io.EOF
	}
	return done, nil
}

// chunk gives the chunk of this number; a short one is the last. Beside an error
// it gives what could be decoded of it.
func (b *Body) chunk(n int64) ([]byte, error) {
	if c, ok := b.chunks[n]; ok {
		return c, nil
	}
	want := n * chunkSize
	if b.in == nil || b.at > want || b.better(want) {
		if err := b.enter(want); err != nil {
			return nil, b.because(err)
		}
	}
	for {
		buf := b.buffer()
		k := b.at / chunkSize
		from := b.at % chunkSize // not 0 where a point lies within a chunk
		got, err := io.ReadFull(b.in, buf[from:])
		b.at += int64(got)
		switch {
		case err == io.EOF, err == io.ErrUnexpectedEOF:
			// The end of the stream: the decoders tell a torn one by other errors.
			if b.plain >= 0 && b.at != b.plain {
				return buf[from : from+int64(got)], corrupt(b.format, io.ErrUnexpectedEOF)
			}
			if from == 0 {
				b.hold(k, buf[:got])
			}
			b.in = nil
			if k == n && from == 0 {
				return buf[:got], nil
			}
			return nil, nil
		case err != nil:
			b.in = nil
			return buf[from : from+int64(got)], b.because(err)
		}
		if len(buf) < chunkSize {
			b.in = nil
			return buf, corrupt(b.format, errLonger)
		}
		if from == 0 {
			b.hold(k, buf)
		}
		if k == n && from == 0 {
			return buf, nil
		}
	}
}

// because gives an error its kind.
func (b *Body) because(err error) error {
	switch {
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return tooBig(b.format, err.Error())
	case b.srcErr(err):
		return err
	}
	return corrupt(b.format, err)
}

// srcErr reports whether the disk failed, not the decoder.
func (b *Body) srcErr(err error) bool {
	var e *sourceError
	return errors.As(err, &e)
}

// sourceError marks what the stored file's reader said.
type sourceError struct{ error }

func (e *sourceError) Unwrap() error { return e.error }

// source reads the stored bytes from an offset on.
type source struct {
	*io.SectionReader
}

func (s source) Read(p []byte) (int, error) {
	n, err := s.SectionReader.Read(p)
	if err != nil && err != io.EOF {
		err = &sourceError{err}
	}
	return n, err
}

func (b *Body) from(off int64) source {
	return source{io.NewSectionReader(b.src, off, b.stored-off)}
}

// buffer gives memory for a chunk, the oldest chunk's if enough are held.
func (b *Body) buffer() []byte {
	if len(b.order) >= maxChunks {
		old := b.chunks[b.order[0]]
		delete(b.chunks, b.order[0])
		b.order = b.order[1:]
		if cap(old) == chunkSize {
			return old[:chunkSize]
		}
	}
	if b.plain >= 0 && b.plain < chunkSize {
		return make([]byte, b.plain+1) // the one byte more sees the end
	}
	return make([]byte, chunkSize)
}

func (b *Body) hold(n int64, c []byte) {
	if b.chunks == nil {
		b.chunks = map[int64][]byte{}
	}
	if _, ok := b.chunks[n]; !ok {
		b.order = append(b.order, n)
	}
	b.chunks[n] = c
}

// last gives the last point at or before a plain offset whose chunk it does not cut.
func (b *Body) last(want int64) point {
	lo, hi := 0, len(b.points)
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; b.points[mid].plain <= want {
			lo = mid
		} else {
			hi = mid
		}
	}
	return b.points[lo]
}

// better reports whether entering anew is nearer than going on.
func (b *Body) better(want int64) bool { return b.last(want).plain > b.at }

// enter begins to decode at or before a plain offset.
func (b *Body) enter(want int64) error {
	p := b.last(want)
	in, err := b.decode(p)
	if err != nil {
		return err
	}
	b.in, b.at = strict{in}, p.plain
	return nil
}

// strict tells a torn stream from one that ends.
type strict struct{ io.Reader }

func (s strict) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	return n, torn(err, io.EOF)
}
