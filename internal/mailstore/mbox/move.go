package mbox

import (
	"bytes"
	"io"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/vfs"
)

// splice replaces [from, to) of the mbox by lit.
type splice struct {
	from, to int64
	lit      []byte
}

// mover changes an open, locked mbox so that a crash at any moment can be
// mended: at every time the file is right but for one gap, which the journal
// names.
type mover struct {
	r     *redo
	f     vfs.File
	name  mailstore.Name
	inode uint64
	chunk int // octets that one step moves
	buf   []byte
}

func (r *redo) mover(f vfs.File, name mailstore.Name) (*mover, error) {
	info, err := f.Stat()
	if err == nil {
		err = r.open()
	}
	return &mover{r: r, f: f, name: name, inode: info.Inode, chunk: r.chunk()}, err
}

func (m *mover) size() (int64, error) {
	info, err := m.f.Stat()
	return info.Size, err
}

func (m *mover) sync() error {
	if !m.r.sync {
		return nil
	}
	return m.f.DataSync()
}

// check notes up to checkLen octets of [from, to): the last ones, or the first.
func (m *mover) check(from, to int64, last bool) (check, error) {
	if from = max(from, 0); to-from > checkLen {
		if last {
			from = to - checkLen
		} else {
			to = from + checkLen
		}
	}
	if to <= from {
		return check{}, nil
	}
	b := make([]byte, to-from)
	err := readFull(m.f, b, from)
	return check{from, b}, err
}

// holds reports whether a check still is true.
func (m *mover) holds(c check) (bool, error) {
	b := make([]byte, len(c.was))
	if err := readFull(m.f, b, c.off); err == io.ErrUnexpectedEOF {
		return false, nil
	} else if err != nil {
		return false, err
	}
	other := 0
	for i := range b {
		if b[i] != c.was[i] {
			other++
		}
	}
	return 4*other <= len(b), nil
}

