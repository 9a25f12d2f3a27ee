package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/vfs"
	"rookery/internal/vfs/faultfs"
	"rookery/internal/vfs/memfs"
)

// Cut is something that is done to a store while the power may go: after each of
// its changes of the disk, and right after its answer, with what was not synced
// lost or torn. What is found then must be what was there before or what it was
// answered to be, and the latter once it was answered.
type Cut struct {
	Name string
	// Open opens the store as a process of its own.
	Open func(disk vfs.FS) (mailstore.Store, error)
	// Base makes the disk on which it is done, anew for each cut.
	Base func() *memfs.FS
	// Later, if not nil, lets an hour pass, after which nobody waits for a lock file
	// that was left. It comes before the store is opened after a cut.
	Later func()
	// Do is it; an error that is not the cut's own fails the test.
	Do func(s mailstore.Store) error
	// Opening cuts the power while the store is opened, too. Closing has the store
	// closed as a part of what is done: it is answered when Close has returned.
	Opening, Closing bool
	// May allows a picture beside those two, where Do is not answered yet.
	May func(picture string) bool
	// ByClock says that a mailbox gets its UIDVALIDITY by the clock, at one time or
	// another: it is not compared.
	ByClock bool
	// Show gives what the store shows, where Picture is not enough.
	Show func(s mailstore.Store, disk vfs.FS) (string, error)
	// Torn is how many draws are tried of what was torn; 0: five.
	Torn int
}

// Run does it with every cut, or with a sample where there are many.
func (c Cut) Run(t *testing.T) {
	t.Helper()
	if c.Show == nil {
		c.Show = func(s mailstore.Store, _ vfs.FS) (string, error) { return Picture(s) }
	}
	before := c.look(t, "before", c.Base())
	disk := c.Base()
	from, to := c.do(t, faultfs.New(disk))
	after := c.look(t, "after", disk.Survive(memfs.Kept, 0))
	step, draws := max(1, (to-from)/80), uint64(cmp.Or(c.Torn, 5))
	if testing.Short() {
		step, draws = max(1, (to-from)/20), 2
	}
	for k := from + 1; k <= to+1; k++ {
		if k < to && (k-from)%step != 0 {
			continue
		}
		for seed := range 1 + draws {
			c.cut(t, k, to, seed, before, after)
		}
	}
}

// do opens the store, does it and closes the store. It gives the numbers of the
// changes before the first that counts, and of the last.
func (c Cut) do(t *testing.T, f *faultfs.FS) (from, to int) {
	t.Helper()
	s, err := c.Open(f)
	if err != nil {
		if !f.Dead() {
			t.Fatal(err)
		}
		return 0, 0
	}
	if !c.Opening {
		from = f.Changes()
	}
	err = c.Do(s)
	to = f.Changes()
	if err != nil && !f.Dead() && !errors.Is(err, faultfs.ErrDead) {
		t.Fatalf("%s: %v", c.Name, err)
	}
	if err != nil {
		to = 0
	}
	cerr := s.Close()
	if c.Closing && err == nil {
		if to = f.Changes(); cerr != nil || f.Dead() {
			to = 0
		}
	}
	return from, to
}

