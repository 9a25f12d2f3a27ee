package storetest

import (
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/numset"
	"rookery/internal/vfs"
	"rookery/internal/vfs/faultfs"
)

// Notes are what a driver told its log; a Harness that has them gives them to
// each Store that it opens.
type Notes struct {
	mu    sync.Mutex
	lines []string
}

// Note takes a line.
func (n *Notes) Note(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, line)
}

func (n *Notes) take() (lines []string) {
	if n == nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	lines, n.lines = n.lines, nil
	return lines
}

// known is what a message of the model is.
type known struct {
	id       string
	flags    mailstore.Flags
	keywords []string
	fact     string // what Facts told first
}

// witness is an open mailbox whose pictures are watched.
type witness struct {
	mb   mailstore.Mailbox
	box  mailstore.Name
	told map[mailstore.UID]bool // what its last picture had
	pic  mailstore.Snapshot     // that picture
	was  map[mailstore.UID]string
	high mailstore.ModSeq
	info mailstore.Info
}

// underWay is a store in two processes with sessions, and what is true of it.
type underWay struct {
	*env
	disk  vfs.FS // below all processes
	t     *tripwire
	bar   *locked
	rnd   *rand.Rand
	p, q  mailstore.Store
	who   []*witness
	mail  map[mailstore.Name]map[mailstore.UID]*known
	next  map[mailstore.Name]mailstore.UID
	older map[string][]byte
	n     int // messages made
	large int // messages that INBOX keeps; 0: a few
	what  string
}

// spoils are the damages that a file may take while it is used.
func (w *underWay) spoils() []string {
	out := []string{"made unreadable"}
	for _, d := range damages {
		out = append(out, d.name)
	}
	return out
}

// spoil damages one index file, or all.
func (w *underWay) spoil(how string) {
	paths := indexPaths(w.env, w.disk)
	if len(paths) > 0 && w.rnd.IntN(2) == 0 {
		paths = paths[w.rnd.IntN(len(paths)):][:1]
	}
	for _, p := range paths {
		if how == "made unreadable" {
			if i, err := w.disk.Stat(p); err == nil {
				w.bar.add(i.Inode)
			}
			continue
		}
		old := w.older[p]
		if old == nil || how != "an older one" {
			if b, err := vfs.ReadFile(w.disk, p, 1<<30); err == nil {
				old = b
			}
		}
		for _, d := range damages {
			if d.name == how {
				if err := d.do(w.disk, p, old, w.rnd); err != nil {
					w.Errorf("%s: %s: %v", w.what, how, err)
				}
			}
		}
	}
}

// keepOlder remembers the index files as they are now, to be put back later.
func (w *underWay) keepOlder() {
	w.older = map[string][]byte{}
	for _, p := range indexPaths(w.env, w.disk) {
		if b, err := vfs.ReadFile(w.disk, p, 1<<30); err == nil {
			w.older[p] = b
		}
	}
}

// indexPaths finds all index files: their names are the same for all drivers.
func indexPaths(e *env, disk vfs.FS) (out []string) {
	dirs := []string{"."}
	for len(dirs) > 0 {
		dir := dirs[0]
		dirs = dirs[1:]
		err := disk.ReadDir(dir, func(f vfs.DirEntry) bool {
			switch p := path.Join(dir, f.Name); {
			case f.Type.IsDir():
				dirs = append(dirs, p)
			case strings.HasPrefix(f.Name, "rookery.index"):
				out = append(out, p)
			}
			return true
		})
		if err != nil && !vfs.NotExist(err) {
			e.Fatal(err)
		}
	}
	slices.Sort(out)
	return out
}

func newUnderWay(e *env, disk vfs.FS, seed uint64) *underWay {
	w := &underWay{env: e, disk: disk, t: &tripwire{}, bar: &locked{inodes: map[uint64]bool{}}, rnd: rand.New(rand.NewPCG(seed, 5)),
		mail: map[mailstore.Name]map[mailstore.UID]*known{}, next: map[mailstore.Name]mailstore.UID{}}
	var err error
	w.p, err = e.h.Open(&tripDisk{disk, w.t, w.bar})
	e.must(err)
	w.q, err = e.h.Open(&tripDisk{disk, &tripwire{}, w.bar})
	e.must(err)
	for _, box := range []mailstore.Name{"INBOX", "b"} {
		if box != "INBOX" {
			_, err := w.p.Create(box, 0)
			e.must(err)
		}
		w.mail[box], w.next[box] = map[mailstore.UID]*known{}, 1
		for _, s := range []mailstore.Store{w.p, w.p, w.q} {
			mb, err := s.Open(box)
			e.must(err)
			w.who = append(w.who, &witness{mb: mb, box: box, info: mb.Info()})
		}
	}
	return w
}

