package others_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/others"
	"rookery/internal/numset"
)

// listed writes a list, with "-" for what is only implied, "+" for what has children
// and "*" for what is subscribed.
func listed(t testing.TB, s mailstore.Store) string {
	t.Helper()
	list, err := s.List()
	must(t, err)
	var out []string
	for _, f := range list {
		marks := ""
		if f.Attrs&mailstore.NonExistent != 0 {
			marks += "-"
		}
		if f.Attrs&mailstore.HasChildren != 0 {
			marks += "+"
		}
		if f.Attrs&mailstore.Subscribed != 0 {
			marks += "*"
		}
		out = append(out, f.Name+marks)
	}
	return strings.Join(out, " ")
}

func TestList(t *testing.T) {
	w := newWorld(t, "ann", "bob", "carol", "dave")
	w.box("ann", "INBOX", 1, "user=bob lr")
	w.box("ann", "Work/2024/May", 0, "group=staff lr")
	w.box("ann", "Work/2024", 0, "user=carol lr")
	w.box("ann", "Work", 0, "user=bob r")
	w.box("carol", "Lists", 0, "anyone l")
	w.box("carol", "Lists/go", 0, "anyone l")
	w.box("bob", "Mine", 0, "anyone lr")
	bob := w.directory("bob", "staff")
	s := bob.open()
	if got, want := listed(t, s), "Other Users/ann-+ Other Users/ann/INBOX Other Users/ann/Work-+ Other Users/ann/Work/2024-+ Other Users/ann/Work/2024/May "+
		"Other Users/carol-+ Other Users/carol/Lists+ Other Users/carol/Lists/go"; got != want {
		t.Errorf("bob sees\n%s, want\n%s", got, want)
	}
	if got, want := listed(t, w.directory("dave").open()), "Other Users/bob-+ Other Users/bob/Mine Other Users/carol-+ Other Users/carol/Lists+ Other Users/carol/Lists/go"; got != want {
		t.Errorf("dave sees %s", got)
	}
	for name, want := range map[mailstore.Name]errkind.Kind{"Other Users/ann/INBOX": 0, "Other Users/ann": 0, "Other Users/ann/Work": 0,
		"Other Users/ann/Work/2024/May/x": errkind.NotFound, "Other Users/dave": errkind.NotFound, "Other Users/zed/INBOX": errkind.NotFound, "Other Users/bob/Mine": errkind.NotFound,
		"Other Users/ann/inbox": errkind.NotFound, "Other Users/=61nn/INBOX": errkind.NotFound} {
		f, err := s.Lookup(name)
		if errkind.Of(err) != want || err == nil && f.Name != name {
			t.Errorf("lookup of %s: %+v, %v", name, f, err)
		}
	}
	if len(bob.reached) > 0 {
		t.Errorf("the list and what is not in it were asked of %q", bob.reached)
	}
}

