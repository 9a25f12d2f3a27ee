package vfs_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"rookery/internal/vfs"
	"rookery/internal/vfs/vfstest"
)

func open(t *testing.T) (*vfs.OS, string) {
	dir := t.TempDir()
	o, err := vfs.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	return o, dir
}

func TestOS(t *testing.T) {
	vfstest.Run(t, func(t *testing.T) vfstest.Tree {
		o, dir := open(t)
		return vfstest.Tree{FS: o, Symlink: func(target, path string) error {
			return os.Symlink(target, filepath.Join(dir, path))
		}}
	})
}

// Kernels and seccomp tables without openat2 are walked by hand, with the same rules.
func TestOSWithoutOpenat2(t *testing.T) {
	vfstest.Run(t, func(t *testing.T) vfstest.Tree {
		o, dir := open(t)
		return vfstest.Tree{FS: vfs.WithoutOpenat2(o), Symlink: func(target, path string) error {
			return os.Symlink(target, filepath.Join(dir, path))
		}}
	})
}

func TestBootID(t *testing.T) {
	o, _ := open(t)
	if o.BootID() == "" {
		t.Skip("no /proc here")
	}
	if o.WithBootID("x").BootID() != "x" || o.BootID() == "x" {
		t.Fatal("WithBootID")
	}
}

func TestPipesAreRefusedAndDoNotHang(t *testing.T) {
	o, dir := open(t)
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { _, err := o.OpenFile("pipe", vfs.Read, 0); done <- err }()
	select {
	case err := <-done:
		if err == nil {
			t.Fatal("opened a pipe")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("open waits for a writer")
	}
}

func TestLargeDirectory(t *testing.T) {
	o, dir := open(t)
	const n = 5000
	want := map[string]bool{}
	for i := range n {
		name := "a-file-with-a-name-of-some-length-" + time.Unix(int64(i), 0).UTC().Format("15:04:05.000000000")
		want[name] = true
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err := o.ReadDir(".", func(e vfs.DirEntry) bool {
		if !want[e.Name] {
			t.Fatalf("%q twice or never made", e.Name)
		}
		delete(want, e.Name)
		return true
	})
	if err != nil || len(want) != 0 {
		t.Fatal(err, len(want))
	}
}
