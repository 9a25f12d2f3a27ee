package handover

import "rookery/internal/errkind"

// Sessions lists what workers have, of one user or ("") of all, oldest first.
func (m *Machine) Sessions(user string) []Session {
	var out []Session
	for _, s := range inOrder(m.sessions) {
		if s.worker == nil || s.phase < sent || user != "" && s.grant.Key.User != user {
			continue
		}
		r := s.grant.Record
		out = append(out, Session{ID: s.id, User: s.grant.Key.User, Service: s.grant.Key.Service, Session: s.Session, Worker: s.worker.id, PID: s.worker.pid,
			Remote: r.Remote, Local: r.Local, TLS: r.TLS, Mech: r.Mech, Since: s.since, Taken: s.phase == taken})
	}
	for _, g := range guestsInOrder(m.guests) {
		if g.phase == visiting && (user == "" || g.user == user || g.grant.Key.User == user) {
			out = append(out, Session{ID: g.id, User: g.user, Service: "guest", Worker: g.worker.id, PID: g.worker.pid, Since: g.since, Taken: true, Owner: g.grant.Key.User})
		}
	}
	return out
}

// Kick ends the sessions of a user and his visits to others' mail, or the one session
// with that session id. It tells how many sessions. A worker that has not ended one of them within kickGrace hangs, and is
// killed: a worker's own last words take two seconds, a long command may take more.
func (m *Machine) Kick(userOrSession, text string) int {
	n := 0
	for _, s := range inOrder(m.sessions) {
		if s.grant.Key.User != userOrSession && s.Session != userOrSession || s.phase == redeeming {
			continue
		}
		n++
		if s.phase == waiting {
			m.refuse(s, errkind.Unavailable, text)
			continue
		}
		s.kicked = true
		m.fx.Kick(s.worker.id, s.id, text)
	}
	for _, g := range guestsInOrder(m.guests) {
		if g.user == userOrSession {
			m.kickGuest(g, text)
		}
	}
	return n
}

// LetIdleGo ends all workers without a session: after a reload they would
// serve nobody any more.
func (m *Machine) LetIdleGo() {
	for _, w := range m.workers {
		if w.idler() {
			m.letGo(w)
		}
	}
}

// Numbers are the present ones.
type Numbers struct {
	Workers  int `json:"workers"`
	Idle     int `json:"idle_workers"`
	Sessions int `json:"sessions"`
	Guests   int `json:"guests"`
	InFlight int `json:"logins_in_flight"`
}

// Now counts.
func (m *Machine) Now() Numbers {
	n := Numbers{Workers: len(m.workers), InFlight: m.inFlight}
	for _, w := range m.workers {
		if w.idler() {
			n.Idle++
		}
	}
	for _, s := range m.sessions {
		if s.phase == taken {
			n.Sessions++
		}
	}
	for _, g := range m.guests {
		if g.phase == visiting {
			n.Guests++
		}
	}
	return n
}

// WorkersOf counts a user's workers, those included that are being started or
// have not ended yet.
func (m *Machine) WorkersOf(user string) int {
	n := 0
	for _, w := range m.workers {
		if w.key.User == user {
			n++
		}
	}
	return n
}

// Running gives the workers of a service that can be told something.
func (m *Machine) Running(service string) (ids []uint64) {
	for _, w := range m.workers {
		if w.key.Service == service && w.state == running {
			ids = append(ids, w.id)
		}
	}
	return ids
}

// UserOf names the user of a worker.
func (m *Machine) UserOf(worker uint64) string {
	if w := m.workers[worker]; w != nil {
		return w.key.User
	}
	return ""
}

// AnonymousOf reports whether a worker's user has logged in without a name of his own.
func (m *Machine) AnonymousOf(worker uint64) bool {
	w := m.workers[worker]
	return w != nil && w.record.Anonymous
}

// ServiceOf is what a session that authd is being asked about wants; "" if
// there is none of that number.
func (m *Machine) ServiceOf(id uint64) string {
	if s := m.sessions[id]; s != nil && s.phase == redeeming {
		return s.Service
	}
	return ""
}
