package compress

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"

	"rookery/internal/errkind"
)

//go:embed testdata/lines.bz2
var linesBzip2 []byte

// lines is a message of 208,893 bytes; testdata/lines.bz2 is the same, in three blocks.
func lines() []byte {
	var b bytes.Buffer
	for i := range 9000 {
		fmt.Fprintf(&b, "Line %d of the message\r\n", i)
	}
	return b.Bytes()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func pipe(t testing.TB, plain []byte, open func(w io.Writer) (io.WriteCloser, error)) []byte {
	var b bytes.Buffer
	w, err := open(&b)
	must(t, err)
	_, err = w.Write(plain)
	must(t, err)
	must(t, w.Close())
	return b.Bytes()
}

func dovecotLZ4Of(t testing.TB, plain []byte) []byte {
	out := append([]byte(dovecotMagic), 0, 1, 0, 0)
	for len(plain) > 0 {
		n := min(len(plain), 1<<16)
		buf := make([]byte, lz4.CompressBlockBound(n))
		k, err := lz4.CompressBlock(plain[:n], buf, nil)
		must(t, err)
		out = append(binary.BigEndian.AppendUint32(out, uint32(k)), buf[:k]...)
		plain = plain[n:]
	}
	return out
}

// stored gives a message in every form that is read.
func stored(t testing.TB, plain []byte) map[string][]byte {
	var c Codec
	zs := func(o ...zstd.EOption) func(w io.Writer) (io.WriteCloser, error) {
		return func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w, o...) }
	}
	gz := func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil }
	x := func(cfg xz.WriterConfig) func(w io.Writer) (io.WriteCloser, error) {
		return func(w io.Writer) (io.WriteCloser, error) { return cfg.NewWriter(w) }
	}
	l := func(o ...lz4.Option) func(w io.Writer) (io.WriteCloser, error) {
		return func(w io.Writer) (io.WriteCloser, error) {
			z := lz4.NewWriter(w)
			return z, z.Apply(o...)
		}
	}
	half := len(plain) / 3
	m := map[string][]byte{
		"ours":           pipe(t, plain, func(w io.Writer) (io.WriteCloser, error) { return c.NewWriter(w), nil }),
		"zstd stream":    pipe(t, plain, zs(zstd.WithEncoderCRC(false))),
		"zstd max":       pipe(t, plain, zs(zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithWindowSize(8<<20))),
		"zstd frames":    append(pipe(t, plain[:half], zs()), pipe(t, plain[half:], zs(zstd.WithSingleSegment(true)))...),
		"gzip":           pipe(t, plain, gz),
		"gzip members":   append(pipe(t, plain[:half], gz), pipe(t, plain[half:], gz)...),
		"lz4":            pipe(t, plain, l(lz4.ChecksumOption(true))),
		"lz4 linked":     pipe(t, plain, l(lz4.BlockChecksumOption(true), lz4.BlockSizeOption(lz4.Block64Kb))),
		"lz4 frames":     append(pipe(t, plain[:half], l()), pipe(t, plain[half:], l())...),
		"lz4 of Dovecot": dovecotLZ4Of(t, plain),
		"xz":             pipe(t, plain, x(xz.WriterConfig{})),
		"xz blocks":      pipe(t, plain, x(xz.WriterConfig{BlockSize: 50000, CheckSum: xz.CRC32})),
		"xz streams":     append(append(pipe(t, plain[:half], x(xz.WriterConfig{CheckSum: xz.SHA256})), 0, 0, 0, 0), pipe(t, plain[half:], x(xz.WriterConfig{NoCheckSum: true}))...),
	}
	skip := append([]byte{0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0}, "abc"...)
	m["zstd skippable"] = append(append(append([]byte{}, skip...), m["ours"]...), skip...)
	return m
}

func TestEveryForm(t *testing.T) {
	plain := lines()
	forms := stored(t, plain)
	forms["bzip2"] = linesBzip2
	for name, b := range forms {
		t.Run(name, func(t *testing.T) {
			for _, known := range []int64{-1, int64(len(plain))} {
				var c Codec
				body, err := c.Open(bytes.NewReader(b), int64(len(b)), known)
				must(t, err)
				if body == nil || body.Size() != int64(len(plain)) {
					t.Fatalf("size %v of %d", body, len(plain))
				}
				readAround(t, body, plain)
				must(t, body.Close())
				readAround(t, body, plain)
			}
		})
	}
}

