// Package pack keeps mail in packed files: messages appended one behind the
// other, ten deliveries with one sync, whatever the mailbox; a journal has what
// happens to them afterwards. docs/pack.md has the bytes.
//
// Workers open a Store by Open; above package mailstore nobody may know that
// mail is files. The package must never know a protocol, or touch the disk but
// through package vfs.
//
// # Files
//
// Mail: packed files (00000001.pack, …) in the mail path, or, the old ones, in
// the alternative path. Each record says which mailbox and UID it is, with the
// flags at arrival, under a sum; each file says which mailboxes have which name.
//
// Control: rookery-pack-journal, what happens after arrival: mailboxes made,
// renamed and deleted, flags, expunges, copies, moves. rookery-pack-boxes/, for
// each mailbox a checkpoint: its whole list of messages as of some sequence
// number. When the journal has grown, the checkpoints of mailboxes that changed
// are written anew, and then the journal, which holds the rest.
//
// Index: what package index keeps; it is made of the above at any moment.
//
// # Order
//
// Each record, in whichever file, has a sequence number of one counter per
// user; the records of all files in their order are the history of the store. A
// change is one record or one group of records, and a group counts only whole.
// The address of a message's record never changes: compacting a file keeps the
// addresses of what stays, by a table, so that neither a journal nor an index has
// to be told. A COPY or MOVE writes a line of the journal and no mail.
//
// # Syncs
//
// A message is synced before it is shown. What changes mailboxes, copies and
// moves is synced before it is answered. Flag changes and expunges are synced
// within a second, or before the answer with Always. Files are filled with
// zeroes ahead, so that a sync is one write of data and nothing else. A sync that
// failed is never tried again: what it was for is taken back, and the next record
// goes to a new file.
//
// # Locks
//
// The user's lock (package index) is held by writers. Readers take none: they
// read records up to the first that is not whole.
package pack

import (
	"io/fs"
	"strings"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/vfs"
)

// Fsync says when changes are put on disk.
type Fsync uint8

// The ways of mail_fsync. With Optimized a power cut may take flag changes and
// expunges of the last second; with Always nothing that was answered; with Never
// whatever the system had not written.
const (
	Optimized Fsync = iota
	Always
	Never
)

// Options say where and how. Paths are relative to FS.
type Options struct {
	FS          vfs.FS
	MailPath    string // of packed files; made if missing
	AltPath     string // of old packed files; "" is none; must be there
	ControlPath string // of the journal and checkpoints; "" means MailPath
	IndexPath   string // "" means ControlPath
	Namespace   mailstore.Namespace
	Special     []engine.Special
	Note        func(text string)
	LockWait    time.Duration
	Fsync       Fsync
	AltAge      time.Duration // packed files whose newest record is older go to AltPath at a Purge; 0: 30 days

	// Compress writes new messages as zstd (mail_compress_write_method); compressed
	// ones are read in any case.
	Compress bool

	// For tests; 0 is what is good for a server.
	PackSize    int64 // a packed file that is larger is followed by another: 64 MiB
	Step        int64 // how far ahead packed files are filled with zeroes: 1 MiB
	JournalStep int64 // the same of the journal: 256 KiB
	JournalSize int64 // a longer journal leads to a checkpoint: 1 MiB
	MaxTail     int   // and so do that many messages since the last: 8,192
	DeadSize    int64 // and that many expunged octets: 16 MiB
}

func withDefaults(o Options) Options {
	clean := func(p *string, or string) {
		if *p == "" {
			*p = or
		}
		if *p = strings.Trim(*p, "/"); *p == "" {
			*p = "."
		}
	}
	clean(&o.MailPath, ".")
	clean(&o.ControlPath, o.MailPath)
	clean(&o.IndexPath, o.ControlPath)
	if o.AltPath != "" {
		o.AltPath = strings.Trim(o.AltPath, "/")
	}
	if o.Note == nil {
		o.Note = func(string) {}
	}
	if o.AltAge == 0 {
		o.AltAge = 30 * 24 * time.Hour
	}
	def := func(n *int64, d int64) {
		if *n == 0 {
			*n = d
		}
	}
	def(&o.PackSize, 64<<20)
	def(&o.Step, 1<<20)
	def(&o.JournalStep, 256<<10)
	def(&o.JournalSize, 1<<20)
	def(&o.DeadSize, 16<<20)
	if o.MaxTail == 0 {
		o.MaxTail = 8192
	}
	return o
}

// Open opens a user's store.
func Open(opt Options) (*engine.Store, error) {
	opt = withDefaults(opt)
	p := &format{opt: opt, fs: opt.FS, st: newState(), locked: func(f func() error) error { return fs.ErrClosed }}
	s, err := engine.Open(engine.Options{FS: opt.FS, ControlPath: opt.ControlPath, IndexPath: opt.IndexPath, Namespace: opt.Namespace, Special: opt.Special,
		Note: opt.Note, LockWait: opt.LockWait}, p)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.locked = s.Locked
	p.mu.Unlock()
	return s, nil
}

// join puts a name below a directory.
func join(dir, name string) string { return vfs.Join(dir, name) }
