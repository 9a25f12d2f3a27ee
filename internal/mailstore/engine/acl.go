package engine

import (
	"encoding/hex"

	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/control"
	"rookery/internal/vfs"
)

// aclDir is the directory of access control lists, among the user's control files: in
// it a file for each mailbox that has one, whose name is the mailbox's GUID in 32
// hexadecimal digits, in the format of package acl. So a RENAME touches none of them,
// and a mailbox that is made anew has none of an earlier one of its name.
//
// The list for new mailboxes that have none above them is dovecot-acl beside the
// directory.
const aclDir = "rookery-acl"

var _ mailstore.ACLKeeper = (*Store)(nil)

func (s *Store) aclPath(guid mailstore.GUID) string {
	return vfs.Join(s.opt.ControlPath, aclDir+"/"+hex.EncodeToString(guid[:]))
}

// ACL gives a mailbox's list.
func (s *Store) ACL(name mailstore.Name) (acl.List, error) {
	const op = "read access control list"
	inner := s.tree.Inner(name)
	if err := checkName(op, inner); err != nil {
		return acl.List{}, err
	}
	f, ok, err := s.format.Find(inner)
	switch {
	case err != nil:
		return acl.List{}, vfs.Kinded(op, err)
	case ok:
		return s.acls.Read(s.fs, s.aclPath(f.GUID))
	case inner == imapname.Inbox:
		return acl.List{}, nil
	case s.tree.Promised(inner):
		return s.inherited(inner) // it is made when it is first used
	}
	_, names, err := s.listed()
	if err != nil {
		return acl.List{}, vfs.Kinded(op, err)
	}
	return acl.List{}, s.tree.Missing(op, names, inner)
}

// DefaultACL gives the list beside aclDir.
func (s *Store) DefaultACL(mailstore.Name) (acl.List, error) {
	return s.acls.Read(s.fs, vfs.Join(s.opt.ControlPath, acl.File))
}

// inherited gives the list that a new mailbox gets.
func (s *Store) inherited(inner mailstore.Name) (acl.List, error) {
	for p := imapname.Name(inner).Parent(); p != ""; p = p.Parent() {
		f, ok, err := s.format.Find(mailstore.Name(p))
		if err != nil {
			return acl.List{}, vfs.Kinded("read access control list", err)
		}
		if ok {
			list, err := s.acls.Read(s.fs, s.aclPath(f.GUID))
			return list.Inherited(), err
		}
	}
	list, err := s.DefaultACL(inner)
	return list.Inherited(), err
}

// inheritACL keeps the list of a mailbox that is about to be made. INBOX is not made
// by anybody's wish, and begins as its owner's alone. Under the user's lock.
func (s *Store) inheritACL(f Folder) error {
	if f.Name == imapname.Inbox {
		return nil
	}
	list, err := s.inherited(f.Name)
	if err != nil { // it is the owner's alone then
		s.opt.Note("mailbox " + f.Name + " is made without an access control list: " + err.Error())
		return nil
	}
	if list.Empty() {
		return nil
	}
	return s.putACL(f.GUID, list.Format())
}

func (s *Store) putACL(guid mailstore.GUID, data []byte) error {
	path := s.aclPath(guid)
	if err := MakeDirs(s.fs, vfs.Parent(path), s.opt.FolderMode); err != nil {
		return err
	}
	_, err := vfs.Replace(s.fs, path, data, s.opt.FileMode)
	return err
}

// moveACL gives a mailbox's list to the GUID that it gets. dropACL removes the old file
// once it has that.
func (s *Store) moveACL(old, now mailstore.GUID) error {
	if old == now {
		return nil
	}
	list, err := control.ReadACL(s.fs, s.aclPath(old))
	if err != nil || list.Empty() {
		return err
	}
	return s.putACL(now, list.Format())
}

// dropACL removes the file of a GUID that no mailbox has any more, now having its own.
func (s *Store) dropACL(gone, now mailstore.GUID) {
	if gone == now {
		return
	}
	if err := control.DropACL(s.fs, s.aclPath(gone)); err != nil {
		s.opt.Note("the access control list of a mailbox that is gone stays: " + err.Error())
	}
}

// EditACL replaces a mailbox's list.
func (s *Store) EditACL(name mailstore.Name, edit func(acl.List) (acl.List, error)) error {
	const op = "change access control list"
	inner := s.tree.Inner(name)
	if _, err := s.find(inner); err != nil { // it is made first if the settings promise it
		return errkind.Wrap(op, err)
	}
	return vfs.Kinded(op, s.named(func() error {
		f, ok, err := s.format.Find(inner)
		if err == nil && !ok {
			err = errkind.Newf(op, errkind.NotFound, "there is no such mailbox")
		}
		if err != nil {
			return err
		}
		data, err := control.EditACL(s.fs, s.aclPath(f.GUID), edit)
		if err != nil || data == nil {
			return err
		}
		return s.putACL(f.GUID, data)
	}))
}
