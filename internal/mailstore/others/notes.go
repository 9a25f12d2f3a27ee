package others

import (
	"errors"
	"slices"
	"sync"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/annotation"
)

// Notes keeps the user's own annotations of others' mailboxes, those below /private, with
// his own mail: no owner ever has them. A mailbox is named by its owner and its GUID. Its
// methods may be called from several goroutines. Package ownnotes is one.
type Notes interface {
	Own(owner string, box mailstore.GUID) ([]mailstore.Annotation, error)
	// Change is mailstore.Annotator's Annotate.
	Change(owner string, box mailstore.GUID, changes []mailstore.Annotation) error
	// Forget removes what is noted of a mailbox that is gone.
	Forget(owner string, box mailstore.GUID) error
	// Owners gives those whose mailboxes Tidy is due for: that tells which are there.
	Owners() ([]string, error)
	Tidy(owner string, there []mailstore.GUID) error
}

var (
	_ mailstore.Annotator          = (*Store)(nil)
	_ mailstore.AnnotationFollower = (*Store)(nil)
)

const (
	opLook   = "annotations"
	opChange = "annotate"

	// maxMine bounds the numbers of a user's own changes that are remembered of an owner.
	maxMine = 1000
)

// noting is what a Store knows of changes of annotations.
type noting struct {
	feed annotation.Feed // under the names that the user has

	asking sync.Mutex // held while owners are asked

	mu     sync.Mutex
	owners map[string]*followed // whose mail was used
}

// followed is an owner whose changes can be told. His end counts them, and begins anew
// when it is another process.
type followed struct {
	store mailstore.SharedNotes
	begun bool            // since is his number of some time
	since uint64          // up to which changes are in the feed
	mine  map[uint64]bool // changes by the user himself, which are in the feed already
	dirty bool            // there may be more
}

// noter gives what an owner's store says of annotations.
func noter(store mailstore.Sharer) (mailstore.SharedNotes, error) {
	if n, ok := store.(mailstore.SharedNotes); ok {
		return n, nil
	}
	return nil, errkind.Newf(opLook, errkind.Unavailable, "this store shares no annotations")
}

// use remembers the way to an owner: while it is open his changes can be told.
func (n *noting) use(owner string, store mailstore.Sharer) {
	notes, err := noter(store)
	if err != nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.owners == nil {
		n.owners = map[string]*followed{}
	}
	if f := n.owners[owner]; f == nil || f.store != notes {
		n.owners[owner] = &followed{store: notes, mine: map[uint64]bool{}}
	}
}

// noted asks an owner's end what is noted of a mailbox: it checks the rights.
func (s *Store) noted(op string, name mailstore.Name) (mailstore.Noted, error) {
	return again(s, op, name, func(store mailstore.Sharer, inner mailstore.Name) (out mailstore.Noted, err error) {
		n, err := noter(store)
		if err != nil {
			return out, err
		}
		return n.SharedNotes(inner)
	})
}

// Annotations gives what is noted for all and what the user noted for himself.
func (s *Store) Annotations(name mailstore.Name) ([]mailstore.Annotation, error) {
	found, err := s.noted(opLook, name)
	if err != nil || s.opt.Notes == nil {
		return found.Entries, err
	}
	owner, _, _ := s.split(name)
	own, err := s.opt.Notes.Own(owner, found.GUID)
	if err != nil {
		return nil, err
	}
	return append(slices.Clone(own), found.Entries...), nil // /private is before /shared
}

// Annotate changes what is noted for all at the owner's, and the rest with the user's own
// mail. What is noted here is taken back where the owner refuses.
func (s *Store) Annotate(name mailstore.Name, changes []mailstore.Annotation) (uint64, error) {
	var own, shared []mailstore.Annotation
	for _, c := range changes {
		if err := annotation.Check(c.Entry); err != nil {
			return 0, errkind.New(opChange, errkind.Invalid, err)
		}
		switch {
		case annotation.Below(c.Entry, "/shared", annotation.DepthInfinity):
			shared = append(shared, c)
		case annotation.Fold(c.Entry) == annotation.SpecialUse:
			return 0, errkind.Newf(opChange, errkind.Invalid, "what another's mailbox is for is its owner's to say")
		case s.opt.Notes == nil:
			return 0, errkind.Newf(opChange, errkind.Unavailable, "private annotations of others' mailboxes are not kept")
		default:
			own = append(own, c)
		}
	}
	defer s.notes.feed.Wake() // who found asking locked looks again
	s.notes.asking.Lock()     // or the feed could get what the user did from elsewhere first
	defer s.notes.asking.Unlock()
	found, err := s.noted(opChange, name)
	if err != nil {
		return 0, err
	}
	owner, _, _ := s.split(name)
	undo, err := s.changeOwn(owner, found.GUID, own)
	if err != nil {
		return 0, err
	}
	if err := s.changeShared(owner, name, shared); err != nil {
		if errkind.Is(err, errkind.TooBig) {
			err = errkind.New(opChange, errkind.TooBig, &mailstore.TooLong{Max: found.Limits.Value})
		}
		if len(undo) > 0 {
			err = errors.Join(err, s.opt.Notes.Change(owner, found.GUID, undo))
		}
		return 0, err
	}
	entries := make([]string, len(changes))
	for i, c := range changes {
		entries[i] = c.Entry
	}
	number := s.notes.feed.Add(name, entries...)
	if len(own) > 0 {
		s.tidy(owner)
	}
	return number, nil
}

