package engine

import (
	"io"
	"math/rand/v2"
	"strconv"

	"rookery/internal/vfs"
)

// spoolMemory is how much of a message waits in memory; what is longer goes to a
// file that nobody else sees.
const spoolMemory = 1 << 20

// spool takes a message's bytes and keeps their CRLF form: a CR goes before each
// LF that has none.
type spool struct {
	s    *Store
	mem  []byte
	file vfs.File
	path string
	size int64
	cr   bool
	out  []byte // what is on its way to the file
}

func (p *spool) Write(b []byte) (int, error) {
	start := 0
	for i, c := range b {
		if c == '\n' && !p.cr {
			if err := p.put(b[start:i]); err != nil {
				return start, err
			}
			if err := p.put([]byte{'\r'}); err != nil {
				return i, err
			}
			start = i
		}
		p.cr = c == '\r'
	}
	return len(b), p.put(b[start:])
}

func (p *spool) put(b []byte) error {
	p.size += int64(len(b))
	if p.file == nil {
		if p.mem = append(p.mem, b...); len(p.mem) <= spoolMemory {
			return nil
		}
		p.path = vfs.Join(p.s.opt.IndexPath, "rookery-spool."+strconv.FormatUint(rand.Uint64(), 36))
		f, err := p.s.fs.OpenFile(p.path, vfs.Read|vfs.Write|vfs.Create|vfs.Excl, p.s.opt.FileMode)
		if err != nil {
			return err
		}
		p.s.fs.Remove(p.path) // it stays as long as it is open
		p.file, p.out, p.mem = f, p.mem, nil
		return p.flush()
	}
	if p.out = append(p.out, b...); len(p.out) >= 256<<10 {
		return p.flush()
	}
	return nil
}

func (p *spool) flush() error {
	_, err := p.file.Write(p.out)
	p.out = p.out[:0]
	return err
}

// body gives what was written, once all of it was.
func (p *spool) body() (io.ReaderAt, error) {
	if p.file == nil {
		return bytesAt(p.mem), nil
	}
	return p.file, p.flush()
}

func (p *spool) close() {
	if p.file != nil {
		p.file.Close()
		p.file = nil
	}
	p.mem, p.out = nil, nil
}

// bytesAt reads from memory.
type bytesAt []byte

func (b bytesAt) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= int64(len(b)) {
		return 0, io.EOF
	}
	n := copy(p, b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Bytes gives the message where it lies in memory: formats save a copy by it.
func (b bytesAt) Bytes() []byte { return b }
