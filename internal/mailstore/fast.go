package mailstore

// What a driver may offer for commands that walk over many messages. Each is
// asked for by type assertion, through a function here that does without where
// it is not there.

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

// CacheAppender is a Mailbox that gives derived facts without a copy of each on
// the heap.
type CacheAppender interface {
	// AppendCached is Cached, but appends the value to dst. Where ok is false, out
	// is dst as it was.
	AppendCached(dst []byte, uid UID, field string) (out []byte, ok bool)
}

// AppendCached appends a derived fact of a mailbox to dst, as
// CacheAppender.AppendCached does.
func AppendCached(box Mailbox, dst []byte, uid UID, field string) (out []byte, ok bool) {
	if c, ok := box.(CacheAppender); ok {
		return c.AppendCached(dst, uid, field)
	}
	value, ok := box.Cached(uid, field)
	return append(dst, value...), ok
}

// FieldLister is a Mailbox that knows which derived facts were asked for.
type FieldLister interface {
	// CachedFields gives the fields that were asked for lately, in any process.
	CachedFields() []string
}

// CachedFields gives the fields that are kept for a mailbox, nil where it cannot tell.
func CachedFields(box Mailbox) []string {
	if l, ok := box.(FieldLister); ok {
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
