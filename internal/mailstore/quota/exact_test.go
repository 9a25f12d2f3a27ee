package quota_test

import (
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/mailstore/mbox"
	"rookery/internal/mailstore/pack"
	"rookery/internal/mailstore/quota"
	"rookery/internal/numset"
	"rookery/internal/vfs"
	"rookery/internal/vfs/faultfs"
	"rookery/internal/vfs/memfs"
)

func newDisk() (*memfs.FS, *memfs.Clock) {
	c := memfs.NewClock(time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC))
	return memfs.New(memfs.Options{Now: c.Now}), c
}

func start(t *testing.T, disk vfs.FS, opt quota.Options) *quota.Store {
	t.Helper()
	s, err := openMaildir(disk, opt)
	must(t, err)
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// add appends a message of so many octets.
func add(s mailstore.Store, name mailstore.Name, octets int) (mailstore.UID, error) {
	a, err := s.Append(name)
	if err != nil {
		return 0, err
	}
	defer a.Abort()
	w, err := a.Add(mailstore.AppendMeta{}, int64(octets))
	if err != nil {
		return 0, err
	}
	if _, err := io.WriteString(w, strings.Repeat("x", octets)); err != nil {
		return 0, err
	}
	r, err := a.Commit()
	if err != nil {
		return 0, err
	}
	return r.UIDs[0], nil
}

// counted is the store's own count, recount what the mailboxes hold.
func counted(t *testing.T, s *quota.Store) quota.Use {
	t.Helper()
	q, ok, err := s.Quota()
	if err != nil || !ok {
		t.Fatalf("quota: %v %v", ok, err)
	}
	return quota.Use{Octets: q.StorageUsed, Messages: q.MessagesUsed}
}

func recount(t *testing.T, s *quota.Store) (u quota.Use) {
	t.Helper()
	list, err := s.List()
	must(t, err)
	for _, f := range list {
		if f.Attrs&mailstore.NonExistent != 0 {
			continue
		}
		st, err := s.Status(f.Name, mailstore.StatusWant{Size: true})
		must(t, err)
		u.Octets += st.Size
		u.Messages += uint64(st.Messages)
	}
	return u
}

func same(t *testing.T, s *quota.Store) {
	t.Helper()
	if got, want := counted(t, s), recount(t, s); got != want {
		t.Fatalf("the count is %+v, the mailboxes hold %+v", got, want)
	}
}

var names = []mailstore.Name{"INBOX", "a", "a/b", "c"}

// work does random operations as one session.
func work(s *quota.Store, rnd *rand.Rand, n int, over *int) error {
	for range n {
		box := names[rnd.IntN(len(names))]
		if err := one(s, rnd, box, names[rnd.IntN(len(names))]); err != nil {
			switch errkind.Of(err) {
			case errkind.OverQuota:
				*over++
			case errkind.NotFound, errkind.Exists, errkind.Invalid, errkind.Expunged, errkind.Unavailable:
			default:
				return err
			}
		}
	}
	return nil
}

func one(s *quota.Store, rnd *rand.Rand, box, other mailstore.Name) error {
	switch k := rnd.IntN(40); {
	case k < 18:
		_, err := add(s, box, 1+rnd.IntN(3000))
		return err
	case k == 18:
		if box == "INBOX" {
			return nil
		}
		return s.Delete(box)
	case k == 19:
		if box == "INBOX" {
			return nil
		}
		return s.Rename(box, other)
	case k < 22:
		_, err := s.Create(box, 0)
		return err
	}
	mb, err := s.Open(box)
	if err != nil {
		return err
	}
	defer mb.Close()
	snap, err := mb.Sync()
	if err != nil || snap.Len() == 0 {
		return err
	}
	some := numset.Of(snap.At(rnd.IntN(snap.Len())).UID, snap.At(rnd.IntN(snap.Len())).UID)
	switch rnd.IntN(4) {
	case 0:
		_, err = mb.Copy(some, other)
	case 1:
		_, err = mb.Move(some, other)
	case 2:
		_, err = mb.Store(mailstore.FlagChange{UIDs: some, Op: mailstore.AddFlags, Flags: mailstore.Seen})
	default:
		_, err = mb.Expunge(some)
	}
	return err
}

// opener opens a store of some format with limits around it, its control files
// in the directory ctl.
type opener func(disk vfs.FS, opt quota.Options) (*quota.Store, error)

func openPack(disk vfs.FS, opt quota.Options) (*quota.Store, error) {
	inner, err := pack.Open(pack.Options{FS: disk, MailPath: "Maildir", LockWait: 20e9})
	if err != nil {
		return nil, err
	}
	opt.FS, opt.Dir = disk, "Maildir"
	return quota.Wrap(inner, opt), nil
}

func openMbox(disk vfs.FS, opt quota.Options) (*quota.Store, error) {
	inner, err := mbox.Open(mbox.Options{Options: engine.Options{FS: disk, ControlPath: "Maildir", LockWait: 20e9},
		MailPath: "mail", InboxPath: "spool/user", Zone: time.UTC, JournalSize: 24 << 10})
	if err != nil {
		return nil, err
	}
	opt.FS, opt.Dir, opt.Rewrites = disk, "Maildir", true
	return quota.Wrap(inner, opt), nil
}

// Ten thousand operations of eight sessions in two processes, while a third is
// killed at random moments and files of the count and the index are removed.
func TestExact(t *testing.T) {
	for name, open := range map[string]opener{"maildir": openMaildir, "pack": openPack, "mbox": openMbox} {
		t.Run(name, func(t *testing.T) { exact(t, open) })
	}
}

func exact(t *testing.T, open opener) {
	disk, _ := newDisk()
	opt := quota.Options{Limits: quota.Limits{Octets: 200_000, Messages: 400}, SizeFile: "Maildir/maildirsize", Note: func(text string) { t.Log(text) }}
	begin := func() *quota.Store {
		s, err := open(disk, opt)
		must(t, err)
		return s
	}
	procs := []*quota.Store{begin(), begin()}
	operations := 10_000
	if testing.Short() {
		operations = 1_000
	}
	var wg, others sync.WaitGroup
	stop := make(chan struct{})
	over := make([]int, 8)
	for g := range 8 {
		wg.Go(func() {
			if err := work(procs[g%2], rand.New(rand.NewPCG(uint64(g), 7)), operations/8, &over[g]); err != nil {
				t.Errorf("session %d: %v", g, err)
			}
		})
	}
	others.Go(func() { killAndDrop(disk, open, opt, stop) })
	wg.Wait()
	close(stop)
	others.Wait()
	total := 0
	for _, n := range over {
		total += n
	}
	if total == 0 && !testing.Short() {
		t.Error("nothing was ever refused: the limits were not tried")
	}
	for _, s := range append(procs, begin()) {
		same(t, s)
		if u := counted(t, s); u.Octets > 200_000 || u.Messages > 400 {
			t.Errorf("use %+v is above the limits", u)
		}
		must(t, s.Close())
	}
}

// killAndDrop works in one process after the other, each killed at some change,
// and removes the count and index files.
func killAndDrop(disk *memfs.FS, open opener, opt quota.Options, stop chan struct{}) {
	rnd := rand.New(rand.NewPCG(99, 7))
	opt.Note = func(string) {} // of a machine that is off
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		f := faultfs.New(disk)
		f.CutAfter(5+rnd.IntN(150), memfs.Kept, 0)
		if s, err := open(f, opt); err == nil {
			ignored := 0
			_ = work(s, rnd, 20, &ignored)
		}
		f.Kill()
		switch i % 7 {
		case 3:
			_ = disk.Remove("Maildir/rookery-quota")
		case 5:
			_ = disk.ReadDir("Maildir", func(e vfs.DirEntry) bool {
				if strings.HasPrefix(e.Name, "rookery.index") {
					_ = disk.Remove("Maildir/" + e.Name)
				}
				return true
			})
		}
	}
}

