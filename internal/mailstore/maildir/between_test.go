package maildir_test

import (
	"strings"
	"sync"
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/numset"
	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
)

// between calls moved when a file has left INBOX's cur/, looked at each look at it, and
// counts how often it is listed.
type between struct {
	vfs.FS
	mu            sync.Mutex
	moved, looked func()
	lists         int
}

func (b *between) call(f *func()) {
	b.mu.Lock()
	do := *f
	b.mu.Unlock()
	if do != nil {
		do()
	}
}

func (b *between) RenameNoReplace(from, to string) error {
	err := b.FS.RenameNoReplace(from, to)
	if strings.HasPrefix(from, "Maildir/cur/") && !strings.HasPrefix(to, "Maildir/cur/") {
		b.call(&b.moved)
	}
	return err
}

func (b *between) Stat(path string) (vfs.Info, error) {
	i, err := b.FS.Stat(path)
	if path == "Maildir/cur" {
		b.call(&b.looked)
	}
	return i, err
}

func (b *between) ReadDir(path string, yield func(vfs.DirEntry) bool) error {
	if path == "Maildir/cur" {
		b.mu.Lock()
		b.lists++
		b.mu.Unlock()
	}
	return b.FS.ReadDir(path, yield)
}

// TestLookBetween: a session that looks while another's MOVE has moved files and not yet
// said so waits for the word, and lists no folder.
func TestLookBetween(t *testing.T) {
	disk := &between{FS: memfs.New(memfs.Options{})}
	s, err := maildir.Open(maildir.Options{FS: disk, MailPath: "Maildir", Host: "test.example", Probe: true, LockWait: 20e9})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(err)
	defer s.Close()
	_, err = s.Create("to", 0)
	must(err)
	must(add("INBOX", small("a"), small("b"), small("c"))(s))
	open := func() mailstore.Mailbox {
		mb, err := s.Open("INBOX")
		must(err)
		_, err = mb.ClaimRecent(false)
		must(err)
		_, err = mb.Sync()
		must(err)
		return mb
	}
	mover, watcher := open(), open()
	defer mover.Close()
	defer watcher.Close()

	seen := make(chan struct{})
	var snap mailstore.Snapshot
	var serr error
	var done sync.WaitGroup
	disk.mu.Lock()
	disk.lists = 0
	disk.moved = func() {
		disk.mu.Lock()
		disk.moved, disk.looked = nil, sync.OnceFunc(func() { close(seen) })
		disk.mu.Unlock()
		done.Go(func() { snap, serr = watcher.Sync() })
		<-seen // it has seen that cur/ is not what it was
	}
	disk.mu.Unlock()
	_, err = mover.Move(numset.Of(2), "to")
	must(err)
	done.Wait()
	must(serr)
	if snap.Len() != 2 || snap.At(1).UID != 3 {
		t.Errorf("%d messages are left", snap.Len())
	}
	if disk.lists > 0 {
		t.Errorf("the folder was listed %d times", disk.lists)
	}
}
