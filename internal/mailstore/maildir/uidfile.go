package maildir

import (
	"strconv"

	"rookery/internal/errkind"
	"rookery/internal/vfs"
)

// Names and bounds of the control files.
const (
	uidlistFile  = "dovecot-uidlist"
	courierFile  = "courierimapuiddb"
	keywordsFile = "dovecot-keywords"
	moreFile     = "rookery-keywords"
	maxUIDList   = 1 << 30
	maxKeyFile   = 64 << 20
)

// uidState is what is known of the uidlist on disk.
type uidState struct {
	hdr      uidHeader
	stamp    fileStamp
	read     int64 // octets read of it: whole lines
	records  int
	dropped  int // records whose message is gone, and lines that are damaged
	readOnly bool
}

// readUIDs reads what is new in the uidlist into mb.fresh; mb.freshAll says that
// fresh holds every record. have is false if there is no usable uidlist.
func (mb *mailbox) readUIDs() (have bool, err error) {
	path := join(mb.ctl, uidlistFile)
	stamp, err := mb.s.stampAt(path)
	if err != nil {
		return false, err
	}
	if stamp.inode == 0 {
		return false, nil
	}
	if stamp == mb.uids.stamp {
		return true, nil
	}
	f, err := mb.s.fs.OpenFile(path, vfs.Read, 0)
	if err != nil {
		if notExist(err) {
			return false, nil
		}
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	stamp = stampOf(info)
	if old := mb.uids.stamp; old.inode == stamp.inode && stamp.size >= mb.uids.read && mb.uids.read > 0 && stamp.size <= maxUIDList {
		buf := make([]byte, stamp.size-mb.uids.read)
		n, err := f.ReadAt(buf, mb.uids.read)
		if n < len(buf) && err == nil {
			err = errkind.Newf("read uidlist", errkind.Corrupt, "it shrank")
		}
		if n == len(buf) {
			l := uidList{hdr: mb.uids.hdr, version: 3}
			l.addRecords(string(buf))
			mb.take(l, stamp)
			return true, nil
		}
		return false, err
	}
	data, err := vfs.ReadAll(f, path, maxUIDList)
	if err != nil {
		return false, err
	}
	l, err := parseUIDList(data)
	if err != nil {
		return false, nil // needs a new one
	}
	if mb.loaded && l.hdr.validity != mb.uids.hdr.validity {
		mb.die()
		return false, mb.gone()
	}
	if l.version != 3 { // Courier's is never appended to: the next writer makes it Dovecot's
		l.damaged++
	}
	mb.uids.read, mb.uids.records, mb.uids.dropped, mb.fresh = 0, 0, 0, nil
	if mb.loaded {
		l.hdr.next = max(l.hdr.next, mb.uids.hdr.next)
	}
	mb.take(l, stamp)
	mb.freshAll = true
	return true, nil
}

func (mb *mailbox) take(l uidList, stamp fileStamp) {
	mb.uids.hdr, mb.uids.stamp = l.hdr, stamp
	mb.uids.read += l.size
	mb.uids.records += len(l.recs)
	mb.uids.dropped += l.damaged
	mb.fresh = append(mb.fresh, l.recs...)
}

// makeUIDs makes a uidlist where there is none, or none that can be used: all
// messages get new UIDs under a new UIDVALIDITY. Courier's list is taken over.
// The mailbox's lock is held.
func (mb *mailbox) makeUIDs() error {
	if mb.loaded {
		// Somebody took the list away under an open mailbox: write down what we know.
		return mb.writeUIDs(mb.knownRecords())
	}
	data, err := vfs.ReadFile(mb.s.fs, join(mb.dir, courierFile), maxUIDList)
	if err == nil {
		if l, err := parseUIDList(data); err == nil {
			l.hdr.guid = guidText(newGUID())
			mb.uids.hdr = l.hdr
			mb.fresh = l.recs
			return mb.writeUIDs(l.recs)
		}
	}
	if mb.uids.stamp.inode != 0 || mb.hasFile(uidlistFile) {
		mb.s.opt.Note("the uidlist of " + mb.nameNow() + " cannot be used: its messages get new UIDs")
	}
	v, err := mb.s.nextValidity(0)
	if err != nil {
		return err
	}
	mb.uids.hdr = uidHeader{validity: v, next: 1, guid: guidText(newGUID())}
	mb.fresh = nil
	return mb.writeUIDs(nil)
}

func (mb *mailbox) hasFile(name string) bool {
	_, err := mb.s.fs.Stat(join(mb.ctl, name))
	return err == nil
}

// knownRecords gives a record for each message in memory.
func (mb *mailbox) knownRecords() []uidRecord {
	s := mb.snap.Load()
	recs := make([]uidRecord, 0, s.n)
	for c, list := range s.chunks {
		for i, e := range list {
			base, _ := splitName(mb.names[c][i][1:])
			ext := mb.ext[e.uid]
			if v, ok := mb.virt[e.uid]; ok {
				if _, has := extKey(ext, 'W'); !has {
					ext = extSet(ext, 'W', strconv.FormatInt(v, 10))
				}
			}
			recs = append(recs, uidRecord{e.uid, ext, base})
		}
	}
	return recs
}

// writeUIDs writes the whole uidlist anew. The mailbox's lock is held, and the
// file on disk was read.
func (mb *mailbox) writeUIDs(recs []uidRecord) error {
	data := mb.uids.hdr.append(nil)
	for _, r := range recs {
		data = r.append(data)
	}
	stamp, err := mb.s.replace(join(mb.ctl, uidlistFile), data)
	if err != nil {
		mb.uids.stamp = fileStamp{} // read it back, believe only that
		return err
	}
	mb.uids.stamp, mb.uids.read = stamp, int64(len(data))
	mb.uids.records, mb.uids.dropped = len(recs), 0
	return nil
}

// replace writes a control file: beside it, synced, renamed over it, and synced
// again, since it is that sync which keeps the rename. A stamp beside an error
// says that the file is there, but not certain.
func (s *Store) replace(path string, data []byte) (fileStamp, error) {
	tmp := path + ".tmp"
	f, err := s.fs.OpenFile(tmp, vfs.Write|vfs.Create|vfs.Trunc, s.opt.FileMode)
	if err != nil {
		return fileStamp{}, err
	}
	defer f.Close()
	_, err = f.Write(data)
	if err == nil {
		err = f.DataSync()
	}
	var info vfs.Info
	if err == nil {
		info, err = f.Stat()
	}
	if err == nil {
		err = s.fs.Rename(tmp, path)
	}
	if err != nil {
		s.fs.Remove(tmp)
		return fileStamp{}, err
	}
	return stampOf(info), f.Sync() // not fdatasync: no byte waits, and the rename would not be kept
}

// appendUIDs adds records to the uidlist and syncs it. pending are records that
// were read and are not in memory yet: a rewrite has to keep them. The mailbox's lock is
// held, and the file on disk was read. After an error the file holds what it
// held, or is rewritten by the next writer.
func (mb *mailbox) appendUIDs(pending, recs []uidRecord) error {
	if mb.uids.dropped > 0 && mb.uids.dropped >= rewriteAt(mb.uids.records) || mb.uids.stamp.size != mb.uids.read {
		// Also where the last line is torn: nothing may be written behind it.
		return mb.writeUIDs(append(append(mb.knownRecords(), pending...), recs...))
	}
	var data []byte
	for _, r := range recs {
		data = r.append(data)
	}
	f, err := mb.s.fs.OpenFile(join(mb.ctl, uidlistFile), vfs.Write, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt(data, mb.uids.read)
	if err == nil {
		err = f.DataSync()
	}
	var info vfs.Info
	if err == nil {
		info, err = f.Stat()
	}
	if err != nil {
		f.Truncate(mb.uids.read)
		mb.uids.stamp = fileStamp{} // read it back, believe only that
		return err
	}
	mb.uids.stamp, mb.uids.read = stampOf(info), mb.uids.read+int64(len(data))
	mb.uids.records += len(recs)
	return nil
}

// rewriteAt is how many useless lines a uidlist of n may hold.
func rewriteAt(n int) int { return max(32, n/16) }

// newUIDs gives count UIDs. They run out after 2^32-2 messages: then a mailbox
// needs a new UIDVALIDITY, which is an error here, told to the administrator.
func (mb *mailbox) newUIDs(count int) (uint32, error) {
	first := mb.uids.hdr.next
	if first == 0 || uint64(first)+uint64(count) > 1<<32-1 {
		return 0, errkind.Newf("new UID", errkind.Corrupt, "the UIDs of "+mb.nameNow()+" are used up")
	}
	mb.uids.hdr.next += uint32(count)
	return first, nil
}
