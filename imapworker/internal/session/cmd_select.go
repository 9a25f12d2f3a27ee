package session

import (
	"strconv"

	"rookery/imapworker/internal/view"
	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/imapwire"
	"rookery/internal/numset"
)

// select  = "SELECT" SP mailbox [select-params]           RFC 3501 §6.3.1
// examine = "EXAMINE" SP mailbox [select-params]          RFC 3501 §6.3.2
//
//	select-params = SP "(" select-param *(SP select-param) ")"   RFC 4466 §2.1
//	select-param  = "CONDSTORE" / "QRESYNC" SP …            RFC 7162 §7
type selectCommand struct {
	mailbox   imapname.Name
	examine   bool
	condstore bool
	resync    *resync // nil without QRESYNC
	given     []givenName
}

func parseSelect(p *parser) (request, bool)  { return parseSelection(p, false) }
func parseExamine(p *parser) (request, bool) { return parseSelection(p, true) }

func parseSelection(p *parser, examine bool) (request, bool) {
	c := selectCommand{examine: examine}
	ok := p.WantSP() && p.mailbox(&c.mailbox)
	if ok && p.SP() {
		ok = p.WantList(func() bool { return c.param(p) })
	}
	ok = ok && p.WantEnd()
	c.given = p.given
	// RFC 3501 §6.3.1: a SELECT that fails leaves no mailbox selected; one that
	// was not even parsed (BAD) changes nothing.
	if ok && p.nameErr != nil {
		p.s.leave()
	}
	return c, ok
}

// param reads one select-param.
func (c *selectCommand) param(p *parser) bool {
	switch {
	case p.Keyword("QRESYNC"):
		if c.resync != nil {
			return p.Fail("QRESYNC once")
		}
		c.resync = &resync{}
		return c.resync.parse(p)
	case c.condstore:
		return p.Fail("CONDSTORE once")
	}
	c.condstore = true
	return p.WantKeyword("CONDSTORE")
}

// leave deselects for a SELECT. What was told before belongs to the mailbox that
// was selected, what comes after to the next one; the client need not have enabled
// anything to be told where one ends (RFC 7162 §3.2.11).
func (s *Session) leave() {
	if s.view != nil {
		s.deselect()
		s.enc.Status("", imapwire.OK, imapwire.Code{Name: "CLOSED"}, "Previous mailbox closed.")
	}
}

func (c selectCommand) run(s *Session) (view.Reply, error) {
	s.leave()
	if c.condstore {
		s.enableCondstore()
	}
	box, err := s.cfg.Store.Open(string(c.mailbox))
	if err != nil {
		return view.Reply{}, err
	}
	stop := box.Watch(s.cfg.Changes)
	v, err := view.New(box, c.examine)
	if err != nil {
		stop()
		_ = box.Close()
		return view.Reply{}, err
	}
	s.view, s.stopWatch = v, stop
	if s.condstore {
		v.WantModSeqs()
	}
	s.wantVanished()
	s.describe(v)
	if s.enc.Options.Rev2 {
		s.tellName(c.mailbox, c.given[0].raw)
	}
	if c.resync != nil {
		if err := c.resync.tell(s); err != nil {
			s.deselect()
			return view.Reply{}, err
		}
	}
	code, verb := "READ-WRITE", "Select"
	if v.ReadOnly() || v.Box().Info().OwnOnly {
		code = "READ-ONLY"
	}
	if c.examine {
		verb = "Examine"
	}
	return view.Reply{Cond: imapwire.OK, Code: imapwire.Code{Name: code}, Text: verb + " completed."}, nil
}

// describe writes the untagged data of SELECT (RFC 3501 §6.3.1).
func (s *Session) describe(v *view.View) {
	info := v.Box().Info()
	v.WriteFlagList(&s.enc)
	s.enc.Exists(v.Len())
	v.WriteRecent(&s.enc)
	number := func(name string, n uint32, text string) {
		s.enc.Status("", imapwire.OK, imapwire.Code{Name: name, Args: strconv.FormatUint(uint64(n), 10)}, text)
	}
	if first := v.FirstUnseen(); first > 0 && !s.enc.Options.Rev2 {
		number("UNSEEN", first, "First unseen.")
	}
	number("UIDVALIDITY", info.UIDValidity, "UIDs valid")
	number("UIDNEXT", v.Told().UIDNext(), "Predicted next UID")
	s.writeHighestModSeq(v)
	s.enc.Status("", imapwire.OK, mailboxIDCode(info.GUID), "Mailbox's identifier.") // RFC 8474 §4.2
}

// check = "CHECK"                                         RFC 3501 §6.4.1
type check struct{}

func parseCheck(p *parser) (request, bool) { return check{}, p.WantEnd() }

// Everything answered is on disk already, so there is no checkpoint to make.
func (check) run(*Session) (view.Reply, error) { return view.Done("Check completed."), nil }

// close    = "CLOSE"                                      RFC 3501 §6.4.2
// unselect = "UNSELECT"                                   RFC 3691 §2
type closeCommand struct{ expunge bool }

func parseClose(p *parser) (request, bool)    { return closeCommand{true}, p.WantEnd() }
func parseUnselect(p *parser) (request, bool) { return closeCommand{false}, p.WantEnd() }

func (c closeCommand) run(s *Session) (view.Reply, error) {
	var err error
	if c.expunge && !s.view.ReadOnly() {
		// RFC 3501 §6.4.2: no untagged EXPUNGE is sent, and no error for a
		// mailbox that EXAMINE opened. What is \Deleted is looked up: another process
		// may have taken the flag away since the session was told of it.
		if err = s.view.Sync(); err == nil {
			var gone numset.Set
			gone, err = s.expunge(s.deleted(nil, false))
			s.closes(gone)
		}
		if lacksRight(err) || errkind.Is(err, errkind.NotFound) {
			// RFC 4314 §4: without "e" CLOSE "MUST ignore the expunge request"; and what
			// is gone as a whole has nothing left to expunge.
			err = nil
		}
	}
	s.deselect()
	if c.expunge {
		return view.Done("Close completed."), err
	}
	return view.Done("Unselect completed."), nil
}
