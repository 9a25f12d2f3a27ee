package others_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/others"
	"rookery/internal/mailstore/ownnotes"
	"rookery/internal/vfs/memfs"
)

// What a line's owner says of annotations ends with it, too.

func (l *line) SharedNotes(name mailstore.Name) (mailstore.Noted, error) {
	if err := l.alive(); err != nil {
		return mailstore.Noted{}, err
	}
	return l.Sharer.(mailstore.SharedNotes).SharedNotes(name)
}

func (l *line) SetSharedNotes(name mailstore.Name, changes []mailstore.Annotation) (uint64, error) {
	if err := l.alive(); err != nil {
		return 0, err
	}
	if l.refuse != 0 {
		return 0, errkind.Newf("annotate", l.refuse, "the owner's limits")
	}
	return l.Sharer.(mailstore.SharedNotes).SetSharedNotes(name, changes)
}

func (l *line) SharedNotesSince(number uint64) ([]mailstore.Annotated, uint64, error) {
	if err := l.alive(); err != nil {
		return nil, 0, err
	}
	return l.Sharer.(mailstore.SharedNotes).SharedNotesSince(number)
}

func (l *line) NotedBoxes() ([]mailstore.GUID, error) {
	if err := l.alive(); err != nil {
		return nil, err
	}
	return l.Sharer.(mailstore.SharedNotes).NotedBoxes()
}

// noting opens the namespace of a user who keeps his own annotations on a disk.
func (d *directory) noting(disk *memfs.FS) *others.Store {
	d.w.t.Helper()
	s, err := others.Open(others.Options{Namespace: otherUsers('/'), Hidden: []string{d.who.User}, Directory: d, Notes: ownnotes.New(disk, "", mailstore.AnnotationLimits{})})
	must(d.w.t, err)
	return s
}

func note(entry, value string) mailstore.Annotation {
	return mailstore.Annotation{Entry: entry, Value: []byte(value)}
}

func annotate(t testing.TB, s mailstore.Annotator, name mailstore.Name, changes ...mailstore.Annotation) uint64 {
	t.Helper()
	number, err := s.Annotate(name, changes)
	must(t, err)
	return number
}

// notesOf writes what is noted of a mailbox.
func notesOf(t testing.TB, s mailstore.Annotator, name mailstore.Name) string {
	t.Helper()
	list, err := s.Annotations(name)
	must(t, err)
	var out []string
	for _, a := range list {
		out = append(out, a.Entry+"="+string(a.Value))
	}
	return strings.Join(out, " ")
}

// Shared annotations are the owner's, private ones each user's own; RENAME keeps them, and
// DELETE forgets them.
func TestNotes(t *testing.T) {
	w := newWorld(t, "ann", "bob", "carol")
	w.box("ann", "Box", 1, "user=bob lrx;user=carol lr")
	w.box("ann", "Look", 1, "user=bob l")
	w.box("ann", "Hidden", 1, "user=bob r")
	disk := memfs.New(memfs.Options{})
	bob, carol := w.directory("bob").noting(disk), w.directory("carol").noting(memfs.New(memfs.Options{}))
	ann := w.mail["ann"]
	annotate(t, ann, "Box", note("/private/comment", "ann's own"), note("/shared/comment", "for all"))
	annotate(t, bob, "Other Users/ann/Box", note("/private/comment", "bob's"), note("/shared/vendor/x/y", "by bob"))
	annotate(t, carol, "Other Users/ann/Box", note("/private/z", "carol's"))
	for _, c := range []struct {
		s    mailstore.Annotator
		name mailstore.Name
		want string
	}{
		{ann, "Box", "/private/comment=ann's own /shared/comment=for all /shared/vendor/x/y=by bob"},
		{bob, "Other Users/ann/Box", "/private/comment=bob's /shared/comment=for all /shared/vendor/x/y=by bob"},
		{carol, "Other Users/ann/Box", "/private/z=carol's /shared/comment=for all /shared/vendor/x/y=by bob"},
	} {
		if got := notesOf(t, c.s, c.name); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
	for name, want := range map[mailstore.Name]errkind.Kind{"Other Users/ann/Look": errkind.NoPermission, "Other Users/ann/Hidden": errkind.NotFound,
		"Other Users/ann/None": errkind.NotFound, "Other Users/ann": errkind.Invalid, "Other Users/zed/Box": errkind.NotFound} {
		_, err := bob.Annotations(name)
		_, err2 := bob.Annotate(name, []mailstore.Annotation{note("/private/comment", "x")})
		if errkind.Of(err) != want || errkind.Of(err2) != want {
			t.Errorf("%s: %v, %v", name, err, err2)
		}
	}
	for _, bad := range []mailstore.Annotation{note("/private/specialuse", `\Sent`), note("/private/", "x"), note("/other/x", "x")} {
		if _, err := bob.Annotate("Other Users/ann/Box", []mailstore.Annotation{note("/private/comment", "gone"), bad}); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%s: %v", bad.Entry, err)
		}
	}
	must(t, ann.Rename("Box", "Renamed"))
	if got := notesOf(t, bob, "Other Users/ann/Renamed"); !strings.HasPrefix(got, "/private/comment=bob's /shared/comment") {
		t.Error(got)
	}
	must(t, bob.Delete("Other Users/ann/Renamed"))
	if owners, err := ownnotes.New(disk, "", mailstore.AnnotationLimits{}).Own("ann", mailstore.GUID{}); err != nil || owners != nil {
		t.Error(owners, err)
	}
	if got := fileOf(t, disk); strings.Contains(got, "bob's") {
		t.Errorf("what was deleted is still noted: %q", got)
	}
}

