package engine

import (
	"encoding/hex"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/index"
	"rookery/internal/numset"
	"rookery/internal/vfs"
)

// mailbox is one folder, open. All opens of a Store share it.
type mailbox struct {
	s     *Store
	box   Box
	index *index.Box
	words words      // under Store.work; of the newest view
	sets  [][]string // the view's keyword sets that are in words

	mu       sync.Mutex
	folder   Folder
	refs     int
	dead     bool
	retired  bool
	seen     *index.View // what watchers were woken for
	watchers map[*watcher]struct{}

	unhealed atomic.Pointer[index.View] // a damaged picture that heal could not make anew at once
}

type watcher struct{ c chan<- struct{} }

var _ mailstore.Mailbox = (*handle)(nil)

// handle is one Open of a mailbox.
type handle struct {
	*mailbox
	once sync.Once
}

// Open opens a mailbox, making it first if the settings say so.
func (s *Store) Open(name mailstore.Name) (mailstore.Mailbox, error) {
	mb, err := s.get(name)
	if err != nil {
		return nil, errkind.Wrap("open mailbox", err)
	}
	return &handle{mailbox: mb}, nil
}

// Close gives one Open up.
func (h *handle) Close() error {
	h.once.Do(func() { h.s.put(h.mailbox) })
	return nil
}

// get gives an open mailbox, up to date, one reference counted.
func (s *Store) get(name mailstore.Name) (*mailbox, error) {
	inner := s.tree.Inner(name)
	for try := 0; ; try++ {
		f, err := s.find(inner)
		if err != nil {
			return nil, err
		}
		mb, err := s.claim(f)
		if err != nil {
			return nil, err
		}
		if _, err = mb.look(); err == nil {
			return mb, nil
		}
		dead := mb.isDead()
		s.put(mb)
		if !dead || try > 2 {
			return nil, err
		}
		// It was made anew or renamed by another process meanwhile: once more.
	}
}

// claim finds the mailbox among those in memory, or makes it.
func (s *Store) claim(f Folder) (*mailbox, error) {
	if mb := s.loaded(f.Name); mb != nil && mb.where().GUID != f.GUID {
		mb.die()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errkind.Newf("open", errkind.Unavailable, "the store is closed")
	}
	mb := s.open[f.Name]
	if mb == nil {
		for i, m := range s.idle {
			if m.where().Name == f.Name {
				mb = m
				s.idle = append(s.idle[:i:i], s.idle[i+1:]...)
				break
			}
		}
		if mb == nil {
			var err error
			if mb, err = s.load(f); err != nil {
				return nil, err
			}
		}
		s.open[f.Name] = mb
	}
	mb.mu.Lock()
	mb.refs++
	mb.mu.Unlock()
	return mb, nil
}

// load makes the object of a mailbox.
func (s *Store) load(f Folder) (*mailbox, error) {
	box, err := s.format.Box(f)
	if err != nil {
		return nil, vfs.Kinded("open", err)
	}
	ix, err := s.index.Box(f.GUID, s.indexDir(f.GUID))
	if err != nil {
		box.Close()
		return nil, vfs.Kinded("open index", err)
	}
	mb := &mailbox{s: s, box: box, index: ix, folder: f, watchers: map[*watcher]struct{}{}, seen: ix.View()}
	ix.OnDamage(mb.heal)
	return mb, nil
}

// indexDir is where the index of a mailbox lies: a RENAME need not move it.
func (s *Store) indexDir(g mailstore.GUID) string {
	return vfs.Join(vfs.Join(s.opt.IndexPath, "rookery-index"), hex.EncodeToString(g[:]))
}

// idleMailboxes is how many closed mailboxes stay in memory, since clients come
// back to them.
const idleMailboxes = 3

