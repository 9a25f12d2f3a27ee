package maildir

import (
	"errors"
	"io"
	"strconv"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/crlf"
	"rookery/internal/vfs"
)

// message is an open message.
type message struct {
	file vfs.File
	size int64
	view *crlf.View // nil: the stored bytes are in CRLF form
}

func (m *message) Size() int64 { return m.size }

func (m *message) ReadAt(p []byte, off int64) (int, error) {
	var n int
	var err error
	if m.view != nil {
		n, err = m.view.ReadAt(p, off)
	} else if off >= m.size {
		return 0, io.EOF
	} else {
		n, err = m.file.ReadAt(p[:min(int64(len(p)), m.size-off)], off)
		if n < len(p) && err == nil {
			err = io.EOF
		}
	}
	if err != nil && err != io.EOF {
		err = diskError("read message", err)
	}
	return n, err
}

// File gives the descriptor where the stored bytes are the message's.
func (m *message) File() (fd uintptr, off int64, ok bool) {
	if m.view != nil {
		return 0, 0, false
	}
	fd, ok = m.file.Fd()
	return fd, 0, ok
}

func (m *message) Close() error { return m.file.Close() }

// openAt opens a message's file; op is held. The name is the one that was opened.
func (mb *mailbox) openAt(uid uint32) (vfs.File, string, error) {
	for try := 0; ; try++ {
		if mb.isDead() {
			return nil, "", mb.gone()
		}
		s := mb.snap.Load()
		pos, ok := s.Find(uid)
		if !ok {
			return nil, "", errkind.Newf("open message "+utoa(uid), errkind.Expunged, "the message is gone")
		}
		name := mb.nameAt(s, pos)
		f, err := mb.s.fs.OpenFile(mb.path(name), vfs.Read, 0)
		if err == nil {
			return f, name, nil
		}
		if !notExist(err) {
			return nil, "", mb.s.fail("open message "+utoa(uid), err)
		}
		if try == 8 {
			return nil, "", errkind.New("open message "+utoa(uid), errkind.Unavailable, errors.New("its file is renamed again and again"))
		}
		if err := mb.resync(); err != nil {
			return nil, "", err
		}
	}
}

// Message opens one message.
func (mb *mailbox) Message(uid mailstore.UID) (mailstore.Message, error) {
	mb.op.Lock()
	defer mb.op.Unlock()
	return mb.message(uid)
}

func (mb *mailbox) message(uid uint32) (*message, error) {
	f, name, err := mb.openAt(uid)
	if err != nil {
		return nil, err
	}
	m, err := mb.present(uid, f, name)
	if err != nil {
		f.Close()
		return nil, err
	}
	return m, nil
}

// present finds out how the stored bytes relate to the CRLF form: from the sizes
// in the name if they can be true, else by reading.
func (mb *mailbox) present(uid uint32, f vfs.File, name string) (*message, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, mb.s.fail("stat message", err)
	}
	base, _ := splitName(name[1:])
	phys, virt := nameSizes(base)
	if v, ok := mb.virtSize(uid, base); ok {
		virt = v
	}
	if virt == info.Size && (phys < 0 || phys == info.Size) {
		return &message{file: f, size: info.Size}, nil
	}
	view, err := crlf.Scan(f, info.Size)
	if err != nil {
		return nil, mb.s.fail("read message", err)
	}
	if phys >= 0 && phys != info.Size || virt >= 0 && virt != view.Size() {
		mb.mendSizes(uid, name, info.Size, view.Size())
	}
	mb.virt[uid] = view.Size()
	m := &message{file: f, size: view.Size(), view: view}
	if view.Plain() {
		m.view = nil
	}
	return m, nil
}

// virtSize gives a message's size in CRLF form without reading it: counted
// before, from the uidlist, or from its name.
func (mb *mailbox) virtSize(uid uint32, base string) (int64, bool) {
	if v, ok := mb.virt[uid]; ok {
		return v, true
	}
	if text, ok := extKey(mb.ext[uid], 'W'); ok {
		if v, err := strconv.ParseInt(text, 10, 64); err == nil && v >= 0 {
			return v, true
		}
	}
	_, v := nameSizes(base)
	return v, v >= 0
}

