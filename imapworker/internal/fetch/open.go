package fetch

import (
	"bytes"

	"rookery/imapworker/internal/opened"
	"rookery/imapworker/internal/view"
	"rookery/internal/errkind"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/message"
)

// one is one message while it is fetched. Its memory is used again for the next.
type one struct {
	*run
	opened.Message
	item  *view.Item
	texts []text
	parts []part
	buf   []byte // holds texts and parts that were made

	preview shownPreview
	sizes   []byte // the fact binary.sizes; nil: not known yet
}

// part is a section, found.
type part struct {
	of *section
	no int // of the section
	opened.Section
	coded coded // in place of its bytes, for BINARY of a large part
	nul   bool  // BINARY: there is a NUL in it
}

// next goes on to another message.
func (o *one) next(it *view.Item) {
	o.Next(it.UID)
	o.item, o.texts, o.parts, o.buf, o.sizes = it, o.texts[:0], o.parts[:0], o.buf[:0], nil
}

// size is the number of bytes that a section's response has.
func (p *part) size() int64 {
	if p.coded.part != nil {
		return p.coded.size
	}
	return p.Len()
}

// attsFacts are the items that mailstore.Facts has.
const attsFacts = attInternalDate | attSize | attSaveDate | attGUID

// prepare learns everything before the first byte of the response is written:
// an error can then still be told.
func (o *one) prepare() (facts mailstore.Facts, err error) {
	if o.atts&attsFacts != 0 {
		facts, err = o.box.Facts(o.UID, mailstore.FactsWant{Size: o.atts&attSize != 0, InternalDate: o.atts&attInternalDate != 0,
			SaveDate: o.atts&attSaveDate != 0, GUID: o.atts&attGUID != 0})
		if err != nil {
			return facts, err
		}
	} else if o.atts&^attsIndex != 0 || o.sized {
		if o.item.Gone {
			return facts, errkind.New("fetch", errkind.Expunged, nil)
		}
	}
	for i := range cacheFields {
		if f := &cacheFields[i]; o.atts&f.att != 0 {
			if err := o.prepareText(f.name, f.field, f.build); err != nil {
				return facts, err
			}
		}
	}
	if err := o.prepareMore(); err != nil {
		return facts, err
	}
	for i := range o.sections {
		p, err := o.find(i)
		if err != nil {
			return facts, err
		}
		o.parts = append(o.parts, p)
	}
	return facts, nil
}

func (o *one) prepareText(name, field string, build func([]byte, *message.Part, message.Limits) []byte) error {
	start := len(o.buf)
	var ok bool
	if o.buf, ok = o.Fact(o.buf, field); !ok {
		// Where the structure is wanted too it is mostly missing as well: one parse for both.
		tree, err := o.structure(field != "imap.envelope" || o.atts&(attBody|attStructure) != 0)
		if err != nil {
			return err
		}
		o.buf = build(o.buf, tree, o.Limits)
		o.box.PutCached(o.UID, field, o.buf[start:])
	}
	if err := o.asRev2(field, start); err != nil {
		return err
	}
	o.texts = append(o.texts, text{name, o.buf[start:]})
	return nil
}

// asRev2 makes a structure anew for a client of IMAP4rev2 if it may have something
// that only such a client is told, a message/global or a parameter of RFC 2231's forms:
// what is cached is for all others.
func (o *one) asRev2(field string, start int) error {
	if !o.ctx.Enc.Options.Rev2 || field == "imap.envelope" {
		return nil
	}
	text := o.buf[start:]
	if bytes.IndexByte(text, '*') < 0 && !bytes.Contains(bytes.ToLower(text), []byte(`"message" "global"`)) {
		return nil
	}
	tree, err := o.Tree()
	if err == nil {
		o.buf = message.AppendBodyRev2(o.buf[:start], tree, field == "imap.bodystructure", o.Limits)
	}
	return err
}

// find gives the bytes of a section.
func (o *one) find(no int) (p part, err error) {
	s := &o.sections[no]
	start := len(o.buf)
	cached := false
	if s.field != "" && !o.item.Gone {
		o.buf, cached = o.Fact(o.buf, s.field)
	}
	switch {
	case cached:
		p.Found, p.IsMade, p.Made = true, true, o.buf[start:]
	case s.kind != asItIs:
		p.of = s
		err := o.findBinary(&p)
		p.no = no
		return p, err
	case o.fields[no] != nil && len(s.sec.Part) == 0:
		if o.buf, err = o.HeaderFields(o.buf, o.fields[no], s.sec.Fields, s.sec.Text == imapwire.HeaderFieldsNot); err != nil {
			return p, err
		}
		p.Found, p.IsMade, p.Made = true, true, o.buf[start:]
		if s.field != "" {
			o.box.PutCached(o.UID, s.field, p.Made)
		}
	default:
		if p.Section, err = o.Section(&s.sec); err != nil {
			return p, err
		}
	}
	p.of, p.no = s, no
	if p.Found && s.partial.Length > 0 {
		p.Cut(int64(s.partial.Offset), int64(s.partial.Length))
	}
	return p, nil
}

// structure gives the whole tree, or where deep is false at least the header.
func (o *one) structure(deep bool) (*message.Part, error) {
	if deep {
		return o.Tree()
	}
	return o.Head()
}
