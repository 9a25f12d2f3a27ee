package vfs

import (
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

var _ SmallReader = (*OS)(nil)

// ReadSmall reads a small file with four system calls; see the function. An
// os.File would take as many again: whether it can be polled, and its cleanup.
func (o *OS) ReadSmall(path string, buf []byte) (n int, info Info, rest File, err error) {
	clean, err := CleanPath(path)
	if err != nil {
		return 0, Info{}, nil, pathErr("open", path, err)
	}
	fd, err := o.openat(clean, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return 0, Info{}, nil, pathErr("open", path, err)
	}
	st, err := regular(fd)
	if err != nil {
		unix.Close(fd)
		return 0, Info{}, nil, pathErr("open", path, err)
	}
	info = infoOf(&st)
	if info.Size > int64(len(buf)) {
		return 0, info, &osFile{f: os.NewFile(uintptr(fd), path), fd: fd}, nil
	}
	defer unix.Close(fd)
	for int64(n) < info.Size {
		m, err := unix.Pread(fd, buf[n:info.Size], int64(n))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, Info{}, nil, pathErr("read", path, err)
		case m == 0:
			return 0, Info{}, nil, pathErr("read", path, io.ErrUnexpectedEOF)
		}
		n += max(m, 0)
	}
	return n, info, nil, nil
}

// regular gives the status of an open file if it is a regular one.
func regular(fd int) (st unix.Stat_t, err error) {
	if err := unix.Fstat(fd, &st); err != nil {
		return st, err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return st, nil
	case unix.S_IFDIR:
		return st, unix.EISDIR
	}
	return st, fs.ErrInvalid
}