func fileOf(t testing.TB, disk *memfs.FS) string {
	t.Helper()
	f, err := disk.OpenFile(ownnotes.File, 1, 0)
	must(t, err)
	defer f.Close()
	b := make([]byte, 1<<16)
	n, _ := f.ReadAt(b, 0)
	return string(b[:n])
}

// Where the owner refuses, nothing is noted at all, and whose limit it was is told.
func TestNotesRefused(t *testing.T) {
	w := newWorld(t, "ann", "bob")
	w.box("ann", "Box", 1, "user=bob lr")
	d := w.directory("bob")
	bob := d.noting(memfs.New(memfs.Options{}))
	annotate(t, bob, "Other Users/ann/Box", note("/private/a", "old"))
	for _, kind := range []errkind.Kind{errkind.TooBig, errkind.Limit, errkind.NoPermission} {
		d.lines["ann"].refuse = kind
		_, err := bob.Annotate("Other Users/ann/Box", []mailstore.Annotation{note("/private/a", "new"), note("/private/b", "new"), note("/shared/b", "new")})
		if !errkind.Is(err, kind) {
			t.Error(err)
		}
		var long *mailstore.TooLong
		if errors.As(err, &long) != (kind == errkind.TooBig) || long != nil && long.Max != w.mail["ann"].AnnotationLimits().Value {
			t.Errorf("%v: %v", err, long)
		}
		if got := notesOf(t, bob, "Other Users/ann/Box"); got != "/private/a=old" {
			t.Errorf("after %v: %s", kind, got)
		}
	}
}

// What an owner deletes is forgotten after a month, what he takes away and gives back in
// time is not.
func TestNotesTidy(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	disk := memfs.New(memfs.Options{Now: func() time.Time { return now }})
	w := newWorld(t, "ann", "carol", "bob")
	w.box("ann", "Box", 1, "user=bob lr")
	w.box("ann", "Gone", 1, "user=bob lr")
	w.box("carol", "Only", 1, "user=bob lr")
	d := w.directory("bob")
	bob := d.noting(disk)
	for _, name := range []mailstore.Name{"ann/Box", "ann/Gone", "carol/Only"} {
		annotate(t, bob, "Other Users/"+name, note("/private/comment", "of "+name))
	}
	must(t, w.mail["ann"].Delete("Gone"))
	w.give("carol", "Only", "")
	d.takeReached()
	for day := range 32 {
		now = now.AddDate(0, 0, 1)
		annotate(t, bob, "Other Users/ann/Box", note("/private/day", fmt.Sprint(day)))
		file := fileOf(t, disk)
		if strings.Contains(file, "of ann/Gone") != (day < 30) || strings.Contains(file, "of carol/Only") != (day < 30) || !strings.Contains(file, "of ann/Box") {
			t.Fatalf("day %d: %q", day, file)
		}
	}
	if slices.Contains(d.takeReached(), "carol") {
		t.Error("an owner who shares nothing was asked")
	}
}

// Changes by others are told to who watches, once, under the user's names; his own are
// not, but for his other sessions.
func TestNotesTold(t *testing.T) {
	w := newWorld(t, "ann", "bob")
	w.box("ann", "Box", 1, "user=bob lr")
	w.box("ann", "Hidden", 1, "user=carol lr")
	d := w.directory("bob")
	bob := d.noting(memfs.New(memfs.Options{}))
	ann := w.mail["ann"]
	annotate(t, ann, "Box", note("/shared/before", "x"))
	woken := make(chan struct{}, 1)
	last := uint64(0)
	told := func(want ...string) {
		t.Helper()
		bob.GatherAnnotations()
		changes, now := bob.AnnotatedSince(last)
		last = now
		got := []string{}
		for _, c := range changes {
			got = append(got, c.Mailbox+c.Entry)
		}
		if !slices.Equal(got, append([]string{}, want...)) {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	awake := func(want bool) {
		t.Helper()
		select {
		case <-woken:
			if !want {
				t.Error("woken for nothing")
			}
		default:
			if want {
				t.Error("not woken")
			}
		}
	}
	bob.FollowAnnotations("Other Users/ann/Box")
	bob.Changed("ann")
	told() // nobody watches
	stop := bob.WatchAnnotations(woken)
	defer stop()
	bob.FollowAnnotations("Other Users/zed/None")
	told()
	bob.Changed("zed")
	awake(false)
	annotate(t, ann, "Box", note("/shared/Comment", "x"), note("/private/comment", "x"))
	annotate(t, ann, "Hidden", note("/shared/comment", "x"))
	annotate(t, ann, "", note("/private/comment", "x"))
	told() // he was not told yet that there is something
	bob.Changed("ann")
	awake(true)
	told("Other Users/ann/Box/shared/comment")
	awake(true) // by what was found
	told()
	// His own.
	number := annotate(t, bob, "Other Users/ann/Box", note("/shared/mine", "x"), note("/private/mine", "x"))
	awake(true)
	bob.Changed("ann")
	bob.GatherAnnotations() // which finds what he did himself
	if changes, _ := bob.AnnotatedSince(last); len(changes) != 2 || changes[0].Number != number || changes[1].Number != number {
		t.Errorf("%v, want %d", changes, number)
	}
	told("Other Users/ann/Box/private/mine", "Other Users/ann/Box/shared/mine")
	told()
	// The way is lost: what comes after it is there again is told.
	d.cut("ann")
	bob.Changed("ann")
	told()
	annotate(t, ann, "Box", note("/shared/lost", "x"))
	bob.FollowAnnotations("Other Users/ann/Box")
	told()
	annotate(t, ann, "Box", note("/shared/found", "x"))
	bob.Changed("ann")
	told("Other Users/ann/Box/shared/found")
	stop()
	bob.Changed("ann")
	awake(true) // from before
	bob.Changed("ann")
	awake(false)
}
