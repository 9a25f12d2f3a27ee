package engine

import (
	"sync"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/index"
	"rookery/internal/mailstore/statusmemo"
)

// statusMemo is what STATUS said of a mailbox, true as long as the format says
// that the disk is what stamp describes and no process has changed its index.
type statusMemo struct {
	folder    Folder
	stamp     []byte
	at        index.Stamp
	status    mailstore.Status
	sizeKnown bool
}

// statusMemos keeps answers by name.
type statusMemos struct {
	mu  sync.Mutex
	all statusmemo.Kept[*statusMemo]
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
	v, err := mb.newest()
	if err != nil {
		return mailstore.Status{}, errkind.Wrap("status", err)
	}
	c := v.Counts()
	f := mb.where()
	st := statusmemo.Answer(v, f.UIDValidity, f.GUID, recentOf(v).Len())
	if want.Size && c.SizeUnknown > 0 {
		if st.Size, err = mb.sumSizes(v); err != nil {
			return mailstore.Status{}, errkind.Wrap("status", err)
		}
	}
	mb.memorize(inner, v, st, want.Size || c.SizeUnknown == 0)
	return st, nil
}

// recall gives the last answer if it still is the right one.
func (s *Store) recall(name mailstore.Name, want mailstore.StatusWant) (st mailstore.Status, ok bool) {
	s.memos.mu.Lock()
	m := s.memos.all[name]
	s.memos.mu.Unlock()
	if m == nil || want.Size && !m.sizeKnown {
		return st, false
	}
	box, err := s.format.Box(m.folder)
	if err != nil {
		return st, false
	}
	defer box.Close()
	if at, ok := box.(PlaceChecker); ok {
		if same, err := at.SameAt(m.folder, m.stamp); err != nil || !same {
			return st, false
		}
	} else {
		if f, ok, err := s.format.Find(name); err != nil || !ok || f != m.folder {
			return st, false
		}
		if changed, err := box.Changed(m.stamp); err != nil || changed {
			return st, false
		}
	}
	if now, ok := s.index.Stamp(m.folder.GUID); !ok || now != m.at {
		return st, false
	}
	return m.status, true
}

// memorize keeps an answer made of v.
func (mb *mailbox) memorize(name mailstore.Name, v *index.View, st mailstore.Status, sizeKnown bool) {
	f := mb.where()
	at, ok := mb.index.StampOf(v)
	_, stamp, parsed := parseState(v.State())
	if !ok || !parsed || v.UIDValidity() != f.UIDValidity || f.Name != name || mb.isDead() {
		return
	}
	l := &mb.s.memos
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.Put(name, &statusMemo{folder: f, stamp: stamp, at: at, status: st, sizeKnown: sizeKnown})
}

// trim gives memory back.
func (l *statusMemos) trim() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.Trim()
}