// put gives a reference back.
func (s *Store) put(mb *mailbox) {
	s.mu.Lock()
	mb.mu.Lock()
	mb.refs--
	last, dead, name := mb.refs == 0, mb.dead, mb.folder.Name
	mb.mu.Unlock()
	var out []*mailbox
	if last {
		if s.open[name] == mb {
			delete(s.open, name)
		}
		if dead || s.closed {
			out = append(out, mb)
		} else if s.idle = append(s.idle, mb); len(s.idle) > idleMailboxes {
			out = append(out, s.idle[0])
			s.idle = append([]*mailbox(nil), s.idle[1:]...)
		}
	}
	s.mu.Unlock()
	for _, m := range out {
		m.retire()
	}
}

// retire ends a mailbox's life in memory.
func (mb *mailbox) retire() {
	mb.mu.Lock()
	again := mb.retired
	mb.retired = true
	mb.mu.Unlock()
	if !again {
		mb.index.Close()
		mb.box.Close()
	}
}

// loaded gives the mailbox object of a name, if there is one in memory.
func (s *Store) loaded(name mailstore.Name) *mailbox {
	s.mu.Lock()
	defer s.mu.Unlock()
	if mb := s.open[name]; mb != nil {
		return mb
	}
	for _, mb := range s.idle {
		if mb.where().Name == name {
			return mb
		}
	}
	return nil
}

// where gives the folder as it is called now.
func (mb *mailbox) where() Folder { mb.mu.Lock(); defer mb.mu.Unlock(); return mb.folder }

func (mb *mailbox) isDead() bool { mb.mu.Lock(); defer mb.mu.Unlock(); return mb.dead }

// die marks the mailbox as deleted: every session hears it at its next Sync.
func (mb *mailbox) die() {
	s := mb.s
	s.mu.Lock()
	mb.mu.Lock()
	mb.dead = true
	unused := mb.refs == 0
	if s.open[mb.folder.Name] == mb {
		delete(s.open, mb.folder.Name)
	}
	for i, m := range s.idle {
		if m == mb {
			s.idle = append(s.idle[:i:i], s.idle[i+1:]...)
			break
		}
	}
	mb.mu.Unlock()
	s.mu.Unlock()
	if unused {
		mb.retire()
	}
	mb.wake()
}

// gone is the answer of a mailbox that was deleted.
func (mb *mailbox) gone() error {
	return errkind.Newf("mailbox "+mb.where().Name, errkind.NotFound, "the mailbox was deleted or made anew by another session")
}

// Info tells what does not change while the mailbox is open.
func (mb *mailbox) Info() mailstore.Info {
	f := mb.where()
	return mailstore.Info{Name: mb.s.tree.Outer(f.Name), UIDValidity: f.UIDValidity, GUID: f.GUID, Namespace: mb.s.opt.Namespace,
		PermanentFlags: mailstore.AllFlags, NewKeywords: true, ReadOnly: mb.box.ReadOnly()}
}

// Keywords gives every name that the mailbox knows.
func (mb *mailbox) Keywords() []string {
	var w words
	for _, set := range mb.index.View().Sets() {
		for _, name := range set {
			w.add(name)
		}
	}
	return w.names
}

// learn brings words up to the newest view; Store.work is held. Sets are added to those
// that a view has; an index that was built anew, or read anew, has its own.
func (mb *mailbox) learn(v *index.View) {
	sets := v.Sets()
	if len(mb.sets) == 0 || len(sets) < len(mb.sets) || &sets[0] != &mb.sets[0] {
		mb.words, mb.sets = words{}, nil
	}
	for _, set := range sets[len(mb.sets):] {
		for _, name := range set {
			mb.words.add(name)
		}
	}
	mb.sets = sets
}

// Snapshot is the newest picture known.
func (mb *mailbox) Snapshot() mailstore.Snapshot { return mb.index.View() }

// Watch asks for a send on c after every change.
func (mb *mailbox) Watch(c chan<- struct{}) (stop func()) {
	w := &watcher{c}
	mb.mu.Lock()
	mb.watchers[w] = struct{}{}
	mb.mu.Unlock()
	return func() {
		mb.mu.Lock()
		delete(mb.watchers, w)
		mb.mu.Unlock()
	}
}

