package held_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/mailstore/held"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/mailstore/mbox"
	"rookery/internal/mailstore/pack"
	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
)

// drivers are all formats, each with the settings under which names lie otherwise
// on the disk.
func drivers() map[string]func(disk vfs.FS, ns mailstore.Namespace) (mailstore.Store, error) {
	in := func(layout maildir.Layout) func(vfs.FS, mailstore.Namespace) (mailstore.Store, error) {
		return func(disk vfs.FS, ns mailstore.Namespace) (mailstore.Store, error) {
			return maildir.Open(maildir.Options{FS: disk, MailPath: "mail", Host: "test.example", Namespace: ns, Layout: layout})
		}
	}
	return map[string]func(vfs.FS, mailstore.Namespace) (mailstore.Store, error){
		"maildir": in(maildir.MaildirPP), "maildir fs": in(maildir.FSLayout),
		"pack": func(disk vfs.FS, ns mailstore.Namespace) (mailstore.Store, error) {
			return pack.Open(pack.Options{FS: disk, MailPath: "mail", Namespace: ns, Step: 4096, JournalStep: 4096})
		},
		"mbox": func(disk vfs.FS, ns mailstore.Namespace) (mailstore.Store, error) {
			// Control files among the mail: nothing may stand in their place.
			return mbox.Open(mbox.Options{Options: engine.Options{FS: disk, ControlPath: "mail", Namespace: ns}, MailPath: "mail", Zone: time.UTC, JournalSize: 24 << 10})
		},
	}
}

// Every driver can hold expunged messages and the mail of deleted mailboxes, hides
// them, puts them back, and purges them in their time.
func TestDrivers(t *testing.T) {
	for name, open := range drivers() {
		for _, prefix := range []string{"", "INBOX."} {
			t.Run(name+prefix, func(t *testing.T) { holdAll(t, open, mailstore.Namespace{Separator: '.', Prefix: prefix, List: true}) })
		}
	}
}

func holdAll(t *testing.T, open func(vfs.FS, mailstore.Namespace) (mailstore.Store, error), ns mailstore.Namespace) {
	disk, clock := newDisk()
	again := func() *held.Store {
		inner, err := open(disk, ns)
		must(t, err)
		return held.Wrap(inner, held.Options{FS: disk, Dir: "mail", Hold: 48 * time.Hour})
	}
	box := strings.ReplaceAll(ns.Prefix, ".", "/") + "Work/Old"
	s := again()
	_, err := s.Create(box, 0)
	must(t, err)
	add(t, s, "INBOX", mailstore.Seen, "a", "b", "c")
	add(t, s, box, mailstore.Flagged, "d", "e")
	expunge(t, s, "INBOX", 1, 3)
	must(t, s.Delete(box))
	must(t, s.Close())
	s = again() // another process finds all of it on the disk
	defer func() { must(t, s.Close()) }()
	list, err := s.List()
	must(t, err)
	if slices.ContainsFunc(list, func(f mailstore.Folder) bool { return strings.Contains(f.Name, held.Root) }) {
		t.Errorf("a hidden mailbox is listed: %v", list)
	}
	if _, err := s.Open(held.RootOf(ns) + "/x"); !errkind.Is(err, errkind.NotFound) {
		t.Errorf("a hidden name can be opened: %v", err)
	}
	for _, file := range []string{"mail/rookery-held"} {
		if info, err := disk.Stat(file); err != nil || !info.Mode.IsRegular() {
			t.Errorf("%s is %v, %v", file, info.Mode, err)
		}
	}
	done, err := s.Undelete(context.Background(), held.Request{})
	must(t, err)
	if len(done) != 2 || done[0].Messages != 2 || done[1].Messages != 2 {
		t.Errorf("%+v", done)
	}
	if got := show(t, s, "INBOX"); got != "8 b[kb], 8 a[ka], 8 c[kc]" {
		t.Errorf("INBOX has %q", got)
	}
	if got := show(t, s, box); got != "2 d[kd], 2 e[ke]" {
		t.Errorf("%s has %q", box, got)
	}
	expunge(t, s, "INBOX", 2)
	clock.Jump(72 * time.Hour)
	var found []string
	must(t, s.Check(context.Background(), false, func(f mailstore.Finding) { found = append(found, f.Kind) }))
	if len(found) > 0 {
		t.Errorf("what is due for a day is found: %q", found)
	}
	n, _, err := s.Sweep(context.Background())
	must(t, err)
	if n != 1 {
		t.Errorf("%d messages were purged", n)
	}
	if done, err = s.Undelete(context.Background(), held.Request{}); err != nil || len(done) > 0 {
		t.Errorf("after the purge %+v, %v", done, err)
	}
}

// Each damage of what is held is found, a look changes nothing, a repair mends it.
func TestCheck(t *testing.T) {
	for kind, do := range map[string]func(t *testing.T, disk vfs.FS, c *memfs.Clock){
		"held-expired": func(_ *testing.T, _ vfs.FS, c *memfs.Clock) { c.Jump(30 * 24 * time.Hour) },
		"held-nameless": func(t *testing.T, disk vfs.FS, _ *memfs.Clock) {
			must(t, disk.Remove("Maildir/rookery-held"))
		},
		"held-damaged": func(t *testing.T, disk vfs.FS, _ *memfs.Clock) {
			f, err := disk.OpenFile("Maildir/rookery-held", vfs.Write|vfs.Append, 0)
			must(t, err)
			defer f.Close()
			_, err = f.Write([]byte("noise\n"))
			must(t, err)
		},
	} {
		t.Run(kind, func(t *testing.T) {
			disk, c := newDisk()
			s := start(t, disk, held.Options{Hold: 7 * 24 * time.Hour})
			defer s.Close()
			add(t, s, "INBOX", 0, "a", "b")
			expunge(t, s, "INBOX", 1)
			do(t, disk, c)
			look := func(repair bool) (out []string) {
				must(t, s.Check(context.Background(), repair, func(f mailstore.Finding) {
					if f.Repaired != repair {
						t.Errorf("%+v", f)
					}
					out = append(out, f.Kind)
				}))
				return out
			}
			if got := look(false); !slices.Equal(got, []string{kind}) {
				t.Fatalf("%q", got)
			}
			look(true)
			if got := look(false); len(got) > 0 {
				t.Fatalf("after the repair %q", got)
			}
			done, err := s.Undelete(context.Background(), held.Request{})
			must(t, err)
			if want := kind != "held-expired"; (len(done) == 1 && done[0].Mailbox == "INBOX") != want {
				t.Errorf("%+v", done)
			}
		})
	}
}
