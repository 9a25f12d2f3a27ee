package storetest

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/numset"
	"rookery/internal/vfs/faultfs"
	"rookery/internal/vfs/memfs"
)

// errStop is what breaks a transfer off in these tests.
var errStop = errors.New("stop")

// transferFlagged copies or moves the flagged messages of a, and breaks that off when it
// asks for the stopAt-th time. It gives how often it asked.
func transferFlagged(s mailstore.Store, move bool, to mailstore.Name, stopAt int) (res mailstore.CopyResult, asked int, err error) {
	mb, err := s.Open("a")
	if err != nil {
		return res, 0, err
	}
	defer mb.Close()
	snap := mb.Snapshot()
	var set numset.Set
	for pos := range snap.Len() {
		if e := snap.At(pos); e.Flags&mailstore.Flagged != 0 {
			set.Add(e.UID)
		}
	}
	res, err = mailstore.Transfer{UIDs: set, To: to, Move: move, Stop: func() error {
		if asked++; asked == stopAt {
			return errStop
		}
		return nil
	}}.Of(mb)
	return res, asked, err
}

// isTransfer reports whether a work is a COPY or MOVE, and which.
func (w *whole) isTransfer() (move, ok bool) { return !w.keeps, w.from != "" }

// stoppedWorks are the transfers of large messages, broken off as late as they can be.
func stoppedWorks(e *env) (list []*whole) {
	for _, w := range wholeWorks() {
		move, ok := w.isTransfer()
		if !ok || !strings.HasSuffix(w.name, "large") {
			continue
		}
		disk, _ := w.prepare(e)
		p, err := e.tryStart(disk)
		e.must(err)
		_, asked, err := transferFlagged(p, move, "b", 0)
		e.must(err)
		e.must(p.Close())
		w.name, w.stopAt = w.name+", broken off", asked
		list = append(list, w)
	}
	return list
}

// testStopped breaks a COPY and a MOVE off whenever they ask: this process, another and
// the next one see what there was before, and then it can be done after all.
func testStopped(e *env) {
	for _, w := range wholeWorks() {
		move, ok := w.isTransfer()
		if !ok {
			continue
		}
		for _, to := range []mailstore.Name{"b", "a"} {
			disk, _ := w.prepare(e)
			asks, step := 1, 1
			for k := 1; ; k = min(k+step, asks) {
				n := e.stopped(w, disk, move, to, k)
				if k == 1 {
					asks = n
					if (e.h.Sampled || testing.Short()) && n > 4 {
						step = n / 3
					}
				}
				if e.Failed() {
					e.Fatalf("%s to %s, broken off when it asked for the %d. time of %d", w.name, to, k, asks)
				}
				if k == asks {
					break
				}
			}
			if asks < len(w.ids) && !e.h.StopsLate {
				e.Fatalf("%s of %d messages asks %d times whether to go on", w.name, len(w.ids), asks)
			}
		}
	}
}

// stopped breaks a transfer off when it asks for the k-th time, and does it then. It
// gives how often it asked when it was done.
func (e *env) stopped(w *whole, from *memfs.FS, move bool, to mailstore.Name, k int) (asked int) {
	e.Helper()
	disk := from.Survive(memfs.Kept, 0)
	f := faultfs.New(disk)
	p, err := e.startOn(f)
	e.must(err)
	q, err := e.tryStart(disk)
	e.must(err)
	var boxes []mailstore.Mailbox
	for _, s := range []*process{p, q} { // both have them open
		boxes = append(boxes, s.open("a"), s.open("b"))
	}
	before, err := Picture(p)
	e.must(err)
	res, _, err := transferFlagged(p, move, to, k)
	switch {
	case err == nil && e.h.StopsLate: // too late
		return k
	case !errors.Is(err, mailstore.ErrStopped) || !errors.Is(err, errStop):
		e.Fatalf("broken off it is %v", err)
	case len(res.From) != 0 || len(res.To) != 0:
		e.Fatalf("broken off it tells of %v and %v", res.From, res.To)
	}
	e.same(p, before, "who broke it off")
	e.same(q, before, "the other process")
	r, err := e.tryStart(disk)
	e.must(err)
	e.same(r, before, "the next process")
	e.must(r.Close())
	res, asked, err = transferFlagged(p, move, to, 0)
	e.must(err)
	if len(res.From) != len(w.ids) || len(res.To) != len(w.ids) {
		e.Errorf("done after all it tells of %v and %v", res.From, res.To)
	}
	after, err := Picture(p)
	e.must(err)
	e.same(q, after, "the other process, when it was done after all")
	if strings.Count(after, " f[$Work] ") != len(w.ids)*map[bool]int{true: 1, false: 2}[move] {
		e.Errorf("done after all there is\n%s", after)
	}
	for _, mb := range boxes {
		e.must(mb.Close())
	}
	e.must(p.Close())
	e.must(q.Close())
	if n := f.OpenFiles(); n > 0 {
		e.Errorf("%d files stay open", n)
	}
	e.procs = nil
	return asked
}

// testCommitStopped breaks the Commit of many messages off, where it asks whether to go
// on: then there is none of them.
func testCommitStopped(e *env) {
	disk := memfs.New(memfs.Options{Now: e.clock.Now})
	p, err := e.tryStart(disk)
	e.must(err)
	p.add("INBOX", mailstore.AppendMeta{}, "there")
	e.must(p.Close())
	e.procs = nil
	asks := 1
	for _, part := range []int{0, 1, 2} { // it asks for the first time, later, for the last time
		at := max(1, asks*part/2)
		f := faultfs.New(disk.Survive(memfs.Kept, 0))
		p, err := e.startOn(f)
		e.must(err)
		before, err := Picture(p)
		e.must(err)
		asked, err := appendMany(p, at)
		switch {
		case err == nil && (asked < at || e.h.StopsLate):
			asks = 0 // it asks nothing
		case !errors.Is(err, mailstore.ErrStopped) || !errors.Is(err, errStop):
			e.Fatalf("broken off it is %v", err)
		default:
			e.same(p, before, "who broke it off")
			asks, err = appendMany(p, 0)
			e.must(err)
		}
		if st, err := p.Status("INBOX", mailstore.StatusWant{}); err != nil || st.Messages != 1+manyAppended {
			e.Fatalf("%d messages, %v", st.Messages, err)
		}
		e.must(p.Close())
		e.procs = nil
		if asks == 0 {
			return
		}
	}
}

// manyAppended is how many messages appendMany adds.
const manyAppended = 130

// appendMany appends messages at once, and breaks that off when it asks for the stopAt-th
// time. It gives how often it asked.
func appendMany(s mailstore.Store, stopAt int) (asked int, err error) {
	a, err := s.Append("INBOX")
	if err != nil {
		return 0, err
	}
	defer a.Abort()
	for i := range manyAppended {
		text := bigText(fmt.Sprint("many", i), 9<<10)
		w, err := a.Add(mailstore.AppendMeta{}, int64(len(text)))
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		if err != nil {
			return 0, err
		}
	}
	mailstore.StopBy(a, mailstore.Transfer{Stop: func() error {
		if asked++; asked == stopAt {
			return errStop
		}
		return nil
	}}.GoOn)
	_, err = a.Commit()
	return asked, err
}

// same compares all that a store shows.
func (e *env) same(s mailstore.Store, want, who string) {
	e.Helper()
	if got, err := Picture(s); err != nil || got != want {
		e.Errorf("%s sees, %v,\n%s\nwant\n%s", who, err, got, want)
	}
}
