package session

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"

	"rookery/imapworker/internal/view"
	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/annotation"
)

// annotated names what a command's annotations are of: a mailbox, or with "" the
// server, which is to say the user's mail as a whole.
type annotated struct {
	mailbox imapname.Name
	server  bool
}

// parse reads the mailbox name, where "" is the server (RFC 5464 §4.1).
func (a *annotated) parse(p *parser) bool {
	var raw string
	if !p.WantMailbox(&raw) {
		return false
	}
	a.server = raw == ""
	return a.server || p.mailboxName(raw, &a.mailbox, p.s.cfg.Settings.ExtraSeparator)
}

// look finds the mailbox: a name that LIST does not show has no annotations
// (RFC 5464 §3.3), nor has one that is only a parent, since nothing that lasts
// belongs to it.
func (a *annotated) look(s *Session) (f mailstore.Folder, err error) {
	if a.server {
		return f, nil
	}
	f, err = s.cfg.Store.Lookup(string(a.mailbox))
	if err == nil && f.Attrs&(mailstore.NoSelect|mailstore.NonExistent) != 0 {
		err = errkind.Newf("annotations", errkind.Invalid, "the name is only a parent of mailboxes")
	}
	return f, err
}

// getmetadata = "GETMETADATA" [SP getmetadata-options] SP mailbox SP entries   RFC 5464 §5
//
//	getmetadata-options = "(" getmetadata-option *(SP getmetadata-option) ")"
//	getmetadata-option  = "MAXSIZE" SP number / "DEPTH" SP ("0" / "1" / "infinity")
//	entries             = entry / "(" entry *(SP entry) ")"
//
// The RFC's own examples have the options behind the mailbox (erratum 2785 calls
// them wrong), and clients were written by them: both is taken.
type getMetadata struct {
	of      annotated
	options bool // some were given
	limited bool // MAXSIZE was given
	maxSize uint32
	deep    bool // DEPTH was given
	depth   int
	entries []string
}

func parseGetMetadata(p *parser) (request, bool) {
	c := &getMetadata{}
	if !p.WantSP() || p.Peek() == '(' && !(p.WantList(func() bool { return c.option(p) }) && p.WantSP()) {
		return nil, false
	}
	if !c.of.parse(p) || !p.WantSP() || !c.parseEntries(p) {
		return nil, false
	}
	if len(c.entries) == 0 && !(p.WantSP() && c.parseEntries(p)) {
		return nil, false
	}
	return c, len(c.entries) > 0 && p.WantEnd()
}

// parseEntries reads entries, or options that stand in their place.
func (c *getMetadata) parseEntries(p *parser) bool {
	one := func() bool {
		var entry string
		ok := wantEntry(p, &entry, annotation.CheckPrefix)
		c.entries = append(c.entries, entry)
		return ok
	}
	if p.Peek() != '(' {
		return one()
	}
	first, options := true, false
	return p.WantList(func() bool {
		if first && !c.options {
			next := p.Peek()
			options = next != '/' && next != '"' && next != '{'
		}
		if first = false; options {
			return c.option(p)
		}
		return one()
	})
}

func (c *getMetadata) option(p *parser) bool {
	var name string
	if !p.WantWord(&name) {
		return false
	}
	c.options = true
	switch name = strings.ToUpper(name); {
	case name == "MAXSIZE" && !c.limited:
		c.limited = true
		return p.WantSP() && p.WantNumber(&c.maxSize)
	case name == "DEPTH" && !c.deep:
		c.deep = true
		return p.WantSP() && c.wantDepth(p)
	}
	return p.Fail("MAXSIZE or DEPTH, once")
}

func (c *getMetadata) wantDepth(p *parser) bool {
	switch {
	case p.Keyword("0"):
	case p.Keyword("1"):
		c.depth = annotation.Depth1
	case p.Keyword("infinity"):
		c.depth = annotation.DepthInfinity
	default:
		return p.Fail("0, 1 or infinity")
	}
	return true
}

