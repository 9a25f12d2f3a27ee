package handover

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/ipc/redeemmsg"
)

// recorder writes down what the machine asks for, a word list for each effect.
type recorder struct {
	got    []string
	closed map[int]int
}

func (r *recorder) add(format string, args ...any) {
	r.got = append(r.got, fmt.Sprintf(format, args...))
}
func (r *recorder) Redeem(id uint64, q Request) { r.add("redeem %d", id) }
func (r *recorder) Answer(login, request uint64, failed bool, kind errkind.Kind, text string, _ int) {
	if failed {
		r.add("no %d/%d %v: %s", login, request, kind, text)
		return
	}
	r.add("ok %d/%d", login, request)
}
func (r *recorder) StartWorker(w uint64, k Key, _ redeemmsg.Record) {
	r.add("start %d %s", w, k.User)
}
func (r *recorder) Send(w, id uint64, _ string, _ redeemmsg.Record, fd int) {
	r.add("send %d to %d fd %d", id, w, fd)
	if r.closed[fd] > 0 {
		r.add("SENT A CLOSED DESCRIPTOR %d", fd)
	}
}
func (r *recorder) MayExit(w uint64)               { r.add("mayexit %d", w) }
func (r *recorder) Kill(w uint64)                  { r.add("kill %d", w) }
func (r *recorder) Kick(w, id uint64, text string) { r.add("kick %d at %d: %s", id, w, text) }
func (r *recorder) Wake(w uint64)                  { r.add("wake %d", w) }
func (r *recorder) DropLogin(l uint64, why string) { r.add("drop login %d: %s", l, why) }
func (r *recorder) Visit(id uint64, guest, owner string) {
	r.add("visit %d: %s at %s", id, guest, owner)
}
func (r *recorder) Reached(w, request uint64, kind errkind.Kind, _ string) {
	r.add("not reached %d/%d %v", w, request, kind)
}
func (r *recorder) Introduce(from, request, owner, id uint64, user string, groups []string) {
	r.add("introduce %d/%d to %d as %d: %s %v", from, request, owner, id, user, groups)
}
func (r *recorder) Warn(string) {}
func (r *recorder) Info(string) {}
func (r *recorder) Close(fd int) {
	r.add("close %d", fd)
	if r.closed[fd]++; r.closed[fd] > 1 {
		r.add("CLOSED TWICE %d", fd)
	}
}

// table is a machine with its recorder and a clock.
type table struct {
	*Machine
	t   *testing.T
	rec *recorder
	now time.Time
	fd  int
}

func newTable(t *testing.T, l Limits) *table {
	rec := &recorder{closed: map[int]int{}}
	tb := &table{Machine: New(rec, l), t: t, rec: rec, now: time.Unix(1e9, 0), fd: 100}
	tb.LoginUp(1, 4)
	return tb
}

// want compares with what happened since the last call.
func (tb *table) want(effects ...string) {
	tb.t.Helper()
	if !slices.Equal(tb.rec.got, effects) {
		tb.t.Fatalf("effects:\n  %s\nwant:\n  %s", strings.Join(tb.rec.got, "\n  "), strings.Join(effects, "\n  "))
	}
	tb.rec.got = nil
}

func (tb *table) skip() { tb.rec.got = nil }

// request asks as login process l with its number id; descriptors count from 101.
func (tb *table) request(l, id uint64) {
	tb.fd++
	tb.NewRequest(Request{Login: l, ID: id, Service: "imap", Session: fmt.Sprintf("s%d", id), Envelope: tb.fd}, tb.now)
}

func grant(user string) Grant {
	return Grant{Key: Key{Service: "imap", User: user}, Record: redeemmsg.Record{User: user, Remote: netip.MustParseAddrPort("192.0.2.1:1")}}
}

func (tb *table) redeemed(id uint64, g Grant) { tb.Redeemed(id, g, tb.now) }

