// Package spool reaches one mbox file and its lock file, and takes the locks
// that other programs respect.
//
// The mbox driver calls it, and rookery-dotlock. It must never know what the
// file holds.
package spool

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/vfs"
)

// Kind is a way to lock an mbox that other programs know.
type Kind string

// The ways. Fcntl locks are open-file-description locks, which POSIX locks of
// other programs exclude.
const (
	Fcntl   Kind = "fcntl"
	Flock   Kind = "flock"
	Dotlock Kind = "dotlock"
)

// Spool is how a mailbox's file is reached: by a path, or by the helper that
// alone may make a lock file beside it.
type Spool interface {
	// Open opens the file, as an open file description of its own. create makes a
	// missing one. It is opened for reading only where that is all there is.
	Open(create bool) (f vfs.File, writable bool, err error)
	Stat() (vfs.Info, error)
	// Lock makes the lock file; fs.ErrExist if another has it. own says that the caller
	// is the only one of our programs, so that a lock file of ours is a dead process's.
	Lock(own bool) error
	Unlock() error
}

// LockExt ends the names of lock files.
const LockExt = ".lock"

// lockText is what our lock files hold: no process id is zero, so nobody takes
// the holder for dead (a worker's own would be that of another process outside
// its namespace), and the second line says whose it is.
const lockText = "0\nrookery\n"

// Keeper is the file rookery-mbox-lock of the control directory. A lock file
// is a second name for it, where the file system allows that: made at once with its
// text, and known as ours by its inode, should a process die with it.
type Keeper struct {
	FS   vfs.FS
	Path string
	mu   sync.Mutex
	f    vfs.File
}

// touch readies the file: others take an old lock file for a dead one's.
func (k *Keeper) touch() (vfs.Info, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.f == nil {
		f, err := k.FS.OpenFile(k.Path, vfs.Read|vfs.Write|vfs.Create, 0o600)
		if err != nil {
			return vfs.Info{}, err
		}
		if info, err := f.Stat(); err != nil || info.Size != int64(len(lockText)) {
			if err == nil {
				_, err = f.WriteAt([]byte(lockText), 0)
			}
			if err == nil { // after a power cut a lock file must still say whose it is
				err = f.Sync()
			}
			if err != nil {
				f.Close()
				return vfs.Info{}, err
			}
		}
		k.f = f
	}
	if err := k.f.SetModTime(k.FS.Now()); err != nil {
		return vfs.Info{}, err
	}
	return k.f.Stat()
}

// Close gives the file up.
func (k *Keeper) Close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.f != nil {
		k.f.Close()
		k.f = nil
	}
}

// Path is a file that the process can reach by itself.
type Path struct {
	FS    vfs.FS
	Name  string
	Stale time.Duration // a lock file and an mbox that nobody has touched so long are nobody's
	Keep  *Keeper       // nil: lock files are files of their own
	Mode  fs.FileMode   // of a file that is made; 0: 0600
}

// Open opens the file; see Spool.
func (p *Path) Open(create bool) (vfs.File, bool, error) {
	flag := vfs.Read | vfs.Write
	if create {
		flag |= vfs.Create
	}
	mode := p.Mode
	if mode == 0 {
		mode = 0o600
	}
	f, err := p.FS.OpenFile(p.Name, flag, mode)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		f, err = p.FS.OpenFile(p.Name, vfs.Read, 0)
		return f, false, err
	}
	return f, err == nil, err
}

// Stat tells of the file.
func (p *Path) Stat() (vfs.Info, error) { return p.FS.Stat(p.Name) }

// Lock makes the lock file; see Spool.
func (p *Path) Lock(own bool) error {
	lock := p.Name + LockExt
	var kept vfs.Info
	err := errors.ErrUnsupported
	if p.Keep != nil {
		if kept, err = p.Keep.touch(); err == nil {
			err = p.FS.Link(p.Keep.Path, lock)
		}
	}
	if err != nil && !errors.Is(err, fs.ErrExist) { // another file system, or one without links
		kept = vfs.Info{}
		err = makeDotlock(p.FS, lock)
	}
	if errors.Is(err, fs.ErrExist) && p.dead(lock, kept, own) {
		return p.Lock(own)
	}
	return err
}