// wantEntry demands an entry's name: RFC 5464 §3.2: "Invalid entry names result in
// a BAD response in any IMAP command in which they are used."
func wantEntry(p *parser, entry *string, check func(string) error) bool {
	if !p.WantAstring(entry) {
		return false
	}
	if check(*entry) != nil {
		return p.Fail("an entry name")
	}
	return true
}

func (c *getMetadata) run(s *Session) (view.Reply, error) {
	f, err := c.of.look(s)
	if err != nil {
		return view.Reply{}, err
	}
	longest, err := s.writeMetadata(c, f)
	if err != nil {
		return view.Reply{}, err
	}
	reply := view.Done("Getmetadata completed.")
	if longest > 0 {
		reply.Code = imapwire.Code{Name: "METADATA", Args: "LONGENTRIES " + strconv.Itoa(longest)}
	}
	return reply, nil
}

// metadataPiece is about how many octets of entries and values one METADATA
// response holds.
const metadataPiece = 16 << 10

// writeMetadata writes METADATA responses with the entries asked for. longest is
// the size of the largest value that MAXSIZE left out, 0 if it left none out.
func (s *Session) writeMetadata(c *getMetadata, f mailstore.Folder) (longest int, err error) {
	notes := mailstore.AnnotatorOf(s.cfg.Store)
	if notes == nil {
		return 0, errNoAnnotations()
	}
	shown, ok := "", true
	if !c.of.server {
		if shown, ok = s.names.Show(c.of.mailbox); !ok {
			return 0, nil
		}
	}
	list, err := notes.Annotations(string(c.of.mailbox))
	if err != nil {
		return 0, err
	}
	if uses := annotation.UseNames(f.Attrs); len(uses) > 0 {
		list = append(slices.Clone(list), mailstore.Annotation{Entry: annotation.SpecialUse, Value: []byte(strings.Join(uses, " "))})
	}
	size := 0
	for _, a := range c.choose(list, &longest) {
		if size == 0 {
			s.enc.Untagged().Atom("METADATA").SP().Mailbox(shown).SP().Open()
		} else {
			s.enc.SP()
		}
		s.enc.Astring(a.Entry).SP()
		s.writeValue(a.Value)
		if size += len(a.Entry) + len(a.Value) + 1; size >= metadataPiece {
			s.enc.Close().CRLF()
			size = 0
			if err := s.flushSome(); err != nil {
				return longest, err
			}
		}
	}
	if size > 0 {
		s.enc.Close().CRLF()
	}
	return longest, nil
}

// choose gives the entries to tell, each once: those that are there, in the order
// of the names asked for, and NIL for a name with nothing at it or below.
func (c *getMetadata) choose(list []mailstore.Annotation, longest *int) (out []mailstore.Annotation) {
	told := map[string]bool{}
	for _, named := range c.entries {
		found := false
		for _, a := range list {
			key := annotation.Fold(a.Entry)
			if !annotation.Below(key, named, c.depth) {
				continue
			}
			found = true
			switch {
			case told[key]:
				continue
			case c.limited && int64(len(a.Value)) > int64(c.maxSize):
				*longest = max(*longest, len(a.Value))
				continue
			case key == annotation.Fold(named):
				a.Entry = named // as the client spells it
			}
			told[key] = true
			out = append(out, a)
		}
		if key := annotation.Fold(named); !found && !told[key] {
			told[key] = true
			out = append(out, mailstore.Annotation{Entry: named})
		}
	}
	return out
}

// writeValue writes value = nstring / literal8.
func (s *Session) writeValue(value []byte) {
	switch {
	case value == nil:
		s.enc.Nil()
	case bytes.IndexByte(value, 0) >= 0:
		if s.enc.Literal(int64(len(value)), true) {
			s.enc.Body(value, true)
		}
	default:
		s.enc.String(string(value))
	}
}