func (w *underWay) close() {
	for _, x := range w.who {
		w.must(x.mb.Close())
	}
	w.must(w.p.Close())
	w.must(w.q.Close())
}

// text is what a picture must show.
func (w *underWay) text(box mailstore.Name) string {
	var out []string
	for _, u := range slices.Sorted(keys(w.mail[box])) {
		out = append(out, w.mail[box][u].entry(u))
	}
	return strings.Join(out, " ")
}

func keys[V any](m map[mailstore.UID]V) func(func(mailstore.UID) bool) {
	return func(yield func(mailstore.UID) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// check compares every session's pictures with the truth: the one that it would
// be shown without a look loses nothing, the one after a look is exact.
func (w *underWay) check() {
	w.Helper()
	for i, x := range w.who {
		now := x.mb.Snapshot()
		for u := range x.told {
			if _, ok := now.Find(u); !ok && w.mail[x.box][u] != nil {
				w.Fatalf("%s: session %d of %s lost message %d, which was not expunged: %s", w.what, i, x.box, u, show(now))
			}
		}
		s, err := x.mb.Sync()
		if err != nil {
			w.Fatalf("%s: sync of session %d: %v", w.what, i, err)
		}
		if got, want := w.shown(s), w.text(x.box); got != want {
			got, want = differ(got, want)
			w.Fatalf("%s: session %d of %s shows\n  %s\nwant\n  %s", w.what, i, x.box, got, want)
		}
		if s.HighestModSeq() < x.high || s.UIDNext() < w.next[x.box] || x.mb.Info() != x.info {
			w.Fatalf("%s: session %d of %s: MODSEQ %d (was %d), UIDNEXT %d (was %d), %+v (was %+v)", w.what, i, x.box,
				s.HighestModSeq(), x.high, s.UIDNext(), w.next[x.box], x.mb.Info(), x.info)
		}
		x.high, x.told = s.HighestModSeq(), map[mailstore.UID]bool{}
		x.pic, x.was = s, map[mailstore.UID]string{}
		for u, m := range w.mail[x.box] {
			x.told[u] = true
			x.was[u] = m.text()
		}
	}
}

// shown is show, but for MODSEQs where a file may be damaged that is mapped: an entry
// that was lost with it has the MODSEQ 0.
func (w *underWay) shown(s mailstore.Snapshot) string {
	if w.large == 0 {
		return show(s)
	}
	var out []string
	for i := range s.Len() {
		e := s.At(i)
		m := known{flags: e.Flags, keywords: s.Keywords(e.Keywords)}
		out = append(out, m.entry(e.UID))
	}
	return strings.Join(out, " ")
}

func (m *known) entry(u mailstore.UID) string {
	t := fmt.Sprintf("%d:%s", u, flagText(m.flags))
	if len(m.keywords) > 0 {
		t += "[" + strings.Join(m.keywords, " ") + "]"
	}
	return t
}

// differ cuts off what two lists have in common at both ends.
func differ(a, b string) (string, string) {
	x, y := strings.Fields(a), strings.Fields(b)
	for len(x) > 0 && len(y) > 0 && x[0] == y[0] {
		x, y = x[1:], y[1:]
	}
	for len(x) > 0 && len(y) > 0 && x[len(x)-1] == y[len(y)-1] {
		x, y = x[:len(x)-1], y[:len(y)-1]
	}
	return strings.Join(x, " "), strings.Join(y, " ")
}

func (m *known) text() string { return fmt.Sprint(flagText(m.flags), m.keywords) }

// facts compares what never changes of a message.
func (w *underWay) facts(x *witness, uid mailstore.UID) error {
	f, err := x.mb.Facts(uid, mailstore.FactsWant{Size: true, InternalDate: true, SaveDate: true, GUID: true})
	if err != nil {
		return err
	}
	m := w.mail[x.box][uid]
	now := fmt.Sprint(f.Size, f.InternalDate.Unix(), f.SaveDate.Unix(), f.GUID)
	if m.fact == "" {
		m.fact = now
	}
	if m.fact != now {
		return fmt.Errorf("facts of message %d are %s, were %s", uid, now, m.fact)
	}
	return nil
}

// pick gives a message of a mailbox, and a session of process p on it.
func (w *underWay) pick(box mailstore.Name) (*witness, mailstore.UID, *known) {
	list := slices.Sorted(keys(w.mail[box]))
	u := list[w.rnd.IntN(len(list))]
	for {
		if x := w.who[w.rnd.IntN(len(w.who))]; x.box == box && x.mb != nil {
			return x, u, w.mail[box][u]
		}
	}
}

// fill brings the mailboxes to some messages.
func (w *underWay) fill() {
	w.Helper()
	for _, box := range []mailstore.Name{"INBOX", "b"} {
		for len(w.mail[box]) < 4 {
			w.must(w.append(box))
		}
		if list := slices.Sorted(keys(w.mail[box])); len(list) > 8 && (w.large == 0 || box == "b") {
			x, _, _ := w.pick(box)
			_, err := x.mb.Expunge(numset.FromSorted(list[6:]))
			w.must(err)
			for _, u := range list[6:] {
				delete(w.mail[box], u)
			}
		}
	}
	w.clock.Jump(3 * time.Second) // no change hides behind a stamp
}

// testUnderWay damages index files before each disk operation of each act.
func testUnderWay(e *env) {
	w := newUnderWay(e, faultfs.New(e.disk), 1)
	for _, how := range w.spoils() {
		for _, act := range acts {
			w.rounds(how, act.name, act.do)
			if e.Failed() {
				return
			}
		}
	}
	w.close()
}

// allRounds is up to which of its disk operations an act has one round for each,
// under one damage; of the rest it has some.
const allRounds = 24

// rounds does an act with a damage before each of its disk operations.
func (w *underWay) rounds(how, name string, act func(*underWay) error) {
	step := 1
	switch {
	case testing.Short():
		step = 11
	case w.h.Sampled || w.coarse:
		step = 7
	}
	for k := 1 + w.rnd.IntN(step); w.round(how, name, act, k) && !w.Failed(); {
		if k += step; k > allRounds {
			k += w.rnd.IntN(max(k/4, 1))
		}
	}
}

// round does one act with a damage before operation k; it reports whether the
// act had as many.
func (w *underWay) round(how, name string, act func(*underWay) error, k int) bool {
	w.what = fmt.Sprintf("%s with the index %s before operation %d", name, how, k)
	w.fill()
	if w.rnd.IntN(3) == 0 {
		w.keepOlder()
	}
	w.check()
	w.h.Notes.take()
	beside := make(chan error, 1)
	beside <- nil
	both := w.rnd.IntN(2) == 0
	w.t.arm(k, func() {
		w.spoil(how)
		if both {
			w.beside(beside)
		}
	})
	err := act(w)
	where := w.t.disarm()
	w.what += " (" + where + ")"
	if err != nil {
		w.Fatalf("%s: %v", w.what, err)
	}
	if err := <-beside; err != nil {
		w.Fatalf("%s: another session of the process: %v", w.what, err)
	}
	w.check()
	if where == "" {
		return false
	}
	w.notes()
	if k%5 == 0 {
		x, u, _ := w.pick("INBOX")
		if err := w.facts(x, u); err != nil {
			w.Fatalf("%s: %v", w.what, err)
		}
	}
	return true
}

// besideWait is how long an act stands still for another session to find the
// damage, if it is not the act that this session waits for.
const besideWait = 2 * time.Millisecond

// beside has other sessions of the process look while the act is at its operation.
func (w *underWay) beside(result chan error) {
	<-result
	done := make(chan struct{})
	go func() {
		defer close(done)
		var first error
		for _, i := range []int{4, 1} { // of b, and of INBOX
			if _, err := w.who[i].mb.Sync(); err != nil && first == nil {
				first = err
			}
		}
		result <- first
	}()
	timer := time.NewTimer(besideWait)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// notesPerDamage bounds what two processes say of two mailboxes.
const notesPerDamage = 8

// notes checks that what was rebuilt was told, with the reason, and once.
func (w *underWay) notes() {
	lines := w.h.Notes.take()
	if len(lines) > notesPerDamage {
		w.Errorf("%s: %d lines in the log:\n%s", w.what, len(lines), strings.Join(lines, "\n"))
	}
	for _, l := range lines {
		if _, why, ok := strings.Cut(l, ": "); strings.Contains(l, "built anew") && (!ok || why == "" || strings.HasSuffix(l, ": ")) {
			w.Errorf("%s: a line without a reason: %q", w.what, l)
		}
	}
}
