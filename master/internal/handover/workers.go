package handover

import (
	"fmt"
	"slices"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/ipc/redeemmsg"
)

type workerState uint8

const (
	starting workerState = iota // it queues
	running
	dying   // killed or broken, not reaped yet: it queues too
	leaving // it may exit and is on no list
)

type worker struct {
	id       uint64
	key      Key
	state    workerState
	record   redeemmsg.Record
	launched bool // a process was asked for
	ready    bool // it said so
	pid      int
	started  time.Time
	idle     time.Time // since when it has no session
	sessions map[uint64]*session
	queue    []*session
	guests   map[uint64]*guest
	arriving []*guest // they wait for it as the queue does
	// forGuests: no session has it run. It counts against the limit of such.
	forGuests bool
	maxVisits int
	asks      Bucket
}

func (w *worker) forget(s *session) {
	delete(w.sessions, s.id)
	if i := slices.Index(w.queue, s); i >= 0 {
		w.queue = slices.Delete(w.queue, i, i+1)
	}
}

// start makes a worker for the session, or refuses it and returns nil.
func (m *Machine) start(s *session, now time.Time) *worker {
	if m.limits.Workers > 0 && m.started(false) >= m.limits.Workers && !m.endLingerer(false) {
		m.Counters.OverWorkers++
		m.fx.Warn(fmt.Sprintf("worker_process_limit (%d) is reached: a login of %s was refused", m.limits.Workers, s.grant.Key.User))
		m.refuse(s, errkind.Limit, fmt.Sprintf("Maximum number of mail processes reached (worker_process_limit=%d).", m.limits.Workers))
		return nil
	}
	return m.startWorker(s.grant, false, now)
}

func (m *Machine) startWorker(g Grant, forGuests bool, now time.Time) *worker {
	m.next++
	w := &worker{id: m.next, key: g.Key, record: g.Record, started: now, idle: now, sessions: map[uint64]*session{}, guests: map[uint64]*guest{},
		forGuests: forGuests, maxVisits: g.MaxVisits}
	m.workers[w.id] = w
	m.byKey[w.key] = w
	m.pending = append(m.pending, w)
	m.launch()
	return w
}

// launch starts the processes that wait for their place: one that may exit has
// it until it is reaped.
func (m *Machine) launch() {
	n, limit := map[bool]int{}, map[bool]int{false: m.limits.Workers, true: m.limits.Guests}
	for _, w := range m.workers {
		if w.launched {
			n[w.forGuests]++
		}
	}
	var wait []*worker
	pending := m.pending
	m.pending = nil
	for _, w := range pending {
		if m.workers[w.id] != w {
			continue
		}
		if limit[w.forGuests] > 0 && n[w.forGuests] >= limit[w.forGuests] {
			wait = append(wait, w)
			continue
		}
		n[w.forGuests]++
		w.launched = true
		m.Counters.WorkersStarted++
		m.fx.StartWorker(w.id, w.key, w.record)
	}
	m.pending = append(wait, m.pending...)
}

// started is the number of workers that are not on their way out: of those that run
// for guests alone, or of the others.
func (m *Machine) started(forGuests bool) int {
	n := 0
	for _, w := range m.workers {
		if w.state != leaving && w.forGuests == forGuests {
			n++
		}
	}
	return n
}

// endLingerer tells the worker that has been idle longest to exit, of those that ran
// for guests, or of the others.
func (m *Machine) endLingerer(forGuests bool) bool {
	var oldest *worker
	for _, w := range m.workers {
		if w.idler() && w.forGuests == forGuests && (oldest == nil || w.idle.Before(oldest.idle)) {
			oldest = w
		}
	}
	if oldest == nil {
		return false
	}
	m.letGo(oldest)
	return true
}

func (w *worker) idler() bool { return w.state == running && w.quiet() }

// quiet reports whether it serves nobody.
func (w *worker) quiet() bool { return len(w.sessions)+len(w.guests) == 0 }

// letGo takes a worker off the list, then lets it go: no session can be sent
// to it in between.
func (m *Machine) letGo(w *worker) {
	m.unlist(w)
	w.state = leaving
	m.fx.MayExit(w.id)
}

func (m *Machine) unlist(w *worker) {
	if m.byKey[w.key] == w {
		delete(m.byKey, w.key)
	}
}

// WorkerStarted says that the process exists and was told whose mail it
// serves: sessions may be sent.
func (m *Machine) WorkerStarted(id uint64, pid int) {
	w := m.workers[id]
	if w == nil {
		return
	}
	w.pid = pid
	if w.state != starting {
		return
	}
	w.state = running
	m.flush(w)
}

// flush sends what waited.
func (m *Machine) flush(w *worker) {
	queue := w.queue
	w.queue = nil
	for _, s := range queue {
		m.send(w, s)
	}
	arriving := w.arriving
	w.arriving = nil
	for _, g := range arriving {
		m.introduce(w, g)
	}
}

