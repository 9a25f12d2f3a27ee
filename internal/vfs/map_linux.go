package vfs

import (
	"io/fs"
	"runtime"

	"golang.org/x/sys/unix"
)

var _ Mapper = (*osFile)(nil)

// Map maps the file; see Mapper.
func (f *osFile) Map(size int64) (data []byte, unmap func() error, err error) {
	if size <= 0 || size > 1<<46 {
		return nil, nil, pathErr("map", f.f.Name(), fs.ErrInvalid)
	}
	data, err = unix.Mmap(f.fd, 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	runtime.KeepAlive(f.f)
	if err != nil {
		return nil, nil, pathErr("map", f.f.Name(), err)
	}
	return data, func() error { return unix.Munmap(data) }, nil
}
