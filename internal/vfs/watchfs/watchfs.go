// Package watchfs notes which files are opened and which directories are read
// through a file system, also below a Sub: faultfs traces changes alone. Tests of
// what costs nothing but stats use it; no program does.
package watchfs

import (
	"io/fs"

	"rookery/internal/vfs"
)

// FS passes everything on. It is for one goroutine.
type FS struct {
	vfs.FS
	on  *bool
	ops *[]string
}

// New watches a file system.
func New(under vfs.FS) *FS { return &FS{under, new(bool), new([]string)} }

// During gives what f opens and reads, as "open PATH" and "readdir PATH".
func (w *FS) During(f func()) []string {
	*w.ops, *w.on = nil, true
	f()
	*w.on = false
	return *w.ops
}

func (w *FS) note(op string) {
	if *w.on {
		*w.ops = append(*w.ops, op)
	}
}

// OpenFile notes the file.
func (w *FS) OpenFile(path string, flag vfs.Flag, perm fs.FileMode) (vfs.File, error) {
	w.note("open " + path)
	return w.FS.OpenFile(path, flag, perm)
}

// ReadDir notes the directory.
func (w *FS) ReadDir(path string, yield func(vfs.DirEntry) bool) error {
	w.note("readdir " + path)
	return w.FS.ReadDir(path, yield)
}

// Sub gives a watched tree; its paths begin there.
func (w *FS) Sub(path string) (vfs.FS, error) {
	in, err := w.FS.Sub(path)
	return &FS{in, w.on, w.ops}, err
}
