package memstore

import (
	"bytes"
	"slices"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/annotation"
)

// annotations are a Store's own, without limits and special uses: tests of those
// put package annotation's wrapper around it.
type annotations struct {
	feed  annotation.Feed
	lists map[mailstore.GUID]map[string]mailstore.Annotation // by the folded name
}

var _ mailstore.Annotator = (*Store)(nil)

// annotated gives the GUID that a mailbox's annotations are kept by. It needs the lock.
func (s *Store) annotated(mailbox mailstore.Name) (g mailstore.GUID, err error) {
	if mailbox == "" {
		return g, nil
	}
	b, err := s.lookup("annotate", mailbox)
	if err != nil {
		return g, err
	}
	return b.guid, nil
}

// Annotations is for mailstore.Annotator.
func (s *Store) Annotations(mailbox mailstore.Name) ([]mailstore.Annotation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	guid, err := s.annotated(mailbox)
	var out []mailstore.Annotation
	for _, a := range s.notes.lists[guid] {
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b mailstore.Annotation) int {
		return strings.Compare(annotation.Fold(a.Entry), annotation.Fold(b.Entry))
	})
	return out, err
}

// Annotate is for mailstore.Annotator.
func (s *Store) Annotate(mailbox mailstore.Name, changes []mailstore.Annotation) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	guid, err := s.annotated(mailbox)
	if err != nil {
		return 0, err
	}
	for _, c := range changes {
		if err := annotation.Check(c.Entry); err != nil {
			return 0, errkind.New("annotate", errkind.Invalid, err)
		}
	}
	if s.notes.lists == nil {
		s.notes.lists = map[mailstore.GUID]map[string]mailstore.Annotation{}
	}
	if s.notes.lists[guid] == nil {
		s.notes.lists[guid] = map[string]mailstore.Annotation{}
	}
	if mailbox != "" {
		b, _ := s.lookup("annotate", mailbox)
		b.publish(b.change())
	}
	entries := make([]string, len(changes))
	for i, c := range changes {
		entries[i] = c.Entry
		if c.Value == nil {
			delete(s.notes.lists[guid], annotation.Fold(c.Entry))
		} else {
			s.notes.lists[guid][annotation.Fold(c.Entry)] = mailstore.Annotation{Entry: c.Entry, Value: bytes.Clone(c.Value)}
		}
	}
	return s.notes.feed.Add(mailbox, entries...), nil
}

// AnnotationLimits is for mailstore.Annotator.
func (s *Store) AnnotationLimits() mailstore.AnnotationLimits {
	return mailstore.AnnotationLimits{Value: annotation.DefaultValue, Entries: annotation.DefaultEntries}
}

// AnnotatedSince is for mailstore.Annotator.
func (s *Store) AnnotatedSince(number uint64) ([]mailstore.Annotated, uint64) {
	return s.notes.feed.Since(number)
}

// WatchAnnotations is for mailstore.Annotator.
func (s *Store) WatchAnnotations(c chan<- struct{}) (stop func()) { return s.notes.feed.Watch(c) }
