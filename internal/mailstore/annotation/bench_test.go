package annotation_test

import (
	"fmt"
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/annotation"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/vfs/memfs"
)

// What LIST costs beside the store's own: nothing noted, four special uses given by
// clients, and the entries of each of 1,000 mailboxes.
func BenchmarkList(b *testing.B) {
	disk := memfs.New(memfs.Options{})
	if err := disk.Mkdir("mail", 0o700); err != nil {
		b.Fatal(err)
	}
	inner, err := maildir.Open(maildir.Options{FS: disk, MailPath: "mail"})
	if err != nil {
		b.Fatal(err)
	}
	defer inner.Close()
	for i := range 1000 {
		if _, err := inner.Create(fmt.Sprintf("box%04d", i), 0); err != nil {
			b.Fatal(err)
		}
	}
	s := annotation.Wrap(inner, annotation.Options{FS: disk, Dir: "mail"})
	list := func(b *testing.B, store mailstore.Store) {
		for b.Loop() {
			if list, err := store.List(); err != nil || len(list) != 1001 {
				b.Fatal(len(list), err)
			}
		}
	}
	b.Run("bare", func(b *testing.B) { list(b, inner) })
	b.Run("nothing noted", func(b *testing.B) { list(b, s) })
	for i, use := range []string{`\Sent`, `\Drafts`, `\Junk`, `\Trash`} {
		if _, err := s.Annotate(fmt.Sprintf("box%04d", i), []mailstore.Annotation{note(annotation.SpecialUse, use), note("/private/x", "y")}); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("four uses", func(b *testing.B) { list(b, s) })
	b.Run("entries", func(b *testing.B) {
		for b.Loop() {
			for i := range 1000 {
				if _, err := s.Annotations(fmt.Sprintf("box%04d", i)); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
