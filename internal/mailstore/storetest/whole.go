package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/vfs/faultfs"
	"rookery/internal/vfs/memfs"
)

// What takes several steps happens whole or not at all, wherever a crash cuts it:
// an APPEND, COPY or MOVE of several messages, small ones and ones that no journal
// takes in one piece, and the RENAME of a mailbox with its children. What was
// answered has happened. No message is there twice, none is lost, and no UID that
// was shown is another message's.

// wholeSizes are how many octets a message has beyond its text.
var wholeSizes = []struct {
	name  string
	count int
	fill  int
}{{"small", 4, 0}, {"large", 4, 40 << 10}}

func bigText(id string, fill int) string {
	return text(id) + strings.Repeat(strings.Repeat("x", 62)+"\r\n", fill/64)
}

// whole is one piece of work.
type whole struct {
	name string
	ids  []string // what it is about
	body func(id string) string
	// do does it, and says what was answered; before it the messages ids are in a
	// (append: nowhere), afterwards in b.
	do func(w *whole, p *process) error
	// where they are before and after; "" is nowhere. A copy stays where it was.
	from, to string
	keeps    bool
	// stopAt breaks the work off when that is asked for the n-th time; 0: never. It must
	// then be undone.
	stopAt int
}

func wholeWorks() (list []*whole) {
	for _, size := range wholeSizes {
		var ids []string
		for i := range size.count {
			ids = append(ids, fmt.Sprint("m", i))
		}
		body := func(id string) string { return bigText(id, size.fill) }
		transfer := func(move bool) func(w *whole, p *process) error {
			return func(w *whole, p *process) error {
				_, _, err := transferFlagged(p, move, "b", w.stopAt)
				return err
			}
		}
		list = append(list,
			&whole{name: "append " + size.name, ids: ids, body: body, to: "b", do: func(w *whole, p *process) error {
				var bodies []string
				for _, id := range w.ids {
					bodies = append(bodies, w.body(id))
				}
				_, err := tryAppend(p, "b", mailstore.AppendMeta{Flags: mailstore.Flagged, Keywords: []string{"$Work"}}, bodies...)
				return err
			}},
			&whole{name: "copy " + size.name, ids: ids, body: body, from: "a", to: "b", keeps: true, do: transfer(false)},
			&whole{name: "move " + size.name, ids: ids, body: body, from: "a", to: "b", do: transfer(true)})
	}
	return append(list, &whole{name: "rename", do: func(w *whole, p *process) error { return p.Rename("t", "u/v") }})
}

// wholeTree are the mailboxes that the rename is of.
var wholeTree = []string{"", "/x", "/x/y", "/z"}

// prepare makes what is there before, certain.
func (w *whole) prepare(e *env) (*memfs.FS, map[slot]string) {
	disk := memfs.New(memfs.Options{Now: e.clock.Now})
	p, err := e.tryStart(disk)
	e.must(err)
	for _, n := range []string{"a", "b"} {
		_, err := p.Create(n, 0)
		e.must(err)
	}
	for _, sub := range wholeTree {
		_, err := p.Create("t"+sub, 0)
		e.must(err)
		p.add("t"+sub, mailstore.AppendMeta{Flags: mailstore.Seen}, "in t"+sub)
	}
	p.add("a", mailstore.AppendMeta{}, "a1")
	p.add("b", mailstore.AppendMeta{Flags: mailstore.Seen}, "b1", "b2")
	if w.from != "" {
		for _, id := range w.ids {
			_, err := tryAppend(p, w.from, mailstore.AppendMeta{Flags: mailstore.Flagged, Keywords: []string{"$Work"}}, w.body(id))
			e.must(err)
			p.add(w.from, mailstore.AppendMeta{}, "between "+id)
		}
	}
	told := map[slot]string{}
	for _, box := range []string{"a", "b"} {
		mb := p.open(box)
		s, err := mb.Sync()
		e.must(err)
		for pos := range s.Len() {
			b, err := body(mb, s.At(pos).UID)
			e.must(err)
			told[slot{mb.Info().UIDValidity, box, s.At(pos).UID}] = id(b)
		}
		mb.Close()
	}
	e.must(p.Close())
	e.procs = nil
	return disk.Survive(memfs.Kept, 0), told
}

// check looks at a store after a crash.
func (w *whole) check(e *env, p *process, told map[slot]string, done bool) {
	e.Helper()
	if w.name == "rename" {
		w.checkTree(e, p, done)
		return
	}
	for _, box := range []string{"a", "b"} { // to look is what makes a process find what another left
		mb := p.open(box)
		_, err := mb.Sync()
		e.must(err)
		mb.Close()
	}
	has := map[string]map[string]int{}
	for _, box := range []string{"a", "b"} {
		has[box] = map[string]int{}
		mb := p.open(box)
		s, err := mb.Sync()
		e.must(err)
		for pos := range s.Len() {
			en := s.At(pos)
			text, err := body(mb, en.UID)
			e.must(err)
			name := id(text)
			has[box][name]++
			k := slot{mb.Info().UIDValidity, box, en.UID}
			if old, ok := told[k]; ok && old != name {
				e.Errorf("UID %d of %s was %s, is %s", en.UID, box, old, name)
			}
			told[k] = name
			if slices.Contains(w.ids, name) {
				if text != w.body(name) {
					e.Errorf("%s in %s is not whole", name, box)
				}
				if st := state(en.Flags, s.Keywords(en.Keywords)); st != "f[$Work]" {
					e.Errorf("%s in %s has %s", name, box, st)
				}
			}
		}
		mb.Close()
	}
	for _, n := range []place{{"a", "a1"}, {"b", "b1"}, {"b", "b2"}} {
		if has[n.box][n.id] != 1 {
			e.Errorf("%s of %s is there %d times", n.id, n.box, has[n.box][n.id])
		}
	}
	here, there := 0, 0
	for _, id := range w.ids {
		if n := max(has["a"][id], has["b"][id]); n > 1 {
			e.Errorf("%s is there %d times", id, n)
		}
		here, there = here+has["a"][id], there+has["b"][id]
	}
	n := len(w.ids)
	before := there == 0 && here == map[bool]int{true: n}[w.from != ""]
	after := there == n && here == map[bool]int{true: n}[w.keeps]
	if e.h.MovesTwice && w.from != "" && there == n && !done {
		return
	}
	if !after && (done || !before) || w.stopAt > 0 && !before {
		e.Errorf("%d of %d are in a, %d in b; answered: %v", here, n, there, done)
	}
}

