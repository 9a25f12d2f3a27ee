package index

import (
	"encoding/binary"
	"io"

	"rookery/internal/crc32c"
	"rookery/internal/mailstore"
	"rookery/internal/vfs"
)

// The cache's file; see FORMAT.md.
const (
	cacheFile   = "rookery.index.cache"
	cacheNew    = "rookery.index.cache.new"
	cacheMagic  = "RKCACHE\x01"
	cacheHeader = 4096
	maxFields   = 64
	fieldSize   = 256 // of an entry of the table of fields
	maxField    = 200 // bytes of a field's name
	slotsOff    = cacheHeader + maxFields*fieldSize
	slotSize    = 8
	factHeader  = 16
	maxProbe    = 16
	maxFact     = 64 << 10
	minRows     = 256
	maxRows     = 1 << 24
)

// cacheHead is the header of the cache.
type cacheHead struct {
	guid     mailstore.GUID
	validity uint32
	width    uint32 // slots of a row: a power of two, at least the number of fields
	rows     uint32 // a power of two; a message's row is its UID modulo it, or one of the next
	packed   int64  // length of the file when it was made
}

func (h *cacheHead) encode() []byte {
	b := make([]byte, cacheHeader)
	copy(b, cacheMagic)
	copy(b[8:], h.guid[:])
	binary.LittleEndian.PutUint32(b[24:], h.validity)
	binary.LittleEndian.PutUint32(b[28:], h.width)
	binary.LittleEndian.PutUint32(b[32:], h.rows)
	binary.LittleEndian.PutUint64(b[40:], uint64(h.packed))
	binary.LittleEndian.PutUint32(b[cacheHeader-4:], crc32c.Checksum(b[:cacheHeader-4]))
	return b
}

func decodeCacheHead(b []byte) (h cacheHead, ok bool) {
	if len(b) < cacheHeader || string(b[:8]) != cacheMagic ||
		crc32c.Checksum(b[:cacheHeader-4]) != binary.LittleEndian.Uint32(b[cacheHeader-4:]) {
		return h, false
	}
	copy(h.guid[:], b[8:])
	h.validity = binary.LittleEndian.Uint32(b[24:])
	h.width = binary.LittleEndian.Uint32(b[28:])
	h.rows = binary.LittleEndian.Uint32(b[32:])
	h.packed = int64(binary.LittleEndian.Uint64(b[40:]))
	power := func(n, limit uint32) bool { return n > 0 && n <= limit && n&(n-1) == 0 }
	return h, power(h.width, maxFields) && power(h.rows, maxRows) && h.packed >= 0
}

// facts is where the first fact stands.
func (h *cacheHead) facts() int64 { return slotsOff + int64(h.rows)*int64(h.width)*slotSize }

// slot is where the k-th try for a message and field stands.
func (h *cacheHead) slot(uid uint32, field int, k uint32) int64 {
	row := (uid + k) & (h.rows - 1)
	return slotsOff + (int64(row)*int64(h.width)+int64(field))*slotSize
}

// A slot is the fact's offset in 40 bits and 24 bits of its UID. Nothing relies on
// it: the fact says itself whose it is.
func encodeSlot(off int64, uid uint32) uint64 { return uint64(off)<<24 | uint64(uid&(1<<24-1)) }

func slotOff(s uint64) int64 { return int64(s >> 24) }

func slotMay(s uint64, uid uint32) bool { return uint32(s)&(1<<24-1) == uid&(1<<24-1) }

// A fact is u32 CRC-32C of what follows, u32 UID, u32 length, u32 field, bytes.
func appendFact(b []byte, uid uint32, field int, value []byte) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uid)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(value)))
	b = binary.LittleEndian.AppendUint32(b, uint32(field))
	b = append(b, value...)
	binary.LittleEndian.PutUint32(b[start:], crc32c.Checksum(b[start+4:]))
	return b
}

// A field is u8 length, name, at 248 u32 the day it was last asked for (days since
// 1970), at 252 u32 CRC-32C of the first 252.
func encodeField(name string, day uint32) []byte {
	b := make([]byte, fieldSize)
	b[0] = byte(len(name))
	copy(b[1:], name)
	binary.LittleEndian.PutUint32(b[248:], day)
	binary.LittleEndian.PutUint32(b[252:], crc32c.Checksum(b[:252]))
	return b
}

func decodeField(b []byte) (name string, day uint32, ok bool) {
	n := int(b[0])
	if n == 0 || n > maxField || crc32c.Checksum(b[:252]) != binary.LittleEndian.Uint32(b[252:]) {
		return "", 0, false
	}
	return string(b[1 : 1+n]), binary.LittleEndian.Uint32(b[248:]), true
}

