package spaces

import (
	"cmp"
	"slices"
	"sync"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/annotation"
)

var (
	_ mailstore.Annotator          = (*Whole)(nil)
	_ mailstore.AnnotationFollower = (*Whole)(nil)
)

// wholeNotes makes one count of the changes of annotations that each store counts by
// itself.
type wholeNotes struct {
	mu   sync.Mutex
	feed annotation.Feed
	upTo map[mailstore.Annotator]uint64 // by their own counts
}

// annotator gives who keeps annotations of a mailbox.
func (w *Whole) annotator(mailbox mailstore.Name) (mailstore.Annotator, error) {
	const op = "annotations"
	s, err := w.route(op, mailbox)
	if err != nil {
		return nil, err
	}
	if a := mailstore.AnnotatorOf(s); a != nil {
		return a, nil
	}
	return nil, errkind.Newf(op, errkind.Unavailable, "this store keeps no annotations")
}

// Annotations is mailstore.Annotator's.
func (w *Whole) Annotations(mailbox mailstore.Name) ([]mailstore.Annotation, error) {
	a, err := w.annotator(mailbox)
	if err != nil {
		return nil, err
	}
	return a.Annotations(mailbox)
}

// Annotate is mailstore.Annotator's.
func (w *Whole) Annotate(mailbox mailstore.Name, changes []mailstore.Annotation) (uint64, error) {
	a, err := w.annotator(mailbox)
	if err != nil {
		return 0, err
	}
	number, err := a.Annotate(mailbox, changes)
	if err != nil {
		return 0, err
	}
	return w.notes.numberOf(a, number, mailbox, changes), nil
}

// AnnotationLimits is mailstore.Annotator's, of the user's own.
func (w *Whole) AnnotationLimits() mailstore.AnnotationLimits {
	if a := mailstore.AnnotatorOf(w.own); a != nil {
		return a.AnnotationLimits()
	}
	return mailstore.AnnotationLimits{}
}

// annotators are all that there are.
func (w *Whole) annotators() (out []mailstore.Annotator) {
	stores := []mailstore.Store{w.own}
	for _, a := range w.foreign {
		stores = append(stores, a.store)
	}
	for _, s := range stores {
		if a := mailstore.AnnotatorOf(s); a != nil {
			out = append(out, a)
		}
	}
	return out
}

// AnnotatedSince is mailstore.Annotator's.
func (w *Whole) AnnotatedSince(number uint64) ([]mailstore.Annotated, uint64) {
	for _, a := range w.annotators() {
		if f, ok := a.(mailstore.AnnotationFollower); ok {
			f.GatherAnnotations()
		}
		w.notes.gather(a)
	}
	return w.notes.feed.Since(number)
}

// gather brings what a store has to tell into the one feed.
func (n *wholeNotes) gather(a mailstore.Annotator) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gatherLocked(a)
}

// gatherLocked gives the numbers that changes got.
func (n *wholeNotes) gatherLocked(a mailstore.Annotator) map[uint64]uint64 {
	if n.upTo == nil {
		n.upTo = map[mailstore.Annotator]uint64{}
	}
	changes, last := a.AnnotatedSince(n.upTo[a])
	n.upTo[a] = last
	slices.SortStableFunc(changes, func(x, y mailstore.Annotated) int { return cmp.Compare(x.Number, y.Number) })
	got := map[uint64]uint64{}
	for len(changes) > 0 {
		k, first := 1, changes[0]
		entries := []string{first.Entry}
		for ; k < len(changes) && changes[k].Number == first.Number && changes[k].Mailbox == first.Mailbox; k++ {
			entries = append(entries, changes[k].Entry)
		}
		got[first.Number] = n.feed.Add(first.Mailbox, entries...)
		changes = changes[k:]
	}
	return got
}

// numberOf gives the number of a change that was made just now. Where another session has
// gathered it in between, it is counted once more, so that it has a number that is known:
// that session may tell its client twice.
func (n *wholeNotes) numberOf(a mailstore.Annotator, number uint64, mailbox mailstore.Name, changes []mailstore.Annotation) uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if got, ok := n.gatherLocked(a)[number]; ok {
		return got
	}
	entries := make([]string, len(changes))
	for i, c := range changes {
		entries[i] = c.Entry
	}
	return n.feed.Add(mailbox, entries...)
}

// WatchAnnotations is mailstore.Annotator's.
func (w *Whole) WatchAnnotations(c chan<- struct{}) (stop func()) {
	var stops []func()
	for _, a := range w.annotators() {
		stops = append(stops, a.WatchAnnotations(c))
	}
	return func() {
		for _, stop := range stops {
			stop()
		}
	}
}

// GatherAnnotations does nothing: AnnotatedSince does it.
func (w *Whole) GatherAnnotations() {}

// FollowAnnotations is mailstore.AnnotationFollower's.
func (w *Whole) FollowAnnotations(mailbox mailstore.Name) {
	if a := w.abroad(mailbox); a != nil && !w.isRoot(mailbox) {
		if f, ok := a.store.(mailstore.AnnotationFollower); ok {
			f.FollowAnnotations(mailbox)
		}
	}
}
