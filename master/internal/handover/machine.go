package handover

import (
	"fmt"
	"time"

	"rookery/internal/errkind"
)

// Machine is the table. Its methods are called by one goroutine.
type Machine struct {
	fx       Effects
	limits   Limits
	logins   map[uint64]*login
	sessions map[uint64]*session
	workers  map[uint64]*worker
	guests   map[uint64]*guest
	byKey    map[Key]*worker
	perUser  map[userKey]int
	perIP    map[ipKey]int
	fails    map[userKey]*failure
	pending  []*worker // not started yet: they wait for another's place
	next     uint64
	inFlight int // sessions whose login process has no answer yet
	stopping bool
	Counters Counters
}

type login struct {
	credits  int
	inFlight int
	unknown  int // tickets in a row that authd did not know
}

// maxUnknown is how many tickets in a row, beyond those that may have been on
// their way when authd was started anew, may be ones that authd does not know: a
// session may have waited longer than authd remembers a ticket.
const maxUnknown = 16

type phase uint8

const (
	redeeming phase = iota // authd is asked
	waiting                // its worker does not run yet, or is being reaped
	sent                   // the worker may have read GO
	taken                  // it has
)

type session struct {
	Request
	id       uint64
	phase    phase
	since    time.Time
	grant    Grant
	worker   *worker
	retried  bool
	answered bool // the login process has its answer, or is gone
	// kicked: the worker was told to end it. kickedAt is the first Tick after that.
	kicked   bool
	kickedAt time.Time
}

// New makes an empty table.
func New(fx Effects, l Limits) *Machine {
	return &Machine{fx: fx, limits: l, logins: map[uint64]*login{}, sessions: map[uint64]*session{}, workers: map[uint64]*worker{}, guests: map[uint64]*guest{},
		byKey: map[Key]*worker{}, perUser: map[userKey]int{}, perIP: map[ipKey]int{}, fails: map[userKey]*failure{}}
}

// SetLimits is for a reload.
func (m *Machine) SetLimits(l Limits) { m.limits = l }

// LoginUp adds a login process.
func (m *Machine) LoginUp(id uint64, credits int) { m.logins[id] = &login{credits: credits} }

// LoginGone takes one away. What a worker may already have read goes on: GO
// waits in the envelope even if its sender is dead.
func (m *Machine) LoginGone(id uint64) {
	if m.logins[id] == nil {
		return
	}
	delete(m.logins, id)
	for _, s := range m.sessions {
		if s.Login != id {
			continue
		}
		if !s.answered {
			s.answered = true
			m.inFlight--
		}
		if s.phase == redeeming || s.phase == waiting {
			m.remove(s)
		}
	}
}

// NewRequest is a login process's Request.
func (m *Machine) NewRequest(r Request, now time.Time) {
	m.Counters.Requests++
	l := m.logins[r.Login]
	if l == nil { // it was dropped with this message on its way
		m.fx.Close(r.Envelope)
		return
	}
	why := ""
	if l.inFlight >= l.credits {
		why = fmt.Sprintf("it has more than its %d requests in flight", l.credits)
	} else if r.Service != "imap" && r.Service != "pop3" {
		why = fmt.Sprintf("it asked for the service %q", r.Service)
	}
	if why != "" {
		m.fx.Close(r.Envelope)
		m.Counters.LoginsDropped++
		m.fx.DropLogin(r.Login, why)
		return
	}
	m.next++
	s := &session{Request: r, id: m.next, since: now}
	m.sessions[s.id] = s
	l.inFlight++
	m.inFlight++
	switch {
	case m.stopping:
		m.refuse(s, errkind.Unavailable, "The server is shutting down.")
	case m.limits.Requests > 0 && m.inFlight > m.limits.Requests:
		m.Counters.OverRequests++
		m.refuse(s, errkind.Limit, fmt.Sprintf("Too many logins at the same time (%d). Try again in a moment.", m.limits.Requests))
	default:
		m.fx.Redeem(s.id, r)
	}
}

// Redeemed is authd's answer, after master's own checks.
func (m *Machine) Redeemed(id uint64, g Grant, now time.Time) {
	s := m.sessions[id]
	if s == nil || s.phase != redeeming {
		return // its login process is gone
	}
	s.grant = g
	if l := m.logins[s.Login]; l != nil {
		l.unknown = 0
	}
	if kind, text, ok := m.admit(s, now); !ok {
		m.refuse(s, kind, text)
		return
	}
	m.count(s, +1)
	s.phase = waiting
	m.place(s, now)
}

