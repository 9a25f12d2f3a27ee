// Package maildir keeps mail in Maildir++ trees, with Dovecot's control files:
// a store that Dovecot wrote is adopted in place, with its UIDs, flags,
// keywords and subscriptions, and can be given back.
//
// Workers and deliveries open a Store; above package mailstore nobody may know
// that mail is files. The package must never know a protocol, follow a symbolic
// link, or touch the disk but through package vfs.
//
// # Files
//
// Mail: new/, cur/ and tmp/ of each folder; a folder a/b is the directory .a.b
// beside INBOX's. A message may be stored compressed (squeeze.go).
//
// Control: dovecot-uidlist (UIDs, UIDVALIDITY, GUIDs), dovecot-keywords (names
// of the flag letters a to z), rookery-keywords (keywords beyond those),
// subscriptions, dovecot-uidvalidity, rookery-journal (what is not yet certain in
// its own place), rookery-modseq (the ceiling below which
// MODSEQs are handed out). rookery-lock and rookery-user-lock hold nothing; they
// are locked, and never removed.
//
// Index: what package index keeps, rookery.index.log and, in each folder,
// rookery.index and rookery.index.cache. What a session sees is a view of it. With
// each change the index keeps the stamps of the directories and control files that
// it stands for: while they are the same, opening a mailbox reads nothing else.
// All of it can be made anew from the uidlist and the file names.
//
// # Damage
//
// An index file may be deleted, cut, overwritten, made unreadable or exchanged for
// an older one at any moment. An operation that needs to know whether a message
// exists gets a picture that is Built and stands for the disk, or an error; a
// session's own view never loses a message but by an expunge that really happened;
// and nothing of a damaged picture decides about mail or control files (picture.go
// has how that is kept).
//
// # Locks
//
// Whoever changes a mailbox holds the user's lock (rookery-lock) and, where he
// writes a uidlist or dovecot-keywords, Dovecot's own dotlock inside it.
//
// # Order of syncs
//
// A small message is written in tmp/, its record with all its bytes goes to the
// user's journal (rookery-journal, package journal) and is synced there, together
// with all that wait; then the file is renamed into new/ or cur/, its line is
// appended to the uidlist, neither synced, and the answer is given. The journal's
// checkpoint syncs files, directories and uidlist later.
//
// Copies and moves of small messages go the same way: the record holds the bytes,
// and of a move what leaves the other mailbox, so that one sync makes all of it
// certain at once. The checkpoint syncs the file of a copy only where the source's
// was not synced yet.
//
// What is larger, or more than the journal takes in one piece, is put in place,
// synced (rename before fsync: the sync then keeps the name, too), its line appended
// to the uidlist and synced. What is linked or renamed and may lie in the journal
// alone (bitUnsynced) is synced first. Where there are several messages an intent
// in the journal stands before it all, and is ended before anybody is shown them
// (intent.go). All of it happens under the user's lock and dovecot-uidlist.lock, so
// that nobody gives a file another UID meanwhile.
//
// Renames for flags and removals for expunges are not synced: they are noted in
// the journal afterwards, which is synced within a second, or before the answer
// with SyncChanges. Recovery (replay.go) runs when a Store is opened and no other
// process has one.
package maildir

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/compress"
	"rookery/internal/mailstore/control"
	"rookery/internal/mailstore/index"
	"rookery/internal/mailstore/journal"
	"rookery/internal/mailstore/nametree"
	"rookery/internal/vfs"
)

// Layout says how folder names become directories (mailbox_list_layout).
type Layout uint8

