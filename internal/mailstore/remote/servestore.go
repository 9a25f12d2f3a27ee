package remote

import (
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
)

func (s *server) list(*none) (*folders, error) {
	list, err := s.store.List()
	if err != nil {
		return nil, err
	}
	return &folders{list}, nil
}

func (s *server) lookup(a *named) (*folders, error) {
	if err := known("lookup", a.Name); err != nil {
		return nil, err
	}
	f, err := s.store.Lookup(a.Name)
	if err != nil {
		return nil, err
	}
	return &folders{[]mailstore.Folder{f}}, nil
}

func (s *server) subscriptions(*none) (*names, error) {
	list, err := s.store.Subscriptions()
	if err != nil {
		return nil, err
	}
	return &names{list}, nil
}

func (s *server) subscribe(a *subscribing) (*none, error) {
	return nil, s.store.Subscribe(a.Name, a.On)
}

func (s *server) create(a *creating) (*named, error) {
	name, err := s.store.Create(a.Name, a.Use)
	if err != nil {
		return nil, err
	}
	return &named{name}, nil
}

func (s *server) delete(a *named) (*none, error) {
	if err := known("delete", a.Name); err != nil {
		return nil, err
	}
	return nil, s.store.Delete(a.Name)
}

func (s *server) rename(a *renaming) (*none, error) {
	if err := known("rename", a.From); err != nil {
		return nil, err
	}
	return nil, s.store.Rename(a.From, a.To)
}

func (s *server) status(a *asking) (*status, error) {
	if err := known("status", a.Name); err != nil {
		return nil, err
	}
	st, err := s.store.Status(a.Name, mailstore.StatusWant{Size: a.Size})
	if err != nil {
		return nil, err
	}
	return &status{st}, nil
}

func (s *server) quota(*none) (*quota, error) {
	q, ok, err := s.store.Quota()
	if err != nil {
		return nil, err
	}
	return &quota{q, ok}, nil
}

func (s *server) myRights(a *named) (*rights, error) {
	if err := known("myrights", a.Name); err != nil {
		return nil, err
	}
	r, err := s.store.MyRights(a.Name)
	if err != nil {
		return nil, err
	}
	return &rights{r}, nil
}

// getACL gives the entries. The owner's comments in the file are his.
func (s *server) getACL(a *named) (*aclText, error) {
	if err := known("getacl", a.Name); err != nil {
		return nil, err
	}
	l, err := s.store.GetACL(a.Name)
	if err != nil {
		return nil, err
	}
	return &aclText{l.Inherited().Format()}, nil
}

func (s *server) setACL(a *granting) (*none, error) {
	if err := known("setacl", a.Name); err != nil {
		return nil, err
	}
	return nil, s.store.SetACL(a.Name, a.ID, a.Change)
}

func (s *server) deleteACL(a *granting) (*none, error) {
	if err := known("deleteacl", a.Name); err != nil {
		return nil, err
	}
	return nil, s.store.DeleteACL(a.Name, a.ID)
}

func (s *server) grantable(a *granting) (*grantable, error) {
	if err := known("listrights", a.Name); err != nil {
		return nil, err
	}
	always, can, err := s.store.Grantable(a.Name, a.ID)
	if err != nil {
		return nil, err
	}
	return &grantable{always, can}, nil
}

func (s *server) claimRecent(a *claiming) (out *uidSet, err error) {
	err = s.with("claim recent", a.Box, func(b *serverBox) error {
		set, err := b.mb.ClaimRecent(a.Peek)
		out = &uidSet{set}
		return err
	})
	return out, err
}

func (s *server) expungedSince(a *since) (out *history, err error) {
	err = s.with("look", a.Box, func(b *serverBox) error {
		set, complete, err := b.mb.ExpungedSince(a.Mod)
		out = &history{set, complete}
		return err
	})
	return out, err
}

func (s *server) storeFlags(a *storing) (out *stored, err error) {
	err = s.with("store", a.Box, func(b *serverBox) error {
		res, err := b.mb.Store(a.FlagChange)
		out = &stored{res}
		return err
	})
	return out, err
}

func (s *server) expunge(a *transferring) (out *uidSet, err error) {
	err = s.with("expunge", a.Box, func(b *serverBox) error {
		set, err := b.mb.Expunge(a.Set)
		out = &uidSet{set}
		return err
	})
	return out, err
}

func (s *server) copy(a *transferring, goOn func() error) (*transferred, error) {
	return s.transfer(a, mailstore.Transfer{UIDs: a.Set, To: a.To, Stop: goOn})
}

func (s *server) move(a *transferring, goOn func() error) (*transferred, error) {
	return s.transfer(a, mailstore.Transfer{UIDs: a.Set, To: a.To, Move: true, Stop: goOn})
}

func (s *server) transfer(a *transferring, t mailstore.Transfer) (out *transferred, err error) {
	op := t.Name()
	if err := known(op, a.To); err != nil {
		return nil, err
	}
	err = s.with(op, a.Box, func(b *serverBox) error {
		res, err := t.Of(b.mb)
		if len(res.From) != len(res.To) {
			return errkind.Newf(op, errkind.Other, "the store gave two lists that do not fit")
		}
		out = &transferred{res}
		return err
	})
	return out, err
}