// login takes user's request id through to a worker that has taken it. It
// returns the session's and the worker's numbers.
func (tb *table) login(user string, id uint64) (session, worker uint64) {
	tb.t.Helper()
	tb.request(1, id)
	session = tb.next
	tb.redeemed(session, grant(user))
	worker = tb.byKey[grant(user).Key].id
	tb.WorkerStarted(worker, 1000+int(worker))
	tb.WorkerReady(worker)
	tb.Taken(worker, session, tb.now)
	tb.skip()
	return session, worker
}

// empty checks that nothing is left that should not be.
func (tb *table) empty() {
	tb.t.Helper()
	if len(tb.sessions) != 0 || len(tb.perIP) != 0 || len(tb.perUser) != 0 || tb.inFlight != 0 {
		tb.t.Errorf("left: %d sessions, %v, %v, %d in flight", len(tb.sessions), tb.perIP, tb.perUser, tb.inFlight)
	}
	if len(tb.guests) != 0 {
		tb.t.Errorf("left: %d guests", len(tb.guests))
	}
	for fd := 101; fd <= tb.fd; fd++ {
		if tb.rec.closed[fd] != 1 {
			tb.t.Errorf("descriptor %d was closed %d times", fd, tb.rec.closed[fd])
		}
	}
}

func TestTwoFirstLoginsStartOneWorker(t *testing.T) {
	tb := newTable(t, Limits{})
	tb.request(1, 11)
	tb.request(1, 12)
	tb.want("redeem 1", "redeem 2")
	tb.redeemed(1, grant("ann"))
	tb.redeemed(2, grant("ann"))
	tb.want("start 3 ann")
	tb.WorkerStarted(3, 777)
	tb.want("send 1 to 3 fd 101", "send 2 to 3 fd 102")
	tb.WorkerReady(3)
	tb.Taken(3, 1, tb.now)
	tb.want("close 101", "ok 1/11")
	tb.Taken(3, 2, tb.now)
	tb.want("close 102", "ok 1/12")
	tb.Ended(3, 1, tb.now)
	tb.Ended(3, 2, tb.now)
	tb.AskExit(3)
	tb.want("mayexit 3")
	tb.WorkerGone(3, true, tb.now)
	tb.want()
	tb.empty()
	if tb.Counters.HandedOver != 2 || tb.Counters.WorkersStarted != 1 || tb.Counters.WorkersDied != 0 {
		t.Errorf("%+v", tb.Counters)
	}
}

func TestKeysPartWorkers(t *testing.T) {
	tb := newTable(t, Limits{})
	a, b := grant("ann"), grant("ann")
	b.Key.Hash[0] = 1 // another home, another generation of settings
	tb.request(1, 1)
	tb.request(1, 2)
	tb.redeemed(1, a)
	tb.redeemed(2, b)
	tb.want("redeem 1", "redeem 2", "start 3 ann", "start 4 ann")
	tb.WorkerStarted(3, 1)
	tb.WorkerStarted(4, 2)
	tb.skip()
	tb.Changed(3)
	tb.want("wake 4")
}

// A worker that dies anywhere before it has read GO costs nothing: the second
// one is started only when the first is reaped.
func TestRetryOnceAfterReaping(t *testing.T) {
	for _, when := range []string{"starting", "sent"} {
		tb := newTable(t, Limits{})
		tb.request(1, 11)
		tb.redeemed(1, grant("ann"))
		tb.want("redeem 1", "start 2 ann")
		if when == "sent" {
			tb.WorkerStarted(2, 7)
			tb.want("send 1 to 2 fd 101")
		}
		tb.WorkerBroken(2, "its channel is closed")
		tb.want("kill 2")
		tb.request(1, 12) // another login of this user waits until then, too
		tb.redeemed(3, grant("ann"))
		tb.want("redeem 3")
		tb.WorkerGone(2, false, tb.now)
		tb.want("start 4 ann")
		tb.WorkerStarted(4, 8)
		tb.want("send 1 to 4 fd 101", "send 3 to 4 fd 102")
		tb.WorkerGone(4, false, tb.now)
		tb.want("no 1/11 unavailable: The mail process failed. Try again in a moment.", "close 101",
			"no 1/12 unavailable: The mail process failed. Try again in a moment.", "close 102")
		tb.empty()
		if tb.Counters.WorkersDied != 2 {
			t.Errorf("%+v", tb.Counters)
		}
	}
}

