package index

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"rookery/internal/vfs"
	"rookery/internal/vfs/faultfs"
	"rookery/internal/vfs/memfs"
)

// story is a short life of an index: two mailboxes, changes, compaction, a
// restart. It ends early where the disk lets it do nothing.
func (w *world) story(fs vfs.FS, o Options) (p *process) {
	o.FS = fs
	open := func() bool {
		u, err := Open(o)
		if err != nil {
			return false
		}
		p = &process{w: w, u: u}
		for i := range w.boxes {
			b, err := u.Box([16]byte{byte(i + 1)}, fmt.Sprint("dir", i))
			if err != nil {
				w.t.Fatal(err)
			}
			p.boxes = append(p.boxes, b)
		}
		return true
	}
	if !open() {
		return nil
	}
	for n := range 14 {
		i := n % 2
		if err := p.u.Lock(time.Second); err == nil {
			p.fill(i)
			w.now = w.now.Add(time.Millisecond)
			shown := w.boxes[i].high
			v := w.boxes[i].step(w.t, w.r, p.boxes[i])
			if p.u.modseq.bad {
				w.boxes[i].high = shown // numbers without a ceiling promise nothing
			}
			w.boxes[i].learnNames(v)
			p.u.Unlock()
			w.boxes[i].check(w.t, v)
		}
		switch n {
		case 4, 9:
			p.u.Compact()
		case 6:
			for _, b := range p.boxes {
				b.Cached(1, "A")
				b.PutCached(1, "A", []byte("fact"))
				b.Close()
			}
			p.u.Close()
			if !open() {
				return nil
			}
		}
	}
	return p
}

// after checks that another process finds the truth, and that things go on.
func (w *world) after(fs vfs.FS, o Options) *process {
	q := w.start(fs, o)
	for i := range w.boxes {
		q.check(i)
		q.change(i)
		q.check(i)
	}
	return q
}

// small makes rare large transactions impossible, so that stories have few steps.
func smallWorld(t *testing.T, seed uint64) *world {
	w := newWorld(t, seed, 2)
	for _, m := range w.boxes {
		m.small = true
	}
	return w
}

// TestPowerCut cuts the power after each change of the disk: the index may be
// lost, but never believed if it is not the truth.
func TestPowerCut(t *testing.T) {
	for _, clean := range []bool{false, true} {
		for k := 1; ; k++ {
			ended := false
			for _, fate := range []memfs.Fate{memfs.Lost, memfs.Kept, memfs.Torn} {
				w := smallWorld(t, 1)
				o := w.options(nil)
				o.KeepClean = clean
				f := faultfs.New(w.mem)
				f.CutAfter(k, fate, uint64(k))
				p := w.story(f, o)
				if !f.Dead() {
					ended = true
				}
				w.mem = f.Survivor(fate, uint64(k))
				w.now = w.now.Add(2 * clockLead)
				if p != nil {
					p.u.Close()
				}
				w.after(w.mem, w.options(nil)).stop()
				if t.Failed() {
					t.Fatalf("clean %v, power cut after %d, fate %d", clean, k, fate)
				}
			}
			if ended {
				break
			}
		}
	}
}

// TestCleanEnd shows that an index that was closed clean is used in the next run
// of the machine, and that one write after that spoils it.
func TestCleanEnd(t *testing.T) {
	for _, write := range []bool{false, true} {
		w := smallWorld(t, 3)
		o := w.options(nil)
		o.KeepClean = true
		f := faultfs.New(w.mem)
		p := w.story(f, o)
		for _, b := range p.boxes {
			b.Close()
		}
		p.u.Close()
		if write {
			p = w.start(f, w.options(nil))
			p.change(0)
		}
		w.mem = f.Survivor(memfs.Lost, 1)
		w.now = w.now.Add(2 * clockLead)
		w.built = 0
		q := w.after(w.mem, w.options(nil))
		if want := map[bool]int{false: 0, true: 2}[write]; w.built != want {
			t.Fatalf("write %v: %d mailboxes were built anew, want %d", write, w.built, want)
		}
		q.stop()
	}
}

// TestKill kills a process at each operation beside another that goes on.
func TestKill(t *testing.T) {
	for k := 1; ; k++ {
		w := smallWorld(t, 2)
		q := w.start(w.mem, w.options(nil))
		q.change(0)
		f := faultfs.New(w.mem)
		f.FailAt(k, 1<<30, faultfs.ErrDead)
		w.story(f, w.options(nil))
		if f.Failed() == "" {
			break
		}
		f.Kill()
		for i := range w.boxes {
			q.check(i)
			q.change(i)
			q.check(i)
		}
		w.after(w.mem, w.options(nil)).stop()
		for i := range w.boxes {
			q.check(i)
		}
		q.stop()
		if t.Failed() {
			t.Fatalf("killed at %d", k)
		}
	}
}

// TestErrorsOfTheDisk makes each operation fail, alone and with all after it for
// a while: the process goes on with the truth, and so does another.
func TestErrorsOfTheDisk(t *testing.T) {
	for _, count := range []int{1, 9} {
		for _, e := range []error{syscall.ENOSPC, syscall.EIO, syscall.EMFILE} {
			for k := 1; failAt(t, k, count, e); k++ {
			}
		}
	}
}

// failAt makes operations fail from k on; false if there are fewer.
func failAt(t *testing.T, k, count int, e error) bool {
	w := smallWorld(t, 5)
	f := faultfs.New(w.mem)
	defer func() {
		if t.Failed() {
			t.Logf("%v at %d, %d times (%s): %q", e, k, count, f.Failed(), w.notes)
		}
	}()
	f.FailAt(k, count, e)
	p := w.story(f, w.options(nil))
	if f.Failed() == "" {
		return false
	}
	f.FailAt(0, 0, nil)
	if p != nil {
		for i := range w.boxes {
			p.check(i)
		}
	}
	w.after(w.mem, w.options(nil)).stop()
	if p == nil {
		return true
	}
	w.now = w.now.Add(2 * retryLog)
	for i := range w.boxes {
		p.change(i)
		p.check(i)
	}
	if p.u.log == nil {
		t.Fatal("there is no index any more")
	}
	p.stop()
	if f.OpenFiles() > 0 {
		t.Fatalf("%d files are open", f.OpenFiles())
	}
	return true
}
