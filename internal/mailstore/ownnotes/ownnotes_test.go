package ownnotes

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rookery/internal/crc32c"
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/wholefile"
	"rookery/internal/vfs"
	"rookery/internal/vfs/faultfs"
	"rookery/internal/vfs/memfs"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func note(entry, value string) mailstore.Annotation {
	return mailstore.Annotation{Entry: entry, Value: []byte(value)}
}

// shown writes what is noted of a mailbox.
func shown(t testing.TB, k *Keeper, owner string, box mailstore.GUID) string {
	t.Helper()
	list, err := k.Own(owner, box)
	must(t, err)
	var out []string
	for _, a := range list {
		out = append(out, a.Entry+"="+string(a.Value))
	}
	return strings.Join(out, " ")
}

var first, second = mailstore.GUID{1}, mailstore.GUID{2}

// What is noted is there for each mailbox of each owner by itself, in other processes too,
// and is gone with the last entry.
func TestKeep(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	k := New(disk, "", mailstore.AnnotationLimits{})
	if got := shown(t, k, "ann", first); got != "" {
		t.Error(got)
	}
	if _, err := disk.Stat(File); !vfs.NotExist(err) {
		t.Error("a look makes a file")
	}
	must(t, k.Change("ann", first, []mailstore.Annotation{note("/private/z", "1"), note("/private/Comment", "a\nb\x00")}))
	must(t, k.Change("ann", second, []mailstore.Annotation{note("/private/comment", "")}))
	must(t, k.Change("o\nE 1 1\n", first, []mailstore.Annotation{note("/private/comment", "hers")}))
	for _, p := range []*Keeper{k, New(disk, "", mailstore.AnnotationLimits{})} {
		if got := shown(t, p, "ann", first); got != "/private/Comment=a\nb\x00 /private/z=1" {
			t.Errorf("%q", got)
		}
		if list, err := p.Own("ann", second); err != nil || len(list) != 1 || list[0].Value == nil {
			t.Error(list, err)
		}
		if got := shown(t, p, "o\nE 1 1\n", first); got != "/private/comment=hers" {
			t.Errorf("%q", got)
		}
	}
	must(t, k.Change("ann", first, []mailstore.Annotation{{Entry: "/private/COMMENT"}, note("/private/Z", "2"), {Entry: "/private/none"}}))
	if got := shown(t, k, "ann", first); got != "/private/Z=2" {
		t.Errorf("%q", got)
	}
	must(t, k.Change("ann", first, []mailstore.Annotation{{Entry: "/private/z"}}))
	must(t, k.Forget("ann", second))
	must(t, k.Forget("ann", second))
	must(t, k.Forget("nobody", second))
	must(t, k.Forget("o\nE 1 1\n", first))
	if data, err := vfs.ReadFile(disk, File, 1<<20); err != nil || len(data) != len(magic)+len("C 00000000\n") {
		t.Errorf("%q %v", data, err)
	}
}

// What cannot be kept is refused, and nothing of it is done.
func TestRefused(t *testing.T) {
	k := New(memfs.New(memfs.Options{}), "", mailstore.AnnotationLimits{Value: 10, Entries: 2})
	must(t, k.Change("ann", first, []mailstore.Annotation{note("/private/a", "1234567890")}))
	for _, c := range []struct {
		want errkind.Kind
		list []mailstore.Annotation
	}{
		{errkind.TooBig, []mailstore.Annotation{note("/private/b", "x"), note("/private/c", "12345678901")}},
		{errkind.Limit, []mailstore.Annotation{note("/private/b", "x"), note("/private/c", "x")}},
		{errkind.Invalid, []mailstore.Annotation{note("/private/b", "x"), note("/shared/b", "x")}},
		{errkind.Invalid, []mailstore.Annotation{note("/private/b", "x"), note("/private/specialUse", `\Sent`)}},
		{errkind.Invalid, []mailstore.Annotation{note("/private/b", "x"), note("/private/b/", "x")}},
	} {
		if err := k.Change("ann", first, c.list); !errkind.Is(err, c.want) {
			t.Errorf("%v: %v", c.list, err)
		}
		if got := shown(t, k, "ann", first); got != "/private/a=1234567890" {
			t.Errorf("%v left %q", c.list, got)
		}
	}
	var long *mailstore.TooLong
	if err := k.Change("ann", first, []mailstore.Annotation{note("/private/b", "12345678901")}); !errors.As(err, &long) || long.Max != 10 {
		t.Error(err)
	}
	// What is there stays changeable where a limit was lowered.
	must(t, k.Change("ann", first, []mailstore.Annotation{note("/private/b", "x")}))
	k.limits.Entries = 1
	must(t, k.Change("ann", first, []mailstore.Annotation{note("/private/b", "y")}))
	// All together.
	k.limits = mailstore.AnnotationLimits{Value: wholefile.MaxWritten / 2, Entries: 10}
	must(t, k.Change("ann", second, []mailstore.Annotation{note("/private/a", strings.Repeat("x", wholefile.MaxWritten/2))}))
	if err := k.Change("ann", second, []mailstore.Annotation{note("/private/b", strings.Repeat("x", wholefile.MaxWritten/2))}); !errkind.Is(err, errkind.Limit) {
		t.Error(err)
	}
}

