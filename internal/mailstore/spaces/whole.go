package spaces

import (
	"errors"
	"slices"
	"strings"

	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// abroad is a namespace of others' mail. Its store's names have the prefix.
type abroad struct {
	store  mailstore.Sharer
	ns     mailstore.Namespace
	prefix string // with '/': it ends in it
}

func (a *abroad) root() mailstore.Name { return strings.TrimSuffix(a.prefix, imapname.Separator) }

// Whole is a user's own store with namespaces of other users' mail beside it.
type Whole struct {
	own     mailstore.Sharer
	foreign []*abroad
	notes   wholeNotes
}

var (
	_ mailstore.Sharer      = (*Whole)(nil)
	_ mailstore.Annotator   = (*Whole)(nil)
	_ mailstore.QuotaScoper = (*Whole)(nil)
)

// Extend puts foreign namespaces beside a user's own store, in the order of the
// settings. Each of them gives one namespace, with a prefix. All are Whole's own from
// then on.
func Extend(own mailstore.Sharer, foreign ...mailstore.Sharer) *Whole {
	w := &Whole{own: own}
	for _, f := range foreign {
		ns := f.Namespaces()[0]
		w.foreign = append(w.foreign, &abroad{f, ns, strings.ReplaceAll(ns.Prefix, string(rune(ns.Separator)), imapname.Separator)})
	}
	return w
}

// Own is the user's own store, without the others' mail.
func (w *Whole) Own() mailstore.Sharer { return w.own }

// abroad gives the foreign namespace that a name belongs to; nil: it is the user's own.
func (w *Whole) abroad(name mailstore.Name) (best *abroad) {
	if name == imapname.Inbox {
		return nil
	}
	for _, a := range w.foreign {
		if strings.HasPrefix(name, a.prefix) && (best == nil || len(a.prefix) > len(best.prefix)) {
			best = a
		}
	}
	if best == nil {
		return nil
	}
	// An own namespace may lie below the prefix.
	for _, ns := range w.own.Namespaces() {
		prefix := strings.ReplaceAll(ns.Prefix, string(rune(ns.Separator)), imapname.Separator)
		if len(prefix) > len(best.prefix) && strings.HasPrefix(name, prefix) {
			return nil
		}
	}
	return best
}

// isRoot reports whether a name is a foreign namespace's prefix.
func (w *Whole) isRoot(name mailstore.Name) bool {
	return slices.ContainsFunc(w.foreign, func(a *abroad) bool { return a.root() == name })
}

// route finds the store that a mailbox is in. errkind.Invalid for a prefix.
func (w *Whole) route(op string, name mailstore.Name) (mailstore.Sharer, error) {
	if w.isRoot(name) {
		return nil, errkind.Newf(op, errkind.Invalid, "the name is only a parent of mailboxes")
	}
	if a := w.abroad(name); a != nil {
		return a.store, nil
	}
	return w.own, nil
}

// Namespaces gives the user's own, then the others.
func (w *Whole) Namespaces() []mailstore.Namespace {
	out := slices.Clone(w.own.Namespaces())
	for _, a := range w.foreign {
		out = append(out, a.ns)
	}
	return out
}

// List gives the mailboxes of all. An own one under a name of a foreign namespace
// cannot be seen.
func (w *Whole) List() ([]mailstore.Folder, error) {
	list, err := w.own.List()
	if err != nil {
		return nil, err
	}
	out := make([]mailstore.Folder, 0, len(list))
	for _, f := range list {
		if w.abroad(f.Name) == nil && !w.isRoot(f.Name) {
			out = append(out, f)
		}
	}
	subscribed, err := w.subscribed()
	if err != nil {
		return nil, err
	}
	for _, a := range w.foreign {
		list, err := a.store.List()
		if err != nil {
			return nil, err
		}
		shown := 0
		for _, f := range list {
			if w.abroad(f.Name) != a || w.isRoot(f.Name) {
				continue
			}
			if subscribed[f.Name] {
				f.Attrs |= mailstore.Subscribed
			}
			out, shown = append(out, f), shown+1
		}
		if root, ok := a.asFolder(shown > 0); ok {
			out = append(out, root)
		}
	}
	return arranged(out), nil
}

// asFolder is the prefix in a list; ok is false where the settings want it hidden.
func (a *abroad) asFolder(kids bool) (f mailstore.Folder, ok bool) {
	f = mailstore.Folder{Name: a.root(), Attrs: mailstore.NonExistent | mailstore.NoSelect}
	if kids {
		f.Attrs |= mailstore.HasChildren
	}
	return f, a.ns.List && (kids || a.ns.ListPrefix)
}

// arranged sorts a list and adds what a prefix of several levels implies.
func arranged(list []mailstore.Folder) []mailstore.Folder {
	at := make(map[mailstore.Name]int, len(list))
	for i, f := range list {
		at[f.Name] = i
	}
	for i := range len(list) {
		for p := imapname.Name(list[i].Name).Parent(); p != ""; p = p.Parent() {
			if j, there := at[string(p)]; there {
				list[j].Attrs |= mailstore.HasChildren
				continue
			}
			at[string(p)] = len(list)
			list = append(list, mailstore.Folder{Name: string(p), Attrs: mailstore.NonExistent | mailstore.NoSelect | mailstore.HasChildren})
		}
	}
	slices.SortFunc(list, func(a, b mailstore.Folder) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func (w *Whole) subscribed() (map[mailstore.Name]bool, error) {
	names, err := w.own.Subscriptions()
	if err != nil {
		return nil, err
	}
	out := make(map[mailstore.Name]bool, len(names))
	for _, n := range names {
		out[n] = true
	}
	return out, nil
}

// Lookup tells of one mailbox.
func (w *Whole) Lookup(name mailstore.Name) (mailstore.Folder, error) {
	if w.isRoot(name) {
		list, err := w.List()
		if i := slices.IndexFunc(list, func(f mailstore.Folder) bool { return f.Name == name }); i >= 0 {
			return list[i], nil
		}
		if err == nil {
			err = errkind.Newf("lookup", errkind.NotFound, "there is no such mailbox")
		}
		return mailstore.Folder{}, err
	}
	a := w.abroad(name)
	if a == nil {
		return w.own.Lookup(name)
	}
	f, err := a.store.Lookup(name)
	if err != nil {
		return mailstore.Folder{}, err
	}
	subscribed, err := w.subscribed()
	if subscribed[name] {
		f.Attrs |= mailstore.Subscribed
	}
	return f, err
}

// Subscriptions are the user's own, of others' mailboxes too.
func (w *Whole) Subscriptions() ([]mailstore.Name, error) { return w.own.Subscriptions() }

// Subscribe adds or removes a name.
func (w *Whole) Subscribe(name mailstore.Name, on bool) error { return w.own.Subscribe(name, on) }

// Create makes a mailbox.
func (w *Whole) Create(name mailstore.Name, use mailstore.Attr) (mailstore.Name, error) {
	if w.isRoot(name) {
		return "", errkind.Newf("create", errkind.Exists, "the name is that of a namespace")
	}
	s, err := w.route("create", name)
	if err != nil {
		return "", err
	}
	return s.Create(name, use)
}

// Delete removes a mailbox's mail.
func (w *Whole) Delete(name mailstore.Name) error {
	s, err := w.route("delete", name)
	if err != nil {
		return err
	}
	return s.Delete(name)
}

// Rename moves a mailbox within its namespace. Nothing of one user's becomes another's
// by it.
func (w *Whole) Rename(from, to mailstore.Name) error {
	s, err := w.route("rename", from)
	if err != nil {
		return err
	}
	if w.isRoot(to) {
		return errkind.Newf("rename", errkind.Exists, "the name is that of a namespace")
	}
	if w.abroad(from) != w.abroad(to) {
		return errkind.Newf("rename", errkind.Invalid, "a mailbox cannot be renamed into another namespace; create one there and move the messages")
	}
	return s.Rename(from, to)
}

// Status looks without opening.
func (w *Whole) Status(name mailstore.Name, want mailstore.StatusWant) (mailstore.Status, error) {
	s, err := w.route("status", name)
	if err != nil {
		return mailstore.Status{}, err
	}
	return s.Status(name, want)
}

// Append begins to add messages.
func (w *Whole) Append(name mailstore.Name) (mailstore.Appender, error) {
	s, err := w.route("append", name)
	if err != nil {
		return nil, err
	}
	app, err := s.Append(name)
	if err != nil || s != w.own {
		return app, err
	}
	return &homeAppender{app, w}, nil
}

// homeAppender adds to the user's own mail.
type homeAppender struct {
	mailstore.Appender
	w *Whole
}

// Unwrap gives the appender inside.
func (a *homeAppender) Unwrap() mailstore.Appender { return a.Appender }

// Replaces is mailstore.Replacer's. What goes from another's mail leaves the user's
// own as full as it is.
func (a *homeAppender) Replaces(from mailstore.Name, octets int64) {
	if a.w.abroad(from) == nil {
		mailstore.Replaces(a.Appender, from, octets)
	}
}

// Open opens a mailbox.
func (w *Whole) Open(name mailstore.Name) (mailstore.Mailbox, error) {
	s, err := w.route("open", name)
	if err != nil {
		return nil, err
	}
	mb, err := s.Open(name)
	if err != nil {
		return nil, err
	}
	return &wholeBox{mb, w, s}, nil
}

// wholeBox is an open mailbox, which can copy into other namespaces.
type wholeBox struct {
	mailstore.Mailbox
	w  *Whole
	in mailstore.Sharer
}

// Unwrap gives the mailbox inside.
func (b *wholeBox) Unwrap() mailstore.Mailbox { return b.Mailbox }

// Copy adds copies, all or none.
func (b *wholeBox) Copy(uids numset.Set, to mailstore.Name) (mailstore.CopyResult, error) {
	return b.Transfer(mailstore.Transfer{UIDs: uids, To: to})
}

// Move copies and expunges.
func (b *wholeBox) Move(uids numset.Set, to mailstore.Name) (mailstore.CopyResult, error) {
	return b.Transfer(mailstore.Transfer{UIDs: uids, To: to, Move: true})
}

// Transfer is mailstore.Transferrer's.
func (b *wholeBox) Transfer(t mailstore.Transfer) (mailstore.CopyResult, error) {
	s, err := b.w.route(t.Name(), t.To)
	if err != nil {
		return mailstore.CopyResult{}, err
	}
	if s == b.in {
		return t.Of(b.Mailbox)
	}
	if t.Move {
		if err := MayMove(b.in, b.Info().Name); err != nil {
			return mailstore.CopyResult{}, err
		}
	}
	return Across(b.Mailbox, t, s)
}

// MayMove is the error of a MOVE out of a mailbox without the rights for it (RFC 6851
// §4.2: t and e). The store's own Expunge would only look at the one of them.
func MayMove(s mailstore.Sharer, name mailstore.Name) error {
	r, err := s.MyRights(name)
	if err == nil && !r.Has(acl.Deleted|acl.Expunge) {
		err = errkind.Newf("move", errkind.NoPermission, "the access control list does not allow it")
	}
	return err
}

// Quota is the user's own: what he puts into another's mailbox is counted there.
func (w *Whole) Quota() (mailstore.Quota, bool, error) { return w.own.Quota() }

// QuotaCovers is mailstore.QuotaScoper's.
func (w *Whole) QuotaCovers(name mailstore.Name) bool {
	return w.abroad(name) == nil && mailstore.QuotaCovers(w.own, name)
}

// Close gives up all stores.
func (w *Whole) Close() error {
	err := w.own.Close()
	for _, a := range w.foreign {
		err = errors.Join(err, a.store.Close())
	}
	return err
}

// MyRights is mailstore.Sharer's.
func (w *Whole) MyRights(name mailstore.Name) (acl.Rights, error) {
	s, err := w.route("myrights", name)
	if err != nil {
		return 0, err
	}
	return s.MyRights(name)
}

// GetACL is mailstore.Sharer's.
func (w *Whole) GetACL(name mailstore.Name) (acl.List, error) {
	s, err := w.route("getacl", name)
	if err != nil {
		return acl.List{}, err
	}
	return s.GetACL(name)
}

// SetACL is mailstore.Sharer's.
func (w *Whole) SetACL(name mailstore.Name, id acl.ID, change acl.Change) error {
	s, err := w.route("setacl", name)
	if err != nil {
		return err
	}
	return s.SetACL(name, id, change)
}

// DeleteACL is mailstore.Sharer's.
func (w *Whole) DeleteACL(name mailstore.Name, id acl.ID) error {
	s, err := w.route("deleteacl", name)
	if err != nil {
		return err
	}
	return s.DeleteACL(name, id)
}

// Grantable is mailstore.Sharer's.
func (w *Whole) Grantable(name mailstore.Name, id acl.ID) (always, can acl.Rights, err error) {
	s, err := w.route("listrights", name)
	if err != nil {
		return 0, 0, err
	}
	return s.Grantable(name, id)
}
