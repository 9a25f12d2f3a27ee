package handover

import (
	"fmt"
	"slices"
	"time"

	"rookery/internal/errkind"
)

// A guest is a channel between two workers: the one that asked, and the one of the
// user whose shared mail it wants to see. The machine asks authd who may, finds or
// starts the owner's worker, and lets master make the channel. From then on the
// owner's worker has the guest as it has a session.

type guestPhase uint8

const (
	asking   guestPhase = iota // authd is asked
	arriving                   // the owner's worker does not run yet, or is being reaped
	visiting                   // the owner's worker has it
)

type guest struct {
	id      uint64
	from    uint64 // the worker that asked
	request uint64 // its own number
	user    string
	owner   string
	phase   guestPhase
	since   time.Time
	grant   Grant // the owner's
	groups  []string
	worker  *worker // the owner's
	retried bool
	// kicked: the owner's worker was told to end it. kickedAt is the first Tick after that.
	kicked   bool
	kickedAt time.Time
}

// A worker may ask this many times at once, and then so often.
const (
	askBurst = 64
	askEvery = 50 * time.Millisecond
)

// Bucket bounds how often somebody does something: burst times at once, and then
// once each every.
type Bucket struct {
	used float64
	at   time.Time
}

// Take reports whether it may be done now.
func (b *Bucket) Take(now time.Time, burst int, every time.Duration) bool {
	b.used = max(0, b.used-float64(now.Sub(b.at))/float64(every))
	b.at = now
	if b.used+1 > float64(burst) {
		return false
	}
	b.used++
	return true
}

// Reach is a worker's wish to see what owner shares with its user.
func (m *Machine) Reach(from, request uint64, owner string, now time.Time) {
	w := m.workers[from]
	if w == nil || w.state == dying {
		return
	}
	m.Counters.Reaches++
	g := &guest{from: from, request: request, user: w.key.User, owner: owner, since: now}
	kind, text := errkind.Other, ""
	switch {
	case w.key.Service != "imap":
		m.WorkerBroken(from, "it asked for another user's mail")
		return
	case owner == "" || owner == g.user || w.record.Anonymous:
		kind = errkind.NotFound
	case m.stopping:
		kind, text = errkind.Unavailable, "The server is shutting down."
	case !w.asks.Take(now, askBurst, askEvery):
		m.Counters.OverGuests++
		kind, text = errkind.Limit, "Too many users' mailboxes were opened in a short time. Try again in a moment."
	case w.maxVisits > 0 && m.visitsOf(g.user) >= w.maxVisits:
		m.Counters.OverGuests++
		kind, text = errkind.Limit, fmt.Sprintf("Maximum number of users whose mailboxes are open at once exceeded (mail_max_guest_connections=%d)", w.maxVisits)
	default:
		m.next++
		g.id = m.next
		m.guests[g.id] = g
		m.fx.Visit(g.id, g.user, owner)
		return
	}
	m.fx.Reached(from, request, kind, text)
}

// visitsOf counts the channels of a user to others.
func (m *Machine) visitsOf(user string) int {
	n := 0
	for _, g := range m.guests {
		if g.user == user {
			n++
		}
	}
	return n
}

// guestsAt counts the guests of an owner.
func (m *Machine) guestsAt(owner string) int {
	n := 0
	for _, g := range m.guests {
		if g.phase != asking && g.grant.Key.User == owner {
			n++
		}
	}
	return n
}

// Visited is authd's answer, after master's own checks: the guest may see something
// of the owner's, and is in these groups.
func (m *Machine) Visited(id uint64, owner Grant, groups []string, now time.Time) {
	g := m.guests[id]
	if g == nil || g.phase != asking {
		return // its worker is gone
	}
	g.grant, g.groups = owner, groups
	f := m.fails[userKey{owner.Key.Service, owner.Key.User}]
	switch {
	case m.stopping:
		m.turnAway(g, errkind.Unavailable, "The server is shutting down.")
	case owner.MaxGuests > 0 && m.guestsAt(owner.Key.User) >= owner.MaxGuests:
		m.Counters.OverGuests++
		m.turnAway(g, errkind.Limit, "Too many users have this user's mailboxes open. Try again later.")
	case f != nil && now.Before(f.until):
		m.Counters.BackedOff++
		m.turnAway(g, errkind.Unavailable, "The mail process of this user keeps failing. Try again later.")
	default:
		m.receive(g, now)
	}
}

// VisitFailed ends a wish that authd or master itself could not grant.
func (m *Machine) VisitFailed(id uint64, kind errkind.Kind, text string) {
	if g := m.guests[id]; g != nil && g.phase == asking {
		m.turnAway(g, kind, text)
	}
}

// turnAway refuses a guest who is not there yet, and forgets him.
func (m *Machine) turnAway(g *guest, kind errkind.Kind, text string) {
	m.fx.Reached(g.from, g.request, kind, text)
	m.forgetGuest(g)
}

func (m *Machine) forgetGuest(g *guest) {
	delete(m.guests, g.id)
	if g.worker == nil {
		return
	}
	delete(g.worker.guests, g.id)
	if i := slices.Index(g.worker.arriving, g); i >= 0 {
		g.worker.arriving = slices.Delete(g.worker.arriving, i, i+1)
	}
}