// readAround reads in order, then anywhere.
func readAround(t *testing.T, r io.ReaderAt, plain []byte) {
	t.Helper()
	got, err := io.ReadAll(io.NewSectionReader(r, 0, int64(len(plain))))
	must(t, err)
	if !bytes.Equal(got, plain) {
		t.Fatal("it came out as something else")
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		off, n := rnd.IntN(len(plain)+10), rnd.IntN(9000)
		buf := make([]byte, n)
		k, err := r.ReadAt(buf, int64(off))
		want := plain[min(off, len(plain)):min(off+n, len(plain))]
		if !bytes.Equal(buf[:k], want) || (k < n) != errors.Is(err, io.EOF) {
			t.Fatalf("at %d, %d bytes: got %d, %v", off, n, k, err)
		}
	}
}

func TestSmallAndEmpty(t *testing.T) {
	for _, plain := range []string{"", "x", "Subject: a\r\n\r\nb\r\n"} {
		for name, b := range stored(t, []byte(plain)) {
			var c Codec
			r, n, err := c.View(bytes.NewReader(b), int64(len(b)))
			if err != nil || n != int64(len(plain)) {
				t.Errorf("%s of %q: %d, %v", name, plain, n, err)
				continue
			}
			got, err := io.ReadAll(io.NewSectionReader(r, 0, n))
			if err != nil || string(got) != plain {
				t.Errorf("%s of %q: %q, %v", name, plain, got, err)
			}
		}
	}
}

// A size that the caller only believes to know is found out.
func TestWrongSize(t *testing.T) {
	plain := lines()[:1000]
	for name, b := range stored(t, plain) {
		for _, wrong := range []int64{10, 999, 1001, 70000} {
			var c Codec
			body, err := c.Open(bytes.NewReader(b), int64(len(b)), wrong)
			if err == nil && body.Size() == 1000 {
				continue // the stored bytes know better
			}
			if err == nil {
				_, err = io.ReadAll(io.NewSectionReader(body, 0, wrong))
			}
			if !errkind.Is(err, errkind.Corrupt) {
				t.Errorf("%s as %d bytes: %v", name, wrong, err)
			}
		}
	}
}

// The window of a long message is bounded, and going back works across all of it.
func TestLong(t *testing.T) {
	plain := bytes.Repeat(lines(), 8) // 1.6 MB, more than is held
	for name, b := range stored(t, plain) {
		var c Codec
		body, err := c.Open(bytes.NewReader(b), int64(len(b)), -1)
		must(t, err)
		for _, off := range []int{1_500_000, 100, 1_000_000, 900_000, 1_600_000} {
			buf := make([]byte, 1000)
			if _, err := body.ReadAt(buf, int64(off)); err != nil || !bytes.Equal(buf, plain[off:off+1000]) {
				t.Errorf("%s at %d: %v", name, off, err)
			}
		}
		if len(body.chunks) > maxChunks {
			t.Errorf("%s holds %d chunks", name, len(body.chunks))
		}
	}
}

// Our form is entered at frames: the end of a long message costs no decoding of
// what is before it.
func TestOursIsEnteredAnywhere(t *testing.T) {
	plain := bytes.Repeat(lines(), 30)
	var c Codec
	b := pipe(t, plain, func(w io.Writer) (io.WriteCloser, error) { return c.NewWriter(w), nil })
	src := &counted{ReaderAt: bytes.NewReader(b)}
	body, err := c.Open(src, int64(len(b)), -1)
	must(t, err)
	src.n = 0
	_, err = body.ReadAt(make([]byte, 10), int64(len(plain)-10))
	must(t, err)
	if want := len(plain)/frameSize + 1; len(body.points) != want || src.n > len(b)/10 {
		t.Fatalf("%d places to begin, want %d; %d of %d bytes read", len(body.points), want, src.n, len(b))
	}
}

type counted struct {
	io.ReaderAt
	n int
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(p, off)
	c.n += n
	return n, err
}