// What is not there, what is hidden and what no owner has are one and the same, and
// nobody is asked for them.
func TestNothing(t *testing.T) {
	w := newWorld(t, "ann", "bob", "carol")
	w.box("ann", "Open", 1, "user=bob lrswipkxtea")
	w.box("ann", "Hidden", 1, "user=bob rswipkxtea")
	w.box("carol", "Hidden", 1, "")
	d := w.directory("bob")
	s := d.open()
	mb, err := s.Open("Other Users/ann/Open")
	must(t, err)
	defer mb.Close()
	calls := map[string]func(name mailstore.Name) error{
		"lookup":    func(n mailstore.Name) error { _, err := s.Lookup(n); return err },
		"status":    func(n mailstore.Name) error { _, err := s.Status(n, mailstore.StatusWant{}); return err },
		"open":      func(n mailstore.Name) error { _, err := s.Open(n); return err },
		"append":    func(n mailstore.Name) error { _, err := s.Append(n); return err },
		"delete":    func(n mailstore.Name) error { return s.Delete(n) },
		"rename":    func(n mailstore.Name) error { return s.Rename(n, "Other Users/ann/New") },
		"myrights":  func(n mailstore.Name) error { _, err := s.MyRights(n); return err },
		"getacl":    func(n mailstore.Name) error { _, err := s.GetACL(n); return err },
		"setacl":    func(n mailstore.Name) error { return s.SetACL(n, acl.ID{Kind: acl.User, Name: "x"}, acl.Change{}) },
		"deleteacl": func(n mailstore.Name) error { return s.DeleteACL(n, acl.ID{Kind: acl.User, Name: "x"}) },
		"grantable": func(n mailstore.Name) error {
			_, _, err := s.Grantable(n, acl.ID{Kind: acl.User, Name: "x"})
			return err
		},
		"copy": func(n mailstore.Name) error { _, err := mb.Copy(numset.Of(1), n); return err },
		"move": func(n mailstore.Name) error { _, err := mb.Move(numset.Of(1), n); return err },
	}
	d.takeReached()
	for what, call := range calls {
		want := call("Other Users/ann/Nothing")
		if !errkind.Is(want, errkind.NotFound) {
			t.Errorf("%s of nothing: %v", what, want)
		}
		for _, name := range []mailstore.Name{"Other Users/ann/Hidden", "Other Users/carol/Hidden", "Other Users/zed/Hidden", "Other Users/ann/Open/x", "Other Users/=61nn/Open"} {
			if err := call(name); err == nil || err.Error() != want.Error() {
				t.Errorf("%s of %s: %v, of nothing: %v", what, name, err, want)
			}
		}
		if got := d.takeReached(); len(got) > 0 {
			t.Errorf("%s asked %q", what, got)
		}
	}
	// Making is denied alike; only owners who share something are asked.
	for _, name := range []mailstore.Name{"Other Users/ann", "Other Users/carol/x", "Other Users/zed/x", "Other Users/zed"} {
		if _, err := s.Create(name, 0); err == nil || err.Error() != "create: permission denied: the access control list does not allow it" || len(d.takeReached()) > 0 {
			t.Errorf("create %s: %v", name, err)
		}
	}
}

// Who makes, renames or deletes sees it at once, though the list of shares comes later;
// a list that contradicts for long is right.
func TestBeforeTheList(t *testing.T) {
	w := newWorld(t, "ann", "bob")
	w.box("ann", "Team", 0, "user=bob lrswipkxtea")
	w.box("ann", "Team/Old", 0, "user=bob lrswipkxtea")
	d := w.directory("bob")
	s := d.open()
	first, err := d.Shares()
	must(t, err)
	d.held = first
	name, err := s.Create("Other Users/ann/Team/New", 0)
	if err != nil || name != "Other Users/ann/Team/New" {
		t.Fatal(name, err)
	}
	must(t, s.Rename("Other Users/ann/Team/Old", "Other Users/ann/Team/Older"))
	if _, err := s.Status(name, mailstore.StatusWant{}); err != nil {
		t.Error(err)
	}
	const now = "Other Users/ann-+ Other Users/ann/Team+ Other Users/ann/Team/New Other Users/ann/Team/Older"
	if got := listed(t, s); got != now {
		t.Errorf("before the list: %s", got)
	}
	d.held = slices.Clone(first) // it was under way before
	if got := listed(t, s); got != now {
		t.Errorf("with a list from before: %s", got)
	}
	d.held = nil
	if got := listed(t, s); got != now {
		t.Errorf("with the list: %s", got)
	}
	must(t, w.mail["ann"].Delete("Team/New"))
	if got, want := listed(t, s), "Other Users/ann-+ Other Users/ann/Team+ Other Users/ann/Team/Older"; got != want {
		t.Errorf("after the owner has deleted it: %s", got)
	}
	d.held, err = d.Shares()
	must(t, err)
	must(t, s.Delete("Other Users/ann/Team/Older"))
	if got, want := listed(t, s), "Other Users/ann-+ Other Users/ann/Team"; got != want {
		t.Errorf("after a deletion: %s", got)
	}
	for range 3 {
		d.held = slices.Clone(d.held)
		_ = listed(t, s)
	}
	if got := listed(t, s); !strings.Contains(got, "Older") {
		t.Errorf("a list that says otherwise three times is not believed: %s", got)
	}
}

