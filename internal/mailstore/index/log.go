package index

import (
	"encoding/binary"
	"errors"
	"io"

	"rookery/internal/crc32c"
	"rookery/internal/mailstore"
	"rookery/internal/vfs"
)

// Names and sizes of the log; see FORMAT.md.
const (
	logFile    = "rookery.index.log"
	logNew     = "rookery.index.log.new"
	logMagic   = "RKIXLOG\x02"
	logHeader  = 256 // the first record's offset
	markOff    = 128 // of mark, its complement, and the clean mark
	carryOff   = 152 // of how long it was when it was made, and the complement of that
	recHeader  = 49
	maxRecord  = 16 << 20
	maxLogSize = 1 << 32
)

// The kinds of records.
const (
	kindBox  = 1 // where the mailbox lies
	kindTx   = 2 // a transaction
	kindSnap = 3 // a snapshot holds all up to a record
	kindDrop = 4 // the mailbox was deleted
)

// logRec is a record: who, when, what.
type logRec struct {
	off    int64
	length int64
	crc    uint32
	seq    uint64
	modseq uint64
	guid   mailstore.GUID
	kind   byte
	body   []byte
	raw    []byte // all of it, if it was decoded; valid as long as what it was decoded from
}

// appendRecord puts a record behind b; prev is the checksum of the one before it
// in the file.
//
//	u32 length of all, u32 CRC-32C of what follows, u32 the CRC of the record before,
//	u64 sequence, u64 MODSEQ, 16 bytes GUID, u8 kind, u32 headSum, body
func appendRecord(b []byte, prev uint32, r *logRec) (out []byte, crc uint32) {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(recHeader+len(r.body)))
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, prev)
	b = binary.LittleEndian.AppendUint64(b, r.seq)
	b = binary.LittleEndian.AppendUint64(b, r.modseq)
	b = append(b, r.guid[:]...)
	b = append(b, r.kind)
	b = binary.LittleEndian.AppendUint32(b, headSum(b[start:]))
	b = append(b, r.body...)
	crc = crc32c.Checksum(b[start+8:])
	binary.LittleEndian.PutUint32(b[start+4:], crc)
	return b, crc
}

// headSum is a checksum of a record's head, without the CRC of all: who reads
// the log through looks at heads alone.
func headSum(b []byte) uint32 {
	return mix(uint64(binary.LittleEndian.Uint32(b))|uint64(binary.LittleEndian.Uint32(b[8:]))<<32, b[12:45])
}

// decodeRecord reads the record that b begins with. Its body is not to be believed
// before whole says so.
func decodeRecord(r *logRec, b []byte) (prev uint32, ok bool) {
	if len(b) < recHeader {
		return 0, false
	}
	n := int64(binary.LittleEndian.Uint32(b))
	if n < recHeader || n > maxRecord || n > int64(len(b)) || headSum(b) != binary.LittleEndian.Uint32(b[45:]) {
		return 0, false
	}
	r.crc = binary.LittleEndian.Uint32(b[4:])
	r.length = n
	r.seq = binary.LittleEndian.Uint64(b[12:])
	r.modseq = binary.LittleEndian.Uint64(b[20:])
	r.guid = mailstore.GUID(b[28:44])
	r.kind = b[44]
	r.body, r.raw = b[recHeader:n], b[:n]
	return binary.LittleEndian.Uint32(b[8:]), true
}

// whole reports whether the record is what was written.
func (r *logRec) whole() bool { return r.raw == nil || crc32c.Checksum(r.raw[8:]) == r.crc }

// logHead is the part of a log's header that never changes.
type logHead struct {
	lineage [16]byte // a new one whenever something was lost
	epoch   uint64   // one more with each compaction
	base    uint64   // the last sequence number given when it was made
	boot    string   // of the machine's run that wrote it; at most maxBoot bytes
	prevPos int64    // where the log before it ended, and the CRC of its last record:
	prevCRC uint32   // whoever read that to this end has missed nothing
}

const maxBoot = 40

func (h *logHead) encode() []byte {
	b := make([]byte, logHeader)
	copy(b, logMagic)
	copy(b[8:], h.lineage[:])
	binary.LittleEndian.PutUint64(b[24:], h.epoch)
	binary.LittleEndian.PutUint64(b[32:], h.base)
	b[40] = byte(len(h.boot))
	copy(b[41:41+maxBoot], h.boot)
	binary.LittleEndian.PutUint64(b[88:], uint64(h.prevPos))
	binary.LittleEndian.PutUint32(b[96:], h.prevCRC)
	binary.LittleEndian.PutUint32(b[markOff-4:], crc32c.Checksum(b[:markOff-4]))
	return b
}

