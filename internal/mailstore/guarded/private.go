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
	// Seen gives the messages that the grantee has seen. The caller may not change it.
	Seen(box mailstore.GUID, uidValidity uint32) (numset.Set, error)
	// SetSeen adds and removes messages, durable as the grantee's own flag changes are.
	SetSeen(box mailstore.GUID, uidValidity uint32, add, remove numset.Set) error
}

// private reports whether \Seen is the user's own.
func (s *Store) private() bool { return s.opt.Private != nil && !s.opt.Who.Owner }

// seen gives the messages that the grantee has seen in a mailbox. What cannot be read
// is not seen.
func (b *box) seen() numset.Set {
	i := b.Mailbox.Info()
	set, err := b.s.opt.Private.Seen(i.GUID, i.UIDValidity)
	if err != nil {
		return numset.Set{}
	}
	return set
}

// picture gives a snapshot as the user sees it.
func (b *box) picture(snap mailstore.Snapshot) mailstore.Snapshot {
	if !b.s.private() {
		return snap
	}
	return &ownSeen{snap, b.seen()}
}

// ownSeen is a snapshot with a user's own \Seen. Pictures are compared with ==, so it
// is used by its address.
type ownSeen struct {
	mailstore.Snapshot
	seen numset.Set
}

// At gives an entry with the user's \Seen.
func (o *ownSeen) At(pos int) mailstore.Entry { return o.with(o.Snapshot.At(pos)) }

func (o *ownSeen) with(e mailstore.Entry) mailstore.Entry {
	e.Flags &^= mailstore.Seen
	if o.seen.Contains(e.UID) {
		e.Flags |= mailstore.Seen
	}
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
func (b *box) storePrivate(c mailstore.FlagChange, r acl.Rights) (mailstore.StoreResult, error) {
	var there numset.Set
	var out mailstore.StoreResult
	touches := c.Op == mailstore.SetFlags || c.Flags&mailstore.Seen != 0
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
	switch {
	case !touches:
		return out, nil
	case !r.Has(acl.Seen) && !others:
		return out, denied("store")
	case !r.Has(acl.Seen):
		return out, nil
	}
	for e := range entries(c.UIDs, b.Mailbox.Snapshot()) {
		if !others && c.UnchangedSince != nil && e.ModSeq > *c.UnchangedSince {
			out.Modified.Add(e.UID)
		}
		there.Add(e.UID)
	}
	there = there.Minus(out.Modified)
	now := b.seen()
	add, remove := numset.Set{}, numset.Set{}
	if c.Flags&mailstore.Seen != 0 && c.Op != mailstore.RemoveFlags {
		add = there.Minus(now)
	} else {
		remove = there.Minus(there.Minus(now))
	}
	if add.Empty() && remove.Empty() {
		return out, nil
	}
	i := b.Mailbox.Info()
	if err := b.s.opt.Private.SetSeen(i.GUID, i.UIDValidity, add, remove); err != nil {
		return out, err
	}
	out.Changed = out.Changed.Union(add).Union(remove)
	return out, nil
}

// countUnseen counts the unseen messages of a STATUS anew.
func (s *Store) countUnseen(name mailstore.Name, st *mailstore.Status) error {
	mb, snap, err := mailstore.Look(s.inner, name)
	if err != nil {
		return err
	}
	defer mb.Close()
	seen, err := s.opt.Private.Seen(st.GUID, st.UIDValidity)
	if err != nil {
		return err
	}
	st.Unseen = 0
	for pos := range snap.Len() {
		if !seen.Contains(snap.At(pos).UID) {
			st.Unseen++
		}
	}
	return nil
}
