package index

import (
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
	"rookery/internal/vfs"
)

// Options say where a user's index lies.
type Options struct {
	FS         vfs.FS
	LogDir     string        // of rookery.index.log; made when first written. "" is the root
	ControlDir string        // of rookery-lock and rookery-modseq, which are control files; must be there
	FileMode   fs.FileMode   // of new files; 0 is 0600
	DirMode    fs.FileMode   // of new directories; 0 is 0700
	LockWait   time.Duration // for the index's own short locks; 0 is 30 s
	Note       func(string)  // one line about what was found wrong or rebuilt; nil: nobody is told
	MaxLog     int64         // bytes of log from which on it is compacted; 0 is 1 MiB
	// KeepClean syncs the index when it is closed, so that a restart of the
	// machine finds it usable. Without it, and after a power cut, the index is
	// rebuilt. For processes that live long.
	KeepClean bool
}

// User is one user's index. All methods of it, its boxes and views may be called
// from several goroutines.
type User struct {
	opt    Options
	lock   userLock
	modseq modseqs

	mu     sync.Mutex
	boxes  map[mailstore.GUID]*Box
	closed bool
}

// Open opens a user's index. It reads the log if there is one, and makes no file.
// Damage is never an error: what cannot be used is forgotten, with a Note.
func Open(o Options) (*User, error) {
	if o.FileMode == 0 {
		o.FileMode = 0o600
	}
	if o.DirMode == 0 {
		o.DirMode = 0o700
	}
	if o.LockWait == 0 {
		o.LockWait = 30 * time.Second
	}
	if o.MaxLog == 0 {
		o.MaxLog = 1 << 20
	}
	if o.Note == nil {
		o.Note = func(string) {}
	}
	u := &User{opt: o, boxes: map[mailstore.GUID]*Box{}}
	u.modseq.u = u
	u.lock.turn = make(chan struct{}, 1)
	u.lock.turn <- struct{}{}
	return u, nil
}

func join(dir, name string) string {
	if dir == "" || dir == "." {
		return name
	}
	return dir + "/" + name
}

// NextModSeq gives a number above all that were handed out to this user, by any
// process, as far as the log was read. A transaction takes its own; this is for
// what is no message's.
func (u *User) NextModSeq() uint64 { return u.modseq.next() }

// RaiseModSeq makes every later MODSEQ greater than m (a mailbox restored from
// elsewhere, whose clients hold numbers up to m).
func (u *User) RaiseModSeq(m uint64) { u.modseq.see(m) }

// Poll reads the log on, without a lock, and gives the mailboxes that other
// processes have changed since the last Poll, in no order. Their View is then
// the new one.
func (u *User) Poll() (changed []mailstore.GUID, err error) { return nil, nil }

// Close ends background work and gives up the files. Boxes must be closed before.
func (u *User) Close() error {
	u.mu.Lock()
	if u.closed {
		u.mu.Unlock()
		return nil
	}
	u.closed = true
	u.mu.Unlock()
	err := u.modseq.close()
	if u.lock.file != nil {
		if cerr := u.lock.file.Close(); err == nil {
			err = cerr
		}
	}
	return err
}

// Box is the index of one mailbox.
type Box struct {
	u    *User
	guid mailstore.GUID
	view atomic.Pointer[View]

	mu      sync.Mutex
	dir     string
	refs    int
	dropped bool
	forget  bool              // Reset was called: the next transaction begins with nothing
	setNo   map[string]uint32 // of the writer, under User.Lock
	rebuild func()
	facts   memCache
}

// Box gives the index of the mailbox guid. dir is where rookery.index and
// rookery.index.cache of it lie (made when first written); every process must
// give the same. All calls for one GUID give the same Box; each needs its Close.
// A mailbox that is not known, or whose index is damaged, has a View that is not
// Built. errkind.Unavailable once the User is closed.
func (u *User) Box(guid mailstore.GUID, dir string) (*Box, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return nil, errkind.Newf("open index", errkind.Unavailable, "the index is closed")
	}
	b := u.boxes[guid]
	if b == nil {
		b = &Box{u: u, guid: guid, dir: dir}
		b.view.Store(emptyView(b))
		u.boxes[guid] = b
	}
	b.refs++
	return b, nil
}

func emptyView(b *Box) *View {
	return &View{box: b, starts: []uint32{0}, next: 1, sets: [][]string{nil}, hist: &history{}}
}

// GUID names the mailbox.
func (b *Box) GUID() mailstore.GUID { return b.guid }

// View is the newest published picture. It takes no lock and reads no file.
func (b *Box) View() *View { return b.view.Load() }

// Follow reads the log on and gives the newest picture. An error is one of the
// disk's; the picture is then the last known.
func (b *Box) Follow() (*View, error) {
	_, err := b.u.Poll()
	return b.View(), err
}

// OnDamage sets what is called when a file turns out to be damaged under a view
// that is in use, so that the driver can rebuild. It runs in the goroutine that
// read, which may hold locks of the driver: where f cannot have what it needs at
// once, it must return, and leave the work to the driver's next look. No lock of
// the index is held.
func (b *Box) OnDamage(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rebuild = f
}

// Reset forgets everything, under User.Lock: the next transaction begins with an
// empty mailbox and must add all messages; it gets a MODSEQ above all before,
// where history begins. View gives the old picture until that transaction is
// committed, so that no session sees messages come and go. why is for the Note.
func (b *Box) Reset(why string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forget, b.setNo = true, nil
	b.u.opt.Note("the index of " + b.dir + " is rebuilt: " + why)
	return nil
}

// ExpungedSince asks the newest View.
func (b *Box) ExpungedSince(m mailstore.ModSeq) (uids numset.Set, complete bool) {
	return b.View().ExpungedSince(m)
}

// Cached gives a derived fact that PutCached kept. ok is false at any time, for
// any reason. The caller must not change the value.
func (b *Box) Cached(uid mailstore.UID, field string) (value []byte, ok bool) {
	return b.facts.get(uid, field)
}

// PutCached offers a derived fact of at most 64 KiB. A fact never changes: of
// two values for one message and field either may be given later.
func (b *Box) PutCached(uid mailstore.UID, field string, value []byte) {
	b.facts.put(uid, field, value)
}

// Rename tells that the mailbox's directory is another one now, under
// User.Lock, after the driver has moved it with its files.
func (b *Box) Rename(dir string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dir = dir
	return nil
}

// Drop forgets the mailbox and removes its files, under User.Lock. Views stay
// readable; no transaction can begin any more.
func (b *Box) Drop() error {
	b.mu.Lock()
	b.dropped = true
	b.mu.Unlock()
	b.u.mu.Lock()
	defer b.u.mu.Unlock()
	if b.u.boxes[b.guid] == b {
		delete(b.u.boxes, b.guid)
	}
	return nil
}

// Close gives up one Box call.
func (b *Box) Close() {
	b.u.mu.Lock()
	defer b.u.mu.Unlock()
	if b.refs--; b.refs == 0 && b.u.boxes[b.guid] == b {
		delete(b.u.boxes, b.guid)
	}
}
