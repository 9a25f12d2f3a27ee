package dbfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, path); err != nil {
		t.Fatal(err)
	}
}

func TestFolder(t *testing.T) {
	for in, want := range map[string]string{"/etc/rookery/users": "/etc/rookery", "/etc/auth/%{user | domain}/users": "/etc/auth",
		"/srv/x%{user}": "/srv", "/users": "", "%{user}": "", "/a/b/../%{user}": "/a"} {
		if got := Folder(in); got != want {
			t.Errorf("Folder(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestFolders(t *testing.T) {
	dir := t.TempDir()
	s := New()
	defer s.Close()
	users := filepath.Join(dir, "d.test", "users")
	write(t, users, "one")
	if _, err := s.Stat(users); !errors.Is(err, ErrNotPassed) {
		t.Errorf("before the folder is open: %v", err)
	}
	if err := s.OpenFolder(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	if err := s.OpenFolder(dir); err != nil {
		t.Fatal(err)
	}
	before, err := s.Stat(users)
	if err != nil {
		t.Fatal(err)
	}
	if text, st, err := s.Read(users, 100); string(text) != "one" || st != before || err != nil {
		t.Errorf("%q %v %v", text, st, err)
	}
	write(t, users, "two")
	after, _ := s.Stat(users)
	if text, _, _ := s.Read(users, 100); string(text) != "two" || after == before {
		t.Errorf("a replaced file: %q %v", text, after)
	}
	if _, err := s.Stat(filepath.Join(dir, "other.test", "users")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such file: %v", err)
	}
	if _, _, err := s.Read(users, 2); err == nil || !strings.Contains(err.Error(), "has 3 bytes, at most 2 are read") {
		t.Errorf("too large: %v", err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Read(fifo, 100); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a fifo: %v", err)
	}
}

func open2(t *testing.T, path string) int {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestGiven(t *testing.T) {
	dir := t.TempDir()
	s := New()
	defer s.Close()
	shadow := filepath.Join(dir, "shadow")
	write(t, shadow, "one")
	fd := open2(t, shadow)
	unix.Seek(fd, 2, 0) // the offset is master's too and must not matter
	s.Give(shadow, fd)
	if text, _, err := s.Read(shadow, 100); string(text) != "one" || err != nil {
		t.Errorf("%q %v", text, err)
	}
	// Changed in place: seen through the descriptor.
	if err := os.WriteFile(shadow, []byte("longer"), 0o644); err != nil {
		t.Fatal(err)
	}
	if st, err := s.Stat(shadow); st.Size != 6 || err != nil {
		t.Errorf("%+v %v", st, err)
	}
	// Replaced: master passes the new one.
	write(t, shadow, "new")
	if text, _, _ := s.Read(shadow, 100); string(text) != "longer" {
		t.Errorf("before it is passed: %q", text)
	}
	s.Give(shadow, open2(t, shadow))
	if text, _, _ := s.Read(shadow, 100); string(text) != "new" {
		t.Errorf("after: %q", text)
	}
	// Where the folder is open too, a replaced file that can be read counts at once.
	if err := s.OpenFolder(dir); err != nil {
		t.Fatal(err)
	}
	write(t, shadow, "newest!")
	st, err := s.Stat(shadow)
	if err != nil || st.Size != 7 {
		t.Errorf("%+v %v", st, err)
	}
	if text, _, _ := s.Read(shadow, 100); string(text) != "newest!" {
		t.Errorf("newest: %q", text)
	}
	if text, err := ReadGiven(open2(t, shadow), shadow, 100); string(text) != "newest!" || err != nil {
		t.Errorf("%q %v", text, err)
	}
}
