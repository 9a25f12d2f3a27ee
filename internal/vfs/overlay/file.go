package overlay

import (
	"io"
	"io/fs"
	"syscall"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/vfs"
)

// pageSize is the unit in which a file's changes are kept.
const pageSize = 4096

// handle is one open file.
type handle struct {
	s    *shared
	n    *node
	name string
	key  string // where n is known
	flag vfs.Flag
	at   int64
	real vfs.File // of its own, for a lock on the disk's file
	shut bool
}

var _ vfs.File = (*handle)(nil)
var _ vfs.Flocker = (*handle)(nil)

// OpenFile opens a file; one that is made is made here.
func (f *FS) OpenFile(path string, flag vfs.Flag, perm fs.FileMode) (vfs.File, error) {
	p, err := f.full("open", path)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.look(p)
	switch {
	case err == nil && flag&vfs.Excl != 0 && flag&vfs.Create != 0:
		return nil, fail("open", path, fs.ErrExist)
	case err == nil && n.dir:
		return nil, fail("open", path, syscall.EISDIR)
	case err == nil && n.info.Mode.Type() == fs.ModeSymlink:
		return nil, fail("open", path, syscall.ELOOP)
	case err == nil:
	case vfs.NotExist(err) && flag&vfs.Create != 0:
		if perr := f.parent(p); perr != nil {
			return nil, fail("open", path, perr)
		}
		n, err = f.made(perm, false), nil
		f.know(p, n)
		f.touch(p)
	}
	if err != nil {
		return nil, fail("open", path, err)
	}
	if err := f.reach(n); err != nil {
		return nil, fail("open", path, err)
	}
	if flag&(vfs.Write|vfs.Append) != 0 && n.path != "" && n.info.Mode.Perm()&0o222 == 0 {
		f.drop(n)
		return nil, fail("open", path, fs.ErrPermission)
	}
	n.open++
	if f.nodes[p] != n {
		f.know(p, n)
	}
	h := &handle{s: f.shared, n: n, name: path, key: p, flag: flag}
	if flag&vfs.Trunc != 0 {
		if err := f.resize(n, 0); err != nil {
			return nil, fail("open", path, err)
		}
	}
	return h, nil
}

// reach opens the disk's file of a node.
func (s *shared) reach(n *node) (err error) {
	if n.file == nil && n.path != "" && !n.dir {
		n.file, err = s.under.OpenFile(n.path, vfs.Read, 0)
	}
	return cause(err)
}

// freeze has a file stay what it is now: from here on it is this tree's own.
func (s *shared) freeze(n *node) error {
	if n.changed {
		return nil
	}
	if err := s.reach(n); err != nil {
		return err
	}
	info, err := n.file.Stat()
	if err != nil {
		return err
	}
	n.info, n.below, n.changed, n.pinned = info, info.Size, true, true
	return nil
}

// drop gives up what nobody needs of a node that is closed.
func (s *shared) drop(n *node) {
	if n.open > 0 || n.changed && n.info.Links > 0 || n.file == nil {
		return
	}
	n.file.Close()
	n.file = nil
	if n.changed {
		s.held -= int64(len(n.pages)) * pageSize
		n.pages = nil
	}
}

// stat gives what is true of a node now.
func (h *handle) stat() (vfs.Info, error) {
	if h.n.changed {
		return h.n.info, nil
	}
	return h.n.file.Stat()
}

func (h *handle) Stat() (vfs.Info, error) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	if h.shut {
		return vfs.Info{}, h.err("stat", fs.ErrClosed)
	}
	return h.stat()
}

func (h *handle) err(op string, err error) error { return fail(op, h.name, err) }

func (h *handle) Read(p []byte) (int, error) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	n, err := h.readAt(p, h.at)
	h.at += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

func (h *handle) ReadAt(p []byte, off int64) (int, error) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	return h.readAt(p, off)
}

func (h *handle) readAt(p []byte, off int64) (int, error) {
	switch {
	case h.shut:
		return 0, h.err("read", fs.ErrClosed)
	case h.flag&vfs.Read == 0:
		return 0, h.err("read", syscall.EBADF)
	case off < 0:
		return 0, h.err("read", fs.ErrInvalid)
	case len(p) == 0:
		return 0, nil
	case !h.n.changed:
		return h.n.file.ReadAt(p, off)
	}
	return h.n.readAt(p, off)
}

