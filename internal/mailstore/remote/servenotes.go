package remote

import (
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
)

// noter gives who answers for annotations.
func (s *server) noter(op string) (mailstore.SharedNotes, error) {
	if n, ok := s.store.(mailstore.SharedNotes); ok {
		return n, nil
	}
	return nil, errkind.Newf(op, errkind.Unavailable, "this store shares no annotations")
}

func (s *server) notes(a *named) (*noted, error) {
	n, err := s.noter("annotations")
	if err == nil {
		err = known("annotations", a.Name)
	}
	if err != nil {
		return nil, err
	}
	out, err := n.SharedNotes(a.Name)
	if err != nil {
		return nil, err
	}
	return &noted{out}, nil
}

func (s *server) setNotes(a *noting) (*number, error) {
	n, err := s.noter("annotate")
	if err == nil {
		err = known("annotate", a.Name)
	}
	if err != nil {
		return nil, err
	}
	changed, err := n.SetSharedNotes(a.Name, a.Changes)
	if err != nil {
		return nil, err
	}
	return &number{changed}, nil
}

func (s *server) notesSince(a *number) (*notesChanged, error) {
	n, err := s.noter("annotations")
	if err != nil {
		return nil, err
	}
	list, last, err := n.SharedNotesSince(a.N)
	if err != nil {
		return nil, err
	}
	return &notesChanged{list, last}, nil
}

func (s *server) notedBoxes(*none) (*guids, error) {
	n, err := s.noter("annotations")
	if err != nil {
		return nil, err
	}
	list, err := n.NotedBoxes()
	if err != nil {
		return nil, err
	}
	return &guids{list}, nil
}
