package vfs

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"rookery/internal/errkind"
)

// osFile is a regular file. os.File gives the loops around short and
// interrupted reads and writes, and closes what was forgotten.
type osFile struct {
	f  *os.File
	fd int
}

func (f *osFile) Read(p []byte) (int, error)                { return f.f.Read(p) }
func (f *osFile) ReadAt(p []byte, off int64) (int, error)   { return f.f.ReadAt(p, off) }
func (f *osFile) Write(p []byte) (int, error)               { return f.f.Write(p) }
func (f *osFile) Seek(off int64, whence int) (int64, error) { return f.f.Seek(off, whence) }
func (f *osFile) Close() error                              { return f.f.Close() }
func (f *osFile) Sync() error                               { return f.f.Sync() }

// WriteAt goes to off, but to the end of a file that was opened with Append, as pwrite(2) does.
func (f *osFile) WriteAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		n, err := retry(func() (int, error) { return unix.Pwrite(f.fd, p[done:], off+int64(done)) })
		runtime.KeepAlive(f.f)
		if err != nil {
			return done, pathErr("write", f.f.Name(), err)
		}
		done += n
	}
	return done, nil
}

func (f *osFile) Stat() (Info, error) {
	var st unix.Stat_t
	err := retryErr(func() error { return unix.Fstat(f.fd, &st) })
	runtime.KeepAlive(f.f)
	if err != nil {
		return Info{}, pathErr("stat", f.f.Name(), err)
	}
	return infoOf(&st), nil
}

func (f *osFile) DataSync() error {
	err := retryErr(func() error { return unix.Fdatasync(f.fd) })
	runtime.KeepAlive(f.f)
	return pathErr("sync", f.f.Name(), err)
}

func (f *osFile) Truncate(size int64) error { return f.f.Truncate(size) }

// Allocate reserves blocks and grows the file to size. File systems without
// fallocate get a plain growth: the reservation is then not promised.
func (f *osFile) Allocate(size int64) error {
	err := retryErr(func() error { return unix.Fallocate(f.fd, 0, 0, size) })
	runtime.KeepAlive(f.f)
	if err == unix.EOPNOTSUPP || err == unix.ENOSYS {
		info, serr := f.Stat()
		if serr != nil || info.Size >= size {
			return serr
		}
		return f.Truncate(size)
	}
	return pathErr("allocate", f.f.Name(), err)
}

// SetModTime sets the times by descriptor: utimensat with no path at all, which
// is the only form that a worker's table of system calls lets through.
func (f *osFile) SetModTime(t time.Time) error {
	ts := [2]unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(t.UnixNano())}
	err := retryErr(func() error {
		_, _, e := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(f.fd), 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
		if e != 0 {
			return e
		}
		return nil
	})
	runtime.KeepAlive(f.f)
	return pathErr("utimens", f.f.Name(), err)
}

// lockPoll bounds the pauses between tries for a lock: waiting in the kernel
// would hold a thread and could not end at a time.
const lockPoll = 8 * time.Millisecond

func (f *osFile) Lock(exclusive bool, wait time.Duration) error {
	kind := int16(unix.F_RDLCK)
	if exclusive {
		kind = unix.F_WRLCK
	}
	end := time.Now().Add(wait)
	pause := 100 * time.Microsecond
	for {
		err := retryErr(func() error {
			return unix.FcntlFlock(uintptr(f.fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind})
		})
		runtime.KeepAlive(f.f)
		if err == nil {
			return nil
		}
		if err != unix.EAGAIN && err != unix.EACCES {
			return pathErr("lock", f.f.Name(), err)
		}
		if !time.Now().Before(end) {
			return errkind.New("lock", errkind.InUse, pathErr("lock", f.f.Name(), err))
		}
		time.Sleep(pause)
		pause = min(2*pause, lockPoll)
	}
}

func (f *osFile) Unlock() error {
	err := retryErr(func() error {
		return unix.FcntlFlock(uintptr(f.fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK})
	})
	runtime.KeepAlive(f.f)
	return pathErr("unlock", f.f.Name(), err)
}

func (f *osFile) Fd() (uintptr, bool) { return uintptr(f.fd), true }

// Directories are read in large pieces: one call for some 3,000 names.
const direntBytes = 128 << 10

// readDir passes the names of a directory descriptor to yield; name is in buf.
func readDir(fd int, buf []byte, yield func(name []byte, inode uint64, kind fs.FileMode) bool) error {
	for {
		n, err := retry(func() (int, error) { return unix.Getdents(fd, buf) })
		if err != nil || n <= 0 {
			return err
		}
		// linux_dirent64: inode 8, offset 8, length 2, type 1, name to NUL.
		for p := buf[:n]; len(p) >= 19; {
			size := int(binary.NativeEndian.Uint16(p[16:]))
			if size < 19 || size > len(p) {
				return unix.EIO
			}
			name := p[19:size]
			if i := bytes.IndexByte(name, 0); i >= 0 {
				name = name[:i]
			}
			inode, kind := binary.NativeEndian.Uint64(p), direntType(p[18])
			p = p[size:]
			if inode == 0 || string(name) == "." || string(name) == ".." {
				continue
			}
			if !yield(name, inode, kind) {
				return nil
			}
		}
	}
}

// ReadDir reads a directory; see FS.
func (o *OS) ReadDir(path string, yield func(DirEntry) bool) error {
	return o.readPath(path, func(name []byte, inode uint64, kind fs.FileMode) bool {
		return yield(DirEntry{Name: string(name), Inode: inode, Type: kind})
	})
}

var _ NameReader = (*OS)(nil)

// ReadNames reads a directory; see NameReader.
func (o *OS) ReadNames(path string, yield func(name []byte, kind fs.FileMode) bool) error {
	return o.readPath(path, func(name []byte, _ uint64, kind fs.FileMode) bool { return yield(name, kind) })
}

func (o *OS) readPath(path string, yield func(name []byte, inode uint64, kind fs.FileMode) bool) error {
	fd, err := o.openDir(path)
	if err != nil {
		return pathErr("readdir", path, err)
	}
	defer unix.Close(fd)
	buf := o.bufs.Get().(*[direntBytes]byte)
	defer o.bufs.Put(buf)
	return pathErr("readdir", path, readDir(fd, buf[:], yield))
}
