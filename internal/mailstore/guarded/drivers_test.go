package guarded_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/mailstore/guarded"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/mailstore/mbox"
	"rookery/internal/mailstore/pack"
	"rookery/internal/mailstore/spaces"
	"rookery/internal/mailstore/storetest"
	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
)

type opener func(disk vfs.FS) (mailstore.Store, error)

// drivers are all formats, with the places that lists have in them. root is where the
// list for new mailboxes lies; "" where there is none.
var drivers = []struct {
	name, root string
	open       opener
}{
	{"maildir", "", inMaildir(maildir.MaildirPP, "")}, {"maildir control", "ctl/dovecot-acl", inMaildir(maildir.MaildirPP, "ctl")},
	{"fs", "", inMaildir(maildir.FSLayout, "")}, {"fs control", "ctl/dovecot-acl", inMaildir(maildir.FSLayout, "ctl")},
	{"pack", "mail/dovecot-acl", func(disk vfs.FS) (mailstore.Store, error) {
		return pack.Open(pack.Options{FS: disk, MailPath: "mail", Step: 4096, JournalStep: 4096})
	}},
	{"mbox", "mail/dovecot-acl", func(disk vfs.FS) (mailstore.Store, error) {
		// Control files among the mail: nothing may stand in their place.
		return mbox.Open(mbox.Options{Options: engine.Options{FS: disk, ControlPath: "mail"}, MailPath: "mail", Zone: time.UTC, JournalSize: 24 << 10})
	}},
}

func inMaildir(layout maildir.Layout, control string) opener {
	return func(disk vfs.FS) (mailstore.Store, error) {
		return maildir.Open(maildir.Options{FS: disk, MailPath: "mail", ControlPath: control, Host: "test.example", Layout: layout})
	}
}

// onEach runs a test on every driver.
func onEach(t *testing.T, run func(t *testing.T, root string, open opener)) {
	for _, d := range drivers {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			run(t, d.root, d.open)
		})
	}
}

func newDisk(t testing.TB) (*memfs.FS, *memfs.Clock) {
	t.Helper()
	clock := memfs.NewClock(time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC))
	disk := memfs.New(memfs.Options{Now: clock.Now})
	must(t, disk.Mkdir("mail", 0o700))
	return disk, clock
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func lists(t testing.TB, s mailstore.Store) mailstore.ACLKeeper {
	t.Helper()
	k, ok := mailstore.ACLs(s)
	if !ok {
		t.Fatal("the store keeps no lists")
	}
	return k
}

// list is a list of the file's lines, separated by semicolons.
func list(t testing.TB, lines string) acl.List {
	t.Helper()
	l, err := acl.Parse([]byte(strings.ReplaceAll(lines, ";", "\n")))
	must(t, err)
	return l
}

func give(t testing.TB, s mailstore.Store, name mailstore.Name, lines string) {
	t.Helper()
	must(t, lists(t, s).EditACL(name, func(acl.List) (acl.List, error) { return list(t, lines), nil }))
}

func has(t testing.TB, s mailstore.Store, name mailstore.Name, want string) {
	t.Helper()
	l, err := lists(t, s).ACL(name)
	must(t, err)
	if got := strings.ReplaceAll(strings.TrimSuffix(string(l.Format()), "\n"), "\n", ";"); got != want {
		t.Errorf("the list of %s is %q, want %q", name, got, want)
	}
}

func add(t testing.TB, s mailstore.Store, name mailstore.Name, meta mailstore.AppendMeta, texts ...string) {
	t.Helper()
	a, err := s.Append(name)
	must(t, err)
	for _, text := range texts {
		w, err := a.Add(meta, int64(len(text)))
		must(t, err)
		_, err = w.Write([]byte(text))
		must(t, err)
	}
	_, err = a.Commit()
	must(t, err)
}

func create(t testing.TB, s mailstore.Store, names ...mailstore.Name) {
	t.Helper()
	for _, n := range names {
		_, err := s.Create(n, 0)
		must(t, err)
	}
}

