package storetest

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/vfs/faultfs"
	"rookery/internal/vfs/memfs"
)

// histories are what is done while things break.
var histories = []struct {
	name string
	step int // every how many operations are tried
	run  func(m *model)
}{
	{"append", 1, func(m *model) {
		m.append("INBOX", 0, nil, "a")
		m.append("INBOX", mailstore.Seen|mailstore.Flagged, []string{"$Junk"}, "b")
		m.append("INBOX", 0, nil, "c1", "c2", "c3")
		m.look("INBOX")
		m.append("INBOX", mailstore.Draft, nil, "e")
	}},
	{"copy", 1, func(m *model) {
		m.create("box")
		m.append("INBOX", mailstore.Seen, nil, "1", "2", "3", "4")
		m.transfer(false, "INBOX", "box", "1", "3")
		m.transfer(true, "INBOX", "box", "2")
		m.transfer(true, "box", "INBOX", "2")
		m.expunge("INBOX", "4")
		m.append("box", 0, nil, "5")
		m.transfer(true, "INBOX", "box", "2")
	}},
	{"flags", 1, func(m *model) {
		m.append("INBOX", 0, nil, "1", "2")
		m.flags("INBOX", mailstore.AddFlags, mailstore.Seen, nil, "s[]", "1")
		m.flags("INBOX", mailstore.SetFlags, mailstore.Draft, []string{"k"}, "t[k]", "1", "2")
		m.flags("INBOX", mailstore.RemoveFlags, mailstore.Draft, []string{"k"}, "[]", "2")
		m.append("INBOX", mailstore.Flagged, nil, "3")
	}},
	{"keywords", 1, func(m *model) {
		var k []string
		for i := range 30 {
			k = append(k, fmt.Sprintf("k%02d", i))
		}
		m.append("INBOX", mailstore.Seen, k, "1")
		m.append("INBOX", 0, k[25:], "2")
		m.append("INBOX", 0, nil, "3")
		m.flags("INBOX", mailstore.SetFlags, 0, k[20:], state(0, k[20:]), "1", "3")
		m.append("INBOX", mailstore.Seen, []string{"new"}, "4")
		m.flags("INBOX", mailstore.SetFlags, 0, nil, "[]", "1", "3")
		m.append("INBOX", 0, nil, "5")
	}},
	{"folders", 1, func(m *model) {
		m.create("a", "a/b")
		m.append("a", mailstore.Seen, nil, "1")
		m.append("a/b", 0, nil, "2")
		m.rename("a/b", "c")
		m.append("c", 0, nil, "3")
		m.delete("a")
		m.create("a")
		m.append("a", 0, nil, "4")
		m.look("a")
		m.rename("c", "a/c")
	}},
	{"rewrite", 5, func(m *model) { // a mailbox that much is expunged from
		var many []string
		for i := range 40 {
			many = append(many, fmt.Sprint("m", i))
		}
		m.append("INBOX", 0, nil, many...)
		m.append("INBOX", 0, nil, "stays")
		m.expunge("INBOX", many...)
		m.append("INBOX", 0, nil, "1")
		m.append("INBOX", mailstore.Seen, nil, "2")
	}},
	{"subscriptions", 1, func(m *model) {
		m.subscribe("a", true)
		m.subscribe("b/c", true)
		m.subscribe("a", false)
		m.subscribe("d", true)
	}},
	{"deliveries", 1, func(m *model) {
		for i := range 3 {
			if d := m.e.h.Deliver; d != nil && !m.dead && m.box == "" {
				err := d(m.p.fault, "INBOX", fmt.Sprintf("Subject: d%d\r\n\r\nwhole\r\n", i))
				m.dead = m.dead || errors.Is(err, faultfs.ErrDead)
			}
			m.look("INBOX")
			m.append("INBOX", 0, nil, fmt.Sprint(i))
		}
	}},
}

// testPowerCut cuts the power after each change of each history.
func testPowerCut(e *env) {
	for _, h := range histories {
		changes, stride := 0, h.step*e.sample()
		for k := 1; k == 1 || k <= changes; k += stride {
			for seed := range uint64(5) {
				if (e.h.Sampled || testing.Short()) && seed != uint64(k)%5 {
					continue
				}
				kind := memfs.Torn
				if seed < 2 {
					kind = []memfs.Fate{memfs.Lost, memfs.Kept}[seed]
				}
				e.cut(h.name, h.run, k, stride, kind, seed, &changes)
				if e.Failed() {
					e.Fatalf("history %s, power cut after change %d, fate %d, seed %d", h.name, k, kind, seed)
				}
			}
		}
	}
}

// sample is the step from one fault to the next. The short runs (the race
// detector's, and those of who is at work) only look here and there: histories
// run in one goroutine, and the whole of them is tested without -short.
func (e *env) sample() int {
	switch {
	case testing.Short():
		return 29
	case e.h.Sampled:
		return 3
	}
	return 1
}

