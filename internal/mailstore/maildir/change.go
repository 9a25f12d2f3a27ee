package maildir

import (
	"slices"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
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
	inner := s.canonical(name)
	if inner == imapname.Inbox {
		return "", errkind.Newf("create", errkind.Exists, "INBOX is always there")
	}
	if sp := s.special(inner); use != 0 && (sp == nil || sp.Use != use) {
		return "", errkind.Newf("create", errkind.Invalid, "special uses are given by the settings")
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
	if err := s.make(dir); err != nil {
		return "", s.fail("create", err)
	}
	if sp := s.special(inner); sp != nil && sp.Auto == AutoSubscribe {
		if err := s.Subscribe(name, true); err != nil {
			return "", errkind.Wrap("create", err)
		}
	}
	return s.outName(inner), nil
}

// make makes the directories and control files of a mailbox.
func (s *Store) make(dir string) error {
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
		s.dropControl(ctl)
		if err := s.makeDirs(ctl); err != nil {
			return err
		}
	}
	err = s.fill(coming, ctl, v)
	if err == nil && !bare {
		if err = s.fs.RenameNoReplace(coming, target); err == nil {
			err = s.fs.SyncDir(parentOf(target))
		}
	}
	if err == nil && s.opt.ControlPath != s.opt.MailPath {
		err = s.fs.SyncDir(parentOf(ctl))
	}
	if err != nil && !bare {
		s.removeTree(coming, 4)
	}
	return err
}

