package memfs

import (
	"io"
	"io/fs"
	"syscall"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/vfs"
)

// file is an open file description.
type file struct {
	fs   *FS
	n    *inode
	flag vfs.Flag
	name string
	off  int64
	shut bool
}

// OpenFile opens a file; see vfs.FS.
func (f *FS) OpenFile(path string, flag vfs.Flag, perm fs.FileMode) (vfs.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir, base, err := f.look(path)
	if err != nil {
		return nil, pathErr("open", path, err)
	}
	n := dir.names[base]
	switch {
	case base == "." || n != nil && n.mode.IsDir():
		return nil, pathErr("open", path, syscall.EISDIR)
	case n == nil && flag&vfs.Create == 0:
		return nil, pathErr("open", path, syscall.ENOENT)
	case n == nil:
		n = f.newInode(perm.Perm())
		f.apply(nameSet{dir, base, n})
	case flag&vfs.Create != 0 && flag&vfs.Excl != 0:
		return nil, pathErr("open", path, syscall.EEXIST)
	case n.mode&fs.ModeSymlink != 0:
		return nil, pathErr("open", path, syscall.ELOOP)
	case flag&vfs.Trunc != 0 && len(n.data) > 0:
		n.setSize(0, f.now())
	}
	return &file{fs: f, n: n, flag: flag, name: path}, nil
}

func (n *inode) setSize(size int64, now time.Time) {
	switch have := int64(len(n.data)); {
	case size < have:
		n.data, n.grown = n.data[:size:size], true
	case size > have:
		n.data, n.grown = append(n.data, make([]byte, size-have)...), true
	}
	n.mtime, n.ctime, n.dirty = now, now, true
}

// enter locks the tree and checks that the file is open.
func (o *file) enter(op string, need vfs.Flag) error {
	o.fs.mu.Lock()
	if o.shut {
		return pathErr(op, o.name, fs.ErrClosed)
	}
	if o.flag&need != need {
		return pathErr(op, o.name, syscall.EBADF)
	}
	return nil
}

func (o *file) leave() { o.fs.mu.Unlock() }

func (o *file) Read(p []byte) (int, error) {
	err := o.enter("read", vfs.Read)
	defer o.leave()
	if err != nil {
		return 0, err
	}
	n, err := o.n.readAt(p, o.off)
	o.off += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

func (n *inode) readAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, syscall.EINVAL
	}
	if len(p) == 0 {
		return 0, nil
	}
	if off >= int64(len(n.data)) {
		return 0, io.EOF
	}
	c := copy(p, n.data[off:])
	if c < len(p) {
		return c, io.EOF
	}
	return c, nil
}

func (o *file) ReadAt(p []byte, off int64) (int, error) {
	err := o.enter("read", vfs.Read)
	defer o.leave()
	if err != nil {
		return 0, err
	}
	return o.n.readAt(p, off)
}

func (o *file) Write(p []byte) (int, error) {
	err := o.enter("write", vfs.Write)
	defer o.leave()
	if err != nil {
		return 0, err
	}
	if o.flag&vfs.Append != 0 {
		o.off = int64(len(o.n.data))
	}
	o.n.writeAt(p, o.off, o.fs.now())
	o.off += int64(len(p))
	return len(p), nil
}

func (n *inode) writeAt(p []byte, off int64, now time.Time) {
	if len(p) == 0 {
		return
	}
	if end := off + int64(len(p)); end > int64(len(n.data)) {
		n.setSize(end, now)
	}
	copy(n.data[off:], p)
	n.mtime, n.ctime, n.dirty = now, now, true
}

func (o *file) WriteAt(p []byte, off int64) (int, error) {
	err := o.enter("write", vfs.Write)
	defer o.leave()
	if err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, pathErr("write", o.name, syscall.EINVAL)
	}
	if o.flag&vfs.Append != 0 {
		off = int64(len(o.n.data))
	}
	o.n.writeAt(p, off, o.fs.now())
	return len(p), nil
}

