package index

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"rookery/internal/vfs"
)

// retryLog is how long no new log is tried after the disk refused one.
const retryLog = 10 * time.Second

// giveUp makes the log worthless, since it lacks what this process shows: others
// will rebuild, and so will this one once there can be a log again.
func (u *User) giveUp(err error) {
	id := u.bad
	if u.log != nil {
		id = fileID{u.log.inode, u.log.dev}
	}
	u.void = &id
	u.voidLog()
	u.forgetLog()
	u.why = "the log could not be written: " + err.Error()
	u.retry = u.opt.FS.Now().Add(retryLog)
	if !u.alone.Swap(true) {
		u.opt.Note("index: " + u.why + "; changes are kept in memory until it can be")
	}
}

// voidLog makes the log that lacks what this process shows worthless: it needs no
// space for that. What fails is tried again at every look.
func (u *User) voidLog() {
	id := *u.void
	if u.log != nil && u.log.inode == id.inode {
		if _, err := u.log.f.WriteAt(make([]byte, 24), markOff); err == nil {
			u.void = nil
			return
		}
	}
	path := join(u.opt.LogDir, logFile)
	f, err := u.opt.FS.OpenFile(path, vfs.Read|vfs.Write, 0)
	if notExist(err) {
		u.void = nil
		return
	}
	if err == nil {
		defer f.Close()
		info, err := f.Stat()
		if err == nil && id.inode != 0 && (fileID{info.Inode, info.Device}) != id {
			u.void = nil // another process has made a new one
			return
		}
		if err == nil {
			if _, err = f.WriteAt(make([]byte, 24), markOff); err == nil {
				u.void = nil
				return
			}
		}
	}
	if on, serr := u.opt.FS.Stat(path); serr == nil && (fileID{on.Inode, on.Device}) == id && u.opt.FS.Remove(path) == nil {
		u.void = nil
	}
}

// ready makes a log if there is none, and one of this run of the machine if it is
// of another.
func (u *User) ready() bool {
	if u.log != nil && u.log.other {
		u.replaceLog()
	}
	if u.log != nil {
		return true
	}
	if u.opt.FS.Now().Before(u.retry) {
		return false
	}
	h := logHead{epoch: 1, boot: bootOf(u.opt.FS)}
	binary.LittleEndian.PutUint64(h.lineage[:], rand.Uint64())
	binary.LittleEndian.PutUint64(h.lineage[8:], rand.Uint64())
	u.modseq.begin(h.lineage)
	l, err := u.writeLog(h, nil, 0)
	if err != nil {
		u.giveUp(err)
		return false
	}
	u.forgetLog()
	u.log, u.carried, u.bad, u.void = l, l.carried, fileID{}, nil
	u.alone.Store(false)
	// What other mailboxes show belongs to no log, or to one that is gone.
	for _, b := range u.boxes {
		b.seq = 0
		b.unbuild(u.why)
	}
	return true
}

// writeLog makes a new log of ready records and puts it in place.
func (u *User) writeLog(h logHead, records []byte, crc uint32) (*userLog, error) {
	f := u.opt.FS
	if err := vfs.MkdirAll(f, u.opt.LogDir, u.opt.DirMode); err != nil {
		return nil, err
	}
	path := join(u.opt.LogDir, logNew)
	if err := f.Remove(path); err != nil && !notExist(err) {
		return nil, err
	}
	file, err := f.OpenFile(path, vfs.Read|vfs.Write|vfs.Create|vfs.Excl, u.opt.FileMode)
	if err != nil {
		return nil, err
	}
	head := h.encode()
	mark := uint64(logHeader + len(records))
	copy(head[markOff:], encodeMarks(mark, 0))
	copy(head[carryOff:], encodeMarks(mark, 0)[:16])
	info, err := file.Stat()
	if err == nil {
		_, err = file.WriteAt(append(head, records...), 0)
	}
	if err == nil {
		err = f.Rename(path, join(u.opt.LogDir, logFile))
	}
	if err != nil {
		f.Remove(path)
		file.Close()
		return nil, err
	}
	_, first, _ := decodeLogHead(head)
	if records == nil {
		crc = first
	}
	l := &userLog{logHead: h, f: file, inode: info.Inode, dev: info.Device, pos: int64(mark), carried: int64(mark), crc: crc}
	l.mapHead()
	return l, nil
}