// setmetadata = "SETMETADATA" SP mailbox SP "(" entry-value *(SP entry-value) ")"   RFC 5464 §5
//
//	entry-value = entry SP (nstring / literal8)
type setMetadata struct {
	of      annotated
	changes []mailstore.Annotation
}

func parseSetMetadata(p *parser) (request, bool) {
	c := &setMetadata{}
	return c, p.WantSP() && c.of.parse(p) && p.WantSP() && p.WantList(func() bool {
		var a mailstore.Annotation
		if !wantEntry(p, &a.Entry, annotation.Check) || !p.WantSP() || !wantValue(p, &a.Value) {
			return false
		}
		c.changes = append(c.changes, a)
		return true
	}) && p.WantEnd()
}

// wantValue demands a value; NIL is nil, an empty string is not.
func wantValue(p *parser, value *[]byte) bool {
	if p.Keyword("NIL") {
		return true
	}
	var raw []byte
	if next := p.Peek(); next == '~' || next == '{' {
		if !p.WantBinary(&raw) {
			return false
		}
	} else if !p.StringBytes(&raw) {
		return p.Fail("a string, a literal or NIL")
	}
	*value = append([]byte{}, raw...)
	return true
}

func (c *setMetadata) run(s *Session) (view.Reply, error) {
	if _, err := c.of.look(s); err != nil {
		return view.Reply{}, err
	}
	notes := mailstore.AnnotatorOf(s.cfg.Store)
	if notes == nil {
		return view.Reply{}, errNoAnnotations()
	}
	if refused, bad := s.badFilter(c.changes); bad && c.of.server {
		return refused, nil
	}
	number, err := notes.Annotate(string(c.of.mailbox), c.changes)
	switch {
	case errkind.Is(err, errkind.TooBig):
		limits := notes.AnnotationLimits()
		if other := (*mailstore.TooLong)(nil); errors.As(err, &other) {
			limits.Value = other.Max // another user's
		}
		return tooLong(limits), nil
	case errkind.Is(err, errkind.Limit):
		return view.Reply{Cond: imapwire.NO, Code: imapwire.Code{Name: "METADATA", Args: "TOOMANY"}, Text: "There are too many annotations."}, nil
	case errkind.Is(err, errkind.Invalid) && c.assigns():
		return badUse(), nil
	case err != nil:
		return view.Reply{}, err
	}
	s.changed() // the user's other workers tell their clients
	if s.stopNotes != nil {
		s.ownNotes = append(s.ownNotes, number)
	}
	return view.Done("Setmetadata completed."), nil
}

// assigns reports whether special uses are among what is set.
func (c *setMetadata) assigns() bool {
	return slices.ContainsFunc(c.changes, func(a mailstore.Annotation) bool { return annotation.Fold(a.Entry) == annotation.SpecialUse })
}

func badUse() view.Reply { return view.No("USEATTR", "No mailbox can have this special use here.") }

// tooLong is the answer to a value that is too large (RFC 5464 §4.3).
func tooLong(limits mailstore.AnnotationLimits) view.Reply {
	return view.Reply{Cond: imapwire.NO, Code: imapwire.Code{Name: "METADATA", Args: "MAXSIZE " + strconv.FormatInt(limits.Value, 10)},
		Text: "The value is too long."}
}

func errNoAnnotations() error {
	return errkind.Newf("annotations", errkind.Unavailable, "this store keeps no annotations")
}

// longValue refuses a literal of SETMETADATA that can be no value before it is sent.
func (s *Session) longValue(lit imapwire.Announced) (refused view.Reply, yes bool) {
	d := imapwire.NewDecoder(lit.Prefix, limits(s.cfg.Settings))
	var tag string
	if !d.WantTag(&tag) || !d.WantSP() || !d.Keyword("SETMETADATA") {
		return refused, false
	}
	notes := mailstore.AnnotatorOf(s.cfg.Store)
	if notes == nil || lit.Size <= notes.AnnotationLimits().Value {
		return refused, false
	}
	return tooLong(notes.AnnotationLimits()), true
}
