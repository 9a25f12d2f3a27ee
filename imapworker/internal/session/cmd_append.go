package session

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"time"

	"rookery/imapworker/internal/tobase64"
	"rookery/imapworker/internal/view"
	"rookery/internal/imapname"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// append         = "APPEND" SP mailbox 1*append-message             RFC 3502 §6.3.11
// append-message = [SP flag-list] [SP date-time] SP append-data     RFC 4466 §2.7
// append-data    = literal / literal8 / "CATENATE" SP "(" cat-part *(SP cat-part) ")"
//
//	/ "UTF8" SP "(" literal8 ")"                      RFC 6855 §4
//
// A message is not kept in memory: when its literal is announced, what stands
// before it is parsed, the mailbox is looked up and the quota is asked, and only
// then the client is told to go on. Its bytes go to the store as they come. What
// stands between two such literals is a piece (append_pieces.go): parsed whole,
// then carried out. REPLACE (cmd_replace.go) goes the same way.
type appending struct {
	appendTarget
	appender mailstore.Appender
	to       io.Writer        // of the present message
	binary   bool             // the present literal is a literal8 and may hold NUL
	coder    *tobase64.Writer // what the present message goes through, nil for nothing
	nul      bool             // a NUL came where none may be
	err      error            // the store's first; the rest of the bytes is dropped
	inList   bool             // the present message is made of the parts of CATENATE
	size     int64            // octets of it so far
	begun    uint64           // messages
	inUTF8   bool             // the present literal stands in the parentheses of UTF8
	ascii    bool             // header fields must be US-ASCII
	header   headerScan       // of the present message
}

// appendTarget is what stands before the messages.
type appendTarget struct {
	name    string // of the command, without the UID prefix
	mailbox imapname.Name
	replace *replacing // nil for APPEND
	given   []givenName
}

// futureLimit is how far in the future an INTERNALDATE may lie: clients with a
// wrong clock would else put mail where no one finds it.
const futureLimit = 2 * time.Hour

// maxOctets is what a message of CATENATE may have at most (RFC 4469 §4.2: "the
// 4-GB IMAP message limit").
const maxOctets = 1<<32 - 1

// appendCommand is an APPEND or REPLACE none of whose messages was streamed: all
// of them are made of URLs.
type appendCommand struct {
	appendTarget
	piece piece
}

func parseAppend(p *parser) (request, bool) {
	c := &appendCommand{appendTarget: appendTarget{name: "APPEND"}}
	return c, p.WantSP() && p.mailbox(&c.mailbox) && c.piece.parse(p, nil, false)
}

func (c *appendCommand) run(s *Session) (view.Reply, error) {
	if refused, err := s.beginAppend(c.appendTarget); refused.Cond != "" || err != nil {
		return refused, err
	}
	defer s.dropAppend()
	if refused := s.carryOut(&c.piece, nil); refused.Cond != "" {
		return refused, nil
	}
	return s.commitAppend()
}

// decide is asked by the framer about each literal.
func (s *Session) decide(lit imapwire.Announced) imapwire.Verdict {
	p := &parser{Decoder: s.decoder(lit.Prefix[lit.Streamed:]), s: s}
	var to appendTarget
	if s.append != nil {
		to = s.append.appendTarget
	} else {
		switch refused, is := p.appendTarget(&to); {
		case refused.Cond != "":
			return refuse(refused)
		case !is:
			if reply, no := s.noCommand(lit); no {
				return refuse(reply)
			}
			if reply, long := s.longValue(lit); long {
				return refuse(reply)
			}
			return imapwire.Verdict{} // another command, or the mailbox itself is a literal
		}
		to.given = p.given
	}
	pc := piece{inList: s.append != nil && s.append.inList, inUTF8: s.append != nil && s.append.inUTF8}
	switch ok := p.Err() == nil && pc.parse(p, &lit, to.replace != nil); {
	case !ok:
		return refuse(s.appendSyntax(to.name, p, pc.inList))
	case p.nameErr != nil:
		return refuse(view.No("CANNOT", sentence(p.nameErr.Error())))
	case pc.waits:
		return imapwire.Verdict{} // a URL is a literal: it is part of the next piece
	}
	if s.append == nil {
		s.last = to.name
		if refused, err := s.beginAppend(to); err != nil {
			return refuse(s.failure(to.mailbox, err))
		} else if refused.Cond != "" {
			return refuse(refused)
		}
	}
	if refused := s.carryOut(&pc, &lit); refused.Cond != "" {
		return refuse(refused)
	}
	return imapwire.Verdict{Action: imapwire.Stream}
}

