package remote

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"

	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/guarded"
	"rookery/internal/mailstore/memstore"
	"rookery/internal/mailstore/storetest"
	"rookery/internal/numset"
)

// within runs a call on an open mailbox.
func within(do func(mb mailstore.Mailbox) error) func(mailstore.Sharer, mailstore.Name) error {
	return func(s mailstore.Sharer, name mailstore.Name) error { return storetest.Within(s, name, do) }
}

func flagging(op mailstore.FlagOp, flags mailstore.Flags, keywords ...string) func(mailstore.Sharer, mailstore.Name) error {
	return within(func(mb mailstore.Mailbox) error {
		r, err := mb.Store(mailstore.FlagChange{UIDs: numset.Of(1), Op: op, Flags: flags, Keywords: keywords})
		if err == nil && len(r.Changed.Ranges()) > 1 {
			err = errkind.Newf("store", errkind.Other, "more was changed than asked for")
		}
		return err
	})
}

// requests are what a guest can ask for.
var requests = []struct {
	name string
	do   func(s mailstore.Sharer, name mailstore.Name) error
}{
	{"lookup", func(s mailstore.Sharer, n mailstore.Name) error { _, err := s.Lookup(n); return err }},
	{"list", func(s mailstore.Sharer, n mailstore.Name) error {
		all, err := s.List()
		if err == nil && !slices.ContainsFunc(all, func(f mailstore.Folder) bool { return f.Name == n }) {
			err = errkind.New("list", errkind.NotFound, nil)
		}
		return err
	}},
	{"status", func(s mailstore.Sharer, n mailstore.Name) error {
		_, err := s.Status(n, mailstore.StatusWant{Size: true})
		return err
	}},
	{"subscribe", func(s mailstore.Sharer, n mailstore.Name) error { return s.Subscribe(n, true) }},
	{"unsubscribe", func(s mailstore.Sharer, n mailstore.Name) error { return s.Subscribe(n, false) }},
	{"sync", within(func(mb mailstore.Mailbox) error { return nil })},
	{"recent", within(func(mb mailstore.Mailbox) error { _, err := mb.ClaimRecent(false); return err })},
	{"expunged since", within(func(mb mailstore.Mailbox) error { _, _, err := mb.ExpungedSince(1); return err })},
	{"message", within(func(mb mailstore.Mailbox) error {
		m, err := mb.Message(1)
		if err == nil {
			err = m.Close()
		}
		return err
	})},
	{"facts", within(func(mb mailstore.Mailbox) error {
		f, err := mb.Facts(1, mailstore.FactsWant{Size: true, GUID: true, UIDL: true})
		if err == nil && (f.UIDL != "" || f.BaseName != "" || f.Order != 0) {
			err = errkind.Newf("facts", errkind.Other, "what is the owner's was told")
		}
		return err
	})},
	{"append", func(s mailstore.Sharer, n mailstore.Name) error {
		a, err := s.Append(n)
		if err != nil {
			return err
		}
		defer a.Abort()
		w, err := a.Add(mailstore.AppendMeta{Flags: mailstore.AllFlags, Keywords: []string{"k"}, GUID: mailstore.GUID{1}, UID: 1000, UIDL: "u"}, 4)
		if err == nil {
			_, err = io.WriteString(w, "new\n")
		}
		if err == nil {
			_, err = a.Commit()
		}
		return err
	}},
	{"create below", func(s mailstore.Sharer, n mailstore.Name) error { _, err := s.Create(n+"/new", 0); return err }},
	{"create", func(s mailstore.Sharer, n mailstore.Name) error { _, err := s.Create(n, 0); return err }},
	{"delete", func(s mailstore.Sharer, n mailstore.Name) error { return s.Delete(n) }},
	{"rename", func(s mailstore.Sharer, n mailstore.Name) error { return s.Rename(n, "Full/x") }},
	{"rename to below", func(s mailstore.Sharer, n mailstore.Name) error { return s.Rename("Full", n+"/x") }},
	{"+seen", flagging(mailstore.AddFlags, mailstore.Seen)},
	{"+deleted", flagging(mailstore.AddFlags, mailstore.Deleted)},
	{"-flagged", flagging(mailstore.RemoveFlags, mailstore.Flagged)},
	{"+keyword", flagging(mailstore.AddFlags, 0, "k")},
	{"=deleted", flagging(mailstore.SetFlags, mailstore.Deleted)},
	{"expunge", within(func(mb mailstore.Mailbox) error { _, err := mb.Expunge(numset.Of(1)); return err })},
	{"copy from", within(func(mb mailstore.Mailbox) error { _, err := mb.Copy(numset.Of(1), "Full"); return err })},
	{"move from", within(func(mb mailstore.Mailbox) error { _, err := mb.Move(numset.Of(1), "Full"); return err })},
	{"copy to", func(s mailstore.Sharer, n mailstore.Name) error {
		return within(func(mb mailstore.Mailbox) error { _, err := mb.Copy(numset.Of(1), n); return err })(s, "Full")
	}},
	{"move to", func(s mailstore.Sharer, n mailstore.Name) error {
		return within(func(mb mailstore.Mailbox) error { _, err := mb.Move(numset.Of(1), n); return err })(s, "Full")
	}},
	{"myrights", func(s mailstore.Sharer, n mailstore.Name) error { _, err := s.MyRights(n); return err }},
	{"getacl", func(s mailstore.Sharer, n mailstore.Name) error { _, err := s.GetACL(n); return err }},
	{"setacl", func(s mailstore.Sharer, n mailstore.Name) error {
		return s.SetACL(n, acl.ID{Kind: acl.User, Name: "carol"}, acl.Change{Rights: acl.All})
	}},
	{"deleteacl", func(s mailstore.Sharer, n mailstore.Name) error {
		return s.DeleteACL(n, acl.ID{Kind: acl.User, Name: "carol"})
	}},
	{"listrights", func(s mailstore.Sharer, n mailstore.Name) error {
		_, _, err := s.Grantable(n, acl.ID{Kind: acl.User, Name: "carol"})
		return err
	}},
	{"get notes", func(s mailstore.Sharer, n mailstore.Name) error {
		_, err := s.(mailstore.SharedNotes).SharedNotes(n)
		return err
	}},
	{"set notes", func(s mailstore.Sharer, n mailstore.Name) error {
		_, err := s.(mailstore.SharedNotes).SetSharedNotes(n, []mailstore.Annotation{{Entry: "/shared/comment", Value: []byte("new")}})
		return err
	}},
	{"set private notes", func(s mailstore.Sharer, n mailstore.Name) error {
		_, err := s.(mailstore.SharedNotes).SetSharedNotes(n, []mailstore.Annotation{{Entry: "/private/comment"}})
		return err
	}},
	{"nonsense", func(s mailstore.Sharer, n mailstore.Name) error {
		_, err := s.Status("../"+n, mailstore.StatusWant{})
		return err
	}},
}

