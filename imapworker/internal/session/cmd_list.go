package session

import (
	"slices"
	"strings"

	"rookery/imapworker/internal/view"
	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/annotation"
)

// list = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts]   RFC 5258 §6
//
//	list-select-opts = "(" [option *(SP option)] ")"   SUBSCRIBED, REMOTE, RECURSIVEMATCH, SPECIAL-USE (RFC 6154 §6)
//	mbox-or-pat      = list-mailbox / "(" list-mailbox *(SP list-mailbox) ")"
//	list-return-opts = "RETURN" SP "(" [option *(SP option)] ")"
//	                   SUBSCRIBED, CHILDREN, SPECIAL-USE, STATUS SP "(" … ")" (RFC 5819 §4),
//	                   METADATA SP "(" entry *(SP entry) ")" (RFC 9590 §5), MYRIGHTS (RFC 8440 §5)
type list struct {
	reference string
	patterns  []string

	extended         bool // any of RFC 5258's syntax was used
	subscribed       bool // select
	recursive        bool // select
	special          bool // select
	returnSubscribed bool
	status           statusItems
	metadata         *getMetadata // nil without METADATA
	myRights         bool
}

func parseList(p *parser) (request, bool) {
	var c list
	if !p.WantSP() || p.Peek() == '(' && !(c.parseSelect(p) && p.WantSP()) {
		return nil, false
	}
	if !p.WantMailbox(&c.reference) || !p.WantSP() || !c.parsePatterns(p) {
		return nil, false
	}
	if p.SP() {
		c.extended = true
		if !p.WantKeyword("RETURN") || !p.WantSP() || !c.parseReturn(p) {
			return nil, false
		}
	}
	return &c, p.WantEnd()
}

func (c *list) parseSelect(p *parser) bool {
	c.extended = true
	ok := p.WantEmptyList(func() bool {
		var option string
		if !p.WantWord(&option) {
			return false
		}
		switch strings.ToUpper(option) {
		case "SUBSCRIBED":
			c.subscribed, c.returnSubscribed = true, true
		case "RECURSIVEMATCH":
			c.recursive = true
		case "SPECIAL-USE":
			c.special = true
		case "REMOTE": // there are no remote mailboxes to add
		default:
			return p.Fail("a selection option")
		}
		return true
	})
	if ok && c.recursive && !c.subscribed && !c.special {
		// RFC 5258 §3.1: RECURSIVEMATCH alone or with REMOTE only is BAD
		return p.Fail("an option that RECURSIVEMATCH can follow")
	}
	return ok
}

func (c *list) parsePatterns(p *parser) bool {
	one := func() bool {
		var pattern string
		ok := p.WantListMailbox(&pattern)
		c.patterns = append(c.patterns, pattern)
		return ok
	}
	if p.Peek() == '(' {
		c.extended = true
		return p.WantList(one)
	}
	return one()
}

func (c *list) parseReturn(p *parser) bool {
	return p.WantEmptyList(func() bool {
		var option string
		if !p.WantWord(&option) {
			return false
		}
		switch strings.ToUpper(option) {
		case "SUBSCRIBED":
			c.returnSubscribed = true
		case "CHILDREN", "SPECIAL-USE": // always returned
		case "STATUS":
			return p.WantSP() && c.status.parse(p)
		case "METADATA":
			if c.metadata == nil { // else they are all asked for (RFC 5258 §3: "as if it received the option only once")
				c.metadata = &getMetadata{options: true} // it has none here
			}
			return p.WantSP() && c.metadata.parseEntries(p)
		case "MYRIGHTS":
			if _, ok := p.s.sharer(); !ok {
				return p.Fail("a return option")
			}
			c.myRights = true
		default:
			return p.Fail("a return option")
		}
		return true
	})
}

func (c *list) run(s *Session) (view.Reply, error) {
	if !c.extended && c.patterns[0] == "" {
		// RFC 3501 §6.3.8: the separator and the root of the reference
		s.enc.Untagged().Atom("LIST").SP().FlagList([]string{`\Noselect`}).SP().Quoted(s.separator()).SP().Quoted("").CRLF()
		return view.Done("List completed."), nil
	}
	c.extended = c.extended || s.enc.Options.Rev2 // RFC 9051 has RFC 5258 within it
	if c.status.enables() {
		s.enableCondstore()
	}
	t, err := s.loadTree()
	if err != nil {
		return view.Reply{}, err
	}
	m := s.matcher(c.reference, c.patterns)
	spaces := s.cfg.Store.Namespaces()
	allListed := !slices.ContainsFunc(spaces, func(ns mailstore.Namespace) bool { return !ns.List })
	var head listHead
	for _, f := range t.folders {
		if !c.subscribed && !allListed && unlisted(spaces, f) {
			continue
		}
		child := c.recursive && t.hides(f.Name, m, c.selects)
		if !m.match(f.Name) || !c.selects(f) && !child || !c.shows(t, f, m) && !child {
			continue
		}
		more := c.selects(f) && f.Attrs&unselectable == 0
		var writeStatus func() error
		if more && len(c.status) > 0 {
			writeStatus = c.statusOf(s, &f)
		}
		c.write(s, f, child, &head)
		if more {
			c.writeMore(s, f, writeStatus)
		}
		if err := s.flushSome(); err != nil {
			return view.Reply{}, err
		}
	}
	return view.Done("List completed."), nil
}

