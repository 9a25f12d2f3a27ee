package worker

import (
	"context"
	"sync"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/held"
	"rookery/internal/mailstore/quota"
	"rookery/internal/mailstore/retain"
)

// tendEvery is how often a store is tended while its user stays logged in.
const tendEvery = 24 * time.Hour

// tendGrace is how long a process that ends lets a pass go on. What is left then
// is done the next time.
const tendGrace = 2 * time.Second

// tending is what is done for a user's mail when nobody waits for it: mail that
// is kept for a time goes, what was held for undelete long enough goes, and the
// count of use is compared with the mailboxes.
type tending struct {
	host    *Host
	store   mailstore.Store // the outermost, so that what goes is held
	hold    *held.Store
	counted *quota.Store
	rules   []retain.Rule

	mu     sync.Mutex
	stop   context.CancelFunc // of the pass under way; nil if there is none
	done   chan struct{}
	closed bool
}

// begin starts a pass unless one is under way.
func (t *tending) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stop != nil || t.closed {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	t.stop, t.done = stop, done
	go func() {
		defer close(done)
		t.pass(ctx, time.Now())
		t.mu.Lock()
		defer t.mu.Unlock()
		stop()
		t.stop = nil
	}()
}

// end lets a pass go on for the grace, then waits for its last step.
func (t *tending) end(grace time.Duration) {
	t.mu.Lock()
	t.closed = true
	stop, done := t.stop, t.done
	t.mu.Unlock()
	if stop == nil {
		return
	}
	select {
	case <-done:
	case <-time.After(grace):
		stop()
		<-done
	}
}

// pass does everything once, in steps. Errors are for the log: what could not be
// done is tried again the next time.
func (t *tending) pass(ctx context.Context, now time.Time) {
	log := t.host.Log
	expunged, purged := 0, 0
	keeper := retain.New(t.store, t.rules, now)
	for more := len(t.rules) > 0; more && ctx.Err() == nil; {
		n, again, err := keeper.Step(ctx)
		if expunged += n; err != nil {
			log.Warnf("%v", err)
		}
		more = again
	}
	for more := true; more && ctx.Err() == nil; {
		n, again, err := t.hold.Sweep(ctx)
		if purged += n; err != nil {
			log.Warnf("purge of held messages: %v", err)
			break
		}
		more = again
	}
	if ctx.Err() == nil {
		if err := t.counted.Reconcile(); err != nil {
			log.Warnf("%v", err)
		}
	}
	if expunged > 0 {
		log.Infof("autoexpunge: user=<%s>, expunged=%d", t.host.User.User, expunged)
		t.host.Changed()
	}
	if purged > 0 {
		log.Infof("undelete hold is over: user=<%s>, purged=%d", t.host.User.User, purged)
	}
}

// tended is the store as sessions have it: closing it ends the tending.
type tended struct {
	*held.Store
	tending *tending
}

// Unwrap gives the store inside.
func (t *tended) Unwrap() mailstore.Store { return t.Store }

// Close ends the tending, then gives up the store.
func (t *tended) Close() error {
	t.tending.end(tendGrace)
	return t.Store.Close()
}

// tend begins a pass over the user's store, if one is open.
func (h *Host) tend() {
	if h.tending != nil {
		h.tending.begin()
	}
}
