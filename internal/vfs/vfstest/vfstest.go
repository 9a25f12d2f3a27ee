// Package vfstest is what every file system of package vfs must do, as a test
// that its implementations run.
package vfstest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/vfs"
)

// Tree is a new, empty tree for one test.
type Tree struct {
	FS vfs.FS
	// Symlink makes a symbolic link; nil if the test cannot.
	Symlink func(target, path string) error
}

// Run runs the suite. open gives a fresh tree at each call.
func Run(t *testing.T, open func(t *testing.T) Tree) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, Tree)
	}{
		{"Names", names}, {"OpenFlags", openFlags}, {"ReadWrite", readWrite}, {"Unlinked", unlinked},
		{"Rename", rename}, {"Link", link}, {"Directories", directories}, {"Times", times},
		{"Locks", locks}, {"Flocks", flocks}, {"Symlinks", symlinks}, {"Sub", sub}, {"Syncs", syncs}, {"Helpers", helpers}, {"Small", small},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, err, is error) {
	t.Helper()
	if !errors.Is(err, is) {
		t.Fatalf("got error %v, want %v", err, is)
	}
}

func put(t *testing.T, f vfs.FS, path, text string) {
	t.Helper()
	o, err := f.OpenFile(path, vfs.Write|vfs.Create|vfs.Trunc, 0o600)
	must(t, err)
	_, err = o.Write([]byte(text))
	must(t, err)
	must(t, o.Close())
}

func get(t *testing.T, f vfs.FS, path string) string {
	t.Helper()
	b, err := vfs.ReadFile(f, path, 1<<20)
	must(t, err)
	return string(b)
}

func list(t *testing.T, f vfs.FS, path string) string {
	t.Helper()
	var out []string
	must(t, f.ReadDir(path, func(e vfs.DirEntry) bool {
		name := e.Name
		if e.Type.IsDir() {
			name += "/"
		}
		if e.Inode == 0 {
			t.Errorf("%s has no inode number", e.Name)
		}
		out = append(out, name)
		return true
	}))
	slices.Sort(out)
	return strings.Join(out, " ")
}

func names(t *testing.T, tr Tree) {
	for _, bad := range []string{"/a", "../a", "a/../b", "a//b", "a/", "./a", "a\x00b"} {
		_, err := tr.FS.OpenFile(bad, vfs.Write|vfs.Create, 0o600)
		want(t, err, fs.ErrInvalid)
		_, err = tr.FS.Stat(bad)
		want(t, err, fs.ErrInvalid)
		want(t, tr.FS.Mkdir(bad, 0o700), fs.ErrInvalid)
	}
	for _, root := range []string{"", "."} {
		info, err := tr.FS.Stat(root)
		must(t, err)
		if !info.IsDir() {
			t.Fatal("the root is no directory")
		}
	}
	put(t, tr.FS, "..a", "x")
	put(t, tr.FS, "new\nline", "y")
	if got := list(t, tr.FS, "."); got != "..a new\nline" {
		t.Fatalf("%q", got)
	}
}

func openFlags(t *testing.T, tr Tree) {
	f := tr.FS
	_, err := f.OpenFile("a", vfs.Read, 0)
	want(t, err, fs.ErrNotExist)
	_, err = f.OpenFile("no/a", vfs.Read|vfs.Write|vfs.Create, 0o600)
	want(t, err, fs.ErrNotExist)
	put(t, f, "a", "123")
	_, err = f.OpenFile("a", vfs.Write|vfs.Create|vfs.Excl, 0o600)
	want(t, err, fs.ErrExist)
	_, err = f.OpenFile("a/b", vfs.Read, 0)
	want(t, err, syscall.ENOTDIR)
	must(t, f.Mkdir("d", 0o700))
	_, err = f.OpenFile("d", vfs.Read, 0)
	want(t, err, syscall.EISDIR)
	o, err := f.OpenFile("a", vfs.Read, 0)
	must(t, err)
	if _, err := o.Write([]byte("x")); err == nil {
		t.Fatal("wrote through a reader")
	}
	must(t, o.Close())
	if _, err := o.Stat(); err == nil {
		t.Fatal("a closed file answers")
	}
	o, err = f.OpenFile("a", vfs.Write|vfs.Append, 0)
	must(t, err)
	for _, s := range []string{"45", "67"} {
		_, err = o.Write([]byte(s))
		must(t, err)
	}
	must(t, o.Close())
	if got := get(t, f, "a"); got != "1234567" {
		t.Fatal(got)
	}
	info, err := f.Stat("a")
	must(t, err)
	if info.Size != 7 || info.Mode != 0o600 || info.Links != 1 {
		t.Fatalf("%+v", info)
	}
}

