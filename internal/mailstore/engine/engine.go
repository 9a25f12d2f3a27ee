package engine

import (
	"errors"
	"io/fs"
	"strings"
	"sync"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/control"
	"rookery/internal/mailstore/index"
	"rookery/internal/mailstore/nametree"
	"rookery/internal/vfs"
)

// Special is a mailbox that the settings name, Auto what happens to one that is
// not there.
type (
	Special = nametree.Special
	Auto    = nametree.Auto
)

// The ways of Auto.
const (
	AutoNo        = nametree.AutoNo
	AutoCreate    = nametree.AutoCreate
	AutoSubscribe = nametree.AutoSubscribe
)

// Options say where and how. Paths are relative to FS.
type Options struct {
	FS            vfs.FS
	ControlPath   string              // of control files; "" is the root; made if missing
	IndexPath     string              // of index files; "" means ControlPath; made if missing
	Namespace     mailstore.Namespace // zero: prefix "", separator '/'
	Special       []Special
	SubsSeparator byte              // between levels in a subscriptions file of version 1; 0: '/'
	Note          func(text string) // what was mended or found odd, for the log; nil: nobody is told
	LockWait      time.Duration     // how long a lock is waited for; 0: 30 s
	FolderMode    fs.FileMode       // 0: 0700
	FileMode      fs.FileMode       // 0: 0600
	MaxFolders    int               // mailboxes that Create allows; 0: 10,000
}

// Store is one user's mail in some format. It implements mailstore.Store.
type Store struct {
	opt    Options
	fs     vfs.FS
	format Format
	index  *index.User
	tree   nametree.Rules

	memos statusMemos
	acls  control.ACLs
	work  sync.Mutex // held with the user's lock: one change at a time in this process
	queue addQueue

	mu     sync.Mutex // the registry
	open   map[mailstore.Name]*mailbox
	idle   []*mailbox // closed by all, kept a while: last used last
	closed bool
}

var _ mailstore.Store = (*Store)(nil)

// WithDefaults fills in what is empty.
func (o Options) WithDefaults() Options {
	path := func(p *string, or string) {
		if *p == "" {
			*p = or
		}
		if *p = strings.Trim(*p, "/"); *p == "" {
			*p = "."
		}
	}
	path(&o.ControlPath, ".")
	path(&o.IndexPath, o.ControlPath)
	if o.Namespace.Separator == 0 {
		o.Namespace.Separator = '/'
		o.Namespace.List = true
	}
	if o.SubsSeparator == 0 {
		o.SubsSeparator = '/'
	}
	if o.Note == nil {
		o.Note = func(string) {}
	}
	if o.LockWait == 0 {
		o.LockWait = 30 * time.Second
	}
	if o.FolderMode == 0 {
		o.FolderMode = 0o700
	}
	if o.FileMode == 0 {
		o.FileMode = 0o600
	}
	if o.MaxFolders == 0 {
		o.MaxFolders = 10000
	}
	return o
}

// Starter is a Format that has something to do before all else: recovery. Start
// is called once, under the user's lock.
type Starter interface{ Start() error }

// Finisher is a Format whose changes of names another process may have left
// halfway when it ended: Unfinished says so (no lock, cheap), and Finish brings
// them to their end, under the user's lock.
type Finisher interface {
	Unfinished() bool
	Finish() error
}

// Open opens a user's store. Close closes the format, too, also when Open fails.
func Open(opt Options, format Format) (*Store, error) {
	opt = opt.WithDefaults()
	s := &Store{opt: opt, fs: opt.FS, format: format, tree: nametree.New(opt.Namespace, opt.Special), open: map[mailstore.Name]*mailbox{}}
	for _, dir := range []string{opt.ControlPath, opt.IndexPath} {
		if err := MakeDirs(opt.FS, dir, opt.FolderMode); err != nil {
			format.Close()
			return nil, vfs.Kinded("open store", err)
		}
	}
	var err error
	s.index, err = index.Open(index.Options{FS: opt.FS, LogDir: opt.IndexPath, ControlDir: opt.ControlPath, FileMode: opt.FileMode,
		DirMode: opt.FolderMode, LockWait: opt.LockWait, Note: opt.Note})
	if err != nil {
		format.Close()
		return nil, vfs.Kinded("open store", err)
	}
	if st, ok := format.(Starter); ok {
		if err := s.locked(st.Start); err != nil {
			s.index.Close()
			format.Close()
			return nil, vfs.Kinded("open store", err)
		}
	}
	return s, nil
}

// MakeDirs makes a directory and what is missing above it, certain.
func MakeDirs(f vfs.FS, dir string, mode fs.FileMode) error {
	if info, err := f.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	for i := 0; i <= len(dir); i++ {
		if i < len(dir) && dir[i] != '/' {
			continue
		}
		err := f.Mkdir(dir[:i], mode)
		if err == nil {
			err = f.SyncDir(vfs.Parent(dir[:i]))
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// locked runs f as the user's only writer.
func (s *Store) locked(f func() error) error {
	s.work.Lock()
	defer s.work.Unlock()
	if err := s.index.Lock(s.opt.LockWait); err != nil {
		return err
	}
	defer s.index.Unlock()
	return f()
}

// named runs f, which goes by the names of mailboxes, under the user's lock.
func (s *Store) named(f func() error) error {
	return s.locked(func() error {
		if fin, ok := s.format.(Finisher); ok && fin.Unfinished() {
			if err := fin.Finish(); err != nil {
				return err
			}
		}
		return f()
	})
}

// finish sees to it that no mailbox is between two names: it waits for the process
// that renames, or ends what a process that is gone began. No lock is held.
func (s *Store) finish() error {
	if fin, ok := s.format.(Finisher); !ok || !fin.Unfinished() {
		return nil
	}
	return s.named(func() error { return nil })
}

// Locked runs f under the user's lock, for a format's work in the background.
func (s *Store) Locked(f func() error) error { return s.locked(f) }

// Namespaces gives the one private namespace.
func (s *Store) Namespaces() []mailstore.Namespace { return []mailstore.Namespace{s.opt.Namespace} }

// Quota tells nothing: no limit is kept here.
func (s *Store) Quota() (mailstore.Quota, bool, error) { return mailstore.Quota{}, false, nil }

// Close gives up everything.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	idle := s.idle
	s.idle, s.closed = nil, true
	for _, mb := range s.open { // a session that did not close: its files go with the store
		idle = append(idle, mb)
	}
	s.mu.Unlock()
	for _, mb := range idle {
		mb.retire()
	}
	err := s.format.Close()
	if ierr := s.index.Close(); err == nil {
		err = ierr
	}
	return vfs.Kinded("close store", err)
}

// Trim gives back memory that is kept only for speed. A worker calls it when its
// user is quiet.
func (s *Store) Trim() {
	s.mu.Lock()
	idle := s.idle
	s.idle = nil
	s.mu.Unlock()
	for _, mb := range idle {
		mb.retire()
	}
	s.memos.trim()
	if t, ok := s.format.(interface{ Trim() }); ok {
		t.Trim()
	}
}

// control is the user's control directory. What changes it runs under the
// user's lock.
func (s *Store) control() control.Dir {
	return control.Dir{FS: s.fs, Path: s.opt.ControlPath, Mode: s.opt.FileMode}
}

func (s *Store) now() time.Time { return s.fs.Now() }