func writeFile(t testing.TB, disk vfs.FS, path, text string) {
	t.Helper()
	f, err := disk.OpenFile(path, vfs.Write|vfs.Create|vfs.Trunc, 0o600)
	must(t, err)
	_, err = f.Write([]byte(text))
	must(t, err)
	must(t, f.Close())
}

// Lists are kept by every format: over processes, RENAME, and until DELETE.
func TestLists(t *testing.T) {
	onEach(t, func(t *testing.T, _ string, open opener) {
		disk, _ := newDisk(t)
		s, err := open(disk)
		must(t, err)
		create(t, s, "A", "A/B", "A/B/C", "D")
		for _, n := range []mailstore.Name{"INBOX", "A", "A/B/C"} {
			has(t, s, n, "")
		}
		if _, err := lists(t, s).ACL("nope"); !errkind.Is(err, errkind.NotFound) {
			t.Errorf("the list of nothing: %v", err)
		}
		if err := lists(t, s).EditACL("nope", nil); !errkind.Is(err, errkind.NotFound) {
			t.Errorf("a change of the list of nothing: %v", err)
		}
		give(t, s, "INBOX", "user=bob lr")
		give(t, s, "A", "# a comment;user=bob lrs")
		give(t, s, "A/B/C", "user=carol lr")
		refused := errkind.Newf("x", errkind.Limit, "no")
		if err := lists(t, s).EditACL("A", func(l acl.List) (acl.List, error) { return acl.List{}, refused }); !errkind.Is(err, errkind.Limit) {
			t.Errorf("a refused change: %v", err)
		}
		must(t, s.Close())
		s, err = open(disk)
		must(t, err)
		has(t, s, "INBOX", "user=bob lr")
		has(t, s, "A", "# a comment;user=bob lrs")
		must(t, s.Rename("A", "E/F"))
		has(t, s, "E/F", "# a comment;user=bob lrs")
		has(t, s, "E/F/B", "")
		has(t, s, "E/F/B/C", "user=carol lr")
		if _, err := lists(t, s).ACL("E"); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("the list of a mere parent: %v", err)
		}
		must(t, s.Delete("E/F"))
		if _, err := lists(t, s).ACL("E/F"); err == nil {
			t.Error("a mailbox that was deleted has a list")
		}
		has(t, s, "E/F/B/C", "user=carol lr")
		create(t, s, "E/F", "A")
		has(t, s, "E/F", "")
		has(t, s, "A", "")
		must(t, s.Rename("INBOX", "Old"))
		has(t, s, "INBOX", "user=bob lr")
		has(t, s, "Old", "")
		must(t, s.Close())
	})
}

// New mailboxes get the list of the nearest mailbox above them, or the default one.
func TestInheritance(t *testing.T) {
	onEach(t, func(t *testing.T, root string, open opener) {
		disk, _ := newDisk(t)
		s, err := open(disk)
		must(t, err)
		create(t, s, "A")
		give(t, s, "A", "# not this;user=bob lrk;-user=carol l;-strange")
		create(t, s, "A/B", "A/x/y/C", "F")
		has(t, s, "A/B", "user=bob lrk;-user=carol l;-strange")
		has(t, s, "A/x/y/C", "user=bob lrk;-user=carol l;-strange")
		has(t, s, "F", "")
		give(t, s, "A", "user=bob l")
		has(t, s, "A/B", "user=bob lrk;-user=carol l;-strange")
		if root == "" {
			// The root is INBOX's own directory: what lies there is INBOX's list.
			l, err := lists(t, s).DefaultACL("x")
			if err != nil || !l.Empty() {
				t.Errorf("a default of %q, %v", l.Format(), err)
			}
			must(t, s.Close())
			return
		}
		writeFile(t, disk, root, "user=dave lr\n")
		create(t, s, "G", "A/H")
		has(t, s, "G", "user=dave lr")
		has(t, s, "A/H", "user=bob l")
		has(t, s, "F", "")
		has(t, s, "INBOX", "")
		add(t, s, "INBOX", mailstore.AppendMeta{}, "it is made by now\r\n")
		has(t, s, "INBOX", "")
		l, err := lists(t, s).DefaultACL("x")
		must(t, err)
		if got := string(l.Format()); got != "user=dave lr\n" {
			t.Errorf("the default is %q", got)
		}
		must(t, s.Close())
	})
}

