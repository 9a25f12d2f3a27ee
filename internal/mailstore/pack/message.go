package pack

import (
	lru "container/list"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sort"
	"strconv"
	"sync"

	"rookery/internal/mailstore/compress"
	"rookery/internal/vfs"
)

func utoa(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// errDamaged says that a record is not what its address says.
var errDamaged = errors.New("its record is damaged")

// handles keeps packed files open for reading.
type handles struct {
	mu     sync.Mutex
	open   map[uint32]*packFile
	recent lru.List // of *packFile, the last used first
	good   map[loc]bool
}

// packFile is one packed file, open for reading. Messages that are open hold it.
type packFile struct {
	n     uint32
	f     vfs.File
	hdr   fileHeader
	moved []movedRec // compacted: where records are now
	refs  int
	out   bool // no longer kept: the last reference closes it
	elem  *lru.Element
}

// movedRec is a record of a compacted file.
type movedRec struct{ was, is int64 }

// Bounds: open files that are kept, and large messages that are known to be good.
const (
	maxHandles  = 8
	maxVerified = 4096
	maxMoved    = 64 << 20 // octets of a compacted file's table
)

// get gives a packed file, one reference counted.
func (p *format) get(n uint32) (*packFile, error) {
	h := &p.files
	h.mu.Lock()
	defer h.mu.Unlock()
	if k := h.open[n]; k != nil {
		k.refs++
		h.recent.MoveToFront(k.elem)
		return k, nil
	}
	f, err := p.fs.OpenFile(p.packPath(n), vfs.Read, 0)
	if errors.Is(err, fs.ErrNotExist) && p.opt.AltPath != "" {
		f, err = p.fs.OpenFile(join(p.opt.AltPath, packName(n)), vfs.Read, 0)
	}
	if err != nil {
		return nil, err
	}
	k := &packFile{n: n, f: f, refs: 1}
	if k.hdr, k.moved, err = readPackHeader(f, n); err != nil {
		f.Close()
		return nil, err
	}
	if h.open == nil {
		h.open = map[uint32]*packFile{}
	}
	h.open[n], k.elem = k, h.recent.PushFront(k)
	for h.recent.Len() > maxHandles {
		h.drop(h.recent.Back().Value.(*packFile))
	}
	return k, nil
}

// readPackHeader reads what a packed file says of itself.
func readPackHeader(f io.ReaderAt, n uint32) (hdr fileHeader, moved []movedRec, err error) {
	buf := make([]byte, fileHeaderSize)
	if m, err := f.ReadAt(buf, 0); m < len(buf) {
		if short(err) != io.ErrUnexpectedEOF {
			return hdr, nil, err
		}
		return hdr, nil, errDamaged
	}
	hdr, ok := decodeFileHeader(buf)
	if !ok || hdr.kind != kindPacked || hdr.number != uint64(n) {
		return hdr, nil, errDamaged
	}
	if hdr.mapAt == 0 {
		return hdr, nil, nil
	}
	moved, err = readMoved(f, hdr.mapAt)
	return hdr, moved, err
}

// readMoved reads a compacted file's table: a count, that many pairs of old and
// new offset, and the CRC-32C of all of it.
func readMoved(f io.ReaderAt, at int64) ([]movedRec, error) {
	var head [8]byte
	if n, err := f.ReadAt(head[:], at); n < len(head) {
		return nil, errors.Join(errDamaged, short(err))
	}
	count := binary.LittleEndian.Uint64(head[:])
	if count > maxMoved/16 {
		return nil, errDamaged
	}
	b := make([]byte, 8+16*count+4)
	if n, err := f.ReadAt(b, at); n < len(b) {
		return nil, errors.Join(errDamaged, short(err))
	}
	if le32(b[len(b)-4:]) != sum(0, b[:len(b)-4]) {
		return nil, errDamaged
	}
	out := make([]movedRec, count)
	for i := range out {
		out[i].was = int64(binary.LittleEndian.Uint64(b[8+16*i:]))
		out[i].is = int64(binary.LittleEndian.Uint64(b[16+16*i:]))
		if i > 0 && out[i].was <= out[i-1].was || out[i].is < fileHeaderSize {
			return nil, errDamaged
		}
	}
	return out, nil
}

// at gives where the record with an address is in the file.
func (k *packFile) at(off int64) (int64, bool) {
	if k.hdr.mapAt == 0 {
		return off, true
	}
	i := sort.Search(len(k.moved), func(i int) bool { return k.moved[i].was >= off })
	if i < len(k.moved) && k.moved[i].was == off {
		return k.moved[i].is, true
	}
	return 0, false
}

// drop takes a file out of those that are kept; mu is held.
func (h *handles) drop(k *packFile) {
	if k.out {
		return
	}
	k.out = true
	delete(h.open, k.n)
	h.recent.Remove(k.elem)
	if k.refs == 0 {
		k.f.Close()
	}
}

func (h *handles) release(k *packFile) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if k.refs--; k.refs == 0 && k.out {
		k.f.Close()
	}
}

