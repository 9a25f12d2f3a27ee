package remote

import (
	"context"
	"fmt"
	"testing"

	"rookery/internal/acl"
	"rookery/internal/ipc"
	"rookery/internal/mailstore"
)

// relay stands between the two ends and notes the messages, both ways.
type relay struct {
	up, down *ipc.Conn
	seen     chan string
}

// relayed connects a client to a store through a relay.
func relayed(t testing.TB, store mailstore.Sharer) (*Client, *relay) {
	t.Helper()
	owner, between := pair(t)
	far, guest := pair(t)
	served := make(chan error, 1)
	go func() { served <- Serve(context.Background(), owner, store, ServeOptions{}) }()
	up, err := ipc.NewConn(between, Protocol, ipc.FromClient)
	must(t, err)
	down, err := ipc.NewConn(far, Protocol, ipc.FromServer)
	must(t, err)
	r := &relay{up, down, make(chan string, 1000)}
	over := make(chan struct{}, 2)
	pass := func(from, to *ipc.Conn, name string) {
		defer func() { to.Close(); over <- struct{}{} }()
		for {
			m, _, err := from.Recv()
			if err != nil {
				return
			}
			switch m := m.(type) {
			case *Ping, *Pong: // they come by the clock
			case *Call:
				r.seen <- fmt.Sprintf("%s call %d", name, m.Op)
			case *Answer:
				r.seen <- fmt.Sprintf("%s answer %v of %d octets", name, m.Kind, len(m.Data))
			default:
				r.seen <- fmt.Sprintf("%s %T", name, m)
			}
			if to.Send(m, -1) != nil {
				return
			}
		}
	}
	go pass(up, down, "owner:")
	go pass(down, up, "guest:")
	c, err := NewClient(guest, ClientOptions{Usable: usable})
	must(t, err)
	t.Cleanup(func() {
		c.Close()
		<-over
		<-over
		<-served
	})
	return c, r
}

// take gives the messages since the last call. The answer to a call is the last.
func (r *relay) take() (out []string) {
	for {
		select {
		case m := <-r.seen:
			out = append(out, m)
		default:
			return out
		}
	}
}

// Whoever lacks l tells a mailbox from one that is not there by no message either: the
// same go to and fro.
func TestHiddenMessages(t *testing.T) {
	noneLeft(t)
	store := granted(t, acl.All&^acl.Lookup)
	c, r := relayed(t, asGuest(t, store, "bob"))
	for _, q := range requests {
		r.take()
		hidden := q.do(c, "Box")
		first := fmt.Sprint(r.take())
		nothing := q.do(c, "Nil")
		if second := fmt.Sprint(r.take()); first != second || fmt.Sprint(hidden) != fmt.Sprint(nothing) {
			t.Errorf("%s: %v by %s\nof what is not there: %v by %s", q.name, hidden, first, nothing, second)
		}
	}
}
