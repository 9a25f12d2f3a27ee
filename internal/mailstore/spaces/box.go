package spaces

import (
	"context"
	"errors"
	"io"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// moveStep is how many messages a move between namespaces takes at once: so many
// may be in both places after a power cut.
const moveStep = 200

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
	m, inner, err := b.s.route("copy", to)
	if err != nil {
		return mailstore.CopyResult{}, err
	}
	if m == b.m {
		return b.Mailbox.Copy(uids, inner)
	}
	return b.across(b.present(uids), m.Store, inner)
}

// Move copies and expunges.
func (b *box) Move(uids numset.Set, to mailstore.Name) (mailstore.CopyResult, error) {
	m, inner, err := b.s.route("move", to)
	if err != nil {
		return mailstore.CopyResult{}, err
	}
	if m == b.m {
		return b.Mailbox.Move(uids, inner)
	}
	todo := b.present(uids)
	var all mailstore.CopyResult
	for {
		step := todo[:min(len(todo), moveStep)]
		todo = todo[len(step):]
		res, err := b.across(step, m.Store, inner)
		if err == nil {
			res, err = b.remove(res, m.Store, inner)
		}
		all.UIDValidity = res.UIDValidity
		all.From, all.To = append(all.From, res.From...), append(all.To, res.To...)
		if err != nil || len(todo) == 0 {
			return all, err
		}
	}
}

// present gives those of uids that the mailbox has, as entries.
func (b *box) present(uids numset.Set) (out []mailstore.Entry) {
	snap := b.Snapshot()
	for _, r := range uids.Ranges() {
		for pos, _ := snap.Find(r.First); pos < snap.Len(); pos++ {
			e := snap.At(pos)
			if e.UID > r.Last {
				break
			}
			out = append(out, e)
		}
	}
	return out
}

// across copies messages into another store. What was expunged meanwhile is left
// out, as in a copy within one.
func (b *box) across(list []mailstore.Entry, to mailstore.Store, name mailstore.Name) (res mailstore.CopyResult, err error) {
	st, err := to.Status(name, mailstore.StatusWant{})
	if err != nil {
		return res, errkind.Wrap("copy", err)
	}
	res.UIDValidity = st.UIDValidity
	if len(list) == 0 {
		return res, nil
	}
	app, err := to.Append(name)
	if err != nil {
		return res, errkind.Wrap("copy", err)
	}
	defer app.Abort()
	snap := b.Snapshot()
	var from []mailstore.UID
	for _, e := range list {
		err := b.add(app, e, snap.Keywords(e.Keywords))
		if errkind.Is(err, errkind.Expunged) {
			continue
		}
		if err != nil {
			return mailstore.CopyResult{}, errkind.Wrap("copy", err)
		}
		from = append(from, e.UID)
	}
	if len(from) == 0 {
		return res, nil
	}
	done, err := app.Commit()
	if err != nil {
		return mailstore.CopyResult{}, errkind.Wrap("copy", err)
	}
	return mailstore.CopyResult{UIDValidity: done.UIDValidity, From: from, To: done.UIDs}, nil
}

// add puts one message into an appender. errkind.Expunged: nothing was put.
func (b *box) add(app mailstore.Appender, e mailstore.Entry, keywords []string) error {
	facts, err := b.Facts(e.UID, mailstore.FactsWant{InternalDate: true, GUID: true})
	if err != nil {
		return err
	}
	msg, err := b.Message(e.UID)
	if err != nil {
		return err
	}
	defer msg.Close()
	w, err := app.Add(mailstore.AppendMeta{Flags: e.Flags, Keywords: keywords, InternalDate: facts.InternalDate, GUID: facts.GUID}, msg.Size())
	if err == nil {
		_, err = io.Copy(w, io.NewSectionReader(msg, 0, msg.Size()))
	}
	if errkind.Is(err, errkind.Expunged) { // the message has begun: it cannot be left out any more
		err = errkind.New("read message", errkind.IO, err)
	}
	return err
}

// remove expunges what was copied. Of what it cannot expunge the copies go again.
func (b *box) remove(res mailstore.CopyResult, to mailstore.Store, name mailstore.Name) (mailstore.CopyResult, error) {
	if len(res.From) == 0 {
		return res, nil
	}
	_, err := b.Mailbox.Expunge(numset.FromSorted(res.From))
	if err == nil {
		return res, nil
	}
	snap, serr := b.Sync()
	if serr != nil {
		return res, errkind.Wrap("move", errors.Join(err, serr)) // nobody knows what is left: both stay
	}
	var stays numset.Set
	out := mailstore.CopyResult{UIDValidity: res.UIDValidity}
	for i, uid := range res.From {
		if _, there := snap.Find(uid); there {
			stays.Add(res.To[i])
		} else {
			out.From, out.To = append(out.From, uid), append(out.To, res.To[i])
		}
	}
	return out, errkind.Wrap("move", errors.Join(err, takeBack(to, name, stays)))
}

func takeBack(s mailstore.Store, name mailstore.Name, uids numset.Set) error {
	if uids.Empty() {
		return nil
	}
	mb, err := s.Open(name)
	if err != nil {
		return err
	}
	defer mb.Close()
	if _, err = mb.Sync(); err == nil {
		_, err = mb.Expunge(uids)
	}
	return err
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
