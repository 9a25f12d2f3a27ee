// Package crlf shows stored messages in CRLF form: each LF that no CR precedes
// reads as CR LF, all else as it is (RFC 5322 §2.1 asks for CRLF; Unix
// deliveries store LF).
//
// Storage drivers use it. It must never know where the bytes lie.
package crlf

import (
	"bytes"
	"io"
	"sort"
	"sync"
)

// blockSize is the distance of marks: a read begins at most this far before
// what it wants.
const blockSize = 16 << 10

// readBlocks is how many blocks are read at once, at most.
const readBlocks = 8

var buffers = sync.Pool{New: func() any { return new([readBlocks * blockSize]byte) }}

// View is a message in CRLF form. It is safe for concurrent use.
type View struct {
	src  io.ReaderAt
	phys int64
	virt int64
	bare []int64 // bare LFs before each block
	crAt []bool  // the byte before the block is a CR
}

// Scan reads src once and gives its view. size is its length in octets.
func Scan(src io.ReaderAt, size int64) (*View, error) {
	v := &View{src: src, phys: size}
	var bare int64
	cr := false
	buf := make([]byte, min(blockSize, max(size, 1)))
	for off := int64(0); off < size; off += blockSize {
		v.bare, v.crAt = append(v.bare, bare), append(v.crAt, cr)
		p := buf[:min(blockSize, size-off)]
		if n, err := src.ReadAt(p, off); n < len(p) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		bare += Count(p, cr)
		cr = p[len(p)-1] == '\r'
	}
	v.virt = size + bare
	return v, nil
}

// Count gives the bare LFs of p. cr says that a CR came right before it.
func Count(p []byte, cr bool) int64 {
	var bare int64
	for at := 0; ; {
		i := bytes.IndexByte(p[at:], '\n')
		if i < 0 {
			return bare
		}
		i += at
		if i == 0 && !cr || i > 0 && p[i-1] != '\r' {
			bare++
		}
		at = i + 1
	}
}

// Of gives the same view of the same bytes, read from src.
func (v *View) Of(src io.ReaderAt) *View {
	w := *v
	w.src = src
	return &w
}

// Size is the length in CRLF form.
func (v *View) Size() int64 { return v.virt }

// Stored is the length as stored.
func (v *View) Stored() int64 { return v.phys }

// Plain reports whether the stored bytes are in CRLF form themselves.
func (v *View) Plain() bool { return v.virt == v.phys }

// ReadAt reads the CRLF form.
func (v *View) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, io.ErrUnexpectedEOF
	}
	if off >= v.virt {
		return 0, io.EOF
	}
	if v.Plain() {
		return v.src.ReadAt(p, off)
	}
	// The last block that begins at or before off.
	b := sort.Search(len(v.bare), func(i int) bool { return int64(i)*blockSize+v.bare[i] > off }) - 1
	done := 0
	buf := buffers.Get().(*[readBlocks * blockSize]byte)
	defer buffers.Put(buf)
	blocks := min(readBlocks, 2+len(p)/blockSize)
	for ; b < len(v.bare) && done < len(p); b += blocks {
		start := int64(b) * blockSize
		in := buf[:min(int64(blocks)*blockSize, v.phys-start)]
		if n, err := v.src.ReadAt(in, start); n < len(in) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF // the file shrank
			}
			return done, err
		}
		done += expand(p[done:], in, v.crAt[b], max(0, off-(start+v.bare[b])))
	}
	if done < len(p) {
		return done, io.EOF
	}
	return done, nil
}

// expand writes the CRLF form of in, but for its first skip octets, to dst as
// far as it fits, and gives how many octets that were.
func expand(dst, in []byte, cr bool, skip int64) int {
	n := 0
	put := func(p []byte) {
		if skip >= int64(len(p)) {
			skip -= int64(len(p))
			return
		}
		n += copy(dst[n:], p[skip:])
		skip = 0
	}
	for len(in) > 0 && n < len(dst) {
		i := bytes.IndexByte(in, '\n')
		if i < 0 {
			put(in)
			break
		}
		if i == 0 && cr || i > 0 && in[i-1] == '\r' {
			put(in[:i+1])
		} else {
			put(in[:i])
			put([]byte("\r\n"))
		}
		in, cr = in[i+1:], false
	}
	return n
}
