package maildir

import (
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/index"
	"rookery/internal/mailstore/statusmemo"
	"rookery/internal/vfs"
)

// statusMemo is what STATUS said of a mailbox, true as long as new/, cur/ and
// dovecot-uidlist have these stamps and no process has changed its index.
type statusMemo struct {
	dir, ctl  string
	cur, new  fileStamp
	uids      fileStamp
	at        index.Stamp
	status    mailstore.Status
	sizeKnown bool
}

// Status looks at a mailbox without opening it for a session. One that did not
// change since the last answer is not even opened.
func (s *Store) Status(name mailstore.Name, want mailstore.StatusWant) (mailstore.Status, error) {
	inner := s.tree.Inner(name)
	if st, ok := s.recall(inner, want); ok {
		return st, nil
	}
	mb, err := s.get(name)
	if err != nil {
		return mailstore.Status{}, errkind.Wrap("status", err)
	}
	defer s.put(mb)
	mb.op.Lock()
	defer mb.op.Unlock()
	if want.Size {
		if err := mb.countSizes(); err != nil {
			return mailstore.Status{}, errkind.Wrap("status", err)
		}
	}
	v := mb.known()
	st := statusmemo.Answer(v, mb.hdr.validity, guidOf(mb.hdr.guid), mb.recentNow().Len())
	mb.memorize(inner, v, st, v.Counts().SizeUnknown == 0)
	return st, nil
}

// recall gives the last answer if it still is the right one.
func (s *Store) recall(name mailstore.Name, want mailstore.StatusWant) (st mailstore.Status, ok bool) {
	l := &s.listing
	l.mu.Lock()
	s.loadListing()
	m := l.memos[name]
	l.mu.Unlock()
	if m == nil || want.Size && !m.sizeKnown {
		return st, false
	}
	var at [3]vfs.Info
	names := [...]string{"cur", "new", uidlistFile}
	mail := len(names)
	if m.ctl != m.dir {
		mail--
		if s.glance(m.ctl, names[mail:], at[mail:]) != nil {
			return st, false
		}
	}
	if s.glance(m.dir, names[:mail], at[:mail]) != nil || m.cur.inode == 0 ||
		stampOrNone(at[0]) != m.cur || stampOrNone(at[1]) != m.new || stampOrNone(at[2]) != m.uids {
		return st, false
	}
	if now, ok := s.user.Stamp(m.status.GUID); !ok || now != m.at {
		return st, false
	}
	return m.status, true
}

// memorize keeps an answer, if all that it depends on can be told from outside;
// op is held. Messages that are recent in this process's memory alone cannot.
func (mb *mailbox) memorize(name mailstore.Name, v *index.View, st mailstore.Status, sizeKnown bool) {
	if mb.box == nil || !mb.loaded || mb.look || mb.readOnly || mb.isDead() || v != mb.seen || v != mb.raw || !mb.recent.Empty() || len(mb.facts) > 0 {
		return
	}
	if d := [...]dirState{mb.st.cur, mb.st.new}; d[0].stale || d[0].doubt || d[1].stale || d[1].doubt {
		return
	}
	at, ok := mb.box.StampOf(v)
	if !ok {
		return
	}
	m := &statusMemo{dir: mb.dir, ctl: mb.ctl, cur: mb.st.cur.known, new: mb.st.new.known, uids: mb.st.uids, at: at, status: st, sizeKnown: sizeKnown}
	l := &mb.s.listing
	l.mu.Lock()
	defer l.mu.Unlock()
	l.memos.Put(name, m)
	l.news++
}