// receive gives a guest to the owner's worker, which is started if need be.
func (m *Machine) receive(g *guest, now time.Time) {
	w := m.byKey[g.grant.Key]
	if w == nil {
		for m.limits.Guests > 0 && m.started(true) >= m.limits.Guests {
			if m.endLingerer(true) {
				continue
			}
			m.Counters.OverGuests++
			m.fx.Warn(fmt.Sprintf("worker_guest_process_limit (%d) is reached: %s does not see what %s shares", m.limits.Guests, g.user, g.owner))
			m.turnAway(g, errkind.Limit, "Too many users' mailboxes are open on this server. Try again later.")
			return
		}
		w = m.startWorker(g.grant, true, now)
	}
	if w.state == running {
		m.introduce(w, g)
		return
	}
	if m.limits.Queue > 0 && len(w.arriving) >= m.limits.Queue {
		m.Counters.QueueFull++
		m.turnAway(g, errkind.Limit, "Too many users wait for this user's mailboxes. Try again in a moment.")
		return
	}
	g.worker, g.phase = w, arriving
	w.arriving = append(w.arriving, g)
}

// introduce makes the channel.
func (m *Machine) introduce(w *worker, g *guest) {
	g.worker, g.phase = w, visiting
	w.guests[g.id] = g
	m.Counters.Guests++
	m.fx.Introduce(g.from, g.request, w.id, g.id, g.user, g.groups)
}

// GuestEnded is the owner's worker's word that a guest has gone.
func (m *Machine) GuestEnded(worker, id uint64, now time.Time) {
	w := m.workers[worker]
	if w == nil {
		return
	}
	g := w.guests[id]
	if g == nil {
		m.WorkerBroken(worker, fmt.Sprintf("it spoke of guest %d, which is not its own", id))
		return
	}
	m.forgetGuest(g)
	if w.quiet() {
		w.idle = now
	}
}

// guestsOfGone parts with what a dead worker had: guests on their way to it go to
// the next one, once; those it had are gone, as their channels are. What it had asked
// for itself is dropped; at whom its channels lead, sees them end.
func (m *Machine) guestsOfGone(w *worker, now time.Time) {
	for _, g := range guestsInOrder(m.guests) {
		switch {
		case g.from == w.id && g.phase != visiting:
			m.forgetGuest(g)
		case g.worker != w:
		case g.phase == visiting:
			m.forgetGuest(g)
		case g.retried || m.stopping:
			m.turnAway(g, errkind.Unavailable, "The mail process of this user failed. Try again in a moment.")
		default:
			g.worker, g.retried, g.phase = nil, true, arriving
			m.receive(g, now)
		}
	}
}

// guestsLeft is called when a worker's last session has ended: from now on it runs
// because of its guests. If too many do, they are sent away.
func (m *Machine) guestsLeft(w *worker) {
	if len(w.sessions)+len(w.queue) > 0 || len(w.guests)+len(w.arriving) == 0 || w.state != running {
		return
	}
	w.forGuests = true
	if m.limits.Guests > 0 && m.started(true) > m.limits.Guests && !m.endLingerer(true) {
		m.Counters.OverGuests++
		m.sendAway(w, "Too many users' mailboxes are open on this server.")
	}
}

// sendAway ends all guests of a worker.
func (m *Machine) sendAway(w *worker, text string) {
	for _, g := range guestsInOrder(w.guests) {
		m.kickGuest(g, text)
	}
	for _, g := range slices.Clone(w.arriving) {
		m.turnAway(g, errkind.Unavailable, text)
	}
}

// kickGuest ends one guest. A worker that does not is killed, as with sessions.
func (m *Machine) kickGuest(g *guest, text string) {
	if g.phase != visiting {
		m.turnAway(g, errkind.Unavailable, text)
		return
	}
	g.kicked = true
	m.fx.Kick(g.worker.id, g.id, text)
}

// KickGuests ends the guests of an owner: his mail is to be worked on.
func (m *Machine) KickGuests(owner, text string) {
	for _, g := range guestsInOrder(m.guests) {
		if g.phase != asking && g.grant.Key.User == owner {
			m.kickGuest(g, text)
		}
	}
}

// tickGuests is Tick's part.
func (m *Machine) tickGuests(now time.Time) {
	for _, g := range guestsInOrder(m.guests) {
		switch {
		case g.phase == asking && now.Sub(g.since) > slowRedeem:
			m.turnAway(g, errkind.Unavailable, "The server does not know at the moment who may see this. Try again later.")
		case g.kicked && g.kickedAt.IsZero():
			g.kickedAt = now
		case g.kicked && now.Sub(g.kickedAt) > kickGrace:
			m.WorkerBroken(g.worker.id, "it did not end a guest within "+kickGrace.String())
		}
	}
}

func guestsInOrder(set map[uint64]*guest) []*guest {
	out := make([]*guest, 0, len(set))
	for _, g := range set {
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b *guest) int { return int(a.id) - int(b.id) })
	return out
}
