package mbox

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"strconv"
	"sync"
	"syscall"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/vfs"
)

// LockKind is a way to lock an mbox that other programs know.
type LockKind string

// The ways. Fcntl locks are open-file-description locks, which POSIX locks of
// other programs exclude.
const (
	Fcntl   LockKind = "fcntl"
	Flock   LockKind = "flock"
	Dotlock LockKind = "dotlock"
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

// lockText is what our lock files hold: no process id is zero, so nobody takes
// the holder for dead (a worker's own would be that of another process outside
// its namespace), and the second line says whose it is.
const lockText = "0\nrookery\n"

// keeper is the file rookery-mbox-lock of the control directory. A lock file
// is a second name for it, where the file system allows that: made at once with its
// text, and known as ours by its inode, should a process die with it.
type keeper struct {
	fs   vfs.FS
	path string
	mu   sync.Mutex
	f    vfs.File
}

// touch readies the file: others take an old lock file for a dead one's.
func (k *keeper) touch() (vfs.Info, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.f == nil {
		f, err := k.fs.OpenFile(k.path, vfs.Read|vfs.Write|vfs.Create, 0o600)
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
	if err := k.f.SetModTime(k.fs.Now()); err != nil {
		return vfs.Info{}, err
	}
	return k.f.Stat()
}

func (k *keeper) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.f != nil {
		k.f.Close()
		k.f = nil
	}
}

// pathSpool is a file that the process can reach by itself.
type pathSpool struct {
	fs    vfs.FS
	path  string
	stale time.Duration
	keep  *keeper
}

func (p *pathSpool) Open(create bool) (vfs.File, bool, error) {
	flag := vfs.Read | vfs.Write
	if create {
		flag |= vfs.Create
	}
	f, err := p.fs.OpenFile(p.path, flag, 0o600)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		f, err = p.fs.OpenFile(p.path, vfs.Read, 0)
		return f, false, err
	}
	return f, err == nil, err
}

func (p *pathSpool) Stat() (vfs.Info, error) { return p.fs.Stat(p.path) }

func (p *pathSpool) Lock(own bool) error {
	lock := p.path + lockExt
	kept, err := p.keep.touch()
	if err == nil {
		err = p.fs.Link(p.keep.path, lock)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) { // another file system, or one without links
		kept = vfs.Info{}
		err = makeDotlock(p.fs, lock)
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
func (p *pathSpool) dead(lock string, kept vfs.Info, own bool) bool {
	info, err := p.fs.Stat(lock)
	if err != nil {
		return missing(err)
	}
	ours := kept.Inode != 0 && info.Inode == kept.Inode && info.Device == kept.Device
	if !ours {
		text, err := vfs.ReadFile(p.fs, lock, 64)
		ours = err == nil && string(text) == lockText
	}
	if !ours || !own {
		now := p.fs.Now()
		if box, err := p.fs.Stat(p.path); p.stale <= 0 || now.Sub(info.ModTime) < p.stale || err == nil && now.Sub(box.ModTime) < p.stale {
			return false
		}
	}
	// Another may do the same at this moment and make a new lock: only the file
	// that was looked at is taken away.
	aside := lock + "." + strconv.FormatUint(rand.Uint64(), 36) + lockExt
	if p.fs.Rename(lock, aside) != nil {
		return false
	}
	if now, err := p.fs.Stat(aside); err == nil && now.Inode != info.Inode {
		_ = p.fs.RenameNoReplace(aside, lock)
		return false
	}
	return p.fs.Remove(aside) == nil
}

func (p *pathSpool) Unlock() error {
	err := p.fs.Remove(p.path + lockExt)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Flocker is a file that knows flock(2).
type Flocker interface {
	// Flock takes the lock without waiting; errkind.InUse if another has it.
	Flock(exclusive bool) error
	Funlock() error
}

// held is what was locked.
type held struct {
	f     vfs.File
	spool Spool
	kinds []LockKind
}

// lock takes all locks in their order. Where one is taken the ones before it are
// given back before it is waited for: a program with another order then never waits for us.
func lock(f vfs.File, s Spool, kinds []LockKind, exclusive, own bool, wait time.Duration) (*held, error) {
	end := time.Now().Add(wait)
	pause := time.Millisecond
	for {
		h := &held{f: f, spool: s}
		err := h.take(kinds, exclusive, own)
		if err == nil {
			return h, nil
		}
		h.release()
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

func (h *held) take(kinds []LockKind, exclusive, own bool) error {
	for _, k := range kinds {
		var err error
		switch k {
		case Fcntl:
			err = h.f.Lock(exclusive, 0)
		case Flock:
			if l, ok := h.f.(Flocker); ok {
				err = l.Flock(exclusive)
			}
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

// release gives back in the opposite order.
func (h *held) release() {
	for i := len(h.kinds) - 1; i >= 0; i-- {
		switch h.kinds[i] {
		case Fcntl:
			_ = h.f.Unlock()
		case Flock:
			if l, ok := h.f.(Flocker); ok {
				_ = l.Funlock()
			}
		case Dotlock:
			_ = h.spool.Unlock()
		}
	}
	h.kinds = nil
}
