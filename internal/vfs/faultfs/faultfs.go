// Package faultfs makes a file system in memory fail: it counts operations,
// fails chosen ones with a chosen error, cuts the power after a chosen one, and
// kills one process of several that share a disk.
//
// Tests of storage use it. It must never know what the bytes mean.
//
// # Counting
//
// Operations are numbered from 1 in the order in which they begin. Changes
// (what alters the disk, or syncs it) have numbers of their own, because a power
// cut after a read finds what the cut before it found.
package faultfs

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
)

// ErrDead is what every operation answers after the power was cut or the process killed.
var ErrDead = errors.New("the machine is off")

// FS is one process's view of a disk in memory. It is safe for concurrent use.
type FS struct {
	*proc
	in vfs.FS
}

// proc is what the trees of one process share.
type proc struct {
	mu       sync.Mutex
	mem      *memfs.FS
	ops      int
	changes  int
	cutAfter int
	failAt   int
	failFor  int
	failErr  error
	failed   string // what the injected error hit
	dead     bool
	at       *memfs.FS // the disk at the moment of the cut, by Fate and seed
	fate     memfs.Fate
	seed     uint64
	open     map[*file]bool
	trace    []string
	tracing  bool
}

// New wraps a disk. Several FS may wrap the same one: they are processes of one machine.
func New(mem *memfs.FS) *FS {
	return &FS{proc: &proc{mem: mem, open: map[*file]bool{}}, in: mem}
}

// CutAfter cuts the power once change k is done: this process sees ErrDead from
// then on, and Survivor gives what the disk holds.
func (f *FS) CutAfter(k int, fate memfs.Fate, seed uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cutAfter, f.fate, f.seed = k, fate, seed
}

// FailAt makes operations k to k+count-1 fail with err, undone. Closing and
// unlocking never fail.
func (f *FS) FailAt(k, count int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failAt, f.failFor, f.failErr = k, count, err
}

// Failed names the operation that FailAt hit first; "" if none.
func (f *FS) Failed() string { f.mu.Lock(); defer f.mu.Unlock(); return f.failed }

// Ops and Changes count what was begun so far.
func (f *FS) Ops() int     { f.mu.Lock(); defer f.mu.Unlock(); return f.ops }
func (f *FS) Changes() int { f.mu.Lock(); defer f.mu.Unlock(); return f.changes }

// Dead reports whether the power was cut or the process killed.
func (f *FS) Dead() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.dead }

// Survivor gives the disk after the cut, with a new boot id. Without a cut so
// far it cuts now.
func (f *FS) Survivor(fate memfs.Fate, seed uint64) *memfs.FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.at == nil {
		f.dead, f.at = true, f.mem.Survive(fate, seed)
	}
	return f.at
}

// Kill ends the process, as kill -9 does: its files close, its locks go, what
// it wrote stays.
func (f *FS) Kill() {
	f.mu.Lock()
	f.dead = true
	files := f.open
	f.open = map[*file]bool{}
	f.mu.Unlock()
	for o := range files {
		o.in.Close()
	}
}

// OpenFiles counts files that are open: tests see leaks by it.
func (f *FS) OpenFiles() int { f.mu.Lock(); defer f.mu.Unlock(); return len(f.open) }

// Trace turns the record of changes on; Traced gives it.
func (f *FS) Trace(on bool)    { f.mu.Lock(); defer f.mu.Unlock(); f.tracing = on }
func (f *FS) Traced() []string { f.mu.Lock(); defer f.mu.Unlock(); return f.trace }

// do runs one operation. The lock is held over changes, so that a cut falls
// between two of them.
func (f *FS) do(change bool, what, path string, op func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return &fs.PathError{Op: what, Path: path, Err: ErrDead}
	}
	f.ops++
	if f.failErr != nil && f.ops >= f.failAt && f.ops < f.failAt+f.failFor {
		if f.failed == "" {
			f.failed = what + " " + path
		}
		return &fs.PathError{Op: what, Path: path, Err: f.failErr}
	}
	err := op()
	if !change {
		return err
	}
	f.changes++
	if f.tracing {
		f.trace = append(f.trace, fmt.Sprintf("%d %s %s", f.changes, what, path))
	}
	if f.cutAfter > 0 && f.changes >= f.cutAfter {
		f.dead, f.at = true, f.mem.Survive(f.fate, f.seed)
	}
	return err
}

// OpenFile opens a file; it is a change if it may create or cut one.
func (f *FS) OpenFile(path string, flag vfs.Flag, perm fs.FileMode) (vfs.File, error) {
	var got *file
	err := f.do(flag&(vfs.Create|vfs.Trunc) != 0, "open", path, func() error {
		in, err := f.in.OpenFile(path, flag, perm)
		if err == nil {
			got = &file{fs: f, in: in, path: path}
			f.open[got] = true
		}
		return err
	})
	if err != nil {
		if got != nil { // cannot be: do returns op's error
			got.in.Close()
		}
		return nil, err
	}
	return got, nil
}

// Stat tells of path.
func (f *FS) Stat(path string) (i vfs.Info, err error) {
	err = f.do(false, "stat", path, func() (e error) { i, e = f.in.Stat(path); return e })
	return i, err
}

