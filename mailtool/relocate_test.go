package mailtool

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/ipc/toolmsg"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/vfs"
	"rookery/internal/vfs/faultfs"
	"rookery/internal/vfs/memfs"
	"rookery/internal/worker"
)

// moveHome is mail of one driver, which can be looked at in any directory.
type moveHome struct {
	fs     vfs.FS
	driver string
}

func (h moveHome) FS() vfs.FS { return h.fs }

func (h moveHome) OpenMoved(_, to string) (mailstore.Store, error) {
	return openDriver(h.fs, h.driver, strings.TrimPrefix(to, "/"), maildir.Special{Name: "Auto", Auto: maildir.AutoCreate})
}

func (h moveHome) Place() (worker.Place, error)                    { return worker.Place{Driver: h.driver}, nil }
func (h moveHome) OpenPlace(worker.Place) (mailstore.Store, error) { return h.OpenMoved("", "/a") }
func (h moveHome) Open() (mailstore.Store, error)                  { return h.OpenMoved("", "/a") }
func (h moveHome) Controls() (controls, error)                     { return controls{h.fs, []string{"a"}}, nil }
func (h moveHome) with(t *testing.T, dir string, do func(mailstore.Store)) {
	t.Helper()
	s, err := h.OpenMoved("", dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	do(s)
}

func (h moveHome) dump(t *testing.T, dir string) (text string) {
	t.Helper()
	h.with(t, dir, func(s mailstore.Store) { text = dump(t, s) })
	return text
}

// newMove is a disk with mail in /a and an empty /b. Its clock goes on by a
// millisecond with each look.
func newMove(t *testing.T, driver string) (moveHome, *memfs.FS) {
	t.Helper()
	clock := memfs.NewClock(testTime)
	disk := memfs.New(memfs.Options{Now: clock.Now})
	for _, dir := range []string{"a", "b"} {
		if err := disk.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return moveHome{disk, driver}, disk
}

func phase(name string) []string { return []string{"phase=" + name, "from=/a", "to=/b"} }

// tops lists the names in a directory.
func tops(t *testing.T, disk vfs.FS, dir string) (out []string) {
	t.Helper()
	if err := disk.ReadDir(dir, func(e vfs.DirEntry) bool { out = append(out, e.Name); return true }); err != nil {
		t.Fatal(err)
	}
	return out
}

// A move takes everything along, whatever happens to the mail meanwhile, and frees
// all of the old place.
func TestMove(t *testing.T) {
	for _, driver := range []string{"maildir", "mbox", "pack"} {
		for seed := range uint64(2) {
			r := rand.New(rand.NewPCG(seed, 9))
			h, disk := newMove(t, driver)
			work := func(n int) { h.with(t, "/a", func(s mailstore.Store) { stir(t, s, r, n) }) }
			work(100)
			c := dialHome(t, h)
			plan := c.must(toolmsg.Relocate, nil, phase("plan")...)
			if plan[0]["files"].(float64) < 3 || len(tops(t, disk, "b")) != 0 {
				t.Errorf("%v %q", plan, tops(t, disk, "b"))
			}
			c.must(toolmsg.Relocate, nil, phase("copy")...)
			work(60)
			c.must(toolmsg.Relocate, nil, phase("copy")...)
			work(20)
			c.must(toolmsg.Relocate, nil, phase("finish")...)
			want := h.dump(t, "/a")
			c.must(toolmsg.Relocate, nil, phase("late")...)
			if got := h.dump(t, "/b"); got != want {
				t.Fatalf("%s, seed %d: %s", driver, seed, differs(got, want))
			}
			done := c.must(toolmsg.Relocate, nil, phase("free")...)
			if done[0]["left"] != nil || len(tops(t, disk, "a")) != 0 {
				t.Fatalf("%s, seed %d: %v %q", driver, seed, done, tops(t, disk, "a"))
			}
			if got := h.dump(t, "/b"); got != want {
				t.Fatalf("%s, seed %d, freed: %s", driver, seed, differs(got, want))
			}
			for _, name := range tops(t, disk, "b") {
				if strings.HasPrefix(name, relocFile) {
					t.Errorf("%s was left", name)
				}
			}
			c.hang()
		}
	}
}

// The power fails at any moment of a move: before the switch the old place is whole
// and the move can be made, after it the new one is whole and the old one can be
// freed.
func TestMovePowerCut(t *testing.T) {
	for _, driver := range []string{"maildir", "mbox", "pack"} {
		h, base := newMove(t, driver)
		r := rand.New(rand.NewPCG(11, 5))
		h.with(t, "/a", func(s mailstore.Store) { stir(t, s, r, 60) })
		h.dump(t, "/a") // what is made when it is looked at is there before
		want := h.dump(t, "/a")
		stride := 5
		if testing.Short() {
			stride = 40
		}
		for k, over := 1, false; !over; k += 1 + r.IntN(2*stride) {
			f := faultfs.New(base.Survive(memfs.Kept, 0))
			fate := []memfs.Fate{memfs.Lost, memfs.Kept, memfs.Torn}[k%3]
			f.CutAfter(k, fate, uint64(k))
			c := dialHome(t, moveHome{f, driver})
			ok := func(name string) bool {
				_, done := c.do(toolmsg.Relocate, nil, phase(name)...)
				return done.Exit == 0 && !f.Dead()
			}
			switched := ok("copy") && ok("finish")
			over = switched && ok("late") && ok("free")
			c.hang()
			disk := f.Survivor(fate, uint64(k))
			after := moveHome{disk, driver}
			c = dialHome(t, after)
			if switched {
				if got := after.dump(t, "/b"); got != want {
					t.Fatalf("%s, cut after change %d, after the switch: %s", driver, k, differs(got, want))
				}
				if !over && len(tops(t, disk, "a")) > 0 {
					c.must(toolmsg.Relocate, nil, phase("rescue")...)
					if lines := c.must(toolmsg.Relocate, nil, phase("free")...); lines[0]["left"] != nil {
						t.Fatalf("%s, cut after change %d: %v", driver, k, lines)
					}
				}
			} else {
				if got := after.dump(t, "/a"); got != want {
					t.Fatalf("%s, cut after change %d, before the switch: %s", driver, k, differs(got, want))
				}
				for _, name := range []string{"copy", "finish", "late", "free"} {
					c.must(toolmsg.Relocate, nil, phase(name)...)
				}
			}
			if got := after.dump(t, "/b"); got != want {
				t.Fatalf("%s, cut after change %d, at the end: %s", driver, k, differs(got, want))
			}
			if left := tops(t, disk, "a"); len(left) != 0 {
				t.Fatalf("%s, cut after change %d: at the old place there is %q", driver, k, left)
			}
			c.hang()
		}
	}
}

func write(t *testing.T, disk vfs.FS, path, text string, at time.Time) {
	t.Helper()
	f, err := disk.OpenFile(path, vfs.Write|vfs.Create, 0o600)
	if err == nil {
		_, err = f.WriteAt([]byte(text), 0)
	}
	if err == nil && !at.IsZero() {
		err = f.SetModTime(at)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func content(disk vfs.FS, path string) string {
	b, err := vfs.ReadFile(disk, path, 1<<20)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// A file that is changed within the tick in which it was copied is copied again,
// though its size and time are the same.
func TestMoveRacy(t *testing.T) {
	h, disk := newMove(t, "maildir")
	h.with(t, "/a", func(s mailstore.Store) { put(t, s, "INBOX", "Subject: x\r\n\r\n", mailstore.AppendMeta{}) })
	at := disk.Now()
	write(t, disk, "a/own-file", "one", at)
	old := at.Add(-time.Hour)
	write(t, disk, "a/old-file", "one", old)
	c := dialHome(t, h)
	c.must(toolmsg.Relocate, nil, phase("copy")...)
	if got := content(disk, "b/own-file"); got != "one" {
		t.Error(got)
	}
	write(t, disk, "a/own-file", "two", at)
	lines := c.must(toolmsg.Relocate, nil, phase("finish")...)
	if got := content(disk, "b/own-file"); got != "two" {
		t.Error(got, lines)
	}
	if info, err := disk.Stat("b/old-file"); err != nil || !info.ModTime.Equal(old) {
		t.Error(info, err)
	}
}

// Files with several names have as many at the new place.
func TestMoveLinks(t *testing.T) {
	h, disk := newMove(t, "maildir")
	h.with(t, "/a", func(s mailstore.Store) { put(t, s, "INBOX", "Subject: x\r\n\r\n", mailstore.AppendMeta{}) })
	write(t, disk, "a/one", "text", disk.Now().Add(-time.Hour))
	if err := disk.Link("a/one", "a/two"); err != nil {
		t.Fatal(err)
	}
	c := dialHome(t, h)
	c.must(toolmsg.Relocate, nil, phase("copy")...)
	one, err1 := disk.Stat("b/one")
	two, err2 := disk.Stat("b/two")
	if err1 != nil || err2 != nil || one.Inode != two.Inode || content(disk, "b/two") != "text" {
		t.Error(one, two, err1, err2)
	}
}

// What other programs bring to the old place comes over: at once before anybody
// works at the new one, and later what was delivered. The rest is left and told.
func TestMoveLate(t *testing.T) {
	h, disk := newMove(t, "maildir")
	h.with(t, "/a", func(s mailstore.Store) {
		put(t, s, "INBOX", "Subject: first\r\n\r\n", mailstore.AppendMeta{})
		if _, err := s.Create("Box", 0); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Create("Gone", 0); err != nil {
			t.Fatal(err)
		}
	})
	c := dialHome(t, h)
	c.must(toolmsg.Relocate, nil, phase("copy")...)
	c.must(toolmsg.Relocate, nil, phase("finish")...)
	write(t, disk, "a/new/1.late.host", "Subject: late\n\n", time.Time{})
	if got := c.must(toolmsg.Relocate, nil, phase("late")...); got[0]["files"] != 1.0 {
		t.Error(got)
	}
	write(t, disk, "a/new/2.later.host", "Subject: later\n\n", time.Time{})
	write(t, disk, "a/.Box/cur/3.later.host:2,S", "Subject: box\n\n", time.Time{})
	write(t, disk, "a/.Gone/new/4.later.host", "Subject: gone\n\n", time.Time{})
	write(t, disk, "a/.Box/new/5.both.host", "Subject: both\n\n", time.Time{})
	write(t, disk, "b/.Box/cur/5.both.host:2,", "Subject: both\n\n", time.Time{})
	write(t, disk, "a/notes", "of his own", time.Time{})
	h.with(t, "/b", func(s mailstore.Store) {
		if err := s.Delete("Gone"); err != nil {
			t.Fatal(err)
		}
	})
	if got := c.must(toolmsg.Relocate, nil, phase("rescue")...); got[0]["files"] != 3.0 {
		t.Error(got)
	}
	got := c.must(toolmsg.Relocate, nil, phase("free")...)
	if got[0]["left"] != 2.0 || !strings.Contains(fmt.Sprint(got[0]["note"]), "notes") || content(disk, "a/notes") != "of his own" {
		t.Error(got)
	}
	text := h.dump(t, "/b")
	for _, s := range []string{"first", "late", "later", "box", "gone"} {
		if strings.Count(text, "Subject: "+s+`\r`) != 1 {
			t.Errorf("%s is not there once:\n%s", s, text)
		}
	}
	if !strings.Contains(text, "Box false") || strings.Contains(text, "Gone ") {
		t.Error(text)
	}
}

// A copy that shows anything else is not switched to.
func TestMoveCompares(t *testing.T) {
	for name, spoil := range map[string]func(*testing.T, mailstore.Store){
		"message": func(t *testing.T, s mailstore.Store) {
			put(t, s, "INBOX", "Subject: y\r\n\r\n", mailstore.AppendMeta{})
		},
		"flags": func(t *testing.T, s mailstore.Store) {
			box, _ := s.Open("INBOX")
			defer box.Close()
			box.Store(mailstore.FlagChange{UIDs: uidsOf(box.Snapshot()), Op: mailstore.AddFlags, Flags: mailstore.Seen})
		},
		"mailbox":      func(t *testing.T, s mailstore.Store) { s.Create("More", 0) },
		"subscription": func(t *testing.T, s mailstore.Store) { s.Subscribe("INBOX", true) },
		"validity":     func(t *testing.T, s mailstore.Store) { s.(mailstore.Restorer).Renew("INBOX") },
		"nothing":      func(t *testing.T, s mailstore.Store) {},
	} {
		h, _ := newMove(t, "maildir")
		h.with(t, "/a", func(s mailstore.Store) { put(t, s, "INBOX", "Subject: x\r\n\r\n", mailstore.AppendMeta{}) })
		h.dump(t, "/a") // makes the mailbox of the settings
		c := dialHome(t, h)
		c.must(toolmsg.Relocate, nil, phase("copy")...)
		h.with(t, "/b", func(s mailstore.Store) { spoil(t, s) })
		s := &service{now: time.Now}
		m := &move{call: &call{service: s, ctx: t.Context(), told: time.Now().Add(time.Hour)}, home: h, from: "/a", to: "/b"}
		if _, _, err := m.compare(); (err == nil) != (name == "nothing") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A directory with anything else in it is never made the same as the mail.
func TestMoveTarget(t *testing.T) {
	h, disk := newMove(t, "maildir")
	h.with(t, "/a", func(s mailstore.Store) { put(t, s, "INBOX", "Subject: x\r\n\r\n", mailstore.AppendMeta{}) })
	write(t, disk, "b/mine", "precious", time.Time{})
	c := dialHome(t, h)
	c.refused(exitCreate, "is not empty", toolmsg.Relocate, nil, phase("copy")...)
	c.refused(exitCreate, "is not empty", toolmsg.Relocate, nil, phase("finish")...)
	c.refused(exitNoInput, "no list", toolmsg.Relocate, nil, phase("free")...)
	c.refused(exitNoInput, "no list", toolmsg.Relocate, nil, phase("rescue")...)
	if content(disk, "b/mine") != "precious" {
		t.Error("it was taken away")
	}
	if err := disk.Remove("b/mine"); err != nil {
		t.Fatal(err)
	}
	write(t, disk, "b/"+relocFile, "rookery-relocate 1\nfrom \"/c\"\n", time.Time{})
	c.refused(exitCreate, "another move", toolmsg.Relocate, nil, phase("copy")...)
	if err := disk.Remove("b/" + relocFile); err != nil {
		t.Fatal(err)
	}
	c.must(toolmsg.Relocate, nil, phase("copy")...)
	second := dialHome(t, h)
	second.refused(exitTemp, "another", toolmsg.Relocate, nil, phase("copy")...)
	second.hang()
	for _, bad := range [][]string{{"phase=copy"}, {"phase=copy", "from=/a", "to=/a"}, {"phase=copy", "from=a", "to=/b"}, {"phase=copy", "from=/a", "to=/b/../c"}} {
		c.refused(exitSoftware, "is none", toolmsg.Relocate, nil, bad...)
	}
	// A lock and what can be made again stay behind; they are freed all the same.
	write(t, disk, "a/dovecot-uidlist.lock", "", time.Time{})
	write(t, disk, "a/rookery.index.log", "noise", time.Time{})
	c.must(toolmsg.Relocate, nil, phase("finish")...)
	for _, name := range []string{"b/dovecot-uidlist.lock"} {
		if _, err := disk.Stat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s was copied", name)
		}
	}
	c.must(toolmsg.Relocate, nil, phase("free")...)
	if left := tops(t, disk, "a"); len(left) != 0 {
		t.Errorf("%q", left)
	}
}

// A disk without room is found before anything is copied.
func TestMoveRoom(t *testing.T) {
	h, disk := newMove(t, "maildir")
	h.with(t, "/a", func(s mailstore.Store) {
		put(t, s, "INBOX", "Subject: x\r\n\r\n"+strings.Repeat("x", 5000), mailstore.AppendMeta{})
	})
	full := moveHome{narrow{disk}, "maildir"}
	c := dialHome(t, full)
	if got := c.must(toolmsg.Relocate, nil, phase("plan")...); got[0]["room"] != false || got[0]["free"] != 4096.0 {
		t.Error(got)
	}
	c.refused(exitCreate, "there is no room", toolmsg.Relocate, nil, phase("copy")...)
	if got := tops(t, disk, "b"); !reflect.DeepEqual(got, []string{relocFile}) {
		t.Errorf("%q", got)
	}
}

// narrow is a disk with 4 KiB free.
type narrow struct{ vfs.FS }

func (narrow) Space(string) (free, total uint64, err error) { return 4096, 1 << 30, nil }

func TestRelocateList(t *testing.T) {
	const good = relocMagic + "\nboot \"b\"\n1 2 3 4 \"a b\"\n5 6 7 8 \"c/\\n\"\nend 2\n"
	got, err := decodeList(strings.NewReader(good), "b")
	if want := (map[string]fileFacts{"a b": {1, 2, 3, 4}, "c/\n": {5, 6, 7, 8}}); err != nil || !reflect.DeepEqual(got, want) {
		t.Error(got, err)
	}
	if got, err := decodeList(strings.NewReader(good), "another"); err != nil || got["a b"] != (fileFacts{1, 2, 0, 4}) {
		t.Error(got, err)
	}
	for n := range len(good) - 1 {
		if got, err := decodeList(strings.NewReader(good[:n]), "b"); !errkind.Is(err, errkind.Corrupt) {
			t.Errorf("%d octets: %v %v", n, got, err)
		}
	}
	for _, bad := range []string{good + "x\n", relocMagic + "\nboot \"b\"\n1 2 3 \"a\"\nend 1\n", relocMagic + "\nboot \"b\"\n1 2 3 4 \"a\"\n1 2 3 4 \"a\"\nend 2\n", relocMagic + "\nboot \"b\"\n1 2 3 4 \"\"\nend 1\n", relocMagic + "\nboot \"b\"\n1 2 3 4 a\nend 1\n",
		relocMagic + "\nboot \"b\"\n" + strings.Repeat("1", maxLine+1) + "\nend 1\n"} {
		if got, err := decodeList(strings.NewReader(bad), "b"); !errkind.Is(err, errkind.Corrupt) {
			t.Errorf("%.80q: %v %v", bad, got, err)
		}
	}
}

func FuzzDecodeList(f *testing.F) {
	f.Add([]byte(relocMagic + "\nboot \"b\"\n1 2 3 4 \"a b\"\n5 6 7 8 \"c/\\n\"\nend 2\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := decodeList(bytes.NewReader(data), "b")
		if err != nil {
			return
		}
		for rel := range list {
			if rel == "" {
				t.Error("a file without a name")
			}
		}
	})
}
