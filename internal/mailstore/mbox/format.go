package mbox

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io/fs"
	"strings"
	"sync"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/mailstore/mbox/mboxfmt"
	"rookery/internal/mailstore/mbox/spool"
	"rookery/internal/vfs"
)

// LockKind is a way to lock an mbox, Spool how its file is reached.
type (
	LockKind = spool.Kind
	Spool    = spool.Spool
)

// Options say where and how. Paths are relative to FS.
type Options struct {
	engine.Options
	MailPath   string        // where folders lie; made if missing
	InboxPath  string        // INBOX's file; "" is MailPath/inbox
	Inbox      Spool         // how INBOX is reached; nil: by InboxPath
	ReadLocks  []LockKind    // in their order; nil: fcntl
	WriteLocks []LockKind    // nil: fcntl, then dotlock (Debian's order)
	StaleLock  time.Duration // a lock file and an mbox that nobody has touched so long are nobody's; 0: 2 minutes
	// SyncChanges says that flag changes are on the disk before they are answered;
	// NoSync that nothing is ever waited for (mail_fsync always and never).
	SyncChanges, NoSync bool
	Zone                *time.Location // of dates in From_ lines; nil: time.Local
	JournalSize         int64          // of rookery-mbox-redo; 0: 1 MiB. Tests make it small
}

// ControlDir is where control files lie below the mail path if no place is set.
const ControlDir = ".rookery"

// Format is mbox files behind package engine.
type Format struct {
	opt   Options
	fs    vfs.FS
	inbox Spool
	keep  *spool.Keeper
	recs  *records
	redo  *redo
	later *flusher

	mu      sync.Mutex
	foreign map[mailstore.Name]bool // that a note told to be no mbox
	boxes   map[*box]bool
}

var _ engine.Format = (*Format)(nil)
var _ engine.Starter = (*Format)(nil)

// Open opens a user's mail in mbox files.
func Open(opt Options) (*engine.Store, error) {
	opt = opt.withDefaults()
	f := &Format{opt: opt, fs: opt.FS, foreign: map[mailstore.Name]bool{}, boxes: map[*box]bool{}}
	f.keep = &spool.Keeper{FS: f.fs, Path: join(opt.ControlPath, "rookery-mbox-lock")}
	f.recs = &records{fs: f.fs, path: join(opt.ControlPath, recordsFile), wait: opt.LockWait, sync: !opt.NoSync}
	f.redo = &redo{fs: f.fs, path: join(opt.ControlPath, redoFile), sync: !opt.NoSync, size: opt.JournalSize}
	f.later = newFlusher()
	if f.inbox = opt.Inbox; f.inbox == nil {
		f.inbox = f.pathOf(opt.InboxPath)
	}
	return engine.Open(opt.Options, f)
}

func (o Options) withDefaults() Options {
	if o.MailPath = strings.Trim(o.MailPath, "/"); o.MailPath == "" {
		o.MailPath = "."
	}
	if o.ControlPath == "" {
		o.ControlPath = join(o.MailPath, ControlDir)
	}
	o.Options = o.Options.WithDefaults()
	if o.InboxPath = strings.Trim(o.InboxPath, "/"); o.InboxPath == "" {
		o.InboxPath = join(o.MailPath, "inbox")
	}
	if o.ReadLocks == nil {
		o.ReadLocks = []LockKind{spool.Fcntl}
	}
	if o.WriteLocks == nil {
		o.WriteLocks = []LockKind{spool.Fcntl, spool.Dotlock}
	}
	if o.StaleLock == 0 {
		o.StaleLock = 2 * time.Minute
	}
	if o.Zone == nil {
		o.Zone = time.Local
	}
	return o
}

func (f *Format) pathOf(path string) Spool {
	return &spool.Path{FS: f.fs, Name: path, Stale: f.opt.StaleLock, Keep: f.keep}
}

