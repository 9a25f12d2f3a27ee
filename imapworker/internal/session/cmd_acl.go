package session

import (
	"errors"
	"syscall"

	"rookery/imapworker/internal/view"
	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
)

// aclWords are the capabilities of a session whose store keeps access control lists
// and checks them (RFC 4314 §2, RFC 8440).
var aclWords = []string{"ACL", "RIGHTS=" + acl.Extra, "LIST-MYRIGHTS"}

// sharer gives the store that keeps lists; ok is false where there is none: then there
// are no such commands.
func (s *Session) sharer() (mailstore.Sharer, bool) {
	sharer, ok := s.cfg.Store.(mailstore.Sharer)
	return sharer, ok
}

// lacksRight reports whether an access control list keeps the user from something, as
// opposed to the disk.
func lacksRight(err error) bool {
	var disk syscall.Errno
	return errkind.Is(err, errkind.NoPermission) && !errors.As(err, &disk)
}

// aclArgs are the arguments of the five commands, as far as each has them.
type aclArgs struct {
	mailbox imapname.Name
	id      string // as the client wrote it
	rights  string
	who     acl.ID
	change  acl.Change
	bad     error // of an argument that is no identifier or no rights: BAD (RFC 4314 §3, §3.1)
}

// parse reads the mailbox and as many arguments as there are to be. What they hold is
// looked at whether the mailbox is there or not.
func (c *aclArgs) parse(p *parser, args ...*string) bool {
	if _, ok := p.s.sharer(); !ok {
		return p.Fail("a command that this mail store has")
	}
	if !p.WantSP() || !p.mailbox(&c.mailbox) {
		return false
	}
	for _, a := range args {
		if !p.WantSP() || !p.WantAstring(a) {
			return false
		}
	}
	if len(args) > 0 {
		c.who, c.bad = acl.ParseID(c.id)
	}
	if len(args) > 1 && c.bad == nil {
		c.change, c.bad = acl.ParseChange(c.rights)
	}
	return p.WantEnd()
}

// setacl = "SETACL" SP mailbox SP identifier SP mod-rights   RFC 4314 §3.1
type setACL struct{ aclArgs }

func parseSetACL(p *parser) (request, bool) {
	c := &setACL{}
	return c, c.parse(p, &c.id, &c.rights)
}

func (c *setACL) run(s *Session) (view.Reply, error) {
	if c.bad != nil {
		return view.Bad(sentence(c.bad.Error())), nil
	}
	return s.changeACL("Setacl completed.", func(store mailstore.Sharer) error {
		return store.SetACL(string(c.mailbox), c.who, c.change)
	})
}

// deleteacl = "DELETEACL" SP mailbox SP identifier        RFC 4314 §3.2
type deleteACL struct{ aclArgs }

func parseDeleteACL(p *parser) (request, bool) {
	c := &deleteACL{}
	return c, c.parse(p, &c.id)
}

func (c *deleteACL) run(s *Session) (view.Reply, error) {
	if c.bad != nil {
		return view.Bad(sentence(c.bad.Error())), nil
	}
	return s.changeACL("Deleteacl completed.", func(store mailstore.Sharer) error {
		return store.DeleteACL(string(c.mailbox), c.who)
	})
}

// changeACL changes a list. A session whose own rights in its selected mailbox are
// others now is told, as the other sessions are with their next command (RFC 4314
// §5.1.1: SHOULD send FLAGS and PERMANENTFLAGS).
func (s *Session) changeACL(done string, change func(mailstore.Sharer) error) (view.Reply, error) {
	store, _ := s.sharer()
	if err := change(store); err != nil {
		return view.Reply{}, err
	}
	s.changed()
	return view.Done(done), nil
}

// mayExpunge is the error of an EXPUNGE without the right, also where there is nothing
// to expunge (RFC 4314 §4).
func (s *Session) mayExpunge() error {
	store, ok := s.sharer()
	if !ok {
		return nil
	}
	rights, err := store.MyRights(s.view.Box().Info().Name)
	if err == nil && !rights.Has(acl.Expunge) {
		err = errkind.New("expunge", errkind.NoPermission, nil)
	}
	return err
}

