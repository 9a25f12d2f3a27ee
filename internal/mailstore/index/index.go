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
	MaxCache   int64         // bytes of one mailbox's cache, from which on it begins anew; 0 is 1 GiB
	// KeepClean syncs the index when it is closed, so that a restart of the
	// machine finds it usable. Without it, and after a power cut, the index is
	// rebuilt. For processes that live long.
	KeepClean bool
	// NoBackground leaves compaction to calls of Compact: for processes that end
	// soon, and for tests that count operations.
	NoBackground bool
}

// User is one user's index. All methods of it, its boxes and views may be called
// from several goroutines.
type User struct {
	opt    Options
	lock   userLock
	modseq modseqs
	alone  atomic.Bool // the log is given up: this process works in memory

	mu      sync.Mutex
	boxes   map[mailstore.GUID]*Box
	ending  bool // Close has begun
	closed  bool
	log     *userLog  // nil: there is none, or it cannot be used
	home    vfs.FS    // the log's directory, held open; nil: not yet
	homeAt  time.Time // when home was last the directory of that path
	seq     uint64    // of the last record
	info    map[mailstore.GUID]*boxInfo
	last    *boxInfo       // of lastOf: the mailbox of the record taken last; nil: none
	lastOf  mailstore.GUID // see last
	high    uint64         // the highest MODSEQ of a record
	changed map[mailstore.GUID]struct{}
	why     string    // why the last log is gone: for the Notes of what is rebuilt
	bad     fileID    // a log that was found damaged
	retry   time.Time // no log is made before
	void    *fileID   // a log that must not be believed, and could not be told so yet
	carried int64     // bytes of the log that its last compaction carried over

	work     sync.WaitGroup
	kick     chan struct{} // compaction may be due; nil until the first time
	stop     chan struct{}
	compacts sync.Mutex // one compaction at a time
}

type fileID struct{ inode, dev uint64 }

// boxInfo is what the log says of a mailbox.
type boxInfo struct {
	dir     string
	snapSeq uint64   // a snapshot holds all up to it
	recs    []recPos // transactions after it
	bytes   int64    // their length
	synced  bool     // the snapshot of snapSeq is certain to survive
	size    int64    // its length, if this process wrote it
}

type recPos struct {
	off, length int64
	seq         uint64
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
	if o.MaxCache == 0 {
		o.MaxCache = 1 << 30
	}
	if o.Note == nil {
		o.Note = func(string) {}
	}
	u := &User{opt: o, boxes: map[mailstore.GUID]*Box{}, changed: map[mailstore.GUID]struct{}{}, stop: make(chan struct{})}
	u.forgetLog()
	u.modseq.u = u
	u.lock.turn = make(chan struct{}, 1)
	u.lock.turn <- struct{}{}
	u.mu.Lock()
	defer u.mu.Unlock()
	err := u.sync(false)
	clear(u.changed)
	return u, err
}

func join(dir, name string) string { return vfs.Join(dir, name) }

// RaiseModSeq makes every later MODSEQ greater than m (a mailbox restored from
// elsewhere, whose clients hold numbers up to m).
func (u *User) RaiseModSeq(m uint64) { u.modseq.raise(m) }

// Poll reads the log on, without a lock, and gives the mailboxes that other
// processes have changed since the last Poll, in no order; of those that are open
// here View is then the new one.
func (u *User) Poll() (changed []mailstore.GUID, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	err = u.sync(false)
	for g := range u.changed {
		changed = append(changed, g)
	}
	clear(u.changed)
	return changed, err
}

// What the log may have grown by before it is compacted by a process that ends:
// octets; without a background, times MaxLog. It waits for the lock closeWait.
const (
	closeLog  = 64 << 10
	lateLog   = 4
	closeWait = time.Second
)

// Close ends background work and gives up the files. Boxes must be closed before.
func (u *User) Close() error {
	u.mu.Lock()
	if u.closed || u.ending {
		u.mu.Unlock()
		return nil
	}
	u.ending = true
	// The next process reads the log through. One of few changes leaves that to
	// others, but for a user who never logs in and has nobody else.
	limit := min(closeLog, u.opt.MaxLog)
	if u.opt.NoBackground {
		limit = lateLog * u.opt.MaxLog
	}
	late := u.logOver(limit)
	u.mu.Unlock()
	if late {
		u.compact(limit, closeWait)
	}
	close(u.stop)
	u.work.Wait()
	if u.opt.KeepClean {
		u.keepClean()
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.log != nil || u.void != nil {
		u.sync(false) // to know the last record; see modseqs.note
	}
	u.closed = true
	err := u.modseq.close()
	if u.lock.file != nil {
		if cerr := u.lock.file.Close(); err == nil {
			err = cerr
		}
	}
	if u.log != nil {
		if cerr := u.log.close(); err == nil {
			err = cerr
		}
		u.log = nil
	}
	return err
}

// Box is the index of one mailbox.
type Box struct {
	u    *User
	guid mailstore.GUID
	view atomic.Pointer[View]
	seq  uint64      // the last record that view has; under User.mu
	busy atomic.Bool // OnDamage's function runs
	// patience is until when other readers wait for that, in Unix ns.
	patience atomic.Int64

	mu      sync.Mutex
	dir     string
	refs    int
	dropped bool
	why     string            // why the view is not Built
	setNo   map[string]uint32 // numbers of keyword sets; see setNumbers
	rebuild func()
	facts   cache
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
		b = newBox(u, guid, dir)
		b.view.Store(emptyView(b))
		u.load(b)
		u.boxes[guid] = b
	}
	b.refs++
	return b, nil
}

