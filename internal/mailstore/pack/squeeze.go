package pack

import "io"

// maxPlain bounds what one compressed message may become in memory.
func (o *Options) maxPlain() int64 { return 64 << 20 }

// bytesOf is a body in memory.
type bytesOf []byte

func (b bytesOf) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= int64(len(b)) {
		return 0, io.EOF
	}
	n := copy(p, b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (b bytesOf) Bytes() []byte { return b }

// squeeze compresses a message where the settings ask for it and it pays.
func (p *format) squeeze(r *outRec) {
	if p.opt.Squeeze == nil || r.size < 256 || r.size > p.opt.maxPlain()/4 {
		return
	}
	plain := make([]byte, r.size)
	if n, err := r.body.ReadAt(plain, 0); n < len(plain) || err != nil && err != io.EOF {
		return
	}
	out := p.opt.Squeeze(plain)
	if len(out) == 0 || int64(len(out)) > r.size-r.size/16 {
		return
	}
	r.body, r.size, r.flags = bytesOf(out), int64(len(out)), r.flags|recZstd
}

// unsqueeze gives the message of a compressed record; its meta has the plain size.
func (p *format) unsqueeze(m *mail, meta []byte) (*mail, error) {
	d := dec{b: meta}
	size := decodeMessage(&d).size
	if !d.end() || size > p.opt.maxPlain() || p.opt.Unsqueeze == nil {
		return nil, errDamaged
	}
	plain, err := p.opt.Unsqueeze(m.mem, size)
	if err != nil || int64(len(plain)) != size {
		return nil, errDamaged
	}
	m.mem, m.size, m.off = plain, size, 0
	return m, nil
}
