package index

import (
	"encoding/binary"
	"runtime/debug"
	"strings"

	"rookery/internal/crc32c"
	"rookery/internal/mailstore"
)

// AppendCached is Cached, but appends the value to dst: for whoever walks over
// many messages and wants nothing of each on the heap. Where ok is false, out is
// dst as it was.
func (b *Box) AppendCached(dst []byte, uid mailstore.UID, field string) (out []byte, ok bool) {
	return b.facts.appendTo(dst, uid, field)
}

// lastField is the field that was asked for last, and its number in a file: who
// walks over messages asks for the same again.
type lastField struct {
	name string
	of   *cacheData
	no   int
}

// ask notes that a field was asked for; false if it cannot be kept. c.mu is held.
func (c *cache) ask(field string) bool {
	if c.asked[field] {
		return true
	}
	if len(field) > maxField || field == "" || len(c.asked) >= maxFields {
		return false
	}
	if c.asked == nil {
		c.asked = map[string]bool{}
	}
	c.asked[strings.Clone(field)] = true
	return true
}

func (c *cache) appendTo(dst []byte, uid uint32, field string) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last.name != field && !c.ask(field) {
		return dst, false
	}
	if len(c.pending) > 0 {
		if v, ok := c.pending[factKey{uid, field}]; ok {
			return append(dst, v...), true
		}
	}
	f := c.open()
	if f == nil {
		return dst, false
	}
	if c.last.of != f || c.last.name != field || f.names[c.last.no] != field {
		c.last = lastField{}
		if no := f.field(field); no >= 0 {
			c.last = lastField{strings.Clone(field), f, no}
		}
	}
	if c.last.of == f {
		if out, ok := f.appendFact(dst, uid, c.last.no); ok {
			return out, true
		}
	}
	// Not there, or written after the file was mapped, or the file was replaced:
	// the long way finds out.
	for {
		if no := f.field(field); no >= 0 {
			if v, ok := f.lookup(uid, no); ok {
				return append(dst, v...), true
			}
		}
		if f = c.replaced(); f == nil {
			return dst, false
		}
	}
}

// appendFact is lookup in one look at the mapping. It says false of what it does
// not find at once; lookup knows then. The fact is copied first and compared with
// its checksum afterwards, since the file may change under the mapping. A fault of
// a file that shrank is the only panic there can be: every offset is compared with
// the mapping's length.
func (c *cacheData) appendFact(dst []byte, uid uint32, field int) (out []byte, ok bool) {
	was := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(was)
		if !ok {
			recover()
			out = dst
		}
	}()
	size := int64(len(c.data))
	for k := range uint32(maxProbe) {
		at := c.slot(uid, field, k)
		if at < 0 || at > size-slotSize {
			return dst, false
		}
		slot := binary.LittleEndian.Uint64(c.data[at:])
		if slot == 0 {
			return dst, false
		}
		off := slotOff(slot)
		if !slotMay(slot, uid) || off > size-factHeader {
			continue
		}
		h := [factHeader]byte(c.data[off : off+factHeader])
		n := int64(binary.LittleEndian.Uint32(h[8:]))
		if binary.LittleEndian.Uint32(h[4:]) != uid || binary.LittleEndian.Uint32(h[12:]) != uint32(field) ||
			n > maxFact || n > size-factHeader-off {
			continue
		}
		out = append(dst, c.data[off+factHeader:off+factHeader+n]...)
		if crc32c.Update(crc32c.Checksum(h[4:]), out[len(dst):]) == binary.LittleEndian.Uint32(h[:]) {
			return out, true
		}
	}
	return dst, false
}
