package index

import (
	"fmt"
	"testing"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/vfs"
)

// damaged lets every mailbox write records into a log that nobody compacts, and
// then changes an octet of the last one of one mailbox. It gives the options that
// keep the log, and its lineage.
func (w *world) damaged(t *testing.T, steps int, of mailstore.GUID, octet int) (o Options, lineage [16]byte) {
	t.Helper()
	o = w.options(nil)
	o.MaxLog = 1 << 20
	p := w.start(w.mem, o)
	for i, m := range w.boxes {
		for range steps {
			p.lock()
			m.step(t, w.r, p.boxes[i])
			p.u.Unlock()
		}
	}
	in := p.u.info[of]
	at := in.recs[len(in.recs)-1].off + int64(octet)
	lineage = p.u.log.lineage
	p.stop()
	f, err := w.mem.OpenFile("log/"+logFile, vfs.Read|vfs.Write, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x41
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	return o, lineage
}

// A record that nobody uses is not looked at: damage in its body costs its own
// mailbox alone, damage in its head the whole log, since what followed cannot be
// told any more. In either case all comes back as it was.
func TestDamagedRecord(t *testing.T) {
	const boxes = 3
	for off := range recHeader + 12 {
		w := newWorld(t, 7, boxes)
		// The last record of the second mailbox is not the log's last.
		o, lineage := w.damaged(t, 6, mailstore.GUID{2}, off)
		w.built, w.notes = 0, nil
		p := w.start(w.mem, o)
		for i, m := range w.boxes {
			m.check(t, p.look(i))
		}
		// The CRC field is the head's, too: the next record repeats it.
		body := off >= recHeader
		if want := map[bool]int{true: 1, false: boxes}[body]; w.built != want {
			t.Errorf("octet %d: %d mailboxes were built anew, want %d; notes %q", off, w.built, want, w.notes)
		}
		if same := p.u.log.lineage == lineage; same != body {
			t.Errorf("octet %d: the log was kept: %v", off, same)
		}
		p.stop()
		w.built = 0
		p = w.start(w.mem, o) // and now it is as good as new
		for i, m := range w.boxes {
			m.check(t, p.look(i))
		}
		if w.built > 0 {
			t.Errorf("octet %d: built again", off)
		}
		p.stop()
	}
}

// A log with a damaged record of a mailbox that was built anew since can be
// compacted: nobody needs the record.
func TestCompactBeyondDamage(t *testing.T) {
	w := newWorld(t, 3, 2)
	o, lineage := w.damaged(t, 4, mailstore.GUID{1}, recHeader)
	p := w.start(w.mem, o)
	w.boxes[0].check(t, p.look(0))
	w.boxes[1].check(t, p.look(1))
	if err := p.u.Compact(); err != nil {
		t.Fatal(err)
	}
	if p.u.log == nil || p.u.log.lineage != lineage {
		t.Error("compaction gave the log up")
	}
	w.boxes[0].check(t, p.look(0))
	w.boxes[1].check(t, p.look(1))
	p.stop()
}

// A mailbox's stamp changes with each transaction of any process, and with
// nothing else: not with changes of other mailboxes, snapshots or compaction.
func TestStamp(t *testing.T) {
	w := newWorld(t, 5, 2)
	p, q := w.start(w.mem, w.options(nil)), w.start(w.mem, w.options(nil))
	stamp := func(u *User, i byte) Stamp {
		t.Helper()
		s, ok := u.Stamp(mailstore.GUID{i})
		if !ok {
			t.Fatal("there is no stamp")
		}
		return s
	}
	if _, ok := p.u.Stamp(mailstore.GUID{1}); ok {
		t.Error("a mailbox that nobody knows has a stamp")
	}
	for i := range 2 {
		p.look(i)
		p.lock()
		w.boxes[i].step(t, w.r, p.boxes[i])
		p.u.Unlock()
	}
	for round := range 60 {
		who := []*process{p, q}[round%2]
		before, other := stamp(p.u, 1), stamp(p.u, 2)
		if v, err := p.boxes[0].Follow(); err != nil {
			t.Fatal(err)
		} else if s, ok := p.boxes[0].StampOf(v); !ok || s != before {
			t.Fatalf("round %d: the view is of %v %v, the mailbox of %v", round, s, ok, before)
		}
		old := p.boxes[0].View()
		who.lock()
		tx, err := who.boxes[0].Begin()
		if err != nil {
			t.Fatal(err)
		}
		w.boxes[0].state = fmt.Sprint("state", round)
		tx.State(w.boxes[0].state)
		tx.Commit()
		who.u.Unlock()
		now := stamp(q.u, 1)
		if now == before || stamp(p.u, 1) != now || stamp(p.u, 2) != other {
			t.Fatalf("round %d: from %v to %v and %v, the other from %v to %v", round, before, now, stamp(p.u, 1), other, stamp(p.u, 2))
		}
		if _, ok := p.boxes[0].StampOf(old); ok {
			t.Fatalf("round %d: a view that is not the newest has a stamp", round)
		}
		switch round % 5 {
		case 3:
			err = who.u.snapshot(mailstore.GUID{1}, time.Second)
		case 4:
			err = who.u.Compact()
		}
		if err != nil {
			t.Fatal(err)
		}
		if stamp(p.u, 1) != now || stamp(q.u, 1) != now {
			t.Fatalf("round %d: compaction made %v of %v", round, stamp(p.u, 1), now)
		}
		if ParseStamp(now.Append(nil)) != now || len(now.Append(nil)) != StampSize {
			t.Fatal("a stamp is written and read another way")
		}
	}
	r := w.start(w.mem, w.options(nil))
	if stamp(r.u, 1) != stamp(p.u, 1) {
		t.Error("a new process has another stamp")
	}
	for _, x := range []*process{p, q, r} {
		x.stop()
	}
}

// A process that has changed much leaves a short log behind, and one that has not
// leaves it as it is, whatever was carried over.
func TestClose(t *testing.T) {
	w := newWorld(t, 9, 1)
	o := w.options(nil)
	o.NoBackground, o.MaxLog = false, 1<<20
	size := func() int64 {
		info, err := w.mem.Stat("log/" + logFile)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size
	}
	change := func(p *process, n int) {
		for i := range n {
			p.lock()
			tx, err := p.boxes[0].Begin()
			if err != nil {
				t.Fatal(err)
			}
			w.boxes[0].state = fmt.Sprintf("%060d", i)
			tx.State(w.boxes[0].state)
			tx.Commit()
			p.u.Unlock()
		}
	}
	p := w.start(w.mem, o)
	p.look(0)
	change(p, 1000)
	before := size()
	p.stop()
	if size() >= before/10 || before < closeLog {
		t.Errorf("the log had %d octets, and has %d", before, size())
	}
	p = w.start(w.mem, o)
	w.boxes[0].check(t, p.look(0))
	change(p, 10)
	before = size()
	epoch := p.u.log.epoch
	p.stop()
	p = w.start(w.mem, o)
	if size() != before || p.u.log.epoch != epoch {
		t.Error("a few changes made a new log")
	}
	w.boxes[0].check(t, p.look(0))
	p.stop()
}
