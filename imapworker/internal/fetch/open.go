package fetch

import (
	"rookery/internal/errkind"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/message"
)

// opened is one message while it is fetched: opened only when needed, and as
// little of it read as will do.
type opened struct {
	*run
	uid   uint32
	msg   mailstore.Message
	head  *message.Part // its header alone
	tree  *message.Part // its whole structure
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
func (o *opened) prepare() (facts mailstore.Facts, err error) {
	if o.atts&(attInternalDate|attSize) != 0 {
		facts, err = o.box.Facts(o.uid, mailstore.FactsWant{Size: o.atts&attSize != 0, InternalDate: o.atts&attInternalDate != 0})
		if err != nil {
			return facts, err
		}
	} else if _, _, gone := o.ctx.View.Entry(o.uid); gone && o.atts&^(attUID|attFlags) != 0 {
		return facts, errkind.New("fetch", errkind.Expunged, nil)
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

func (o *opened) prepareText(name, field string, build func([]byte, *message.Part, message.Limits) []byte) error {
	value, ok := o.box.Cached(o.uid, field)
	if !ok {
		tree, err := o.needTree(field != "imap.envelope")
		if err != nil {
			return err
		}
		value = build(nil, tree, o.cfg.Limits)
		o.box.PutCached(o.uid, field, value)
	}
	o.texts = append(o.texts, text{name, value})
	return nil
}

// find gives the bytes of a section.
func (o *opened) find(s *section) (part, error) {
	p := part{of: s}
	deep := len(s.sec.Part) > 0
	if s.sec.Text == imapwire.WholePart && !deep {
		if err := o.open(); err != nil {
			return p, err
		}
		p.found, p.where = true, message.Range{Start: 0, End: o.msg.Size()}
	} else {
		tree, err := o.needTree(deep)
		if err != nil {
			return p, err
		}
		if err := o.open(); err != nil { // the tree may have come out of the cache
			return p, err
		}
		p.where, p.found = tree.Section(partPath(s.sec), specs[s.sec.Text])
	}
	if p.found && (s.sec.Text == imapwire.HeaderFields || s.sec.Text == imapwire.HeaderFieldsNot) {
		made, err := message.HeaderFields(o.msg, p.where, s.sec.Fields, s.sec.Text == imapwire.HeaderFieldsNot, o.cfg.Limits)
		if err != nil {
			return p, err
		}
		p.made, p.isMade = made, true
	}
	if p.found && s.partial.Length > 0 {
		o.cut(&p, s.partial)
	}
	return p, nil
}

// cut keeps what <origin.count> names (RFC 3501 §6.4.5).
func (o *opened) cut(p *part, partial imapwire.Partial) {
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

func (o *opened) open() error {
	if o.msg != nil {
		return nil
	}
	msg, err := o.box.Message(o.uid)
	if err != nil {
		return err
	}
	o.msg = msg
	return nil
}

// treeField is the whole structure in the mailbox's cache.
const treeField = "mime.tree"

// needTree gives the message's structure; where deep is false its header will do.
func (o *opened) needTree(deep bool) (*message.Part, error) {
	if o.tree != nil {
		return o.tree, nil
	}
	if !deep && o.head != nil {
		return o.head, nil
	}
	if deep {
		if b, ok := o.box.Cached(o.uid, treeField); ok {
			if tree, err := message.DecodeTree(b, o.cfg.Limits); err == nil {
				o.tree = tree
				return tree, nil
			}
		}
	}
	if err := o.open(); err != nil {
		return nil, err
	}
	var err error
	if !deep {
		o.head, err = o.parser.ParseHeader(o.msg, o.msg.Size(), o.cfg.Limits)
		return o.head, err
	}
	if o.tree, err = o.parser.Parse(o.msg, o.msg.Size(), o.cfg.Limits); err != nil {
		o.tree = nil
		return nil, err
	}
	o.box.PutCached(o.uid, treeField, message.AppendTree(nil, o.tree))
	return o.tree, nil
}

func (o *opened) close() {
	if o.msg != nil {
		o.msg.Close()
	}
}
