package quota

import (
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/vfs"
)

// selectable reports whether a mailbox can hold mail.
func selectable(f mailstore.Folder) bool {
	return f.Attrs&(mailstore.NoSelect|mailstore.NonExistent) == 0
}

// lookAlone compares every mailbox with its record and counts again where they
// differ; with all, everywhere. No operation may be under way.
func (s *Store) lookAlone(all bool) error {
	list, err := s.Store.List()
	if err != nil {
		return err
	}
	var h header
	var old []record
	err = s.l.locked(func(t *txn, ok bool) error {
		if !ok {
			// Never a generation that another process may have read.
			h = header{generation: uint64(s.opt.FS.Now().UnixNano())}
			return nil
		}
		h = t.h
		old, err = t.all()
		if err == errLost {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	// The count takes a while; who only reads the state need not wait for it.
	records, err := s.countAll(list, old, all)
	if err != nil {
		return err
	}
	before := h.counted
	h.counted, h.held, h.reserved, h.underWay, h.flags = Use{}, Use{}, Use{}, 0, 0
	for i := range records {
		if total := h.total(records[i].class); total != nil {
			total.add(records[i].use())
		}
	}
	h.boot, h.looked = s.l.boot, s.opt.FS.Now().Unix()
	err = s.l.locked(func(t *txn, _ bool) error {
		t.h = h
		s.settle(t, before)
		return s.write(t, old, records)
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.ready, s.doubt = true, false
	clear(s.marked)
	s.mu.Unlock()
	return nil
}

// countAll makes the records of all mailboxes of a list.
func (s *Store) countAll(list []mailstore.Folder, old []record, all bool) ([]record, error) {
	byGUID := map[mailstore.GUID]*record{}
	for i := range old {
		byGUID[old[i].guid] = &old[i]
	}
	var out []record
	for _, f := range list {
		if !selectable(f) {
			continue
		}
		r, err := s.count(f.Name, byGUID, all)
		if errkind.Is(err, errkind.NotFound) || errkind.Is(err, errkind.Invalid) {
			continue // deleted since it was listed
		}
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// settle has what depends on the count follow a new one.
func (s *Store) settle(t *txn, before Use) {
	if t.h.counted != before {
		s.writeSize(&t.h)
	}
	s.warn(&t.h)
}

// write replaces the records, or only the header where they are the same.
func (s *Store) write(t *txn, old, records []record) error {
	same := len(old) == len(records) && len(old) > 0
	for i := 0; same && i < len(old); i++ {
		same = old[i] == records[i]
	}
	if same {
		return t.putHead()
	}
	return t.rewrite(records)
}

// count makes a mailbox's record, of the old one where that is right.
func (s *Store) count(name mailstore.Name, old map[mailstore.GUID]*record, all bool) (record, error) {
	st, err := s.Store.Status(name, mailstore.StatusWant{})
	if err != nil {
		return record{}, err
	}
	octets := uint64(0)
	switch o := old[st.GUID]; {
	case !all && o != nil && o.underWay == 0 && o.validity == st.UIDValidity && o.next > st.UIDNext:
		// The driver has not yet seen what another process of ours has counted.
		r := *o
		r.name, r.class = keyOf(name), s.opt.Rule(name).Class
		return r, nil
	case !all && o != nil && o.fits(st):
		octets = o.octets
	case st.Messages > 0:
		if st, err = s.Store.Status(name, mailstore.StatusWant{Size: true}); err != nil {
			return record{}, err
		}
		octets = st.Size
	}
	return record{name: keyOf(name), guid: st.GUID, validity: st.UIDValidity, next: st.UIDNext, messages: st.Messages,
		octets: octets, class: s.opt.Rule(name).Class}, nil
}

// adopt counts mailboxes that have no record, or that another program changed.
func (s *Store) adopt(refs []ref) error {
	release, err := s.l.alone()
	if err != nil {
		return errkind.Wrap("count quota", kinded(err))
	}
	for _, r := range refs {
		if err = s.adoptAlone(r.name); err != nil {
			break
		}
	}
	if err == errLost {
		err = s.lookAlone(false)
	}
	release()
	s.sendDue()
	return errkind.Wrap("count quota", kinded(err))
}

func (s *Store) adoptAlone(name mailstore.Name) error {
	return s.l.with(func(t *txn) error {
		old := map[mailstore.GUID]*record{}
		i, known := t.find(ref{name: name})
		if known {
			r, err := t.record(i)
			if err != nil {
				return err
			}
			old[r.guid] = &r
		}
		r, err := s.count(name, old, false)
		if errkind.Is(err, errkind.NotFound) || errkind.Is(err, errkind.Invalid) {
			return nil // the operation itself says so
		}
		if err != nil {
			return err
		}
		if at, there := t.l.byGUID[r.guid]; there && (!known || at != i) {
			return errLost // renamed by another program: look at all
		}
		before := t.h.counted
		var was record
		switch {
		case known:
			if was, err = t.record(i); err != nil {
				return err
			}
		case len(t.l.free) > 0:
			i = t.l.free[len(t.l.free)-1]
			t.h.generation++
		default:
			i = int(t.h.records)
			t.h.records++
			if t.h.records > maxRecords {
				return errkind.Newf("quota", errkind.Limit, "there are too many mailboxes to count")
			}
		}
		if was == r {
			return nil
		}
		if total := t.h.total(was.class); known && total != nil {
			total.sub(was.use())
		}
		if total := t.h.total(r.class); total != nil {
			total.add(r.use())
		}
		if known && was.guid != r.guid {
			t.h.generation++
		}
		s.settle(t, before)
		return t.replace(i, &r)
	})
}

// dropAlone takes a deleted mailbox out of the count.
func (s *Store) dropAlone(name mailstore.Name) error {
	err := s.l.with(func(t *txn) error {
		i, ok := t.find(ref{name: name})
		if !ok {
			return nil
		}
		r, err := t.record(i)
		if err != nil {
			return err
		}
		before := t.h.counted
		if total := t.h.total(r.class); total != nil {
			total.sub(r.use())
		}
		t.h.generation++
		s.settle(t, before)
		return t.replace(i, &record{})
	})
	if err == errLost {
		return s.lookAlone(false)
	}
	return err
}

// kinded gives an error of the disk its kind.
func kinded(err error) error {
	if err == nil || err == errUnknown {
		return err
	}
	return vfs.Kinded("quota", err)
}