// cut does it with the power gone after change k; with k above last, the power
// goes once the answer was given.
func (c Cut) cut(t *testing.T, k, last int, seed uint64, before, after string) {
	t.Helper()
	fate := memfs.Torn
	if seed == 0 {
		fate = memfs.Lost
	}
	f := faultfs.New(c.Base())
	defer f.Kill()
	answered := k > last
	if answered {
		s, err := c.Open(f)
		if err == nil {
			err = c.Do(s)
		}
		if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		if c.Closing {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		f.Survivor(fate, seed)
		_ = s.Close()
	} else {
		f.CutAfter(k, fate, seed)
		_, to := c.do(t, f)
		answered = to > 0
	}
	disk := f.Survivor(fate, seed)
	what := fmt.Sprintf("%s: cut after change %d of %d, seed %d, answered %v", c.Name, k, last, seed, answered)
	got := c.look(t, what, disk)
	if !c.same(got, after) && (answered || !c.same(got, before) && (c.May == nil || !c.May(got))) {
		t.Fatalf("%s: there is\n%s\nbefore:\n%s\nafter:\n%s\n%s", what, got, before, after, disk.Dump())
	}
}

func (c Cut) same(got, want string) bool {
	if c.ByClock {
		got, want = validity.ReplaceAllString(got, ""), validity.ReplaceAllString(want, "")
	}
	return got == want
}

var validity = regexp.MustCompile(`, UIDVALIDITY \d+`)

// look gives what a store on the disk shows.
func (c Cut) look(t *testing.T, what string, disk *memfs.FS) string {
	t.Helper()
	f := faultfs.New(disk)
	defer f.Kill()
	if c.Later != nil {
		c.Later()
	}
	s, err := c.Open(f)
	if err != nil {
		t.Fatalf("%s: %v\n%s", what, err, disk.Dump())
	}
	got, err := c.Show(s, f)
	if errkind.Is(err, errkind.InUse) && c.Later != nil {
		// Two lock files, names of one: with the first the other looks young again.
		c.Later()
		got, err = c.Show(s, f)
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", what, err, disk.Dump())
	}
	if err := s.Close(); err != nil {
		t.Fatalf("%s: close: %v", what, err)
	}
	return got
}

// Prepared gives disks on which a store was opened, do done and the store closed,
// all of it certain.
func Prepared(t *testing.T, open func(vfs.FS) (mailstore.Store, error), disk *memfs.FS, do func(mailstore.Store) error) func() *memfs.FS {
	t.Helper()
	s, err := open(disk)
	if err == nil {
		if err = do(s); err == nil {
			err = s.Close()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() *memfs.FS { return disk.Survive(memfs.Kept, 0) }
}

// Put appends messages, all or none, and gives an error that names them.
func Put(s mailstore.Store, box mailstore.Name, meta mailstore.AppendMeta, bodies ...string) error {
	a, err := s.Append(box)
	if err != nil {
		return err
	}
	defer a.Abort()
	for _, b := range bodies {
		w, err := a.Add(meta, int64(len(b)))
		if err == nil {
			_, err = io.WriteString(w, b)
		}
		if err != nil {
			return err
		}
	}
	_, err = a.Commit()
	return err
}

// Within opens a mailbox for one thing.
func Within(s mailstore.Store, box mailstore.Name, do func(mb mailstore.Mailbox) error) error {
	mb, err := s.Open(box)
	if err != nil {
		return err
	}
	defer mb.Close()
	if _, err := mb.Sync(); err != nil {
		return err
	}
	return do(mb)
}

// Picture is all that a client can see of a store, one mailbox or message a line.
func Picture(s mailstore.Store) (string, error) {
	list, err := s.List()
	if err != nil {
		return "", err
	}
	subs, err := s.Subscriptions()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "subscribed %q\n", subs)
	for _, f := range list {
		if f.Attrs&(mailstore.NonExistent|mailstore.NoSelect) != 0 {
			continue
		}
		if err := Within(s, f.Name, func(mb mailstore.Mailbox) error { return pictureOf(&b, mb) }); err != nil {
			return "", fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return b.String(), nil
}

func pictureOf(b *strings.Builder, mb mailstore.Mailbox) error {
	s := mb.Snapshot()
	fmt.Fprintf(b, "%s, UIDVALIDITY %d\n", mb.Info().Name, mb.Info().UIDValidity)
	for pos := range s.Len() {
		e := s.At(pos)
		text, err := body(mb, e.UID)
		if err != nil {
			return err
		}
		subject, _, _ := strings.Cut(text, "\r\n")
		keys := slices.Clone(s.Keywords(e.Keywords))
		slices.Sort(keys)
		fmt.Fprintf(b, "  %d %s%v %.20q %d octets %08x\n", e.UID, flagText(e.Flags), keys, subject, len(text), crc32.ChecksumIEEE([]byte(text)))
	}
	return nil
}
