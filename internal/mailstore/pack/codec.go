package pack

import (
	"encoding/binary"
	"errors"
	"math"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/record"
	"rookery/internal/numset"
)

// enc writes the values of a payload, in package record's forms.
type enc struct{ b []byte }

func (e *enc) num(n uint64)          { e.b = binary.AppendUvarint(e.b, n) }
func (e *enc) int(n int64)           { e.b = binary.AppendVarint(e.b, n) }
func (e *enc) byte(n byte)           { e.b = append(e.b, n) }
func (e *enc) guid(g mailstore.GUID) { e.b = append(e.b, g[:]...) }
func (e *enc) text(s string)         { e.b = record.AppendText(e.b, s) }
func (e *enc) texts(list []string)   { e.num(uint64(len(list))); e.each(list) }
func (e *enc) each(list []string) {
	for _, s := range list {
		e.text(s)
	}
}
func (e *enc) u32(n uint32)     { e.b = binary.LittleEndian.AppendUint32(e.b, n) }
func (e *enc) set(s numset.Set) { e.b = record.AppendRanges(e.b, s.Ranges()) }

// errPayload says that a payload is not what its kind says, though its sum fits.
var errPayload = errors.New("a record's content contradicts itself")

// dec reads a payload; the first thing that does not fit makes all else zero.
type dec struct{ record.Decoder }

func decode(b []byte) dec { return dec{record.Decoder{B: b}} }

func (d *dec) guid() (g mailstore.GUID) {
	copy(g[:], d.Bytes(16))
	return g
}

// text is one of any length: a payload has its own limit.
func (d *dec) text() string { return d.Text(math.MaxInt) }

func (d *dec) texts() []string {
	n := d.Count()
	if n == 0 {
		return nil
	}
	out := make([]string, 0, min(n, 1024))
	for range n {
		out = append(out, d.text())
	}
	return out
}

func (d *dec) err() error {
	if d.Bad {
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
	m.uid = d.Max32()
	m.flags = mailstore.Flags(d.Byte()) & mailstore.AllFlags
	m.size = int64(d.Uvarint())
	m.date, m.saved = d.Varint(), d.Varint()
	m.guid = d.guid()
	m.order = d.Max32()
	m.uidl = d.text()
	m.keywords = d.texts()
	m.loc = loc{file: d.U32(), check: d.U32(), off: int64(d.Uvarint())}
	if m.uid == 0 || m.size < 0 || m.loc.off < 0 {
		d.Fail()
	}
	return m
}
