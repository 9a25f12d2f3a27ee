package guarded_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/guarded"
	"rookery/internal/mailstore/memstore"
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
	return func(s mailstore.Sharer, name mailstore.Name) error {
		mb, err := s.Open(name)
		if err != nil {
			return err
		}
		defer mb.Close()
		if _, err := mb.Sync(); err != nil {
			return err
		}
		return do(mb)
	}
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

// LIST shows what has l, and nothing of what has not (RFC 4314 §4).
func TestList(t *testing.T) {
	store := memstore.New(memstore.Options{})
	create(t, store, "A", "A/B", "A/B/C", "D", "D/E", "F", "F/G", "H/I")
	must(t, store.Subscribe("A/B", true))
	for name, lines := range map[mailstore.Name]string{"A/B": "user=bob lr", "D": "user=bob l", "D/E": "user=bob r", "F/G": "group=staff l", "H/I": "user=carol lr", "INBOX": ""} {
		give(t, store, name, lines)
	}
	show := func(s mailstore.Store) string {
		all, err := s.List()
		must(t, err)
		var out []string
		for _, f := range all {
			text := f.Name
			if f.Attrs&mailstore.NonExistent != 0 {
				text += "?"
			}
			if f.Attrs&mailstore.HasChildren != 0 {
				text += "+"
			}
			if f.Attrs&mailstore.Subscribed != 0 {
				text += "!"
			}
			out = append(out, text)
			if one, err := s.Lookup(f.Name); err != nil || one != f {
				t.Errorf("lookup of %s: %v, %v", f.Name, one, err)
			}
		}
		return strings.Join(out, " ")
	}
	if got := show(grantee(t, store, "bob")); got != "A?+ A/B D" {
		t.Errorf("bob sees %q", got)
	}
	if got := show(grantee(t, store, "tim", "staff")); got != "F?+ F/G" {
		t.Errorf("tim sees %q", got)
	}
	if got := show(grantee(t, store, "nobody")); got != "" {
		t.Errorf("nobody sees %q", got)
	}
	s := grantee(t, store, "bob")
	for _, c := range calls {
		if c.name == "lookup" || c.name == "list" || c.name == "create below" || strings.HasPrefix(c.name, "rename") {
			continue
		}
		parent, absent := c.do(s, "A"), c.do(s, "H")
		if kindOf(parent) != errkind.Invalid && kindOf(parent) != errkind.NotFound || kindOf(absent) == errkind.Invalid {
			t.Errorf("%s of a parent: %v; of one whose children cannot be seen: %v", c.name, parent, absent)
		}
	}
	if subs, err := s.Subscriptions(); err != nil || len(subs) > 0 {
		t.Errorf("bob sees subscriptions: %v, %v", subs, err)
	}
	if a, b := s.Subscribe("D/E", true), s.Subscribe("Nope", true); a == nil || a.Error() != b.Error() {
		t.Errorf("%v, %v", a, b)
	}
	if err := s.Subscribe("A/B", true); !errkind.Is(err, errkind.NoPermission) {
		t.Error(err)
	}
}

