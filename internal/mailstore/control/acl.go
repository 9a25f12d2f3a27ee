package control

import (
	"bytes"
	"sync"
	"time"

	"rookery/internal/acl"
	"rookery/internal/vfs"
)

// maxACLs bounds the lists that are remembered.
const maxACLs = 4096

// unsure is how young a file's last change may be, by the disk's clock, for another
// change to hide behind the same times (whole seconds, or two, on some disks).
const unsure = 2100 * time.Millisecond

// ACLs reads files of access control lists (package acl has what is in them) and
// remembers those that have not changed since, so that asking again costs one stat.
// The zero value is ready; it may be used by several goroutines.
type ACLs struct {
	mu    sync.Mutex
	known map[string]knownACL
}

type knownACL struct {
	info vfs.Info
	list acl.List
}

// sameFile reports whether nothing was changed between two stats.
func sameFile(a, b vfs.Info) bool {
	return a.Inode == b.Inode && a.Device == b.Device && a.Size == b.Size && a.ModTime.Equal(b.ModTime) && a.ChangeTime.Equal(b.ChangeTime)
}

// Read gives the list in a file, an empty one if there is no file.
func (c *ACLs) Read(f vfs.FS, path string) (acl.List, error) {
	info, err := f.Stat(path)
	if vfs.NotExist(err) {
		return acl.List{}, nil
	}
	if err != nil {
		return acl.List{}, vfs.Kinded("read access control list", err)
	}
	c.mu.Lock()
	k, ok := c.known[path]
	c.mu.Unlock()
	if ok && sameFile(k.info, info) {
		return k.list, nil
	}
	now := f.Now()
	list, err := ReadACL(f, path)
	if err != nil {
		return list, err
	}
	if after, err := f.Stat(path); err == nil && sameFile(after, info) && now.Sub(info.ChangeTime) > unsure {
		c.mu.Lock()
		if c.known == nil || len(c.known) >= maxACLs {
			c.known = map[string]knownACL{}
		}
		c.known[path] = knownACL{info, list}
		c.mu.Unlock()
	}
	return list, nil
}

// ReadACL reads a file, an empty list if there is none. errkind.TooBig: nobody is
// served by such a file.
func ReadACL(f vfs.FS, path string) (acl.List, error) {
	data, err := vfs.ReadFile(f, path, acl.MaxFile)
	if vfs.NotExist(err) {
		return acl.List{}, nil
	}
	if err != nil {
		return acl.List{}, vfs.Kinded("read access control list", err)
	}
	return acl.Parse(data)
}

// EditACL gives the new bytes of a file whose list edit changes; nil: it stays.
func EditACL(f vfs.FS, path string, edit func(acl.List) (acl.List, error)) ([]byte, error) {
	old, err := ReadACL(f, path)
	if err != nil {
		return nil, err
	}
	list, err := edit(old)
	if err != nil {
		return nil, err
	}
	data := list.Format()
	if bytes.Equal(data, old.Format()) {
		return nil, nil
	}
	return data, nil
}

// DropACL removes a file of a list, certain: a list must never hold for another
// mailbox than the one that it was made for.
func DropACL(f vfs.FS, path string) error {
	_ = f.Remove(path + ".tmp")
	err := f.Remove(path)
	if err == nil {
		return f.SyncDir(vfs.Parent(path))
	}
	if vfs.NotExist(err) {
		return nil
	}
	return err
}
