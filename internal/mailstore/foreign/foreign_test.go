package foreign

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
)

// tree writes files; a path that ends in "/" is a directory.
func tree(t *testing.T, files map[string]string) vfs.FS {
	t.Helper()
	fs := memfs.New(memfs.Options{})
	var paths []string
	for p := range files {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	for _, p := range paths {
		dir := p[:strings.LastIndex(p, "/")]
		if err := vfs.MkdirAll(fs, dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(p, "/") {
			continue
		}
		f, err := fs.OpenFile(p, vfs.Write|vfs.Create, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(files[p])); err != nil {
			t.Fatal(err)
		}
		if err := f.SetModTime(time.Unix(1700000000, 0)); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	return fs
}

// dump reads all of a store: a line for each folder and message.
func dump(t *testing.T, r Reader) string {
	t.Helper()
	var b strings.Builder
	folders, err := r.Folders()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		fmt.Fprintf(&b, "%q %t\n", f.Name, f.Subscribed)
		err := r.Read(f, func(m *Message) error {
			if m.Err != nil {
				fmt.Fprintf(&b, "  bad %s\n", m.Where)
				return nil
			}
			body, err := io.ReadAll(m.Body)
			if err != nil || int64(len(body)) != m.Size {
				t.Errorf("%s: %d octets of %d, %v", m.Where, len(body), m.Size, err)
			}
			fmt.Fprintf(&b, "  %q %d %v %d\n", body, m.Flags, m.Keywords, m.InternalDate.Unix())
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func open(t *testing.T, fs vfs.FS, path, format string) Reader {
	t.Helper()
	r, err := Open(fs, path, format)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestMaildir(t *testing.T) {
	fs := tree(t, map[string]string{
		"m/cur/1700000002.b.h:2,RSab": "second\n", "m/new/99.a.h": "first\r\n", "m/tmp/x": "unfinished",
		"m/cur/.nfs1": "no message", "m/dovecot-keywords": "0 $Label\n1 work\n",
		"m/.&AMQ-rger.Sub/cur/1.x:2,FTDz": "deep\n", "m/.Empty/cur/": "", "m/.NoMaildir/": "",
		"m/subscriptions": "V\t2\n\nÄrger\tSub\n", "m/inside/cur/5.y": "fs\n", "m/inside/below/cur/": "", "m/inside/below/new/6.z": "fs2\n",
	})
	want := `"" false
  "first\r\n" 0 [] 1700000000
  "second\r\n" 9 [$Label work] 1700000000
"Empty" false
"inside" false
  "fs\r\n" 0 [] 1700000000
"inside/below" false
  "fs2\r\n" 0 [] 1700000000
"Ärger/Sub" true
  "deep\r\n" 22 [] 1700000000
`
	if got := dump(t, open(t, fs, "m", "")); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestCompareArrival(t *testing.T) {
	in := []string{"9.a", "10.M9P1.h", "10.M10P1.h", "10.M010P2.h", "11", "11.b", "x1"}
	got := slices.Clone(in)
	slices.Reverse(got)
	slices.SortFunc(got, compareArrival)
	if !slices.Equal(got, in) {
		t.Errorf("%q", got)
	}
}

func TestEML(t *testing.T) {
	fs := tree(t, map[string]string{"d/1.eml": "a\n", "d/2.EML": "b\n", "d/readme.txt": "x", "d/Sub/Deep/3.eml": "c\n", "d/.eml": "no name"})
	want := `"" false
  "a\r\n" 0 [] 1700000000
  "b\r\n" 0 [] 1700000000
"Sub" false
"Sub/Deep" false
  "c\r\n" 0 [] 1700000000
`
	if got := dump(t, open(t, fs, "d", "")); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if got := dump(t, open(t, fs, "d/1.eml", "")); got != "\"\" false\n  \"a\\r\\n\" 0 [] 1700000000\n" {
		t.Error(got)
	}
}

func TestOpenRefuses(t *testing.T) {
	fs := tree(t, map[string]string{"d/notes.txt": "x"})
	if _, err := Open(fs, "d", ""); !errkind.Is(err, errkind.Invalid) {
		t.Error(err)
	}
	if _, err := Open(fs, "d", "nonsense"); !errkind.Is(err, errkind.Invalid) || !strings.Contains(err.Error(), "maildir, eml") {
		t.Error(err)
	}
	if _, err := Open(fs, "none", ""); !errkind.Is(err, errkind.NotFound) {
		t.Error(err)
	}
}
