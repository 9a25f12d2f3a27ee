package maildir

import (
	"errors"
	"io"
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/compress"
	"rookery/internal/mailstore/crlf"
	"rookery/internal/mailstore/index"
	"rookery/internal/vfs"
)

// message is an open message.
type message struct {
	file   vfs.File
	packed *compress.Body // nil: the file holds the message as it is
	size   int64
	view   *crlf.View // nil: the stored bytes are in CRLF form
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
		var src io.ReaderAt = m.file
		if m.packed != nil {
			src = m.packed
		}
		n, err = src.ReadAt(p[:min(int64(len(p)), m.size-off)], off)
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
	if m.view != nil || m.packed != nil {
		return 0, 0, false
	}
	fd, ok = m.file.Fd()
	return fd, 0, ok
}

func (m *message) Close() error {
	if m.packed != nil {
		m.packed.Close()
	}
	return m.file.Close()
}

// openAt opens a message's file; op is held. The name is the one that was opened.
func (mb *mailbox) openAt(uid uint32) (f vfs.File, name string, err error) {
	name, err = mb.atFile(uid, func(path string) (err error) {
		f, err = mb.s.fs.OpenFile(path, vfs.Read, 0)
		return err
	})
	return f, name, err
}

// atFile calls open with the path of a message's file, again where the file was
// renamed meanwhile; op is held. The name is the one that was there.
func (mb *mailbox) atFile(uid uint32, open func(path string) error) (name string, err error) {
	for try := 0; ; try++ {
		if mb.isDead() {
			return "", mb.gone()
		}
		v := mb.known()
		pos, ok := v.Find(uid)
		if !ok {
			return "", errkind.Newf("open message "+utoa(uid), errkind.Expunged, "the message is gone")
		}
		name := mb.nameAt(v, pos)
		err := open(mb.path(name))
		if err == nil {
			return name, nil
		}
		if !notExist(err) {
			return "", mb.s.fail("open message "+utoa(uid), err)
		}
		if try == 8 {
			return "", errkind.New("open message "+utoa(uid), errkind.Unavailable, errors.New("its file is renamed again and again"))
		}
		mb.look = true
		if err := mb.refresh(); err != nil {
			return "", err
		}
	}
}

// Message opens one message.
func (mb *mailbox) Message(uid mailstore.UID) (mailstore.Message, error) {
	mb.op.Lock()
	defer mb.op.Unlock()
	return mb.message(uid)
}

// message opens a message: a small one is read whole, which costs less than to
// read its head and to count its line ends.
func (mb *mailbox) message(uid uint32) (mailstore.Message, error) {
	buf := small.Get().(*smallBuffer)
	var n int
	var info vfs.Info
	var f vfs.File
	name, err := mb.atFile(uid, func(path string) (err error) {
		n, info, f, err = vfs.ReadSmall(mb.s.fs, path, buf.raw[:])
		return err
	})
	switch {
	case err != nil:
		small.Put(buf)
		return nil, err
	case f == nil:
		if m, packed, err := mb.unpackSmall(uid, name, buf, n); packed {
			small.Put(buf)
			switch {
			case err != nil:
				return nil, err
			case m != nil:
				return m, nil
			}
			return mb.large(uid) // once it is unpacked
		}
		m := newSmall(buf, n)
		mb.judge(uid, name, info.Size, m.Size())
		return m, nil
	}
	small.Put(buf)
	m, err := mb.present(uid, f, name, info)
	if err != nil {
		f.Close()
		return nil, err
	}
	return m, nil
}

// large opens a message's file whatever its size.
func (mb *mailbox) large(uid uint32) (mailstore.Message, error) {
	f, name, err := mb.openAt(uid)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		var m *message
		if m, err = mb.present(uid, f, name, info); err == nil {
			return m, nil
		}
	}
	f.Close()
	return nil, mb.s.fail("open message", err)
}

// present finds out how the stored bytes relate to the CRLF form: from the sizes
// that are known if they can be true, else by reading.
func (mb *mailbox) present(uid uint32, f vfs.File, name string, info vfs.Info) (*message, error) {
	if m, packed, err := mb.presentPacked(uid, f, name, info); packed {
		return m, err
	}
	if phys, virt := mb.told(uid, name); virt == info.Size && (phys < 0 || phys == info.Size) {
		return &message{file: f, size: info.Size}, nil
	}
	view, ok := mb.shapes.get(f, info)
	if !ok {
		var err error
		if view, err = crlf.Scan(f, info.Size); err != nil {
			return nil, mb.s.fail("read message", err)
		}
		mb.shapes.put(view, info)
	}
	mb.judge(uid, name, info.Size, view.Size())
	m := &message{file: f, size: view.Size(), view: view}
	if view.Plain() {
		m.view = nil
	}
	return m, nil
}

// told gives the sizes that the name and the index tell, -1 for those that they do not.
func (mb *mailbox) told(uid uint32, name string) (phys, virt int64) {
	base, _ := splitName(name[1:])
	phys, virt = nameSizes(base)
	if v, ok := mb.virtSize(uid); ok {
		virt = v
	}
	return phys, virt
}

// judge compares a message's true sizes with what is told of them: it mends what
// is wrong and learns what is missing.
func (mb *mailbox) judge(uid uint32, name string, stored, wire int64) {
	phys, virt := mb.told(uid, name)
	wrong := phys >= 0 && phys != stored || virt >= 0 && virt != wire
	if wrong {
		mb.mendSizes(uid, name, stored, wire)
	}
	if wrong || virt < 0 {
		mb.counted++
		mb.learn(uid, index.Facts{Size: wire})
	}
}

