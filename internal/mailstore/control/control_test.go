package control

import (
	"slices"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/vfs"
	"rookery/internal/vfs/faultfs"
	"rookery/internal/vfs/memfs"
)

func TestSubscriptions(t *testing.T) {
	for _, c := range []struct {
		what, text string
		sep        byte
		names      []mailstore.Name
		add        string
		added      string
		remove     string
		removed    string
	}{
		{"none yet", "", '.', nil, "a/b", "V\t2\n\na\tb\n", "", ""},
		{"version 1, as in Maildir++", "INBOX\na.b\nT&APY-\n", '.', []mailstore.Name{"INBOX", "a/b", "Tö"},
			"x/y", "INBOX\na.b\nT&APY-\nx.y\n", "a/b", "INBOX\nT&APY-\n"},
		{"version 1, as in a tree of directories", "a/b\n", '/', []mailstore.Name{"a/b"}, "c.d/e", "a/b\nc.d/e\n", "a/b", ""},
		{"a dot within a level makes it version 2", "a.b\n", '.', []mailstore.Name{"a/b"}, "c.d", "V\t2\n\na\tb\nc.d\n", "a/b", ""},
		{"version 2", "V\t2\n\na\tb\nc.d\n", '.', []mailstore.Name{"a/b", "c.d"}, "é", "V\t2\n\na\tb\nc.d\n&AOk-\n", "c.d", "V\t2\n\na\tb\n"},
		{"lines that are no names stay", "a\n~mine\x01\nb\n", '.', []mailstore.Name{"a", "b"}, "c", "a\n~mine\x01\nb\nc\n", "a", "~mine\x01\nb\n"},
		{"a name that stands twice goes whole", "a\nb\na\n", '.', []mailstore.Name{"a", "b", "a"}, "", "", "a", "b\n"},
	} {
		l := parseSubs(c.text, c.sep)
		if got := l.Names(); !slices.Equal(got, c.names) {
			t.Errorf("%s: %q", c.what, got)
		}
		if c.add != "" {
			if got, err := l.Edit(c.add, true, 10); err != nil || string(got) != c.added {
				t.Errorf("%s, %s added: %q, %v", c.what, c.add, got, err)
			}
		}
		if c.remove != "" {
			if got, err := parseSubs(c.text, c.sep).Edit(c.remove, false, 10); err != nil || got == nil || string(got) != c.removed {
				t.Errorf("%s, %s removed: %q, %v", c.what, c.remove, got, err)
			}
		}
	}
}

func TestEditRefuses(t *testing.T) {
	l := parseSubs("a\nb\n", '.')
	if got, err := l.Edit("a", true, 2); err != nil || got != nil {
		t.Errorf("a name that is there: %q, %v", got, err)
	}
	if _, err := l.Edit("c", true, 2); !errkind.Is(err, errkind.Limit) {
		t.Errorf("one too many: %v", err)
	}
	if _, err := l.Edit("c", false, 2); !errkind.Is(err, errkind.NotFound) {
		t.Errorf("a name that is not there: %v", err)
	}
}