// appendTarget reads what stands before the first message, from the tag on. It is
// no APPEND or REPLACE, or not known yet, where it says false; after an error of
// the decoder it says true.
func (p *parser) appendTarget(to *appendTarget) (refused view.Reply, is bool) {
	if !p.WantTag(&p.tag) || !p.WantSP() {
		return refused, false
	}
	if p.Ahead("UID ") {
		p.uid = p.Keyword("UID") && p.SP()
	}
	switch {
	case p.Keyword("REPLACE"):
		to.name = "REPLACE"
		switch {
		case p.s.view == nil:
			return view.Bad("No mailbox selected."), true // RFC 8508 §3.5
		case !p.uid && p.s.enc.Options.UIDOnly:
			return uidRequired, true
		}
		to.replace = &replacing{uidPrefix: p.uid}
		if !p.WantSP() || !to.replace.parse(p) {
			return refused, true
		}
	case !p.uid && p.Keyword("APPEND"):
		to.name = "APPEND"
	default:
		return refused, false
	}
	if !p.WantSP() {
		return refused, true
	}
	return refused, !p.AtEnd() && (p.mailbox(&to.mailbox) || p.Err() != nil)
}

func refuse(reply view.Reply) imapwire.Verdict {
	return imapwire.Verdict{Action: imapwire.Refuse, Tag: reply}
}

// failure is the answer to an error of the mailbox that messages go to.
func (s *Session) failure(to imapname.Name, err error) view.Reply {
	reply, err := s.tryCreate(to, err)
	if err != nil {
		reply = s.refusal(err)
	}
	return reply
}

// beginAppend begins the APPEND or REPLACE: before it nothing was done.
func (s *Session) beginAppend(to appendTarget) (refused view.Reply, err error) {
	if to.replace != nil {
		if refused, err := to.replace.find(s); refused.Cond != "" || err != nil {
			return refused, err
		}
	}
	appender, err := s.cfg.Store.Append(string(to.mailbox))
	if err != nil {
		return s.tryCreate(to.mailbox, err)
	}
	if to.replace != nil {
		to.replace.credit(s, appender)
	}
	s.append = &appending{appendTarget: to, appender: appender, ascii: s.wantsASCII()}
	return view.Reply{}, nil
}

// beginMessage begins one message of the APPEND under way; size is -1 where it is
// not known beforehand.
func (s *Session) beginMessage(meta mailstore.AppendMeta, size int64) (refused view.Reply) {
	a := s.append
	a.begun++
	if refused := s.tooManyToAppend(a.begun); refused.Cond != "" {
		return refused
	}
	a.size, a.header = 0, headerScan{}
	if meta.InternalDate.After(s.now.Add(futureLimit)) {
		meta.InternalDate = time.Time{}
	}
	if a.binary {
		size = -1 // what the encoding adds is not known
	}
	to, err := a.appender.Add(meta, size)
	if err != nil {
		return s.failure(a.mailbox, err)
	}
	if a.to = to; a.binary {
		a.coder = tobase64.New(to)
		a.to = a.coder
	}
	return view.Reply{}
}

// maxBinary is what a literal8 may have: its octets in base64 are within maxOctets.
const maxBinary = maxOctets / 3 * 2

// tooBig refuses a message that would have more octets than it may.
func (s *Session) tooBig(octets int64) (refused view.Reply) {
	if limit := s.cfg.Settings.MaxMessage; limit > 0 && octets > limit || s.append.inList && octets > maxOctets {
		return view.No("TOOBIG", "Message is too big.")
	}
	return view.Reply{}
}

// emptyMessage is the answer to a message without an octet. RFC 3502 §6.3.11: "a
// zero-length message literal argument is an error, and MUST return a NO. This can
// be used to cancel the append."
func emptyMessage() view.Reply {
	return view.Reply{Cond: imapwire.NO, Text: "Empty message, nothing was appended."}
}

