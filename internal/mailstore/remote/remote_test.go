package remote

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/acl"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/guarded"
	"rookery/internal/mailstore/memstore"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pair makes a channel's two ends.
func pair(t testing.TB) (owner, guest int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	return fds[0], fds[1]
}

// served is a Client whose owner's end is in this process.
type served struct {
	*Client
	end    context.CancelFunc
	over   chan struct{}
	err    error
	behind mailstore.Store // closed with the client; nil: it is not its own
	once   sync.Once
}

// usable takes every derived fact.
func usable(string, []byte) bool { return true }

// serve connects a client to a store.
func serve(t testing.TB, store mailstore.Sharer, so ServeOptions, co ClientOptions) *served {
	t.Helper()
	owner, guest := pair(t)
	s := &served{over: make(chan struct{})}
	var ctx context.Context
	ctx, s.end = context.WithCancel(context.Background())
	go func() {
		defer close(s.over)
		s.err = Serve(ctx, owner, store, so)
	}()
	if co.Usable == nil {
		co.Usable = usable
	}
	c, err := NewClient(guest, co)
	must(t, err)
	s.Client = c
	t.Cleanup(func() { s.stop() })
	return s
}

// stop ends both ends.
func (s *served) stop() {
	s.once.Do(func() {
		s.Client.Close()
		s.end()
		<-s.over
	})
}

// Close closes the store behind, too.
func (s *served) Close() error {
	s.stop()
	if s.behind != nil {
		return s.behind.Close()
	}
	return nil
}

// asOwner guards a store for its owner.
func asOwner(t testing.TB, inner mailstore.Store) mailstore.Sharer {
	t.Helper()
	g, ok := guarded.Wrap(inner, guarded.Options{Who: acl.Who{User: "ann", Owner: true}, Owner: "ann", Wide: true})
	if !ok {
		t.Fatal("the store keeps no lists")
	}
	return g
}

// asGuest guards a store for somebody else.
func asGuest(t testing.TB, inner mailstore.Store, user string) mailstore.Sharer {
	t.Helper()
	g, ok := guarded.Wrap(inner, guarded.Options{Who: acl.Who{User: user}, Owner: "ann"})
	if !ok {
		t.Fatal("the store keeps no lists")
	}
	return g
}

// give makes a mailbox's list of lines separated by semicolons.
func give(t testing.TB, s mailstore.Store, name mailstore.Name, lines string) {
	t.Helper()
	l, err := acl.Parse([]byte(strings.ReplaceAll(lines, ";", "\n")))
	must(t, err)
	k, ok := mailstore.ACLs(s)
	if !ok {
		t.Fatal("the store keeps no lists")
	}
	must(t, k.EditACL(name, func(acl.List) (acl.List, error) { return l, nil }))
}

func add(t testing.TB, s mailstore.Store, name mailstore.Name, texts ...string) []mailstore.UID {
	t.Helper()
	a, err := s.Append(name)
	must(t, err)
	for _, text := range texts {
		w, err := a.Add(mailstore.AppendMeta{}, int64(len(text)))
		must(t, err)
		_, err = w.Write([]byte(text))
		must(t, err)
	}
	r, err := a.Commit()
	must(t, err)
	return r.UIDs
}

func newStore() *memstore.Store {
	return memstore.New(memstore.Options{Now: func() time.Time { return time.Unix(1_700_000_000, 0) }})
}
