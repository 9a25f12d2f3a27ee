package session

import (
	"bytes"
	"io"
	"strconv"
	"time"

	"rookery/imapworker/internal/view"
	"rookery/internal/imapname"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// append         = "APPEND" SP mailbox 1*append-message             RFC 3502 §6.3.11
// append-message = [SP flag-list] [SP date-time] SP literal
//
// A message is not kept in memory: when its literal is announced, what stands
// before it is parsed, the mailbox is looked up and the quota is asked, and only
// then the client is told to go on. Its bytes go to the store as they come.
type appending struct {
	appender mailstore.Appender
	to       io.Writer
	binary   bool  // the present literal is a literal8 and may hold NUL
	nul      bool  // a NUL came where none may be
	err      error // the store's first; the rest of the bytes is dropped
	count    int
}

// futureLimit is how far in the future an INTERNALDATE may lie: clients with a
// wrong clock would else put mail where no one finds it.
const futureLimit = 2 * time.Hour

// parseAppend is for an APPEND that announced no message: a BAD.
func parseAppend(p *parser) (request, bool) {
	var name imapname.Name
	var meta mailstore.AppendMeta
	ok := p.WantSP() && p.mailbox(&name) && p.s.parseMessageHead(p.Decoder, &meta, &p.nameErr)
	return nil, ok && p.Fail("a message literal")
}

// parseMessageHead reads what stands between the mailbox, or the message
// before, and the literal. cannot is parseFlags's.
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

// decide is asked by the framer about each literal.
func (s *Session) decide(lit imapwire.Announced) imapwire.Verdict {
	var meta mailstore.AppendMeta
	if s.append != nil {
		d := imapwire.NewDecoder(lit.Prefix[lit.Since:], limits(s.cfg.Settings))
		var cannot error
		if !s.parseMessageHead(d, &meta, &cannot) || !d.WantEnd() {
			return refuse(view.Bad("Error in command APPEND: " + d.Err().Error() + "."))
		}
		if cannot != nil {
			return refuse(view.No("CANNOT", sentence(cannot.Error())))
		}
		return s.addMessage(meta, lit)
	}
	p := &parser{Decoder: imapwire.NewDecoder(lit.Prefix, limits(s.cfg.Settings)), s: s}
	var name imapname.Name
	if !p.WantTag(&p.tag) || !p.WantSP() || !p.Keyword("APPEND") || !p.WantSP() || p.AtEnd() {
		return imapwire.Verdict{} // another command, or the mailbox itself is a literal
	}
	if !p.mailbox(&name) || !s.parseMessageHead(p.Decoder, &meta, &p.nameErr) || !p.WantEnd() {
		return refuse(view.Bad("Error in command APPEND: " + p.Err().Error() + "."))
	}
	if p.nameErr != nil {
		return refuse(view.No("CANNOT", sentence(p.nameErr.Error())))
	}
	appender, err := s.cfg.Store.Append(string(name))
	if err != nil {
		return s.refuseError(err)
	}
	s.last = "APPEND"
	s.append = &appending{appender: appender}
	return s.addMessage(meta, lit)
}

func refuse(reply view.Reply) imapwire.Verdict {
	return imapwire.Verdict{Action: imapwire.Refuse, Tag: reply}
}

func (s *Session) refuseError(err error) imapwire.Verdict {
	reply, err := s.tryCreate(err)
	if err != nil {
		reply = s.refusal(err)
	}
	return refuse(reply)
}

// addMessage begins one message of the APPEND under way.
func (s *Session) addMessage(meta mailstore.AppendMeta, lit imapwire.Announced) imapwire.Verdict {
	a := s.append
	switch limit := s.cfg.Settings.MaxMessage; {
	case lit.Size == 0:
		// RFC 3502 §6.3.11: "a zero-length message literal argument is an error,
		// and MUST return a NO. This can be used to cancel the append."
		return refuse(view.Reply{Cond: imapwire.NO, Text: "Empty message, nothing was appended."})
	case limit > 0 && lit.Size > limit:
		return refuse(view.No("TOOBIG", "Message is too big."))
	case a.err != nil || a.nul:
		// The messages before have failed already: no need to send this one.
		return refuse(s.appendFailure())
	}
	if meta.InternalDate.After(s.now.Add(futureLimit)) {
		meta.InternalDate = time.Time{}
	}
	to, err := a.appender.Add(meta, lit.Size)
	if err != nil {
		return s.refuseError(err)
	}
	a.to, a.binary = to, lit.Binary
	a.count++
	return imapwire.Verdict{Action: imapwire.Stream}
}

// write takes bytes of the present message.
func (a *appending) write(p []byte) {
	if !a.binary && bytes.IndexByte(p, 0) >= 0 {
		a.nul = true
	}
	if a.err == nil && !a.nul {
		_, a.err = a.to.Write(p)
	}
}

func (a *appending) endMessage() { a.to = nil }

// appendFailure is the answer to an APPEND whose bytes could not be kept.
func (s *Session) appendFailure() view.Reply {
	if s.append.nul {
		// RFC 3501 §9: literal = "{" number "}" CRLF *CHAR8, which has no NUL
		return view.Bad("NUL byte in a message that is no literal8.")
	}
	reply, err := s.tryCreate(s.append.err)
	if err != nil {
		return s.refusal(err)
	}
	return reply
}

// finishAppend is called when the command's last line is there.
func (s *Session) finishAppend(ev imapwire.Event) {
	reply, err := s.commitAppend(ev.Text()[ev.Since:])
	s.dropAppend()
	s.finishCommand(tagOf(ev.Bytes), commands["APPEND"], false, reply, err)
}

func (s *Session) commitAppend(rest []byte) (view.Reply, error) {
	a := s.append
	switch {
	case len(rest) > 0:
		return view.Bad("Error in command APPEND: expected end of command after the message."), nil
	case a.err != nil || a.nul:
		return s.appendFailure(), nil
	}
	result, err := a.appender.Commit()
	if err != nil {
		return s.tryCreate(err)
	}
	s.counts.Appended += uint64(len(result.UIDs))
	s.changed()
	code := imapwire.Code{Name: "APPENDUID", Args: strconv.FormatUint(uint64(result.UIDValidity), 10) + " " + numset.FromSorted(result.UIDs).String()}
	return view.Reply{Cond: imapwire.OK, Code: code, Text: "Append completed."}, nil
}

// dropAppend leaves no trace of an APPEND that is not committed.
func (s *Session) dropAppend() {
	if s.append != nil {
		s.append.appender.Abort()
		s.append = nil
	}
}
