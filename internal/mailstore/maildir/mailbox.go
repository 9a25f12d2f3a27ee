package maildir

import (
	"sync"
	"sync/atomic"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/index"
	"rookery/internal/numset"
)

// mailbox is one folder, open. All opens of a Store share it.
type mailbox struct {
	s      *Store
	snap   atomic.Pointer[index.View] // what sessions are shown; nil until the first look
	boxNow atomic.Pointer[index.Box]
	kwNow  atomic.Pointer[keywordTable] // a copy of kw, for who does not hold op
	// unhealed is a damaged picture that heal could not make anew at once.
	unhealed atomic.Pointer[index.View]

	// op is held by whoever works on the disk; it guards all up to mu. A mailbox
	// that waits for a lock of the file system holds op, so op of two mailboxes
	// is never held by one goroutine, but for a change of the folders.
	op      sync.Mutex
	dir     string // of new/, cur/, tmp/
	ctl     string // of the control files
	idx     string // of the index
	box     *index.Box
	raw     *index.View // the index's newest
	seen    *index.View // the same, or an empty one if it must be built anew; st belongs to it
	st      state
	loaded  bool   // st says what seen stands for
	rebuild string // why the index must be built anew, "" if it need not
	hdr     uidHeader
	hdrOf   uint64      // inode of the uidlist that hdr was read from
	fresh   []uidRecord // records read and not yet in the index
	kw      *keywordTable
	kwOf    [2]fileStamp // dovecot-keywords and rookery-keywords that kw was read from
	disk    map[uint32]setPlace
	more    *moreKeywords // rookery-keywords, if it was read just now
	recent  numset.Set    // in cur/, and nobody was told yet
	facts   map[uint32]index.Facts
	shapes  shapes
	counted int // sizes that had to be counted and stand in the index alone
	looked  time.Time
	look    bool // our own doubt: look again at the next chance
	rescan  bool // a background look is under way
	reflag  bool // keyword names changed: judge all flags anew
	// freshAll says that fresh holds every record.
	freshAll bool
	readOnly bool
	noRoom   bool // the disk is full: new messages wait for their UIDs, as was noted
	work     sync.WaitGroup

	mu       sync.Mutex
	name     mailstore.Name
	refs     int
	dead     bool
	watchers map[*watcher]struct{}
	queue    []*addJob
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

// get gives an open mailbox, one reference counted.
func (s *Store) get(name mailstore.Name) (*mailbox, error) {
	inner := s.tree.Inner(name)
	// One that is in memory need not be looked for: it finds out itself if its
	// directory is gone. In the fs layout the directory may stay, as a parent.
	look := s.opt.Layout == FSLayout
	for try := 0; ; try++ {
		var mb *mailbox
		var err error
		if !look {
			mb, err = s.claim(inner, "", false)
		}
		if mb == nil && err == nil {
			look = true
			var dir string
			if dir, err = s.find(name); err == nil {
				mb, err = s.claim(inner, dir, true)
			}
		}
		if err != nil {
			return nil, err
		}
		mb.op.Lock()
		err = mb.refresh()
		mb.op.Unlock()
		if err == nil {
			return mb, nil
		}
		again := mb.isDead() || !look && errkind.Is(err, errkind.NotFound)
		s.put(mb) // which may end it: not with op held
		if !again || look && try > 0 {
			return nil, err
		}
		// It was kept in memory, and made anew by another process: once more.
		look = true
	}
}

// claim finds the mailbox among those in memory, or makes it if make says so;
// else it gives nil.
func (s *Store) claim(name mailstore.Name, dir string, make bool) (*mailbox, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errkind.Newf("open", errkind.Unavailable, "the store is closed")
	}
	mb := s.open[name]
	if mb == nil {
		for i, m := range s.idle {
			if m.nameNow() == name {
				mb = m
				s.idle = append(s.idle[:i:i], s.idle[i+1:]...)
				break
			}
		}
		if mb == nil && !make {
			return nil, nil
		}
		if mb == nil {
			mb = &mailbox{s: s, name: name, dir: s.mailDir(dir), ctl: s.ctlDir(dir), idx: s.idxDir(dir), kw: newKeywordTable(),
				watchers: map[*watcher]struct{}{}}
			mb.snap.Store(&index.View{})
			mb.kwNow.Store(newKeywordTable())
		}
		s.open[name] = mb
	}
	mb.mu.Lock()
	mb.refs++
	mb.mu.Unlock()
	return mb, nil
}

