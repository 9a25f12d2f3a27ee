package engine

import (
	"context"
	"slices"
	"strconv"

	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/index"
	"rookery/internal/vfs"
)

var (
	_ mailstore.Restorer   = (*Store)(nil)
	_ mailstore.Verifier   = (*Store)(nil)
	_ mailstore.Maintainer = (*Store)(nil)
)

// Identifier is a Format that can give a mailbox another identity. Under the
// user's lock.
type Identifier interface {
	// Identify makes old, which may hold messages only if the GUID stays, the
	// mailbox now, whose next UID is at least next, durable and at once.
	Identify(old, now Folder, next mailstore.UID) error
}

// Checker is a Format that can check its files. Under the user's lock; with
// repair it mends what it can. f has the zero GUID for what is no mailbox's own.
type Checker interface {
	Check(ctx context.Context, f Folder, repair bool, found func(mailstore.Finding)) error
}

// Purger is a Format with space to give back. Not under the user's lock.
type Purger interface {
	Purge(ctx context.Context, progress func(done, total int)) (freed int64, err error)
}

// Restore makes a mailbox with a given identity, or gives it to an empty one.
func (s *Store) Restore(name mailstore.Name, id mailstore.Identity) error {
	inner := s.tree.Inner(name)
	if err := checkName("restore", inner); err != nil {
		return err
	}
	if id.UIDValidity == 0 || id.UIDNext == 0 || id.HighestModSeq >= 1<<62 {
		return errkind.Newf("restore", errkind.Invalid, "an impossible identity")
	}
	now := Folder{Name: inner, GUID: id.GUID, UIDValidity: id.UIDValidity}
	if now.GUID == (mailstore.GUID{}) {
		now.GUID = mailstore.NewGUID()
	}
	err := s.locked(func() error {
		if err := s.checkRestore(now); err != nil {
			return err
		}
		if err := s.control().RaiseValidity(id.UIDValidity); err != nil {
			return err
		}
		s.index.RaiseModSeq(uint64(id.HighestModSeq))
		old, there, err := s.format.Find(inner)
		switch {
		case err != nil:
			return err
		case !there:
			return s.format.Create(now, id.UIDNext)
		}
		if err := s.moveACL(old.GUID, now.GUID); err != nil {
			return err
		}
		if err := s.identify(old, now, id.UIDNext); err != nil {
			return err
		}
		s.dropIndex(old.GUID)
		s.dropACL(old.GUID, now.GUID)
		return nil
	})
	// Also one that had this identity already: its index is gone, and its UIDNEXT another.
	if mb := s.loaded(inner); mb != nil && (err == nil || mb.where() != now) {
		mb.die()
	}
	return vfs.Kinded("restore", err)
}

// checkRestore refuses what would lose messages, or give one GUID to two mailboxes.
func (s *Store) checkRestore(now Folder) error {
	list, err := s.format.Folders()
	if err != nil {
		return err
	}
	for _, f := range list {
		if f.GUID == now.GUID && f.Name != now.Name {
			return errkind.Newf("restore", errkind.Invalid, "another mailbox has this GUID")
		}
		if f.Name != now.Name {
			continue
		}
		mb, err := s.claim(f)
		if err != nil {
			return err
		}
		n := 0
		err = mb.reading(func(c *change) error { n = c.Len(); return nil })
		s.put(mb)
		if err != nil {
			return err
		}
		if n > 0 {
			return errkind.Newf("restore", errkind.Exists, "the mailbox has messages")
		}
	}
	return nil
}

func (s *Store) identify(old, now Folder, next mailstore.UID) error {
	if id, ok := s.format.(Identifier); ok {
		return id.Identify(old, now, next)
	}
	if err := s.format.Delete(old); err != nil {
		return err
	}
	return s.format.Create(now, next)
}

// Renew raises a mailbox's UIDVALIDITY.
func (s *Store) Renew(name mailstore.Name) (uint32, error) {
	inner := s.tree.Inner(name)
	id, ok := s.format.(Identifier)
	if !ok {
		return 0, errkind.Newf("renew", errkind.Invalid, "the format cannot change a mailbox's UIDVALIDITY")
	}
	var v uint32
	err := s.locked(func() error {
		f, ok, err := s.format.Find(inner)
		if err != nil {
			return err
		}
		if !ok {
			return errkind.Newf("renew", errkind.NotFound, "there is no such mailbox")
		}
		if v, err = s.control().NextValidity(f.UIDValidity); err != nil {
			return err
		}
		now := f
		now.UIDValidity = v
		return id.Identify(f, now, 1)
	})
	if mb := s.loaded(inner); mb != nil && err == nil {
		mb.die()
	}
	return v, vfs.Kinded("renew", err)
}