// changeOwn changes the user's own, and gives what takes that back.
func (s *Store) changeOwn(owner string, box mailstore.GUID, changes []mailstore.Annotation) (undo []mailstore.Annotation, err error) {
	if len(changes) == 0 {
		return nil, nil
	}
	before, err := s.opt.Notes.Own(owner, box)
	if err != nil {
		return nil, err
	}
	for _, c := range changes {
		old := mailstore.Annotation{Entry: c.Entry}
		for _, a := range before {
			if annotation.Fold(a.Entry) == annotation.Fold(c.Entry) {
				old = a
			}
		}
		undo = append(undo, old)
	}
	return undo, s.opt.Notes.Change(owner, box, changes)
}

// changeShared changes what is the owner's, and notes that the user himself did it.
func (s *Store) changeShared(owner string, name mailstore.Name, changes []mailstore.Annotation) error {
	if len(changes) == 0 {
		return nil
	}
	number, err := once(s, opChange, name, func(store mailstore.Sharer, inner mailstore.Name) (uint64, error) {
		n, err := noter(store)
		if err != nil {
			return 0, err
		}
		return n.SetSharedNotes(inner, changes)
	})
	if err != nil {
		return err
	}
	s.notes.mu.Lock()
	defer s.notes.mu.Unlock()
	switch f := s.notes.owners[owner]; {
	case f == nil || !f.begun:
	case len(f.mine) == maxMine: // nobody has asked for long
		f.begun, f.mine = false, map[uint64]bool{}
	default:
		f.mine[number] = true
	}
	return nil
}

// tidy forgets the user's own annotations of what has long been gone. It asks the owner
// at hand alone: no other's process is started for it. An owner who shares nothing any
// more has nothing that is there.
func (s *Store) tidy(at string) {
	due, err := s.opt.Notes.Owners()
	p, perr := s.picture()
	if err != nil || perr != nil {
		return // there is a next time
	}
	for _, owner := range due {
		switch {
		case owner == at:
			if there, ok := s.boxesOf(owner); ok {
				_ = s.opt.Notes.Tidy(owner, there) // the same
			}
		case s.opt.Owner == "" && len(p.names[owner]) == 0 && !slices.Contains(s.opt.Hidden, owner):
			_ = s.opt.Notes.Tidy(owner, nil)
		}
	}
}

func (s *Store) boxesOf(owner string) (there []mailstore.GUID, ok bool) {
	store, err := s.reach(opLook, owner)
	if err != nil {
		return nil, false
	}
	n, err := noter(store)
	if err == nil {
		there, err = n.NotedBoxes()
	}
	return there, err == nil
}

// forgetNotes removes what the user noted of a mailbox that he deletes; it is called
// before, and what it gives after that.
func (s *Store) forgetNotes(name mailstore.Name) (deleted func()) {
	nothing := func() {}
	if s.opt.Notes == nil {
		return nothing
	}
	found, err := s.noted(opLook, name)
	if err != nil {
		return nothing // Tidy finds out
	}
	owner, _, _ := s.split(name)
	return func() { _ = s.opt.Notes.Forget(owner, found.GUID) } // the same
}

// AnnotationLimits are those of no user: each owner has his own.
func (s *Store) AnnotationLimits() mailstore.AnnotationLimits { return mailstore.AnnotationLimits{} }

// FollowAnnotations is mailstore.AnnotationFollower's.
func (s *Store) FollowAnnotations(name mailstore.Name) {
	if owner, _, err := s.place(opLook, name); err == nil {
		_, _ = s.reach(opLook, owner) // who cannot be reached has nothing to tell now
	}
}

// GatherAnnotations is mailstore.AnnotationFollower's. Without anybody who watches nobody
// is asked.
func (s *Store) GatherAnnotations() {
	n := &s.notes
	if !n.feed.Watched() || !n.asking.TryLock() { // another session is at it, and wakes this one
		return
	}
	defer n.asking.Unlock()
	for owner, f := range n.due() {
		s.ask(owner, f)
	}
}

// AnnotatedSince is mailstore.Annotator's.
func (s *Store) AnnotatedSince(number uint64) ([]mailstore.Annotated, uint64) {
	return s.notes.feed.Since(number)
}

// due gives the owners who are to be asked.
func (n *noting) due() map[string]*followed {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := map[string]*followed{}
	for owner, f := range n.owners {
		if f.dirty || !f.begun {
			f.dirty = false
			out[owner] = f
		}
	}
	return out
}

// ask brings an owner's changes into the feed. It is called with asking held.
func (s *Store) ask(owner string, f *followed) {
	since := f.since
	if !f.begun {
		since = 1<<64 - 1 // what was before nobody wants to hear
	}
	changes, last, err := f.store.SharedNotesSince(since)
	n := &s.notes
	n.mu.Lock()
	if err != nil {
		if n.owners[owner] == f {
			delete(n.owners, owner) // the next use finds the way again
		}
		n.mu.Unlock()
		return
	}
	begun, mine := f.begun, f.mine
	f.begun, f.since, f.mine = true, last, map[uint64]bool{}
	n.mu.Unlock()
	for _, c := range changes {
		if name := s.outer(owner, c.Mailbox); begun && !mine[c.Number] && s.shows(Share{owner, c.Mailbox}) {
			n.feed.Add(name, c.Entry)
		}
	}
}

// Changed is called when something in an owner's mail may have changed.
func (s *Store) Changed(owner string) {
	n := &s.notes
	n.mu.Lock()
	f := n.owners[owner]
	if f != nil {
		f.dirty = true
	}
	n.mu.Unlock()
	if f != nil {
		n.feed.Wake()
	}
}

// WatchAnnotations is mailstore.Annotator's.
func (s *Store) WatchAnnotations(c chan<- struct{}) (stop func()) { return s.notes.feed.Watch(c) }
