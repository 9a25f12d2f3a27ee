package engine

import (
	"slices"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/index"
	"rookery/internal/numset"
	"rookery/internal/vfs"
)

// step is how many messages are worked on before others may have the store.
const step = 1024

// existing gives the UIDs of set that a picture has.
func existing(v *index.View, set numset.Set) []uint32 {
	var out []uint32
	for _, r := range set.Ranges() {
		pos, _ := v.Find(r.First)
		for ; pos < v.Len(); pos++ {
			u := v.At(pos).UID
			if u > r.Last {
				break
			}
			out = append(out, u)
		}
	}
	return out
}

// eachStep runs f over pieces of those UIDs that exist, with all locks, an
// up-to-date picture and an edit of it; what f leaves in the edit is committed, also
// beside an error.
func (mb *mailbox) eachStep(op string, set numset.Set, f func(c *change, uids []uint32) error) error {
	if mb.isDead() {
		return mb.gone()
	}
	v, err := mb.newest()
	if err != nil {
		return err
	}
	uids := existing(v, set)
	if len(uids) == 0 {
		return mb.alive()
	}
	for part := range slices.Chunk(uids, step) {
		err := mb.s.locked(func() error {
			return mb.editing(op, func(c *change) error { return f(c, part) })
		})
		if err != nil {
			return vfs.Kinded(op, err)
		}
	}
	return nil
}

// editing runs f on an edit of the mailbox, with the box locked and synced, and
// commits what it left. f begins again, with another edit, if the picture turns out
// damaged and it fails before it has changed anything. The user's lock is held.
func (mb *mailbox) editing(op string, f func(c *change) error) error {
	if err := mb.alive(); err != nil {
		return err
	}
	if mb.box.ReadOnly() {
		return errkind.Newf(op, errkind.ReadOnly, "the mailbox cannot be written")
	}
	if err := mb.box.Lock(true); err != nil {
		return err
	}
	defer mb.box.Unlock()
	for try := 0; ; try++ {
		c, err := mb.current()
		if err != nil {
			return err
		}
		err = f(c)
		if err != nil && !c.dirty && c.Sound() != nil && try < looks {
			c.abort() // what the format says of a blank place is no error of the mailbox
			continue
		}
		if c.dirty {
			c.commit()
		}
		c.abort()
		return err
	}
}

// Store changes flags and keywords.
func (mb *mailbox) Store(fc mailstore.FlagChange) (mailstore.StoreResult, error) {
	var res mailstore.StoreResult
	if err := checkKeywords("store", fc.Keywords); err != nil {
		return res, err
	}
	err := mb.eachStep("store", fc.UIDs, func(c *change, uids []uint32) error {
		return mb.storeStep(fc, c, uids, &res)
	})
	return res, err
}

func (mb *mailbox) storeStep(fc mailstore.FlagChange, c *change, uids []uint32, res *mailstore.StoreResult) error {
	names := fc.Keywords
	if fc.Op != mailstore.RemoveFlags { // what nobody has needs no place
		names = mb.words.spell(names)
	}
	if len(mb.words.names) > maxKeywords {
		return errkind.Newf("store", errkind.Limit, "the mailbox has too many keywords")
	}
	var list []Change
	for _, u := range uids {
		pos, ok := c.Find(u)
		if !ok {
			continue
		}
		if lim := fc.UnchangedSince; lim != nil && c.pic.At(pos).ModSeq > *lim {
			res.Modified.Add(u)
			continue
		}
		ch := Change{Pos: pos, UID: u}
		ch.Was, ch.KeywordsWas = c.Flags(pos)
		ch.Flags, ch.Keywords = changed(fc, names, ch.Was, ch.KeywordsWas)
		if len(ch.Keywords) > 2*maxPerMessage {
			return errkind.Newf("store", errkind.Limit, "a message would have too many keywords")
		}
		if ch.Flags != ch.Was || !slices.Equal(ch.Keywords, ch.KeywordsWas) {
			c.Loc(pos) // the format will need it: see Sound
			list = append(list, ch)
		}
	}
	if err := c.Sound(); err != nil {
		return err
	}
	if len(list) == 0 {
		return nil
	}
	if err := mb.box.Store(c.Edit, list); err != nil {
		return err
	}
	for _, ch := range list {
		c.SetFlags(ch.Pos, ch.Flags, ch.Keywords)
		res.Changed.Add(ch.UID)
	}
	return nil
}

// changed computes a message's new flags and keywords.
func changed(fc mailstore.FlagChange, names []string, was mailstore.Flags, wasNames []string) (mailstore.Flags, []string) {
	switch fc.Op {
	case mailstore.AddFlags:
		return was | fc.Flags&mailstore.AllFlags, union(wasNames, names)
	case mailstore.RemoveFlags:
		return was &^ fc.Flags, minus(wasNames, names)
	}
	return fc.Flags & mailstore.AllFlags, names
}

func union(a, b []string) []string {
	if len(b) == 0 {
		return a
	}
	out := append(slices.Clone(a), minus(b, a)...)
	slices.Sort(out)
	return slices.Compact(out)
}

func minus(a, b []string) []string {
	if len(a) == 0 || len(b) == 0 {
		return a
	}
	return slices.DeleteFunc(slices.Clone(a), func(n string) bool {
		return slices.ContainsFunc(b, func(k string) bool { return k == n || fold(k) == fold(n) })
	})
}

// Expunge removes messages for good.
func (mb *mailbox) Expunge(set numset.Set) (numset.Set, error) {
	var done numset.Set
	err := mb.eachStep("expunge", set, func(c *change, uids []uint32) error {
		var positions []int
		for _, u := range uids {
			if pos, ok := c.Find(u); ok {
				c.Loc(pos) // the format will need it: see Sound
				positions = append(positions, pos)
			}
		}
		if err := c.Sound(); err != nil || len(positions) == 0 {
			return err
		}
		n, err := mb.box.Expunge(c.Edit, positions)
		for _, pos := range positions[:n] {
			done.Add(c.UID(pos))
		}
		c.Remove(positions[:n]...)
		return err
	})
	return done, err
}
