package journal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
	"rookery/internal/vfs/faultfs"
	"rookery/internal/vfs/memfs"
)

// The model remembers what was answered. Every record has a number of its own in
// Size, by which it is known again.
type model struct {
	t        *testing.T
	rnd      *rand.Rand
	procs    []*modelProc
	next     int64
	sent     map[int64]Record
	must     map[int64]bool // answered for
	mustNot  map[int64]bool // cancelled or refused, certainly
	certain  map[int64]bool // the callback has made it certain
	settled  map[int64]bool // and the mark was answered
	intents  map[int64]bool // open, begin answered
	finished map[int64]bool // IntentDone was begun
	n        notes
	exact    bool // no power cut while it ran: what was refused must not come
}

type modelProc struct {
	m     *model
	fault *faultfs.FS
	j     *Journal
	batch []int64 // settled by callbacks since the last answered checkpoint
	open  map[int64]uint64
}

func newModel(t *testing.T, seed uint64) *model {
	return &model{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), sent: map[int64]Record{}, must: map[int64]bool{}, mustNot: map[int64]bool{},
		certain: map[int64]bool{}, settled: map[int64]bool{}, intents: map[int64]bool{}, finished: map[int64]bool{}}
}

// run opens the processes and does steps until the power goes.
func (m *model) run(disk *memfs.FS, procs, steps int, prepare func(i int, f *faultfs.FS)) {
	for i := range procs {
		p := &modelProc{m: m, fault: faultfs.New(disk), open: map[int64]uint64{}}
		if prepare != nil {
			prepare(i, p.fault)
		}
		m.procs = append(m.procs, p)
		o := manual(p.fault, &m.n)
		o.Checkpoint = p.settle
		j, err := Open(o)
		if err == nil {
			err = j.Recover(func(r Record) error { m.t.Errorf("replayed %d from nothing", r.Size); return nil })
		}
		if err != nil {
			if m.dead() {
				return
			}
			if !m.exact {
				m.t.Fatal(err)
			}
			// Refused once; the user comes again.
			if j != nil {
				j.Close()
			}
			if j, err = Open(o); err == nil {
				err = j.Recover(func(Record) error { return nil })
			}
			if err != nil {
				m.t.Fatal(err)
			}
		}
		p.j = j
	}
	for range steps {
		p := m.procs[m.rnd.IntN(len(m.procs))]
		p.step()
		if m.dead() {
			return
		}
	}
}

func (m *model) dead() bool {
	return slices.ContainsFunc(m.procs, func(p *modelProc) bool { return p.fault.Dead() })
}

// settle is the callback: from here on the effects are certain.
func (p *modelProc) settle(recs []Record) error {
	if p.m.rnd.IntN(8) == 0 {
		return errkind.Newf("settle", errkind.InUse, "not now")
	}
	last := uint64(0)
	for _, r := range recs {
		if r.ID <= last || !r.Kind.Effect() {
			p.m.t.Errorf("the callback got ID %d of kind %d after %d", r.ID, r.Kind, last)
		}
		last = r.ID
		p.m.certain[r.Size] = true
		p.batch = append(p.batch, r.Size)
	}
	return nil
}

func (m *model) record(k Kind, size int) Record {
	m.next++
	r := Record{Kind: k, Box: mailstore.GUID{1}, UIDValidity: 1, Size: m.next}
	switch k {
	case Message:
		r.UID = uint32(m.next)
		r.Data = bytes.Repeat([]byte{byte(m.next)}, size)
	case Flags, Expunge:
		r.UIDs = numset.Of(uint32(m.next) + 1<<20)
	}
	m.sent[m.next] = r
	return r
}

func (p *modelProc) step() {
	switch n := p.m.rnd.IntN(20); {
	case n < 9:
		p.messages()
	case n < 12:
		p.soon()
	case n < 14:
		p.intent()
	case n == 14:
		r := p.m.record(Reservation, 0)
		p.answer(p.add(Unsynced, r))
	case n == 15:
		p.answer(p.j.Flush())
	case n == 16:
		p.batch = nil
		if err := p.j.Checkpoint(); err == nil {
			for _, s := range p.batch {
				p.m.settled[s] = true
			}
		} else if !errkind.Is(err, errkind.InUse) {
			p.answer(err)
		}
	default:
		p.cancelled()
	}
}

