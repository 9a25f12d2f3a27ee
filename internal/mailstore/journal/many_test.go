package journal

import (
	"io/fs"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
	"rookery/internal/vfs"
	"rookery/internal/vfs/faultfs"
	"rookery/internal/vfs/memfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Many writers of two processes, with everything in the background: all get
// through, small ones beside large ones; what was answered is settled or
// replayed, once.
func TestManyWriters(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		disk := memfs.New(memfs.Options{})
		manyWriters(t, disk, func() vfs.FS { return disk.Survive(memfs.Lost, 1) })
	})
	// On a real disk there is no cut here, but real locks and real syncs.
	t.Run("disk", func(t *testing.T) {
		disk, err := vfs.OpenRoot(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer disk.Close()
		manyWriters(t, disk, nil)
	})
}

func manyWriters(t *testing.T, disk vfs.FS, cut func() vfs.FS) {
	var mu sync.Mutex
	settled, told := map[uint32]bool{}, []string{}
	o := Options{FS: disk, Soon: time.Millisecond, Checkpoint: func(recs []Record) error {
		mu.Lock()
		defer mu.Unlock()
		for _, r := range recs {
			settled[r.UID] = true
		}
		return nil
	}, Note: func(s string) { mu.Lock(); defer mu.Unlock(); told = append(told, s) }}
	a, _ := start(t, o)
	b, _ := start(t, o)
	var wg sync.WaitGroup
	const writers, each = 8, 60
	for w := range writers {
		wg.Go(func() {
			j := []*Journal{a, b}[w%2]
			for i := range each {
				k, err := j.Append(Now, msg(uint32(1+w*each+i), []int{10, 40000}[w/4]))
				if err == nil {
					err = k.Wait()
				}
				if err != nil {
					t.Error(err)
					return
				}
				k.Done()
				if k, err = j.Append(Soon, Record{Kind: Flags, Box: mailstore.GUID{1}, UIDValidity: 9, UIDs: numset.Of(1)}); err != nil {
					t.Error(err)
					return
				}
				k.Done()
			}
		})
	}
	wg.Wait()
	if cut == nil {
		a.Close()
		b.Close()
	} else {
		_, got := start(t, Options{FS: cut(), Manual: true})
		mu.Lock()
		for _, u := range uids(got) {
			settled[u] = true
		}
		mu.Unlock()
	}
	mu.Lock()
	for u := range uint32(writers * each) {
		if !settled[u+1] {
			t.Errorf("UID %d is lost", u+1)
		}
	}
	if len(told) > 0 {
		t.Error(told)
	}
	mu.Unlock()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	c, got := start(t, o)
	if !c.Clean() || len(got) != 0 {
		t.Fatalf("clean %v, replayed %v", c.Clean(), uids(got))
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// Soon is written and synced by itself.
func TestSoonComesByItself(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	j, _ := start(t, Options{FS: disk, Soon: time.Millisecond})
	put(t, j, Soon, Record{Kind: Flags, Box: mailstore.GUID{1}, UIDValidity: 9, UIDs: numset.Of(1)}).Done()
	for end := time.Now().Add(10 * time.Second); ; {
		if _, got := start(t, Options{FS: disk.Survive(memfs.Lost, 1), Manual: true}); len(got) == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("never written")
		}
	}
	j.Close()
}

// A callback that never can makes the writers hear it, in time, while what is
// urgent still gets through.
func TestNoRoom(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	no := true
	o := Options{FS: disk, LockWait: 50 * time.Millisecond, Manual: true, Checkpoint: func([]Record) error {
		if no {
			return errkind.Newf("settle", errkind.InUse, "another process has the mailbox")
		}
		return nil
	}}
	j, _ := start(t, o)
	id, _ := put(t, j, Now, Record{Kind: Intent}).IDs()
	var err error
	n := uint32(0)
	for ; err == nil && n < 1000; n++ {
		var k *Ticket
		if k, err = j.Append(Now, msg(n+1, 30000)); err == nil {
			if err = k.Wait(); err == nil {
				k.Done()
			}
		}
	}
	if !errkind.Is(err, errkind.Unavailable) || n < 10 || n > 40 {
		t.Fatalf("after %d: %v", n, err)
	}
	for err = nil; err == nil; { // what small ones still found room
		var k *Ticket
		if k, err = j.Append(Now, msg(7000, 10)); err == nil {
			if err = k.Wait(); err == nil {
				k.Done()
			}
		}
	}
	put(t, j, Now, Record{Kind: IntentDone, Ref: id})
	no = false
	put(t, j, Now, msg(5000, 30000)).Done()
	no = true
	// What is neither done nor cancelled keeps its segment.
	k := put(t, j, Now, msg(6000, 10))
	for no, err = false, nil; err == nil && n < 1000; n++ {
		var k *Ticket
		if k, err = j.Append(Now, msg(n+1, 30000)); err == nil {
			if err = k.Wait(); err == nil {
				k.Done()
			}
		}
	}
	if !errkind.Is(err, errkind.Unavailable) {
		t.Fatal(err)
	}
	k.Done()
	put(t, j, Now, msg(5001, 30000)).Done()
}

func TestLimits(t *testing.T) {
	j, _ := start(t, Options{FS: memfs.New(memfs.Options{}), Manual: true})
	big := Record{Kind: Intent, Payload: make([]byte, 20<<10)}
	put(t, j, Now, big)
	put(t, j, Now, big)
	if _, err := j.Append(Now, big); !errkind.Is(err, errkind.Limit) {
		t.Fatal(err)
	}
	for _, r := range []Record{msg(1, MaxRecord), {Kind: Message, Box: mailstore.GUID{1}}, {Kind: Flags, Box: mailstore.GUID{1}}, {Kind: Expunge, UIDs: numset.Of(1)},
		{Kind: Settle}, {Kind: void}, {}, {Kind: Gone, Box: mailstore.GUID{1}, Keywords: []string{string(make([]byte, 300))}}} {
		if _, err := j.Append(Now, r); !errkind.Is(err, errkind.Invalid) && !errkind.Is(err, errkind.TooBig) {
			t.Errorf("%v: %v", r.Kind, err)
		}
	}
	three := msg(1, MaxData)
	if _, err := j.Append(Now, three, three, three); !errkind.Is(err, errkind.TooBig) {
		t.Fatal(err)
	}
	put(t, j, Now, msg(1, MaxData), msg(2, MaxData)).Done()
}

// A full disk cannot make the journal; the one that was begun goes again.
func TestNoSpaceForTheFile(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	full := &fullFS{FS: disk, no: true}
	j, _ := start(t, Options{FS: full, Manual: true})
	if _, err := j.Append(Now, msg(1, 1)); !errkind.Is(err, errkind.NoSpace) {
		t.Fatal(err)
	}
	if _, err := disk.Stat(newName); err == nil {
		t.Fatal("what was begun is still there")
	}
	full.no = false
	put(t, j, Now, msg(1, 1)).Done()
}

type fullFS struct {
	vfs.FS
	no bool
}

func (f *fullFS) OpenFile(path string, flag vfs.Flag, perm fs.FileMode) (vfs.File, error) {
	o, err := f.FS.OpenFile(path, flag, perm)
	return &fullFile{o, f}, err
}

type fullFile struct {
	vfs.File
	f *fullFS
}

func (o *fullFile) Allocate(size int64) error {
	if o.f.no {
		return syscall.ENOSPC
	}
	return o.File.Allocate(size)
}

// A process that slept while another went round the ring finds the end again.
func TestSleeper(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	var n notes
	a, _ := start(t, manual(faultfs.New(disk), &n))
	b, _ := start(t, manual(faultfs.New(disk), &n))
	for rounds := 1; rounds < 400; rounds *= 2 {
		put(t, b, Now, msg(1, 10)).Done()
		for u := range uint32(rounds) {
			put(t, a, Now, msg(1000+u, 12000)).Done()
		}
		put(t, b, Now, msg(2, 10)).Done()
		_, got := start(t, manual(disk.Survive(memfs.Lost, 1), &n))
		if k := len(got); k == 0 || got[k-1].UID != 2 || rounds > 1 && got[k-2].UID != 999+uint32(rounds) {
			t.Fatalf("after %d: replayed %v", rounds, uids(got))
		}
	}
	if len(n) > 0 {
		t.Fatal(n)
	}
}

// A checkpoint that fails for good makes nobody wait; what is soon does not pile up.
func TestStuck(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	var mu sync.Mutex
	told := 0
	o := Options{FS: disk, LockWait: time.Minute, Soon: time.Hour, Note: func(string) { mu.Lock(); told++; mu.Unlock() },
		Checkpoint: func([]Record) error { return syscall.EIO }}
	j, _ := start(t, o)
	var begin time.Time
	var err error
	for n := uint32(0); err == nil && n < 1000; n++ {
		var k *Ticket
		begin = time.Now()
		if k, err = j.Append(Now, msg(n+1, 30000)); err == nil {
			if err = k.Wait(); err == nil {
				k.Done()
			}
		}
	}
	if !errkind.Is(err, errkind.Unavailable) || time.Since(begin) >= roomWait {
		t.Fatal(err, time.Since(begin))
	}
	for n := 0; ; n++ {
		k, err := j.Append(Soon, Record{Kind: Flags, Box: mailstore.GUID{1}, UIDValidity: 9, UIDs: numset.Of(1), Payload: make([]byte, 20000)})
		if errkind.Is(err, errkind.Unavailable) && n > 10 {
			break
		}
		if err != nil || n > 1000 {
			t.Fatal(n, err)
		}
		k.Done()
	}
	if err := j.Close(); err == nil {
		t.Fatal("closed as if all were well")
	}
	mu.Lock()
	defer mu.Unlock()
	if told == 0 {
		t.Fatal("nobody was told")
	}
}

// A process that has looked last when the others were a whole round of the ring
// behind where they are now finds neither its own place nor the next cycle's as it
// expects them: it must not take that for the end and write over what they wrote.
func TestLappedInTheMiddle(t *testing.T) {
	for _, size := range []int{30000, 40000, 50000, 60000} {
		disk := memfs.New(memfs.Options{})
		settled := map[uint32]bool{}
		o := Options{FS: disk, Manual: true, Checkpoint: func(recs []Record) error {
			for _, r := range recs {
				settled[r.UID] = true
			}
			return nil
		}}
		idle, _ := start(t, o)
		busy, _ := start(t, o)
		put(t, idle, Now, msg(1, 10)).Done()
		last := uint32(1)
		for busy.cycle < idle.cycle+segments || busy.cycle == idle.cycle+segments && busy.block <= idle.block {
			last++
			put(t, busy, Now, msg(last, size)).Done()
			if err := busy.Checkpoint(); err != nil {
				t.Fatal(err)
			}
		}
		last++
		put(t, idle, Now, msg(last, 10)).Done()
		last++
		put(t, busy, Now, msg(last, 10)).Done()
		_, got := start(t, Options{FS: disk.Survive(memfs.Lost, 1), Manual: true})
		for _, u := range uids(got) {
			settled[u] = true
		}
		for u := uint32(1); u <= last; u++ {
			if !settled[u] {
				t.Errorf("messages of %d: UID %d is lost", size, u)
			}
		}
	}
}
