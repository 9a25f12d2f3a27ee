package quota

import (
	"encoding/binary"
	"hash/fnv"

	"rookery/internal/crc32c"
	"rookery/internal/mailstore"
)

// The file rookery-quota is a header of headSize bytes, then records of
// recordSize bytes; numbers are little-endian. Each carries the CRC-32C of what
// stands before it.
//
//	header                                   record
//	  0 magic "RKQUOTA1"                       0 name: the first 16 bytes of FNV-128a of the mailbox's name
//	  8 FNV-64a of the boot id                16 the mailbox's GUID
//	 16 generation: raised when records move  32 UIDVALIDITY (4)
//	 24 octets counted                        36 UIDNEXT when all that was done is counted (4)
//	 32 messages counted                      40 messages (4)
//	 40 octets reserved by adds under way     44 operations under way (4)
//	 48 messages reserved (4)                 48 octets (8)
//	 52 operations under way (4)              56 class (1), zero (3)
//	 56 number of records (4)                 60 CRC-32C (4)
//	 60 flags (1): 1 while records are rewritten
//	 61 highest threshold of storage that was warned of, per cent (1)
//	 62 the same for messages (1)
//	 63 zero
//	 64 octets held for undelete
//	 72 messages held for undelete
//	 80 when all mailboxes were last looked at, Unix seconds
//	 88 highest threshold of storage whose "under" warning is to come once use
//	    falls below it, per cent (1)
//	 89 the same for messages (1)
//	 90 zero
//	124 CRC-32C (4)
const (
	headSize   = 128
	recordSize = 64
	maxRecords = 1 << 20

	flagRewriting = 1
)

var magic = [8]byte{'R', 'K', 'Q', 'U', 'O', 'T', 'A', '1'}

// Use is a number of messages and their octets in CRLF form.
type Use struct{ Octets, Messages uint64 }

func (u *Use) add(v Use) { u.Octets += v.Octets; u.Messages += v.Messages }

// sub never goes below zero: a count that would is one to be made again.
func (u *Use) sub(v Use) (ok bool) {
	ok = u.Octets >= v.Octets && u.Messages >= v.Messages
	u.Octets -= min(u.Octets, v.Octets)
	u.Messages -= min(u.Messages, v.Messages)
	return ok
}

type header struct {
	boot       uint64
	generation uint64
	counted    Use
	reserved   Use
	underWay   uint32
	records    uint32
	flags      uint8
	warned     [2]uint8 // storage, messages
	above      [2]uint8
	held       Use
	looked     int64
}

func (h *header) encode() []byte {
	b := make([]byte, headSize)
	le := binary.LittleEndian
	copy(b, magic[:])
	le.PutUint64(b[8:], h.boot)
	le.PutUint64(b[16:], h.generation)
	le.PutUint64(b[24:], h.counted.Octets)
	le.PutUint64(b[32:], h.counted.Messages)
	le.PutUint64(b[40:], h.reserved.Octets)
	le.PutUint32(b[48:], uint32(h.reserved.Messages))
	le.PutUint32(b[52:], h.underWay)
	le.PutUint32(b[56:], h.records)
	b[60], b[61], b[62] = h.flags, h.warned[0], h.warned[1]
	le.PutUint64(b[64:], h.held.Octets)
	le.PutUint64(b[72:], h.held.Messages)
	le.PutUint64(b[80:], uint64(h.looked))
	b[88], b[89] = h.above[0], h.above[1]
	le.PutUint32(b[124:], crc32c.Checksum(b[:124]))
	return b
}

// decodeHeader tells whether b is a header that can be believed.
func decodeHeader(b []byte) (h header, ok bool) {
	le := binary.LittleEndian
	if len(b) < headSize || [8]byte(b[:8]) != magic || crc32c.Checksum(b[:124]) != le.Uint32(b[124:]) {
		return header{}, false
	}
	h = header{boot: le.Uint64(b[8:]), generation: le.Uint64(b[16:]), counted: Use{le.Uint64(b[24:]), le.Uint64(b[32:])},
		reserved: Use{le.Uint64(b[40:]), uint64(le.Uint32(b[48:]))}, underWay: le.Uint32(b[52:]), records: le.Uint32(b[56:]),
		flags: b[60], warned: [2]uint8{b[61], b[62]}, above: [2]uint8{b[88], b[89]}, held: Use{le.Uint64(b[64:]), le.Uint64(b[72:])}, looked: int64(le.Uint64(b[80:]))}
	return h, h.records <= maxRecords
}

type nameKey [16]byte

func keyOf(name mailstore.Name) (k nameKey) {
	h := fnv.New128a()
	h.Write([]byte(name))
	h.Sum(k[:0])
	return k
}

func bootKey(id string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(id))
	return h.Sum64()
}

// record is what is known of one mailbox. It is right as long as UIDVALIDITY,
// UIDNEXT and the number of messages are the mailbox's: UIDs only ascend, so
// the same next one and the same number mean the same messages, and these never
// change their size.
type record struct {
	name     nameKey
	guid     mailstore.GUID
	validity uint32
	next     uint32
	messages uint32
	underWay uint32
	octets   uint64
	class    Class
}

func (r *record) use() Use { return Use{r.octets, uint64(r.messages)} }

func (r *record) fits(st mailstore.Status) bool {
	return r.underWay == 0 && r.validity == st.UIDValidity && r.next == st.UIDNext && r.messages == st.Messages
}

func (r *record) encode() []byte {
	b := make([]byte, recordSize)
	le := binary.LittleEndian
	copy(b, r.name[:])
	copy(b[16:], r.guid[:])
	le.PutUint32(b[32:], r.validity)
	le.PutUint32(b[36:], r.next)
	le.PutUint32(b[40:], r.messages)
	le.PutUint32(b[44:], r.underWay)
	le.PutUint64(b[48:], r.octets)
	b[56] = byte(r.class)
	le.PutUint32(b[60:], crc32c.Checksum(b[:60]))
	return b
}

func decodeRecord(b []byte) (r record, ok bool) {
	le := binary.LittleEndian
	if len(b) < recordSize || crc32c.Checksum(b[:60]) != le.Uint32(b[60:]) || b[56] > byte(Held) {
		return record{}, false
	}
	return record{name: nameKey(b[:16]), guid: mailstore.GUID(b[16:32]), validity: le.Uint32(b[32:]), next: le.Uint32(b[36:]),
		messages: le.Uint32(b[40:]), underWay: le.Uint32(b[44:]), octets: le.Uint64(b[48:]), class: Class(b[56])}, true
}

// total points to where a class is counted, nil if nowhere.
func (h *header) total(c Class) *Use {
	switch c {
	case Counted:
		return &h.counted
	case Held:
		return &h.held
	}
	return nil
}
