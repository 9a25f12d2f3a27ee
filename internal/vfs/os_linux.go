package vfs

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// OS is the real file system below one directory, which it holds open by
// descriptor: it keeps working after a chroot, and a path can neither leave the
// directory nor pass a symbolic link.
type OS struct {
	root   *os.File // O_PATH
	boot   string
	noOpen *atomic.Bool // openat2 is not there: walk instead
	bufs   *sync.Pool   // *[direntBytes]byte
}

func newOS(root *os.File, boot string) *OS {
	return &OS{root: root, boot: boot, noOpen: new(atomic.Bool),
		bufs: &sync.Pool{New: func() any { return new([direntBytes]byte) }}}
}

var _ FS = (*OS)(nil)

// OpenRoot opens the directory at path (of the process, links followed: the
// caller chose it) as a tree. The boot id is read from /proc, which a chroot
// does not have: open before it, or set it with WithBootID.
func OpenRoot(path string) (*OS, error) {
	fd, err := retry(func() (int, error) {
		return unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open root", Path: path, Err: err}
	}
	return newOS(os.NewFile(uintptr(fd), path), readBootID()), nil
}

// FromDir makes a tree of a directory descriptor that was handed over; it takes
// the descriptor over.
func FromDir(fd uintptr, bootID string) *OS {
	return newOS(os.NewFile(fd, "root"), bootID)
}

// FromFile makes a File of a descriptor of a regular file that was handed over;
// it takes the descriptor over. name is for errors.
func FromFile(fd uintptr, name string) File {
	return &osFile{f: os.NewFile(fd, name), fd: int(fd)}
}

// WithBootID gives the same tree with another boot id.
func (o *OS) WithBootID(id string) *OS {
	n := *o
	n.boot = id
	return &n
}

// Close gives up the root's descriptor. A tree that is dropped closes by itself.
func (o *OS) Close() error { return o.root.Close() }

func readBootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// retry repeats f while it is interrupted: the Go runtime preempts by signals,
// and some file systems (NFS, FUSE) answer EINTR to what POSIX says they must not.
func retry(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if err != unix.EINTR {
			return n, err
		}
	}
}

func retryErr(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

// CleanPath checks a path of this package and gives its components joined
// anew: no empty ones, no "..", no NUL, not absolute. "" and "." are the root.
func CleanPath(path string) (string, error) {
	if path == "" || path == "." {
		return ".", nil
	}
	if strings.IndexByte(path, 0) >= 0 || path[0] == '/' {
		return "", fs.ErrInvalid
	}
	for rest, more := path, true; more; {
		var c string
		c, rest, more = strings.Cut(rest, "/")
		if c == "" || c == "." || c == ".." {
			return "", fs.ErrInvalid
		}
	}
	return path, nil
}

// openat opens below the root without following any link.
func (o *OS) openat(path string, flags int, mode uint32) (int, error) {
	defer runtime.KeepAlive(o.root)
	root := int(o.root.Fd())
	flags |= unix.O_CLOEXEC | unix.O_NOFOLLOW
	if !strings.Contains(path, "/") {
		// One component cannot pass a link when the last one is not followed.
		return retry(func() (int, error) { return unix.Openat(root, path, flags, mode) })
	}
	if !o.noOpen.Load() {
		how := unix.OpenHow{Flags: uint64(flags), Mode: uint64(mode),
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS}
		for try := 0; ; try++ {
			fd, err := unix.Openat2(root, path, &how)
			switch {
			case err == unix.EINTR, err == unix.EAGAIN && try < 64:
				continue // EAGAIN: a rename elsewhere raced with the check
			case err == unix.ENOSYS, err == unix.EPERM && try == 0 && !o.probed():
				o.noOpen.Store(true)
				return o.walk(root, path, flags, mode)
			}
			return fd, err
		}
	}
	return o.walk(root, path, flags, mode)
}

// probed reports whether openat2 works here at all: seccomp tables of
// containers answer EPERM to calls they do not know.
func (o *OS) probed() bool {
	fd, err := unix.Openat2(int(o.root.Fd()), ".", &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC})
	if err == nil {
		unix.Close(fd)
	}
	return err == nil
}

