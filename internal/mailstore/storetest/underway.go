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

// acts are what is done while index files are damaged. Each tells what was wrong
// with its answer, and keeps the truth up to date.
var acts = []struct {
	name string
	do   func(w *underWay) error
}{
	{"sync", func(w *underWay) error { _, err := w.who[0].mb.Sync(); return err }},
	{"append", func(w *underWay) error { return w.append("INBOX") }},
	{"store", (*underWay).storeOne},
	{"expunge", func(w *underWay) error {
		u := slices.Sorted(keys(w.mail["INBOX"]))[1]
		gone, err := w.who[0].mb.Expunge(numset.Of(u))
		if err == nil && !gone.Equal(numset.Of(u)) {
			err = fmt.Errorf("it expunged %s", gone)
		}
		if err == nil {
			delete(w.mail["INBOX"], u)
		}
		return err
	}},
	{"copy", func(w *underWay) error { return w.transfer("INBOX", "b", false) }},
	{"move", func(w *underWay) error { return w.transfer("INBOX", "b", true) }},
	{"move back", func(w *underWay) error { return w.transfer("b", "INBOX", true) }},
	{"message", func(w *underWay) error {
		_, u, m := w.pick("INBOX")
		b, err := body(w.who[1].mb, u)
		if err == nil && id(b) != m.id {
			err = fmt.Errorf("message %d is %q", u, b)
		}
		return err
	}},
	{"facts", func(w *underWay) error {
		_, u, _ := w.pick("INBOX")
		return w.facts(w.who[0], u)
	}},
	{"status", func(w *underWay) error {
		s, err := w.p.Status("INBOX", mailstore.StatusWant{Size: true})
		if n := len(w.mail["INBOX"]); err == nil && (int(s.Messages) != n || s.UIDNext != w.next["INBOX"]) {
			err = fmt.Errorf("%d messages and UIDNEXT %d, want %d and %d", s.Messages, s.UIDNext, n, w.next["INBOX"])
		}
		return err
	}},
	{"claim", func(w *underWay) error {
		if err := w.append("b"); err != nil {
			return err
		}
		_, err := w.who[3].mb.ClaimRecent(false)
		return err
	}},
	{"expunged since", func(w *underWay) error {
		gone, _, err := w.who[0].mb.ExpungedSince(0)
		for u := range w.mail["INBOX"] {
			if gone.Contains(u) {
				return fmt.Errorf("it tells that message %d was expunged", u)
			}
		}
		return err
	}},
	{"open", func(w *underWay) error {
		mb, err := w.p.Open("b")
		if err != nil {
			return err
		}
		if got, want := show(mb.Snapshot()), w.text("b"); got != want {
			w.Errorf("%s: it shows %s, want %s", w.what, got, want)
		}
		return mb.Close()
	}},
}

func (w *underWay) append(box mailstore.Name) error {
	w.n++
	name := fmt.Sprint("m", w.n)
	m := &known{id: name, flags: []mailstore.Flags{0, mailstore.Seen, mailstore.Flagged | mailstore.Draft}[w.n%3]}
	if w.n%4 == 0 {
		m.keywords = []string{"k" + fmt.Sprint(w.n%40)} // more than there are letters
	}
	r, err := tryAppend(w.p, box, mailstore.AppendMeta{Flags: m.flags, Keywords: m.keywords, SaveDate: time.Unix(int64(1e9+w.n), 0)}, text(name))
	if err != nil {
		return err
	}
	if len(r.UIDs) != 1 || r.UIDs[0] < w.next[box] || r.UIDValidity != w.who[0].info.UIDValidity && box == "INBOX" {
		return fmt.Errorf("it got %+v, UIDNEXT was %d", r, w.next[box])
	}
	w.mail[box][r.UIDs[0]], w.next[box] = m, r.UIDs[0]+1
	return nil
}

func (w *underWay) storeOne() error {
	list := slices.Sorted(keys(w.mail["INBOX"]))
	u := list[w.rnd.IntN(len(list))]
	m := w.mail["INBOX"][u]
	c := mailstore.FlagChange{UIDs: numset.Of(u), Op: mailstore.AddFlags, Flags: mailstore.Answered}
	was, words := m.flags, len(m.keywords)
	flags, keywords := was|mailstore.Answered, m.keywords
	switch w.rnd.IntN(3) {
	case 0:
		c.Op, flags = mailstore.RemoveFlags, was&^mailstore.Answered
	case 1:
		c.Op, flags, keywords = mailstore.SetFlags, mailstore.Answered, nil
	}
	r, err := w.who[0].mb.Store(c)
	if err != nil {
		return err
	}
	if want := was != flags || words != len(keywords); r.Changed.Contains(u) != want {
		return fmt.Errorf("it says that %s changed, of message %d, from %q to %q", r.Changed, u, flagText(was), flagText(flags))
	}
	m.flags, m.keywords = flags, keywords
	return nil
}

func (w *underWay) transfer(from, to mailstore.Name, move bool) error {
	x := w.who[0]
	if from != "INBOX" {
		x = w.who[3]
	}
	u := slices.Sorted(keys(w.mail[from]))[0]
	do := x.mb.Copy
	if move {
		do = x.mb.Move
	}
	r, err := do(numset.Of(u), to)
	if err != nil {
		return err
	}
	if len(r.From) != 1 || r.From[0] != u || len(r.To) != 1 || r.To[0] < w.next[to] {
		return fmt.Errorf("it answers %+v, UIDNEXT was %d", r, w.next[to])
	}
	m := *w.mail[from][u]
	m.fact = "" // another SAVEDATE
	w.mail[to][r.To[0]], w.next[to] = &m, r.To[0]+1
	if move {
		delete(w.mail[from], u)
	}
	return nil
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
	w.clock.jump(3 * time.Second) // no change hides behind a stamp
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