func (mb *mailbox) wake() {
	mb.mu.Lock()
	defer mb.mu.Unlock()
	for w := range mb.watchers {
		select {
		case w.c <- struct{}{}:
		default:
		}
	}
}

// noticed wakes watchers if the picture is one that they were not woken for.
func (mb *mailbox) noticed(v *index.View) {
	mb.mu.Lock()
	old := mb.seen
	mb.seen = v
	mb.mu.Unlock()
	if old != v && (old.HighestModSeq() != v.HighestModSeq() || old.Len() != v.Len() || old.UIDNext() != v.UIDNext()) {
		mb.wake()
	}
}

// Sync looks for changes by others.
func (mb *mailbox) Sync() (mailstore.Snapshot, error) {
	v, err := mb.look()
	if err != nil {
		return nil, errkind.Wrap("sync", err)
	}
	return v, nil
}

// look gives the newest picture, which is Built. It takes a lock only if the disk
// holds what the index does not know.
func (mb *mailbox) look() (*index.View, error) {
	for range looks {
		if v, err := mb.lookOnce(); err != nil || v.Built() && !v.Damaged() {
			return v, err
		}
	}
	return nil, errPicture
}

// newest is the picture that sessions were shown, less what was expunged since. It
// looks at the disk only if that picture is not Built.
func (mb *mailbox) newest() (*index.View, error) {
	if v := mb.index.View(); v.Built() {
		return v, nil
	}
	return mb.look()
}

// heal makes the index anew when a session's reading finds its file damaged, so
// that the session gets what was there. The reader may be at work on the mailbox
// itself: then the next look does it. It waits a moment for others, once for each
// picture.
func (mb *mailbox) heal() {
	now := mb.index.View()
	wait := mb.unhealed.Swap(now) != now
	free := mb.s.work.TryLock()
	for n := 0; !free && wait && n < healTries; n++ {
		time.Sleep(time.Millisecond)
		free = mb.s.work.TryLock()
	}
	if free { // not held by the reader, so that others soon give it up, too
		mb.s.work.Unlock()
		_, _ = mb.look() // an error is found, and told, by the next look
	}
}

// healTries is how many milliseconds heal waits.
const healTries = 50

func (mb *mailbox) lookOnce() (*index.View, error) {
	v, err := mb.index.Follow()
	if err != nil {
		return nil, vfs.Kinded("read index", err)
	}
	if same, err := mb.quick(v); err != nil {
		return nil, err
	} else if same {
		mb.noticed(v)
		return v, nil
	}
	err = mb.s.locked(func() error {
		if err := mb.alive(); err != nil {
			return err
		}
		if err := mb.box.Lock(false); err != nil {
			return err
		}
		defer mb.box.Unlock()
		v, err = mb.sync()
		return err
	})
	if err != nil {
		return nil, vfs.Kinded("sync", err)
	}
	return v, nil
}

// quick reports whether a picture is what the disk holds, with as few looks at
// the disk as can be.
func (mb *mailbox) quick(v *index.View) (bool, error) {
	f := mb.where()
	if at, ok := mb.box.(PlaceChecker); ok && v.Built() && !v.Damaged() && v.UIDValidity() == f.UIDValidity && !mb.isDead() {
		if _, stamp, ok := parseState(v.State()); ok {
			if same, err := at.SameAt(f, stamp); err != nil || same {
				return same, vfs.Kinded("look at mailbox", err)
			}
		}
	}
	if err := mb.alive(); err != nil {
		return false, err
	}
	changed, err := mb.stale(v)
	return !changed, err
}

