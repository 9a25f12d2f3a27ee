package pack

import (
	"fmt"
	"testing"

	"rookery/internal/vfs/memfs"
)

// seqs gives the sequence numbers that a file is read with.
func seqs(t *testing.T, disk *memfs.FS, deep bool) (string, *logFile) {
	t.Helper()
	l, ok, err := openLog(disk, "log")
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	t.Cleanup(func() { l.close() })
	told := ""
	recs, err := l.advance(deep, func(from, to int64) { told = "!" })
	if err != nil {
		t.Fatal(err)
	}
	out := ""
	for _, r := range recs {
		out += fmt.Sprint(r.seq, " ")
	}
	return out + told, l
}

func newLog(t *testing.T) (*memfs.FS, *logFile) {
	t.Helper()
	disk := memfs.New(memfs.Options{})
	l, err := createLog(disk, "log", fileHeader{kind: kindJournal, nonce: newNonce()}, nil, 4096)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.close() })
	return disk, l
}

func put(t *testing.T, l *logFile, recs ...outRec) []loc {
	t.Helper()
	at := make([]loc, len(recs))
	for i := range recs {
		recs[i].kind, recs[i].at = recDelete, &at[i]
	}
	if err := l.write(recs, 4096); err != nil {
		t.Fatal(err)
	}
	return at
}

func synced(t *testing.T, l *logFile) {
	t.Helper()
	if err := l.f.DataSync(); err != nil {
		t.Fatal(err)
	}
	l.synced, l.fresh = l.pos, true
}

func spoil(t *testing.T, l *logFile, off int64) {
	t.Helper()
	if _, err := l.f.WriteAt([]byte{0xFF, 0xFF}, off); err != nil {
		t.Fatal(err)
	}
}

// What a torn write left behind the end is never taken for what follows a later
// record, wherever that ends.
func TestStaleRecords(t *testing.T) {
	disk, l := newLog(t)
	put(t, l, outRec{seq: 1, meta: []byte("one")})
	synced(t, l)
	at := put(t, l, outRec{seq: 2, meta: []byte("torn")}, outRec{seq: 3, meta: []byte("stale")})
	spoil(t, l, at[0].off)
	got, l2 := seqs(t, disk, true)
	if got != "1 " {
		t.Fatal(got)
	}
	put(t, l2, outRec{seq: 2, meta: []byte("anew")}) // of the same length: what is stale follows it
	if l2.pos != at[1].off {
		t.Fatalf("the record ends at %d, the stale one begins at %d", l2.pos, at[1].off)
	}
	if got, _ := seqs(t, disk, true); got != "1 2 " {
		t.Fatal(got)
	}
}

// A change of several records counts only whole.
func TestGroups(t *testing.T) {
	for cut := range 3 {
		disk, l := newLog(t)
		put(t, l, outRec{seq: 1})
		at := put(t, l, outRec{seq: 2, more: 2}, outRec{seq: 3, more: 1}, outRec{seq: 4})
		if got, _ := seqs(t, disk, true); got != "1 2 3 4 " {
			t.Fatal(got)
		}
		spoil(t, l, at[cut].off)
		got, l2 := seqs(t, disk, true)
		if got != "1 " {
			t.Fatalf("cut at %d: %s", cut, got)
		}
		put(t, l2, outRec{seq: 2})
		if got, _ := seqs(t, disk, true); got != "1 2 " {
			t.Fatalf("cut at %d: %s", cut, got)
		}
	}
}

// What was synced and cannot be read is told as damage; what was not is the end.
func TestDamageOrEnd(t *testing.T) {
	disk, l := newLog(t)
	at := put(t, l, outRec{seq: 1}, outRec{seq: 2})
	put(t, l, outRec{seq: 3})
	spoil(t, l, at[1].off)
	if got, _ := seqs(t, disk, true); got != "1 " {
		t.Fatal("a torn write:", got)
	}
	disk, l = newLog(t)
	at = put(t, l, outRec{seq: 1}, outRec{seq: 2})
	synced(t, l)
	put(t, l, outRec{seq: 3})
	spoil(t, l, at[1].off)
	if got, _ := seqs(t, disk, true); got != "1 3 !" {
		t.Fatal("damage:", got)
	}
	if got, _ := seqs(t, disk, false); got != "1 " {
		t.Fatal("damage, not asked for:", got)
	}
}

// After a sync the next record begins in a block of its own.
func TestBlocks(t *testing.T) {
	_, l := newLog(t)
	a := put(t, l, outRec{seq: 1})[0].off
	b := put(t, l, outRec{seq: 2})[0].off
	synced(t, l)
	c := put(t, l, outRec{seq: 3})[0].off
	if a != batchAlign || b != batchAlign+recHeaderSize || c != 2*batchAlign {
		t.Fatal(a, b, c)
	}
}

// A write of another process that was seen in flight and taken back is known.
func TestTakenBack(t *testing.T) {
	disk, l := newLog(t)
	put(t, l, outRec{seq: 1})
	start := l.pos
	put(t, l, outRec{seq: 2})
	got, other := seqs(t, disk, false)
	if ok, err := other.verify(); got != "1 2 " || !ok || err != nil {
		t.Fatal(got, ok, err)
	}
	l.takeBack(alignUp(start, recAlign))
	if ok, err := other.verify(); ok || err != nil {
		t.Fatal(ok, err)
	}
}

// A message whose octets a power cut tore is the end of the file, not a message.
func TestTornBody(t *testing.T) {
	disk, l := newLog(t)
	put(t, l, outRec{seq: 1})
	synced(t, l)
	var at loc
	body := bytesOf(make([]byte, 2000))
	if err := l.write([]outRec{{kind: recMessage, seq: 2, meta: []byte("meta"), body: body, size: 2000, at: &at}}, 4096); err != nil {
		t.Fatal(err)
	}
	if got, _ := seqs(t, disk, true); got != "1 2 " {
		t.Fatal(got)
	}
	spoil(t, l, at.off+1500)
	if got, _ := seqs(t, disk, true); got != "1 " {
		t.Fatal(got)
	}
}
