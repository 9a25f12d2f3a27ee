package mailtool

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"rookery/internal/ipc/toolmsg"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/mailstore/held"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/mailstore/mbox"
	"rookery/internal/mailstore/pack"
	quotastore "rookery/internal/mailstore/quota"
	"rookery/internal/numset"
	"rookery/internal/settings"
	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
	"rookery/internal/vfs/overlay"
	"rookery/internal/worker"
)

// sickHome is a user's mail in one format, with quota and undelete around it, as
// worker.Host has it.
type sickHome struct {
	t      *testing.T
	fs     vfs.FS
	driver string
	clock  *memfs.Clock
}

func newSick(t *testing.T, driver string) sickHome {
	t.Helper()
	clock := memfs.NewClock(testTime)
	disk := memfs.New(memfs.Options{Now: clock.Now})
	if err := disk.Mkdir("m", 0o700); err != nil {
		t.Fatal(err)
	}
	h := sickHome{t, disk, driver, clock}
	h.fill()
	return h
}

func (h sickHome) Place() (worker.Place, error) { return worker.Place{Driver: h.driver}, nil }

func (h sickHome) OpenPlace(worker.Place) (mailstore.Store, error) { return h.Open() }

func (h sickHome) Controls() (controls, error) { return controls{h.fs, []string{"m"}}, nil }

func (h sickHome) Dry() home { h.fs = overlay.New(h.fs); return h }

func (h sickHome) Inspect(repair bool, found func(mailstore.Finding)) error {
	return worker.InspectStore(h.fs, h.driver, settings.MailPaths{Mail: "/m"}, repair, found)
}

func (h sickHome) Open() (s mailstore.Store, err error) {
	switch h.driver {
	case "pack":
		s, err = pack.Open(pack.Options{FS: h.fs, MailPath: "m", JournalStep: 4096, Step: 4096})
	case "mbox":
		s, err = mbox.Open(mbox.Options{Options: engine.Options{FS: h.fs}, MailPath: "m", Zone: time.UTC, JournalSize: 24 << 10})
	default:
		s, err = maildir.Open(maildir.Options{FS: h.fs, MailPath: "m"})
	}
	if err != nil {
		return nil, err
	}
	dir := "m"
	if h.driver == "mbox" {
		dir = "m/.rookery"
	}
	root := held.RootOf(s.Namespaces()[0])
	counted := quotastore.Wrap(s, quotastore.Options{FS: h.fs, Dir: dir, SizeFile: "m/maildirsize", Limits: quotastore.Limits{Octets: 1 << 30}, Rewrites: h.driver == "mbox",
		Rule: func(n mailstore.Name) (r quotastore.Rule) {
			if held.Hides(root, n) {
				r.Class = quotastore.Held
			}
			return r
		}})
	return held.Wrap(counted, held.Options{FS: h.fs, Dir: dir, Hold: 7 * 24 * time.Hour}), nil
}

func (h sickHome) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// fill makes two mailboxes with four messages each, of which one is expunged.
func (h sickHome) fill() {
	s, err := h.Open()
	h.must(err)
	defer s.Close()
	_, err = s.Create("Work", 0)
	h.must(err)
	h.must(s.Subscribe("Work", true))
	for _, n := range []string{"INBOX", "Work"} {
		for i := range 4 {
			a, err := s.Append(n)
			h.must(err)
			w, err := a.Add(mailstore.AppendMeta{Flags: mailstore.Seen, Keywords: []string{"$Job"}}, -1)
			h.must(err)
			fmt.Fprintf(w, "Subject: %s %d\r\n\r\nbody\r\n", n, i)
			_, err = a.Commit()
			h.must(err)
		}
		mb, err := s.Open(n)
		h.must(err)
		_, err = mb.Expunge(numset.Of(2))
		h.must(err)
		mb.Close()
	}
	if m, ok := find[mailstore.Maintainer](s); ok {
		h.must(m.Index(h.t.Context(), "INBOX", nil))
	}
}

func (h sickHome) get(path string) string {
	h.t.Helper()
	b, err := vfs.ReadFile(h.fs, path, 1<<24)
	h.must(err)
	return string(b)
}

func (h sickHome) put(path, text string) {
	h.t.Helper()
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		h.must(vfs.MkdirAll(h.fs, path[:i], 0o700))
	}
	f, err := h.fs.OpenFile(path, vfs.Write|vfs.Create|vfs.Trunc, 0o600)
	h.must(err)
	defer f.Close()
	_, err = io.WriteString(f, text)
	h.must(err)
}