func decodeLogHead(b []byte) (h logHead, crc uint32, ok bool) {
	if len(b) < logHeader || string(b[:8]) != logMagic || b[40] > maxBoot {
		return h, 0, false
	}
	crc = binary.LittleEndian.Uint32(b[markOff-4:])
	if crc32c.Checksum(b[:markOff-4]) != crc {
		return h, 0, false
	}
	copy(h.lineage[:], b[8:])
	h.epoch = binary.LittleEndian.Uint64(b[24:])
	h.base = binary.LittleEndian.Uint64(b[32:])
	h.boot = string(b[41 : 41+int(b[40])])
	h.prevPos = int64(binary.LittleEndian.Uint64(b[88:]))
	h.prevCRC = binary.LittleEndian.Uint32(b[96:])
	return h, crc, true
}

// marks are how far the log is written, and up to where it is synced, 0 if not.
func encodeMarks(mark, clean uint64) []byte {
	b := binary.LittleEndian.AppendUint64(nil, mark)
	b = binary.LittleEndian.AppendUint64(b, ^mark)
	return binary.LittleEndian.AppendUint64(b, clean)
}

func decodeMarks(b []byte) (mark int64, clean bool, ok bool) {
	m, ok := decodePair(b)
	return m, ok && binary.LittleEndian.Uint64(b[16:]) == uint64(m), ok
}

// decodePair reads an offset in the log and its complement.
func decodePair(b []byte) (off int64, ok bool) {
	m := binary.LittleEndian.Uint64(b)
	if m != ^binary.LittleEndian.Uint64(b[8:]) || m < logHeader || m > maxLogSize {
		return 0, false
	}
	return int64(m), true
}

// userLog is a log that is open.
type userLog struct {
	logHead
	f       vfs.File
	inode   uint64
	dev     uint64
	pos     int64  // read up to here
	crc     uint32 // of the last record
	clean   bool   // marked as synced
	carried int64  // its length when it was made; 0: not known
	head    []byte // the header, mapped; nil: it is not
	unmap   func() error
	other   bool // written in another run of the machine: to be replaced before the first write
}

var errLog = errors.New("the log is damaged")

// openLog opens the log at path and reads its header.
func openLog(fs vfs.FS, path string) (*userLog, error) {
	f, err := fs.OpenFile(path, vfs.Read|vfs.Write, 0)
	if err != nil {
		return nil, err
	}
	l, err := newUserLog(fs, f)
	if err != nil {
		f.Close()
	}
	return l, err
}

func newUserLog(fs vfs.FS, f vfs.File) (*userLog, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	var b [logHeader]byte
	if _, err := f.ReadAt(b[:], 0); err == io.EOF {
		return nil, errLog
	} else if err != nil {
		return nil, err
	}
	h, crc, ok := decodeLogHead(b[:])
	_, clean, marksOK := decodeMarks(b[markOff:])
	if !ok || !marksOK {
		return nil, errLog
	}
	l := &userLog{logHead: h, f: f, inode: info.Inode, dev: info.Device, pos: logHeader, crc: crc, clean: clean}
	if n, ok := decodePair(b[carryOff:]); ok {
		l.carried = n
	}
	if h.boot != bootOf(fs) {
		if !clean {
			return nil, errBoot
		}
		l.other = true
	}
	l.mapHead()
	return l, nil
}

var errBoot = errors.New("the machine was stopped before the log was synced")

func bootOf(fs vfs.FS) string {
	id := fs.BootID()
	return id[:min(len(id), maxBoot)]
}

// mark reads how far the log is written: from the mapped header where there is
// one, since who follows a log mostly finds no news.
func (l *userLog) mark() (int64, error) {
	var b [24]byte
	if l.head != nil && peek(l.head, b[:], markOff) {
		if m, clean, ok := decodeMarks(b[:]); ok {
			l.clean = clean
			return m, nil
		}
	}
	for try := 0; ; try++ {
		if _, err := l.f.ReadAt(b[:], markOff); err == io.EOF {
			return 0, errLog
		} else if err != nil {
			return 0, err
		}
		m, clean, ok := decodeMarks(b[:])
		if ok {
			l.clean = clean
			return m, nil
		}
		if try == 3 { // a writer was at it, but not three times
			return 0, errLog
		}
	}
}

