package vfs

import (
	"errors"
	"io"
	"io/fs"
	"strings"

	"rookery/internal/errkind"
)

func isExist(err error) bool { return errors.Is(err, fs.ErrExist) }

// ReadAll reads an open file from its start, at most limit bytes; a larger one
// is errkind.TooBig. name is for the error.
func ReadAll(file File, name string, limit int64) ([]byte, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size > limit {
		return nil, errkind.Newf("read "+name, errkind.TooBig, "the file is larger than any such file may be")
	}
	// The file may grow meanwhile; what is there at the end counts.
	buf := make([]byte, info.Size+1)
	n := 0
	for {
		m, err := file.ReadAt(buf[n:], int64(n))
		n += m
		if errors.Is(err, io.EOF) {
			return buf[:n], nil
		}
		if err != nil {
			return nil, err
		}
		if int64(n) > limit {
			return nil, errkind.Newf("read "+name, errkind.TooBig, "the file is larger than any such file may be")
		}
		if n == len(buf) {
			buf = append(buf, make([]byte, len(buf))...)
		}
	}
}

// MkdirAll makes path and what is missing above it.
func MkdirAll(f FS, path string, perm fs.FileMode) error {
	clean, err := CleanPath(path)
	if err != nil {
		return pathErr("mkdir", path, err)
	}
	if clean == "." {
		return nil
	}
	for i := 0; i <= len(clean); i++ {
		if i < len(clean) && clean[i] != '/' {
			continue
		}
		if err := f.Mkdir(clean[:i], perm); err != nil && !isExist(err) {
			return err
		}
	}
	return nil
}

// ReadFile reads a whole file, at most limit bytes; a larger one is errkind.TooBig.
func ReadFile(f FS, path string, limit int64) ([]byte, error) {
	file, err := f.OpenFile(path, Read, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return ReadAll(file, path, limit)
}

// Base gives the last component of a path.
func Base(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// Join puts a relative path below a directory, either of which may be "."; an
// empty directory is ".", too. Neither is cleaned.
func Join(dir, name string) string {
	switch {
	case dir == "." || dir == "":
		return name
	case name == ".":
		return dir
	}
	return dir + "/" + name
}

// Parent gives the directory that a path's last component lies in.
func Parent(path string) string {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i]
	}
	return "."
}

// Replace writes a file anew, certain when it returns: whole under its name, or
// not at all. It uses path + ".tmp", so that two callers must not replace one
// file at once. The Info is that of the new file.
func Replace(f FS, path string, data []byte, perm fs.FileMode) (Info, error) {
	tmp := path + ".tmp"
	file, err := f.OpenFile(tmp, Write|Create|Trunc, perm)
	if err != nil {
		return Info{}, err
	}
	defer file.Close()
	_, err = file.Write(data)
	if err == nil {
		err = file.DataSync()
	}
	var info Info
	if err == nil {
		info, err = file.Stat()
	}
	if err == nil {
		err = f.Rename(tmp, path)
	}
	if err != nil {
		f.Remove(tmp)
		return Info{}, err
	}
	return info, file.Sync() // not fdatasync: no byte waits any more, and the rename would not be kept
}