// fill makes what is in a mailbox's directories.
func (s *Store) fill(dir, ctl string, validity uint32) error {
	hdr := uidHeader{validity: validity, next: 1, guid: guidText(newGUID())}
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
	for _, n := range []string{uidlistFile, uidlistFile + ".tmp", uidlistLock, keywordsFile, moreFile, moreFile + ".tmp", lockFile} {
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
	inner := s.canonical(name)
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
		if implied, err := s.hasChildren(inner); err != nil || implied {
			if err == nil {
				err = errkind.Newf("delete", errkind.Invalid, "the name is only a parent of mailboxes")
			}
			return err
		}
		if sp := s.special(inner); sp != nil && sp.Auto != AutoNo {
			return errkind.Newf("delete", errkind.Invalid, "the settings make this mailbox")
		}
		return errkind.Newf("delete", errkind.NotFound, "there is no such mailbox")
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

// Rename moves a mailbox and its children.
func (s *Store) Rename(from, to mailstore.Name) error {
	f, t := s.canonical(from), s.canonical(to)
	if t == imapname.Inbox {
		return errkind.Newf("rename", errkind.Exists, "INBOX is always there")
	}
	if _, err := s.dirOf(t); err != nil {
		return errkind.Wrap("rename", err)
	}
	if f == imapname.Inbox {
		return errkind.Wrap("rename", s.renameInbox(to))
	}
	if f == t {
		return errkind.Newf("rename", errkind.Exists, "the mailbox is there")
	}
	if imapname.Name(t).Below(imapname.Name(f)) {
		return errkind.Newf("rename", errkind.Invalid, "a mailbox cannot move below itself")
	}
	if sp := s.special(f); sp != nil && sp.Auto != AutoNo {
		if _, err := s.find(from); err != nil { // one that the settings promise is made first
			return errkind.Wrap("rename", err)
		}
	}
	lock, err := s.begin()
	if err != nil {
		return errkind.Wrap("rename", err)
	}
	defer s.end(lock)
	moves, err := s.planMoves(f, t)
	if err != nil {
		return errkind.Wrap("rename", err)
	}
	return errkind.Wrap("rename", s.doMoves(f, t, moves))
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

// move is the rename of one directory.
type move struct {
	from, to         mailstore.Name
	fromDir, toDir   string
	fromPath, toPath string
}

// planMoves finds what has to be renamed, and refuses before anything is.
func (s *Store) planMoves(from, to mailstore.Name) ([]move, error) {
	list, err := s.folders()
	if err != nil {
		return nil, err
	}
	there := map[mailstore.Name]bool{}
	var moves []move
	for _, f := range list {
		there[f.name] = true
		n := imapname.Name(f.name)
		if f.name != from && !n.Below(imapname.Name(from)) {
			continue
		}
		target := mailstore.Name(n.Moved(imapname.Name(from), imapname.Name(to)))
		dir, err := s.dirOf(target)
		if err != nil {
			return nil, err
		}
		moves = append(moves, move{from: f.name, to: target, fromDir: f.dir, toDir: dir,
			fromPath: s.mailDir(f.dir), toPath: s.mailDir(dir)})
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
		if there[m.to] {
			return nil, errkind.Newf("rename", errkind.Exists, "the new name of "+m.from+" is taken")
		}
	}
	slices.SortFunc(moves, func(a, b move) int { return strings.Compare(a.from, b.from) })
	return moves, nil
}

// doMoves renames all, or none if one fails. Sessions that work on one of the
// mailboxes wait meanwhile.
func (s *Store) doMoves(from, to mailstore.Name, moves []move) error {
	loaded := make([]*mailbox, len(moves))
	for i, m := range moves {
		if loaded[i] = s.loadedOf(m.from); loaded[i] != nil {
			loaded[i].op.Lock()
			defer loaded[i].op.Unlock()
		}
	}
	if err := s.lock(); err != nil {
		return err
	}
	defer s.unlock()
	apart := s.opt.ControlPath != s.opt.MailPath
	if apart { // there under both names while the mail moves
		for i, m := range moves {
			if err := s.copyControl(s.ctlDir(m.fromDir), s.ctlDir(m.toDir)); err != nil {
				for _, done := range moves[:i+1] {
					s.dropControl(s.ctlDir(done.toDir))
				}
				return s.fail("rename", err)
			}
		}
	}
	parents, err := s.moveDirs(from, to, moves)
	if err != nil {
		return s.fail("rename", err)
	}
	s.moveIndexes(moves)
	for i, mb := range loaded {
		if mb != nil {
			s.renamed(mb, moves[i])
		}
	}
	for _, d := range parents {
		if err := s.fs.SyncDir(d); err != nil {
			return s.fail("rename", err)
		}
	}
	if apart {
		for _, m := range moves {
			s.dropControl(s.ctlDir(m.fromDir))
		}
	}
	return nil
}

// moveDirs renames the directories and gives those that have to be synced. In
// the fs layout children lie below their parent: one rename moves all.
func (s *Store) moveDirs(from, to mailstore.Name, moves []move) ([]string, error) {
	if s.opt.Layout == FSLayout {
		fd, err := s.dirOf(from)
		if err != nil {
			return nil, err
		}
		td, err := s.dirOf(to)
		if err != nil {
			return nil, err
		}
		fp, tp := s.mailDir(fd), s.mailDir(td)
		if err := s.makeDirs(parentOf(tp)); err != nil {
			return nil, err
		}
		if err := s.fs.RenameNoReplace(fp, tp); err != nil {
			return nil, err
		}
		return []string{parentOf(tp), s.prune(fd)}, nil
	}
	for i, m := range moves {
		if err := s.fs.RenameNoReplace(m.fromPath, m.toPath); err != nil {
			for k := i - 1; k >= 0; k-- {
				if berr := s.fs.RenameNoReplace(moves[k].toPath, moves[k].fromPath); berr != nil {
					s.opt.Note("could not rename " + moves[k].to + " back to " + moves[k].from + ": " + berr.Error())
				}
			}
			return nil, err
		}
	}
	return []string{s.opt.MailPath}, nil
}

// prune removes the parents of a directory of the fs layout that nothing is
// left in, and gives the first that stays.
func (s *Store) prune(dir string) string {
	for {
		i := strings.LastIndexByte(dir, '/')
		if i < 0 {
			return s.opt.MailPath
		}
		if dir = dir[:i]; s.fs.RemoveDir(s.mailDir(dir)) != nil {
			return s.mailDir(dir)
		}
	}
}

// renamed tells a mailbox in memory its new name; its op is held.
func (s *Store) renamed(mb *mailbox, m move) {
	s.mu.Lock()
	mb.mu.Lock()
	if s.open[m.from] == mb {
		delete(s.open, m.from)
		s.open[m.to] = mb
	}
	mb.name = m.to
	mb.mu.Unlock()
	s.mu.Unlock()
	mb.dir, mb.ctl, mb.idx = s.mailDir(m.toDir), s.ctlDir(m.toDir), s.idxDir(m.toDir)
	if mb.box != nil {
		if err := mb.box.Rename(mb.idx); err != nil {
			s.opt.Note("the index of " + m.to + " is lost: " + err.Error())
		}
	}
	mb.wake()
}

// moveIndexes renames the directories of index files that lie apart from the
// mail. One that cannot be is built anew.
func (s *Store) moveIndexes(moves []move) {
	if s.opt.IndexPath == s.opt.MailPath {
		return
	}
	for _, m := range moves {
		from, to := s.idxDir(m.fromDir), s.idxDir(m.toDir)
		if _, err := s.fs.Stat(from); err != nil {
			continue
		}
		if err := s.makeDirs(parentOf(to)); err == nil {
			s.fs.Rename(from, to)
		}
	}
}

// copyControl puts a mailbox's control files into another directory, certain.
func (s *Store) copyControl(from, to string) error {
	if err := s.makeDirs(to); err != nil {
		return err
	}
	for _, n := range []string{uidlistFile, keywordsFile, moreFile} {
		data, err := vfs.ReadFile(s.fs, join(from, n), maxUIDList)
		if notExist(err) {
			s.fs.Remove(join(to, n))
			continue
		}
		if err == nil {
			_, err = s.replace(join(to, n), data)
		}
		if err != nil {
			return err
		}
	}
	return s.fs.SyncDir(parentOf(to))
}
