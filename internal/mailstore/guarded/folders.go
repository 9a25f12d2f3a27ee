package guarded

import (
	"slices"
	"strings"

	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
)

const bare = mailstore.NoSelect | mailstore.NonExistent

// survey is a look at all mailboxes.
type survey struct {
	list   []mailstore.Folder            // the store's
	rights map[mailstore.Name]acl.Rights // of the mailboxes among them, without l too
}

// survey looks at the lists of all mailboxes. Nothing that a grantee asks for changes what
// it does.
func (s *Store) survey() (out survey, err error) {
	if out.list, err = s.inner.List(); err != nil {
		return out, err
	}
	out.rights = make(map[mailstore.Name]acl.Rights, len(out.list))
	known := map[mailstore.Name]bool{}
	for _, f := range out.list {
		if f.Attrs&bare != 0 {
			continue
		}
		list, err := s.lists.ACL(f.Name)
		if errkind.Is(err, errkind.NotFound) || errkind.Is(err, errkind.Invalid) {
			continue // gone meanwhile
		}
		r := s.by(list, err)
		out.rights[f.Name] = r
		if r.Has(acl.Lookup) {
			known[f.Name] = true
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = known
	return out, nil
}

func (s *Store) knows(name mailstore.Name) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[name]
}

func (s *Store) forget(name mailstore.Name) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, name)
}

