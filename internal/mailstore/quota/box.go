package quota

import (
	"sync/atomic"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// box is an open mailbox whose changes are counted.
type box struct {
	mailstore.Mailbox
	s    *Store
	seen atomic.Uint64 // UIDNEXT<<32 | messages of the last picture that was compared
}

// Unwrap gives the mailbox inside.
func (b *box) Unwrap() mailstore.Mailbox { return b.Mailbox }

func (b *box) ref() ref { return ref{name: b.Info().Name, guid: b.Info().GUID} }

// Sync marks the mailbox if another program added or removed mail.
func (b *box) Sync() (mailstore.Snapshot, error) {
	snap, err := b.Mailbox.Sync()
	if err != nil {
		return snap, err
	}
	now := uint64(snap.UIDNext())<<32 | uint64(snap.Len())
	if b.seen.Load() == now {
		return snap, nil
	}
	// An error here is nobody's but the count's, and found at its next use.
	_ = b.s.l.with(func(t *txn) error {
		i, ok := t.find(b.ref())
		if !ok {
			return errUnknown
		}
		r, err := t.record(i)
		switch {
		case err != nil || r.underWay > 0:
		case r.next == snap.UIDNext() && uint64(r.messages) == uint64(snap.Len()):
			b.seen.Store(now)
		case r.next <= snap.UIDNext(): // else the picture is older than the count
			b.s.mark(b.Info().Name)
			b.seen.Store(now)
		}
		return nil
	})
	return snap, nil
}

func (s *Store) mark(name mailstore.Name) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marked[name] = struct{}{}
}

// Expunge removes messages from the mailbox and the count.
func (b *box) Expunge(uids numset.Set) (numset.Set, error) {
	list := sizes(b.Mailbox, uids)
	o := b.s.removal(b.ref())
	gone, err := b.Mailbox.Expunge(uids)
	u, all := sum(list, gone)
	b.s.end(o, change{sub: u, doubt: !all || err != nil && !benign(err)})
	return gone, err
}

// Copy adds copies if there is room for them.
func (b *box) Copy(uids numset.Set, to mailstore.Name) (mailstore.CopyResult, error) {
	return b.Transfer(mailstore.Transfer{UIDs: uids, To: to})
}

// Move is net zero within what is counted: it is refused only where it brings
// mail into the count.
func (b *box) Move(uids numset.Set, to mailstore.Name) (mailstore.CopyResult, error) {
	return b.Transfer(mailstore.Transfer{UIDs: uids, To: to, Move: true})
}

// Transfer is mailstore.Transferrer's.
func (b *box) Transfer(t mailstore.Transfer) (mailstore.CopyResult, error) {
	if t.Move {
		return b.move(t)
	}
	return b.copy(t)
}

func (b *box) copy(t mailstore.Transfer) (mailstore.CopyResult, error) {
	list := sizes(b.Mailbox, t.UIDs)
	rule := b.s.opt.Rule(t.To)
	var add Use
	for _, m := range list {
		add.add(Use{uint64(m.size), 1})
	}
	if rule.Class != Counted {
		add = Use{}
	}
	o, err := b.s.begin([]ref{{name: t.To}}, add, b.s.room(rule, add, Use{}))
	if err != nil {
		if err == errUnknown {
			return t.Of(b.Mailbox) // it says what is wrong with the name
		}
		return mailstore.CopyResult{}, err
	}
	res, err := t.Of(b.Mailbox)
	b.s.end(o, arrived(list, res, err))
	return res, err
}

// arrived is the change of a mailbox that messages were copied or moved to.
func arrived(list []sized, res mailstore.CopyResult, err error) change {
	c := change{validity: res.UIDValidity}
	if len(res.To) > 0 {
		var all bool
		c.add, all = sum(list, numset.FromSorted(res.From))
		c.next = res.To[len(res.To)-1] + 1
		c.doubt = !all
	} else {
		c.validity = 0
	}
	c.doubt = c.doubt || err != nil && !benign(err)
	return c
}

func (b *box) move(t mailstore.Transfer) (mailstore.CopyResult, error) {
	list := sizes(b.Mailbox, t.UIDs)
	from, dest := b.s.opt.Rule(b.Info().Name), b.s.opt.Rule(t.To)
	var add Use
	if from.Class != Counted && dest.Class == Counted {
		for _, m := range list {
			add.add(Use{uint64(m.size), 1})
		}
	}
	o, err := b.s.begin([]ref{b.ref(), {name: t.To}}, add, b.s.room(dest, add, Use{}))
	switch {
	case err == nil:
	case errkind.Is(err, errkind.OverQuota):
		return mailstore.CopyResult{}, err
	default:
		// Moving makes room, or none is needed: it goes on uncounted, and is counted later.
		if err != errUnknown {
			b.s.distrust(err)
		}
		if add.Messages > 0 && err != errUnknown {
			return mailstore.CopyResult{}, err
		}
	}
	res, err := t.Of(b.Mailbox)
	in := arrived(list, res, err)
	b.s.end(o, change{sub: in.add, doubt: in.doubt}, in)
	return res, err
}
