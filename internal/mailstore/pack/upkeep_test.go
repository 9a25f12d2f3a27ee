package pack_test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/pack"
	"rookery/internal/numset"
	"rookery/internal/vfs"
	"rookery/internal/vfs/faultfs"
	"rookery/internal/vfs/memfs"
)

// Compacting gives space back, and whatever lives is what it was: for sessions
// that are open, for messages that are open, and with the index gone.
func TestPurge(t *testing.T) {
	b := newBed(t, nil)
	inbox, box := b.setUp()
	mb := b.open("INBOX")
	defer mb.Close()
	m, err := mb.Message(1)
	b.must(err)
	before := b.used()
	var calls int
	freed, err := b.s.Purge(context.Background(), func(done, total int) { calls++ })
	b.must(err)
	if freed < before/3 || b.used() > before-freed+b.opt.Step || calls == 0 {
		t.Fatalf("%d octets of %d were freed, %d are left", freed, before, b.used())
	}
	b.still("after a purge", inbox, box)
	text, err := io.ReadAll(io.NewSectionReader(m, 0, m.Size()))
	if b.must(err); string(text) != textOf(0) {
		t.Fatal("an open message changed")
	}
	b.must(m.Close())
	if again, err := b.s.Purge(context.Background(), nil); err != nil || again != 0 {
		t.Fatal("a second purge freed", again, err)
	}
	b.must(dropIndex(b.disk))
	b.restart()
	b.still("after a restart without index", inbox, box)
	mb2 := b.open("INBOX")
	_, err = mb2.Expunge(numset.Of(1, 2)) // their copies hold the bytes
	b.must(err)
	b.must(mb2.Close())
	_, err = b.s.Purge(context.Background(), nil)
	b.must(err)
	if got := b.picture("box"); got != box {
		t.Fatal(got)
	}
	b.must(b.s.Delete("box"))
	_, err = b.s.Purge(context.Background(), nil)
	b.must(err)
	if strings.Contains(b.picture("INBOX"), "?") || b.noted() != "" {
		t.Fatal(b.picture("INBOX"), b.noted())
	}
}

// Much that is expunged is given back without being asked for.
func TestPurgeByItself(t *testing.T) {
	b := newBed(t, func(o *pack.Options) { o.DeadSize = 10 << 10 })
	inbox, box := b.setUp()
	// Packed files have every number up to the last until one goes.
	deadline := time.Now().Add(20 * time.Second)
	gone := func() bool {
		f := b.files("mail")
		return f[len(f)-1] > fmt.Sprintf("%08x.pack", len(f))
	}
	for !gone() && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	b.must(b.s.Close())
	if !gone() {
		t.Fatalf("no packed file went: %q\n%s", b.files("mail"), b.noted())
	}
	b.start()
	b.still("afterwards", inbox, box)
}

// A purge that the power cuts anywhere loses nothing.
func TestPurgePowerCut(t *testing.T) {
	b := newBed(t, func(o *pack.Options) { o.AltPath = "alt" })
	b.must(b.disk.Mkdir("alt", 0o700))
	inbox, box := b.setUp()
	b.must(b.s.Close())
	b.clock.Jump(100 * 24 * time.Hour)
	origin := b.disk.Survive(memfs.Kept, 0)
	for k := 1; ; k++ {
		for seed := range uint64(4) {
			fate := []memfs.Fate{memfs.Lost, memfs.Kept, memfs.Torn, memfs.Torn}[seed]
			f := faultfs.New(origin.Survive(memfs.Kept, 0))
			f.CutAfter(k, fate, seed)
			o := b.opt
			o.FS = f
			if s, err := pack.Open(o); err == nil {
				s.Purge(context.Background(), nil)
				s.Close()
			}
			done := !f.Dead()
			b.disk = f.Survivor(fate, seed)
			b.opt.FS = b.disk
			b.start()
			b.still(fmt.Sprintf("cut after change %d, seed %d", k, seed), inbox, box)
			b.must(b.s.Close())
			if done && seed == 3 {
				if k < 10 {
					t.Fatalf("a purge is %d changes", k)
				}
				b.start()
				return
			}
		}
	}
}

