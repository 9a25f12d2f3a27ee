package session

import (
	"errors"
	"slices"
	"strings"
	"time"

	"rookery/internal/imapname"
	"rookery/internal/mailstore"
)

// eventsOf gives what the client is told of a mailbox.
func (n *notify) eventsOf(s *Session, f mailstore.Folder) (out events) {
	for _, g := range n.groups {
		if g.holds(s, f) {
			out |= g.events
		}
	}
	return out
}

// holds reports whether the group speaks of a mailbox.
func (g *eventGroup) holds(s *Session, f mailstore.Folder) bool {
	switch g.filter {
	case "SUBSCRIBED":
		return f.Attrs&mailstore.Subscribed != 0
	case "MAILBOXES":
		return slices.Contains(g.names, imapname.Name(f.Name))
	case "SUBTREE":
		return slices.ContainsFunc(g.names, func(top imapname.Name) bool {
			return f.Name == string(top) || strings.HasPrefix(f.Name, string(top)+imapname.Separator)
		})
	}
	// Deliveries may go into any mailbox: INBOXES is the same as PERSONAL (§6.3).
	ns, ok := spaceOf(s.cfg.Store.Namespaces(), f.Name)
	return !ok || ns.Kind == mailstore.Private
}

// wants reports whether any group asks for some of the events.
func (n *notify) wants(e events) bool {
	return slices.ContainsFunc(n.groups, func(g eventGroup) bool { return g.events&e != 0 })
}

const unselectable = mailstore.NoSelect | mailstore.NonExistent

// begin looks at all mailboxes for the first time, and tells their STATUS if that
// was asked for.
func (n *notify) begin(s *Session) error {
	n.wait(s)
	if !n.wants(^events(0)) {
		return nil
	}
	t, err := s.loadTree()
	if err != nil {
		return err
	}
	if len(t.folders) > maxNotifyFolders {
		return errOverflow
	}
	n.folders = t.folders
	names := n.wants(mailboxName)
	for _, f := range n.folders {
		want := n.eventsOf(s, f)
		s.followNotes(f, want)
		if f.Attrs&unselectable != 0 || want&^serverMetadata == 0 && !names {
			continue
		}
		st, err := s.cfg.Store.Status(f.Name, mailstore.StatusWant{})
		if lacksRight(err) && want&^serverMetadata != 0 {
			n.denies(s, f.Name)
		}
		if err != nil {
			continue // it is gone, or cannot be read: there is nothing to tell of it
		}
		n.guids[st.GUID] = f.Name
		if want&messageEvents == 0 {
			continue
		}
		n.boxes[f.Name] = statusTold(&st)
		if n.status && !s.isSelected(f.Name) {
			s.writeStatusOf(imapname.Name(f.Name), initial(want), &st)
		}
		if err := s.flushSome(); err != nil {
			return err
		}
	}
	return nil
}

// errOverflow says that there are more mailboxes than are watched.
var errOverflow = errors.New("too many mailboxes to be watched")

// denies tells of a mailbox that can be listed and not be read, which every event needs
// (RFC 5465 §3.1: "MUST respond with an untagged extended LIST response containing the
// \NoAccess name attribute"; §5).
func (n *notify) denies(s *Session, name mailstore.Name) {
	n.denied[name] = true
	s.writeName([]string{`\NoAccess`}, imapname.Name(name), "")
}

// allows tells of one that can be read again (RFC 5465 §5.9: SHOULD).
func (n *notify) allows(s *Session, f mailstore.Folder) {
	delete(n.denied, f.Name)
	s.writeName(shownChange(f), imapname.Name(f.Name), "")
}

// shownChange gives the attributes of a name that NOTIFY tells of: all, and they "MUST be
// accurately computed" (RFC 5465 §5.5).
func shownChange(f mailstore.Folder) []string {
	return (&list{extended: true, returnSubscribed: true}).attributes(f)
}

func (s *Session) isSelected(name mailstore.Name) bool {
	return s.view != nil && s.view.Box().Info().Name == name
}

// otherGap is the least time between two looks at other mailboxes: changes that
// come fast are told together.
const otherGap = 100 * time.Millisecond