func readWrite(t *testing.T, tr Tree) {
	o, err := tr.FS.OpenFile("a", vfs.Read|vfs.Write|vfs.Create, 0o600)
	must(t, err)
	defer o.Close()
	_, err = o.WriteAt([]byte("end"), 5)
	must(t, err)
	buf := make([]byte, 10)
	n, err := o.ReadAt(buf, 0)
	if n != 8 || err != io.EOF || !bytes.Equal(buf[:n], []byte("\x00\x00\x00\x00\x00end")) {
		t.Fatalf("%d %v %q", n, err, buf[:n])
	}
	if n, err = o.ReadAt(buf[:3], 5); n != 3 || err != nil && err != io.EOF {
		t.Fatal(n, err)
	}
	if n, err = o.ReadAt(buf, 100); n != 0 || err != io.EOF {
		t.Fatal(n, err)
	}
	must(t, o.Truncate(6))
	must(t, o.Allocate(4096))
	info, err := o.Stat()
	must(t, err)
	if info.Size != 4096 {
		t.Fatal(info.Size)
	}
	must(t, o.Allocate(100))
	if info, _ = o.Stat(); info.Size != 4096 {
		t.Fatal("Allocate made it smaller")
	}
	if at, err := o.Seek(-2, io.SeekEnd); at != 4094 || err != nil {
		t.Fatal(at, err)
	}
	_, err = o.Write([]byte("xyz"))
	must(t, err)
	if at, err := o.Seek(5, io.SeekStart); at != 5 || err != nil {
		t.Fatal(at, err)
	}
	if n, err := o.Read(buf[:2]); n != 2 || err != nil || buf[0] != 'e' || buf[1] != 0 {
		t.Fatal(n, err, buf[:2])
	}
	if info, _ = o.Stat(); info.Size != 4097 {
		t.Fatal(info.Size)
	}
	if fd, ok := o.Fd(); ok && fd == 0 {
		t.Fatal("descriptor 0")
	}
}

func unlinked(t *testing.T, tr Tree) {
	put(t, tr.FS, "a", "still here")
	o, err := tr.FS.OpenFile("a", vfs.Read, 0)
	must(t, err)
	defer o.Close()
	must(t, tr.FS.Remove("a"))
	want(t, tr.FS.Remove("a"), fs.ErrNotExist)
	put(t, tr.FS, "a", "other")
	b, err := io.ReadAll(o)
	must(t, err)
	if string(b) != "still here" {
		t.Fatalf("%q", b)
	}
	info, err := o.Stat()
	must(t, err)
	if info.Links != 0 {
		t.Fatal("links", info.Links)
	}
}

func rename(t *testing.T, tr Tree) {
	f := tr.FS
	must(t, f.Mkdir("d", 0o700))
	must(t, f.Mkdir("d/e", 0o700))
	put(t, f, "a", "A")
	put(t, f, "d/b", "B")
	before, err := f.Stat("a")
	must(t, err)
	want(t, f.RenameNoReplace("a", "d/b"), fs.ErrExist)
	want(t, f.Rename("no", "x"), fs.ErrNotExist)
	want(t, f.Rename("a", "no/x"), fs.ErrNotExist)
	must(t, f.Rename("a", "d/b"))
	after, err := f.Stat("d/b")
	must(t, err)
	if after.Inode != before.Inode || get(t, f, "d/b") != "A" {
		t.Fatal("rename made another file")
	}
	_, err = f.Stat("a")
	want(t, err, fs.ErrNotExist)
	must(t, f.RenameNoReplace("d/b", "c"))
	must(t, f.Mkdir("x", 0o700))
	put(t, f, "x/full", "")
	want(t, f.RenameNoReplace("d", "x"), fs.ErrExist)
	if err := f.Rename("d", "x"); err == nil {
		t.Fatal("replaced a full directory")
	}
	want(t, f.Rename("d", "d/e/f"), syscall.EINVAL)
	want(t, f.Rename("c", "d"), syscall.EISDIR)
	must(t, f.Rename("d", "y"))
	if got := list(t, f, "."); got != "c x/ y/" {
		t.Fatal(got)
	}
}

func link(t *testing.T, tr Tree) {
	f := tr.FS
	put(t, f, "a", "A")
	must(t, f.Mkdir("d", 0o700))
	must(t, f.Link("a", "d/b"))
	want(t, f.Link("a", "d/b"), fs.ErrExist)
	want(t, f.Link("no", "x"), fs.ErrNotExist)
	if err := f.Link("d", "x"); err == nil {
		t.Fatal("linked a directory")
	}
	ia, err := f.Stat("a")
	must(t, err)
	ib, err := f.Stat("d/b")
	must(t, err)
	if ia.Inode != ib.Inode || ia.Links != 2 {
		t.Fatalf("%+v %+v", ia, ib)
	}
	must(t, f.Rename("a", "d/b")) // two names of one file: nothing happens
	if list(t, f, ".") != "a d/" || list(t, f, "d") != "b" {
		t.Fatal("rename of a link onto its twin changed names")
	}
	must(t, f.Remove("a"))
	if get(t, f, "d/b") != "A" {
		t.Fatal("bytes went with one of two names")
	}
}

