package annotation

import (
	"sync"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/wholefile"
	"rookery/internal/vfs"
)

// The limits where none are given. RFC 5464 §4.1 asks for at least 1024 octets and
// 10 entries.
const (
	DefaultValue   = 64 << 10
	DefaultEntries = 1000
)

// Options say where the file is and what may be in it.
type Options struct {
	FS       vfs.FS
	Dir      string // of the control files, relative to FS; it is there
	Limits   mailstore.AnnotationLimits
	Server   []mailstore.Annotation // entries of "" that the administrator has set
	Note     func(text string)      // for the log; nil: nobody is told
	LockWait time.Duration          // 0: 30 s
}

// Store is a mailstore.Store with annotations.
type Store struct {
	mailstore.Store
	opt  Options
	file wholefile.File[*book]
	feed Feed

	mu     sync.Mutex // what follows
	noted  string     // what the log was told last
	names  map[mailstore.GUID]mailstore.Name
	absent map[mailstore.GUID]uint32 // looked for among the names of this version
}

var (
	_ mailstore.Store     = (*Store)(nil)
	_ mailstore.Annotator = (*Store)(nil)
	_ mailstore.Checker   = (*Store)(nil)
)

// Wrap puts annotations around a store. It looks at nothing yet.
func Wrap(inner mailstore.Store, opt Options) *Store {
	if opt.Note == nil {
		opt.Note = func(string) {}
	}
	if opt.LockWait == 0 {
		opt.LockWait = 30 * time.Second
	}
	if opt.Limits.Value == 0 {
		opt.Limits.Value = DefaultValue
	}
	if opt.Limits.Entries == 0 {
		opt.Limits.Entries = DefaultEntries
	}
	if opt.Dir == "" {
		opt.Dir = "."
	}
	return &Store{Store: inner, opt: opt, file: wholefile.File[*book]{FS: opt.FS, Path: vfs.Join(opt.Dir, File), Lock: vfs.Join(opt.Dir, LockFile),
		LockWait: opt.LockWait, Op: "read " + File, TooLarge: "all annotations of the user are too large together", Empty: newBook, Decode: decode},
		names: map[mailstore.GUID]mailstore.Name{}, absent: map[mailstore.GUID]uint32{}}
}

// Unwrap gives the store inside.
func (s *Store) Unwrap() mailstore.Store { return s.Store }

// read gives what the file says now.
func (s *Store) read() (*book, error) {
	b, was, replaced, err := s.file.Look()
	if err == nil && replaced {
		s.follow(was, b)
	}
	return b, err
}

// update changes the file, if change says that there is something to change.
func (s *Store) update(op string, change func(b *book) (bool, error)) error {
	return s.file.Update(op, s.read, change)
}

// note tells the log something, once until it is something else.
func (s *Store) note(text string) {
	s.mu.Lock()
	again := s.noted == text
	s.noted = text
	s.mu.Unlock()
	if !again {
		s.opt.Note(text)
	}
}

// guidOf gives a mailbox's GUID; that of "" is zero.
func (s *Store) guidOf(op string, name mailstore.Name) (mailstore.GUID, error) {
	if name == "" {
		return mailstore.GUID{}, nil
	}
	st, err := s.Store.Status(name, mailstore.StatusWant{})
	if err == nil && st.GUID == (mailstore.GUID{}) {
		err = errkind.Newf(op, errkind.Unavailable, "the mailbox has no GUID")
	}
	return st.GUID, err
}

// Annotations is for mailstore.Annotator.
func (s *Store) Annotations(mailbox mailstore.Name) ([]mailstore.Annotation, error) {
	b, err := s.read()
	if err != nil {
		return nil, err
	}
	if mailbox == "" {
		list := b.lists[mailstore.GUID{}]
		if len(s.opt.Server) == 0 {
			return list, nil
		}
		all := &book{lists: map[mailstore.GUID][]mailstore.Annotation{{}: append([]mailstore.Annotation(nil), list...)}}
		for _, a := range s.opt.Server {
			all.set(mailstore.GUID{}, a.Entry, a.Value)
		}
		return all.lists[mailstore.GUID{}], nil
	}
	if len(b.lists) == 0 {
		return nil, nil
	}
	guid, err := s.guidOf("annotations", mailbox)
	return b.lists[guid], err
}

