package remote

import (
	"sync"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// clientBox is a mailbox that the guest has open.
type clientBox struct {
	c *Client
	n uint32

	pull sync.Mutex // one picture is asked for at a time
	ask  ahead      // for facts, under mu
	msgs ahead      // for messages, under mu

	mu       sync.Mutex
	heard    uint32 // Changed that have come
	covered  uint32 // of them the picture knows
	dirty    bool   // it is to be asked for again all the same
	no       uint32 // the picture's number
	shown    *snapshot
	info     mailstore.Info
	words    []string
	watchers map[*watcher]struct{}
	known    map[mailstore.UID]facts // told beforehand
	whole    map[mailstore.UID][]byte
	closed   bool
}

type watcher struct{ c chan<- struct{} }

var (
	_ mailstore.Mailbox       = (*clientBox)(nil)
	_ mailstore.CacheAppender = (*clientBox)(nil)
	_ mailstore.FieldLister   = (*clientBox)(nil)
	_ mailstore.FactsReader   = (*clientBox)(nil)
)

// Open opens a mailbox.
func (c *Client) Open(name mailstore.Name) (mailstore.Mailbox, error) {
	b := &clientBox{c: c, watchers: map[*watcher]struct{}{}}
	var h handle
	// Changes are told from the moment it is open: it must be known by then.
	err := c.callFirst(opOpen, "open", &named{name}, &h, func(a *Answer) {
		var h handle
		if a.Failed || decode(a.Data, &h) != nil || h.N == 0 {
			return
		}
		b.n = h.N
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.boxes[h.N] == nil {
			c.boxes[h.N] = b
		}
	})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	mine := c.boxes[h.N] == b
	c.mu.Unlock()
	if !mine {
		c.end(broken("a mailbox was given the handle %d of another", h.N))
		return nil, unavailable("open")
	}
	if err := b.fetch(false); err != nil {
		b.Close()
		return nil, errkind.Wrap("open", err)
	}
	return b, nil
}

// Close gives the mailbox up.
func (b *clientBox) Close() error {
	b.mu.Lock()
	again := b.closed
	b.closed = true
	clear(b.watchers)
	b.known, b.whole = nil, nil
	b.mu.Unlock()
	if again {
		return nil
	}
	// No call of this mailbox is under way after the picture that is.
	b.pull.Lock()
	defer b.pull.Unlock()
	err := b.c.call(opClose, "close", &handle{b.n}, &none{})
	b.c.mu.Lock()
	delete(b.c.boxes, b.n)
	b.c.mu.Unlock()
	b.c.facts.forget(b.n)
	if errkind.Is(err, errkind.Unavailable) {
		err = nil // it went with the channel
	}
	return err
}

// changed notes that the picture is not the newest any more. told: the owner's end said
// so, and whoever watches is woken.
func (b *clientBox) changed(told bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !told {
		b.dirty = true
		return
	}
	b.heard++
	for w := range b.watchers {
		select {
		case w.c <- struct{}{}:
		default:
		}
	}
}

// Watch is mailstore.Mailbox's.
func (b *clientBox) Watch(c chan<- struct{}) (stop func()) {
	w := &watcher{c}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.watchers[w] = struct{}{}
	}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.watchers, w)
	}
}

func (b *clientBox) stale() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.closed && (b.dirty || b.heard != b.covered)
}

// fresh asks for the picture if it is known not to be the newest. Where that fails the
// old one has to do.
func (b *clientBox) fresh() {
	if !b.stale() {
		return
	}
	b.pull.Lock()
	defer b.pull.Unlock()
	if b.stale() { // nobody else has asked meanwhile
		b.fetchLocked(false)
	}
}

// fetch asks for the newest picture.
func (b *clientBox) fetch(sync bool) error {
	b.pull.Lock()
	defer b.pull.Unlock()
	return b.fetchLocked(sync)
}

func (b *clientBox) fetchLocked(sync bool) error {
	b.mu.Lock()
	base, have, closed := b.shown, b.no, b.closed
	b.dirty = false
	b.mu.Unlock()
	if closed {
		return errkind.Newf("sync", errkind.NotFound, "the mailbox is closed")
	}
	var head picture
	if err := b.c.call(opPicture, "sync", &picturing{Box: b.n, Have: have, Sync: sync}, &head); err != nil {
		if errkind.Is(err, errkind.NotFound) {
			b.forget()
		}
		return err
	}
	now, err := b.build(base, have, &head)
	if err != nil {
		return err
	}
	b.take(&head, now)
	return nil
}

// build makes the picture that the owner's end tells.
func (b *clientBox) build(base *snapshot, have uint32, head *picture) (*snapshot, error) {
	broke := func(err error) error {
		b.c.end(broken("a picture: %v", err))
		return unavailable("sync")
	}
	switch {
	case head.No == 0 || head.Base != 0 && head.Base != have || head.Base == 0 && !head.Tells:
		return nil, broke(errkind.Newf("sync", errkind.Invalid, "it is not told by the one before"))
	case head.Tells && (head.Info.Name == "" || head.Info.UIDValidity == 0):
		return nil, broke(errkind.Newf("sync", errkind.Invalid, "it is of no mailbox"))
	case head.Base == 0:
		base = nil
	}
	r, err := newStepReader(base, head)
	if err == nil {
		err = r.read(head.Steps)
	}
	for more := head.More; more && err == nil; {
		var part furtherSteps
		if err := b.c.call(opPicture, "sync", &picturing{Box: b.n, Have: head.No, More: true}, &part); err != nil {
			return nil, err
		}
		if more = part.More; more && len(part.Steps) == 0 {
			return nil, broke(errkind.Newf("sync", errkind.Invalid, "it has no end"))
		}
		err = r.read(part.Steps)
	}
	var now *snapshot
	if err == nil {
		now, err = r.done()
	}
	if err != nil {
		return nil, broke(err)
	}
	return now, nil
}

