// Package remotetest serves a user's mail to another over a channel within one process,
// for tests of what is above package remote.
//
// Only tests use it. It must never know a protocol for mail programs.
package remotetest

import (
	"context"
	"testing"

	"golang.org/x/sys/unix"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/remote"
	"rookery/internal/mailstore/remote/usable"
)

// Link is a client whose other end is in this process.
type Link struct {
	*remote.Client
	end    context.CancelFunc
	served chan error
}

// Connect serves a store, which is guarded for the guest, to a client of owner's mail.
func Connect(t testing.TB, store mailstore.Sharer, owner string) *Link {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	l := &Link{served: make(chan error, 1)}
	var ctx context.Context
	ctx, l.end = context.WithCancel(context.Background())
	go func() { l.served <- remote.Serve(ctx, fds[0], store, remote.ServeOptions{}) }()
	if l.Client, err = remote.NewClient(fds[1], remote.ClientOptions{Owner: owner, Usable: usable.Fact}); err != nil {
		t.Fatal(err)
	}
	return l
}

// Settle returns when the client has been told of all that changed up to now: a call that
// may change something is answered after that. One word may have waited for the one
// before to be heard, so there are two of them.
func (l *Link) Settle() {
	for range 2 {
		_ = l.Client.Subscribe("", false) // which is refused
	}
}

// End ends both ends, and gives why the owner's ended.
func (l *Link) End() error {
	l.Client.Close()
	l.end()
	return <-l.served
}
