// Package overlay shows a file system as it is, and keeps every change of it in
// memory: what is done through it can be looked at through it, and the disk stays
// as it was.
//
// A check that must touch nothing opens a user's store through it, since opening
// one mends what a crash left. It must never know what the bytes mean.
//
// What nobody changed here is read from the disk each time, so that the changes of
// other processes are seen. Locks are taken on the disk's own files where there are
// some, since a lock changes nothing; files that were made here are locked here.
package overlay

import (
	"errors"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"rookery/internal/vfs"
)

// MaxMemory is how many octets of changes one FS keeps; more are answered as a full disk.
const MaxMemory = 256 << 20

// maxMoved bounds the entries of a directory that is renamed.
const maxMoved = 1 << 20

// FS is a tree with changes in memory. It is safe for concurrent use.
type FS struct {
	*shared
	top *atomic.Pointer[string] // of this tree in the shared one; nil is all of it
}

type shared struct {
	under vfs.FS

	mu    sync.Mutex
	nodes map[string]*node           // what was opened or changed here; a nil node is a name that was taken away
	kids  map[string]map[string]bool // directory → names in nodes
	last  uint64                     // number of the last node made here
	held  int64                      // octets of pages
	subs  []*atomic.Pointer[string]  // of trees that Sub gave: they follow their directories
}

// node is a file or directory that is open, or differs from the disk.
type node struct {
	path    string // on the disk below; "" if it was made here
	dir     bool
	own     bool // a directory made here: nothing of the disk's is in it
	changed bool // what follows counts, and not what the disk says
	pinned  bool // it stays known when nobody has it open
	open    int
	info    vfs.Info
	file    vfs.File // of the disk, while it is open or has changed
	below   int64    // how many of its octets are the disk's where no page is
	pages   map[int64]*[pageSize]byte
	locks   map[*handle]bool // true: exclusive
	flocks  map[*handle]bool
}

// New shows under.
func New(under vfs.FS) *FS {
	return &FS{shared: &shared{under: under, nodes: map[string]*node{}, kids: map[string]map[string]bool{}}}
}

var _ vfs.FS = (*FS)(nil)

func fail(op, path string, err error) error { return &fs.PathError{Op: op, Path: path, Err: err} }

// full gives the path in the shared tree.
func (f *FS) full(op, path string) (string, error) {
	p, err := vfs.CleanPath(path)
	if err != nil {
		return "", fail(op, path, err)
	}
	if f.top == nil {
		return p, nil
	}
	return vfs.Join(*f.top.Load(), p), nil
}

// both is full of two paths.
func (f *FS) both(op, from, to string) (a, b string, err error) {
	if a, err = f.full(op, from); err == nil {
		b, err = f.full(op, to)
	}
	return a, b, err
}

func split(path string) (dir, base string) {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return ".", path
}

// hidden reports whether a directory above path was taken away or made here, so
// that nothing of the disk's is at path. mu is held.
func (s *shared) hidden(path string) bool {
	for i := 0; i < len(path); i++ {
		if path[i] == '/' {
			if n, ok := s.nodes[path[:i]]; ok && (n == nil || n.own || !n.dir) {
				return true
			}
		}
	}
	return false
}

// look gives what stands at path; the node is one of its own if nobody knows it
// yet. mu is held.
func (s *shared) look(path string) (*node, error) {
	if n, ok := s.nodes[path]; ok {
		if n == nil {
			return nil, fs.ErrNotExist
		}
		if n.changed || n.pinned {
			return n, nil
		}
		// It is only open: another process may have put another file there.
		info, err := s.under.Stat(n.path)
		if err == nil && info.Inode != n.info.Inode {
			return &node{path: path, dir: info.IsDir(), info: info}, nil
		}
		return n, cause(err)
	}
	if s.hidden(path) {
		return nil, s.orNoDir(path)
	}
	info, err := s.under.Stat(path)
	if err != nil {
		return nil, cause(err)
	}
	return &node{path: path, dir: info.IsDir(), info: info}, nil
}

// orNoDir is the error for a path below one that was taken away.
func (s *shared) orNoDir(path string) error {
	for i := 0; i < len(path); i++ {
		if path[i] == '/' {
			if n := s.nodes[path[:i]]; n != nil && !n.dir {
				return syscall.ENOTDIR
			}
		}
	}
	return fs.ErrNotExist
}

// cause takes the path off an error of the disk's.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// parent makes sure that the directory of path is there.
func (s *shared) parent(path string) error {
	dir, _ := split(path)
	if dir == "." {
		return nil
	}
	n, err := s.look(dir)
	if err == nil && !n.dir {
		err = syscall.ENOTDIR
	}
	return err
}

