package maildir

import (
	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/control"
)

// Access control lists lie where Dovecot has them: dovecot-acl among the control
// files of the mailbox, and, as the list that new mailboxes get which have none above
// them, in the tree's root. Where the root is INBOX's own directory, as in a plain
// Maildir, the file there is INBOX's, and there is no default.

var _ mailstore.ACLKeeper = (*Store)(nil)

// aclListFile is Dovecot's own record of which mailboxes others may see, in the tree's
// root. It believes it rather than the lists, and makes it anew where there is none.
const aclListFile = "dovecot-acl-list"

// forgetACLs takes the record away: it is out of date.
func (s *Store) forgetACLs() { _ = s.fs.Remove(join(s.opt.ControlPath, aclListFile)) }

// aclPath gives a mailbox's file.
func (s *Store) aclPath(dir string) string { return join(s.ctlDir(dir), acl.File) }

// ACL gives a mailbox's list.
func (s *Store) ACL(name mailstore.Name) (acl.List, error) {
	inner := s.tree.Inner(name)
	dir, ok, err := s.lookDir(inner)
	if err != nil {
		return acl.List{}, errkind.Wrap("read access control list", err)
	}
	if !ok {
		return s.noACL(inner)
	}
	list, err := s.acls.Read(s.fs, s.aclPath(dir))
	return list, errkind.Wrap("read access control list", err)
}

// noACL is the answer for what is no mailbox: the list that it would get, if the
// settings promise it.
func (s *Store) noACL(inner mailstore.Name) (acl.List, error) {
	if s.tree.Promised(inner) {
		return s.inheritedACL(inner)
	}
	list, err := s.folders()
	if err != nil {
		return acl.List{}, err
	}
	return acl.List{}, s.tree.Missing("read access control list", namesOf(list), inner)
}

// DefaultACL gives the list in the tree's root.
func (s *Store) DefaultACL(mailstore.Name) (acl.List, error) {
	if s.ctlDir("") == s.opt.ControlPath {
		return acl.List{}, nil
	}
	list, err := s.acls.Read(s.fs, join(s.opt.ControlPath, acl.File))
	return list, errkind.Wrap("read access control list", err)
}

// inheritedACL gives the list that a new mailbox gets.
func (s *Store) inheritedACL(inner mailstore.Name) (acl.List, error) {
	for p := imapname.Name(inner).Parent(); p != ""; p = p.Parent() {
		dir, ok, err := s.lookDir(mailstore.Name(p))
		if err != nil {
			return acl.List{}, err
		}
		if ok {
			list, err := s.acls.Read(s.fs, s.aclPath(dir))
			return list.Inherited(), err
		}
	}
	list, err := s.DefaultACL(inner)
	return list.Inherited(), err
}

// EditACL replaces a mailbox's list.
func (s *Store) EditACL(name mailstore.Name, edit func(acl.List) (acl.List, error)) error {
	const op = "change access control list"
	if _, err := s.find(name); err != nil { // it is made first if the settings promise it
		return errkind.Wrap(op, err)
	}
	lock, err := s.begin()
	if err != nil {
		return errkind.Wrap(op, err)
	}
	defer s.end(lock)
	dir, ok, err := s.lookDir(s.tree.Inner(name))
	if err == nil && !ok {
		err = errkind.Newf(op, errkind.NotFound, "there is no such mailbox")
	}
	if err != nil {
		return errkind.Wrap(op, err)
	}
	if err := s.lock(); err != nil {
		return errkind.Wrap(op, err)
	}
	defer s.unlock()
	s.forgetACLs()
	path := s.aclPath(dir)
	if err := s.makeDirs(parentOf(path)); err != nil {
		return s.fail(op, err)
	}
	_, err = s.replaceLocked(path, func() ([]byte, error) { return control.EditACL(s.fs, path, edit) })
	return s.fail(op, err)
}

// giveACL gives a new mailbox its list; that of an earlier one may lie in its place.
func (s *Store) giveACL(ctl string, list acl.List) error {
	path := join(ctl, acl.File)
	if list.Empty() {
		return control.DropACL(s.fs, path)
	}
	s.forgetACLs()
	_, err := s.replace(path, list.Format())
	return err
}

// copyACL gives a mailbox's list to another directory of control files, where that of
// an earlier mailbox may lie.
func (s *Store) copyACL(from, to string) error {
	list, err := control.ReadACL(s.fs, join(from, acl.File))
	if err != nil {
		return err
	}
	return s.giveACL(to, list)
}
