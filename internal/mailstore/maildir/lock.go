package maildir

import (
	"errors"
	"io/fs"
	"syscall"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/vfs"
)

// Names of the locks.
const (
	lockFile     = "rookery-lock"         // per user, taken by the index; dotlocks are links of it
	userLockFile = "rookery-user-lock"    // per user: changes of the tree of folders
	uidlistLock  = "dovecot-uidlist.lock" // Dovecot's own
)

// staleLock is how old another program's dotlock must be before it is taken for
// left over. Dovecot's limit for the uidlist is the same.
const staleLock = 2 * time.Minute

// abilities are what the file system can do.
type abilities struct{ link, lock, write bool }

// held is a lock that is held.
type held struct {
	s    *Store
	file vfs.File // nil where there are no OFD locks
	dot  string   // path of the dotlock, "" if none
}

// release gives the lock up. Nothing can be done about an error: a dotlock that
// stays is known as ours by the next holder of the OFD lock, or grows stale.
func (h *held) release() {
	if h.dot != "" {
		h.s.fs.Remove(h.dot)
	}
	if h.file != nil {
		h.file.Unlock()
		h.file.Close()
	}
}

// lockUser takes the user's lock.
func (s *Store) lockUser() (*held, error) {
	h, err := s.lockOFD(join(s.opt.ControlPath, userLockFile))
	return h, s.fail("lock", err)
}

// lockOFD opens a lock file and locks it.
func (s *Store) lockOFD(path string) (*held, error) {
	file, err := s.fs.OpenFile(path, vfs.Read|vfs.Write|vfs.Create, s.opt.FileMode)
	if err != nil {
		return nil, err
	}
	err = file.Lock(true, s.opt.LockWait)
	switch {
	case err == nil:
		return &held{s: s, file: file}, nil
	case errors.Is(err, syscall.ENOLCK), errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENOSYS):
		// Without such locks the dotlock alone keeps order.
		file.Close()
		return &held{s: s}, nil
	}
	file.Close()
	return nil, err
}

// lockUIDs takes Dovecot's lock of a mailbox's uidlist. The user's lock is held:
// a dotlock that is ours can only be left over from a crash.
func (s *Store) lockUIDs(ctl string) (*held, error) {
	h, err := s.dotlockOf(join(ctl, uidlistLock))
	return h, s.fail("lock mailbox", err)
}

// dotlockOf makes a dotlock, under the user's lock.
func (s *Store) dotlockOf(dot string) (*held, error) {
	keep := join(s.opt.ControlPath, lockFile)
	file, err := s.fs.OpenFile(keep, vfs.Read|vfs.Write|vfs.Create, s.opt.FileMode)
	if err != nil {
		return nil, err
	}
	h := &held{s: s, file: file}
	if err := s.dotlock(h, keep, dot); err != nil {
		h.release()
		return nil, err
	}
	return h, nil
}

// dotlock makes dot, as a link of the kept file where it can.
func (s *Store) dotlock(h *held, keep, dot string) error {
	if h.file != nil {
		h.file.SetModTime(s.now()) // others judge a lock by its age
	}
	end := time.Now().Add(s.opt.LockWait)
	pause := time.Millisecond
	for {
		err := s.makeDot(keep, dot)
		if err == nil {
			h.dot = dot
			return nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		stale, err := s.staleDot(h, dot)
		if err != nil {
			return err
		}
		if stale {
			if err := s.fs.Remove(dot); err != nil && !notExist(err) {
				return err
			}
			continue
		}
		if !time.Now().Before(end) {
			return errkind.Newf("lock "+dot, errkind.InUse, "another program holds it")
		}
		time.Sleep(pause)
		pause = min(2*pause, 20*time.Millisecond)
	}
}

func (s *Store) makeDot(keep, dot string) error {
	if s.can.link {
		err := s.fs.Link(keep, dot)
		if err == nil || errors.Is(err, fs.ErrExist) || !linkRefused(err) {
			return err
		}
	}
	f, err := s.fs.OpenFile(dot, vfs.Write|vfs.Create|vfs.Excl, s.opt.FileMode)
	if err != nil {
		return err
	}
	f.Write([]byte(dotMark))
	return f.Close()
}

// dotMark is in a dotlock of ours that could not be a link.
const dotMark = "rookery\n"

// staleDot reports whether the dotlock is left over. While we hold the OFD lock,
// nobody of ours can hold a dotlock.
func (s *Store) staleDot(h *held, dot string) (bool, error) {
	info, err := s.fs.Stat(dot)
	if err != nil {
		if notExist(err) {
			return false, nil // gone: try again
		}
		return false, err
	}
	if h.file != nil && s.can.lock {
		if own, err := h.file.Stat(); err == nil && own.Inode == info.Inode && own.Device == info.Device {
			return true, nil
		}
		if info.Size == int64(len(dotMark)) {
			if b, err := vfs.ReadFile(s.fs, dot, info.Size); err == nil && string(b) == dotMark {
				return true, nil
			}
		}
	}
	newest := info.ModTime
	if info.ChangeTime.After(newest) {
		newest = info.ChangeTime
	}
	if s.now().Sub(newest) <= staleLock {
		return false, nil
	}
	s.opt.Note("removed " + dot + ", which nobody had touched for " + staleLock.String())
	return true, nil
}

// linkRefused reports whether an error says that links cannot be made here.
func linkRefused(err error) bool {
	for _, no := range []error{syscall.EPERM, syscall.EOPNOTSUPP, syscall.ENOSYS, syscall.EXDEV, syscall.EMLINK} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// probe tries what the driver relies on, in the control directory, and says what
// is done instead where something is missing. A disk that is full or cannot be
// written tells nothing of that, and must not keep its user from his mail: he
// could not even expunge.
func (s *Store) probe() error {
	a, b := join(s.opt.ControlPath, "rookery-probe."+s.names.mark), join(s.opt.ControlPath, "rookery-probe2."+s.names.mark)
	open := func() (vfs.File, error) {
		return s.fs.OpenFile(a, vfs.Read|vfs.Write|vfs.Create|vfs.Excl, s.opt.FileMode)
	}
	f, err := open()
	if unwritable(err) {
		s.opt.Note("the mail directory cannot be written: " + err.Error())
		s.can.write = diskKind(err) != errkind.ReadOnly
		return nil
	}
	if err != nil {
		return s.fail("probe", err)
	}
	defer func() { f.Close(); s.fs.Remove(a); s.fs.Remove(b) }()
	if g, err := open(); err == nil {
		g.Close()
		return errkind.Newf("probe", errkind.Unavailable, "the file system lets O_EXCL make a file that is there; mail cannot be kept safely on it")
	}
	if err := f.Lock(true, 0); err != nil {
		s.can.lock = false
		s.opt.Note("the file system has no open-file-description locks (" + err.Error() + "); dovecot-uidlist.lock alone keeps processes apart")
	} else {
		f.Unlock()
	}
	err = s.fs.Link(a, b)
	switch {
	case err == nil:
		s.fs.Remove(b)
	case !unwritable(err):
		s.can.link = false
		s.opt.Note("the file system has no hard links (" + err.Error() + "); copies are written anew, and locks are made with O_EXCL")
	}
	if err := s.fs.Rename(a, b); err != nil && !unwritable(err) {
		return errkind.New("probe", errkind.Unavailable, err)
	}
	return nil
}

// unwritable reports whether an error says that nothing can be written now, for
// lack of room or by how the disk is mounted.
func unwritable(err error) bool {
	switch diskKind(err) {
	case errkind.NoSpace, errkind.ReadOnly:
		return err != nil
	}
	return false
}