// WorkerFailed says that the worker could not be started at all.
func (m *Machine) WorkerFailed(id uint64, kind errkind.Kind, text string) {
	w := m.workers[id]
	if w == nil {
		return
	}
	m.drop(w)
	for _, s := range slices.Clone(w.queue) {
		m.refuse(s, kind, text)
	}
	for _, g := range slices.Clone(w.arriving) {
		// Why his process cannot be started is the owner's affair.
		m.turnAway(g, errkind.Unavailable, "The mail process of this user cannot be started. Try again later.")
	}
}

func (m *Machine) drop(w *worker) {
	m.unlist(w)
	delete(m.workers, w.id)
	m.launch()
}

// WorkerReady says that the worker is confined to its user.
func (m *Machine) WorkerReady(id uint64) {
	if w := m.workers[id]; w != nil {
		w.ready = true
	}
}

// WorkerBroken says that its channel is gone or that it broke a rule: it is
// killed, and what it has not taken waits until it is reaped.
func (m *Machine) WorkerBroken(id uint64, why string) {
	w := m.workers[id]
	if w == nil || w.state == dying {
		return
	}
	if w.state == leaving {
		m.fx.Kill(id) // has exited, or should have
		return
	}
	if why != "" {
		m.fx.Warn(fmt.Sprintf("the %s process %d of %s is killed: %s", w.key.Service, w.pid, w.key.User, why))
	}
	w.state = dying
	m.fx.Kill(id)
}

// WorkerGone says that the worker is reaped. clean: it exited with code 0.
func (m *Machine) WorkerGone(id uint64, clean bool, now time.Time) {
	w := m.workers[id]
	if w == nil {
		return
	}
	m.drop(w)
	if w.state != leaving || !clean {
		m.Counters.WorkersDied++
		m.noteDeath(w, now)
	}
	for _, s := range append(inOrder(w.sessions), w.queue...) {
		m.again(s, now)
	}
	m.guestsOfGone(w, now)
}

// again gives a session of a dead worker to the next one, once.
func (m *Machine) again(s *session, now time.Time) {
	tried := s.retried
	s.worker, s.retried = nil, true
	switch {
	case s.phase == taken:
		m.remove(s)
	case s.kicked: // who was told to go is not let in again
		m.refuse(s, errkind.Unavailable, "Disconnected by the administrator.")
	case tried || m.stopping:
		m.refuse(s, errkind.Unavailable, "The mail process failed. Try again in a moment.")
	default:
		s.phase = waiting
		m.Counters.Retried++
		m.place(s, now)
	}
}

func inOrder(set map[uint64]*session) []*session {
	out := make([]*session, 0, len(set))
	for _, s := range set {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *session) int { return int(a.id) - int(b.id) })
	return out
}

// Taken says that the worker has read GO: the envelope's copy is not needed
// any more.
func (m *Machine) Taken(worker, id uint64, now time.Time) {
	s := m.of(worker, id)
	if s == nil {
		return
	}
	if s.phase == taken {
		m.WorkerBroken(worker, "it took a session twice")
		return
	}
	s.phase, s.since = taken, now
	m.closeEnvelope(s)
	m.Counters.HandedOver++
	m.answer(s, false, errkind.Other, "")
}

// Ended says that a session is over; not taken: its login end went before GO.
func (m *Machine) Ended(worker, id uint64, now time.Time) {
	s := m.of(worker, id)
	if s == nil {
		return
	}
	m.answer(s, true, errkind.Unavailable, "The login was given up.")
	if s.phase == taken {
		m.forgive(s.grant.Key)
	}
	m.remove(s)
	if w := m.workers[worker]; w != nil && w.quiet() {
		w.idle = now
	}
}

// of finds a worker's session; one that is not its own breaks the rules.
func (m *Machine) of(worker, id uint64) *session {
	w := m.workers[worker]
	if w == nil {
		return nil
	}
	s := w.sessions[id] // also of a dying one: what it has taken must not be tried again
	if s == nil {
		m.WorkerBroken(worker, fmt.Sprintf("it spoke of session %d, which is not its own", id))
	}
	return s
}

// AskExit is a worker's wish to go. If a session was sent meanwhile there is
// no answer, and it stays. One that was let go, but whose last session had not
// quite ended when it read so, asks again and is told again.
func (m *Machine) AskExit(worker uint64) {
	w := m.workers[worker]
	if w == nil {
		return
	}
	if w.idler() {
		m.letGo(w)
	} else if w.state == leaving {
		m.fx.MayExit(w.id)
	}
}

// Changed wakes the user's other workers.
func (m *Machine) Changed(worker uint64) {
	from := m.workers[worker]
	if from == nil {
		return
	}
	for _, w := range m.workers {
		if w != from && w.key.User == from.key.User && w.state == running {
			m.fx.Wake(w.id)
		}
	}
}

// WakeUser tells the workers of a user that a process which is none of them
// changed his mail.
func (m *Machine) WakeUser(user string) {
	for _, w := range m.workers {
		if w.key.User == user && w.state == running {
			m.fx.Wake(w.id)
		}
	}
}

// LetUserGo ends the workers of a user that have no session.
func (m *Machine) LetUserGo(user string) {
	for _, w := range m.workers {
		if w.key.User == user && w.idler() {
			m.letGo(w)
		}
	}
}
