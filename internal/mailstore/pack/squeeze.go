package pack

import (
	"bytes"
	"io"

	"rookery/internal/errkind"
)

// Messages of these sizes are compressed where the settings ask for it: smaller
// ones gain nothing, larger ones would have to be held in memory.
const (
	minSqueeze = 256
	maxSqueeze = 32 << 20
)

// squeeze compresses a message if that is asked for and makes it smaller by a
// sixteenth at least.
func (p *format) squeeze(r *outRec) error {
	if !p.opt.Compress || r.size < minSqueeze || r.size > maxSqueeze {
		return nil
	}
	var out bytes.Buffer
	w := p.codec.NewWriter(&out)
	_, err := io.Copy(w, io.NewSectionReader(r.body, 0, r.size))
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if int64(out.Len()) > r.size-r.size/16 {
		return nil
	}
	r.body, r.size, r.flags = bytesOf(out.Bytes()), int64(out.Len()), r.flags|recZstd
	return nil
}

// bytesOf is a body in memory.
type bytesOf []byte

func (b bytesOf) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(b).ReadAt(p, off) }

func (b bytesOf) Bytes() []byte { return b }

// unsqueeze opens a compressed message; meta has its plain size.
func (p *format) unsqueeze(m *mail, meta []byte) (*mail, error) {
	d := decode(meta)
	plain := decodeMessage(&d).size
	if !d.End() {
		return nil, errDamaged
	}
	var src io.ReaderAt = bytesOf(m.mem)
	if m.mem == nil {
		src = io.NewSectionReader(m.file.f, m.off, m.size)
	}
	b, err := p.codec.Open(src, m.size, plain)
	if err != nil && (errkind.Is(err, errkind.Corrupt) || errkind.Is(err, errkind.TooBig)) {
		err = errDamaged
	}
	if err != nil {
		return nil, err
	}
	if b == nil || b.Size() != plain {
		if b != nil {
			b.Close()
		}
		return nil, errDamaged
	}
	m.packed, m.mem, m.size = b, nil, plain
	return m, nil
}