// readAt reads a changed file.
func (n *node) readAt(p []byte, off int64) (int, error) {
	if off >= n.info.Size {
		return 0, io.EOF
	}
	want := p[:min(int64(len(p)), n.info.Size-off)]
	for done := 0; done < len(want); {
		at := off + int64(done)
		no, in := at/pageSize, at%pageSize
		part := want[done:]
		part = part[:min(int64(len(part)), pageSize-in)]
		if pg := n.pages[no]; pg != nil {
			copy(part, pg[in:])
		} else if err := n.fromDisk(part, at); err != nil {
			return done, err
		}
		done += len(part)
	}
	if len(want) < len(p) {
		return len(want), io.EOF
	}
	return len(want), nil
}

// fromDisk reads octets that nobody has changed; beyond the disk's they are zeroes.
func (n *node) fromDisk(p []byte, off int64) error {
	clear(p)
	if k := min(int64(len(p)), n.below-off); k > 0 {
		if _, err := n.file.ReadAt(p[:k], off); err != nil && err != io.EOF {
			return err
		}
	}
	return nil
}

func (h *handle) Write(p []byte) (int, error) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	if h.flag&vfs.Append != 0 {
		info, err := h.stat()
		if err != nil {
			return 0, err
		}
		h.at = info.Size
	}
	n, err := h.writeAt(p, h.at)
	h.at += int64(n)
	return n, err
}

func (h *handle) WriteAt(p []byte, off int64) (int, error) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	if h.flag&vfs.Append != 0 {
		return 0, h.err("write", fs.ErrInvalid)
	}
	return h.writeAt(p, off)
}

// writable reports why the handle cannot write, and freezes its node.
func (h *handle) writable(op string) error {
	switch {
	case h.shut:
		return h.err(op, fs.ErrClosed)
	case h.flag&(vfs.Write|vfs.Append) == 0:
		return h.err(op, syscall.EBADF)
	}
	return h.s.freeze(h.n)
}

func (h *handle) writeAt(p []byte, off int64) (int, error) {
	if err := h.writable("write"); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, h.err("write", fs.ErrInvalid)
	}
	for done := 0; done < len(p); {
		at := off + int64(done)
		no, in := at/pageSize, at%pageSize
		pg, err := h.s.page(h.n, no)
		if err != nil {
			return done, h.err("write", err)
		}
		k := copy(pg[in:], p[done:])
		done += k
		h.n.info.Size = max(h.n.info.Size, at+int64(k))
	}
	h.n.info.ModTime = h.s.under.Now()
	h.n.info.ChangeTime = h.n.info.ModTime
	return len(p), nil
}

// page gives a page to write to.
func (s *shared) page(n *node, no int64) (*[pageSize]byte, error) {
	if pg := n.pages[no]; pg != nil {
		return pg, nil
	}
	if s.held += pageSize; s.held > MaxMemory {
		s.held -= pageSize
		return nil, syscall.ENOSPC
	}
	pg := new([pageSize]byte)
	if err := n.fromDisk(pg[:], no*pageSize); err != nil {
		return nil, err
	}
	if n.pages == nil {
		n.pages = map[int64]*[pageSize]byte{}
	}
	n.pages[no] = pg
	return pg, nil
}

// resize cuts a file or makes it longer.
func (s *shared) resize(n *node, size int64) error {
	if err := s.freeze(n); err != nil {
		return err
	}
	if size < n.info.Size {
		n.below = min(n.below, size)
		for no, pg := range n.pages {
			switch {
			case no*pageSize >= size:
				delete(n.pages, no)
				s.held -= pageSize
			case (no+1)*pageSize > size:
				clear(pg[size-no*pageSize:])
			}
		}
	}
	n.info.Size = size
	n.info.ModTime = s.under.Now()
	n.info.ChangeTime = n.info.ModTime
	return nil
}

func (h *handle) Truncate(size int64) error {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	if err := h.writable("truncate"); err != nil {
		return err
	}
	if size < 0 {
		return h.err("truncate", fs.ErrInvalid)
	}
	return h.s.resize(h.n, size)
}

