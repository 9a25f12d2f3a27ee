// Package mailstore holds the interfaces of mail storage: Store, Mailbox,
// Message, and the values that pass through them.
//
// The workers (IMAP, POP3, later deliveries) call it; drivers (maildir, later
// mbox and pack) stand behind it; package storetest is the definition of a
// driver. It must never know a protocol, and nobody above it may know that mail
// is files: a body comes as a reader or a descriptor, never as a path.
//
// # Concurrency
//
// A Store belongs to one user and one process; all its methods and those of
// its mailboxes and messages may be called from several goroutines. Other
// processes (the user's other workers, delivery agents, mail programs) may
// change the same mail at any time.
//
// # What a session sees
//
// Mailbox.Snapshot is an immutable picture. A session keeps the snapshot that
// it has told its client about, and compares it with a newer one when it may
// speak. UIDs only ascend; a UID that was shown is never another message's.
package mailstore

import (
	"io"
	"time"

	"rookery/internal/numset"
)

// UID is a unique identifier (RFC 3501 §2.3.1.1), at least 1.
type UID = uint32

// ModSeq orders the changes of one mailbox (RFC 7162), at least 1, below 2^63. Each
// mailbox counts by itself, one for each change: who shares one learns nothing of how
// busy the others are. A mailbox begins, after any doubt too, above all that any had.
type ModSeq uint64

// GUID names a message or mailbox for ever, in every copy of the store.
type GUID [16]byte

// Flags are the system flags.
type Flags uint8

// The system flags of RFC 3501 §2.3.2. \Recent is not stored: see Mailbox.ClaimRecent.
const (
	Answered Flags = 1 << iota
	Flagged
	Deleted
	Seen
	Draft
	AllFlags = Answered | Flagged | Deleted | Seen | Draft
)

// Name is a mailbox's name in UTF-8 (NFC) with '/' between the levels, "INBOX"
// in upper case. Package imapname makes and checks them.
type Name = string

// Attr are facts about a mailbox in a list.
type Attr uint16

// The attributes of LIST (RFC 3501 §7.2.2, RFC 5258, RFC 6154).
const (
	NoSelect    Attr = 1 << iota // has children or is a bare parent, can't be opened
	NonExistent                  // only implied by children (RFC 5258 §3.1)
	HasChildren
	Subscribed
	Marked // has mail that came since it was last opened
	UseAll
	UseArchive
	UseDrafts
	UseFlagged
	UseJunk
	UseSent
	UseTrash
	UseImportant
)

// Folder is a mailbox in a list.
type Folder struct {
	Name  Name
	Attrs Attr
}

// Namespace is one branch of the names (RFC 2342).
type Namespace struct {
	Kind      NamespaceKind
	Prefix    string // "" or ends in Separator
	Separator byte   // as clients see it; Names always use '/'
	Owner     string // the user whose mail it is
	Hidden    bool   // not told by NAMESPACE
	List      bool   // shown by LIST
	// ListPrefix says that LIST shows the prefix's own name even if nothing is
	// below it.
	ListPrefix bool
}

// NamespaceKind is one of the three of RFC 2342.
type NamespaceKind uint8

// The kinds of namespaces.
const (
	Private NamespaceKind = iota
	OtherUsers
	Shared
)

// Status is what STATUS tells (RFC 3501 §6.3.10, RFC 8438, RFC 7162).
type Status struct {
	Messages, Recent, Unseen, Deleted uint32
	UIDNext, UIDValidity              uint32
	Size                              uint64 // sum of RFC822.SIZE, octets; only if asked
	HighestModSeq                     ModSeq
	GUID                              GUID
}

// StatusWant says which costly parts of Status are wanted.
type StatusWant struct{ Size bool }

