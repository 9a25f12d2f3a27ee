package others

import (
	"sync"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/spaces"
	"rookery/internal/numset"
)

// box is an open mailbox of another's. It outlives the owner's store that it was
// opened in.
type box struct {
	s     *Store
	owner string

	opening sync.Mutex // held while it is opened anew

	mu      sync.Mutex
	in      mailstore.Sharer // where mb is open
	mb      mailstore.Mailbox
	watches map[*watch]struct{}
}

// watch is somebody who is told of changes.
type watch struct {
	c    chan<- struct{}
	stop func()
}

func newBox(s *Store, owner string, in mailstore.Sharer, mb mailstore.Mailbox) *box {
	return &box{s: s, owner: owner, in: in, mb: mb, watches: map[*watch]struct{}{}}
}

// open is the mailbox as it is open now, whether that still works or not.
func (b *box) open() (mailstore.Sharer, mailstore.Mailbox) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.in, b.mb
}

// current gives the mailbox in the owner's store of now. errkind.NotFound: it is not
// the same one any more.
func (b *box) current(op string) (mailstore.Mailbox, error) {
	store, err := b.s.reach(op, b.owner)
	if err != nil {
		return nil, err
	}
	if in, mb := b.open(); in == store {
		return mb, nil
	}
	b.opening.Lock()
	defer b.opening.Unlock()
	in, old := b.open()
	if in == store { // somebody else has opened it meanwhile
		return old, nil
	}
	was := old.Info()
	mb, err := store.Open(was.Name)
	if errkind.Is(err, errkind.NoPermission) || errkind.Is(err, errkind.Invalid) {
		return nil, notFound(op) // r is gone, or all but what is below: so is the mailbox for who has it open
	}
	if err != nil {
		return nil, err
	}
	if now := mb.Info(); now.UIDValidity != was.UIDValidity || now.GUID != was.GUID {
		mb.Close()
		return nil, notFound(op)
	}
	b.replace(store, mb)
	old.Close() // its end has gone: there is nothing to learn from an error
	return mb, nil
}

// replace takes the mailbox that was opened anew. Who watches is told to look.
func (b *box) replace(in mailstore.Sharer, mb mailstore.Mailbox) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.in, b.mb = in, mb
	for w := range b.watches {
		w.stop()
		w.stop = mb.Watch(w.c)
		select {
		case w.c <- struct{}{}:
		default:
		}
	}
}

// look calls f, and again with a mailbox that had to be opened anew.
func look[T any](b *box, op string, f func(mailstore.Mailbox) (T, error)) (T, error) {
	mb, err := b.current(op)
	if err != nil {
		var none T
		return none, err
	}
	out, err := f(mb)
	if !errkind.Is(err, errkind.Unavailable) {
		return out, err
	}
	if next, nerr := b.current(op); nerr == nil && next != mb {
		return f(next)
	}
	return out, err
}

// change calls f once.
func change[T any](b *box, op string, f func(mailstore.Mailbox) (T, error)) (T, error) {
	mb, err := b.current(op)
	if err != nil {
		var none T
		return none, err
	}
	return f(mb)
}

// Unwrap gives the mailbox in the owner's store: what it offers beside is asked for
// again by each command.
func (b *box) Unwrap() mailstore.Mailbox {
	_, mb := b.open()
	return mb
}

// Info tells the name as the user has it.
func (b *box) Info() mailstore.Info {
	_, mb := b.open()
	i := mb.Info()
	i.Name, i.Namespace = b.s.outer(b.owner, i.Name), b.s.opt.Namespace
	return i
}

// Keywords gives the names that were known last.
func (b *box) Keywords() []string {
	_, mb := b.open()
	return mb.Keywords()
}

// Sync looks for changes. errkind.Unavailable: nobody knows of any; the picture from
// before still holds.
func (b *box) Sync() (mailstore.Snapshot, error) { return look(b, "sync", mailstore.Mailbox.Sync) }

