package pack

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/numset"
	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
)

// events has one of each kind.
func events() []event {
	e := entry{uid: 7, flags: mailstore.Seen, keywords: []string{"a", "$b"}, size: 100, date: -5, saved: 1 << 33, guid: mailstore.GUID{1}, order: 3, uidl: "u", loc: loc{2, 3, 64}}
	g, h := mailstore.GUID{1, 2}, mailstore.GUID{3, 4}
	set := numset.Of(1, 2, 3, 9, 1<<32-1)
	return []event{
		{kind: recBase, base: base{seq: 9, file: 2, off: 64, chain: 5, boxes: []boxState{{folder: engine.Folder{Name: "INBOX", GUID: g, UIDValidity: 4}, next: 9, last: stamp{3, 4}, ckpt: 2}}}},
		{kind: recCreate, box: g, uidv: 4, next: 1, name: "a/ü"},
		{kind: recDelete, box: g},
		{kind: recRename, renames: []renameTo{{g, "x"}, {h, "y"}}},
		{kind: recIdentity, box: g, uidv: 1<<32 - 1, next: 5},
		{kind: recFlagSet, box: g, flags: []flagsTo{{1, mailstore.Draft, nil}, {2, 0, []string{"k"}}, {3, 1, []string{"k"}}}},
		{kind: recExpunge, box: g, uids: set},
		{kind: recMove, box: g, uids: set, to: h, entries: []entry{e, e}},
		{kind: recAdd, to: h, entries: []entry{e}},
		{kind: recFolder, box: g, uidv: 4, next: 2, name: "INBOX"},
	}
}

func TestEvents(t *testing.T) {
	for _, v := range events() {
		v.seq, v.at = 12, stamp{12, 99}
		p := v.encode()
		got, err := decodeEvent(rec{recHeader: recHeader{kind: v.kind, seq: 12, head: 99}, payload: p}, 0, false)
		if err != nil {
			t.Fatal(v.kind, err)
		}
		if v.kind == recBase {
			if !reflect.DeepEqual(got.base, v.base) {
				t.Errorf("%+v\n%+v", got.base, v.base)
			}
			continue
		}
		if !reflect.DeepEqual(got, v) {
			t.Errorf("kind %d:\n%+v\n%+v", v.kind, got, v)
		}
		for n := range p { // no cut of it is another event
			if _, err := decodeEvent(rec{recHeader: recHeader{kind: v.kind}, payload: p[:n]}, 0, false); err == nil {
				t.Errorf("kind %d is read of its first %d octets", v.kind, n)
			}
		}
	}
}

func FuzzEvent(f *testing.F) {
	for _, v := range events() {
		f.Add(byte(v.kind), v.encode())
	}
	f.Fuzz(func(t *testing.T, kind byte, p []byte) {
		v, err := decodeEvent(rec{recHeader: recHeader{kind: recKind(kind)}, payload: p}, 1, false)
		if err != nil {
			return
		}
		few, err := decodeEvent(rec{recHeader: recHeader{kind: recKind(kind)}, payload: p}, 1, true)
		if err != nil || few.box != v.box || few.to != v.to || len(few.entries) != len(v.entries) || len(v.entries) > 0 && few.entries[0].uid != v.entries[0].uid {
			t.Fatalf("%+v is lightly %+v: %v", v, few, err)
		}
		newState().apply(&v)
		l := list{next: 1}
		l.apply(&v, v.box)
		l.apply(&v, v.to)
		l.end()
		if v.kind != recAdd || recKind(kind) == recAdd { // what was read can be written and read again
			again, err := decodeEvent(rec{recHeader: recHeader{kind: v.kind}, payload: v.encode()}, 1, false)
			if err != nil || len(again.entries) != len(v.entries) {
				t.Fatalf("%+v: %v", v, err)
			}
		}
	})
}

