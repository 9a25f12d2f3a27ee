package maildir_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/compress"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/numset"
	"rookery/internal/vfs"
)

// kinds gives what a look at a mailbox finds.
func kinds(t *tree, s *maildir.Store, name string, repair bool) (out []string) {
	t.Helper()
	t.must(s.Verify(context.Background(), name, repair, func(f mailstore.Finding) {
		if f.Repaired != (repair && f.Kind != "message-damaged") || f.Text == "" || f.Remedy == "" {
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
		{"tmp-old", func(tr *tree) { tr.put("tmp/old", "x"); tr.clock.Jump(48 * time.Hour) }},
		{"double-name", func(tr *tree) { tr.put("new/b", "another\r\n") }},
		{"folder-incomplete", func(tr *tree) { tr.must(tr.disk.RemoveDir("Maildir/tmp")) }},
		{"no-uid uidvalidity-missing", func(tr *tree) {
			tr.put("dovecot-uidlist", "3 V0"+tr.get("dovecot-uidlist")[len("3 V0000000000"):])
		}},
		{"no-uid uidnext-missing", func(tr *tree) {
			head, rest, _ := strings.Cut(tr.get("dovecot-uidlist"), " N")
			tr.put("dovecot-uidlist", head+" N0"+rest[1:])
		}},
		{"index-stale no-uid uidnext-low", func(tr *tree) { // an older list was put back
			list := strings.SplitAfter(tr.get("dovecot-uidlist"), "\n")
			tr.put("dovecot-uidlist", list[0]+list[1]+list[2])
		}},
		{"index-stale no-uid uid-twice uidnext-low", func(tr *tree) {
			tr.put("dovecot-uidlist", strings.Replace(tr.get("dovecot-uidlist"), "\n3 ", "\n2 ", 1))
		}},
		{"index-stale no-uid uid-order", func(tr *tree) {
			list := strings.SplitAfter(tr.get("dovecot-uidlist"), "\n")
			tr.put("dovecot-uidlist", list[0]+list[2]+list[1]+list[3])
		}},
		{"name-twice", func(tr *tree) { tr.put("dovecot-uidlist", tr.get("dovecot-uidlist")+"4 :b\n") }},
		{"vsize-wrong", func(tr *tree) {
			tr.must(tr.disk.Rename("Maildir/cur/c,S=3,W=3:2,", "Maildir/cur/x"))
			tr.must(tr.disk.Rename("Maildir/cur/x", "Maildir/cur/c,S=3,W=3:2,"))
			tr.put("cur/c,S=3,W=3:2,", "3\n\n")
		}},
		{"mode-wrong", func(tr *tree) {
			f, err := tr.disk.OpenFile("Maildir/x", vfs.Write|vfs.Create, 0o666)
			tr.must(err)
			f.Write([]byte("1\r\n"))
			f.Close()
			tr.must(tr.disk.Rename("Maildir/x", "Maildir/cur/a:2,"))
		}},
		{"index-stale keyword-unnamed", func(tr *tree) { tr.must(tr.disk.Rename("Maildir/cur/a:2,", "Maildir/cur/a:2,c")) }},
		{"keywords-damaged", func(tr *tree) { tr.put("dovecot-keywords", "0 $Work\nnoise\n1 $work\n30 beyond\n") }},
		{"keywords-damaged", func(tr *tree) { tr.put("rookery-keywords", "00000000 K 26 x\n") }},
		{"left-over", func(tr *tree) { tr.put("dovecot-uidlist.tmp", "x"); tr.clock.Jump(time.Hour) }},
		{"left-over", func(tr *tree) { tr.put("dovecot-uidlist.lock", "x"); tr.clock.Jump(time.Hour) }},
		{"message-damaged", func(tr *tree) {
			var b bytes.Buffer
			w := new(compress.Codec).NewWriter(&b)
			for i := range 60000 {
				fmt.Fprintf(w, "line %d\r\n", i*i*7919)
			}
			tr.must(w.Close())
			tr.put("cur/c,S=3,W=3:2,", b.String()[:b.Len()/2])
		}},
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
			tr.clock.Jump(time.Minute)
			before := tr.disk.Dump()
			if got := strings.Join(kinds(tr, s, "INBOX", false), " "); got != c.kind {
				t.Fatalf("found %q, want %q", got, c.kind)
			}
			if tr.disk.Dump() != before {
				t.Fatal("a look changed something")
			}
			kinds(tr, s, "INBOX", true)
			if got := kinds(tr, s, "INBOX", false); len(got) > 0 && c.kind != "message-damaged" {
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

// What is no mailbox's own: folders that a crash left, a folder that was copied
// with its identity, and a control file that would give a UIDVALIDITY twice.
func TestVerifyTree(t *testing.T) {
	for _, c := range []struct {
		kind string
		do   func(tr *tree)
	}{
		{"", func(*tree) {}},
		{"folder-left", func(tr *tree) { tr.put("rookery-gone.x/cur/y", "z") }},
		{"guid-twice", func(tr *tree) {
			tr.put(".copy/cur/a:2,", "1\r\n")
			tr.put(".copy/new/.keep", "")
			tr.put(".copy/tmp/.keep", "")
			tr.put(".copy/dovecot-uidlist", tr.get("dovecot-uidlist"))
		}},
		{"uidvalidity-low", func(tr *tree) {
			for _, f := range tr.files("") {
				if strings.HasPrefix(f, "dovecot-uidvalidity.") {
					tr.must(tr.disk.Remove("Maildir/" + f))
				}
			}
			tr.put("dovecot-uidvalidity", "00000007")
		}},
	} {
		t.Run(c.kind, func(t *testing.T) {
			tr := newTree(t)
			tr.put("cur/a:2,", "1\r\n")
			s := tr.open(maildir.Options{})
			tr.box(s, "INBOX")
			c.do(tr)
			before := tr.disk.Dump()
			if got := strings.Join(kinds(tr, s, "", false), " "); got != c.kind {
				t.Fatalf("found %q, want %q", got, c.kind)
			}
			if tr.disk.Dump() != before {
				t.Fatal("a look changed something")
			}
			kinds(tr, s, "", true)
			if got := kinds(tr, s, "", false); len(got) > 0 {
				t.Fatalf("after the repair: %q", got)
			}
		})
	}
}
