package vfs_test

import (
	"math"
	"testing"

	"rookery/internal/vfs"
	"rookery/internal/vfs/faultfs"
	"rookery/internal/vfs/memfs"
)

func TestSpace(t *testing.T) {
	disk, err := vfs.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	free, total, err := vfs.Space(disk, ".")
	if err != nil || total == 0 || free > total {
		t.Fatal(free, total, err)
	}
	if _, _, err := vfs.Space(disk, "nowhere"); err == nil {
		t.Fatal("a directory that is not there has space")
	}
	mem := memfs.New(memfs.Options{Space: func() (free, total uint64) { return 3, 7 }})
	if free, total, err := vfs.Space(faultfs.New(mem), "."); free != 3 || total != 7 || err != nil {
		t.Fatal(free, total, err)
	}
	if free, _, err := vfs.Space(memfs.New(memfs.Options{}), "."); free != math.MaxUint64 || err != nil {
		t.Fatal(free, err)
	}
}
