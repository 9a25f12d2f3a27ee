package quota

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/vfs"
)

// Names of the files in the control directory.
const (
	stateFile = "rookery-quota"
	turnFile  = "rookery-quota-turn"
	useFile   = "rookery-quota-use"
)

// Reasons to look at the mailboxes again before a count can go on.
var (
	errLost    = errors.New("the count of use is not there or cannot be believed")
	errUnknown = errors.New("a mailbox is not in the count")
)

// lostTries is how often a count that is lost is made anew within one operation:
// somebody may be removing the file again and again.
const lostTries = 32

// lockFile is a file that is only locked. It is never removed.
type lockFile struct {
	fs   vfs.FS
	path string
	file vfs.File
}

func (l *lockFile) lock(exclusive bool, wait time.Duration) error {
	if l.file == nil {
		f, err := l.fs.OpenFile(l.path, vfs.Read|vfs.Write|vfs.Create, 0o600)
		if err != nil {
			return err
		}
		l.file = f
	}
	err := l.file.Lock(exclusive, wait)
	for _, none := range []error{syscall.ENOLCK, syscall.EOPNOTSUPP, syscall.EINVAL, syscall.ENOSYS} {
		if errors.Is(err, none) {
			return nil // no such locks here: the next look at the mailboxes finds what went wrong
		}
	}
	return err
}

func (l *lockFile) unlock() {
	if l.file != nil {
		l.file.Unlock()
	}
}

func (l *lockFile) close() {
	if l.file != nil {
		l.file.Close()
		l.file = nil
	}
}

// ledger is the file rookery-quota and its locks. Operations hold "use" shared
// while they are under way; who counts mailboxes anew holds it alone, and nobody
// can be under way then. "turn" is taken for a moment before "use", so that one
// who waits to be alone gets his turn. The state file is locked for each look
// and change of it. Order: turn, use, state.
type ledger struct {
	fs   vfs.FS
	path string
	wait time.Duration
	boot uint64

	turnMu sync.Mutex
	turn   lockFile

	useMu sync.Mutex
	none  *sync.Cond // users became 0
	users int
	use   lockFile

	mine atomic.Int32 // operations of this process that the file knows of

	stateMu    sync.Mutex
	state      lockFile
	generation uint64
	records    uint32
	byName     map[nameKey]int
	byGUID     map[mailstore.GUID]int
	free       []int
}

func newLedger(disk vfs.FS, dir string, wait time.Duration) *ledger {
	in := func(name string) lockFile { return lockFile{fs: disk, path: join(dir, name)} }
	l := &ledger{fs: disk, path: join(dir, stateFile), wait: wait, boot: bootKey(disk.BootID()), turn: in(turnFile), use: in(useFile), state: in(stateFile)}
	l.none = sync.NewCond(&l.useMu)
	return l
}

func join(dir, name string) string { return vfs.Join(dir, name) }

func (l *ledger) close() {
	l.turnMu.Lock()
	defer l.turnMu.Unlock()
	l.useMu.Lock()
	defer l.useMu.Unlock()
	l.stateMu.Lock()
	defer l.stateMu.Unlock()
	l.turn.close()
	l.use.close()
	l.state.close()
}

// enter begins an operation.
func (l *ledger) enter() error {
	l.turnMu.Lock()
	defer l.turnMu.Unlock()
	if err := l.turn.lock(true, l.wait); err != nil {
		return err
	}
	defer l.turn.unlock()
	l.useMu.Lock()
	defer l.useMu.Unlock()
	if l.users == 0 {
		if err := l.use.lock(false, l.wait); err != nil {
			return err
		}
	}
	l.users++
	return nil
}

func (l *ledger) leave() {
	l.useMu.Lock()
	defer l.useMu.Unlock()
	if l.users--; l.users == 0 {
		l.use.unlock()
		l.none.Broadcast()
	}
}

// alone waits until no operation of any process is under way and keeps new ones out.
func (l *ledger) alone() (release func(), err error) {
	l.turnMu.Lock()
	if err := l.turn.lock(true, l.wait); err != nil {
		l.turnMu.Unlock()
		return nil, err
	}
	l.useMu.Lock()
	defer l.useMu.Unlock()
	for l.users > 0 {
		l.none.Wait()
	}
	if err := l.use.lock(true, l.wait); err != nil {
		l.turn.unlock()
		l.turnMu.Unlock()
		return nil, err
	}
	return func() {
		l.use.unlock()
		l.turn.unlock()
		l.turnMu.Unlock()
	}, nil
}