// forget lets the next reader open a file anew: it was compacted or moved.
func (h *handles) forget(n uint32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if k := h.open[n]; k != nil {
		h.drop(k)
	}
}

func (h *handles) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, k := range h.open {
		h.drop(k)
	}
}

// verified remembers large messages whose sum was computed once.
func (h *handles) verified(l loc, set bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if set {
		if h.good == nil || len(h.good) >= maxVerified {
			h.good = map[loc]bool{}
		}
		h.good[l] = true
	}
	return h.good[l]
}

// mail is a message that is open.
type mail struct {
	h    *handles
	file *packFile
	off  int64
	size int64
	mem  []byte // the bytes, where there are few; else nil
	once sync.Once

	packed *compress.Body // nil: the bytes lie there as they are
}

// Messages up to memoryBody are read and checked at once and served from memory.
const (
	firstRead  = 8 << 10
	memoryBody = 256 << 10
)

// open opens the message whose record has an address. Its sum is checked before
// a byte of it is served.
func (p *format) open(l loc) (*mail, error) {
	k, err := p.get(l.file)
	if err != nil {
		return nil, err
	}
	m, err := p.openIn(k, l)
	if err != nil {
		p.files.release(k)
		return nil, err
	}
	return m, nil
}

func (p *format) openIn(k *packFile, l loc) (*mail, error) {
	at, ok := k.at(l.off)
	if !ok {
		return nil, fs.ErrNotExist
	}
	buf := make([]byte, firstRead)
	n, err := k.f.ReadAt(buf, at)
	if err != nil && err != io.EOF {
		return nil, err
	}
	h, ok := decodeRecHeader(buf[:n], k.hdr.nonce)
	if !ok || h.head != l.check || h.kind != recMessage {
		return nil, fmt.Errorf("packed file %s, octet %d: %w", packName(k.n), at, errDamaged)
	}
	total := recHeaderSize + h.size
	m := &mail{h: &p.files, file: k, off: at + recHeaderSize + int64(h.meta), size: h.size - int64(h.meta)}
	if m.size <= memoryBody {
		if int64(n) < total {
			all := make([]byte, total)
			copy(all, buf[:n])
			if m, err := k.f.ReadAt(all[n:], at+int64(n)); int64(m) < total-int64(n) {
				if short(err) == io.ErrUnexpectedEOF {
					err = fmt.Errorf("packed file %s, octet %d: %w", packName(k.n), at, errDamaged)
				}
				return nil, err
			}
			buf = all
		}
		if sum(0, buf[recHeaderSize:total]) != h.body {
			return nil, fmt.Errorf("packed file %s, octet %d: %w", packName(k.n), at, errDamaged)
		}
		m.mem = buf[recHeaderSize+h.meta : total]
	} else if !p.files.verified(l, false) {
		s, err := sumAt(k.f, at+recHeaderSize, h.size, 0)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, err
		}
		if err != nil || s != h.body {
			return nil, fmt.Errorf("packed file %s, octet %d: %w", packName(k.n), at, errDamaged)
		}
		p.files.verified(l, true)
	}
	if h.flags&recZstd == 0 {
		return m, nil
	}
	meta := make([]byte, h.meta)
	if n, err := k.f.ReadAt(meta, at+recHeaderSize); n < len(meta) {
		return nil, short(err)
	}
	return p.unsqueeze(m, meta)
}

// Size is the number of octets.
func (m *mail) Size() int64 { return m.size }

// ReadAt reads the message.
func (m *mail) ReadAt(b []byte, off int64) (int, error) {
	if off >= m.size || off < 0 {
		return 0, io.EOF
	}
	b2 := b[:min(int64(len(b)), m.size-off)]
	var n int
	var err error
	if m.packed != nil {
		if n, err = m.packed.ReadAt(b2, off); err == io.EOF && n == len(b2) {
			err = nil
		}
	} else if m.mem != nil {
		n = copy(b2, m.mem[off:])
	} else if n, err = m.file.f.ReadAt(b2, m.off+off); err == io.EOF && n == len(b2) {
		err = nil
	}
	if err == nil && n < len(b) {
		err = io.EOF
	}
	return n, err
}

// File gives the packed file where the message's bytes lie in it as they are.
func (m *mail) File() (uintptr, int64, bool) {
	if m.packed != nil {
		return 0, 0, false
	}
	fd, ok := m.file.f.Fd()
	return fd, m.off, ok
}

// Close gives the file up.
func (m *mail) Close() error {
	m.once.Do(func() {
		if m.packed != nil {
			m.packed.Close()
		}
		m.h.release(m.file)
	})
	return nil
}