// List gives the mailboxes with l, and the parents that they imply (RFC 4314 §4: a
// parent without l is as if it were not there).
func (s *Store) List() ([]mailstore.Folder, error) {
	if s.opt.Who.Owner {
		return s.inner.List()
	}
	now, err := s.survey()
	if err != nil {
		return nil, err
	}
	there, above := map[mailstore.Name]mailstore.Attr{}, map[mailstore.Name]bool{}
	for _, f := range now.list {
		r := now.rights[f.Name]
		if f.Attrs&bare != 0 || !r.Has(acl.Lookup) {
			continue
		}
		f.Attrs &^= mailstore.HasChildren | mailstore.Subscribed
		if !r.Has(acl.Read) {
			f.Attrs &^= mailstore.Marked
		}
		there[f.Name] = f.Attrs
		for p := imapname.Name(f.Name).Parent(); p != ""; p = p.Parent() {
			above[mailstore.Name(p)] = true
		}
	}
	out := make([]mailstore.Folder, 0, len(there)+len(above))
	for name, attrs := range there {
		if above[name] {
			attrs |= mailstore.HasChildren
			delete(above, name)
		}
		out = append(out, mailstore.Folder{Name: name, Attrs: attrs})
	}
	for name := range above {
		out = append(out, mailstore.Folder{Name: name, Attrs: bare | mailstore.HasChildren})
	}
	slices.SortFunc(out, func(a, b mailstore.Folder) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Lookup finds what List gives.
func (s *Store) Lookup(name mailstore.Name) (mailstore.Folder, error) {
	if s.opt.Who.Owner {
		return s.inner.Lookup(name)
	}
	list, err := s.List()
	if err != nil {
		return mailstore.Folder{}, err
	}
	if i := slices.IndexFunc(list, func(f mailstore.Folder) bool { return f.Name == name }); i >= 0 {
		return list[i], nil
	}
	return mailstore.Folder{}, notFound("lookup")
}

// Subscriptions are the owner's: a grantee's are kept with his own mail.
func (s *Store) Subscriptions() ([]mailstore.Name, error) {
	if !s.opt.Who.Owner {
		return nil, nil
	}
	return s.inner.Subscriptions()
}

// Subscribe changes the owner's subscriptions.
func (s *Store) Subscribe(name mailstore.Name, on bool) error {
	if s.opt.Who.Owner {
		return s.inner.Subscribe(name, on)
	}
	if !on { // RFC 4314 §4: no right is needed, and nothing of his is here
		return errkind.Newf("unsubscribe", errkind.NotFound, "the name is not subscribed")
	}
	if _, err := s.Lookup(name); err != nil {
		return notFound("subscribe")
	}
	return errkind.Newf("subscribe", errkind.NoPermission, "the owner's subscriptions are his own")
}

// below gives the user's rights on the nearest mailbox above a name that is there, or
// those that a mailbox of that name would get by default.
func (s *Store) below(name mailstore.Name) acl.Rights {
	if !s.opt.Who.Owner {
		return s.belowForGrantee(name)
	}
	for p := imapname.Name(name).Parent(); p != ""; p = p.Parent() {
		list, err := s.lists.ACL(mailstore.Name(p))
		if errkind.Is(err, errkind.NotFound) || errkind.Is(err, errkind.Invalid) {
			continue
		}
		return s.by(list, err)
	}
	return s.by(s.lists.DefaultACL(name))
}

// belowForGrantee is below with the same work whatever is there.
func (s *Store) belowForGrantee(name mailstore.Name) acl.Rights {
	now, err := s.survey()
	otherwise := s.by(s.lists.DefaultACL(name))
	if err != nil {
		return 0
	}
	for p := imapname.Name(name).Parent(); p != ""; p = p.Parent() {
		if r, there := now.rights[mailstore.Name(p)]; there {
			return r
		}
	}
	return otherwise
}

// by gives the rights by a list: of one that cannot be read the owner's are all, and a
// grantee's none.
func (s *Store) by(list acl.List, err error) acl.Rights {
	switch {
	case err == nil:
		return list.Rights(s.opt.Who)
	case s.opt.Who.Owner:
		return acl.All
	}
	return 0
}

// mayMake is the error of making a mailbox: k on the nearest mailbox above it is
// needed (RFC 4314 §4). For a grantee it is the same whatever is there.
func (s *Store) mayMake(op string, name mailstore.Name) error {
	if !s.below(name).Has(acl.Lookup | acl.Create) {
		return denied(op)
	}
	return nil
}

// Create needs k on the nearest mailbox above.
func (s *Store) Create(name mailstore.Name, use mailstore.Attr) (mailstore.Name, error) {
	if err := s.mayMake("create", name); err != nil {
		return "", err
	}
	if use != 0 && !s.opt.Who.Owner {
		return "", denied("create") // what the owner's mailboxes are for is his to say
	}
	out, err := s.inner.Create(name, use)
	return out, s.taken("create", name, err)
}

// taken keeps the error that a mailbox is there already from one who may not know of
// it.
func (s *Store) taken(op string, name mailstore.Name, err error) error {
	if err == nil || s.opt.Who.Owner || !errkind.Is(err, errkind.Exists) {
		return err
	}
	if _, lerr := s.Lookup(name); lerr != nil {
		return denied(op)
	}
	return err
}

// Delete needs x.
func (s *Store) Delete(name mailstore.Name) error {
	if err := s.need("delete", name, acl.Delete); err != nil {
		return err
	}
	return s.hide("delete", s.inner.Delete(name))
}

// Rename needs x on the mailbox and k on the nearest one above its new name. Those
// below it go along, as the owner's own RENAME takes them. INBOX only gives its
// messages away: for a grantee that is a MOVE of all.
func (s *Store) Rename(from, to mailstore.Name) error {
	want := acl.Delete
	if from == imapname.Inbox {
		want |= acl.Read | acl.Deleted | acl.Expunge
	}
	if err := s.mayRename(from, want); err != nil {
		return err
	}
	if err := s.mayMake("rename", to); err != nil {
		return err
	}
	return s.taken("rename", to, s.hide("rename", s.inner.Rename(from, to)))
}

// mayRename is need for RENAME: where the name is a mere parent, all below it would
// be renamed, and each needs x.
func (s *Store) mayRename(from mailstore.Name, want acl.Rights) error {
	err := s.need("rename", from, want)
	if !errkind.Is(err, errkind.Invalid) || s.opt.Who.Owner {
		return err
	}
	now, serr := s.survey()
	if serr != nil {
		return serr
	}
	for name, r := range now.rights {
		if imapname.Name(name).Below(imapname.Name(from)) && !r.Has(acl.Lookup|acl.Delete) {
			return denied("rename")
		}
	}
	return nil
}