// Old files go to the second tier and are read from there.
func TestAltPath(t *testing.T) {
	b := newBed(t, func(o *pack.Options) { o.AltPath = "alt" })
	b.must(b.disk.Mkdir("alt", 0o700))
	inbox, box := b.setUp()
	_, err := b.s.Purge(context.Background(), nil)
	b.must(err)
	if n := b.files("alt"); len(n) != 0 {
		t.Fatal("new mail went to the second tier:", n)
	}
	b.clock.Jump(31 * 24 * time.Hour)
	_, err = b.s.Purge(context.Background(), nil)
	b.must(err)
	alt := b.files("alt")
	if len(alt) == 0 || len(b.files("mail")) == 0 {
		t.Fatal(alt, b.files("mail"))
	}
	b.still("with old mail in the second tier", inbox, box)
	b.fill("INBOX", 100, 101)
	mb := b.open("INBOX")
	_, err = mb.Expunge(numset.Span(1, 1<<32-1))
	b.must(err)
	b.must(mb.Close())
	freed, err := b.s.Purge(context.Background(), nil)
	b.must(err)
	if freed == 0 {
		t.Fatal("nothing was freed in the second tier")
	}
	b.restart()
	if got := b.picture("box"); got != box {
		t.Fatal(got)
	}
}

// Without its journal, its checkpoints or both a store is made anew of what is left.
func TestRebuild(t *testing.T) {
	for _, c := range []struct {
		name              string
		journal, boxes    bool
		exactIn, exactBox bool
	}{
		{"Checkpoints", false, true, false, false},
		{"Journal", true, false, true, true},
		{"All", true, true, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(t, nil)
			inbox, box := b.setUp()
			_, err := b.s.Purge(context.Background(), nil) // a checkpoint of everything
			b.must(err)
			b.must(b.s.Close())
			if c.journal {
				b.must(b.disk.Remove("mail/rookery-pack-journal"))
			}
			if c.boxes {
				var names []string
				b.must(b.disk.ReadDir("mail/rookery-pack-boxes", func(e vfs.DirEntry) bool { names = append(names, e.Name); return true }))
				for _, n := range names {
					b.must(b.disk.Remove("mail/rookery-pack-boxes/" + n))
				}
			}
			b.must(dropIndex(b.disk))
			b.start()
			if c.exactIn {
				b.still("without "+c.name, inbox, box)
			} else {
				// What lives is there with its UID and its flags at arrival; copies live in control files alone.
				got := b.picture("INBOX")
				for _, uid := range []string{"2=m1/1", "42=m41/9", "60=m59/27"} {
					if !strings.Contains(got, uid) {
						t.Errorf("INBOX shows %s: no %s", got, uid)
					}
				}
				if strings.Contains(got, "?") || strings.Contains(got, "WRONG") {
					t.Error(got)
				}
			}
			if b.noted() == "" {
				t.Error("nobody was told")
			}
			mb := b.open("INBOX")
			next := mb.Snapshot().UIDNext()
			b.must(mb.Close())
			if c.journal && next < 61+1<<20 || next < 61 {
				t.Error("UIDNEXT is", next)
			}
			b.fill("INBOX", 200, 201)
			if got := b.picture("INBOX"); !strings.Contains(got, fmt.Sprintf("%d=m200/", next)) {
				t.Error(got)
			}
		})
	}
}

