package session

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"rookery/imapworker/internal/view"
	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
)

// toldStatus is what the client knows of a mailbox that is not selected.
type toldStatus struct {
	messages, unseen, uidNext, validity uint32
	modSeq                              mailstore.ModSeq
	// loose says that the session itself has changed the mailbox: what it did
	// to unseen and modSeq is not known and is no news.
	loose bool
}

func statusTold(st *mailstore.Status) *toldStatus {
	return &toldStatus{messages: st.Messages, unseen: st.Unseen, uidNext: st.UIDNext, validity: st.UIDValidity, modSeq: st.HighestModSeq}
}

// news gives the STATUS items that tell what is new (RFC 5465 §5.1 to §5.3).
func (k *toldStatus) news(st *mailstore.Status, want events, condstore bool) (items statusItems) {
	moved := k.messages != st.Messages || k.uidNext != st.UIDNext
	flags := want&flagChange != 0 && !k.loose
	modSeq := condstore && k.modSeq != st.HighestModSeq && (moved || flags)
	unseen := flags && k.unseen != st.Unseen
	remade := k.validity != st.UIDValidity
	add := func(name string, on bool) {
		if on {
			items = append(items, name)
		}
	}
	add("MESSAGES", moved || remade)
	add("UIDNEXT", moved || remade)
	add("UIDVALIDITY", remade || modSeq && flags)
	add("UNSEEN", unseen)
	add(highestModSeq, modSeq)
	return items
}

// initial gives the items of the STATUS that NOTIFY SET STATUS asks for (RFC 5465
// §3.1).
func initial(want events) statusItems {
	items := statusItems{"MESSAGES", "UIDNEXT", "UIDVALIDITY"}
	if want&flagChange != 0 {
		items = append(items, "UNSEEN", highestModSeq)
	}
	return items
}

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
		return errkind.New("notify", errkind.Limit, fmt.Errorf("more than %d mailboxes", maxNotifyFolders))
	}
	n.folders = t.folders
	names := n.wants(mailboxName)
	for _, f := range n.folders {
		want := n.eventsOf(s, f)
		s.followNotes(f, want)
		if f.Attrs&unselectable != 0 || want&messageEvents == 0 && !names {
			continue
		}
		st, err := s.cfg.Store.Status(f.Name, mailstore.StatusWant{})
		if lacksRight(err) && want&messageEvents != 0 {
			// RFC 5465 §3.1: what can be listed and not be read is told so
			if shown, ok := s.names.Show(imapname.Name(f.Name)); ok {
				s.enc.Untagged().Atom("LIST").SP().FlagList([]string{`\NoAccess`}).SP().Quoted(s.separator()).SP().Mailbox(shown).CRLF()
			}
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
		if want&messageEvents == 0 || f.Attrs&unselectable != 0 {
			continue
		}
		st, err := s.cfg.Store.Status(f.Name, mailstore.StatusWant{})
		if err != nil {
			continue // gone: its name is told of next time
		}
		old := n.boxes[f.Name]
		if old == nil { // it is new: what came into it is
			old = &toldStatus{uidNext: st.UIDNext, validity: st.UIDValidity, modSeq: st.HighestModSeq}
		}
		n.boxes[f.Name] = statusTold(&st)
		if s.isSelected(f.Name) {
			continue // SELECTED says what is told of it (RFC 5465 §3.1)
		}
		if items := old.news(&st, want, s.condstore); len(items) > 0 {
			s.writeStatusOf(imapname.Name(f.Name), items, &st)
			if err := s.flushSome(); err != nil {
				return err
			}
		}
	}
	return nil
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
		switch was, ok := d.old[f.Name]; {
		case exists(f) && !(ok && exists(was)):
			d.affected(f.Name, mailboxName, "")
		case (was.Attrs^f.Attrs)&mailstore.Subscribed != 0:
			d.affected(f.Name, subscriptionChange, "")
		}
	}
	for name, was := range d.old {
		f, ok := d.now[name]
		switch {
		case exists(was) && !(ok && exists(f)):
			delete(n.boxes, name)
			d.affected(name, mailboxName, "")
		case !ok && was.Attrs&mailstore.Subscribed != 0:
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

// affected notes a name for a LIST response if the client wants to hear of it. With
// a mailbox that is made or deleted its parent is affected too.
func (d *nameChanges) affected(name mailstore.Name, event events, oldName mailstore.Name) {
	if !d.told[name] && d.wants(name, event) {
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
// and are not told of (RFC 5465 §5.4).
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
		if box := n.boxes[from]; box != nil && from != "INBOX" {
			n.boxes[name] = box
			delete(n.boxes, from)
		}
		above := d.told[name] // its parent was renamed, and it with it
		if !above {
			d.affected(name, mailboxName, from)
		}
		d.told[name], d.told[from] = true, true
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
	shape := &list{extended: true, returnSubscribed: true}
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
		s.writeName(shape.attributes(f), imapname.Name(l.name), old)
		if err := s.flushSome(); err != nil {
			return err
		}
	}
	return nil
}

// madeHere notes messages that this session has added to a mailbox: they are no news
// to its client.
func (s *Session) madeHere(name mailstore.Name, uids []mailstore.UID) {
	n := s.notify
	if n == nil || len(uids) == 0 {
		return
	}
	if s.isSelected(name) {
		for _, uid := range uids {
			n.own.Add(uid)
		}
		return
	}
	if k := n.boxes[name]; k != nil {
		k.messages += uint32(len(uids))
		if uids[0] == k.uidNext {
			k.uidNext = uids[len(uids)-1] + 1
		}
		k.loose = true
	}
}

// notSelected notes what the client knows of a mailbox that it leaves.
func (s *Session) notSelected(v *view.View) {
	if s.notify == nil {
		return
	}
	info, told := v.Box().Info(), v.Told()
	if k := s.notify.boxes[info.Name]; k != nil {
		*k = toldStatus{messages: uint32(told.Len()), uidNext: told.UIDNext(), validity: info.UIDValidity, loose: true}
	}
}

// writeStatusOf writes a STATUS response of what was looked up.
func (s *Session) writeStatusOf(name imapname.Name, items statusItems, st *mailstore.Status) {
	if shown, ok := s.names.Show(name); ok {
		s.writeItems(shown, items, st, 0)
	}
}

// touches gives the names of mailboxes that a command makes, deletes, renames or
// subscribes to.
func touches(req request) []imapname.Name {
	switch c := req.(type) {
	case *create:
		return []imapname.Name{c.mailbox}
	case *deleteCommand:
		return []imapname.Name{c.mailbox}
	case *rename:
		return []imapname.Name{c.from, c.to}
	case *subscribe:
		return []imapname.Name{c.mailbox}
	}
	return nil
}
