package storetest

import (
	"fmt"
	"slices"
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/vfs"
)

// testMapped has a mailbox on a real disk that is large enough for its index to be
// a file that is mapped, and damages that file under the sessions' pictures.
func testMapped(e *env) {
	if testing.Short() || e.h.Sampled || e.h.Notes == nil { // for drivers, once
		return
	}
	disk, err := vfs.OpenRoot(e.TempDir())
	e.must(err)
	w := newUnderWay(e, disk, 2)
	w.large = 1200
	var bodies []string
	for i := range w.large {
		bodies = append(bodies, text(fmt.Sprint("l", i)))
	}
	for part := range slices.Chunk(bodies, 100) {
		r, err := tryAppend(w.q, "INBOX", mailstore.AppendMeta{Flags: mailstore.Seen, Keywords: []string{"all"}}, part...)
		e.must(err)
		for i, u := range r.UIDs {
			w.mail["INBOX"][u], w.next["INBOX"] = &known{id: id(part[i]), flags: mailstore.Seen, keywords: []string{"all"}}, u+1
		}
	}
	for i, how := range w.spoils()[1:] {
		for k, act := range acts {
			w.mapped(how, act.name, act.do, (i+k)%3)
			if e.Failed() {
				return
			}
		}
	}
	w.close()
}

// mapped does one act after a damage of the mapped index. Which is 0 or 2 for an
// index that was just built of nothing, which makes it a file, and 0 or 1 for a
// look at the pictures after the act, not before it.
func (w *underWay) mapped(how, name string, act func(*underWay) error, which int) {
	w.what = fmt.Sprintf("%s with a mapped index %s", name, how)
	w.fill()
	if which != 1 {
		for _, p := range indexPaths(w.env, w.disk) {
			w.must(w.disk.Remove(p))
		}
	}
	w.check()
	w.h.Notes.take()
	w.spoil(how)
	if which == 2 {
		w.pictures()
	}
	if err := act(w); err != nil {
		w.Fatalf("%s: %v", w.what, err)
	}
	if which != 2 {
		w.pictures()
	}
	w.check()
	w.notes()
}

// pictures looks at what sessions still hold, while its file is no more what it
// was: an entry is what it was, or what it is now.
func (w *underWay) pictures() {
	w.Helper()
	for i, x := range w.who {
		for range 20 {
			pos := w.rnd.IntN(x.pic.Len())
			e := x.pic.At(pos)
			m := w.mail[x.box][e.UID]
			got := fmt.Sprint(flagText(e.Flags), append([]string(nil), x.pic.Keywords(e.Keywords)...))
			if m != nil && got != x.was[e.UID] && got != m.text() {
				w.Fatalf("%s: session %d of %s has message %d as %s, not %s", w.what, i, x.box, e.UID, got, m.text())
			}
		}
	}
}