// CREATE and RENAME tell nothing of what may not be known, and take all that is below.
func TestMaking(t *testing.T) {
	store := memstore.New(memstore.Options{DefaultACL: list(t, "user=tim lrk")})
	create(t, store, "A")
	give(t, store, "A", "user=bob lk;user=tim lkx")
	create(t, store, "A/Hidden", "P/One", "P/Two")
	give(t, store, "A/Hidden", "")
	give(t, store, "P/One", "user=tim lx")
	give(t, store, "P/Two", "user=tim l")
	bob, tim := grantee(t, store, "bob"), grantee(t, store, "tim")
	if _, err := bob.Create("A/Hidden", 0); !errkind.Is(err, errkind.NoPermission) {
		t.Errorf("a hidden mailbox is told: %v", err)
	}
	create(t, bob, "A/New")
	if _, err := bob.Create("A/New", 0); !errkind.Is(err, errkind.Exists) {
		t.Error(err)
	}
	has(t, store, "A/New", "user=bob lk;user=tim lkx")
	create(t, bob, "A/x/y")
	if _, err := bob.Create("A/Use", mailstore.UseSent); !errkind.Is(err, errkind.NoPermission) {
		t.Error(err)
	}
	if _, err := bob.Create("Top", 0); !errkind.Is(err, errkind.NoPermission) {
		t.Errorf("a top-level mailbox: %v", err)
	}
	if _, err := bob.Create("A/Hidden/x", 0); !errkind.Is(err, errkind.NoPermission) {
		t.Errorf("below a hidden mailbox: %v", err)
	}
	create(t, tim, "Top")
	has(t, store, "Top", "user=tim lrk")
	if err := tim.Rename("A/New", "A/Hidden"); !errkind.Is(err, errkind.NoPermission) {
		t.Error(err)
	}
	if err := tim.Rename("P", "Top/P"); !errkind.Is(err, errkind.NoPermission) {
		t.Errorf("a parent whose children may not all be moved: %v", err)
	}
	give(t, store, "P/Two", "user=tim lx")
	must(t, tim.Rename("P", "Top/P"))
	has(t, store, "Top/P/Two", "user=tim lx")
	// RENAME of INBOX moves its messages: r, t and e, too.
	add(t, store, "INBOX", mailstore.AppendMeta{}, "x\n")
	give(t, store, "INBOX", "user=tim lrxe")
	if err := tim.Rename("INBOX", "Top/In"); !errkind.Is(err, errkind.NoPermission) {
		t.Error(err)
	}
	give(t, store, "INBOX", "user=tim lrxet")
	must(t, tim.Rename("INBOX", "Top/In"))
}

// What is taken away is gone with the next call, in open mailboxes, too.
func TestRevoked(t *testing.T) {
	store := prepared(t, "user=bob lrswite")
	s := grantee(t, store, "bob")
	mb, err := s.Open("Box")
	must(t, err)
	defer mb.Close()
	snap, err := mb.Sync()
	must(t, err)
	app, err := s.Append("Box")
	must(t, err)
	w, err := app.Add(mailstore.AppendMeta{}, 2)
	must(t, err)
	io.WriteString(w, "x\n")
	give(t, store, "Box", "user=bob lr")
	if _, err := app.Commit(); !errkind.Is(err, errkind.NoPermission) {
		t.Errorf("commit: %v", err)
	}
	if _, err := mb.Expunge(numset.Of(1)); !errkind.Is(err, errkind.NoPermission) {
		t.Errorf("expunge: %v", err)
	}
	if _, err := mb.Sync(); err != nil || !mb.Info().ReadOnly || mb.Info().PermanentFlags != 0 {
		t.Errorf("%v, %+v", err, mb.Info())
	}
	for _, lines := range []string{"user=bob l", "user=bob r"} {
		give(t, store, "Box", lines)
		add(t, store, "Box", mailstore.AppendMeta{}, "secret\n")
		if _, err := mb.Sync(); !errkind.Is(err, errkind.NotFound) {
			t.Errorf("%s: sync: %v", lines, err)
		}
		if _, err := mb.Message(1); !errkind.Is(err, errkind.NotFound) {
			t.Errorf("%s: message: %v", lines, err)
		}
		if _, err := mb.Facts(1, mailstore.FactsWant{}); err == nil {
			t.Errorf("%s: facts", lines)
		}
		if _, ok := mb.Cached(1, "x"); ok || mb.Keywords() != nil {
			t.Errorf("%s: what is kept is told", lines)
		}
		if _, _, err := mb.ExpungedSince(1); err == nil {
			t.Errorf("%s: expunged since", lines)
		}
		if got := mb.Snapshot(); got.Len() != snap.Len() {
			t.Errorf("%s: a picture of %d messages", lines, got.Len())
		}
	}
}