// What is missing for 30 days is forgotten, and what comes back before is not.
func TestTidy(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	disk := memfs.New(memfs.Options{Now: func() time.Time { return now }})
	k := New(disk, "", mailstore.AnnotationLimits{})
	for _, box := range []mailstore.GUID{first, second} {
		must(t, k.Change("ann", box, []mailstore.Annotation{note("/private/a", "x")}))
	}
	due := func(want ...string) {
		t.Helper()
		if got, err := k.Owners(); err != nil || !slices.Equal(got, want) {
			t.Errorf("on %v %q are due, want %q, %v", now, got, want, err)
		}
	}
	due()
	must(t, k.Tidy("ann", nil)) // today was looked at already
	must(t, k.Tidy("nobody", nil))
	pass := func(days int, there ...mailstore.GUID) {
		now = now.AddDate(0, 0, days)
		due("ann")
		must(t, k.Tidy("ann", there))
		due()
	}
	pass(1, first)
	pass(29, first, second) // it is back
	pass(1, first)
	pass(29, first)
	if got := shown(t, k, "ann", second); got == "" {
		t.Error("it was forgotten a day too soon")
	}
	pass(1, first)
	if got := shown(t, k, "ann", second); got != "" {
		t.Error("it is there still")
	}
	if got := shown(t, k, "ann", first); got == "" {
		t.Error("what is there was forgotten")
	}
	pass(1)
	pass(30)
	now = now.AddDate(0, 0, 1)
	due()
}

// A file that is no such file is told, and nothing is written over it.
func TestDamaged(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	k := New(disk, "", mailstore.AnnotationLimits{})
	must(t, k.Change("ann", first, []mailstore.Annotation{note("/private/a", "x")}))
	good, err := vfs.ReadFile(disk, File, 1<<20)
	must(t, err)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if _, err := decode(bad); !errkind.Is(err, errkind.Corrupt) {
			t.Errorf("with octet %d changed: %v", i, err)
		}
		if _, err := decode(good[:i]); !errkind.Is(err, errkind.Corrupt) {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
	_, err = vfs.Replace(disk, File, good[:20], 0o600)
	must(t, err)
	for _, p := range []*Keeper{k, New(disk, "", mailstore.AnnotationLimits{})} {
		if _, err := p.Own("ann", first); !errkind.Is(err, errkind.Corrupt) {
			t.Error(err)
		}
		if err := p.Change("ann", first, []mailstore.Annotation{note("/private/a", "y")}); !errkind.Is(err, errkind.Corrupt) {
			t.Error(err)
		}
	}
	if data, err := vfs.ReadFile(disk, File, 1<<20); err != nil || len(data) != 20 {
		t.Error(len(data), err)
	}
}

// What was answered outlives a power cut, and one at any moment leaves the old or the new.
func TestPowerCut(t *testing.T) {
	for cut := 1; ; cut++ {
		mem := memfs.New(memfs.Options{})
		setup := New(mem, "", mailstore.AnnotationLimits{})
		must(t, setup.Change("ann", first, []mailstore.Annotation{note("/private/a", "old")}))
		disk := faultfs.New(mem)
		disk.CutAfter(cut, memfs.Fate(0), 1)
		err := New(disk, "", mailstore.AnnotationLimits{}).Change("ann", first, []mailstore.Annotation{note("/private/a", "new"), note("/private/b", "new")})
		if !disk.Dead() {
			break
		}
		got := shown(t, New(disk.Survivor(memfs.Fate(0), 1), "", mailstore.AnnotationLimits{}), "ann", first)
		if got != "/private/a=new /private/b=new" && (err == nil || got != "/private/a=old") {
			t.Errorf("cut after %d: %q, %v", cut, got, err)
		}
	}
}

// Two processes that change the file at once lose nothing.
func TestTwoProcesses(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	done := make(chan error)
	for p := range 2 {
		go func() {
			k := New(disk, "", mailstore.AnnotationLimits{})
			var err error
			for i := range 50 {
				err = errors.Join(err, k.Change("ann", first, []mailstore.Annotation{note(fmt.Sprintf("/private/%d/%d", p, i), "x")}))
			}
			done <- err
		}()
	}
	for range 2 {
		must(t, <-done)
	}
	list, err := New(disk, "", mailstore.AnnotationLimits{}).Own("ann", first)
	if err != nil || len(list) != 100 {
		t.Error(len(list), err)
	}
}

// FuzzFile: what is read is written the same.
func FuzzFile(f *testing.F) {
	b := book{}
	b.box("ann", 20534, first).list = []mailstore.Annotation{note("/private/a", "x"), note("/private/b", "")}
	b.box("bob", 1, second).list = []mailstore.Annotation{note("/private/vendor/x/y", "\x00")}
	f.Add(b.Encode())
	f.Add(book{}.Encode())
	f.Add([]byte(magic + "O 1 3\nann\nC 00000000\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		sum := data
		if i := bytes.LastIndex(data, []byte("C ")); i >= 0 { // most would end at the checksum
			sum = sealed(data[:i])
		}
		for _, d := range [][]byte{data, sum} {
			if b, err := decode(d); err == nil && !bytes.Equal(b.Encode(), d) {
				t.Errorf("%q is written as %q", d, b.Encode())
			}
		}
	})
}

// sealed puts the right checksum behind a body.
func sealed(body []byte) []byte {
	return fmt.Appendf(bytes.Clone(body), "C %08x\n", crc32c.Checksum(body))
}
