package maildir_test

import (
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/index"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/numset"
)

// An index that gives two messages each other's files touches neither: the
// uidlist says whose a file is.
func TestWrongIndex(t *testing.T) {
	for _, what := range []string{"expunge", "store"} {
		tr := newTree(t)
		tr.put("cur/a:2,", "first\r\n")
		tr.put("cur/b:2,", "second\r\n")
		s := tr.open(maildir.Options{})
		mb := tr.box(s, "INBOX")
		guid := mb.Info().GUID
		tr.must(mb.Close())
		tr.must(s.Close())
		swap(tr, guid)
		s = tr.open(maildir.Options{})
		mb = tr.box(s, "INBOX")
		if what == "expunge" {
			got, err := mb.Expunge(numset.Of(1))
			if tr.must(err); !got.Contains(1) {
				t.Fatal(got)
			}
			tr.is(mb, "2:[]")
		} else {
			_, err := mb.Store(mailstore.FlagChange{UIDs: numset.Of(1), Op: mailstore.AddFlags, Flags: mailstore.Deleted})
			tr.must(err)
			tr.is(mb, "1:T[] 2:[]")
			if b := tr.body(mb, 1); b != "first\r\n" {
				t.Fatalf("%q", b)
			}
		}
		if b := tr.body(mb, 2); b != "second\r\n" {
			t.Fatalf("%s: UID 2 is %q", what, b)
		}
	}
}

// swap has the index name the first two messages' files the other way round.
func swap(t *tree, guid mailstore.GUID) {
	t.Helper()
	u, err := index.Open(index.Options{FS: t.disk, LogDir: "Maildir", ControlDir: "Maildir"})
	t.must(err)
	box, err := u.Box(guid, "Maildir")
	t.must(err)
	t.must(u.Lock(0))
	tx, err := box.Begin()
	t.must(err)
	a, b := tx.View().Loc(0), tx.View().Loc(1)
	tx.Loc(0, b)
	tx.Loc(1, a)
	tx.Commit()
	u.Unlock()
	box.Close()
	t.must(u.Close())
}