// A damaged octet anywhere never shows a message as another, and hides no more
// than the records that it hit.
func TestDamage(t *testing.T) {
	b := newBed(t, func(o *pack.Options) { o.JournalSize = 1 << 20 })
	inbox, _ := b.setUp()
	b.must(b.s.Close())
	b.must(dropIndex(b.disk))
	good := strings.Fields(strings.ReplaceAll(inbox, "[late]", ""))
	origin := b.disk
	for _, name := range append(b.files("mail"), "rookery-pack-journal") {
		info, err := origin.Stat("mail/" + name)
		b.must(err)
		for off := int64(0); off < info.Size; off += 97 {
			b.disk = origin.Survive(memfs.Kept, 0)
			f, err := b.disk.OpenFile("mail/"+name, vfs.Read|vfs.Write, 0)
			b.must(err)
			var was [1]byte
			f.ReadAt(was[:], off)
			was[0] ^= 0x5A
			_, err = f.WriteAt(was[:], off)
			b.must(err)
			f.Close()
			b.opt.FS = b.disk
			b.start()
			got := b.picture("INBOX")
			if strings.Contains(got, "WRONG") {
				t.Fatalf("%s damaged at %d: %s", name, off, got)
			}
			if strings.HasSuffix(name, ".pack") && off >= 64 {
				lost := 0
				for _, g := range good {
					if id, _, _ := strings.Cut(g, "/"); !strings.Contains(got, id+"/") {
						lost++
					}
				}
				if lost > 1 {
					t.Fatalf("%s damaged at %d: %d messages are lost: %s\n%s", name, off, lost, got, b.noted())
				}
			}
			b.must(b.s.Close())
		}
	}
	b.disk, b.opt.FS = origin, origin
	b.start()
}

// Verify names what is damaged, and mends it only when asked.
func TestVerify(t *testing.T) {
	b := newBed(t, nil)
	b.setUp()
	_, err := b.s.Purge(context.Background(), nil)
	b.must(err)
	look := func(name string, repair bool) string {
		t.Helper()
		var out []string
		b.must(b.s.Verify(context.Background(), name, repair, func(f mailstore.Finding) {
			if f.Text == "" || f.Remedy == "" || f.Mailbox != name {
				t.Errorf("%+v", f)
			}
			out = append(out, fmt.Sprintf("%s:%v", f.Kind, f.Repaired))
		}))
		return strings.Join(out, " ")
	}
	for _, n := range []string{"", "INBOX", "box"} {
		if got := look(n, true); got != "" {
			t.Fatalf("%q: %s", n, got)
		}
	}
	b.kind(b.s.Verify(context.Background(), "nowhere", false, nil), errkind.NotFound)
	// One message's octets, one left-over, one checkpoint.
	path := "mail/" + b.files("mail")[0]
	data, err := vfs.ReadFile(b.disk, path, 1<<20)
	b.must(err)
	at := strings.Index(string(data), "line of the message 1\r\n")
	f, err := b.disk.OpenFile(path, vfs.Read|vfs.Write, 0)
	b.must(err)
	_, err = f.WriteAt([]byte("LINE"), int64(at))
	b.must(err)
	f.Close()
	f, err = b.disk.OpenFile("mail/00000001.pack.new77", vfs.Write|vfs.Create, 0o600)
	b.must(err)
	f.Close()
	for _, repair := range []bool{false, true} {
		if got, want := look("", repair), fmt.Sprintf("left-over:%v", repair); got != want {
			t.Fatal(got)
		}
		if got, want := look("INBOX", repair), fmt.Sprintf("message-damaged:%v", repair); got != want {
			t.Fatal(got)
		}
	}
	if got := look("", false) + look("INBOX", false); got != "" {
		t.Fatal("after the repair:", got)
	}
	if got := b.picture("INBOX"); strings.Contains(got, "m1/") || strings.Contains(got, "?") {
		t.Fatal(got)
	}
	info := b.open("box").Info()
	b.must(b.disk.Remove(fmt.Sprintf("mail/rookery-pack-boxes/%x", info.GUID)))
	if got := look("box", false); got != "checkpoint-damaged:false" {
		t.Fatal(got)
	}
	if got := look("box", true); !strings.HasPrefix(got, "checkpoint-damaged:true") {
		t.Fatal(got)
	}
	if got := look("box", false); got != "" {
		t.Fatal(got)
	}
}

