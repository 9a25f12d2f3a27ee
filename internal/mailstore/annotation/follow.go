package annotation

import (
	"bytes"

	"rookery/internal/mailstore"
)

// follow notes for the sessions of this process what another one changed between
// two looks at the file. Without a session that watches nobody needs to know.
func (s *Store) follow(old, now *book) {
	if !s.feed.Watched() {
		return
	}
	changed := map[mailstore.GUID][]string{}
	for guid := range both(old.lists, now.lists) {
		if entries := differences(old.lists[guid], now.lists[guid]); len(entries) > 0 {
			changed[guid] = entries
		}
	}
	hints := map[mailstore.GUID]mailstore.Name{}
	for use := range both(old.uses, now.uses) {
		was, is := old.uses[use], now.uses[use]
		if was.guid == is.guid {
			continue
		}
		for _, h := range []holder{was, is} {
			if h.guid != (mailstore.GUID{}) {
				changed[h.guid] = append(changed[h.guid], SpecialUse)
				hints[h.guid] = h.name
			}
		}
	}
	if len(changed) == 0 {
		return
	}
	list, err := s.Store.List()
	if err != nil {
		return // sessions hear of the next change
	}
	for guid, entries := range changed {
		if guid == (mailstore.GUID{}) {
			s.feed.Add("", entries...)
		} else if name, there := s.locate(holder{guid, hints[guid]}, list); there {
			s.feed.Add(name, entries...)
		}
	}
}

// both gives the keys of two maps.
func both[K comparable, V any](a, b map[K]V) map[K]bool {
	out := make(map[K]bool, len(a)+len(b))
	for k := range a {
		out[k] = true
	}
	for k := range b {
		out[k] = true
	}
	return out
}

// differences gives the entries that two sorted lists do not have in common.
func differences(a, b []mailstore.Annotation) (out []string) {
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && Fold(a[0].Entry) < Fold(b[0].Entry):
			out, a = append(out, a[0].Entry), a[1:]
		case len(a) == 0 || Fold(b[0].Entry) < Fold(a[0].Entry):
			out, b = append(out, b[0].Entry), b[1:]
		default:
			if !bytes.Equal(a[0].Value, b[0].Value) {
				out = append(out, a[0].Entry)
			}
			a, b = a[1:], b[1:]
		}
	}
	return out
}