// cacheData is a cache that is open.
type cacheData struct {
	cacheHead
	f     vfs.File
	inode uint64
	names [maxFields]string
	days  [maxFields]uint32 // as the file has them
	data  []byte
	unmap func() error
}

// openCache opens a mailbox's cache; nil if there is none that can be used.
func openCache(fs vfs.FS, path string, guid mailstore.GUID, validity uint32) *cacheData {
	f, err := fs.OpenFile(path, vfs.Read|vfs.Write, 0)
	if err != nil {
		return nil
	}
	c := &cacheData{f: f, unmap: func() error { return nil }}
	head := make([]byte, slotsOff)
	info, err := f.Stat()
	if err == nil {
		_, err = f.ReadAt(head, 0)
	}
	ok := false
	if err == nil {
		c.cacheHead, ok = decodeCacheHead(head)
	}
	if !ok || c.guid != guid || c.validity != validity || info.Size < c.cacheHead.facts() {
		f.Close()
		return nil
	}
	c.inode = info.Inode
	c.readFields(head[cacheHeader:])
	if !c.remap() {
		c.close()
		return nil
	}
	return c
}

func (c *cacheData) readFields(b []byte) {
	for i := range maxFields {
		c.names[i], c.days[i], _ = decodeField(b[i*fieldSize:])
	}
}

// remap maps what the file has now.
func (c *cacheData) remap() bool {
	info, err := c.f.Stat()
	if err != nil || info.Size < c.cacheHead.facts() || info.Size > 1<<40 {
		return false
	}
	data, unmap, err := vfs.Map(c.f, info.Size)
	if err != nil {
		return false
	}
	c.unmap()
	c.data, c.unmap = data, unmap
	return true
}

func (c *cacheData) close() {
	c.unmap()
	c.data = nil
	c.f.Close()
}

// field gives the number of a name, -1 if it has none.
func (c *cacheData) field(name string) int {
	for i, n := range c.names {
		if n == name && n != "" && i < int(c.width) {
			return i
		}
	}
	return -1
}

// lookup finds a fact.
func (c *cacheData) lookup(uid uint32, field int) ([]byte, bool) {
	for k := range uint32(maxProbe) {
		var s [slotSize]byte
		if !peek(c.data, s[:], c.slot(uid, field, k)) {
			return nil, false
		}
		slot := binary.LittleEndian.Uint64(s[:])
		if slot == 0 {
			return nil, false
		}
		if slotMay(slot, uid) {
			if v, ok := c.fact(slotOff(slot), uid, field); ok {
				return v, true
			}
		}
	}
	return nil, false
}

// fact reads a fact, if it is the one that is looked for and whole.
func (c *cacheData) fact(off int64, uid uint32, field int) ([]byte, bool) {
	var h [factHeader]byte
	if !peek(c.data, h[:], off) {
		// Written after the file was mapped.
		if off < int64(len(c.data))-factHeader || !c.remap() || !peek(c.data, h[:], off) {
			return nil, false
		}
	}
	n := binary.LittleEndian.Uint32(h[8:])
	if binary.LittleEndian.Uint32(h[4:]) != uid || binary.LittleEndian.Uint32(h[12:]) != uint32(field) || n > maxFact {
		return nil, false
	}
	b := make([]byte, factHeader+int(n))
	if !peek(c.data, b, off) {
		if !c.remap() || !peek(c.data, b, off) {
			return nil, false
		}
	}
	if crc32c.Checksum(b[4:]) != binary.LittleEndian.Uint32(b) {
		return nil, false
	}
	return b[factHeader:], true
}

// slots writes slots, sorted by place, near ones together.
func (c *cacheData) writeSlots(list []placed) error {
	const near = 4 << 10
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n].at-list[n-1].at < near {
			n++
		}
		first := list[0].at
		b := make([]byte, list[n-1].at-first+slotSize)
		if _, err := c.f.ReadAt(b, first); err != nil && err != io.EOF {
			return err
		}
		for _, p := range list[:n] {
			binary.LittleEndian.PutUint64(b[p.at-first:], p.slot)
		}
		if _, err := c.f.WriteAt(b, first); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// placed is a slot and where it stands.
type placed struct {
	at   int64
	slot uint64
}

// place finds a slot for a message and field: a free one or its own. taken are
// slots of this batch.
func (c *cacheData) place(uid uint32, field int, taken map[int64]bool) (at int64, ok bool) {
	for k := range uint32(maxProbe) {
		at = c.slot(uid, field, k)
		var s [slotSize]byte
		if !peek(c.data, s[:], at) {
			return 0, false
		}
		if slot := binary.LittleEndian.Uint64(s[:]); !taken[at] && (slot == 0 || slotMay(slot, uid)) {
			return at, true
		}
	}
	return 0, false
}