// ReadDir reads a directory.
func (f *FS) ReadDir(path string, yield func(vfs.DirEntry) bool) error {
	var list []vfs.DirEntry
	err := f.do(false, "readdir", path, func() error {
		return f.in.ReadDir(path, func(e vfs.DirEntry) bool { list = append(list, e); return true })
	})
	if err != nil {
		return err
	}
	for _, e := range list {
		if !yield(e) {
			break
		}
	}
	return nil
}

// Mkdir makes a directory.
func (f *FS) Mkdir(path string, perm fs.FileMode) error {
	return f.do(true, "mkdir", path, func() error { return f.in.Mkdir(path, perm) })
}

// Rename replaces to.
func (f *FS) Rename(from, to string) error {
	return f.do(true, "rename", from+" "+to, func() error { return f.in.Rename(from, to) })
}

// RenameNoReplace fails if to is there.
func (f *FS) RenameNoReplace(from, to string) error {
	return f.do(true, "rename", from+" "+to, func() error { return f.in.RenameNoReplace(from, to) })
}

// Link makes a second name.
func (f *FS) Link(from, to string) error {
	return f.do(true, "link", from+" "+to, func() error { return f.in.Link(from, to) })
}

// Remove removes a file's name.
func (f *FS) Remove(path string) error {
	return f.do(true, "remove", path, func() error { return f.in.Remove(path) })
}

// RemoveDir removes an empty directory.
func (f *FS) RemoveDir(path string) error {
	return f.do(true, "rmdir", path, func() error { return f.in.RemoveDir(path) })
}

// SyncDir syncs a directory.
func (f *FS) SyncDir(path string) error {
	return f.do(true, "syncdir", path, func() error { return f.in.SyncDir(path) })
}

// BootID names this boot.
func (f *FS) BootID() string { return f.in.BootID() }

// Now is the disk's clock.
func (f *FS) Now() time.Time { return f.in.Now() }

// Sub gives the tree below path, of the same process.
func (f *FS) Sub(path string) (vfs.FS, error) {
	var in vfs.FS
	err := f.do(false, "sub", path, func() (e error) { in, e = f.in.Sub(path); return e })
	if err != nil {
		return nil, err
	}
	return &FS{proc: f.proc, in: in}, nil
}

type file struct {
	fs   *FS
	in   vfs.File
	path string
}

func (o *file) n(change bool, what string, op func() (int, error)) (n int, err error) {
	err = o.fs.do(change, what, o.path, func() (e error) { n, e = op(); return e })
	return n, err
}

func (o *file) Read(p []byte) (int, error) {
	return o.n(false, "read", func() (int, error) { return o.in.Read(p) })
}

func (o *file) ReadAt(p []byte, off int64) (int, error) {
	return o.n(false, "read", func() (int, error) { return o.in.ReadAt(p, off) })
}

func (o *file) Write(p []byte) (int, error) {
	return o.n(true, "write", func() (int, error) { return o.in.Write(p) })
}

func (o *file) WriteAt(p []byte, off int64) (int, error) {
	return o.n(true, "write", func() (int, error) { return o.in.WriteAt(p, off) })
}

func (o *file) Seek(off int64, whence int) (int64, error) { return o.in.Seek(off, whence) }

func (o *file) Stat() (i vfs.Info, err error) {
	err = o.fs.do(false, "fstat", o.path, func() (e error) { i, e = o.in.Stat(); return e })
	return i, err
}

func (o *file) Sync() error     { return o.fs.do(true, "sync", o.path, o.in.Sync) }
func (o *file) DataSync() error { return o.fs.do(true, "datasync", o.path, o.in.DataSync) }

// StartSync promises nothing, so it is no change.
func (o *file) StartSync() error {
	return o.fs.do(false, "startsync", o.path, func() error { return vfs.StartSync(o.in) })
}

func (o *file) Truncate(size int64) error {
	return o.fs.do(true, "truncate", o.path, func() error { return o.in.Truncate(size) })
}

func (o *file) Allocate(size int64) error {
	return o.fs.do(true, "allocate", o.path, func() error { return o.in.Allocate(size) })
}

func (o *file) SetModTime(t time.Time) error {
	return o.fs.do(true, "utimens", o.path, func() error { return o.in.SetModTime(t) })
}

// Lock waits outside the count, or two lockers would wait for each other.
func (o *file) Lock(exclusive bool, wait time.Duration) error {
	if err := o.fs.do(false, "lock", o.path, func() error { return nil }); err != nil {
		return err
	}
	return o.in.Lock(exclusive, wait)
}

func (o *file) Unlock() error { return o.in.Unlock() }

// Flock is vfs.Flocker's.
func (o *file) Flock(exclusive bool) error {
	return o.fs.do(false, "flock", o.path, func() error { return vfs.Flock(o.in, exclusive) })
}

// Funlock never fails by injection, as Unlock.
func (o *file) Funlock() error { return vfs.Funlock(o.in) }

func (o *file) Close() error {
	o.fs.mu.Lock()
	delete(o.fs.open, o)
	o.fs.mu.Unlock()
	return o.in.Close()
}

func (o *file) Fd() (uintptr, bool) { return 0, false }

// Space asks the disk; it never fails of itself.
func (f *FS) Space(path string) (free, total uint64, err error) { return vfs.Space(f.in, path) }
