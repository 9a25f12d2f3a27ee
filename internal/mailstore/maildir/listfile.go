package maildir

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"

	"rookery/internal/crc32c"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/index"
	"rookery/internal/mailstore/record"
	"rookery/internal/mailstore/statusmemo"
	"rookery/internal/vfs"
)

// What a Store remembers of its folders lies in rookery.index.folders, beside the
// index's log, for the next process. It is an index file: it may be missing,
// noise or out of date at any moment. Every line of it holds only as long as the
// stamps with it are those of the disk, in the same run of the machine.
//
//	"RKFOLDR\x01", u32 CRC-32C of what follows, u64 listKey
//	uvarint count of directories, each: text path, stamp, u8 1 if it is a mailbox,
//	  uvarint count of folders in it, each: text name
//	uvarint count of answers to STATUS, each: text name, text directory, text
//	  control directory, stamps of cur/, new/ and dovecot-uidlist, 24 octets of an
//	  index.Stamp, 16 octets GUID, uvarints messages, recent, unseen, deleted,
//	  UIDNEXT, UIDVALIDITY, size, HIGHESTMODSEQ, u8 1 if the size is known
//
// A stamp is u64 inode, u64 size, u64 mtime in ns; a text is a uvarint length
// and its octets. All numbers are little-endian.
const (
	listFile    = "rookery.index.folders"
	listMagic   = "RKFOLDR\x01"
	maxListFile = 128 << 20
	// listNews is how much has to be new before the file is written: a store of
	// few folders does without.
	listNews = 64
)

// listKey is a hash of what a file must be of to mean anything: this run of the
// machine, these paths and this layout.
func (s *Store) listKey() uint64 {
	return bootHash(strings.Join([]string{s.fs.BootID(), s.opt.MailPath, s.opt.InboxPath, s.opt.ControlPath, strconv.Itoa(int(s.opt.Layout))}, "\x00"))
}

// loadListing reads the file, once; listing.mu is held. What is wrong with it is
// as if it were not there.
func (s *Store) loadListing() {
	l := &s.listing
	if l.loaded {
		return
	}
	l.loaded = true
	data, err := vfs.ReadFile(s.fs, join(s.opt.IndexPath, listFile), maxListFile)
	if err != nil {
		return
	}
	dirs, memos, ok := parseListing(data, s.listKey())
	if !ok {
		return
	}
	if l.dirs == nil {
		l.dirs = dirs
	}
	if l.memos == nil {
		l.memos = memos
	}
}

// saveListing writes the file if there is enough that it lacks. What fails costs
// the next process some looks at the disk, no more.
func (s *Store) saveListing() {
	l := &s.listing
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.news < listNews || !s.can.write {
		return
	}
	l.news = 0
	data := l.encode(s.listKey())
	if len(data) > maxListFile {
		return
	}
	path := join(s.opt.IndexPath, listFile)
	f, err := s.fs.OpenFile(path+".new", vfs.Write|vfs.Create|vfs.Trunc, s.opt.FileMode)
	if err != nil {
		return
	}
	defer f.Close()
	if _, err := f.Write(data); err == nil {
		err = s.fs.Rename(path+".new", path)
		if err == nil {
			return
		}
	}
	s.fs.Remove(path + ".new")
}

func (l *listing) encode(key uint64) []byte {
	le := binary.LittleEndian
	b := append(make([]byte, 0, 64*len(l.folders)+256*len(l.memos)+256), listMagic...)
	b = append(b, 0, 0, 0, 0)
	b = le.AppendUint64(b, key)
	b = binary.AppendUvarint(b, uint64(len(l.dirs)))
	for path, d := range l.dirs {
		b = appendStamp(record.AppendText(b, path), d.stamp)
		b = append(b, bit(d.box))
		b = binary.AppendUvarint(b, uint64(len(d.kids)))
		for _, k := range d.kids {
			b = record.AppendText(b, k)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(l.memos)))
	for name, m := range l.memos {
		b = record.AppendText(record.AppendText(record.AppendText(b, name), m.dir), m.ctl)
		b = appendStamp(appendStamp(appendStamp(b, m.cur), m.new), m.uids)
		b = append(m.at.Append(b), m.status.GUID[:]...)
		for _, n := range [...]uint64{uint64(m.status.Messages), uint64(m.status.Recent), uint64(m.status.Unseen), uint64(m.status.Deleted),
			uint64(m.status.UIDNext), uint64(m.status.UIDValidity), m.status.Size, uint64(m.status.HighestModSeq)} {
			b = binary.AppendUvarint(b, n)
		}
		b = append(b, bit(m.sizeKnown))
	}
	return sumListing(b)
}

