package fetch

import (
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
}

// part is a section, found.
type part struct {
	of     *section
	no     int // of the section
	found  bool
	where  message.Range // of the message
	isMade bool
	made   []byte // or the bytes themselves (HEADER.FIELDS)
}

// next goes on to another message.
func (o *one) next(it *view.Item) {
	o.Next(it.UID)
	o.item, o.texts, o.parts, o.buf = it, o.texts[:0], o.parts[:0], o.buf[:0]
}

func (p *part) size() int64 {
	if p.isMade {
		return int64(len(p.made))
	}
	return p.where.Len()
}

// prepare learns everything before the first byte of the response is written:
// an error can then still be told.
func (o *one) prepare() (facts mailstore.Facts, err error) {
	if o.atts&(attInternalDate|attSize) != 0 {
		facts, err = o.box.Facts(o.UID, mailstore.FactsWant{Size: o.atts&attSize != 0, InternalDate: o.atts&attInternalDate != 0})
		if err != nil {
			return facts, err
		}
	} else if o.atts&^(attUID|attFlags|attModSeq) != 0 {
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
	o.texts = append(o.texts, text{name, o.buf[start:]})
	return nil
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
		p.found, p.isMade, p.made = true, true, o.buf[start:]
	case o.fields[no] != nil && len(s.sec.Part) == 0:
		if o.buf, err = o.HeaderFields(o.buf, o.fields[no], s.sec.Fields, s.sec.Text == imapwire.HeaderFieldsNot); err != nil {
			return p, err
		}
		p.found, p.isMade, p.made = true, true, o.buf[start:]
		if s.field != "" {
			o.box.PutCached(o.UID, s.field, p.made)
		}
	default:
		if p, err = o.look(s); err != nil {
			return p, err
		}
	}
	p.of, p.no = s, no
	if p.found && s.partial.Length > 0 {
		o.cut(&p, s.partial)
	}
	return p, nil
}

// look finds a section in the message.
func (o *one) look(s *section) (p part, err error) {
	deep := len(s.sec.Part) > 0
	if !deep && s.sec.Text != imapwire.MIME {
		return o.lookAtTop(s)
	}
	tree, err := o.structure(deep)
	if err != nil {
		return p, err
	}
	p.where, p.found = tree.Section(partPath(s.sec), specs[s.sec.Text])
	if p.found && (s.sec.Text == imapwire.HeaderFields || s.sec.Text == imapwire.HeaderFieldsNot) {
		msg, err := o.Open()
		if err != nil {
			return p, err
		}
		p.made, err = message.HeaderFields(msg, p.where, s.sec.Fields, s.sec.Text == imapwire.HeaderFieldsNot, o.Limits)
		if err != nil {
			return p, err
		}
		p.isMade = true
	}
	return p, nil
}

// lookAtTop finds the message itself, its header or its text: no structure is
// needed for them.
func (o *one) lookAtTop(s *section) (p part, err error) {
	msg, err := o.Open()
	if err != nil {
		return p, err
	}
	p.found, p.where = true, message.Range{Start: 0, End: msg.Size()}
	if s.sec.Text == imapwire.WholePart {
		return p, nil
	}
	end, err := o.HeaderEnd()
	if err != nil {
		return p, err
	}
	if s.sec.Text == imapwire.Header {
		p.where.End = end
	} else {
		p.where.Start = min(end, p.where.End)
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

// cut keeps what <origin.count> names (RFC 3501 §6.4.5).
func (o *one) cut(p *part, partial imapwire.Partial) {
	r := p.where
	if p.isMade {
		r = message.Range{Start: 0, End: int64(len(p.made))}
	}
	r = r.Partial(int64(partial.Offset), int64(partial.Length))
	if p.isMade {
		p.made = p.made[r.Start:r.End]
		return
	}
	p.where = r
}
