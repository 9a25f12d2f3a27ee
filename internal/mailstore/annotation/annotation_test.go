package annotation_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/annotation"
	"rookery/internal/mailstore/engine"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/mailstore/mbox"
	"rookery/internal/mailstore/memstore"
	"rookery/internal/mailstore/pack"
	"rookery/internal/vfs"
	"rookery/internal/vfs/faultfs"
	"rookery/internal/vfs/memfs"
)

// note is an entry with its value.
func note(entry, value string) mailstore.Annotation {
	return mailstore.Annotation{Entry: entry, Value: []byte(value)}
}

func gone(entry string) mailstore.Annotation { return mailstore.Annotation{Entry: entry} }

// shown gives a mailbox's entries as text.
func shown(t *testing.T, s mailstore.Annotator, mailbox string) string {
	t.Helper()
	list, err := s.Annotations(mailbox)
	if err != nil {
		return errkind.Of(err).String()
	}
	var out []string
	for _, a := range list {
		out = append(out, a.Entry+"="+string(a.Value))
	}
	return strings.Join(out, " ")
}

// uses gives the mailboxes with special uses.
func uses(t *testing.T, s mailstore.Store) string {
	t.Helper()
	list, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range list {
		if names := annotation.UseNames(f.Attrs); len(names) > 0 {
			out = append(out, f.Name+strings.Join(names, ""))
		}
		if one, err := s.Lookup(f.Name); err != nil || one != f {
			t.Errorf("Lookup of %s: %+v, %v; List has %+v", f.Name, one, err, f)
		}
	}
	return strings.Join(out, " ")
}

func set(t *testing.T, s mailstore.Annotator, mailbox string, changes ...mailstore.Annotation) uint64 {
	t.Helper()
	n, err := s.Annotate(mailbox, changes)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func create(t *testing.T, s mailstore.Store, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := s.Create(name, 0); err != nil {
			t.Fatal(err)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n got  %s\n want %s", what, got, want)
	}
}

// drivers opens each format on a disk, Sent being a special mailbox of the settings.
var drivers = map[string]func(disk vfs.FS, t *testing.T) mailstore.Store{
	"maildir": func(disk vfs.FS, t *testing.T) mailstore.Store {
		return opened(t)(maildir.Open(maildir.Options{FS: disk, MailPath: "mail", Special: []maildir.Special{{Name: "Sent", Use: mailstore.UseSent}}}))
	},
	"mbox": func(disk vfs.FS, t *testing.T) mailstore.Store {
		return opened(t)(mbox.Open(mbox.Options{Options: engine.Options{FS: disk, ControlPath: "mail", Special: []engine.Special{{Name: "Sent", Use: mailstore.UseSent}}},
			MailPath: "mail", Zone: time.UTC, JournalSize: 24 << 10}))
	},
	"pack": func(disk vfs.FS, t *testing.T) mailstore.Store {
		return opened(t)(pack.Open(pack.Options{FS: disk, MailPath: "mail", Special: []engine.Special{{Name: "Sent", Use: mailstore.UseSent}}, Step: 4096, JournalStep: 4096}))
	},
}

func opened(t *testing.T) func(s mailstore.Store, err error) mailstore.Store {
	return func(s mailstore.Store, err error) mailstore.Store {
		t.Helper()
		must(t, err)
		return s
	}
}

// What is noted of a mailbox follows it through a rename, is gone after its deletion,
// and is there when the store is opened again: in every format.
func TestLife(t *testing.T) {
	for driver, open := range drivers {
		t.Run(driver, func(t *testing.T) {
			disk := memfs.New(memfs.Options{Now: memfs.NewClock(time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC)).Now})
			must(t, disk.Mkdir("mail", 0o700))
			begin := func() *annotation.Store {
				return annotation.Wrap(open(disk, t), annotation.Options{FS: disk, Dir: "mail"})
			}
			s := begin()
			create(t, s, "a", "a/b", "Sent", "Mine")
			equal(t, "at first", shown(t, s, "a")+uses(t, s), `Sent\Sent`)
			set(t, s, "", note("/private/vendor/x/y", "u"))
			set(t, s, "a", note("/private/comment", "one"), note("/Shared/Comment", "two"))
			set(t, s, "a/b", note("/private/comment", "below"))
			set(t, s, "INBOX", note("/private/comment", "in"))
			must(t, s.Rename("a", "c"))
			equal(t, "renamed", shown(t, s, "c"), "/private/comment=one /Shared/Comment=two")
			equal(t, "renamed with its parent", shown(t, s, "c/b"), "/private/comment=below")
			must(t, s.Rename("INBOX", "old"))
			equal(t, "INBOX renamed", shown(t, s, "INBOX")+" "+shown(t, s, "old"), "/private/comment=in /private/comment=in")
			if _, err := s.Create("c/Drafts", mailstore.UseDrafts|mailstore.UseArchive); err != nil {
				t.Fatal(err)
			}
			must(t, s.Rename("c", "d"))
			set(t, s, "Mine", note(annotation.SpecialUse, `\sent \Junk`))
			const want = `Mine\Junk\Sent d/Drafts\Archive\Drafts`
			equal(t, "special uses", uses(t, s), want)
			must(t, s.Close())
			s = begin()
			equal(t, "opened again", uses(t, s)+" "+shown(t, s, "d"), want+" /private/comment=one /Shared/Comment=two")
			must(t, s.Delete("d"))
			create(t, s, "d")
			equal(t, "made anew", shown(t, s, "d")+"|"+shown(t, s, "")+"|"+shown(t, s, "d/b"), "|/private/vendor/x/y=u|/private/comment=below")
			must(t, s.Delete("Mine"))
			equal(t, "deleted", uses(t, s), `Sent\Sent d/Drafts\Archive\Drafts`)
			must(t, s.Check(context.Background(), false, func(f mailstore.Finding) { t.Errorf("after deletions: %+v", f) }))
			set(t, s, "Sent", gone(annotation.SpecialUse))
			equal(t, "taken from the settings' mailbox", uses(t, s), `d/Drafts\Archive\Drafts`)
			must(t, s.Close())
		})
	}
}