// AnnotationLimits is for mailstore.Annotator.
func (s *Store) AnnotationLimits() mailstore.AnnotationLimits { return s.opt.Limits }

// AnnotatedSince is for mailstore.Annotator. It looks for what other processes did.
func (s *Store) AnnotatedSince(number uint64) ([]mailstore.Annotated, uint64) {
	if _, err := s.read(); err != nil {
		s.note("changes of annotations cannot be told: " + err.Error())
	}
	return s.feed.Since(number)
}

// WatchAnnotations is for mailstore.Annotator.
func (s *Store) WatchAnnotations(c chan<- struct{}) (stop func()) { return s.feed.Watch(c) }

// Annotate is for mailstore.Annotator.
func (s *Store) Annotate(mailbox mailstore.Name, changes []mailstore.Annotation) (uint64, error) {
	const op = "annotate"
	var uses mailstore.Attr
	assigned := false
	for _, c := range changes {
		if err := s.mayChange(mailbox, c); err != nil {
			return 0, errkind.Wrap(op, err)
		}
		if Fold(c.Entry) == SpecialUse {
			var err error
			if uses, err = parseUses(c.Value); err != nil {
				return 0, errkind.Wrap(op, err)
			}
			assigned = true
		}
	}
	guid, err := s.guidOf(op, mailbox)
	if err != nil {
		return 0, errkind.Wrap(op, err)
	}
	var others []mailstore.Name
	err = s.update(op, func(b *book) (bool, error) {
		before := len(b.lists[guid])
		for _, c := range changes {
			if Fold(c.Entry) != SpecialUse {
				b.set(guid, c.Entry, c.Value)
			}
		}
		if n := len(b.lists[guid]); n > s.opt.Limits.Entries && n > before {
			return false, errkind.Newf(op, errkind.Limit, "there are too many entries")
		}
		if assigned {
			others, err = s.assign(b, guid, mailbox, uses)
		}
		return true, err
	})
	if err != nil {
		return 0, err
	}
	s.raise(mailbox)
	for _, name := range others {
		s.raise(name)
		s.feed.Add(name, SpecialUse)
	}
	entries := make([]string, len(changes))
	for i, c := range changes {
		entries[i] = c.Entry
	}
	return s.feed.Add(mailbox, entries...), nil
}

// raise raises a mailbox's HIGHESTMODSEQ (RFC 7162 §3.2: "MUST increment the
// per-mailbox mod-sequence when SETMETADATA successfully changes an annotation on the
// corresponding mailbox"). The annotation is certain by then, whatever becomes of this.
func (s *Store) raise(mailbox mailstore.Name) {
	if mailbox == "" {
		return
	}
	if err := mailstore.RaiseModSeq(s.Store, mailbox); err != nil && !errkind.Is(err, errkind.NotFound) {
		s.note("a change of annotations raised no MODSEQ: " + err.Error())
	}
}

// mayChange refuses what cannot be set, whatever is there.
func (s *Store) mayChange(mailbox mailstore.Name, c mailstore.Annotation) error {
	const op = "annotate"
	if err := Check(c.Entry); err != nil {
		return errkind.New(op, errkind.Invalid, err)
	}
	switch folded := Fold(c.Entry); {
	case int64(len(c.Value)) > s.opt.Limits.Value:
		return errkind.Newf(op, errkind.TooBig, "the value is too large")
	case mailbox == "" && Below(folded, "/shared", DepthInfinity):
		// RFC 5464 §3.3: servers MAY restrict the creation of server annotations. What
		// all users see, only the administrator sets.
		return errkind.Newf(op, errkind.NoPermission, "the administrator sets the server's shared entries")
	case mailbox == "" && folded == SpecialUse:
		return errkind.Newf(op, errkind.Invalid, "only a mailbox has a special use")
	}
	return nil
}
