package held_test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/held"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/mailstore/memstore"
	"rookery/internal/mailstore/quota"
	"rookery/internal/mailstore/storetest"
	"rookery/internal/numset"
	"rookery/internal/vfs"
	"rookery/internal/vfs/faultfs"
	"rookery/internal/vfs/memfs"
)

// open opens a Maildir++ store with a quota and a hold around it.
func open(disk vfs.FS, opt held.Options) (*held.Store, error) {
	ns := mailstore.Namespace{Separator: '.', Prefix: prefix, List: true}
	inner, err := maildir.Open(maildir.Options{FS: disk, MailPath: "Maildir", Host: "test.example", LockWait: 20e9, Namespace: ns})
	if err != nil {
		return nil, err
	}
	root := held.RootOf(ns)
	counted := quota.Wrap(inner, quota.Options{FS: disk, Dir: "Maildir", Limits: quota.Limits{Octets: 1 << 30}, Rule: func(n mailstore.Name) quota.Rule {
		if held.Hides(root, n) {
			return quota.Rule{Class: quota.Held}
		}
		return quota.Rule{}
	}})
	opt.FS, opt.Dir = disk, "Maildir"
	return held.Wrap(counted, opt), nil
}

const prefix = ""

func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Harness {
		return storetest.Harness{
			Sampled:   os.Getenv("ROOKERY_SOAK") == "", // maildir below it is tested whole
			DropIndex: func(vfs.FS) error { return nil },
			Open:      func(disk vfs.FS) (mailstore.Store, error) { return open(disk, held.Options{Hold: 168 * time.Hour}) }}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newDisk() (*memfs.FS, *memfs.Clock) {
	c := memfs.NewClock(time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC))
	return memfs.New(memfs.Options{Now: c.Now}), c
}

func start(t *testing.T, disk vfs.FS, opt held.Options) *held.Store {
	t.Helper()
	s, err := open(disk, opt)
	must(t, err)
	return s
}

func add(t *testing.T, s mailstore.Store, name mailstore.Name, flags mailstore.Flags, texts ...string) {
	t.Helper()
	a, err := s.Append(name)
	must(t, err)
	defer a.Abort()
	for _, text := range texts {
		w, err := a.Add(mailstore.AppendMeta{Flags: flags, Keywords: []string{"k" + text}, InternalDate: time.Unix(1e9, 0)}, -1)
		must(t, err)
		_, err = io.WriteString(w, text+"\r\n")
		must(t, err)
	}
	_, err = a.Commit()
	must(t, err)
}

// show writes a mailbox: "text flags keywords" of each message, in order.
func show(t *testing.T, s mailstore.Store, name mailstore.Name) string {
	t.Helper()
	mb, err := s.Open(name)
	if errkind.Is(err, errkind.NotFound) {
		return "none"
	}
	must(t, err)
	defer mb.Close()
	snap, err := mb.Sync()
	must(t, err)
	var out []string
	for pos := range snap.Len() {
		e := snap.At(pos)
		m, err := mb.Message(e.UID)
		must(t, err)
		b := make([]byte, m.Size())
		_, err = m.ReadAt(b, 0)
		must(t, err)
		m.Close()
		f, err := mb.Facts(e.UID, mailstore.FactsWant{InternalDate: true})
		must(t, err)
		if !f.InternalDate.Equal(time.Unix(1e9, 0)) {
			t.Errorf("INTERNALDATE is %v", f.InternalDate)
		}
		out = append(out, fmt.Sprintf("%d %s%v", e.Flags, strings.TrimSpace(string(b)), snap.Keywords(e.Keywords)))
	}
	return strings.Join(out, ", ")
}

func expunge(t *testing.T, s mailstore.Store, name mailstore.Name, uids ...mailstore.UID) {
	t.Helper()
	mb, err := s.Open(name)
	must(t, err)
	defer mb.Close()
	got, err := mb.Expunge(numset.Of(uids...))
	must(t, err)
	if !got.Equal(numset.Of(uids...)) {
		t.Fatalf("expunged %s, not %v", got, uids)
	}
}

func names(t *testing.T, s mailstore.Store) string {
	t.Helper()
	list, err := s.List()
	must(t, err)
	var out []string
	for _, f := range list {
		out = append(out, f.Name)
	}
	return strings.Join(out, " ")
}

func undelete(t *testing.T, s *held.Store, req held.Request) []held.Restored {
	t.Helper()
	out, err := s.Undelete(context.Background(), req)
	must(t, err)
	return out
}

var week = held.Options{Hold: 168 * time.Hour}

