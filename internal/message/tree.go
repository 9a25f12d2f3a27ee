package message

import (
	"encoding/binary"
	"strings"

	"rookery/internal/errkind"
)

// treeVersion is the first byte of an encoded tree. A cache that holds another
// version throws the entry away.
const treeVersion = 1

// Flags of an encoded part.
const (
	flagOpaque = 1 << iota
	flagEnvelope
	flagChildren
	flagExtra // any of the fields that most parts lack
	allFlags  = flagOpaque | flagEnvelope | flagChildren | flagExtra
)

// AppendTree appends a tree in a compact form for caches: a version byte, then
// the parts in order, numbers as varints relative to what came before.
func AppendTree(dst []byte, root *Part) []byte {
	dst = append(dst, treeVersion)
	return appendPart(dst, root, 0)
}

// appendPart recurses as deep as the tree.
func appendPart(dst []byte, p *Part, base int64) []byte {
	flags := byte(0)
	if p.Opaque {
		flags |= flagOpaque
	}
	if p.Envelope != nil {
		flags |= flagEnvelope
	}
	if len(p.Children) > 0 {
		flags |= flagChildren
	}
	extra := [...]string{p.ID, p.Description, p.MD5, p.Disposition, p.Location}
	if strings.Join(extra[:], "") != "" || len(p.DispositionParams) > 0 || len(p.Language) > 0 {
		flags |= flagExtra
	}
	dst = append(dst, flags)
	for _, n := range [...]int64{p.HeaderStart - base, p.BodyStart - p.HeaderStart, p.BodyEnd - p.BodyStart, p.HeaderLines, p.BodyLines} {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	dst = appendStrings(dst, p.Type, p.Subtype, p.Encoding)
	dst = appendParams(dst, p.Params)
	if flags&flagExtra != 0 {
		dst = appendStrings(dst, extra[:]...)
		dst = appendParams(dst, p.DispositionParams)
		dst = binary.AppendUvarint(dst, uint64(len(p.Language)))
		dst = appendStrings(dst, p.Language...)
	}
	if e := p.Envelope; e != nil {
		dst = append(dst, byte(e.Present))
		dst = appendStrings(dst, e.Date, e.Subject, e.From, e.Sender, e.ReplyTo, e.To, e.Cc, e.Bcc, e.InReplyTo, e.MessageID)
	}
	if flags&flagChildren != 0 {
		dst = binary.AppendUvarint(dst, uint64(len(p.Children)))
		for _, child := range p.Children {
			dst = appendPart(dst, child, p.BodyStart)
		}
	}
	return dst
}

func appendStrings(dst []byte, list ...string) []byte {
	for _, s := range list {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
		dst = append(dst, s...)
	}
	return dst
}

func appendParams(dst []byte, list []Param) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for _, p := range list {
		dst = appendStrings(dst, p.Name, p.Value)
	}
	return dst
}

// DecodeTree reads what AppendTree wrote. It is strict: anything else, what goes
// beyond the limits, or offsets that cannot be is an error of kind Corrupt.
func DecodeTree(b []byte, lim Limits) (*Part, error) {
	lim = lim.filled()
	// The parser adds at most one part without bytes to each multipart.
	d := treeDecoder{b: b, parts: 2*lim.Parts + 1, params: max(lim.Params, 1)}
	if d.byte() != treeVersion {
		d.fail("unknown version")
	}
	root := d.part(lim.Depth+1, 0, maxOffset)
	if len(d.b) > 0 {
		d.fail("bytes follow it")
	}
	if d.bad == "" && root.Envelope == nil {
		d.fail("the root has no envelope")
	}
	if d.bad != "" {
		return nil, errkind.Newf("decode MIME tree", errkind.Corrupt, d.bad)
	}
	return root, nil
}

const maxOffset = 1 << 62

type treeDecoder struct {
	b             []byte
	parts, params int // how many there may be: in all, in one list
	bad           string
}

func (d *treeDecoder) fail(why string) {
	if d.bad == "" {
		d.bad = why
	}
	d.b = nil
}