// walk is openat2 by hand: one component at a time, none of them a link.
func (o *OS) walk(dir int, path string, flags int, mode uint32) (int, error) {
	held := -1
	for {
		c, rest, more := strings.Cut(path, "/")
		f, m := flags, mode
		if more {
			f, m = unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0
		}
		fd, err := retry(func() (int, error) { return unix.Openat(dir, c, f, m) })
		if held >= 0 {
			unix.Close(held)
		}
		if err != nil || !more {
			return fd, err
		}
		held, dir, path = fd, fd, rest
	}
}

// in runs f with a descriptor of path's directory and the last component.
func (o *OS) in(path string, f func(dir int, base string) error) error {
	path, err := CleanPath(path)
	if err != nil {
		return err
	}
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		defer runtime.KeepAlive(o.root)
		return retryErr(func() error { return f(int(o.root.Fd()), path) })
	}
	dir, err := o.openat(path[:i], unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	return retryErr(func() error { return f(dir, path[i+1:]) })
}

func pathErr(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}

func linkErr(op, from, to string, err error) error {
	if err == nil {
		return nil
	}
	return &os.LinkError{Op: op, Old: from, New: to, Err: err}
}

// OpenFile opens a file; see FS.
func (o *OS) OpenFile(path string, flag Flag, perm fs.FileMode) (File, error) {
	clean, err := CleanPath(path)
	if err != nil {
		return nil, pathErr("open", path, err)
	}
	var how int
	switch flag & (Read | Write) {
	case Write:
		how = unix.O_WRONLY
	case Read | Write:
		how = unix.O_RDWR
	}
	for _, m := range [...]struct {
		f Flag
		o int
	}{{Create, unix.O_CREAT}, {Excl, unix.O_EXCL}, {Append, unix.O_APPEND}, {Trunc, unix.O_TRUNC}} {
		if flag&m.f != 0 {
			how |= m.o
		}
	}
	var mode uint32
	if flag&Create != 0 {
		mode = uint32(perm.Perm())
	}
	// A pipe put into a mail folder must not hang the opener: open without
	// waiting, and take regular files only (a directory reads as EISDIR anyway).
	fd, err := o.openat(clean, how|unix.O_NONBLOCK|unix.O_NOCTTY, mode)
	if err != nil {
		return nil, pathErr("open", path, err)
	}
	if _, err := regular(fd); err != nil {
		unix.Close(fd)
		return nil, pathErr("open", path, err)
	}
	return &osFile{f: os.NewFile(uintptr(fd), path), fd: fd}, nil
}

