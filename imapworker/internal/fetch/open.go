package fetch

import (
	"rookery/imapworker/internal/opened"
	"rookery/internal/errkind"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/message"
)

// one is one message while it is fetched.
type one struct {
	*run
	opened.Message
	texts []text
	parts []part
}

// part is a section, found.
type part struct {
	of     *section
	found  bool
	where  message.Range // of the message
	isMade bool
	made   []byte // or the bytes themselves (HEADER.FIELDS)
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
	} else if o.atts&^(attUID|attFlags) != 0 {
		if _, _, gone := o.ctx.View.Entry(o.UID); gone {
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
		p, err := o.find(&o.sections[i])
		if err != nil {
			return facts, err
		}
		o.parts = append(o.parts, p)
	}
	return facts, nil
}

func (o *one) prepareText(name, field string, build func([]byte, *message.Part, message.Limits) []byte) error {
	value, ok := o.box.Cached(o.UID, field)
	if !ok {
		tree, err := o.structure(field != "imap.envelope")
		if err != nil {
			return err
		}
		value = build(nil, tree, o.Limits)
		o.box.PutCached(o.UID, field, value)
	}
	o.texts = append(o.texts, text{name, value})
	return nil
}

// find gives the bytes of a section.
func (o *one) find(s *section) (part, error) {
	if s.field == "" {
		return o.look(s)
	}
	if _, _, gone := o.ctx.View.Entry(o.UID); !gone {
		if made, ok := o.box.Cached(o.UID, s.field); ok {
			p := part{of: s, found: true, isMade: true, made: made}
			if s.partial.Length > 0 {
				o.cut(&p, s.partial)
			}
			return p, nil
		}
	}
	return o.look(s)
}

// look finds a section in the message.
func (o *one) look(s *section) (part, error) {
	p := part{of: s}
	deep := len(s.sec.Part) > 0
	if s.sec.Text == imapwire.WholePart && !deep {
		msg, err := o.Open()
		if err != nil {
			return p, err
		}
		p.found, p.where = true, message.Range{Start: 0, End: msg.Size()}
	} else {
		tree, err := o.structure(deep)
		if err != nil {
			return p, err
		}
		p.where, p.found = tree.Section(partPath(s.sec), specs[s.sec.Text])
	}
	if p.found && (s.sec.Text == imapwire.HeaderFields || s.sec.Text == imapwire.HeaderFieldsNot) {
		msg, err := o.Open()
		if err != nil {
			return p, err
		}
		made, err := message.HeaderFields(msg, p.where, s.sec.Fields, s.sec.Text == imapwire.HeaderFieldsNot, o.Limits)
		if err != nil {
			return p, err
		}
		p.made, p.isMade = made, true
		if s.field != "" {
			o.box.PutCached(o.UID, s.field, made)
		}
	}
	if p.found && s.partial.Length > 0 {
		o.cut(&p, s.partial)
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
