package maildir

import (
	"bytes"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/index"
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
	maxHeader    = 4 << 10
)

// readHeader reads the uidlist's first line. ok is false if there is no list, or
// none that names a mailbox.
func (mb *mailbox) readHeader() (hdr uidHeader, ok bool, err error) {
	f, err := mb.s.fs.OpenFile(join(mb.ctl, uidlistFile), vfs.Read, 0)
	if err != nil {
		if notExist(err) {
			return hdr, false, nil
		}
		return hdr, false, mb.s.fail("read uidlist", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return hdr, false, mb.s.fail("stat uidlist", err)
	}
	buf := make([]byte, min(maxHeader, info.Size))
	n, _ := f.ReadAt(buf, 0)
	line, _, whole := bytes.Cut(buf[:n], []byte("\n"))
	if !whole {
		return hdr, false, nil
	}
	version, hdr, err := parseUIDHeader(string(line))
	if err != nil || version != 3 || hdr.guid == "" {
		return hdr, false, nil
	}
	mb.hdrOf = info.Inode
	return hdr, true, nil
}

// makeHeader makes a uidlist where there is none, or none that can be used, or
// gives one that has no GUID a GUID; op is held.
func (mb *mailbox) makeHeader() (uidHeader, error) {
	if err := mb.haveControl(); err != nil {
		return uidHeader{}, err
	}
	if err := mb.s.lock(); err != nil {
		return mb.bareHeader(err)
	}
	defer mb.s.unlock()
	lock, err := mb.s.lockUIDs(mb.ctl)
	if err != nil {
		return mb.bareHeader(err)
	}
	defer lock.release()
	if hdr, ok, err := mb.readHeader(); err != nil || ok {
		return hdr, err // somebody was faster
	}
	l, err := mb.firstList()
	if err != nil {
		return l.hdr, mb.s.fail("make uidlist", err)
	}
	if err := mb.writeList(l.hdr, l.recs); err != nil {
		return l.hdr, mb.s.fail("write uidlist", err)
	}
	return l.hdr, nil
}

// haveControl makes the directory of the control files, where it is one of its own.
func (mb *mailbox) haveControl() error {
	if mb.ctl == mb.dir {
		return nil
	}
	return mb.s.fail("make control directory", mb.s.makeDirs(mb.ctl))
}

// bareHeader is what a mailbox that cannot be written is known by: its list, if
// it has one without a GUID.
func (mb *mailbox) bareHeader(cause error) (uidHeader, error) {
	if !errkind.Is(cause, errkind.ReadOnly) && !errkind.Is(cause, errkind.NoPermission) {
		return uidHeader{}, cause
	}
	data, err := vfs.ReadFile(mb.s.fs, join(mb.ctl, uidlistFile), maxUIDList)
	if err == nil {
		if l, err := parseUIDList(data); err == nil {
			if l.hdr.guid == "" {
				l.hdr.guid = guidText(guidOf(mb.dir + "/" + utoa(l.hdr.validity)))
			}
			return l.hdr, nil
		}
	}
	return uidHeader{}, errkind.Wrap("the mailbox cannot be written, and has no uidlist", cause)
}

// firstList is what a new uidlist holds: what an unfit one has, or Courier's, or
// nothing: then all messages get new UIDs under a new UIDVALIDITY.
func (mb *mailbox) firstList() (uidList, error) {
	damaged := false
	for _, path := range [...]string{join(mb.ctl, uidlistFile), join(mb.dir, courierFile)} {
		data, err := vfs.ReadFile(mb.s.fs, path, maxUIDList)
		if err != nil {
			if !notExist(err) {
				return uidList{}, err
			}
			continue
		}
		l, err := parseUIDList(data)
		if err == nil {
			if l.hdr.guid == "" {
				l.hdr.guid = guidText(mailstore.NewGUID())
			}
			if path == join(mb.dir, courierFile) {
				err = mb.adoptCourier(&l)
			}
			return l, err
		}
		damaged = true
	}
	if damaged {
		mb.s.opt.Note("the uidlist of " + mb.nameNow() + " cannot be used: its messages get new UIDs")
	}
	v, err := mb.s.nextValidity(0)
	return uidList{hdr: uidHeader{validity: v, next: 1, guid: guidText(mailstore.NewGUID())}}, err
}

// readUIDs reads what is new in the uidlist into mb.fresh; mb.freshAll says that
// fresh holds every record. have is false if there is no usable uidlist. The
// mailbox is entered.
func (mb *mailbox) readUIDs() (have bool, err error) {
	path := join(mb.ctl, uidlistFile)
	stamp, err := mb.s.stampAt(path)
	if err != nil {
		return false, err
	}
	if stamp.inode == 0 {
		return false, nil
	}
	if stamp == mb.st.uids {
		return true, mb.sameHeader(stamp)
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
	if old := mb.st.uids; old.inode == stamp.inode && stamp.size >= mb.st.read && mb.st.read > 0 && stamp.size <= maxUIDList {
		if err := mb.sameHeader(stamp); err != nil {
			return false, err
		}
		buf := make([]byte, stamp.size-mb.st.read)
		if n, err := f.ReadAt(buf, mb.st.read); n < len(buf) {
			return false, shrunk(err)
		}
		l := uidList{hdr: mb.hdr, version: 3}
		l.addRecords(string(buf))
		mb.take(l, stamp)
		return true, nil
	}
	data, err := vfs.ReadAll(f, path, maxUIDList)
	if err != nil {
		return false, err
	}
	l, err := parseUIDList(data)
	if err != nil {
		return false, nil // needs a new one
	}
	if err := mb.sameMailbox(l.hdr); err != nil {
		return false, err
	}
	if l.version != 3 { // Courier's is never appended to: the next writer makes it Dovecot's
		l.damaged++
	}
	l.hdr.guid = mb.hdr.guid
	l.hdr.next = max(l.hdr.next, mb.hdr.next)
	mb.st.read, mb.st.records, mb.st.dropped, mb.fresh = 0, 0, 0, nil
	mb.take(l, stamp)
	mb.hdrOf, mb.freshAll = stamp.inode, true
	return true, nil
}

// sameHeader reads the first line again if another process wrote the list anew.
func (mb *mailbox) sameHeader(stamp fileStamp) error {
	if mb.hdrOf == stamp.inode {
		return nil
	}
	hdr, ok, err := mb.readHeader()
	if err != nil || !ok {
		return err
	}
	if err := mb.sameMailbox(hdr); err != nil {
		return err
	}
	hdr.next = max(hdr.next, mb.hdr.next)
	mb.hdr = hdr
	return nil
}

// sameMailbox ends the mailbox in memory if the list is another one's: it was
// made anew. A list that Dovecot wrote for this one keeps its GUID.
func (mb *mailbox) sameMailbox(hdr uidHeader) error {
	if hdr.validity != mb.hdr.validity || hdr.guid != "" && hdr.guid != mb.hdr.guid {
		mb.die()
		return mb.gone()
	}
	return nil
}

func (mb *mailbox) take(l uidList, stamp fileStamp) {
	mb.hdr, mb.st.uids = l.hdr, stamp
	mb.st.read += l.size
	mb.st.records += len(l.recs)
	mb.st.dropped += l.damaged
	mb.fresh = append(mb.fresh, l.recs...)
}

// makeUIDs writes the uidlist of an open mailbox anew, after somebody took it
// away: what we know. The user's lock and Dovecot's are held.
func (mb *mailbox) makeUIDs() error {
	v := mb.view()
	if v.Len() == 0 && !v.Built() { // the index was lost, too
		v = mb.known()
	}
	return mb.writeFrom(v, nil, nil)
}

// writeUIDs writes the whole uidlist anew, with records that are not in the index
// yet, and with one that differs from the index's if change is not nil. The user's lock and Dovecot's are held, and the file on disk was read.
func (mb *mailbox) writeUIDs(more []uidRecord, change *uidRecord) error {
	return mb.writeFrom(mb.view(), more, change)
}

// writeFrom is writeUIDs of a picture. One that is damaged must not become the
// list: errPicture, and nothing is written.
func (mb *mailbox) writeFrom(v *index.View, more []uidRecord, change *uidRecord) error {
	mb.hdr.next = max(mb.hdr.next, v.UIDNext())
	data := mb.hdr.append(make([]byte, 0, 64*(v.Len()+len(more))))
	n := len(more)
	v.Each(0, func(_ int, r index.Record) bool {
		rec := mb.recordOf(r)
		if change != nil && change.uid == r.UID {
			rec = *change
		}
		data = rec.append(data)
		n++
		return true
	})
	for _, r := range more {
		data = r.append(data)
	}
	if v.Damaged() {
		return errPicture
	}
	return mb.writeData(data, n)
}

// recordOf makes a message's record. A size that had to be counted is written
// down, so that nobody has to count again if the index is lost.
func (mb *mailbox) recordOf(r index.Record) uidRecord {
	base, ext, _ := splitLoc(r.Loc)
	if r.Size >= 0 && toldSize(base, ext) < 0 {
		ext = extSet(ext, 'W', utoa64(r.Size))
	}
	return uidRecord{r.UID, ext, base}
}

func (mb *mailbox) writeList(hdr uidHeader, recs []uidRecord) error {
	data := hdr.append(nil)
	for _, r := range recs {
		data = r.append(data)
	}
	return mb.writeData(data, len(recs))
}

func (mb *mailbox) writeData(data []byte, records int) error {
	stamp, err := mb.s.replace(join(mb.ctl, uidlistFile), data)
	if err != nil {
		mb.st.uids = fileStamp{} // read it back, believe only that
		return err
	}
	mb.st.uids, mb.st.read, mb.hdrOf = stamp, int64(len(data)), stamp.inode
	mb.st.records, mb.st.dropped, mb.counted = records, 0, 0
	return nil
}

// replace writes a control file: beside it, synced, renamed over it, and synced
// again, since it is that sync which keeps the rename. A stamp beside an error
// says that the file is there, but not certain.
func (s *Store) replace(path string, data []byte) (fileStamp, error) {
	info, err := vfs.Replace(s.fs, path, data, s.opt.FileMode)
	if err != nil {
		return fileStamp{}, err
	}
	return stampOf(info), nil
}

// appendUIDs adds records to the uidlist; sync makes them certain. pending are
// records that were read and are not in the index yet: a rewrite has to keep
// them. The user's lock and Dovecot's are held, and the file on disk was read.
// After an error the file holds what it held, or is rewritten by the next writer.
func (mb *mailbox) appendUIDs(pending, recs []uidRecord, sync bool) error {
	if mb.st.read == 0 {
		return errPicture // the state was lost with the index: where the list ends is not known
	}
	if mb.st.dropped > 0 && mb.st.dropped >= rewriteAt(mb.st.records) || mb.st.uids.size != mb.st.read {
		// Also where the last line is torn: nothing may be written behind it.
		return mb.writeUIDs(append(append([]uidRecord(nil), pending...), recs...), nil)
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
	_, err = f.WriteAt(data, mb.st.read)
	if err == nil && sync {
		err = f.DataSync()
	}
	var info vfs.Info
	if err == nil {
		info, err = f.Stat()
	}
	if err != nil {
		f.Truncate(mb.st.read)
		mb.st.uids = fileStamp{} // read it back, believe only that
		return err
	}
	mb.st.uids, mb.st.read = stampOf(info), mb.st.read+int64(len(data))
	mb.st.records += len(recs)
	return nil
}

// rewriteAt is how many useless lines a uidlist of n may hold.
func rewriteAt(n int) int { return max(32, n/16) }

// newUIDs gives count UIDs. They run out after 2^32-2 messages: then a mailbox
// needs a new UIDVALIDITY, which is an error here, told to the administrator.
func (mb *mailbox) newUIDs(count int) (uint32, error) {
	first := max(mb.hdr.next, mb.known().UIDNext())
	if mb.hdr.next == 0 || first == 0 || uint64(first)+uint64(count) > 1<<32-1 {
		return 0, errkind.Newf("new UID", errkind.Corrupt, "the UIDs of "+mb.nameNow()+" are used up")
	}
	mb.hdr.next = first + uint32(count)
	return first, nil
}
