// Package statusmemo is what the drivers share to remember what STATUS said: the
// answer that an index gives, and a bounded table of remembered ones by name.
//
// The drivers call it (maildir, and engine for mbox and pack). When a remembered
// answer still holds is the driver's to say: this package must never know a disk
// or a lock.
package statusmemo

import (
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/index"
)

// most bounds how many answers are kept, atRest how many of them while nobody
// does anything.
const (
	most   = 1 << 15
	atRest = 256
)

// Answer is what STATUS says of a mailbox by a view of its index; its UIDVALIDITY,
// GUID and number of recent messages are the driver's.
func Answer(v *index.View, validity uint32, guid mailstore.GUID, recent uint64) mailstore.Status {
	c := v.Counts()
	return mailstore.Status{Messages: uint32(c.Messages), Recent: uint32(recent), Unseen: uint32(c.Unseen), Deleted: uint32(c.Deleted),
		UIDNext: v.UIDNext(), UIDValidity: validity, Size: uint64(c.Size), HighestModSeq: v.HighestModSeq(), GUID: guid}
}

// Kept are answers by inner name; M is what a driver remembers of one. Its owner
// locks.
type Kept[M any] map[mailstore.Name]M

// Put keeps one. Where there are too many any other one goes.
func (k *Kept[M]) Put(name mailstore.Name, m M) {
	if *k == nil {
		*k = Kept[M]{}
	}
	if _, there := (*k)[name]; !there && len(*k) >= most {
		for other := range *k {
			delete(*k, other)
			break
		}
	}
	(*k)[name] = m
}

// Trim gives memory back: few answers stay, of many none.
func (k *Kept[M]) Trim() {
	if len(*k) > atRest {
		*k = nil
	}
}
