package handover

import (
	"fmt"
	"testing"
	"time"

	"rookery/internal/errkind"
)

func TestWorkerCannotBeStarted(t *testing.T) {
	tb := newTable(t, Limits{})
	tb.request(1, 11)
	tb.redeemed(1, grant("ann"))
	tb.skip()
	tb.WorkerFailed(2, errkind.Other, "home missing")
	tb.want("no 1/11 internal error: home missing", "close 101")
	tb.empty()
	tb.request(1, 12)
	tb.redeemed(3, grant("ann"))
	tb.want("redeem 3", "start 4 ann")
}

func TestSilentWorkerIsKilled(t *testing.T) {
	tb := newTable(t, Limits{})
	tb.request(1, 11)
	tb.redeemed(1, grant("ann"))
	tb.WorkerStarted(2, 7)
	tb.skip()
	tb.Tick(tb.now.Add(readyLimit))
	tb.want()
	tb.Tick(tb.now.Add(readyLimit + time.Second))
	tb.want("kill 2")
	s, w := tb.login("bob", 12)
	tb.Tick(tb.now.Add(time.Hour))
	tb.skip()
	tb.Ended(w, s, tb.now)
	tb.AskExit(w)
	tb.want(fmt.Sprintf("mayexit %d", w))
	tb.Tick(tb.now.Add(exitLimit + time.Second))
	tb.want(fmt.Sprintf("kill %d", w))
}

func TestKickAndWho(t *testing.T) {
	tb := newTable(t, Limits{})
	s1, w := tb.login("ann", 11)
	s2, _ := tb.login("ann", 12)
	s3, wb := tb.login("bob", 13)
	if got := tb.Sessions(""); len(got) != 3 || got[0].ID != s1 || got[1].ID != s2 || got[2].ID != s3 || !got[0].Taken || got[0].PID != 1000+int(w) {
		t.Errorf("%+v", got)
	}
	if got := tb.Sessions("ann"); len(got) != 2 {
		t.Errorf("%+v", got)
	}
	if n := tb.Kick("ann", "bye"); n != 2 {
		t.Error(n)
	}
	tb.want(fmt.Sprintf("kick %d at %d: bye", s1, w), fmt.Sprintf("kick %d at %d: bye", s2, w))
	if n := tb.Kick("s13", "bye"); n != 1 {
		t.Error(n)
	}
	tb.want(fmt.Sprintf("kick %d at %d: bye", s3, wb))
	if n := tb.Kick("nobody", "bye"); n != 0 {
		t.Error(n)
	}
	tb.request(1, 14)
	tb.redeemed(tb.next, grant("carl"))
	tb.skip()
	if n := tb.Kick("carl", "bye"); n != 1 { // still waiting for its worker
		t.Error(n)
	}
	tb.want("no 1/14 unavailable: bye", "close 104")
}

// A worker that hangs cannot end its sessions: it is killed when it had time
// enough. Who was to go is not let in again by the next one.
func TestKickOfAHungWorker(t *testing.T) {
	tb := newTable(t, Limits{})
	_, w := tb.login("ann", 11)
	stays, wb := tb.login("bob", 12)
	tb.request(1, 13)
	tb.redeemed(tb.next, grant("ann")) // sent, not taken
	kicked := tb.next
	tb.Kick("ann", "bye")
	tb.Kick("s12", "bye")
	tb.skip()
	now := tb.now
	tick := func(d time.Duration) {
		now = now.Add(d)
		tb.WorkerReady(w)
		tb.Tick(now)
	}
	tick(time.Second)
	tick(kickGrace)
	tb.Ended(wb, stays, now)
	tb.want()
	tick(time.Second)
	tb.want(fmt.Sprintf("kill %d", w))
	tb.WorkerGone(w, false, now)
	tb.want("no 1/13 unavailable: Disconnected by the administrator.", "close 103")
	if len(tb.sessions) != 0 {
		t.Errorf("%d sessions are left, of them %v", len(tb.sessions), tb.sessions[kicked])
	}
}

func TestStopAndLetIdleGo(t *testing.T) {
	tb := newTable(t, Limits{})
	s, w := tb.login("ann", 11)
	tb.Ended(w, s, tb.now)
	_, wb := tb.login("bob", 12)
	tb.LetIdleGo()
	tb.want(fmt.Sprintf("mayexit %d", w))
	tb.request(1, 13)
	tb.skip()
	tb.Stop()
	tb.want("no 1/13 unavailable: The server is shutting down.", "close 103")
	tb.request(1, 14)
	tb.want("no 1/14 unavailable: The server is shutting down.", "close 104")
	tb.WorkerGone(wb, false, tb.now)
	tb.WorkerGone(w, true, tb.now)
	tb.want()
	tb.empty()
	if n := tb.Now(); n.Workers != 0 || n.Sessions != 0 || n.InFlight != 0 {
		t.Errorf("%+v", n)
	}
}

// A login process that shows another's ticket is ended at once; one that shows
// tickets that nobody knows, after too many in a row. Late ones cost it nothing.
func TestLoginShowsBadTickets(t *testing.T) {
	tb := newTable(t, Limits{})
	tb.request(1, 1)
	tb.skip()
	tb.TicketRefused(1, errkind.AuthFailed)
	tb.want("no 1/1 unavailable: Temporary authentication failure.", "close 101",
		"drop login 1: it showed a ticket that was issued for another session")
	tb.LoginGone(1)
	tb.LoginUp(2, 4)
	asked := uint64(1)
	show := func(kind errkind.Kind) {
		asked++
		tb.request(2, asked)
		tb.TicketRefused(tb.next, kind)
	}
	for range 100 {
		show(errkind.Expired)
	}
	for range 4 + maxUnknown {
		show(errkind.NotFound)
	}
	asked++
	tb.request(2, asked)
	tb.redeemed(tb.next, grant("ann")) // one that is known forgives them
	for range 4 + maxUnknown {
		show(errkind.NotFound)
	}
	if tb.Counters.LoginsDropped != 1 {
		t.Fatalf("an honest process is ended: %+v", tb.Counters)
	}
	tb.skip()
	show(errkind.NotFound)
	tb.want(fmt.Sprintf("redeem %d", tb.next), fmt.Sprintf("no 2/%d unavailable: Temporary authentication failure.", asked), fmt.Sprintf("close %d", tb.fd),
		"drop login 2: it showed 21 tickets in a row that authd never issued")
}