func directories(t *testing.T, tr Tree) {
	f := tr.FS
	must(t, f.Mkdir("d", 0o750))
	want(t, f.Mkdir("d", 0o700), fs.ErrExist)
	want(t, f.Mkdir("no/d", 0o700), fs.ErrNotExist)
	info, err := f.Stat("d")
	must(t, err)
	if !info.IsDir() || info.Mode.Perm() != 0o750 {
		t.Fatal(info.Mode)
	}
	for _, n := range []string{"1", "2", "3"} {
		put(t, f, "d/"+n, n)
	}
	count := 0
	must(t, f.ReadDir("d", func(vfs.DirEntry) bool { count++; return count < 2 }))
	if count != 2 {
		t.Fatal("yield false did not stop")
	}
	want(t, f.RemoveDir("d"), syscall.ENOTEMPTY)
	want(t, f.RemoveDir("d/1"), syscall.ENOTDIR)
	if err := f.Remove("d"); err == nil {
		t.Fatal("Remove took a directory")
	}
	for _, n := range []string{"1", "2", "3"} {
		must(t, f.Remove("d/"+n))
	}
	must(t, f.RemoveDir("d"))
	want(t, f.RemoveDir("d"), fs.ErrNotExist)
	want(t, f.ReadDir("d", func(vfs.DirEntry) bool { return true }), fs.ErrNotExist)
	put(t, f, "file", "")
	want(t, f.ReadDir("file", func(vfs.DirEntry) bool { return true }), syscall.ENOTDIR)
}

func times(t *testing.T, tr Tree) {
	f := tr.FS
	must(t, f.Mkdir("d", 0o700))
	put(t, f, "d/a", "x")
	o, err := f.OpenFile("d/a", vfs.Read, 0)
	must(t, err)
	when := time.Unix(981173106, 789000000)
	must(t, o.SetModTime(when))
	must(t, o.Close())
	info, err := f.Stat("d/a")
	must(t, err)
	if d := when.Sub(info.ModTime); d < 0 || d >= 10*time.Millisecond {
		t.Fatal(info.ModTime)
	}
	must(t, f.Link("d/a", "d/b"))
	if b, _ := f.Stat("d/b"); !b.ModTime.Equal(info.ModTime) {
		t.Fatal("a link changed the file's time")
	}
	// A change of names stamps the directory, sooner or later than one tick.
	before, err := f.Stat("d")
	must(t, err)
	deadline := time.Now().Add(5 * time.Second)
	for n := 0; ; n++ {
		must(t, f.Rename("d/a", "d/c"))
		must(t, f.Rename("d/c", "d/a"))
		after, err := f.Stat("d")
		must(t, err)
		if after.ModTime.After(before.ModTime) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("renames do not stamp the directory")
		}
	}
	if f.Now().IsZero() {
		t.Fatal("no clock")
	}
}

// flocks: flock(2)'s locks exclude each other, and not those of Lock.
func flocks(t *testing.T, tr Tree) {
	put(t, tr.FS, "f", "x")
	open := func() vfs.File {
		f, err := tr.FS.OpenFile("f", vfs.Read|vfs.Write, 0)
		must(t, err)
		return f
	}
	a, b := open(), open()
	defer b.Close()
	must(t, vfs.Flock(a, true))
	must(t, b.Lock(true, 0))
	for _, exclusive := range []bool{true, false} {
		if err := vfs.Flock(b, exclusive); !errkind.Is(err, errkind.InUse) {
			t.Fatalf("a second lock (exclusive: %v): %v", exclusive, err)
		}
	}
	must(t, vfs.Funlock(a))
	must(t, vfs.Flock(a, false))
	must(t, vfs.Flock(b, false))
	if err := vfs.Flock(b, true); !errkind.Is(err, errkind.InUse) {
		t.Fatalf("exclusive beside a shared one: %v", err)
	}
	must(t, a.Close()) // which gives it back
	must(t, vfs.Flock(b, true))
}

