package engine

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
	"rookery/internal/vfs"
)

// canonical takes the namespace's prefix off.
func (s *Store) canonical(name mailstore.Name) mailstore.Name {
	if s.prefix != "" && name != imapname.Inbox && len(name) > len(s.prefix) && name[:len(s.prefix)] == s.prefix {
		return name[len(s.prefix):]
	}
	return name
}

// outName puts the prefix on.
func (s *Store) outName(name mailstore.Name) mailstore.Name {
	if name == imapname.Inbox {
		return name
	}
	return s.prefix + name
}

func (s *Store) special(name mailstore.Name) *Special {
	for i := range s.opt.Special {
		if s.canonical(s.opt.Special[i].Name) == name {
			return &s.opt.Special[i]
		}
	}
	return nil
}

// checkName refuses what is no mailbox's name.
func checkName(op string, name mailstore.Name) error {
	n := imapname.Name(name)
	if err := n.Check(); err != nil {
		return errkind.New(op, errkind.Invalid, err)
	}
	if imapname.Canonical(name) != n {
		return errkind.Newf(op, errkind.Invalid, "the name is not in its canonical form")
	}
	return nil
}

// find gives a mailbox that is there, making it if the settings say so. INBOX is
// always made. errkind: NotFound, Invalid.
func (s *Store) find(name mailstore.Name) (Folder, error) {
	if err := checkName("open", name); err != nil {
		return Folder{}, err
	}
	if err := s.finish(); err != nil {
		return Folder{}, vfs.Kinded("open", err)
	}
	f, ok, err := s.format.Find(name)
	if ok || err != nil {
		return f, vfs.Kinded("open", err)
	}
	sp := s.special(name)
	if name == imapname.Inbox || sp != nil && sp.Auto != AutoNo {
		if _, err := s.create(name); err != nil && !errkind.Is(err, errkind.Exists) {
			return f, err
		}
		if f, ok, err = s.format.Find(name); ok || err != nil {
			return f, vfs.Kinded("open", err)
		}
	}
	implied, err := s.hasChildren(name)
	if err != nil {
		return f, err
	}
	if implied {
		return f, errkind.Newf("open", errkind.Invalid, "the name is only a parent of mailboxes")
	}
	return f, errkind.Newf("open", errkind.NotFound, "there is no such mailbox")
}

func (s *Store) hasChildren(name mailstore.Name) (bool, error) {
	list, err := s.format.Folders()
	for _, f := range list {
		if imapname.Name(f.Name).Below(imapname.Name(name)) {
			return true, nil
		}
	}
	for _, sp := range s.opt.Special {
		if sp.Auto != AutoNo && imapname.Name(s.canonical(sp.Name)).Below(imapname.Name(name)) {
			return true, nil
		}
	}
	return false, vfs.Kinded("list folders", err)
}

