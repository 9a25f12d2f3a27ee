package index

import (
	"testing"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/vfs"
	"rookery/internal/vfs/faultfs"
	"rookery/internal/vfs/memfs"
)

// The tests here are for one sync each: docs/syncs.md says which.

// TestSyncsOfSnapshots: a mailbox whose records have gone into a snapshot is believed
// after a clean end and a power cut.
func TestSyncsOfSnapshots(t *testing.T) {
	w := smallWorld(t, 3)
	o := w.options(nil)
	o.KeepClean = true
	p := w.story(w.mem, o)
	for i := range w.boxes {
		if err := p.u.snapshot(mailstore.GUID{byte(i + 1)}, time.Second); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range p.boxes {
		b.Close()
	}
	p.u.Close()
	w.mem = w.mem.Survive(memfs.Lost, 0)
	w.now = w.now.Add(2 * clockLead)
	w.built = 0
	q := w.after(w.mem, w.options(nil))
	if w.built != 0 {
		t.Fatalf("%d mailboxes were built anew: %q", w.built, w.notes)
	}
	q.stop()
}

// TestSyncsOfModseqs: numbers that were handed out are not handed out again after a
// power cut, while the clock stands within its lead, and after a clean end whatever
// the clock shows then.
func TestSyncsOfModseqs(t *testing.T) {
	for _, clean := range []bool{false, true} {
		w := newWorld(t, 1, 0)
		open := func(disk vfs.FS) *User {
			o := w.options(nil)
			o.FS = disk
			u, err := Open(o)
			if err != nil {
				t.Fatal(err)
			}
			return u
		}
		open(w.mem).Close() // the file is there, certain
		w.mem = w.mem.Survive(memfs.Kept, 0)
		u := open(w.mem)
		last := u.modseq.jump(0)
		if clean {
			u.Close()
			w.now = w.now.Add(-24 * time.Hour)
		} else {
			for range 40 * modseqBlock { // far ahead of the clock
				last = u.modseq.after(last)
			}
			defer u.Close()
			w.now = w.now.Add(clockLead)
		}
		u = open(w.mem.Survive(memfs.Lost, 0))
		if got := u.modseq.jump(0); got <= last {
			t.Errorf("a clean end: %v: %d was handed out, and then %d", clean, last, got)
		}
		u.Close()
	}
}

// TestSyncsOfARaisedCeiling: the ceiling that a repair wrote is there after a power cut.
func TestSyncsOfARaisedCeiling(t *testing.T) {
	w := newWorld(t, 1, 0)
	f, err := w.mem.OpenFile(modseqFile, vfs.Write|vfs.Create, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("00000000000000000007\n")); err != nil {
		t.Fatal(err)
	}
	f.Close()
	disk := w.mem.Survive(memfs.Kept, 0)
	high := uint64(w.now.Add(time.Hour).UnixMicro())
	if err := (&checker{fs: disk, high: high}).raise(modseqFile); err != nil {
		t.Fatal(err)
	}
	b, err := vfs.ReadFile(disk.Survive(memfs.Lost, 0), modseqFile, 1<<10)
	if err != nil || parseControl(string(b)).ceiling < high {
		t.Fatalf("the file holds %q, %v", b, err)
	}
}

// TestSyncsOfAStaleRecord: a process was killed after it had written a record, and
// before the mark was moved behind it; the next one writes another in its place, and
// ends clean. Whatever change of the disk the power is cut after then, the first
// record is not believed, which is as whole as the second.
func TestSyncsOfAStaleRecord(t *testing.T) {
	guid := mailstore.GUID{1}
	for k := 1; ; k++ {
		ended := false
		for seed := range uint64(24) {
			w := newWorld(t, 1, 0)
			commit := func(disk vfs.FS, change func(*Tx)) (end func()) {
				o := w.options(nil)
				o.FS, o.KeepClean, o.MaxLog = disk, true, 1<<20
				u, err := Open(o)
				if err != nil {
					t.Fatal(err)
				}
				b, err := u.Box(guid, "dir")
				if err == nil {
					_, err = b.Follow()
				}
				if err == nil {
					err = u.Lock(time.Second)
				}
				if err != nil {
					t.Fatal(err)
				}
				tx, err := b.Begin()
				if err != nil {
					t.Fatal(err)
				}
				change(tx)
				tx.Commit()
				u.Unlock()
				return func() { b.Close(); u.Close() }
			}
			commit(w.mem, func(tx *Tx) {
				tx.Validity(7)
				for uid := range uint32(40) {
					if err := tx.Add(Record{UID: uid + 1, Loc: "the place of a message"}); err != nil {
						t.Fatal(err)
					}
				}
				tx.Next(41)
			})
			before := logBytes(t, w.mem)
			killed := faultfs.New(w.mem)
			commit(killed, func(tx *Tx) { tx.Set(0, mailstore.Seen, 0) })
			killed.Kill()
			after := logBytes(t, w.mem)
			if len(after) <= len(before) {
				t.Fatal("the record is not in the log")
			}
			putBytes(t, w.mem, before[:logHeader]) // the mark as it was
			f := faultfs.New(w.mem)
			end := commit(f, func(tx *Tx) { tx.Set(0, mailstore.Draft, 0) })
			if n := len(logBytes(t, w.mem)); n != len(after) {
				t.Fatalf("the log has %d octets, not %d", n, len(after))
			}
			f.CutAfter(f.Changes()+k, memfs.Torn, seed)
			end()
			ended = ended || !f.Dead()
			u, err := Open(Options{FS: f.Survivor(memfs.Torn, seed), LogDir: "log", NoBackground: true, Note: func(string) {}})
			if err != nil {
				t.Fatal(err)
			}
			b, err := u.Box(guid, "dir")
			if err != nil {
				t.Fatal(err)
			}
			if v, err := b.Follow(); err != nil || v.Built() && v.At(0).Flags == mailstore.Seen {
				t.Fatalf("cut after change %d, seed %d: the killed process's record is believed, %v", k, seed, err)
			}
			b.Close()
			u.Close()
		}
		if ended {
			return
		}
	}
}

func logBytes(t *testing.T, disk vfs.FS) []byte {
	t.Helper()
	b, err := vfs.ReadFile(disk, join("log", logFile), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// putBytes writes the log's beginning, and makes the log certain.
func putBytes(t *testing.T, disk vfs.FS, b []byte) {
	t.Helper()
	f, err := disk.OpenFile(join("log", logFile), vfs.Write, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}