// know enters a node.
func (s *shared) know(path string, n *node) {
	s.nodes[path] = n
	if path == "." {
		return
	}
	dir, base := split(path)
	if s.kids[dir] == nil {
		s.kids[dir] = map[string]bool{}
	}
	s.kids[dir][base] = true
}

// forget takes a node out that says nothing which the disk does not say.
func (s *shared) forget(path string) {
	delete(s.nodes, path)
	dir, base := split(path)
	delete(s.kids[dir], base)
}

// touch gives the directory of path another time. mu is held.
func (s *shared) touch(path string) {
	dir, _ := split(path)
	n, err := s.look(dir)
	if err != nil {
		return
	}
	if !n.changed {
		n.changed, n.pinned = true, true
		s.know(dir, n)
	}
	n.info.ModTime = s.under.Now()
	n.info.ChangeTime = n.info.ModTime
}

// made is a node that the disk has not.
func (s *shared) made(mode fs.FileMode, dir bool) *node {
	s.last++
	now := s.under.Now()
	n := &node{dir: dir, own: dir, changed: true, pinned: true, info: vfs.Info{Mode: mode.Perm(), ModTime: now, ChangeTime: now, Inode: 1<<63 | s.last, Links: 1}}
	if dir {
		n.info.Mode |= fs.ModeDir
	}
	return n
}

