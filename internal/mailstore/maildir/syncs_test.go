package maildir_test

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/mailstore/storetest"
	"rookery/internal/numset"
	"rookery/internal/vfs"
	"rookery/internal/vfs/faultfs"
	"rookery/internal/vfs/memfs"
)

// The tests here are small histories, each for one sync or a few: docs/syncs.md
// says which. Every one is done with the power gone after each change of the disk,
// and once it was answered.

type opener = func(vfs.FS) (mailstore.Store, error)

func with(opt maildir.Options) opener {
	return func(disk vfs.FS) (mailstore.Store, error) {
		o := opt
		if o.FS = disk; o.MailPath == "" {
			o.MailPath = "Maildir"
		}
		o.Host, o.LockWait = "test.example", 500*time.Millisecond
		return maildir.Open(o)
	}
}

// cutDisk gives a disk and lets an hour pass on it.
func cutDisk(noLink bool) (*memfs.FS, func()) {
	c := memfs.NewClock(time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC))
	return memfs.New(memfs.Options{Now: c.Now, NoLink: noLink}), func() { c.Jump(time.Hour) }
}

// big is a message that the journal does not take, small one that it does, and
// bare one that it takes, but not a second time: its lines end with a mere LF, and
// what is told of its size is that in CRLF form.
func big(id string) string {
	return "Subject: " + id + "\r\n\r\n" + strings.Repeat("0123456789abcdef\r\n", 4000)
}
func small(id string) string { return "Subject: " + id + "\r\n\r\nHello.\r\n" }
func bare(id string) string  { return "Subject: " + id + "\r\n\r\n" + strings.Repeat("x\n", 25000) }

// steps does one thing after the other.
func steps(list ...func(mailstore.Store) error) func(mailstore.Store) error {
	return func(s mailstore.Store) error {
		for _, do := range list {
			if err := do(s); err != nil {
				return err
			}
		}
		return nil
	}
}

func add(box string, bodies ...string) func(mailstore.Store) error {
	return func(s mailstore.Store) error {
		return storetest.Put(s, box, mailstore.AppendMeta{}, bodies...)
	}
}

func addWith(box string, meta mailstore.AppendMeta, bodies ...string) func(mailstore.Store) error {
	return func(s mailstore.Store) error { return storetest.Put(s, box, meta, bodies...) }
}

func create(box string) func(mailstore.Store) error {
	return func(s mailstore.Store) error { _, err := s.Create(box, 0); return err }
}

func rename(from, to string) func(mailstore.Store) error {
	return func(s mailstore.Store) error { return s.Rename(from, to) }
}

func carry(move bool, from, to string, uids ...uint32) func(mailstore.Store) error {
	return func(s mailstore.Store) error {
		return storetest.Within(s, from, func(mb mailstore.Mailbox) (err error) {
			if move {
				_, err = mb.Move(numset.Of(uids...), to)
			} else {
				_, err = mb.Copy(numset.Of(uids...), to)
			}
			return err
		})
	}
}

func seen(box string, uid uint32, keywords ...string) func(mailstore.Store) error {
	return func(s mailstore.Store) error {
		return storetest.Within(s, box, func(mb mailstore.Mailbox) error {
			_, err := mb.Store(mailstore.FlagChange{UIDs: numset.Of(uid), Op: mailstore.AddFlags, Flags: mailstore.Seen, Keywords: keywords})
			return err
		})
	}
}

// manyKeywords are more than there are letters.
func manyKeywords() (list []string) {
	for i := range 30 {
		list = append(list, fmt.Sprintf("k%02d", i))
	}
	return list
}

// anything lets a cut in the midst leave what it will, as long as it can be read.
func anything(string) bool { return true }