// Mail is what does not decode from its first byte on.
func TestWhatOnlyLooksCompressed(t *testing.T) {
	for _, m := range []string{"", "S", "Subject: hi\r\n\r\nBZh91AY&SY", "BZh9 is my subject", "BZh91AY&SY: a header\r\n\r\nbody\r\n",
		"\x1f\x8b\x08 was here\r\n", "\x28\xb5\x2f\xfd", "\x28\xb5\x2f\xfdSubject: no", "\xfd7zXZ\x00", "\xfd7zXZ\x00 mail mail mail mail mail mail", "\x04\x22\x4d\x18Subject",
		dovecotMagic, dovecotMagic + "\x00\x01\x00\x00\x00\x00\x00\x09Subject: x", dovecotMagic + "\xff\xff\xff\xff", "\x50\x2a\x4d\x18\xff\xff\xff\xff"} {
		var c Codec
		src := bytes.NewReader([]byte(m))
		r, n, err := c.View(src, int64(len(m)))
		if err != nil || r != io.ReaderAt(src) || n != int64(len(m)) {
			t.Errorf("%q: %T, %d, %v", m, r, n, err)
		}
	}
}

// What decodes at first and not to its end is damage, and never a shorter message.
func TestDamage(t *testing.T) {
	plain := bytes.Repeat(lines(), 3)
	forms := stored(t, plain)
	for name, b := range forms {
		if name == "zstd stream" || name == "zstd skippable" {
			continue // without a checksum; and what is skipped may be anything
		}
		for _, at := range []int{len(b) / 2, len(b) - 1} {
			cut, bad := b[:at], bytes.Clone(b)
			bad[at] ^= 0x10
			for what, d := range map[string][]byte{"cut": cut, "changed": bad} {
				var c Codec
				r, n, err := c.View(bytes.NewReader(d), int64(len(d)))
				if err == nil {
					got, rerr := io.ReadAll(io.NewSectionReader(r, 0, n))
					err = rerr
					if rerr == nil && (bytes.Equal(got, d) || bytes.Equal(got, plain)) {
						continue // served as it is; or padding was hit
					}
				}
				if !errkind.Is(err, errkind.Corrupt) && name != "lz4 of Dovecot" && name != "lz4 frames" {
					t.Errorf("%s, %s at %d of %d: %v", name, what, at, len(b), err)
				}
			}
		}
	}
}

func TestReadErrorIsNotDamage(t *testing.T) {
	for name, b := range stored(t, lines()) {
		for fail := range 6 {
			var c Codec
			src := &failing{ReaderAt: bytes.NewReader(b), after: fail}
			r, n, err := c.View(src, int64(len(b)))
			if err == nil {
				_, err = io.ReadAll(io.NewSectionReader(r, 0, n))
			}
			if src.after < 0 && (!errors.Is(err, errDisk) || errkind.Is(err, errkind.Corrupt)) {
				t.Errorf("%s, read %d: %v", name, fail, err)
			}
		}
	}
}

var errDisk = errors.New("the disk")

type failing struct {
	io.ReaderAt
	after int
}

func (f *failing) ReadAt(p []byte, off int64) (int, error) {
	if f.after--; f.after < 0 {
		return 0, errDisk
	}
	return f.ReaderAt.ReadAt(p, off)
}

// Bombs are errors, soon and without memory.
// An xz that is sound and asks for what is not there is told, not shown.
func TestXZWithAnotherFilter(t *testing.T) {
	b := bytes.Clone(stored(t, lines())["xz"])
	head := b[xzEnds : xzEnds+(int(b[xzEnds])+1)*4]
	head[2] = 3 // Delta
	binary.LittleEndian.PutUint32(head[len(head)-4:], crc32.ChecksumIEEE(head[:len(head)-4]))
	var c Codec
	if _, _, err := c.View(bytes.NewReader(b), int64(len(b))); !errkind.Is(err, errkind.Corrupt) {
		t.Fatal(err)
	}
}

