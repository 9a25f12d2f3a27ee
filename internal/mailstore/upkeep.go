package mailstore

import "context"

// HeldRoot is the first level of the names of hidden mailboxes, in which package
// held keeps expunged messages. Every driver must be able to have them. Where a
// level is a file of its own on the disk it is HeldDir there: the control file of
// package held has the plain name, and no other program shows what begins with a dot.
const (
	HeldRoot = "rookery-held"
	HeldDir  = "." + HeldRoot
)

// What a store can do for the operator beside serving sessions. A driver
// implements what its format allows; callers ask by type assertion and say
// plainly what a driver lacks.

// Identity is what clients remember of a mailbox: it must come out the same in
// a conversion from one driver to another.
type Identity struct {
	UIDValidity uint32 // at least 1
	UIDNext     UID    // at least 1
	GUID        GUID
	// HighestModSeq is what clients may hold: the new store hands out MODSEQs above it.
	HighestModSeq ModSeq
}

// Restorer makes mailboxes with a given identity.
type Restorer interface {
	// Restore makes the mailbox name with this identity, or gives it to one that
	// is there and empty. errkind.Exists if it has messages; errkind.Invalid for an
	// impossible identity.
	Restore(name Name, id Identity) error
	// Renew raises a mailbox's UIDVALIDITY, so that clients forget what they hold:
	// after a restore from a backup. It returns the new one.
	Renew(name Name) (uidValidity uint32, err error)
}

// Finding is something wrong in a store, in words for an operator.
type Finding struct {
	Mailbox  Name   // "" if it concerns the store as a whole
	Kind     string // a fixed word: "uidlist-missing", "index-stale", …
	Text     string // what is wrong
	Remedy   string // what a repair does, or what the operator must do
	Repaired bool
}

// Verifier compares mail, control files and index with each other.
type Verifier interface {
	// Verify looks at one mailbox, or at what is not any mailbox's own if name is
	// "". With repair it mends what it can; without it touches nothing. found is
	// called for each finding; err is what kept it from looking.
	Verify(ctx context.Context, name Name, repair bool, found func(Finding)) error
}

// Checker is a wrapper around a store that has files of its own to look at.
type Checker interface {
	// Check is Verifier.Verify for them.
	Check(ctx context.Context, repair bool, found func(Finding)) error
}

// Maintainer does work that is not a session's.
type Maintainer interface {
	// Index brings a mailbox's index up to date, cached facts included.
	Index(ctx context.Context, name Name, progress func(done, total int)) error
	// Purge gives back the space of what was expunged, in all mailboxes; a format
	// without such space does nothing. freed is in octets.
	Purge(ctx context.Context, progress func(done, total int)) (freed int64, err error)
}