func TestRetrySucceeds(t *testing.T) {
	tb := newTable(t, Limits{})
	tb.request(1, 11)
	tb.redeemed(1, grant("ann"))
	tb.WorkerStarted(2, 7)
	tb.WorkerGone(2, false, tb.now)
	tb.want("redeem 1", "start 2 ann", "send 1 to 2 fd 101", "start 3 ann")
	tb.WorkerStarted(3, 8)
	tb.Taken(3, 1, tb.now)
	tb.want("send 1 to 3 fd 101", "close 101", "ok 1/11")
	tb.Ended(3, 1, tb.now)
	tb.empty()
	if tb.Counters.Retried != 1 || tb.Counters.HandedOver != 1 {
		t.Errorf("%+v", tb.Counters)
	}
}

// After GO nothing is tried again, and login is not told twice.
func TestWorkerDiesAfterTaken(t *testing.T) {
	tb := newTable(t, Limits{})
	_, w := tb.login("ann", 11)
	tb.WorkerBroken(w, "")
	tb.WorkerGone(w, false, tb.now)
	tb.want(fmt.Sprintf("kill %d", w))
	tb.empty()
}

// A worker that is being killed had taken a session: its word still counts.
func TestTakenByADyingWorker(t *testing.T) {
	tb := newTable(t, Limits{})
	tb.request(1, 11)
	tb.redeemed(1, grant("ann"))
	tb.WorkerStarted(2, 7)
	tb.Ended(2, 4711, tb.now) // breaks the rules
	tb.want("redeem 1", "start 2 ann", "send 1 to 2 fd 101", "kill 2")
	tb.Taken(2, 1, tb.now)
	tb.want("close 101", "ok 1/11")
	tb.Ended(2, 4711, tb.now)
	tb.WorkerGone(2, false, tb.now)
	tb.want()
	tb.empty()
}

// authd answers once; what it says again changes nothing.
func TestRedeemedTwice(t *testing.T) {
	tb := newTable(t, Limits{})
	tb.request(1, 11)
	tb.redeemed(1, grant("ann"))
	tb.WorkerStarted(2, 7)
	tb.skip()
	tb.redeemed(1, grant("bob"))
	tb.RedeemFailed(1, errkind.Unavailable, "no")
	tb.want()
	tb.Taken(2, 1, tb.now)
	tb.redeemed(1, grant("bob"))
	tb.want("close 101", "ok 1/11")
	tb.Ended(2, 1, tb.now)
	tb.empty()
}

// The login process dies: what no worker has seen is forgotten; what one may
// have read goes on, even with a second worker, since GO waits in the envelope.
func TestLoginDies(t *testing.T) {
	tb := newTable(t, Limits{})
	tb.request(1, 11)
	tb.request(1, 12)
	tb.request(1, 13)
	tb.redeemed(2, grant("ann"))
	tb.WorkerStarted(4, 7)
	tb.redeemed(3, grant("bob"))
	tb.want("redeem 1", "redeem 2", "redeem 3", "start 4 ann", "send 2 to 4 fd 102", "start 5 bob")
	tb.LoginGone(1)
	slices.Sort(tb.rec.got)
	tb.want("close 101", "close 103")
	tb.redeemed(1, grant("carl")) // authd's answer crossed it
	tb.WorkerStarted(5, 8)
	tb.want()
	tb.WorkerGone(4, false, tb.now)
	tb.want("start 6 ann")
	tb.WorkerStarted(6, 9)
	tb.want("send 2 to 6 fd 102")
	tb.Taken(6, 2, tb.now)
	tb.want("close 102")
	tb.Ended(6, 2, tb.now)
	tb.empty()
	tb.LoginGone(1)
	tb.request(1, 14) // a last message of the dead one
	tb.want("close 104")
}