// What identifies messages, what is kept of them, and what is recent is the owner's.
func TestOwners(t *testing.T) {
	store := prepared(t, "user=bob lrswipkxtea")
	s := grantee(t, store, "bob")
	if _, is := s.(interface{ Unwrap() mailstore.Store }); is {
		t.Error("a grantee gets at what is behind the guard")
	}
	guid := mailstore.GUID{9}
	add(t, s, "Box", mailstore.AppendMeta{GUID: guid, UID: 4000000000, UIDL: "mine", Order: 7, InternalDate: time.Unix(1e9, 0)}, "x\n")
	mb, err := s.Open("Box")
	must(t, err)
	defer mb.Close()
	if _, is := mb.(interface{ Unwrap() mailstore.Mailbox }); is {
		t.Error("a grantee gets at the mailbox behind the guard")
	}
	own, err := store.Open("Box")
	must(t, err)
	f, err := own.Facts(3, mailstore.FactsWant{GUID: true, UIDL: true, InternalDate: true})
	if err != nil || f.GUID == guid || f.UIDL != "" || f.Order != 0 || !f.InternalDate.Equal(time.Unix(1e9, 0)) {
		t.Errorf("%+v, %v", f, err)
	}
	mb.PutCached(1, "ENVELOPE", []byte("forged"))
	if value, ok := own.Cached(1, "ENVELOPE"); ok {
		t.Errorf("a grantee's %q is kept", value)
	}
	own.PutCached(1, "ENVELOPE", []byte("true"))
	if value, ok := mb.Cached(1, "ENVELOPE"); !ok || string(value) != "true" {
		t.Errorf("%q", value)
	}
	before, err := own.ClaimRecent(true)
	must(t, err)
	if _, err := mb.ClaimRecent(false); err != nil {
		t.Error(err)
	}
	after, err := own.ClaimRecent(true)
	must(t, err)
	if !before.Equal(after) || before.Empty() {
		t.Errorf("recent were %v, are %v", before, after)
	}
	add(t, store, "Full", mailstore.AppendMeta{UIDL: "owner's"}, "y\n")
	if _, told, err := s.Quota(); told || err != nil {
		t.Error("the quota is told")
	}
	// The owner's own guard lets all through.
	o := owner(t, store)
	if u, is := o.(interface{ Unwrap() mailstore.Store }); !is || u.Unwrap() != mailstore.Store(store) {
		t.Error("the owner does not get at what is behind the guard")
	}
}

// Who may change lists, and which identifiers can be given something.
func TestChanges(t *testing.T) {
	store := prepared(t, "user=bob lra")
	o, b := owner(t, store), grantee(t, store, "bob")
	id := func(wire string) acl.ID {
		i, err := acl.ParseID(wire)
		must(t, err)
		return i
	}
	change := func(text string) acl.Change {
		c, err := acl.ParseChange(text)
		must(t, err)
		return c
	}
	for _, wide := range []string{"anyone", "authenticated"} {
		if err := o.SetACL("Box", id(wide), change("lr")); !errkind.Is(err, errkind.NoPermission) {
			t.Errorf("%s: %v", wide, err)
		}
		must(t, o.SetACL("Box", id(wide), change("")))
		must(t, o.SetACL("Box", id("-"+wide), change("w")))
		must(t, o.SetACL("Box", id(wide), change("-l")))
		must(t, o.DeleteACL("Box", id(wide)))
		must(t, o.DeleteACL("Box", id("-"+wide)))
	}
	everybody, _ := guarded.Wrap(store, guarded.Options{Who: acl.Who{User: "ann", Owner: true}, Owner: "ann", Wide: true})
	must(t, everybody.SetACL("Box", id("anyone"), change("l")))
	has(t, store, "Box", "user=bob lra;anyone l")
	must(t, b.SetACL("Box", id("carol"), change("+lr")))
	must(t, b.DeleteACL("Box", id("nobody")))
	must(t, b.DeleteACL("Box", id("anyone")))
	has(t, store, "Box", "user=bob lra;user=carol lr")
	// The owner begins with everything; nobody locks him out.
	must(t, b.SetACL("Box", id("owner"), change("-ra")))
	must(t, b.SetACL("Box", id("ann"), change("")))
	if r, err := o.MyRights("Box"); err != nil || r != acl.OwnerAlways {
		t.Errorf("%s, %v", r, err)
	}
	must(t, o.DeleteACL("Box", id("ann")))
	if r, err := o.MyRights("Box"); err != nil || r != acl.All {
		t.Errorf("%s, %v", r, err)
	}
	must(t, b.SetACL("Box", id("bob"), change("-a")))
	if err := b.SetACL("Box", id("bob"), change("+a")); !errkind.Is(err, errkind.NoPermission) {
		t.Error(err)
	}
	if _, err := o.GetACL("A/B"); !errkind.Is(err, errkind.NotFound) {
		t.Error(err)
	}
}