// alive asks whether the mailbox is still there under its name.
func (mb *mailbox) alive() error {
	if mb.isDead() {
		return mb.gone()
	}
	f := mb.where()
	now, ok, err := mb.s.format.Find(f.Name)
	if err != nil {
		return vfs.Kinded("find mailbox", err)
	}
	if !ok || now.GUID != f.GUID || now.UIDValidity != f.UIDValidity {
		if mb.where().Name != f.Name { // renamed in this process meanwhile
			return mb.alive()
		}
		mb.die()
		return mb.gone()
	}
	return nil
}

// stale reports whether a picture is not what the disk holds.
func (mb *mailbox) stale(v *index.View) (bool, error) {
	if !v.Built() || v.Damaged() || v.UIDValidity() != mb.where().UIDValidity {
		return true, nil
	}
	_, stamp, ok := parseState(v.State())
	if !ok {
		return true, nil
	}
	changed, err := mb.box.Changed(stamp)
	return changed, vfs.Kinded("look at mailbox", err)
}

const damagedInUse = "its snapshot was damaged while it was in use"

// sync brings the index up to the disk; all locks are held.
func (mb *mailbox) sync() (*index.View, error) {
	v := mb.index.View()
	if changed, err := mb.stale(v); err != nil {
		return nil, err
	} else if !changed {
		mb.noticed(v)
		return v, nil
	}
	switch {
	case v.Built() && v.UIDValidity() != mb.where().UIDValidity:
		mb.index.Reset("its UIDVALIDITY is another mailbox's")
	case v.Built() && v.Damaged():
		mb.index.Reset(damagedInUse)
	}
	c, err := mb.begin()
	if err != nil {
		return nil, err
	}
	defer c.abort()
	err = mb.box.Sync(c.Edit)
	if (errkind.Is(err, errkind.Corrupt) || errors.Is(err, errPicture)) && v.Built() {
		// What the index has cannot be made to fit: begin anew, once.
		c.abort()
		if why := err.Error(); errors.Is(err, errPicture) {
			mb.index.Reset(damagedInUse)
		} else {
			mb.index.Reset(why)
		}
		if c, err = mb.begin(); err != nil {
			return nil, err
		}
		defer c.abort()
		err = mb.box.Sync(c.Edit)
	}
	if err != nil {
		return nil, err
	}
	return c.commit(), nil
}

// recentOf gives the messages that no session was told of.
func recentOf(v *index.View) numset.Set {
	from, _, ok := parseState(v.State())
	if !ok {
		return numset.Set{}
	}
	var out numset.Set
	pos, _ := v.Find(from)
	v.Each(pos, func(_ int, r index.Record) bool { out.Add(r.UID); return true })
	return out
}

// ClaimRecent gives the messages that no session has seen yet: those from a UID
// on that moves with each claim.
func (mb *mailbox) ClaimRecent(peek bool) (numset.Set, error) {
	if mb.isDead() {
		return numset.Set{}, mb.gone()
	}
	v, err := mb.index.Follow()
	if err != nil {
		return numset.Set{}, vfs.Kinded("claim recent", err)
	}
	if from, _, ok := parseState(v.State()); peek || mb.box.ReadOnly() || !ok || from >= v.UIDNext() {
		return recentOf(v), nil
	}
	var out numset.Set
	err = mb.s.locked(func() error {
		if mb.isDead() {
			return mb.gone()
		}
		tx, err := mb.index.Begin()
		if err != nil {
			return err
		}
		defer tx.Abort()
		v := tx.View()
		_, stamp, ok := parseState(v.State())
		if !ok {
			return nil
		}
		out = recentOf(v)
		tx.State(formatState(v.UIDNext(), stamp))
		mb.noticed(tx.Commit())
		return nil
	})
	return out, vfs.Kinded("claim recent", err)
}

// ExpungedSince gives the UIDs expunged after m.
func (mb *mailbox) ExpungedSince(m mailstore.ModSeq) (numset.Set, bool, error) {
	uids, complete := mb.index.ExpungedSince(m)
	return uids, complete, nil
}
