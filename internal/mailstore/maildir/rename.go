package maildir

import (
	"slices"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/journal"
	"rookery/internal/mailstore/nametree"
	"rookery/internal/vfs"
)

// Rename moves a mailbox and its children.
func (s *Store) Rename(from, to mailstore.Name) error {
	f, t := s.tree.Inner(from), s.tree.Inner(to)
	if _, err := s.dirOf(t); err != nil {
		return errkind.Wrap("rename", err)
	}
	if err := nametree.MayRename(f, t); err != nil {
		return err
	}
	if f == imapname.Inbox {
		return errkind.Wrap("rename", nametree.RenameInbox(s, to))
	}
	if s.tree.Promised(f) {
		if _, err := s.find(from); err != nil { // it is made first
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
	plan, err := s.tree.Moves(namesOf(list), from, to)
	if err != nil {
		return nil, err
	}
	moves := make([]move, len(plan))
	for i, p := range plan {
		if moves[i], err = s.moveTo(list[p.At], from, to); err != nil {
			return nil, err
		}
	}
	return moves, nil
}

func sortMoves(moves []move) {
	slices.SortFunc(moves, func(a, b move) int { return strings.Compare(a.from, b.from) })
}

// moveTo is the move of one folder when from becomes to.
func (s *Store) moveTo(f folder, from, to mailstore.Name) (move, error) {
	target := nametree.Moved(f.name, from, to)
	dir, err := s.dirOf(target)
	return move{from: f.name, to: target, fromDir: f.dir, toDir: dir, fromPath: s.mailDir(f.dir), toPath: s.mailDir(dir)}, err
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
	intent, err := s.renameIntent(from, to, moves)
	if err != nil {
		return err
	}
	parents, err := s.moveDirs(from, to, moves)
	if err != nil {
		if intent != 0 && s.fs.SyncDir(s.opt.MailPath) == nil { // they have their old names again
			s.endIntent(journal.Unsynced, intent)
		}
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
	if intent != 0 { // before the answer: what is made under the old name later must stay there
		return s.fail("rename", s.endIntent(journal.Now, intent))
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

// copyControl puts a mailbox's control files into another directory, certain: the
// directory's own name, too, if it has to be made.
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
	return s.copyACL(from, to)
}
