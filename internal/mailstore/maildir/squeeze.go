package maildir

import (
	"bytes"
	"hash"
	"io"

	"rookery/internal/crc32c"
	"rookery/internal/errkind"
	"rookery/internal/mailstore/compress"
	"rookery/internal/mailstore/crlf"
	"rookery/internal/mailstore/journal"
	"rookery/internal/vfs"
)

// Compressed messages. A file that begins with a magic number of package compress
// holds a message that is compressed, whoever wrote it, whatever its name. Its
// ",S=" is the size of the plain message, as Dovecot has it, so that quota and
// maildirsize count what the user sees; ",C=" is the sum of the bytes as they are
// stored. A message that begins with such a number itself is always compressed: as
// it is it would come back as something else.

// minSqueeze is the size, in octets, below which compressing gains nothing: a file
// takes a block of the disk anyway.
const minSqueeze = 256

// sink takes a new message's stored bytes: into its file, its sum, and, while it
// is small, into memory for the journal.
type sink struct {
	file vfs.File
	sum  hash.Hash32
	n    int64
	keep bool
	data []byte
}

func newSink(file vfs.File, keep bool) *sink {
	return &sink{file: file, sum: new(crc32c.Digest), keep: keep}
}

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.file.Write(p)
	s.sum.Write(p[:n])
	s.n += int64(n)
	if s.keep = s.keep && s.n <= journal.MaxData; s.keep {
		s.data = append(s.data, p[:n]...)
	} else {
		s.data = nil
	}
	return n, err
}

// put writes a message's next bytes. How it is stored is decided by its first ones.
func (d *draft) put(p []byte) (int, error) {
	if d.out != nil {
		return d.out.Write(p)
	}
	enough := compress.MagicLen
	if d.size < 0 && d.mb.s.opt.Compress {
		enough = minSqueeze
	}
	if d.head = append(d.head, p...); len(d.head) < enough {
		return len(p), nil
	}
	had := len(d.head) - len(p)
	n, err := d.choose()
	return max(n-had, 0), err
}

// choose opens the way to the file and writes what waited.
func (d *draft) choose() (int, error) {
	if compress.NeedsWrap(d.head) || d.mb.s.opt.Compress && max(d.size, int64(len(d.head))) >= minSqueeze {
		d.packed = d.mb.s.codec.NewWriter(d.sink)
		d.out = d.packed
	} else {
		d.out = d.sink
	}
	n, err := d.out.Write(d.head)
	d.head = nil
	return n, err
}

// finish writes what is left.
func (d *draft) finish() error {
	var err error
	if d.out == nil {
		_, err = d.choose()
	}
	if d.packed != nil {
		if cerr := d.packed.Close(); err == nil {
			err = cerr
		}
		d.packed = nil
	}
	return err
}

// unpack gives a reader of the plain bytes of a file; nil if it is not compressed.
// plain is their number where that is known for certain, else -1: what the name
// tells may be wrong. But a file whose name tells another size than it has, and
// that begins as compressed ones do, is no mail that only looks so.
func (mb *mailbox) unpack(src io.ReaderAt, size, plain, told int64) (*compress.Body, error) {
	b, err := mb.s.codec.Open(src, size, plain)
	if err != nil || b != nil || told < 0 || told == size {
		return b, err
	}
	var prefix [compress.MagicLen]byte
	n, err := src.ReadAt(prefix[:min(size, compress.MagicLen)], 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if compress.NeedsWrap(prefix[:n]) {
		return nil, errkind.Newf("decompress", errkind.Corrupt, "nothing of it can be decoded")
	}
	return nil, nil
}

// presentPacked is present for a compressed file; ok is false if it is none.
func (mb *mailbox) presentPacked(uid uint32, f vfs.File, name string, info vfs.Info) (m *message, ok bool, err error) {
	told, virt := mb.told(uid, name)
	plain := int64(-1)
	view, seen := mb.shapes.get(f, info)
	if seen {
		plain = view.Stored()
	}
	body, err := mb.unpack(f, info.Size, plain, told)
	if body == nil && err == nil {
		return nil, false, nil
	}
	if err == nil && virt == body.Size() && told == virt { // CRLF already
		return &message{file: f, packed: body, size: body.Size()}, true, nil
	}
	switch {
	case err != nil:
	case seen:
		view = view.Of(body)
	default:
		if view, err = crlf.Scan(body, body.Size()); err == nil {
			mb.shapes.put(view, info)
		} else {
			body.Close()
		}
	}
	if err != nil {
		return nil, true, mb.damagedMessage(uid, name, err)
	}
	mb.judge(uid, name, body.Size(), view.Size())
	m = &message{file: f, packed: body, size: view.Size(), view: view}
	if view.Plain() {
		m.view = nil
	}
	return m, true, nil
}

// damagedMessage tells of a message whose stored bytes cannot be decoded. The
// mailbox goes on without it.
func (mb *mailbox) damagedMessage(uid uint32, name string, err error) error {
	if errkind.Is(err, errkind.Corrupt) || errkind.Is(err, errkind.TooBig) {
		mb.s.opt.Note("message " + utoa(uid) + " of " + mb.nameNow() + " (" + name[1:] + ") cannot be read: " + err.Error())
	}
	return mb.s.fail("read message", err)
}

// unpackSmall is the message in buf, if it is compressed there and small when it is
// not: then buf is another one. packed says that it is compressed.
func (mb *mailbox) unpackSmall(uid uint32, name string, buf *smallBuffer, n int) (m *inMemory, packed bool, err error) {
	if !compress.NeedsWrap(buf.raw[:min(n, compress.MagicLen)]) {
		return nil, false, nil
	}
	told, _ := mb.told(uid, name)
	body, err := mb.unpack(bytes.NewReader(buf.raw[:n]), int64(n), -1, told)
	if err != nil {
		return nil, true, mb.damagedMessage(uid, name, err)
	}
	if body == nil {
		return nil, false, nil // it only looks so
	}
	defer body.Close()
	size := body.Size()
	if size > smallSize {
		return nil, true, nil
	}
	out := small.Get().(*smallBuffer)
	if _, err = body.ReadAt(out.raw[:size], 0); err != nil && err != io.EOF {
		small.Put(out)
		return nil, true, mb.damagedMessage(uid, name, err)
	}
	m = newSmall(out, int(size))
	mb.judge(uid, name, size, m.Size())
	return m, true, nil
}

// storedWhole reports whether a compressed file decodes to its end.
func (mb *mailbox) storedWhole(f vfs.File, size int64) (packed, whole bool, err error) {
	body, err := mb.s.codec.Open(f, size, -1)
	if err == nil && body == nil {
		return false, false, nil
	}
	if err == nil {
		_, err = crlf.Scan(body, body.Size())
		body.Close()
	}
	if errkind.Is(err, errkind.Corrupt) || errkind.Is(err, errkind.TooBig) {
		return true, false, nil
	}
	return true, err == nil, err
}