// txn is one look at the state file, locked.
type txn struct {
	l *ledger
	h header
}

// with locks the state file and reads its header. f gets one that can be
// believed, or the file is errLost.
func (l *ledger) with(f func(t *txn) error) error {
	return l.locked(func(t *txn, ok bool) error {
		if !ok || t.h.boot != l.boot || t.h.flags&flagRewriting != 0 {
			return errLost
		}
		if err := t.index(); err != nil {
			return err
		}
		return f(t)
	})
}

// locked is with for a header that may be anything; ok says that it is whole.
func (l *ledger) locked(f func(t *txn, ok bool) error) error {
	l.stateMu.Lock()
	defer l.stateMu.Unlock()
	if err := l.lockState(); err != nil {
		return err
	}
	defer l.state.unlock()
	var b [headSize]byte
	n, err := l.state.file.ReadAt(b[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	h, ok := decodeHeader(b[:n])
	return f(&txn{l, h}, ok)
}

// lockState locks the state file; one that was removed under us is opened anew.
func (l *ledger) lockState() error {
	for {
		if err := l.state.lock(true, l.wait); err != nil {
			return err
		}
		info, err := l.state.file.Stat()
		if err == nil && info.Links > 0 {
			return nil
		}
		l.state.unlock()
		l.state.close()
		l.byName = nil
		if err != nil {
			return err
		}
	}
}

// index reads where each mailbox's record is, if that may have changed.
func (t *txn) index() error {
	l := t.l
	if l.byName != nil && l.generation == t.h.generation && l.records == t.h.records {
		return nil
	}
	list, err := t.all()
	if err != nil {
		return err
	}
	l.byName, l.byGUID, l.free = map[nameKey]int{}, map[mailstore.GUID]int{}, nil
	l.generation, l.records = t.h.generation, t.h.records
	for i := range list {
		l.learn(i, &list[i])
	}
	return nil
}

func (l *ledger) learn(i int, r *record) {
	if r.guid == (mailstore.GUID{}) {
		l.free = append(l.free, i)
		return
	}
	l.byName[r.name], l.byGUID[r.guid] = i, i
}

// all reads every record; one that is broken is as if none were there.
func (t *txn) all() ([]record, error) {
	b := make([]byte, int(t.h.records)*recordSize)
	n, err := t.l.state.file.ReadAt(b, headSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if n < len(b) {
		return nil, errLost
	}
	out := make([]record, t.h.records)
	for i := range out {
		r, ok := decodeRecord(b[i*recordSize:])
		if !ok {
			return nil, errLost
		}
		out[i] = r
	}
	return out, nil
}

func (t *txn) record(i int) (record, error) {
	var b [recordSize]byte
	if _, err := t.l.state.file.ReadAt(b[:], headSize+int64(i)*recordSize); err != nil {
		if errors.Is(err, io.EOF) {
			return record{}, errLost
		}
		return record{}, err
	}
	r, ok := decodeRecord(b[:])
	if !ok {
		return record{}, errLost
	}
	return r, nil
}

func (t *txn) put(i int, r *record) error {
	_, err := t.l.state.file.WriteAt(r.encode(), headSize+int64(i)*recordSize)
	return err
}

func (t *txn) putHead() error {
	_, err := t.l.state.file.WriteAt(t.h.encode(), 0)
	return err
}

// find gives the place of a mailbox's record.
func (t *txn) find(r ref) (int, bool) {
	if r.guid != (mailstore.GUID{}) {
		i, ok := t.l.byGUID[r.guid]
		return i, ok
	}
	i, ok := t.l.byName[keyOf(r.name)]
	return i, ok
}

// rewrite replaces all records. A process that is killed meanwhile leaves the
// flag, and the next one begins anew.
func (t *txn) rewrite(list []record) error {
	t.h.flags |= flagRewriting
	if err := t.putHead(); err != nil {
		return err
	}
	b := make([]byte, 0, len(list)*recordSize)
	for i := range list {
		b = append(b, list[i].encode()...)
	}
	if len(b) > 0 {
		if _, err := t.l.state.file.WriteAt(b, headSize); err != nil {
			return err
		}
	}
	t.h.flags &^= flagRewriting
	t.h.generation++
	t.h.records = uint32(len(list))
	t.l.byName = nil
	return t.putHead()
}

// replace puts a record in place of another, and the header with the totals that
// go with it: the flag stands while the two do not agree.
func (t *txn) replace(i int, r *record) error {
	now := t.h
	t.h.flags |= flagRewriting
	if err := t.putHead(); err != nil {
		return err
	}
	if err := t.put(i, r); err != nil {
		return err
	}
	t.h = now
	t.l.byName = nil
	return t.putHead()
}

// note counts an operation under way that has no record of its own.
func (l *ledger) note(n int32) error {
	err := l.with(func(t *txn) error {
		t.h.underWay = uint32(max(0, int32(t.h.underWay)+n))
		return t.putHead()
	})
	if err == errLost {
		return nil // all is counted anyway
	}
	return err
}

// ref names a mailbox: by GUID if it is open, else by its name.
type ref struct {
	name mailstore.Name
	guid mailstore.GUID
}

// op is an operation under way: the records that it may change say so.
type op struct {
	l        *ledger
	at       []int // the place of each ref's record; two refs may be one mailbox
	reserved Use
}

// reserve notes an operation on the mailboxes, and what it may add to the use.
// The caller has entered. check may refuse.
func (l *ledger) reserve(refs []ref, add Use, check func(h *header) error) (*op, error) {
	o := &op{l: l, reserved: add}
	err := l.with(func(t *txn) error {
		for _, r := range refs {
			i, ok := t.find(r)
			if !ok {
				return errUnknown
			}
			o.at = append(o.at, i)
		}
		if check != nil {
			if err := check(&t.h); err != nil {
				return err
			}
		}
		for _, i := range o.distinct() {
			r, err := t.record(i)
			if err != nil {
				return err
			}
			r.underWay++
			if err := t.put(i, &r); err != nil {
				return err
			}
		}
		t.h.underWay++
		t.h.reserved.add(add)
		return t.putHead()
	})
	if err != nil {
		return nil, err
	}
	l.mine.Add(1)
	return o, nil
}

func (o *op) distinct() []int {
	if len(o.at) == 2 && o.at[0] == o.at[1] {
		return o.at[:1]
	}
	return o.at
}

// change is what became of the mailbox of one ref.
type change struct {
	add, sub Use
	next     mailstore.UID // above every UID that was added; 0 if none was
	validity uint32        // as the driver told it; 0 if it did not
	doubt    bool          // nobody can say: it is to be counted anew
}

// finish counts what was done, one change for each ref. after sees the header
// before it is written, with what was added to and taken from the counted use.
// The caller leaves.
func (o *op) finish(changes []change, after func(h *header, add, sub Use)) error {
	defer o.l.mine.Add(-1)
	return o.l.with(func(t *txn) error {
		var added, removed Use
		if len(o.at) == 2 && o.at[0] == o.at[1] {
			changes[0].doubt = changes[0].doubt || changes[1].doubt
		}
		for k, i := range o.at {
			r, err := t.record(i)
			if err != nil {
				return err
			}
			c := &changes[k]
			u := r.use()
			u.add(c.add)
			doubt := c.doubt || !u.sub(c.sub) || c.validity != 0 && c.validity != r.validity
			r.octets, r.messages, r.next = u.Octets, uint32(u.Messages), max(r.next, c.next)
			if total := t.h.total(r.class); total != nil {
				total.add(c.add)
				total.sub(c.sub)
			}
			if r.class == Counted {
				added.add(c.add)
				removed.add(c.sub)
			}
			switch {
			case doubt:
				t.h.looked = 0
			case r.underWay > 0 && (k == 0 || i != o.at[0]):
				r.underWay--
			}
			if err := t.put(i, &r); err != nil {
				return err
			}
		}
		t.h.underWay -= min(t.h.underWay, 1)
		t.h.reserved.sub(o.reserved)
		after(&t.h, added, removed)
		return t.putHead()
	})
}