// Stat tells of path, a link itself if it is one.
func (o *OS) Stat(path string) (Info, error) {
	var st unix.Stat_t
	err := o.in(path, func(dir int, base string) error {
		return unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	if err != nil {
		return Info{}, pathErr("stat", path, err)
	}
	return infoOf(&st), nil
}

func infoOf(st *unix.Stat_t) Info {
	mode := fs.FileMode(st.Mode & 0o777)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	case unix.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		mode |= fs.ModeSocket
	default:
		mode |= fs.ModeDevice
	}
	return Info{Size: st.Size, Mode: mode, ModTime: time.Unix(st.Mtim.Unix()), ChangeTime: time.Unix(st.Ctim.Unix()),
		Inode: st.Ino, Device: uint64(st.Dev), Links: uint64(st.Nlink), Owner: st.Uid}
}

// Mkdir makes a directory.
func (o *OS) Mkdir(path string, perm fs.FileMode) error {
	return pathErr("mkdir", path, o.in(path, func(dir int, base string) error {
		return unix.Mkdirat(dir, base, uint32(perm.Perm()))
	}))
}

// two runs f with the directories of both paths.
func (o *OS) two(op, from, to string, f func(fd int, fb string, td int, tb string) error) error {
	return linkErr(op, from, to, o.in(from, func(fd int, fb string) error {
		return o.in(to, func(td int, tb string) error { return f(fd, fb, td, tb) })
	}))
}

// Rename replaces to, atomically.
func (o *OS) Rename(from, to string) error {
	return o.two("rename", from, to, func(fd int, fb string, td int, tb string) error {
		return unix.Renameat(fd, fb, td, tb)
	})
}

// RenameNoReplace renames unless to is there. Where the file system lacks
// RENAME_NOREPLACE a file is linked and then unlinked; a directory is looked
// for first, which is not atomic but refuses a full directory in any case.
func (o *OS) RenameNoReplace(from, to string) error {
	return o.two("rename", from, to, func(fd int, fb string, td int, tb string) error {
		err := unix.Renameat2(fd, fb, td, tb, unix.RENAME_NOREPLACE)
		if err != unix.EINVAL && err != unix.ENOSYS {
			return err
		}
		if err := unix.Linkat(fd, fb, td, tb, 0); err == nil {
			return unix.Unlinkat(fd, fb, 0)
		} else if err == unix.EEXIST {
			return err
		}
		var st unix.Stat_t
		if unix.Fstatat(td, tb, &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
			return unix.EEXIST
		}
		return unix.Renameat(fd, fb, td, tb)
	})
}

// Link makes a second name for a file.
func (o *OS) Link(from, to string) error {
	return o.two("link", from, to, func(fd int, fb string, td int, tb string) error {
		return unix.Linkat(fd, fb, td, tb, 0)
	})
}

// Remove removes a file's name.
func (o *OS) Remove(path string) error {
	return pathErr("remove", path, o.in(path, func(dir int, base string) error { return unix.Unlinkat(dir, base, 0) }))
}

// RemoveDir removes an empty directory.
func (o *OS) RemoveDir(path string) error {
	return pathErr("rmdir", path, o.in(path, func(dir int, base string) error {
		return unix.Unlinkat(dir, base, unix.AT_REMOVEDIR)
	}))
}

// openDir opens a directory for reading.
func (o *OS) openDir(path string) (int, error) {
	clean, err := CleanPath(path)
	if err != nil {
		return -1, err
	}
	return o.openat(clean, unix.O_RDONLY|unix.O_DIRECTORY, 0)
}

// SyncDir syncs a directory. File systems that cannot (EINVAL, as some network
// ones say) write names through by themselves.
func (o *OS) SyncDir(path string) error {
	fd, err := o.openDir(path)
	if err != nil {
		return pathErr("sync", path, err)
	}
	defer unix.Close(fd)
	err = retryErr(func() error { return unix.Fsync(fd) })
	if errors.Is(err, unix.EINVAL) {
		return nil
	}
	return pathErr("sync", path, err)
}

// BootID names this boot; "" if it is not known.
func (o *OS) BootID() string { return o.boot }

// Now is the wall clock.
func (o *OS) Now() time.Time { return time.Now() }

// Sub gives the tree below path.
func (o *OS) Sub(path string) (FS, error) {
	clean, err := CleanPath(path)
	if err != nil {
		return nil, pathErr("open", path, err)
	}
	fd, err := o.openat(clean, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, pathErr("open", path, err)
	}
	return &OS{root: os.NewFile(uintptr(fd), path), boot: o.boot, noOpen: o.noOpen, bufs: o.bufs}, nil
}

// direntType maps d_type (readdir(3)).
func direntType(t byte) fs.FileMode {
	switch t {
	case syscall.DT_REG:
		return 0
	case syscall.DT_DIR:
		return fs.ModeDir
	case syscall.DT_LNK:
		return fs.ModeSymlink
	case syscall.DT_FIFO:
		return fs.ModeNamedPipe
	case syscall.DT_SOCK:
		return fs.ModeSocket
	case syscall.DT_BLK, syscall.DT_CHR:
		return fs.ModeDevice
	}
	return fs.ModeIrregular
}