// mendSizes renames a file whose name tells wrong sizes, and writes the uidlist
// anew, where the name stands. What fails is tried again at the next reading.
func (mb *mailbox) mendSizes(uid uint32, name string, phys, virt int64) {
	lock, err := mb.s.lockUIDs(mb.ctl)
	if err != nil {
		return
	}
	defer lock.release()
	if have, err := mb.readUIDs(); err != nil || !have || len(mb.fresh) > 0 || mb.freshAll {
		return
	}
	s := mb.snap.Load()
	pos, ok := s.Find(uid)
	if !ok || mb.nameAt(s, pos) != name {
		return
	}
	base, info := splitName(name[1:])
	to := name[:1] + withSizes(base, phys, virt) + info
	delete(mb.virt, uid)
	if text, ok := extKey(mb.ext[uid], 'W'); ok && text != utoa64(virt) {
		mb.ext[uid] = extSet(mb.ext[uid], 'W', utoa64(virt))
	}
	if text, ok := extKey(mb.ext[uid], 'S'); ok && text != utoa64(phys) {
		mb.ext[uid] = extSet(mb.ext[uid], 'S', utoa64(phys))
	}
	if _, ok := extKey(mb.ext[uid], 'G'); !ok {
		// The GUID of a message without one is its name: keep it.
		mb.ext[uid] = extSet(mb.ext[uid], 'G', guidText(guidOf(base)))
	}
	own := mb.beginOwn()
	defer own.end()
	if to != name {
		if err := mb.s.fs.RenameNoReplace(mb.path(name), mb.path(to)); err != nil {
			return
		}
		mb.setName(s, pos, to)
	}
	if err := mb.writeUIDs(mb.knownRecords()); err != nil {
		mb.s.opt.Note("the uidlist of " + mb.nameNow() + " cannot be written: " + err.Error())
		if to != name && mb.s.fs.RenameNoReplace(mb.path(to), mb.path(name)) == nil {
			mb.setName(s, pos, name)
		}
		mb.uids.stamp = fileStamp{}
		return
	}
	mb.s.opt.Note("mended the sizes in the name of " + base + " of " + mb.nameNow() + ": " + utoa64(phys) + " octets, " + utoa64(virt) + " with CRLF")
}

// Facts gives what is known of a message.
func (mb *mailbox) Facts(uid mailstore.UID, want mailstore.FactsWant) (mailstore.Facts, error) {
	mb.op.Lock()
	defer mb.op.Unlock()
	var out mailstore.Facts
	if mb.isDead() {
		return out, mb.gone()
	}
	s := mb.snap.Load()
	pos, ok := s.Find(uid)
	if !ok {
		return out, errkind.Newf("facts of message "+utoa(uid), errkind.Expunged, "the message is gone")
	}
	base, _ := splitName(mb.nameAt(s, pos)[1:])
	ext := mb.ext[uid]
	out.BaseName = base
	if text, ok := extKey(ext, 'G'); ok {
		out.GUID = guidOf(text)
	} else {
		out.GUID = guidOf(base)
	}
	out.UIDL, _ = extKey(ext, 'P')
	if text, ok := extKey(ext, 'O'); ok {
		out.Order = number(text)
	}
	if v, ok := mb.virtSize(uid, base); ok {
		out.Size = v
	} else if want.Size {
		m, err := mb.message(uid)
		if err != nil {
			return out, err
		}
		out.Size = m.size
		m.Close()
	}
	saved, hasSaved := extKey(ext, 'T')
	if sec, err := strconv.ParseInt(saved, 10, 64); hasSaved && err == nil {
		out.SaveDate = time.Unix(sec, 0)
	}
	if want.InternalDate || want.SaveDate && out.SaveDate.IsZero() {
		info, err := mb.statAt(uid)
		if err != nil {
			return out, err
		}
		out.InternalDate = info.ModTime
		if out.SaveDate.IsZero() {
			out.SaveDate = info.ModTime
		}
	}
	return out, nil
}

// statAt stats a message's file, following renames by others; op is held.
func (mb *mailbox) statAt(uid uint32) (vfs.Info, error) {
	for try := 0; ; try++ {
		s := mb.snap.Load()
		pos, ok := s.Find(uid)
		if !ok {
			return vfs.Info{}, errkind.Newf("stat message "+utoa(uid), errkind.Expunged, "the message is gone")
		}
		info, err := mb.s.fs.Stat(mb.path(mb.nameAt(s, pos)))
		if err == nil || !notExist(err) || try == 8 {
			return info, mb.s.fail("stat message "+utoa(uid), err)
		}
		if err := mb.resync(); err != nil {
			return vfs.Info{}, err
		}
	}
}
