package index

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
)

// factOf is what a test keeps of a message: so that a wrong one is seen.
func factOf(uid uint32, field string) string {
	return fmt.Sprint(uid, "/", field, "/", string(make([]byte, uid%300)))
}

// mailboxOf fills a mailbox with messages from first on.
func mailboxOf(t testing.TB, p *process, first uint32, n int) {
	t.Helper()
	p.lock()
	defer p.u.Unlock()
	tx, err := p.boxes[0].Begin()
	if err != nil {
		t.Fatal(err)
	}
	tx.Validity(5)
	for i := range n {
		if err := tx.Add(Record{UID: first + uint32(i), Size: 1}); err != nil {
			t.Fatal(err)
		}
	}
	tx.Commit()
}

// keep asks for facts and puts in what is missing, as a worker does.
func (p *process) keep(t testing.TB, uids []uint32, fields ...string) (hits int) {
	t.Helper()
	b := p.boxes[0]
	for _, u := range uids {
		for _, f := range fields {
			v, ok := b.Cached(u, f)
			if a, found := b.AppendCached([]byte("before "), u, f); found != ok && ok || string(a) != "before "+string(v) && ok || !found && string(a) != "before " {
				t.Fatalf("message %d has %q for %s, but %q, %v, by AppendCached", u, v, f, a, found)
			}
			switch {
			case !ok:
				b.PutCached(u, f, []byte(factOf(u, f)))
			case string(v) != factOf(u, f):
				t.Fatalf("message %d has %q for %s", u, v, f)
			default:
				hits++
			}
		}
	}
	return hits
}

func span(first, n uint32) (list []uint32) {
	for i := range n {
		list = append(list, first+i)
	}
	return list
}

func TestCache(t *testing.T) {
	w := newWorld(t, 1, 1)
	p := w.start(w.mem, w.options(nil))
	mailboxOf(t, p, 100, 3000)
	uids := span(100, 3000)
	if p.boxes[0].PutCached(100, "NOBODY", []byte("x")); len(p.boxes[0].facts.pending) != 0 {
		t.Fatal("a field was kept that nobody asked for")
	}
	if p.keep(t, uids, "A", "B") != 0 {
		t.Fatal("facts out of nothing")
	}
	if n := p.keep(t, uids, "A", "B"); n != 6000 {
		t.Fatalf("%d of 6000 facts are kept", n)
	}
	p.stop()
	p, q := w.start(w.mem, w.options(nil)), w.start(w.mem, w.options(nil))
	if got := p.boxes[0].CachedFields(); !slices.Equal(got, []string{"A", "B"}) {
		t.Fatal(got)
	}
	if n := p.keep(t, uids, "A", "B"); n != 6000 {
		t.Fatalf("%d of 6000 facts are kept after a restart", n)
	}
	// What one process finds out, the other has; more fields than there is room
	// for make a wider file.
	p.keep(t, uids, "C", "D")
	p.boxes[0].facts.mu.Lock()
	p.boxes[0].facts.flush()
	p.boxes[0].facts.mu.Unlock()
	if n := q.keep(t, uids, "C", "D"); n != 6000 {
		t.Fatalf("the other process has %d of 6000", n)
	}
	q.keep(t, uids[:9], "E")
	q.u.Compact()
	q.keep(t, uids, "E", "F")
	q.stop()
	q = w.start(w.mem, w.options(nil))
	if n := q.keep(t, uids, "A", "B", "C", "D", "E", "F"); n != 6*3000 {
		t.Fatalf("%d of 18000 facts are kept", n)
	}
	if n := p.keep(t, uids, "A", "D"); n != 6000 {
		t.Fatalf("a process with the old file has %d of 6000", n)
	}
	p.stop()
	q.stop()
	// A month later only what is asked for stays.
	w.now = w.now.Add(20 * 24 * time.Hour)
	p = w.start(w.mem, w.options(nil))
	p.keep(t, uids[:10], "B")
	p.stop()
	w.now = w.now.Add(20 * 24 * time.Hour)
	p = w.start(w.mem, w.options(nil))
	before := w.size("dir0/" + cacheFile)
	if got := p.boxes[0].CachedFields(); !slices.Equal(got, []string{"B"}) {
		t.Fatal(got)
	}
	p.u.Compact()
	if after := w.size("dir0/" + cacheFile); after > before/3 {
		t.Fatalf("%d bytes of %d are left", after, before)
	}
	if n := p.keep(t, uids, "A", "B"); n != 3000 {
		t.Fatalf("%d facts are left", n)
	}
	p.stop()
}

func (w *world) size(path string) int64 {
	info, err := w.mem.Stat(path)
	if err != nil {
		w.t.Fatal(err)
	}
	return info.Size
}

