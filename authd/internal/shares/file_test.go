package shares

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"rookery/internal/acl"
	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/vfs"
	"rookery/internal/vfs/faultfs"
	"rookery/internal/vfs/memfs"
)

// open opens the two files as master does.
func openPair(t *testing.T, fs vfs.FS) (pair [2]vfs.File) {
	t.Helper()
	for i, name := range []string{"shares-a", "shares-b"} {
		f, err := fs.OpenFile(name, vfs.Read|vfs.Write|vfs.Create, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		pair[i] = f
	}
	return pair
}

func loaded(t *testing.T, fs vfs.FS) (*files, *List, Found) {
	t.Helper()
	f, l := &files{pair: openPair(t, fs)}, NewList()
	found, err := f.load(l)
	if err != nil {
		t.Fatal(err)
	}
	return f, l, found
}

// state is all that a list says.
func state(l *List) string {
	var b strings.Builder
	for _, owner := range l.Owners() {
		fmt.Fprintf(&b, "%s %v\n", owner, l.told(owner))
	}
	return b.String()
}

// step is one that a history takes: what an owner tells.
type step struct {
	owner string
	boxes []redeemmsg.Published
}

func history() (steps []step) {
	for i := range 12 {
		owner := fmt.Sprintf("u%d", i%3)
		var boxes []redeemmsg.Published
		for k := range i % 4 {
			boxes = append(boxes, pub(fmt.Sprintf("box %d", k), "user=bob lr", fmt.Sprintf("user=n%d l", i), "-group=\u00fc w"))
		}
		steps = append(steps, step{owner, boxes})
	}
	return steps
}

func TestKeepsOverRestarts(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	want := ""
	for i, s := range history() {
		f, l, found := loaded(t, disk)
		if found.Damage != "" || found.Fresh != (i == 0) {
			t.Fatalf("step %d: %+v", i, found)
		}
		if got := state(l); got != want {
			t.Fatalf("step %d: read\n%swant\n%s", i, got, want)
		}
		set(t, l, s.owner, s.boxes...)
		if i%5 == 4 {
			f.end = 2*f.live + slack + 1 // much has been replaced
			f.broken = true
		}
		if err := f.save(l, []string{s.owner}); err != nil {
			t.Fatal(err)
		}
		want = state(l)
	}
}

// What was saved is there after a power cut at any moment, and what was being saved
// is there or not, but whole.
func TestPowerCuts(t *testing.T) {
	run := func(disk *faultfs.FS) (saved, trying string) {
		f, l := &files{}, NewList()
		for i, name := range []string{"shares-a", "shares-b"} {
			file, err := disk.OpenFile(name, vfs.Read|vfs.Write|vfs.Create, 0o600)
			if err != nil {
				return "", ""
			}
			f.pair[i] = file
		}
		if disk.SyncDir("") != nil { // master's part
			return "", ""
		}
		if _, err := f.load(l); err != nil {
			return "", ""
		}
		for i, s := range history() {
			if _, err := l.Set(s.owner, s.boxes); err != nil {
				panic(err)
			}
			if i%4 == 3 {
				f.broken = true // so that both ways are cut
			}
			trying = state(l)
			if f.save(l, []string{s.owner}) != nil {
				return saved, trying
			}
			saved = trying
		}
		return saved, trying
	}
	for _, fate := range []memfs.Fate{memfs.Lost, memfs.Kept, memfs.Torn} {
		for k := 1; ; k++ {
			disk := faultfs.New(memfs.New(memfs.Options{}))
			disk.CutAfter(k, fate, uint64(k))
			saved, trying := run(disk)
			if !disk.Dead() {
				if k < 40 {
					t.Fatalf("only %d changes", k)
				}
				break
			}
			after := disk.Survivor(fate, uint64(k))
			f, l, found := loaded(t, after)
			if got := state(l); got != saved && got != trying {
				t.Fatalf("cut after change %d, fate %d: read\n%swant\n%sor\n%s(%+v)", k, fate, got, saved, trying, found)
			}
			// And it goes on from there.
			set(t, l, "late", pub("x", "user=bob l"))
			if err := f.save(l, []string{"late"}); err != nil {
				t.Fatal(err)
			}
			want := state(l)
			if _, l, found := loaded(t, after); state(l) != want || found.Damage != "" {
				t.Fatalf("cut after change %d, fate %d: what was saved after it reads\n%s%+v", k, fate, state(l), found)
			}
		}
	}
}

// A disk that refuses something loses nothing: it is saved as soon as the disk can.
func TestFailures(t *testing.T) {
	for k := 1; ; k++ {
		disk := faultfs.New(memfs.New(memfs.Options{}))
		f, l, _ := loaded(t, disk)
		before := disk.Ops()
		disk.FailAt(before+k, 1, syscall.ENOSPC)
		for i, s := range history() {
			set(t, l, s.owner, s.boxes...)
			f.broken = f.broken || i%4 == 3
			if err := f.save(l, []string{s.owner}); err != nil {
				if !errors.Is(err, syscall.ENOSPC) {
					t.Fatal(err)
				}
				if err := f.save(l, []string{s.owner}); err != nil {
					t.Fatalf("failure of %s: again: %v", disk.Failed(), err)
				}
			}
		}
		if disk.Failed() == "" {
			if k < 30 {
				t.Fatalf("only %d operations", k)
			}
			return
		}
		if _, again, found := loaded(t, disk); state(again) != state(l) || found.Damage != "" {
			t.Fatalf("failure of %s: read\n%swant\n%s%+v", disk.Failed(), state(again), state(l), found)
		}
	}
}

func TestDamage(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	f, l, _ := loaded(t, disk)
	for _, s := range history()[:3] {
		set(t, l, s.owner, s.boxes...)
		if err := f.save(l, []string{s.owner}); err != nil {
			t.Fatal(err)
		}
	}
	first := f.end
	set(t, l, "late", pub("x", "user=bob l"))
	if err := f.save(l, []string{"late"}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.pair[0].WriteAt([]byte{0xff}, first+12); err != nil {
		t.Fatal(err)
	}
	_, l, found := loaded(t, disk)
	if found.Damage == "" || found.Fresh || slices.Contains(l.Owners(), "late") || len(l.Owners()) != 2 {
		t.Errorf("%+v, %q", found, l.Owners())
	}
	if _, _, found := loaded(t, disk); found.Damage != "" {
		t.Errorf("what was cut off is still there: %+v", found)
	}
	if _, err := f.pair[0].WriteAt([]byte{0xff}, 13); err != nil { // the head
		t.Fatal(err)
	}
	_, l, found = loaded(t, disk)
	if found.Damage == "" || found.Fresh || len(l.Owners()) != 0 {
		t.Errorf("%+v, %q", found, l.Owners())
	}
}

func TestKeeper(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	var problems []error
	k := NewKeeper(func(err error) { problems = append(problems, err) })
	pair := openPair(t, disk)
	if _, err := k.Open(pair[0], pair[1]); err != nil {
		t.Fatal(err)
	}
	again := openPair(t, disk)
	if _, err := k.Open(again[0], again[1]); err == nil {
		t.Error("the files were taken twice")
	}
	for _, s := range history() {
		if _, err := k.Set(s.owner, s.boxes); err != nil {
			t.Fatal(err)
		}
	}
	want := state(k.List)
	k.Close()
	k.Close()
	if _, l, _ := loaded(t, disk); state(l) != want || len(problems) > 0 {
		t.Errorf("read\n%swant\n%s%v", state(l), want, problems)
	}
	alone := NewKeeper(func(error) {})
	if _, err := alone.Set("ann", []redeemmsg.Published{pub("A", "user=bob l")}); err != nil || len(sees(alone.List, acl.Who{User: "bob"})) != 1 {
		t.Errorf("without files: %v", err)
	}
	alone.Close()
}

func FuzzPayload(f *testing.F) {
	for _, s := range history() {
		f.Add(appendRecord(nil, 1, s.owner, s.boxes)[recordHead:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		owner, told, err := parsePayload(b)
		if err != nil {
			return
		}
		back, again, err := parsePayload(appendRecord(nil, 1, owner, told)[recordHead:])
		if err != nil || back != owner || !reflect.DeepEqual(told, again) {
			t.Fatalf("%q %q came back as %q %q, %v", owner, told, back, again, err)
		}
	})
}
