package maildir_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rookery/internal/mailstore/maildir"
	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
)

// hiding is a disk whose listings of a directory miss a name, as readdir may
// while another program renames the file.
type hiding struct {
	*memfs.FS
	name  string       // what they miss
	times int          // how many listings of cur/ do
	lists atomic.Int64 // listings of cur/ so far
	move  func()       // called before each
}

func (h *hiding) ReadDir(path string, yield func(vfs.DirEntry) bool) error {
	if !strings.HasSuffix(path, "cur") {
		return h.FS.ReadDir(path, yield)
	}
	h.lists.Add(1)
	hide := h.times > 0
	if hide {
		h.times--
		h.move()
	}
	return h.FS.ReadDir(path, func(e vfs.DirEntry) bool {
		return hide && strings.HasPrefix(e.Name, h.name) || yield(e)
	})
}

// A file that a listing misses is looked for again before its message is called
// expunged, and keeps its UID.
func TestMissedByReadDir(t *testing.T) {
	for times := 1; times <= 2; times++ {
		tr := newTree(t)
		tr.put("cur/a:2,", "1\r\n")
		tr.put("cur/b:2,", "2\r\n")
		h := &hiding{FS: tr.disk, name: "a"}
		s, err := maildir.Open(maildir.Options{FS: h, MailPath: "Maildir"})
		tr.must(err)
		mb := tr.box(s, "INBOX")
		tr.is(mb, "1:[] 2:[]")
		tr.clock.Jump(time.Minute)
		flip := false
		h.move = func() { // the other program's rename, which hides it
			from, to := "a:2,", "a:2,S"
			if flip {
				from, to = to, from
			}
			flip = !flip
			tr.must(tr.disk.Rename("Maildir/cur/"+from, "Maildir/cur/"+to))
		}
		h.times = times
		tr.must(tr.disk.Rename("Maildir/cur/b:2,", "Maildir/cur/b:2,F"))
		_, err = mb.Sync()
		tr.must(err)
		if s := mb.Snapshot(); s.Len() != 2 || s.At(0).UID != 1 || s.UIDNext() != 3 {
			t.Fatalf("hidden %d times: %s", times, show(mb))
		}
	}
}

// Our own flag changes cost no listing of a large folder, and a change by another
// program that hides behind the same times is found by a later look, in the
// background.
func TestOwnChangesCostNoListing(t *testing.T) {
	tr := newTree(t)
	tr.disk = memfs.New(memfs.Options{Now: tr.clock.Still, Granularity: 10 * time.Millisecond})
	for i := range 3000 {
		tr.put(fmt.Sprintf("cur/%04d:2,", i), "x\r\n")
	}
	h := &hiding{FS: tr.disk}
	s, err := maildir.Open(maildir.Options{FS: h, MailPath: "Maildir"})
	tr.must(err)
	mb := tr.box(s, "INBOX")
	deadline := time.Now().Add(20 * time.Second)
	until := func(what string, done func() bool) {
		t.Helper()
		for !done() {
			if time.Now().After(deadline) {
				t.Fatal(what)
			}
			tr.clock.Jump(time.Second)
			time.Sleep(time.Millisecond)
			_, err := mb.Sync()
			tr.must(err)
		}
	}
	// Making the folder left a doubt: a look clears it, and then there are no more.
	first := h.lists.Load()
	until("no second look", func() bool { return h.lists.Load() > first })
	quiet := 0
	last := h.lists.Load()
	until("looks do not end", func() bool {
		if n := h.lists.Load(); n != last {
			last, quiet = n, 0
		}
		quiet++
		return quiet > 50
	})
	for i := range 20 {
		change(tr, mb, uint32(i+1))
		_, err := mb.Sync()
		tr.must(err)
	}
	if n := h.lists.Load() - last; n != 0 {
		t.Fatalf("%d listings for changes of our own", n)
	}
	// In the tick of our change, and so behind the same time:
	tr.must(tr.disk.Rename("Maildir/cur/2999:2,", "Maildir/cur/2999:2,F"))
	until("never found", func() bool { return mb.Snapshot().At(2999).Flags != 0 })
	tr.must(mb.Close())
	tr.must(s.Close())
}
