package storetest

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	"rookery/internal/vfs"
)

// tripwire runs a function once, just before one of a process's disk operations,
// and knows which files cannot be opened.
type tripwire struct {
	mu    sync.Mutex
	left  int    // operations until do runs; 0: it does not
	do    func() // under no lock
	count int    // operations so far
	where string // what do ran before
	runs  sync.WaitGroup
}

// arm has do run before the k-th operation from now on.
func (t *tripwire) arm(k int, do func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.left, t.do, t.where = k, do, ""
}

// disarm ends it and tells before what it ran, "" if it did not. It may have run
// in work that a store does in the background: what it does has ended then.
func (t *tripwire) disarm() string {
	t.mu.Lock()
	t.left, t.do = 0, nil
	where := t.where
	t.mu.Unlock()
	t.runs.Wait()
	return where
}

func (t *tripwire) step(what, path string) {
	t.mu.Lock()
	t.count++
	var do func()
	if t.left > 0 {
		if t.left--; t.left == 0 {
			do, t.where = t.do, what+" "+path
			t.runs.Add(1)
		}
	}
	t.mu.Unlock()
	if do != nil {
		defer t.runs.Done()
		do()
	}
}

// locked are files that nobody may open: what chmod does for who is not root. A
// file that takes the place of one of them is none.
type locked struct {
	mu     sync.Mutex
	inodes map[uint64]bool
}

func (l *locked) add(inode uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inodes[inode] = true
}

func (l *locked) has(inode uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inodes[inode]
}

// tripDisk is one process's view of a disk, with a tripwire before each operation.
type tripDisk struct {
	in  vfs.FS
	t   *tripwire
	bar *locked
}

func (d *tripDisk) OpenFile(p string, flag vfs.Flag, perm fs.FileMode) (vfs.File, error) {
	d.t.step("open", p)
	if strings.HasPrefix(path.Base(p), "rookery.index") {
		if i, err := d.in.Stat(p); err == nil && d.bar.has(i.Inode) {
			return nil, &fs.PathError{Op: "open", Path: p, Err: syscall.EACCES}
		}
	}
	f, err := d.in.OpenFile(p, flag, perm)
	if err != nil {
		return nil, err
	}
	return &tripFile{File: f, d: d, path: p}, nil
}

func (d *tripDisk) Stat(p string) (vfs.Info, error) { d.t.step("stat", p); return d.in.Stat(p) }

func (d *tripDisk) ReadDir(p string, yield func(vfs.DirEntry) bool) error {
	d.t.step("readdir", p)
	return d.in.ReadDir(p, yield)
}

func (d *tripDisk) Mkdir(p string, perm fs.FileMode) error {
	d.t.step("mkdir", p)
	return d.in.Mkdir(p, perm)
}

func (d *tripDisk) Rename(from, to string) error {
	d.t.step("rename", to)
	return d.in.Rename(from, to)
}

func (d *tripDisk) RenameNoReplace(from, to string) error {
	d.t.step("rename", to)
	return d.in.RenameNoReplace(from, to)
}

func (d *tripDisk) Link(from, to string) error { d.t.step("link", to); return d.in.Link(from, to) }
func (d *tripDisk) Remove(p string) error      { d.t.step("remove", p); return d.in.Remove(p) }
func (d *tripDisk) RemoveDir(p string) error   { d.t.step("rmdir", p); return d.in.RemoveDir(p) }
func (d *tripDisk) SyncDir(p string) error     { d.t.step("syncdir", p); return d.in.SyncDir(p) }
func (d *tripDisk) BootID() string             { return d.in.BootID() }
func (d *tripDisk) Now() time.Time             { return d.in.Now() }

func (d *tripDisk) Sub(p string) (vfs.FS, error) {
	in, err := d.in.Sub(p)
	return &tripDisk{in, d.t, d.bar}, err
}

// Space asks the disk.
func (d *tripDisk) Space(p string) (free, total uint64, err error) { return vfs.Space(d.in, p) }

type tripFile struct {
	vfs.File
	d    *tripDisk
	path string
}

func (f *tripFile) Read(p []byte) (int, error) { f.d.t.step("read", f.path); return f.File.Read(p) }

func (f *tripFile) ReadAt(p []byte, off int64) (int, error) {
	f.d.t.step("read", f.path)
	return f.File.ReadAt(p, off)
}

func (f *tripFile) Write(p []byte) (int, error) { f.d.t.step("write", f.path); return f.File.Write(p) }

func (f *tripFile) WriteAt(p []byte, off int64) (int, error) {
	f.d.t.step("write", f.path)
	return f.File.WriteAt(p, off)
}

func (f *tripFile) Stat() (vfs.Info, error) { f.d.t.step("fstat", f.path); return f.File.Stat() }
func (f *tripFile) Sync() error             { f.d.t.step("sync", f.path); return f.File.Sync() }
func (f *tripFile) DataSync() error         { f.d.t.step("datasync", f.path); return f.File.DataSync() }

func (f *tripFile) Truncate(n int64) error {
	f.d.t.step("truncate", f.path)
	return f.File.Truncate(n)
}

func (f *tripFile) SetModTime(t time.Time) error {
	f.d.t.step("utimens", f.path)
	return f.File.SetModTime(t)
}

func (f *tripFile) Lock(exclusive bool, wait time.Duration) error {
	f.d.t.step("lock", f.path)
	return f.File.Lock(exclusive, wait)
}

// Map maps where the disk below can.
func (f *tripFile) Map(size int64) ([]byte, func() error, error) {
	f.d.t.step("map", f.path)
	if m, ok := f.File.(vfs.Mapper); ok {
		return m.Map(size)
	}
	return nil, nil, errors.ErrUnsupported
}

// StartSync, Flock and Funlock are the disk's below.
func (f *tripFile) StartSync() error           { return vfs.StartSync(f.File) }
func (f *tripFile) Flock(exclusive bool) error { return vfs.Flock(f.File, exclusive) }
func (f *tripFile) Funlock() error             { return vfs.Funlock(f.File) }
