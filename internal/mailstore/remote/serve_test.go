package remote

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/memstore"
	"rookery/internal/numset"
)

// shared is ann's store: Box for bob with all rights, Look for reading, Mine for nobody.
func shared(t testing.TB) *memstore.Store {
	t.Helper()
	s := newStore()
	for _, name := range []string{"Box", "Look", "Mine"} {
		_, err := s.Create(name, 0)
		must(t, err)
		add(t, s, name, "Subject: one\r\n\r\none of "+name+"\r\n", "Subject: two\r\n\r\ntwo of "+name+"\r\n")
	}
	give(t, s, "Box", "user=bob lrswipkxtea")
	give(t, s, "Look", "user=bob lr")
	return s
}

func open(t testing.TB, s mailstore.Store, name mailstore.Name) mailstore.Mailbox {
	t.Helper()
	mb, err := s.Open(name)
	must(t, err)
	return mb
}

func text(t testing.TB, mb mailstore.Mailbox, uid mailstore.UID) string {
	t.Helper()
	m, err := mb.Message(uid)
	must(t, err)
	defer m.Close()
	b, err := io.ReadAll(io.NewSectionReader(m, 0, m.Size()))
	must(t, err)
	return string(b)
}

// after waits for something that comes in its own time.
func after(t testing.TB, what string, is func() bool) {
	t.Helper()
	for range 2000 {
		if is() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("never: " + what)
}

// settled is the number of goroutines once those that are about to end have.
func noneLeft(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		after(t, "all goroutines end", func() bool { return runtime.NumGoroutine() <= before })
	})
}

// What the owner's end says about changes comes by itself, in open mailboxes and
// elsewhere.
func TestChangesAreTold(t *testing.T) {
	noneLeft(t)
	store := shared(t)
	wake, told := make(chan struct{}, 1), make(chan struct{}, 8)
	s := serve(t, asGuest(t, store, "bob"), ServeOptions{Wake: wake, Limits: Limits{Pause: time.Millisecond}},
		ClientOptions{Changed: func() { told <- struct{}{} }})
	mb := open(t, s, "Box")
	c := make(chan struct{}, 1)
	defer mb.Watch(c)()
	add(t, store, "Box", "three\r\n")
	<-c
	if n := mb.Snapshot().Len(); n != 3 {
		t.Errorf("%d messages after the word of a change", n)
	}
	own := open(t, store, "Box")
	for range 20 { // each change is told, however fast they come, or one that comes later
		_, err := own.Store(mailstore.FlagChange{UIDs: numset.Of(1), Op: mailstore.AddFlags, Flags: mailstore.Seen})
		must(t, err)
		_, err = own.Store(mailstore.FlagChange{UIDs: numset.Of(1), Op: mailstore.RemoveFlags, Flags: mailstore.Seen})
		must(t, err)
	}
	after(t, "the last of many changes is there", func() bool { return mb.Snapshot().HighestModSeq() == own.Snapshot().HighestModSeq() })
	add(t, store, "Mine", "three\r\n")
	for range 3 {
		wake <- struct{}{}
		<-told
	}
	must(t, mb.Close())
	s.stop()
	must(t, s.err)
}

// The owner's worker hears what the guest did.
func TestOwnerHears(t *testing.T) {
	changed, lists := make(chan struct{}, 100), make(chan struct{}, 100)
	s := serve(t, asGuest(t, shared(t), "bob"), ServeOptions{Changed: func() { changed <- struct{}{} }, SharesChanged: func() { lists <- struct{}{} }}, ClientOptions{})
	is := func(what string, mail, list int) {
		t.Helper()
		if len(changed) != mail || len(lists) != list {
			t.Errorf("%s: told of %d changes and %d of lists, want %d, %d", what, len(changed), len(lists), mail, list)
		}
		for len(changed)+len(lists) > 0 {
			select {
			case <-changed:
			case <-lists:
			}
		}
	}
	mb := open(t, s, "Box")
	_, err := mb.Sync()
	must(t, err)
	text(t, mb, 1)
	is("a look", 0, 0)
	_, err = mb.Store(mailstore.FlagChange{UIDs: numset.Of(1), Op: mailstore.AddFlags, Flags: mailstore.Seen})
	must(t, err)
	is("store", 1, 0)
	add(t, s, "Box", "x\r\n")
	is("append", 1, 0)
	_, err = s.Create("Box/new", 0)
	must(t, err)
	is("create", 1, 1)
	must(t, s.SetACL("Box", acl.ID{Kind: acl.User, Name: "carol"}, acl.Change{Rights: acl.Read}))
	is("setacl", 1, 1)
}

