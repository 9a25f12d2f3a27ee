package guarded

import (
	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// Private keeps what one grantee has seen of another's mail: with his own mail, or
// wherever whoever serves him has it. A mailbox is named by GUID and UIDVALIDITY:
// what is kept of another UIDVALIDITY means nothing. Its methods may be called from
// several goroutines.
type Private interface {
	// Own gives what is kept; nobody changes it.
	Own(box mailstore.GUID, uidValidity uint32) (Own, error)
	// Change replaces it by what change makes of it, durable as the grantee's own flag
	// changes are; nothing changes it between.
	Change(box mailstore.GUID, uidValidity uint32, change func(Own) Own) error
}

// private reports whether \Seen is the user's own.
func (s *Store) private() bool { return s.opt.Private != nil && !s.opt.Who.Owner }

// own gives what is the grantee's own of a mailbox. What cannot be read is not there.
func (b *box) own() Own {
	i := b.Mailbox.Info()
	own, err := b.s.opt.Private.Own(i.GUID, i.UIDValidity)
	if err != nil {
		return Own{}
	}
	return own
}

// picture gives a snapshot as the user sees it.
func (b *box) picture(snap mailstore.Snapshot) mailstore.Snapshot {
	if !b.s.private() {
		return snap
	}
	return &ownSeen{snap, b.own()}
}

// ownSeen is a snapshot with a user's own \Seen. Pictures are compared with ==, so it
// is used by its address.
type ownSeen struct {
	mailstore.Snapshot
	own Own
}

// HighestModSeq knows of the user's own changes.
func (o *ownSeen) HighestModSeq() mailstore.ModSeq { return o.own.Highest(o.Snapshot.HighestModSeq()) }

// At gives an entry with the user's \Seen.
func (o *ownSeen) At(pos int) mailstore.Entry { return o.with(o.Snapshot.At(pos)) }

func (o *ownSeen) with(e mailstore.Entry) mailstore.Entry {
	e.Flags &^= mailstore.Seen
	if o.own.Seen.Contains(e.UID) {
		e.Flags |= mailstore.Seen
	}
	e.ModSeq = o.own.number(e)
	return e
}

// Entries is mailstore.EntryReader's.
func (o *ownSeen) Entries(from int, dst []mailstore.Entry) int {
	n := mailstore.Entries(o.Snapshot, from, dst)
	for i := range dst[:n] {
		dst[i] = o.with(dst[i])
	}
	return n
}

// storePrivate is Store where \Seen is kept by Private, and all else by the store.
func (b *box) storePrivate(c mailstore.FlagChange, r acl.Rights) (out mailstore.StoreResult, err error) {
	touches := c.Op == mailstore.SetFlags || c.Flags&mailstore.Seen != 0
	c, changed := b.unchanged(c)
	rest := c
	rest.Flags &^= mailstore.Seen
	others := c.Op == mailstore.SetFlags || rest.Flags != 0 || len(rest.Keywords) > 0 || c.Flags == 0
	if others {
		// The shared \Seen stays as it is whatever is stored: no right to change it.
		res, err := b.storeShared(rest, r&^acl.Seen)
		if err != nil && !(touches && r.Has(acl.Seen) && errkind.Is(err, errkind.NoPermission)) {
			return res, err
		}
		out = res
	}
	defer func() { out.Modified = out.Modified.Union(changed) }()
	switch {
	case !touches:
		return out, nil
	case !r.Has(acl.Seen) && !others:
		return out, denied("store")
	case !r.Has(acl.Seen):
		return out, nil
	}
	var there numset.Set
	snap := b.Mailbox.Snapshot()
	for e := range entries(c.UIDs, snap) {
		if !others && c.UnchangedSince != nil && e.ModSeq > *c.UnchangedSince {
			out.Modified.Add(e.UID)
		}
		there.Add(e.UID)
	}
	set := c.Flags&mailstore.Seen != 0 && c.Op != mailstore.RemoveFlags
	done, err := b.changeSeen(there.Minus(out.Modified), set, snap.HighestModSeq())
	out.Changed = out.Changed.Union(done)
	return out, err
}

// unchanged leaves the messages that a STORE's condition lets pass, by the numbers that
// the user is shown; changed are the others. What changes them from now on is seen by
// the store's own numbers.
func (b *box) unchanged(c mailstore.FlagChange) (left mailstore.FlagChange, changed numset.Set) {
	if c.UnchangedSince == nil {
		return c, changed
	}
	snap, own := b.Mailbox.Snapshot(), b.own()
	for e := range entries(c.UIDs, snap) {
		if own.number(e) > *c.UnchangedSince {
			changed.Add(e.UID)
		}
	}
	now := snap.HighestModSeq()
	c.UIDs, c.UnchangedSince = c.UIDs.Minus(changed), &now
	return c, changed
}

// changeSeen sets or clears \Seen of messages, and gives those where it was otherwise.
func (b *box) changeSeen(uids numset.Set, set bool, highest mailstore.ModSeq) (done numset.Set, err error) {
	differs := func(own Own) numset.Set {
		unseen := uids.Minus(own.Seen)
		if set {
			return unseen
		}
		return uids.Minus(unseen)
	}
	if differs(b.own()).Empty() {
		return done, nil
	}
	i := b.Mailbox.Info()
	err = b.s.opt.Private.Change(i.GUID, i.UIDValidity, func(own Own) Own {
		done = differs(own)
		if set {
			return own.Changed(done, numset.Set{}, highest)
		}
		return own.Changed(numset.Set{}, done, highest)
	})
	if err != nil {
		return numset.Set{}, err
	}
	b.s.tellOwn(i.GUID)
	return done, nil
}

// countUnseen counts the unseen messages of a STATUS anew, and gives the user's own
// HIGHESTMODSEQ.
func (s *Store) countUnseen(name mailstore.Name, st *mailstore.Status) error {
	mb, snap, err := mailstore.Look(s.inner, name)
	if err != nil {
		return err
	}
	defer mb.Close()
	own, err := s.opt.Private.Own(st.GUID, st.UIDValidity)
	if err != nil {
		return err
	}
	st.Unseen, st.HighestModSeq = 0, own.Highest(st.HighestModSeq)
	for pos := range snap.Len() {
		if !own.Seen.Contains(snap.At(pos).UID) {
			st.Unseen++
		}
	}
	return nil
}
