package overlay_test

import (
	"errors"
	"io/fs"
	"slices"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
	"rookery/internal/vfs/overlay"
	"rookery/internal/vfs/vfstest"
)

// Over an empty disk it is a file system like any other.
func TestFS(t *testing.T) {
	vfstest.Run(t, func(t *testing.T) vfstest.Tree {
		disk := memfs.New(memfs.Options{})
		before := disk.Dump()
		t.Cleanup(func() {
			if after := disk.Dump(); after != before {
				t.Errorf("the disk has changed:\n%s", after)
			}
		})
		return vfstest.Tree{FS: overlay.New(disk)}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
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

func names(t *testing.T, f vfs.FS, dir string) (out []string) {
	t.Helper()
	must(t, f.ReadDir(dir, func(e vfs.DirEntry) bool { out = append(out, e.Name); return true }))
	slices.Sort(out)
	return out
}

func newDisk(t *testing.T) (*memfs.FS, *overlay.FS) {
	disk := memfs.New(memfs.Options{})
	must(t, disk.Mkdir("d", 0o700))
	must(t, disk.Mkdir("d/sub", 0o700))
	put(t, disk, "d/a", "alpha")
	put(t, disk, "d/sub/b", "beta")
	return disk, overlay.New(disk)
}

// Every kind of change shows here, and none on the disk.
func TestChanges(t *testing.T) {
	disk, o := newDisk(t)
	before := disk.Dump()
	f, err := o.OpenFile("d/a", vfs.Read|vfs.Write, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("LPH"), 1)
	must(t, err)
	must(t, f.Truncate(4))
	_, err = f.WriteAt([]byte("end"), 5000)
	must(t, err)
	must(t, f.Close())
	if got := get(t, o, "d/a"); got[:4] != "aLPH" || got[4:5000] != string(make([]byte, 4996)) || got[5000:] != "end" {
		t.Errorf("%q", got)
	}
	must(t, o.Rename("d/sub", "moved"))
	if got := get(t, o, "moved/b"); got != "beta" {
		t.Errorf("%q", got)
	}
	put(t, o, "moved/b", "gamma")
	must(t, o.Link("moved/b", "d/c"))
	must(t, o.Remove("moved/b"))
	if got := get(t, o, "d/c"); got != "gamma" {
		t.Errorf("%q", got)
	}
	must(t, o.RemoveDir("moved"))
	if got := names(t, o, "."); !slices.Equal(got, []string{"d"}) {
		t.Errorf("%q", got)
	}
	if got := names(t, o, "d"); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("%q", got)
	}
	if _, err := o.Stat("d/sub/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if after := disk.Dump(); after != before {
		t.Errorf("the disk has changed:\n%s", after)
	}
}

// What nobody changed here is the disk's of now; what was changed stays.
func TestLive(t *testing.T) {
	disk, o := newDisk(t)
	f, err := o.OpenFile("d/a", vfs.Read, 0)
	must(t, err)
	defer f.Close()
	put(t, disk, "d/new", "x")
	must(t, disk.Rename("d/new", "d/a"))
	if got := get(t, o, "d/a"); got != "x" {
		t.Errorf("%q", got)
	}
	buf := make([]byte, 5)
	if _, err := f.ReadAt(buf, 0); err != nil || string(buf) != "alpha" {
		t.Errorf("%q, %v", buf, err)
	}
	put(t, o, "d/a", "mine")
	put(t, disk, "d/a", "theirs")
	if got := get(t, o, "d/a"); got != "mine" {
		t.Errorf("%q", got)
	}
}

// A lock is the disk's file's.
func TestLock(t *testing.T) {
	disk, o := newDisk(t)
	a, err := o.OpenFile("d/a", vfs.Read|vfs.Write, 0)
	must(t, err)
	b, err := disk.OpenFile("d/a", vfs.Read|vfs.Write, 0)
	must(t, err)
	defer b.Close()
	must(t, a.Lock(true, 0))
	if err := b.Lock(true, 0); !errkind.Is(err, errkind.InUse) {
		t.Errorf("%v", err)
	}
	must(t, a.Close())
	must(t, b.Lock(true, time.Second))
}

// More changes than fit are a full disk.
func TestBound(t *testing.T) {
	_, o := newDisk(t)
	f, err := o.OpenFile("d/a", vfs.Write, 0)
	must(t, err)
	defer f.Close()
	page := make([]byte, 1)
	for i := int64(0); ; i++ {
		if _, err := f.WriteAt(page, i*4096); err != nil {
			if i != overlay.MaxMemory/4096 || !errkind.Is(vfs.Kinded("write", err), errkind.NoSpace) {
				t.Errorf("after %d pages: %v", i, err)
			}
			return
		}
	}
}