func makeDotlock(f vfs.FS, lock string) error {
	file, err := f.OpenFile(lock, vfs.Write|vfs.Create|vfs.Excl, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write([]byte(lockText))
	if file.Close(); err != nil {
		_ = f.Remove(lock)
	}
	return err
}

// dead removes the lock file of a dead process: ours, if own says that no living
// process of ours can have it; another's, if neither it nor the mbox has changed
// for long.
func (p *Path) dead(lock string, kept vfs.Info, own bool) bool {
	info, err := p.FS.Stat(lock)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	ours := kept.Inode != 0 && info.Inode == kept.Inode && info.Device == kept.Device
	if !ours {
		text, err := vfs.ReadFile(p.FS, lock, 64)
		ours = err == nil && string(text) == lockText
	}
	if !ours || !own {
		now := p.FS.Now()
		if box, err := p.FS.Stat(p.Name); p.Stale <= 0 || now.Sub(info.ModTime) < p.Stale || err == nil && now.Sub(box.ModTime) < p.Stale {
			return false
		}
	}
	// Another may do the same at this moment and make a new lock: only the file
	// that was looked at is taken away.
	aside := lock + "." + strconv.FormatUint(rand.Uint64(), 36) + LockExt
	if p.FS.Rename(lock, aside) != nil {
		return false
	}
	if now, err := p.FS.Stat(aside); err == nil && now.Inode != info.Inode {
		_ = p.FS.RenameNoReplace(aside, lock)
		return false
	}
	return p.FS.Remove(aside) == nil
}

// Unlock removes the lock file.
func (p *Path) Unlock() error {
	err := p.FS.Remove(p.Name + LockExt)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Held is what was locked.
type Held struct {
	f     vfs.File
	spool Spool
	kinds []Kind
}

// Take takes all locks in their order. Where one is taken the ones before it are
// given back before it is waited for: a program with another order then never waits for us.
// The one that was taken is tried first from then on: others have the lock file and look at
// the file for a moment (local(8) then sleeps a second with the lock file in hand), so that no
// other lock may be touched while that one cannot be had.
func Take(f vfs.File, s Spool, kinds []Kind, exclusive, own bool, wait time.Duration) (*Held, error) {
	end := time.Now().Add(wait)
	pause := time.Millisecond
	for {
		h := &Held{f: f, spool: s}
		err := h.take(kinds, exclusive, own)
		if err == nil {
			return h, nil
		}
		taken := len(h.kinds) // its place
		h.Release()
		kinds = slices.Concat(kinds[taken:taken+1], kinds[:taken], kinds[taken+1:])
		if !errkind.Is(err, errkind.InUse) && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		if !time.Now().Before(end) {
			return nil, errkind.New("lock mbox", errkind.InUse, err)
		}
		time.Sleep(pause)
		pause = min(2*pause, 50*time.Millisecond)
	}
}

func (h *Held) take(kinds []Kind, exclusive, own bool) error {
	for _, k := range kinds {
		var err error
		switch k {
		case Fcntl:
			err = h.f.Lock(exclusive, 0)
		case Flock:
			err = vfs.Flock(h.f, exclusive)
		case Dotlock:
			err = h.spool.Lock(own)
		}
		if err != nil {
			return err
		}
		h.kinds = append(h.kinds, k)
	}
	return nil
}

// Release gives back in the opposite order.
func (h *Held) Release() {
	for i := len(h.kinds) - 1; i >= 0; i-- {
		switch h.kinds[i] {
		case Fcntl:
			_ = h.f.Unlock()
		case Flock:
			_ = vfs.Funlock(h.f)
		case Dotlock:
			_ = h.spool.Unlock()
		}
	}
	h.kinds = nil
}
