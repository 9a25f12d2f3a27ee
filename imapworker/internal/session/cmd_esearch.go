package session

import (
	"strings"

	"rookery/imapworker/internal/view"
	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
)

// esearch = "ESEARCH" [SP esearch-source-opts] [SP search-return-opts]
//
//	          SP search-program                             RFC 7377 §4
//	esearch-source-opts = "IN" SP "(" source-mbox [SP "(" scope-options ")"] ")"
//	source-mbox = filter-mailboxes *(SP filter-mailboxes)
//
// No scope-options are defined, and so none is known. UID ESEARCH, which the text
// of §2 shows and the grammar lacks, is the same.
type esearch struct {
	tag     string
	sources []source // none: the selected mailbox
	search  view.MultiJob
}

// source is filter-mailboxes (RFC 5465 §8, RFC 7377 §4).
type source struct {
	kind  sourceKind
	names []imapname.Name // of fromMailboxes, fromSubtree, fromSubtreeOne
}

type sourceKind uint8

const (
	fromSelected sourceKind = iota
	fromPersonal
	fromSubscribed
	fromMailboxes
	fromSubtree
	fromSubtreeOne
)

// sourceKinds are the mailbox specifiers. Where mail may be delivered is for the
// user's filters to say, so "the server cannot easily compute" INBOXES and "MUST
// treat "inboxes" as equivalent to "personal"" (RFC 5465 §6.3).
var sourceKinds = map[string]sourceKind{"SELECTED": fromSelected, "INBOXES": fromPersonal, "PERSONAL": fromPersonal,
	"SUBSCRIBED": fromSubscribed, "MAILBOXES": fromMailboxes, "SUBTREE": fromSubtree, "SUBTREE-ONE": fromSubtreeOne}

// maxSources bounds the names of one command, and maxSearched the mailboxes that
// they stand for (RFC 7377 §2.4).
const (
	maxSources  = 1000
	maxSearched = 10_000
)

func parseEsearch(p *parser) (request, bool) {
	c := &esearch{tag: p.tag}
	if p.s.cfg.Multi == nil {
		return nil, p.Fail("another command")
	}
	if !p.WantSP() {
		return nil, false
	}
	if p.Keyword("IN") && !(p.WantSP() && p.WantList(func() bool { return c.source(p) }) && p.WantSP()) {
		return nil, false
	}
	var ok bool
	if c.search, ok = p.s.cfg.Multi(p.Decoder); !ok {
		return nil, false
	}
	return c, c.allowed(p)
}

// source reads one filter-mailboxes.
func (c *esearch) source(p *parser) bool {
	var word string
	if !p.WantWord(&word) {
		return false
	}
	kind, ok := sourceKinds[strings.ToUpper(word)]
	if !ok {
		return p.Fail("a mailbox specifier") // SELECTED-DELAYED is none (RFC 7377 §2.2)
	}
	src := source{kind: kind}
	if kind >= fromMailboxes && !(p.WantSP() && src.wantNames(p)) {
		return false
	}
	if len(c.sources) == maxSources {
		return p.Fail("fewer mailboxes")
	}
	c.sources = append(c.sources, src)
	return true
}

// wantNames reads one-or-more-mailbox = mailbox / "(" mailbox *(SP mailbox) ")".
func (src *source) wantNames(p *parser) bool {
	one := func() bool {
		if len(src.names) == maxSources {
			return p.Fail("fewer mailboxes")
		}
		var name imapname.Name
		before := p.nameErr
		if !p.mailbox(&name) {
			return false
		}
		if p.nameErr == before {
			src.names = append(src.names, name)
		}
		p.nameErr = before // a name that can be no mailbox's is one that is not there
		return true
	}
	if p.Peek() == '(' {
		return p.WantList(one)
	}
	return one()
}

// allowed checks what the text has BAD for.
func (c *esearch) allowed(p *parser) bool {
	onlySelected := true
	for _, src := range c.sources {
		onlySelected = onlySelected && src.kind == fromSelected
		if src.kind == fromSelected && p.s.view == nil {
			return p.Fail("a selected mailbox for SELECTED")
		}
	}
	if n, ok := c.search.(view.Numbered); ok && n.Numbered() && p.s.enc.Options.UIDOnly {
		p.uidRequired = true
		return false
	}
	switch selected := p.s.view != nil; {
	case len(c.sources) == 0 && !selected:
		return p.Fail("a selected mailbox, or source options")
	case c.search.Saves() && !onlySelected:
		return p.Fail("SAVE for the selected mailbox alone")
	case c.search.Updates() && !selected:
		return p.Fail("a selected mailbox for UPDATE")
	case c.search.Updates() && p.s.view.IsLive(p.tag):
		return p.Fail("another tag: a search with this one tells its changes")
	}
	return true
}