// cut runs a history on a new disk that loses power after change k; the next cut
// is stride changes later, if there are as many.
func (e *env) cut(name string, run func(*model), k, stride int, kind memfs.Fate, seed uint64, changes *int) {
	disk := memfs.New(memfs.Options{Now: e.clock.Now})
	first, err := e.tryStart(disk) // INBOX is there, certain
	e.must(err)
	first.open("INBOX")
	first.stop()
	f := faultfs.New(disk.Survive(memfs.Kept, 0))
	f.Trace(true)
	f.CutAfter(k, kind, seed)
	p, err := e.startOn(f)
	m := newModel(e, p)
	m.folder["INBOX"] = must
	if err == nil {
		run(m)
	}
	if !f.Dead() { // the power may go while the store is being closed
		if err := p.Close(); !f.Dead() {
			e.must(err)
		}
	}
	if !f.Dead() {
		*changes = f.Changes()
		if k == 1 {
			e.Fatalf("history %s changes nothing", name)
		}
	} else {
		*changes = max(*changes, k+stride)
	}
	after := f.Survivor(kind, seed)
	if err == nil { // ends what runs in the background; the disk is dead to it
		p.Close()
	}
	e.procs = nil
	e.clock.Jump(time.Hour)
	for round := range 2 { // what is found once is found again
		p, err := e.tryStart(after)
		if err != nil {
			e.Fatalf("open after the cut: %v", err)
		}
		m.check(p)
		if round == 1 {
			m.goOn(p)
		}
		e.must(p.Close())
	}
	if e.Failed() {
		for _, line := range f.Traced() {
			e.Log(line)
		}
		e.Log(after.Dump())
	}
	e.procs = nil
}

// testErrors makes each operation of each history fail once, and some with
// other errors, too.
func testErrors(e *env) {
	for _, h := range histories {
		for _, c := range []struct {
			err  error
			want errkind.Kind
			step int
		}{{syscall.ENOSPC, errkind.NoSpace, 1}, {syscall.EDQUOT, errkind.NoSpace, 7}, {syscall.EIO, errkind.IO, 2}, {syscall.EMFILE, errkind.TooMany, 3}} {
			for k, n := 1, 2; k <= n; k += h.step * c.step * e.sample() {
				n = e.fail(h.run, k, c.err, c.want)
				if e.Failed() {
					e.Fatalf("history %s, operation %d fails with %v", h.name, k, c.err)
				}
			}
		}
	}
}

func (e *env) fail(run func(*model), k int, injected error, want errkind.Kind) int {
	disk := memfs.New(memfs.Options{Now: e.clock.Now})
	f := faultfs.New(disk)
	f.FailAt(k, 1, injected)
	p, err := e.startOn(f)
	if err != nil {
		if !errkind.Is(err, want) {
			e.Errorf("open: %v", err)
		}
		if p, err = e.startOn(f); err != nil {
			e.Fatalf("open again: %v", err)
		}
	}
	m := newModel(e, p)
	m.exact, m.want = true, want
	m.folder["INBOX"] = must
	run(m)
	m.want = 0
	n := f.Ops()
	f.FailAt(0, 0, nil)
	m.check(p)
	p.Close()
	e.procs = nil
	if left := f.OpenFiles(); left != 0 {
		e.Errorf("%d files stay open after %s failed", left, f.Failed())
	}
	e.clock.Jump(time.Hour)
	q, err := e.tryStart(disk)
	e.must(err)
	m.check(q)
	m.goOn(q)
	e.must(q.Close())
	e.procs = nil
	if e.Failed() {
		e.Logf("failed: %s\n%s", f.Failed(), disk.Dump())
	}
	return n
}

// testKilled kills a process at any change: another goes on at once, with the
// locks that were left.
func testKilled(e *env) {
	for _, h := range histories {
		for k := 1; ; k += 3 * e.sample() {
			disk := memfs.New(memfs.Options{Now: e.clock.Now})
			f := faultfs.New(disk)
			f.CutAfter(k, memfs.Kept, 0)
			p, err := e.startOn(f)
			m := newModel(e, p)
			if err == nil {
				h.run(m)
			}
			done := !f.Dead()
			f.Kill()
			if err == nil {
				p.Close() // its goroutines, not its work
			}
			q, err := e.tryStart(disk) // not the survivor: the machine lives
			e.must(err)
			m.folder["INBOX"] = must
			m.check(q)
			m.goOn(q)
			e.must(q.Close())
			e.procs = nil
			if e.Failed() {
				e.Fatalf("history %s, killed after change %d\n%s", h.name, k, disk.Dump())
			}
			if done {
				break
			}
		}
	}
}
