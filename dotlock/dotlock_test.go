package dotlock

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/ipc"
	"rookery/internal/ipc/dotlockmsg"
	"rookery/internal/vfs"
)

// rig serves one file of a directory and gives the worker's end.
func rig(t *testing.T, dir, name string) *ipc.Conn {
	t.Helper()
	fs, err := vfs.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fs.Close() })
	s, err := newServer(fs, &dotlockmsg.File{Name: name, Stale: 2 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	a, b, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	server, err := ipc.NewConn(a, dotlockmsg.Protocol, ipc.FromServer)
	if err != nil {
		t.Fatal(err)
	}
	worker, err := ipc.NewConn(b, dotlockmsg.Protocol, ipc.FromClient)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		err := s.serve(server)
		s.close()
		server.Close()
		ended <- err
	}()
	t.Cleanup(func() {
		worker.Close()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
		if _, err := os.Lstat(filepath.Join(dir, name+".lock")); err == nil && s.held {
			t.Error("a dead worker's lock file stays")
		}
	})
	return worker
}

// ask gives the errno, and the file that came.
func ask(t *testing.T, c *ipc.Conn, m ipc.Message) (*dotlockmsg.Answer, *os.File) {
	t.Helper()
	if err := c.Send(m, -1); err != nil {
		t.Fatal(err)
	}
	got, fd, err := c.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var f *os.File
	if fd >= 0 {
		f = os.NewFile(uintptr(fd), "mbox")
		t.Cleanup(func() { f.Close() })
	}
	return got.(*dotlockmsg.Answer), f
}

func TestServe(t *testing.T) {
	dir := t.TempDir()
	defer unix.Umask(unix.Umask(0o007))
	c := rig(t, dir, "user")
	if a, f := ask(t, c, &dotlockmsg.Open{}); a.Errno != uint32(unix.ENOENT) || f != nil {
		t.Errorf("a missing mbox: %+v", a)
	}
	a, f := ask(t, c, &dotlockmsg.Open{Create: true})
	if a.Errno != 0 || !a.Writable || f == nil {
		t.Fatalf("%+v", a)
	}
	if info, err := f.Stat(); err != nil || info.Mode().Perm() != 0o660 {
		t.Error(info.Mode(), err)
	}
	if _, err := io.WriteString(f, "text"); err != nil {
		t.Error(err)
	}
	if a, _ := ask(t, c, &dotlockmsg.Stat{}); a.Size != 4 || a.Links != 1 || a.Inode == 0 {
		t.Errorf("%+v", a)
	}
	lock := filepath.Join(dir, "user.lock")
	if a, _ := ask(t, c, &dotlockmsg.Lock{}); a.Errno != 0 {
		t.Errorf("%+v", a)
	}
	if b, err := os.ReadFile(lock); err != nil || string(b) != "0\nrookery\n" {
		t.Errorf("%q %v", b, err)
	}
	if a, _ := ask(t, c, &dotlockmsg.Lock{}); a.Errno != uint32(unix.EEXIST) {
		t.Errorf("locked twice: %+v", a)
	}
	if a, _ := ask(t, c, &dotlockmsg.Unlock{}); a.Errno != 0 {
		t.Errorf("%+v", a)
	}
	if _, err := os.Lstat(lock); err == nil {
		t.Error("the lock file stays")
	}
	// Another program's is respected, and never removed by Unlock.
	if err := os.WriteFile(lock, []byte("0"), 0o600); err != nil {
		t.Fatal(err)
	}
	if a, _ := ask(t, c, &dotlockmsg.Lock{Own: true}); a.Errno != uint32(unix.EEXIST) {
		t.Errorf("%+v", a)
	}
	ask(t, c, &dotlockmsg.Unlock{})
	if _, err := os.Lstat(lock); err != nil {
		t.Error("another's lock file was removed")
	}
	// Old, and the mbox as old: a dead program's.
	old := time.Now().Add(-5 * time.Minute)
	if os.Chtimes(lock, old, old) != nil {
		t.Fatal()
	}
	if a, _ := ask(t, c, &dotlockmsg.Lock{}); a.Errno != uint32(unix.EEXIST) {
		t.Errorf("the mbox has just changed: %+v", a)
	}
	if os.Chtimes(filepath.Join(dir, "user"), old, old) != nil {
		t.Fatal()
	}
	if a, _ := ask(t, c, &dotlockmsg.Lock{}); a.Errno != 0 {
		t.Errorf("a stale lock: %+v", a)
	}
	// One of ours that a killed process left, and that nobody else can have.
	ask(t, c, &dotlockmsg.Unlock{})
	if err := os.WriteFile(lock, []byte("0\nrookery\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if a, _ := ask(t, c, &dotlockmsg.Lock{Own: false}); a.Errno != uint32(unix.EEXIST) {
		t.Errorf("%+v", a)
	}
	if a, _ := ask(t, c, &dotlockmsg.Lock{Own: true}); a.Errno != 0 {
		t.Errorf("%+v", a)
	}
}

// TestRefusals: links, files with two names, directories and pipes in the
// mbox's place; names that are none.
func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("another's"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, put := range map[string]func(path string) error{
		"symbolic": func(p string) error { return os.Symlink("secret", p) },
		"dangling": func(p string) error { return os.Symlink("not-there", p) },
		"hard":     func(p string) error { return os.Link(secret, p) },
		"dir":      func(p string) error { return os.Mkdir(p, 0o700) },
		"pipe":     func(p string) error { return unix.Mkfifo(p, 0o600) },
	} {
		if err := put(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		c := rig(t, dir, name)
		for _, create := range []bool{false, true} {
			if a, f := ask(t, c, &dotlockmsg.Open{Create: create}); a.Errno == 0 || f != nil {
				t.Errorf("%s: opened, create %v", name, create)
			}
		}
		if _, err := os.Lstat(filepath.Join(dir, "not-there")); err == nil {
			t.Fatal("a link was followed")
		}
		if name == "hard" {
			os.Remove(filepath.Join(dir, name))
		}
	}
	// A link in the lock file's place is there: nothing is made through it.
	if err := os.Symlink("made", filepath.Join(dir, "box.lock")); err != nil {
		t.Fatal(err)
	}
	if a, _ := ask(t, rig(t, dir, "box"), &dotlockmsg.Lock{Own: true}); a.Errno == 0 {
		t.Error("locked through a link")
	}
	if _, err := os.Lstat(filepath.Join(dir, "made")); err == nil {
		t.Error("a file was made through a link")
	}
	for _, name := range []string{"", ".", "..", "a/b", "/etc/passwd", "../x", "a\x00b"} {
		if _, err := newServer(nil, &dotlockmsg.File{Name: name}); err == nil {
			t.Errorf("the name %q is taken", name)
		}
	}
}

// TestOthers: the group may open another user's mbox, and the helper does not.
func TestOthers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: a file of another user")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "bob")
	if err := os.WriteFile(path, nil, 0o660); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, 64321, -1); err != nil {
		t.Fatal(err)
	}
	if a, f := ask(t, rig(t, dir, "bob"), &dotlockmsg.Open{}); a.Errno != uint32(unix.EACCES) || f != nil {
		t.Errorf("another's mbox was opened: %+v", a)
	}
}
