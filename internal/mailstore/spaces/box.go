package spaces

import (
	"context"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// box is an open mailbox, which can copy into other namespaces.
type box struct {
	mailstore.Mailbox
	s *Store
	m *space
}

// Unwrap gives the mailbox inside.
func (b *box) Unwrap() mailstore.Mailbox { return b.Mailbox }

// Info tells the name as this store has it.
func (b *box) Info() mailstore.Info {
	i := b.Mailbox.Info()
	if out, ok := b.s.outer(b.m, i.Name); ok {
		i.Name = out
	}
	return i
}

// Copy adds copies, all or none.
func (b *box) Copy(uids numset.Set, to mailstore.Name) (mailstore.CopyResult, error) {
	return b.Transfer(mailstore.Transfer{UIDs: uids, To: to})
}

// Move copies and expunges.
func (b *box) Move(uids numset.Set, to mailstore.Name) (mailstore.CopyResult, error) {
	return b.Transfer(mailstore.Transfer{UIDs: uids, To: to, Move: true})
}

// Transfer is mailstore.Transferrer's.
func (b *box) Transfer(t mailstore.Transfer) (mailstore.CopyResult, error) {
	m, inner, err := b.s.route(t.Name(), t.To)
	if err != nil {
		return mailstore.CopyResult{}, err
	}
	t.To = inner
	if m == b.m {
		return t.Of(b.Mailbox)
	}
	return Across(b.Mailbox, t, m.Store)
}

// of finds what a member's store can do beside serving sessions.
func of[T any](m *space, what string) (t T, err error) {
	t, ok := m.Store.(T)
	if !ok {
		err = errkind.Newf(what, errkind.Invalid, "the format of the namespace \""+m.ns.Prefix+"\" cannot do this")
	}
	return t, err
}

// Restore is mailstore.Restorer's.
func (s *Store) Restore(name mailstore.Name, id mailstore.Identity) error {
	m, inner, err := s.route("restore", name)
	if err != nil {
		return err
	}
	r, err := of[mailstore.Restorer](m, "restore")
	if err != nil {
		return err
	}
	return r.Restore(inner, id)
}

// Renew is mailstore.Restorer's.
func (s *Store) Renew(name mailstore.Name) (uint32, error) {
	m, inner, err := s.route("renew", name)
	if err != nil {
		return 0, err
	}
	r, err := of[mailstore.Restorer](m, "renew")
	if err != nil {
		return 0, err
	}
	return r.Renew(inner)
}

// Verify is mailstore.Verifier's. What is no mailbox's own is looked at in all
// namespaces.
func (s *Store) Verify(ctx context.Context, name mailstore.Name, repair bool, found func(mailstore.Finding)) error {
	if name != "" {
		m, inner, err := s.route("verify", name)
		if err != nil {
			return err
		}
		return m.verify(ctx, s, inner, repair, found)
	}
	for _, m := range s.spaces {
		if err := m.verify(ctx, s, "", repair, found); err != nil {
			return err
		}
	}
	return nil
}

func (m *space) verify(ctx context.Context, s *Store, inner mailstore.Name, repair bool, found func(mailstore.Finding)) error {
	v, err := of[mailstore.Verifier](m, "verify")
	if err != nil {
		return err
	}
	return v.Verify(ctx, inner, repair, func(f mailstore.Finding) {
		if out, ok := s.outer(m, f.Mailbox); ok && f.Mailbox != "" {
			f.Mailbox = out
		}
		found(f)
	})
}

// Index is mailstore.Maintainer's.
func (s *Store) Index(ctx context.Context, name mailstore.Name, progress func(done, total int)) error {
	m, inner, err := s.route("index", name)
	if err != nil {
		return err
	}
	t, err := of[mailstore.Maintainer](m, "index")
	if err != nil {
		return err
	}
	return t.Index(ctx, inner, progress)
}

// Purge is mailstore.Maintainer's, in all namespaces.
func (s *Store) Purge(ctx context.Context, progress func(done, total int)) (freed int64, err error) {
	for _, m := range s.spaces {
		t, err := of[mailstore.Maintainer](m, "purge")
		if err != nil {
			return freed, err
		}
		n, err := t.Purge(ctx, progress)
		if freed += n; err != nil {
			return freed, err
		}
	}
	return freed, nil
}