// Store is one user's mail.
type Store interface {
	// Namespaces gives at least the private one, in the order of the settings.
	Namespaces() []Namespace
	// List gives every mailbox that is there, parents that are only implied
	// (NonExistent), and INBOX always, sorted by name. Subscribed marks what is
	// subscribed; subscriptions to what is not there are in Subscriptions only.
	List() ([]Folder, error)
	// Lookup tells of one mailbox; errkind.NotFound if it is not there.
	Lookup(name Name) (Folder, error)
	// Subscriptions gives all subscribed names, there or not, sorted.
	Subscriptions() ([]Name, error)
	// Subscribe adds or removes. Removing what is not subscribed is errkind.NotFound.
	Subscribe(name Name, on bool) error
	// Create makes a mailbox (and lets parents be implied). It returns the name as kept.
	// errkind: Exists, Invalid, NoPermission, Limit.
	Create(name Name, use Attr) (Name, error)
	// Delete removes the mailbox's mail. Children stay (it is then implied).
	// INBOX is errkind.Invalid; an implied parent errkind.Invalid too.
	Delete(name Name) error
	// Rename moves the mailbox and its children, UIDs and UIDVALIDITY kept; INBOX
	// gives its messages to the new mailbox and stays. Missing parents of to are implied.
	Rename(from, to Name) error
	// Status looks without opening: it clears no \Recent.
	Status(name Name, want StatusWant) (Status, error)
	// Open opens a mailbox; all opens of one mailbox in a Store share it.
	// errkind: NotFound, Invalid (NoSelect).
	Open(name Name) (Mailbox, error)
	// Append begins to add messages to a mailbox that need not be open.
	Append(name Name) (Appender, error)
	// Quota tells use and limits; ok is false if none is set.
	Quota() (q Quota, ok bool, err error)
	// Close gives up everything. Mailboxes must be closed before.
	Close() error
}

// Quota is a user's use and limits; a limit of 0 is none.
type Quota struct {
	StorageUsed, StorageLimit     uint64 // octets
	MessagesUsed, MessagesLimit   uint64
	MailboxesUsed, MailboxesLimit uint64
}

// Entry is what a Snapshot knows of each message.
type Entry struct {
	UID      UID
	Flags    Flags
	Keywords uint32 // names this set of keywords: Snapshot.Keywords; 0 is none
	ModSeq   ModSeq
}

// Snapshot is an immutable picture of a mailbox; entries ascend by UID.
// Making one costs nothing per message: snapshots share what did not change.
type Snapshot interface {
	Len() int
	At(pos int) Entry // 0 ≤ pos < Len
	// Find gives the position of uid, or where it would stand.
	Find(uid UID) (pos int, found bool)
	// Keywords gives the names of a set, sorted; the caller must not change it.
	Keywords(set uint32) []string
	UIDNext() UID
	HighestModSeq() ModSeq
}

// Info is what does not change while a mailbox is open.
type Info struct {
	Name        Name // changes if it is renamed by another session
	UIDValidity uint32
	GUID        GUID
	Namespace   Namespace
	// PermanentFlags are the system flags that can be stored; NewKeywords says
	// whether new keywords can be made (\*).
	PermanentFlags Flags
	NewKeywords    bool
	ReadOnly       bool // for this user, by permission or by the file system
	OwnOnly        bool // he can change nothing here that others see (RFC 4314 §5.2)
}

// Mailbox is an open mailbox, shared by all who opened it in this Store. Each
// Open needs its own Close.
type Mailbox interface {
	Info() Info
	// Keywords gives every keyword name that the mailbox knows, in stable order.
	Keywords() []string
	// Sync looks for changes by other processes (cheap if stat shows none) and
	// returns the newest picture. It returns errkind.NotFound once the mailbox was deleted.
	Sync() (Snapshot, error)
	// Snapshot is the newest picture known, without looking at the disk.
	Snapshot() Snapshot
	// ClaimRecent gives the caller the messages that no session has seen yet
	// (RFC 3501 §2.3.2) and takes them from everybody else; peek only looks.
	ClaimRecent(peek bool) (numset.Set, error)
	// Watch asks for a non-blocking send on c after every change by this
	// process, and after changes by others that Sync by anybody found. stop ends it.
	Watch(c chan<- struct{}) (stop func())
	// ExpungedSince gives the UIDs expunged after m; complete is false where
	// history does not reach back (then nothing is said of older ones).
	ExpungedSince(m ModSeq) (uids numset.Set, complete bool, err error)
	// Store changes flags and keywords of those of uids that exist, atomically per
	// message. errkind.Limit: too many keywords; errkind.ReadOnly.
	Store(change FlagChange) (StoreResult, error)
	// Expunge removes those of uids that exist, whatever their flags, for good.
	// It returns what was removed, also beside an error.
	Expunge(uids numset.Set) (numset.Set, error)
	// Copy adds copies of those of uids that exist to the mailbox to, in UID
	// order, all or none, keeping flags, keywords and INTERNALDATE.
	Copy(uids numset.Set, to Name) (CopyResult, error)
	// Move is Copy and Expunge, atomic for each message: after a crash each
	// is in at least one place and acknowledged ones in one.
	Move(uids numset.Set, to Name) (CopyResult, error)
	// Message opens one message; errkind.Expunged if it is gone.
	Message(uid UID) (Message, error)
	// Facts gives what is known of a message without opening its body where
	// that can be had; it fills what is missing.
	Facts(uid UID, want FactsWant) (Facts, error)
	// Cached gives a derived fact that PutCached kept (ready-to-send ENVELOPE,
	// a serialised MIME tree, …). ok is false at any time, for any reason.
	Cached(uid UID, field string) (value []byte, ok bool)
	// PutCached offers a derived fact; keeping it is up to the driver.
	PutCached(uid UID, field string, value []byte)
	Close() error
}