// A mailbox is restored with the identity that its clients know.
func TestRestore(t *testing.T) {
	b := newBed(t, nil)
	id := mailstore.Identity{UIDValidity: 77, UIDNext: 500, GUID: mailstore.GUID{9, 8, 7}, HighestModSeq: 1 << 51}
	for _, name := range []string{"INBOX", "new/box"} {
		b.must(b.s.Restore(name, id))
		id.GUID[0]++
		id.UIDValidity++
	}
	b.kind(b.s.Restore("other", mailstore.Identity{UIDValidity: 5, UIDNext: 1, GUID: mailstore.GUID{9, 8, 7}}), errkind.Invalid)
	b.kind(b.s.Restore("other", mailstore.Identity{UIDValidity: 0, UIDNext: 1}), errkind.Invalid)
	mb := b.open("new/box")
	if i := mb.Info(); i.UIDValidity != 78 || i.GUID != (mailstore.GUID{10, 8, 7}) {
		t.Fatalf("%+v", i)
	}
	a, err := b.s.Append("new/box")
	b.must(err)
	meta := mailstore.AppendMeta{UID: 600, UIDL: "old-uidl", Order: 3, GUID: mailstore.GUID{4}, SaveDate: time.Unix(1e9, 0), InternalDate: time.Unix(9e8, 0)}
	w, err := a.Add(meta, -1)
	b.must(err)
	w.Write([]byte(textOf(1)))
	r, err := a.Commit()
	b.must(err)
	if r.UIDs[0] != 600 {
		t.Fatal(r)
	}
	a, err = b.s.Append("new/box")
	b.must(err)
	w, err = a.Add(mailstore.AppendMeta{UID: 600}, -1)
	b.must(err)
	w.Write([]byte(textOf(1)))
	_, err = a.Commit()
	b.kind(err, errkind.Invalid)
	check := func() {
		t.Helper()
		f, err := mb.Facts(600, mailstore.FactsWant{UIDL: true, GUID: true})
		b.must(err)
		if f.UIDL != "old-uidl" || f.Order != 3 || f.GUID != meta.GUID || !f.SaveDate.Equal(meta.SaveDate) || !f.InternalDate.Equal(meta.InternalDate) {
			t.Fatalf("%+v", f)
		}
		if m := mb.Snapshot().HighestModSeq(); m <= 1<<51 {
			t.Fatal("MODSEQ", m)
		}
	}
	check()
	b.kind(b.s.Restore("new/box", id), errkind.Exists)
	b.must(dropIndex(b.disk))
	b.restart()
	mb = b.open("new/box")
	check()
	v, err := b.s.Renew("new/box")
	b.must(err)
	_, err = mb.Sync()
	b.kind(err, errkind.NotFound)
	mb = b.open("new/box")
	if i := mb.Info(); i.UIDValidity != v || v <= 78 || mb.Snapshot().Len() != 1 {
		t.Fatalf("%+v", i)
	}
	_, err = b.s.Renew("nowhere")
	b.kind(err, errkind.NotFound)
}