// spoolOf gives how a mailbox's file is reached.
func (f *Format) spoolOf(name mailstore.Name) (Spool, error) {
	if name == imapname.Inbox {
		return f.inbox, nil
	}
	path, _, err := f.path(name)
	if err != nil {
		return nil, err
	}
	return f.pathOf(path), nil
}

// Start mends what a crash left.
func (f *Format) Start() error {
	dirs := []string{f.opt.MailPath}
	if f.opt.Inbox == nil {
		dirs = append(dirs, vfs.Parent(f.opt.InboxPath))
	}
	for _, dir := range dirs {
		if err := engine.MakeDirs(f.fs, dir, f.opt.FolderMode); err != nil {
			return err
		}
	}
	if err := f.Finish(); err != nil {
		return err
	}
	return f.mend()
}

// mend does what the journal holds. Under the user's lock.
func (f *Format) mend() error {
	s, err := f.redo.pending()
	if err != nil || s == nil {
		return err
	}
	sp, err := f.spoolOf(s.name)
	if err != nil {
		return err
	}
	file, _, err := sp.Open(false)
	if missing(err) {
		f.opt.Note("mbox " + s.name + ": a change was cut short, and the file is gone")
		return f.redo.done()
	}
	if err != nil {
		return err
	}
	defer file.Close()
	h, err := spool.Take(file, sp, f.opt.WriteLocks, true, true, f.opt.LockWait)
	if err != nil {
		return err
	}
	defer h.Release()
	m, err := f.redo.mover(file, s.name)
	if err != nil {
		return err
	}
	why, err := m.recover(s)
	if why != "" {
		f.opt.Note("mbox " + s.name + ": a change was cut short and cannot be finished: " + why)
	}
	return err
}

// Folders gives every mailbox that is there.
func (f *Format) Folders() ([]engine.Folder, error) {
	var names []mailstore.Name
	seen := map[mailstore.Name]bool{}
	err := f.walk(func(name mailstore.Name, path string) {
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	})
	if err != nil {
		return nil, err
	}
	names = append(names, imapname.Inbox)
	var out []engine.Folder
	for _, n := range names {
		if fo, ok, err := f.Find(n); errors.Is(err, fs.ErrPermission) {
			f.opt.Note("mbox " + n + ": " + err.Error())
		} else if err != nil {
			return nil, err
		} else if ok {
			out = append(out, fo)
		}
	}
	return out, nil
}

// Find gives a mailbox, adopting a file that another program made.
func (f *Format) Find(name mailstore.Name) (fo engine.Folder, ok bool, err error) {
	rec, known, err := f.recs.get(name)
	if err != nil {
		return fo, false, err
	}
	path, there, err := f.path(name)
	if errkind.Is(err, errkind.Invalid) {
		return fo, false, nil
	}
	if err != nil {
		return fo, false, err
	}
	if known && (there || name == imapname.Inbox) {
		return engine.Folder{Name: name, GUID: rec.guid, UIDValidity: rec.validity}, true, nil
	}
	if !there {
		return fo, false, nil
	}
	if rec, ok, err = f.adopt(name, path); err != nil || !ok {
		return fo, false, err
	}
	return engine.Folder{Name: name, GUID: rec.guid, UIDValidity: rec.validity}, true, nil
}

// adopt makes a record for a file that has none: with the UIDVALIDITY that
// c-client or Dovecot gave it, or a new one. ok is false for a file that is no mbox.
func (f *Format) adopt(name mailstore.Name, path string) (rec record, ok bool, err error) {
	base, ok, err := f.firstBase(name, path)
	if err != nil || !ok {
		return rec, false, err
	}
	err = f.recs.put(nil, func() []change {
		if old, known := f.recs.all[name]; known {
			rec = old
			return nil
		}
		rec = f.newRecord(base)
		return []change{{name, rec}}
	})
	return rec, err == nil, err
}

