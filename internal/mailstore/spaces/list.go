package spaces

import (
	"slices"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
)

// List gives the mailboxes of all namespaces.
func (s *Store) List() ([]mailstore.Folder, error) {
	all := map[mailstore.Name]mailstore.Attr{}
	for _, sp := range s.spaces {
		list, err := sp.Store.List()
		if err != nil {
			return nil, err
		}
		for _, f := range list {
			name, shown := s.outer(sp, f.Name)
			if !shown || !sp.Inbox && f.Name == imapname.Inbox && !hasMail(sp.Store) {
				continue
			}
			all[name] = join(all, name, f.Attrs)
			if name != f.Name { // its parents are not among its own store's
				s.imply(all, name)
			}
		}
	}
	for _, sp := range s.spaces {
		root := imapname.Name(sp.root())
		if root != "" && sp.ns.List && (sp.ns.ListPrefix || hasBelow(all, root)) {
			s.imply(all, string(root))
		}
	}
	if s.merged {
		names, err := s.Subscriptions()
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			if a, there := all[n]; there {
				all[n] = a | mailstore.Subscribed
			}
		}
	}
	out := make([]mailstore.Folder, 0, len(all))
	for name, a := range all {
		out = append(out, mailstore.Folder{Name: name, Attrs: a})
	}
	slices.SortFunc(out, func(a, b mailstore.Folder) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// join adds what a store says of a name to what another said: a mailbox that is
// there goes before a bare parent of the same name.
func join(all map[mailstore.Name]mailstore.Attr, name mailstore.Name, more mailstore.Attr) mailstore.Attr {
	const bare = mailstore.NonExistent | mailstore.NoSelect
	had, there := all[name]
	switch {
	case !there:
		return more
	case more&mailstore.NonExistent == 0:
		return had&^bare | more
	case had&mailstore.NonExistent == 0:
		return had | more&^bare
	}
	return had | more
}

// imply makes the parents of a name that are no namespaces' prefixes.
func (s *Store) imply(all map[mailstore.Name]mailstore.Attr, name mailstore.Name) {
	for p := imapname.Name(name).Parent(); p != ""; p = p.Parent() {
		if s.owner(string(p)) == nil || s.isRoot(string(p)) {
			continue
		}
		a, there := all[string(p)]
		if !there {
			a = mailstore.NonExistent | mailstore.NoSelect
		}
		all[string(p)] = a | mailstore.HasChildren
	}
}

func hasBelow(all map[mailstore.Name]mailstore.Attr, root imapname.Name) bool {
	for n := range all {
		if imapname.Name(n).Below(root) {
			return true
		}
	}
	return false
}

// hasMail reports whether a store's INBOX is worth a line.
func hasMail(s mailstore.Store) bool {
	st, err := s.Status(imapname.Inbox, mailstore.StatusWant{})
	return err != nil || st.Messages > 0
}

// Lookup tells of one mailbox.
func (s *Store) Lookup(name mailstore.Name) (mailstore.Folder, error) {
	list, err := s.List()
	if err != nil {
		return mailstore.Folder{}, err
	}
	i, ok := slices.BinarySearchFunc(list, name, func(f mailstore.Folder, n mailstore.Name) int { return strings.Compare(f.Name, n) })
	if ok {
		return list[i], nil
	}
	// An own INBOX without mail is there, though not listed.
	if m, inner, err := s.route("lookup", name); err == nil && inner != name {
		f, err := m.Store.Lookup(inner)
		f.Name = name
		return f, err
	}
	return mailstore.Folder{}, errkind.Newf("lookup", errkind.NotFound, "there is no such mailbox")
}

// Subscriptions gives those of all namespaces: what a namespace's keeper has for
// it, and what its own store has by the settings (auto = "subscribe").
func (s *Store) Subscriptions() ([]mailstore.Name, error) {
	var out []mailstore.Name
	for _, sp := range s.spaces {
		names, err := sp.Store.Subscriptions()
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			if !sp.Inbox && n == imapname.Inbox {
				n = sp.prefix + n
			}
			if m := s.owner(n); m != nil && (m == sp || m.keeper == sp) {
				out = append(out, n)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// Subscribe adds or removes a name.
func (s *Store) Subscribe(name mailstore.Name, on bool) error {
	m := s.owner(name)
	if m == nil {
		return errkind.Newf("subscribe", errkind.Invalid, "the name is in no namespace")
	}
	err := m.keeper.Store.Subscribe(m.keeper.inner(name), on)
	if m.keeper == m || on {
		return err
	}
	if err != nil && !errkind.Is(err, errkind.NotFound) {
		return err
	}
	own := m.Store.Subscribe(m.inner(name), false)
	if errkind.Is(own, errkind.NotFound) {
		return err
	}
	return own
}