// change edits a file in place, so that its inode stays.
func (h sickHome) change(path string, do func(text string) string) {
	h.t.Helper()
	h.put(path, do(h.get(path)))
}

// noise writes over the middle of a file.
func (h sickHome) noise(path string, at, n int) {
	h.change(path, func(text string) string { return text[:at] + strings.Repeat("\xa5", n) + text[at+n:] })
}

// first gives the first file of a directory whose name holds part.
func (h sickHome) first(dir, part string) string {
	h.t.Helper()
	var all []string
	h.must(h.fs.ReadDir(dir, func(e vfs.DirEntry) bool {
		if strings.Contains(e.Name, part) {
			all = append(all, e.Name)
		}
		return true
	}))
	if len(all) == 0 {
		h.t.Fatalf("%s has no %s", dir, part)
	}
	slices.Sort(all)
	return dir + "/" + all[0]
}

// content is every name of the tree with all of its bytes.
func (h sickHome) content() string {
	var b strings.Builder
	var walk func(dir string)
	walk = func(dir string) {
		var all []vfs.DirEntry
		h.must(h.fs.ReadDir(dir, func(e vfs.DirEntry) bool { all = append(all, e); return true }))
		slices.SortFunc(all, func(a, b vfs.DirEntry) int { return strings.Compare(a.Name, b.Name) })
		for _, e := range all {
			path := dir + "/" + e.Name
			info, err := h.fs.Stat(path)
			h.must(err)
			fmt.Fprintf(&b, "%s %d %v %v\n", path, info.Inode, info.Mode, info.ModTime.UnixNano())
			if e.Type.IsDir() {
				walk(path)
			} else {
				b.WriteString(h.get(path))
			}
		}
	}
	walk("m")
	return b.String()
}

// sickness is a kind of damage, and how a test makes it.
type sickness struct {
	driver, kind string
	do           func(h sickHome)
}

