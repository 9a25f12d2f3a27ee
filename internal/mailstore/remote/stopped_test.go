package remote

import (
	"errors"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// endless is a store whose transfers go on until they are broken off.
type endless struct {
	mailstore.Store
	begun chan struct{} // gets a send by each
	over  chan error
}

func (s *endless) Unwrap() mailstore.Store { return s.Store }

func (s *endless) Open(name mailstore.Name) (mailstore.Mailbox, error) {
	mb, err := s.Store.Open(name)
	return &endlessBox{mb, s}, err
}

type endlessBox struct {
	mailstore.Mailbox
	s *endless
}

func (b *endlessBox) Transfer(t mailstore.Transfer) (mailstore.CopyResult, error) {
	all := t.UIDs
	t.UIDs = all.Intersect(numset.Of(1))
	goOn := t.GoOn
	t.Stop = nil
	var res mailstore.CopyResult
	var err error
	if t.Move { // a step of it is done
		res, err = t.Of(b.Mailbox)
	}
	b.s.begun <- struct{}{}
	for err == nil {
		time.Sleep(time.Millisecond)
		err = goOn()
	}
	b.s.over <- err
	return res, errkind.Wrap(t.Name(), err)
}

func newEndless(t *testing.T) *endless {
	t.Helper()
	return &endless{Store: shared(t), begun: make(chan struct{}, 1), over: make(chan error, 1)}
}

// A guest who wants a transfer no more has it broken off at the owner's end, hears what
// was done by then, and goes on with the channel.
func TestGuestStops(t *testing.T) {
	noneLeft(t)
	store := newEndless(t)
	s := serve(t, asGuest(t, store, "bob"), ServeOptions{}, ClientOptions{})
	mb := open(t, s, "Box")
	enough := errors.New("enough")
	for _, move := range []bool{false, true} {
		begun := false
		res, err := mailstore.Transfer{UIDs: numset.Of(1, 2), To: "Box", Move: move, Stop: func() error {
			select {
			case <-store.begun:
				begun = true
			default:
			}
			if begun {
				return enough
			}
			return nil
		}}.Of(mb)
		if !errors.Is(err, mailstore.ErrStopped) || !errors.Is(err, enough) {
			t.Errorf("the guest is told %v", err)
		}
		if err := <-store.over; !errors.Is(err, mailstore.ErrStopped) {
			t.Errorf("the owner's end was told %v", err)
		}
		if got, want := len(res.From), map[bool]int{true: 1}[move]; got != want || len(res.To) != want {
			t.Errorf("%d messages are told as done, want %d", got, want)
		}
		if snap, err := mb.Sync(); err != nil || snap.Len() != 2 {
			t.Errorf("the channel does not go on: %v", err)
		}
	}
	s.stop()
	must(t, s.err)
}

// Where the guest goes, or is sent away, what he had begun is broken off.
func TestGuestGoesAway(t *testing.T) {
	noneLeft(t)
	for _, end := range []func(s *served){func(s *served) { s.Client.Close() }, func(s *served) { s.end() }} {
		store := newEndless(t)
		s := serve(t, asGuest(t, store, "bob"), ServeOptions{}, ClientOptions{})
		mb := open(t, s, "Box")
		told := make(chan error)
		go func() {
			_, err := mb.Copy(numset.Of(1), "Box")
			told <- err
		}()
		<-store.begun
		end(s)
		if err := <-store.over; !errors.Is(err, mailstore.ErrStopped) {
			t.Errorf("the owner's end was told %v", err)
		}
		if err := <-told; !errkind.Is(err, errkind.Unavailable) {
			t.Errorf("the guest is told %v", err)
		}
		s.stop()
		must(t, s.err)
	}
}

// Who wants it no more before it began asks for nothing.
func TestGuestStopsBefore(t *testing.T) {
	store := newEndless(t)
	s := serve(t, asGuest(t, store, "bob"), ServeOptions{}, ClientOptions{})
	mb := open(t, s, "Box")
	_, err := mailstore.Transfer{UIDs: numset.Of(1), To: "Box", Stop: func() error { return errors.New("no") }}.Of(mb)
	if !errors.Is(err, mailstore.ErrStopped) || len(store.begun) > 0 {
		t.Errorf("%v; %d begun", err, len(store.begun))
	}
}

// To break off what is not under way does nothing, to this call or to the next one.
func TestBreakOfNothing(t *testing.T) {
	noneLeft(t)
	conn, served := raw(t, asGuest(t, shared(t), "bob"), ServeOptions{})
	must(t, conn.Send(&Break{ID: 2}, -1))
	must(t, conn.Send(&Call{ID: 1, Op: uint8(opOpen), Data: mustEncode(t, &named{"Box"})}, -1))
	var got transferred
	for answered := false; !answered; {
		m, _, err := conn.Recv()
		must(t, err)
		switch m := m.(type) {
		case *Answer:
			if m.ID == 1 {
				must(t, conn.Send(&Break{ID: 1}, -1))
				must(t, conn.Send(&Call{ID: 2, Op: uint8(opCopy), Data: mustEncode(t, &transferring{1, numset.Of(1, 2), "Box"})}, -1))
				continue
			}
			if answered = true; m.Failed {
				t.Errorf("the copy is %v", m.Kind)
			}
			must(t, decode(m.Data, &got))
		case *Ping:
			must(t, conn.Send(&Pong{}, -1))
		}
	}
	if len(got.To) != 2 {
		t.Errorf("copied %v", got.To)
	}
	conn.Close()
	must(t, <-served)
}