func newBox(u *User, guid mailstore.GUID, dir string) *Box {
	b := &Box{u: u, guid: guid, dir: dir}
	b.facts.b = b
	return b
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
	b.u.mu.Lock()
	defer b.u.mu.Unlock()
	err := b.u.sync(false)
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
// where history begins. Until it is committed, View gives what it gave before,
// but not Built, so that no session sees messages come and go. why is for the
// Note that tells of the rebuilding.
func (b *Box) Reset(why string) error {
	b.u.mu.Lock()
	defer b.u.mu.Unlock()
	b.unbuild(why)
	return nil
}

// unbuild publishes the view as one that is not Built. User.mu is held.
func (b *Box) unbuild(why string) {
	b.mu.Lock()
	b.why, b.setNo = why, nil
	b.mu.Unlock()
	if v := b.View(); v.built {
		b.view.Store(v.unbuilt())
	}
}

func (v *View) unbuilt() *View {
	n := &View{box: v.box, base: v.base, pages: v.pages, starts: v.starts, validity: v.validity, next: v.next, high: v.high,
		floor: v.floor, sets: v.sets, state: v.state, counts: v.counts, hist: v.hist, heap: v.heap}
	n.firstUID.Store(v.firstUID.Load())
	return n
}

// healWait is how long readers wait for one that has a damaged index rebuilt.
const healWait = 200 * time.Millisecond

// damaged is called when the snapshot under a view in use has lost a record.
func (b *Box) damaged() {
	if !b.busy.CompareAndSwap(false, true) {
		// Another reader has it rebuilt, which serves us, too. Not for long: it may
		// wait for a lock that we hold, or be ourselves.
		for b.busy.Load() && time.Now().UnixNano() < b.patience.Load() {
			time.Sleep(time.Millisecond)
		}
		return
	}
	defer b.busy.Store(false)
	b.patience.Store(time.Now().Add(healWait).UnixNano())
	b.mu.Lock()
	f := b.rebuild
	b.why, b.setNo = "its snapshot was damaged while it was in use", nil
	b.mu.Unlock()
	for {
		v := b.View()
		if !v.built || v.base == nil || !v.base.bad.Load() || b.view.CompareAndSwap(v, v.unbuilt()) {
			break
		}
	}
	if f != nil {
		f()
	}
}

// ExpungedSince asks the newest View.
func (b *Box) ExpungedSince(m mailstore.ModSeq) (uids numset.Set, complete bool) {
	return b.View().ExpungedSince(m)
}

// Cached gives a derived fact that PutCached kept. ok is false at any time, for
// any reason. The value is the caller's. Asking is what makes a field worth
// keeping: what nobody asks for in 30 days is forgotten.
func (b *Box) Cached(uid mailstore.UID, field string) (value []byte, ok bool) {
	return b.facts.get(uid, field)
}

// PutCached offers a derived fact of at most 64 KiB, of a field whose name has at
// most 200 bytes and that somebody has asked for. It is kept in memory until some
// are together or the Box is closed. A fact never changes: of two values for one
// message and field either may be given later.
func (b *Box) PutCached(uid mailstore.UID, field string, value []byte) {
	b.facts.put(uid, field, value)
}

// CachedFields gives the fields that were asked for lately, in any process:
// what is worth computing for a message beforehand.
func (b *Box) CachedFields() []string { return b.facts.fieldNames() }

// Rename tells that the mailbox's directory is another one now, under
// User.Lock, after the driver has moved it with its files.
func (b *Box) Rename(dir string) error {
	b.u.mu.Lock()
	defer b.u.mu.Unlock()
	b.mu.Lock()
	b.dir = dir
	b.mu.Unlock()
	if b.u.info[b.guid] != nil {
		b.u.append(b, kindBox, 0, []byte(dir))
	}
	return nil
}

// Drop forgets the mailbox and removes its files, under User.Lock. Views stay
// readable; no transaction can begin any more.
func (b *Box) Drop() error {
	u := b.u
	b.facts.drop()
	u.mu.Lock()
	defer u.mu.Unlock()
	b.mu.Lock()
	b.dropped = true
	dir := b.dir
	b.mu.Unlock()
	if u.boxes[b.guid] == b {
		delete(u.boxes, b.guid)
	}
	if u.info[b.guid] != nil {
		u.append(b, kindDrop, 0, nil)
	}
	var failed error
	for _, name := range [...]string{snapFile, snapNew, cacheFile, cacheNew} {
		if err := u.opt.FS.Remove(join(dir, name)); err != nil && !notExist(err) && failed == nil {
			failed = errkind.Wrap("drop index", err)
		}
	}
	return failed
}

// Close gives up one Box call.
func (b *Box) Close() {
	b.u.mu.Lock()
	b.refs--
	last := b.refs == 0
	if last && b.u.boxes[b.guid] == b {
		delete(b.u.boxes, b.guid)
	}
	b.u.mu.Unlock()
	if last {
		b.facts.close()
	}
}
