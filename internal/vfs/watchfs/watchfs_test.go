package watchfs_test

import (
	"slices"
	"testing"

	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
	"rookery/internal/vfs/watchfs"
)

func TestDuring(t *testing.T) {
	w := watchfs.New(memfs.New(memfs.Options{}))
	work := func() {
		if err := w.Mkdir("a", 0o700); err != nil {
			t.Fatal(err)
		}
		in, err := w.Sub("a")
		if err != nil {
			t.Fatal(err)
		}
		f, err := in.OpenFile("f", vfs.Write|vfs.Create, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		if _, err := in.Stat("f"); err != nil {
			t.Error(err)
		}
		for _, err := range []error{w.ReadDir("a", func(vfs.DirEntry) bool { return true }), in.Remove("f"), w.RemoveDir("a")} {
			if err != nil {
				t.Error(err)
			}
		}
	}
	for range 2 {
		if got, want := w.During(work), []string{"open f", "readdir a"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		work() // is not noted
	}
}
