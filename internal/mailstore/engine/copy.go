package engine

import (
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
	"rookery/internal/vfs"
)

// Copy adds copies to another mailbox (or this one), all or none.
func (mb *mailbox) Copy(uids numset.Set, to mailstore.Name) (mailstore.CopyResult, error) {
	return mb.Transfer(mailstore.Transfer{UIDs: uids, To: to})
}

// Move gives messages to another mailbox (or this one, with new UIDs).
func (mb *mailbox) Move(uids numset.Set, to mailstore.Name) (mailstore.CopyResult, error) {
	return mb.Transfer(mailstore.Transfer{UIDs: uids, To: to, Move: true})
}

// Transfer is Copy or Move, which can be broken off until the format has done its part.
func (mb *mailbox) Transfer(t mailstore.Transfer) (mailstore.CopyResult, error) {
	res, err := mb.transfer(t)
	return res, vfs.Kinded(t.Name(), err)
}

// transfer is Transfer: under the user's lock both mailboxes stand still.
func (mb *mailbox) transfer(t mailstore.Transfer) (res mailstore.CopyResult, err error) {
	if err := mb.alive(); err != nil {
		return res, err
	}
	dst, err := mb.s.get(t.To)
	if err != nil {
		return res, err
	}
	defer mb.s.put(dst)
	res.UIDValidity = dst.where().UIDValidity
	err = mb.s.locked(func() error {
		if dst == mb {
			return mb.editing("copy", func(c *change) error { return mb.transferIn(c, c, dst, t, &res) })
		}
		return dst.editing("copy", func(td *change) error {
			if t.Move {
				return mb.editing("move", func(fd *change) error { return mb.transferIn(fd, td, dst, t, &res) })
			}
			return mb.reading(func(fd *change) error { return mb.transferIn(fd, td, dst, t, &res) })
		})
	})
	return res, err
}

// reading is editing for who only reads.
func (mb *mailbox) reading(f func(c *change) error) error {
	if err := mb.alive(); err != nil {
		return err
	}
	if err := mb.box.Lock(false); err != nil {
		return err
	}
	defer mb.box.Unlock()
	for try := 0; ; try++ {
		c, err := mb.current()
		if err != nil {
			return err
		}
		err = f(c)
		c.abort()
		if err == nil || c.Sound() == nil || try == looks {
			return err
		}
	}
}

func (mb *mailbox) transferIn(from, to *change, dst *mailbox, asked mailstore.Transfer, res *mailstore.CopyResult) error {
	t := &Transfer{From: mb.box, To: dst.box, FromEdit: from.Edit, ToEdit: to.Edit, FromName: mb.where().Name, ToName: dst.where().Name, Move: asked.Move,
		GoOn: asked.GoOn}
	next, now := to.Next(), mb.s.now()
	src := mb.where()
	for _, u := range existing(from.tx.View(), asked.UIDs) {
		if err := t.GoOn(); err != nil {
			return err
		}
		pos, _ := from.Find(u)
		it := &Moving{Pos: pos, Old: from.At(pos)}
		it.New = it.Old
		it.New.UID, it.New.Saved, it.New.Loc = next, now, ""
		it.New.GUID = guidOf(src, it.Old)
		it.New.Keywords = dst.words.spell(it.Old.Keywords)
		if next++; next == 0 || next == 1<<32-1 {
			return errkind.Newf("copy", errkind.Limit, "the mailbox has no more UIDs")
		}
		t.Items = append(t.Items, it)
	}
	if len(dst.words.names) > maxKeywords {
		return errkind.Newf("copy", errkind.Limit, "the mailbox has too many keywords")
	}
	if err := from.Sound(); err != nil || len(t.Items) == 0 {
		return err
	}
	if err := mb.s.format.Transfer(t); err != nil {
		return err
	}
	for _, it := range t.Items {
		to.Add(it.New)
		res.From, res.To = append(res.From, it.Old.UID), append(res.To, it.New.UID)
		if t.Move {
			from.Remove(it.Pos)
		}
	}
	if to != from { // shown there before it goes here
		to.commit()
	}
	return nil
}
