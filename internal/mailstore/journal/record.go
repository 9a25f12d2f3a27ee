package journal

import (
	"math"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// Kind says what a record tells. Numbers are on disk: add at the end.
type Kind uint8

// The kinds; see the package's comment.
const (
	Message     Kind = 1 + iota // a message with its bytes
	Large                       // a message whose file is synced: its UID
	Flags                       // Op on Flags and Keywords of UIDs
	Keywords                    // Op on Keywords of UIDs; system flags stay
	Expunge                     // UIDs are gone
	Gone                        // the mailbox is deleted
	Intent                      // work in several steps begins; Payload is the driver's
	Step                        // one step of Ref; Payload is the driver's
	IntentDone                  // Ref is finished or undone
	Reservation                 // Octets and Messages are spoken for
	Settle                      // Ref is used or given back
	cancel                      // the UID records from ID Ref on are not to be replayed
	void                        // the batches of Payload (8 bytes each) failed
	lastKind
)

// Effect reports whether records of this kind live until a checkpoint.
func (k Kind) Effect() bool { return k >= Message && k <= Gone }

// Sync is a class of durability; see the package's comment.
type Sync uint8

// The classes.
const (
	Now Sync = iota
	Soon
	Unsynced
)

// Record is one entry. Which fields mean something depends on Kind; the others
// are kept all the same.
type Record struct {
	Kind        Kind
	ID          uint64         // given by the journal
	Ref         uint64         // the ID of an Intent or Reservation, RefFirst; 0 if none
	Box         mailstore.GUID // the mailbox
	UIDValidity uint32
	UID         mailstore.UID // of Message and Large
	UIDs        numset.Set    // of Flags, Keywords and Expunge
	Op          mailstore.FlagOp
	Flags       mailstore.Flags
	Keywords    []string // names; at most 255 bytes each
	Base        string   // base name or what the driver finds the message by; at most 1024 bytes
	GUID        mailstore.GUID
	// The dates are kept in whole seconds and come back in UTC.
	InternalDate, SaveDate time.Time
	Size                   int64
	Octets, Messages       int64  // of a Reservation
	Payload                []byte // the driver's own
	Data                   []byte // the message's bytes as they are stored

	// What the journal tells; not kept.
	Boot     string   // the boot that it was written under; "" if unknown
	SameBoot bool     // Boot is known and is the present one
	Own      bool     // this process wrote it, and its effect is in place
	Expunged bool     // Message, Large: a later Expunge of it is in the journal
	Undone   bool     // Ref is an intent that was never finished
	Steps    [][]byte // Intent: payloads of its steps, in order

	steps []Record // of a pending Intent
	cycle uint64   // where it was written last
	owner uint64
}

// RefFirst, as a Ref, stands for the first record of the same Append, an Intent
// whose ID nobody knows yet.
const RefFirst = math.MaxUint64

// Limits.
const (
	// MaxRecord is the most that a record may take, encoded: Size tells how much
	// one does. A message of MaxData bytes always fits beside 1 KiB of names.
	MaxRecord = 15*blockSize - batchHead
	MaxData   = 58 << 10
	// MaxAppend is the most that the records of one Append may take together.
	MaxAppend = (segmentBlocks-1)*blockSize - batchHead
	// MaxPending is what open intents, their steps and reservations may take.
	MaxPending = 48 << 10

	maxBase     = 1024
	maxKeywords = 1024
	maxKeyword  = 255
)

// EncodedSize gives what a record takes in the file, in bytes.
func (r *Record) EncodedSize() int {
	n := recordHead + len(r.Base) + 8*len(r.UIDs.Ranges()) + len(r.Payload) + len(r.Data)
	for _, k := range r.Keywords {
		n += 1 + len(k)
	}
	return n
}

// check finds what a driver did wrong.
func (r *Record) check() error {
	bad := func(why string) error { return errkind.Newf("journal", errkind.Invalid, why) }
	switch {
	case r.Kind < Message || r.Kind > Settle:
		return bad("no such kind of record")
	case r.EncodedSize() > MaxRecord:
		return errkind.Newf("journal", errkind.TooBig, "the record is larger than a record may be")
	case len(r.Base) > maxBase || len(r.Keywords) > maxKeywords:
		return bad("a base name or a list of keywords is too long")
	case r.Kind.Effect() && r.Box == mailstore.GUID{}:
		return bad("no mailbox")
	case (r.Kind == Message || r.Kind == Large) && (r.UID == 0 || r.UIDValidity == 0):
		return bad("no UID")
	case (r.Kind == Flags || r.Kind == Keywords || r.Kind == Expunge) && r.UIDs.Empty():
		return bad("no UIDs")
	case (r.Kind == Step || r.Kind == IntentDone || r.Kind == Settle) && r.Ref == 0:
		return bad("it refers to nothing")
	}
	for _, k := range r.Keywords {
		if len(k) > maxKeyword {
			return bad("a keyword is too long")
		}
	}
	return nil
}

// covers reports whether an Expunge is of the message m.
func (r *Record) covers(m *Record) bool {
	return r.Box == m.Box && r.UIDValidity == m.UIDValidity && r.ID > m.ID && r.UIDs.Contains(m.UID)
}