// A mailbox that gets another identity keeps its list, and a file that nobody needs any
// more is gone.
func TestIdentity(t *testing.T) {
	onEach(t, func(t *testing.T, _ string, open opener) {
		disk, _ := newDisk(t)
		s, err := open(disk)
		must(t, err)
		create(t, s, "A", "B")
		give(t, s, "A", "user=bob lr")
		give(t, s, "B", "user=bob lrs")
		must(t, s.(mailstore.Restorer).Restore("A", mailstore.Identity{UIDValidity: 4000000000, UIDNext: 7, GUID: mailstore.GUID{7}}))
		has(t, s, "A", "user=bob lr")
		has(t, s, "B", "user=bob lrs")
		must(t, s.Delete("B"))
		must(t, s.Close())
		if info, err := disk.Stat("mail/rookery-acl"); err == nil && info.IsDir() {
			n := 0
			must(t, disk.ReadDir("mail/rookery-acl", func(vfs.DirEntry) bool { n++; return true }))
			if n != 1 {
				t.Errorf("%d lists are there", n)
			}
		}
	})
}

// A file that another program writes counts from the next look on, though its size and
// times be those of the one before.
func TestFileOfAnother(t *testing.T) {
	clock := memfs.NewClock(time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC))
	disk := memfs.New(memfs.Options{Now: clock.Now, Granularity: time.Second})
	must(t, disk.Mkdir("mail", 0o700))
	s, err := inMaildir(maildir.MaildirPP, "")(disk)
	must(t, err)
	create(t, s, "A")
	writeFile(t, disk, "mail/.A/dovecot-acl", "user=bob lr\n")
	has(t, s, "A", "user=bob lr")
	writeFile(t, disk, "mail/.A/dovecot-acl", "user=bob ls\n")
	has(t, s, "A", "user=bob ls")
	clock.Jump(time.Minute)
	has(t, s, "A", "user=bob ls")
	writeFile(t, disk, "mail/.A/dovecot-acl", "user=tim ls\n")
	has(t, s, "A", "user=tim ls")
	must(t, disk.Remove("mail/.A/dovecot-acl"))
	has(t, s, "A", "")
	// Dovecot's record of what is shared is out of date with each change.
	for _, change := range []func(){func() { give(t, s, "A", "user=tim l") }, func() { create(t, s, "A/B") }} {
		writeFile(t, disk, "mail/dovecot-acl-list", "0 A\n")
		change()
		if _, err := disk.Stat("mail/dovecot-acl-list"); !vfs.NotExist(err) {
			t.Errorf("Dovecot would believe what was so before: %v", err)
		}
	}
	writeFile(t, disk, "mail/.A/dovecot-acl", strings.Repeat("#", acl.MaxFile+1))
	if _, err := lists(t, s).ACL("A"); !errkind.Is(err, errkind.TooBig) {
		t.Errorf("a file that is too large: %v", err)
	}
	// It keeps others out, and the owner not.
	if _, err := grantee(t, s, "bob").Lookup("A"); !errkind.Is(err, errkind.NotFound) {
		t.Errorf("bob sees a mailbox whose list cannot be read: %v", err)
	}
	if _, err := owner(t, s).Status("A", mailstore.StatusWant{}); err != nil {
		t.Error(err)
	}
	must(t, s.Close())
}

func grantee(t testing.TB, s mailstore.Store, user string, groups ...string) mailstore.Sharer {
	t.Helper()
	g, ok := guarded.Wrap(s, guarded.Options{Who: acl.Who{User: user, Groups: groups}, Owner: "ann"})
	if !ok {
		t.Fatal("the store keeps no lists")
	}
	return g
}