// Names of owners are one level each, whatever is in them, and come back.
func TestOwnerNames(t *testing.T) {
	names := map[byte]map[string]string{
		'/': {"ann": "ann", "ann@example.test": "ann@example.test", "a/b": "a=2Fb", "a=b": "a=3Db", "50%*": "50=25=2A", "..": "=2E=2E", "e\u0301": "e=CC=81", "\xff": "=FF",
			"ändi": "ändi", "x y": "x y", "a\tb": "a=09b", "~x": "~x", "INBOX": "INBOX"},
		'.': {"ann@example.test": "ann@example=2Etest", "a/b.c": "a=2Fb=2Ec"},
	}
	for separator, all := range names {
		ns := otherUsers(separator)
		for owner, level := range all {
			d := newWorld(t).directory("bob")
			d.held = []others.Share{{Owner: owner, Name: "INBOX"}}
			s, err := others.Open(others.Options{Namespace: ns, Directory: d})
			must(t, err)
			if got, want := listed(t, s), fmt.Sprintf("Other Users/%s-+ Other Users/%s/INBOX", level, level); got != want {
				t.Errorf("%q: %s, want %s", owner, got, want)
			}
			_, err = s.Status("Other Users/"+level+"/INBOX", mailstore.StatusWant{})
			if got := d.takeReached(); !slices.Equal(got, []string{owner}) {
				t.Errorf("%s leads to %q: %v", level, got, err)
			}
		}
	}
}

// A public namespace has no level of owners, and no other owner's mail.
func TestPublic(t *testing.T) {
	w := newWorld(t, "team", "ann", "bob")
	w.box("team", "Plans/2024", 2, "anyone lr")
	w.box("team", "INBOX", 1, "user=bob lr")
	w.box("ann", "INBOX", 1, "user=bob lr")
	d := w.directory("bob")
	ns := mailstore.Namespace{Kind: mailstore.Shared, Prefix: "Public/Team/", Separator: '/', Owner: "team", List: true}
	s, err := others.Open(others.Options{Namespace: ns, Owner: "team", Directory: d})
	must(t, err)
	if got, want := listed(t, s), "Public/Team/INBOX Public/Team/Plans-+ Public/Team/Plans/2024"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	mb, err := s.Open("Public/Team/Plans/2024")
	must(t, err)
	defer mb.Close()
	if i := mb.Info(); i.Name != "Public/Team/Plans/2024" || i.Namespace != ns || !i.ReadOnly {
		t.Errorf("%+v", i)
	}
	hidden, err := others.Open(others.Options{Namespace: otherUsers('/'), Hidden: []string{"bob", "team"}, Directory: d})
	must(t, err)
	if got, want := listed(t, hidden), "Other Users/ann-+ Other Users/ann/INBOX"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if _, err := others.Open(others.Options{Namespace: mailstore.Namespace{Separator: '/'}}); !errkind.Is(err, errkind.Invalid) {
		t.Errorf("without a prefix: %v", err)
	}
}

