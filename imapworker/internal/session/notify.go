package session

import (
	"errors"
	"slices"
	"strings"
	"time"

	"rookery/imapworker/internal/view"
	"rookery/internal/imapname"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// events are what a client of NOTIFY can ask for (RFC 5465 §5).
type events uint8

const (
	messageNew events = 1 << iota
	messageExpunge
	flagChange
	mailboxName
	subscriptionChange
	mailboxMetadata
	serverMetadata

	messageEvents = messageNew | messageExpunge | flagChange
)

// eventNames are those that there are, in the order in which BADEVENT lists them.
var eventNames = []struct {
	name  string
	event events
}{
	{"MessageNew", messageNew}, {"MessageExpunge", messageExpunge}, {"FlagChange", flagChange},
	{"MailboxName", mailboxName}, {"SubscriptionChange", subscriptionChange},
	{"MailboxMetadataChange", mailboxMetadata}, {"ServerMetadataChange", serverMetadata},
}

// Bounds of one NOTIFY.
const (
	maxEventGroups   = 64
	maxNotifyNames   = 1000
	maxNotifyFolders = 20_000 // mailboxes that are watched
)

// eventGroup says what is told of some mailboxes other than the selected one.
type eventGroup struct {
	filter string // INBOXES, PERSONAL, SUBSCRIBED, SUBTREE or MAILBOXES
	names  []imapname.Name
	events events
}

// notify = "NOTIFY" SP ("SET" [SP "STATUS"] 1*(SP event-group) / "NONE")   RFC 5465 §8
type notifyCommand struct {
	set        bool
	status     bool
	selected   bool // SELECTED or SELECTED-DELAYED was given
	delayed    bool
	events     events // of the selected mailbox
	items      []byte // what FETCH tells of new messages there: "(" fetch-att … ")"; nil for nothing
	groups     []eventGroup
	unknown    bool // an event was named that there is not
	tooComplex bool
}

func parseNotify(p *parser) (request, bool) {
	c := &notifyCommand{}
	if !p.WantSP() {
		return nil, false
	}
	if p.Keyword("NONE") {
		return c, p.WantEnd()
	}
	if !p.WantKeyword("SET") || !p.WantSP() {
		return nil, false
	}
	c.set = true
	if p.Keyword("STATUS") {
		c.status = true
		if !p.WantSP() {
			return nil, false
		}
	}
	for {
		if !c.group(p) {
			return nil, false
		}
		if !p.SP() {
			return c, p.WantEnd()
		}
	}
}

// group reads one event-group.
//
//	event-group = "(" filter-mailboxes SP events ")"
func (c *notifyCommand) group(p *parser) bool {
	var g eventGroup
	if !p.WantByte('(') || !p.WantAtom(&g.filter) {
		return false
	}
	g.filter = strings.ToUpper(g.filter)
	selected := false
	switch g.filter {
	case "SELECTED", "SELECTED-DELAYED":
		if c.selected {
			return p.Fail("SELECTED or SELECTED-DELAYED once")
		}
		selected, c.selected, c.delayed = true, true, g.filter != "SELECTED"
	case "INBOXES", "PERSONAL", "SUBSCRIBED":
	case "SUBTREE", "MAILBOXES":
		if !p.WantSP() || !c.names(p, &g) {
			return false
		}
	default:
		return p.Fail("SELECTED, SELECTED-DELAYED, INBOXES, PERSONAL, SUBSCRIBED, SUBTREE or MAILBOXES")
	}
	if !p.WantSP() || !c.readEvents(p, &g, selected) || !p.WantByte(')') {
		return false
	}
	if selected {
		c.events = g.events
	} else {
		c.groups = append(c.groups, g)
		c.tooComplex = c.tooComplex || len(c.groups) > maxEventGroups
	}
	return true
}

// names reads one mailbox, or a list of them. A name that can be no mailbox's is
// passed over, as one is that there is not (RFC 5465 §3.1).
func (c *notifyCommand) names(p *parser, g *eventGroup) bool {
	one := func() bool {
		var name imapname.Name
		before := p.nameErr
		if !p.mailbox(&name) {
			return false
		}
		if p.nameErr == nil {
			g.names = append(g.names, name)
		}
		p.nameErr = before
		c.tooComplex = c.tooComplex || len(g.names) > maxNotifyNames
		return true
	}
	if p.Peek() == '(' {
		return p.WantList(one)
	}
	return one()
}

// readEvents reads the events of a group, and refuses what cannot stand together
// (RFC 5465 §5).
//
//	events        = "(" event *(SP event) ")" / "NONE"
//	message-event = "MessageNew" [SP "(" fetch-att *(SP fetch-att) ")"] / …
func (c *notifyCommand) readEvents(p *parser, g *eventGroup, selected bool) bool {
	if p.Keyword("NONE") {
		return true
	}
	if !p.WantByte('(') {
		return false
	}
	for {
		var name string
		if !p.WantAtom(&name) {
			return false
		}
		event := eventOf(name)
		if event == 0 {
			c.unknown = true
		}
		g.events |= event
		more := p.SP()
		if more && event == messageNew && p.Peek() == '(' {
			if !selected {
				return p.Fail("FETCH items for the selected mailbox alone")
			}
			if !c.fetchItems(p) {
				return false
			}
			more = p.SP()
		}
		if !more {
			break
		}
	}
	switch both := messageNew | messageExpunge; {
	case g.events&messageEvents != 0 && g.events&both != both:
		return p.Fail("MessageNew and MessageExpunge together")
	case selected && g.events&^messageEvents != 0:
		return p.Fail("events of messages for the selected mailbox")
	}
	return p.WantByte(')')
}

// eventOf gives the event of a name, 0 if there is none such. AnnotationChange and
// events of later standards are none.
func eventOf(name string) events {
	for _, e := range eventNames {
		if strings.EqualFold(e.name, name) {
			return e.event
		}
	}
	return 0
}

// fetchItems reads what FETCH is to tell of new messages.
func (c *notifyCommand) fetchItems(p *parser) bool {
	raw, ok := p.RawList()
	if !ok {
		return p.Fail("a list of FETCH items")
	}
	c.items = slices.Clone(raw)
	if _, ok := p.s.fetchNew(c.items, "1"); !ok {
		return p.Fail("FETCH items")
	}
	return true
}

// fetchNew makes a UID FETCH of new messages.
func (s *Session) fetchNew(items []byte, uids string) (*job, bool) {
	d := imapwire.NewDecoder([]byte(" "+uids+" "+string(items)), limits(s.cfg.Settings))
	j, ok := s.cfg.Fetch(d, true)
	return &job{Job: j, uid: true}, ok
}

func (c *notifyCommand) run(s *Session) (view.Reply, error) {
	switch {
	case c.unknown:
		// RFC 5465 §3.1: NO, which "MUST list names of all events supported"
		var names []string
		for _, e := range eventNames {
			names = append(names, e.name)
		}
		return view.Reply{Cond: imapwire.NO, Code: imapwire.Code{Name: "BADEVENT", Args: "(" + strings.Join(names, " ") + ")"}, Text: "There is no such event here."}, nil
	case c.tooComplex:
		return view.No("NOTIFICATIONOVERFLOW", "Too many mailboxes."), nil
	}
	// What has gathered is told, whatever is told from now on; of other mailboxes, too: a
	// client that says NOTIFY SET without STATUS goes on from what it was told.
	before := s.notify
	if c.set {
		s.tellOthers(nil)
	}
	s.notify = nil
	if c.set {
		s.tell(view.May{Expunge: true, Exists: true, UID: true}, true)
	}
	n := newNotify(c)
	s.watching(n)
	if err := n.begin(s); err != nil {
		// Only a successful NOTIFY changes what is told (RFC 5465 §3.1).
		s.notify = before
		s.watching(before)
		if errors.Is(err, errOverflow) {
			return view.No("NOTIFICATIONOVERFLOW", "Too many mailboxes."), nil
		}
		return view.Reply{}, err
	}
	s.notify = n
	if n.wants(mailboxMetadata | serverMetadata) {
		s.watchMetadata()
	}
	return view.Done("Notify completed."), nil
}

func newNotify(c *notifyCommand) *notify {
	return &notify{notifyCommand: *c, boxes: map[mailstore.Name]*toldStatus{}, denied: map[mailstore.Name]bool{}, guids: map[mailstore.GUID]mailstore.Name{}}
}

// watching has others wake the session when they change what n speaks of: before the
// first look, so that nothing falls between.
func (s *Session) watching(n *notify) {
	if s.cfg.Watching != nil {
		s.cfg.Watching(n.hears(^events(0)))
	}
}

// endNotify tells nothing any more, as if NOTIFY NONE had been received (RFC 5465 §5.8:
// MUST, and MUST say so).
func (s *Session) endNotify() {
	s.notify = newNotify(&notifyCommand{})
	s.watching(s.notify)
	s.enc.Status("", imapwire.OK, imapwire.Code{Name: "NOTIFICATIONOVERFLOW"}, "Too many mailboxes.")
}

// notify is what a client has asked to be told without asking again.
type notify struct {
	notifyCommand
	own    numset.Set // messages of the selected mailbox that this session added
	closed numset.Set // messages of it that CLOSE has expunged

	// Of other mailboxes, see notify_others.go and notify_known.go:
	folders []mailstore.Folder // what the client knows of names
	boxes   map[mailstore.Name]*toldStatus
	denied  map[mailstore.Name]bool           // those of which the client was told that it may not read them
	guids   map[mailstore.GUID]mailstore.Name // where a mailbox was: it may get another name
	looked  time.Time                         // when others were looked at last
	due     time.Time                         // when they are to be looked at again
}

// listening reports whether the client can be told something now: in IDLE, or with
// NOTIFY at any time, but not in the middle of an APPEND.
func (s *Session) listening() bool {
	return s.idle != nil || s.notify != nil && s.append == nil
}

// notifyDue is when tickNotify is due, zero for never.
func (s *Session) notifyDue() time.Time {
	if n := s.notify; n != nil && (n.events != 0 || len(n.groups) > 0) {
		return n.due
	}
	return time.Time{}
}

// tickNotify tells what is new, if it is time for that.
func (s *Session) tickNotify() {
	due := s.notifyDue()
	if due.IsZero() || s.now.Before(due) {
		return
	}
	s.notify.wait(s)
	if s.append != nil {
		return
	}
	s.tellIdle(true)
	s.tellOthers(nil)
	s.flush()
}

// mayTell says what of the selected mailbox may be told to a client that has used
// NOTIFY; ok is false for nothing. What the command under way has expunged is told
// in any case.
func (s *Session) mayTell(may view.May) (_ view.May, ok bool) {
	n := s.notify
	if n == nil || s.removed {
		return may, true
	}
	may.UID = true // RFC 5465 §5.1: "MUST include UID"
	may.NoFlags = n.events&flagChange == 0
	return may, n.events&messageEvents != 0
}

// tellNew tells what NOTIFY asks for of messages that were told by EXISTS just now,
// from UID next on.
func (s *Session) tellNew(next mailstore.UID) error {
	n := s.notify
	if n == nil || n.items == nil || s.view == nil || s.view.Told().UIDNext() <= next {
		return nil
	}
	fresh := numset.Span(next, s.view.Told().UIDNext()-1).Minus(n.own)
	n.own = numset.Set{}
	var there numset.Set
	for _, uid := range s.view.Each(fresh) {
		there.Add(uid)
	}
	if there.Empty() {
		return nil
	}
	j, ok := s.fetchNew(n.items, there.String())
	if !ok {
		return nil
	}
	_, err := j.run(s)
	return err
}
