package guarded_test

import (
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
		add(t, store, "Box", mailstore.AppendMeta{Keywords: []string{"hush"}}, "secret\n")
		if _, err := mb.Sync(); !errkind.Is(err, errkind.NotFound) {
			t.Errorf("%s: sync: %v", lines, err)
		}
		if _, err := mb.Message(1); !errkind.Is(err, errkind.NotFound) {
			t.Errorf("%s: message: %v", lines, err)
		}
		if _, err := mb.Facts(1, mailstore.FactsWant{}); err == nil {
			t.Errorf("%s: facts", lines)
		}
		if _, ok := mb.Cached(1, "x"); ok {
			t.Errorf("%s: what is kept is told", lines)
		}
		if got := mb.Keywords(); !slices.Equal(got, []string{"old"}) {
			t.Errorf("%s: keywords %q", lines, got)
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

// late is a store whose list is changed by another just before it is edited.
type late struct {
	*memstore.Store
	before func()
}

func (l *late) EditACL(name mailstore.Name, edit func(acl.List) (acl.List, error)) error {
	l.before()
	return l.Store.EditACL(name, edit)
}

// A right that is taken between the look and the change counts.
func TestChangeRace(t *testing.T) {
	store := prepared(t, "user=bob lra")
	s := grantee(t, &late{store, func() { give(t, store, "Box", "user=bob lr") }}, "bob")
	if err := s.SetACL("Box", bob, acl.Change{Rights: acl.All}); !errkind.Is(err, errkind.NoPermission) {
		t.Errorf("SetACL: %v", err)
	}
	give(t, store, "Box", "user=bob lra")
	if err := s.DeleteACL("Box", acl.ID{Kind: acl.User, Name: "bob"}); !errkind.Is(err, errkind.NoPermission) {
		t.Errorf("DeleteACL: %v", err)
	}
	has(t, store, "Box", "user=bob lr")
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
