package memfs_test

import (
	"testing"
	"time"

	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
	"rookery/internal/vfs/vfstest"
)

func TestMem(t *testing.T) {
	for _, g := range []time.Duration{0, 10 * time.Millisecond} {
		vfstest.Run(t, func(t *testing.T) vfstest.Tree {
			m := memfs.New(memfs.Options{Granularity: g})
			return vfstest.Tree{FS: m, Symlink: m.Symlink}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, f vfs.FS, path, text string, sync bool) {
	t.Helper()
	o, err := f.OpenFile(path, vfs.Write|vfs.Create, 0o600)
	must(t, err)
	defer o.Close()
	_, err = o.Write([]byte(text))
	must(t, err)
	if sync {
		must(t, o.DataSync())
	}
}

func read(f vfs.FS, path string) string {
	b, err := vfs.ReadFile(f, path, 1<<20)
	if err != nil {
		return "-"
	}
	return string(b)
}

func sync(t *testing.T, f vfs.FS, path string) {
	t.Helper()
	o, err := f.OpenFile(path, vfs.Read, 0)
	must(t, err)
	must(t, o.Sync())
	must(t, o.Close())
}

func TestSurvive(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(t *testing.T, f *memfs.FS)
		want map[string]string
	}{
		{"unsynced bytes and names go", func(t *testing.T, f *memfs.FS) { write(t, f, "a", "x", false) },
			map[string]string{"a": "-"}},
		{"a synced file has its name", func(t *testing.T, f *memfs.FS) { write(t, f, "a", "x", true) },
			map[string]string{"a": "x"}},
		{"a name without the bytes", func(t *testing.T, f *memfs.FS) { write(t, f, "a", "x", false); must(t, f.SyncDir(".")) },
			map[string]string{"a": ""}},
		{"link, then fsync: all there", func(t *testing.T, f *memfs.FS) {
			write(t, f, "tmp", "x", false)
			must(t, f.Link("tmp", "cur"))
			sync(t, f, "cur")
		}, map[string]string{"cur": "x", "tmp": "x"}},
		{"rename, then fsync: all there", func(t *testing.T, f *memfs.FS) {
			write(t, f, "tmp", "x", false)
			must(t, f.Rename("tmp", "cur"))
			sync(t, f, "cur")
		}, map[string]string{"cur": "x", "tmp": "-"}},
		{"fsync, then rename: the rename goes", func(t *testing.T, f *memfs.FS) {
			write(t, f, "tmp", "x", true)
			must(t, f.Rename("tmp", "cur"))
		}, map[string]string{"cur": "-", "tmp": "x"}},
		{"fsync of a directory keeps a rename from it", func(t *testing.T, f *memfs.FS) {
			must(t, f.Mkdir("d", 0o700))
			write(t, f, "d/a", "x", true)
			must(t, f.SyncDir("."))
			must(t, f.Rename("d/a", "b"))
			must(t, f.SyncDir("d"))
		}, map[string]string{"b": "x", "d/a": "-"}},
		{"an unlink goes", func(t *testing.T, f *memfs.FS) { write(t, f, "a", "x", true); must(t, f.Remove("a")) },
			map[string]string{"a": "x"}},
		{"a synced unlink stays", func(t *testing.T, f *memfs.FS) {
			write(t, f, "a", "x", true)
			must(t, f.Remove("a"))
			must(t, f.SyncDir("."))
		}, map[string]string{"a": "-"}},
		{"a file in a directory that nobody synced", func(t *testing.T, f *memfs.FS) {
			must(t, f.Mkdir("d", 0o700))
			write(t, f, "d/a", "x", true)
		}, map[string]string{"d/a": "-"}},
		{"an older unsynced name does not win over a newer synced one", func(t *testing.T, f *memfs.FS) {
			write(t, f, "a", "1", true)
			write(t, f, "t1", "2", true)
			must(t, f.Rename("t1", "a"))
			write(t, f, "t2", "3", true)
			must(t, f.Rename("t2", "a"))
			sync(t, f, "a")
		}, map[string]string{"a": "3"}},
		{"rename, then fdatasync of bytes over others: the rename goes", func(t *testing.T, f *memfs.FS) {
			write(t, f, "tmp", "x", true)
			must(t, f.Rename("tmp", "cur"))
			write(t, f, "cur", "y", true)
		}, map[string]string{"cur": "-", "tmp": "y"}},
		{"rename, then fdatasync of more bytes: all there", func(t *testing.T, f *memfs.FS) {
			write(t, f, "tmp", "x", true)
			must(t, f.Rename("tmp", "cur"))
			write(t, f, "cur", "yz", true)
		}, map[string]string{"cur": "yz", "tmp": "-"}},
		{"bytes after the last sync go", func(t *testing.T, f *memfs.FS) {
			write(t, f, "a", "12", true)
			write(t, f, "a", "345", false)
		}, map[string]string{"a": "12"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := memfs.New(memfs.Options{})
			c.do(t, f)
			s := f.Survive(memfs.Lost, 0)
			for path, text := range c.want {
				if got := read(s, path); got != text {
					t.Errorf("%s holds %q, want %q\n%s", path, got, text, s.Dump())
				}
			}
			if s.BootID() == f.BootID() {
				t.Error("the boot id stayed")
			}
			if again := s.Survive(memfs.Lost, 0); again.Dump() != s.Dump() {
				t.Error("a second cut takes more")
			}
		})
	}
}

// A promise that holds when all is lost holds for every seed, too.
func TestTornKeepsWhatWasSynced(t *testing.T) {
	f := memfs.New(memfs.Options{})
	write(t, f, "tmp", "x", false)
	must(t, f.Rename("tmp", "cur"))
	sync(t, f, "cur")
	must(t, f.Rename("cur", "cur2"))
	write(t, f, "other", string(make([]byte, 3000)), false)
	seen := map[string]bool{}
	for seed := range uint64(64) {
		s := f.Survive(memfs.Torn, seed)
		a, b := read(s, "cur"), read(s, "cur2")
		if (a == "x") == (b == "x") {
			t.Fatalf("seed %d: a rename half done: %q %q", seed, a, b)
		}
		seen[a+b+s.Dump()] = true
	}
	if len(seen) < 4 {
		t.Fatal("the seed draws nothing")
	}
	if k := f.Survive(memfs.Kept, 0); read(k, "cur2") != "x" || read(k, "other") == "-" {
		t.Fatal("Kept lost something")
	}
}

func TestGranularity(t *testing.T) {
	now := time.Unix(1000, 123456789)
	f := memfs.New(memfs.Options{Now: func() time.Time { return now }, Granularity: 10 * time.Millisecond})
	write(t, f, "a", "x", false)
	i, err := f.Stat("a")
	must(t, err)
	if !i.ModTime.Equal(time.Unix(1000, 120000000)) {
		t.Fatal(i.ModTime)
	}
}
