package index

import (
	"errors"
	"syscall"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/vfs"
)

// lockFile is never removed or replaced, or two processes would each lock a
// file of their own.
const lockFile = "rookery-lock"

// userLock keeps writers of one user apart: goroutines by a channel, since an
// OFD lock belongs to the open file that they share, processes by the OFD lock.
type userLock struct {
	turn chan struct{} // holds one token while the lock is free
	file vfs.File
	none bool // the file system has no locks
}

// Lock makes the caller the user's only writer, among all processes, and reads
// the log on: Box.View is then the truth as far as the index has it. It waits at
// most wait; 0 tries once. errkind.InUse if another writer has it. It cannot be
// taken twice by one goroutine.
func (u *User) Lock(wait time.Duration) error {
	start := time.Now()
	select {
	case <-u.lock.turn:
	default:
		if wait <= 0 {
			return errkind.Newf("lock", errkind.InUse, "another session of the user is writing")
		}
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-u.lock.turn:
		case <-timer.C:
			return errkind.Newf("lock", errkind.InUse, "another session of the user is writing")
		}
	}
	if err := u.lockProcesses(max(wait-time.Since(start), 0)); err != nil {
		u.lock.turn <- struct{}{}
		return err
	}
	if err := u.lookLocked(); err != nil {
		u.Unlock()
		return errkind.Wrap("lock", err)
	}
	return nil
}

// lookLocked reads the log on, and makes one again where it was given up.
func (u *User) lookLocked() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := u.sync(true); err != nil {
		return err
	}
	if u.log == nil && u.alone.Load() {
		u.ready()
	}
	return nil
}

func (u *User) lockProcesses(wait time.Duration) error {
	l := &u.lock
	if l.none {
		return nil
	}
	if l.file == nil {
		f, err := u.opt.FS.OpenFile(join(u.opt.ControlDir, lockFile), vfs.Read|vfs.Write|vfs.Create, u.opt.FileMode)
		if err != nil {
			return errkind.Wrap("lock", err)
		}
		l.file = f
	}
	err := l.file.Lock(true, wait)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOLCK), errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENOSYS):
		l.none = true
		u.opt.Note("the file system has no locks: two processes of one user are kept apart by the formats' own locks only")
		return nil
	}
	return errkind.Wrap("lock", err)
}

// Unlock gives the lock up.
func (u *User) Unlock() {
	if l := &u.lock; l.file != nil && !l.none {
		l.file.Unlock()
	}
	u.lock.turn <- struct{}{}
}
