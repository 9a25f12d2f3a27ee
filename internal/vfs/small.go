package vfs

import (
	"errors"
	"io"
	"io/fs"
)

// SmallReader is an FS that reads a small file in one step, cheaper than by
// OpenFile, Stat, ReadAt and Close.
type SmallReader interface {
	// ReadSmall is the function ReadSmall.
	ReadSmall(path string, buf []byte) (n int, info Info, rest File, err error)
}

// ReadSmall reads the regular file at path into buf if all of it fits: then n is
// its length, and rest is nil. Else nothing was read, and rest is the file, open
// for reading, and the caller's to close. A file that shrinks meanwhile is
// io.ErrUnexpectedEOF.
func ReadSmall(f FS, path string, buf []byte) (n int, info Info, rest File, err error) {
	if s, ok := f.(SmallReader); ok {
		return s.ReadSmall(path, buf)
	}
	file, err := f.OpenFile(path, Read, 0)
	if err != nil {
		return 0, Info{}, nil, err
	}
	if info, err = file.Stat(); err == nil && info.Size > int64(len(buf)) {
		return 0, info, file, nil
	}
	defer file.Close()
	if err != nil {
		return 0, Info{}, nil, err
	}
	n, err = file.ReadAt(buf[:info.Size], 0)
	if int64(n) == info.Size {
		return n, info, nil, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = &fs.PathError{Op: "read", Path: path, Err: io.ErrUnexpectedEOF}
	}
	return 0, Info{}, nil, err
}
