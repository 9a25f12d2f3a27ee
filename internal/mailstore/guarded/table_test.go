package guarded_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/guarded"
	"rookery/internal/mailstore/memstore"
	"rookery/internal/mailstore/storetest"
	"rookery/internal/numset"
)

// In the table ok stands for no error.
const ok = errkind.Kind(255)

// needs gives what comes of a call without one of some rights.
func needs(want acl.Rights) func(r acl.Rights) errkind.Kind {
	return func(r acl.Rights) errkind.Kind {
		switch {
		case !r.Has(acl.Lookup):
			return errkind.NotFound
		case !r.Has(want):
			return errkind.NoPermission
		}
		return ok
	}
}

// inside is needs for calls on an open mailbox.
func inside(want acl.Rights) func(r acl.Rights) errkind.Kind {
	return func(r acl.Rights) errkind.Kind {
		if k := needs(acl.Read)(r); k != ok {
			return k
		}
		return needs(want)(r)
	}
}

// anyOf is inside where one of several rights will do.
func anyOf(want acl.Rights) func(r acl.Rights) errkind.Kind {
	return func(r acl.Rights) errkind.Kind {
		if k := needs(acl.Read)(r); k != ok {
			return k
		}
		if r&want == 0 {
			return errkind.NoPermission
		}
		return ok
	}
}

// making is what comes of making something below the mailbox: nothing tells it from
// one that is not there.
func making(r acl.Rights) errkind.Kind {
	if r.Has(acl.Lookup | acl.Create) {
		return ok
	}
	return errkind.NoPermission
}

// opened runs a call on the open mailbox.
func opened(do func(mb mailstore.Mailbox) error) func(mailstore.Sharer, mailstore.Name) error {
	return func(s mailstore.Sharer, name mailstore.Name) error { return storetest.Within(s, name, do) }
}

func storing(op mailstore.FlagOp, flags mailstore.Flags, keywords ...string) func(mailstore.Sharer, mailstore.Name) error {
	return opened(func(mb mailstore.Mailbox) error {
		_, err := mb.Store(mailstore.FlagChange{UIDs: numset.Of(1), Op: op, Flags: flags, Keywords: keywords})
		return err
	})
}

// full opens a mailbox with all rights for a call that takes messages to name.
func full(do func(mb mailstore.Mailbox, to mailstore.Name) error) func(mailstore.Sharer, mailstore.Name) error {
	return func(s mailstore.Sharer, name mailstore.Name) error {
		return opened(func(mb mailstore.Mailbox) error { return do(mb, name) })(s, "Full")
	}
}

var bob = acl.ID{Kind: acl.User, Name: "carol"}