func TestUndelete(t *testing.T) {
	disk, clock := newDisk()
	s := start(t, disk, week)
	_, err := s.Create("box", 0)
	must(t, err)
	add(t, s, "INBOX", mailstore.Seen|mailstore.Deleted, "a", "b", "c", "d")
	add(t, s, "box", mailstore.Flagged, "x", "y")
	expunge(t, s, "INBOX", 2, 3)
	clock.Jump(24 * time.Hour)
	day := clock.Now()
	expunge(t, s, "INBOX", 1)
	expunge(t, s, "box", 1)
	must(t, s.Rename("box", "new"))
	if got := names(t, s); got != "INBOX new" {
		t.Fatalf("LIST shows %s", got)
	}
	q, _, err := s.Quota()
	must(t, err)
	h, err := s.Unwrap().(*quota.Store).HeldUse()
	if must(t, err); q.MessagesUsed != 2 || h.Messages != 4 || q.StorageUsed != 6 || h.Octets != 12 {
		t.Fatalf("use %+v, held %+v", q, h)
	}
	s = start(t, disk, week) // what is known survives the process
	r := undelete(t, s, held.Request{Since: day, DryRun: true})
	if len(r) != 2 || r[0].Mailbox != "INBOX" || r[0].Messages != 1 || r[0].Were.String() != "1" || r[1].Mailbox != "new" || r[1].Created {
		t.Fatalf("dry run: %+v", r)
	}
	if got := show(t, s, "INBOX"); got != fmt.Sprintf("%d d[kd]", mailstore.Seen|mailstore.Deleted) {
		t.Fatalf("a dry run changed INBOX: %s", got)
	}
	if r := undelete(t, s, held.Request{Since: day, Mailbox: "new"}); len(r) != 1 || r[0].Messages != 1 {
		t.Fatalf("%+v", r)
	}
	if got, want := show(t, s, "new"), fmt.Sprintf("%d y[ky], %d x[kx]", mailstore.Flagged, mailstore.Flagged); got != want {
		t.Fatalf("new holds %q, want %q", got, want)
	}
	r = undelete(t, s, held.Request{})
	if len(r) != 1 || r[0].Messages != 3 || r[0].Were.String() != "1:3" {
		t.Fatalf("%+v", r)
	}
	seen := int(mailstore.Seen)
	if got, want := show(t, s, "INBOX"), fmt.Sprintf("%d d[kd], %d b[kb], %d c[kc], %d a[ka]", seen|int(mailstore.Deleted), seen, seen, seen); got != want {
		t.Fatalf("INBOX holds %q, want %q", got, want)
	}
	if r := undelete(t, s, held.Request{}); len(r) != 0 {
		t.Fatalf("put back twice: %+v", r)
	}
}

func TestDelete(t *testing.T) {
	disk, _ := newDisk()
	s := start(t, disk, week)
	for _, n := range []string{"a", "a/b"} {
		_, err := s.Create(n, 0)
		must(t, err)
	}
	add(t, s, "a", 0, "1", "2")
	add(t, s, "a/b", 0, "3")
	must(t, s.Delete("a"))
	if err := s.Delete("INBOX"); !errkind.Is(err, errkind.Invalid) {
		t.Fatal(err)
	}
	if got := names(t, s); got != "INBOX a a/b" || show(t, s, "a/b") != "0 3[k3]" {
		t.Fatal(got)
	}
	r := undelete(t, s, held.Request{})
	if len(r) != 1 || r[0].Mailbox != "a" || !r[0].Created || r[0].Messages != 2 || show(t, s, "a") != "0 1[k1], 0 2[k2]" {
		t.Fatalf("%+v %s", r, show(t, s, "a"))
	}
}

// Nobody can name what is hidden.
func TestHidden(t *testing.T) {
	disk, _ := newDisk()
	s := start(t, disk, week)
	add(t, s, "INBOX", 0, "1", "2")
	expunge(t, s, "INBOX", 1)
	mb, err := s.Open("INBOX")
	must(t, err)
	defer mb.Close()
	guid := mb.Info().GUID
	for _, name := range []string{held.Root, fmt.Sprintf("%s/%x", held.Root, guid[:]), held.Root + "/x"} {
		tries := map[string]error{}
		_, tries["lookup"] = s.Lookup(name)
		_, tries["status"] = s.Status(name, mailstore.StatusWant{})
		_, tries["open"] = s.Open(name)
		_, tries["append"] = s.Append(name)
		_, tries["create"] = s.Create(name, 0)
		_, tries["copy"] = mb.Copy(numset.Of(2), name)
		_, tries["move"] = mb.Move(numset.Of(2), name)
		tries["delete"] = s.Delete(name)
		tries["rename"] = s.Rename(name, "x")
		tries["rename to"] = s.Rename("INBOX", name)
		tries["subscribe"] = s.Subscribe(name, true)
		for what, err := range tries {
			if !errkind.Is(err, errkind.NotFound) && !errkind.Is(err, errkind.Invalid) {
				t.Errorf("%s of %s: %v", what, name, err)
			}
		}
	}
	if got := names(t, s); got != "INBOX" {
		t.Error(got)
	}
	if _, err := s.Create(held.Root+"s", 0); err != nil {
		t.Error(err)
	}
}

