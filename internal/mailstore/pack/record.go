package pack

import (
	"encoding/binary"
	"hash/crc32"
)

// Both kinds of files, packed files and the journal, are a file header and
// records behind it. docs/pack.md has the bytes.

// Sizes and marks of the files.
const (
	fileHeaderSize = 64
	recHeaderSize  = 56
	fileMagic      = "ROOKPAK1"
	recMagic       = 0x31506B52 // "RkP1"
	recAlign       = 8          // records begin at multiples of it
	batchAlign     = 512        // what is written after a sync begins in a block of its own
	maxMeta        = 1<<16 - 1
	maxEvent       = 256 << 20 // payload of a record without a body
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sum(seed uint32, p []byte) uint32 { return crc32.Update(seed, castagnoli, p) }

// fileKind tells the journal from packed files.
type fileKind uint32

const (
	kindJournal fileKind = 1
	kindPacked  fileKind = 2
)

// fileHeader begins a file.
type fileHeader struct {
	kind   fileKind
	nonce  uint32 // drawn for each file: records of another file never fit
	number uint64 // of a packed file; of a journal how often it was made anew
	before int64  // packed: where the records of the file before this one end; -1 unknown
	seq    uint64 // sequence numbers in this file are above it
	mapAt  int64  // compacted: where the table of moved records begins; 0 in all others
}

func (h fileHeader) encode() []byte {
	b := make([]byte, 0, fileHeaderSize)
	b = append(b, fileMagic...)
	b = binary.LittleEndian.AppendUint32(b, uint32(h.kind))
	b = binary.LittleEndian.AppendUint32(b, h.nonce)
	b = binary.LittleEndian.AppendUint64(b, h.number)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.before))
	b = binary.LittleEndian.AppendUint64(b, h.seq)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.mapAt))
	b = append(b, make([]byte, fileHeaderSize-4-len(b))...)
	return binary.LittleEndian.AppendUint32(b, sum(0, b))
}

// decodeFileHeader reads a file's header; ok is false if it is none.
func decodeFileHeader(b []byte) (h fileHeader, ok bool) {
	if len(b) < fileHeaderSize || string(b[:8]) != fileMagic || binary.LittleEndian.Uint32(b[fileHeaderSize-4:]) != sum(0, b[:fileHeaderSize-4]) {
		return h, false
	}
	h.kind = fileKind(binary.LittleEndian.Uint32(b[8:]))
	h.nonce = binary.LittleEndian.Uint32(b[12:])
	h.number = binary.LittleEndian.Uint64(b[16:])
	h.before = int64(binary.LittleEndian.Uint64(b[24:]))
	h.seq = binary.LittleEndian.Uint64(b[32:])
	h.mapAt = int64(binary.LittleEndian.Uint64(b[40:]))
	return h, h.kind == kindJournal || h.kind == kindPacked
}

// recHeader begins a record.
type recHeader struct {
	kind   recKind
	flags  recFlags
	meta   int    // octets of meta at the front of the payload
	more   uint32 // how many records after this one belong to the same change
	size   int64  // payload: meta and body
	seq    uint64
	synced int64  // up to where the file was surely on disk when this was written
	chain  uint32 // head of the record before; of the first the file's nonce
	body   uint32 // CRC-32C of the payload
	head   uint32 // CRC-32C of the header before it, seeded by the file's nonce
}

type recKind uint8

// The kinds of records. Numbers are never used again for something else.
const (
	recMessage  recKind = 1 // packed files: a message
	recFolder   recKind = 2 // packed files: the name of a mailbox whose messages follow
	recBase     recKind = 3 // journal: where it takes over
	recCreate   recKind = 4
	recDelete   recKind = 5
	recRename   recKind = 6
	recFlagSet  recKind = 7
	recExpunge  recKind = 8
	recAdd      recKind = 9 // copies
	recMove     recKind = 10
	recIdentity recKind = 11
)

type recFlags uint8

const recZstd recFlags = 1 // the body is a zstd frame; meta has the plain size

func (h recHeader) encode(dst []byte, nonce uint32) []byte {
	at := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, recMagic)
	dst = append(dst, byte(h.kind), byte(h.flags))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(h.meta))
	dst = binary.LittleEndian.AppendUint32(dst, h.more)
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.size))
	dst = binary.LittleEndian.AppendUint64(dst, h.seq)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.synced))
	dst = binary.LittleEndian.AppendUint32(dst, h.chain)
	dst = binary.LittleEndian.AppendUint32(dst, h.body)
	dst = binary.LittleEndian.AppendUint32(dst, sum(nonce, dst[at:]))
	return binary.LittleEndian.AppendUint32(dst, 0)
}

// decodeRecHeader reads a record's header; ok is false if there is none.
func decodeRecHeader(b []byte, nonce uint32) (h recHeader, ok bool) {
	if len(b) < recHeaderSize || binary.LittleEndian.Uint32(b) != recMagic {
		return h, false
	}
	h.head = binary.LittleEndian.Uint32(b[48:])
	if h.head != sum(nonce, b[:48]) {
		return h, false
	}
	h.kind, h.flags = recKind(b[4]), recFlags(b[5])
	h.meta = int(binary.LittleEndian.Uint16(b[6:]))
	h.more = binary.LittleEndian.Uint32(b[8:])
	h.size = int64(binary.LittleEndian.Uint64(b[16:]))
	h.seq = binary.LittleEndian.Uint64(b[24:])
	h.synced = int64(binary.LittleEndian.Uint64(b[32:]))
	h.chain = binary.LittleEndian.Uint32(b[40:])
	h.body = binary.LittleEndian.Uint32(b[44:])
	return h, h.size >= int64(h.meta) && h.size < 1<<56
}

// span is what a record takes in the file.
func (h recHeader) span() int64 { return alignUp(recHeaderSize+h.size, recAlign) }

func alignUp(n, to int64) int64 { return (n + to - 1) / to * to }
