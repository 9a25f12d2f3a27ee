package session

import (
	"strings"

	"rookery/imapworker/internal/imapurl"
	"rookery/imapworker/internal/opened"
	"rookery/imapworker/internal/view"
	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/message"
)

// piece is what of an APPEND stands between two literals that are streamed, or
// between one and the command's end: parsed, and not yet carried out.
type piece struct {
	steps []appendStep
	// inList says, before parse and after it, whether the parentheses of CATENATE are
	// open.
	inList bool
	// inUTF8 says the same of the parenthesis of UTF8.
	inUTF8 bool
	// waits says that the literal behind the piece is a URL: once it is there, the
	// whole piece is parsed again.
	waits bool
}

// appendStep is one of them.
type appendStep struct {
	do   stepKind
	meta mailstore.AppendMeta // of beginLiteral and beginList
	url  string               // of addURL
}

type stepKind uint8

const (
	beginLiteral stepKind = iota // a message that is the literal behind the piece
	beginList                    // a message that CATENATE makes
	addURL                       // a part of it that a URL names
	addText                      // a part of it that is the literal behind the piece
	endList                      // the message of CATENATE is complete
	endUTF8                      // the parenthesis of UTF8 is closed
)

// parse reads a piece to its end. lit is the literal behind it, nil at the
// command's end; with one no second message may begin (REPLACE).
func (pc *piece) parse(p *parser, lit *imapwire.Announced, one bool) bool {
	if pc.inUTF8 {
		if !p.WantByte(')') {
			return false
		}
		pc.inUTF8 = false
		pc.steps = append(pc.steps, appendStep{do: endUTF8})
	}
	if pc.inList && !pc.list(p, lit, false) {
		return false
	}
	for !pc.inList && !pc.complete(p, lit) {
		if one && (len(pc.steps) > 0 || p.s.append != nil) {
			return p.Fail("end of command") // RFC 8508 §4.7: one message
		}
		if !pc.message(p, lit) {
			return false
		}
	}
	return p.Err() == nil
}

// complete reports whether nothing of the piece is left.
func (pc *piece) complete(p *parser, lit *imapwire.Announced) bool {
	if !p.AtEnd() || len(pc.steps) == 0 {
		return false
	}
	last := pc.steps[len(pc.steps)-1].do
	return lit == nil && (last == endList || last == endUTF8 && !pc.inUTF8) || lit != nil && last == beginLiteral
}

// message reads append-message up to its literal, or up to the end of its list or
// of the piece.
func (pc *piece) message(p *parser, lit *imapwire.Announced) bool {
	var meta mailstore.AppendMeta
	if !p.s.parseMessageHead(p.Decoder, &meta, &p.nameErr) {
		return false
	}
	switch {
	case p.AtEnd() && lit != nil:
		pc.steps = append(pc.steps, appendStep{do: beginLiteral, meta: meta})
		return true
	case p.Keyword("UTF8"):
		return pc.utf8(p, lit, appendStep{do: beginLiteral, meta: meta})
	case !p.Keyword("CATENATE"):
		return p.Fail("a message literal or CATENATE")
	}
	pc.steps = append(pc.steps, appendStep{do: beginList, meta: meta})
	return p.WantSP() && p.WantByte('(') && pc.list(p, lit, true)
}

// utf8 reads what stands between UTF8 and its literal.
//
//	utf8-literal = "UTF8" SP "(" literal8 ")"               RFC 6855 §4
//
// RFC 9755 has it no more: a plain literal does. Clients of the older text send it.
func (pc *piece) utf8(p *parser, lit *imapwire.Announced, step appendStep) bool {
	if !p.WantSP() || !p.WantByte('(') {
		return false
	}
	if !p.AtEnd() || lit == nil || !lit.Binary {
		return p.Fail("a literal8")
	}
	pc.inUTF8 = true
	pc.steps = append(pc.steps, step)
	return true
}

// parseMessageHead reads what stands between the mailbox, or the message
// before, and the message. cannot is parseFlags's.
func (s *Session) parseMessageHead(d *imapwire.Decoder, meta *mailstore.AppendMeta, cannot *error) bool {
	if !d.WantSP() {
		return false
	}
	if d.Peek() == '(' {
		var names []string
		if !d.WantFlagList(&names) || !s.parseFlags(d, names, &meta.Flags, &meta.Keywords, cannot) || !d.WantSP() {
			return false
		}
	}
	if d.Peek() == '"' {
		return d.WantDateTime(&meta.InternalDate) && d.WantSP()
	}
	return true
}

// list reads parts of CATENATE, from the first or from behind a literal, up to the
// next literal or the end of the list.
//
//	cat-part     = text-literal / url / utf8-literal        RFC 4469 §5, RFC 6855 §4
//	text-literal = "TEXT" SP literal
//	url          = "URL" SP astring
func (pc *piece) list(p *parser, lit *imapwire.Announced, first bool) bool {
	pc.inList = true
	for ; ; first = false {
		if !first {
			if p.Byte(')') {
				pc.inList = false
				pc.steps = append(pc.steps, appendStep{do: endList})
				return true
			}
			if !p.WantSP() {
				return false
			}
		}
		switch {
		case p.Keyword("URL"):
			var url string
			if !p.WantSP() {
				return false
			}
			if p.AtEnd() && lit != nil && !lit.Binary {
				pc.waits = true
				return true
			}
			if !p.WantAstring(&url) {
				return false
			}
			pc.steps = append(pc.steps, appendStep{do: addURL, url: url})
		case p.Keyword("UTF8"):
			return pc.utf8(p, lit, appendStep{do: addText})
		case !p.WantKeyword("TEXT") || !p.WantSP():
			return false
		case !p.AtEnd() || lit == nil || lit.Binary:
			return p.Fail("a literal") // no literal8 (RFC 4469 §5)
		default:
			pc.steps = append(pc.steps, appendStep{do: addText})
			return true
		}
	}
}