// The login end is closed before GO: the worker says Ended, never Taken.
func TestGivenUpBeforeGo(t *testing.T) {
	tb := newTable(t, Limits{})
	tb.request(1, 11)
	tb.redeemed(1, grant("ann"))
	tb.WorkerStarted(2, 7)
	tb.skip()
	tb.Ended(2, 1, tb.now)
	tb.want("no 1/11 unavailable: The login was given up.", "close 101")
	tb.empty()
}

func TestTicketRefused(t *testing.T) {
	tb := newTable(t, Limits{})
	tb.request(1, 11)
	tb.RedeemFailed(1, errkind.Unavailable, "no such ticket")
	tb.want("redeem 1", "no 1/11 unavailable: no such ticket", "close 101")
	tb.RedeemFailed(1, errkind.Unavailable, "again")
	tb.redeemed(1, grant("ann"))
	tb.want()
	tb.empty()
}

func TestAuthdDies(t *testing.T) {
	tb := newTable(t, Limits{})
	_, w := tb.login("ann", 10)
	tb.request(1, 11)
	tb.skip()
	tb.AuthGone()
	tb.want("no 1/11 unavailable: Temporary authentication failure.", "close 102")
	if len(tb.workers[w].sessions) != 1 {
		t.Error("a running session was touched")
	}
}

func TestAuthdSilent(t *testing.T) {
	tb := newTable(t, Limits{})
	tb.request(1, 11)
	tb.skip()
	tb.Tick(tb.now.Add(30 * time.Second))
	tb.want()
	tb.Tick(tb.now.Add(31 * time.Second))
	tb.want("no 1/11 unavailable: Temporary authentication failure.", "close 101")
	tb.empty()
}

func TestCredits(t *testing.T) {
	tb := newTable(t, Limits{})
	for id := range uint64(4) {
		tb.request(1, id)
	}
	tb.RedeemFailed(1, errkind.Unavailable, "x") // gives its credit back
	tb.request(1, 4)
	tb.skip()
	tb.request(1, 5)
	tb.want("close 106", "drop login 1: it has more than its 4 requests in flight")
	tb.LoginGone(1)
	tb.empty()
	if tb.Counters.LoginsDropped != 1 {
		t.Errorf("%+v", tb.Counters)
	}
	tb.LoginUp(2, 4)
	tb.fd++
	tb.skip()
	tb.NewRequest(Request{Login: 2, Service: "smtp", Envelope: tb.fd}, tb.now)
	tb.want("close 107", `drop login 2: it asked for the service "smtp"`)
}

func TestRequestsInFlight(t *testing.T) {
	tb := newTable(t, Limits{Requests: 2})
	tb.LoginUp(2, 4)
	tb.request(1, 11)
	tb.request(2, 12)
	tb.request(2, 13)
	tb.want("redeem 1", "redeem 2", "no 2/13 limit reached: Too many logins at the same time (2). Try again in a moment.", "close 103")
	tb.LoginGone(1)
	tb.skip()
	tb.request(2, 14)
	tb.want("redeem 4")
}

