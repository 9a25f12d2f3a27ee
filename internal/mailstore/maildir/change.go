package maildir

import (
	"strings"

	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/control"
	"rookery/internal/vfs"
)

// Directories on their way in or out have names that are no folder's. Whoever
// holds the user's lock and finds one knows that it was left over.
const (
	comingDir = "rookery-new."
	goneDir   = "rookery-gone."
)

// begin takes the locks that a change of the folders needs, and removes what a
// crash left.
func (s *Store) begin() (*held, error) {
	s.folderMu.Lock()
	lock, err := s.lockUser()
	if err != nil {
		s.folderMu.Unlock()
		return nil, err
	}
	for _, root := range []string{s.opt.MailPath, s.opt.ControlPath} {
		var old []string
		s.fs.ReadDir(root, func(e vfs.DirEntry) bool {
			if strings.HasPrefix(e.Name, comingDir) || strings.HasPrefix(e.Name, goneDir) {
				old = append(old, e.Name)
			}
			return true
		})
		for _, n := range old {
			s.removeTree(join(root, n), 8)
		}
		if s.opt.ControlPath == s.opt.MailPath {
			break
		}
	}
	s.finishRenames()
	return lock, nil
}

func (s *Store) end(lock *held) {
	lock.release()
	s.folderMu.Unlock()
}

// removeTree removes a directory and what is in it; what cannot be removed stays.
func (s *Store) removeTree(path string, depth int) {
	if depth == 0 {
		return
	}
	for {
		var files, dirs []string
		s.fs.ReadDir(path, func(e vfs.DirEntry) bool {
			if e.Type.IsDir() {
				dirs = append(dirs, e.Name)
			} else {
				files = append(files, e.Name)
			}
			return len(files)+len(dirs) < 4096
		})
		removed := 0
		for _, n := range files {
			if s.fs.Remove(join(path, n)) == nil {
				removed++
			}
		}
		for _, n := range dirs {
			s.removeTree(join(path, n), depth-1)
			if _, err := s.fs.Stat(join(path, n)); err != nil {
				removed++
			}
		}
		if removed == 0 {
			s.fs.RemoveDir(path)
			return
		}
	}
}

// Create makes a mailbox. It appears whole, by one rename.
func (s *Store) Create(name mailstore.Name, use mailstore.Attr) (mailstore.Name, error) {
	inner := s.tree.Inner(name)
	if err := s.tree.MayCreate(inner, use); err != nil {
		return "", err
	}
	dir, err := s.dirOf(inner)
	if err != nil {
		return "", errkind.Wrap("create", err)
	}
	lock, err := s.begin()
	if err != nil {
		return "", errkind.Wrap("create", err)
	}
	defer s.end(lock)
	if _, ok, err := s.lookDir(inner); err != nil || ok {
		if err == nil {
			err = errkind.Newf("create", errkind.Exists, "the mailbox is there")
		}
		return "", errkind.Wrap("create", err)
	}
	list, err := s.folders()
	if err != nil {
		return "", errkind.Wrap("create", err)
	}
	if len(list) >= s.opt.MaxFolders {
		return "", errkind.Newf("create", errkind.Limit, "there are "+utoa(uint32(len(list)))+" mailboxes, no more can be made")
	}
	inherited, err := s.inheritedACL(inner)
	if err != nil { // it is the owner's alone then
		s.opt.Note("mailbox " + inner + " is made without an access control list: " + err.Error())
	}
	if err := s.make(dir, inherited); err != nil {
		return "", s.fail("create", err)
	}
	if s.tree.Subscribes(inner) {
		if err := s.Subscribe(name, true); err != nil {
			return "", errkind.Wrap("create", err)
		}
	}
	return s.tree.Outer(inner), nil
}

// make makes the directories and control files of a mailbox.
func (s *Store) make(dir string, rights acl.List) error {
	v, err := s.nextValidity(0)
	if err != nil {
		return err
	}
	coming := join(s.opt.MailPath, comingDir+s.names.next(s.now()))
	target := s.mailDir(dir)
	bare := false
	if s.opt.Layout == FSLayout {
		if i := strings.LastIndexByte(dir, '/'); i > 0 {
			if err := s.makeDirs(s.mailDir(dir[:i])); err != nil {
				return err
			}
		}
		if _, err := s.fs.Stat(target); err == nil {
			bare, coming = true, target // a bare parent becomes a mailbox: cur/ comes last
		}
	}
	if !bare {
		if err := s.fs.Mkdir(coming, s.opt.FolderMode); err != nil {
			return err
		}
	}
	ctl := coming
	if s.opt.ControlPath != s.opt.MailPath {
		// What an earlier mailbox of this name left there has another's UIDs.
		ctl = s.ctlDir(dir)
		if err := control.DropACL(s.fs, join(ctl, acl.File)); err != nil {
			return err
		}
		s.dropControl(ctl)
		if err := s.makeDirs(ctl); err != nil {
			return err
		}
	}
	err = s.giveACL(ctl, rights)
	if err == nil {
		err = s.fill(coming, ctl, v)
	}
	if err == nil && !bare {
		if err = s.fs.RenameNoReplace(coming, target); err == nil {
			err = s.fs.SyncDir(parentOf(target))
		}
	}
	if err != nil && !bare {
		s.removeTree(coming, 4)
	}
	return err
}