// List gives every mailbox and implied parent.
func (s *Store) List() ([]mailstore.Folder, error) {
	if err := s.finish(); err != nil {
		return nil, vfs.Kinded("list", err)
	}
	list, err := s.format.Folders()
	if err != nil {
		return nil, vfs.Kinded("list", err)
	}
	subs, err := s.subscribed()
	if err != nil {
		return nil, errkind.Wrap("list", err)
	}
	attrs := make(map[mailstore.Name]mailstore.Attr, len(list)+8)
	attrs[imapname.Inbox] = 0
	for _, f := range list {
		attrs[f.Name] = 0
	}
	for _, sp := range s.opt.Special {
		name := s.canonical(sp.Name)
		if _, there := attrs[name]; !there && sp.Auto == AutoNo {
			continue
		} else if !there && sp.Auto == AutoSubscribe {
			attrs[name] |= mailstore.Subscribed
		}
		attrs[name] |= sp.Use
	}
	for _, n := range subs {
		if a, there := attrs[n]; there {
			attrs[n] = a | mailstore.Subscribed
		}
	}
	names := make([]mailstore.Name, 0, len(attrs))
	for n := range attrs {
		names = append(names, n)
	}
	for _, name := range names {
		for p := imapname.Name(name).Parent(); p != ""; p = p.Parent() {
			a, there := attrs[mailstore.Name(p)]
			if !there {
				a = mailstore.NonExistent | mailstore.NoSelect
			}
			attrs[mailstore.Name(p)] = a | mailstore.HasChildren
		}
	}
	out := make([]mailstore.Folder, 0, len(attrs))
	for name, a := range attrs {
		out = append(out, mailstore.Folder{Name: s.outName(name), Attrs: a})
	}
	slices.SortFunc(out, func(a, b mailstore.Folder) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Lookup tells of one mailbox.
func (s *Store) Lookup(name mailstore.Name) (mailstore.Folder, error) {
	list, err := s.List()
	if err != nil {
		return mailstore.Folder{}, err
	}
	i, ok := slices.BinarySearchFunc(list, name, func(f mailstore.Folder, n mailstore.Name) int { return strings.Compare(f.Name, n) })
	if !ok {
		return mailstore.Folder{}, errkind.Newf("lookup", errkind.NotFound, "there is no such mailbox")
	}
	return list[i], nil
}

// Create makes a mailbox.
func (s *Store) Create(name mailstore.Name, use mailstore.Attr) (mailstore.Name, error) {
	inner := s.canonical(name)
	if inner == imapname.Inbox {
		return "", errkind.Newf("create", errkind.Exists, "INBOX is always there")
	}
	if sp := s.special(inner); use != 0 && (sp == nil || sp.Use != use) {
		return "", errkind.Newf("create", errkind.Invalid, "special uses are given by the settings")
	}
	if err := checkName("create", inner); err != nil {
		return "", err
	}
	if _, err := s.create(inner); err != nil {
		return "", errkind.Wrap("create", err)
	}
	return s.outName(inner), nil
}

// create makes a mailbox and subscribes it if the settings say so.
func (s *Store) create(inner mailstore.Name) (f Folder, err error) {
	err = s.named(func() error {
		list, err := s.format.Folders()
		if err != nil {
			return err
		}
		if slices.ContainsFunc(list, func(f Folder) bool { return f.Name == inner }) {
			return errkind.Newf("create", errkind.Exists, "the mailbox is there")
		}
		if len(list) >= s.opt.MaxFolders {
			return errkind.Newf("create", errkind.Limit, "there are "+strconv.Itoa(len(list))+" mailboxes, no more can be made")
		}
		f = Folder{Name: inner, GUID: newGUID()}
		if f.UIDValidity, err = s.control().NextValidity(0); err != nil {
			return err
		}
		if err := s.format.Create(f, 1); err != nil {
			return err
		}
		if sp := s.special(inner); sp != nil && sp.Auto == AutoSubscribe {
			return s.subscribeLocked(inner, true)
		}
		return nil
	})
	return f, vfs.Kinded("create", err)
}

func newGUID() (g mailstore.GUID) {
	a, b := rand.Uint64(), rand.Uint64()
	for i := range 8 {
		g[i], g[8+i] = byte(a>>(8*i)), byte(b>>(8*i))
	}
	return g
}

// Delete removes a mailbox's mail.
func (s *Store) Delete(name mailstore.Name) error {
	inner := s.canonical(name)
	if inner == imapname.Inbox {
		return errkind.Newf("delete", errkind.Invalid, "INBOX cannot be deleted")
	}
	var dead *mailbox
	err := s.named(func() error {
		f, ok, err := s.format.Find(inner)
		if err != nil {
			return err
		}
		if !ok {
			return s.cannotDelete(inner)
		}
		if err := s.control().RaiseValidity(f.UIDValidity); err != nil { // the next of this name must get a higher one
			return err
		}
		if err := s.format.Delete(f); err != nil {
			return err
		}
		dead = s.loaded(inner)
		s.dropIndex(f.GUID)
		return nil
	})
	if dead != nil {
		dead.die()
	}
	return vfs.Kinded("delete", err)
}

func (s *Store) cannotDelete(inner mailstore.Name) error {
	implied, err := s.hasChildren(inner)
	switch {
	case err != nil:
		return err
	case implied:
		return errkind.Newf("delete", errkind.Invalid, "the name is only a parent of mailboxes")
	}
	if sp := s.special(inner); sp != nil && sp.Auto != AutoNo {
		return errkind.Newf("delete", errkind.Invalid, "the settings make this mailbox")
	}
	return errkind.Newf("delete", errkind.NotFound, "there is no such mailbox")
}

// dropIndex forgets the index of a mailbox that is gone.
func (s *Store) dropIndex(guid mailstore.GUID) {
	if b, err := s.index.Box(guid, s.indexDir(guid)); err == nil {
		b.Drop()
		b.Close()
		s.fs.RemoveDir(s.indexDir(guid))
	}
}

// Rename moves a mailbox and its children.
func (s *Store) Rename(from, to mailstore.Name) error {
	f, t := s.canonical(from), s.canonical(to)
	if t == imapname.Inbox {
		return errkind.Newf("rename", errkind.Exists, "INBOX is always there")
	}
	if err := checkName("rename", t); err != nil {
		return err
	}
	switch {
	case f == imapname.Inbox:
		return errkind.Wrap("rename", s.renameInbox(to))
	case f == t:
		return errkind.Newf("rename", errkind.Exists, "the mailbox is there")
	case imapname.Name(t).Below(imapname.Name(f)):
		return errkind.Newf("rename", errkind.Invalid, "a mailbox cannot move below itself")
	}
	if sp := s.special(f); sp != nil && sp.Auto != AutoNo {
		if _, err := s.find(f); err != nil { // one that the settings promise is made first
			return errkind.Wrap("rename", err)
		}
	}
	err := s.named(func() error {
		moves, err := s.planRename(f, t)
		if err != nil {
			return err
		}
		if err := s.format.Rename(moves); err != nil {
			return err
		}
		s.renamed(moves)
		return nil
	})
	if errors.Is(err, fs.ErrExist) {
		return errkind.New("rename", errkind.Exists, err)
	}
	return vfs.Kinded("rename", err)
}

// renameInbox gives INBOX's messages to a new mailbox.
func (s *Store) renameInbox(to mailstore.Name) error {
	if _, err := s.Create(to, 0); err != nil {
		return err
	}
	mb, err := s.Open(imapname.Inbox)
	if err != nil {
		return err
	}
	defer mb.Close()
	_, err = mb.Move(numset.Span(1, 1<<32-1), to)
	return err
}

// planRename finds what has to be renamed, and refuses before anything is.
func (s *Store) planRename(from, to mailstore.Name) ([]Rename, error) {
	list, err := s.format.Folders()
	if err != nil {
		return nil, err
	}
	there := map[mailstore.Name]bool{}
	var moves []Rename
	for _, f := range list {
		there[f.Name] = true
		if n := imapname.Name(f.Name); f.Name == from || n.Below(imapname.Name(from)) {
			moves = append(moves, Rename{From: f, To: mailstore.Name(n.Moved(imapname.Name(from), imapname.Name(to)))})
		}
	}
	if len(moves) == 0 {
		return nil, errkind.Newf("rename", errkind.NotFound, "there is no such mailbox")
	}
	if sp := s.special(to); sp != nil && sp.Auto != AutoNo {
		there[to] = true
	}
	if there[to] {
		return nil, errkind.Newf("rename", errkind.Exists, "the new name is taken")
	}
	for _, m := range moves {
		if there[m.To] {
			return nil, errkind.Newf("rename", errkind.Exists, "the new name of "+m.From.Name+" is taken")
		}
		if err := checkName("rename", m.To); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(moves, func(a, b Rename) int { return strings.Compare(a.From.Name, b.From.Name) })
	return moves, nil
}

// renamed tells mailboxes in memory their new names.
func (s *Store) renamed(moves []Rename) {
	for _, m := range moves {
		mb := s.loaded(m.From.Name)
		if mb == nil {
			continue
		}
		s.mu.Lock()
		mb.mu.Lock()
		if s.open[m.From.Name] == mb {
			delete(s.open, m.From.Name)
			s.open[m.To] = mb
		}
		mb.folder.Name = m.To
		mb.mu.Unlock()
		s.mu.Unlock()
		mb.wake()
	}
}
