package mbox

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"

	"rookery/internal/crc32c"
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/vfs"
)

// The redo journal, file rookery-mbox-redo of the control directory: 1 MiB, made
// and filled with zeroes once, so that an expunge needs no room on a full disk.
//
//	0       head A, 4 KiB      4096    head B, 4 KiB
//	8192    data A, 480 KiB    499712  data B, 480 KiB
//
// Steps are written in turn to A and B: first data, then head, then one
// fdatasync, before the mbox is touched. The step that counts is the one with
// the higher number whose checksums are right. A head, little endian:
//
//	0   magic "rkmbxr01"        8   number of the step (1…)
//	16  state                   24  inode of the mbox
//	32  data belongs at         40  length of data, CRC-32C of data
//	48  gap begins at           56  gap ends at
//	64  before: offset          72  before: length
//	80  after: offset           88  after: length
//	96  marker, 32 octets       128 length of the name (2 octets), the mailbox's name
//	then the octets of before and after, then CRC-32C of all before it
//
// before and after are octets of the mbox beside what the step changes: where
// they are not there any more another program has rewritten the file, and nothing is redone.
// A quarter of them may differ: flags that changed in place are not synced with a step.
const (
	redoSize  = 1 << 20
	headSize  = 4 << 10
	chunkMax  = 480 << 10
	dataAt    = 2 * headSize
	markerLen = 32
	checkLen  = 512
	redoFile  = "rookery-mbox-redo"
	redoMagic = "rkmbxr01"
	maxName   = headSize - 2*checkLen - 256
)

// state says what a step was about.
type state uint8

const (
	idle   state = iota // nothing is to be done
	extend              // the gap is being made at the file's end, of zeroes
	gap                 // data goes to its place; then the gap is closed
	cut                 // the gap, marked, reaches to the file's end, which is about to be cut off
	add                 // data is being written at the file's end: drop it
	fill                // the same for much data: the gap is its place
)

func sum(p []byte) uint32 { return crc32c.Checksum(p) }

// check names octets that must be as they were.
type check struct {
	off int64
	was []byte
}

// step is what a head says.
type step struct {
	number        uint64
	state         state
	inode         uint64
	dst           int64
	data          []byte
	from, to      int64 // the gap
	before, after check
	marker        [markerLen]byte
	name          mailstore.Name
}

func (s *step) encode() []byte {
	b := make([]byte, 128, headSize)
	copy(b, redoMagic)
	le := binary.LittleEndian
	le.PutUint64(b[8:], s.number)
	b[16] = byte(s.state)
	le.PutUint64(b[24:], s.inode)
	le.PutUint64(b[32:], uint64(s.dst))
	le.PutUint32(b[40:], uint32(len(s.data)))
	le.PutUint32(b[44:], sum(s.data))
	le.PutUint64(b[48:], uint64(s.from))
	le.PutUint64(b[56:], uint64(s.to))
	for i, c := range [...]check{s.before, s.after} {
		p := b[64+16*i:]
		le.PutUint64(p, uint64(c.off))
		le.PutUint32(p[8:], uint32(len(c.was)))
	}
	copy(b[96:], s.marker[:])
	b = le.AppendUint16(b, uint16(len(s.name)))
	b = append(append(append(b, s.name...), s.before.was...), s.after.was...)
	return le.AppendUint32(b, sum(b))
}

// decodeStep reads a head; ok is false for anything that encode would not write.
// The data is not there yet: its length and checksum are given.
func decodeStep(b []byte) (s step, n, crc uint32, ok bool) {
	le := binary.LittleEndian
	if len(b) < 134 || string(b[:8]) != redoMagic {
		return s, 0, 0, false
	}
	name := 130 + int(le.Uint16(b[128:]))
	n1, n2 := le.Uint32(b[72:]), le.Uint32(b[88:])
	if n1 > checkLen || n2 > checkLen {
		return s, 0, 0, false
	}
	end := name + int(n1+n2)
	if end+4 > len(b) || le.Uint32(b[end:]) != sum(b[:end]) {
		return s, 0, 0, false
	}
	s = step{number: le.Uint64(b[8:]), state: state(b[16]), inode: le.Uint64(b[24:]), dst: int64(le.Uint64(b[32:])),
		from: int64(le.Uint64(b[48:])), to: int64(le.Uint64(b[56:])), name: string(b[130:name])}
	s.before = check{int64(le.Uint64(b[64:])), b[name : name+int(n1)]}
	s.after = check{int64(le.Uint64(b[80:])), b[name+int(n1) : end]}
	if s.before.off < 0 || s.after.off < 0 {
		return s, 0, 0, false
	}
	copy(s.marker[:], b[96:])
	n, crc = le.Uint32(b[40:]), le.Uint32(b[44:])
	return s, n, crc, s.state <= fill && n <= chunkMax && s.dst >= 0 && s.from >= 0 && s.to >= s.from
}

// redo is the journal, used under the user's lock.
type redo struct {
	fs   vfs.FS
	path string
	sync bool  // false: mail_fsync = "never"
	size int64 // of the file; 0: redoSize. Tests make it small
	file vfs.File
	last uint64 // number of the newest step
}

