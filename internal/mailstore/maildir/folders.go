package maildir

import (
	"io/fs"
	"slices"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/index"
	"rookery/internal/vfs"
)

// maxListed bounds the folders that are looked at in one tree.
const maxListed = 200000

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
	name = s.canonical(name)
	dir, ok, err := s.lookDir(name)
	if err != nil || ok {
		return dir, err
	}
	if sp := s.special(name); sp != nil && sp.Auto != AutoNo {
		if _, err := s.Create(s.outName(name), 0); err != nil && !errkind.Is(err, errkind.Exists) {
			return "", err
		}
		return s.dirOf(name)
	}
	implied, err := s.hasChildren(name)
	if err != nil {
		return "", err
	}
	if implied {
		return "", errkind.Newf("open", errkind.Invalid, "the name is only a parent of mailboxes")
	}
	return "", errkind.Newf("open", errkind.NotFound, "there is no such mailbox")
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

// folders lists the mailboxes on the disk, but INBOX, in no order.
func (s *Store) folders() ([]folder, error) {
	if s.opt.Layout == FSLayout {
		return s.fsFolders()
	}
	stamp, err := s.stampAt(s.opt.MailPath)
	if err != nil {
		return nil, s.fail("list folders", err)
	}
	s.mu.Lock()
	known := s.listed
	s.mu.Unlock()
	if known.stamp == stamp && stamp.inode != 0 {
		return slices.Clone(known.list), nil
	}
	started := s.now()
	out, sure, err := s.readFolders()
	if err == nil && sure && started.Sub(stamp.when()) > tick(stamp) { // nothing can hide behind the same stamp
		s.mu.Lock()
		s.listed = listed{stamp, slices.Clone(out)}
		s.mu.Unlock()
	}
	return out, err
}

// listed are the folders as a directory of this stamp has them.
type listed struct {
	stamp fileStamp
	list  []folder
}

// readFolders reads the directory. sure says that all of its entries are what the
// directory says; a link to a folder, or where the file system does not say, had
// to be looked at one by one.
func (s *Store) readFolders() (out []folder, sure bool, err error) {
	seen := map[mailstore.Name]bool{}
	var unsure []folder
	err = s.fs.ReadDir(s.opt.MailPath, func(e vfs.DirEntry) bool {
		if len(e.Name) < 2 || e.Name[0] != '.' || !e.Type.IsDir() && e.Type != fs.ModeIrregular {
			return true
		}
		n, exact, err := imapname.FromFolder(e.Name)
		if err != nil {
			return true
		}
		f := folder{mailstore.Name(n), e.Name}
		if e.Type.IsDir() && exact {
			out = append(out, f)
			seen[f.name] = true
		} else {
			unsure = append(unsure, f)
		}
		return len(out)+len(unsure) < maxListed
	})
	if err != nil {
		return nil, false, s.fail("list folders", err)
	}
	for _, f := range unsure {
		if info, err := s.fs.Stat(join(s.opt.MailPath, f.dir)); err == nil && info.IsDir() && !seen[f.name] {
			seen[f.name] = true
			out = append(out, f)
		}
	}
	return out, len(unsure) == 0, nil
}

func (s *Store) special(name mailstore.Name) *Special {
	for i := range s.opt.Special {
		if s.opt.Special[i].Name == name {
			return &s.opt.Special[i]
		}
	}
	return nil
}

func (s *Store) hasChildren(name mailstore.Name) (bool, error) {
	list, err := s.folders()
	for _, f := range list {
		if imapname.Name(f.name).Below(imapname.Name(name)) {
			return true, err
		}
	}
	for _, sp := range s.opt.Special {
		if sp.Auto != AutoNo && imapname.Name(sp.Name).Below(imapname.Name(name)) {
			return true, err
		}
	}
	return false, err
}

// List gives every mailbox and implied parent.
func (s *Store) List() ([]mailstore.Folder, error) {
	list, err := s.folders()
	if err != nil {
		return nil, errkind.Wrap("list", err)
	}
	subs, err := s.subscribed()
	if err != nil {
		return nil, errkind.Wrap("list", err)
	}
	attrs := map[mailstore.Name]mailstore.Attr{imapname.Inbox: 0}
	for _, f := range list {
		attrs[f.name] = 0
	}
	for _, sp := range s.opt.Special {
		if _, there := attrs[sp.Name]; !there && sp.Auto == AutoNo {
			continue
		} else if !there && sp.Auto == AutoSubscribe {
			attrs[sp.Name] |= mailstore.Subscribed
		}
		attrs[sp.Name] |= sp.Use
	}
	for _, n := range subs {
		if a, there := attrs[n]; there {
			attrs[n] = a | mailstore.Subscribed
		}
	}
	for _, name := range keysOf(attrs) {
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

func keysOf(m map[mailstore.Name]mailstore.Attr) []mailstore.Name {
	out := make([]mailstore.Name, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	return out
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

// Status looks at a mailbox without opening it for a session.
func (s *Store) Status(name mailstore.Name, want mailstore.StatusWant) (mailstore.Status, error) {
	mb, err := s.get(name)
	if err != nil {
		return mailstore.Status{}, errkind.Wrap("status", err)
	}
	defer s.put(mb)
	mb.op.Lock()
	defer mb.op.Unlock()
	if want.Size {
		if err := mb.countSizes(); err != nil {
			return mailstore.Status{}, errkind.Wrap("status", err)
		}
	}
	v := mb.known()
	c := v.Counts()
	return mailstore.Status{Messages: uint32(c.Messages), Recent: uint32(mb.recentNow().Len()), Unseen: uint32(c.Unseen), Deleted: uint32(c.Deleted),
		UIDNext: v.UIDNext(), UIDValidity: mb.hdr.validity, Size: uint64(c.Size), HighestModSeq: v.HighestModSeq(), GUID: guidOf(mb.hdr.guid)}, nil
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
		mb.learn(u, index.Facts{Size: m.size})
		m.Close()
	}
	mb.keepFacts()
	return nil
}
