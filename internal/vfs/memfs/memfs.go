// Package memfs is a file system in memory that behaves as POSIX says: files
// stay readable after their last name is gone, renames replace, directories
// have times and inode numbers.
//
// It also keeps what a disk would hold after a power cut: Survive gives the
// tree as the machine would find it at the next boot, with what was not synced
// lost, torn or kept. Tests of storage use it; package faultfs decides when the
// power goes. It must never know what the bytes mean.
//
// # What a sync promises
//
// Fsync of a file keeps its bytes and every name that it was given by a create,
// link or rename before; fsync of a directory keeps all changes of its names.
// Fdatasync keeps a file's bytes, and its names only where the file is new or its
// size has changed since its last sync: else ext4 starts no commit for it. A
// rename after the last sync of the file may be lost, and so may an unlink. A
// rename is never half done. What was not synced may survive in any order.
package memfs

import (
	"io/fs"
	"math"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"rookery/internal/vfs"
)

// Options set the clock and its coarseness.
type Options struct {
	Now         func() time.Time // nil: time.Now
	Granularity time.Duration    // file times are cut to it; 0: 1 ns
	BootID      string           // "" is "boot-1"
	// Space tells the free octets and the size of the disk; nil: without end.
	Space  func() (free, total uint64)
	NoLink bool // Link and RenameNoReplace answer EPERM and EINVAL, as some file systems do
}

// FS is a tree in memory. It is safe for concurrent use.
type FS struct {
	*disk
	root *inode // of this tree: Sub shares the disk
}

type disk struct {
	mu      sync.Mutex
	opt     Options
	nextIno uint64
	top     *inode
	pending []nameOp // changes of names that no sync has kept yet, oldest first
}

// inode is a file or directory; names refer to it.
type inode struct {
	ino          uint64
	mode         fs.FileMode
	links        int
	mtime, ctime time.Time
	data         []byte
	names        map[string]*inode // of a directory

	// What the disk is sure to hold.
	keptData  []byte
	keptTime  time.Time
	keptNames map[string]*inode
	dirty     bool // data differs from keptData
	grown     bool // it is new, or its size has changed since it was kept

	locks  map[*file]bool // holders of a lock; true: exclusive
	flocks map[*file]bool // the same of flock(2)
}

// nameOp is one atomic change of names: each set gives a name an inode, or takes it.
type nameOp struct{ sets []nameSet }

type nameSet struct {
	dir  *inode
	name string
	node *inode // nil: the name goes
}

// New makes an empty tree.
func New(opt Options) *FS {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.BootID == "" {
		opt.BootID = "boot-1"
	}
	d := &disk{opt: opt}
	d.top = d.newInode(fs.ModeDir | 0o755)
	return &FS{disk: d, root: d.top}
}

func (d *disk) now() time.Time {
	t := d.opt.Now()
	if g := d.opt.Granularity; g > 0 {
		t = t.Truncate(g)
	}
	return t
}

func (d *disk) newInode(mode fs.FileMode) *inode {
	d.nextIno++
	n := &inode{ino: d.nextIno, mode: mode, grown: true, mtime: d.now(), locks: map[*file]bool{}, flocks: map[*file]bool{}}
	n.ctime, n.keptTime = n.mtime, n.mtime
	if mode.IsDir() {
		n.names, n.keptNames, n.links = map[string]*inode{}, map[string]*inode{}, 1
	}
	return n
}

// look finds the directory and the last component of a path.
func (f *FS) look(path string) (dir *inode, base string, err error) {
	clean, err := vfs.CleanPath(path)
	if err != nil {
		return nil, "", err
	}
	dir = f.root
	for {
		c, rest, more := strings.Cut(clean, "/")
		if !more {
			return dir, c, nil
		}
		next := dir.names[c]
		switch {
		case next == nil:
			return nil, "", syscall.ENOENT
		case next.mode&fs.ModeSymlink != 0:
			return nil, "", syscall.ELOOP
		case !next.mode.IsDir():
			return nil, "", syscall.ENOTDIR
		}
		dir, clean = next, rest
	}
}

func (f *FS) find(path string) (*inode, error) {
	dir, base, err := f.look(path)
	if err != nil {
		return nil, err
	}
	if base == "." {
		return dir, nil
	}
	if n := dir.names[base]; n != nil {
		return n, nil
	}
	return nil, syscall.ENOENT
}

// apply changes names, stamps the directories and notes what a power cut may take.
func (d *disk) apply(sets ...nameSet) {
	now := d.now()
	for _, s := range sets {
		if old := s.dir.names[s.name]; old != nil {
			old.links--
			old.ctime = now
		}
		if s.node == nil {
			delete(s.dir.names, s.name)
		} else {
			s.dir.names[s.name] = s.node
			s.node.links++
			s.node.ctime = now
		}
		s.dir.mtime, s.dir.ctime = now, now
	}
	d.pending = append(d.pending, nameOp{sets})
}

func pathErr(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}

// Stat tells of path.
func (f *FS) Stat(path string) (vfs.Info, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.find(path)
	if err != nil {
		return vfs.Info{}, pathErr("stat", path, err)
	}
	return n.info(), nil
}

func (n *inode) info() vfs.Info {
	return vfs.Info{Size: int64(len(n.data)), Mode: n.mode, ModTime: n.mtime, ChangeTime: n.ctime,
		Inode: n.ino, Device: 1, Links: uint64(max(n.links, 0))}
}

// Space tells what the options say.
func (f *FS) Space(string) (free, total uint64, err error) {
	if f.opt.Space == nil {
		return math.MaxUint64, math.MaxUint64, nil
	}
	free, total = f.opt.Space()
	return free, total, nil
}

