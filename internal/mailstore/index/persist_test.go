package index

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
)

// world is a disk, what is true of the mailboxes on it, and processes.
type world struct {
	t     testing.TB
	r     *rand.Rand
	mem   *memfs.FS
	now   time.Time
	boxes []*modelBox
	notes []string
	built int // how often a mailbox was filled anew
}

type process struct {
	w     *world
	u     *User
	boxes []*Box
}

func newWorld(t testing.TB, seed uint64, boxes int) *world {
	w := &world{t: t, r: rand.New(rand.NewPCG(seed, 2)), now: time.Unix(1_700_000_000, 0)}
	w.mem = memfs.New(memfs.Options{Now: func() time.Time { return w.now }})
	for range boxes {
		m := newModel()
		w.boxes = append(w.boxes, m)
	}
	return w
}

func (w *world) options(fs vfs.FS) Options {
	return Options{FS: fs, LogDir: "log", MaxLog: 4 << 10, NoBackground: true, Note: func(s string) { w.notes = append(w.notes, s) }}
}

func (w *world) start(fs vfs.FS, o Options) *process {
	w.t.Helper()
	o.FS = fs
	u, err := Open(o)
	if err != nil {
		w.t.Fatal(err)
	}
	p := &process{w: w, u: u}
	for i := range w.boxes {
		b, err := u.Box(mailstore.GUID{byte(i + 1)}, fmt.Sprint("dir", i))
		if err != nil {
			w.t.Fatal(err)
		}
		p.boxes = append(p.boxes, b)
	}
	return p
}

func (p *process) stop() {
	for _, b := range p.boxes {
		b.Close()
	}
	if err := p.u.Close(); err != nil {
		p.w.t.Fatal(err)
	}
}

// look is what a driver does at a Sync: it trusts a view whose State is the
// disk's, and else fills the mailbox anew.
func (p *process) look(i int) *View {
	p.w.t.Helper()
	b, m := p.boxes[i], p.w.boxes[i]
	v, err := b.Follow()
	if err != nil {
		p.w.t.Fatal(err)
	}
	if !v.Built() || v.State() != m.state {
		p.lock()
		v = p.fill(i)
		p.u.Unlock()
	}
	if uint64(v.HighestModSeq()) < m.high {
		p.w.t.Fatalf("HIGHESTMODSEQ went from %d to %d", m.high, v.HighestModSeq())
	}
	return v
}

func (p *process) lock() {
	p.w.t.Helper()
	if err := p.u.Lock(time.Minute); err != nil {
		p.w.t.Fatal(err)
	}
}

// fill fills the mailbox anew if it must be, under the lock.
func (p *process) fill(i int) *View {
	b, m := p.boxes[i], p.w.boxes[i]
	v := b.View()
	if v.Built() && v.State() == m.state {
		return v
	}
	if v.Built() {
		b.Reset("its state is not the disk's")
	}
	p.w.built++
	tx, err := b.Begin()
	if err != nil {
		p.w.t.Fatal(err)
	}
	for k := range m.recs {
		r := m.recs[k]
		names := v.Keywords(r.Keywords)
		if r.Keywords != 0 {
			names = m.names[r.Keywords]
		}
		set, _ := tx.KeywordSet(names)
		r.Keywords, r.ModSeq = set, 0
		if err := tx.Add(r); err != nil {
			p.w.t.Fatal(err)
		}
		m.recs[k].Keywords, m.recs[k].ModSeq = set, tx.ModSeq()
	}
	m.names = map[uint32][]string{}
	tx.Validity(m.validity)
	tx.Next(m.next)
	tx.State(m.state)
	v = tx.Commit()
	m.learnNames(v)
	m.expunged = map[uint32]uint64{}
	if uint64(v.HighestModSeq()) <= m.high {
		p.w.t.Fatalf("a mailbox built anew has HIGHESTMODSEQ %d, before it was %d", v.HighestModSeq(), m.high)
	}
	m.high = uint64(v.HighestModSeq())
	return v
}

func (m *modelBox) learnNames(v *View) {
	if m.names == nil {
		m.names = map[uint32][]string{}
	}
	for n, names := range v.Sets() {
		m.names[uint32(n)] = names
	}
}

// change makes one random transaction.
func (p *process) change(i int) *View {
	p.w.t.Helper()
	p.lock()
	defer p.u.Unlock()
	p.fill(i)
	m := p.w.boxes[i]
	v := m.step(p.w.t, p.w.r, p.boxes[i])
	m.learnNames(v)
	return v
}

