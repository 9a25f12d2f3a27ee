package journal

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
	"rookery/internal/vfs"
	"rookery/internal/vfs/faultfs"
	"rookery/internal/vfs/memfs"
)

// notes collects what an operator would be told.
type notes []string

func (n *notes) add(s string) { *n = append(*n, s) }

func manual(fs vfs.FS, n *notes) Options {
	return Options{FS: fs, Manual: true, LockWait: 200 * time.Millisecond, Note: n.add}
}

// start opens and recovers; it gives what was replayed.
func start(t *testing.T, o Options) (*Journal, []Record) {
	t.Helper()
	j, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	var got []Record
	if err := j.Recover(func(r Record) error { got = append(got, r); return nil }); err != nil {
		t.Fatal(err)
	}
	return j, got
}

func msg(uid uint32, size int) Record {
	return Record{Kind: Message, Box: mailstore.GUID{1}, UIDValidity: 9, UID: uid, Base: fmt.Sprintf("base.%d", uid),
		Flags: mailstore.Seen, Keywords: []string{"$Forwarded", "work"}, GUID: mailstore.GUID{2, byte(uid)},
		InternalDate: time.Unix(1700000000, 0).UTC(), Size: int64(size), Data: []byte(strings.Repeat("x", size))}
}

func put(t *testing.T, j *Journal, class Sync, recs ...Record) *Ticket {
	t.Helper()
	k, err := j.Append(class, recs...)
	if err == nil {
		err = k.Wait()
	}
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func uids(recs []Record) (list []uint32) {
	for _, r := range recs {
		list = append(list, r.UID)
	}
	return list
}

func TestAcknowledgedIsReplayedAfterAPowerCut(t *testing.T) {
	var n notes
	disk := memfs.New(memfs.Options{})
	p := faultfs.New(disk)
	j, _ := start(t, manual(p, &n))
	put(t, j, Now, msg(1, 4000)).Done()
	put(t, j, Now, msg(2, MaxData)).Done()
	put(t, j, Soon, Record{Kind: Flags, Box: mailstore.GUID{1}, UIDValidity: 9, UIDs: numset.Of(1, 2, 5), Flags: mailstore.Deleted, Op: mailstore.AddFlags}).Done()
	after := p.Survivor(memfs.Lost, 1)
	_, got := start(t, manual(after, &n))
	if !slices.Equal(uids(got), []uint32{1, 2}) {
		t.Fatalf("replayed %v", uids(got))
	}
	want := msg(1, 4000)
	r := got[0]
	if r.ID != 1 || r.Boot != "boot-1" || r.SameBoot || r.Base != want.Base || string(r.Data) != string(want.Data) || r.Flags != want.Flags ||
		!slices.Equal(r.Keywords, want.Keywords) || r.GUID != want.GUID || !r.InternalDate.Equal(want.InternalDate) || !r.SaveDate.IsZero() {
		t.Fatalf("came back as %.300v", r)
	}
	if len(n) != 0 {
		t.Fatal(n)
	}
	// What was replayed is settled.
	if _, again := start(t, manual(after.Survive(memfs.Lost, 1), &n)); len(again) != 0 {
		t.Fatalf("replayed twice: %v", uids(again))
	}
}

func TestCleanMark(t *testing.T) {
	var n notes
	disk := memfs.New(memfs.Options{})
	o := manual(disk, &n)
	var settled []Record
	o.Checkpoint = func(r []Record) error { settled = append(settled, r...); return nil }
	j, _ := start(t, o)
	if !j.Clean() {
		t.Fatal("a journal that never was is clean")
	}
	put(t, j, Now, msg(1, 10)).Done()
	put(t, j, Soon, Record{Kind: Expunge, Box: mailstore.GUID{1}, UIDValidity: 9, UIDs: numset.Of(1)}).Done()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if len(settled) != 2 || !settled[0].Own || !settled[0].Expunged {
		t.Fatalf("settled %.300v", settled)
	}
	j, got := start(t, o)
	if !j.Clean() || len(got) != 0 {
		t.Fatalf("clean %v, replayed %v", j.Clean(), uids(got))
	}
	put(t, j, Now, msg(2, 10)).Done()
	j, got = start(t, manual(disk.Survive(memfs.Lost, 3), &n))
	if j.Clean() || !slices.Equal(uids(got), []uint32{2}) {
		t.Fatalf("clean %v, replayed %v", j.Clean(), uids(got))
	}
}

func TestCancelledIsNotReplayed(t *testing.T) {
	var n notes
	disk := memfs.New(memfs.Options{})
	j, _ := start(t, manual(disk, &n))
	a, b, c := put(t, j, Now, msg(1, 10), msg(2, 10)), put(t, j, Now, msg(3, 10)), put(t, j, Soon, msg(4, 10))
	if err := a.Cancel(); err != nil {
		t.Fatal(err)
	}
	if err := c.Cancel(); err != nil { // never written
		t.Fatal(err)
	}
	b.Done()
	if err := j.Flush(); err != nil {
		t.Fatal(err)
	}
	_, got := start(t, manual(disk.Survive(memfs.Lost, 1), &n))
	if !slices.Equal(uids(got), []uint32{3}) {
		t.Fatalf("replayed %v", uids(got))
	}
}

func TestIntents(t *testing.T) {
	var n notes
	disk := memfs.New(memfs.Options{})
	j, _ := start(t, manual(disk, &n))
	in := func(name string) uint64 {
		id, _ := put(t, j, Now, Record{Kind: Intent, Payload: []byte(name)}).IDs()
		return id
	}
	a, b := in("a"), in("b")
	put(t, j, Now, Record{Kind: Step, Ref: a, Payload: []byte("a1")}, Record{Kind: Step, Ref: b, Payload: []byte("b1")})
	m := msg(7, 10)
	m.Ref = b
	put(t, j, Now, m).Done()
	put(t, j, Now, Record{Kind: Step, Ref: b, Payload: []byte("b2")}, Record{Kind: IntentDone, Ref: a})
	_, got := start(t, manual(disk.Survive(memfs.Lost, 1), &n))
	if len(got) != 2 || string(got[0].Payload) != "b" || len(got[0].Steps) != 2 || string(got[0].Steps[1]) != "b2" || !got[1].Undone {
		t.Fatalf("replayed %.600v", got)
	}
	list, err := j.Pending()
	if err != nil || len(list) != 1 || list[0].ID != b || len(list[0].Steps) != 2 || !list[0].Own {
		t.Fatalf("pending %+v, %v", list, err)
	}
}

func TestGoneForgets(t *testing.T) {
	var n notes
	disk := memfs.New(memfs.Options{})
	j, _ := start(t, manual(disk, &n))
	other := msg(1, 10)
	other.Box = mailstore.GUID{8}
	put(t, j, Now, msg(1, 10), other).Done()
	put(t, j, Now, Record{Kind: Gone, Box: mailstore.GUID{1}}).Done()
	_, got := start(t, manual(disk.Survive(memfs.Lost, 1), &n))
	if len(got) != 2 || got[0].Box != other.Box || got[1].Kind != Gone {
		t.Fatalf("replayed %.600v", got)
	}
}

// A ring that is written round many times keeps what is pending, settles all, and
// replays only what is not settled.
func TestRoundAndRound(t *testing.T) {
	var n notes
	disk := memfs.New(memfs.Options{})
	o := manual(disk, &n)
	settled := map[uint32]int{}
	o.Checkpoint = func(recs []Record) error {
		for _, r := range recs {
			settled[r.UID]++
		}
		return nil
	}
	j, _ := start(t, o)
	id, _ := put(t, j, Now, Record{Kind: Intent, Payload: []byte("long")}).IDs()
	put(t, j, Now, Record{Kind: Step, Ref: id, Payload: []byte("step")})
	const count = 500
	for u := range uint32(count) {
		put(t, j, Now, msg(u+1, 5000)).Done()
	}
	after := disk.Survive(memfs.Lost, 1)
	o2 := manual(after, &n)
	_, got := start(t, o2)
	if got[0].ID != id || string(got[0].Steps[0]) != "step" {
		t.Fatalf("the intent is lost: %.300v", got[0])
	}
	for _, r := range got[1:] {
		settled[r.UID]++
	}
	for u := range uint32(count) {
		if settled[u+1] != 1 {
			t.Fatalf("UID %d settled or replayed %d times", u+1, settled[u+1])
		}
	}
	if len(got) < 10 || len(got) > 130 {
		t.Fatalf("%d replayed", len(got))
	}
}

func TestTwoProcesses(t *testing.T) {
	var n notes
	disk := memfs.New(memfs.Options{})
	one, two := faultfs.New(disk), faultfs.New(disk)
	a, _ := start(t, manual(one, &n))
	b, got := start(t, manual(two, &n))
	if !a.recovered.Load() || b.Alone() || len(got) != 0 {
		t.Fatal("the second one must not recover")
	}
	var want []uint32
	for u := uint32(1); u < 40; u += 2 {
		put(t, a, Now, msg(u, 3000)).Done()
		put(t, b, Now, msg(u+1, 6000)).Done()
		want = append(want, u, u+1)
	}
	id, _ := put(t, b, Unsynced, Record{Kind: Reservation, Octets: 77, Messages: 1}).IDs()
	list, err := a.Pending()
	if err != nil || len(list) != 1 || list[0].ID != id || list[0].Own || list[0].Octets != 77 {
		t.Fatalf("pending %+v, %v", list, err)
	}
	two.Kill()
	_, got = start(t, manual(disk.Survive(memfs.Lost, 1), &n))
	if !slices.Equal(uids(got), want) {
		t.Fatalf("replayed %v, want %v", uids(got), want)
	}
	if len(n) != 0 {
		t.Fatal(n)
	}
}

func TestNothingBeforeRecover(t *testing.T) {
	var n notes
	j, err := Open(manual(memfs.New(memfs.Options{}), &n))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Append(Now, msg(1, 1)); !errkind.Is(err, errkind.Invalid) {
		t.Fatal(err)
	}
}

// A failed sync: the NO stays a NO, whatever reached the disk; what was answered
// before stays answered; and the journal goes on.
func TestFailedSync(t *testing.T) {
	for seed := range uint64(40) {
		var n notes
		disk := memfs.New(memfs.Options{})
		p := faultfs.New(disk)
		j, _ := start(t, manual(p, &n))
		put(t, j, Now, msg(1, 3000)).Done()
		put(t, j, Unsynced, msg(2, 10)).Done()
		k, err := j.Append(Now, msg(3, 10)) // each in one sector, so that each may survive alone
		if err != nil {
			t.Fatal(err)
		}
		p.FailAt(p.Ops()+6, 1, syscall.EIO) // stat, lock, read, read, write, sync
		if err := k.Wait(); !errkind.Is(err, errkind.IO) || !errors.Is(err, syscall.EIO) || !strings.HasPrefix(p.Failed(), "datasync") {
			t.Fatal(err, p.Failed())
		}
		_, got := start(t, manual(disk.Survive(memfs.Torn, seed), &n))
		if slices.Contains(uids(got), 3) || !slices.Contains(uids(got), 1) {
			t.Fatalf("seed %d: replayed %v", seed, uids(got))
		}
		put(t, j, Now, msg(4, 10)).Done()
		_, got = start(t, manual(disk.Survive(memfs.Torn, seed), &n))
		if !slices.Equal(uids(got), []uint32{1, 2, 4}) {
			t.Fatalf("seed %d: replayed %v after the next append", seed, uids(got))
		}
	}
}

// Records that are in the file twice count once: those of a failed batch are
// written again under their old IDs.
func TestResolveTakesEachOnce(t *testing.T) {
	r := msg(1, 10)
	r.ID = 5
	body := appendRecord(nil, &r)
	h := head{cycle: 1, seq: 1, size: uint32(len(body)), bodyCRC: crcOf(body), records: 1, boot: "b"}
	again := h
	again.seq = 2
	set := resolve([]batch{{head: h, body: body}, {head: again, body: body}}, "b")
	if len(set.recs) != 1 || !set.recs[0].SameBoot {
		t.Fatalf("%d records", len(set.recs))
	}
}

// A batch that was on disk and cannot be read is told of, and what follows it counts.
func TestDamageIsToldAndStepped(t *testing.T) {
	var n notes
	disk := memfs.New(memfs.Options{})
	j, _ := start(t, manual(disk, &n))
	for u := range uint32(4) {
		put(t, j, Now, msg(u+1, 10)).Done()
	}
	f, err := disk.OpenFile(FileName, vfs.Read|vfs.Write, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("noise"), offset(1, 2)+batchHead+3); err != nil {
		t.Fatal(err)
	}
	f.Sync()
	_, got := start(t, manual(disk.Survive(memfs.Kept, 1), &n))
	if !slices.Equal(uids(got), []uint32{1, 3, 4}) || len(n) != 1 || !strings.Contains(n[0], "1 of its batches, from number 2 on") {
		t.Fatalf("replayed %v, told %v", uids(got), n)
	}
}

// A file whose heads are noise is kept aside, and mail goes on.
func TestHeadsOfNoise(t *testing.T) {
	var n notes
	disk := memfs.New(memfs.Options{})
	j, _ := start(t, manual(disk, &n))
	put(t, j, Now, msg(1, 10)).Done()
	disk = disk.Survive(memfs.Lost, 1)
	f, _ := disk.OpenFile(FileName, vfs.Read|vfs.Write, 0)
	for s := range segments - 1 {
		f.WriteAt([]byte("noise"), int64(s)*segmentSize)
	}
	if _, got := start(t, manual(disk.Survive(memfs.Kept, 1), &n)); !slices.Equal(uids(got), []uint32{1}) {
		t.Fatalf("one head is enough, replayed %v", uids(got))
	}
	f.WriteAt([]byte("noise"), (segments-1)*segmentSize)
	f.Close()
	j, got := start(t, manual(disk, &n))
	if len(got) != 0 || len(n) != 1 || !strings.Contains(n[0], "rookery-journal.damaged") {
		t.Fatalf("replayed %v, told %v", uids(got), n)
	}
	put(t, j, Now, msg(2, 10)).Done()
	if _, err := disk.Stat(FileName + ".damaged"); err != nil {
		t.Fatal(err)
	}
}

// A mail that contains a whole batch, byte by byte, is not taken for one.
func TestForgedBatch(t *testing.T) {
	var n notes
	disk := memfs.New(memfs.Options{})
	j, _ := start(t, manual(disk, &n))
	evil := msg(66, 10)
	body := appendRecord(nil, &evil)
	h := head{cycle: 1, seq: 2, liveCycle: 1, liveSeq: 1, synced: 1, nextID: 9, size: uint32(len(body)), bodyCRC: crcOf(body), records: 1}
	forged := append(make([]byte, batchHead), body...)
	h.put(forged, nonce{})
	m := msg(1, 3*blockSize)
	pad := blockSize - batchHead - (m.EncodedSize() - len(m.Data))
	copy(m.Data[pad:], forged)
	put(t, j, Now, m).Done()
	put(t, j, Now, msg(2, 10)).Done()
	f, _ := disk.OpenFile(FileName, vfs.Read|vfs.Write, 0)
	f.WriteAt([]byte("noise"), offset(1, 1)) // so that the scan looks into the message
	f.Sync()
	_, got := start(t, manual(disk.Survive(memfs.Kept, 1), &n))
	if !slices.Equal(uids(got), []uint32{2}) {
		t.Fatalf("replayed %v", uids(got))
	}
}

// What could not be recovered stays, however the journal is closed.
func TestFailedRecovery(t *testing.T) {
	for _, where := range []string{"apply", "checkpoint"} {
		var n notes
		disk := memfs.New(memfs.Options{})
		j, _ := start(t, manual(disk, &n))
		put(t, j, Now, msg(1, 10)).Done()
		disk = disk.Survive(memfs.Lost, 1)
		o := manual(disk, &n)
		o.Checkpoint = func([]Record) error {
			if where == "checkpoint" {
				return syscall.ENOSPC
			}
			return nil
		}
		j, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		err = j.Recover(func(Record) error {
			if where == "apply" {
				return syscall.ENOSPC
			}
			return nil
		})
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		if _, err := j.Append(Now, msg(2, 1)); !errkind.Is(err, errkind.Invalid) {
			t.Fatal(err)
		}
		j.Close()
		if _, got := start(t, manual(disk, &n)); !slices.Equal(uids(got), []uint32{1}) {
			t.Fatalf("%s: replayed %v", where, uids(got))
		}
	}
}

// What was answered without a sync survives up to some moment, never with holes.
func TestNoHoles(t *testing.T) {
	ends := map[int]bool{}
	for seed := range uint64(60) {
		var n notes
		disk := memfs.New(memfs.Options{})
		j, _ := start(t, manual(disk, &n))
		put(t, j, Now, msg(1, 10)).Done()
		for u := range uint32(5) {
			put(t, j, Unsynced, msg(u+2, 10)).Done()
		}
		_, got := start(t, manual(disk.Survive(memfs.Torn, seed), &n))
		if !slices.Equal(uids(got), []uint32{1, 2, 3, 4, 5, 6}[:len(got)]) || len(got) == 0 {
			t.Fatalf("seed %d: replayed %v", seed, uids(got))
		}
		ends[len(got)] = true
	}
	if len(ends) < 3 {
		t.Fatalf("the seeds try too little: %v", ends)
	}
}

// A journal that somebody removes while it is in use is made anew.
func TestRemoved(t *testing.T) {
	var n notes
	disk := memfs.New(memfs.Options{})
	a, _ := start(t, manual(disk, &n))
	b, _ := start(t, manual(disk, &n))
	put(t, a, Now, msg(1, 10)).Done()
	put(t, b, Now, msg(2, 10)).Done()
	if err := disk.Remove(FileName); err != nil {
		t.Fatal(err)
	}
	put(t, a, Now, msg(3, 10)).Done()
	put(t, b, Now, msg(4, 10)).Done()
	_, got := start(t, manual(disk.Survive(memfs.Lost, 1), &n))
	if !slices.Equal(uids(got), []uint32{3, 4}) || len(n) != 2 {
		t.Fatalf("replayed %v, told %v", uids(got), n)
	}
}
