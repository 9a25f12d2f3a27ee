package pack

import (
	"encoding/binary"
	"errors"

	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// enc writes the values of a payload: numbers as varints, texts with their
// length before them.
type enc struct{ b []byte }

func (e *enc) num(n uint64)          { e.b = binary.AppendUvarint(e.b, n) }
func (e *enc) int(n int64)           { e.b = binary.AppendVarint(e.b, n) }
func (e *enc) byte(n byte)           { e.b = append(e.b, n) }
func (e *enc) guid(g mailstore.GUID) { e.b = append(e.b, g[:]...) }
func (e *enc) text(s string)         { e.num(uint64(len(s))); e.b = append(e.b, s...) }
func (e *enc) texts(list []string)   { e.num(uint64(len(list))); e.each(list) }
func (e *enc) each(list []string) {
	for _, s := range list {
		e.text(s)
	}
}
func (e *enc) u32(n uint32) { e.b = binary.LittleEndian.AppendUint32(e.b, n) }

func (e *enc) set(s numset.Set) {
	e.num(uint64(len(s.Ranges())))
	last := uint32(0)
	for _, r := range s.Ranges() {
		e.num(uint64(r.First - last))
		e.num(uint64(r.Last - r.First))
		last = r.Last
	}
}

// errPayload says that a payload is not what its kind says, though its sum fits.
var errPayload = errors.New("a record's content contradicts itself")

// dec reads a payload; the first thing that does not fit makes all else zero.
type dec struct {
	b   []byte
	bad bool
}

func (d *dec) num() uint64 {
	n, w := binary.Uvarint(d.b)
	if w <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[w:]
	return n
}

func (d *dec) int() int64 {
	n, w := binary.Varint(d.b)
	if w <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[w:]
	return n
}

func (d *dec) fail() { d.bad, d.b = true, nil }

func (d *dec) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	p := d.b[:n]
	d.b = d.b[n:]
	return p
}

func (d *dec) byte() byte {
	if p := d.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (d *dec) u32() uint32 {
	if p := d.take(4); p != nil {
		return binary.LittleEndian.Uint32(p)
	}
	return 0
}

// small is a number of 32 bits.
func (d *dec) small() uint32 {
	n := d.num()
	if n > 1<<32-1 {
		d.fail()
		return 0
	}
	return uint32(n)
}

func (d *dec) guid() (g mailstore.GUID) {
	copy(g[:], d.take(16))
	return g
}

func (d *dec) text() string { return string(d.take(d.num())) }

// count reads the length of a list whose items take at least one octet each.
func (d *dec) count() int {
	n := d.num()
	if n > uint64(len(d.b)) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *dec) texts() []string {
	n := d.count()
	if n == 0 {
		return nil
	}
	out := make([]string, 0, min(n, 1024))
	for range n {
		out = append(out, d.text())
	}
	return out
}

func (d *dec) set() numset.Set {
	var s numset.Set
	last := uint64(0)
	for range d.count() {
		first := last + d.num()
		last = first + d.num()
		if first == 0 || last > 1<<32-1 || d.bad {
			d.fail()
			return numset.Set{}
		}
		s.AddRange(uint32(first), uint32(last))
	}
	return s
}

// end reports whether all was read and all fitted.
func (d *dec) end() bool { return !d.bad && len(d.b) == 0 }

func (d *dec) err() error {
	if d.bad {
		return errPayload
	}
	return nil
}

// loc is where a message's record is, for ever: compacting a packed file keeps
// the addresses of its records. check is the head of the record's header: what
// stands there is this record or none.
type loc struct {
	file  uint32
	check uint32
	off   int64
}

const locSize = 16

func (l loc) text() string {
	b := make([]byte, 0, locSize)
	b = binary.LittleEndian.AppendUint32(b, l.file)
	b = binary.LittleEndian.AppendUint32(b, l.check)
	return string(binary.LittleEndian.AppendUint64(b, uint64(l.off)))
}

func parseLoc(s string) (l loc, ok bool) {
	if len(s) != locSize {
		return l, false
	}
	b := []byte(s)
	l = loc{binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:]), int64(binary.LittleEndian.Uint64(b[8:]))}
	return l, l.off >= fileHeaderSize
}

// entry is a message in a mailbox.
type entry struct {
	uid      uint32
	flags    mailstore.Flags
	keywords []string
	size     int64 // octets in CRLF form
	date     int64 // INTERNALDATE, Unix seconds
	saved    int64
	guid     mailstore.GUID
	order    uint32
	uidl     string
	loc      loc
	dead     bool // on its way out of a list
}

func (e *enc) entry(m *entry) {
	e.num(uint64(m.uid))
	e.byte(byte(m.flags))
	e.num(uint64(m.size))
	e.int(m.date)
	e.int(m.saved)
	e.guid(m.guid)
	e.num(uint64(m.order))
	e.text(m.uidl)
	e.texts(m.keywords)
	e.u32(m.loc.file)
	e.u32(m.loc.check)
	e.num(uint64(m.loc.off))
}

func (d *dec) entry() (m entry) {
	m.uid = d.small()
	m.flags = mailstore.Flags(d.byte()) & mailstore.AllFlags
	m.size = int64(d.num())
	m.date, m.saved = d.int(), d.int()
	m.guid = d.guid()
	m.order = d.small()
	m.uidl = d.text()
	m.keywords = d.texts()
	m.loc = loc{file: d.u32(), check: d.u32(), off: int64(d.num())}
	if m.uid == 0 || m.size < 0 || m.loc.off < 0 {
		d.fail()
	}
	return m
}