func (p *process) check(i int) {
	p.w.t.Helper()
	v := p.look(i)
	// A damaged record is found when it is read, and the mailbox is filled anew then.
	for v.Each(0, func(int, Record) bool { return true }); !p.boxes[i].View().Built(); {
		v = p.look(i)
		v.Each(0, func(int, Record) bool { return true })
	}
	p.w.boxes[i].check(p.w.t, v)
	p.w.boxes[i].checkHistory(p.w.t, v, uint64(v.floor))
}

// TestTwoProcesses shows that processes see each other's changes, whichever of
// them compacts, ends and begins meanwhile.
func TestTwoProcesses(t *testing.T) {
	for seed := range uint64(8) {
		w := newWorld(t, seed, 3)
		ps := []*process{w.start(w.mem, w.options(nil)), w.start(w.mem, w.options(nil))}
		for range 300 {
			w.now = w.now.Add(time.Millisecond)
			p, i := ps[w.r.IntN(2)], w.r.IntN(3)
			switch w.r.IntN(20) {
			case 0:
				if err := p.u.Compact(); err != nil && !errors.Is(err, errNothing) {
					t.Fatal(err)
				}
			case 1:
				k := w.r.IntN(2)
				ps[k].stop()
				ps[k] = w.start(w.mem, w.options(nil))
			case 2, 3, 4, 5:
				p.check(i)
			default:
				p.change(i)
			}
		}
		for i := range w.boxes {
			ps[0].check(i)
			ps[1].check(i)
		}
		if w.built != len(w.boxes) {
			t.Fatalf("mailboxes were built %d times: %q", w.built, w.notes)
		}
		ps[0].stop()
		ps[1].stop()
	}
}

// indexFiles are all that a test may damage.
func (w *world) indexFiles() []string {
	list := []string{"log/" + logFile}
	for i := range w.boxes {
		list = append(list, fmt.Sprintf("dir%d/%s", i, snapFile), fmt.Sprintf("dir%d/%s", i, cacheFile))
	}
	return list
}

// damage does something to a random file of the index.
func (w *world) damage(olds map[string][]byte) {
	list := w.indexFiles()
	path := list[w.r.IntN(len(list))]
	data, err := vfs.ReadFile(w.mem, path, 1<<30)
	if err != nil {
		return
	}
	w.damageFile(path, data, olds)
	olds[path] = data
}

// damageFile damages a file of which data is what it has.
func (w *world) damageFile(path string, data []byte, olds map[string][]byte) {
	f, err := w.mem.OpenFile(path, vfs.Read|vfs.Write, 0)
	if err != nil {
		return
	}
	defer f.Close()
	kind := w.r.IntN(6)
	switch kind {
	case 0:
		w.mem.Remove(path)
	case 1:
		f.Truncate(int64(w.r.IntN(len(data) + 1)))
	case 2: // noise all over
		noise := make([]byte, len(data))
		for i := range noise {
			noise[i] = byte(w.r.Uint32())
		}
		f.WriteAt(noise, 0)
	case 3: // one byte
		if len(data) > 0 {
			at := w.r.IntN(len(data))
			f.WriteAt([]byte{data[at] ^ byte(1+w.r.IntN(255))}, int64(at))
		}
	case 4: // an older version, in place
		if old := olds[path]; old != nil {
			f.Truncate(0)
			f.WriteAt(old, 0)
		}
	case 5: // an older version, as another file
		if old := olds[path]; old != nil {
			n, _ := w.mem.OpenFile("tmp", vfs.Write|vfs.Create|vfs.Trunc, 0o600)
			n.WriteAt(old, 0)
			n.Close()
			w.mem.Rename("tmp", path)
		}
	}
}

// TestDamage shows that whatever happens to the index's files, also while they
// are in use, pictures stay right and HIGHESTMODSEQ never goes down.
func TestDamage(t *testing.T) {
	for seed := range uint64(25) {
		w := newWorld(t, seed, 2)
		ps := []*process{w.start(w.mem, w.options(nil)), w.start(w.mem, w.options(nil))}
		olds := map[string][]byte{}
		for range 200 {
			w.now = w.now.Add(time.Second)
			pn, i := w.r.IntN(2), w.r.IntN(2)
			p, op := ps[pn], w.r.IntN(12)
			switch op {
			case 0, 1:
				w.damage(olds)
			case 2:
				p.u.Compact() // may well fail now
			case 3:
				k := w.r.IntN(2)
				ps[k].stop()
				if w.r.IntN(2) == 0 {
					w.damage(olds)
				}
				ps[k] = w.start(w.mem, w.options(nil))
			case 4, 5, 6:
				p.check(i)
			default:
				p.change(i)
			}
		}
		for i := range w.boxes {
			ps[0].check(i)
			ps[1].check(i)
		}
		ps[0].stop()
		ps[1].stop()
	}
}
