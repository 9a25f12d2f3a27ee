package maildir

import (
	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
)

var _ mailstore.Restorer = (*Store)(nil)

// Restore makes a mailbox with an identity that clients know from elsewhere, or
// gives it to one that is there and empty.
func (s *Store) Restore(name mailstore.Name, id mailstore.Identity) error {
	if id.UIDValidity == 0 || id.UIDNext == 0 || id.GUID == (mailstore.GUID{}) {
		return errkind.Newf("restore", errkind.Invalid, "an identity needs a UIDVALIDITY, a UIDNEXT and a GUID")
	}
	inner := s.tree.Inner(name)
	if _, there, err := s.lookDir(inner); err != nil {
		return errkind.Wrap("restore", err)
	} else if !there && inner != imapname.Inbox {
		if _, err := s.Create(name, 0); err != nil {
			return errkind.Wrap("restore", err)
		}
	}
	err := s.reidentify(name, func(mb *mailbox) (uidHeader, error) {
		if mb.known().Len() > 0 {
			return uidHeader{}, errkind.Newf("restore", errkind.Exists, "the mailbox has messages")
		}
		if _, taken, err := s.placeOf(id.GUID); err != nil || taken && guidOf(mb.hdr.guid) != id.GUID {
			if err == nil {
				err = errkind.Newf("restore", errkind.Exists, "another mailbox has this GUID")
			}
			return uidHeader{}, err
		}
		return uidHeader{validity: id.UIDValidity, next: id.UIDNext, guid: guidText(id.GUID)}, nil
	})
	if err != nil {
		return errkind.Wrap("restore", err)
	}
	s.user.RaiseModSeq(uint64(id.HighestModSeq))
	return errkind.Wrap("restore", s.raiseValidity(id.UIDValidity))
}

// Renew raises a mailbox's UIDVALIDITY, so that clients forget what they hold.
func (s *Store) Renew(name mailstore.Name) (uint32, error) {
	next := uint32(0)
	err := s.reidentify(name, func(mb *mailbox) (uidHeader, error) {
		hdr := mb.hdr
		var err error
		if next, err = s.nextValidity(hdr.validity); err != nil {
			return hdr, s.fail("new UIDVALIDITY", err)
		}
		hdr.validity = next
		return hdr, nil
	})
	return next, errkind.Wrap("renew", err)
}

// reidentify gives a mailbox another first line of its uidlist. Sessions that have
// it open are told that it is gone: what they hold means nothing any more.
func (s *Store) reidentify(name mailstore.Name, decide func(*mailbox) (uidHeader, error)) error {
	mb, err := s.get(name)
	if err != nil {
		return err
	}
	defer s.put(mb)
	mb.op.Lock()
	defer mb.op.Unlock()
	if err := mb.enter(); err != nil {
		return err
	}
	defer mb.leave()
	if mb.readOnly {
		return errkind.Newf("change identity", errkind.ReadOnly, "the mailbox cannot be written")
	}
	lock, err := s.lockUIDs(mb.ctl)
	if err != nil {
		return err
	}
	defer lock.release()
	if err := mb.decide(); err != nil {
		return err
	}
	hdr, err := decide(mb)
	if err != nil {
		return err
	}
	s.journalGone(guidOf(mb.hdr.guid)) // what it has of the old identity must not come back
	mb.hdr = hdr
	if err := mb.writeUIDs(nil, nil); err != nil {
		return s.fail("write uidlist", err)
	}
	mb.die()
	return nil
}
