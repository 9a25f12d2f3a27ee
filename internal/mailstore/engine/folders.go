package engine

import (
	"errors"
	"io/fs"
	"slices"
	"strconv"

	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/nametree"
	"rookery/internal/vfs"
)

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
	if name == imapname.Inbox || s.tree.Promised(name) {
		if _, err := s.create(name); err != nil && !errkind.Is(err, errkind.Exists) {
			return f, err
		}
		if f, ok, err = s.format.Find(name); ok || err != nil {
			return f, vfs.Kinded("open", err)
		}
	}
	_, names, err := s.listed()
	if err != nil {
		return f, vfs.Kinded("list folders", err)
	}
	return f, s.tree.Missing("open", names, name)
}

// listed gives the mailboxes on the disk, and their names.
func (s *Store) listed() ([]Folder, []mailstore.Name, error) {
	list, err := s.format.Folders()
	names := make([]mailstore.Name, len(list))
	for i, f := range list {
		names[i] = f.Name
	}
	return list, names, err
}

// List gives every mailbox and implied parent.
func (s *Store) List() ([]mailstore.Folder, error) {
	if err := s.finish(); err != nil {
		return nil, vfs.Kinded("list", err)
	}
	_, names, err := s.listed()
	if err != nil {
		return nil, vfs.Kinded("list", err)
	}
	subs, err := s.subscribed()
	if err != nil {
		return nil, errkind.Wrap("list", err)
	}
	return s.tree.List(names, subs), nil
}

// Lookup tells of one mailbox.
func (s *Store) Lookup(name mailstore.Name) (mailstore.Folder, error) {
	list, err := s.List()
	if err != nil {
		return mailstore.Folder{}, err
	}
	return nametree.Lookup(list, name)
}

// Create makes a mailbox.
func (s *Store) Create(name mailstore.Name, use mailstore.Attr) (mailstore.Name, error) {
	inner := s.tree.Inner(name)
	if err := s.tree.MayCreate(inner, use); err != nil {
		return "", err
	}
	if err := checkName("create", inner); err != nil {
		return "", err
	}
	if _, err := s.create(inner); err != nil {
		return "", errkind.Wrap("create", err)
	}
	return s.tree.Outer(inner), nil
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
		f = Folder{Name: inner, GUID: mailstore.NewGUID()}
		if f.UIDValidity, err = s.control().NextValidity(0); err != nil {
			return err
		}
		if err := s.inheritACL(f); err != nil {
			return err
		}
		if err := s.format.Create(f, 1); err != nil {
			return err
		}
		if s.tree.Subscribes(inner) {
			return s.subscribeLocked(inner, true)
		}
		return nil
	})
	return f, vfs.Kinded("create", err)
}

// Delete removes a mailbox's mail.
func (s *Store) Delete(name mailstore.Name) error {
	inner := s.tree.Inner(name)
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
			_, names, err := s.listed()
			if err != nil {
				return vfs.Kinded("list folders", err)
			}
			return s.tree.NotDeleted(names, inner)
		}
		if err := s.control().RaiseValidity(f.UIDValidity); err != nil { // the next of this name must get a higher one
			return err
		}
		if err := s.format.Delete(f); err != nil {
			return err
		}
		dead = s.loaded(inner)
		s.dropIndex(f.GUID)
		s.dropACL(f.GUID, mailstore.GUID{})
		return nil
	})
	if dead != nil {
		dead.die()
	}
	return vfs.Kinded("delete", err)
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
	f, t := s.tree.Inner(from), s.tree.Inner(to)
	if err := checkName("rename", t); err != nil {
		return err
	}
	if err := nametree.MayRename(f, t); err != nil {
		return err
	}
	if f == imapname.Inbox {
		return errkind.Wrap("rename", nametree.RenameInbox(s, to))
	}
	if s.tree.Promised(f) {
		if _, err := s.find(f); err != nil { // it is made first
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

// planRename finds what has to be renamed, and refuses before anything is.
func (s *Store) planRename(from, to mailstore.Name) ([]Rename, error) {
	list, names, err := s.listed()
	if err != nil {
		return nil, err
	}
	moves, err := s.tree.Moves(names, from, to)
	if err != nil {
		return nil, err
	}
	out := make([]Rename, len(moves))
	for i, m := range moves {
		if err := checkName("rename", m.To); err != nil {
			return nil, err
		}
		out[i] = Rename{From: list[m.At], To: m.To}
	}
	return out, nil
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