// carryOut does a piece. lit is the literal behind it.
func (s *Session) carryOut(pc *piece, lit *imapwire.Announced) (refused view.Reply) {
	a := s.append
	a.inUTF8 = pc.inUTF8
	for i := range pc.steps {
		step := &pc.steps[i]
		if step.do == beginLiteral {
			if lit.Size == 0 {
				return emptyMessage()
			}
			if refused := s.tooBig(lit.Size); refused.Cond != "" || lit.Binary && lit.Size > maxBinary {
				return view.No("TOOBIG", "Message is too big.")
			}
		}
		if refused := s.appendFailure(); refused.Cond != "" {
			return refused // the bytes before have failed already: no need to send more
		}
		switch step.do {
		case beginLiteral:
			a.binary = lit.Binary
			refused = s.beginMessage(step.meta, lit.Size)
		case beginList:
			a.inList, a.binary = true, false
			refused = s.beginMessage(step.meta, -1)
		case addText:
			a.binary = lit.Binary
			a.size += lit.Size
			refused = s.tooBig(a.size)
		case addURL:
			refused = s.addURL(step.url)
		case endList:
			if a.inList = false; a.size == 0 {
				refused = emptyMessage()
			}
			a.to = nil
		}
		if refused.Cond != "" {
			return refused
		}
	}
	return view.Reply{}
}

// addURL adds the octets that a URL names to the present message, as they are in
// the message that they come from (RFC 4469 §3). \Seen is not set.
func (s *Session) addURL(text string) (refused view.Reply) {
	bad := view.Reply{Cond: imapwire.NO, Code: imapwire.Code{Name: "BADURL", Args: imapurl.Shown(text)}, Text: "URL names nothing that can be had."}
	u, err := imapurl.Parse(text)
	if err != nil {
		return bad
	}
	box, done, err := s.openURL(&u)
	if err == nil {
		defer done()
		if u.UIDValidity != 0 && u.UIDValidity != box.Info().UIDValidity {
			return bad
		}
		m := opened.Message{Box: box, UID: u.UID, Parser: &message.Parser{}, Limits: message.DefaultLimits()}
		defer m.Close()
		var part opened.Section
		if part, err = m.Section(&u.Section); err == nil && !part.Found {
			return bad
		} else if err == nil {
			part.Cut(u.Offset, u.Length)
			s.append.size += part.Len()
			if refused := s.tooBig(s.append.size); refused.Cond != "" {
				return refused
			}
			err = s.addPart(&m, &part)
		}
	}
	if err != nil {
		switch errkind.Of(err) {
		case errkind.NotFound, errkind.Invalid, errkind.NoPermission, errkind.Expunged:
			return bad // one answer for what is not there and what may not be seen
		}
		return s.refusal(err)
	}
	return s.appendFailure()
}

// openURL opens the mailbox of a URL. done gives it up.
func (s *Session) openURL(u *imapurl.URL) (box mailstore.Mailbox, done func(), err error) {
	if u.Mailbox == "" {
		if s.view == nil {
			return nil, nil, errkind.Newf("catenate", errkind.NotFound, "no mailbox is selected")
		}
		box, done = s.view.Box(), func() {}
	} else {
		dialect := s.names
		dialect.UTF8 = true // RFC 5092 §8: names are UTF-8 in URLs
		name, err := dialect.Parse(s.baseOf(u)+u.Mailbox, false)
		if err == nil {
			err = s.inNamespace(name)
		}
		if err != nil {
			return nil, nil, errkind.New("catenate", errkind.Invalid, err)
		}
		if box, err = s.cfg.Store.Open(string(name)); err != nil {
			return nil, nil, err
		}
		done = func() {
			if err := box.Close(); err != nil {
				s.cfg.Log.Warn("closing mailbox: " + err.Error())
			}
		}
	}
	if _, err := box.Sync(); err != nil {
		done()
		return nil, nil, err
	}
	return box, done, nil
}

// baseOf gives what stands before the name in a URL: while a mailbox is selected "the base
// URL is considered "imap://user@server/mailbox"" (RFC 4469 §3), whose last level is
// replaced.
func (s *Session) baseOf(u *imapurl.URL) string {
	if !u.Relative || s.view == nil || s.separator() != imapname.Separator {
		return ""
	}
	dialect := s.names
	dialect.UTF8 = true
	shown, _ := dialect.Show(imapname.Name(s.view.Box().Info().Name))
	return shown[:strings.LastIndex(shown, imapname.Separator)+1]
}

// addPart writes a section's octets to the present message. The store's errors
// become those of the APPEND.
func (s *Session) addPart(m *opened.Message, part *opened.Section) error {
	a := s.append
	write := func(p []byte) error {
		a.header.see(p)
		if a.err == nil {
			_, a.err = a.to.Write(p)
		}
		return a.err
	}
	var err error
	if part.IsMade {
		err = write(part.Made)
	} else {
		err = m.Each(part.Where, write)
	}
	if a.err != nil {
		return nil // appendFailure tells it
	}
	return err
}