func locks(t *testing.T, tr Tree) {
	put(t, tr.FS, "lock", "")
	open := func() vfs.File {
		o, err := tr.FS.OpenFile("lock", vfs.Read|vfs.Write, 0)
		must(t, err)
		return o
	}
	a, b := open(), open()
	must(t, a.Lock(true, 0))
	if err := b.Lock(true, 0); !errkind.Is(err, errkind.InUse) {
		t.Fatal(err)
	}
	if err := b.Lock(false, 5*time.Millisecond); !errkind.Is(err, errkind.InUse) {
		t.Fatal(err)
	}
	must(t, a.Lock(false, 0)) // from exclusive to shared
	must(t, b.Lock(false, 0))
	if err := a.Lock(true, 0); !errkind.Is(err, errkind.InUse) {
		t.Fatal(err)
	}
	must(t, b.Unlock())
	must(t, a.Lock(true, 0))
	got := make(chan error)
	go func() { got <- b.Lock(true, 10*time.Second) }()
	c := open()
	must(t, c.Close()) // closing another description keeps a's lock
	if err := c.Lock(true, 0); err == nil {
		t.Fatal("locked a closed file")
	}
	must(t, a.Close()) // and this one lets b in
	must(t, <-got)
	must(t, b.Close())
}

func symlinks(t *testing.T, tr Tree) {
	if tr.Symlink == nil {
		return // the tree says that it has none; memfs and OS have
	}
	f := tr.FS
	must(t, f.Mkdir("d", 0o700))
	put(t, f, "d/a", "A")
	must(t, tr.Symlink("d", "ld"))
	must(t, tr.Symlink("d/a", "la"))
	must(t, tr.Symlink("/etc/passwd", "lp"))
	for _, p := range []string{"la", "lp", "ld/a"} {
		if _, err := f.OpenFile(p, vfs.Read, 0); err == nil {
			t.Fatalf("followed the link of %s", p)
		}
	}
	if _, err := f.Stat("ld/a"); err == nil {
		t.Fatal("stat passed a link")
	}
	if err := f.ReadDir("ld", func(vfs.DirEntry) bool { return true }); err == nil {
		t.Fatal("ReadDir followed a link")
	}
	if err := f.Rename("d/a", "ld/b"); err == nil {
		t.Fatal("rename passed a link")
	}
	if err := f.Remove("ld/a"); err == nil {
		t.Fatal("remove passed a link")
	}
	info, err := f.Stat("la")
	must(t, err)
	if info.Mode&fs.ModeSymlink == 0 {
		t.Fatal(info.Mode)
	}
	types := map[string]fs.FileMode{}
	must(t, f.ReadDir(".", func(e vfs.DirEntry) bool { types[e.Name] = e.Type; return true }))
	if ty := types["la"]; ty != fs.ModeSymlink && ty != fs.ModeIrregular {
		t.Fatal(ty)
	}
	must(t, f.Remove("la")) // the link itself
	if get(t, f, "d/a") != "A" {
		t.Fatal("remove went through the link")
	}
}

func sub(t *testing.T, tr Tree) {
	must(t, tr.FS.Mkdir("d", 0o700))
	put(t, tr.FS, "d/a", "A")
	put(t, tr.FS, "b", "B")
	_, err := tr.FS.Sub("no")
	want(t, err, fs.ErrNotExist)
	if _, err := tr.FS.Sub("b"); err == nil {
		t.Fatal("a tree from a file")
	}
	s, err := tr.FS.Sub("d")
	must(t, err)
	if get(t, s, "a") != "A" {
		t.Fatal("not the same file")
	}
	_, err = s.Stat("../b")
	want(t, err, fs.ErrInvalid)
	must(t, tr.FS.Rename("d", "e"))
	if get(t, s, "a") != "A" {
		t.Fatal("a sub tree follows its directory")
	}
	if s.BootID() != tr.FS.BootID() {
		t.Fatal("boot id differs")
	}
}

func syncs(t *testing.T, tr Tree) {
	must(t, tr.FS.Mkdir("d", 0o700))
	o, err := tr.FS.OpenFile("d/a", vfs.Write|vfs.Create, 0o600)
	must(t, err)
	must(t, o.Sync())
	must(t, o.DataSync())
	must(t, o.Close())
	must(t, tr.FS.SyncDir("d"))
	must(t, tr.FS.SyncDir("."))
	want(t, tr.FS.SyncDir("no"), fs.ErrNotExist)
}

func helpers(t *testing.T, tr Tree) {
	must(t, vfs.MkdirAll(tr.FS, "a/b/c", 0o700))
	must(t, vfs.MkdirAll(tr.FS, "a/b/c/d", 0o700))
	must(t, vfs.MkdirAll(tr.FS, ".", 0o700))
	put(t, tr.FS, "a/b/f", strings.Repeat("x", 100))
	if _, err := vfs.ReadFile(tr.FS, "a/b/f", 99); !errkind.Is(err, errkind.TooBig) {
		t.Fatal(err)
	}
	if b, err := vfs.ReadFile(tr.FS, "a/b/f", 100); err != nil || len(b) != 100 {
		t.Fatal(len(b), err)
	}
	if vfs.Base("a/b/f") != "f" || vfs.Base("f") != "f" {
		t.Fatal("Base")
	}
}
