package vfs

import (
	"io/fs"
	"runtime"

	"golang.org/x/sys/unix"

	"rookery/internal/errkind"
)

// Flocker is a File that knows flock(2), which is apart from Lock: programs that
// lock mail by one do not see the other. Closing the file gives it back, too.
type Flocker interface {
	// Flock takes the lock without waiting; errkind.InUse if another has it.
	Flock(exclusive bool) error
	Funlock() error
}

// Flock takes flock(2)'s lock on f; errkind.Unavailable where f has none, since
// a lock that does not hold must never be taken for one.
func Flock(f File, exclusive bool) error {
	if l, ok := f.(Flocker); ok {
		return l.Flock(exclusive)
	}
	return errkind.New("flock", errkind.Unavailable, fs.ErrInvalid)
}

// Funlock gives it back.
func Funlock(f File) error {
	if l, ok := f.(Flocker); ok {
		return l.Funlock()
	}
	return nil
}

// Flock is flock(2) without waiting.
func (f *osFile) Flock(exclusive bool) error {
	how := unix.LOCK_SH
	if exclusive {
		how = unix.LOCK_EX
	}
	err := retryErr(func() error { return unix.Flock(f.fd, how|unix.LOCK_NB) })
	runtime.KeepAlive(f.f)
	if err == unix.EWOULDBLOCK {
		return errkind.New("flock", errkind.InUse, pathErr("flock", f.f.Name(), err))
	}
	return pathErr("flock", f.f.Name(), err)
}

// Funlock is flock(2) with LOCK_UN.
func (f *osFile) Funlock() error {
	err := retryErr(func() error { return unix.Flock(f.fd, unix.LOCK_UN) })
	runtime.KeepAlive(f.f)
	return pathErr("flock", f.f.Name(), err)
}
