package handover

import (
	"testing"
	"time"

	"rookery/internal/errkind"
)

// reach has a worker ask for an owner's mail, and gives the guest's number.
func (tb *table) reach(from, request uint64, owner string) uint64 {
	tb.Reach(from, request, owner, tb.now)
	return tb.next
}

func (tb *table) visited(id uint64, owner string, groups ...string) {
	tb.Visited(id, grant(owner), groups, tb.now)
}

func (tb *table) started(id uint64) {
	tb.WorkerStarted(id, 1000+int(id))
	tb.WorkerReady(id)
}

func TestGuestOfRunningWorker(t *testing.T) {
	tb := newTable(t, Limits{})
	annS, ann := tb.login("ann", 1)
	bobS, bob := tb.login("bob", 2)
	g := tb.reach(bob, 7, "ann")
	tb.want("visit 5: bob at ann")
	tb.visited(g, "ann", "staff")
	tb.want("introduce 4/7 to 2 as 5: bob [staff]")
	if n := tb.Machine.Now(); n.Guests != 1 || n.Sessions != 2 {
		t.Errorf("%+v", n)
	}
	all := tb.Sessions("")
	if len(all) != 3 || all[2].Owner != "ann" || all[2].User != "bob" || all[2].Service != "guest" || all[2].Worker != ann {
		t.Errorf("%+v", all)
	}
	if len(tb.Sessions("ann")) != 2 || len(tb.Sessions("bob")) != 2 {
		t.Error("a guest is shown to both")
	}
	tb.visited(g, "ann") // an answer that comes twice
	tb.want()
	tb.Ended(ann, annS, tb.now)
	tb.AskExit(ann)
	tb.want() // the guest is there still
	tb.GuestEnded(ann, g, tb.now)
	tb.AskExit(ann)
	tb.want("mayexit 2")
	tb.Ended(bob, bobS, tb.now)
	tb.empty()
}

func TestGuestStartsWorker(t *testing.T) {
	tb := newTable(t, Limits{})
	_, bob := tb.login("bob", 1)
	_, carl := tb.login("carl", 2)
	a, b := tb.reach(bob, 7, "ann"), tb.reach(carl, 8, "ann")
	tb.want("visit 5: bob at ann", "visit 6: carl at ann")
	tb.visited(a, "ann")
	tb.visited(b, "ann")
	tb.want("start 7 ann") // one for both
	tb.request(1, 3)
	s := tb.next
	tb.redeemed(s, grant("ann")) // and for his login
	tb.want("redeem 8")
	tb.started(7)
	tb.want("send 8 to 7 fd 103", "introduce 2/7 to 7 as 5: bob []", "introduce 4/8 to 7 as 6: carl []")
	tb.Taken(7, s, tb.now)
	tb.skip()
	tb.Kick("bob", "go") // his own session, and his visit
	tb.want("kick 1 at 2: go", "kick 5 at 7: go")
	tb.KickGuests("ann", "work")
	tb.want("kick 5 at 7: work", "kick 6 at 7: work")
	tb.Tick(tb.now)
	tb.Tick(tb.now.Add(kickGrace + time.Second))
	tb.want("kill 2", "kill 7") // they did not
	tb.GuestEnded(7, a, tb.now)
	tb.WorkerGone(7, false, tb.now)
	tb.WorkerGone(2, false, tb.now)
	if len(tb.guests) != 0 {
		t.Errorf("%d guests are left", len(tb.guests))
	}
}

func TestReachRefused(t *testing.T) {
	tb := newTable(t, Limits{})
	_, bob := tb.login("bob", 1)
	for _, owner := range []string{"", "bob"} {
		tb.Reach(bob, 7, owner, tb.now)
		tb.want("not reached 2/7 not found")
	}
	g := tb.reach(bob, 7, "ann")
	tb.VisitFailed(g, errkind.NotFound, "")
	tb.want("visit 3: bob at ann", "not reached 2/7 not found")
	tb.VisitFailed(g, errkind.NotFound, "")
	tb.visited(g, "ann")
	tb.want() // it is over
	tb.reach(bob, 8, "ann")
	tb.AuthGone()
	tb.want("visit 4: bob at ann", "not reached 2/8 unavailable")
	tb.reach(bob, 9, "ann")
	tb.now = tb.now.Add(slowRedeem + time.Second)
	tb.Tick(tb.now)
	tb.want("visit 5: bob at ann", "not reached 2/9 unavailable")
	g = tb.reach(bob, 10, "ann")
	tb.visited(g, "ann")
	tb.WorkerFailed(tb.next, errkind.ContactAdmin, "what is wrong with ann")
	tb.want("visit 6: bob at ann", "start 7 ann", "not reached 2/10 unavailable")
	tb.GuestEnded(bob, 77, tb.now)
	tb.want("kill 2") // it spoke of what is not its own
	tb.Reach(bob, 11, "ann", tb.now)
	tb.want()
	if len(tb.guests) != 0 {
		t.Errorf("%d guests are left", len(tb.guests))
	}
}

