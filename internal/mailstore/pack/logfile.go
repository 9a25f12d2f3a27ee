package pack

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"

	"rookery/internal/vfs"
)

// logFile is a file of records, open: the journal, or the packed file that is
// written now. pos is the end of the last record that was read or written;
// everything before it never changes.
type logFile struct {
	f      vfs.File
	path   string
	hdr    fileHeader
	inode  uint64
	pos    int64
	last   int64  // offset of the last record, 0 if none
	head   uint32 // its head: what the next record's chain must be
	synced int64  // up to where all is surely on disk
	room   int64  // up to where blocks are there, filled with zeroes
	fresh  bool   // nothing was written since the last sync, as far as is known
	peek   []byte
	broken error // a sync failed, or what failed could not be taken back: nothing more is written here
}

// rec is a record that was read.
type rec struct {
	recHeader
	off     int64
	payload []byte // all of it, or of messages only the meta
	nonce   uint32
}

// newNonce draws a file's nonce.
func newNonce() uint32 { return rand.Uint32() | 1 }

// openLog opens a file and reads its header. ok is false if it has none: a
// creation that a crash cut.
func openLog(fsys vfs.FS, path string) (l *logFile, ok bool, err error) {
	f, err := fsys.OpenFile(path, vfs.Read|vfs.Write, 0)
	if err != nil {
		return nil, false, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, false, err
	}
	buf := make([]byte, fileHeaderSize)
	if _, err := f.ReadAt(buf, 0); err != nil && err != io.EOF {
		f.Close()
		return nil, false, err
	}
	h, ok := decodeFileHeader(buf)
	if !ok {
		f.Close()
		return nil, false, nil
	}
	return &logFile{f: f, path: path, hdr: h, inode: info.Inode, pos: fileHeaderSize, head: h.nonce, room: info.Size, fresh: true}, true, nil
}

