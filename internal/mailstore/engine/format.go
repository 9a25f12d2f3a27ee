// Package engine is everything of a mail storage driver that is no matter of
// format: it implements mailstore.Store over a Format, which knows how mail lies
// on the disk and nothing of sessions.
//
// Drivers (pack, mbox) call Open with their Format; workers see a
// mailstore.Store. The package must never know a protocol, nor what the bytes of
// a format mean.
//
// # What lies where
//
// The engine keeps the registry of open mailboxes, names, special mailboxes,
// subscriptions (file subscriptions), UIDVALIDITYs (file dovecot-uidvalidity),
// keywords, \Recent, watchers, and the picture of each mailbox in the user's
// index. A Format keeps messages, their UIDs, flags and keywords, and the names
// of the mailboxes. The index is derived: what a Format tells in Box.Sync must
// come from mail and control files alone.
//
// # Locks
//
// One lock per user, shared by the user's processes (package index), is held by
// every change and by every Sync that finds one. Methods of Format and Box that
// are called under it say so. Within it, Box.Lock takes what other programs
// respect (an mbox's locks; pack needs none). Readers take no lock: Find,
// Folders, Changed and Open are called from many goroutines at once.
//
// # Damage
//
// Index files may be damaged at any moment, and what the index shows then is
// nothing, or blank. An operation that needs to know whether a message exists gets
// a picture that is Built (look, newest), or an edit of one that was just compared
// with the disk (current), or an error. What an edit read decides about mail and
// control files only if it is Sound afterwards. A session's own view never
// loses a message but by an expunge that really happened. Once the disk is changed
// the operation is done: an index that cannot be told is made anew from the disk.
//
// # One change
//
//	user lock → Box.Lock → index followed → Box.Changed? Box.Sync(edit)
//	→ Store / Expunge / Format.Append / Format.Transfer writes mail and control,
//	  durable as the class of the change asks
//	→ Box.Stamp → index commit (never synced) → locks released → watchers woken
//
// A process killed before the index commit leaves an index whose stamp is older
// than the disk: Changed says so, and Sync brings it up to date.
package engine

import (
	"io"
	"time"

	"rookery/internal/mailstore"
)

// Folder is a mailbox that is on the disk.
type Folder struct {
	Name        mailstore.Name // canonical, without the namespace's prefix taken off
	GUID        mailstore.GUID // never zero; another one when the mailbox is made anew
	UIDValidity uint32         // at least 1
}

// Rename is one step of a RENAME.
type Rename struct {
	From Folder
	To   mailstore.Name
}

// Format is how a driver lays mail out on the disk. Errors are the disk's own or
// errkind's; the engine gives those of the disk their kind. A Format that recovers
// something first is a Starter, too.
type Format interface {
	// Folders gives every mailbox that is there, in no order; INBOX only if it was
	// made. No lock; several at once.
	Folders() ([]Folder, error)
	// Find gives one of them; ok is false if it is not there. It must see what
	// other processes did. No lock; several at once.
	Find(name mailstore.Name) (f Folder, ok bool, err error)
	// Create makes an empty mailbox, durable, whose next UID is next (1, but for a
	// conversion). fs.ErrExist if it is there. errkind.Invalid for a name that the
	// format cannot hold. Under the user's lock.
	Create(f Folder, next mailstore.UID) error
	// Delete removes a mailbox and its messages, durable. Messages that are open
	// stay readable. Under the user's lock.
	Delete(f Folder) error
	// Rename renames mailboxes (a parent and its children), all or none, durable.
	// Nothing has one of the new names. Under the user's lock.
	Rename(moves []Rename) error
	// Box gives the disk's side of a mailbox, for as long as it is open.
	Box(f Folder) (Box, error)
	// Append writes messages, those of each Batch all or none, all durable when it
	// returns; it sets Addition.Loc, and Batch.Err of batches that failed alone. Its
	// error is that of all. The boxes are locked and synced. Under the user's lock.
	Append(batches []*Batch) error
	// Transfer is COPY or MOVE within the store, all or none, durable: none, too, where
	// it returns the error of Transfer.GoOn. Under the user's lock; both boxes are locked
	// and synced.
	Transfer(t *Transfer) error
	// Close gives up everything; boxes are closed before.
	Close() error
}

