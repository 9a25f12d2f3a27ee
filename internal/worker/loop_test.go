package worker

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/ipc"
	"rookery/internal/ipc/workermsg"
	"rookery/internal/maillog"
	"rookery/internal/settings"
)

// guestServer serves guests until they must go.
type guestServer struct {
	came    chan *Guest
	changed chan struct{}
}

func (guestServer) Serve(*Session)   {}
func (guestServer) Wake()            {}
func (guestServer) Close()           {}
func (s guestServer) SharesChanged() { s.changed <- struct{}{} }
func (s guestServer) Guest(g *Guest) {
	s.came <- g
	<-g.End
	unix.Close(g.FD)
}

// noGuests is a server of sessions alone.
type noGuests struct{}

func (noGuests) Serve(*Session) {}
func (noGuests) Wake()          {}
func (noGuests) Close()         {}

// running is a loop with the test as its master.
func running(t *testing.T, server Server) (master *ipc.Conn, done <-chan error) {
	t.Helper()
	ours, theirs, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	master, err = ipc.NewConn(ours, workermsg.Protocol, ipc.FromServer)
	if err != nil {
		t.Fatal(err)
	}
	ctl, err := ipc.NewConn(theirs, workermsg.Protocol, ipc.FromClient)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close(); ctl.Close() })
	set := settings.New()
	settings.WorkerIdleKillInterval.Put(set, time.Hour)
	host := &Host{Log: maillog.Discard(), Settings: set, sharing: newSharing(func(m ipc.Message) error { return ctl.Send(m, -1) }, func(string) {})}
	over := make(chan error, 1)
	go func() { over <- newLoop(host, "imap", ctl, server).run() }()
	return master, over
}

func tell(t *testing.T, master *ipc.Conn, m ipc.Message, fd int) {
	t.Helper()
	if err := master.Send(m, fd); err != nil {
		t.Fatal(err)
	}
}

// heard is the worker's next message.
func heard(t *testing.T, master *ipc.Conn) ipc.Message {
	t.Helper()
	master.SetReadDeadline(time.Now().Add(20 * time.Second))
	m, _, err := master.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func ended(t *testing.T, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("the worker does not end")
		return nil
	}
}

// A guest keeps the process as a session does, goes when he is told to, and his end
// is told.
func TestGuestInLoop(t *testing.T) {
	s := guestServer{make(chan *Guest, 1), make(chan struct{}, 1)}
	master, done := running(t, s)
	guest := func(id uint64) *Guest {
		a, b, err := ipc.Pair()
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(a)
		defer unix.Close(b)
		tell(t, master, &workermsg.Guest{ID: id, User: "bob", Groups: []string{"staff"}}, a)
		return <-s.came
	}
	if g := guest(7); g.ID != 7 || g.User != "bob" || fmt.Sprint(g.Groups) != "[staff]" || ipc.CheckFD(g.FD, ipc.FDPacket) != nil {
		t.Errorf("%+v", g)
	}
	tell(t, master, &workermsg.MayExit{}, -1) // it may not, and stays
	tell(t, master, &workermsg.SharesChanged{}, -1)
	<-s.changed
	tell(t, master, &workermsg.Kick{ID: 6, Text: "another"}, -1)
	tell(t, master, &workermsg.Kick{ID: 7, Text: "go"}, -1)
	if m, ok := heard(t, master).(*workermsg.GuestEnded); !ok || m.ID != 7 {
		t.Errorf("%+v", m)
	}
	guest(8)
	tell(t, master, &workermsg.Shutdown{Within: time.Minute}, -1)
	if m, ok := heard(t, master).(*workermsg.GuestEnded); !ok || m.ID != 8 {
		t.Errorf("%+v", m)
	}
	if err := ended(t, done); err != nil {
		t.Error(err)
	}
}

func TestGuestOfNoServer(t *testing.T) {
	master, done := running(t, noGuests{})
	a, b, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(a)
	defer unix.Close(b)
	tell(t, master, &workermsg.SharesChanged{}, -1) // does not concern it
	tell(t, master, &workermsg.Guest{ID: 7, User: "bob"}, a)
	if ended(t, done) == nil {
		t.Error("a guest was taken where none is served")
	}
}