// calls are what a store can be asked for, with the rights that RFC 4314 §4 and RFC
// 6851 §4.2 ask for.
var calls = []struct {
	name string
	want func(r acl.Rights) errkind.Kind
	do   func(s mailstore.Sharer, name mailstore.Name) error
}{
	{"lookup", needs(0), func(s mailstore.Sharer, n mailstore.Name) error { _, err := s.Lookup(n); return err }},
	{"list", needs(0), func(s mailstore.Sharer, n mailstore.Name) error {
		all, err := s.List()
		if err == nil && !slices.ContainsFunc(all, func(f mailstore.Folder) bool { return f.Name == n }) {
			err = errkind.New("list", errkind.NotFound, nil)
		}
		return err
	}},
	{"status", needs(acl.Read), func(s mailstore.Sharer, n mailstore.Name) error {
		_, err := s.Status(n, mailstore.StatusWant{})
		return err
	}},
	{"open", needs(acl.Read), opened(func(mailstore.Mailbox) error { return nil })},
	{"message", inside(0), opened(func(mb mailstore.Mailbox) error {
		m, err := mb.Message(1)
		if err == nil {
			err = m.Close()
		}
		return err
	})},
	{"facts", inside(0), opened(func(mb mailstore.Mailbox) error {
		_, err := mb.Facts(1, mailstore.FactsWant{Size: true})
		return err
	})},
	{"append", needs(acl.Insert), func(s mailstore.Sharer, n mailstore.Name) error {
		a, err := s.Append(n)
		if err != nil {
			return err
		}
		w, err := a.Add(mailstore.AppendMeta{Flags: mailstore.AllFlags, Keywords: []string{"k"}}, 4)
		if err == nil {
			_, err = io.WriteString(w, "new\n")
		}
		if err == nil {
			_, err = a.Commit()
		}
		return err
	}},
	{"create below", making, func(s mailstore.Sharer, n mailstore.Name) error { _, err := s.Create(n+"/new", 0); return err }},
	{"rename to below", making, func(s mailstore.Sharer, n mailstore.Name) error { return s.Rename("Full", n+"/x") }},
	{"delete", needs(acl.Delete), func(s mailstore.Sharer, n mailstore.Name) error { return s.Delete(n) }},
	{"rename", needs(acl.Delete), func(s mailstore.Sharer, n mailstore.Name) error { return s.Rename(n, "Full/x") }},
	{"+seen", inside(acl.Seen), storing(mailstore.AddFlags, mailstore.Seen)},
	{"-seen", inside(acl.Seen), storing(mailstore.RemoveFlags, mailstore.Seen)},
	{"+deleted", inside(acl.Deleted), storing(mailstore.AddFlags, mailstore.Deleted)},
	{"+flagged", inside(acl.Write), storing(mailstore.AddFlags, mailstore.Flagged)},
	{"+keyword", inside(acl.Write), storing(mailstore.AddFlags, 0, "k")},
	{"+seen flagged", anyOf(acl.Seen | acl.Write), storing(mailstore.AddFlags, mailstore.Seen|mailstore.Flagged)},
	{"+nothing", inside(0), storing(mailstore.AddFlags, 0)},
	{"=deleted", anyOf(acl.Seen | acl.Write | acl.Deleted), storing(mailstore.SetFlags, mailstore.Deleted)},
	{"expunge", inside(acl.Expunge), opened(func(mb mailstore.Mailbox) error { _, err := mb.Expunge(numset.Of(1)); return err })},
	{"copy from", inside(0), opened(func(mb mailstore.Mailbox) error { _, err := mb.Copy(numset.Of(1), "Full"); return err })},
	{"move from", inside(acl.Deleted | acl.Expunge), opened(func(mb mailstore.Mailbox) error { _, err := mb.Move(numset.Of(1), "Full"); return err })},
	{"copy to", needs(acl.Insert), full(func(mb mailstore.Mailbox, to mailstore.Name) error { _, err := mb.Copy(numset.Of(1), to); return err })},
	{"move to", needs(acl.Insert), full(func(mb mailstore.Mailbox, to mailstore.Name) error { _, err := mb.Move(numset.Of(1), to); return err })},
	{"myrights", needs(0), func(s mailstore.Sharer, n mailstore.Name) error { _, err := s.MyRights(n); return err }},
	{"getacl", needs(acl.Admin), func(s mailstore.Sharer, n mailstore.Name) error { _, err := s.GetACL(n); return err }},
	{"setacl", needs(acl.Admin), func(s mailstore.Sharer, n mailstore.Name) error {
		return s.SetACL(n, bob, acl.Change{Rights: acl.All})
	}},
	{"deleteacl", needs(acl.Admin), func(s mailstore.Sharer, n mailstore.Name) error { return s.DeleteACL(n, bob) }},
	{"listrights", needs(acl.Admin), func(s mailstore.Sharer, n mailstore.Name) error { _, _, err := s.Grantable(n, bob); return err }},
}

// users are the ways in which somebody has rights, with what he then has.
var users = []struct {
	name string
	who  acl.Who
	list func(r acl.Rights) string
	has  func(r acl.Rights) acl.Rights
}{
	{"owner", acl.Who{User: "ann", Owner: true}, func(r acl.Rights) string { return "owner " + r.String() }, func(r acl.Rights) acl.Rights { return r | acl.OwnerAlways }},
	{"granted", acl.Who{User: "bob"}, func(r acl.Rights) string { return "user=bob " + r.String() + ";anyone lrswipkxtea" }, same},
	{"negative", acl.Who{User: "bob"}, func(r acl.Rights) string { return "user=bob lrswipkxtea;-user=bob " + (acl.All &^ r).String() }, same},
	{"group", acl.Who{User: "bob", Groups: []string{"x", "staff"}}, func(r acl.Rights) string { return "group=staff " + r.String() + ";anyone lrswipkxtea" }, same},
	{"none", acl.Who{User: "bob"}, func(r acl.Rights) string { return "user=carol " + r.String() + ";owner " }, func(acl.Rights) acl.Rights { return 0 }},
}

func same(r acl.Rights) acl.Rights { return r }

// prepared is a store with the mailbox Box, whose list is given, and Full, where bob
// and ann may do everything.
func prepared(t testing.TB, lines string) *memstore.Store {
	t.Helper()
	s := memstore.New(memstore.Options{})
	create(t, s, "Box", "Full")
	meta := mailstore.AppendMeta{Flags: mailstore.AllFlags, Keywords: []string{"old"}}
	add(t, s, "Box", meta, "one\n", "two\n")
	add(t, s, "Full", meta, "three\n")
	give(t, s, "Box", lines)
	give(t, s, "Full", "user=bob lrswipkxtea")
	return s
}