func sweep(t *testing.T, s *held.Store) (n int) {
	t.Helper()
	for range 100 {
		k, more, err := s.Sweep(context.Background())
		must(t, err)
		if n += k; !more {
			return n
		}
	}
	t.Fatal("the sweep never ends")
	return 0
}

func TestSweep(t *testing.T) {
	disk, clock := newDisk()
	s := start(t, disk, week)
	_, err := s.Create("box", 0)
	must(t, err)
	a, err := s.Append("box")
	must(t, err)
	for range 1100 {
		w, err := a.Add(mailstore.AppendMeta{}, -1)
		must(t, err)
		_, err = io.WriteString(w, "many\r\n")
		must(t, err)
	}
	_, err = a.Commit()
	must(t, err)
	mb, err := s.Open("box")
	must(t, err)
	if gone, err := mb.Expunge(numset.Span(1, 1100)); err != nil || gone.Len() != 1100 {
		t.Fatal(gone, err)
	}
	mb.Close()
	add(t, s, "INBOX", 0, "1", "2")
	clock.Jump(100 * time.Hour)
	expunge(t, s, "INBOX", 1)
	if n := sweep(t, s); n != 0 {
		t.Fatalf("%d purged before their time", n)
	}
	clock.Jump(69 * time.Hour)
	if n, more, err := s.Sweep(context.Background()); n != 500 || !more || err != nil {
		t.Fatal(n, more, err)
	}
	if n := sweep(t, s); n != 600 {
		t.Fatalf("%d purged, not 600", n)
	}
	must(t, s.Delete("box"))
	sweep(t, s)
	if got := hiddenFolders(t, s); got != 1 { // INBOX's
		t.Fatalf("%d hidden mailboxes", got)
	}
	if r := undelete(t, s, held.Request{}); len(r) != 1 || r[0].Mailbox != "INBOX" || r[0].Messages != 1 {
		t.Fatalf("%+v", r)
	}
	clock.Jump(200 * time.Hour)
	expunge(t, s, "INBOX", 2) // its hidden mailbox was kept
	if r := undelete(t, s, held.Request{DryRun: true}); len(r) != 1 {
		t.Fatalf("%+v", r)
	}
}

// Without a hold everything goes with the next sweep, folders too.
func TestNoHold(t *testing.T) {
	disk, clock := newDisk()
	s := start(t, disk, week)
	add(t, s, "INBOX", 0, "1", "2")
	expunge(t, s, "INBOX", 1)
	s = start(t, disk, held.Options{})
	expunge(t, s, "INBOX", 2)
	clock.Jump(time.Second)
	if n := sweep(t, s); n != 1 || hiddenFolders(t, s) != 0 {
		t.Fatalf("%d purged, %d hidden mailboxes", n, hiddenFolders(t, s))
	}
}

func hiddenFolders(t *testing.T, s *held.Store) int {
	list, err := s.Unwrap().List()
	must(t, err)
	return len(slices.DeleteFunc(list, func(f mailstore.Folder) bool {
		return !strings.HasPrefix(f.Name, held.Root+"/")
	}))
}

// Below the floor the oldest go first, and an expunge is for good.
func TestFloor(t *testing.T) {
	free := uint64(1 << 30)
	c := memfs.NewClock(time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC))
	disk := memfs.New(memfs.Options{Now: c.Now, Space: func() (uint64, uint64) { return free, 1 << 40 }})
	var log []string
	s := start(t, disk, held.Options{Hold: 168 * time.Hour, MinFree: 1000, Note: func(text string) { log = append(log, text) }})
	add(t, s, "INBOX", 0, "1", "2", "3")
	expunge(t, s, "INBOX", 1)
	if len(log) != 0 {
		t.Fatal(log)
	}
	free = 999
	expunge(t, s, "INBOX", 2)
	if len(log) != 1 || !strings.Contains(log[0], "mail_undelete_min_free") {
		t.Fatalf("%q", log)
	}
	free = 1000
	if r := undelete(t, s, held.Request{DryRun: true}); len(r) != 0 {
		t.Fatalf("below the floor messages stay held: %+v", r)
	}
	expunge(t, s, "INBOX", 3)
	free = 0
	if n := sweep(t, s); n != 1 {
		t.Fatalf("%d purged", n)
	}
}