// createLog makes a file under a temporary name with a header and records,
// certain, and puts it in place.
func createLog(fsys vfs.FS, path string, hdr fileHeader, first []outRec, step int64) (*logFile, error) {
	tmp := path + ".tmp"
	f, err := fsys.OpenFile(tmp, vfs.Read|vfs.Write|vfs.Create|vfs.Trunc, 0o600)
	if err != nil {
		return nil, err
	}
	l := &logFile{f: f, path: path, hdr: hdr, pos: fileHeaderSize, head: hdr.nonce}
	fail := func(err error) (*logFile, error) {
		f.Close()
		fsys.Remove(tmp)
		return nil, err
	}
	if _, err := f.WriteAt(hdr.encode(), 0); err != nil {
		return fail(err)
	}
	l.room = fileHeaderSize
	l.reserve(fileHeaderSize, step)
	if len(first) > 0 {
		if err := l.write(first, step); err != nil {
			return fail(err)
		}
	}
	if err := f.Sync(); err != nil {
		return fail(err)
	}
	l.synced, l.fresh = l.pos, true
	if err := fsys.Rename(tmp, path); err != nil {
		return fail(err)
	}
	if err := f.Sync(); err != nil { // the name is certain after it
		f.Close()
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	l.inode = info.Inode
	return l, nil
}

// reserve fills blocks with zeroes beyond end, so that later writes change no
// length and no allocation: all syncs but the next then need no commit of the file
// system's journal. What cannot be had is done without.
func (l *logFile) reserve(end, step int64) {
	if end <= l.room-recHeaderSize {
		return
	}
	to := alignUp(end+min(max(end, step/16), step), 4096)
	zero := make([]byte, min(256<<10, to))
	at := l.room
	for at < to {
		n, err := l.f.WriteAt(zero[:min(int64(len(zero)), to-at)], at)
		at += int64(n)
		if err != nil {
			break
		}
	}
	l.room = max(l.room, at)
}

// outRec is a record to be written.
type outRec struct {
	kind  recKind
	flags recFlags
	seq   uint64
	more  uint32
	meta  []byte
	body  io.ReaderAt // nil: none
	size  int64       // of the body
	at    *loc        // told where it went
}

// write puts records behind the last, in one write where they are small. It does
// not sync. After an error nothing of them can be read, or l is broken.
func (l *logFile) write(recs []outRec, step int64) error {
	if l.broken != nil {
		return l.broken
	}
	start := l.pos
	if l.fresh && !l.stale(start) { // a torn write must not hit what was synced before
		start = alignUp(start, batchAlign)
	}
	total := start
	for _, r := range recs {
		total += alignUp(recHeaderSize+int64(len(r.meta))+r.size, recAlign)
	}
	if total-start <= step/4 {
		l.reserve(total, step)
	}
	w := logWriter{l: l, at: start, off: start, head: l.head}
	for i := range recs {
		if err := w.record(&recs[i]); err != nil {
			l.takeBack(start)
			return err
		}
	}
	if err := w.flush(); err != nil {
		l.takeBack(start)
		return err
	}
	l.pos, l.last, l.head, l.room, l.fresh = w.off, w.last, w.head, max(l.room, w.off), false
	return nil
}

// stale reports whether something that never counted stands right behind the
// last record: half a group of a process that was killed. It has to be
// overwritten, or readers would stop at it.
func (l *logFile) stale(at int64) bool {
	var b [4]byte
	n, _ := l.f.ReadAt(b[:], alignUp(at, recAlign))
	return n == len(b) && le32(b[:]) == recMagic
}

// takeBack makes what was written from start on unreadable.
func (l *logFile) takeBack(start int64) {
	if _, err := l.f.WriteAt(make([]byte, recHeaderSize), start); err != nil {
		l.broken = errors.Join(errors.New("a write failed and could not be taken back"), err)
	}
}

// logWriter lays records out in a buffer.
type logWriter struct {
	l    *logFile
	buf  []byte
	at   int64 // of buf in the file
	off  int64 // end of what was laid out
	last int64
	head uint32
}

const writeChunk = 1 << 20

func (w *logWriter) record(r *outRec) error {
	body, err := bodySum(r)
	if err != nil {
		return err
	}
	h := recHeader{kind: r.kind, flags: r.flags, more: r.more, size: int64(len(r.meta)) + r.size, seq: r.seq, synced: w.l.synced, chain: w.head, body: body}
	if r.body != nil {
		h.meta = len(r.meta)
	}
	begin := len(w.buf)
	w.buf = h.encode(w.buf, w.l.hdr.nonce)
	w.head = le32(w.buf[begin+48:])
	w.last = w.off
	if r.at != nil {
		*r.at = loc{file: uint32(w.l.hdr.number), check: w.head, off: w.off}
	}
	w.buf = append(w.buf, r.meta...)
	if err := w.body(r); err != nil {
		return err
	}
	w.off += h.span()
	for n := w.off - w.at - int64(len(w.buf)); n > 0; n-- {
		w.buf = append(w.buf, 0)
	}
	return nil
}

func (w *logWriter) body(r *outRec) error {
	if b, ok := r.body.(interface{ Bytes() []byte }); ok && r.size <= writeChunk {
		w.buf = append(w.buf, b.Bytes()[:r.size]...)
		return nil
	}
	for off := int64(0); off < r.size; {
		if len(w.buf) >= writeChunk {
			if err := w.flush(); err != nil {
				return err
			}
		}
		n := int(min(r.size-off, writeChunk))
		at := len(w.buf)
		w.buf = append(w.buf, make([]byte, n)...)
		if m, err := r.body.ReadAt(w.buf[at:], off); m < n {
			return short(err)
		}
		off += int64(n)
	}
	return nil
}

func (w *logWriter) flush() error {
	n, err := w.l.f.WriteAt(w.buf, w.at)
	if err == nil && n < len(w.buf) {
		err = io.ErrShortWrite
	}
	w.at += int64(len(w.buf))
	w.buf = w.buf[:0]
	return err
}

// bodySum is the sum of a record's payload.
func bodySum(r *outRec) (uint32, error) {
	s := sum(0, r.meta)
	if b, ok := r.body.(interface{ Bytes() []byte }); ok {
		return sum(s, b.Bytes()[:r.size]), nil
	}
	if r.body == nil {
		return s, nil
	}
	return sumAt(r.body, 0, r.size, s)
}

// sumAt adds a range of a file to a sum.
func sumAt(r io.ReaderAt, off, size int64, s uint32) (uint32, error) {
	buf := make([]byte, min(size, 256<<10))
	for size > 0 {
		p := buf[:min(size, int64(len(buf)))]
		if n, err := r.ReadAt(p, off); n < len(p) {
			return 0, short(err)
		}
		s = sum(s, p)
		off, size = off+int64(len(p)), size-int64(len(p))
	}
	return s, nil
}

func short(err error) error {
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func le32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

// verify reports whether the last record known is still the one in the file: a
// write of another process that was seen in flight may have been taken back.
func (l *logFile) verify() (bool, error) {
	if l.last == 0 {
		return true, nil
	}
	var b [recHeaderSize]byte
	if n, err := l.f.ReadAt(b[:], l.last); n < len(b) {
		if err == io.EOF || err == nil {
			return false, nil
		}
		return false, err
	}
	h, ok := decodeRecHeader(b[:], l.hdr.nonce)
	return ok && h.head == l.head, nil
}

// logReader reads records in order.
type logReader struct {
	f    io.ReaderAt
	buf  []byte
	at   int64 // of buf
	size int64 // how much one read takes
}

// get gives n bytes at off; fewer at the end of the file.
func (r *logReader) get(off int64, n int) ([]byte, error) {
	if off < r.at || off+int64(n) > r.at+int64(len(r.buf)) {
		want := max(int64(n), r.size)
		if int64(cap(r.buf)) < want {
			r.buf = make([]byte, want)
		}
		r.buf = r.buf[:want]
		m, err := r.f.ReadAt(r.buf, off)
		if err != nil && err != io.EOF {
			r.buf = r.buf[:0]
			return nil, err
		}
		r.at, r.buf = off, r.buf[:m]
		if r.size < 256<<10 {
			r.size *= 4
		}
	}
	p := r.buf[off-r.at:]
	return p[:min(n, len(p))], nil
}

// header gives the record that begins at off.
func (r *logReader) header(off int64, nonce uint32) (recHeader, bool, error) {
	p, err := r.get(off, recHeaderSize)
	if err != nil {
		return recHeader{}, false, err
	}
	h, ok := decodeRecHeader(p, nonce)
	return h, ok, nil
}

// next gives the record that follows a position: there, or in the next block.
func (r *logReader) next(off int64, nonce, chain uint32) (recHeader, int64, bool, error) {
	for _, at := range [2]int64{alignUp(off, recAlign), alignUp(off, batchAlign)} {
		h, ok, err := r.header(at, nonce)
		if err != nil {
			return h, 0, false, err
		}
		if ok && h.chain == chain {
			return h, at, true, nil
		}
	}
	return recHeader{}, 0, false, nil
}

// advance reads the records behind pos that belong to whole changes, and moves
// pos behind them. Payloads are read whole, or, of messages, their meta. With
// deep it looks for records behind a damaged place, and tells of it.
func (l *logFile) advance(deep bool, damaged func(from, to int64)) ([]rec, error) {
	if !deep && l.idle() {
		return nil, nil
	}
	r := &logReader{f: l.f, size: 2048}
	out, err := l.run(r)
	if err != nil || !deep {
		return out, err
	}
	for {
		at, chain, ok, err := l.resume(r)
		if err != nil || !ok {
			return out, err
		}
		damaged(l.pos, at)
		l.pos, l.head = at, chain
		more, err := l.run(r)
		if err != nil || len(more) == 0 {
			return out, err
		}
		out = append(out, more...)
	}
}

// idle reports whether nothing stands behind the last record, with one read into
// a buffer that is used again: what a look at the disk mostly finds.
func (l *logFile) idle() bool {
	if l.peek == nil {
		l.peek = make([]byte, batchAlign+2*recAlign)
	}
	n, err := l.f.ReadAt(l.peek, l.pos)
	if err != nil && err != io.EOF {
		return false
	}
	for _, at := range [2]int64{alignUp(l.pos, recAlign) - l.pos, alignUp(l.pos, batchAlign) - l.pos} {
		if int64(n) >= at+4 && le32(l.peek[at:]) == recMagic {
			return false
		}
	}
	return true
}

// run reads on while records follow each other.
func (l *logFile) run(r *logReader) ([]rec, error) {
	var got []rec
	pos, head, synced := l.pos, l.head, l.synced
	for {
		h, at, ok, err := r.next(pos, l.hdr.nonce, head)
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		if n := len(got); n > 0 && got[n-1].more > 0 && h.more != got[n-1].more-1 {
			break
		}
		x := rec{recHeader: h, off: at, nonce: l.hdr.nonce}
		n := h.size
		if h.kind == recMessage {
			n = int64(h.meta)
		}
		if n > maxEvent {
			break
		}
		p, err := r.get(at+recHeaderSize, int(n))
		if err != nil {
			return nil, err
		}
		if int64(len(p)) < n || h.kind != recMessage && sum(0, p) != h.body {
			break
		}
		x.payload = bytes.Clone(p)
		got = append(got, x)
		pos, head, synced = at+h.span(), h.head, max(synced, h.synced)
	}
	return l.take(r, got, synced)
}

// take believes what was synced before something else was written behind it, and
// of the rest what is whole.
func (l *logFile) take(r *logReader, got []rec, synced int64) ([]rec, error) {
	n := len(got)
	first := n
	for first > 0 && got[first-1].off+got[first-1].span() > synced {
		first--
	}
	for i := first; i < n; i++ {
		if got[i].kind != recMessage {
			continue
		}
		s, err := sumAt(l.f, got[i].off+recHeaderSize, got[i].size, 0)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, err
		}
		if err != nil || s != got[i].body {
			n = i
			break
		}
	}
	for n > 0 && got[n-1].more > 0 { // a change that is not whole never happened
		n--
	}
	if n == 0 {
		return nil, nil
	}
	e := got[n-1]
	l.pos, l.last, l.head = e.off+e.span(), e.off, e.head
	l.synced = max(l.synced, min(synced, l.pos))
	l.room = max(l.room, l.pos)
	return got[:n], nil
}

// resume looks for a record behind pos that proves that what is missing before
// it was synced once.
func (l *logFile) resume(r *logReader) (at int64, chain uint32, ok bool, err error) {
	info, err := l.f.Stat()
	if err != nil {
		return 0, 0, false, err
	}
	for at := alignUp(l.pos, recAlign); at+recHeaderSize <= info.Size; at += recAlign {
		p, err := r.get(at, recHeaderSize)
		if err != nil {
			return 0, 0, false, err
		}
		if len(p) < recHeaderSize || le32(p) != recMagic {
			continue
		}
		if h, ok := decodeRecHeader(p, l.hdr.nonce); ok && h.synced > l.pos {
			return at, h.chain, true, nil
		}
	}
	return 0, 0, false, nil
}

func (l *logFile) close() error {
	if l == nil || l.f == nil {
		return nil
	}
	return l.f.Close()
}
