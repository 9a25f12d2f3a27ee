package maildir

import (
	"io"
	"time"

	"rookery/internal/crc32c"
	"rookery/internal/errkind"
	"rookery/internal/vfs"
)

// twins settles files that share a base name. The mailbox's lock is held.
func (mb *mailbox) twins(f *files) error {
	if len(f.twins) == 0 {
		return nil
	}
	for _, t := range f.twins {
		a, b := &f.list[t[0]], &f.list[t[1]]
		ia, ea := mb.s.fs.Stat(mb.path(a.name))
		ib, eb := mb.s.fs.Stat(mb.path(b.name))
		switch {
		case ea != nil && eb == nil:
			a.name, b.used = b.name, true // a was renamed to b while we looked
		case eb != nil:
			b.used = true
		case ia.Inode == ib.Inode:
			// One file under two names: a delivery that stopped between link and
			// unlink. The name in cur/ stays.
			if a.name[0] == 'n' {
				*a, *b = *b, *a
			}
			if err := mb.s.fs.Remove(mb.path(b.name)); err != nil && !notExist(err) {
				return err
			}
			b.used = true
		default:
			if a.name[0] == 'n' && b.name[0] == 'c' {
				*a, *b = *b, *a // the name, and with it the UID, is more likely the older file's
			}
			if err := mb.rebase(b); err != nil {
				return err
			}
			mb.s.opt.Note("two messages of " + mb.nameNow() + " had one name: one is now " + b.name[1:])
		}
	}
	list := f.list[:0]
	for _, x := range f.list {
		if !x.used {
			list = append(list, x)
		}
	}
	f.list, f.twins = list, nil
	f.index()
	if len(f.twins) > 0 { // three of a kind: another round
		return mb.twins(f)
	}
	return nil
}

// rebase gives a file a base name of its own.
func (mb *mailbox) rebase(x *found) error {
	old, info := splitName(x.name[1:])
	base := mb.s.names.next(mb.s.now())
	if p, v := nameSizes(old); p >= 0 && v >= 0 {
		// Of two files with one name at most one is what it says.
		if i, err := mb.s.fs.Stat(mb.path(x.name)); err == nil && i.Size == p {
			base = withSizes(base, p, v)
		}
	}
	name := x.name[:1] + base + info
	if err := mb.s.fs.RenameNoReplace(mb.path(x.name), mb.path(name)); err != nil {
		return err
	}
	x.name, x.base = name, len(base)
	return nil
}

// welcome looks at a file before it gets a UID. A file whose name we made and
// whose bytes are not what the name says was being written when the power went:
// it was never answered, and goes. A file that came back after its message was
// expunged gets another name, since its old one stands in the uidlist.
func (mb *mailbox) welcome(x *found, reborn bool) (bool, error) {
	base := x.baseName()
	if sum, ok := nameSum(base); ok {
		whole, err := mb.whole(x, sum)
		if err != nil {
			if notExist(err) {
				return false, nil
			}
			return false, err
		}
		if !whole {
			mb.s.opt.Note("removed " + x.name[1:] + " of " + mb.nameNow() + ", whose delivery a power cut stopped before it was acknowledged")
			err := mb.s.fs.Remove(mb.path(x.name))
			if err != nil && notExist(err) {
				err = nil
			}
			return false, err
		}
	}
	if reborn {
		mb.s.opt.Note("the expunged message " + base + " of " + mb.nameNow() + " came back and gets a new UID")
		if err := mb.rebase(x); err != nil {
			if notExist(err) {
				return false, nil
			}
			return false, err
		}
	}
	return true, nil
}

