package worker

import (
	"io/fs"
	"strings"
	"syscall"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/vfs"
)

// FS gives all of the user's directories as one tree, in which a path is the
// configured one without its leading slash. Outside the roots that master has
// opened there is nothing.
func (h *Host) FS() vfs.FS {
	if h.dry != nil {
		return h.dry
	}
	if len(h.roots) == 1 && h.roots[0].path == "/" {
		return h.roots[0].fs
	}
	return &router{h.roots}
}

// router sends each path to the root that it lies below.
type router struct{ roots []root }

func (r *router) find(op, path string) (vfs.FS, string, error) {
	best := -1
	rest := ""
	for i, one := range r.roots {
		prefix := strings.TrimPrefix(one.path, "/")
		tail, ok := strings.CutPrefix(path, prefix)
		if !ok || tail != "" && tail[0] != '/' && prefix != "" {
			continue
		}
		if best < 0 || len(one.path) > len(r.roots[best].path) {
			best, rest = i, strings.TrimPrefix(tail, "/")
		}
	}
	if best < 0 {
		return nil, "", errkind.New(op+" "+path, errkind.NoPermission, fs.ErrPermission)
	}
	if rest == "" {
		rest = "."
	}
	return r.roots[best].fs, rest, nil
}

// both finds two paths, which must lie below one root, as for link(2).
func (r *router) both(op, from, to string) (vfs.FS, string, string, error) {
	a, from2, err := r.find(op, from)
	if err != nil {
		return nil, "", "", err
	}
	b, to2, err := r.find(op, to)
	if err != nil {
		return nil, "", "", err
	}
	if a != b {
		return nil, "", "", errkind.New(op+" "+from, errkind.Invalid, syscall.EXDEV)
	}
	return a, from2, to2, nil
}

func (r *router) OpenFile(path string, flag vfs.Flag, perm fs.FileMode) (vfs.File, error) {
	f, rest, err := r.find("open", path)
	if err != nil {
		return nil, err
	}
	return f.OpenFile(rest, flag, perm)
}

func (r *router) Stat(path string) (vfs.Info, error) {
	f, rest, err := r.find("stat", path)
	if err != nil {
		return vfs.Info{}, err
	}
	return f.Stat(rest)
}

func (r *router) ReadDir(path string, yield func(vfs.DirEntry) bool) error {
	f, rest, err := r.find("read", path)
	if err != nil {
		return err
	}
	return f.ReadDir(rest, yield)
}

// Mkdir of a directory above a root, or of a root, is of one that is there:
// drivers make the whole way down to where the mail lies.
func (r *router) Mkdir(path string, perm fs.FileMode) error {
	for _, one := range r.roots {
		if strings.HasPrefix(one.path+"/", "/"+path+"/") {
			return errkind.New("mkdir "+path, errkind.Exists, fs.ErrExist)
		}
	}
	f, rest, err := r.find("mkdir", path)
	if err != nil {
		return err
	}
	return f.Mkdir(rest, perm)
}

func (r *router) Rename(from, to string) error {
	f, from, to, err := r.both("rename", from, to)
	if err != nil {
		return err
	}
	return f.Rename(from, to)
}

func (r *router) RenameNoReplace(from, to string) error {
	f, from, to, err := r.both("rename", from, to)
	if err != nil {
		return err
	}
	return f.RenameNoReplace(from, to)
}

func (r *router) Link(from, to string) error {
	f, from, to, err := r.both("link", from, to)
	if err != nil {
		return err
	}
	return f.Link(from, to)
}

func (r *router) Remove(path string) error {
	f, rest, err := r.find("remove", path)
	if err != nil {
		return err
	}
	return f.Remove(rest)
}

func (r *router) RemoveDir(path string) error {
	f, rest, err := r.find("remove", path)
	if err != nil {
		return err
	}
	return f.RemoveDir(rest)
}

func (r *router) SyncDir(path string) error {
	f, rest, err := r.find("sync", path)
	if err != nil {
		return err
	}
	return f.SyncDir(rest)
}

func (r *router) BootID() string { return r.roots[0].fs.BootID() }

func (r *router) Now() time.Time { return time.Now() }

func (r *router) Sub(path string) (vfs.FS, error) {
	f, rest, err := r.find("open", path)
	if err != nil {
		return nil, err
	}
	if rest == "." {
		return f, nil
	}
	return f.Sub(rest)
}
