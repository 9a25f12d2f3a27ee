package engine

import (
	"errors"
	"io/fs"
	"strings"
	"sync"
	"syscall"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/index"
	"rookery/internal/vfs"
)

// Auto says what happens to a mailbox of the settings that is not there.
type Auto uint8

// The ways: nothing; it is listed and made when it is first used; the same,
// and it is subscribed.
const (
	AutoNo Auto = iota
	AutoCreate
	AutoSubscribe
)

// Special is a mailbox that the settings name.
type Special struct {
	Name mailstore.Name // with the namespace's prefix
	Use  mailstore.Attr // one of the Use* attributes, or 0
	Auto Auto
}

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
	prefix string // of names: the namespace's, with '/'

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

// Open opens a user's store. Close closes the format, too, also when Open fails.
func Open(opt Options, format Format) (*Store, error) {
	opt = opt.WithDefaults()
	s := &Store{opt: opt, fs: opt.FS, format: format, open: map[mailstore.Name]*mailbox{}}
	s.prefix = strings.ReplaceAll(opt.Namespace.Prefix, string(rune(opt.Namespace.Separator)), "/")
	for _, dir := range []string{opt.ControlPath, opt.IndexPath} {
		if err := MakeDirs(opt.FS, dir, opt.FolderMode); err != nil {
			format.Close()
			return nil, diskError("open store", err)
		}
	}
	var err error
	s.index, err = index.Open(index.Options{FS: opt.FS, LogDir: opt.IndexPath, ControlDir: opt.ControlPath, FileMode: opt.FileMode,
		DirMode: opt.FolderMode, LockWait: opt.LockWait, Note: opt.Note})
	if err != nil {
		format.Close()
		return nil, diskError("open store", err)
	}
	if st, ok := format.(Starter); ok {
		if err := s.locked(st.Start); err != nil {
			s.index.Close()
			format.Close()
			return nil, diskError("open store", err)
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
			err = f.SyncDir(parentOf(dir[:i]))
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
	return diskError("close store", err)
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
	if t, ok := s.format.(interface{ Trim() }); ok {
		t.Trim()
	}
}

// replace writes a file anew, certain: whole under its name, or not at all.
func (s *Store) replace(path string, data []byte) error {
	return Replace(s.fs, path, data, s.opt.FileMode)
}

// Replace writes a file anew, certain: whole under its name, or not at all.
func Replace(f vfs.FS, path string, data []byte, mode fs.FileMode) error {
	tmp := path + ".tmp"
	file, err := f.OpenFile(tmp, vfs.Write|vfs.Create|vfs.Trunc, mode)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err = file.Write(data); err == nil {
		err = file.DataSync()
	}
	if err == nil {
		err = f.Rename(tmp, path)
	}
	if err != nil {
		f.Remove(tmp)
		return err
	}
	return file.Sync() // not fdatasync: no byte waits any more, and the rename would not be kept
}

// join puts a name below a directory.
func join(dir, name string) string {
	switch {
	case dir == "." || dir == "":
		return name
	case name == ".":
		return dir
	}
	return dir + "/" + name
}

func parentOf(path string) string {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i]
	}
	return "."
}

func (s *Store) now() time.Time { return s.fs.Now() }

// diskError gives an error of the disk its kind.
func diskError(op string, err error) error {
	if err == nil {
		return nil
	}
	var e *errkind.Error
	if errors.As(err, &e) && e.Kind != errkind.Other {
		return errkind.Wrap(op, err)
	}
	return errkind.New(op, diskKind(err), err)
}

func diskKind(err error) errkind.Kind {
	var no syscall.Errno
	if errors.As(err, &no) {
		switch no {
		case syscall.ENOSPC, syscall.EDQUOT:
			return errkind.NoSpace
		case syscall.EIO:
			return errkind.IO
		case syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM:
			return errkind.TooMany
		case syscall.EROFS:
			return errkind.ReadOnly
		case syscall.ENAMETOOLONG:
			return errkind.Invalid
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errkind.NotFound
	case errors.Is(err, fs.ErrExist):
		return errkind.Exists
	case errors.Is(err, fs.ErrPermission):
		return errkind.NoPermission
	case errors.Is(err, fs.ErrInvalid):
		return errkind.Invalid
	}
	return errkind.Other
}

func notExist(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}