// Snapshot is the newest picture that has come.
func (b *box) Snapshot() mailstore.Snapshot {
	_, mb := b.open()
	return mb.Snapshot()
}

// ClaimRecent only looks: what is recent is so for the owner.
func (b *box) ClaimRecent(peek bool) (numset.Set, error) {
	return look(b, "claim recent", func(mb mailstore.Mailbox) (numset.Set, error) { return mb.ClaimRecent(peek) })
}

// Watch goes on when the mailbox is opened anew.
func (b *box) Watch(c chan<- struct{}) (stop func()) {
	w := &watch{c: c}
	b.mu.Lock()
	defer b.mu.Unlock()
	w.stop = b.mb.Watch(c)
	b.watches[w] = struct{}{}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.watches, w)
		w.stop()
	}
}

// ExpungedSince gives what was expunged.
func (b *box) ExpungedSince(m mailstore.ModSeq) (uids numset.Set, complete bool, err error) {
	uids, err = look(b, "look", func(mb mailstore.Mailbox) (uids numset.Set, err error) {
		uids, complete, err = mb.ExpungedSince(m)
		return uids, err
	})
	return uids, complete && err == nil, err
}

// Store changes flags.
func (b *box) Store(c mailstore.FlagChange) (mailstore.StoreResult, error) {
	return change(b, "store", func(mb mailstore.Mailbox) (mailstore.StoreResult, error) { return mb.Store(c) })
}

// Expunge removes messages.
func (b *box) Expunge(uids numset.Set) (numset.Set, error) {
	return change(b, "expunge", func(mb mailstore.Mailbox) (numset.Set, error) { return mb.Expunge(uids) })
}

// Copy adds copies, all or none.
func (b *box) Copy(uids numset.Set, to mailstore.Name) (mailstore.CopyResult, error) {
	return b.Transfer(mailstore.Transfer{UIDs: uids, To: to})
}

// Move copies and expunges. Between two owners a power cut may leave messages in both
// places.
func (b *box) Move(uids numset.Set, to mailstore.Name) (mailstore.CopyResult, error) {
	return b.Transfer(mailstore.Transfer{UIDs: uids, To: to, Move: true})
}

// Transfer is Copy or Move, within one owner's mail or across to another's.
func (b *box) Transfer(t mailstore.Transfer) (mailstore.CopyResult, error) {
	owner, inner, err := b.s.place(t.Name(), t.To)
	if err != nil {
		return mailstore.CopyResult{}, err
	}
	t.To = inner
	if owner == b.owner {
		return change(b, t.Name(), t.Of)
	}
	store, err := b.s.reach(t.Name(), owner)
	if err != nil {
		return mailstore.CopyResult{}, err
	}
	if t.Move {
		if err := spaces.MayMove(b.s, b.Info().Name); err != nil {
			return mailstore.CopyResult{}, err
		}
	}
	return spaces.Across(b, t, store)
}

// Message opens a message.
func (b *box) Message(uid mailstore.UID) (mailstore.Message, error) {
	return look(b, "open message", func(mb mailstore.Mailbox) (mailstore.Message, error) { return mb.Message(uid) })
}

// Facts gives what is known of a message.
func (b *box) Facts(uid mailstore.UID, want mailstore.FactsWant) (mailstore.Facts, error) {
	return look(b, "look", func(mb mailstore.Mailbox) (mailstore.Facts, error) { return mb.Facts(uid, want) })
}

// Cached gives a derived fact.
func (b *box) Cached(uid mailstore.UID, field string) ([]byte, bool) {
	_, mb := b.open()
	return mb.Cached(uid, field)
}

// PutCached offers a derived fact.
func (b *box) PutCached(uid mailstore.UID, field string, value []byte) {
	_, mb := b.open()
	mb.PutCached(uid, field, value)
}

// Close gives the mailbox up. That its end has gone already is no error.
func (b *box) Close() error {
	_, mb := b.open()
	if err := mb.Close(); err != nil && !errkind.Is(err, errkind.Unavailable) {
		return err
	}
	return nil
}
