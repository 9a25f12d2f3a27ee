package nametree_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/nametree"
)

// rules are those of a namespace "Old." with promised mailboxes.
func rules() nametree.Rules {
	return nametree.New(mailstore.Namespace{Prefix: "Old.", Separator: '.'}, []nametree.Special{
		{Name: "Old/Sent", Use: mailstore.UseSent},
		{Name: "Old/auto/x", Use: mailstore.UseJunk, Auto: nametree.AutoCreate},
		{Name: "Old/Old/y", Auto: nametree.AutoSubscribe},
		{Name: "Old/no/z", Use: mailstore.UseDrafts},
	})
}

func TestPrefix(t *testing.T) {
	r, bare := rules(), nametree.New(mailstore.Namespace{Separator: '/'}, nil)
	for outer, inner := range map[string]string{"Old/a": "a", "Old/a/b": "a/b", "INBOX": "INBOX", "Old/Old/a": "Old/a"} {
		if got := r.Inner(outer); got != inner {
			t.Errorf("Inner(%q) = %q, want %q", outer, got, inner)
		}
		if got := r.Outer(inner); got != outer {
			t.Errorf("Outer(%q) = %q, want %q", inner, got, outer)
		}
		if bare.Inner(outer) != outer || bare.Outer(outer) != outer {
			t.Errorf("without a prefix %q is another name", outer)
		}
	}
	for _, same := range []string{"a", "Old/", "Old", "older/a", ""} {
		if got := r.Inner(same); got != same {
			t.Errorf("Inner(%q) = %q", same, got)
		}
	}
}