// A process that dies after any change leaves neither a reservation nor a hole,
// and a power cut does not either.
func TestCutAfterEach(t *testing.T) {
	opt := quota.Options{Limits: quota.Limits{Octets: 1 << 20}, SizeFile: "Maildir/maildirsize"}
	history := func(s mailstore.Store) error {
		var first error
		do := func(err error) {
			if first == nil {
				first = err
			}
		}
		for i := range 3 {
			_, err := add(s, "INBOX", 100+i)
			do(err)
		}
		_, err := s.Create("a", 0)
		do(err)
		if mb, err := s.Open("INBOX"); err != nil {
			do(err)
		} else {
			_, err = mb.Copy(numset.Of(1, 2), "a")
			do(err)
			_, err = mb.Move(numset.Of(2), "a")
			do(err)
			_, err = mb.Expunge(numset.Of(1))
			do(err)
			mb.Close()
		}
		do(s.Rename("a", "b"))
		_, err = add(s, "b", 7)
		do(err)
		do(s.Delete("b"))
		return first
	}
	for round := range 6 {
		power := round > 0
		for k := 1; ; k++ {
			disk, clock := newDisk()
			f := faultfs.New(disk)
			fate := memfs.Kept
			if power {
				fate = memfs.Torn
			}
			f.CutAfter(k, fate, uint64(k+1000*round))
			s, err := openMaildir(f, opt)
			if err == nil {
				err = history(s)
			}
			if !f.Dead() {
				must(t, err)
				break
			}
			after := disk
			if power {
				after = f.Survivor(fate, uint64(k+1000*round))
			} else {
				f.Kill()
			}
			// Long enough for a lock to be stale; but the last look was just now: only
			// what was left can tell.
			clock.Jump(3 * time.Minute)
			q := start(t, after, opt)
			for range 2 {
				if got, want := counted(t, q), recount(t, q); got != want {
					t.Fatalf("power %v, change %d: the count is %+v, the mailboxes hold %+v", power, k, got, want)
				}
				_, err := add(q, "INBOX", 5)
				must(t, err)
			}
			must(t, q.Close())
		}
	}
}

