package remote

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"rookery/internal/ipc"
	"rookery/internal/mailstore"
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