// Every call is Unavailable once the channel has ended, those under way too, and what
// was begun leaves nothing.
func TestEnd(t *testing.T) {
	noneLeft(t)
	store := shared(t)
	for _, how := range []string{"the guest goes", "the owner's end goes"} {
		s := serve(t, asGuest(t, store, "bob"), ServeOptions{}, ClientOptions{})
		mb := open(t, s, "Box")
		add(t, store, "Look", strings.Repeat("x", 600_000))
		look := open(t, s, "Look")
		_, snap, err := mailstore.Look(s, "Look")
		must(t, err)
		m, err := look.Message(snap.At(snap.Len() - 1).UID)
		must(t, err)
		if _, err := m.ReadAt(make([]byte, 100_000), 0); err != nil {
			t.Fatal(err)
		}
		app, err := s.Append("Box")
		must(t, err)
		w, err := app.Add(mailstore.AppendMeta{}, -1)
		must(t, err)
		_, err = w.Write(make([]byte, 100_000))
		must(t, err)
		before := mb.Snapshot()
		woken := make(chan struct{}, 1)
		defer mb.Watch(woken)()
		if how == "the guest goes" {
			s.Client.Close()
		} else {
			s.end()
		}
		<-s.over
		<-s.Done()
		if s.err != nil || s.Err() != nil {
			t.Errorf("%s: %v, %v", how, s.err, s.Err())
		}
		<-woken
		_, commitErr := app.Commit()
		_, syncErr := mb.Sync()
		_, listErr := s.List()
		_, readErr := m.ReadAt(make([]byte, 1), 599_999)
		_, openErr := s.Open("Box")
		for i, err := range []error{commitErr, syncErr, listErr, readErr, openErr, s.Delete("Box")} {
			if !errkind.Is(err, errkind.Unavailable) {
				t.Errorf("%s: call %d: %v", how, i, err)
			}
		}
		if mb.Snapshot() != before || mb.Info().Name != "Box" {
			t.Errorf("%s: the last picture went", how)
		}
		app.Abort()
		m.Close()
		must(t, mb.Close())
		st, err := store.Status("Box", mailstore.StatusWant{})
		if must(t, err); st.Messages != 2 {
			t.Errorf("%s: the box has %d messages", how, st.Messages)
		}
	}
}

// stuck is a store whose List waits.
type stuck struct {
	mailstore.Sharer
	entered, leave chan struct{}
}

func (s *stuck) List() ([]mailstore.Folder, error) {
	close(s.entered)
	<-s.leave
	return s.Sharer.List()
}

// A call that the owner's end is still at ends with the channel, and one that takes too
// long ends it.
func TestUnderWay(t *testing.T) {
	noneLeft(t)
	for _, timeout := range []time.Duration{time.Hour, 20 * time.Millisecond} {
		hang := &stuck{asGuest(t, shared(t), "bob"), make(chan struct{}), make(chan struct{})}
		s := serve(t, hang, ServeOptions{}, ClientOptions{Timeout: timeout})
		errs := make(chan error)
		go func() { _, err := s.List(); errs <- err }()
		<-hang.entered
		if timeout == time.Hour {
			if _, err := s.Lookup("Box"); err != nil {
				t.Errorf("another call waits: %v", err)
			}
			s.Client.Close()
		}
		if err := <-errs; !errkind.Is(err, errkind.Unavailable) {
			t.Error(err)
		}
		close(hang.leave)
		<-s.over
		if (s.Err() == nil) != (timeout == time.Hour) {
			t.Error(s.Err())
		}
	}
}

// Large arguments and answers come in parts.
func TestParts(t *testing.T) {
	store := newStore()
	// UIDs far apart: a set of them has many ranges, of four bytes each.
	const n, apart = 17_000, 20_000
	a, err := store.Append("INBOX")
	must(t, err)
	var all numset.Set
	for i := range n {
		uid := mailstore.UID(i+1) * apart
		w, err := a.Add(mailstore.AppendMeta{UID: uid}, 1)
		must(t, err)
		w.Write([]byte("x"))
		all.Add(uid)
	}
	_, err = a.Commit()
	must(t, err)
	_, err = store.Create("Other", 0)
	must(t, err)
	s := serve(t, asOwner(t, store), ServeOptions{}, ClientOptions{})
	mb := open(t, s, "INBOX")
	if mb.Snapshot().Len() != n {
		t.Fatal(mb.Snapshot().Len())
	}
	// Two parts of arguments, and of answers.
	r, err := mb.Store(mailstore.FlagChange{UIDs: all, Op: mailstore.AddFlags, Flags: mailstore.Seen})
	if err != nil || !r.Changed.Equal(all) {
		t.Fatal(err, len(r.Changed.Ranges()))
	}
	moved, err := mb.Move(all, "Other")
	if err != nil || len(moved.From) != n || len(moved.To) != n || !numset.FromSorted(moved.From).Equal(all) {
		t.Fatal(err, len(moved.From))
	}
	gone, complete, err := mb.ExpungedSince(1 << 40)
	if err != nil || !gone.Empty() || !complete {
		t.Fatal(err, gone, complete)
	}
	if gone, _, err = mb.ExpungedSince(1); err != nil || !gone.Equal(all) {
		t.Fatal(err, len(gone.Ranges()))
	}
	if l := mb.Snapshot().Len(); l != 0 {
		t.Fatal(l)
	}
	var wide numset.Set
	for u := uint32(1); u < 1<<32-1-1<<10; u += 1 << 10 {
		wide.Add(u)
	}
	if _, err := mb.Expunge(wide); !errkind.Is(err, errkind.Limit) {
		t.Errorf("more than a call holds: %v", err)
	}
	if _, err := mb.Sync(); err != nil {
		t.Error(err)
	}
	var names []string
	for i := range 4000 {
		name := fmt.Sprintf("a mailbox with a long name, one of many, number %d", i)
		names = append(names, name)
		_, err := store.Create(name, 0)
		must(t, err)
	}
	list, err := s.List()
	if err != nil || len(list) != len(names)+2 {
		t.Fatal(err, len(list))
	}
}

