package vfstest

import (
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"rookery/internal/vfs"
)

// small looks at ReadSmall: what fits is read, the rest is opened.
func small(t *testing.T, tree Tree) {
	f := tree.FS
	must(t, f.Mkdir("d", 0o700))
	for _, n := range []int{0, 1, 99, 100, 101, 5000} {
		text := strings.Repeat("x", n)
		put(t, f, "d/file", text)
		buf := make([]byte, 100)
		got, info, rest, err := vfs.ReadSmall(f, "d/file", buf)
		must(t, err)
		if info.Size != int64(n) {
			t.Fatalf("%d octets: the size is %d", n, info.Size)
		}
		if n > len(buf) {
			all := make([]byte, n)
			if _, err := rest.ReadAt(all, 0); err != nil && string(all) != text || got != 0 {
				t.Fatalf("%d octets: %v, %d read", n, err, got)
			}
			must(t, rest.Close())
		} else if rest != nil || string(buf[:got]) != text {
			t.Fatalf("%d octets: %q, %v", n, buf[:got], rest)
		}
	}
	_, _, _, err := vfs.ReadSmall(f, "d/none", nil)
	want(t, err, fs.ErrNotExist)
	_, _, _, err = vfs.ReadSmall(f, "d", make([]byte, 100))
	want(t, err, syscall.EISDIR)
	_, _, _, err = vfs.ReadSmall(f, "../d/file", nil)
	want(t, err, fs.ErrInvalid)
	if tree.Symlink != nil {
		must(t, tree.Symlink("file", "d/link"))
		_, _, _, err = vfs.ReadSmall(f, "d/link", make([]byte, 100))
		want(t, err, syscall.ELOOP)
	}
}
