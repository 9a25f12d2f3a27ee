package maildir

import (
	"io/fs"
	"slices"
	"sync"

	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/statusmemo"
	"rookery/internal/vfs"
)

// listing is what a Store remembers of the tree of folders: each directory's
// folders as long as its stamp is the same, what LIST says of them, and what
// STATUS said (statusmemo.go). listfile.go keeps it for the next process.
type listing struct {
	mu     sync.Mutex
	loaded bool // the file of the last process was looked at
	news   int  // directories and answers that the file does not have

	dirs    map[string]*listedDir // by path below the mail path; "" is its root
	folders []folder              // what dirs say, nil if that is not worked out
	round   uint64                // of the last walk

	subs     fileStamp // subscriptions as they were parsed; zero: not
	subNames []mailstore.Name

	list     []mailstore.Folder // LIST's answer, nil if there is none
	listOf   []folder           // the folders and…
	listSubs []mailstore.Name   // …subscriptions that it was made of

	memos statusmemo.Kept[*statusMemo]
}

// listedDir is a directory as long as it has this stamp.
type listedDir struct {
	stamp fileStamp
	kids  []string // directories in it that are folders, or may hold some
	box   bool     // it is a mailbox: in the fs layout
	round uint64   // seen in that walk
}

// maxListed bounds the folders that are looked at in one tree.
const maxListed = 200000

// folders lists the mailboxes on the disk, but INBOX, in no order. The caller
// must not change the list. No directory whose stamp is known is read.
func (s *Store) folders() ([]folder, error) {
	l := &s.listing
	l.mu.Lock()
	defer l.mu.Unlock()
	s.loadListing()
	w := walk{s: s, l: l}
	l.round++
	if err := w.all(); err != nil {
		return nil, s.fail("list folders", err)
	}
	for path, d := range l.dirs {
		if d.round != l.round {
			delete(l.dirs, path)
			w.changed = true
		}
	}
	if w.changed || l.folders == nil {
		l.folders = slices.Clip(s.foldersOf(w.seen))
	}
	return l.folders, nil
}

// walk is one look at the tree.
type walk struct {
	s       *Store
	l       *listing
	seen    []string // directories that may be mailboxes
	changed bool     // a directory was read, or is gone
	n       int
}

// all looks at every directory, each at most once.
func (w *walk) all() error {
	root, err := w.s.stampAt(w.s.opt.MailPath)
	if err != nil {
		return err
	}
	fsLayout := w.s.opt.Layout == FSLayout
	type at struct {
		dir   string
		stamp fileStamp
		depth int
	}
	todo := []at{{"", root, 0}}
	var infos []vfs.Info
	for len(todo) > 0 && w.n < maxListed {
		t := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		d, err := w.look(t.dir, t.stamp)
		if err != nil {
			if notExist(err) && fsLayout {
				continue
			}
			return err
		}
		if d.box {
			w.seen = append(w.seen, t.dir)
		}
		if !fsLayout {
			w.seen = append(w.seen, d.kids...)
			break // Maildir++ has no folders in folders
		}
		if t.depth >= imapname.MaxDepth || len(d.kids) == 0 {
			continue
		}
		infos = slices.Grow(infos[:0], len(d.kids))[:len(d.kids)]
		if err := vfs.StatIn(w.s.fs, join(w.s.opt.MailPath, orDot(t.dir)), d.kids, infos); err != nil {
			return err
		}
		for i, kid := range d.kids {
			if infos[i].IsDir() {
				todo = append(todo, at{join(orDot(t.dir), kid), stampOf(infos[i]), t.depth + 1})
			}
		}
	}
	return nil
}

// look gives a directory, read anew if its stamp is another one. What may yet
// change behind the same stamp is not remembered.
func (w *walk) look(dir string, stamp fileStamp) (*listedDir, error) {
	w.n++
	if d := w.l.dirs[dir]; d != nil && d.stamp == stamp && stamp.inode != 0 {
		d.round = w.l.round
		return d, nil
	}
	w.changed = true
	started := w.s.now()
	d := &listedDir{stamp: stamp, round: w.l.round}
	sure, err := w.s.readTree(dir, d)
	if err != nil {
		return nil, err
	}
	if sure && stamp.inode != 0 && started.Sub(stamp.when()) > tick(stamp) {
		if w.l.dirs == nil {
			w.l.dirs = map[string]*listedDir{}
		}
		w.l.dirs[dir] = d
		w.l.news += 1 + len(d.kids)/listNews
	}
	return d, nil
}