func sicknesses() []sickness {
	list := "m/dovecot-uidlist"
	lines := func(do func(l []string) []string) func(h sickHome) {
		return func(h sickHome) {
			h.change(list, func(text string) string { return strings.Join(do(strings.SplitAfter(text, "\n")), "") })
		}
	}
	return []sickness{
		{"maildir", "uidlist-missing", func(h sickHome) { h.must(h.fs.Remove(list)) }},
		{"maildir", "uidlist-damaged", func(h sickHome) { h.put(list, "noise\n") }},
		{"maildir", "uidlist-torn", func(h sickHome) { h.change(list, func(s string) string { return s + "99 :to" }) }},
		{"maildir", "uidlist-stale", func(h sickHome) { h.must(h.fs.Remove(h.first("m/cur", ".localhost"))) }},
		{"maildir", "uidvalidity-missing", func(h sickHome) {
			h.change(list, func(s string) string { return "3 V0" + s[strings.Index(s, " N"):] })
		}},
		{"maildir", "uidnext-missing", func(h sickHome) {
			h.change(list, func(s string) string { return strings.Replace(s, " N", " N0 X", 1) })
		}},
		{"maildir", "uidnext-low", lines(func(l []string) []string { return []string{strings.Replace(l[0], " N5", " N3", 1), l[1]} })},
		{"maildir", "uid-twice", lines(func(l []string) []string { return []string{l[0], l[1], "1" + l[2][1:], l[3]} })},
		{"maildir", "uid-order", lines(func(l []string) []string { return []string{l[0], l[2], l[1], l[3]} })},
		{"maildir", "name-twice", lines(func(l []string) []string { return append(l[:4:4], "5"+l[3][1:]) })},
		{"maildir", "no-uid", func(h sickHome) { h.put("m/cur/stranger:2,S", "Subject: x\n\n") }},
		{"maildir", "double-name", func(h sickHome) {
			base, _, _ := strings.Cut(strings.TrimPrefix(h.first("m/cur", ".localhost"), "m/cur/"), ":")
			h.put("m/new/"+base, "Subject: another\n\n")
		}},
		{"maildir", "size-wrong", func(h sickHome) {
			h.change(h.first("m/cur", ".localhost"), func(s string) string { return s + "more\r\n" })
		}},
		{"maildir", "vsize-wrong", func(h sickHome) {
			h.change(h.first("m/cur", ".localhost"), func(s string) string { return strings.Replace(s, "\r\n", "\n\n", 1) })
		}},
		{"maildir", "keyword-unnamed", func(h sickHome) { h.put("m/dovecot-keywords", "5 other\n") }},
		{"maildir", "keywords-damaged", func(h sickHome) { h.change("m/dovecot-keywords", func(s string) string { return s + "noise\n" }) }},
		{"maildir", "tmp-old", func(h sickHome) { h.put("m/tmp/old", "x"); h.clock.Jump(48 * time.Hour) }},
		{"maildir", "left-over", func(h sickHome) { h.put("m/dovecot-keywords.lock", ""); h.clock.Jump(time.Hour) }},
		{"maildir", "folder-incomplete", func(h sickHome) { h.must(h.fs.RemoveDir("m/.Work/new")) }},
		{"maildir", "folder-left", func(h sickHome) { h.put("m/rookery-gone.x/cur/y", "z") }},
		{"maildir", "mode-wrong", func(h sickHome) {
			path := h.first("m/cur", ".localhost")
			text := h.get(path)
			h.must(h.fs.Remove(path))
			f, err := h.fs.OpenFile(path, vfs.Write|vfs.Create, 0o666)
			h.must(err)
			defer f.Close()
			_, err = io.WriteString(f, text)
			h.must(err)
		}},
		{"maildir", "index-stale", func(h sickHome) {
			path := h.first("m/cur", ".localhost")
			h.must(h.fs.Rename(path, strings.Replace(path, ":2,", ":2,F", 1)))
		}},
		{"maildir", "guid-twice", func(h sickHome) {
			h.put("m/.Copy/dovecot-uidlist", h.get(list))
			h.must(vfs.MkdirAll(h.fs, "m/.Copy/cur", 0o700))
			h.must(vfs.MkdirAll(h.fs, "m/.Copy/new", 0o700))
			h.must(vfs.MkdirAll(h.fs, "m/.Copy/tmp", 0o700))
		}},
		{"maildir", "uidvalidity-low", func(h sickHome) {
			h.must(h.fs.Remove(h.first("m", "dovecot-uidvalidity.")))
			h.put("m/dovecot-uidvalidity", "00000007")
		}},
		{"maildir", "index-log-damaged", func(h sickHome) { h.noise("m/rookery.index.log", 300, 20) }},
		{"maildir", "modseq-damaged", func(h sickHome) { h.put("m/rookery-modseq", "noise\n") }},
		{"maildir", "modseq-low", func(h sickHome) {
			h.change("m/rookery-modseq", func(s string) string { return "00000000000000000007" + s[20:] })
		}},
		{"maildir", "journal-damaged", func(h sickHome) { h.put("m/rookery-journal", strings.Repeat("noise", 200_000)) }},
		{"maildir", "subscription-stale", func(h sickHome) { h.change("m/subscriptions", func(s string) string { return s + "Gone\n" }) }},
		{"maildir", "held-expired", func(h sickHome) { h.clock.Jump(30 * 24 * time.Hour) }},
		{"maildir", "held-nameless", func(h sickHome) { h.put("m/rookery-held", "") }},
		{"maildir", "held-damaged", func(h sickHome) { h.change("m/rookery-held", func(s string) string { return s + "noise\n" }) }},
		{"maildir", "maildirsize-wrong", func(h sickHome) { h.change("m/maildirsize", func(s string) string { return s + "5 1\n" }) }},

		{"pack", "message-damaged", func(h sickHome) {
			h.change("m/00000001.pack", func(s string) string { return strings.Replace(s, "Work 2\r\n\r\nbody", "Work 2\r\n\r\nb0dy", 1) })
		}},
		{"pack", "journal-missing", func(h sickHome) { h.must(h.fs.Remove("m/rookery-pack-journal")) }},
		{"pack", "journal-damaged", func(h sickHome) { h.noise("m/rookery-pack-journal", 70, 30) }},
		{"pack", "left-over", func(h sickHome) { h.put("m/00000009.pack.tmp", "x") }},
		{"pack", "index-log-damaged", func(h sickHome) { h.noise("m/rookery.index.log", 300, 20) }},
		{"pack", "subscription-stale", func(h sickHome) { h.change("m/subscriptions", func(s string) string { return s + "Gone\n" }) }},

		{"mbox", "from-broken", func(h sickHome) { h.change("m/inbox", func(s string) string { return "Form " + s[5:] }) }},
		{"mbox", "length-wrong", func(h sickHome) {
			h.change("m/inbox", func(s string) string { return strings.Replace(s, "Content-Length: 5", "Content-Length: 1", 1) })
		}},
		{"mbox", "uid-twice", func(h sickHome) {
			h.change("m/inbox", func(s string) string { return strings.Replace(s, "X-UID: 3", "X-UID: 1", 1) })
		}},
		{"mbox", "uid-order", func(h sickHome) {
			h.change("m/inbox", func(s string) string {
				return strings.NewReplacer("X-UID: 1\n", "X-UID: 3\n", "X-UID: 3\n", "X-UID: 1\n").Replace(s)
			})
		}},
		{"mbox", "no-uid", func(h sickHome) {
			h.change("m/inbox", func(s string) string { return strings.Replace(s, "X-UID: 3", "X-UXD: 3", 1) })
		}},
		{"mbox", "base-missing", func(h sickHome) {
			h.change("m/inbox", func(s string) string { return strings.Replace(s, "X-IMAPbase", "X-IMAPbass", 1) })
		}},
		{"mbox", "base-other", func(h sickHome) {
			h.change("m/inbox", func(s string) string { return strings.Replace(s, "X-IMAPbase: 17", "X-IMAPbase: 16", 1) })
		}},
		{"mbox", "redo-damaged", func(h sickHome) { h.noise("m/.rookery/rookery-mbox-redo", 0, 8192) }},
		{"mbox", "records-damaged", func(h sickHome) {
			h.change("m/.rookery/rookery-mboxes", func(s string) string { return s + "noise\n" })
		}},
		{"mbox", "record-stale", func(h sickHome) { h.must(h.fs.Remove("m/Work")) }},
		{"mbox", "lock-left", func(h sickHome) { h.put("m/Work.lock", ""); h.clock.Jump(time.Hour) }},
		{"mbox", "held-nameless", func(h sickHome) { h.put("m/.rookery/rookery-held", "") }},
	}
}

