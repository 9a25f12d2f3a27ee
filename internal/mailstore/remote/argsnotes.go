package remote

import (
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/annotation"
)

// Bounds of annotations: the settings allow no more of a mailbox, and of one value.
const (
	maxNotes       = 10_000
	maxNote        = 64 << 10 // octets
	maxNoteChanges = 20_000   // told of at once: as many as are remembered
)

// note is an annotation. A value that is not there and an empty one are two.
func note(c *coder, it *mailstore.Annotation) {
	c.text(&it.Entry, annotation.MaxEntry)
	there := it.Value != nil
	c.flag(&there)
	if !there {
		return
	}
	c.bytes(&it.Value, maxNote)
	if c.reading && it.Value == nil {
		it.Value = []byte{}
	}
}

// noted is what is noted of a mailbox. The guest shows it to mail programs: no entry is
// taken that is no name, is not everybody's or comes twice.
type noted struct{ mailstore.Noted }

func (a *noted) code(c *coder) {
	c.fixed(a.GUID[:])
	octets(c, &a.Limits.Value)
	signed(c, &a.Limits.Entries)
	ascending(c, &a.Entries, maxNotes, func(it *mailstore.Annotation) string {
		note(c, it)
		if c.reading && c.err == nil && it.Value == nil {
			c.fail("the annotation %q is not there", it.Entry)
		}
		return sharedEntry(c, it.Entry)
	})
}

// sharedEntry checks an entry's name, and gives it as names are compared.
func sharedEntry(c *coder, entry string) string {
	if c.reading && c.err == nil && (annotation.Check(entry) != nil || !annotation.Below(entry, "/shared", annotation.DepthInfinity)) {
		c.fail("%q is no shared annotation", entry)
	}
	return annotation.Fold(entry)
}

// noting is SetSharedNotes. What the entries may be is the store's to say.
type noting struct {
	Name    mailstore.Name
	Changes []mailstore.Annotation
}

func (a *noting) code(c *coder) {
	c.text(&a.Name, maxName)
	n := c.count(len(a.Changes), maxNotes)
	if c.reading {
		a.Changes = make([]mailstore.Annotation, n)
	}
	for i := 0; i < n && c.err == nil; i++ {
		note(c, &a.Changes[i])
	}
}

// number counts changes of annotations.
type number struct{ N uint64 }

func (a *number) code(c *coder) { num(c, &a.N) }

// notesChanged is what SharedNotesSince gives.
type notesChanged struct {
	List []mailstore.Annotated
	Last uint64
}

func (a *notesChanged) code(c *coder) {
	num(c, &a.Last)
	ascending(c, &a.List, maxNoteChanges, func(it *mailstore.Annotated) string {
		c.text(&it.Mailbox, maxName)
		c.text(&it.Entry, annotation.MaxEntry)
		num(c, &it.Number)
		if c.reading && c.err == nil && (it.Mailbox == "" || it.Number > a.Last) {
			c.fail("the change %d of an annotation of %q, where %d is the last", it.Number, it.Mailbox, a.Last)
		}
		return it.Mailbox + "\x00" + sharedEntry(c, it.Entry)
	})
}

// guids name mailboxes.
type guids struct{ List []mailstore.GUID }

func (a *guids) code(c *coder) {
	n := c.count(len(a.List), maxFolders)
	if c.reading {
		a.List = make([]mailstore.GUID, n)
	}
	for i := 0; i < n && c.err == nil; i++ {
		c.fixed(a.List[i][:])
	}
}
