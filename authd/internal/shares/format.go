package shares

import (
	"encoding/binary"
	"errors"
	"strings"

	"rookery/internal/crc32c"
	"rookery/internal/ipc/redeemmsg"
)

// # The files
//
// There are two, "shares-a" and "shares-b" in state_dir, mode 0600. The one with the
// higher generation counts. All numbers are big-endian; sums are CRC-32C.
//
//	header  8 octets "RKSHARES", 4 version (1), 8 generation (from 1), 4 sum of these
//	record  4 length of what follows the sum, 4 sum of generation, length and what follows,
//	        2 length of the owner's name, the name, 4 number of mailboxes, and for each
//	        2 length of its name, the name, 2 number of entries, and for each
//	        2 length, the entry as the file dovecot-acl has it
//
// A record says all of one owner; a later one of his replaces it, one without
// mailboxes takes him out. Records are appended and synced. When what does not count
// any more is more than what does, all is written to the other file: it is cut to
// nothing, the records are written and synced, and then its header. So there is
// always a whole file, and one that was not finished has no header or a lower
// generation. A record whose sum is wrong, and what follows, was not finished: it is
// cut off.

const (
	headerSize = 24
	recordHead = 8
	version    = 1
	magic      = "RKSHARES"
	// maxRecord bounds what follows a record's head.
	maxRecord = redeemmsg.MaxOwnerBytes + redeemmsg.MaxUser + 64
)

var errRecord = errors.New("a record is not whole")

func appendHeader(generation uint64) []byte {
	out := binary.BigEndian.AppendUint32([]byte(magic), version)
	out = binary.BigEndian.AppendUint64(out, generation)
	return binary.BigEndian.AppendUint32(out, crc32c.Checksum(out))
}

// parseHeader gives the generation; 0 if it is no header of this version.
func parseHeader(b []byte) uint64 {
	if len(b) != headerSize || string(b[:8]) != magic || binary.BigEndian.Uint32(b[8:]) != version || binary.BigEndian.Uint32(b[20:]) != crc32c.Checksum(b[:20]) {
		return 0
	}
	return binary.BigEndian.Uint64(b[12:])
}

func recordSum(generation uint64, payload []byte) uint32 {
	var head [12]byte
	binary.BigEndian.PutUint64(head[:], generation)
	binary.BigEndian.PutUint32(head[8:], uint32(len(payload)))
	return crc32c.Update(crc32c.Checksum(head[:]), payload)
}

func appendText(out []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(out, uint16(len(s))), s...)
}

// appendRecord adds a record to out.
func appendRecord(out []byte, generation uint64, owner string, told []redeemmsg.Published) []byte {
	start := len(out)
	out = appendText(append(out, make([]byte, recordHead)...), owner)
	out = binary.BigEndian.AppendUint32(out, uint32(len(told)))
	for _, p := range told {
		out = appendText(out, p.Name)
		out = binary.BigEndian.AppendUint16(out, uint16(len(p.Entries)))
		for _, e := range p.Entries {
			out = appendText(out, e)
		}
	}
	payload := out[start+recordHead:]
	binary.BigEndian.PutUint32(out[start:], uint32(len(payload)))
	binary.BigEndian.PutUint32(out[start+4:], recordSum(generation, payload))
	return out
}

// recordLength reads a record's head.
func recordLength(head []byte) (length int, sum uint32, ok bool) {
	n := binary.BigEndian.Uint32(head)
	return int(n), binary.BigEndian.Uint32(head[4:]), n <= maxRecord
}

type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) take(n int) []byte {
	if r.bad || len(r.rest) < n {
		r.bad = true
		return make([]byte, min(n, 8))
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) u16() int { return int(binary.BigEndian.Uint16(r.take(2))) }

func (r *reader) text() string {
	b := r.take(r.u16())
	if r.bad {
		return ""
	}
	return string(b)
}

// parsePayload reads what follows a record's head.
func parsePayload(b []byte) (owner string, told []redeemmsg.Published, err error) {
	r := reader{rest: b}
	owner = r.text()
	for n := int(binary.BigEndian.Uint32(r.take(4))); n > 0 && !r.bad; n-- {
		p := redeemmsg.Published{Name: r.text()}
		for k := r.u16(); k > 0 && !r.bad; k-- {
			e := r.text()
			if strings.Contains(e, "\n") {
				return "", nil, errRecord
			}
			p.Entries = append(p.Entries, e)
		}
		told = append(told, p)
	}
	if r.bad || len(r.rest) > 0 {
		return "", nil, errRecord
	}
	return owner, told, nil
}
