package held

import (
	"context"
	"encoding/hex"
	"slices"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// hiddenBoxes lists the hidden mailboxes by the GUID of those they are for.
func (s *Store) hiddenBoxes() (map[mailstore.GUID]mailstore.Name, error) {
	list, err := s.Store.List()
	if err != nil {
		return nil, err
	}
	out := map[mailstore.GUID]mailstore.Name{}
	for _, f := range list {
		var g mailstore.GUID
		parent, text := string(imapname.Name(f.Name).Parent()), imapname.Name(f.Name).Base()
		if !slices.Contains(s.roots, parent) || len(text) != 32 || f.Attrs&(mailstore.NoSelect|mailstore.NonExistent) != 0 {
			continue
		}
		if _, err := hex.Decode(g[:], []byte(text)); err == nil {
			out[g] = f.Name
		}
	}
	return out, nil
}

// Sweep purges what has been held for longer than the hold, and of the rest the
// oldest while the disk is below its floor. It does one step of at most some
// hundred messages and says whether there is more to do; a worker calls it when
// it is idle.
func (s *Store) Sweep(ctx context.Context) (purged int, more bool, err error) {
	boxes, err := s.hiddenBoxes()
	if err != nil {
		return 0, false, err
	}
	before := s.opt.FS.Now().Add(-s.opt.Hold)
	live := map[mailstore.GUID]mailstore.UID{}
	for guid, name := range boxes {
		if err := ctx.Err(); err != nil {
			return purged, true, nil
		}
		n, low, err := s.purge(name, before, stepSize-purged)
		purged += n
		if err != nil {
			return purged, false, err
		}
		if low == 0 {
			if err := s.dropEmpty(guid, name); err != nil {
				return purged, false, err
			}
		}
		live[guid] = low
		if purged >= stepSize {
			return purged, true, nil
		}
	}
	if s.low() {
		n, err := s.purgeOldest()
		return purged + n, n > 0, err
	}
	return purged, false, s.compact(live)
}

// purge removes for good at most limit messages that were held before a time. low
// is the lowest UID that stays; 0 if none does.
func (s *Store) purge(name mailstore.Name, before time.Time, limit int) (n int, low mailstore.UID, err error) {
	mb, snap, err := mailstore.Look(s.Store, name)
	if errkind.Is(err, errkind.NotFound) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	defer mb.Close()
	var old []mailstore.UID
	for pos := range snap.Len() {
		uid := snap.At(pos).UID
		if len(old) == limit {
			low = uid
			break
		}
		// UIDs ascend in the order in which messages were held.
		at, err := s.heldAt(mb, uid)
		if err != nil && !errkind.Is(err, errkind.Expunged) {
			return 0, uid, err
		}
		if err == nil && at.After(before) {
			low = uid
			break
		}
		old = append(old, uid)
	}
	if len(old) == 0 {
		return 0, low, nil
	}
	gone, err := mb.Expunge(numset.FromSorted(old))
	return int(gone.Len()), low, err
}

func (s *Store) heldAt(mb mailstore.Mailbox, uid mailstore.UID) (time.Time, error) {
	f, err := mb.Facts(uid, mailstore.FactsWant{SaveDate: true})
	return f.SaveDate, err
}

// purgeOldest removes some of the messages that were held first.
func (s *Store) purgeOldest() (n int, err error) {
	boxes, err := s.hiddenBoxes()
	if err != nil {
		return 0, err
	}
	oldest, first := mailstore.Name(""), time.Time{}
	for _, name := range boxes {
		at, ok, err := s.first(name)
		if err != nil {
			return 0, err
		}
		if ok && (oldest == "" || at.Before(first)) {
			oldest, first = name, at
		}
	}
	if oldest == "" {
		return 0, nil
	}
	n, _, err = s.purge(oldest, s.opt.FS.Now().Add(time.Hour), stepSize)
	return n, err
}

// first tells when the oldest message of a hidden mailbox was held.
func (s *Store) first(name mailstore.Name) (at time.Time, ok bool, err error) {
	mb, snap, err := mailstore.Look(s.Store, name)
	if err != nil {
		return at, false, err
	}
	defer mb.Close()
	if snap.Len() == 0 {
		return at, false, nil
	}
	at, err = s.heldAt(mb, snap.At(0).UID)
	return at, err == nil, err
}

// dropEmpty removes a hidden mailbox whose own mailbox is gone. One whose mailbox
// is there stays, since it will be wanted again, unless nothing is held any more.
func (s *Store) dropEmpty(guid mailstore.GUID, name mailstore.Name) error {
	all, err := s.origins()
	if err != nil {
		return err
	}
	if o := all[guid]; s.opt.Hold > 0 && o != nil && o.name != "" {
		st, err := s.Store.Status(o.name, mailstore.StatusWant{})
		if err == nil && st.GUID == guid {
			return nil
		}
		if err != nil && !errkind.Is(err, errkind.NotFound) && !errkind.Is(err, errkind.Invalid) {
			return err
		}
	}
	s.forget(guid)
	st, err := s.Store.Status(name, mailstore.StatusWant{})
	if err == nil && st.Messages == 0 { // not filled meanwhile
		err = s.Store.Delete(name)
	}
	if errkind.Is(err, errkind.NotFound) {
		return nil
	}
	return err
}