// granted is a store with the mailboxes Box, where bob has some rights, and Full, where
// he has all.
func granted(t testing.TB, r acl.Rights) *memstore.Store {
	t.Helper()
	s := newStore()
	for _, name := range []string{"Box", "Full"} {
		_, err := s.Create(name, 0)
		must(t, err)
		a, err := s.Append(name)
		must(t, err)
		w, err := a.Add(mailstore.AppendMeta{Flags: mailstore.AllFlags, Keywords: []string{"old"}, UIDL: "uidl", Order: 7}, -1)
		must(t, err)
		io.WriteString(w, "one\n")
		_, err = a.Commit()
		must(t, err)
	}
	give(t, s, "Box", "user=bob "+r.String())
	give(t, s, "Full", "user=bob lrswipkxtea")
	_, err := s.Annotate("Box", []mailstore.Annotation{{Entry: "/private/comment", Value: []byte("hers")}, {Entry: "/shared/comment", Value: []byte("all")}})
	must(t, err)
	return s
}

// dump writes what a store holds.
func dump(t testing.TB, s mailstore.Store) string {
	t.Helper()
	list, err := s.List()
	must(t, err)
	out := ""
	k, _ := mailstore.ACLs(s)
	for _, f := range list {
		out += fmt.Sprintf("%s %d\n", f.Name, f.Attrs)
		if f.Attrs&mailstore.NonExistent != 0 {
			continue
		}
		l, err := k.ACL(f.Name)
		must(t, err)
		mb, snap, err := mailstore.Look(s, f.Name)
		must(t, err)
		out += string(l.Format())
		if notes := mailstore.AnnotatorOf(s); notes != nil {
			list, err := notes.Annotations(f.Name)
			must(t, err)
			out += fmt.Sprintf("  %q\n", list)
		}
		for pos := range snap.Len() {
			e := snap.At(pos)
			fact, err := mb.Facts(e.UID, mailstore.FactsWant{GUID: true})
			must(t, err)
			out += fmt.Sprintf("  %d %v %q %x %s\n", e.UID, e.Flags, snap.Keywords(e.Keywords), fact.GUID, fact.UIDL)
		}
		mb.Close()
	}
	return out
}

func kind(err error) string {
	if err == nil {
		return "done"
	}
	return errkind.Of(err).String()
}

// A guest's call over the channel comes to the same end as one that is made on the
// guarded store itself, with every set of rights: the same kind of error, the same mail
// afterwards; and what he may not know of is as what is not there.
func TestRights(t *testing.T) {
	step := acl.Rights(5)
	if testing.Short() {
		step = 31
	}
	for _, c := range requests {
		for r := acl.Rights(0); r <= acl.All; r += step {
			direct, far := granted(t, r), granted(t, r)
			s := serve(t, asGuest(t, far, "bob"), ServeOptions{}, ClientOptions{})
			want, got := c.do(asGuest(t, direct, "bob"), "Box"), c.do(s, "Box")
			if kind(got) != kind(want) {
				t.Fatalf("%s with %q: %v, want %v", c.name, r, got, want)
			}
			if !r.Has(acl.Lookup) {
				if absent := c.do(s, "Nope"); kind(absent) != kind(got) || fmt.Sprint(absent) != fmt.Sprint(got) {
					t.Fatalf("%s with %q: %v, of a mailbox that is not there %v", c.name, r, got, absent)
				}
			}
			s.stop()
			if s.err != nil || s.Err() != nil {
				t.Fatalf("%s with %q: the channel ended: %v, %v", c.name, r, s.err, s.Err())
			}
			if a, b := dump(t, far), dump(t, direct); a != b {
				t.Fatalf("%s with %q leaves\n%swant\n%s", c.name, r, a, b)
			}
		}
	}
}