// answer checks that an error is one that the test has made.
func (p *modelProc) answer(err error) bool {
	if err == nil {
		return true
	}
	for _, k := range []error{faultfs.ErrDead, syscall.EIO, syscall.ENOSPC} {
		if errors.Is(err, k) {
			return false
		}
	}
	// Full, since the callback said no.
	if !errkind.Is(err, errkind.InUse) && !errkind.Is(err, errkind.Unavailable) {
		p.m.t.Errorf("%v (%v); injected %q", err, errkind.Of(err), p.fault.Failed())
	}
	return false
}

func (p *modelProc) add(class Sync, recs ...Record) error {
	k, err := p.j.Append(class, recs...)
	if err == nil {
		if err = k.Wait(); err == nil {
			k.Done()
		}
	}
	return err
}

func (p *modelProc) messages() {
	var recs []Record
	for range 1 + p.m.rnd.IntN(3) {
		recs = append(recs, p.m.record(Message, []int{10, 3000, 9000, 30000}[p.m.rnd.IntN(4)]))
	}
	ok := p.answer(p.add(Now, recs...))
	for _, r := range recs {
		if ok {
			p.m.must[r.Size] = true
		} else if p.m.exact {
			p.m.mustNot[r.Size] = true
		}
	}
}

func (p *modelProc) soon() {
	p.answer(p.add(Soon, p.m.record(Flags, 0)))
}

func (p *modelProc) intent() {
	for n, id := range p.open {
		if p.m.rnd.IntN(2) == 0 {
			p.answer(p.add(Now, Record{Kind: Step, Ref: id, Payload: []byte{7}}))
			return
		}
		p.m.finished[n] = true
		if p.answer(p.add(Now, Record{Kind: IntentDone, Ref: id})) {
			p.m.mustNot[n] = true
		}
		delete(p.open, n)
		delete(p.m.intents, n)
		return
	}
	r := p.m.record(Intent, 0)
	k, err := p.j.Append(Now, r)
	if err == nil {
		err = k.Wait()
	}
	if p.answer(err) {
		id, _ := k.IDs()
		p.open[r.Size], p.m.intents[r.Size] = id, true
	} else if p.m.exact {
		p.m.mustNot[r.Size] = true
	}
}

func (p *modelProc) cancelled() {
	a, b := p.m.record(Message, 100), p.m.record(Message, 5000)
	k, err := p.j.Append([]Sync{Now, Soon}[p.m.rnd.IntN(2)], a, b)
	if err == nil {
		err = k.Wait()
	}
	ok := p.answer(err)
	if ok {
		if p.m.rnd.IntN(2) == 0 {
			p.answer(p.j.Flush())
		}
		ok = p.answer(k.Cancel())
	} else {
		ok = p.m.exact
	}
	if ok {
		p.m.mustNot[a.Size], p.m.mustNot[b.Size] = true, true
	}
}

// after opens what a power cut left and compares; it gives the disk with the
// journal recovered.
func (m *model) after(disk *memfs.FS, what string) {
	m.t.Helper()
	var n notes
	got := map[int64]int{}
	o := manual(disk, &n)
	o.Checkpoint = func([]Record) error { return nil }
	last := uint64(0)
	j, err := Open(o)
	if err != nil {
		m.t.Fatalf("%s: %v", what, err)
	}
	err = j.Recover(func(r Record) error {
		got[r.Size]++
		m.check(what, r, last)
		last = r.ID
		return nil
	})
	if err != nil {
		m.t.Fatalf("%s: %v", what, err)
	}
	for s := range m.must {
		if got[s] == 0 && !m.certain[s] {
			m.t.Errorf("%s: %d was answered for and is lost", what, s)
		}
	}
	for s := range m.intents {
		if got[s] == 0 {
			m.t.Errorf("%s: intent %d is lost", what, s)
		}
	}
	for s, k := range got {
		if k > 1 {
			m.t.Errorf("%s: %d was replayed %d times", what, s, k)
		}
	}
	for _, s := range n {
		if bytes.Contains([]byte(s), []byte("cannot be read")) {
			m.t.Errorf("%s: %s", what, s)
		}
	}
	// The journal can be used again at once, and what was replayed is over.
	if err := (&modelProc{m: m, j: j}).add(Now, m.record(Message, 10)); err != nil {
		m.t.Errorf("%s: append: %v", what, err)
	}
	_, again := start(m.t, manual(disk.Survive(memfs.Lost, 5), &n))
	if len(again) != 1 || again[0].Size != m.next {
		m.t.Errorf("%s: replayed again: %v", what, again)
	}
}