func TestUserLimits(t *testing.T) {
	tb := newTable(t, Limits{})
	g := grant("ann")
	g.MaxIP, g.MaxUser = 2, 3
	ask := func(addr string, noIP bool) {
		tb.LoginUp(9, 9)
		tb.request(9, 1)
		g := g
		g.NoIP = noIP
		g.Record.Remote = netip.MustParseAddrPort(addr)
		tb.skip()
		tb.redeemed(tb.next, g)
	}
	ask("192.0.2.1:1", false)
	tb.want("start 2 ann")
	ask("192.0.2.1:2", false)
	tb.want()
	ask("[::ffff:192.0.2.1]:3", false) // the same address
	tb.want("no 9/1 limit reached: Maximum number of connections from user+IP exceeded (mail_max_userip_connections=2)", "close 103")
	g.MaxIP = 0 // no limit
	ask("192.0.2.9:4", false)
	tb.want()
	g.MaxIP = 2
	ask("192.0.2.2:5", false)
	tb.want("no 9/1 limit reached: Maximum number of connections of the user exceeded (mail_max_user_connections=3)", "close 105")
	g.Key.Service = "pop3" // each protocol by itself
	ask("192.0.2.2:6", false)
	tb.want("start 8 ann")
	g.Key.Service = "imap"
	tb.WorkerStarted(2, 7)
	tb.Taken(2, 1, tb.now)
	tb.Ended(2, 1, tb.now) // a place is free again
	tb.skip()
	ask("192.0.2.1:7", false)
	tb.want("send 9 to 2 fd 107")
	ask("192.0.2.1:8", false)
	tb.want("no 9/1 limit reached: Maximum number of connections from user+IP exceeded (mail_max_userip_connections=2)", "close 108")
	g.MaxUser = 0
	ask("192.0.2.1:9", true) // exempt from the limit by address
	tb.want("send 11 to 2 fd 109")
	if tb.Counters.OverUserIP != 2 || tb.Counters.OverUser != 1 {
		t.Errorf("%+v", tb.Counters)
	}
}

func TestWorkerLimitEndsLingerersFirst(t *testing.T) {
	tb := newTable(t, Limits{Workers: 2})
	a, wa := tb.login("ann", 11)
	tb.now = tb.now.Add(time.Second)
	b, wb := tb.login("bob", 12)
	tb.request(1, 13)
	tb.skip()
	tb.redeemed(tb.next, grant("carl"))
	tb.want("no 1/13 limit reached: Maximum number of mail processes reached (worker_process_limit=2).", "close 103")
	tb.Ended(wb, b, tb.now)
	tb.now = tb.now.Add(time.Second)
	tb.Ended(wa, a, tb.now)
	tb.request(1, 14)
	tb.skip()
	tb.redeemed(tb.next, grant("carl"))
	tb.want(fmt.Sprintf("mayexit %d", wb)) // bob is idle longer
	carl := tb.next
	tb.WorkerGone(wb, true, tb.now) // only now there is a place
	tb.want(fmt.Sprintf("start %d carl", carl))
	tb.request(1, 15)
	tb.skip()
	tb.redeemed(tb.next, grant("bob")) // off the list: a new one, and ann's goes
	tb.want(fmt.Sprintf("mayexit %d", wa))
	bob := tb.next
	tb.WorkerGone(wa, true, tb.now)
	tb.want(fmt.Sprintf("start %d bob", bob))
}

func TestQueueOverflow(t *testing.T) {
	tb := newTable(t, Limits{Queue: 2})
	for id := range uint64(3) {
		tb.request(1, id)
		tb.redeemed(id+1+min(id, 1), grant("ann"))
	}
	tb.want("redeem 1", "start 2 ann", "redeem 3", "redeem 4", "no 1/2 limit reached: Too many logins of this user wait. Try again in a moment.", "close 103")
}

// AskExit and a new session cross: the worker stays, or the session gets a new one.
func TestAskExitRaces(t *testing.T) {
	tb := newTable(t, Limits{})
	s, w := tb.login("ann", 11)
	tb.AskExit(w) // a session is there: no answer
	tb.want()
	tb.Ended(w, s, tb.now)
	tb.request(1, 12)
	tb.redeemed(tb.next, grant("ann"))
	tb.skip()
	tb.AskExit(w) // it was sent before the wish was read: no answer, it stays
	tb.want()
	tb.Taken(w, tb.next, tb.now)
	tb.Ended(w, tb.next, tb.now)
	tb.skip()
	tb.AskExit(w)
	tb.want(fmt.Sprintf("mayexit %d", w))
	tb.request(1, 13)
	tb.skip()
	tb.redeemed(tb.next, grant("ann")) // after it: a new worker
	tb.want(fmt.Sprintf("start %d ann", tb.next))
	tb.AskExit(w) // it had not quite ended its session when it was let go
	tb.want(fmt.Sprintf("mayexit %d", w))
	tb.WorkerGone(w, true, tb.now)
	tb.want()
	if tb.byKey[grant("ann").Key] == nil {
		t.Error("the old worker's end took the new one off the list")
	}
}

