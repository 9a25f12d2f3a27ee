package guarded

import (
	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/annotation"
)

var _ mailstore.SharedNotes = (*Store)(nil)

// noteRights are those of which one is needed beside l (RFC 5464 §3.3). The text has the
// same for reading and for setting.
const noteRights = acl.Read | acl.Seen | acl.Write | acl.Insert | acl.Post

// shared is the branch of annotations that are everybody's.
const shared = "/shared"

// notes gives who keeps the annotations, if the user may have those of a mailbox.
func (s *Store) notes(op string, name mailstore.Name) (mailstore.Annotator, error) {
	r, err := s.rights(op, name)
	switch {
	case err != nil:
		return nil, s.missing(op, name, err)
	case r&noteRights == 0:
		return nil, denied(op)
	}
	return s.annotator(op)
}

func (s *Store) annotator(op string) (mailstore.Annotator, error) {
	a := mailstore.AnnotatorOf(s.inner)
	if a == nil {
		return nil, errkind.Newf(op, errkind.Unavailable, "this store keeps no annotations")
	}
	return a, nil
}

// SharedNotes is mailstore.SharedNotes'.
func (s *Store) SharedNotes(name mailstore.Name) (out mailstore.Noted, err error) {
	const op = "annotations"
	a, err := s.notes(op, name)
	if err != nil {
		return out, err
	}
	st, err := s.inner.Status(name, mailstore.StatusWant{})
	if err != nil {
		return out, s.hide(op, err)
	}
	list, err := a.Annotations(name)
	if err != nil {
		return out, s.hide(op, err)
	}
	out = mailstore.Noted{GUID: st.GUID, Limits: a.AnnotationLimits()}
	for _, e := range list {
		if isShared(e.Entry) {
			out.Entries = append(out.Entries, e)
		}
	}
	return out, nil
}

func isShared(entry string) bool { return annotation.Below(entry, shared, annotation.DepthInfinity) }

// SetSharedNotes is mailstore.SharedNotes'.
func (s *Store) SetSharedNotes(name mailstore.Name, changes []mailstore.Annotation) (uint64, error) {
	const op = "annotate"
	a, err := s.notes(op, name)
	if err != nil {
		return 0, err
	}
	for _, c := range changes {
		if !isShared(c.Entry) {
			return 0, errkind.Newf(op, errkind.NoPermission, "the owner's private annotations are his own")
		}
	}
	number, err := a.Annotate(name, changes)
	return number, s.hide(op, err)
}

// SharedNotesSince is mailstore.SharedNotes'.
func (s *Store) SharedNotesSince(number uint64) (out []mailstore.Annotated, last uint64, err error) {
	a, err := s.annotator("annotations")
	if err != nil {
		return nil, 0, err
	}
	changes, last := a.AnnotatedSince(number)
	if len(changes) == 0 {
		return nil, last, nil
	}
	now, err := s.survey()
	if err != nil {
		return nil, 0, err
	}
	for _, c := range changes {
		if isShared(c.Entry) && mayNote(now.rights[c.Mailbox]) {
			out = append(out, c)
		}
	}
	return out, last, nil
}

func mayNote(r acl.Rights) bool { return r.Has(acl.Lookup) && r&noteRights != 0 }

// NotedBoxes is mailstore.SharedNotes'.
func (s *Store) NotedBoxes() (out []mailstore.GUID, err error) {
	now, err := s.survey()
	if err != nil {
		return nil, err
	}
	for _, f := range now.list {
		if !mayNote(now.rights[f.Name]) {
			continue
		}
		st, err := s.inner.Status(f.Name, mailstore.StatusWant{})
		switch {
		case err == nil:
			out = append(out, st.GUID)
		case !errkind.Is(err, errkind.NotFound):
			return nil, err
		}
	}
	return out, nil
}
