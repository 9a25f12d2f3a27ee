package maildir

import (
	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/index"
	"rookery/internal/mailstore/nametree"
)

// folder is a mailbox that is on the disk.
type folder struct {
	name mailstore.Name
	dir  string // below the mail path; "" is INBOX
}

// mailDir gives the directory of new/, cur/, tmp/.
func (s *Store) mailDir(dir string) string {
	if dir == "" {
		return s.opt.InboxPath
	}
	return join(s.opt.MailPath, dir)
}

// ctlDir gives the directory of the control files. In a tree of their own,
// INBOX's are in .INBOX, as Dovecot has it.
func (s *Store) ctlDir(dir string) string {
	if s.opt.ControlPath == s.opt.MailPath {
		return s.mailDir(dir)
	}
	if dir == "" {
		if s.opt.Layout == FSLayout {
			return join(s.opt.ControlPath, "INBOX")
		}
		return join(s.opt.ControlPath, ".INBOX")
	}
	return join(s.opt.ControlPath, dir)
}

// idxDir gives the directory of the index files; in a tree of their own, INBOX's
// are in .INBOX, as the control files'.
func (s *Store) idxDir(dir string) string {
	switch {
	case s.opt.IndexPath == s.opt.MailPath:
		return s.mailDir(dir)
	case dir != "":
		return join(s.opt.IndexPath, dir)
	case s.opt.Layout == FSLayout:
		return join(s.opt.IndexPath, "INBOX")
	}
	return join(s.opt.IndexPath, ".INBOX")
}

// dirOf gives the directory that a name has by the layout.
func (s *Store) dirOf(name mailstore.Name) (string, error) {
	if name == imapname.Inbox {
		return "", nil
	}
	n := imapname.Name(name)
	if imapname.Canonical(string(n)) != n {
		return "", errkind.Newf("name", errkind.Invalid, "the name is not in its canonical form")
	}
	if s.opt.Layout == FSLayout {
		return s.fsDir(n)
	}
	dir, err := n.Folder()
	if err != nil {
		return "", errkind.New("name", errkind.Invalid, err)
	}
	return dir, nil
}

// find gives the directory of a mailbox that is there, making it if the settings
// say so. errkind: NotFound, Invalid.
func (s *Store) find(name mailstore.Name) (string, error) {
	name = s.tree.Inner(name)
	dir, ok, err := s.lookDir(name)
	if err != nil || ok {
		return dir, err
	}
	if s.tree.Promised(name) {
		if _, err := s.Create(s.tree.Outer(name), 0); err != nil && !errkind.Is(err, errkind.Exists) {
			return "", err
		}
		return s.dirOf(name)
	}
	list, err := s.folders()
	if err != nil {
		return "", err
	}
	return "", s.tree.Missing("open", namesOf(list), name)
}

// namesOf gives the names of folders, in the same order.
func namesOf(list []folder) []mailstore.Name {
	names := make([]mailstore.Name, len(list))
	for i, f := range list {
		names[i] = f.name
	}
	return names
}

// lookDir finds a mailbox's directory on the disk.
func (s *Store) lookDir(name mailstore.Name) (dir string, ok bool, err error) {
	dir, err = s.dirOf(name)
	if err != nil {
		return "", false, err
	}
	if dir == "" {
		return dir, true, s.haveInbox()
	}
	ok, err = s.isFolder(dir)
	if ok || err != nil {
		return dir, ok, err
	}
	// Another program may have written the same name another way.
	list, err := s.folders()
	for _, f := range list {
		if f.name == name {
			return f.dir, true, err
		}
	}
	return dir, false, err
}

// haveInbox makes INBOX's directories if this is its first use.
func (s *Store) haveInbox() error {
	if _, err := s.fs.Stat(join(s.opt.InboxPath, "cur")); err == nil || !notExist(err) {
		return s.fail("open INBOX", err)
	}
	return s.fail("make INBOX", s.makeDirs(s.opt.InboxPath))
}

// isFolder reports whether dir is a mailbox's. In the fs layout a directory
// without cur/ is only a parent.
func (s *Store) isFolder(dir string) (bool, error) {
	path := s.mailDir(dir)
	if s.opt.Layout == FSLayout {
		path = join(path, "cur")
	}
	info, err := s.fs.Stat(path)
	if err != nil {
		if notExist(err) {
			return false, nil
		}
		return false, s.fail("stat folder", err)
	}
	return info.IsDir(), nil
}

// Lookup tells of one mailbox.
func (s *Store) Lookup(name mailstore.Name) (mailstore.Folder, error) {
	list, err := s.listed()
	if err != nil {
		return mailstore.Folder{}, err
	}
	return nametree.Lookup(list, name)
}

// countSizes finds out the sizes in CRLF form that are not known yet; op is held.
func (mb *mailbox) countSizes() error {
	if mb.keepFacts(); mb.known().Counts().SizeUnknown == 0 {
		return nil
	}
	var unknown []uint32
	mb.known().Each(0, func(_ int, r index.Record) bool {
		if r.Size < 0 {
			unknown = append(unknown, r.UID)
		}
		return true
	})
	for _, u := range unknown {
		m, err := mb.message(u)
		if errkind.Is(err, errkind.Expunged) {
			continue
		}
		if err != nil {
			return err
		}
		mb.learn(u, index.Facts{Size: m.Size()})
		m.Close()
	}
	mb.keepFacts()
	return nil
}