// newDir is a control directory on a disk whose clock says 1000 s.
func newDir(t *testing.T) (*faultfs.FS, Dir) {
	t.Helper()
	mem := memfs.New(memfs.Options{Now: func() time.Time { return time.Unix(1000, 0) }})
	for _, d := range []string{"ctl", "mail"} {
		if err := mem.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := mem.SyncDir("."); err != nil {
		t.Fatal(err)
	}
	disk := faultfs.New(mem)
	return disk, Dir{FS: disk, Path: "ctl", Mode: 0o600}
}

func put(t *testing.T, d Dir, path, text string) {
	t.Helper()
	if _, err := vfs.Replace(d.FS, path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCouriersListIsTakenOver(t *testing.T) {
	_, d := newDir(t)
	put(t, d, "mail/courierimapsubscribed", "INBOX\r\nINBOX.a.b\n#shared.x\nINBOX.T&APY-\n")
	l, err := d.ReadSubs('.', "mail")
	if err != nil || !slices.Equal(l.Names(), []mailstore.Name{"INBOX", "a/b", "Tö"}) {
		t.Fatal(l.Names(), err)
	}
	if l, err = d.ReadSubs('.', ""); err != nil || len(l.Names()) > 0 {
		t.Fatal("read where nobody asked for it", l.Names(), err)
	}
	l, _ = d.ReadSubs('.', "mail")
	data, err := l.Edit("c", true, 10)
	if err != nil || string(data) != "V\t2\n\nINBOX\na\tb\nT&APY-\nc\n" {
		t.Fatalf("%q %v", data, err)
	}
	put(t, d, "ctl/subscriptions", "")
	if l, err = d.ReadSubs('.', "mail"); err != nil || len(l.Names()) > 0 {
		t.Fatal("Courier's list counts beside one of ours", l.Names(), err)
	}
}

func TestValidity(t *testing.T) {
	disk, d := newDir(t)
	next := func(above, want uint32) {
		t.Helper()
		if v, err := d.NextValidity(above); err != nil || v != want {
			t.Fatal(v, want, err)
		}
	}
	next(0, 1000) // the time
	next(0, 1001) // one more in the same second
	next(5000, 5001)
	if err := d.RaiseValidity(4000); err != nil {
		t.Fatal(err)
	}
	next(0, 5002)
	if err := d.RaiseValidity(6000); err != nil {
		t.Fatal(err)
	}
	next(0, 6001)
	if got := names(t, disk); !slices.Equal(got, []string{"dovecot-uidvalidity", "dovecot-uidvalidity.00001771"}) {
		t.Fatal("one mark stands beside the file", got)
	}
	put(t, d, "ctl/dovecot-uidvalidity", "no number")
	next(0, 6002) // the mark tells
	if err := disk.Remove("ctl/dovecot-uidvalidity.00001772"); err != nil {
		t.Fatal(err)
	}
	next(0, 6003) // the file tells
	next(1<<32-1, 1<<31)
}

func names(t *testing.T, disk vfs.FS) (out []string) {
	t.Helper()
	if err := disk.ReadDir("ctl", func(e vfs.DirEntry) bool { out = append(out, e.Name); return true }); err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

// What was given is never given again, wherever the power is cut and whatever of
// the unsynced reached the disk.
func TestValidityAfterPowerCut(t *testing.T) {
	for _, fate := range []memfs.Fate{memfs.Lost, memfs.Kept, memfs.Torn} {
		for k := 1; ; k++ {
			disk, d := newDir(t)
			disk.CutAfter(k, fate, uint64(k))
			var given uint32
			for range 3 {
				v, err := d.NextValidity(0)
				if err != nil {
					break
				}
				if v <= given {
					t.Fatalf("cut after %d: %d after %d", k, v, given)
				}
				given = v
			}
			done := !disk.Dead()
			d.FS = disk.Survivor(fate, uint64(k))
			v, err := d.NextValidity(0)
			if err != nil || v <= given {
				t.Fatalf("cut after %d: %d was given, then %d, %v", k, given, v, err)
			}
			if done {
				break
			}
		}
	}
}

func TestErrorsHaveTheirKind(t *testing.T) {
	_, d := newDir(t)
	if err := d.FS.Mkdir("ctl/subscriptions", 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := d.ReadSubs('.', ""); err == nil {
		t.Fatal("a directory is read as a list")
	}
	d.Path = "ctl/subscriptions/no/such"
	if l, err := d.ReadSubs('.', ""); err != nil || len(l.Names()) > 0 {
		t.Fatal("no directory: nothing is subscribed", err)
	}
	if _, err := d.NextValidity(0); !vfs.NotExist(err) {
		t.Fatal(err)
	}
}
