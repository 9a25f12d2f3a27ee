package index

import "rookery/internal/mailstore"

// Record is what the index knows of a message.
type Record struct {
	UID      uint32 // at least 1
	Flags    mailstore.Flags
	Keywords uint32 // number of a keyword set of this mailbox (Tx.KeywordSet); 0 is none
	Bits     uint8  // the driver's own; a change of them is no change for clients
	ModSeq   uint64 // in Tx.Add: 0 takes the transaction's
	Size     int64  // octets in CRLF form (RFC822.SIZE), below 2^39; -1 is unknown
	Date     int64  // INTERNALDATE, Unix seconds, within ±2^39; 0 is unknown
	Saved    int64  // SAVEDATE, likewise
	Sent     int64  // the Date field, likewise
	// Loc is the driver's own: where the message lies. At most MaxLoc bytes.
	Loc  string
	GUID mailstore.GUID // zero: the driver derives it from Loc
}

// MaxLoc bounds Record.Loc, MaxState what Tx.State keeps, in bytes.
const (
	MaxLoc   = 1 << 10
	MaxState = 512
)

// maxWide is the largest number that a snapshot keeps for sizes and dates.
const maxWide = 1<<39 - 1

// Facts are those parts of a Record that never change but may be learnt late.
type Facts struct {
	Size, Date, Saved, Sent int64 // as in Record; unknown leaves what is known
}

// Counts are the sums over a mailbox that STATUS asks for.
type Counts struct {
	Messages, Unseen, Deleted int
	Size                      int64 // of the messages whose size is known
	SizeUnknown               int   // messages whose size is not
}

func (c *Counts) add(f mailstore.Flags, size int64, by int) {
	c.Messages += by
	if f&mailstore.Seen == 0 {
		c.Unseen += by
	}
	if f&mailstore.Deleted != 0 {
		c.Deleted += by
	}
	if size < 0 {
		c.SizeUnknown += by
	} else {
		c.Size += int64(by) * size
	}
}

// flip counts a change of flags: the sizes stay what they are.
func (c *Counts) flip(was, is mailstore.Flags) {
	c.add(was, 0, -1)
	c.add(is, 0, 1)
}

// core is the part of a record that changes often.
type core struct {
	uid, kw uint32
	modseq  uint64
	flags   mailstore.Flags
	bits    uint8
}

// extra is the part that seldom changes.
type extra struct {
	size, date, saved, sent int64
	guid                    mailstore.GUID
	loc                     string
}

// rec is a record on the heap.
type rec struct {
	core
	extra
}

func recOf(r Record) rec {
	return rec{core{r.UID, r.Keywords, r.ModSeq, r.Flags & mailstore.AllFlags, r.Bits},
		extra{clampSize(r.Size), clampDate(r.Date), clampDate(r.Saved), clampDate(r.Sent), r.GUID, r.Loc}}
}

func recordOf(c core, x extra) Record {
	return Record{UID: c.uid, Flags: c.flags, Keywords: c.kw, Bits: c.bits, ModSeq: c.modseq,
		Size: x.size, Date: x.date, Saved: x.saved, Sent: x.sent, Loc: x.loc, GUID: x.guid}
}

func clampSize(n int64) int64 {
	if n < 0 || n > maxWide {
		return -1
	}
	return n
}

func clampDate(n int64) int64 {
	if n < -maxWide || n > maxWide {
		return 0
	}
	return n
}

// learn puts in what is known now and was not before.
func (x *extra) learn(f Facts) (changed bool) {
	if n := clampSize(f.Size); n >= 0 && n != x.size {
		x.size, changed = n, true
	}
	for _, d := range [...]struct {
		to   *int64
		from int64
	}{{&x.date, f.Date}, {&x.saved, f.Saved}, {&x.sent, f.Sent}} {
		if n := clampDate(d.from); n != 0 && n != *d.to {
			*d.to, changed = n, true
		}
	}
	return changed
}
