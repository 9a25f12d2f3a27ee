package maildir

import (
	"context"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
)

var (
	_ mailstore.Maintainer = (*Store)(nil)
	_ mailstore.Verifier   = (*Store)(nil)
)

// Index brings a mailbox's index up to date, with sizes and dates.
func (s *Store) Index(ctx context.Context, name mailstore.Name, progress func(done, total int)) error {
	h, err := s.Open(name)
	if err != nil {
		return errkind.Wrap("index", err)
	}
	defer h.Close()
	mb := h.(*handle)
	snap, err := mb.Sync()
	if err != nil {
		return errkind.Wrap("index", err)
	}
	for pos := range snap.Len() {
		if err := ctx.Err(); err != nil {
			return errkind.New("index", errkind.Unavailable, err)
		}
		_, err := mb.Facts(snap.At(pos).UID, mailstore.FactsWant{Size: true, InternalDate: true, SaveDate: true})
		if err != nil && !errkind.Is(err, errkind.Expunged) {
			return errkind.Wrap("index", err)
		}
		if progress != nil && (pos%step == step-1 || pos == snap.Len()-1) {
			progress(pos+1, snap.Len())
		}
	}
	mb.op.Lock()
	defer mb.op.Unlock()
	mb.keepFacts()
	return nil
}

// Purge does nothing: an expunged message's file is gone.
func (s *Store) Purge(context.Context, func(done, total int)) (int64, error) { return 0, nil }

// rewrite compares everything and writes the uidlist anew; the mailbox is entered.
func (mb *mailbox) rewrite() error {
	if err := mb.resyncLocked(); err != nil {
		return err
	}
	if !mb.loaded {
		return errPicture
	}
	lock, err := mb.s.lockUIDs(mb.ctl)
	if err != nil {
		return err
	}
	defer lock.release()
	if err := mb.writeUIDs(nil, nil); err != nil {
		return mb.s.fail("write uidlist", err)
	}
	tx, err := mb.begin()
	if err == nil {
		mb.put(tx)
	}
	return err
}