// A worker that speaks of what is not its own is killed.
func TestWorkerBreaksRules(t *testing.T) {
	for name, act := range map[string]func(tb *table, w, s, other uint64){
		"taken of another's": func(tb *table, w, _, other uint64) { tb.Taken(w, other, tb.now) },
		"ended of another's": func(tb *table, w, _, other uint64) { tb.Ended(w, other, tb.now) },
		"taken twice":        func(tb *table, w, s, _ uint64) { tb.Taken(w, s, tb.now) },
		"ended of nothing":   func(tb *table, w, _, _ uint64) { tb.Ended(w, 4711, tb.now) },
	} {
		tb := newTable(t, Limits{})
		s, w := tb.login("ann", 11)
		other, _ := tb.login("bob", 12)
		act(tb, w, s, other)
		tb.want(fmt.Sprintf("kill %d", w))
		if tb.sessions[other] == nil {
			t.Errorf("%s: bob's session is gone", name)
		}
	}
}

func TestBackoffIsPerUser(t *testing.T) {
	tb := newTable(t, Limits{})
	die := func() { // the first worker of a login and its retry
		tb.request(1, 1)
		tb.redeemed(tb.next, grant("ann"))
		for range 2 {
			w := tb.byKey[grant("ann").Key]
			tb.WorkerStarted(w.id, 1)
			tb.WorkerGone(w.id, false, tb.now)
		}
	}
	die()
	tb.skip()
	ask := func(user string) string {
		tb.request(1, 2)
		id := tb.next
		tb.skip()
		tb.redeemed(id, grant(user))
		return strings.Join(tb.rec.got, "; ")
	}
	if got := ask("ann"); !strings.HasPrefix(got, "no 1/2 unavailable: The mail process of this user keeps failing. Try again in 2s.") {
		t.Error(got)
	}
	if got := ask("bob"); !strings.HasPrefix(got, "start ") {
		t.Error("bob waits for ann:", got)
	}
	tb.now = tb.now.Add(2 * time.Second)
	die() // counts 3 and 4: 8 s
	if got := ask("ann"); !strings.Contains(got, "in 8s") {
		t.Error(got)
	}
	for range 10 {
		tb.now = tb.now.Add(time.Hour)
		die()
	}
	if got := ask("ann"); !strings.Contains(got, "in 1m0s") {
		t.Error(got)
	}
	tb.now = tb.now.Add(time.Minute)
	if s, w := tb.login("ann", 3); true { // it works again
		tb.Ended(w, s, tb.now)
		tb.WorkerGone(w, false, tb.now)
	}
	if got := ask("ann"); !strings.HasPrefix(got, "start ") {
		t.Error(got)
	}
	tb.Tick(tb.now.Add(time.Hour))
	if len(tb.fails) != 0 {
		t.Errorf("%v", tb.fails)
	}
}

// A worker that dies as soon as it serves has not worked; one that serves for
// a while has.
func TestBackoffAfterTaken(t *testing.T) {
	tb := newTable(t, Limits{})
	crash := func(after time.Duration) {
		_, w := tb.login("ann", 1)
		tb.now = tb.now.Add(after)
		tb.Tick(tb.now)
		tb.WorkerGone(w, false, tb.now)
		tb.skip()
	}
	refused := func() bool {
		tb.request(1, 2)
		id := tb.next
		tb.redeemed(id, grant("ann"))
		no := strings.Contains(strings.Join(tb.rec.got, "; "), "keeps failing")
		tb.skip()
		return no
	}
	crash(time.Second)
	crash(time.Second)
	if !refused() {
		t.Error("the third worker is started at once")
	}
	tb.now = tb.now.Add(2 * time.Second)
	crash(3 * time.Second)
	crash(time.Second)
	if refused() {
		t.Error("a worker that served for a while did not count")
	}
}
