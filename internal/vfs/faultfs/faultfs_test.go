package faultfs_test

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"rookery/internal/vfs"
	"rookery/internal/vfs/faultfs"
	"rookery/internal/vfs/memfs"
	"rookery/internal/vfs/vfstest"
)

func TestFault(t *testing.T) {
	vfstest.Run(t, func(t *testing.T) vfstest.Tree {
		m := memfs.New(memfs.Options{Granularity: 10 * time.Millisecond})
		return vfstest.Tree{FS: faultfs.New(m), Symlink: m.Symlink}
	})
}

// history is create, write, sync, rename, syncdir.
func history(f vfs.FS) error {
	o, err := f.OpenFile("a", vfs.Write|vfs.Create, 0o600)
	if err != nil {
		return err
	}
	defer o.Close()
	if _, err := o.Write([]byte("x")); err != nil {
		return err
	}
	if err := o.Sync(); err != nil {
		return err
	}
	if err := f.Rename("a", "b"); err != nil {
		return err
	}
	return f.SyncDir(".")
}

func TestCutAfterEachChange(t *testing.T) {
	want := []string{"", "", "a", "a", "b"} // what is there after a cut behind change 1..5
	for k, name := range want {
		f := faultfs.New(memfs.New(memfs.Options{}))
		f.CutAfter(k+1, memfs.Lost, 1)
		err := history(f)
		if k < 4 && !errors.Is(err, faultfs.ErrDead) || f.Changes() != k+1 || !f.Dead() {
			t.Fatalf("cut %d: %v, %d changes", k+1, err, f.Changes())
		}
		got := ""
		s := f.Survivor(memfs.Lost, 1)
		if err := s.ReadDir(".", func(e vfs.DirEntry) bool { got += e.Name; return true }); err != nil {
			t.Fatal(err)
		}
		if got != name {
			t.Fatalf("cut %d leaves %q, want %q", k+1, got, name)
		}
	}
}

func TestFailEachOperation(t *testing.T) {
	for k := 1; k <= 5; k++ {
		f := faultfs.New(memfs.New(memfs.Options{}))
		f.FailAt(k, 1, syscall.ENOSPC)
		if err := history(f); !errors.Is(err, syscall.ENOSPC) || f.Failed() == "" {
			t.Fatalf("operation %d: %v", k, err)
		}
		if f.OpenFiles() != 0 {
			t.Fatal("a file stays open")
		}
	}
}

func TestKillGivesLocksBack(t *testing.T) {
	m := memfs.New(memfs.Options{})
	a, b := faultfs.New(m), faultfs.New(m)
	oa, err := a.OpenFile("l", vfs.Write|vfs.Create, 0o600)
	if err != nil || oa.Lock(true, 0) != nil {
		t.Fatal(err)
	}
	ob, err := b.OpenFile("l", vfs.Write, 0)
	if err != nil || ob.Lock(true, 0) == nil {
		t.Fatal("two hold it", err)
	}
	a.Kill()
	if err := ob.Lock(true, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Stat("l"); !errors.Is(err, faultfs.ErrDead) {
		t.Fatal(err)
	}
}
