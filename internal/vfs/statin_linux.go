package vfs

import (
	"io/fs"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

var _ DirStater = (*OS)(nil)

// StatIn opens the directory once; see DirStater.
func (o *OS) StatIn(dir string, names []string, out []Info) error {
	clean, err := CleanPath(dir)
	if err != nil {
		return pathErr("stat", dir, err)
	}
	fd := int(o.root.Fd())
	defer runtime.KeepAlive(o.root)
	if clean != "." {
		if fd, err = o.openat(clean, unix.O_PATH|unix.O_DIRECTORY, 0); err != nil {
			if err == unix.ENOENT || err == unix.ENOTDIR {
				clear(out[:len(names)])
				return nil
			}
			return pathErr("stat", dir, err)
		}
		defer unix.Close(fd)
	}
	for i, name := range names {
		if name == "" || name == "." || name == ".." || strings.IndexByte(name, '/') >= 0 {
			return pathErr("stat", name, fs.ErrInvalid)
		}
		var st unix.Stat_t
		err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
		for err == unix.EINTR {
			err = unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
		}
		switch err {
		case nil:
			out[i] = infoOf(&st)
		case unix.ENOENT:
			out[i] = Info{}
		default:
			return pathErr("stat", Join(dir, name), err)
		}
	}
	return nil
}