// TestSyncs: what was answered survives a power cut, and what was not is there
// whole or not at all.
func TestSyncs(t *testing.T) {
	nothing := steps()
	tree := steps(create("a"), create("a/k"), create("b"), add("a", small("in a")), add("a/k", small("in k")))
	apart := maildir.Options{MailPath: "mail", InboxPath: "spool/inbox", ControlPath: "var/control", IndexPath: "var/index"}
	for _, c := range []struct {
		name   string
		opt    maildir.Options
		noLink bool
		mounts bool // each mailbox lies on a disk of its own
		prep   func(mailstore.Store) error
		do     func(mailstore.Store) error
		whole  bool // also while the store is opened
		close  bool // with the store's end
		may    func(string) bool
	}{
		{name: "FirstUse", prep: nil, do: add("INBOX", small("first")), whole: true, may: anything},
		{name: "FirstUseApart", opt: apart, prep: nil, do: add("INBOX", small("first")), whole: true, may: anything},
		{name: "FirstUseUID", opt: apart, prep: nil, do: addWith("INBOX", mailstore.AppendMeta{UID: 17}, big("first")), whole: true, may: anything},
		{name: "Create", prep: nothing, do: create("a")},
		{name: "CreateApart", opt: apart, prep: nothing, do: create("a")},
		{name: "CreateAppendApart", opt: apart, prep: nothing, do: steps(create("a/b"), addWith("a/b", mailstore.AppendMeta{UID: 9}, big("x"))), may: anything},
		{name: "CreateFS", opt: maildir.Options{Layout: maildir.FSLayout}, prep: create("a"), do: create("a/b/c"), may: anything},
		{name: "Delete", prep: steps(create("a"), add("a", small("x"))), do: func(s mailstore.Store) error { return s.Delete("a") }},
		{name: "Big", prep: add("INBOX", small("x")), do: addWith("INBOX", mailstore.AppendMeta{UID: 17}, big("y")), may: anything},
		{name: "BigSeveral", prep: add("INBOX", small("x")), do: add("INBOX", big("y"), big("z"))},
		{name: "CopyBig", prep: create("a"), do: steps(add("INBOX", big("x")), carry(false, "INBOX", "a", 1)), may: anything},
		{name: "CopyBigs", prep: steps(create("a"), add("INBOX", big("x"), big("y"))), do: carry(false, "INBOX", "a", 1, 2)},
		{name: "MoveBig", prep: steps(create("a"), add("INBOX", big("x"))), do: carry(true, "INBOX", "a", 1)},
		{name: "CopyWithoutLinks", noLink: true, prep: steps(create("a"), add("INBOX", big("x"))), do: carry(false, "INBOX", "a", 1)},
		{name: "MoveAcrossMounts", mounts: true, prep: steps(create("a"), add("INBOX", big("x"))), do: carry(true, "INBOX", "a", 1), may: anything},
		{name: "MoveUnsynced", prep: create("a"), do: steps(add("INBOX", bare("x")), carry(true, "INBOX", "a", 1)), may: anything},
		{name: "RenameTree", prep: tree, do: rename("a", "c")},
		{name: "RenameTreeAgain", prep: tree, do: steps(rename("a", "c"), create("a/new")), may: anything},
		{name: "RenameApart", opt: apart, prep: tree, do: rename("a", "c"), may: anything},
		{name: "MoreKeywords", prep: addWith("INBOX", mailstore.AppendMeta{Keywords: manyKeywords()}, small("x")),
			do: addWith("INBOX", mailstore.AppendMeta{Keywords: manyKeywords()}, big("y")), may: anything},
		{name: "Settled", prep: steps(create("a"), add("INBOX", small("x"))), do: carry(false, "INBOX", "a", 1), close: true, may: anything},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			open := with(c.opt)
			if c.mounts {
				open = func(disk vfs.FS) (mailstore.Store, error) { return with(c.opt)(mounts{disk}) }
			}
			disk, later := cutDisk(c.noLink)
			cut := storetest.Cut{Name: c.name, Open: open, Do: c.do, Later: later, Opening: c.whole, Closing: c.close, May: c.may, ByClock: true}
			cut.Base = func() *memfs.FS { return disk.Survive(memfs.Kept, 0) }
			if c.prep != nil {
				inbox := func(s mailstore.Store) error {
					return storetest.Within(s, "INBOX", func(mailstore.Mailbox) error { return nil })
				}
				cut.Base = storetest.Prepared(t, open, disk, steps(inbox, c.prep))
			}
			cut.Run(t)
		})
	}
}

// TestSyncsWithoutJournal: with mail_fsync = "always", and a disk on which the
// journal cannot be, a flag change is certain once it is answered.
func TestSyncsWithoutJournal(t *testing.T) {
	opt := maildir.Options{SyncChanges: true}
	disk, later := cutDisk(false)
	base := storetest.Prepared(t, with(opt), disk, add("INBOX", small("x")))
	blocked := func() *memfs.FS {
		disk := base()
		_ = disk.Remove("Maildir/rookery-journal")
		if err := disk.Mkdir("Maildir/rookery-journal", 0o700); err != nil {
			t.Fatal(err)
		}
		return disk.Survive(memfs.Kept, 0)
	}
	storetest.Cut{Name: "flag", Open: with(opt), Base: blocked, Later: later, Do: seen("INBOX", 1, manyKeywords()...), May: anything}.Run(t)
}

// stuck is a disk on which no rename to a path works that holds a text, and no
// second one.
type stuck struct {
	vfs.FS
	path string
}

func (d stuck) RenameNoReplace(from, to string) error {
	if strings.Contains(to, d.path) {
		return &fs.PathError{Op: "rename", Path: to, Err: syscall.EIO}
	}
	return d.FS.RenameNoReplace(from, to)
}

// mounts is a disk that renames no file out of its mailbox.
type mounts struct{ vfs.FS }

func (d mounts) RenameNoReplace(from, to string) error {
	top := func(path string) string { return vfs.Parent(vfs.Parent(path)) }
	if strings.Count(from, "/") > 1 && top(from) != top(to) {
		return &fs.PathError{Op: "rename", Path: to, Err: syscall.EXDEV}
	}
	return d.FS.RenameNoReplace(from, to)
}

