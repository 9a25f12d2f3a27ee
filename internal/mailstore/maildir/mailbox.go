package maildir

import (
	"sync"
	"sync/atomic"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
	"rookery/internal/vfs"
)

// mailbox is one folder, open. All opens of a Store share it.
type mailbox struct {
	s    *Store
	snap atomic.Pointer[snapshot]

	// op is held by whoever works on the disk; it guards all up to mu. A mailbox
	// that waits for a lock of the file system holds op, so op of two mailboxes
	// is never held by one goroutine.
	op       sync.Mutex
	dir      string     // of new/, cur/, tmp/
	ctl      string     // of the control files
	names    [][]string // file names, in the shape of snap's pieces; the first byte is 'n' for new/, 'c' for cur/
	ext      map[uint32]string
	kw       *keywordTable
	more     map[uint32][]uint16 // keywords beyond the letters
	uids     uidState
	fresh    []uidRecord // records read and not yet matched with files
	cur      dirState
	new      dirState
	keyf     fileStamp  // dovecot-keywords
	moref    fileStamp  // rookery-keywords
	moreN    int        // lines in it
	recent   numset.Set // in cur/, and nobody was told yet
	hist     history
	virt     map[uint32]int64 // sizes in CRLF form that had to be counted
	loaded   bool
	ours     uint64 // counts own changes of new/ and cur/
	rescan   bool   // a background look is under way
	rename   bool   // keyword names changed: judge all flags anew
	freshAll bool   // fresh holds every record
	noRoom   bool   // the disk is full: new messages wait for their UIDs, as was noted
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
	dir, err := s.find(name)
	if err != nil {
		return nil, err
	}
	name = s.canonical(name)
	for try := 0; ; try++ {
		mb, err := s.claim(name, dir)
		if err != nil {
			return nil, err
		}
		mb.op.Lock()
		err = mb.refresh()
		mb.op.Unlock()
		if err == nil {
			return mb, nil
		}
		dead := mb.isDead()
		s.put(mb) // which may end it: not with op held
		if !dead || try > 0 {
			return nil, err
		}
		// It was kept in memory, and made anew by another process: once more.
	}
}

// claim finds the mailbox among those in memory, or makes it.
func (s *Store) claim(name mailstore.Name, dir string) (*mailbox, error) {
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
		if mb == nil {
			mb = &mailbox{s: s, name: name, dir: s.mailDir(dir), ctl: s.ctlDir(dir), kw: newKeywordTable(),
				ext: map[uint32]string{}, more: map[uint32][]uint16{}, watchers: map[*watcher]struct{}{}, virt: map[uint32]int64{}}
			mb.snap.Store(&snapshot{next: 1})
		}
		s.open[name] = mb
	}
	mb.mu.Lock()
	mb.refs++
	mb.mu.Unlock()
	return mb, nil
}

// idleMailboxes is how many closed mailboxes stay in memory, since clients come
// back to them; idleMessages bounds the messages in them.
const (
	idleMailboxes = 3
	idleMessages  = 50000
)

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
			sum := 0
			for i := len(s.idle) - 1; i >= 0; i-- {
				sum += s.idle[i].snap.Load().n
				if len(s.idle)-i > idleMailboxes || sum > idleMessages {
					out = append(out, s.idle[:i+1]...)
					s.idle = append([]*mailbox(nil), s.idle[i+1:]...)
					break
				}
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
	return mailstore.Info{Name: mb.s.outName(mb.nameNow()), UIDValidity: mb.uids.hdr.validity, GUID: guidOf(mb.uids.hdr.guid),
		Namespace: mb.s.opt.Namespace, PermanentFlags: mailstore.AllFlags, NewKeywords: true, ReadOnly: mb.uids.readOnly || !mb.s.can.write}
}

// Keywords gives every name that the mailbox knows.
func (mb *mailbox) Keywords() []string {
	mb.op.Lock()
	defer mb.op.Unlock()
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

// canonical takes the namespace's prefix off.
func (s *Store) canonical(name mailstore.Name) mailstore.Name {
	if s.prefix != "" && name != imapname.Inbox && len(name) > len(s.prefix) && name[:len(s.prefix)] == s.prefix {
		return name[len(s.prefix):]
	}
	return name
}

// outName puts the prefix on.
func (s *Store) outName(name mailstore.Name) mailstore.Name {
	if name == imapname.Inbox {
		return name
	}
	return s.prefix + name
}

// fileStamp tells whether a control file is the one that was read.
type fileStamp struct {
	inode uint64
	size  int64
	mtime time.Time
}

func stampOf(i vfs.Info) fileStamp { return fileStamp{i.Inode, i.Size, i.ModTime} }

// stampAt is the stamp of path, zero if nothing is there.
func (s *Store) stampAt(path string) (fileStamp, error) {
	i, err := s.fs.Stat(path)
	if err != nil {
		if notExist(err) {
			return fileStamp{}, nil
		}
		return fileStamp{}, err
	}
	return stampOf(i), nil
}

// dirState is what is known of new/ or cur/.
type dirState struct {
	known   fileStamp // of the last look, or after our own last change
	stale   bool      // somebody changed it since: look again
	doubt   bool      // a change may hide behind the same stamp: look again later
	looked  time.Time // end of the last look
	tookMax time.Duration
}

// tick bounds how coarse a file system's times may be, judged by one of them:
// a change within it of another may leave the same stamp.
func tick(t time.Time) time.Duration {
	if t.Nanosecond() == 0 {
		return 2100 * time.Millisecond // whole or even seconds
	}
	return 50 * time.Millisecond
}

// history is what was expunged while the mailbox was in memory.
type history struct {
	from uint64 // complete after this MODSEQ
	ev   []expunged
}

type expunged struct {
	modseq uint64
	uids   numset.Set
}

// maxHistory bounds the ranges that are remembered.
const maxHistory = 4096

func (h *history) add(modseq uint64, uids numset.Set) {
	h.ev = append(h.ev, expunged{modseq, uids})
	n := 0
	for i := len(h.ev) - 1; i >= 0; i-- {
		if n += len(h.ev[i].uids.Ranges()); n > maxHistory {
			h.from = h.ev[i].modseq
			h.ev = append([]expunged(nil), h.ev[i+1:]...)
			return
		}
	}
}

// ExpungedSince gives the UIDs expunged after m.
func (mb *mailbox) ExpungedSince(m mailstore.ModSeq) (numset.Set, bool, error) {
	mb.op.Lock()
	defer mb.op.Unlock()
	if uint64(m) < mb.hist.from {
		return numset.Set{}, false, nil
	}
	var out numset.Set
	for _, e := range mb.hist.ev {
		if e.modseq > uint64(m) {
			out = out.Union(e.uids)
		}
	}
	return out, true, nil
}

// fullName gives the path of a message's file; op is held.
func (mb *mailbox) path(name string) string {
	if name[0] == 'n' {
		return join(mb.dir, "new/"+name[1:])
	}
	return join(mb.dir, "cur/"+name[1:])
}

// nameAt gives the stored name at a position of the newest snapshot.
func (mb *mailbox) nameAt(s *snapshot, pos int) string {
	c, i := s.locate(pos)
	return mb.names[c][i]
}

func (mb *mailbox) setName(s *snapshot, pos int, name string) {
	c, i := s.locate(pos)
	mb.names[c][i] = name
}