// What the owner says of rights comes over as it is.
func TestSharer(t *testing.T) {
	store := granted(t, acl.All)
	give(t, store, "Box", "# a comment;user=bob lrswipkxtea;-user=carol l :post strange;group=staff lr")
	s := serve(t, asGuest(t, store, "bob"), ServeOptions{}, ClientOptions{Owner: "ann"})
	direct := asGuest(t, store, "bob")
	l, err := s.GetACL("Box")
	must(t, err)
	want, err := direct.GetACL("Box")
	must(t, err)
	if fmt.Sprint(l.Entries()) != fmt.Sprint(want.Entries()) || len(l.Entries()) != 3 {
		t.Errorf("%v, want %v", l.Entries(), want.Entries())
	}
	if text := string(l.Format()); text != string(want.Inherited().Format()) || text[0] == '#' {
		t.Errorf("%q", text)
	}
	id := acl.ID{Kind: acl.User, Name: "dave"}
	must(t, s.SetACL("Box", id, acl.Change{Op: '+', Rights: acl.Lookup | acl.Read}))
	must(t, s.DeleteACL("Box", acl.ID{Kind: acl.Group, Name: "staff"}))
	l, err = direct.GetACL("Box")
	must(t, err)
	if r, ok := l.Get(id); !ok || r != acl.Lookup|acl.Read || len(l.Entries()) != 3 {
		t.Errorf("%v", l.Entries())
	}
	always, can, err := s.Grantable("Box", id)
	must(t, err)
	if a, c, _ := direct.Grantable("Box", id); always != a || can != c {
		t.Error(always, can)
	}
	if r, err := s.MyRights("Box"); err != nil || r != acl.All {
		t.Error(r, err)
	}
	if ns := s.Namespaces(); len(ns) != 1 || ns[0].Owner != "ann" || ns[0].Separator != '/' {
		t.Errorf("%+v", ns)
	}
	if err := s.SetACL("Box", acl.ID{Kind: acl.Anyone}, acl.Change{Rights: acl.Read}); !errkind.Is(err, errkind.NoPermission) {
		t.Error(err)
	}
}

// ownSeen keeps what a guest has seen.
type ownSeen struct {
	mu  sync.Mutex
	own guarded.Own
}

func (o *ownSeen) Own(mailstore.GUID, uint32) (guarded.Own, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.own, nil
}

func (o *ownSeen) Change(_ mailstore.GUID, _ uint32, change func(guarded.Own) guarded.Own) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.own = change(o.own)
	return nil
}

// A \Seen of the guest's own is in his picture at once, though nothing in the mailbox
// changes; and where it is lost he is told all anew.
func TestOwnSeen(t *testing.T) {
	store := shared(t)
	private := &ownSeen{}
	g, _ := guarded.Wrap(store, guarded.Options{Who: acl.Who{User: "bob"}, Owner: "ann", Private: private})
	s := serve(t, g, ServeOptions{}, ClientOptions{})
	mb := open(t, s, "Box")
	for _, c := range []struct {
		op   mailstore.FlagOp
		want mailstore.Flags
	}{{mailstore.AddFlags, mailstore.Seen}, {mailstore.RemoveFlags, 0}, {mailstore.AddFlags, mailstore.Seen}} {
		r, err := mb.Store(mailstore.FlagChange{UIDs: numset.Of(2), Op: c.op, Flags: mailstore.Seen})
		if err != nil || !r.Changed.Equal(numset.Of(2)) {
			t.Fatal(r, err)
		}
		if got := mb.Snapshot().At(1).Flags; got != c.want {
			t.Errorf("after %d the flags are %d", c.op, got)
		}
		if snap, err := mb.Sync(); err != nil || snap.At(1).Flags != c.want || snap.At(0).Flags != 0 {
			t.Error(snap.At(1), err)
		}
	}
	high := mb.Snapshot().HighestModSeq()
	must(t, private.Change(mailstore.GUID{}, 0, func(guarded.Own) guarded.Own { return guarded.Own{} }))
	if snap, err := mb.Sync(); err != nil || snap.At(1).Flags != 0 || snap.HighestModSeq() > high {
		t.Error(snap, err)
	}
	own := open(t, store, "Box")
	if own.Snapshot().At(1).Flags != 0 {
		t.Error("the owner's message was changed")
	}
}