func (r *redo) length() int64 {
	if r.size == 0 {
		return redoSize
	}
	return r.size
}

// chunk is how much data a step can have.
func (r *redo) chunk() int { return int(min((r.length()-dataAt)/2, chunkMax)) }

// open opens the journal, and makes it if it is not there.
func (r *redo) open() error {
	if r.file != nil {
		return nil
	}
	f, err := r.fs.OpenFile(r.path, vfs.Read|vfs.Write, 0)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = r.make()
	}
	if err != nil {
		return err
	}
	if info, err := f.Stat(); err != nil || info.Size < r.length() {
		if err == nil { // the making was cut short: it never held a step
			err = r.zero(f)
		}
		if err != nil {
			f.Close()
			return err
		}
	}
	r.file = f
	return nil
}

// make makes the journal. Its first step's sync keeps its bytes and its name, since
// the file is new: until then nothing of it matters.
func (r *redo) make() (vfs.File, error) {
	f, err := r.fs.OpenFile(r.path, vfs.Read|vfs.Write|vfs.Create, 0o600)
	if err != nil {
		return nil, err
	}
	if err = r.zero(f); err != nil {
		f.Close()
		_ = r.fs.Remove(r.path)
		return nil, err
	}
	return f, nil
}

// zero reserves the blocks and fills them: overwriting needs no commit of the file system.
func (r *redo) zero(f vfs.File) error {
	if err := f.Allocate(r.length()); err != nil {
		return err
	}
	_, err := f.WriteAt(make([]byte, r.length()), 0)
	return err
}

func (r *redo) close() {
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
}

// write makes a step the newest one, durable.
func (r *redo) write(s *step) error {
	if len(s.data) > r.chunk() || len(s.name) > maxName {
		return errkind.Newf("mbox redo", errkind.Other, "the step is too large")
	}
	s.number = r.last + 1
	turn := int64(s.number & 1)
	if len(s.data) > 0 {
		if _, err := r.file.WriteAt(s.data, dataAt+turn*int64(r.chunk())); err != nil {
			return err
		}
	}
	if _, err := r.file.WriteAt(s.encode(), turn*headSize); err != nil {
		return err
	}
	r.last = s.number
	if !r.sync {
		return nil
	}
	err := r.file.DataSync()
	if err != nil { // what a failed sync leaves is unknown: only a new descriptor tells
		r.close()
	}
	return err
}

// heads reads both heads and gives the newest that can count; without data.
func (r *redo) heads() (list []step, lens, crcs []uint32, err error) {
	for turn := range int64(2) {
		b := make([]byte, headSize)
		if n, err := r.file.ReadAt(b, turn*headSize); err != nil && !errors.Is(err, io.EOF) {
			return nil, nil, nil, err
		} else if s, n, crc, ok := decodeStep(b[:n]); ok && int64(s.number&1) == turn {
			list, lens, crcs = append(list, s), append(lens, n), append(crcs, crc)
		}
	}
	if len(list) == 2 && list[0].number < list[1].number {
		list[0], list[1], lens[0], lens[1], crcs[0], crcs[1] = list[1], list[0], lens[1], lens[0], crcs[1], crcs[0]
	}
	return list, lens, crcs, nil
}

// pending gives the step that a crash left; nil if there is none.
func (r *redo) pending() (*step, error) {
	if r.file == nil {
		if _, err := r.fs.Stat(r.path); errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
	}
	if err := r.open(); err != nil {
		return nil, err
	}
	list, lens, crcs, err := r.heads()
	if err != nil {
		return nil, err
	}
	for i := range list {
		r.last = max(r.last, list[i].number)
	}
	for i := range list {
		s := &list[i]
		if lens[i] > 0 {
			s.data = make([]byte, lens[i])
			if _, err := r.file.ReadAt(s.data, dataAt+int64(s.number&1)*int64(r.chunk())); err != nil && !errors.Is(err, io.EOF) {
				return nil, err
			}
			if sum(s.data) != crcs[i] {
				continue // it was not on the disk yet: the one before counts
			}
		}
		if s.state != idle {
			return s, nil
		}
		if i > 0 { // readers look at the newest head only
			return nil, r.done()
		}
		return nil, nil
	}
	if len(list) > 0 {
		return nil, r.done()
	}
	return nil, nil
}

// busy reports whether a step for a mailbox is under way or was left by a
// crash. Readers without the user's lock ask it, with a file of their own: the
// other is the writer's.
func (r *redo) busy(name mailstore.Name) (bool, error) {
	f, err := r.fs.OpenFile(r.path, vfs.Read, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	list, _, _, err := (&redo{file: f}).heads()
	return len(list) > 0 && list[0].state != idle && list[0].name == name, err
}

// done says that nothing is to be redone. It is tried twice: the change itself
// is made already.
func (r *redo) done() error {
	err := r.write(&step{state: idle})
	if err != nil && r.open() == nil {
		err = r.write(&step{state: idle})
	}
	return err
}

func newMarker() (m [markerLen]byte) {
	_, _ = rand.Read(m[:]) // it never fails
	return m
}