// sumListing puts the checksum in.
func sumListing(b []byte) []byte {
	if len(b) >= len(listMagic)+4 {
		binary.LittleEndian.PutUint32(b[len(listMagic):], crc32c.Checksum(b[len(listMagic)+4:]))
	}
	return b
}

func bit(on bool) byte {
	if on {
		return 1
	}
	return 0
}

func appendStamp(b []byte, f fileStamp) []byte {
	le := binary.LittleEndian
	return le.AppendUint64(le.AppendUint64(le.AppendUint64(b, f.inode), uint64(f.size)), uint64(f.mtime))
}

// listReader reads the file's fields.
type listReader struct{ record.Decoder }

func (r *listReader) num(limit uint64) uint64 {
	v := r.Uvarint()
	if v > limit {
		r.Fail()
		return 0
	}
	return v
}

// count is how many things follow, each of at least size octets.
func (r *listReader) count(size int) int { return int(r.num(uint64(len(r.B) / size))) }

func (r *listReader) text() string { return r.Text(math.MaxInt32) }

func (r *listReader) flag() bool {
	return r.Byte() == 1
}

func (r *listReader) stamp() fileStamp {
	p := r.Bytes(24)
	if p == nil {
		return fileStamp{}
	}
	le := binary.LittleEndian
	return fileStamp{le.Uint64(p), int64(le.Uint64(p[8:])), int64(le.Uint64(p[16:]))}
}

// parseListing reads the file; ok is false if it is damaged, or of another key.
func parseListing(b []byte, key uint64) (dirs map[string]*listedDir, memos statusmemo.Kept[*statusMemo], ok bool) {
	const head = len(listMagic) + 4 + 8
	if len(b) < head || string(b[:len(listMagic)]) != listMagic ||
		crc32c.Checksum(b[len(listMagic)+4:]) != binary.LittleEndian.Uint32(b[len(listMagic):]) ||
		binary.LittleEndian.Uint64(b[len(listMagic)+4:]) != key {
		return nil, nil, false
	}
	r := listReader{record.Decoder{B: b[head:]}}
	n := r.count(1 + stampSize + 2)
	dirs = make(map[string]*listedDir, n)
	for range n {
		path := r.text()
		d := &listedDir{stamp: r.stamp(), box: r.flag()}
		d.kids = make([]string, r.count(1))
		for i := range d.kids {
			d.kids[i] = r.text()
		}
		dirs[path] = d
	}
	n = r.count(3 + 3*stampSize + index.StampSize + 16 + 8 + 1)
	memos = make(statusmemo.Kept[*statusMemo], n)
	for range n {
		name := r.text()
		m := &statusMemo{dir: r.text(), ctl: r.text(), cur: r.stamp(), new: r.stamp(), uids: r.stamp()}
		m.at = index.ParseStamp(r.Bytes(index.StampSize))
		copy(m.status.GUID[:], r.Bytes(16))
		for _, to := range [...]*uint32{&m.status.Messages, &m.status.Recent, &m.status.Unseen, &m.status.Deleted, &m.status.UIDNext, &m.status.UIDValidity} {
			*to = uint32(r.num(math.MaxUint32))
		}
		m.status.Size, m.status.HighestModSeq = r.num(math.MaxInt64), mailstore.ModSeq(r.num(math.MaxInt64))
		m.sizeKnown = r.flag()
		memos[name] = m
	}
	return dirs, memos, r.End()
}