// A change that cannot be made whole is not made at all.
func TestRefused(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	s := annotation.Wrap(memstore.New(memstore.Options{}), annotation.Options{FS: disk, Limits: mailstore.AnnotationLimits{Value: 5, Entries: 3},
		Server: []mailstore.Annotation{note(annotation.SharedAdmin, "mailto:a@example.test")}})
	create(t, s, "a")
	set(t, s, "a", note("/private/a", "1"), note("/private/b", "2"))
	for _, test := range []struct {
		mailbox string
		changes []mailstore.Annotation
		want    errkind.Kind
	}{
		{"a", []mailstore.Annotation{note("/private/a", "x"), note("/private/c", "3"), note("/private/d", "4")}, errkind.Limit},
		{"a", []mailstore.Annotation{note("/private/a", "x"), note("/private/b", "123456")}, errkind.TooBig},
		{"a", []mailstore.Annotation{note("/private/a", "x"), note("/private", "y")}, errkind.Invalid},
		{"a", []mailstore.Annotation{note("/private/a", "x"), note(annotation.SpecialUse, `\All`)}, errkind.Invalid},
		{"a", []mailstore.Annotation{note("/private/a", "x"), note(annotation.SpecialUse, `\x`)}, errkind.Invalid},
		{"", []mailstore.Annotation{note("/private/a", "x"), note(annotation.SpecialUse, "")}, errkind.Invalid},
		{"", []mailstore.Annotation{note("/private/a", "x"), note("/Shared/comment", "")}, errkind.NoPermission},
		{"", []mailstore.Annotation{gone("/shared/admin")}, errkind.NoPermission},
		{"b", []mailstore.Annotation{note("/private/a", "x")}, errkind.NotFound},
	} {
		if n, err := s.Annotate(test.mailbox, test.changes); errkind.Of(err) != test.want || n != 0 {
			t.Errorf("%q %v: %d, %v; want %v", test.mailbox, test.changes, n, err, test.want)
		}
		equal(t, "after "+fmt.Sprint(test.changes), shown(t, s, "a")+"|"+shown(t, s, ""), "/private/a=1 /private/b=2|/shared/admin=mailto:a@example.test")
	}
	// A list that is as long as it may be can be changed, and made shorter.
	set(t, s, "a", note("/private/c", "3"))
	set(t, s, "a", note("/private/C", "4"), gone("/private/a"), gone("/private/none"))
	equal(t, "at the limit", shown(t, s, "a"), "/private/b=2 /private/C=4")
	if _, err := s.Create("all", mailstore.UseAll); errkind.Of(err) != errkind.Invalid {
		t.Errorf("a virtual mailbox: %v", err)
	}
	if _, err := s.Lookup("all"); errkind.Of(err) != errkind.NotFound {
		t.Errorf("it was made: %v", err)
	}
	// One that is longer than it may be now can still be changed, and made shorter.
	s = annotation.Wrap(s.Unwrap(), annotation.Options{FS: disk, Limits: mailstore.AnnotationLimits{Value: 5, Entries: 1}})
	set(t, s, "a", note("/private/b", "5"))
	if _, err := s.Annotate("a", []mailstore.Annotation{note("/private/d", "4")}); errkind.Of(err) != errkind.Limit {
		t.Errorf("one more where there are too many: %v", err)
	}
	set(t, s, "a", gone("/private/b"))
	equal(t, "below the limit", shown(t, s, "a"), "/private/C=4")
	large := strings.Repeat("x", 60<<10)
	s = annotation.Wrap(memstore.New(memstore.Options{}), annotation.Options{FS: disk})
	for i := 0; ; i++ {
		_, err := s.Annotate("", []mailstore.Annotation{note(fmt.Sprintf("/private/%d", i), large)})
		if err == nil && i < 80 {
			continue
		}
		if errkind.Of(err) != errkind.Limit || i < 60 {
			t.Errorf("after %d large values: %v", i, err)
		}
		break
	}
}

