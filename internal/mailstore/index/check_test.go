package index

import (
	"slices"
	"strings"
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/vfs"
)

// Each damage of the index is named where it is, a look changes nothing, a repair
// takes away what is damaged, and what is sound is not found.
func TestCheck(t *testing.T) {
	type damage struct {
		kind, file string
		at         int64 // -1: the last octets
	}
	for _, c := range []damage{
		{"", "", 0},
		{"index-snapshot-damaged", snapFile, 40}, {"index-snapshot-damaged", snapFile, headerSize + 700}, {"index-snapshot-damaged", snapFile, -1},
		{"index-cache-damaged", cacheFile, 30}, {"index-cache-damaged", cacheFile, cacheHeader + 3}, {"index-cache-damaged", cacheFile, -1},
		{"index-log-damaged", logFile, 30}, {"index-log-damaged", logFile, logHeader + 20},
		{"modseq-damaged", modseqFile, 4},
	} {
		w := newWorld(t, 1, 1)
		p := w.start(w.mem, w.options(nil))
		mailboxOf(t, p, 1, 300)
		p.keep(t, span(1, 300), "A")
		if err := p.u.Compact(); err != nil {
			t.Fatal(err)
		}
		mailboxOf(t, p, 301, 3)
		p.stop()
		paths := map[string]string{}
		find(t, w.mem, ".", paths)
		if paths[snapFile] == "" || paths[cacheFile] == "" || paths[logFile] == "" || paths[modseqFile] == "" {
			t.Fatalf("%v\n%s", paths, w.mem.Dump())
		}
		if c.kind != "" {
			spoil(t, w.mem, paths[c.file], c.at)
		}
		before := w.mem.Dump()
		check := func(repair bool) string {
			var out []string
			err := Check(w.mem, parent(paths[logFile]), ".", parent(paths[modseqFile]), repair, func(f mailstore.Finding) {
				if f.Repaired != repair || f.Text == "" || f.Remedy == "" {
					t.Errorf("%+v", f)
				}
				out = append(out, f.Kind)
			})
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(out)
			return strings.Join(out, " ")
		}
		if got := check(false); got != c.kind {
			t.Errorf("%s at %d: found %q, want %q", c.file, c.at, got, c.kind)
		}
		if w.mem.Dump() != before {
			t.Errorf("%s at %d: a look changed something", c.file, c.at)
		}
		check(true)
		if got := check(false); got != "" {
			t.Errorf("%s at %d: after the repair %q", c.file, c.at, got)
		}
	}
}

func parent(path string) string {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i]
	}
	return "."
}

// find notes where files lie.
func find(t *testing.T, disk vfs.FS, dir string, out map[string]string) {
	t.Helper()
	var all []vfs.DirEntry
	if err := disk.ReadDir(dir, func(e vfs.DirEntry) bool { all = append(all, e); return true }); err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		path := join(dir, e.Name)
		if e.Type.IsDir() {
			find(t, disk, path, out)
		} else {
			out[e.Name] = path
		}
	}
}

// spoil changes a few octets of a file, in place.
func spoil(t *testing.T, disk vfs.FS, path string, at int64) {
	t.Helper()
	f, err := disk.OpenFile(path, vfs.Read|vfs.Write, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if at < 0 {
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		at = info.Size - 4
	}
	b := make([]byte, 4)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	for i := range b {
		b[i] ^= 0xa5
	}
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}