// A survivor sees what a process that died while it was running had under way.
func TestOrphans(t *testing.T) {
	opt := quota.Options{Limits: quota.Limits{Octets: 1000}}
	for k := 1; ; k++ {
		disk, _ := newDisk()
		s := start(t, disk, opt)
		_, err := add(s, "INBOX", 100)
		must(t, err)
		f := faultfs.New(disk)
		other, err := openMaildir(f, opt)
		must(t, err)
		_, _, err = other.Quota()
		must(t, err)
		f.CutAfter(f.Changes()+k, memfs.Kept, 0)
		_, err = add(other, "INBOX", 500)
		done := !f.Dead()
		f.Kill()
		same(t, s)
		u := counted(t, s)
		if err == nil && u.Octets != 600 || err != nil && u.Octets != 100 && u.Octets != 600 {
			t.Fatalf("after change %d: %+v, %v", k, u, err)
		}
		// What the dead reserved does not keep the living out.
		if _, err := add(s, "INBOX", int(1000-u.Octets)); err != nil {
			t.Fatalf("after change %d: %v", k, err)
		}
		same(t, s)
		if done {
			return
		}
	}
}

// Two that died leave a mailbox with as many messages and the UIDNEXT that the
// count has, but with other messages.
func TestTwoDead(t *testing.T) {
	opt := quota.Options{Limits: quota.Limits{Octets: 10_000}}
	for k := 1; k < 40; k++ {
		for j := 1; j < 14; j++ {
			disk, _ := newDisk()
			s := start(t, disk, opt)
			_, err := add(s, "INBOX", 100)
			must(t, err)
			var dying []*quota.Store
			var fault []*faultfs.FS
			for range 2 { // both have looked before either dies
				f := faultfs.New(disk)
				p := start(t, f, opt)
				_ = counted(t, p)
				mb, err := p.Open("INBOX")
				must(t, err)
				_, err = mb.Sync()
				must(t, err)
				dying, fault = append(dying, p), append(fault, f)
			}
			fault[0].CutAfter(fault[0].Changes()+k, memfs.Kept, 0)
			_, _ = add(dying[0], "INBOX", 500)
			fault[0].Kill()
			fault[1].CutAfter(fault[1].Changes()+j, memfs.Kept, 0)
			if mb, err := dying[1].Open("INBOX"); err == nil {
				_, _ = mb.Expunge(numset.Of(1))
			}
			fault[1].Kill()
			_, err = add(s, "INBOX", 7)
			must(t, err)
			if got, want := counted(t, s), recount(t, s); got != want {
				t.Fatalf("killed after changes %d and %d: the count is %+v, the mailboxes hold %+v", k, j, got, want)
			}
			must(t, s.Close())
		}
	}
}

// An error of the disk in the count never keeps a message from being expunged.
func TestExpungeOnFullDisk(t *testing.T) {
	disk, _ := newDisk()
	opt := quota.Options{Limits: quota.Limits{Octets: 1 << 20}, Note: func(string) {}}
	s := start(t, disk, opt)
	for range 100 {
		_, err := add(s, "INBOX", 100)
		must(t, err)
	}
	must(t, s.Close())
	f := faultfs.New(disk)
	p := start(t, &noCount{f}, opt)
	mb, err := p.Open("INBOX")
	must(t, err)
	defer mb.Close()
	for uid := range mailstore.UID(100) {
		if gone, err := mb.Expunge(numset.Of(uid + 1)); err != nil || gone.Len() != 1 {
			t.Fatalf("UID %d: expunged %v, %v", uid+1, gone, err)
		}
	}
	if _, err := add(p, "INBOX", 100); !errkind.Is(err, errkind.NoSpace) {
		t.Errorf("an append that cannot be counted: %v", err)
	}
	q := start(t, disk, opt)
	must(t, q.Recalc())
	same(t, q)
}

// noCount is a disk on which the count cannot be opened.
type noCount struct{ vfs.FS }

func (n *noCount) OpenFile(path string, flag vfs.Flag, perm fs.FileMode) (vfs.File, error) {
	if strings.Contains(path, "rookery-quota") {
		return nil, &fs.PathError{Op: "open", Path: path, Err: syscall.ENOSPC}
	}
	return n.FS.OpenFile(path, flag, perm)
}