func owner(t testing.TB, s mailstore.Store) mailstore.Sharer {
	t.Helper()
	g, ok := guarded.Wrap(s, guarded.Options{Who: acl.Who{User: "ann", Owner: true}, Owner: "ann"})
	if !ok {
		t.Fatal("the store keeps no lists")
	}
	return g
}

// pictured writes every mailbox with its number of messages and its list; one that is
// not of old, by its GUID, is new.
func pictured(s mailstore.Store, old map[mailstore.GUID]bool) (string, error) {
	all, err := s.List()
	if err != nil {
		return "", err
	}
	k, _ := mailstore.ACLs(s)
	var out []string
	for _, f := range all {
		if f.Attrs&mailstore.NonExistent != 0 {
			continue
		}
		st, err := s.Status(f.Name, mailstore.StatusWant{})
		if err != nil {
			return "", err
		}
		l, err := k.ACL(f.Name)
		if err != nil {
			return "", err
		}
		born := "new"
		if old[st.GUID] {
			born = "old"
		}
		out = append(out, fmt.Sprintf("%s %s %d %q", f.Name, born, st.Messages, l.Format()))
	}
	slices.Sort(out)
	return strings.Join(out, "\n"), nil
}

// After a power cut a list is as it was before or as it was answered to be, and never
// another mailbox's.
func TestCuts(t *testing.T) {
	onEach(t, func(t *testing.T, _ string, open opener) {
		disk, _ := newDisk(t)
		old := map[mailstore.GUID]bool{}
		base := storetest.Prepared(t, open, disk, func(s mailstore.Store) error {
			create(t, s, "A", "A/B", "F")
			add(t, s, "A", mailstore.AppendMeta{}, "one\r\n")
			add(t, s, "A/B", mailstore.AppendMeta{}, "two\r\n")
			give(t, s, "A", "user=bob lr")
			give(t, s, "A/B", "user=bob lrs;-user=carol l")
			for _, n := range []mailstore.Name{"INBOX", "A", "A/B", "F"} {
				st, err := s.Status(n, mailstore.StatusWant{})
				must(t, err)
				old[st.GUID] = true
			}
			return nil
		})
		edit := func(name mailstore.Name, lines string) func(mailstore.Store) error {
			return func(s mailstore.Store) error {
				k, _ := mailstore.ACLs(s)
				return k.EditACL(name, func(acl.List) (acl.List, error) { return list(t, lines), nil })
			}
		}
		// In the fs layout a part of the mail may be gone before the mailbox is, or the
		// other way round. A list never stays behind.
		half := func(got string) bool {
			first, _, _ := strings.Cut(got, "\n")
			return !strings.HasPrefix(first, "A new ") || strings.HasSuffix(first, ` ""`)
		}
		again := func(s mailstore.Store) error {
			if err := s.Delete("A"); err != nil {
				return err
			}
			_, err := s.Create("A", 0)
			return err
		}
		for _, c := range []storetest.Cut{
			{Name: "first", Do: edit("F", "user=bob lrs")},
			{Name: "another", Do: edit("A", "user=carol lrs;anyone l")},
			{Name: "none", Do: edit("A", "")},
			{Name: "inherit", Do: func(s mailstore.Store) error { _, err := s.Create("A/New", 0); return err }},
			{Name: "rename", Do: func(s mailstore.Store) error { return s.Rename("A", "C") }},
			{Name: "delete and make again", Do: again, May: half},
			// Whoever makes the name again after the cut gets a mailbox of his own.
			{Name: "delete", Do: func(s mailstore.Store) error { return s.Delete("A") }, Show: func(s mailstore.Store, _ vfs.FS) (string, error) {
				if _, err := s.Create("A", 0); err != nil && !errkind.Is(err, errkind.Exists) {
					return "", err
				}
				return pictured(s, old)
			}, May: half},
		} {
			c.Open, c.Base, c.Torn = open, base, 2
			if c.Show == nil {
				c.Show = func(s mailstore.Store, _ vfs.FS) (string, error) { return pictured(s, old) }
			}
			t.Run(c.Name, c.Run)
		}
	})
}