// take makes a picture the newest.
func (b *clientBox) take(head *picture, now *snapshot) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if head.Base == 0 || len(head.Steps) > 0 {
		b.known, b.whole = nil, nil // what was told beforehand may be gone
	}
	b.no, b.covered = head.No, head.Changes
	if old := b.shown; old == nil || !old.same(now) {
		b.shown = now
	}
	if head.Tells {
		b.info, b.words = head.Info.Info, head.Words
		b.info.Namespace = b.c.namespace()
	}
}

// same reports whether two pictures show the same, so that who holds the older need not
// compare it.
func (s *snapshot) same(o *snapshot) bool {
	if s.next != o.next || s.high != o.high || len(s.sets) != len(o.sets) || len(s.blocks) != len(o.blocks) {
		return false
	}
	for i := range s.blocks {
		if s.blocks[i] != o.blocks[i] {
			return false
		}
	}
	return true
}

// forget drops what was told beforehand.
func (b *clientBox) forget() {
	b.c.facts.forget(b.n)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known, b.whole = nil, nil
}

// Info is mailstore.Mailbox's.
func (b *clientBox) Info() mailstore.Info {
	b.fresh()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.info
}

// Keywords is mailstore.Mailbox's.
func (b *clientBox) Keywords() []string {
	b.fresh()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.words
}

// Sync is mailstore.Mailbox's.
func (b *clientBox) Sync() (mailstore.Snapshot, error) {
	if err := b.fetch(true); err != nil {
		return nil, err
	}
	return b.picture(), nil
}

// Snapshot is mailstore.Mailbox's.
func (b *clientBox) Snapshot() mailstore.Snapshot {
	b.fresh()
	return b.picture()
}

func (b *clientBox) picture() *snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.shown
}

// ask makes a call about the mailbox.
func (b *clientBox) asks(o op, name string, args, reply fields) error {
	return b.found(b.c.call(o, name, args, reply))
}

// found forgets what was told beforehand where a call's error says that the mailbox is
// gone.
func (b *clientBox) found(err error) error {
	if errkind.Is(err, errkind.NotFound) {
		b.forget()
	}
	return err
}

// ClaimRecent is mailstore.Mailbox's.
func (b *clientBox) ClaimRecent(peek bool) (numset.Set, error) {
	var out uidSet
	err := b.asks(opClaimRecent, "claim recent", &claiming{b.n, peek}, &out)
	return out.Set, err
}

// ExpungedSince is mailstore.Mailbox's.
func (b *clientBox) ExpungedSince(m mailstore.ModSeq) (numset.Set, bool, error) {
	var out history
	err := b.asks(opExpungedSince, "look", &since{b.n, m}, &out)
	return out.Set, out.Complete && err == nil, err
}

// Store is mailstore.Mailbox's.
func (b *clientBox) Store(change mailstore.FlagChange) (mailstore.StoreResult, error) {
	var out stored
	change.Flags &= mailstore.AllFlags
	err := b.asks(opStore, "store", &storing{b.n, change}, &out)
	b.changed(false) // a \Seen of the guest's own is told by no word of a change
	return out.StoreResult, err
}

// Expunge is mailstore.Mailbox's.
func (b *clientBox) Expunge(uids numset.Set) (numset.Set, error) {
	var out uidSet
	err := b.asks(opExpunge, "expunge", &transferring{Box: b.n, Set: uids}, &out)
	b.gone()
	return out.Set, err
}

// gone forgets messages that were told beforehand: some may be expunged.
func (b *clientBox) gone() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known, b.whole = nil, nil
}

// Copy is mailstore.Mailbox's.
func (b *clientBox) Copy(uids numset.Set, to mailstore.Name) (mailstore.CopyResult, error) {
	return b.Transfer(mailstore.Transfer{UIDs: uids, To: to})
}

// Move is mailstore.Mailbox's.
func (b *clientBox) Move(uids numset.Set, to mailstore.Name) (mailstore.CopyResult, error) {
	return b.Transfer(mailstore.Transfer{UIDs: uids, To: to, Move: true})
}

// Transfer is mailstore.Transferrer's. The owner's end is told when it is to be broken
// off, and says in its answer what was done by then.
func (b *clientBox) Transfer(t mailstore.Transfer) (mailstore.CopyResult, error) {
	if err := t.GoOn(); err != nil {
		return mailstore.CopyResult{}, errkind.Wrap(t.Name(), err)
	}
	o := opCopy
	if t.Move {
		o = opMove
	}
	var out transferred
	err := b.found(b.c.callWith(o, t.Name(), &transferring{b.n, t.UIDs, t.To}, &out, calling{goOn: t.GoOn}))
	if t.Move {
		b.gone()
	}
	return out.CopyResult, err
}
