package session

import (
	"strconv"

	"rookery/imapworker/internal/view"
	"rookery/internal/imapname"
	"rookery/internal/imapwire"
)

// select  = "SELECT" SP mailbox [select-params]           RFC 3501 §6.3.1
// examine = "EXAMINE" SP mailbox [select-params]          RFC 3501 §6.3.2
//
//	select-params = SP "(" select-param *(SP select-param) ")"   RFC 4466 §2.1
//	select-param  = "CONDSTORE"                             RFC 7162 §7
//
// QRESYNC will be another parameter.
type selectCommand struct {
	mailbox   imapname.Name
	examine   bool
	condstore bool
}

func parseSelect(p *parser) (request, bool)  { return parseSelection(p, false) }
func parseExamine(p *parser) (request, bool) { return parseSelection(p, true) }

func parseSelection(p *parser, examine bool) (request, bool) {
	c := selectCommand{examine: examine}
	ok := p.WantSP() && p.mailbox(&c.mailbox)
	if ok && p.SP() {
		ok = p.WantList(func() bool {
			if c.condstore {
				return p.Fail("CONDSTORE once")
			}
			c.condstore = true
			return p.WantKeyword("CONDSTORE")
		})
	}
	ok = ok && p.WantEnd()
	// RFC 3501 §6.3.1: a SELECT that fails leaves no mailbox selected; one that
	// was not even parsed (BAD) changes nothing.
	if ok && p.nameErr != nil {
		p.s.deselect()
	}
	return c, ok
}

func (c selectCommand) run(s *Session) (view.Reply, error) {
	s.deselect()
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
	s.describe(v)
	code, verb := "READ-WRITE", "Select"
	if v.ReadOnly() {
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
		// mailbox that EXAMINE opened.
		_, err = s.expunge(s.deleted(nil, false))
	}
	s.deselect()
	if c.expunge {
		return view.Done("Close completed."), err
	}
	return view.Done("Unselect completed."), nil
}