func (m *model) check(what string, r Record, last uint64) {
	sent, ok := m.sent[r.Size]
	switch {
	case !ok:
		m.t.Errorf("%s: invented %+v", what, r)
	case r.ID <= last:
		m.t.Errorf("%s: ID %d after %d", what, r.ID, last)
	case sent.Kind != r.Kind || !bytes.Equal(sent.Data, r.Data) || sent.UID != r.UID || !sent.UIDs.Equal(r.UIDs):
		m.t.Errorf("%s: %d came back as another", what, r.Size)
	case m.mustNot[r.Size]:
		m.t.Errorf("%s: %d was refused, cancelled or finished and came back", what, r.Size)
	case m.settled[r.Size]:
		m.t.Errorf("%s: %d was settled and came back", what, r.Size)
	case r.SameBoot:
		m.t.Errorf("%s: %d is of another boot", what, r.Size)
	}
}

var fates = []memfs.Fate{memfs.Lost, memfs.Kept, memfs.Torn, memfs.Torn}

func TestPowerCuts(t *testing.T) {
	for seed := range uint64(4) {
		procs := 1 + int(seed%2)
		dry := newModel(t, seed)
		dry.run(memfs.New(memfs.Options{}), procs, 60, nil)
		total := 0
		for _, p := range dry.procs {
			total = max(total, p.fault.Changes())
		}
		step := 1
		if testing.Short() {
			step = 7
		}
		for k := 1; k <= total; k += step {
			for i, fate := range fates {
				if (i+k)%2 == 0 {
					continue // the other two come at the next change
				}
				m := newModel(t, seed)
				m.run(memfs.New(memfs.Options{}), procs, 60, func(p int, f *faultfs.FS) {
					if p == k%procs {
						f.CutAfter(k, fate, uint64(k*10+i))
					}
				})
				if m.dead() {
					what := fmt.Sprintf("seed %d, change %d, fate %d.%d", seed, k, fate, i)
					m.after(m.procs[k%procs].fault.Survivor(fate, 0), what)
				}
				if t.Failed() {
					return
				}
			}
		}
	}
}

// A power cut while the journal is recovered repeats the recovery.
func TestPowerCutsInRecovery(t *testing.T) {
	m := newModel(t, 11)
	disk := memfs.New(memfs.Options{})
	m.run(disk, 1, 50, nil)
	for i, fate := range fates {
		left := disk.Survive(fate, uint64(i))
		for k := 1; k < 8; k++ {
			p := faultfs.New(left.Survive(memfs.Kept, 0))
			p.CutAfter(k, fate, uint64(k))
			var n notes
			o := manual(p, &n)
			o.Checkpoint = func(recs []Record) error {
				for _, r := range recs {
					m.certain[r.Size] = true
				}
				return nil
			}
			m2 := *m
			m2.intents = nil // those were finished by the first recovery
			j, err := Open(o)
			if err == nil {
				err = j.Recover(func(r Record) error { m.check("recovery", r, 0); return nil })
			}
			if err == nil || p.Dead() {
				m2.after(p.Survivor(fate, 0), fmt.Sprintf("recovery cut after change %d, fate %d", k, fate))
			}
			if t.Failed() {
				return
			}
		}
	}
}

// Every operation of the disk fails once: the answers stay true.
func TestErrors(t *testing.T) {
	dry := newModel(t, 21)
	dry.run(memfs.New(memfs.Options{}), 1, 60, nil)
	step := 1
	if testing.Short() {
		step = 5
	}
	for k := 1; k <= dry.procs[0].fault.Ops(); k += step {
		m := newModel(t, 21)
		m.exact = true
		disk := memfs.New(memfs.Options{})
		m.run(disk, 1, 60, func(_ int, f *faultfs.FS) { f.FailAt(k, 1, []error{syscall.EIO, syscall.ENOSPC}[k%2]) })
		fate := fates[k%len(fates)]
		m.after(disk.Survive(fate, uint64(k)), fmt.Sprintf("operation %d (%s) failed, fate %d", k, m.procs[0].fault.Failed(), fate))
		if t.Failed() {
			return
		}
	}
}
