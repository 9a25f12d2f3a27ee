package journal

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"rookery/internal/child/childtest"
	"rookery/internal/vfs"
)

// The machine stops right after an answer, on real file systems: a process that
// appends is stopped, the block device is copied as it is at that moment, and the
// copy is mounted. Everything that was answered is in the journal there, or had
// been made certain elsewhere before.
func TestRealFileSystems(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to mount images")
	}
	for _, f := range []struct {
		name, mount string
		mkfs        []string
	}{
		{"ext4", "loop", []string{"mkfs.ext4", "-q", "-F"}},
		{"ext4 without a journal", "loop", []string{"mkfs.ext4", "-q", "-F", "-O", "^has_journal"}},
		{"xfs", "loop,nouuid", []string{"mkfs.xfs", "-q", "-f"}},
		{"btrfs", "loop", []string{"mkfs.btrfs", "-q", "-f"}},
	} {
		t.Run(f.name, func(t *testing.T) {
			dir := t.TempDir()
			img, copied := filepath.Join(dir, "img"), filepath.Join(dir, "copy")
			if err := os.WriteFile(img, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(img, 400<<20); err != nil {
				t.Fatal(err)
			}
			command(t, f.mkfs[0], append(f.mkfs[1:], img)...)
			at := mount(t, img, f.mount)
			for round := range 3 {
				cutAndLook(t, at, img, copied, f.mount, round)
			}
		})
	}
}

func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// mount mounts an image until the test ends.
func mount(t *testing.T, img, options string) string {
	t.Helper()
	at := t.TempDir()
	command(t, "mount", "-o", options, img, at)
	t.Cleanup(func() { exec.Command("umount", at).Run() })
	return at
}

// stopped waits until all threads of a process stand still: the copy of the device takes
// its time.
func stopped(t *testing.T, pid int) {
	t.Helper()
	for range 1000 {
		switch still, err := childtest.Stopped(pid); {
		case err != nil:
			t.Fatal(err)
		case still:
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("the process does not stop")
}

func cutAndLook(t *testing.T, at, img, copied, options string, round int) {
	name := fmt.Sprintf("user%d", round)
	if err := os.Mkdir(filepath.Join(at, name), 0o700); err != nil {
		t.Fatal(err)
	}
	command(t, "sync", "-f", at)
	c := begin(t, filepath.Join(at, name), 1)
	c.read(t, 20+40*round)
	if err := c.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	stopped(t, c.Process.Pid)
	command(t, "cp", "--sparse=always", img, copied)
	answered := len(c.answered) // of these the copy must know; what comes out later was said before it, too
	c.kill(t)
	t.Run("", func(t *testing.T) {
		fs, err := vfs.OpenRoot(filepath.Join(mount(t, copied, options), name))
		if err != nil {
			t.Fatal(err)
		}
		defer fs.Close()
		j, got := start(t, Options{FS: fs, Manual: true})
		for _, r := range got {
			c.settled[r.UID] = true
		}
		for u := range c.answered {
			if !c.settled[u] {
				t.Errorf("UID %d of %d was answered for and is lost", u, answered)
			}
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
}