// write takes bytes of the present message.
func (a *appending) write(p []byte) {
	a.header.see(p)
	if !a.binary && bytes.IndexByte(p, 0) >= 0 {
		a.nul = true
	}
	if a.err == nil && !a.nul {
		_, a.err = a.to.Write(p)
	}
}

func (a *appending) endMessage() {
	if a.coder != nil {
		if err := a.coder.Close(); a.err == nil {
			a.err = err
		}
		a.coder = nil
	}
	if !a.inList {
		a.to = nil
	}
}

// appendFailure is the answer to an APPEND whose bytes could not be kept; none so
// far where all could.
func (s *Session) appendFailure() view.Reply {
	switch {
	case s.append.nul:
		// RFC 3501 §9: literal = "{" number "}" CRLF *CHAR8, which has no NUL
		return view.Bad("NUL byte in a message that is no literal8.")
	case s.append.err != nil:
		return s.failure(s.append.mailbox, s.append.err)
	case s.append.ascii && s.append.header.high:
		return eightBitHeader
	}
	return view.Reply{}
}

// finishAppend is called when the command's last line is there.
func (s *Session) finishAppend(ev imapwire.Event) {
	s.removed, s.lowest = false, 0
	to := s.append.appendTarget
	reply, err := s.endAppend(ev.Text()[ev.Streamed:])
	if s.enc.Options.Rev2 {
		reply, err = s.asRev2(to.name, to.given, reply, err)
	}
	s.dropAppend()
	s.finishCommand(tagOf(ev.Bytes), to.row(commands[to.name], reply, err), to.replace != nil && to.replace.uidPrefix, reply, err)
}

// appendSyntax is the answer to a piece that cannot be parsed. Behind a literal that
// was streamed offsets would mean nothing to the client.
func (s *Session) appendSyntax(name string, p *parser, inside bool) view.Reply {
	syntax := (*imapwire.SyntaxError)(nil)
	if s.append == nil || !errors.As(p.Err(), &syntax) {
		return view.Bad("Error in command " + name + ": " + p.Err().Error() + ".")
	}
	want := "end of command"
	if inside || syntax.Offset > 1 {
		want = syntax.Want
	}
	return view.Bad("Error in command " + name + ": expected " + want + " after the message.")
}

// endAppend takes what stands behind the last message literal.
func (s *Session) endAppend(rest []byte) (view.Reply, error) {
	a := s.append
	pc := piece{inList: a.inList, inUTF8: a.inUTF8}
	p := &parser{Decoder: s.decoder(rest), s: s}
	if (len(rest) > 0 || a.inList || a.inUTF8) && !pc.parse(p, nil, a.replace != nil) {
		return s.appendSyntax(a.name, p, a.inList || a.inUTF8), nil
	}
	if p.nameErr != nil {
		return view.No("CANNOT", sentence(p.nameErr.Error())), nil
	}
	if refused := s.carryOut(&pc, nil); refused.Cond != "" {
		return refused, nil
	}
	return s.commitAppend()
}

func (s *Session) commitAppend() (view.Reply, error) {
	a := s.append
	if failed := s.appendFailure(); failed.Cond != "" {
		return failed, nil
	}
	if a.replace != nil {
		return a.replace.commit(s)
	}
	s.aboutToAdd(string(a.mailbox))
	result, err := a.appender.Commit()
	if err != nil {
		return s.tryCreate(a.mailbox, err)
	}
	s.counts.Appended += uint64(len(result.UIDs))
	s.madeHere(string(a.mailbox), result.UIDs)
	s.changed()
	return view.Reply{Cond: imapwire.OK, Code: s.appendUID(a.mailbox, result), Text: "Append completed."}, nil
}

// appendUID is resp-code-apnd = "APPENDUID" SP nz-number SP append-uid (RFC 4315 §4).
// There is none for who may not read the mailbox.
func (s *Session) appendUID(to imapname.Name, r mailstore.AppendResult) imapwire.Code {
	if !s.mayRead(to) {
		return imapwire.Code{}
	}
	return imapwire.Code{Name: "APPENDUID", Args: strconv.FormatUint(uint64(r.UIDValidity), 10) + " " + numset.FromSorted(r.UIDs).String()}
}

// dropAppend leaves no trace of an APPEND that is not committed.
func (s *Session) dropAppend() {
	if s.append != nil {
		s.append.appender.Abort()
		s.append = nil
	}
}
