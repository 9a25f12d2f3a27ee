package ownseen

import (
	"testing"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/guarded"
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
	own, err := k.Own(guid, validity)
	must(t, err)
	if own.Seen.String() != want {
		t.Errorf("seen %q, want %q", own.Seen.String(), want)
	}
}

// set changes what was seen, when the mailbox's numbers are at 50.
func set(k *Keeper, guid mailstore.GUID, validity uint32, add, remove numset.Set) error {
	return k.Change(guid, validity, func(own guarded.Own) guarded.Own { return own.Changed(add, remove, 50) })
}

func TestKeeper(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	must(t, disk.Mkdir("control", 0o700))
	one, two := mailstore.GUID{1}, mailstore.GUID{2}
	bob := New(disk, "control", "bob")
	seen(t, bob, one, 7, "")
	must(t, set(bob, one, 7, numset.Span(1, 20), numset.Set{}))
	must(t, set(bob, one, 7, numset.Set{}, numset.Of(18, 19)))
	must(t, set(bob, two, 7, numset.Of(4), numset.Set{}))
	seen(t, bob, one, 7, "1:17,20")
	// Another guest, another UIDVALIDITY, and the same one later.
	seen(t, New(disk, "control", "carol"), one, 7, "")
	seen(t, bob, one, 8, "")
	again := New(disk, "control", "bob")
	seen(t, again, one, 7, "1:17,20")
	// What another process has written meanwhile is not lost with a change.
	must(t, set(again, one, 7, numset.Of(30), numset.Set{}))
	must(t, set(bob, one, 7, numset.Of(40), numset.Set{}))
	seen(t, bob, one, 7, "1:17,20,30,40")
	// A new UIDVALIDITY begins with nothing.
	must(t, set(bob, one, 8, numset.Of(2), numset.Set{}))
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
	if err := set(k, mailstore.GUID{1}, 1, odd, numset.Set{}); !errkind.Is(err, errkind.Limit) {
		t.Errorf("%v", err)
	}
	seen(t, k, mailstore.GUID{1}, 1, "")
}

func TestDamaged(t *testing.T) {
	for text, want := range map[string]string{"1 7 \"bob\"\n1:3\n": "1:3", "1 7 \"bob\"\n\n": "", "1 7 \"bob\"\n1:3": "", "1 7 \"bob\"\n1:*\n": "", "1 7 \"bob\"\n$\n": "",
		"1 7 \"bob\"\n1:3\nx": "", "1 7 \"bobby\"\n1:3\n": "", "2 7 \"bob\"\n1:3\n": "", "1 7 \"bob\"\n0\n": "", "": "",
		"1 7 \"bob\"\n1:3\n50 1 51 1:2\n50 2 52 3\n": "1:3", "1 7 \"bob\"\n1:3\n50 1 51 1:2\n50 1 52 3\n": "", "1 7 \"bob\"\n1:3\n50 1 51 \n": "", "1 7 \"bob\"\n1:3\n50 1 50 1\n": "", "1 7 \"bob\"\n1:3\n50 1 51 1": "", "1 7 \"bob\"": ""} {
		if got := parse([]byte(text), 7, "bob").Seen.String(); got != want {
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
			must(t, set(New(disk, "c", "bob"), mailstore.GUID{1}, 7, numset.Of(1), numset.Set{}))
			faulty := faultfs.New(disk)
			faulty.CutAfter(k, fate, 1)
			err := set(New(faulty, "c", "bob"), mailstore.GUID{1}, 7, numset.Of(2), numset.Set{})
			dead = faulty.Dead()
			own, rerr := New(faulty.Survivor(fate, 1), "c", "bob").Own(mailstore.GUID{1}, 7)
			must(t, rerr)
			if got := own.Seen.String(); err == nil && got != "1:2" || got != "1:2" && got != "1" {
				t.Errorf("cut at %d: %v, then %q", k, err, got)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("1 7 \"bob\"\n1:3,9\n")
	f.Add("1 7 \"bob\"\n4294967295\n")
	f.Add("1 7 \"bob\"\n1:3\n50 1 51 1:2\n50 2 52 3\n")
	f.Fuzz(func(t *testing.T, text string) {
		own := parse([]byte(text), 7, "bob")
		if own.Seen.Empty() && len(own.Marks) == 0 {
			return
		}
		if own.Seen.Contains(0) || len(own.Marks) > guarded.MaxMarks {
			t.Errorf("%q is %v", text, own)
		}
		if again := format(parse(format(own, 7, "bob"), 7, "bob"), 7, "bob"); string(again) != string(format(own, 7, "bob")) {
			t.Errorf("%q comes back as %q", text, again)
		}
	})
}