// idleMailboxes is how many closed mailboxes stay in memory, since clients come
// back to them: they cost little beside their tables, and an open index.
const idleMailboxes = 64

// put gives a reference back.
func (s *Store) put(mb *mailbox) {
	s.mu.Lock()
	mb.mu.Lock()
	mb.refs--
	last, dead, name := mb.refs == 0, mb.dead, mb.name
	mb.mu.Unlock()
	var out []*mailbox
	if last {
		if s.open[name] == mb {
			delete(s.open, name)
		}
		if dead || s.closed {
			out = append(out, mb)
		} else {
			s.idle = append(s.idle, mb)
			if n := len(s.idle) - idleMailboxes; n > 0 {
				out = append(out, s.idle[:n]...)
				s.idle = append([]*mailbox(nil), s.idle[n:]...)
			}
		}
	}
	s.mu.Unlock()
	for _, m := range out {
		m.retire()
	}
}

// retire ends a mailbox's life in memory.
func (mb *mailbox) retire() {
	mb.work.Wait()
	mb.op.Lock()
	defer mb.op.Unlock()
	if !mb.isDead() && mb.loaded {
		mb.tidy()
	}
	mb.closeBox()
}

func (mb *mailbox) isDead() bool { mb.mu.Lock(); defer mb.mu.Unlock(); return mb.dead }

func (mb *mailbox) nameNow() mailstore.Name { mb.mu.Lock(); defer mb.mu.Unlock(); return mb.name }

// die marks the mailbox as deleted: every session hears it at its next Sync.
func (mb *mailbox) die() {
	mb.s.mu.Lock()
	mb.mu.Lock()
	mb.dead = true
	if mb.s.open[mb.name] == mb {
		delete(mb.s.open, mb.name)
	}
	for i, m := range mb.s.idle {
		if m == mb {
			mb.s.idle = append(mb.s.idle[:i:i], mb.s.idle[i+1:]...)
			break
		}
	}
	mb.mu.Unlock()
	mb.s.mu.Unlock()
	mb.wake()
}

// Info tells what does not change while the mailbox is open.
func (mb *mailbox) Info() mailstore.Info {
	mb.op.Lock()
	defer mb.op.Unlock()
	return mailstore.Info{Name: mb.s.tree.Outer(mb.nameNow()), UIDValidity: mb.hdr.validity, GUID: guidOf(mb.hdr.guid),
		Namespace: mb.s.opt.Namespace, PermanentFlags: mailstore.AllFlags, NewKeywords: true, ReadOnly: mb.readOnly || !mb.s.can.write}
}

// Keywords gives every name that the mailbox knows.
func (mb *mailbox) Keywords() []string {
	mb.op.Lock()
	defer mb.op.Unlock()
	mb.table()
	return mb.kw.names()
}

// Snapshot is the newest picture known.
func (mb *mailbox) Snapshot() mailstore.Snapshot { return mb.snap.Load() }

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

// gone is the answer of a mailbox that was deleted.
func (mb *mailbox) gone() error {
	return errkind.Newf("mailbox "+mb.nameNow(), errkind.NotFound, "the mailbox was deleted or made anew by another session")
}

// Sync looks for changes by others.
func (mb *mailbox) Sync() (mailstore.Snapshot, error) {
	mb.op.Lock()
	defer mb.op.Unlock()
	if err := mb.refresh(); err != nil {
		return nil, errkind.Wrap("sync", err)
	}
	return mb.snap.Load(), nil
}

// tick bounds how coarse a file system's times may be, judged by one of them:
// a change within it of another may leave the same stamp.
func tick(f fileStamp) time.Duration {
	if f.mtime%1e9 == 0 {
		return 2100 * time.Millisecond // whole or even seconds
	}
	return 50 * time.Millisecond
}

// path gives the path of a message's file; op is held.
func (mb *mailbox) path(name string) string {
	if name[0] == 'n' {
		return join(mb.dir, "new/"+name[1:])
	}
	return join(mb.dir, "cur/"+name[1:])
}
