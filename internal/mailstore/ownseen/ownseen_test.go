package ownseen

import (
	"strings"
	"testing"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
	"rookery/internal/vfs/faultfs"
	"rookery/internal/vfs/memfs"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func seen(t testing.TB, k *Keeper, guid mailstore.GUID, validity uint32, want string) {
	t.Helper()
	set, err := k.Seen(guid, validity)
	must(t, err)
	if set.String() != want {
		t.Errorf("seen %q, want %q", set.String(), want)
	}
}

func TestKeeper(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	must(t, disk.Mkdir("control", 0o700))
	one, two := mailstore.GUID{1}, mailstore.GUID{2}
	bob := New(disk, "control", "bob")
	seen(t, bob, one, 7, "")
	must(t, bob.SetSeen(one, 7, numset.Span(1, 20), numset.Set{}))
	must(t, bob.SetSeen(one, 7, numset.Set{}, numset.Of(18, 19)))
	must(t, bob.SetSeen(two, 7, numset.Of(4), numset.Set{}))
	seen(t, bob, one, 7, "1:17,20")
	// Another guest, another UIDVALIDITY, and the same one later.
	seen(t, New(disk, "control", "carol"), one, 7, "")
	seen(t, bob, one, 8, "")
	again := New(disk, "control", "bob")
	seen(t, again, one, 7, "1:17,20")
	// What another process has written meanwhile is not lost with a change.
	must(t, again.SetSeen(one, 7, numset.Of(30), numset.Set{}))
	must(t, bob.SetSeen(one, 7, numset.Of(40), numset.Set{}))
	seen(t, bob, one, 7, "1:17,20,30,40")
	// A new UIDVALIDITY begins with nothing.
	must(t, bob.SetSeen(one, 8, numset.Of(2), numset.Set{}))
	seen(t, New(disk, "control", "bob"), one, 8, "2")
	seen(t, New(disk, "control", "bob"), one, 7, "")
	must(t, Drop(disk, "control", one))
	seen(t, New(disk, "control", "bob"), one, 8, "")
	seen(t, New(disk, "control", "bob"), two, 7, "4")
	must(t, Drop(memfs.New(memfs.Options{}), "none", one))
}

func TestLimit(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	var odd numset.Set
	for n := uint32(1_000_000_001); n < 1_001_000_001; n += 2 {
		odd.Add(n)
	}
	k := New(disk, "", "bob")
	if err := k.SetSeen(mailstore.GUID{1}, 1, odd, numset.Set{}); !errkind.Is(err, errkind.Limit) {
		t.Errorf("%v", err)
	}
	seen(t, k, mailstore.GUID{1}, 1, "")
}

func TestDamaged(t *testing.T) {
	for text, want := range map[string]string{"1 7 \"bob\"\n1:3\n": "1:3", "1 7 \"bob\"\n\n": "", "1 7 \"bob\"\n1:3": "", "1 7 \"bob\"\n1:*\n": "", "1 7 \"bob\"\n$\n": "",
		"1 7 \"bob\"\n1:3\nx": "", "1 7 \"bobby\"\n1:3\n": "", "2 7 \"bob\"\n1:3\n": "", "1 7 \"bob\"\n0\n": "", "": "", "1 7 \"bob\"": ""} {
		if got := parse([]byte(text), 7, "bob").String(); got != want {
			t.Errorf("%q is read as %q", text, got)
		}
	}
}

// After a power cut what was seen is as before a change or as it was answered.
func TestCut(t *testing.T) {
	for _, fate := range []memfs.Fate{memfs.Lost, memfs.Kept, memfs.Torn} {
		for k, dead := 1, true; dead; k++ {
			disk := memfs.New(memfs.Options{})
			must(t, disk.Mkdir("c", 0o700))
			must(t, disk.SyncDir("."))
			must(t, New(disk, "c", "bob").SetSeen(mailstore.GUID{1}, 7, numset.Of(1), numset.Set{}))
			faulty := faultfs.New(disk)
			faulty.CutAfter(k, fate, 1)
			err := New(faulty, "c", "bob").SetSeen(mailstore.GUID{1}, 7, numset.Of(2), numset.Set{})
			dead = faulty.Dead()
			set, rerr := New(faulty.Survivor(fate, 1), "c", "bob").Seen(mailstore.GUID{1}, 7)
			must(t, rerr)
			if got := set.String(); err == nil && got != "1:2" || got != "1:2" && got != "1" {
				t.Errorf("cut at %d: %v, then %q", k, err, got)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("1 7 \"bob\"\n1:3,9\n")
	f.Add("1 7 \"bob\"\n4294967295\n")
	f.Fuzz(func(t *testing.T, text string) {
		set := parse([]byte(text), 7, "bob")
		if set.Empty() {
			return
		}
		if set.Contains(0) || !strings.HasPrefix(text, "1 7 \"bob\"\n") {
			t.Errorf("%q is %s", text, set)
		}
		if again := parse([]byte("1 7 \"bob\"\n"+set.String()+"\n"), 7, "bob"); !again.Equal(set) {
			t.Errorf("%s comes back as %s", set, again)
		}
	})
}