// newRecord gives a mailbox an identity. The records are locked.
func (f *Format) newRecord(base *mboxfmt.Base) record {
	rec := record{guid: mailstore.NewGUID(), next: 1}
	if base != nil {
		rec.validity, rec.next = base.UIDValidity, base.LastUID+1
	} else {
		rec.validity = max(f.recs.top+1, uint32(min(f.fs.Now().Unix(), 1<<32-2)), 1)
	}
	return rec
}

// firstBase reads the first message's X-IMAPbase; ok is false if the file is no mbox.
func (f *Format) firstBase(name mailstore.Name, path string) (base *mboxfmt.Base, ok bool, err error) {
	sp := f.inbox
	if name != imapname.Inbox {
		sp = f.pathOf(path)
	}
	file, _, err := sp.Open(false)
	if missing(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || info.Size == 0 {
		return nil, err == nil, err
	}
	m, err := mboxfmt.NewScanner(file, 0, info.Size, f.opt.Zone).Head()
	if errors.Is(err, mboxfmt.ErrNoFrom) {
		f.mu.Lock()
		told := f.foreign[name]
		f.foreign[name] = true
		f.mu.Unlock()
		if !told {
			f.opt.Note("mbox " + name + ": the file does not begin with a From_ line; it is left alone")
		}
		return nil, false, nil
	}
	if err != nil || m == nil {
		return nil, err == nil, err
	}
	return m.Meta.Base, true, nil
}

// Create makes an empty mailbox.
func (f *Format) Create(fo engine.Folder, next mailstore.UID) error {
	path, there, err := f.path(fo.Name)
	if err != nil {
		return err
	}
	if there && fo.Name != imapname.Inbox {
		return fs.ErrExist
	}
	if _, known, err := f.recs.get(fo.Name); err != nil {
		return err
	} else if known && fo.Name == imapname.Inbox {
		return fs.ErrExist
	}
	// The record comes first: alone it says nothing.
	if err := f.recs.put([]change{{fo.Name, record{fo.GUID, fo.UIDValidity, next}}}, nil); err != nil {
		return err
	}
	if fo.Name == imapname.Inbox {
		return nil // its file is made by the first who has mail for it
	}
	if err := engine.MakeDirs(f.fs, vfs.Parent(path), f.opt.FolderMode); err != nil {
		return err
	}
	file, err := f.fs.OpenFile(path, vfs.Write|vfs.Create|vfs.Excl, f.opt.FileMode)
	if err != nil {
		return err
	}
	defer file.Close()
	if err = file.Sync(); err != nil { // keeps its name, too: the file is new
		_ = f.fs.Remove(path)
	}
	return err
}

// Delete removes a mailbox.
func (f *Format) Delete(fo engine.Folder) error {
	if err := f.mend(); err != nil {
		return err
	}
	path, there, err := f.path(fo.Name)
	if err != nil {
		return err
	}
	if !there {
		return fs.ErrNotExist
	}
	if err := f.fs.Remove(path); err != nil && !missing(err) {
		return err
	}
	if err := f.fs.SyncDir(vfs.Parent(path)); err != nil {
		return err
	}
	f.prune(vfs.Parent(path))
	return f.recs.put([]change{{fo.Name, record{}}}, nil)
}

// prune removes directories that have become empty.
func (f *Format) prune(dir string) {
	for dir != f.opt.MailPath && strings.HasPrefix(dir, strings.TrimPrefix(f.opt.MailPath+"/", "./")) && f.fs.RemoveDir(dir) == nil {
		dir = vfs.Parent(dir)
	}
}

// Close gives up everything.
func (f *Format) Close() error {
	f.later.close()
	f.redo.close()
	f.keep.Close()
	return nil
}

// guidFor is the GUID of a message that no header gives one.
func guidFor(box mailstore.GUID, uid mailstore.UID) (g mailstore.GUID) {
	h := fnv.New128a()
	h.Write(box[:])
	h.Write(binary.LittleEndian.AppendUint32(nil, uid))
	h.Sum(g[:0])
	return g
}
