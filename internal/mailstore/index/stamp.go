package index

import (
	"encoding/binary"

	"rookery/internal/mailstore"
)

// Stamp names a version of what the index knows of one mailbox: as long as
// User.Stamp gives the same, no process of the user has changed it. The zero Stamp
// is no version.
type Stamp struct {
	lineage [16]byte
	seq     uint64
}

// StampSize is the length of Append's form, in octets.
const StampSize = 24

// Append writes the stamp: lineage of the log, sequence number of the mailbox's
// last transaction, little-endian.
func (s Stamp) Append(b []byte) []byte {
	return binary.LittleEndian.AppendUint64(append(b, s.lineage[:]...), s.seq)
}

// ParseStamp reads what Append wrote: StampSize octets.
func ParseStamp(b []byte) (s Stamp) {
	if len(b) == StampSize {
		copy(s.lineage[:], b)
		s.seq = binary.LittleEndian.Uint64(b[16:])
	}
	return s
}

// version is the sequence number of the last transaction, 0 if the log does not
// tell. Compaction keeps it.
func (in *boxInfo) version() uint64 {
	if n := len(in.recs); n > 0 {
		return max(in.snapSeq, in.recs[n-1].seq)
	}
	return in.snapSeq
}

// Stamp reads the log on and gives the version of a mailbox, open or not.
// It takes no lock of the user's. ok is false where the log does not tell.
func (u *User) Stamp(guid mailstore.GUID) (s Stamp, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := u.sync(false); err != nil {
		return s, false
	}
	return u.stamp(guid)
}

// stamp is Stamp without a look; u.mu is held.
func (u *User) stamp(guid mailstore.GUID) (s Stamp, ok bool) {
	if u.log == nil || u.log.other {
		return s, false
	}
	in := u.info[guid]
	if in == nil || in.version() == 0 {
		return s, false
	}
	return Stamp{u.log.lineage, in.version()}, true
}

// StampOf gives the version that v, a view of this box, is of. ok is false if v is
// not the newest any more, or not Built.
func (b *Box) StampOf(v *View) (s Stamp, ok bool) {
	b.u.mu.Lock()
	defer b.u.mu.Unlock()
	if b.View() != v || !v.built {
		return s, false
	}
	return b.u.stamp(b.guid)
}
