package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"math/rand/v2"
	"time"

	"rookery/internal/crc32c"
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/record"
	"rookery/internal/numset"
	"rookery/internal/vfs"
)

// Names and marks of the snapshot.
const (
	snapFile  = "rookery.index"
	snapNew   = "rookery.index.new"
	snapMagic = "RKINDEX\x01"
	maxMeta   = 256 << 20
	maxCount  = 1 << 31
)

// header is what a snapshot begins with.
type header struct {
	lineage  [16]byte
	guid     mailstore.GUID
	inode    uint64
	stamp    int64 // the file's mtime, Unix ns: whole seconds
	salt     uint64
	seq      uint64 // the last record of the log that it holds
	high     uint64
	floor    uint64
	next     uint32
	validity uint32
	firstUID uint32
	counts   Counts
	arenaLen int64
	metaLen  int64
	metaCRC  uint32
}

func (h *header) encode() []byte {
	b := make([]byte, 0, headerSize)
	b = append(b, snapMagic...)
	b = append(b, h.lineage[:]...)
	b = append(b, h.guid[:]...)
	for _, n := range [...]uint64{h.inode, uint64(h.stamp), h.salt, h.seq, h.high, h.floor, uint64(h.next), uint64(h.validity),
		uint64(h.firstUID), uint64(h.counts.Messages), uint64(h.counts.Unseen), uint64(h.counts.Deleted), uint64(h.counts.Size),
		uint64(h.counts.SizeUnknown), uint64(h.arenaLen), uint64(h.metaLen), uint64(h.metaCRC)} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	b = b[:headerSize]
	binary.LittleEndian.PutUint32(b[headerSize-4:], crc32c.Checksum(b[:headerSize-4]))
	return b
}

func decodeHeader(b []byte) (h header, ok bool) {
	if len(b) < headerSize || string(b[:8]) != snapMagic ||
		crc32c.Checksum(b[:headerSize-4]) != binary.LittleEndian.Uint32(b[headerSize-4:]) {
		return h, false
	}
	d := decode(b[8 : headerSize-4])
	copy(h.lineage[:], d.Bytes(16))
	copy(h.guid[:], d.Bytes(16))
	h.inode, h.stamp, h.salt, h.seq, h.high, h.floor = d.U64(), int64(d.U64()), d.U64(), d.U64(), d.U64(), d.U64()
	small := func(limit uint64) uint64 {
		n := d.U64()
		if n > limit {
			d.Fail()
			return 0
		}
		return n
	}
	h.next, h.validity, h.firstUID = uint32(small(1<<32-1)), uint32(small(1<<32-1)), uint32(small(1<<32-1))
	h.counts.Messages = int(small(maxCount))
	h.counts.Unseen, h.counts.Deleted = int(small(maxCount)), int(small(maxCount))
	h.counts.Size, h.counts.SizeUnknown = int64(small(1<<62)), int(small(maxCount))
	h.arenaLen, h.metaLen, h.metaCRC = int64(small(1<<40)), int64(small(maxMeta)), uint32(small(1<<32-1))
	return h, !d.Bad
}

func (h *header) total() int64 {
	return headerSize + int64(h.counts.Messages)*recSize + h.arenaLen + h.metaLen
}

var errSnapshot = errors.New("the snapshot is damaged")

// readSnapshot makes a view of a mailbox's snapshot. It reads header and meta,
// and maps the rest. An error that wraps errSnapshot, or fs.ErrNotExist, or one
// of the disk, is the reason why there is none.
func (b *Box) readSnapshot(dir string, lineage [16]byte) (*View, error) {
	f, err := b.u.opt.FS.OpenFile(join(dir, snapFile), vfs.Read, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size < headerSize || info.Size > 1<<42 {
		return nil, errSnapshot
	}
	var head [headerSize]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return nil, err
	}
	h, ok := decodeHeader(head[:])
	switch {
	case !ok || h.total() != info.Size || h.guid != b.guid:
		return nil, errSnapshot
	case h.lineage != lineage:
		return nil, errLineage
	case h.inode != info.Inode || h.stamp != info.ModTime.UnixNano():
		// Somebody wrote to it, or put a copy of an older one in its place.
		return nil, errSnapshot
	}
	data, unmap, err := vfs.Map(f, info.Size)
	if err != nil {
		return nil, err
	}
	v, ok := b.viewOf(h, data)
	if !ok {
		unmap()
		return nil, errSnapshot
	}
	v.base.hold(unmap)
	return v, nil
}