// wait says when other mailboxes are looked at again although nobody told that
// they changed: other programs do not. The more there are the rarer.
func (n *notify) wait(s *Session) {
	n.looked = s.now
	n.due = s.now.Add(s.cfg.Settings.Poll * time.Duration(1+len(n.folders)/1000))
}

// soon is called when some mailbox changed.
func (n *notify) soon(s *Session) {
	if at := n.looked.Add(otherGap); at.Before(n.due) {
		n.due = at
	}
}

// tellOthers tells what is new in mailboxes that are not selected. What names
// the command under way has touched is no news to its client.
func (s *Session) tellOthers(touched []imapname.Name) {
	n := s.notify
	if n == nil || s.end != Running || !n.wants(^events(0)) {
		return
	}
	t, err := s.loadTree()
	if err == nil && len(t.folders) > maxNotifyFolders {
		s.endNotify()
		return
	}
	if err == nil {
		err = n.tellNames(s, t.folders, touched)
	}
	if err == nil {
		err = n.tellBoxes(s)
	}
	if err != nil {
		s.cfg.Log.Warn("looking for changes: " + err.Error())
	}
}

// tellBoxes tells of changes in mailboxes.
func (n *notify) tellBoxes(s *Session) error {
	for _, f := range n.folders {
		want := n.eventsOf(s, f)
		s.followNotes(f, want)
		if f.Attrs&unselectable != 0 || want&messageEvents == 0 && !n.denied[f.Name] {
			continue
		}
		n.tellBox(s, f, want)
		if err := s.flushSome(); err != nil {
			return err
		}
	}
	return nil
}

// tellBox tells of changes in one.
func (n *notify) tellBox(s *Session, f mailstore.Folder, want events) {
	st, err := s.cfg.Store.Status(f.Name, mailstore.StatusWant{})
	switch {
	case lacksRight(err) && !n.denied[f.Name]:
		n.denies(s, f.Name)
	case err == nil && n.denied[f.Name]:
		n.allows(s, f)
	}
	if err != nil || want&messageEvents == 0 {
		return // may not be read: it is told of again once it may (§5.9); or gone: its name is told of next time
	}
	old := n.boxes[f.Name]
	if old == nil { // it is new: what came into it is
		old = &toldStatus{uidNext: st.UIDNext, validity: st.UIDValidity, modSeq: st.HighestModSeq}
	}
	n.boxes[f.Name] = statusTold(&st)
	if s.isSelected(f.Name) {
		return // SELECTED says what is told of it (RFC 5465 §3.1)
	}
	if items := old.news(&st, want, s.condstore); len(items) > 0 {
		s.writeStatusOf(imapname.Name(f.Name), items, &st)
	}
}

// tellNames tells of mailboxes that were made, deleted, renamed, and of
// subscriptions (RFC 5465 §5.4, §5.5).
func (n *notify) tellNames(s *Session, folders []mailstore.Folder, touched []imapname.Name) error {
	if slices.Equal(n.folders, folders) {
		return nil
	}
	d := &nameChanges{session: s, notify: n, old: byName(n.folders), now: byName(folders), told: map[mailstore.Name]bool{}}
	for _, name := range touched {
		d.told[string(name)], d.told[string(name.Parent())] = true, true
	}
	n.folders = folders
	d.renamed()
	for _, f := range folders {
		was, ok := d.old[f.Name]
		if exists(f) && !(ok && exists(was)) {
			d.affected(f.Name, mailboxName, "")
		}
		if (was.Attrs^f.Attrs)&mailstore.Subscribed != 0 {
			d.affected(f.Name, subscriptionChange, "")
		}
	}
	for name, was := range d.old {
		f, ok := d.now[name]
		if exists(was) && !(ok && exists(f)) {
			// What the client knows of it is kept: should another mailbox get the name, it
			// has to hear of the other UIDVALIDITY (RFC 5465 §5.1: MUST).
			if d.told[name] || len(n.boxes) > maxNotifyFolders {
				delete(n.boxes, name)
			}
			delete(n.denied, name)
			d.affected(name, mailboxName, "")
		}
		if !ok && was.Attrs&mailstore.Subscribed != 0 {
			d.affected(name, subscriptionChange, "")
		}
	}
	return d.write()
}