func kindOf(err error) errkind.Kind {
	if err == nil {
		return ok
	}
	return errkind.Of(err)
}

// Every call with all sets of rights, for all kinds of users: it is done, or refused
// as RFC 4314 §4 says; and what may not be known of is refused as what is not there,
// to the letter.
func TestTable(t *testing.T) {
	step := acl.Rights(1)
	if testing.Short() {
		step = 7
	}
	for _, u := range users {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			for _, c := range calls {
				for r := acl.Rights(0); r <= acl.All; r += step {
					store := prepared(t, u.list(r))
					s, _ := guarded.Wrap(store, guarded.Options{Who: u.who, Owner: "ann"})
					err := c.do(s, "Box")
					has := u.has(r)
					if got, want := kindOf(err), c.want(has); got != want {
						t.Fatalf("%s with %q: %v (%v), want %v", c.name, has, err, got, want)
					}
					if !has.Has(acl.Lookup) {
						if absent := c.do(s, "Nope"); absent == nil || absent.Error() != err.Error() {
							t.Fatalf("%s with %q: %q, of a mailbox that is not there %q", c.name, has, err, absent)
						}
					}
				}
			}
		})
	}
}

// flagsIn writes the flags of each message of a mailbox.
func flagsIn(t testing.TB, s mailstore.Store, name mailstore.Name) string {
	t.Helper()
	mb, snap, err := mailstore.Look(s, name)
	must(t, err)
	defer mb.Close()
	var out []string
	for pos := range snap.Len() {
		e := snap.At(pos)
		text := ""
		for i, f := range []mailstore.Flags{mailstore.Answered, mailstore.Flagged, mailstore.Deleted, mailstore.Seen, mailstore.Draft} {
			if e.Flags&f != 0 {
				text += string("afdst"[i])
			}
		}
		out = append(out, fmt.Sprintf("%d:%s%v", e.UID, text, snap.Keywords(e.Keywords)))
	}
	return strings.Join(out, " ")
}

// Of flags those are changed that the rights are for (RFC 4314 §4).
func TestFlags(t *testing.T) {
	for _, c := range []struct {
		rights                 string
		stored, put, permanent string
	}{
		{"lri", "1:adfst[old] 2:afdst[old]", "[]", ""},
		{"lris", "", "s[]", "s"},
		{"lrit", "", "d[]", "d"},
		{"lriw", "", "aft[k]", "aft*"},
		{"lrist", "", "ds[]", "ds"},
		{"lriswt", "", "afdst[k]", "afdst*"},
	} {
		r, err := acl.ParseRights(c.rights)
		must(t, err)
		store := prepared(t, "user=bob "+c.rights)
		s := grantee(t, store, "bob")
		mb, err := s.Open("Box")
		must(t, err)
		if _, err := mb.Sync(); err != nil {
			t.Fatal(err)
		}
		info := mb.Info()
		got := letters(info.PermanentFlags)
		if info.NewKeywords {
			got += "*"
		}
		if got != c.permanent {
			t.Errorf("%s: permanent flags %q, want %q", c.rights, got, c.permanent)
		}
		// FLAGS (\Flagged new): each message keeps what may not be changed.
		want := mailstore.Flags(0)
		for _, one := range []struct {
			right acl.Rights
			flags mailstore.Flags
		}{{acl.Seen, mailstore.Seen}, {acl.Deleted, mailstore.Deleted}, {acl.Write, mailstore.Answered | mailstore.Draft}} {
			if !r.Has(one.right) {
				want |= one.flags
			}
		}
		want |= mailstore.Flagged
		keyword := "old"
		if r.Has(acl.Write) {
			keyword = "new"
		}
		res, err := mb.Store(mailstore.FlagChange{UIDs: numset.Span(1, 1<<32-1), Op: mailstore.SetFlags, Flags: mailstore.Flagged, Keywords: []string{"new"}})
		if (err != nil) != (c.rights == "lri") {
			t.Errorf("%s: %v", c.rights, err)
		}
		if err == nil {
			if got, exp := flagsIn(t, store, "Box"), fmt.Sprintf("1:%s[%s] 2:%[1]s[%s]", letters(want), keyword); got != exp {
				t.Errorf("%s: FLAGS leaves %q, want %q", c.rights, got, exp)
			}
			if !res.Changed.Equal(numset.Of(1, 2)) || !res.Modified.Empty() {
				t.Errorf("%s: %+v", c.rights, res)
			}
		}
		mb.Close()
		// What is put into it, by APPEND, COPY and MOVE, loses what may not be set.
		store = prepared(t, "user=bob "+c.rights)
		s = grantee(t, store, "bob")
		add(t, s, "Box", mailstore.AppendMeta{Flags: mailstore.AllFlags, Keywords: []string{"k"}}, "x\n")
		fullBox, err := s.Open("Full")
		must(t, err)
		copied, err := fullBox.Copy(numset.Span(1, 1<<32-1), "Box")
		must(t, err)
		if len(copied.From) != 1 || len(copied.To) != 1 || copied.From[0] != 1 || copied.To[0] != 4 || copied.UIDValidity == 0 {
			t.Errorf("%s: %+v", c.rights, copied)
		}
		_, err = fullBox.Move(numset.Span(1, 1<<32-1), "Box")
		must(t, err)
		fullBox.Close()
		_, after, _ := strings.Cut(flagsIn(t, store, "Box"), " 3:")
		appended, after, _ := strings.Cut(after, " 4:")
		copy4, move5, _ := strings.Cut(after, " 5:")
		old := strings.Replace(c.put, "k", "old", 1)
		if appended != c.put || copy4 != old || move5 != old {
			t.Errorf("%s: appended %q, want %q; copied %q and moved %q, want %q", c.rights, appended, c.put, copy4, move5, old)
		}
		if got := flagsIn(t, store, "Full"); got != "" {
			t.Errorf("%s: a MOVE leaves %q", c.rights, got)
		}
	}
}