// A list that an earlier mailbox left behind, for a crash or a program's sake, is no new
// mailbox's, whatever a power cut brings back.
func TestLeftBehind(t *testing.T) {
	for control, left := range map[string]string{"": "mail/A/dovecot-acl", "ctl": "ctl/A/dovecot-acl"} {
		disk, _ := newDisk(t)
		open := inMaildir(maildir.FSLayout, control)
		base := storetest.Prepared(t, open, disk, func(s mailstore.Store) error {
			create(t, s, "A", "A/B")
			give(t, s, "A/B", "") // its directory stays, and A's with it
			must(t, s.Delete("A"))
			writeFile(t, disk, left, "user=bob lr\n")
			return nil
		})
		storetest.Cut{Name: left, Open: open, Base: base, Torn: 8,
			Do:   func(s mailstore.Store) error { _, err := s.Create("A", 0); return err },
			Show: func(s mailstore.Store, _ vfs.FS) (string, error) { return pictured(s, nil) }}.Run(t)
	}
}

// A namespace's lists are its own store's.
func TestSpaces(t *testing.T) {
	disk, _ := newDisk(t)
	in := func(dir, prefix string) mailstore.Store {
		s, err := maildir.Open(maildir.Options{FS: disk, MailPath: dir, ControlPath: dir + "-ctl", Host: "test.example", Namespace: mailstore.Namespace{Prefix: prefix, Separator: '/', List: true}})
		must(t, err)
		return s
	}
	must(t, disk.Mkdir("other", 0o700))
	s, err := spaces.Join([]spaces.Member{{Store: in("mail", ""), Inbox: true, Subscriptions: true}, {Store: in("other", "Far/"), Subscriptions: true}})
	must(t, err)
	create(t, s, "A", "Far/A")
	give(t, s, "A", "user=bob l")
	give(t, s, "Far/A", "user=bob lr")
	has(t, s, "A", "user=bob l")
	has(t, s, "Far/A", "user=bob lr")
	writeFile(t, disk, "other-ctl/dovecot-acl", "user=dave l\n")
	create(t, s, "B", "Far/B")
	has(t, s, "B", "")
	has(t, s, "Far/B", "user=dave l")
	if _, err := lists(t, s).ACL("Far"); !errkind.Is(err, errkind.Invalid) {
		t.Errorf("the list of a prefix: %v", err)
	}
	if l, err := grantee(t, s, "bob").List(); err != nil || fmt.Sprint(l) != fmt.Sprint([]mailstore.Folder{{Name: "A"}, {Name: "Far", Attrs: mailstore.NoSelect | mailstore.NonExistent | mailstore.HasChildren}, {Name: "Far/A"}}) {
		t.Errorf("%v, %v", l, err)
	}
	must(t, s.Close())
}

// everything is a store in which every list gives the owner all rights.
type everything struct{ *maildir.Store }

func (e everything) ACL(name mailstore.Name) (acl.List, error) {
	if _, err := e.Store.ACL(name); err != nil {
		return acl.List{}, err
	}
	return e.DefaultACL(name)
}

func (e everything) DefaultACL(mailstore.Name) (acl.List, error) {
	return acl.Parse([]byte("owner lrwstipekxa\n-anyone lr\n"))
}

// The guard keeps the rules of a driver for an owner who has all rights by the lists.
func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Harness {
		return storetest.Harness{
			Sampled: os.Getenv("ROOKERY_SOAK") == "", // maildir below it is tested whole
			Open: func(disk vfs.FS) (mailstore.Store, error) {
				inner, err := maildir.Open(maildir.Options{FS: disk, MailPath: "mail", ControlPath: "mail-ctl", Host: "test.example", LockWait: 20e9})
				if err != nil {
					return nil, err
				}
				s, _ := guarded.Wrap(everything{inner}, guarded.Options{Who: acl.Who{User: "ann", Owner: true}, Owner: "ann"})
				return s, nil
			}}
	})
}
