package vfs

import (
	"errors"
	"io/fs"
	"syscall"
)

// DirStater is an FS that looks at several names of one directory at a lower
// price than at each by itself.
type DirStater interface {
	// StatIn fills out with what Stat would tell of each name in the directory
	// dir. Names are single components. A name that is not there has a zero Info;
	// so have all where dir is not there, or no directory.
	StatIn(dir string, names []string, out []Info) error
}

// StatIn looks at names in one directory; see DirStater. out is at least as long
// as names.
func StatIn(f FS, dir string, names []string, out []Info) error {
	if d, ok := f.(DirStater); ok {
		return d.StatIn(dir, names, out)
	}
	for i, name := range names {
		info, err := f.Stat(Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			return err
		}
		out[i] = info
	}
	return nil
}

// NameReader is an FS that reads a directory without a string for each name.
type NameReader interface {
	// ReadNames is ReadDir; name is valid only during the call of yield.
	ReadNames(path string, yield func(name []byte, kind fs.FileMode) bool) error
}

// ReadNames passes on the names of a directory and what they are; see NameReader.
func ReadNames(f FS, path string, yield func(name []byte, kind fs.FileMode) bool) error {
	if r, ok := f.(NameReader); ok {
		return r.ReadNames(path, yield)
	}
	return f.ReadDir(path, func(e DirEntry) bool { return yield([]byte(e.Name), e.Type) })
}