func (d *treeDecoder) byte() byte {
	if len(d.b) == 0 {
		d.fail("it is cut")
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *treeDecoder) number(most int64) int64 {
	n, used := binary.Uvarint(d.b)
	if used <= 0 || n > uint64(most) || (used > 1 && d.b[used-1] == 0) {
		d.fail("a number is wrong")
		return 0
	}
	d.b = d.b[used:]
	return int64(n)
}

func (d *treeDecoder) strings(to ...*string) {
	for _, s := range to {
		n := d.number(int64(len(d.b)))
		if n > int64(len(d.b)) {
			d.fail("a string is cut")
			return
		}
		*s = string(d.b[:n])
		d.b = d.b[n:]
	}
}

func (d *treeDecoder) paramList() []Param {
	n := d.number(int64(d.params))
	var list []Param
	for ; n > 0 && d.bad == ""; n-- {
		var p Param
		d.strings(&p.Name, &p.Value)
		list = append(list, p)
	}
	return list
}

// part reads a part that lies within [base, limit).
func (d *treeDecoder) part(depth int, base, limit int64) *Part {
	p := &Part{}
	if d.parts--; depth == 0 || d.parts < 0 {
		d.fail("too many parts")
		return p
	}
	flags := d.byte()
	if flags&^byte(allFlags) != 0 {
		d.fail("unknown flags")
	}
	p.Opaque = flags&flagOpaque != 0
	p.HeaderStart = base + d.number(limit-base)
	p.BodyStart = p.HeaderStart + d.number(limit-p.HeaderStart)
	p.BodyEnd = p.BodyStart + d.number(limit-p.BodyStart)
	p.HeaderLines = d.number(p.BodyStart - p.HeaderStart)
	p.BodyLines = d.number(p.BodyEnd - p.BodyStart)
	d.strings(&p.Type, &p.Subtype, &p.Encoding)
	if p.Type == "" || p.Subtype == "" {
		d.fail("a part has no type")
	}
	p.Params = d.paramList()
	if flags&flagExtra != 0 {
		d.extra(p)
	}
	if flags&flagEnvelope != 0 {
		p.Envelope = d.envelope()
	}
	if flags&flagChildren != 0 {
		d.children(p, depth)
	}
	return p
}

func (d *treeDecoder) extra(p *Part) {
	d.strings(&p.ID, &p.Description, &p.MD5, &p.Disposition, &p.Location)
	p.DispositionParams = d.paramList()
	for n := d.number(int64(d.params)); n > 0 && d.bad == ""; n-- {
		var tag string
		d.strings(&tag)
		p.Language = append(p.Language, tag)
	}
	if p.ID+p.Description+p.MD5+p.Disposition+p.Location == "" && p.DispositionParams == nil && p.Language == nil {
		d.fail("empty extra fields")
	}
}

func (d *treeDecoder) envelope() *Envelope {
	e := &Envelope{Present: EnvelopeField(d.byte())}
	if e.Present&^allEnvelopeFields != 0 {
		d.fail("unknown envelope fields")
	}
	d.strings(&e.Date, &e.Subject, &e.From, &e.Sender, &e.ReplyTo, &e.To, &e.Cc, &e.Bcc, &e.InReplyTo, &e.MessageID)
	return e
}

// children reads the parts below p, which follow each other within its body.
func (d *treeDecoder) children(p *Part, depth int) {
	n := d.number(int64(max(d.parts, 0)))
	message := strings.EqualFold(p.Type, "message")
	if n == 0 || p.Opaque || !isContainer(p.Type, p.Subtype, true) || (message && n != 1) {
		d.fail("parts where none can be")
		return
	}
	from := p.BodyStart
	for ; n > 0 && d.bad == ""; n-- {
		child := d.part(depth-1, p.BodyStart, p.BodyEnd)
		if child.HeaderStart < from || (child.Envelope != nil) != message {
			d.fail("parts overlap")
		}
		from = child.BodyEnd
		p.Children = append(p.Children, child)
	}
}