func letters(f mailstore.Flags) (out string) {
	for i, one := range []mailstore.Flags{mailstore.Answered, mailstore.Flagged, mailstore.Deleted, mailstore.Seen, mailstore.Draft} {
		if f&one != 0 {
			out += string("afdst"[i])
		}
	}
	return out
}

// FLAGS with some rights alone keeps to UNCHANGEDSINCE.
func TestReplaceUnchanged(t *testing.T) {
	store := prepared(t, "user=bob lrs")
	s := grantee(t, store, "bob")
	mb, err := s.Open("Box")
	must(t, err)
	defer mb.Close()
	since := mb.Snapshot().HighestModSeq()
	own, err := store.Open("Box")
	must(t, err)
	_, err = own.Store(mailstore.FlagChange{UIDs: numset.Of(2), Op: mailstore.RemoveFlags, Flags: mailstore.Draft})
	must(t, err)
	res, err := mb.Store(mailstore.FlagChange{UIDs: numset.Of(1, 2, 9), Op: mailstore.SetFlags, UnchangedSince: &since})
	must(t, err)
	if !res.Changed.Equal(numset.Of(1)) || !res.Modified.Equal(numset.Of(2)) {
		t.Errorf("%+v", res)
	}
	if got := flagsIn(t, store, "Box"); got != "1:afdt[old] 2:afds[old]" {
		t.Error(got)
	}
}

// racing changes a message each time before its flags are replaced, some times.
type racing struct {
	mailstore.Store
	left int
}

func (r *racing) Unwrap() mailstore.Store { return r.Store }

func (r *racing) Open(name mailstore.Name) (mailstore.Mailbox, error) {
	mb, err := r.Store.Open(name)
	return &racingBox{mb, r}, err
}

type racingBox struct {
	mailstore.Mailbox
	r *racing
}

func (b *racingBox) Store(c mailstore.FlagChange) (mailstore.StoreResult, error) {
	if b.r.left != 0 {
		b.r.left--
		op := mailstore.AddFlags
		if b.r.left%2 == 0 {
			op = mailstore.RemoveFlags
		}
		if _, err := b.Mailbox.Store(mailstore.FlagChange{UIDs: numset.Of(1), Op: op, Flags: mailstore.Draft}); err != nil {
			return mailstore.StoreResult{}, err
		}
	}
	return b.Mailbox.Store(c)
}

// A change by another between the look at a message and its new flags is not lost.
func TestReplaceRace(t *testing.T) {
	for left, want := range map[int]errkind.Kind{3: ok, -1: errkind.InUse} {
		store := prepared(t, "user=bob lrs")
		s := grantee(t, &racing{store, left}, "bob")
		if err := storing(mailstore.SetFlags, 0)(s, "Box"); kindOf(err) != want {
			t.Errorf("%d changes: %v", left, err)
		}
		// The last of the others' changes took \Draft away.
		if got, _, _ := strings.Cut(flagsIn(t, store, "Box"), " 2:"); want == ok && got != "1:afd[old]" {
			t.Errorf("%d changes: %s", left, got)
		}
	}
}