func TestBombs(t *testing.T) {
	zeros := make([]byte, 1<<20)
	z := pipe(t, zeros, func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w, zstd.WithSingleSegment(true)) })
	many := bytes.Repeat(z, 1025)
	tests := map[string][]byte{
		"zstd frames of 1 GiB and some": many,
		"zstd that claims a petabyte":   {0x28, 0xb5, 0x2f, 0xfd, 0xc0, 0x58, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0},
		"zstd with a window of 128 MiB": {0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 1, 0, 0},
	}
	for name, b := range tests {
		var c Codec
		if _, _, err := c.View(bytes.NewReader(b), int64(len(b))); !errkind.Is(err, errkind.TooBig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if testing.Short() {
		return
	}
	g := pipe(t, zeros, func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil })
	g = bytes.Repeat(g, 1025)
	var c Codec
	if _, _, err := c.View(bytes.NewReader(g), int64(len(g))); !errkind.Is(err, errkind.TooBig) {
		t.Errorf("gzip: %v", err)
	}
}

// A message of zeroes is ours to write, and so must be ours to read.
func TestOursIsNoBomb(t *testing.T) {
	plain := make([]byte, 64<<20)
	var c Codec
	b := pipe(t, plain, func(w io.Writer) (io.WriteCloser, error) { return c.NewWriter(w), nil })
	r, n, err := c.View(bytes.NewReader(b), int64(len(b)))
	if err != nil || n != int64(len(plain)) {
		t.Fatal(n, err)
	}
	if k, err := r.ReadAt(make([]byte, 100), n-100); k != 100 || err != nil {
		t.Fatal(k, err)
	}
}

// Attachments are base64, and must become smaller.
func TestBase64(t *testing.T) {
	raw := make([]byte, 100_000)
	rand.NewChaCha8([32]byte{1}).Read(raw)
	plain := []byte(base64.StdEncoding.EncodeToString(raw))
	var c Codec
	b := pipe(t, plain, func(w io.Writer) (io.WriteCloser, error) { return c.NewWriter(w), nil })
	if len(b) > len(plain)*4/5 {
		t.Fatalf("%d of %d bytes", len(b), len(plain))
	}
}

func TestNeedsWrap(t *testing.T) {
	for name, b := range stored(t, lines()) {
		if !NeedsWrap(b[:MagicLen]) {
			t.Errorf("%s would be decoded when it is read", name)
		}
		var c Codec
		twice := pipe(t, b, func(w io.Writer) (io.WriteCloser, error) { return c.NewWriter(w), nil })
		r, n, err := c.View(bytes.NewReader(twice), int64(len(twice)))
		must(t, err)
		if got, err := io.ReadAll(io.NewSectionReader(r, 0, n)); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s, wrapped: %v", name, err)
		}
	}
	if NeedsWrap([]byte("Return-Path: <>")) || NeedsWrap(nil) {
		t.Error("mail needs none")
	}
}

// Whatever the bytes, reading ends, in bounds, and reads the same twice.
func FuzzView(f *testing.F) {
	for _, b := range stored(f, []byte("Subject: a\r\n\r\nbody body body body body\r\n")) {
		f.Add(b)
	}
	f.Add(linesBzip2[:2000])
	f.Fuzz(func(t *testing.T, b []byte) {
		var c Codec
		r, n, err := c.View(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			if k := errkind.Of(err); k != errkind.Corrupt && k != errkind.TooBig {
				t.Fatal(err)
			}
			return
		}
		n = min(n, 4<<20)
		one, err1 := io.ReadAll(io.NewSectionReader(r, 0, n))
		two := make([]byte, len(one)/2)
		_, err2 := r.ReadAt(two, int64(len(one)-len(two)))
		if err1 == nil && (int64(len(one)) != n || err2 != nil && err2 != io.EOF || !bytes.Equal(two, one[len(one)-len(two):])) {
			t.Fatalf("%d of %d bytes, then %v", len(one), n, err2)
		}
	})
}

func BenchmarkView4K(b *testing.B) {
	var c Codec
	p := pipe(b, lines()[:4096], func(w io.Writer) (io.WriteCloser, error) { return c.NewWriter(w), nil })
	buf := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		body, err := c.Open(bytes.NewReader(p), int64(len(p)), -1)
		if err != nil {
			b.Fatal(err)
		}
		body.ReadAt(buf, 0)
		body.Close()
	}
}

func BenchmarkWrite4K(b *testing.B) {
	var c Codec
	plain := lines()[:4096]
	b.ReportAllocs()
	for b.Loop() {
		w := c.NewWriter(io.Discard)
		w.Write(plain)
		w.Close()
	}
}