func byName(folders []mailstore.Folder) map[mailstore.Name]mailstore.Folder {
	out := make(map[mailstore.Name]mailstore.Folder, len(folders))
	for _, f := range folders {
		out[f.Name] = f
	}
	return out
}

func exists(f mailstore.Folder) bool { return f.Attrs&mailstore.NonExistent == 0 }

// nameChanges is a comparison of two lists of mailboxes.
type nameChanges struct {
	session  *Session
	notify   *notify
	old, now map[mailstore.Name]mailstore.Folder
	told     map[mailstore.Name]bool // these are no news (any more)
	lines    []nameLine
}

// nameLine is a LIST response to write.
type nameLine struct {
	name    mailstore.Name
	oldName mailstore.Name
}

// affected notes a name for a LIST response if the client wants to hear of it: of a
// mailbox that was renamed by either name. With a mailbox that is made or deleted its
// parent is affected too.
func (d *nameChanges) affected(name mailstore.Name, event events, oldName mailstore.Name) {
	if !d.told[name] && (d.wants(name, event) || oldName != "" && d.wants(oldName, event)) {
		d.told[name] = true
		d.lines = append(d.lines, nameLine{name, oldName})
	}
	parent := string(imapname.Name(name).Parent())
	if event == mailboxName && oldName == "" && parent != "" && !d.told[parent] && d.wants(parent, mailboxName) {
		d.told[parent] = true
		d.lines = append(d.lines, nameLine{name: parent})
	}
}

func (d *nameChanges) wants(name mailstore.Name, event events) bool {
	was, now := d.old[name], d.now[name]
	// What is not there any more is asked for by what it was.
	return d.notify.eventsOf(d.session, mailstore.Folder{Name: name, Attrs: was.Attrs | now.Attrs})&event != 0
}

// renamed finds mailboxes that have another name now. Those below go with it
// and are not told of (RFC 5465 §5.4), unless the client hears nothing of it.
func (d *nameChanges) renamed() {
	n := d.notify
	var fresh []mailstore.Name
	for name, f := range d.now {
		if was, ok := d.old[name]; exists(f) && f.Attrs&unselectable == 0 && !(ok && exists(was)) {
			fresh = append(fresh, name)
		}
	}
	slices.Sort(fresh) // what is above comes first
	for _, name := range fresh {
		st, err := d.session.cfg.Store.Status(name, mailstore.StatusWant{})
		if err != nil {
			continue
		}
		from, known := n.guids[st.GUID]
		n.guids[st.GUID] = name
		if f, ok := d.now[from]; !known || from == name || ok && exists(f) && from != "INBOX" {
			continue
		}
		if !d.told[name] { // else its parent was renamed, and it with it
			d.affected(name, mailboxName, from)
		}
		knows := d.told[name] || d.told[from] // the client, where it went
		d.told[name], d.told[from] = true, true
		if !knows {
			continue
		}
		if box := n.boxes[from]; box != nil && from != "INBOX" {
			n.boxes[name] = box
			delete(n.boxes, from)
		}
		for below := range d.now {
			if rest, ok := strings.CutPrefix(below, name+imapname.Separator); ok {
				if was, ok := d.old[from+imapname.Separator+rest]; ok && exists(was) {
					d.told[below], d.told[was.Name] = true, true
				}
			}
		}
	}
}

// write writes the LIST responses, names in order.
func (d *nameChanges) write() error {
	slices.SortFunc(d.lines, func(a, b nameLine) int { return strings.Compare(a.name, b.name) })
	s := d.session
	for _, l := range d.lines {
		f, ok := d.now[l.name]
		if !ok {
			f = mailstore.Folder{Name: l.name, Attrs: mailstore.NonExistent}
		}
		old := ""
		if l.oldName != "" {
			old, _ = s.names.Show(imapname.Name(l.oldName))
		}
		s.writeName(shownChange(f), imapname.Name(l.name), old)
		if err := s.flushSome(); err != nil {
			return err
		}
	}
	return nil
}

// writeStatusOf writes a STATUS response of what was looked up.
func (s *Session) writeStatusOf(name imapname.Name, items statusItems, st *mailstore.Status) {
	if shown, ok := s.names.Show(name); ok {
		s.writeItems(shown, items, st, 0)
	}
}
