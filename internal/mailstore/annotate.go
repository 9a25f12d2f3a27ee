package mailstore

import "strconv"

// Annotation is an entry with its value (RFC 5464 §3).
type Annotation struct {
	// Entry is its name: "/private/comment". Upper and lower case are the same; the
	// spelling is that of who set it. Package annotation checks names.
	Entry string
	Value []byte // any octets; nil: the entry is not there
}

// Annotated is a change of an annotation that others may have to be told.
type Annotated struct {
	Mailbox Name // "": one of the user's own
	Entry   string
	Number  uint64 // changes are counted from 1, in this process
}

// AnnotationLimits are what an Annotator takes.
type AnnotationLimits struct {
	Value   int64 // octets of one value
	Entries int   // of one mailbox, and of the user's own
}

// Annotator is a Store that keeps annotations of mailboxes and, under the name "",
// of the user himself, which IMAP calls the server's.
type Annotator interface {
	// Annotations gives all entries, in the order of their names without case; the
	// caller must not change them. Special uses are not among them: Folder.Attrs
	// tells those. A mailbox that is not there has none, or is errkind.NotFound.
	Annotations(mailbox Name) ([]Annotation, error)
	// Annotate sets entries or, with a nil value, removes them: all or none, durable
	// when it returns. number is that of the last change made by it, for who does not
	// want to be told of his own.
	// The entry /private/specialuse sets a mailbox's special uses (RFC 6154 §4).
	// errkind: NotFound; Invalid (a name or value that cannot be, a mere parent);
	// TooBig (a value); Limit (too many entries, or all of them together too large);
	// NoPermission.
	Annotate(mailbox Name, changes []Annotation) (number uint64, err error)
	// AnnotationLimits tells what Annotate takes.
	AnnotationLimits() AnnotationLimits
	// AnnotatedSince gives what was changed after a number, each entry once and with
	// its newest number, in the order of mailboxes and names, and the number to ask
	// with next.
	AnnotatedSince(number uint64) (changes []Annotated, last uint64)
	// WatchAnnotations asks for a non-blocking send on c after every change by this
	// process. stop ends it.
	WatchAnnotations(c chan<- struct{}) (stop func())
}

// TooLong is wrapped by an errkind.TooBig of Annotate where not AnnotationLimits.Value
// of the user holds but another's.
type TooLong struct{ Max int64 } // octets that a value may have

func (e *TooLong) Error() string {
	return "a value has at most " + strconv.FormatInt(e.Max, 10) + " octets"
}

// AnnotationFollower is an Annotator that tells of changes in some mailboxes, which are
// not the user's own, only while it has a way to who makes them.
type AnnotationFollower interface {
	// FollowAnnotations opens the way for a mailbox, if it can and there is none.
	FollowAnnotations(mailbox Name)
	// GatherAnnotations asks those to whom there is a way, so that AnnotatedSince tells
	// what they did. It may take its time.
	GatherAnnotations()
}

// Noted is what is noted of another user's mailbox, for all to see.
type Noted struct {
	GUID    GUID             // of the mailbox
	Limits  AnnotationLimits // of its owner
	Entries []Annotation     // those below /shared, in the order of their names without case
}

// SharedNotes is a Sharer that lets its user see and change the annotations below /shared
// of mailboxes where he has l and one of r, s, w, i and p (RFC 5464 §3.3). The others are
// errkind.NotFound without l, else errkind.NoPermission. errkind.Unavailable: the store
// keeps no annotations.
type SharedNotes interface {
	SharedNotes(mailbox Name) (Noted, error)
	// SetSharedNotes is Annotator's Annotate. errkind.NoPermission for an entry that is
	// not below /shared, too.
	SetSharedNotes(mailbox Name, changes []Annotation) (number uint64, err error)
	// SharedNotesSince is Annotator's AnnotatedSince for what the user may see.
	SharedNotesSince(number uint64) (changes []Annotated, last uint64, err error)
	// NotedBoxes gives the GUIDs of all mailboxes whose annotations the user may see.
	NotedBoxes() ([]GUID, error)
}

// AnnotatorOf gives who keeps a store's annotations: itself, or one that it stands
// before. nil: nobody does.
func AnnotatorOf(s Store) Annotator {
	for s != nil {
		if a, ok := s.(Annotator); ok {
			return a
		}
		u, ok := s.(interface{ Unwrap() Store })
		if !ok {
			break
		}
		s = u.Unwrap()
	}
	return nil
}