// A mailbox that another program renamed keeps its use, and one that it removed gives
// the use back to the settings'.
func TestRenamedByOthers(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	inner := memstore.New(memstore.Options{})
	s := annotation.Wrap(inner, annotation.Options{FS: disk})
	create(t, s, "a", "b", "c")
	set(t, s, "b", note(annotation.SpecialUse, `\Junk`))
	st, err := inner.Status("b", mailstore.StatusWant{})
	must(t, err)
	guid := st.GUID
	must(t, inner.Rename("b", "d"))
	equal(t, "renamed", uses(t, s), `d\Junk`)
	must(t, inner.Rename("d", "b"))
	must(t, inner.Rename("a", "d"))
	equal(t, "another took the name", uses(t, s), `b\Junk`)
	must(t, inner.Delete("b"))
	equal(t, "deleted", uses(t, s), "")
	create(t, inner, "b")
	equal(t, "made anew", uses(t, s), "")
	back := memstore.New(memstore.Options{})
	must(t, back.Restore("from a backup", mailstore.Identity{UIDValidity: 1, UIDNext: 1, GUID: guid}))
	s.Store = back
	equal(t, "put back", uses(t, s), `from a backup\Junk`)
	s.Store = inner
	equal(t, "gone again", uses(t, s), "")
	var kinds []string
	for range 2 {
		must(t, s.Check(context.Background(), true, func(f mailstore.Finding) { kinds = append(kinds, f.Kind) }))
	}
	equal(t, "findings", strings.Join(kinds, " "), "metadata-orphan")
}

// Where another program removes a mailbox, its uses are the settings' again.
func TestRemovedByOthers(t *testing.T) {
	for driver, open := range drivers {
		disk := memfs.New(memfs.Options{Now: memfs.NewClock(time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC)).Now})
		must(t, disk.Mkdir("mail", 0o700))
		s := annotation.Wrap(open(disk, t), annotation.Options{FS: disk, Dir: "mail"})
		create(t, s, "Sent", "Mine")
		set(t, s, "Mine", note(annotation.SpecialUse, `\Sent \Junk`))
		equal(t, driver, uses(t, s), `Mine\Junk\Sent`)
		must(t, s.Unwrap().Delete("Mine"))
		equal(t, driver+", removed", uses(t, s), `Sent\Sent`)
		must(t, s.Close())
	}
}

// Two processes see what the other did.
func TestProcesses(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	inner := memstore.New(memstore.Options{})
	a, b := annotation.Wrap(inner, annotation.Options{FS: disk}), annotation.Wrap(inner, annotation.Options{FS: disk})
	for i := range 20 {
		set(t, a, "INBOX", note("/private/a", fmt.Sprint(i)))
		set(t, b, "INBOX", note("/private/b", fmt.Sprint(i)))
		want := fmt.Sprintf("/private/a=%d /private/b=%d", i, i)
		equal(t, "a", shown(t, a, "INBOX"), want)
		equal(t, "b", shown(t, b, "INBOX"), want)
	}
}