// TestCacheDamage shows that damage is a miss and never another message's fact.
func TestCacheDamage(t *testing.T) {
	for seed := range uint64(30) {
		w := newWorld(t, seed, 1)
		r := rand.New(rand.NewPCG(seed, 3))
		p := w.start(w.mem, w.options(nil))
		mailboxOf(t, p, 1, 400)
		p.keep(t, span(1, 400), "A", "B")
		p.stop()
		p = w.start(w.mem, w.options(nil))
		olds := map[string][]byte{}
		for range 8 {
			path := "dir0/" + cacheFile
			data, err := vfs.ReadFile(w.mem, path, 1<<30)
			if err == nil {
				olds[path] = data
				for range 1 + r.IntN(3) {
					w.damageFile(path, data, olds)
				}
			}
			p.keep(t, span(1+uint32(r.IntN(300)), 100), "A", "B", "C")
			if r.IntN(2) == 0 {
				p.u.Compact()
			}
			if r.IntN(3) == 0 {
				p.stop()
				p = w.start(w.mem, w.options(nil))
			}
			w.now = w.now.Add(time.Minute)
		}
		p.stop()
	}
}

// TestCacheOfAnotherMailbox shows that facts die with UIDVALIDITY.
func TestCacheOfAnotherMailbox(t *testing.T) {
	w := newWorld(t, 1, 1)
	p := w.start(w.mem, w.options(nil))
	mailboxOf(t, p, 1, 50)
	p.keep(t, span(1, 50), "A")
	p.stop()
	p = w.start(w.mem, w.options(nil))
	if n := p.keep(t, span(1, 50), "A"); n != 50 {
		t.Fatalf("%d facts are kept", n)
	}
	p.lock()
	p.boxes[0].Reset("test")
	tx, _ := p.boxes[0].Begin()
	tx.Validity(6)
	tx.Add(Record{UID: 1, Size: 1})
	tx.Commit()
	p.u.Unlock()
	if v, ok := p.boxes[0].Cached(1, "A"); ok {
		t.Fatalf("the fact of another message: %q", v)
	}
	p.stop()
}

// TestCacheOnDisk uses real mappings.
func TestCacheOnDisk(t *testing.T) {
	_, u, box := filled(t, 5000)
	w := &world{t: t}
	p := &process{w: w, u: u, boxes: []*Box{box}}
	q, err := Open(Options{FS: u.opt.FS, NoBackground: true})
	if err != nil {
		t.Fatal(err)
	}
	b2, err := q.Box(mailstore.GUID{1}, "box")
	if err != nil {
		t.Fatal(err)
	}
	p2 := &process{w: w, u: q, boxes: []*Box{b2}}
	p.keep(t, span(1, 2500), "ENVELOPE")
	p2.keep(t, span(2501, 2500), "ENVELOPE", "X")
	box.facts.mu.Lock()
	box.facts.flush()
	box.facts.mu.Unlock()
	b2.facts.mu.Lock()
	b2.facts.flush()
	b2.facts.mu.Unlock()
	box.facts.checked, b2.facts.checked = time.Time{}, time.Time{}
	if a, b := p.keep(t, span(1, 5000), "ENVELOPE"), p2.keep(t, span(1, 5000), "ENVELOPE"); a != 5000 || b != 5000 {
		t.Fatalf("%d and %d of 5000 facts", a, b)
	}
	// A file that is cut while it is mapped is a miss.
	f, err := u.opt.FS.OpenFile("box/"+cacheFile, vfs.Read|vfs.Write, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Truncate(0)
	f.Close()
	if n := p.keep(t, span(1, 5000), "ENVELOPE"); n != 0 {
		t.Fatalf("%d facts of an empty file", n)
	}
	p.stop()
	p2.stop()
}

func FuzzCache(f *testing.F) {
	w := newWorld(f, 1, 1)
	p := w.start(w.mem, w.options(nil))
	mailboxOf(f, p, 1, 3)
	p.keep(f, span(1, 3), "A", "B")
	p.stop()
	good, err := vfs.ReadFile(w.mem, "dir0/"+cacheFile, 1<<20)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, 0, byte(0))
	f.Add(good, slotsOff, byte(7))
	f.Add(good[:len(good)-3], len(good)-40, byte(1))
	f.Fuzz(func(t *testing.T, data []byte, at int, x byte) {
		if at >= 0 && at < len(data) {
			data = slices.Clone(data)
			data[at] ^= x
		}
		mem := memfs.New(memfs.Options{})
		file, _ := mem.OpenFile("c", vfs.Write|vfs.Create, 0o600)
		file.WriteAt(data, 0)
		file.Close()
		c := openCache(mem, "c", mailstore.GUID{1}, 5)
		if c == nil {
			return
		}
		for uid := range uint32(5) {
			for no, name := range c.names {
				if v, ok := c.lookup(uid, no%int(c.width)); ok && x != 0 && at < len(good) && name != "" && len(v) > maxFact {
					t.Fatal("a fact that is too long")
				}
			}
		}
		c.close()
	})
}