func (h *handle) Allocate(size int64) error {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	if err := h.writable("allocate"); err != nil {
		return err
	}
	if size > h.n.info.Size {
		return h.s.resize(h.n, size)
	}
	return nil
}

func (h *handle) Seek(off int64, whence int) (int64, error) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		off += h.at
	case io.SeekEnd:
		info, err := h.stat()
		if err != nil {
			return 0, err
		}
		off += info.Size
	}
	if off < 0 {
		return 0, h.err("seek", fs.ErrInvalid)
	}
	h.at = off
	return off, nil
}

func (h *handle) SetModTime(t time.Time) error {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	if h.shut {
		return h.err("set time", fs.ErrClosed)
	}
	if err := h.s.freeze(h.n); err != nil {
		return err
	}
	h.n.info.ModTime, h.n.info.ChangeTime = t, h.s.under.Now()
	return nil
}

// Sync has nothing to do: there is no disk.
func (h *handle) Sync() error { _, err := h.Stat(); return err }

// DataSync has nothing to do.
func (h *handle) DataSync() error { return h.Sync() }

// Fd gives none: the disk's descriptor does not have the changes.
func (h *handle) Fd() (uintptr, bool) { return 0, false }

// Close gives the file up.
func (h *handle) Close() error {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	if h.shut {
		return h.err("close", fs.ErrClosed)
	}
	h.shut = true
	delete(h.n.locks, h)
	delete(h.n.flocks, h)
	if h.real != nil {
		h.real.Close()
	}
	if h.n.open--; h.n.open == 0 {
		if !h.n.pinned && h.s.nodes[h.key] == h.n {
			h.s.forget(h.key)
		}
		h.s.drop(h.n)
	}
	return nil
}

// lockEvery is how often a lock that is not free is tried again.
const lockEvery = 5 * time.Millisecond

// Lock takes the lock of the disk's file, or, for one that was made here, one of
// this tree.
func (h *handle) Lock(exclusive bool, wait time.Duration) error {
	for end := time.Now().Add(wait); ; time.Sleep(lockEvery) {
		err := h.take("lock", &h.n.locks, exclusive, func(f vfs.File) error { return f.Lock(exclusive, 0) })
		if !errkind.Is(err, errkind.InUse) || !time.Now().Before(end) {
			return err
		}
	}
}

// own gives the handle's own descriptor of the disk's file, for locks; nil where
// there is no such file, or no right to lock it.
func (h *handle) own() vfs.File {
	if h.real == nil && h.n.path != "" {
		f, err := h.s.under.OpenFile(h.n.path, vfs.Read|vfs.Write, 0)
		if err != nil {
			return nil
		}
		// Another file may have the name now.
		if info, err := f.Stat(); err != nil || info.Inode != h.n.info.Inode {
			f.Close()
			return nil
		}
		h.real = f
	}
	return h.real
}

// take takes a lock, by real on the disk's file, or one among those of held.
func (h *handle) take(op string, held *map[*handle]bool, exclusive bool, real func(vfs.File) error) error {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	if h.shut {
		return h.err(op, fs.ErrClosed)
	}
	if f := h.own(); f != nil {
		return real(f)
	}
	for other, ex := range *held {
		if other != h && (ex || exclusive) {
			return errkind.New(op, errkind.InUse, h.err(op, syscall.EAGAIN))
		}
	}
	if *held == nil {
		*held = map[*handle]bool{}
	}
	(*held)[h] = exclusive
	return nil
}

// give gives back what take took.
func (h *handle) give(op string, held *map[*handle]bool, real func(vfs.File) error) error {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	if h.shut {
		return h.err(op, fs.ErrClosed)
	}
	delete(*held, h)
	if h.real != nil {
		return real(h.real)
	}
	return nil
}

// Unlock gives it back.
func (h *handle) Unlock() error { return h.give("unlock", &h.n.locks, vfs.File.Unlock) }

// Flock is flock(2)'s lock, in the same way.
func (h *handle) Flock(exclusive bool) error {
	return h.take("flock", &h.n.flocks, exclusive, func(f vfs.File) error { return vfs.Flock(f, exclusive) })
}

// Funlock gives it back.
func (h *handle) Funlock() error { return h.give("flock", &h.n.flocks, vfs.Funlock) }
