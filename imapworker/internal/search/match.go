package search

import (
	"encoding/hex"
	"strings"
	"time"

	"rookery/imapworker/internal/view"
	"rookery/internal/imapname"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/message"
	"rookery/internal/objectid"
)

// matches asks a key about a message.
func (r *run) matches(n *node, s *subject) (bool, error) {
	switch n.kind {
	case kAll:
		return true, nil
	case kAnd:
		for _, sub := range n.sub {
			if ok, err := r.matches(sub, s); !ok || err != nil {
				return false, err
			}
		}
		return true, nil
	case kOr:
		for _, sub := range n.sub {
			if ok, err := r.matches(sub, s); ok || err != nil {
				return ok, err
			}
		}
		return false, nil
	case kNot:
		ok, err := r.matches(n.sub[0], s)
		return !ok && err == nil, err
	case kFlag:
		return s.item.Flags&n.flag != 0, nil
	case kKeyword:
		return s.item.Keywords != 0 && view.HasKeyword(r.ctx.View.KeywordsOf(s.item), n.name), nil
	case kRecent:
		return r.ctx.View.Recent(s.UID), nil
	case kSeqs:
		return n.nums.Contains(s.item.Seq), nil
	case kUIDs, kFixed:
		return n.nums.Contains(s.UID), nil
	case kMailbox:
		return isCalled(r.box.Info(), n.name), nil
	case kModSeq:
		return r.ctx.View.ModSeqOf(s.item.Entry) >= n.modSeq, nil
	}
	return r.looks(n, s)
}

// looks asks the keys that must see the message.
func (r *run) looks(n *node, s *subject) (bool, error) {
	switch n.kind {
	case kInternal, kAge, kSaved, kSize, kGUID:
		if err := r.learn(s, n.kind == kSize); err != nil {
			return false, err
		}
		return n.compareFacts(s.facts, r.ctx.Now), nil
	case kEmail, kThread:
		return r.isObject(n, s)
	case kSent:
		text, err := r.field(n, s)
		if err != nil {
			return false, err
		}
		date, ok := message.HeaderDate(text, r.cfg.Limits)
		return ok && n.compareDate(imapwire.DateOf(date)), nil
	case kHeader:
		text, err := r.field(n, s)
		return err == nil && n.key.InHeaderBytes(text, n.name, r.cfg.Limits), err
	}
	if n.key.Empty() {
		return true, nil
	}
	return r.inBody(n, s)
}

// field gives the header of a message with no fields but the one that a key
// asks of. What had to be read is kept for the next time. The text is valid until
// the next message.
func (r *run) field(n *node, s *subject) (text []byte, err error) {
	start := len(s.text) // keys before may have theirs there
	cached := false
	if n.fact != "" && !s.item.Gone {
		if n.wider != "" {
			s.text, cached = s.Fact(s.text, n.wider)
		}
		if !cached {
			s.text, cached = s.Fact(s.text, n.fact)
		}
	}
	if cached {
		return s.text[start:], nil
	}
	if s.text, err = s.HeaderFields(s.text, n.fields, []string{n.field()}, false); err != nil {
		return nil, err
	}
	if n.fact != "" {
		r.box.PutCached(s.UID, n.fact, s.text[start:])
	}
	return s.text[start:], nil
}

// inBody asks a key of the body, or of the whole text.
func (r *run) inBody(n *node, s *subject) (bool, error) {
	tree, err := s.Tree()
	if err != nil {
		return false, err
	}
	msg, err := s.Open() // the structure may have come out of the cache
	if err != nil {
		return false, err
	}
	b := mailstore.Bytes(msg)
	switch {
	case b != nil && n.kind == kText:
		return n.key.InTextBytes(b, tree, r.cfg.Limits)
	case b != nil:
		return n.key.InBodyBytes(b, tree, r.cfg.Limits)
	case n.kind == kText:
		return n.key.InText(msg, tree, r.cfg.Limits)
	}
	return n.key.InBody(msg, tree, r.cfg.Limits)
}

// isObject asks for the message's identifier (RFC 8474 §6: "exactly").
func (r *run) isObject(n *node, s *subject) (ok bool, err error) {
	start := len(s.text)
	if len(n.name) != objectid.Len {
		return false, nil // no message has it
	}
	if n.kind == kEmail {
		s.text, err = s.AppendEmailID(s.text)
		ok = err == nil
	} else {
		s.text, ok, err = s.AppendThreadID(s.text)
	}
	return ok && string(s.text[start:]) == n.name, err
}

// isCalled reports whether a mailbox has a name, as its owner's client writes it.
func isCalled(info mailstore.Info, name string) bool {
	if sep := info.Namespace.Separator; sep != 0 {
		name = strings.ReplaceAll(name, string(rune(sep)), imapname.Separator)
	}
	own := imapname.Name(info.Name)
	return name == string(own) || name == own.Wire() || own == imapname.Inbox && strings.EqualFold(name, imapname.Inbox)
}

// learn asks for a message's facts: once for all that the keys want, and once more
// for the size, which may cost a look at the message.
func (r *run) learn(s *subject, size bool) error {
	want := r.needs
	want.Size = size || s.have.Size
	if want == s.have {
		return nil
	}
	facts, err := r.box.Facts(s.UID, want)
	if err == nil {
		s.facts, s.have = facts, want
	}
	return err
}

func (n *node) compareFacts(f mailstore.Facts, now time.Time) bool {
	switch n.kind {
	case kSize:
		if n.order == before {
			return f.Size < int64(n.number)
		}
		return f.Size > int64(n.number)
	case kAge: // RFC 5032 §2: "exact matching, to the resolution of a second"
		target := now.Unix() - int64(n.number)
		if n.order == before {
			return f.InternalDate.Unix() <= target
		}
		return f.InternalDate.Unix() >= target
	case kGUID:
		return strings.EqualFold(hex.EncodeToString(f.GUID[:]), n.name)
	case kSaved:
		// RFC 8514 §4.3: without a save date "MUST use the internal date attribute
		// instead"
		if !f.SaveDate.IsZero() {
			return n.compareDate(imapwire.DateOf(f.SaveDate))
		}
	}
	return n.compareDate(imapwire.DateOf(f.InternalDate))
}

// compareDate compares days as they were written: no zone counts (RFC 3501 §6.4.4).
func (n *node) compareDate(d imapwire.Date) bool {
	c := d.Compare(n.date)
	switch n.order {
	case before:
		return c < 0
	case on:
		return c == 0
	}
	return c >= 0
}