// Bodies come in pieces, in any order, and nothing is read of a message that is whole.
func TestBodies(t *testing.T) {
	store := newStore()
	var all []string
	for i := range 40 {
		all = append(all, strings.Repeat(fmt.Sprintf("message %d\r\n", i), 1+i*i*4))
	}
	all = append(all, strings.Repeat("0123456789abcdef", 1<<16))
	add(t, store, "INBOX", all...)
	s := serve(t, asOwner(t, store), ServeOptions{}, ClientOptions{})
	mb := open(t, s, "INBOX")
	for i, want := range all {
		if got := text(t, mb, mailstore.UID(i+1)); got != want {
			t.Fatalf("message %d has %d octets, want %d", i+1, len(got), len(want))
		}
	}
	m, err := mb.Message(mailstore.UID(len(all)))
	must(t, err)
	defer m.Close()
	want := all[len(all)-1]
	for _, off := range []int{1 << 20, 1<<20 - 5, 500_000, 0, 60_000, 200_000, 3} {
		p := make([]byte, 130_000)
		n, err := m.ReadAt(p, int64(off))
		end := min(off+len(p), len(want))
		if string(p[:n]) != want[off:end] || (err == io.EOF) != (off+len(p) > len(want)) {
			t.Errorf("from %d: %d octets, %v", off, n, err)
		}
	}
	if _, _, ok := m.File(); ok {
		t.Error("a descriptor came over the channel")
	}
	small, err := mb.Message(1)
	must(t, err)
	if string(mailstore.Bytes(small)) != all[0] {
		t.Error("a small message is not here as a whole")
	}
}

// A guest may have only so much.
func TestLimits(t *testing.T) {
	store := shared(t)
	add(t, store, "Box", strings.Repeat("x", 100_000))
	s := serve(t, asGuest(t, store, "bob"), ServeOptions{Limits: Limits{Boxes: 2, Messages: 2, Appenders: 2, Append: 10_000}}, ClientOptions{})
	twice := func(what string, do func() (io.Closer, error)) {
		t.Helper()
		for round := range 2 { // what is closed can be had again
			var held []io.Closer
			for i := range 3 {
				c, err := do()
				if want := i == 2; errkind.Is(err, errkind.Limit) != want || (err != nil) != want {
					t.Errorf("%s %d in round %d: %v", what, i+1, round+1, err)
				}
				if err == nil {
					held = append(held, c)
				}
			}
			for _, c := range held {
				must(t, c.Close())
			}
		}
	}
	twice("mailbox", func() (io.Closer, error) { return s.Open("Box") })
	mb := open(t, s, "Box")
	twice("message", func() (io.Closer, error) { return mb.Message(3) })
	twice("appender", func() (io.Closer, error) {
		a, err := s.Append("Box")
		return closer{a}, err
	})
	a, err := s.Append("Box")
	must(t, err)
	w, err := a.Add(mailstore.AppendMeta{}, -1)
	must(t, err)
	_, err = w.Write(make([]byte, 9000))
	must(t, err)
	if _, err := a.Commit(); !errkind.Is(err, errkind.TooBig) {
		t.Errorf("more octets than a guest may append: %v", err)
	}
	a.Abort()
	add(t, s, "Box", strings.Repeat("y", 8000))
	add(t, s, "Box", strings.Repeat("y", 8000)) // what was committed does not count
}

type closer struct{ mailstore.Appender }

func (c closer) Close() error { c.Abort(); return nil }

// secrets is a store whose errors tell paths.
type secrets struct{ mailstore.Sharer }

var errSecret = errors.New("open /home/ann/Maildir/cur/1700000000.M1P1.host,S=5: input/output error")

func (s secrets) List() ([]mailstore.Folder, error) {
	return nil, errkind.New("list", errkind.IO, errSecret)
}

// Of an error its kind comes over; its text stays with the owner.
func TestErrors(t *testing.T) {
	var op string
	var told error
	s := serve(t, secrets{asGuest(t, shared(t), "bob")}, ServeOptions{Failed: func(o string, err error) { op, told = o, err }}, ClientOptions{})
	_, err := s.List()
	if !errkind.Is(err, errkind.IO) || strings.Contains(err.Error(), "/") || strings.Contains(err.Error(), "host") {
		t.Errorf("the guest is told %v", err)
	}
	s.stop()
	if op != "list" || !errors.Is(told, errSecret) {
		t.Errorf("the owner is told %q %v", op, told)
	}
}
