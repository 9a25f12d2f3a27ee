package guarded

import (
	"io"

	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// target gives the rights on a mailbox that messages are put into, which needs i.
func (s *Store) target(op string, name mailstore.Name) (acl.Rights, error) {
	r, err := s.rights(op, name)
	switch {
	case err != nil && s.opt.Who.Owner:
		return r, nil // the store tells what is wrong with the name
	case err != nil:
		return 0, s.missing(op, name, err)
	case !r.Has(acl.Insert):
		return 0, denied(op)
	}
	return r, nil
}

// Append needs i. Flags that may not be set are left away.
func (s *Store) Append(name mailstore.Name) (mailstore.Appender, error) {
	r, err := s.target("append", name)
	if err != nil {
		return nil, err
	}
	a, err := s.inner.Append(name)
	if err != nil {
		return nil, s.hide("append", err)
	}
	if s.opt.Who.Owner && r.Has(flagRights) {
		return a, nil
	}
	limited := &appender{a, s, name, r}
	if s.opt.Who.Owner {
		return ownAppender{limited}, nil
	}
	return limited, nil
}

// ownAppender is an appender of the owner's. What else it offers he may use.
type ownAppender struct{ *appender }

// Unwrap gives the appender inside.
func (a ownAppender) Unwrap() mailstore.Appender { return a.Appender }

type appender struct {
	mailstore.Appender
	s    *Store
	name mailstore.Name
	r    acl.Rights
}

// Add leaves away what the user may not set. What identifies a message in the owner's
// store a grantee cannot give.
func (a *appender) Add(m mailstore.AppendMeta, size int64) (io.Writer, error) {
	m = limit(m, a.r)
	if !a.s.opt.Who.Owner {
		if a.s.private() {
			m.Flags &^= mailstore.Seen // a shared \Seen would be everybody else's
		}
		m = mailstore.AppendMeta{Flags: m.Flags, Keywords: m.Keywords, InternalDate: m.InternalDate}
	}
	return a.Appender.Add(m, size)
}

// limit leaves the flags that rights allow.
func limit(m mailstore.AppendMeta, r acl.Rights) mailstore.AppendMeta {
	m.Flags &= flagsOf(r)
	if !r.Has(acl.Write) {
		m.Keywords = nil
	}
	return m
}

// StopBy is mailstore.CommitStopper's.
func (a *appender) StopBy(goOn func() error) { mailstore.StopBy(a.Appender, goOn) }

// Commit needs i still.
func (a *appender) Commit() (mailstore.AppendResult, error) {
	if err := a.s.need("append", a.name, acl.Insert); err != nil {
		a.Abort()
		return mailstore.AppendResult{}, err
	}
	return a.Appender.Commit()
}

// Copy needs r here and i there.
func (b *box) Copy(uids numset.Set, to mailstore.Name) (mailstore.CopyResult, error) {
	return b.Transfer(mailstore.Transfer{UIDs: uids, To: to})
}

// Move needs t and e here (RFC 6851 §4.2), and i there.
func (b *box) Move(uids numset.Set, to mailstore.Name) (mailstore.CopyResult, error) {
	return b.Transfer(mailstore.Transfer{UIDs: uids, To: to, Move: true})
}

// Transfer is Copy or Move, with their rights.
func (b *box) Transfer(t mailstore.Transfer) (res mailstore.CopyResult, err error) {
	if t.Move {
		_, err = b.may("move", acl.Deleted|acl.Expunge)
	} else {
		err = b.mayRead("copy")
	}
	if err != nil {
		return res, err
	}
	r, err := b.s.target(t.Name(), t.To)
	if err != nil {
		return res, err
	}
	if b.whole(t.UIDs, r) {
		res, err := t.Of(b.Mailbox)
		return res, b.s.hide(t.Name(), err)
	}
	if res, err = b.stripped(t, r); err != nil || !t.Move || len(res.From) == 0 {
		return res, err
	}
	return b.leave(res, t.To)
}

// whole reports whether no message has a flag that rights do not allow: then the
// store copies by itself.
func (b *box) whole(uids numset.Set, r acl.Rights) bool {
	may := flagsOf(r)
	if b.s.private() {
		may &^= mailstore.Seen
	}
	if may == mailstore.AllFlags {
		return true
	}
	snap := b.Mailbox.Snapshot()
	for e := range entries(uids, snap) {
		if e.Flags&^may != 0 || e.Keywords != 0 && !r.Has(acl.Write) {
			return false
		}
	}
	return true
}

// stripped copies messages without the flags that rights do not allow, all or none.
// Nobody ever sees a copy that has them.
func (b *box) stripped(t mailstore.Transfer, r acl.Rights) (res mailstore.CopyResult, err error) {
	app, err := b.s.inner.Append(t.To)
	if err != nil {
		return res, b.s.hide("copy", err)
	}
	defer app.Abort()
	snap := b.Mailbox.Snapshot()
	var from []mailstore.UID
	for e := range entries(t.UIDs, snap) {
		if err := t.GoOn(); err != nil {
			return res, errkind.Wrap(t.Name(), err)
		}
		err := b.copyOne(app, e, snap.Keywords(e.Keywords), r)
		if errkind.Is(err, errkind.Expunged) {
			continue
		}
		if err != nil {
			return res, err
		}
		from = append(from, e.UID)
	}
	if len(from) == 0 {
		st, err := b.s.inner.Status(t.To, mailstore.StatusWant{})
		return mailstore.CopyResult{UIDValidity: st.UIDValidity}, b.s.hide("copy", err)
	}
	mailstore.StopBy(app, t.GoOn)
	done, err := app.Commit()
	if err != nil {
		return res, errkind.Wrap("copy", err)
	}
	return mailstore.CopyResult{UIDValidity: done.UIDValidity, From: from, To: done.UIDs}, nil
}

// copyOne puts one message into an appender. errkind.Expunged: nothing was put.
func (b *box) copyOne(app mailstore.Appender, e mailstore.Entry, keywords []string, r acl.Rights) error {
	facts, err := b.Mailbox.Facts(e.UID, mailstore.FactsWant{InternalDate: true, GUID: true})
	if err != nil {
		return err
	}
	msg, err := b.Mailbox.Message(e.UID)
	if err != nil {
		return err
	}
	defer msg.Close()
	meta := limit(mailstore.AppendMeta{Flags: e.Flags, Keywords: keywords, InternalDate: facts.InternalDate, GUID: facts.GUID}, r)
	if b.s.private() {
		meta.Flags &^= mailstore.Seen
	}
	w, err := app.Add(meta, msg.Size())
	if err == nil {
		_, err = io.Copy(w, io.NewSectionReader(msg, 0, msg.Size()))
	}
	if errkind.Is(err, errkind.Expunged) { // the message has begun: it cannot be left out any more
		err = errkind.New("read message", errkind.IO, err)
	}
	return err
}

// leave expunges what was copied for a MOVE. Where that fails the copies stay: the
// messages are in both mailboxes rather than in none.
func (b *box) leave(res mailstore.CopyResult, to mailstore.Name) (mailstore.CopyResult, error) {
	gone, err := b.Mailbox.Expunge(numset.FromSorted(res.From))
	if err == nil {
		return res, nil
	}
	out := mailstore.CopyResult{UIDValidity: res.UIDValidity}
	for i, uid := range res.From {
		if gone.Contains(uid) {
			out.From, out.To = append(out.From, uid), append(out.To, res.To[i])
		}
	}
	return out, errkind.Wrap("move to "+to, err)
}
