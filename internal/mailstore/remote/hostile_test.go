package remote

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"rookery/internal/ipc"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/numset"
	"rookery/internal/vfs"
	"rookery/internal/vfs/faultfs"
	"rookery/internal/vfs/memfs"
)

// raw is a guest of a test's own making.
func raw(t testing.TB, store mailstore.Sharer, opt ServeOptions) (conn *ipc.Conn, served chan error) {
	t.Helper()
	owner, guest := pair(t)
	served = make(chan error, 1)
	go func() { served <- Serve(context.Background(), owner, store, opt) }()
	conn, err := ipc.NewConn(guest, Protocol, ipc.FromClient)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn, served
}

func mustEncode(t testing.TB, f fields) []byte {
	t.Helper()
	b, err := encode(f)
	must(t, err)
	return b
}

// A guest who breaks a rule is gone, with an error that names it.
func TestHostileGuest(t *testing.T) {
	noneLeft(t)
	for _, c := range []struct {
		name string
		want string
		send []ipc.Message
	}{
		{"a call that is none", "call 0 is unknown", []ipc.Message{&Call{ID: 1}}},
		{"a call that is none", "call 200 is unknown", []ipc.Message{&Call{ID: 1, Op: 200}}},
		{"arguments that are cut", `call "status": `, []ipc.Message{&Call{ID: 1, Op: uint8(opStatus), Data: []byte{9}}}},
		{"bytes left over", "1 bytes are left over", []ipc.Message{&Call{ID: 1, Op: uint8(opList), Data: []byte{9}}}},
		{"more of nothing", "more of an answer", []ipc.Message{&More{ID: 1}}},
		{"a word that was not said", "was not said", []ipc.Message{&Heard{}}},
		{"an empty part", "more arguments", []ipc.Message{&Part{ID: 1}}},
	} {
		conn, served := raw(t, asGuest(t, shared(t), "bob"), ServeOptions{})
		for _, m := range c.send {
			must(t, conn.Send(m, -1))
		}
		if err := <-served; err == nil || !errors.Is(err, errRules) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	// Arguments without an end.
	conn, served := raw(t, asGuest(t, shared(t), "bob"), ServeOptions{})
	for conn.Send(&Part{ID: 1, Data: make([]byte, maxPart)}, -1) == nil {
	}
	if err := <-served; !errors.Is(err, errRules) {
		t.Error(err)
	}
	// More calls than may be under way.
	hang := &stuck{asGuest(t, shared(t), "bob"), make(chan struct{}), make(chan struct{})}
	conn, served = raw(t, hang, ServeOptions{})
	must(t, conn.Send(&Call{ID: 1, Op: uint8(opList)}, -1))
	<-hang.entered
	must(t, conn.Send(&Call{ID: 1, Op: uint8(opQuota)}, -1))
	for err := error(nil); err == nil; { // until the channel has ended
		_, _, err = conn.Recv()
	}
	close(hang.leave)
	if err := <-served; err == nil || !strings.Contains(err.Error(), "under way") {
		t.Error(err)
	}
}

// A guest who does not read is gone after a time, and holds up nobody.
func TestGuestWhoDoesNotRead(t *testing.T) {
	noneLeft(t)
	store := shared(t)
	conn, served := raw(t, asGuest(t, store, "bob"), ServeOptions{Limits: Limits{Patience: 30 * time.Millisecond}})
	must(t, conn.Send(&Call{ID: 1, Op: uint8(opOpen), Data: mustEncode(t, &named{"Box"})}, -1))
	if err := <-served; err == nil || !strings.Contains(err.Error(), "does not read") {
		t.Error(err)
	}
	// One who asks and asks is gone before that.
	add(t, store, "Box", strings.Repeat("x", 100_000))
	conn, served = raw(t, asGuest(t, store, "bob"), ServeOptions{})
	must(t, conn.Send(&Call{ID: 1, Op: uint8(opOpen), Data: mustEncode(t, &named{"Box"})}, -1))
	must(t, conn.Send(&Call{ID: 2, Op: uint8(opMessage), Data: mustEncode(t, &opening{Box: 1, UID: 3})}, -1))
	var err error
	for id := uint32(3); err == nil; id++ {
		select {
		case err = <-served:
		default:
			conn.Send(&Call{ID: id, Op: uint8(opRead), Data: mustEncode(t, &readingAt{2, 0, maxChunk})}, -1)
			time.Sleep(time.Millisecond)
		}
		if id > 2000 {
			t.Fatal("a guest who does not read can ask for ever")
		}
	}
	if !strings.Contains(err.Error(), "does not read") && !strings.Contains(err.Error(), "too many are") {
		t.Error(err)
	}
}

// ask makes a call and gives its answer.
func ask(t testing.TB, conn *ipc.Conn, id uint32, o op, args fields) *Answer {
	t.Helper()
	must(t, conn.Send(&Call{ID: id, Op: uint8(o), Data: mustEncode(t, args)}, -1))
	for {
		m, _, err := conn.Recv()
		must(t, err)
		if a, is := m.(*Answer); is {
			return a
		}
	}
}

// A picture that a guest does not hear to its end is not built upon.
func TestPictureCutShort(t *testing.T) {
	store := newStore()
	const n = 20_000
	a, err := store.Append("INBOX")
	must(t, err)
	for range n {
		w, err := a.Add(mailstore.AppendMeta{}, 1)
		must(t, err)
		w.Write([]byte("x"))
	}
	_, err = a.Commit()
	must(t, err)
	conn, _ := raw(t, asOwner(t, store), ServeOptions{})
	if a := ask(t, conn, 1, opOpen, &named{"INBOX"}); a.Failed {
		t.Fatal(a.Kind)
	}
	var first, second picture
	must(t, decode(ask(t, conn, 2, opPicture, &picturing{Box: 1}).Data, &first))
	if !first.More || first.Base != 0 || first.Len != n {
		t.Fatalf("%+v", first)
	}
	if a := ask(t, conn, 3, opPicture, &picturing{Box: 1, Have: first.No + 1, More: true}); !a.Failed {
		t.Error("more of a picture that is not under way")
	}
	must(t, decode(ask(t, conn, 4, opPicture, &picturing{Box: 1, Have: first.No}).Data, &second))
	if second.Base != 0 || !second.More || len(second.Steps) < stepBytes {
		t.Errorf("the picture is built upon one that was cut short: %d, %d bytes", second.Base, len(second.Steps))
	}
	have := second.No
	for more := true; more; {
		var rest furtherSteps
		must(t, decode(ask(t, conn, 5, opPicture, &picturing{Box: 1, Have: have, More: true}).Data, &rest))
		more = rest.More
	}
	var third, fourth picture
	must(t, decode(ask(t, conn, 6, opPicture, &picturing{Box: 1, Have: have}).Data, &third))
	if third.Base != have || len(third.Steps) > 8 || third.Tells {
		t.Errorf("%+v", third)
	}
	// Nor is one that was told by another.
	own := open(t, store, "INBOX")
	_, err = own.Store(mailstore.FlagChange{UIDs: numset.Span(1, n), Op: mailstore.AddFlags, Flags: mailstore.Seen})
	must(t, err)
	var cut, again picture
	must(t, decode(ask(t, conn, 8, opPicture, &picturing{Box: 1, Have: third.No}).Data, &cut))
	must(t, decode(ask(t, conn, 9, opPicture, &picturing{Box: 1, Have: cut.No}).Data, &again))
	if cut.Base != third.No || !cut.More || again.Base != 0 {
		t.Errorf("told by %d, cut short, and then by %d", cut.Base, again.Base)
	}
	// One who says that he has another is told all.
	must(t, decode(ask(t, conn, 7, opPicture, &picturing{Box: 1, Have: have}).Data, &fourth))
	if fourth.Base != 0 || !fourth.Tells {
		t.Errorf("%+v", fourth)
	}
}

// A guest who does not say that he has heard of a change is not told of more of them,
// and then at once.
func TestHeard(t *testing.T) {
	store := shared(t)
	wake := make(chan struct{})
	conn, served := raw(t, asGuest(t, store, "bob"), ServeOptions{Wake: wake, Limits: Limits{Pause: time.Nanosecond}})
	if a := ask(t, conn, 1, opOpen, &named{"Box"}); a.Failed {
		t.Fatal(a.Kind)
	}
	own := open(t, store, "Box")
	// told counts words until an answer; what a call changes is told before that.
	told := func(id uint32, o op, args fields) (n int) {
		t.Helper()
		must(t, conn.Send(&Call{ID: id, Op: uint8(o), Data: mustEncode(t, args)}, -1))
		for {
			m, _, err := conn.Recv()
			must(t, err)
			switch m.(type) {
			case *Changed:
				n++
			case *Answer:
				return n
			}
		}
	}
	flip := func(id uint32) int {
		t.Helper()
		op := mailstore.AddFlags
		if id%2 == 0 {
			op = mailstore.RemoveFlags
		}
		return told(id, opStore, &storing{1, mailstore.FlagChange{UIDs: numset.Of(1), Op: op, Flags: mailstore.Flagged}})
	}
	for id, want := range []int{3: 1, 4: 0, 5: 0} {
		if got := 0; id > 2 {
			if got = flip(uint32(id)); got != want {
				t.Errorf("change %d: %d words, want %d", id, got, want)
			}
		}
	}
	must(t, conn.Send(&Heard{Box: 1}, -1)) // there were more meanwhile: once again
	if got := told(6, opList, &none{}); got != 1 {
		t.Errorf("%d words after the first was heard", got)
	}
	must(t, conn.Send(&Heard{Box: 1}, -1))
	if got := told(7, opList, &none{}); got != 0 {
		t.Errorf("%d words of nothing", got)
	}
	if got := flip(8); got != 1 {
		t.Errorf("%d words of a new change", got)
	}
	wake <- struct{}{}
	wake <- struct{}{}
	wake <- struct{}{}
	if got := told(10, opStatus, &asking{"Box", false}); got > 1 {
		t.Errorf("%d words of the store", got)
	}
	own.Close()
	conn.Close()
	must(t, <-served)
}

// What a guest has open and begun is closed with his channel, in the owner's process and
// on his disk.
func TestNothingStays(t *testing.T) {
	noneLeft(t)
	clock := memfs.NewClock(time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC))
	disk := faultfs.New(memfs.New(memfs.Options{Now: clock.Now}))
	store, err := maildir.Open(maildir.Options{FS: disk, MailPath: "mail", Host: "test.example"})
	must(t, err)
	add(t, store, "INBOX", strings.Repeat("x", 300_000))
	s := serve(t, asOwner(t, store), ServeOptions{}, ClientOptions{})
	mb := open(t, s, "INBOX")
	_, err = mb.Message(1)
	must(t, err)
	for range 2 {
		app, err := s.Append("INBOX")
		must(t, err)
		w, err := app.Add(mailstore.AppendMeta{}, -1)
		must(t, err)
		_, err = w.Write(make([]byte, 500_000))
		must(t, err)
	}
	s.stop()
	must(t, s.err)
	files := 0
	must(t, disk.ReadDir("mail/tmp", func(vfs.DirEntry) bool { files++; return true }))
	if files != 0 {
		t.Errorf("%d files of messages that nobody appended are left", files)
	}
	must(t, store.Close())
	if n := disk.OpenFiles(); n != 0 {
		t.Errorf("%d files are open", n)
	}
}