// virtSize gives a message's size in CRLF form, if it is known.
func (mb *mailbox) virtSize(uid uint32) (int64, bool) {
	if f, ok := mb.facts[uid]; ok && f.Size >= 0 {
		return f.Size, true
	}
	v := mb.known()
	if pos, ok := v.Find(uid); ok {
		size := v.Rec(pos).Size
		return size, size >= 0
	}
	return 0, false
}

// maxLearnt is how many messages' facts wait to be written to the index at once.
const maxLearnt = 256

// learn keeps what was found out of a message; op is held.
func (mb *mailbox) learn(uid uint32, f index.Facts) {
	if mb.facts == nil {
		mb.facts = map[uint32]index.Facts{}
	}
	if old, ok := mb.facts[uid]; ok {
		if f.Size < 0 {
			f.Size = old.Size
		}
		if f.Date == 0 {
			f.Date = old.Date
		}
		if f.Saved == 0 {
			f.Saved = old.Saved
		}
	}
	if mb.facts[uid] = f; len(mb.facts) >= maxLearnt {
		mb.keepFacts()
	}
}

// keepFacts writes what was learnt to the index. Where that cannot be now, it is
// learnt again another time.
func (mb *mailbox) keepFacts() {
	facts := mb.facts
	mb.facts = nil
	if len(facts) == 0 || mb.readOnly || mb.enter() != nil {
		return
	}
	defer mb.leave()
	if !mb.loaded {
		return
	}
	if tx, err := mb.begin(); err == nil {
		for uid, f := range facts {
			if pos, ok := mb.view().Find(uid); ok {
				tx.Facts(pos, f)
			}
		}
		mb.put(tx)
	}
}

// mendSizes renames a file whose name tells wrong sizes, and writes the uidlist
// anew, where the name stands. What fails is tried again at the next reading.
func (mb *mailbox) mendSizes(uid uint32, name string, phys, virt int64) {
	if mb.readOnly || mb.enter() != nil {
		return
	}
	defer mb.leave()
	lock, err := mb.s.lockUIDs(mb.ctl)
	if err != nil {
		return
	}
	defer lock.release()
	if have, err := mb.readUIDs(); err != nil || !have || !mb.loaded || len(mb.fresh) > 0 || mb.freshAll {
		return
	}
	v := mb.view()
	pos, ok := v.Find(uid)
	if !ok || mb.nameAt(v, pos) != name {
		return
	}
	base, info := splitName(name[1:])
	to := name[:1] + withSizes(base, phys, virt) + info
	_, ext, _ := splitLoc(v.Loc(pos))
	if text, ok := extKey(ext, 'W'); ok && text != utoa64(virt) {
		ext = extSet(ext, 'W', utoa64(virt))
	}
	if text, ok := extKey(ext, 'S'); ok && text != utoa64(phys) {
		ext = extSet(ext, 'S', utoa64(phys))
	}
	if _, ok := extKey(ext, 'G'); !ok {
		// The GUID of a message without one is its name: keep it.
		ext = extSet(ext, 'G', guidText(guidOf(base)))
	}
	tx, err := mb.begin()
	if err != nil {
		return
	}
	own := mb.beginOwn()
	if to != name {
		if err := mb.s.fs.RenameNoReplace(mb.path(name), mb.path(to)); err != nil {
			tx.Abort()
			return
		}
	}
	newBase, _ := splitName(to[1:])
	if err := mb.writeUIDs(nil, &uidRecord{uid, ext, newBase}); err != nil {
		mb.s.opt.Note("the uidlist of " + mb.nameNow() + " cannot be written: " + err.Error())
		if to != name {
			mb.s.fs.RenameNoReplace(mb.path(to), mb.path(name))
		}
		tx.Abort()
		mb.look = true
		return
	}
	mb.reshape(tx, v, pos, mb.shapeOf(to, ext, mb.moreOf(v, v.Rec(pos).Keywords)))
	tx.Facts(pos, index.Facts{Size: virt})
	own.end()
	mb.put(tx)
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
	r, err := mb.recordFor(uid)
	if err != nil {
		return out, errkind.Wrap("facts", err)
	}
	if f, ok := mb.facts[uid]; ok {
		r = withFacts(r, f)
	}
	out, _ = factsOf(r, true)
	if r.Size < 0 && want.Size {
		m, err := mb.message(uid)
		if err != nil {
			return out, err
		}
		out.Size = m.Size()
		m.Close()
	}
	if want.InternalDate && r.Date == 0 || want.SaveDate && r.Saved == 0 {
		info, err := mb.statAt(uid)
		if err != nil {
			return out, err
		}
		r.Date = info.ModTime.Unix()
		if r.Saved == 0 {
			r.Saved = r.Date
		}
		mb.learn(uid, index.Facts{Size: -1, Date: r.Date, Saved: r.Saved})
	}
	out.InternalDate, out.SaveDate = unixTime(r.Date), unixTime(r.Saved)
	return out, nil
}

// recordFor gives what the index has of a message; op is held. errkind.Expunged
// only if it is gone.
func (mb *mailbox) recordFor(uid uint32) (r index.Record, err error) {
	for range looks {
		v := mb.known()
		pos, ok := v.Find(uid)
		if !ok {
			return r, errkind.Newf("find message "+utoa(uid), errkind.Expunged, "the message is gone")
		}
		if r = v.Rec(pos); !v.Damaged() {
			return r, nil
		}
		mb.look = true
		if err := mb.refresh(); err != nil {
			return r, err
		}
	}
	return r, errPicture
}

// statAt stats a message's file, following renames by others; op is held.
func (mb *mailbox) statAt(uid uint32) (vfs.Info, error) {
	f, _, err := mb.openAt(uid)
	if err != nil {
		return vfs.Info{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	return info, mb.s.fail("stat message "+utoa(uid), err)
}