func TestList(t *testing.T) {
	r := rules()
	const bare, kids, sub = mailstore.NonExistent | mailstore.NoSelect, mailstore.HasChildren, mailstore.Subscribed
	got := r.List([]string{"a/b/c", "a/b", "auto", "Sent", "z"}, []string{"z", "a", "gone", "INBOX"})
	want := []mailstore.Folder{
		{Name: "INBOX", Attrs: sub},
		{Name: "Old/Old", Attrs: bare | kids},
		{Name: "Old/Old/y", Attrs: sub}, // not made yet, and subscribed when it is
		{Name: "Old/Sent", Attrs: mailstore.UseSent},
		{Name: "Old/a", Attrs: bare | kids}, // a subscription makes no mailbox of it
		{Name: "Old/a/b", Attrs: kids},
		{Name: "Old/a/b/c"},
		{Name: "Old/auto", Attrs: kids},
		{Name: "Old/auto/x", Attrs: mailstore.UseJunk},
		{Name: "Old/z", Attrs: sub},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	// Not there and not promised: not listed. One that is there is subscribed only
	// by the list of subscriptions.
	got = r.List([]string{"Old/y"}, nil)
	for _, f := range got {
		if f.Name == "Old/Sent" || f.Name == "Old/Old/y" && f.Attrs != 0 {
			t.Errorf("%v", f)
		}
	}
	if f, err := nametree.Lookup(want, "Old/a"); err != nil || f != want[4] {
		t.Errorf("Lookup: %v, %v", f, err)
	}
	if _, err := nametree.Lookup(want, "Old/b"); !errkind.Is(err, errkind.NotFound) {
		t.Errorf("Lookup: %v", err)
	}
}

func TestSubscriptions(t *testing.T) {
	r := rules()
	for _, c := range []struct {
		there bool
		err   error
		want  []string
	}{
		{false, nil, []string{"INBOX", "Old/Old/y", "Old/b"}},
		{true, nil, []string{"INBOX", "Old/b"}},
		{false, errors.New("no look"), []string{"INBOX", "Old/b"}},
	} {
		var asked []string
		subs := []string{"b", "INBOX", "b"}
		got := r.Subscriptions(subs, func(n string) (bool, error) { asked = append(asked, n); return c.there, c.err })
		if !slices.Equal(got, c.want) || !slices.Equal(asked, []string{"Old/y"}) || !slices.Equal(subs, []string{"b", "INBOX", "b"}) {
			t.Errorf("%v, %v: %q, asked %q", c.there, c.err, got, asked)
		}
	}
}

func TestSettingsSay(t *testing.T) {
	r := rules()
	for name, want := range map[string][2]bool{"Sent": {}, "auto/x": {true, false}, "Old/y": {true, true}, "y": {}, "a": {}} {
		if got := [2]bool{r.Promised(name), r.Subscribes(name)}; got != want {
			t.Errorf("%s: promised, subscribed: %v, want %v", name, got, want)
		}
	}
	for _, c := range []struct {
		name string
		use  mailstore.Attr
		want errkind.Kind
	}{
		{"INBOX", 0, errkind.Exists}, {"Sent", 0, 0}, {"Sent", mailstore.UseSent, 0},
		{"Sent", mailstore.UseJunk, errkind.Invalid}, {"b", mailstore.UseSent, errkind.Invalid}, {"b", 0, 0},
	} {
		refused(t, "create "+c.name, r.MayCreate(c.name, c.use), c.want)
	}
	names := []string{"a/b", "auto/x/k"}
	for _, c := range []struct {
		name          string
		open, deleted errkind.Kind
	}{
		{"a", errkind.Invalid, errkind.Invalid}, {"a/b", errkind.NotFound, errkind.NotFound}, {"auto", errkind.Invalid, errkind.Invalid},
		{"Old", errkind.Invalid, errkind.Invalid}, {"Old/y", errkind.NotFound, errkind.Invalid}, {"Sen", errkind.NotFound, errkind.NotFound},
		{"no", errkind.NotFound, errkind.NotFound}, {"auto/x", errkind.Invalid, errkind.Invalid},
	} {
		refused(t, "open "+c.name, r.Missing("open", names, c.name), c.open)
		refused(t, "delete "+c.name, r.NotDeleted(names, c.name), c.deleted)
	}
}

// Who deletes a promised mailbox is told of the mailboxes below it first.
func TestNotDeleted(t *testing.T) {
	r := rules()
	for _, c := range []struct {
		names []string
		want  string
	}{
		{nil, "delete: invalid: the settings make this mailbox"},
		{[]string{"auto/x/k"}, "delete: invalid: the name is only a parent of mailboxes"},
	} {
		if err := r.NotDeleted(c.names, "auto/x"); err.Error() != c.want {
			t.Errorf("with %q: %q, want %q", c.names, err, c.want)
		}
	}
}

func refused(t *testing.T, what string, err error, want errkind.Kind) {
	t.Helper()
	if want == 0 && err != nil || want != 0 && !errkind.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func TestMoves(t *testing.T) {
	r := rules()
	names := []string{"a/c", "ab", "a/b/x", "a", "d/c", "e"}
	for _, c := range []struct {
		from, to string
		want     string
		kind     errkind.Kind
	}{
		{"a", "n/m", "[{3 a n/m} {2 a/b/x n/m/b/x} {0 a/c n/m/c}]", 0},
		{"a/b", "n", "[{2 a/b/x n/x}]", 0}, // a parent that is no mailbox
		{"e", "f", "[{5 e f}]", 0},
		{"a", "d", "", errkind.Exists}, // of a child
		{"ab", "e", "", errkind.Exists},
		{"ab", "auto/x", "", errkind.Exists},
		{"ab", "Sent", "[{1 ab Sent}]", 0},
		{"none", "e", "", errkind.NotFound},
	} {
		got, err := r.Moves(names, c.from, c.to)
		refused(t, c.from+" to "+c.to, err, c.kind)
		if err == nil && fmt.Sprint(got) != c.want {
			t.Errorf("%s to %s: %v, want %s", c.from, c.to, got, c.want)
		}
	}
	for _, c := range []struct {
		from, to string
		want     errkind.Kind
	}{
		{"a", "INBOX", errkind.Exists}, {"INBOX", "INBOX", errkind.Exists}, {"INBOX", "a", 0}, {"a", "a", errkind.Exists},
		{"a", "a/b", errkind.Invalid}, {"a", "ab", 0}, {"a/b", "a", 0}, {"INBOX", "INBOX/a", 0},
	} {
		refused(t, c.from+" to "+c.to, nametree.MayRename(c.from, c.to), c.want)
	}
}
