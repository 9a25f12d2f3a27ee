package mbox

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
)

// kindsOf gives what a look at a mailbox finds.
func kindsOf(t *testing.T, s *engine.Store, name string, repair bool) string {
	t.Helper()
	var out []string
	err := s.Verify(context.Background(), name, repair, func(f mailstore.Finding) {
		if f.Repaired != repair || f.Text == "" || f.Remedy == "" {
			t.Errorf("%+v", f)
		}
		out = append(out, f.Kind)
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), " ")
}

func fine(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func letterTo(t *testing.T, s *engine.Store, name, subject string) {
	t.Helper()
	a, err := s.Append(name)
	fine(t, err)
	defer a.Abort()
	w, err := a.Add(mailstore.AppendMeta{Flags: mailstore.Flagged}, -1)
	fine(t, err)
	_, err = io.WriteString(w, "Subject: "+subject+"\r\n\r\nbody\r\n")
	fine(t, err)
	_, err = a.Commit()
	fine(t, err)
}

func swap(t *testing.T, disk vfs.FS, path, old, new string) {
	t.Helper()
	text := get(t, disk, path)
	if !strings.Contains(text, old) {
		t.Fatalf("%q is not in %q", old, text)
	}
	put(t, disk, path, strings.Replace(text, old, new, 1))
}

// Each damage is named, a look changes nothing, a repair leaves nothing to find,
// and no message is lost.
func TestVerifyKinds(t *testing.T) {
	const path = "mail/box"
	for _, c := range []struct {
		kind string
		want string // subjects afterwards
		do   func(t *testing.T, disk vfs.FS)
	}{
		{"", "a b c", func(*testing.T, vfs.FS) {}},
		{"", "a b c d", func(t *testing.T, disk vfs.FS) { // mail that just came
			put(t, disk, path, get(t, disk, path)+"From x@y Thu Jan  1 00:00:00 2026\nSubject: d\n\nd\n\n")
		}},
		{"from-broken", "a b c", func(t *testing.T, disk vfs.FS) { put(t, disk, path, "Frmo "+get(t, disk, path)[5:]) }},
		{"from-broken", "a b c ?", func(t *testing.T, disk vfs.FS) { put(t, disk, path, "no line of a mailbox\n\n"+get(t, disk, path)) }},
		{"from-broken", "a b c", func(t *testing.T, disk vfs.FS) {
			text := get(t, disk, path)
			at := strings.Index(text, "\n\nFrom ") + 2
			put(t, disk, path, text[:at]+"Fro"+text[at+3:])
			swap(t, disk, path, "\n\nFrom ", "\n\nFr0m ")
		}},
		{"length-wrong", "a b c", func(t *testing.T, disk vfs.FS) { swap(t, disk, path, "Content-Length: 5", "Content-Length: 2") }},
		{"length-wrong", "a b c", func(t *testing.T, disk vfs.FS) { swap(t, disk, path, "Content-Length: 5", "Content-Length: 99999") }},
		{"uid-twice", "a c b", func(t *testing.T, disk vfs.FS) { swap(t, disk, path, "X-UID: 2\n", "X-UID: 1\n") }},
		{"uid-order", "b c a", func(t *testing.T, disk vfs.FS) {
			swap(t, disk, path, "X-UID: 1\n", "X-UID: 9\n")
			swap(t, disk, path, "X-UID: 2\n", "X-UID: 1\n")
			swap(t, disk, path, "X-UID: 9\n", "X-UID: 2\n")
		}},
		{"no-uid", "a c b", func(t *testing.T, disk vfs.FS) { swap(t, disk, path, "X-UID: 2\n", "X-Xxx: 2\n") }},
		{"base-missing", "a b c", func(t *testing.T, disk vfs.FS) { swap(t, disk, path, "X-IMAPbase", "X-IMAPbass") }},
		{"base-other", "a b c", func(t *testing.T, disk vfs.FS) {
			text := get(t, disk, path)
			at := strings.Index(text, "X-IMAPbase: ") + len("X-IMAPbase: ")
			put(t, disk, path, text[:at]+"0000000007"+text[at+10:])
		}},
		{"uidnext-low", "a b c", func(t *testing.T, disk vfs.FS) {
			text := get(t, disk, path)
			at := strings.Index(text, "X-IMAPbase: ") + len("X-IMAPbase: 0123456789 ")
			put(t, disk, path, text[:at]+"0000000001"+text[at+10:])
		}},
	} {
		t.Run(c.kind, func(t *testing.T) {
			clock := memfs.NewClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
			disk := memfs.New(memfs.Options{Now: clock.Now})
			var notes []string
			s := openOn(t, disk, &notes)
			if _, err := s.Create("box", 0); err != nil {
				t.Fatal(err)
			}
			for _, x := range []string{"a", "b", "c"} {
				letterTo(t, s, "box", x)
			}
			clock.Jump(time.Minute)
			c.do(t, disk)
			clock.Jump(time.Minute)
			before := disk.Dump()
			if got := kindsOf(t, s, "box", false); got != c.kind {
				t.Fatalf("found %q, want %q in\n%s", got, c.kind, get(t, disk, path))
			}
			if after := disk.Dump(); after != before {
				t.Fatalf("a look changed something:\n%s\n%s", before, after)
			}
			if got := kindsOf(t, s, "box", true); got != c.kind {
				t.Errorf("a repair found %q", got)
			}
			if got := kindsOf(t, s, "box", false); got != "" {
				t.Fatalf("after the repair %q in\n%s", got, get(t, disk, path))
			}
			mb, err := s.Open("box")
			if err != nil {
				t.Fatal(err)
			}
			defer mb.Close()
			if got := subjectsIn(show(t, mb)); got != c.want {
				t.Errorf("the mailbox has %q, want %q:\n%s", got, c.want, get(t, disk, path))
			}
		})
	}
}

// subjectsIn gives the subjects in what show wrote; "?" for a message without one.
func subjectsIn(text string) string {
	var out []string
	for _, m := range strings.Split(text, "; ") {
		_, rest, ok := strings.Cut(m, "Subject: ")
		if ok {
			out = append(out, rest[:1])
		} else {
			out = append(out, "?")
		}
	}
	return strings.Join(out, " ")
}

// What is no mailbox's own.
func TestVerifyFiles(t *testing.T) {
	for _, c := range []struct {
		kind string
		do   func(t *testing.T, disk *memfs.FS)
	}{
		{"", func(*testing.T, *memfs.FS) {}},
		{"records-damaged", func(t *testing.T, disk *memfs.FS) {
			put(t, disk, "mail/.rookery/rookery-mboxes", get(t, disk, "mail/.rookery/rookery-mboxes")+"noise\n")
		}},
		{"record-stale", func(t *testing.T, disk *memfs.FS) { fine(t, disk.Remove("mail/box")) }},
		{"redo-damaged", func(t *testing.T, disk *memfs.FS) {
			f, err := disk.OpenFile("mail/.rookery/rookery-mbox-redo", vfs.Write, 0)
			fine(t, err)
			defer f.Close()
			_, err = f.WriteAt([]byte(strings.Repeat("noise", 2000)), 0)
			fine(t, err)
		}},
		{"lock-left", func(t *testing.T, disk *memfs.FS) { put(t, disk, "mail/box.lock", "") }},
	} {
		t.Run(c.kind, func(t *testing.T) {
			clock := memfs.NewClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
			disk := memfs.New(memfs.Options{Now: clock.Now})
			var notes []string
			s := openOn(t, disk, &notes)
			_, err := s.Create("box", 0)
			fine(t, err)
			letterTo(t, s, "box", "a")
			c.do(t, disk)
			clock.Jump(time.Hour)
			before := disk.Dump()
			if got := kindsOf(t, s, "", false); got != c.kind {
				t.Fatalf("found %q, want %q", got, c.kind)
			}
			if disk.Dump() != before {
				t.Fatal("a look changed something")
			}
			kindsOf(t, s, "", true)
			if got := kindsOf(t, s, "", false); got != "" {
				t.Fatalf("after the repair %q", got)
			}
		})
	}
}

// What opening the mail mends is told by a look beforehand.
func TestInspect(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	fine(t, vfs.MkdirAll(disk, "mail/.rookery", 0o700))
	put(t, disk, "mail/.rookery/rookery-mbox-redo", strings.Repeat("\x00", headSize)+string(sampleStep().encode()))
	put(t, disk, "mail/.rookery/rookery-mbox-rename", "a\nb\n")
	before := disk.Dump()
	var got []string
	fine(t, Inspect(Options{Options: engine.Options{FS: disk}, MailPath: "mail"}, func(f mailstore.Finding) { got = append(got, f.Kind) }))
	slices.Sort(got)
	if strings.Join(got, " ") != "redo-left rename-left" || disk.Dump() != before {
		t.Errorf("%q", got)
	}
}
