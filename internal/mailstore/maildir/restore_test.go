package maildir_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/maildir"
)

// addMeta adds a message with what comes with it.
func addMeta(t *tree, s *maildir.Store, box string, meta mailstore.AppendMeta) error {
	t.Helper()
	a, err := s.Append(box)
	t.must(err)
	defer a.Abort()
	w, err := a.Add(meta, -1)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "Subject: %d\r\n\r\n", meta.UID)
	t.must(err)
	_, err = a.Commit()
	return err
}

// A mailbox is restored with everything that clients remember, and keeps it.
func TestRestore(t *testing.T) {
	tr := newTree(t)
	s := tr.open(maildir.Options{})
	id := mailstore.Identity{UIDValidity: 77, UIDNext: 500, GUID: mailstore.GUID{1, 2, 3}, HighestModSeq: 1 << 52}
	tr.must(s.Restore("a/b", id))
	meta := mailstore.AppendMeta{UID: 600, Flags: mailstore.Seen, Keywords: []string{"k"}, InternalDate: time.Unix(1e9, 0),
		SaveDate: time.Unix(11e8, 0), GUID: mailstore.GUID{9}, UIDL: "abc.1", Order: 4}
	tr.must(addMeta(tr, s, "a/b", meta))
	for _, bad := range []mailstore.AppendMeta{{UID: 600}, {UID: 3}, {UIDL: "a b"}} {
		if err := addMeta(tr, s, "a/b", bad); err == nil {
			t.Fatalf("%+v was taken", bad)
		}
	}
	tr.must(addMeta(tr, s, "a/b", mailstore.AppendMeta{UID: 602}))
	tr.must(addMeta(tr, s, "a/b", mailstore.AppendMeta{}))
	if err := s.Restore("a/b", id); !errkind.Is(err, errkind.Exists) {
		t.Fatal(err)
	}
	if err := s.Restore("c", mailstore.Identity{UIDValidity: 1}); !errkind.Is(err, errkind.Invalid) {
		t.Fatal(err)
	}
	for range 2 { // and once more without its index
		mb := tr.box(s, "a/b")
		tr.is(mb, "600:S[k] 602:[] 603:[]")
		info := mb.Info()
		if info.UIDValidity != 77 || info.GUID != id.GUID || mb.Snapshot().HighestModSeq() <= id.HighestModSeq {
			t.Fatalf("%+v, MODSEQ %d", info, mb.Snapshot().HighestModSeq())
		}
		f, err := mb.Facts(600, mailstore.FactsWant{Size: true, InternalDate: true, SaveDate: true, GUID: true, UIDL: true})
		tr.must(err)
		if !f.InternalDate.Equal(meta.InternalDate) || !f.SaveDate.Equal(meta.SaveDate) || f.GUID != meta.GUID || f.UIDL != meta.UIDL || f.Order != 4 {
			t.Fatalf("%+v", f)
		}
		tr.must(mb.Close())
		tr.must(s.Close())
		tr.must(dropIndex(tr.disk))
		s = tr.open(maildir.Options{})
	}
	old := tr.box(s, "a/b")
	v, err := s.Renew("a/b")
	tr.must(err)
	if _, err := old.Sync(); v <= 77 || !errkind.Is(err, errkind.NotFound) {
		t.Fatal(v, err)
	}
	mb := tr.box(s, "a/b")
	if mb.Info().UIDValidity != v {
		t.Fatal(mb.Info())
	}
	tr.is(mb, "600:S[k] 602:[] 603:[]")
}

// A folder that another program copied as a whole is a mailbox of its own.
func TestCopiedFolder(t *testing.T) {
	for _, open := range []bool{true, false} { // the original is in use, or is not
		tr := newTree(t)
		s := tr.open(maildir.Options{})
		_, err := s.Create("a", 0)
		tr.must(err)
		tr.must(addMeta(tr, s, "a", mailstore.AppendMeta{}))
		mb := tr.box(s, "a")
		was := mb.Info()
		if !open {
			tr.must(mb.Close())
			tr.must(s.Close())
			s = tr.open(maildir.Options{})
		}
		for _, d := range []string{".", "cur", "new", "tmp"} {
			for _, f := range tr.files(strings.TrimSuffix(".a/"+d, "/.")) {
				if f != "cur" && f != "new" && f != "tmp" {
					tr.put(strings.Replace(".b/"+d+"/"+f, "/./", "/", 1), tr.get(strings.Replace(".a/"+d+"/"+f, "/./", "/", 1)))
				}
			}
		}
		for _, d := range []string{"cur", "new", "tmp"} {
			tr.put(".b/"+d+"/.x", "")
		}
		copied := tr.box(s, "b")
		tr.is(copied, "1:[]")
		if got := copied.Info(); got.GUID == was.GUID || got.UIDValidity == was.UIDValidity {
			t.Fatalf("open %v: the copy is %+v, the original %+v", open, got, was)
		}
		orig := tr.box(s, "a")
		if got := orig.Info(); got.GUID != was.GUID || got.UIDValidity != was.UIDValidity {
			t.Fatalf("open %v: the original is %+v, was %+v", open, got, was)
		}
		tr.is(orig, "1:[]")
	}
}