// ReadDir gives the names that were there at its start.
func (f *FS) ReadDir(path string, yield func(vfs.DirEntry) bool) error {
	f.mu.Lock()
	n, err := f.find(path)
	if err == nil && !n.mode.IsDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		f.mu.Unlock()
		return pathErr("readdir", path, err)
	}
	list := make([]vfs.DirEntry, 0, len(n.names))
	for name, c := range n.names {
		list = append(list, vfs.DirEntry{Name: name, Type: c.mode.Type(), Inode: c.ino})
	}
	f.mu.Unlock()
	slices.SortFunc(list, func(a, b vfs.DirEntry) int { return strings.Compare(a.Name, b.Name) })
	for _, e := range list {
		if !yield(e) {
			break
		}
	}
	return nil
}

// Mkdir makes a directory.
func (f *FS) Mkdir(path string, perm fs.FileMode) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir, base, err := f.look(path)
	if err == nil && (base == "." || dir.names[base] != nil) {
		err = syscall.EEXIST
	}
	if err != nil {
		return pathErr("mkdir", path, err)
	}
	n := f.newInode(fs.ModeDir | perm.Perm())
	n.links = 0
	f.apply(nameSet{dir, base, n})
	return nil
}

// Symlink makes a symbolic link, so that tests can see it not being followed.
func (f *FS) Symlink(target, path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir, base, err := f.look(path)
	if err == nil && dir.names[base] != nil {
		err = syscall.EEXIST
	}
	if err != nil {
		return pathErr("symlink", path, err)
	}
	n := f.newInode(fs.ModeSymlink | 0o777)
	n.data = []byte(target)
	f.apply(nameSet{dir, base, n})
	return nil
}

// Rename replaces to.
func (f *FS) Rename(from, to string) error { return f.rename(from, to, true) }

// RenameNoReplace fails if to is there.
func (f *FS) RenameNoReplace(from, to string) error { return f.rename(from, to, false) }

func (f *FS) rename(from, to string, replace bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	fd, fb, err := f.look(from)
	if err != nil {
		return pathErr("rename", from, err)
	}
	td, tb, err := f.look(to)
	if err != nil {
		return pathErr("rename", to, err)
	}
	n, old := fd.names[fb], td.names[tb]
	switch {
	case n == nil:
		return pathErr("rename", from, syscall.ENOENT)
	case tb == ".":
		return pathErr("rename", to, syscall.EBUSY)
	case old != nil && !replace:
		return pathErr("rename", to, syscall.EEXIST)
	case old == n:
		return nil // two names of one file: POSIX has both stay
	case n.mode.IsDir() && n.holds(td):
		return pathErr("rename", to, syscall.EINVAL)
	case old != nil && n.mode.IsDir() && !old.mode.IsDir():
		return pathErr("rename", to, syscall.ENOTDIR)
	case old != nil && !n.mode.IsDir() && old.mode.IsDir():
		return pathErr("rename", to, syscall.EISDIR)
	case old != nil && old.mode.IsDir() && len(old.names) > 0:
		return pathErr("rename", to, syscall.ENOTEMPTY)
	}
	f.apply(nameSet{fd, fb, nil}, nameSet{td, tb, n})
	return nil
}

// holds reports whether dir is n or lies below it.
func (n *inode) holds(dir *inode) bool {
	if n == dir {
		return true
	}
	for _, c := range n.names {
		if c.mode.IsDir() && c.holds(dir) {
			return true
		}
	}
	return false
}

// Link makes a second name for a file.
func (f *FS) Link(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.find(from)
	if err == nil && (n.mode.IsDir() || f.opt.NoLink) {
		err = syscall.EPERM
	}
	if err != nil {
		return pathErr("link", from, err)
	}
	td, tb, err := f.look(to)
	if err == nil && td.names[tb] != nil {
		err = syscall.EEXIST
	}
	if err != nil {
		return pathErr("link", to, err)
	}
	f.apply(nameSet{td, tb, n})
	return nil
}

// Remove removes a file's name.
func (f *FS) Remove(path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir, base, err := f.look(path)
	if err != nil {
		return pathErr("remove", path, err)
	}
	n := dir.names[base]
	if n == nil {
		return pathErr("remove", path, syscall.ENOENT)
	}
	if n.mode.IsDir() {
		return pathErr("remove", path, syscall.EISDIR)
	}
	f.apply(nameSet{dir, base, nil})
	return nil
}

// RemoveDir removes an empty directory.
func (f *FS) RemoveDir(path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir, base, err := f.look(path)
	if err != nil {
		return pathErr("rmdir", path, err)
	}
	n := dir.names[base]
	switch {
	case n == nil:
		err = syscall.ENOENT
	case !n.mode.IsDir():
		err = syscall.ENOTDIR
	case len(n.names) > 0:
		err = syscall.ENOTEMPTY
	default:
		f.apply(nameSet{dir, base, nil})
	}
	return pathErr("rmdir", path, err)
}

// SyncDir keeps all changes of a directory's names.
func (f *FS) SyncDir(path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.find(path)
	if err == nil && !n.mode.IsDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return pathErr("sync", path, err)
	}
	f.keep(func(op nameOp) bool {
		return slices.ContainsFunc(op.sets, func(s nameSet) bool { return s.dir == n })
	})
	return nil
}

// BootID names this boot.
func (f *FS) BootID() string { return f.opt.BootID }

// Now is the clock that stamps files, uncut.
func (f *FS) Now() time.Time { return f.opt.Now() }

// Sub gives the tree below path.
func (f *FS) Sub(path string) (vfs.FS, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.find(path)
	if err == nil && !n.mode.IsDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, pathErr("open", path, err)
	}
	return &FS{disk: f.disk, root: n}, nil
}
