// Package wholefile keeps one small control file that is read whole, and replaced whole by
// rename, synced before a change returns.
//
// Who changes it holds the lock of an empty file beside it; readers take none, and know a
// new version by its stat. As long as nothing was changed neither file is there. Packages
// that keep a user's notes call it (annotation, ownnotes). It must never know what the file
// says, or whose it is.
package wholefile

import (
	"sync"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/vfs"
)

const (
	// MaxRead bounds a file that is read, in octets.
	MaxRead = 16 << 20
	// MaxWritten bounds one that is written, but for changes that make it smaller.
	MaxWritten = 4 << 20
)

// Book is what a file says. It is not changed once it is read or written.
type Book[B any] interface {
	Clone() B
	Encode() []byte
}

// File is one file. Its methods may be called from several goroutines.
type File[B Book[B]] struct {
	FS         vfs.FS
	Path, Lock string
	LockWait   time.Duration
	Op         string // of an error in reading
	TooLarge   string // says why a change is refused with errkind.Limit
	Empty      func() B
	Decode     func([]byte) (B, error)

	work sync.Mutex // one change at a time in this process

	mu     sync.Mutex // what follows
	cached B
	known  bool     // cached is what the file said
	stamp  vfs.Info // of the file that cached is; zero: there was none
}

// Look gives what the file says now; was, if replaced, is what it said at the last look or
// change of this process: another has replaced it since.
func (f *File[B]) Look() (now, was B, replaced bool, err error) {
	info, err := f.FS.Stat(f.Path)
	if err != nil && !vfs.NotExist(err) {
		return now, was, false, vfs.Kinded(f.Op, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known && same(info, f.stamp) {
		return f.cached, was, false, nil
	}
	now = f.Empty()
	if err == nil {
		// Stat comes first: if the file is replaced between the two, the stamp is the
		// old one and the next reader looks again.
		data, err := vfs.ReadFile(f.FS, f.Path, MaxRead)
		if err != nil {
			return now, was, false, vfs.Kinded(f.Op, err)
		}
		if now, err = f.Decode(data); err != nil {
			return now, was, false, err
		}
	}
	was, replaced = f.cached, f.known
	f.cached, f.known, f.stamp = now, true, info
	return now, was, replaced, nil
}

// same reports whether two looks saw the same file: it is only ever replaced.
func same(a, b vfs.Info) bool {
	return a.Inode == b.Inode && a.Device == b.Device && a.Size == b.Size && a.ModTime.Equal(b.ModTime)
}

// Update changes the file, if change says that there is something to change. read is Look,
// as the caller has it.
func (f *File[B]) Update(op string, read func() (B, error), change func(B) (bool, error)) error {
	f.work.Lock()
	defer f.work.Unlock()
	lock, err := f.FS.OpenFile(f.Lock, vfs.Read|vfs.Write|vfs.Create, 0o600)
	if err != nil {
		return vfs.Kinded(op, err)
	}
	defer lock.Close()
	// A file system without such locks has, at worst, one of two changes at once.
	if err := lock.Lock(true, f.LockWait); errkind.Is(err, errkind.InUse) {
		return errkind.Wrap(op, err)
	}
	old, err := read()
	if err != nil {
		return errkind.Wrap(op, err)
	}
	next := old.Clone()
	if changed, err := change(next); err != nil || !changed {
		return errkind.Wrap(op, err)
	}
	data := next.Encode()
	if len(data) > MaxWritten && len(data) > len(old.Encode()) {
		return errkind.Newf(op, errkind.Limit, f.TooLarge)
	}
	info, err := vfs.Replace(f.FS, f.Path, data, 0o600)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil { // else what is read back counts
		f.cached, f.known, f.stamp = next, true, info
	}
	return vfs.Kinded(op, err)
}