// whole reports whether a file can be what its name says. A file of the right
// size and other bytes counts as cut only if a block of it is empty, as lost
// blocks read: else somebody edited it.
func (mb *mailbox) whole(x *found, sum uint32) (bool, error) {
	phys, _ := nameSizes(x.baseName())
	f, err := mb.s.fs.OpenFile(mb.path(x.name), vfs.Read, 0)
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	if packed, whole, err := mb.storedWhole(f, info.Size); packed || err != nil {
		return whole, err
	}
	if info.Size < phys {
		return false, nil
	}
	if info.Size > phys {
		return true, nil
	}
	h := new(crc32c.Digest)
	buf := make([]byte, 64<<10)
	empty := false
	for off := int64(0); off < info.Size; off += int64(len(buf)) {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), info.Size-off)], off)
		if err != nil && err != io.EOF {
			return false, err
		}
		h.Write(buf[:n])
		for p := buf[:n]; len(p) > 0 && !empty; p = p[min(len(p), 512):] {
			empty = allZero(p[:min(len(p), 512)])
		}
	}
	return h.Sum32() == sum || !empty, nil
}

func allZero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}

// showReadOnly opens a mailbox that cannot be written: what has a UID is shown,
// from an index in memory. f is a look at the folder, or nil.
func (mb *mailbox) showReadOnly(f *files, cause error) error {
	if mb.hdr.validity == 0 {
		return errkind.Wrap("the mailbox cannot be written, and has no uidlist", cause)
	}
	mb.readOnly = true
	return mb.showSome(f)
}

// showSome shows what has a UID, without a lock.
func (mb *mailbox) showSome(f *files) (err error) {
	if f == nil {
		if f, err = mb.s.scan(mb.dir); err != nil {
			return mb.lost(err)
		}
	}
	have, err := mb.readUIDs()
	if err != nil || !have {
		return mb.s.fail("read uidlist", err)
	}
	if err := mb.readKeywords(); err != nil {
		return err
	}
	if mb.freshAll {
		if err := mb.dropStrangers(); err != nil {
			return err
		}
	}
	p, err := mb.match(f)
	if err != nil {
		return err
	}
	again := len(p.unknown)+len(p.reborn) > 0 || !f.stable
	p.unknown, p.reborn = nil, nil
	if !f.stable { // without the lock only a look that nothing disturbed proves that a file is gone
		p.missing = nil
	}
	if err := mb.apply(f, p); err != nil {
		return err
	}
	mb.look = mb.look || again
	return nil
}

// cramped shows what has a UID where there is no room to give one to what is new:
// a user whose disk is full must be able to read and to expunge. The next look
// tries again.
func (mb *mailbox) cramped(f *files, cause error) error {
	if mb.hdr.validity == 0 {
		return cause
	}
	if err := mb.showSome(f); err != nil {
		return err
	}
	mb.look = true
	if !mb.noRoom {
		mb.noRoom = true
		mb.s.opt.Note("new messages of " + mb.nameNow() + " are not shown until there is room for their UIDs: " + cause.Error())
	}
	return nil
}

// staleTmp is how old a file in tmp/ is when it is thrown away (the Maildir
// specification's 36 hours).
const staleTmp = 36 * time.Hour

// sweepTmp removes what deliveries left behind in tmp/.
func (mb *mailbox) sweepTmp() {
	limit := mb.s.now().Add(-staleTmp)
	var old []string
	mb.s.fs.ReadDir(join(mb.dir, "tmp"), func(e vfs.DirEntry) bool {
		old = append(old, e.Name)
		return len(old) < 10000
	})
	for _, name := range old {
		path := join(mb.dir, "tmp/"+name)
		if i, err := mb.s.fs.Stat(path); err == nil && i.Mode.IsRegular() && i.ModTime.Before(limit) && i.ChangeTime.Before(limit) {
			mb.s.fs.Remove(path)
		}
	}
}

// tidy is done when the mailbox leaves memory: what was learnt is kept, old files
// of tmp/ go, and so does a uidlist that holds much of what is gone, or lacks
// sizes that had to be counted.
func (mb *mailbox) tidy() {
	if mb.readOnly {
		return
	}
	mb.keepFacts()
	mb.sweepTmp()
	if w := mb.st.dropped + mb.counted; w == 0 || w < rewriteAt(mb.st.records) && mb.st.records > 2000 {
		return
	}
	if mb.enter() != nil {
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
	if err := mb.writeUIDs(nil, nil); err != nil {
		return
	}
	if tx, err := mb.begin(); err == nil {
		mb.put(tx)
	}
}
