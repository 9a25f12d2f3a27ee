package index

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"rookery/internal/crc32c"
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
)

// TestDamageUnderView cuts, and overwrites, a real mapped file while pictures of
// it are in use: each keeps its messages, and the driver is called to rebuild.
func TestDamageUnderView(t *testing.T) {
	for _, how := range []string{"cut", "noise", "one byte"} {
		t.Run(how, func(t *testing.T) {
			root, u, box := filled(t, 5000)
			tx := begin(t, u, box)
			tx.Remove([]int{10, 11, 4000})
			tx.Set(20, mailstore.Flagged, 0)
			view := tx.Commit()
			u.Unlock()
			truth := slices.Collect(uidsOf(view))
			called := 0
			box.OnDamage(func() {
				called++
				if err := u.Lock(0); err != nil {
					t.Fatal(err)
				}
				defer u.Unlock()
				if box.View().Built() {
					t.Error("the picture is taken for whole")
				}
				tx, err := box.Begin()
				if err != nil {
					t.Fatal(err)
				}
				for _, uid := range truth {
					tx.Add(Record{UID: uid, Flags: mailstore.Answered, Size: 7})
				}
				tx.Validity(1)
				tx.Commit()
			})
			f, err := root.OpenFile("box/"+snapFile, vfs.Read|vfs.Write, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			info, _ := f.Stat()
			switch how {
			case "cut":
				f.Truncate(0)
			case "noise":
				noise := make([]byte, info.Size)
				for i := range noise {
					noise[i] = byte(rand.Uint32())
				}
				f.WriteAt(noise, 0)
			default: // in a record
				f.WriteAt([]byte{0xEE}, headerSize+100*recSize+9)
			}
			if e := view.At(97); e.UID != 98+2 && e.UID != truth[97] {
				t.Fatalf("%+v", e)
			}
			if got := slices.Collect(uidsOf(view)); !slices.Equal(got, truth) {
				t.Fatal("the picture has other messages now")
			}
			if called != 1 {
				t.Fatalf("the driver was called %d times", called)
			}
			lost := view.At(98) // record 100, which every damage hits
			if lost.Flags != mailstore.Answered || lost.ModSeq != 0 || lost.UID != truth[98] {
				t.Fatalf("a lost record is %+v", lost)
			}
			if v := box.View(); !v.Built() || v.Len() != len(truth) || v.At(0).Flags != mailstore.Answered || v.HighestModSeq() <= view.HighestModSeq() {
				t.Fatal("the mailbox was not built anew")
			}
			u.Close()
		})
	}
}

func uidsOf(v *View) func(func(uint32) bool) {
	return func(yield func(uint32) bool) {
		for pos := range v.Len() {
			if !yield(v.At(pos).UID) {
				return
			}
		}
	}
}

func begin(t testing.TB, u *User, b *Box) *Tx {
	t.Helper()
	if err := u.Lock(time.Minute); err != nil {
		t.Fatal(err)
	}
	tx, err := b.Begin()
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

// TestBackground shows that a mailbox of which much is in memory gets a snapshot
// by itself, and that the log does not grow without end.
func TestBackground(t *testing.T) {
	root, u, box := filled(t, 2000)
	box.Close()
	u.Close()
	u, err := Open(Options{FS: root, MaxLog: 32 << 10})
	if err != nil {
		t.Fatal(err)
	}
	if box, err = u.Box(mailstore.GUID{1}, "box"); err != nil {
		t.Fatal(err)
	}
	for i := range 3000 {
		tx := begin(t, u, box)
		tx.Set(i%2000, tx.View().At(i%2000).Flags^mailstore.Draft, 0)
		tx.Commit()
		u.Unlock()
	}
	if err := u.Compact(); err != nil {
		t.Fatal(err)
	}
	info, err := root.Stat(logFile)
	if err != nil || info.Size > 40<<10 {
		t.Fatalf("the log has %d bytes, %v", info.Size, err)
	}
	// What came after the background's last snapshot stays in the log if it is little.
	if v := box.View(); v.heap > carryBytes/16 || v.At(999).Flags&mailstore.Draft != 0 || v.At(1000).Flags&mailstore.Draft == 0 {
		t.Fatalf("%d changes in memory", v.heap)
	}
	box.Close()
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestLock shows that writers keep each other out, of this process and others.
func TestLock(t *testing.T) {
	w := newWorld(t, 1, 1)
	p, q := w.start(w.mem, w.options(nil)), w.start(w.mem, w.options(nil))
	p.lock()
	for _, other := range []*process{p, q} {
		if err := other.u.Lock(0); !errkind.Is(err, errkind.InUse) {
			t.Fatalf("a lock that is held was given: %v", err)
		}
	}
	p.u.Unlock()
	if err := q.u.Lock(0); err != nil {
		t.Fatal(err)
	}
	q.u.Unlock()
	p.stop()
	q.stop()
}

// TestShortProcesses shows that the log stays small though nobody lives long
// enough for a background.
func TestShortProcesses(t *testing.T) {
	w := newWorld(t, 7, 1)
	w.boxes[0].small = true
	for range 40 {
		p := w.start(w.mem, w.options(nil))
		for range 10 {
			p.change(0)
		}
		p.stop()
		if n := w.size("log/" + logFile); n > 2*lateLog*w.options(nil).MaxLog {
			t.Fatalf("the log has %d bytes", n)
		}
	}
	p := w.start(w.mem, w.options(nil))
	p.check(0)
	if w.built != 1 {
		t.Fatalf("the mailbox was built %d times", w.built)
	}
	p.stop()
}

// TestTwoCompactions shows that a process that slept through two logs misses
// nothing of the one between.
func TestTwoCompactions(t *testing.T) {
	w := newWorld(t, 11, 1)
	w.boxes[0].small = true
	p, q := w.start(w.mem, w.options(nil)), w.start(w.mem, w.options(nil))
	for range 30 {
		p.change(0)
	}
	q.check(0)
	for range 2 {
		for range 200 {
			p.change(0)
		}
		if err := p.u.Compact(); err != nil {
			t.Fatal(err)
		}
	}
	p.change(0)
	q.check(0)
	if w.built != 1 {
		t.Fatalf("the mailbox was built %d times: %q", w.built, w.notes)
	}
	p.stop()
	q.stop()
}

// TestOneFlagOfMany shows that one flag in a large mailbox never rewrites its
// snapshot, and that the log carries it over.
func TestOneFlagOfMany(t *testing.T) {
	root, u, box := filled(t, 200_000)
	before, _ := root.Stat("box/" + snapFile)
	tx := begin(t, u, box)
	tx.Set(77, mailstore.Flagged, 0)
	tx.Commit()
	u.Unlock()
	if err := u.Compact(); err != nil {
		t.Fatal(err)
	}
	after, _ := root.Stat("box/" + snapFile)
	if before.Inode != after.Inode || before.ModTime != after.ModTime {
		t.Fatal("the snapshot was written anew")
	}
	box.Close()
	u.Close()
	u, err := Open(Options{FS: root, NoBackground: true})
	if err != nil {
		t.Fatal(err)
	}
	if box, err = u.Box(mailstore.GUID{1}, "box"); err != nil {
		t.Fatal(err)
	}
	if v := box.View(); !v.Built() || v.At(77).Flags != mailstore.Flagged || v.At(76).Flags != mailstore.Seen {
		t.Fatal("the flag is lost")
	}
	box.Close()
	u.Close()
}

// TestShared shows that two pictures are compared without a look at what one
// change left alone.
func TestShared(t *testing.T) {
	_, u, box := filled(t, 20_000)
	old := box.View()
	tx := begin(t, u, box)
	tx.Set(7000, mailstore.Flagged, 0)
	tx.Remove([]int{9000})
	v := tx.Commit()
	u.Unlock()
	type wrapped struct{ *View }
	if n := v.Shared(0, wrapped{old}, 0); n != 13*pageSize {
		t.Fatalf("%d entries are shared at the start", n)
	}
	if n := v.Shared(600, old, 601); n != 0 {
		t.Fatalf("%d entries are shared with those of other messages", n)
	}
	if n := checkShared(t, v, old); n < 20_000-3*pageSize {
		t.Fatalf("only %d entries are shared", n)
	}
	box.Close()
	u.Close()
}

// TestFacts shows what Add takes from before a Reset.
func TestFacts(t *testing.T) {
	w := newWorld(t, 1, 1)
	p := w.start(w.mem, w.options(nil))
	p.lock()
	tx, _ := p.boxes[0].Begin()
	tx.Validity(1)
	tx.Add(Record{UID: 1, Size: 10, Date: 5, Loc: "a", GUID: mailstore.GUID{7}})
	tx.Add(Record{UID: 2, Size: 20, Date: 6, Loc: "b"})
	tx.Commit()
	p.boxes[0].Reset("test")
	tx, _ = p.boxes[0].Begin()
	if tx.View().Len() != 0 || p.boxes[0].View().Len() != 2 {
		t.Fatal("a reset mailbox begins empty and shows what it had")
	}
	tx.Validity(1)
	tx.Add(Record{UID: 1, Size: -1, Loc: "a"})
	tx.Add(Record{UID: 2, Size: -1, Loc: "another"})
	if err := tx.Add(Record{UID: 2}); err == nil {
		t.Fatal("a UID was given twice")
	}
	v := tx.Commit()
	p.u.Unlock()
	if r := v.Rec(0); r.Size != 10 || r.Date != 5 || r.GUID != (mailstore.GUID{7}) {
		t.Fatalf("%+v", r)
	}
	if r := v.Rec(1); r.Size != -1 || r.Date != 0 {
		t.Fatalf("%+v", r)
	}
	p.stop()
}

// TestDropAndRename shows that other processes hear of both.
func TestDropAndRename(t *testing.T) {
	w := newWorld(t, 1, 2)
	p, q := w.start(w.mem, w.options(nil)), w.start(w.mem, w.options(nil))
	p.change(0)
	p.change(1)
	q.u.Poll()
	p.change(1)
	if got, err := q.u.Poll(); err != nil || len(got) != 1 || got[0] != (mailstore.GUID{2}) {
		t.Fatal(got, err)
	}
	p.lock()
	if err := p.boxes[0].Rename("other"); err != nil {
		t.Fatal(err)
	}
	if err := p.boxes[1].Drop(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.boxes[1].Begin(); err == nil {
		t.Fatal("a dropped mailbox was changed")
	}
	p.u.Unlock()
	q.u.Poll()
	q.lock()
	if _, err := q.boxes[1].Begin(); err == nil {
		t.Fatal("a mailbox that another process dropped was changed")
	}
	q.u.Unlock()
	p.change(0)
	p.u.Compact()
	p.stop()
	q.stop()
	u, _ := Open(w.options(w.mem))
	b, _ := u.Box(mailstore.GUID{1}, "other")
	w.boxes[0].check(t, b.View())
	b.Close()
	u.Close()
}

func TestHistoryBounds(t *testing.T) {
	h, floor := &history{}, uint64(0)
	for i := range uint32(3 * maxHistory) {
		var f uint64
		if h, f = h.add(uint64(i+1), numset.Of(i+1)); f > 0 {
			floor = f
		}
	}
	if len(h.list) > maxHistory || floor == 0 || h.list[0].modseq != floor+1 {
		t.Fatalf("%d expunges are kept, from %d on, floor %d", len(h.list), h.list[0].modseq, floor)
	}
	if got := h.since(floor + 5); got.Min() != uint32(floor)+6 || got.Max() != 3*maxHistory || len(got.Ranges()) != 1 {
		t.Fatal(got)
	}
}

// TestHistoryEnds shows that a mailbox does not claim history that it forgot.
func TestHistoryEnds(t *testing.T) {
	_, u, box := filled(t, maxHistory+100)
	start := box.View().HighestModSeq()
	var near mailstore.ModSeq
	for i := range maxHistory + 1 {
		tx := begin(t, u, box)
		tx.Remove([]int{0})
		if v := tx.Commit(); i == maxHistory-1 {
			near = v.HighestModSeq()
		}
		u.Unlock()
	}
	if _, complete := box.ExpungedSince(start); complete {
		t.Error("history is said to reach back to what was forgotten")
	}
	if uids, complete := box.ExpungedSince(near); !complete || !uids.Equal(numset.Of(maxHistory+1)) {
		t.Errorf("expunged since the last but one: %v, %v", uids, complete)
	}
	box.Close()
	u.Close()
}

// TestRemovedLog shows that a log that is removed while it is open is written
// again, and nothing is lost or built anew.
func TestRemovedLog(t *testing.T) {
	w := newWorld(t, 9, 1)
	w.boxes[0].small = true
	p, q := w.start(w.mem, w.options(nil)), w.start(w.mem, w.options(nil))
	for range 3 {
		p.change(0)
		q.check(0)
		if err := w.mem.Remove("log/" + logFile); err != nil {
			t.Fatal(err)
		}
		q.change(0)
		p.check(0)
	}
	if w.built != 1 {
		t.Fatalf("the mailbox was built %d times: %q", w.built, w.notes)
	}
	p.stop()
	q.stop()
}

func TestBitmap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		var b bitmap
		var free []int
		for i := range pageSize {
			if r.IntN(3) == 0 {
				b[i>>6] |= 1 << (i & 63)
			} else {
				free = append(free, i)
			}
		}
		for k, i := range free {
			if b.unmarked(k) != i || i-b.below(i) != k {
				t.Fatalf("the %d-th unmarked is %d, want %d; below %d", k, b.unmarked(k), i, b.below(i))
			}
		}
	}
}

// snapshotBytes gives a small snapshot and a small log.
func snapshotBytes(t testing.TB) (snap, log []byte) {
	w := newWorld(t, 4, 1)
	w.boxes[0].small = true
	p := w.start(w.mem, w.options(nil))
	for range 12 {
		p.change(0)
	}
	p.u.Compact()
	for p.u.info[mailstore.GUID{1}] == nil || p.boxes[0].View().base == nil {
		p.change(0)
		if err := p.u.snapshot(mailstore.GUID{1}, time.Second); err != nil {
			t.Fatal(err)
		}
	}
	for range 6 {
		p.change(0)
	}
	p.stop()
	snap, err := vfs.ReadFile(w.mem, "dir0/"+snapFile, 1<<20)
	if err == nil {
		log, err = vfs.ReadFile(w.mem, "log/"+logFile, 1<<20)
	}
	if err != nil {
		t.Fatal(err)
	}
	return snap, log
}

func FuzzSnapshot(f *testing.F) {
	good, _ := snapshotBytes(f)
	f.Add(good, 0, byte(0), false)
	f.Add(good, headerSize+5, byte(3), true)
	f.Add(good, len(good)-9, byte(3), true)
	f.Add(good[:len(good)-9], 9, byte(3), true)
	f.Fuzz(func(t *testing.T, data []byte, at int, x byte, mend bool) {
		data = slices.Clone(data)
		if at >= 0 && at < len(data) {
			data[at] ^= x
		}
		if mend && len(data) >= headerSize { // checksums made right, so that what is behind them is reached
			copy(data, snapMagic)
			binary.LittleEndian.PutUint32(data[headerSize-4:], crc32c.Checksum(data[:headerSize-4]))
		}
		h, ok := decodeHeader(data)
		if !ok || h.total() != int64(len(data)) {
			return
		}
		if mend {
			h.metaCRC = crc32c.Checksum(data[int64(len(data))-h.metaLen:])
		}
		u, err := Open(Options{FS: memfs.New(memfs.Options{})})
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		b := newBox(u, mailstore.GUID{1}, "d")
		b.view.Store(emptyView(b))
		v, ok := b.viewOf(h, data)
		if !ok {
			return
		}
		v.Each(0, func(pos int, r Record) bool {
			v.Find(r.UID)
			return len(r.Loc) <= 1<<16
		})
		v.ExpungedSince(0)
		v.FirstUnseen()
	})
}

func FuzzLog(f *testing.F) {
	_, good := snapshotBytes(f)
	f.Add(good, 0, byte(0), true)
	f.Add(good, logHeader+recHeader+3, byte(5), true)
	f.Add(good[:len(good)-3], 3, byte(0), false)
	f.Fuzz(func(t *testing.T, data []byte, at int, x byte, mend bool) {
		data = slices.Clone(data)
		if at >= 0 && at < len(data) {
			data[at] ^= x
		}
		mem := memfs.New(memfs.Options{})
		if mend { // checksums made right, so that what is behind them is reached
			data = mended(data)
		}
		file, _ := mem.OpenFile(logFile, vfs.Write|vfs.Create, 0o600)
		file.WriteAt(data, 0)
		file.Close()
		u, err := Open(Options{FS: mem, NoBackground: true})
		if err != nil {
			return
		}
		defer u.Close()
		b, err := u.Box(mailstore.GUID{1}, "d")
		if err != nil {
			return
		}
		v := b.View()
		n := 0
		v.Each(0, func(pos int, r Record) bool { n++; v.Find(r.UID); return true })
		if n != v.Len() {
			t.Fatalf("%d messages of %d", n, v.Len())
		}
		b.Close()
	})
}

// mended makes a log of data whose checksums are right.
func mended(data []byte) []byte {
	if len(data) < logHeader {
		return data
	}
	h := logHead{epoch: 1, boot: "boot-1"}
	out := h.encode()
	_, crc, _ := decodeLogHead(out)
	for p, seq := data[logHeader:], uint64(1); len(p) > recHeader; seq++ {
		n := min(max(int(p[0])|int(p[1])<<8, recHeader), len(p))
		r := logRec{seq: seq, modseq: uint64(p[20]), guid: mailstore.GUID{1}, kind: p[44], body: p[recHeader:n]}
		out, crc = appendRecord(out, crc, &r)
		p = p[n:]
	}
	copy(out[markOff:], encodeMarks(uint64(len(out)), 0))
	return out
}