func (o *file) Seek(off int64, whence int) (int64, error) {
	err := o.enter("seek", 0)
	defer o.leave()
	if err != nil {
		return 0, err
	}
	switch whence {
	case io.SeekCurrent:
		off += o.off
	case io.SeekEnd:
		off += int64(len(o.n.data))
	}
	if off < 0 {
		return 0, pathErr("seek", o.name, syscall.EINVAL)
	}
	o.off = off
	return off, nil
}

func (o *file) Close() error {
	err := o.enter("close", 0)
	defer o.leave()
	if err != nil {
		return err
	}
	o.shut = true
	delete(o.n.locks, o)
	delete(o.n.flocks, o)
	return nil
}

func (o *file) Stat() (vfs.Info, error) {
	err := o.enter("stat", 0)
	defer o.leave()
	if err != nil {
		return vfs.Info{}, err
	}
	return o.n.info(), nil
}

func (o *file) Sync() error {
	err := o.enter("sync", 0)
	defer o.leave()
	if err == nil {
		o.fs.keepFile(o.n)
	}
	return err
}

// DataSync is fdatasync: the bytes, and of a file that is new or has another size
// what Sync keeps. A rename changes no more than the file's ctime, for which
// fdatasync starts no commit on ext4, whatever bytes were written over others.
func (o *file) DataSync() error {
	err := o.enter("sync", 0)
	defer o.leave()
	switch {
	case err != nil:
	case o.n.grown:
		o.fs.keepFile(o.n)
	case o.n.dirty:
		o.n.keepBytes()
	}
	return err
}

func (o *file) Truncate(size int64) error {
	err := o.enter("truncate", vfs.Write)
	defer o.leave()
	if err != nil {
		return err
	}
	if size < 0 {
		return pathErr("truncate", o.name, syscall.EINVAL)
	}
	o.n.setSize(size, o.fs.now())
	return nil
}

func (o *file) Allocate(size int64) error {
	err := o.enter("allocate", vfs.Write)
	defer o.leave()
	if err == nil && size > int64(len(o.n.data)) {
		o.n.setSize(size, o.fs.now())
	}
	return err
}

func (o *file) SetModTime(t time.Time) error {
	err := o.enter("utimens", 0)
	defer o.leave()
	if err != nil {
		return err
	}
	if g := o.fs.opt.Granularity; g > 0 {
		t = t.Truncate(g)
	}
	o.n.mtime, o.n.ctime, o.n.dirty = t, o.fs.now(), true
	return nil
}

// Lock polls: nobody in memory waits long, and a killed owner must not wake anybody.
func (o *file) Lock(exclusive bool, wait time.Duration) error {
	end := time.Now().Add(wait)
	for {
		got, err := o.tryLock(exclusive)
		if got || err != nil {
			return err
		}
		if !time.Now().Before(end) {
			return errkind.New("lock", errkind.InUse, pathErr("lock", o.name, syscall.EAGAIN))
		}
		time.Sleep(100 * time.Microsecond)
	}
}

func (o *file) tryLock(exclusive bool) (bool, error) {
	need := vfs.Read
	if exclusive {
		need = vfs.Write // fcntl(2): EBADF otherwise
	}
	err := o.enter("lock", need)
	defer o.leave()
	if err != nil {
		return false, err
	}
	for other, ex := range o.n.locks {
		if other != o && (exclusive || ex) {
			return false, nil
		}
	}
	o.n.locks[o] = exclusive
	return true, nil
}

// Flock is apart from Lock, as flock(2) is from fcntl(2).
func (o *file) Flock(exclusive bool) error {
	err := o.enter("flock", 0)
	defer o.leave()
	if err != nil {
		return err
	}
	for other, ex := range o.n.flocks {
		if other != o && (exclusive || ex) {
			return errkind.New("flock", errkind.InUse, pathErr("flock", o.name, syscall.EAGAIN))
		}
	}
	o.n.flocks[o] = exclusive
	return nil
}

// Funlock gives the lock of Flock back.
func (o *file) Funlock() error {
	err := o.enter("flock", 0)
	defer o.leave()
	if err == nil {
		delete(o.n.flocks, o)
	}
	return err
}

func (o *file) Unlock() error {
	err := o.enter("unlock", 0)
	defer o.leave()
	if err == nil {
		delete(o.n.locks, o)
	}
	return err
}

func (o *file) Fd() (uintptr, bool) { return 0, false }