func TestReachOfOthersIsBroken(t *testing.T) {
	tb := newTable(t, Limits{})
	tb.NewRequest(Request{Login: 1, ID: 1, Service: "pop3", Session: "s", Envelope: 101}, tb.now)
	g := grant("bob")
	g.Key.Service = "pop3"
	tb.redeemed(1, g)
	tb.started(2)
	tb.skip()
	tb.Reach(2, 7, "ann", tb.now)
	tb.want("kill 2")
}

func TestAnonymousReachesNobody(t *testing.T) {
	tb := newTable(t, Limits{})
	tb.request(1, 1)
	g := grant("anonymous")
	g.Record.Anonymous = true
	tb.redeemed(1, g)
	tb.started(2)
	tb.skip()
	tb.Reach(2, 7, "ann", tb.now)
	tb.want("not reached 2/7 not found")
}

// A worker that dies before it had its guests: they go to the next one, once.
func TestGuestIsTriedAgain(t *testing.T) {
	tb := newTable(t, Limits{})
	_, bob := tb.login("bob", 1)
	g := tb.reach(bob, 7, "ann")
	tb.visited(g, "ann")
	tb.want("visit 3: bob at ann", "start 4 ann")
	tb.WorkerBroken(4, "")
	tb.want("kill 4")
	second := tb.reach(bob, 8, "ann") // it comes while the first is being reaped
	tb.visited(second, "ann")
	tb.want("visit 5: bob at ann")
	tb.WorkerGone(4, false, tb.now)
	tb.want("start 6 ann")
	tb.WorkerGone(6, false, tb.now)
	tb.want("not reached 2/7 unavailable", "not reached 2/8 unavailable")
	third := tb.reach(bob, 9, "ann")
	tb.visited(third, "ann") // ann's processes die at once: not again just now
	tb.want("visit 7: bob at ann", "not reached 2/9 unavailable")
}

// The owner's worker dies: his guests are gone with it. The guest's worker dies: what
// it had wished is forgotten, what it has ends at the owner's.
func TestDeathsOfEither(t *testing.T) {
	tb := newTable(t, Limits{})
	_, ann := tb.login("ann", 1)
	_, bob := tb.login("bob", 2)
	g := tb.reach(bob, 7, "ann")
	tb.visited(g, "ann")
	waits := tb.reach(bob, 8, "carl")
	tb.skip()
	tb.WorkerBroken(bob, "")
	tb.WorkerGone(bob, false, tb.now)
	tb.skip()
	tb.visited(waits, "carl")
	tb.want()
	tb.GuestEnded(ann, g, tb.now)
	tb.want()
	_, bob = tb.login("bob", 3)
	g = tb.reach(bob, 9, "ann")
	tb.visited(g, "ann")
	tb.skip()
	tb.WorkerBroken(ann, "")
	tb.WorkerGone(ann, false, tb.now)
	tb.skip()
	if len(tb.guests) != 0 {
		t.Errorf("%d guests are left", len(tb.guests))
	}
}