// Verify compares mail, control files and index of a mailbox; "" stands for what
// is no mailbox's own.
func (s *Store) Verify(ctx context.Context, name mailstore.Name, repair bool, found func(mailstore.Finding)) error {
	check, _ := s.format.(Checker)
	if name == "" {
		return vfs.Kinded("verify", s.locked(func() error {
			if check != nil {
				if err := check.Check(ctx, Folder{}, repair, found); err != nil {
					return err
				}
			}
			return s.verifyTree(repair, found)
		}))
	}
	inner := s.tree.Inner(name)
	f, ok, err := s.format.Find(inner)
	if err != nil {
		return vfs.Kinded("verify", err)
	}
	if !ok {
		if inner == imapname.Inbox || s.tree.Promised(inner) {
			return nil // not made yet
		}
		return errkind.Newf("verify", errkind.NotFound, "there is no such mailbox")
	}
	n := 0
	told := func(x mailstore.Finding) {
		n++
		x.Mailbox = name
		found(x)
	}
	mb, err := s.claim(f)
	if err != nil {
		return errkind.Wrap("verify", err)
	}
	defer s.put(mb)
	err = s.locked(func() error {
		if check != nil {
			if err := check.Check(ctx, f, repair, told); err != nil || n > 0 {
				return err // what the index says of a damaged mailbox is no finding of its own
			}
		}
		return mb.verifyIndex(repair, told)
	})
	if err == nil && repair {
		_, err = mb.look()
	}
	return vfs.Kinded("verify", err)
}

// verifyIndex compares the index with everything that the disk holds. The user's
// lock is held.
func (mb *mailbox) verifyIndex(repair bool, found func(mailstore.Finding)) error {
	if err := mb.alive(); err != nil {
		return err
	}
	if err := mb.box.Lock(false); err != nil {
		return err
	}
	defer mb.box.Unlock()
	v := mb.index.View()
	if changed, err := mb.stale(v); err != nil || !v.Built() {
		return err // an index that is not there is no fault
	} else if changed {
		return nil // what others did since is no fault: the next look takes it in
	}
	c, err := mb.begin()
	if err != nil {
		return err
	}
	defer c.abort()
	if c.tx.View() != v {
		return nil // damaged just now
	}
	err = mb.box.Sync(c.Edit)
	if err != nil && !errkind.Is(err, errkind.Corrupt) {
		return err
	}
	if err == nil && !c.dirty {
		return nil
	}
	f := mailstore.Finding{Kind: "index-wrong", Text: "the index says otherwise than the mailbox: " + strconv.Itoa(len(c.flags)) + " messages with other flags, " +
		strconv.Itoa(len(c.locs)) + " at another place, " + strconv.Itoa(len(c.gone)) + " that are not there, " + strconv.Itoa(len(c.added)) + " missing", Remedy: "the index is made anew of the mailbox"}
	if repair {
		if err == nil {
			c.commit()
		} else {
			c.abort()
			mb.index.Reset("verify found it wrong")
			if _, err = mb.resync(); err != nil {
				return err
			}
		}
		f.Repaired = true
	}
	found(f)
	return nil
}

// resync reads everything anew, whatever the stamp says; all locks are held.
func (mb *mailbox) resync() (*index.View, error) {
	c, err := mb.begin()
	if err != nil {
		return nil, err
	}
	defer c.abort()
	if err := mb.box.Sync(c.Edit); err != nil {
		return nil, err
	}
	return c.commit(), nil
}

// Index brings a mailbox's index up to date.
func (s *Store) Index(ctx context.Context, name mailstore.Name, progress func(done, total int)) error {
	mb, err := s.get(name)
	if err != nil {
		return errkind.Wrap("index", err)
	}
	defer s.put(mb)
	v, err := mb.newest()
	if err != nil {
		return errkind.Wrap("index", err)
	}
	var unknown []uint32
	v.Each(0, func(_ int, r index.Record) bool {
		if r.Size < 0 {
			unknown = append(unknown, r.UID)
		}
		return true
	})
	done := v.Len() - len(unknown)
	for part := range slices.Chunk(unknown, 64) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for _, u := range part {
			if _, err := mb.measure(u); err != nil && !errkind.Is(err, errkind.Expunged) {
				return errkind.Wrap("index", err)
			}
		}
		if done += len(part); progress != nil {
			progress(done, v.Len())
		}
	}
	if progress != nil {
		progress(v.Len(), v.Len())
	}
	return nil
}

// Purge gives back the space of what was expunged.
func (s *Store) Purge(ctx context.Context, progress func(done, total int)) (int64, error) {
	p, ok := s.format.(Purger)
	if !ok {
		return 0, nil
	}
	n, err := p.Purge(ctx, progress)
	return n, vfs.Kinded("purge", err)
}
