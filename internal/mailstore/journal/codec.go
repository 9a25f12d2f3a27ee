package journal

import (
	"encoding/binary"
	"math"
	"time"

	"rookery/internal/crc32c"
	"rookery/internal/mailstore"
)

// Sizes of the file; see the package's comment.
const (
	blockSize     = 4096
	segmentBlocks = 32
	segments      = 8
	segmentSize   = blockSize * segmentBlocks
	fileSize      = segmentSize * segments
	fileHead      = 40
	batchHead     = 160
	recordHead    = 120
	maxBoot       = 64

	fileMagic  = "RookJrn1"
	batchMagic = "RKJb"

	bitClean = 1
)

const noDate = math.MinInt64

func crcOf(p []byte) uint32 { return crc32c.Checksum(p) }

var le = binary.LittleEndian

// nonce tells the batches of one journal from everything else.
type nonce [16]byte

// encodeHead gives the block that begins every segment.
func encodeHead(n nonce) []byte {
	b := make([]byte, blockSize)
	copy(b, fileMagic)
	copy(b[8:], n[:])
	le.PutUint32(b[24:], blockSize)
	le.PutUint32(b[28:], segmentBlocks)
	le.PutUint32(b[32:], segments)
	le.PutUint32(b[36:], crcOf(b[:36]))
	return b
}

// decodeHead reads the beginning of a segment.
func decodeHead(b []byte) (n nonce, ok bool) {
	if len(b) < fileHead || string(b[:8]) != fileMagic || le.Uint32(b[36:]) != crcOf(b[:36]) ||
		le.Uint32(b[24:]) != blockSize || le.Uint32(b[28:]) != segmentBlocks || le.Uint32(b[32:]) != segments {
		return n, false
	}
	return nonce(b[8:24]), true
}

// head is the beginning of a batch.
type head struct {
	cycle, seq         uint64
	liveCycle, liveSeq uint64
	synced             uint64
	nextID             uint64
	owner              uint64
	size               uint32 // of the body
	bodyCRC            uint32
	records            uint32
	clean              bool
	boot               string
}

// blocks is how many blocks the batch takes.
func (h *head) blocks() int { return blocksFor(int(h.size)) }

func blocksFor(body int) int { return (batchHead + body + blockSize - 1) / blockSize }

// put writes the head into b, whose body is in place.
func (h *head) put(b []byte, n nonce) {
	copy(b, batchMagic)
	copy(b[8:], n[:])
	for i, v := range [...]uint64{h.cycle, h.seq, h.liveCycle, h.liveSeq, h.synced, h.nextID, h.owner} {
		le.PutUint64(b[24+8*i:], v)
	}
	le.PutUint32(b[80:], h.size)
	le.PutUint32(b[84:], h.bodyCRC)
	le.PutUint32(b[88:], h.records)
	var bits uint16
	if h.clean {
		bits |= bitClean
	}
	le.PutUint16(b[92:], bits)
	b[94], b[95] = byte(len(h.boot)), 0
	clear(b[96:batchHead])
	copy(b[96:], h.boot)
	le.PutUint32(b[4:], crcOf(b[8:batchHead]))
}

// parseHead reads a batch's head; b holds at least batchHead bytes if it is one.
func parseHead(b []byte, n nonce) (h head, ok bool) {
	if len(b) < batchHead || string(b[:4]) != batchMagic || nonce(b[8:24]) != n || le.Uint32(b[4:]) != crcOf(b[8:batchHead]) {
		return h, false
	}
	for i, v := range [...]*uint64{&h.cycle, &h.seq, &h.liveCycle, &h.liveSeq, &h.synced, &h.nextID, &h.owner} {
		*v = le.Uint64(b[24+8*i:])
	}
	h.size, h.bodyCRC, h.records = le.Uint32(b[80:]), le.Uint32(b[84:]), le.Uint32(b[88:])
	bits, boot := le.Uint16(b[92:]), int(b[94])
	if boot > maxBoot || bits&^bitClean != 0 || b[95] != 0 || h.size > MaxAppend || h.cycle == 0 || h.seq == 0 ||
		h.liveCycle == 0 || h.liveCycle > h.cycle || h.cycle-h.liveCycle >= segments || h.liveSeq > h.seq || h.synced >= h.seq {
		return h, false
	}
	h.clean, h.boot = bits&bitClean != 0, string(b[96:96+boot])
	return h, true
}