// Each kind of damage is named, with what would be done; a look and a dry run touch
// nothing, whatever opening the mail would mend by itself; a repair mends it, and
// nothing is found afterwards.
func TestVerifyDamage(t *testing.T) {
	kinds := map[string]bool{}
	for _, c := range sicknesses() {
		kinds[c.kind] = true
		t.Run(c.driver+"/"+c.kind, func(t *testing.T) {
			h := newSick(t, c.driver)
			h.clock.Jump(time.Minute)
			check := func(options ...string) (found, mended []string, exit uint8) {
				t.Helper()
				cl := dialHome(t, h)
				lines, done := cl.do(toolmsg.Verify, nil, options...)
				for _, l := range lines {
					if l["text"] == "" || l["remedy"] == "" {
						t.Errorf("%v", l)
					}
					t.Logf("%v", l)
					if found = append(found, l["kind"].(string)); l["repaired"] == true {
						mended = append(mended, l["kind"].(string))
					}
				}
				if done.Exit != 0 && done.Exit != exitData {
					t.Fatalf("exit code %d: %s", done.Exit, done.Text)
				}
				return found, mended, done.Exit
			}
			if found, _, exit := check(); exit != 0 {
				t.Fatalf("before the damage: %q", found)
			}
			c.do(h)
			h.clock.Jump(time.Minute)
			before := h.content()
			for _, options := range [][]string{{}, {"dry-run"}, {"repair", "dry-run"}} {
				found, mended, exit := check(options...)
				if !slices.Contains(found, c.kind) || len(mended) > 0 || exit != exitData {
					t.Fatalf("%q finds %q, exit code %d", options, found, exit)
				}
				if after := h.content(); after != before {
					t.Fatalf("%q has changed something: %s", options, firstOther(after, before))
				}
			}
			found, mended, _ := check("repair")
			if !slices.Contains(mended, c.kind) {
				t.Errorf("a repair finds %q and mends %q", found, mended)
			}
			if c.kind == "message-damaged" || c.driver == "pack" {
				check("repair") // what a lost journal knew is gone; what follows from that is told once more
			}
			if found, _, exit := check(); exit != 0 {
				t.Errorf("after the repair: %q", found)
			}
		})
	}
	if len(kinds) < 40 {
		t.Errorf("%d kinds", len(kinds))
	}
}

// firstOther shows where two texts part.
func firstOther(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range x {
		if i >= len(y) || x[i] != y[i] {
			return fmt.Sprintf("%.300q was %.300q", x[i], y[min(i, len(y)-1)])
		}
	}
	return "it is shorter"
}