// mapHead maps the header, if the file can be mapped: a copy would not change.
func (l *userLog) mapHead() {
	if m, ok := l.f.(vfs.Mapper); ok {
		if head, unmap, err := m.Map(logHeader); err == nil {
			l.head, l.unmap = head, unmap
		}
	}
}

// close gives the file up.
func (l *userLog) close() error {
	if l.unmap != nil {
		l.unmap()
		l.head, l.unmap = nil, nil
	}
	return l.f.Close()
}

// Octets of the log that are read at a time: by who reads it through, and by who
// looks up one mailbox's records.
const (
	readChunk = 256 << 10
	findChunk = 32 << 10
)

// readOn passes on all records between what was read and the mark; each is valid
// only during its call.
func (l *userLog) readOn(each func(*logRec) error) error {
	mark, err := l.mark()
	if err != nil || mark == l.pos {
		return err
	}
	if mark < l.pos {
		return errLog
	}
	var buf []byte
	want := int64(0) // octets of the record that begins at pos, where that is known
	for l.pos < mark {
		n := min(mark-l.pos, max(readChunk, want))
		if int64(cap(buf)) < n {
			buf = make([]byte, n)
		}
		buf = buf[:n]
		if _, err := l.f.ReadAt(buf, l.pos); err == io.EOF {
			return errLog
		} else if err != nil {
			return err
		}
		used, err := l.parse(buf, each)
		if err != nil {
			return err
		}
		if want = 0; used == 0 {
			if n == mark-l.pos || n >= int64(binary.LittleEndian.Uint32(buf)) {
				return errLog
			}
			want = int64(binary.LittleEndian.Uint32(buf))
		}
	}
	return nil
}

// parse passes on the whole records in p and gives their length.
func (l *userLog) parse(p []byte, each func(*logRec) error) (used int, err error) {
	var r logRec
	for len(p) >= recHeader {
		prev, ok := decodeRecord(&r, p)
		if !ok {
			if n := binary.LittleEndian.Uint32(p); n >= recHeader && n <= maxRecord && int(n) > len(p) {
				return used, nil // cut by the buffer, or damaged: the caller knows
			}
			return used, errLog
		}
		if prev != l.crc {
			return used, errLog
		}
		r.off = l.pos
		if err := each(&r); err != nil {
			return used, err
		}
		l.pos, l.crc = l.pos+r.length, r.crc
		p = p[r.length:]
		used += int(r.length)
	}
	return used, nil
}

// finder reads single records again, near ones with one look.
type finder struct {
	l   *userLog
	off int64 // of buf
	buf []byte
}

// at gives one record; it is valid until the next call.
func (k *finder) at(r *logRec, off, length int64) error {
	if off < k.off || off+length > k.off+int64(len(k.buf)) {
		n := min(max(findChunk, length), k.l.pos-off)
		if n < length {
			return errLog
		}
		if int64(cap(k.buf)) < n {
			k.buf = make([]byte, n)
		}
		k.buf, k.off = k.buf[:n], off
		if _, err := k.l.f.ReadAt(k.buf, off); err != nil {
			k.buf = nil
			if err == io.EOF {
				err = errLog
			}
			return err
		}
	}
	p := k.buf[off-k.off:]
	if _, ok := decodeRecord(r, p[:length]); !ok || r.length != length || !r.whole() {
		return errLog
	}
	r.off = off
	return nil
}

// write appends ready records behind what was read, and then moves the mark: no
// reader looks beyond it, so that a write that stops half-way is nothing.
func (l *userLog) write(b []byte, crc uint32) error {
	if l.clean {
		// What follows would not be in what was synced: say so before, for certain.
		if _, err := l.f.WriteAt(make([]byte, 8), markOff+16); err != nil {
			return err
		}
		if err := l.f.DataSync(); err != nil {
			return err
		}
		l.clean = false
	}
	if _, err := l.f.WriteAt(b, l.pos); err != nil {
		return err
	}
	mark := l.pos + int64(len(b))
	if _, err := l.f.WriteAt(encodeMarks(uint64(mark), 0), markOff); err != nil {
		return err
	}
	l.pos, l.crc = mark, crc
	return nil
}