func (w *whole) checkTree(e *env, p *process, done bool) {
	e.Helper()
	list, err := p.List()
	e.must(err)
	there := map[string]bool{}
	for _, f := range list {
		there[f.Name] = f.Attrs&mailstore.NonExistent == 0
	}
	at := map[string]int{}
	for _, sub := range wholeTree {
		for _, root := range []string{"t", "u/v"} {
			if !there[root+sub] {
				continue
			}
			at[root]++
			mb := p.open(root + sub)
			s, err := mb.Sync()
			e.must(err)
			if got := show(s); got != "1:s" {
				e.Errorf("%s shows %s", root+sub, got)
			} else if b, err := body(mb, 1); err != nil || id(b) != "in t"+sub {
				e.Errorf("%s holds %q, %v", root+sub, b, err)
			}
			mb.Close()
		}
	}
	if n := len(wholeTree); at["u/v"] != n && (done || at["t"] != n) || at["t"]+at["u/v"] != n {
		e.Errorf("%d of %d mailboxes have their old names, %d the new ones; answered: %v", at["t"], n, at["u/v"], done)
	}
}

// crashKind is how a piece of work ends.
type crashKind uint8

const (
	powerCut   crashKind = iota // and the machine starts again
	killAlone                   // the process is killed; the next one opens the store
	killBeside                  // the process is killed; another has the store open
)

func testWhole(e *env) {
	works := wholeWorks()
	if !e.h.StopsLate {
		works = append(works, stoppedWorks(e)...)
	}
	for _, w := range works {
		disk, told := w.prepare(e)
		for kind := powerCut; kind <= killBeside; kind++ {
			fates := []memfs.Fate{memfs.Lost, memfs.Kept, memfs.Torn, memfs.Torn}
			if kind != powerCut {
				fates = fates[1:2]
			}
			if e.h.Sampled || testing.Short() || w.stopAt > 0 {
				fates = fates[len(fates)-1:]
			}
			for seed, fate := range fates {
				for k, n := 1, 2; k <= n; k += e.sample() {
					n = w.crash(e, disk, told, kind, k, fate, uint64(seed))
					if e.Failed() {
						e.Fatalf("%s, crash %d after change %d, fate %d, seed %d", w.name, kind, k, fate, seed)
					}
				}
			}
		}
	}
}

// crash does the work until change k of it, and looks at what is there then. It
// gives the number of changes that the whole work takes, or where the next cut is.
func (w *whole) crash(e *env, from *memfs.FS, before map[slot]string, kind crashKind, k int, fate memfs.Fate, seed uint64) int {
	e.Helper()
	disk := from.Survive(memfs.Kept, 0)
	told := map[slot]string{}
	for s, id := range before {
		told[s] = id
	}
	var beside *process
	if kind == killBeside {
		var err error
		beside, err = e.tryStart(disk)
		e.must(err)
		for _, box := range []string{"a", "b", "t", "t/x"} {
			_, err := beside.open(box).Sync()
			e.must(err)
		}
	}
	f := faultfs.New(disk)
	p, err := e.startOn(f)
	e.must(err)
	for _, box := range []string{"a", "b"} {
		_, err := p.open(box).Sync()
		e.must(err)
	}
	f.Trace(true)
	start := f.Changes()
	f.CutAfter(start+k, fate, seed)
	err = w.do(w, p)
	n := k + e.sample()
	if !f.Dead() {
		n = f.Changes() - start
		if w.stopAt > 0 && errors.Is(err, errStop) {
			err = nil
		}
		e.must(err)
	}
	done := err == nil && w.stopAt == 0
	after := disk
	if kind == powerCut {
		after = f.Survivor(fate, seed)
	}
	f.Kill()
	p.Close() // what runs in the background
	e.clock.Jump(time.Hour)
	if beside != nil {
		w.check(e, beside, told, done)
		w.goOn(e, beside, told)
		e.must(beside.Close())
	}
	for range 2 {
		q, oerr := e.tryStart(after)
		e.must(oerr)
		w.check(e, q, told, done)
		w.goOn(e, q, told)
		e.must(q.Close())
	}
	e.procs = nil
	if e.Failed() {
		for _, line := range f.Traced() {
			e.Log(line)
		}
		e.Log(after.Dump())
	}
	return n
}

// goOn adds a message to each mailbox: under a UID that was nobody's.
func (w *whole) goOn(e *env, p *process, told map[slot]string) {
	e.Helper()
	for _, box := range []string{"a", "b"} {
		r, err := tryAppend(p, box, mailstore.AppendMeta{}, text("after"))
		if err != nil {
			e.Errorf("append to %s afterwards: %v (%v)", box, err, errkind.Of(err))
			continue
		}
		k := slot{r.UIDValidity, box, r.UIDs[0]}
		if old, ok := told[k]; ok {
			e.Errorf("UID %d of %s was %s and was given again", r.UIDs[0], box, old)
		}
		told[k] = "after"
	}
}
