package index

import (
	"encoding/binary"

	"rookery/internal/mailstore"
)

// Stamp names a moment of one mailbox in the log: as long as User.Stamp gives the
// same, no process of the user has changed what the index knows of it. The zero
// Stamp is no moment.
type Stamp struct {
	lineage [16]byte
	epoch   uint64
	seq     uint64
}

// StampSize is the length of Append's form, in octets.
const StampSize = 32

// Append writes the stamp: lineage of the log, epoch, sequence number of the
// mailbox's last record in it, little-endian.
func (s Stamp) Append(b []byte) []byte {
	b = append(b, s.lineage[:]...)
	b = binary.LittleEndian.AppendUint64(b, s.epoch)
	return binary.LittleEndian.AppendUint64(b, s.seq)
}

// ParseStamp reads what Append wrote: StampSize octets.
func ParseStamp(b []byte) (s Stamp) {
	if len(b) == StampSize {
		copy(s.lineage[:], b)
		s.epoch, s.seq = binary.LittleEndian.Uint64(b[16:]), binary.LittleEndian.Uint64(b[24:])
	}
	return s
}

// Stamp reads the log on and gives the moment at which a mailbox is, open or
// not. It takes no lock of the user's. ok is false where there is no log.
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
	s = Stamp{lineage: u.log.lineage, epoch: u.log.epoch}
	if in := u.info[guid]; in != nil {
		s.seq = in.lastSeq
	}
	return s, true
}

// StampOf gives the moment that v, a view of this box, is of. ok is false if v is
// not the newest any more, or not Built.
func (b *Box) StampOf(v *View) (s Stamp, ok bool) {
	b.u.mu.Lock()
	defer b.u.mu.Unlock()
	if b.View() != v || !v.built {
		return s, false
	}
	return b.u.stamp(b.guid)
}