func TestGuestLimits(t *testing.T) {
	tb := newTable(t, Limits{Workers: 2, Guests: 1})
	_, bob := tb.login("bob", 1)
	tb.workers[bob].maxVisits = 2
	a := tb.reach(bob, 1, "ann")
	tb.visited(a, "ann")
	tb.want("visit 3: bob at ann", "start 4 ann")
	tb.started(4)
	tb.skip()
	c := tb.reach(bob, 2, "carl")
	tb.visited(c, "carl")
	tb.want("visit 5: bob at carl", "not reached 2/2 limit reached") // one process for guests
	// It takes no place of a login's: two may have a process beside it.
	doraS, dora := tb.login("dora", 2)
	tb.request(1, 3)
	tb.redeemed(tb.next, grant("eve"))
	tb.want("redeem 8", "no 1/3 limit reached: Maximum number of mail processes reached (worker_process_limit=2).", "close 103")
	// A process whose last session ends while it has guests is one of guests: there is one too many.
	g := tb.reach(bob, 3, "dora")
	tb.visited(g, "dora")
	tb.want("visit 9: bob at dora", "introduce 2/3 to 7 as 9: bob []")
	tb.Reach(bob, 4, "fred", tb.now)
	tb.want("not reached 2/4 limit reached") // mail_max_guest_connections
	tb.Ended(dora, doraS, tb.now)
	tb.want("kick 9 at 7: Too many users' mailboxes are open on this server.")
	tb.GuestEnded(dora, 9, tb.now)
	// Lingerers of the same kind give their places.
	tb.now = tb.now.Add(time.Second)
	tb.GuestEnded(4, a, tb.now)
	c = tb.reach(bob, 5, "carl")
	tb.visited(c, "carl")
	tb.want("visit 10: bob at carl", "mayexit 7", "mayexit 4")
	tb.WorkerGone(4, true, tb.now)
	tb.want() // a place is free when the last has ended
	tb.WorkerGone(dora, true, tb.now)
	tb.want("start 11 carl")
}

func TestGuestsOfOneOwner(t *testing.T) {
	tb := newTable(t, Limits{})
	_, ann := tb.login("ann", 1)
	_, bob := tb.login("bob", 2)
	_, carl := tb.login("carl", 3)
	of := grant("ann")
	of.MaxGuests = 1
	a, b := tb.reach(bob, 7, "ann"), tb.reach(carl, 8, "ann")
	tb.Visited(a, of, nil, tb.now)
	tb.Visited(b, of, nil, tb.now)
	tb.want("visit 7: bob at ann", "visit 8: carl at ann", "introduce 4/7 to 2 as 7: bob []", "not reached 6/8 limit reached")
	tb.GuestEnded(ann, a, tb.now)
	b = tb.reach(carl, 9, "ann")
	tb.Visited(b, of, nil, tb.now)
	tb.want("visit 9: carl at ann", "introduce 6/9 to 2 as 9: carl []")
}

func TestAskingTooOften(t *testing.T) {
	tb := newTable(t, Limits{})
	_, bob := tb.login("bob", 1)
	for range askBurst {
		g := tb.reach(bob, 1, "ann")
		tb.VisitFailed(g, errkind.NotFound, "")
	}
	tb.skip()
	tb.Reach(bob, 2, "ann", tb.now)
	tb.want("not reached 2/2 limit reached")
	tb.now = tb.now.Add(askEvery)
	tb.Reach(bob, 3, "ann", tb.now)
	tb.Reach(bob, 4, "ann", tb.now)
	tb.want("visit 67: bob at ann", "not reached 2/4 limit reached")
}

func TestStopTurnsGuestsAway(t *testing.T) {
	tb := newTable(t, Limits{})
	_, bob := tb.login("bob", 1)
	_, ann := tb.login("ann", 2)
	there := tb.reach(bob, 7, "ann")
	tb.visited(there, "ann")
	tb.reach(bob, 8, "carl")
	waits := tb.reach(bob, 9, "dora")
	tb.visited(waits, "dora")
	tb.skip()
	tb.Stop()
	tb.want("not reached 2/8 unavailable", "not reached 2/9 unavailable")
	tb.Reach(bob, 10, "ann", tb.now)
	tb.want("not reached 2/10 unavailable")
	tb.GuestEnded(ann, there, tb.now)
	if len(tb.guests) != 0 {
		t.Errorf("%d guests are left", len(tb.guests))
	}
}

// A process that was started for a guest and has a session then is the session's.
func TestLoginTakesGuestsProcessOver(t *testing.T) {
	tb := newTable(t, Limits{Workers: 10, Guests: 1})
	_, bob := tb.login("bob", 1)
	g := tb.reach(bob, 1, "ann")
	tb.visited(g, "ann")
	tb.want("visit 3: bob at ann", "start 4 ann")
	tb.started(4)
	tb.skip()
	annS, ann := tb.login("ann", 2)
	g = tb.reach(bob, 2, "carl")
	tb.visited(g, "carl")
	tb.want("visit 6: bob at carl", "start 7 carl")
	tb.started(7)
	tb.skip()
	tb.Ended(ann, annS, tb.now) // and is the guest's again: one too many
	tb.want("kick 3 at 4: Too many users' mailboxes are open on this server.")
}