var errLineage = errors.New("the snapshot belongs to a log that is gone")

// viewOf makes a view of a snapshot's bytes; h is its header.
func (b *Box) viewOf(h header, data []byte) (v *View, ok bool) {
	bs := &base{data: data, n: h.counts.Messages, arenaLen: h.arenaLen, salt: h.salt, size: int64(len(data)), seq: h.seq, high: h.high}
	bs.arena = bs.recOff(bs.n)
	meta := make([]byte, h.metaLen)
	if !bs.peek(meta, bs.arena+h.arenaLen) || crc32c.Checksum(meta) != h.metaCRC {
		return nil, false
	}
	d := decode(meta)
	bs.runs = bytes.Clone(d.Bytes(d.Uvarint()))
	sets := decodeSets(&d)
	hist := decodeHistory(&d)
	state := d.Text(MaxState)
	if d.Bad || len(d.B) > 0 {
		return nil, false
	}
	if bs.n > 0 {
		rd := decode(bs.runs)
		rd.Count()
		first, more := rd.Uvarint(), rd.Uvarint()
		bs.first, bs.dense = uint32(first), more+1 == uint64(bs.n)
		if rd.Bad || first == 0 || first > 1<<32-1 {
			return nil, false
		}
	}
	v = &View{box: b, base: bs, pages: make([]*page, bs.pages()), built: true, validity: h.validity, next: h.next, high: h.high,
		floor: h.floor, sets: sets, state: state, counts: h.counts, hist: hist}
	v.firstUID.Store(h.firstUID)
	v.starts = make([]uint32, len(v.pages)+1)
	for p := range v.pages {
		v.starts[p+1] = v.starts[p] + uint32(bs.pageLen(p))
	}
	return v, true
}

// Keyword sets: how many names, the names; how many sets, and each as how many
// names and their numbers.
func appendSets(b []byte, sets [][]string) []byte {
	numbers := map[string]uint64{}
	var names []string
	for _, set := range sets {
		for _, s := range set {
			if _, ok := numbers[s]; !ok {
				numbers[s] = uint64(len(names))
				names = append(names, s)
			}
		}
	}
	b = binary.AppendUvarint(b, uint64(len(names)))
	for _, s := range names {
		b = record.AppendText(b, s)
	}
	b = binary.AppendUvarint(b, uint64(len(sets)-1))
	for _, set := range sets[1:] {
		b = binary.AppendUvarint(b, uint64(len(set)))
		for _, s := range set {
			b = binary.AppendUvarint(b, numbers[s])
		}
	}
	return b
}

const maxName = 1 << 16 // octets of a keyword's name

func decodeSets(d *decoder) [][]string {
	names := make([]string, d.Count())
	for i := range names {
		names[i] = d.Text(maxName)
	}
	n := d.Count()
	if d.Bad || n >= maxSets {
		d.Fail()
		return nil
	}
	sets := make([][]string, n+1)
	for i := range n {
		set := make([]string, d.Count())
		for k := range set {
			no := d.Uvarint()
			if no >= uint64(len(names)) {
				d.Fail()
				return nil
			}
			set[k] = names[no]
		}
		sets[i+1] = set
	}
	return sets
}

// History: how many expunges, each as the distance of its MODSEQ and its UIDs.
func (h *history) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(h.list)))
	last := uint64(0)
	for _, g := range h.list {
		b = binary.AppendUvarint(b, g.modseq-last)
		b = record.AppendRanges(b, g.uids.Ranges())
		last = g.modseq
	}
	return b
}

func decodeHistory(d *decoder) *history {
	h := &history{}
	n := d.Count()
	if n > maxHistory {
		d.Fail()
		return h
	}
	last := uint64(0)
	for range n {
		last += d.Uvarint()
		s := d.Ranges()
		h.list = append(h.list, gone{last, s})
		h.ranges += len(s.Ranges())
	}
	if h.ranges > maxHistoryRanges {
		d.Fail()
	}
	return h
}

// snapTemp is a snapshot being written: nobody else writes one for this mailbox
// meanwhile.
type snapTemp struct {
	f    vfs.File
	dir  string
	seq  uint64
	size int64
}

