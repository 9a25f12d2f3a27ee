package session

import (
	"slices"

	"rookery/internal/imapname"
	"rookery/internal/mailstore"
)

// enableMetadata has the client told of changes that others make (RFC 5464 §4.1).
func (s *Session) enableMetadata() {
	s.metadata = true
	s.watchMetadata()
}

// watchMetadata begins to look for changes that others make: for ENABLE METADATA,
// or the events of NOTIFY (RFC 5465 §5.6, §5.7).
func (s *Session) watchMetadata() {
	notes := mailstore.AnnotatorOf(s.cfg.Store)
	if s.stopNotes != nil || notes == nil {
		return
	}
	s.stopNotes = notes.WatchAnnotations(s.cfg.Changes) // first: others' changes are counted for who watches
	_, s.notesTold = notes.AnnotatedSince(1<<64 - 1)
}

// tellMetadata tells which annotations others have changed: their names alone
// (RFC 5464 §4.4.2), and of those mailboxes that the user can see.
func (s *Session) tellMetadata() {
	if s.stopNotes == nil {
		return
	}
	changes, last := mailstore.AnnotatorOf(s.cfg.Store).AnnotatedSince(s.notesTold)
	if last == s.notesTold {
		return
	}
	changes = slices.DeleteFunc(changes, func(a mailstore.Annotated) bool { return slices.Contains(s.ownNotes, a.Number) })
	for len(changes) > 0 {
		n := 1
		for n < len(changes) && changes[n].Mailbox == changes[0].Mailbox {
			n++
		}
		s.tellEntries(changes[:n])
		changes = changes[n:]
	}
	s.notesTold, s.ownNotes = last, nil
}

// followNotes opens the way to who changes the annotations of a mailbox, if the client
// wants to hear of it: another user may have to be reached for that.
func (s *Session) followNotes(f mailstore.Folder, want events) {
	if want&mailboxMetadata == 0 || f.Attrs&unselectable != 0 {
		return
	}
	if a, ok := mailstore.AnnotatorOf(s.cfg.Store).(mailstore.AnnotationFollower); ok {
		a.FollowAnnotations(f.Name)
	}
}

// tellEntries tells of changes in one mailbox, or of the server's entries.
func (s *Session) tellEntries(changes []mailstore.Annotated) {
	shown, name := "", changes[0].Mailbox
	if name == "" && !s.metadata && !s.notify.hears(serverMetadata) {
		return
	}
	if name != "" {
		var ok bool
		if shown, ok = s.names.Show(imapname.Name(name)); !ok {
			return
		}
		f, err := s.cfg.Store.Lookup(name)
		if err != nil || !s.metadata && (s.notify == nil || s.notify.eventsOf(s, f)&mailboxMetadata == 0) {
			return
		}
		if !s.metadata && !s.mayRead(imapname.Name(name)) {
			return // annotations need less, but each event of NOTIFY "l" and "r" (RFC 5465 §5)
		}
	}
	s.enc.Untagged().Atom("METADATA").SP().Mailbox(shown)
	for _, a := range changes {
		s.enc.SP().Astring(a.Entry)
	}
	s.enc.CRLF()
}

// hears is wants, where NOTIFY may not have been used.
func (n *notify) hears(e events) bool { return n != nil && n.wants(e) }

// forgetMetadata ends what watchMetadata began.
func (s *Session) forgetMetadata() {
	if s.stopNotes != nil {
		s.stopNotes()
	}
	s.metadata, s.stopNotes, s.ownNotes = false, nil, nil
}