// TicketRefused ends a request whose ticket authd refused. A login process that
// shows what was never its own is ended: Expired happens to an honest one,
// NotFound only now and then, and all else never.
func (m *Machine) TicketRefused(id uint64, kind errkind.Kind) {
	s := m.sessions[id]
	if s == nil || s.phase != redeeming {
		return
	}
	m.RedeemFailed(id, errkind.Unavailable, "Temporary authentication failure.")
	l := m.logins[s.Login]
	if l == nil {
		return
	}
	why := ""
	switch kind {
	case errkind.Expired, errkind.Unavailable:
	case errkind.NotFound:
		if l.unknown++; l.unknown > l.credits+maxUnknown {
			why = fmt.Sprintf("it showed %d tickets in a row that authd never issued", l.unknown)
		}
	default:
		why = "it showed a ticket that was issued for another session"
	}
	if why != "" {
		m.Counters.LoginsDropped++
		m.fx.DropLogin(s.Login, why)
	}
}

// RedeemFailed ends a request that authd or master itself could not grant.
func (m *Machine) RedeemFailed(id uint64, kind errkind.Kind, text string) {
	s := m.sessions[id]
	if s == nil || s.phase != redeeming {
		return
	}
	m.Counters.TicketsRefused++
	m.refuse(s, kind, text)
}

// AuthGone ends all requests that wait for authd: tickets die with it.
func (m *Machine) AuthGone() {
	for _, s := range m.sessions {
		if s.phase == redeeming {
			m.refuse(s, errkind.Unavailable, "Temporary authentication failure.")
		}
	}
	for _, g := range guestsInOrder(m.guests) {
		if g.phase == asking {
			m.turnAway(g, errkind.Unavailable, "The server does not know at the moment who may see this. Try again later.")
		}
	}
}

// place gives a waiting session to its worker, which is started if need be.
func (m *Machine) place(s *session, now time.Time) {
	w := m.byKey[s.grant.Key]
	if w == nil {
		if w = m.start(s, now); w == nil {
			return
		}
	}
	// A login is not refused because the user's process runs for guests already: worker_process_limit
	// may be exceeded by as many as worker_guest_process_limit.
	w.forGuests = false
	if w.state == running {
		m.send(w, s)
		return
	}
	if m.limits.Queue > 0 && len(w.queue) >= m.limits.Queue {
		m.Counters.QueueFull++
		m.refuse(s, errkind.Limit, "Too many logins of this user wait. Try again in a moment.")
		return
	}
	s.worker, s.phase = w, waiting
	w.queue = append(w.queue, s)
}

func (m *Machine) send(w *worker, s *session) {
	s.worker, s.phase = w, sent
	w.sessions[s.id] = s
	m.fx.Send(w.id, s.id, s.Session, s.grant.Record, s.Envelope)
}

// refuse answers No and forgets the session.
func (m *Machine) refuse(s *session, kind errkind.Kind, text string) {
	if kind == errkind.Unavailable {
		m.Counters.Unavailable++
	}
	m.answer(s, true, kind, text)
	m.remove(s)
}

func (m *Machine) answer(s *session, failed bool, kind errkind.Kind, text string) {
	if s.answered {
		return
	}
	s.answered = true
	m.inFlight--
	if l := m.logins[s.Login]; l != nil {
		l.inFlight--
		pid := 0
		if s.worker != nil && !failed {
			pid = s.worker.pid
		}
		m.fx.Answer(s.Login, s.ID, failed, kind, text, pid)
	}
}

// remove forgets a session wherever it stands.
func (m *Machine) remove(s *session) {
	delete(m.sessions, s.id)
	m.closeEnvelope(s)
	if s.phase != redeeming {
		m.count(s, -1)
	}
	if s.worker != nil {
		s.worker.forget(s)
		m.guestsLeft(s.worker)
	}
}

func (m *Machine) closeEnvelope(s *session) {
	if s.Envelope >= 0 {
		m.fx.Close(s.Envelope)
		s.Envelope = -1
	}
}

// Stop lets no further session begin.
func (m *Machine) Stop() {
	m.stopping = true
	for _, s := range m.sessions {
		if s.phase == redeeming || s.phase == waiting {
			m.refuse(s, errkind.Unavailable, "The server is shutting down.")
		}
	}
	for _, g := range guestsInOrder(m.guests) {
		if g.phase != visiting {
			m.turnAway(g, errkind.Unavailable, "The server is shutting down.")
		}
	}
}