// appendRecord encodes r; its ID and Ref can be set later by patch.
func appendRecord(b []byte, r *Record) []byte {
	at := len(b)
	b = append(b, make([]byte, recordHead)...)
	p := b[at:]
	le.PutUint32(p, uint32(r.EncodedSize()))
	p[4], p[5], p[6] = byte(r.Kind), byte(r.Flags), byte(r.Op)
	le.PutUint64(p[8:], r.ID)
	le.PutUint64(p[16:], r.Ref)
	copy(p[24:], r.Box[:])
	copy(p[40:], r.GUID[:])
	le.PutUint32(p[56:], r.UIDValidity)
	le.PutUint32(p[60:], r.UID)
	for i, v := range [...]int64{unix(r.InternalDate), unix(r.SaveDate), r.Size, r.Octets, r.Messages} {
		le.PutUint64(p[64+8*i:], uint64(v))
	}
	ranges := r.UIDs.Ranges()
	le.PutUint16(p[104:], uint16(len(r.Base)))
	le.PutUint16(p[106:], uint16(len(r.Keywords)))
	le.PutUint32(p[108:], uint32(len(ranges)))
	le.PutUint32(p[112:], uint32(len(r.Payload)))
	le.PutUint32(p[116:], uint32(len(r.Data)))
	b = append(b, r.Base...)
	for _, k := range r.Keywords {
		b = append(append(b, byte(len(k))), k...)
	}
	for _, g := range ranges {
		b = le.AppendUint32(le.AppendUint32(b, g.First), g.Last)
	}
	return append(append(b, r.Payload...), r.Data...)
}

func unix(t time.Time) int64 {
	if t.IsZero() {
		return noDate
	}
	return t.Unix()
}

func date(s int64) time.Time {
	if s == noDate {
		return time.Time{}
	}
	return time.Unix(s, 0).UTC()
}

// patch sets the ID of an encoded record, and its Ref if that is not 0.
func patch(p []byte, id, ref uint64) {
	le.PutUint64(p[8:], id)
	if ref != 0 {
		le.PutUint64(p[16:], ref)
	}
}

// decodeRecord reads the first record of b and gives what follows it. Payload
// and Data share b's memory.
func decodeRecord(b []byte) (r Record, rest []byte, ok bool) {
	if len(b) < recordHead {
		return r, nil, false
	}
	size := le.Uint32(b)
	if size < recordHead || size > MaxAppend || int(size) > len(b) {
		return r, nil, false
	}
	p, rest := b[:size], b[size:]
	r.Kind, r.Flags, r.Op = Kind(p[4]), mailstore.Flags(p[5]), mailstore.FlagOp(p[6])
	if r.Kind == 0 || r.Kind >= lastKind || r.Flags&^mailstore.AllFlags != 0 || r.Op > mailstore.RemoveFlags || p[7] != 0 {
		return r, nil, false
	}
	r.ID, r.Ref = le.Uint64(p[8:]), le.Uint64(p[16:])
	r.Box, r.GUID = mailstore.GUID(p[24:40]), mailstore.GUID(p[40:56])
	r.UIDValidity, r.UID = le.Uint32(p[56:]), le.Uint32(p[60:])
	num := func(i int) int64 { return int64(le.Uint64(p[64+8*i:])) }
	r.InternalDate, r.SaveDate, r.Size, r.Octets, r.Messages = date(num(0)), date(num(1)), num(2), num(3), num(4)
	ok = r.decodeTail(p[recordHead:], int(le.Uint16(p[104:])), int(le.Uint16(p[106:])),
		uint64(le.Uint32(p[108:])), uint64(le.Uint32(p[112:])), uint64(le.Uint32(p[116:])))
	return r, rest, ok
}

// decodeTail reads what is of no fixed length; it must fill p exactly.
func (r *Record) decodeTail(p []byte, base, words int, ranges, payload, data uint64) bool {
	if base > maxBase || base > len(p) || words > maxKeywords {
		return false
	}
	r.Base, p = string(p[:base]), p[base:]
	for range words {
		if len(p) == 0 || int(p[0]) >= len(p) {
			return false
		}
		r.Keywords, p = append(r.Keywords, string(p[1:1+p[0]])), p[1+p[0]:]
	}
	if 8*ranges+payload+data != uint64(len(p)) {
		return false
	}
	last := uint32(0)
	for range ranges {
		first, end := le.Uint32(p), le.Uint32(p[4:])
		// Ascending with a gap between, as a set keeps them.
		if first == 0 || end < first || last != 0 && (last == math.MaxUint32 || first <= last+1) {
			return false
		}
		r.UIDs.AddRange(first, end)
		last, p = end, p[8:]
	}
	if payload > 0 {
		r.Payload = p[:payload:payload]
	}
	if data > 0 {
		r.Data = p[payload:]
	}
	return true
}

// decodeBody reads all records of a batch. It is false for a body that does not
// match its head, which the CRCs should have told.
func decodeBody(h *head, body []byte) (recs []Record, ok bool) {
	if int(h.size) > len(body) || crcOf(body[:h.size]) != h.bodyCRC {
		return nil, false
	}
	body = body[:h.size]
	for len(body) > 0 {
		var r Record
		if r, body, ok = decodeRecord(body); !ok {
			return nil, false
		}
		r.Boot = h.boot
		recs = append(recs, r)
	}
	return recs, len(recs) == int(h.records)
}

// uints packs sequence numbers for a void record.
func uints(list []uint64) (b []byte) {
	for _, v := range list {
		b = le.AppendUint64(b, v)
	}
	return b
}

func fromUints(b []byte) (list []uint64) {
	for ; len(b) >= 8; b = b[8:] {
		list = append(list, le.Uint64(b))
	}
	return list
}