// writeSnapshot writes a view beside the snapshot; install puts it in place. It
// needs no lock: views do not change. errkind.InUse if another process is at it.
func (v *View) writeSnapshot(dir string, lineage [16]byte, seq uint64) (t *snapTemp, err error) {
	u := v.box.u
	if err := vfs.MkdirAll(u.opt.FS, dir, u.opt.DirMode); err != nil {
		return nil, err
	}
	path := join(dir, snapNew)
	f, err := u.opt.FS.OpenFile(path, vfs.Read|vfs.Write|vfs.Create, u.opt.FileMode)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if err := f.Lock(true, 0); errkind.Is(err, errkind.InUse) {
		return nil, err
	}
	// Another may have put this very file in place before we had the lock.
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if on, err := u.opt.FS.Stat(path); err != nil || on.Inode != info.Inode {
		return nil, errkind.Newf("write snapshot", errkind.InUse, "another process has just done it")
	}
	if err := f.Truncate(0); err != nil {
		return nil, err
	}
	h := header{lineage: lineage, guid: v.box.guid, inode: info.Inode, seq: seq, high: v.high, floor: v.floor, next: v.next,
		validity: v.validity, firstUID: v.firstUID.Load(), counts: v.counts, salt: newSalt()}
	if err := v.writeBody(f, &h); err != nil {
		u.opt.FS.Remove(path)
		return nil, err
	}
	// The mtime goes into the header: whole seconds, which every file system keeps.
	stamp := u.opt.FS.Now().Truncate(time.Second)
	h.stamp = stamp.UnixNano()
	if _, err = f.WriteAt(h.encode(), 0); err == nil {
		err = f.SetModTime(stamp)
	}
	if err != nil {
		u.opt.FS.Remove(path)
		return nil, err
	}
	return &snapTemp{f: f, dir: dir, seq: seq, size: h.total()}, nil
}

// writeChunk is how much is gathered before it is written.
const writeChunk = 256 << 10

// gather is a stream into a file from an offset on.
type gather struct {
	f   vfs.File
	off int64
	buf []byte
}

func (g *gather) flush(limit int) error {
	if len(g.buf) < limit || len(g.buf) == 0 {
		return nil
	}
	_, err := g.f.WriteAt(g.buf, g.off)
	g.off += int64(len(g.buf))
	g.buf = g.buf[:0]
	return err
}

// writeBody writes records, Locs and meta, and fills in their lengths.
func (v *View) writeBody(f vfs.File, h *header) (err error) {
	recs := gather{f: f, off: headerSize}
	locs := gather{f: f, off: headerSize + int64(v.Len())*recSize}
	arena := locs.off
	var uids numset.Set
	whole := v.walk(0, func(pos int, c core, x extra) bool {
		n := len(recs.buf)
		recs.buf = append(recs.buf, make([]byte, recSize)...)
		at := locs.off - arena + int64(len(locs.buf))
		locs.buf = encodeRec(recs.buf[n:], locs.buf, at, h.salt, pos, c, &x)
		uids.Add(c.uid)
		if err = recs.flush(writeChunk); err == nil {
			err = locs.flush(writeChunk)
		}
		return err == nil
	}, nil)
	if err != nil {
		return err
	}
	if !whole {
		return errSnapshot
	}
	if err := recs.flush(1); err != nil {
		return err
	}
	h.arenaLen = locs.off - arena + int64(len(locs.buf))
	runs := record.AppendRanges(nil, uids.Ranges())
	meta := append(binary.AppendUvarint(nil, uint64(len(runs))), runs...)
	meta = appendSets(meta, v.sets)
	meta = v.hist.append(meta)
	meta = record.AppendText(meta, v.state)
	h.metaLen, h.metaCRC = int64(len(meta)), crc32c.Checksum(meta)
	locs.buf = append(locs.buf, meta...)
	return locs.flush(1)
}

// install puts the snapshot in place.
func (t *snapTemp) install(u *User) error {
	return u.opt.FS.Rename(join(t.dir, snapNew), join(t.dir, snapFile))
}

// drop gives it up.
func (t *snapTemp) drop(u *User) {
	u.opt.FS.Remove(join(t.dir, snapNew))
	t.f.Close()
}

func newSalt() uint64 { return rand.Uint64() }

func notExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
