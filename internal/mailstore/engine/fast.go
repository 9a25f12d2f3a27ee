package engine

import "rookery/internal/mailstore"

var (
	_ mailstore.CacheAppender = (*mailbox)(nil)
	_ mailstore.FieldLister   = (*mailbox)(nil)
)

// AppendCached is Cached without a copy on the heap.
func (mb *mailbox) AppendCached(dst []byte, uid mailstore.UID, field string) ([]byte, bool) {
	return mb.index.AppendCached(dst, uid, field)
}

// CachedFields gives the fields that were asked for lately.
func (mb *mailbox) CachedFields() []string { return mb.index.CachedFields() }