// A full disk can always be emptied, also where it says so only when written to.
func TestFullDisk(t *testing.T) {
	for k := 1; ; k++ {
		disk, _ := newDisk()
		s := start(t, disk, week)
		add(t, s, "INBOX", 0, "1", "2", "3")
		must(t, s.Close())
		f := faultfs.New(disk)
		p := start(t, f, held.Options{Hold: 168 * time.Hour})
		mb, err := p.Open("INBOX")
		must(t, err)
		f.FailAt(f.Ops()+k, 1, syscall.ENOSPC)
		gone, err := mb.Expunge(numset.Of(1, 3))
		if f.Failed() == "" {
			must(t, err)
			return
		}
		if err != nil && !errkind.Is(err, errkind.NoSpace) || err == nil && gone.Len() != 2 {
			t.Fatalf("operation %d (%s): expunged %s, %v", k, f.Failed(), gone, err)
		}
		f.FailAt(0, 0, nil)
		if _, err := mb.Expunge(numset.Of(1, 3)); err != nil {
			t.Fatal(err)
		}
		if got := show(t, p, "INBOX"); got != "0 2[k2]" {
			t.Fatalf("operation %d: INBOX holds %s", k, got)
		}
	}
}

// noHold is a disk with no room for what a hold needs.
type noHold struct{ vfs.FS }

func (n *noHold) OpenFile(path string, flag vfs.Flag, perm fs.FileMode) (vfs.File, error) {
	if strings.Contains(path, "rookery-held") {
		return nil, &fs.PathError{Op: "open", Path: path, Err: syscall.ENOSPC}
	}
	return n.FS.OpenFile(path, flag, perm)
}

func TestNoRoomToHold(t *testing.T) {
	disk, _ := newDisk()
	log := 0
	s := start(t, &noHold{disk}, held.Options{Hold: time.Hour, Note: func(string) { log++ }})
	_, err := s.Create("box", 0)
	must(t, err)
	add(t, s, "box", 0, "1", "2")
	expunge(t, s, "box", 1)
	if got := show(t, s, "box"); got != "0 2[k2]" || log != 1 {
		t.Errorf("box holds %s, the log has %d lines", got, log)
	}
	if err := s.Delete("box"); err != nil || names(t, s) != "INBOX" {
		t.Error(err, names(t, s))
	}
}

// Whatever change a crash or power cut follows, each message is in its mailbox,
// or held under its mailbox's name, and in one of them.
func TestCutAfterEach(t *testing.T) {
	for _, power := range []bool{false, true} {
		for k := 1; ; k++ {
			disk, clock := newDisk()
			s := start(t, disk, week)
			_, err := s.Create("box", 0)
			must(t, err)
			add(t, s, "box", mailstore.Flagged, "1", "2", "3")
			must(t, s.Close())
			base := disk.Survive(memfs.Kept, 0)
			f := faultfs.New(base)
			f.CutAfter(k, memfs.Torn, uint64(k))
			if p, err := open(f, week); err == nil {
				if mb, err := p.Open("box"); err == nil {
					_, _ = mb.Expunge(numset.Of(1, 2))
					mb.Close()
				}
				_ = p.Delete("box")
			}
			if !f.Dead() {
				break
			}
			after := base
			if power {
				after = f.Survivor(memfs.Torn, uint64(k))
			} else {
				f.Kill()
			}
			clock.Jump(time.Hour)
			q := start(t, after, week)
			undelete(t, q, held.Request{})
			got := strings.Split(show(t, q, "box"), ", ")
			slices.Sort(got)
			// A copy that was cut before it had its UID may come back beside its original.
			if n := len(got); n == 4 && got[2] == got[3] {
				got = got[:3]
			}
			fl := int(mailstore.Flagged)
			if want := fmt.Sprintf("[%d 1[k1] %d 2[k2] %d 3[k3]]", fl, fl, fl); fmt.Sprint(got) != want {
				t.Fatalf("power %v, change %d: box holds %v, want %s\n%s", power, k, got, want, after.Dump())
			}
			if got := names(t, q); got != "INBOX box" {
				t.Fatalf("power %v, change %d: LIST shows %s", power, k, got)
			}
		}
	}
}

// It works with any driver.
func TestMemstore(t *testing.T) {
	disk, _ := newDisk()
	s := held.Wrap(memstore.New(memstore.Options{Now: disk.Now}), held.Options{FS: disk, Hold: time.Hour})
	add(t, s, "INBOX", 0, "1", "2")
	expunge(t, s, "INBOX", 2)
	if r := undelete(t, s, held.Request{}); len(r) != 1 || r[0].Messages != 1 {
		t.Fatalf("%+v", r)
	}
	mb, err := s.Open("INBOX")
	must(t, err)
	if snap := mb.Snapshot(); snap.Len() != 2 || snap.At(1).UID != 3 {
		t.Fatal(snap.Len())
	}
}