// Stat tells of a name.
func (f *FS) Stat(path string) (vfs.Info, error) {
	p, err := f.full("stat", path)
	if err != nil {
		return vfs.Info{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.look(p)
	if err == nil && !n.changed {
		n.info, err = f.under.Stat(n.path)
	}
	if err != nil {
		return vfs.Info{}, fail("stat", path, cause(err))
	}
	return n.info, nil
}

// ReadDir lists what the disk has and what was made here.
func (f *FS) ReadDir(path string, yield func(vfs.DirEntry) bool) error {
	p, err := f.full("read", path)
	if err != nil {
		return err
	}
	f.mu.Lock()
	var own []vfs.DirEntry
	n, err := f.look(p)
	skip := map[string]bool{}
	if err == nil && !n.dir {
		err = syscall.ENOTDIR
	}
	if err == nil {
		for name := range f.kids[p] {
			path := name
			if p != "." {
				path = p + "/" + name
			}
			k := f.nodes[path]
			skip[name] = true
			if k != nil {
				own = append(own, vfs.DirEntry{Name: name, Type: k.info.Mode.Type(), Inode: k.info.Inode})
			}
		}
	}
	f.mu.Unlock()
	if err != nil {
		return fail("read", path, err)
	}
	more := true
	if !n.own {
		err = f.under.ReadDir(n.path, func(e vfs.DirEntry) bool {
			more = skip[e.Name] || yield(e)
			return more
		})
	}
	for i := 0; i < len(own) && more && err == nil; i++ {
		more = yield(own[i])
	}
	return err
}

// Mkdir makes a directory here.
func (f *FS) Mkdir(path string, perm fs.FileMode) error {
	p, err := f.full("mkdir", path)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := f.look(p); err == nil || !vfs.NotExist(err) { // also what may not be looked at is there
		return fail("mkdir", path, fs.ErrExist)
	}
	if err := f.parent(p); err != nil {
		return fail("mkdir", path, err)
	}
	f.know(p, f.made(perm, true))
	f.touch(p)
	return nil
}

// Rename gives a name to what has another.
func (f *FS) Rename(from, to string) error { return f.rename(from, to, true) }

// RenameNoReplace is Rename where nothing has the new name.
func (f *FS) RenameNoReplace(from, to string) error { return f.rename(from, to, false) }

func (f *FS) rename(from, to string, replace bool) error {
	a, b, err := f.both("rename", from, to)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.look(a)
	if err == nil {
		err = f.parent(b)
	}
	if err != nil {
		return fail("rename", from, err)
	}
	if old, oerr := f.look(b); oerr == nil {
		switch {
		case !replace:
			return fail("rename", to, fs.ErrExist)
		case old == n || old.path == n.path && n.path != "":
			return nil
		case old.dir && !n.dir:
			return fail("rename", to, syscall.EISDIR)
		case n.dir && !old.dir:
			return fail("rename", to, syscall.ENOTDIR)
		case old.dir && !f.empty(b):
			return fail("rename", to, syscall.ENOTEMPTY)
		}
		if old.open > 0 && !old.dir {
			if err := f.freeze(old); err != nil {
				return fail("rename", to, err)
			}
		}
		old.info.Links = max(old.info.Links, 1) - 1
		defer f.drop(old)
	}
	if strings.HasPrefix(b+"/", a+"/") && a != b {
		return fail("rename", to, syscall.EINVAL)
	}
	if n.dir {
		if err := f.moveTree(a, b); err != nil {
			return fail("rename", from, err)
		}
		for _, top := range f.subs {
			if rest, ok := strings.CutPrefix(*top.Load()+"/", a+"/"); ok {
				now := strings.TrimSuffix(b+"/"+rest, "/")
				top.Store(&now)
			}
		}
	} else {
		f.put(b, n)
		f.know(a, nil)
	}
	f.touch(a)
	f.touch(b)
	return nil
}

// put gives a node a name and keeps it.
func (s *shared) put(path string, n *node) {
	n.pinned = true
	s.know(path, n)
}

// empty reports whether a directory has no entries. mu is held.
func (s *shared) empty(path string) bool {
	n, err := s.look(path)
	if err != nil {
		return true
	}
	gone := map[string]bool{}
	for name := range s.kids[path] {
		if s.nodes[path+"/"+name] != nil {
			return false
		}
		gone[name] = true
	}
	empty := true
	if !n.own {
		err = s.under.ReadDir(n.path, func(e vfs.DirEntry) bool { empty = gone[e.Name]; return empty })
	}
	return empty && err == nil
}

// moveTree gives a directory and all below it other names: each entry becomes a
// node that knows where on the disk it lies.
func (s *shared) moveTree(a, b string) error {
	type pair struct{ a, b string }
	todo, count := []pair{{a, b}}, 0
	for len(todo) > 0 {
		d := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		n, err := s.look(d.a)
		if err != nil {
			return err
		}
		if count++; count > maxMoved {
			return syscall.ENOSPC
		}
		if n.dir {
			var names []string
			for name := range s.kids[d.a] {
				if s.nodes[d.a+"/"+name] != nil {
					names = append(names, name)
				}
			}
			if !n.own {
				known := s.kids[d.a]
				err := s.under.ReadDir(n.path, func(e vfs.DirEntry) bool {
					if !known[e.Name] {
						names = append(names, e.Name)
					}
					return true
				})
				if err != nil {
					return cause(err)
				}
			}
			for _, name := range names {
				todo = append(todo, pair{d.a + "/" + name, d.b + "/" + name})
			}
			if !n.changed {
				n.changed = true
			}
			n.own = true // from here on all that is in it is known here
		}
		s.put(d.b, n)
		defer s.know(d.a, nil)
	}
	return nil
}

// Link gives a file a second name.
func (f *FS) Link(from, to string) error {
	a, b, err := f.both("link", from, to)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.look(a)
	switch {
	case err != nil:
	case n.dir:
		err = syscall.EPERM
	default:
		err = f.parent(b)
	}
	if err == nil {
		if _, oerr := f.look(b); oerr == nil {
			err = fs.ErrExist
		}
	}
	if err != nil {
		return fail("link", to, err)
	}
	if err := f.freeze(n); err != nil {
		return fail("link", from, err)
	}
	n.info.Links++
	f.put(a, n)
	f.put(b, n)
	f.touch(b)
	return nil
}

// Remove takes a file's name away.
func (f *FS) Remove(path string) error { return f.remove(path, false) }

// RemoveDir takes an empty directory away.
func (f *FS) RemoveDir(path string) error { return f.remove(path, true) }

func (f *FS) remove(path string, dir bool) error {
	p, err := f.full("remove", path)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.look(p)
	switch {
	case err != nil:
	case dir && !n.dir:
		err = syscall.ENOTDIR
	case !dir && n.dir:
		err = syscall.EISDIR
	case dir && !f.empty(p):
		err = syscall.ENOTEMPTY
	}
	if err != nil {
		return fail("remove", path, err)
	}
	if !dir && n.open > 0 {
		if err := f.freeze(n); err != nil {
			return fail("remove", path, err)
		}
	}
	n.info.Links = max(n.info.Links, 1) - 1
	f.know(p, nil)
	f.touch(p)
	f.drop(n)
	return nil
}

// SyncDir has nothing to do.
func (f *FS) SyncDir(path string) error {
	info, err := f.Stat(path)
	if err == nil && !info.IsDir() {
		err = fail("sync", path, syscall.ENOTDIR)
	}
	return err
}

// BootID is the disk's.
func (f *FS) BootID() string { return f.under.BootID() }

// Now is the disk's clock.
func (f *FS) Now() time.Time { return f.under.Now() }

// Space is the disk's.
func (f *FS) Space(path string) (free, total uint64, err error) { return vfs.Space(f.under, path) }

// Sub gives the tree below path; it shares the changes.
func (f *FS) Sub(path string) (vfs.FS, error) {
	p, err := f.full("open", path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fail("open", path, syscall.ENOTDIR)
	}
	top := new(atomic.Pointer[string])
	top.Store(&p)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.subs = append(f.subs, top)
	return &FS{shared: f.shared, top: top}, nil
}