// mayRead reports whether the user may read a mailbox. Who may only add to it is told no
// UIDs of it: "the server MUST NOT send an APPENDUID response code as it would disclose
// information about the mailbox" (RFC 9051 §6.3.12; §6.4.7 for COPYUID).
func (s *Session) mayRead(name imapname.Name) bool {
	store, ok := s.sharer()
	if !ok {
		return true
	}
	rights, err := store.MyRights(string(name))
	return err == nil && rights.Has(acl.Read)
}

// getacl = "GETACL" SP mailbox                            RFC 4314 §3.3
type getACL struct{ aclArgs }

func parseGetACL(p *parser) (request, bool) {
	c := &getACL{}
	return c, c.parse(p)
}

// acl-data = "ACL" SP mailbox *(SP identifier SP rights)  RFC 4314 §3.6
func (c *getACL) run(s *Session) (view.Reply, error) {
	store, _ := s.sharer()
	list, err := store.GetACL(string(c.mailbox))
	if err != nil {
		return view.Reply{}, err
	}
	if shown, ok := s.names.Show(c.mailbox); ok {
		s.enc.Untagged().Atom("ACL").SP().Mailbox(shown)
		for _, e := range list.Shown() {
			s.enc.SP().Astring(e.ID.Wire()).SP().Astring(e.Rights.Wire())
		}
		s.enc.CRLF()
	}
	return view.Done("Getacl completed."), nil
}

// listrights = "LISTRIGHTS" SP mailbox SP identifier      RFC 4314 §3.4
type listRights struct{ aclArgs }

func parseListRights(p *parser) (request, bool) {
	c := &listRights{}
	return c, c.parse(p, &c.id)
}

// listrights-data = "LISTRIGHTS" SP mailbox SP identifier SP rights *(SP rights)   RFC 4314 §3.7
//
// No two rights are tied together. The virtual ones stand for members that are not
// tied to others, so they stand by themselves (RFC 4314 §2.1.1).
func (c *listRights) run(s *Session) (view.Reply, error) {
	if c.bad != nil {
		return view.Bad(sentence(c.bad.Error())), nil
	}
	store, _ := s.sharer()
	always, can, err := store.Grantable(string(c.mailbox), c.who)
	if err != nil {
		return view.Reply{}, err
	}
	if shown, ok := s.names.Show(c.mailbox); ok {
		// RFC 4314 §3.4: "MUST always return the same form of an identifier as
		// specified by the client".
		s.enc.Untagged().Atom("LISTRIGHTS").SP().Mailbox(shown).SP().Astring(c.id).SP().Astring(always.String())
		for _, letter := range can.Wire() {
			s.enc.SP().Astring(string(letter))
		}
		s.enc.CRLF()
	}
	return view.Done("Listrights completed."), nil
}

// myrights = "MYRIGHTS" SP mailbox                        RFC 4314 §3.5
type myRights struct{ aclArgs }

func parseMyRights(p *parser) (request, bool) {
	c := &myRights{}
	return c, c.parse(p)
}

func (c *myRights) run(s *Session) (view.Reply, error) {
	if _, err := s.cfg.Store.Lookup(string(c.mailbox)); err != nil {
		return view.Reply{}, err
	}
	if err := s.writeMyRights(c.mailbox); err != nil {
		return view.Reply{}, err
	}
	return view.Done("Myrights completed."), nil
}

// writeMyRights looks a mailbox up and writes its MYRIGHTS response (RFC 4314 §3.8),
// for LIST's RETURN (MYRIGHTS), too (RFC 8440 §3).
//
//	myrights-data = "MYRIGHTS" SP mailbox SP rights
func (s *Session) writeMyRights(name imapname.Name) error {
	store, ok := s.sharer()
	if !ok {
		return nil
	}
	rights, err := store.MyRights(string(name))
	if err != nil {
		return err
	}
	if shown, ok := s.names.Show(name); ok {
		s.enc.Untagged().Atom("MYRIGHTS").SP().Mailbox(shown).SP().Astring(rights.Wire()).CRLF()
	}
	return nil
}