func FuzzBox(f *testing.F) {
	disk := memfs.New(memfs.Options{})
	disk.Mkdir(boxesDir, 0o700)
	p := &format{fs: disk, opt: Options{ControlPath: "."}}
	g := mailstore.GUID{5}
	l := &list{next: 50, m: []entry{{uid: 1, size: 3}, {uid: 49, keywords: []string{"k"}}}}
	if err := p.writeBox(boxHead{guid: g, uidv: 3, seq: 8, name: "INBOX"}, l); err != nil {
		f.Fatal(err)
	}
	data, err := vfs.ReadFile(disk, p.boxPath(g), 1<<20)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:20])
	f.Fuzz(func(t *testing.T, b []byte) {
		h, l, err := decodeBox(&logReader{f: bytes.NewReader(b), size: 512}, int64(len(b)), g)
		if err != nil {
			return
		}
		last := uint32(0)
		for _, e := range l.m {
			if e.uid <= last || e.uid >= h.next {
				t.Fatalf("UID %d after %d, next %d", e.uid, last, h.next)
			}
			last = e.uid
		}
	})
}

func FuzzMoved(f *testing.F) {
	b := binary.LittleEndian.AppendUint64(nil, 1)
	b = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(b, 128), 64)
	f.Add(binary.LittleEndian.AppendUint32(b, sum(0, b)))
	f.Fuzz(func(t *testing.T, b []byte) {
		moved, err := readMoved(bytes.NewReader(b), 0)
		if err != nil {
			return
		}
		k := packFile{hdr: fileHeader{mapAt: 1}, moved: moved}
		for _, m := range moved {
			if is, ok := k.at(m.was); !ok || is != m.is {
				t.Fatalf("%+v", m)
			}
		}
	})
}

// FuzzLog reads a file of records of which something was overwritten: what is
// read is always whole records that were written, in their order.
func FuzzLog(f *testing.F) {
	f.Add(uint16(0), []byte{})
	f.Add(uint16(300), []byte("xyz"))
	f.Add(uint16(64), make([]byte, 600))
	f.Fuzz(func(t *testing.T, at uint16, over []byte) {
		disk := memfs.New(memfs.Options{})
		l, err := createLog(disk, "log", fileHeader{kind: kindJournal, nonce: 77, seq: 0}, nil, 4096)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 12 {
			recs := []outRec{{kind: recDelete, seq: uint64(2*i + 1), more: 1, meta: bytes.Repeat([]byte{byte(i)}, 10*i)}, {kind: recDelete, seq: uint64(2*i + 2), meta: []byte{byte(i)}}}
			if err := l.write(recs, 4096); err != nil {
				t.Fatal(err)
			}
			if i%3 == 0 {
				if err := l.f.DataSync(); err != nil {
					t.Fatal(err)
				}
				l.synced, l.fresh = l.pos, true
			}
		}
		if _, err := l.f.WriteAt(over, int64(at)); err != nil {
			t.Fatal(err)
		}
		l.close()
		for _, deep := range []bool{false, true} {
			l, ok, err := openLog(disk, "log")
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				return
			}
			recs, err := l.advance(deep, func(int64, int64) {})
			if err != nil {
				t.Fatal(err)
			}
			last := uint64(0)
			for i, r := range recs {
				n := byte((r.seq - 1) / 2)
				want := bytes.Repeat([]byte{n}, 10*int(n))
				if r.seq%2 == 0 {
					want = []byte{n}
				}
				if r.seq <= last || !bytes.Equal(r.payload, want) && len(over) == 0 {
					t.Fatalf("record %d has the number %d after %d", i, r.seq, last)
				}
				if !deep && r.seq != uint64(i)+1 {
					t.Fatalf("record %d has the number %d", i, r.seq)
				}
				last = r.seq
			}
			if len(over) == 0 && len(recs) != 24 {
				t.Fatalf("%d records", len(recs))
			}
			if len(recs)%2 != 0 && !deep {
				t.Fatal("half a group")
			}
			l.close()
		}
	})
}