func readFull(f io.ReaderAt, b []byte, off int64) error {
	if n, err := f.ReadAt(b, off); n < len(b) {
		if err == nil || err == io.EOF {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	return nil
}

// do runs one step: journal, mbox, both durable.
func (m *mover) do(s *step) error {
	s.inode, s.name = m.inode, m.name
	size, err := m.size()
	if err != nil {
		return err
	}
	low, high := s.from, s.to
	if len(s.data) > 0 {
		low, high = min(low, s.dst), max(high, s.dst+int64(len(s.data)))
	}
	if s.before, err = m.check(0, low, true); err != nil {
		return err
	}
	if s.after, err = m.check(min(high, size), size, false); err != nil {
		return err
	}
	if err := m.r.write(s); err != nil || len(s.data) == 0 {
		return err
	}
	if _, err := m.f.WriteAt(s.data, s.dst); err != nil {
		return err
	}
	return m.sync()
}

// apply does all splices, ascending and apart from each other. They must make
// everything behind them move one way: never left in a growing file, never right in a
// shrinking one.
func (m *mover) apply(list []splice) error {
	var delta int64
	grow, shrink := true, true
	for _, s := range list {
		delta += int64(len(s.lit)) - (s.to - s.from)
		grow, shrink = grow && delta >= 0, shrink && delta <= 0
	}
	switch {
	case len(list) == 0:
		return nil
	case shrink:
		return m.mended(m.shrink(list))
	case grow:
		return m.mended(m.grow(list, delta))
	}
	return errkind.Newf("rewrite mbox", errkind.Other, "the parts move both ways")
}

// mended closes the gap that a failed change left. What went wrong is told in
// any case; a gap that cannot be closed now is closed by whoever comes next.
func (m *mover) mended(err error) error {
	if err != nil {
		if s, perr := m.r.pending(); perr == nil && s != nil {
			_, _ = m.recover(s)
		}
		return err
	}
	return m.r.done()
}

// shrink works from the front to the back. p is where the next octet goes, q
// where it comes from; between them lies the gap.
func (m *mover) shrink(list []splice) error {
	p := list[0].from
	q := p
	m.buf = m.buf[:0]
	flush := func() error {
		if len(m.buf) == 0 {
			return nil
		}
		n := int64(len(m.buf))
		err := m.do(&step{state: gap, dst: p, data: m.buf, from: p + n, to: max(q, p+n)})
		p, m.buf = p+n, m.buf[:0]
		return err
	}
	for _, s := range list {
		if err := m.carry(&q, s.from, flush); err != nil {
			return err
		}
		if len(m.buf)+len(s.lit) > m.chunk {
			if err := flush(); err != nil {
				return err
			}
		}
		m.buf, q = append(m.buf, s.lit...), s.to
	}
	size, err := m.size()
	if err == nil {
		err = m.carry(&q, size, flush)
	}
	if err == nil {
		err = flush()
	}
	if err != nil {
		return err
	}
	return m.cut(p)
}

// carry takes [*q, to) into the buffer, and flushes it whenever it is full.
func (m *mover) carry(q *int64, to int64, flush func() error) error {
	for *q < to {
		n := int(min(to-*q, int64(max(m.chunk-len(m.buf), 0))))
		if n == 0 {
			if err := flush(); err != nil {
				return err
			}
			continue
		}
		at := len(m.buf)
		m.buf = append(m.buf, make([]byte, n)...)
		if err := readFull(m.f, m.buf[at:], *q); err != nil {
			return err
		}
		*q += int64(n)
	}
	return nil
}

// closeGap moves everything behind [p, q) to p.
func (m *mover) closeGap(p, q int64) error {
	if p == q {
		return nil
	}
	return m.shrink([]splice{{from: p, to: q}})
}

// cut ends the file at p. A program that appends after a crash does so at the
// old end or at the new one: the marker tells which. Zeroes behind it tell even where a
// file system has cut off a part only.
func (m *mover) cut(p int64) error {
	size, err := m.size()
	if err != nil || size <= p {
		return err
	}
	marker := newMarker()
	fill := make([]byte, min(size-p, int64(m.chunk)))
	copy(fill, marker[:])
	if err := m.do(&step{state: gap, dst: p, data: fill, from: p, to: size}); err != nil {
		return err
	}
	if err := m.zeroTo(p+int64(len(fill)), size); err != nil {
		return err
	}
	if err := m.do(&step{state: cut, from: p, to: size, marker: marker}); err != nil {
		return err
	}
	if err := m.f.Truncate(p); err != nil {
		return err
	}
	return m.sync()
}

// zeroTo fills a part of the gap, which needs no journal.
func (m *mover) zeroTo(from, to int64) error {
	if from >= to {
		return nil
	}
	z := make([]byte, min(to-from, chunkMax))
	for ; from < to; from += int64(len(z)) {
		if _, err := m.f.WriteAt(z[:min(int64(len(z)), to-from)], from); err != nil {
			return err
		}
	}
	return m.sync()
}

// grow works from the back to the front: first the gap is made at the end, then
// it wanders forward and shrinks by every literal.
func (m *mover) grow(list []splice, delta int64) error {
	size, err := m.size()
	if err != nil {
		return err
	}
	if err := m.extend(size, delta); err != nil {
		return err
	}
	src, dst := size, size+delta // everything from src on is at dst already
	var parts [][]byte           // of the chunk being made, last first
	have := 0
	flush := func() error {
		if have == 0 {
			return nil
		}
		m.buf = m.buf[:0]
		for i := len(parts) - 1; i >= 0; i-- {
			m.buf = append(m.buf, parts[i]...)
		}
		parts, have = nil, 0
		return m.do(&step{state: gap, dst: dst, data: m.buf, from: min(src, dst), to: dst})
	}
	take := func(b []byte, from int64) {
		parts, have = append(parts, b), have+len(b)
		src, dst = from, dst-int64(len(b))
	}
	for i := len(list) - 1; i >= 0; i-- {
		for s := list[i]; src > s.to; {
			n := min(src-s.to, int64(max(m.chunk-have, 0)))
			if n == 0 {
				if err := flush(); err != nil {
					return err
				}
				continue
			}
			b := make([]byte, n)
			if err := readFull(m.f, b, src-n); err != nil {
				return err
			}
			take(b, src-n)
		}
		if have+len(list[i].lit) > m.chunk {
			if err := flush(); err != nil {
				return err
			}
		}
		take(list[i].lit, list[i].from)
	}
	return flush()
}

// extend makes a gap of n octets at the file's end, durable.
func (m *mover) extend(size, n int64) error {
	if err := m.do(&step{state: extend, from: size, to: size + n}); err != nil {
		return err
	}
	if err := m.f.Allocate(size + n); err != nil {
		return err
	}
	return m.sync()
}

// append writes all of src, n octets, at the file's end: all or nothing, durable.
func (m *mover) append(src io.Reader, n int64) error {
	size, err := m.size()
	if err != nil {
		return err
	}
	return m.mended(m.appendAt(src, n, size))
}

func (m *mover) appendAt(src io.Reader, n, size int64) error {
	if n <= int64(m.chunk) {
		m.buf = append(m.buf[:0], make([]byte, n)...)
		if _, err := io.ReadFull(src, m.buf); err != nil {
			return err
		}
		return m.do(&step{state: add, dst: size, data: m.buf, from: size, to: size + n})
	}
	if err := m.extend(size, n); err != nil {
		return err
	}
	if err := m.do(&step{state: fill, from: size, to: size + n}); err != nil {
		return err
	}
	m.buf = append(m.buf[:0], make([]byte, 128<<10)...)
	for at := size; at < size+n; {
		b := m.buf[:min(int64(len(m.buf)), size+n-at)]
		if _, err := io.ReadFull(src, b); err != nil {
			return err
		}
		if _, err := m.f.WriteAt(b, at); err != nil {
			return err
		}
		at += int64(len(b))
	}
	return m.sync()
}

// sector is what a disk writes whole.
const sector = 512

// overwrite changes octets in place: at once where a disk writes them whole,
// through the journal where a power cut could leave half of them. synced says
// that they are durable.
func (m *mover) overwrite(off int64, data []byte) (synced bool, err error) {
	old := make([]byte, len(data))
	if err := readFull(m.f, old, off); err != nil {
		return false, err
	}
	a, b := 0, len(data)
	for a < b && old[a] == data[a] {
		a++
	}
	for b > a && old[b-1] == data[b-1] {
		b--
	}
	if a == b {
		return false, nil
	}
	off, data = off+int64(a), data[a:b]
	if off/sector == (off+int64(len(data))-1)/sector {
		_, err = m.f.WriteAt(data, off)
		return false, err
	}
	if err := m.r.open(); err != nil {
		return false, err
	}
	end := off + int64(len(data))
	return true, m.mended(m.do(&step{state: gap, dst: off, data: bytes.Clone(data), from: end, to: end}))
}
