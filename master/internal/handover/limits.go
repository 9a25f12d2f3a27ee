package handover

import (
	"fmt"
	"net/netip"
	"time"

	"rookery/internal/errkind"
)

type userKey struct{ service, user string }

type ipKey struct {
	userKey
	addr netip.Addr
}

// failure is how a user's workers died of late.
type failure struct {
	count int
	until time.Time // no new worker before
}

// Back-off of one user's workers: the second death at once counts, since the
// first is retried; then it doubles.
const (
	atOnce     = 2 * time.Second
	minBackoff = 2 * time.Second
	maxBackoff = 60 * time.Second
	readyLimit = 30 * time.Second // a worker silent for longer is killed
	exitLimit  = 30 * time.Second // one that may exit and does not
	keepFails  = 5 * time.Minute
	slowRedeem = 30 * time.Second // authd does not answer
	kickGrace  = 30 * time.Second // a worker that has not ended a kicked session by then is killed
)

func keys(s *session) (userKey, ipKey) {
	u := userKey{s.grant.Key.Service, s.grant.Key.User}
	return u, ipKey{u, s.grant.Record.Remote.Addr().Unmap()}
}

// admit checks the limits of one user.
func (m *Machine) admit(s *session, now time.Time) (errkind.Kind, string, bool) {
	u, ip := keys(s)
	g := s.grant
	switch {
	case m.stopping:
		return errkind.Unavailable, "The server is shutting down.", false
	case g.MaxIP > 0 && !g.NoIP && m.perIP[ip] >= g.MaxIP:
		m.Counters.OverUserIP++
		return errkind.Limit, fmt.Sprintf("Maximum number of connections from user+IP exceeded (mail_max_userip_connections=%d)", g.MaxIP), false
	case g.MaxUser > 0 && m.perUser[u] >= g.MaxUser:
		m.Counters.OverUser++
		return errkind.Limit, fmt.Sprintf("Maximum number of connections of the user exceeded (mail_max_user_connections=%d)", g.MaxUser), false
	}
	if f := m.fails[u]; f != nil && now.Before(f.until) {
		m.Counters.BackedOff++
		wait := f.until.Sub(now).Round(time.Second)
		return errkind.Unavailable, fmt.Sprintf("The mail process of this user keeps failing. Try again in %s.", max(wait, time.Second)), false
	}
	return 0, "", true
}

// count adds a session to the user's numbers or takes it away.
func (m *Machine) count(s *session, by int) {
	u, ip := keys(s)
	if m.perUser[u] += by; m.perUser[u] <= 0 {
		delete(m.perUser, u)
	}
	if m.perIP[ip] += by; m.perIP[ip] <= 0 {
		delete(m.perIP, ip)
	}
}

// noteDeath makes a user whose workers die at once wait; nobody else does.
func (m *Machine) noteDeath(w *worker, now time.Time) {
	if w.ready && now.Sub(w.started) > atOnce {
		return
	}
	u := userKey{w.key.Service, w.key.User}
	f := m.fails[u]
	if f == nil {
		f = &failure{}
		m.fails[u] = f
	}
	if f.count++; f.count < 2 {
		f.until = now // no back-off, but Tick keeps it for a while
		return
	}
	wait := min(minBackoff<<min(f.count-2, 10), maxBackoff)
	f.until = now.Add(wait)
	m.fx.Warn(fmt.Sprintf("the %s process of %s died %d times in a row just after its start; the next is started in %s", u.service, u.user, f.count, wait))
}

// forgive is called when a worker of the user has done its work: a session
// came to its end, or runs for a while. To take one is not enough: a user whose
// mail crashes each worker would start them, and fill the log, without a pause.
func (m *Machine) forgive(k Key) { delete(m.fails, userKey{k.Service, k.User}) }

// Tick is called about once a second.
func (m *Machine) Tick(now time.Time) {
	for _, w := range m.workers {
		if w.state == running && w.ready && !w.quiet() && now.Sub(w.started) > atOnce {
			m.forgive(w.key)
		}
		switch {
		case w.state == running && !w.ready && now.Sub(w.started) > readyLimit:
			m.WorkerBroken(w.id, "it was not ready within "+readyLimit.String())
		case w.state == leaving && now.Sub(w.idle) > exitLimit && now.Sub(w.started) > exitLimit:
			m.fx.Kill(w.id)
		}
	}
	for _, s := range m.sessions {
		switch {
		case s.phase == redeeming && now.Sub(s.since) > slowRedeem:
			m.refuse(s, errkind.Unavailable, "Temporary authentication failure.")
		case s.kicked && s.kickedAt.IsZero():
			s.kickedAt = now
		case s.kicked && s.worker != nil && now.Sub(s.kickedAt) > kickGrace:
			m.WorkerBroken(s.worker.id, "it did not end a session within "+kickGrace.String())
		}
	}
	m.tickGuests(now)
	for u, f := range m.fails {
		if now.Sub(f.until) > keepFails {
			delete(m.fails, u)
		}
	}
}