// An open mailbox outlives its channel: what looks goes on where it was, what changes
// fails once and is not done twice.
func TestChannelEnds(t *testing.T) {
	w := newWorld(t, "ann", "bob")
	w.box("ann", "Box", 3, "user=bob lrswite")
	d := w.directory("bob")
	s := d.open()
	mb, err := s.Open("Other Users/ann/Box")
	must(t, err)
	watch := make(chan struct{}, 1)
	stop := mb.Watch(watch)
	before, err := mb.Sync()
	must(t, err)

	d.cut("ann")
	put(t, w.mail["ann"], "Box", 1)
	if mb.Snapshot().Len() < 3 {
		t.Error("the picture is gone with the channel")
	}
	snap, err := mb.Sync()
	must(t, err)
	if snap.Len() != 4 || before.Len() != 3 || snap.At(0) != before.At(0) {
		t.Errorf("%d messages after %d", snap.Len(), before.Len())
	}
	select {
	case <-watch:
	default:
		t.Error("who watches was not told to look")
	}
	put(t, w.mail["ann"], "Box", 1)
	select {
	case <-watch:
	case <-time.After(10 * time.Second):
		t.Error("who watches is not told of changes any more")
	}

	// The channel ends in the middle of a call.
	for what, call := range map[string]func() error{
		"sync":    func() error { _, err := mb.Sync(); return err },
		"message": func() error { m, err := mb.Message(2); must(t, err); return m.Close() },
		"status":  func() error { _, err := s.Status("Other Users/ann/Box", mailstore.StatusWant{}); return err },
		"open":    func() error { mb, err := s.Open("Other Users/ann/Box"); must(t, err); return mb.Close() },
	} {
		d.lines["ann"].dieIn = 1
		if err := call(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := mb.Sync(); err != nil {
			t.Error(err)
		}
	}
	d.lines["ann"].dieIn = 1
	flag := mailstore.FlagChange{UIDs: numset.Of(1), Op: mailstore.AddFlags, Flags: mailstore.Deleted}
	if _, err := mb.Store(flag); !errkind.Is(err, errkind.Unavailable) {
		t.Errorf("a change when the channel ends: %v", err)
	}
	if _, err := mb.Store(flag); err != nil {
		t.Error(err)
	}

	// Nobody can be reached.
	d.cut("ann")
	d.refuse = errkind.Newf("reach", errkind.Unavailable, "not now")
	if _, err := mb.Sync(); !errkind.Is(err, errkind.Unavailable) || mb.Snapshot().Len() != 5 {
		t.Errorf("%v, a picture of %d", err, mb.Snapshot().Len())
	}
	d.refuse = nil
	if _, err := mb.Sync(); err != nil {
		t.Error(err)
	}

	// Another mailbox of the same name is not it.
	d.cut("ann")
	must(t, w.mail["ann"].Delete("Box"))
	w.box("ann", "Box", 1, "user=bob lr")
	if _, err := mb.Sync(); !errkind.Is(err, errkind.NotFound) {
		t.Errorf("another mailbox: %v", err)
	}
	stop()
	must(t, mb.Close())
	// The rights are gone, and the owner shares nothing any more.
	mb, err = s.Open("Other Users/ann/Box")
	must(t, err)
	d.refuse = errkind.Newf("reach", errkind.NotFound, "he shares nothing")
	if _, err := mb.Sync(); !errkind.Is(err, errkind.NotFound) {
		t.Errorf("nothing is shared: %v", err)
	}
	must(t, mb.Close())
}

func subjects(t testing.TB, s mailstore.Store, name mailstore.Name) (n int) {
	t.Helper()
	st, err := s.Status(name, mailstore.StatusWant{})
	must(t, err)
	return int(st.Messages)
}

// Messages go between owners' mail and one's own: a COPY whole or not at all, a MOVE
// only with the rights for it, and never from both places.
func TestBetweenOwners(t *testing.T) {
	w := newWorld(t, "ann", "bob", "carol")
	w.box("ann", "Box", 3, "user=bob lrte")
	w.box("ann", "Other", 0, "user=bob lrit")
	w.box("ann", "Keep", 2, "user=bob lre")
	w.box("carol", "Drop", 0, "user=bob li")
	w.box("carol", "Look", 0, "user=bob lr")
	d := w.directory("bob")
	whole := d.whole()
	mb, err := whole.Open("Other Users/ann/Box")
	must(t, err)
	defer mb.Close()
	count := func(what string, want ...int) {
		t.Helper()
		for i, at := range []struct{ owner, name string }{{"ann", "Box"}, {"ann", "Other"}, {"carol", "Drop"}, {"bob", "INBOX"}} {
			if got := subjects(t, w.mail[at.owner], at.name); got != want[i] {
				t.Errorf("%s: %s of %s has %d messages, want %d", what, at.name, at.owner, got, want[i])
			}
		}
	}
	for _, to := range []string{"Other Users/ann/Other", "Other Users/carol/Drop", "INBOX"} {
		res, err := mb.Copy(numset.Span(1, 2), to)
		if err != nil || len(res.From) != 2 || len(res.To) != 2 || res.UIDValidity == 0 {
			t.Errorf("copy to %s: %+v, %v", to, res, err)
		}
	}
	count("copies", 3, 2, 2, 2)
	if _, err := mb.Copy(numset.Of(1), "Other Users/carol/Look"); !errkind.Is(err, errkind.NoPermission) {
		t.Errorf("a copy without the right: %v", err)
	}
	// Nothing to copy is no error, though the target cannot be looked into.
	if res, err := mb.Copy(numset.Of(99), "Other Users/carol/Drop"); err != nil || len(res.From) != 0 {
		t.Errorf("%+v, %v", res, err)
	}
	keep, err := whole.Open("Other Users/ann/Keep")
	must(t, err)
	defer keep.Close()
	for _, to := range []string{"INBOX", "Other Users/carol/Drop", "Other Users/ann/Other"} {
		if _, err := keep.Move(numset.Of(1), to); !errkind.Is(err, errkind.NoPermission) {
			t.Errorf("a move to %s without t: %v", to, err)
		}
	}
	count("moves that are not allowed", 3, 2, 2, 2)
	for i, to := range []string{"INBOX", "Other Users/carol/Drop"} {
		if res, err := mb.Move(numset.Of(uint32(i+1)), to); err != nil || len(res.From) != 1 {
			t.Errorf("move to %s: %+v, %v", to, res, err)
		}
	}
	count("moves", 1, 2, 3, 3)
	// Of what came to bob's own mail the flags are all there; at carol's he may set none.
	for at, want := range map[[2]string]mailstore.Flags{{"bob", "INBOX"}: mailstore.Flagged, {"carol", "Drop"}: 0, {"ann", "Other"}: 0} {
		box, snap, err := mailstore.Look(w.mail[at[0]], at[1])
		must(t, err)
		if e := snap.At(0); e.Flags != want {
			t.Errorf("%s has the flags %b", at, e.Flags)
		}
		box.Close()
	}
	// The channel ends while the owner's end is still about to expunge: both stay.
	d.lines["ann"].late = true
	if res, err := mb.Move(numset.Of(3), "INBOX"); !errkind.Is(err, errkind.Unavailable) {
		t.Errorf("%+v, %v", res, err)
	}
	d.lines["ann"].late = false
	count("a move whose end is still to come", 1, 2, 3, 4)
	// The answer of the expunge is lost: nobody knows, and the copies stay.
	d.lines["ann"].dieIn = 2
	res, err := mb.Move(numset.Of(3), "INBOX")
	if !errkind.Is(err, errkind.Unavailable) {
		t.Errorf("%+v, %v", res, err)
	}
	count("a move whose end is not known", 0, 2, 3, 5)
	own, err := whole.Open("INBOX")
	must(t, err)
	defer own.Close()
	if _, err := own.Move(numset.Of(1), "Other Users/carol/Drop"); err != nil {
		t.Error(err)
	}
	count("a move away", 0, 2, 4, 4)
}

// The others' mail is beside one's own: one tree, subscriptions of one's own, no quota
// and no annotations of others.
func TestWhole(t *testing.T) {
	w := newWorld(t, "ann", "bob")
	w.box("ann", "Box", 1, "user=bob lr")
	w.box("bob", "Work", 0, "")
	d := w.directory("bob")
	s := d.whole()
	must(t, s.Subscribe("Other Users/ann/Box", true))
	must(t, s.Subscribe("Other Users/ann/Gone", true))
	if got, want := listed(t, s), "INBOX Other Users-+ Other Users/ann-+ Other Users/ann/Box* Work"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if names, err := s.Subscriptions(); err != nil || !slices.Equal(names, []mailstore.Name{"Other Users/ann/Box", "Other Users/ann/Gone"}) {
		t.Errorf("%q, %v", names, err)
	}
	if f, err := s.Lookup("Other Users/ann/Box"); err != nil || f.Attrs&mailstore.Subscribed == 0 {
		t.Errorf("%+v, %v", f, err)
	}
	if f, err := s.Lookup("Other Users"); err != nil || f.Attrs&mailstore.NonExistent == 0 {
		t.Errorf("%+v, %v", f, err)
	}
	if all := s.Namespaces(); len(all) != 2 || all[1].Kind != mailstore.OtherUsers {
		t.Errorf("%+v", all)
	}
	for what, err := range map[string]error{
		"a rename to another's":   s.Rename("Work", "Other Users/ann/Work"),
		"a rename from another's": s.Rename("Other Users/ann/Box", "Box"),
		"a prefix":                s.Delete("Other Users"),
	} {
		if !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := s.Create("Other Users", 0); !errkind.Is(err, errkind.Exists) {
		t.Errorf("the prefix made: %v", err)
	}
	if err := s.Rename("Work", "Other Users"); !errkind.Is(err, errkind.Exists) {
		t.Errorf("a rename to the prefix: %v", err)
	}
	if _, err := s.Annotate("Work", []mailstore.Annotation{{Entry: "/private/comment", Value: []byte("x")}}); err != nil {
		t.Error(err)
	}
	if list, err := s.Annotations("Work"); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	if list, err := s.Annotations("Other Users/ann/Box"); err != nil || len(list) > 0 {
		t.Errorf("another's annotations: %v, %v", list, err)
	}
	if _, err := s.Annotations("Other Users/ann/None"); !errkind.Is(err, errkind.NotFound) {
		t.Errorf("those of a mailbox that is not there: %v", err)
	}
	if mailstore.QuotaCovers(s, "Other Users/ann/Box") || !mailstore.QuotaCovers(s, "Work") {
		t.Error("another's mail counts for bob")
	}
	if r, err := s.MyRights("Other Users/ann/Box"); err != nil || r != acl.Lookup|acl.Read {
		t.Errorf("%s, %v", r, err)
	}
	if r, err := s.MyRights("Work"); err != nil || r != acl.All {
		t.Errorf("%s, %v", r, err)
	}
	must(t, s.Close())
}

// Where r was taken while the owner's end was away, an open mailbox is gone, as it is
// where r is taken while the owner's end is there.
func TestReadTaken(t *testing.T) {
	w := newWorld(t, "ann", "bob")
	w.box("ann", "INBOX", 1, "user=bob lr")
	d := w.directory("bob")
	s := d.open()
	mb, err := s.Open("Other Users/ann/INBOX")
	must(t, err)
	defer mb.Close()
	d.cut("ann")
	w.give("ann", "INBOX", "user=bob l")
	if _, err := mb.Sync(); !errkind.Is(err, errkind.NotFound) {
		t.Errorf("sync: %v, want NotFound", err)
	}

	w.box("ann", "Box", 1, "user=bob lr")
	w.box("ann", "Box/below", 1, "user=bob lr")
	deleted, err := s.Open("Other Users/ann/Box")
	must(t, err)
	defer deleted.Close()
	d.cut("ann")
	must(t, w.mail["ann"].Delete("Box"))
	if _, err := deleted.Sync(); !errkind.Is(err, errkind.NotFound) {
		t.Errorf("a mere parent by now: %v, want NotFound", err)
	}
}