// Box is the disk's side of one open mailbox.
type Box interface {
	// Lock takes the locks that other programs respect, for reading or for
	// changing; Unlock gives them up. Under the user's lock.
	Lock(write bool) error
	Unlock()
	// Changed reports whether the disk differs from what stamp describes. It must
	// be cheap (a stat, a read of one block) and take no lock. stamp is nil when the index
	// knows nothing. The engine calls it again under the locks before it believes a change.
	// errkind.NotFound says that the mailbox is gone or was made anew.
	Changed(stamp []byte) (bool, error)
	// Sync tells in e what the disk holds that the index does not, or the other way
	// round. Under all locks.
	Sync(e *Edit) error
	// Stamp describes the disk as it is now, after Sync and after each change of
	// ours, at most 400 bytes. Under all locks.
	Stamp() []byte
	// Store writes new flags and keywords. All changes of one call belong to one
	// step; if it fails none may be visible later in this process, as far as the
	// disk allows. The engine changes the index itself; e is for Loc. Under all locks.
	Store(e *Edit, changes []Change) error
	// Expunge removes the messages at ascending positions of e. It gives how many of
	// them, from the first, are gone, also beside an error. Under all locks.
	Expunge(e *Edit, positions []int) (int, error)
	// Open opens a message. No lock: loc may be of a picture that is out of date.
	// fs.ErrNotExist if nothing is there any more: the engine looks again, and asks once more.
	Open(uid mailstore.UID, loc string) (Body, error)
	// ReadOnly reports whether the mailbox cannot be written.
	ReadOnly() bool
	// Close ends its use.
	Close()
}

// PlaceChecker is a Box that answers two questions with one look at the disk:
// whether the mailbox is there as f says, and whether stamp describes it. false
// means that the engine has to find out which of the two is not so. No lock.
type PlaceChecker interface {
	SameAt(f Folder, stamp []byte) (bool, error)
}

// Body is a message that is open; its bytes are in CRLF form and stay readable
// until Close, whatever happens to the message. See mailstore.Message.
type Body interface {
	io.ReaderAt
	Size() int64
	File() (fd uintptr, off int64, ok bool)
	Close() error
}

// Message is what a format tells of a message in Sync, and what it is told.
type Message struct {
	UID      mailstore.UID
	Flags    mailstore.Flags
	Keywords []string       // sorted or not; compared without case
	Size     int64          // octets in CRLF form; -1: not known, the engine opens it when asked
	Date     time.Time      // INTERNALDATE
	Saved    time.Time      // SAVEDATE; zero: INTERNALDATE
	GUID     mailstore.GUID // of the message, the same in its copies; zero: made of mailbox, UIDVALIDITY and UID
	UIDL     string         // kept from another server, "" if none; at most 512 bytes
	Order    uint32         // POP3 order kept from another server, 0 if none
	Loc      string         // where it is, the format's own; at most 400 bytes
}

// Change is what becomes of one message's flags.
type Change struct {
	Pos         int // in the Edit's picture
	UID         mailstore.UID
	Flags, Was  mailstore.Flags
	Keywords    []string // all of them afterwards, in the mailbox's spelling, sorted
	KeywordsWas []string
}

// Addition is one message to append.
type Addition struct {
	Message             // all filled in but Loc; Size is the number of octets of Body
	Body    io.ReaderAt // in CRLF form
	Header  []byte      // the first octets of Body, up to 4 KiB, for formats that look at them
}

// Batch is what one APPEND adds to one mailbox.
type Batch struct {
	Box   Box
	Edit  *Edit // of the box, synced; batches of one box share it, and UIDs ascend over them
	Items []*Addition
	Err   error // set by the format when this batch alone failed
	// GoOn may be asked as long as all of the batch can be taken back; with its error the
	// batch alone fails. nil: it is not to be broken off.
	GoOn func() error
}

// Moving is one message of a Transfer.
type Moving struct {
	Pos int     // in From's picture; ascending
	Old Message // as it is in From
	New Message // as it will be in To; the format sets Loc, all else is filled in
}

// Transfer is a COPY or MOVE.
type Transfer struct {
	From, To         Box // may be the same box
	FromEdit, ToEdit *Edit
	FromName, ToName mailstore.Name
	Items            []*Moving
	Move             bool
	// GoOn is asked for each message, and while one is written, as long as all can still
	// be taken back: its error ends the transfer. It is never nil.
	GoOn func() error
}