// fill makes what is in a mailbox's directories.
func (s *Store) fill(dir, ctl string, validity uint32) error {
	hdr := uidHeader{validity: validity, next: 1, guid: guidText(mailstore.NewGUID())}
	if _, err := s.replace(join(ctl, uidlistFile), hdr.append(nil)); err != nil {
		return err
	}
	if s.opt.Layout == MaildirPP {
		f, err := s.fs.OpenFile(join(dir, "maildirfolder"), vfs.Write|vfs.Create, s.opt.FileMode)
		if err != nil {
			return err
		}
		f.Close()
	}
	for _, n := range []string{"tmp", "new", "cur"} {
		if err := s.fs.Mkdir(join(dir, n), s.opt.FolderMode); err != nil && diskKind(err) != errkind.Exists {
			return err
		}
	}
	return s.fs.SyncDir(dir)
}

// dropControl removes the control files of a mailbox.
func (s *Store) dropControl(ctl string) {
	for _, n := range []string{uidlistFile, uidlistFile + ".tmp", uidlistLock, keywordsFile, moreFile, moreFile + ".tmp", acl.File, acl.File + ".tmp", lockFile} {
		s.fs.Remove(join(ctl, n))
	}
	s.fs.RemoveDir(ctl)
}

// loadedOf gives the mailbox object of a name, if there is one in memory.
func (s *Store) loadedOf(name mailstore.Name) *mailbox {
	s.mu.Lock()
	defer s.mu.Unlock()
	if mb := s.open[name]; mb != nil {
		return mb
	}
	for _, mb := range s.idle {
		if mb.nameNow() == name {
			return mb
		}
	}
	return nil
}

// Delete removes a mailbox's mail. It is gone by one rename.
func (s *Store) Delete(name mailstore.Name) error {
	inner := s.tree.Inner(name)
	if inner == imapname.Inbox {
		return errkind.Newf("delete", errkind.Invalid, "INBOX cannot be deleted")
	}
	lock, err := s.begin()
	if err != nil {
		return errkind.Wrap("delete", err)
	}
	defer s.end(lock)
	dir, ok, err := s.lookDir(inner)
	if err != nil {
		return errkind.Wrap("delete", err)
	}
	if !ok {
		list, err := s.folders()
		if err != nil {
			return err
		}
		return s.tree.NotDeleted(namesOf(list), inner)
	}
	mb := s.loadedOf(inner)
	if mb != nil {
		mb.op.Lock()
		defer mb.op.Unlock()
	}
	if err = s.lock(); err == nil {
		err = s.remove(dir)
		s.unlock()
	}
	if mb != nil {
		if _, serr := s.fs.Stat(join(s.mailDir(dir), "cur")); err == nil || serr != nil && notExist(serr) {
			mb.die()
		}
	}
	return s.fail("delete", err)
}

// remove takes a mailbox off the disk.
func (s *Store) remove(dir string) error {
	ctl := s.ctlDir(dir)
	mb := mailbox{s: s, dir: s.mailDir(dir), ctl: ctl}
	hdr, known, err := mb.readHeader()
	if err != nil {
		return err
	}
	if !known {
		if data, err := vfs.ReadFile(s.fs, join(ctl, uidlistFile), maxUIDList); err == nil {
			if l, err := parseUIDList(data); err == nil {
				hdr = l.hdr
			}
		}
	}
	if hdr.validity != 0 { // the next mailbox of this name must get a higher one
		if err := s.raiseValidity(hdr.validity); err != nil {
			return err
		}
	}
	path := s.mailDir(dir)
	gone := join(s.opt.MailPath, goneDir+s.names.next(s.now()))
	moved := path
	if s.opt.Layout == FSLayout {
		// Children are below: only the mailbox's own directories go, cur/ first.
		if err := s.fs.Mkdir(gone, s.opt.FolderMode); err != nil {
			return err
		}
		if err := s.fs.Rename(join(path, "cur"), join(gone, "cur")); err != nil {
			return err
		}
		for _, n := range []string{"new", "tmp"} {
			s.fs.Rename(join(path, n), join(gone, n))
		}
	} else {
		if err := s.fs.Rename(path, gone); err != nil {
			return err
		}
		moved = s.opt.MailPath
	}
	if err := s.fs.SyncDir(moved); err != nil {
		return err
	}
	if known {
		s.journalGone(guidOf(hdr.guid))
		s.dropIndex(guidOf(hdr.guid), dir)
	}
	if s.opt.ControlPath != s.opt.MailPath || s.opt.Layout == FSLayout {
		if err := control.DropACL(s.fs, join(ctl, acl.File)); err != nil {
			s.opt.Note("the access control list of a deleted mailbox stays: " + err.Error())
		}
		s.dropControl(ctl)
	}
	if s.opt.Layout == FSLayout {
		s.prune(dir + "/")
	}
	s.removeTree(gone, 4)
	return nil
}

// dropIndex forgets a mailbox that is gone; the user's lock is held.
func (s *Store) dropIndex(guid mailstore.GUID, dir string) {
	box, err := s.user.Box(guid, s.idxDir(dir))
	if err == nil {
		if err = box.Drop(); err == nil && s.opt.IndexPath != s.opt.MailPath {
			s.fs.RemoveDir(s.idxDir(dir))
		}
		box.Close()
	}
	if err != nil {
		s.opt.Note("the index of a deleted mailbox stays: " + err.Error())
	}
}
