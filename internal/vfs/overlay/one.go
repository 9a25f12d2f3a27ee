package overlay

import (
	"io/fs"
	"time"

	"rookery/internal/vfs"
)

// one is a tree of one file, which is reached in some other way than by a path.
type one struct {
	vfs.FS // none: what is not below answers that there is nothing
	name   string
	open   func() (vfs.File, error)
}

// One gives a tree in which there is one file, name, that open opens for reading;
// for New, which asks for nothing else of it.
func One(name string, open func() (vfs.File, error)) vfs.FS { return &one{name: name, open: open} }

func (o *one) OpenFile(path string, flag vfs.Flag, _ fs.FileMode) (vfs.File, error) {
	if path != o.name || flag&^vfs.Read != 0 {
		return nil, fail("open", path, fs.ErrPermission)
	}
	return o.open()
}

func (o *one) Stat(path string) (vfs.Info, error) {
	if path == "." {
		return vfs.Info{Mode: fs.ModeDir | 0o700, Inode: 1, Links: 1}, nil
	}
	if path != o.name {
		return vfs.Info{}, fail("stat", path, fs.ErrNotExist)
	}
	f, err := o.open()
	if err != nil {
		return vfs.Info{}, err
	}
	defer f.Close()
	return f.Stat()
}

func (o *one) Now() time.Time { return time.Now() }

func (o *one) BootID() string { return "" }