// TestSyncsOfARefusedRename: a RENAME of a tree that fails in its midst has its old
// names again, and keeps them when its intent is forgotten.
func TestSyncsOfARefusedRename(t *testing.T) {
	open := with(maildir.Options{})
	tree := steps(add("INBOX", small("in INBOX")), create("a"), create("a/j"), create("a/k"), add("a", small("in a")), add("a/k", small("in k")))
	disk, later := cutDisk(false)
	storetest.Cut{
		Name: "refused", Base: storetest.Prepared(t, open, disk, tree), Later: later, Torn: 12,
		Open: func(disk vfs.FS) (mailstore.Store, error) { return open(stuck{disk, ".c.k"}) },
		Do: func(s mailstore.Store) error {
			if err := s.Rename("a", "c"); err == nil {
				return fmt.Errorf("it was renamed")
			} else if strings.Contains(err.Error(), faultfs.ErrDead.Error()) {
				return err
			}
			// Makes the end of the intent certain, too: nothing sees to the names any more.
			return add("INBOX", small("x"))(s)
		},
		May: anything,
		Show: func(s mailstore.Store, _ vfs.FS) (string, error) {
			list, err := s.List()
			out := ""
			for _, f := range list {
				out += f.Name + "\n"
			}
			return out, err
		},
	}.Run(t)
}

// TestSyncsAfterAKill: a process is killed in a RENAME of a tree, at any moment;
// the next that has the store finishes it, and the power is cut.
func TestSyncsAfterAKill(t *testing.T) {
	open := with(maildir.Options{})
	tree := steps(add("INBOX", small("in INBOX")), create("a"), create("a/j"), create("a/k"), add("a", small("in a")), add("a/k", small("in k")))
	disk, later := cutDisk(false)
	prepared := storetest.Prepared(t, open, disk, tree)
	want := map[bool]bool{}
	for k := 1; ; k++ {
		whole := false
		for seed := range uint64(8) {
			disk := prepared()
			other, err := open(faultfs.New(disk)) // has it open, so that nobody recovers alone
			if err != nil {
				t.Fatal(err)
			}
			first := faultfs.New(disk)
			s, err := open(first)
			if err != nil {
				t.Fatal(err)
			}
			first.CutAfter(first.Changes()+k, memfs.Lost, 0)
			_ = s.Rename("a", "c") // killed in it, or not
			whole = !first.Dead()
			first.Kill()
			_ = s.Close()
			second := faultfs.New(disk)
			s, err = open(second)
			if err != nil {
				t.Fatal(err)
			}
			list := folderNames(t, s) // whoever looks at the folders finishes it first
			fate := memfs.Torn
			if seed == 0 {
				fate = memfs.Lost
			}
			left := second.Survivor(fate, seed)
			second.Kill()
			_, _ = s.Close(), other.Close()
			later()
			after, err := open(left)
			if err != nil {
				t.Fatal(err)
			}
			if got := folderNames(t, after); got != list {
				t.Fatalf("killed after change %d, seed %d: there are %s, the next process showed %s\n%s", k, seed, got, list, left.Dump())
			}
			want[strings.Contains(list, "c/k")] = true
			_ = after.Close()
		}
		if whole {
			break
		}
	}
	if !want[true] || !want[false] {
		t.Fatal("it was always the same")
	}
}

func folderNames(t *testing.T, s mailstore.Store) string {
	t.Helper()
	list, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	out := ""
	for _, f := range list {
		out += " " + f.Name
	}
	return out
}

// TestSyncsOfARepair: a file that a repair replaced by a copy is whole at each
// moment, and replaced once that was told.
func TestSyncsOfARepair(t *testing.T) {
	open := with(maildir.Options{})
	clean, later := cutDisk(false)
	prepared := storetest.Prepared(t, open, clean, add("INBOX", small("x")))
	base := func() *memfs.FS {
		disk := prepared()
		dir, file, err := findText(disk, "INBOX", "Hello")
		if err == nil {
			err = disk.Remove(dir + "/" + file)
		}
		if err != nil {
			t.Fatal(err)
		}
		f, err := disk.OpenFile(dir+"/"+file, vfs.Write|vfs.Create|vfs.Excl, 0o666)
		if err == nil {
			_, err = f.Write([]byte(small("x")))
		}
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		return disk.Survive(memfs.Kept, 0)
	}
	verify := func(s mailstore.Store, repair bool) (out string, err error) {
		err = s.(mailstore.Verifier).Verify(context.Background(), "INBOX", repair, func(f mailstore.Finding) { out += f.Kind + "\n" })
		return out, err
	}
	storetest.Cut{Name: "repair", Open: open, Base: base, Later: later, Torn: 25,
		Do: func(s mailstore.Store) error { _, err := verify(s, true); return err },
		Show: func(s mailstore.Store, _ vfs.FS) (string, error) {
			pic, err := storetest.Picture(s)
			if err != nil {
				return "", err
			}
			found, err := verify(s, false)
			wrong := strings.Contains(found, "mode-wrong")
			return fmt.Sprintf("%sof the wrong mode: %v\n", pic, wrong), err
		}}.Run(t)
}