// readTree reads one directory. sure says that what it found follows from the
// directory alone: a file system that does not tell types had to be asked.
func (s *Store) readTree(dir string, d *listedDir) (sure bool, err error) {
	sure = true
	full := s.opt.Layout == FSLayout
	err = s.fs.ReadDir(join(s.opt.MailPath, orDot(dir)), func(e vfs.DirEntry) bool {
		if !e.Type.IsDir() && e.Type != fs.ModeIrregular {
			return true
		}
		if full && e.Name == "cur" && dir != "" {
			d.box = true
			sure = sure && e.Type.IsDir()
			return true
		}
		held := dir == "" && e.Name == mailstore.HeldDir
		if full && (e.Name[0] == '.' && !held || ownFile(e.Name) || e.Name == "new" || e.Name == "cur" || e.Name == "tmp") ||
			!full && (len(e.Name) < 2 || e.Name[0] != '.') {
			return true
		}
		if !e.Type.IsDir() {
			sure = false
			if info, err := s.fs.Stat(join(join(s.opt.MailPath, orDot(dir)), e.Name)); err != nil || !info.IsDir() {
				return true
			}
		}
		d.kids = append(d.kids, e.Name)
		return len(d.kids) < maxListed
	})
	return sure, err
}

// foldersOf gives the mailboxes that lie in some directories. Of two that spell
// one name the one that we would make counts, else the first.
func (s *Store) foldersOf(dirs []string) []folder {
	out := make([]folder, 0, len(dirs))
	var odd []folder
	for _, dir := range dirs {
		if s.opt.Layout == FSLayout {
			if n, ok := fsName(dir); ok {
				out = append(out, folder{n, dir})
			}
			continue
		}
		n, exact, err := imapname.FromFolder(dir)
		if err != nil {
			continue
		}
		if f := (folder{mailstore.Name(n), dir}); exact {
			out = append(out, f)
		} else {
			odd = append(odd, f)
		}
	}
	if len(odd) > 0 {
		seen := make(map[mailstore.Name]bool, len(out))
		for _, f := range out {
			seen[f.name] = true
		}
		for _, f := range odd {
			if !seen[f.name] {
				seen[f.name] = true
				out = append(out, f)
			}
		}
	}
	return out
}

// subscribed gives the names in the file, which is parsed again if it changed.
// The caller must not change them.
func (s *Store) subscribed() ([]mailstore.Name, error) {
	path := join(s.opt.ControlPath, subsFile)
	stamp, err := s.stampAt(path)
	if err != nil {
		return nil, s.fail("read subscriptions", err)
	}
	l := &s.listing
	l.mu.Lock()
	names, same := l.subNames, stamp == l.subs && stamp.inode != 0
	l.mu.Unlock()
	if same {
		return names, nil
	}
	started := s.now()
	list, err := s.readSubs()
	if err != nil {
		return nil, err
	}
	names = slices.Clip(list.Names())
	if stamp.inode != 0 && started.Sub(stamp.when()) > tick(stamp) {
		if now, err := s.stampAt(path); err == nil && now == stamp {
			l.mu.Lock()
			l.subs, l.subNames = stamp, names
			l.mu.Unlock()
		}
	}
	return names, nil
}

// List gives every mailbox and implied parent.
func (s *Store) List() ([]mailstore.Folder, error) {
	s.wholeTree()
	list, err := s.listed()
	return slices.Clone(list), err
}

// listed is List; the caller must not change what it gives.
func (s *Store) listed() ([]mailstore.Folder, error) {
	folders, err := s.folders()
	if err != nil {
		return nil, s.fail("list", err)
	}
	subs, err := s.subscribed()
	if err != nil {
		return nil, s.fail("list", err)
	}
	l := &s.listing
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.list != nil && sameSlice(l.listOf, folders) && slices.Equal(l.listSubs, subs) {
		return l.list, nil
	}
	l.list, l.listOf, l.listSubs = s.tree.List(namesOf(folders), subs), folders, subs
	return l.list, nil
}

// sameSlice reports whether two slices are one.
func sameSlice(a, b []folder) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// forgetListing gives its memory back, once it is in the file: a store of few
// folders keeps it.
func (s *Store) forgetListing() {
	s.saveListing()
	l := &s.listing
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.folders)+len(l.memos) > smallListing && l.news == 0 {
		// Field by field: the mutex is held. The round goes on.
		l.loaded, l.dirs, l.folders = false, nil, nil
		l.subs, l.subNames = fileStamp{}, nil
		l.list, l.listOf, l.listSubs = nil, nil, nil
		l.memos = nil
	}
}

// smallListing is how many folders and answers stay in memory when a store is trimmed.
const smallListing = 256