// The layouts: .a.b, or a/b.
const (
	MaildirPP Layout = iota
	FSLayout
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

// Options say where and how. Paths are relative to FS; "" for Inbox, Control and
// Index means Mail.
type Options struct {
	FS                                          vfs.FS
	MailPath, InboxPath, ControlPath, IndexPath string
	Layout                                      Layout
	Namespace                                   mailstore.Namespace // zero: prefix "", separator '/'
	Special                                     []Special
	Host                                        string            // in file names; "" is "localhost"
	Note                                        func(text string) // what was mended or found odd, for the log; nil: nobody is told
	Probe                                       bool              // try at open what the file system can do
	LockWait                                    time.Duration     // how long a lock is waited for; 0: 30 s
	FolderMode, FileMode                        fs.FileMode       // 0: 0700, 0600
	MaxFolders                                  int               // mailboxes that Create allows; 0: 10,000
	SyncChanges                                 bool              // mail_fsync = "always": flag changes, expunges and the uidlist, too, are on disk before the answer
	NoSync                                      bool              // mail_fsync = "never": nothing is synced
	Compress                                    bool              // mail_compress_write_method = "zstd": new messages are stored compressed
}

// Store is one user's Maildir++ tree. It implements mailstore.Store.
type Store struct {
	fs        vfs.FS
	opt       Options
	tree      nametree.Rules
	user      *index.User
	journal   *journal.Journal // nil where there is none
	replaying *replay          // while a Store is being opened
	boot      uint64           // hash of the boot's id
	can       abilities
	names     nameMaker
	codec     compress.Codec

	mu     sync.Mutex // the maps and lists below
	open   map[mailstore.Name]*mailbox
	idle   []*mailbox                  // closed by all, kept a while: last used last
	boxes  map[mailstore.GUID]*mailbox // who uses an index
	places map[mailstore.GUID]place    // where mailboxes were seen last
	root   vfs.FS                      // the mail directory, held open; nil: not yet
	rootAt time.Time                   // when root was last the directory of that path
	closed bool

	acls     control.ACLs
	listing  listing
	folderMu sync.Mutex // one change of the folders' tree at a time in this process
}

var _ mailstore.Store = (*Store)(nil)

// Open opens a user's store. The mail directory must be there; INBOX's folders
// in it are made when they are first used.
func Open(opt Options) (*Store, error) {
	opt = withDefaults(opt)
	s := &Store{fs: opt.FS, opt: opt, open: map[mailstore.Name]*mailbox{}, boxes: map[mailstore.GUID]*mailbox{},
		places: map[mailstore.GUID]place{}, boot: bootHash(opt.FS.BootID())}
	s.tree = nametree.New(opt.Namespace, opt.Special)
	s.names = newNameMaker(opt.Host, rand.Uint64())
	s.can = abilities{link: true, lock: true, write: true}
	for _, dir := range []string{opt.MailPath, opt.InboxPath, opt.ControlPath, opt.IndexPath} {
		if err := s.makeDirs(dir); err != nil {
			return nil, s.fail("open store", err)
		}
	}
	if opt.Probe {
		if err := s.probe(); err != nil {
			return nil, err
		}
	}
	var err error
	s.user, err = index.Open(index.Options{FS: opt.FS, LogDir: opt.IndexPath, ControlDir: opt.ControlPath, FileMode: opt.FileMode, DirMode: opt.FolderMode,
		LockWait: opt.LockWait, Note: opt.Note, KeepClean: false})
	if err != nil {
		return nil, s.fail("open index", err)
	}
	if err := s.openJournal(); err != nil {
		s.user.Close()
		return nil, err
	}
	return s, nil
}

func withDefaults(o Options) Options {
	path := func(p *string, or string) {
		if *p == "" {
			*p = or
		}
		*p = strings.Trim(*p, "/")
		if *p == "" {
			*p = "."
		}
	}
	path(&o.MailPath, ".")
	path(&o.InboxPath, o.MailPath)
	path(&o.ControlPath, o.MailPath)
	path(&o.IndexPath, o.MailPath)
	if o.Namespace.Separator == 0 {
		o.Namespace.Separator = '/'
		o.Namespace.List = true
	}
	if o.Host == "" {
		o.Host = "localhost"
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

// makeDirs makes a directory and what is missing above it, certain.
func (s *Store) makeDirs(dir string) error {
	if info, err := s.fs.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	for i := 0; i <= len(dir); i++ {
		if i < len(dir) && dir[i] != '/' {
			continue
		}
		err := s.fs.Mkdir(dir[:i], s.opt.FolderMode)
		if err == nil {
			err = s.fs.SyncDir(parentOf(dir[:i]))
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// Namespaces gives the one private namespace.
func (s *Store) Namespaces() []mailstore.Namespace { return []mailstore.Namespace{s.opt.Namespace} }

// Quota tells nothing: no limit is kept here yet.
func (s *Store) Quota() (mailstore.Quota, bool, error) { return mailstore.Quota{}, false, nil }

// Close gives up everything.
func (s *Store) Close() error {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	var err error
	if s.journal != nil { // its checkpoint finds files by the indexes that are open
		err = s.fail("close journal", s.journal.Close())
	}
	s.mu.Lock()
	idle := s.idle
	s.idle = nil
	s.mu.Unlock()
	for _, mb := range idle {
		mb.retire()
	}
	s.saveListing()
	if cerr := s.user.Close(); err == nil {
		err = s.fail("close index", cerr)
	}
	return err
}

// Trim gives back memory that is kept only for speed: mailboxes that nobody has
// open. A worker calls it when its user is quiet.
func (s *Store) Trim() {
	s.mu.Lock()
	idle := s.idle
	s.idle = nil
	s.mu.Unlock()
	for _, mb := range idle {
		mb.retire()
	}
	s.forgetListing()
}

// The helpers of vfs under short names.

func join(dir, name string) string               { return vfs.Join(dir, name) }
func parentOf(path string) string                { return vfs.Parent(path) }
func notExist(err error) bool                    { return vfs.NotExist(err) }
func diskKind(err error) errkind.Kind            { return vfs.KindOf(err) }
func diskError(op string, err error) error       { return vfs.Kinded(op, err) }
func (s *Store) fail(op string, err error) error { return vfs.Kinded(op, err) }

// now is the disk's clock.
func (s *Store) now() time.Time { return s.fs.Now() }
