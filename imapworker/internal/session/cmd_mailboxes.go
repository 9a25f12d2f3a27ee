package session

import (
	"encoding/hex"

	"rookery/imapworker/internal/view"
	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/annotation"
)

// create        = "CREATE" SP mailbox [create-params]     RFC 3501 §6.3.3
// create-params = SP "(" create-param *(SP create-param) ")"   RFC 4466 §2.2
// create-param  = "USE" SP "(" [use-attr *(SP use-attr)] ")"   RFC 6154 §6
type create struct {
	mailbox imapname.Name
	params  bool // USE was given
	use     mailstore.Attr
	unknown bool // a use was named that there is not
}

func parseCreate(p *parser) (request, bool) {
	c := &create{}
	if !p.WantSP() || !p.mailboxTrimmed(&c.mailbox, true) {
		return nil, false
	}
	// RFC 3501 §6.3.3: a separator at the end only declares that names will be
	// made below; "servers … MUST ignore the declaration" and make the name without.
	if p.nameErr == nil {
		p.nameErr = c.mailbox.CheckNew()
	}
	if p.SP() && !p.WantList(func() bool { return c.param(p) }) {
		return nil, false
	}
	return c, p.WantEnd()
}

func (c *create) param(p *parser) bool {
	if c.params {
		return p.Fail("USE once")
	}
	c.params = true
	return p.WantKeyword("USE") && p.WantSP() && p.WantEmptyList(func() bool {
		var name string
		if !p.WantFlag(&name) {
			return false
		}
		if name[0] != '\\' {
			return p.Fail("a special use")
		}
		use, known := annotation.UseByName(name)
		c.use |= use
		c.unknown = c.unknown || !known
		return true
	})
}

func (c *create) run(s *Session) (view.Reply, error) {
	if c.unknown || annotation.MayAssign(c.use) != nil {
		// RFC 6154 §3: the mailbox "MUST NOT" be made without its use
		return badUse(), nil
	}
	made, err := s.cfg.Store.Create(string(c.mailbox), c.use)
	if c.use != 0 && errkind.Is(err, errkind.Invalid) {
		return badUse(), nil
	}
	if err != nil {
		return view.Reply{}, err
	}
	s.changed()
	reply := view.Done("Create completed.")
	if st, err := s.cfg.Store.Status(made, mailstore.StatusWant{}); err == nil {
		reply.Code = mailboxIDCode(st.GUID) // RFC 8474 §4.1
	}
	return reply, nil
}

// mailboxID is the objectid of a mailbox (RFC 8474 §4): its GUID, which stays through
// RENAME and a change of the format, and which no mailbox made later has. The letter
// keeps it apart from ids of messages and threads, and from numbers (§7).
func mailboxID(guid mailstore.GUID) string { return "F" + hex.EncodeToString(guid[:]) }

func mailboxIDCode(guid mailstore.GUID) imapwire.Code {
	return imapwire.Code{Name: "MAILBOXID", Args: "(" + mailboxID(guid) + ")"}
}

// delete = "DELETE" SP mailbox                            RFC 3501 §6.3.4
type deleteCommand struct{ mailbox imapname.Name }

func parseDelete(p *parser) (request, bool) {
	var c deleteCommand
	return &c, p.WantSP() && p.mailbox(&c.mailbox) && p.WantEnd()
}

func (c *deleteCommand) run(s *Session) (view.Reply, error) {
	if c.mailbox == imapname.Inbox {
		return view.No("CANNOT", "INBOX can't be deleted."), nil
	}
	// A client that deletes the mailbox it has selected is left without one,
	// rather than disconnected as others are.
	own := s.view != nil && s.view.Box().Info().Name == string(c.mailbox)
	if err := s.cfg.Store.Delete(string(c.mailbox)); err != nil {
		return view.Reply{}, err
	}
	if own {
		s.deselect()
	}
	s.changed()
	return view.Done("Delete completed."), nil
}

// rename = "RENAME" SP mailbox SP mailbox                 RFC 3501 §6.3.5
type rename struct{ from, to imapname.Name }

func parseRename(p *parser) (request, bool) {
	var c rename
	ok := p.WantSP() && p.mailbox(&c.from) && p.WantSP() && p.mailbox(&c.to) && p.WantEnd()
	if ok && p.nameErr == nil {
		p.nameErr = c.to.CheckNew()
	}
	return &c, ok
}

func (c *rename) run(s *Session) (view.Reply, error) {
	spaces := s.cfg.Store.Namespaces()
	from, _ := spaceOf(spaces, string(c.from))
	to, _ := spaceOf(spaces, string(c.to))
	if from.Prefix != to.Prefix && c.from != imapname.Inbox && c.to != imapname.Inbox {
		return view.No("CANNOT", "A mailbox cannot be renamed into another namespace; create one there and move the messages."), nil
	}
	if err := s.cfg.Store.Rename(string(c.from), string(c.to)); err != nil {
		return view.Reply{}, err
	}
	s.changed()
	return view.Done("Rename completed."), nil
}

// subscribe   = "SUBSCRIBE" SP mailbox                    RFC 3501 §6.3.6
// unsubscribe = "UNSUBSCRIBE" SP mailbox                  RFC 3501 §6.3.7
type subscribe struct {
	mailbox imapname.Name
	on      bool
}

func parseSubscribe(p *parser) (request, bool)   { return parseSubscription(p, true) }
func parseUnsubscribe(p *parser) (request, bool) { return parseSubscription(p, false) }

func parseSubscription(p *parser, on bool) (request, bool) {
	c := &subscribe{on: on}
	return c, p.WantSP() && p.mailbox(&c.mailbox) && p.WantEnd()
}

func (c *subscribe) run(s *Session) (view.Reply, error) {
	if c.on {
		// RFC 3501 §6.3.6: a server MAY validate the name. One that is only
		// implied by its children may be subscribed to.
		if _, err := s.cfg.Store.Lookup(string(c.mailbox)); err != nil {
			return view.Reply{}, err
		}
	}
	err := s.cfg.Store.Subscribe(string(c.mailbox), c.on)
	switch {
	case !c.on && errkind.Is(err, errkind.NotFound):
		// Not subscribed to it: what was asked for holds. A client that takes away
		// a mailbox and its subscription would else stumble over its own retry.
	case err != nil:
		return view.Reply{}, err
	case c.on:
		return view.Done("Subscribe completed."), nil
	}
	return view.Done("Unsubscribe completed."), nil
}