// What another process changes is told to who watches in this one, once.
func TestTold(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	inner := memstore.New(memstore.Options{})
	a, b := annotation.Wrap(inner, annotation.Options{FS: disk}), annotation.Wrap(inner, annotation.Options{FS: disk})
	create(t, inner, "x", "y")
	set(t, a, "x", note("/private/a", "1"), note("/private/b", "1"))
	told := func(since uint64) (string, uint64) {
		changes, last := b.AnnotatedSince(since)
		var out []string
		for _, c := range changes {
			out = append(out, c.Mailbox+c.Entry)
		}
		return strings.Join(out, " "), last
	}
	c := make(chan struct{}, 1)
	_, last := told(1<<64 - 1)
	stop := b.WatchAnnotations(c)
	defer stop()
	for _, test := range []struct {
		mailbox string
		changes []mailstore.Annotation
		want    string
	}{
		{"x", []mailstore.Annotation{note("/private/a", "1"), note("/private/B", "2"), note("/private/c", "1")}, "x/private/b x/private/c"},
		{"x", []mailstore.Annotation{gone("/private/a"), note("/private/c", "1")}, "x/private/a"},
		{"", []mailstore.Annotation{note("/private/u", "1")}, "/private/u"},
		{"x", []mailstore.Annotation{note(annotation.SpecialUse, `\Sent`)}, "x/private/specialuse"},
		{"y", []mailstore.Annotation{note(annotation.SpecialUse, `\Sent \Junk`)}, "x/private/specialuse y/private/specialuse"},
		{"y", []mailstore.Annotation{gone(annotation.SpecialUse)}, "y/private/specialuse"},
	} {
		set(t, a, test.mailbox, test.changes...)
		var got string
		got, last = told(last)
		equal(t, fmt.Sprint(test.changes), got, test.want)
		select {
		case <-c:
		default:
			t.Error("nobody was woken")
		}
		if got, last = told(last); got != "" {
			t.Errorf("told again: %s", got)
		}
	}
	set(t, b, "x", note("/private/own", "1"))
	got, last := told(last)
	equal(t, "its own", got, "x/private/own")
	set(t, a, "x", note("/private/own", "1"))
	got, _ = told(last)
	equal(t, "the same value", got, "")
}

