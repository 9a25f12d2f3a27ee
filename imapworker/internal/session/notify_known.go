package session

import (
	"slices"

	"rookery/imapworker/internal/view"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
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

// news gives the STATUS items that tell what is new (RFC 5465 §5.1 to §5.3). With
// mod-sequences each "MUST" have the highest (§5.2, §5.3).
func (k *toldStatus) news(st *mailstore.Status, want events, condstore bool) (items statusItems) {
	remade := k.validity != st.UIDValidity
	moved := remade || k.messages != st.Messages || k.uidNext != st.UIDNext
	flags := want&flagChange != 0 && !k.loose
	modSeq := condstore && (moved || flags && k.modSeq != st.HighestModSeq)
	unseen := want&flagChange != 0 && remade || flags && k.unseen != st.Unseen
	add := func(name string, on bool) {
		if on {
			items = append(items, name)
		}
	}
	add("MESSAGES", moved)
	add("UIDNEXT", moved)
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

// aboutToAdd is called before this session adds messages to a mailbox: what others have
// done there is told first, since afterwards nobody could tell it from what the session
// did itself.
func (s *Session) aboutToAdd(name mailstore.Name) {
	n := s.notify
	if n == nil || n.boxes[name] == nil || s.isSelected(name) {
		return
	}
	if i := slices.IndexFunc(n.folders, func(f mailstore.Folder) bool { return f.Name == name }); i >= 0 {
		n.tellBox(s, n.folders[i], n.eventsOf(s, n.folders[i]))
	}
}

// madeHere notes messages that this session has added to a mailbox: they are no news
// to its client (RFC 5465 §5: SHOULD omit).
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
	k := n.boxes[name]
	if k == nil {
		return
	}
	k.messages += uint32(len(uids))
	if uids[0] == k.uidNext {
		k.uidNext = uids[len(uids)-1] + 1
	}
	st, err := s.cfg.Store.Status(name, mailstore.StatusWant{})
	if err != nil || st.Messages != k.messages || st.UIDNext != k.uidNext || st.UIDValidity != k.validity {
		k.loose = true // another was there at the same time
		return
	}
	*k = *statusTold(&st)
}

// notSelected notes what the client knows of a mailbox that it leaves.
func (s *Session) notSelected(v *view.View) {
	n := s.notify
	if n == nil {
		return
	}
	info, told := v.Box().Info(), v.Told()
	if k := n.boxes[info.Name]; k != nil {
		*k = toldStatus{messages: uint32(told.Len()), unseen: v.Unseen(), uidNext: told.UIDNext(), validity: info.UIDValidity, modSeq: told.HighestModSeq()}
		for range v.Each(n.closed) {
			k.messages--
			k.loose = true
		}
	}
	n.closed = numset.Set{}
}

// closes notes messages that CLOSE has expunged: the client is not told of these.
func (s *Session) closes(gone numset.Set) {
	if s.notify != nil {
		s.notify.closed = gone
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