// statusOf asks for a mailbox's STATUS before its LIST response is written, and gives what
// writes it behind that. Of a mailbox that may not be read there is none, and LIST "MUST
// include the \NoSelect attribute" (RFC 5819 §2).
func (c *list) statusOf(s *Session, f *mailstore.Folder) func() error {
	name := imapname.Name(f.Name)
	st, freed, err := s.lookStatus(name, c.status)
	if lacksRight(err) {
		f.Attrs |= mailstore.NoSelect
	}
	return func() error {
		if shown, ok := s.names.Show(name); err == nil && ok {
			s.writeItems(shown, c.status, &st, freed)
		}
		return err
	}
}

// writeMore writes what was asked for beside the LIST response of a mailbox: not of
// one that is listed for its children's sake (RFC 5819 §3, RFC 9590 §4). A mailbox
// whose STATUS or METADATA fails has no such response (RFC 5819 §2, RFC 9590 §3);
// one that another session deleted meanwhile is no news for the log.
func (c *list) writeMore(s *Session, f mailstore.Folder, writeStatus func() error) {
	warn := func(err error) {
		if err != nil && !errkind.Is(err, errkind.NotFound) && !errkind.Is(err, errkind.Invalid) && !lacksRight(err) {
			s.cfg.Log.Warn(err.Error())
		}
	}
	if writeStatus != nil {
		warn(writeStatus())
	}
	if c.metadata != nil && mailstore.AnnotatorOf(s.cfg.Store) != nil {
		c.metadata.of = annotated{mailbox: imapname.Name(f.Name)}
		_, err := s.writeMetadata(c.metadata, f)
		warn(err)
	}
	if c.myRights { // RFC 8440 §3: after the LIST response
		warn(s.writeMyRights(imapname.Name(f.Name)))
	}
}

// unlisted reports whether LIST passes a folder over: those of a namespace with
// list = "no", but for INBOX.
func unlisted(spaces []mailstore.Namespace, f mailstore.Folder) bool {
	ns, ok := spaceOf(spaces, f.Name)
	return f.Name != "INBOX" && ok && !ns.List
}

// spaceOf gives the namespace that a name belongs to: the one with the longest
// prefix that fits. The prefix itself, without its separator, is of it.
func spaceOf(spaces []mailstore.Namespace, name string) (best mailstore.Namespace, ok bool) {
	long := -1
	for _, ns := range spaces {
		if prefix := prefixOf(ns); len(prefix) > long && strings.HasPrefix(name+imapname.Separator, prefix) {
			best, long = ns, len(prefix)
		}
	}
	return best, long >= 0
}

// selects reports whether the selection options take f.
func (c *list) selects(f mailstore.Folder) bool {
	return (!c.subscribed || f.Attrs&mailstore.Subscribed != 0) && (!c.special || f.Attrs&annotation.AllUses != 0)
}

// shows reports whether a mailbox that is selected is worth a line: one that
// does not exist is if it is subscribed and that was asked for, or if there are
// mailboxes below it; under RFC 5258 only if none of these is shown itself.
func (c *list) shows(t *tree, f mailstore.Folder, m patterns) bool {
	if f.Attrs&mailstore.NonExistent == 0 || c.subscribed || t.shown[f.Name] {
		return true
	}
	if c.extended {
		for _, child := range t.below(f.Name) {
			if child.Attrs&mailstore.NonExistent == 0 && m.match(child.Name) {
				return false
			}
		}
	}
	// A name that is only subscribed to is no mailbox (RFC 5258 §3).
	return f.Attrs&mailstore.HasChildren != 0
}

// listHead is the beginning of a response, up to the name: mostly the same as the
// one before.
type listHead struct {
	attrs mailstore.Attr
	text  []byte
}

func (c *list) write(s *Session, f mailstore.Folder, child bool, head *listHead) {
	name, ok := s.names.Show(imapname.Name(f.Name))
	if !ok {
		return
	}
	if head.text == nil || head.attrs != f.Attrs {
		var e imapwire.Encoder
		e.Untagged().Atom("LIST").SP().FlagList(c.attributes(f)).SP().Quoted(s.separator()).SP()
		head.attrs, head.text = f.Attrs, e.Bytes()
	}
	s.enc.Append(head.text).Mailbox(name)
	if child {
		// RFC 5258 §3.5: it "describes the selection criteria that has caused it to be
		// returned": all, where there are several.
		s.enc.SP().Open().Quoted("CHILDINFO").SP().Open()
		if c.subscribed {
			s.enc.Quoted("SUBSCRIBED")
		}
		if c.subscribed && c.special {
			s.enc.SP()
		}
		if c.special {
			s.enc.Quoted("SPECIAL-USE")
		}
		s.enc.Close().Close()
	}
	s.enc.CRLF()
}

// attributes gives the mailbox attributes that the client is told.
func (c *list) attributes(f mailstore.Folder) []string {
	var attrs []string
	switch {
	case f.Attrs&mailstore.NonExistent != 0 && c.extended:
		// RFC 5258 §3: \NonExistent implies \Noselect, and of mbx-list-sflag there is "only
		// one per LIST response" (RFC 9051 §9). Who knows the old form alone reads \Noselect.
		attrs = append(attrs, `\NonExistent`)
	case f.Attrs&(mailstore.NoSelect|mailstore.NonExistent) != 0:
		attrs = append(attrs, `\Noselect`)
	}
	if f.Attrs&mailstore.HasChildren != 0 {
		attrs = append(attrs, `\HasChildren`)
	} else {
		attrs = append(attrs, `\HasNoChildren`)
	}
	if c.returnSubscribed && f.Attrs&mailstore.Subscribed != 0 {
		attrs = append(attrs, `\Subscribed`)
	}
	return append(attrs, annotation.UseNames(f.Attrs)...)
}
