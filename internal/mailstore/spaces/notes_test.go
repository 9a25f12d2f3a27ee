package spaces_test

import (
	"slices"
	"testing"

	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/guarded"
	"rookery/internal/mailstore/memstore"
	"rookery/internal/mailstore/spaces"
)

// farNotes is a namespace of others' mail with annotations.
type farNotes struct {
	mailstore.Sharer
	mailstore.Annotator
	followed []mailstore.Name
	gathered int
}

func (f *farNotes) Namespaces() []mailstore.Namespace {
	return []mailstore.Namespace{{Kind: mailstore.OtherUsers, Prefix: "Far/", Separator: '/', List: true}}
}
func (f *farNotes) FollowAnnotations(name mailstore.Name) { f.followed = append(f.followed, name) }
func (f *farNotes) GatherAnnotations()                    { f.gathered++ }

func sharer(t *testing.T, names ...mailstore.Name) (mailstore.Sharer, *memstore.Store) {
	t.Helper()
	s := memstore.New(memstore.Options{})
	for _, n := range names {
		if _, err := s.Create(n, 0); err != nil {
			t.Fatal(err)
		}
	}
	g, ok := guarded.Wrap(s, guarded.Options{Who: acl.Who{User: "ann", Owner: true}, Owner: "ann"})
	if !ok {
		t.Fatal("the store keeps no lists")
	}
	return g, s
}

// Annotations are those of the store that has the mailbox; changes in all of them are
// counted as one.
func TestWholeNotes(t *testing.T) {
	home, ownStore := sharer(t, "Box")
	abroad, farStore := sharer(t, "Far/Box")
	far := &farNotes{Sharer: abroad, Annotator: farStore}
	w := spaces.Extend(home, far)
	woken := make(chan struct{}, 1)
	defer w.WatchAnnotations(woken)()
	last := uint64(0)
	told := func(want ...string) {
		t.Helper()
		changes, now := w.AnnotatedSince(last)
		last = now
		got := []string{}
		for _, c := range changes {
			got = append(got, c.Mailbox+c.Entry)
		}
		if !slices.Equal(got, append([]string{}, want...)) {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	set := func(s mailstore.Annotator, name mailstore.Name, entries ...string) uint64 {
		t.Helper()
		var list []mailstore.Annotation
		for _, e := range entries {
			list = append(list, mailstore.Annotation{Entry: e, Value: []byte("x")})
		}
		number, err := s.Annotate(name, list)
		if err != nil {
			t.Fatal(err)
		}
		return number
	}
	set(ownStore, "Box", "/private/before")
	told("Box/private/before")
	told()
	set(ownStore, "", "/private/server")
	set(farStore, "Far/Box", "/shared/a", "/shared/b")
	set(ownStore, "Box", "/private/c")
	<-woken
	told("/private/server", "Box/private/c", "Far/Box/shared/a", "Far/Box/shared/b")
	// What is done here has a number of its own in the one count.
	first, second := set(w, "Far/Box", "/shared/d", "/shared/e"), set(w, "Box", "/private/f")
	changes, _ := w.AnnotatedSince(last)
	for i, want := range []struct {
		name   string
		number uint64
	}{{"Box/private/f", second}, {"Far/Box/shared/d", first}, {"Far/Box/shared/e", first}} {
		if len(changes) != 3 || changes[i].Mailbox+changes[i].Entry != want.name || changes[i].Number != want.number {
			t.Errorf("%v, want %v", changes, want)
		}
	}
	if list, err := w.Annotations("Far/Box"); err != nil || len(list) != 4 {
		t.Error(list, err)
	}
	if _, err := w.Annotations("Far"); !errkind.Is(err, errkind.Invalid) {
		t.Error(err)
	}
	if _, err := w.Annotate("Far", nil); !errkind.Is(err, errkind.Invalid) {
		t.Error(err)
	}
	for _, name := range []mailstore.Name{"Far/Box", "Box", "Far"} {
		w.FollowAnnotations(name)
	}
	if !slices.Equal(far.followed, []mailstore.Name{"Far/Box"}) || far.gathered == 0 {
		t.Errorf("followed %q, gathered %d", far.followed, far.gathered)
	}
}