func (c *esearch) run(s *Session) (view.Reply, error) {
	names, err := c.mailboxes(s)
	if err != nil {
		return view.Reply{}, err
	}
	if len(names) > maxSearched {
		return view.No("LIMIT", "Too many mailboxes to search at once."), nil
	}
	var broken error // of the first mailbox that could not be searched
	searched, updated := map[mailstore.GUID]bool{}, false
	ctx := s.context(c.tag, true)
	if reply, err := c.search.Check(ctx); reply.Cond != "" || err != nil {
		return reply, err
	}
	progress := ctx.Progress
	for i, name := range names {
		selected := s.view != nil && name == s.view.Box().Info().Name
		if progress != nil {
			ctx.Progress = func(uint64, uint64) error { return progress(uint64(i), uint64(len(names))) }
			if err := ctx.Progress(0, 0); err != nil { // small ones do not call it
				return view.Reply{}, err
			}
		}
		reply, err := c.one(s, *ctx, name, selected, searched)
		updated = updated || selected
		switch {
		case s.out.err != nil || reply.Cond != "":
			return reply, err
		case err == nil, errkind.Is(err, errkind.NotFound), errkind.Is(err, errkind.Invalid), errkind.Is(err, errkind.NoPermission):
			// What may not be looked at "MUST be ignored", and must look as what is
			// not there (RFC 7377 §2.2, §5).
		case broken == nil:
			broken = err
		}
		if err := s.flushSome(); err != nil {
			return view.Reply{}, err
		}
	}
	if c.search.Updates() && !updated {
		// RFC 7377 §2.2: UPDATE "MUST apply only to the currently selected mailbox"
		s.enc.Status("", imapwire.NO, noUpdate(c.tag), "The selected mailbox was not searched.")
	}
	if broken != nil {
		return view.Reply{}, broken
	}
	return view.Done("Esearch completed."), nil
}

func noUpdate(tag string) imapwire.Code {
	if strings.Contains(tag, "]") {
		return imapwire.Code{}
	}
	return imapwire.Code{Name: "NOUPDATE", Args: `"` + tag + `"`}
}

// one searches one mailbox. All but the selected one are opened for it, to look
// only: no message loses its \Recent.
func (c *esearch) one(s *Session, ctx view.Context, name mailstore.Name, selected bool, searched map[mailstore.GUID]bool) (view.Reply, error) {
	shown, ok := s.names.Show(imapname.Name(name))
	if !ok {
		return view.Reply{}, nil
	}
	if !selected {
		box, err := s.cfg.Store.Open(name)
		if err != nil {
			return view.Reply{}, err
		}
		defer box.Close()
		if ctx.View, err = view.New(box, true); err != nil {
			return view.Reply{}, err
		}
	}
	// The same mailbox under two names is searched once (RFC 7377 §2.2: "MUST defend
	// against loops in the hierarchy").
	if guid := ctx.View.Box().Info().GUID; guid != (mailstore.GUID{}) {
		if searched[guid] {
			return view.Reply{}, nil
		}
		searched[guid] = true
	}
	return c.search.Search(&ctx, shown, selected)
}

// mailboxes gives the names to search, each once: the selected mailbox first, then
// in the order of the options.
func (c *esearch) mailboxes(s *Session) (names []mailstore.Name, err error) {
	seen := map[mailstore.Name]bool{}
	add := func(name mailstore.Name) {
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	if len(c.sources) == 0 {
		return []mailstore.Name{s.view.Box().Info().Name}, nil
	}
	var folders []mailstore.Folder
	for _, src := range c.sources {
		switch src.kind {
		case fromSelected:
			add(s.view.Box().Info().Name)
			continue
		case fromMailboxes:
			for _, name := range src.names {
				add(string(name))
			}
			continue
		}
		if folders == nil {
			if folders, err = s.cfg.Store.List(); err != nil {
				return nil, err
			}
		}
		for _, f := range folders {
			if f.Attrs&(mailstore.NoSelect|mailstore.NonExistent) == 0 && src.holds(s, f) {
				add(f.Name)
			}
		}
	}
	return names, nil
}

// holds reports whether a mailbox of the list is one of the source's.
func (src *source) holds(s *Session, f mailstore.Folder) bool {
	name := imapname.Name(f.Name)
	switch src.kind {
	case fromSubscribed:
		return f.Attrs&mailstore.Subscribed != 0
	case fromPersonal:
		ns, ok := spaceOf(s.cfg.Store.Namespaces(), f.Name)
		return ok && ns.Kind == mailstore.Private || name == imapname.Inbox
	}
	for _, root := range src.names {
		if name == root || name.Below(root) && (src.kind == fromSubtree || name.Parent() == root) {
			return true
		}
	}
	return false
}
