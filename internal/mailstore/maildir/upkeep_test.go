package maildir_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/numset"
)

// kinds gives what a look at a mailbox finds.
func kinds(t *tree, s *maildir.Store, name string, repair bool) (out []string) {
	t.Helper()
	t.must(s.Verify(context.Background(), name, repair, func(f mailstore.Finding) {
		if f.Repaired != repair || f.Text == "" || f.Remedy == "" {
			t.Errorf("%+v", f)
		}
		out = append(out, f.Kind)
	}))
	slices.Sort(out)
	return slices.Compact(out)
}

// Each damage is named, a look changes nothing, and a repair leaves nothing to find.
func TestVerify(t *testing.T) {
	for _, c := range []struct {
		kind string
		do   func(tr *tree)
	}{
		{"", func(*tree) {}},
		{"no-uid uidlist-missing", func(tr *tree) { tr.must(tr.disk.Remove("Maildir/dovecot-uidlist")) }},
		{"no-uid uidlist-damaged", func(tr *tree) { tr.put("dovecot-uidlist", "noise\n") }},
		{"index-stale no-uid uidlist-damaged", func(tr *tree) {
			tr.put("dovecot-uidlist", strings.Replace(tr.get("dovecot-uidlist"), "\n2 :", "\nx :", 1))
		}},
		{"uidlist-torn", func(tr *tree) { tr.put("dovecot-uidlist", tr.get("dovecot-uidlist")+"9 :torn") }},
		{"index-stale uidlist-stale", func(tr *tree) { tr.must(tr.disk.Remove("Maildir/cur/b:2,S")) }},
		{"no-uid", func(tr *tree) { tr.put("new/new", "x\r\n") }},
		{"size-wrong", func(tr *tree) { tr.put("cur/c,S=3,W=3:2,", "longer\r\n") }},
		{"index-stale", func(tr *tree) { tr.must(tr.disk.Rename("Maildir/cur/b:2,S", "Maildir/cur/b:2,F")) }},
		{"tmp-old", func(tr *tree) { tr.put("tmp/old", "x"); tr.now = tr.now.Add(48 * time.Hour) }},
		{"double-name", func(tr *tree) { tr.put("new/b", "another\r\n") }},
	} {
		t.Run(c.kind, func(t *testing.T) {
			tr := newTree(t)
			tr.put("cur/a:2,", "1\r\n")
			tr.put("cur/b:2,S", "2\r\n")
			tr.put("cur/c,S=3,W=3:2,", "3\r\n")
			s := tr.open(maildir.Options{})
			tr.must(s.Index(context.Background(), "INBOX", nil))
			if f, err := tr.box(s, "INBOX").Facts(1, mailstore.FactsWant{}); err != nil || f.Size != 3 || f.InternalDate.IsZero() {
				t.Fatalf("indexed: %+v, %v", f, err)
			}
			c.do(tr)
			tr.now = tr.now.Add(time.Minute)
			before := tr.disk.Dump()
			if got := strings.Join(kinds(tr, s, "INBOX", false), " "); got != c.kind {
				t.Fatalf("found %q, want %q", got, c.kind)
			}
			if tr.disk.Dump() != before {
				t.Fatal("a look changed something")
			}
			kinds(tr, s, "INBOX", true)
			if got := kinds(tr, s, "INBOX", false); len(got) > 0 {
				t.Fatalf("after the repair: %q\n%s\n%s", got, tr.get("dovecot-uidlist"), tr.disk.Dump())
			}
		})
	}
}

// What an expunge leaves in the uidlist until it is written anew is no damage;
// nor are flags that changed, and nor is what came.
func TestVerifySound(t *testing.T) {
	tr := newTree(t)
	for _, n := range []string{"a", "b", "c", "d"} {
		tr.put("cur/"+n+":2,", n+"\r\n")
	}
	s := tr.open(maildir.Options{})
	mb := tr.box(s, "INBOX")
	_, err := mb.Expunge(numset.Of(2, 4))
	tr.must(err)
	_, err = mb.Store(mailstore.FlagChange{UIDs: numset.Of(1), Op: mailstore.AddFlags, Flags: mailstore.Seen})
	tr.must(err)
	if list := tr.get("dovecot-uidlist"); !strings.Contains(list, "\n2 :b\n") || !strings.Contains(list, "\n4 :d\n") {
		t.Fatalf("the uidlist was written anew:\n%s", list)
	}
	before := tr.disk.Dump()
	if got := kinds(tr, s, "INBOX", false); len(got) > 0 || tr.disk.Dump() != before {
		t.Errorf("found %q", got)
	}
	tr.must(s.Close())
	// The same by a process that has seen nothing of it.
	s = tr.open(maildir.Options{})
	if got := kinds(tr, s, "INBOX", false); len(got) > 0 {
		t.Errorf("found %q by another process", got)
	}
	// A message that goes without an expunge is told.
	tr.must(tr.disk.Remove("Maildir/cur/c:2,"))
	if got := strings.Join(kinds(tr, s, "INBOX", false), " "); got != "index-stale uidlist-stale" {
		t.Errorf("found %q", got)
	}
}

func TestVerifyTree(t *testing.T) {
	tr := newTree(t)
	s := tr.open(maildir.Options{})
	tr.put("rookery-gone.x/cur/y", "z")
	if got := kinds(tr, s, "", true); len(got) != 1 || got[0] != "folder-left" || slices.Contains(tr.files(""), "rookery-gone.x") {
		t.Fatal(got)
	}
}