// FlagOp says what FlagChange does.
type FlagOp uint8

// The operations of STORE (RFC 3501 §6.4.6).
const (
	SetFlags FlagOp = iota // FLAGS: replace
	AddFlags
	RemoveFlags
)

// FlagChange is one STORE.
type FlagChange struct {
	UIDs     numset.Set
	Op       FlagOp
	Flags    Flags
	Keywords []string // atoms; case is kept, compared without case
	// UnchangedSince, if not nil, skips messages whose ModSeq is above (RFC 7162 §3.1.3).
	UnchangedSince *ModSeq
}

// StoreResult tells what Store did. The picture after it is in Mailbox.Snapshot.
type StoreResult struct {
	Changed  numset.Set // flags are different now
	Modified numset.Set // skipped because of UnchangedSince
}

// CopyResult pairs source and new UIDs (RFC 4315 §3), both ascending.
type CopyResult struct {
	UIDValidity uint32
	From, To    []UID
}

// Appender adds one or more messages to a mailbox, all or none (RFC 3502).
type Appender interface {
	// Add begins a message. The bytes follow through Write, in CRLF form; a
	// bare LF or NUL is kept as it is. size is what was announced, for the quota
	// and the disk; -1 if unknown.
	Add(meta AppendMeta, size int64) (io.Writer, error)
	// Commit makes all of them durable and visible. Empty messages and fewer
	// bytes than announced are errkind.Invalid.
	Commit() (AppendResult, error)
	// Abort leaves no trace. After Commit it does nothing.
	Abort()
}

// AppendMeta is what comes with a message.
type AppendMeta struct {
	Flags        Flags
	Keywords     []string
	InternalDate time.Time // zero: now
	SaveDate     time.Time // zero: now
	GUID         GUID      // zero: a new one
	// UID, if not 0, is the UID that the message must get: a conversion keeps
	// them. It must be above every UID that the mailbox has given; else Commit is
	// errkind.Invalid.
	UID   UID
	UIDL  string // Facts.UIDL, kept from another store; "" if none
	Order uint32 // Facts.Order, kept from another store; 0 if none
}

// AppendResult names what was added, in the order of Add.
type AppendResult struct {
	UIDValidity uint32
	UIDs        []UID
}

// FactsWant says which facts are wanted beyond the ones that cost nothing.
type FactsWant struct {
	Size, InternalDate, SaveDate, GUID, UIDL bool
}

// Facts are a message's own; they never change.
type Facts struct {
	Size         int64 // octets in CRLF form: RFC822.SIZE
	InternalDate time.Time
	SaveDate     time.Time
	GUID         GUID
	BaseName     string // the driver's lasting name for it, for pop3_uidl_format's %{filename}; may be ""
	UIDL         string // a UIDL kept from another server (uidlist's P field); "" if none
	Order        uint32 // POP3 order kept from another server (uidlist's O field); 0 if none
}

// Message is one message, open. Its bytes are in CRLF form whatever the store
// holds, and stay readable after an expunge by others until Close.
type Message interface {
	io.ReaderAt
	Size() int64 // octets in CRLF form
	// File gives a descriptor from which [off, off+Size) are exactly the message's
	// bytes, for sendfile; ok is false if the stored form differs.
	File() (fd uintptr, off int64, ok bool)
	Close() error
}