// Changes of two processes at once, each of several sessions, are all there.
func TestAtOnce(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	inner := memstore.New(memstore.Options{})
	var all sync.WaitGroup
	var want []string
	for process := range 2 {
		s := annotation.Wrap(inner, annotation.Options{FS: disk})
		for session := range 3 {
			entry := fmt.Sprintf("/private/%d-%d", process, session)
			want = append(want, entry+"=19")
			all.Go(func() {
				for i := range 20 {
					if _, err := s.Annotate("INBOX", []mailstore.Annotation{note(entry, fmt.Sprint(i))}); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	all.Wait()
	equal(t, "at the end", shown(t, annotation.Wrap(inner, annotation.Options{FS: disk}), "INBOX"), strings.Join(want, " "))
}

// Whatever the power is cut after, an answered change is there whole and one that was
// not answered is there whole or not at all.
func TestPowerCuts(t *testing.T) {
	inner := memstore.New(memstore.Options{})
	create(t, inner, "a", "b")
	steps := []func(s *annotation.Store) error{
		func(s *annotation.Store) error {
			_, err := s.Annotate("a", []mailstore.Annotation{note("/private/a", "1"), note("/private/b", "1")})
			return err
		},
		func(s *annotation.Store) error {
			_, err := s.Annotate("a", []mailstore.Annotation{note(annotation.SpecialUse, `\Sent`), note("/private/b", "2")})
			return err
		},
		func(s *annotation.Store) error {
			_, err := s.Annotate("b", []mailstore.Annotation{note(annotation.SpecialUse, `\Sent`)})
			return err
		},
		func(s *annotation.Store) error {
			_, err := s.Annotate("a", []mailstore.Annotation{gone("/private/a")})
			return err
		},
	}
	states := []string{"|", "/private/a=1 /private/b=1|", `/private/a=1 /private/b=2|a\Sent`, `/private/a=1 /private/b=2|b\Sent`, `/private/b=2|b\Sent`}
	for k := 1; ; k++ {
		whole := false
		for seed := range uint64(12) {
			fate := memfs.Torn
			if seed == 0 {
				fate = memfs.Lost
			}
			f := faultfs.New(memfs.New(memfs.Options{}))
			f.CutAfter(k, fate, seed)
			s := annotation.Wrap(inner, annotation.Options{FS: f})
			done := 0
			for _, step := range steps {
				if step(s) != nil {
					break
				}
				done++
			}
			whole = whole || !f.Dead()
			after := annotation.Wrap(inner, annotation.Options{FS: f.Survivor(fate, seed)})
			got := shown(t, after, "a") + "|" + uses(t, after)
			if got != states[done] && (done == len(steps) || got != states[done+1]) {
				t.Fatalf("cut after change %d, seed %d, %d answered: %s", k, seed, done, got)
			}
		}
		if whole {
			return
		}
	}
}

// An operation of the disk that fails leaves what was there, or has done all of it.
func TestFaults(t *testing.T) {
	for k := 1; ; k++ {
		disk := memfs.New(memfs.Options{})
		inner := memstore.New(memstore.Options{})
		set(t, annotation.Wrap(inner, annotation.Options{FS: disk}), "INBOX", note("/private/a", "old"))
		f := faultfs.New(disk)
		f.FailAt(k, 1, errkind.New("disk", errkind.NoSpace, nil))
		s := annotation.Wrap(inner, annotation.Options{FS: f})
		_, err := s.Annotate("INBOX", []mailstore.Annotation{note("/private/a", "new")})
		failed := f.Failed()
		got := shown(t, annotation.Wrap(inner, annotation.Options{FS: disk}), "INBOX")
		if got != "/private/a=new" && (err == nil || got != "/private/a=old") {
			t.Fatalf("operation %d, %s, failed: %v, %s", k, failed, err, got)
		}
		if failed == "" {
			return
		}
		if own := shown(t, s, "INBOX"); own != got {
			t.Fatalf("operation %d, %s, failed: the store shows %s, the disk %s", k, failed, own, got)
		}
	}
}

// A damaged file fails what needs it, keeps LIST going, and is never written over.
func TestDamaged(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	inner := memstore.New(memstore.Options{})
	set(t, annotation.Wrap(inner, annotation.Options{FS: disk}), "INBOX", note("/private/a", "old"))
	good, err := vfs.ReadFile(disk, annotation.File, 1<<20)
	must(t, err)
	for at := range good {
		bad := slices.Clone(good)
		bad[at] ^= 0x20
		if _, err := vfs.Replace(disk, annotation.File, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		var notes []string
		s := annotation.Wrap(inner, annotation.Options{FS: disk, Note: func(text string) { notes = append(notes, text) }})
		if got := shown(t, s, "INBOX"); got != errkind.Corrupt.String() {
			t.Fatalf("octet %d changed: %s", at, got)
		}
		if _, err := s.Annotate("INBOX", []mailstore.Annotation{note("/private/b", "x")}); errkind.Of(err) != errkind.Corrupt {
			t.Fatalf("octet %d changed: written with %v", at, err)
		}
		if list, err := s.List(); err != nil || len(list) != 1 {
			t.Fatalf("octet %d changed: LIST %v, %v", at, list, err)
		}
		if _, err := s.List(); err != nil || len(notes) != 1 {
			t.Fatalf("octet %d changed: told %q", at, notes)
		}
		if now, err := vfs.ReadFile(disk, annotation.File, 1<<20); err != nil || !bytes.Equal(now, bad) {
			t.Fatalf("octet %d changed: the file is another, %v", at, err)
		}
	}
	s := annotation.Wrap(inner, annotation.Options{FS: disk})
	var found []mailstore.Finding
	for _, repair := range []bool{false, true, true} {
		must(t, s.Check(context.Background(), repair, func(f mailstore.Finding) { found = append(found, f) }))
	}
	if len(found) != 2 || found[0].Kind != "metadata-damaged" || found[0].Repaired || !found[1].Repaired {
		t.Errorf("found %+v", found)
	}
	set(t, s, "INBOX", note("/private/a", "new"))
	equal(t, "after the repair", shown(t, s, "INBOX"), "/private/a=new")
}

// The format does not change by itself.
func TestFormat(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	s := annotation.Wrap(memstore.New(memstore.Options{}), annotation.Options{FS: disk})
	create(t, s, "Entwürfe", "Sent")
	set(t, s, "", note("/private/vendor/v/x", "a\nb\x00"))
	set(t, s, "Entwürfe", note("/private/comment", ""), note(annotation.SpecialUse, `\Drafts`))
	got, err := vfs.ReadFile(disk, annotation.File, 1<<20)
	must(t, err)
	equal(t, "the file", string(got), "rookery-metadata 1\nS \\Drafts 00000000000000000000000000000002 Entw&APw-rfe\nU\nE 19 4\n/private/vendor/v/xa\nb\x00\n"+
		"B 00000000000000000000000000000002\nE 16 0\n/private/comment\nC 5a17d417\n")
	list, err := annotation.Wrap(memstore.New(memstore.Options{}), annotation.Options{FS: disk}).Annotations("")
	if err != nil || len(list) != 1 || string(list[0].Value) != "a\nb\x00" {
		t.Errorf("read back: %q, %v", list, err)
	}
}

// Sessions hear of each entry once, with its newest number.
func TestFeed(t *testing.T) {
	var f annotation.Feed
	c := make(chan struct{}, 1)
	stop := f.Watch(c)
	if n := f.Add("b", "/private/x", "/private/y"); n != 1 || len(c) != 1 {
		t.Errorf("number %d, %d sent", n, len(c))
	}
	f.Add("a", "/private/X")
	f.Add("b", "/Private/X")
	changes, last := f.Since(0)
	equal(t, "all", fmt.Sprint(changes, last), "[{a /private/x 2} {b /private/x 3} {b /private/y 1}] 3")
	changes, last = f.Since(2)
	equal(t, "since 2", fmt.Sprint(changes, last), "[{b /private/x 3}] 3")
	<-c
	stop()
	stop()
	if f.Add("a", "/private/x"); len(c) != 0 {
		t.Error("told after stop")
	}
	for i := range 30_000 {
		f.Add("a", fmt.Sprintf("/private/%d", i))
	}
	if changes, last = f.Since(0); len(changes) > 20_000 || changes[0].Number < 1000 || last != 30_004 {
		t.Errorf("%d remembered, first %v, last %d", len(changes), changes[0], last)
	}
}

// RFC 5464 §3.2: which names there are.
func TestNames(t *testing.T) {
	for _, good := range []string{"/private/a", "/shared/a", "/SHARED/Comment", "/private/filters/values/x", "/private/vendor/v/x", "/shared/a b", "/private/~"} {
		if err := annotation.Check(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "/", "private/a", "/private", "/shared/", "/private//a", "/private/a/", "//private/a", "/other/a", "/privates/a", "/private/a*", "/private/%",
		"/private/\x01", "/private/a\x7f", "/private/\u00e9", "/private/vendor/v", "/shared/Vendor", "/private/" + strings.Repeat("x", 512)} {
		if annotation.Check(bad) == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	for _, prefix := range []string{"/private", "/Shared", "/private/vendor/v"} {
		if err := annotation.CheckPrefix(prefix); err != nil {
			t.Errorf("%s: %v", prefix, err)
		}
	}
	for _, test := range []struct {
		entry, named string
		depth        int
		want         bool
	}{
		{"/a/B", "/A/b", 0, true}, {"/a/b/c", "/a/b", 0, false}, {"/a/b/c", "/a/b", 1, true}, {"/a/b/c/d", "/a/b", 1, false},
		{"/a/b/c/d", "/a/b", -1, true}, {"/a/bc", "/a/b", -1, false}, {"/a", "/a/b", -1, false},
	} {
		if got := annotation.Below(test.entry, test.named, test.depth); got != test.want {
			t.Errorf("%+v: %v", test, got)
		}
	}
}

func FuzzNames(f *testing.F) {
	for _, seed := range []string{"/private/a", "/shared/Vendor/x/y", "//", "/private/a*"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		err := annotation.Check(name)
		ascii := !strings.ContainsFunc(name, func(r rune) bool { return r >= 0x80 })
		if ascii && (err == nil) != (annotation.Check(strings.ToUpper(name)) == nil) {
			t.Errorf("%q: case matters", name)
		}
		if err != nil {
			return
		}
		parts := strings.Split(name, "/")
		if len(parts) < 3 || parts[0] != "" || slices.Contains(parts[1:], "") || strings.ContainsAny(name, "*%") {
			t.Errorf("%q is taken", name)
		}
		if annotation.CheckPrefix(name) != nil || !annotation.Below(name, annotation.Fold(name), 0) {
			t.Errorf("%q contradicts itself", name)
		}
	})
}
