package vfs

import "io"

// Mapper is a File whose bytes can be mapped. Not every file system has it.
type Mapper interface {
	// Map gives the first size bytes, read-only and shared: they change as the
	// file does. Reading a page that the file no longer has is a fault
	// (debug.SetPanicOnFault), and the bytes must not be passed to a system call.
	// unmap ends it; the slice must not be used afterwards.
	Map(size int64) (data []byte, unmap func() error, err error)
}

// Map maps the first size bytes of a file, or reads them where the file cannot
// be mapped: then they do not change. Fewer bytes are io.ErrUnexpectedEOF.
func Map(f File, size int64) (data []byte, unmap func() error, err error) {
	if m, ok := f.(Mapper); ok {
		if data, unmap, err = m.Map(size); err == nil {
			return data, unmap, nil
		}
	}
	data = make([]byte, size)
	if n, err := f.ReadAt(data, 0); int64(n) < size {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, nil, err
	}
	return data, func() error { return nil }, nil
}
