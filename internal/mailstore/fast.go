package mailstore

// What a driver may offer for commands that walk over many messages. Each is
// asked for through a function here, which does without where it is not there. A
// mailbox that stands before another one says so by a method Unwrap: nothing here
// is changed by who stands before.

// offered finds what a mailbox, or one that it stands before, offers.
func offered[T any](box Mailbox) (offer T, ok bool) {
	for {
		if offer, ok = box.(T); ok {
			return offer, true
		}
		u, is := box.(interface{ Unwrap() Mailbox })
		if !is {
			return offer, false
		}
		box = u.Unwrap()
	}
}

// EntryReader is a Snapshot that gives many entries at once.
type EntryReader interface {
	// Entries fills dst with the entries from position from on and gives how many
	// it filled: fewer than len(dst) only at the end.
	Entries(from int, dst []Entry) int
}

// Entries fills dst from a snapshot, as EntryReader.Entries does.
func Entries(s Snapshot, from int, dst []Entry) int {
	if r, ok := s.(EntryReader); ok {
		return r.Entries(from, dst)
	}
	n := max(0, min(len(dst), s.Len()-from))
	for i := range n {
		dst[i] = s.At(from + i)
	}
	return n
}

// EntryWindow reads the entries of a snapshot some at a time. The zero value with Of
// set is ready.
type EntryWindow struct {
	Of      Snapshot
	entries [32]Entry
	from, n int // positions [from, from+n) are in entries
}

// Has reports whether the entry at pos has been read already.
func (w *EntryWindow) Has(pos int) bool { return pos >= w.from && pos < w.from+w.n }

// At gives the entry at pos; an empty one where there is none.
func (w *EntryWindow) At(pos int) Entry {
	if !w.Has(pos) {
		w.from, w.n = pos, Entries(w.Of, pos, w.entries[:])
	}
	if w.n == 0 {
		return Entry{}
	}
	return w.entries[pos-w.from]
}

// PictureSharer is a Snapshot that knows what it has in common with another.
type PictureSharer interface {
	// Shared gives how many entries from pos on are those of old from at on; 0 says
	// nothing.
	Shared(pos int, old Snapshot, at int) int
}

// CacheAppender is a Mailbox that gives derived facts without a copy of each on
// the heap.
type CacheAppender interface {
	// AppendCached is Cached, but appends the value to dst. Where ok is false, out
	// is dst as it was.
	AppendCached(dst []byte, uid UID, field string) (out []byte, ok bool)
}

// Cache gives a mailbox's derived facts: once for a command, since it looks for
// who has them.
func Cache(box Mailbox) CacheAppender {
	if c, ok := offered[CacheAppender](box); ok {
		return c
	}
	return plainCache{box}
}

// plainCache does without CacheAppender.
type plainCache struct{ box Mailbox }

func (c plainCache) AppendCached(dst []byte, uid UID, field string) (out []byte, ok bool) {
	value, ok := c.box.Cached(uid, field)
	if !ok {
		return dst, false
	}
	return append(dst, value...), true
}

// FieldLister is a Mailbox that knows which derived facts were asked for.
type FieldLister interface {
	// CachedFields gives the fields that were asked for lately, in any process.
	CachedFields() []string
}

// CachedFields gives the fields that are kept for a mailbox, nil where it cannot tell.
func CachedFields(box Mailbox) []string {
	if l, ok := offered[FieldLister](box); ok {
		return l.CachedFields()
	}
	return nil
}

// FactsReader is a Mailbox that tells what is known of all messages in one pass.
type FactsReader interface {
	// KnownFacts calls yield for each message of the newest picture, by UID, until
	// it returns false. known says which of the facts that can be wanted are there;
	// the others cost a look at the message, by Mailbox.Facts. BaseName, UIDL and
	// Order are always there, GUID only where want asks for it.
	KnownFacts(want FactsWant, yield func(uid UID, f Facts, known FactsWant) bool)
}

// KnownFacts does what FactsReader says, or nothing where the mailbox does not.
func KnownFacts(box Mailbox, want FactsWant, yield func(uid UID, f Facts, known FactsWant) bool) {
	if r, ok := offered[FactsReader](box); ok {
		r.KnownFacts(want, yield)
	}
}

// InMemory is a Message whose bytes are in memory.
type InMemory interface {
	// Bytes gives the message in CRLF form, nil where it is not in memory. The
	// caller must not change them, nor use them after Close.
	Bytes() []byte
}

// Bytes gives a message's bytes if they are in memory, else nil.
func Bytes(m Message) []byte {
	if b, ok := m.(InMemory); ok {
		return b.Bytes()
	}
	return nil
}