// Ten deliveries that wait at the same time share a sync, whatever their mailboxes.
func TestGroupCommit(t *testing.T) {
	b := newBed(t, func(o *pack.Options) { o.Step, o.PackSize, o.JournalSize, o.MaxTail = 1<<20, 1<<20, 1<<20, 1<<20 })
	b.must(b.s.Close())
	f := faultfs.New(b.disk)
	slow := &slowSync{FS: f}
	b.opt.FS = slow
	b.start()
	for i := range 10 {
		_, err := b.s.Create(fmt.Sprint("b", i), 0)
		b.must(err)
		b.fill(fmt.Sprint("b", i), 0, 1)
	}
	f.Trace(true)
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			for range 10 {
				if err := add(b.s, fmt.Sprint("b", i), []byte(textOf(i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	syncs := 0
	for _, l := range f.Traced() {
		if strings.Contains(l, "sync") {
			syncs++
		}
	}
	if syncs > 50 {
		t.Errorf("%d syncs for 100 deliveries", syncs)
	}
}

// slowSync makes a data sync take a moment, so that others come meanwhile.
type slowSync struct{ vfs.FS }

func (s *slowSync) OpenFile(path string, flag vfs.Flag, perm fs.FileMode) (vfs.File, error) {
	f, err := s.FS.OpenFile(path, flag, perm)
	if err != nil {
		return nil, err
	}
	return slowFile{f}, nil
}

type slowFile struct{ vfs.File }

func (f slowFile) DataSync() error {
	time.Sleep(2 * time.Millisecond)
	return f.File.DataSync()
}

// How many syncs each way of mail_fsync pays.
func TestFsync(t *testing.T) {
	for _, c := range []struct {
		way             pack.Fsync
		add, flag, copy int
	}{{pack.Optimized, 1, 0, 1}, {pack.Always, 1, 1, 1}, {pack.Never, 0, 0, 0}} {
		b := newBed(t, func(o *pack.Options) { o.Step, o.PackSize, o.JournalStep, o.JournalSize = 1<<20, 1<<20, 1<<20, 1<<20 })
		b.must(b.s.Close())
		f := faultfs.New(b.disk)
		b.opt.FS, b.opt.Fsync = f, c.way
		b.start()
		b.fill("INBOX", 0, 2)
		mb := b.open("INBOX")
		count := func(what string, want int, do func()) {
			t.Helper()
			f.Trace(true)
			before := len(f.Traced())
			do()
			n := 0
			for _, l := range f.Traced()[before:] {
				if strings.Contains(l, "sync") {
					n++
				}
			}
			if n != want {
				t.Errorf("way %d: %s takes %d syncs, want %d", c.way, what, n, want)
			}
		}
		count("an append", c.add, func() { b.fill("INBOX", 2, 3) })
		count("a flag change", c.flag, func() {
			_, err := mb.Store(mailstore.FlagChange{UIDs: numset.Of(1), Op: mailstore.AddFlags, Flags: mailstore.Deleted})
			b.must(err)
		})
		count("an expunge", c.flag, func() {
			_, err := mb.Expunge(numset.Of(1))
			b.must(err)
		})
		count("a copy", c.copy, func() {
			_, err := mb.Copy(numset.Of(2, 3), "INBOX")
			b.must(err)
		})
		b.must(mb.Close())
	}
}

// Compressed messages are the same messages, and take less room.
func TestCompress(t *testing.T) {
	b := newBed(t, func(o *pack.Options) { o.Compress, o.PackSize = true, 1<<20 })
	big := strings.Repeat(textOf(5), 3000)
	for _, text := range []string{textOf(1), big, "Subject: short\r\n\r\n"} {
		b.must(add(b.s, "INBOX", []byte(text)))
	}
	check := func() {
		t.Helper()
		mb := b.open("INBOX")
		defer mb.Close()
		for i, want := range []string{textOf(1), big, "Subject: short\r\n\r\n"} {
			got, err := read(mb, uint32(i+1))
			b.must(err)
			f, err := mb.Facts(uint32(i+1), mailstore.FactsWant{Size: true})
			b.must(err)
			if got != want || f.Size != int64(len(want)) {
				t.Fatalf("message %d has %d octets, %d by its facts, want %d", i+1, len(got), f.Size, len(want))
			}
		}
		m, err := mb.Message(2)
		b.must(err)
		defer m.Close()
		part := make([]byte, 100)
		if n, err := m.ReadAt(part, 1_000_000); n != 100 || err != nil || string(part) != big[1_000_000:1_000_100] {
			t.Fatal(n, err)
		}
	}
	check()
	if i, err := b.disk.Stat("mail/00000001.pack"); err != nil || i.Size > 200<<10 {
		t.Fatal("the packed file has", i.Size, err)
	}
	b.must(dropIndex(b.disk))
	b.opt.Compress = false
	b.restart()
	check()
}

// A user with one packed file gets the space of what he expunged back, too.
func TestPurgeSmall(t *testing.T) {
	b := newBed(t, func(o *pack.Options) { o.PackSize = 64 << 20 })
	b.fill("INBOX", 0, 40)
	if n := len(b.files("mail")); n != 1 {
		t.Fatal(n)
	}
	mb := b.open("INBOX")
	defer mb.Close()
	_, err := mb.Expunge(numset.Span(2, 39))
	b.must(err)
	want := b.picture("INBOX")
	freed, err := b.s.Purge(context.Background(), nil)
	b.must(err)
	if freed < 30*int64(len(textOf(1))) {
		t.Fatal("freed", freed)
	}
	if got := b.picture("INBOX"); got != want {
		t.Fatal(got, want)
	}
	b.fill("INBOX", 50, 51)
	want = b.picture("INBOX")
	b.must(dropIndex(b.disk))
	b.restart()
	if got := b.picture("INBOX"); got != want || b.noted() != "" {
		t.Fatal(got, want, b.noted())
	}
}
