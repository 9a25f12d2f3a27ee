package master

import (
	"time"

	"rookery/internal/errkind"
	"rookery/internal/ipc/handoffmsg"
	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/ipc/workermsg"
	"rookery/master/internal/handover"
)

// effects does what the table of hand-overs asks for. Answers of a child that
// cannot be reached come as events later, never from within.
type effects struct{ m *master }

func (e effects) Redeem(id uint64, r handover.Request) {
	m := e.m
	l := m.logins.all[r.Login]
	if l == nil || !m.send(m.authd.proc, &redeemmsg.Redeem{ID: id, Channel: l.channel, Ticket: r.Ticket, Service: r.Service, Session: r.Session}, -1) {
		go m.post(func() { m.table.RedeemFailed(id, errkind.Unavailable, "Temporary authentication failure.") })
	}
}

// redeemed is authd's answer: master checks for itself, then the table goes on.
func (m *master) redeemed(msg *redeemmsg.Redeemed) {
	service := m.table.ServiceOf(msg.ID)
	if service == "" {
		return // its login process is gone
	}
	if m.tools.held[msg.Record.User] > 0 {
		m.table.RedeemFailed(msg.ID, errkind.Unavailable, heldText)
		return
	}
	_, err := m.cfg.policy.Identify(msg.Record)
	var g handover.Grant
	if err == nil {
		msg.Record, err = m.settle(service, msg.Record)
	}
	if err == nil {
		g, err = m.cfg.policy.Grant(service, msg.Record)
	}
	if err != nil {
		m.log.Errorf("user %s gets no session: %v", msg.Record.User, err)
		m.table.RedeemFailed(msg.ID, errkind.ContactAdmin, "This account cannot be used; please ask the administrator.")
		return
	}
	m.table.Redeemed(msg.ID, g, time.Now())
}

func (e effects) Answer(login, request uint64, failed bool, kind errkind.Kind, text string, worker int) {
	l := e.m.logins.all[login]
	if l == nil {
		return
	}
	if !failed {
		l.handed = true
	}
	e.m.send(l.proc, &handoffmsg.Done{ID: request, Failed: failed, Kind: kind, Text: text, PID: uint32(worker)}, -1)
}

func (e effects) StartWorker(worker uint64, k handover.Key, r redeemmsg.Record) {
	e.m.startWorker(worker, k, r)
}

func (e effects) Send(worker, id uint64, session string, r redeemmsg.Record, envelope int) {
	if w := e.m.workers.byID[worker]; w != nil && !e.m.send(w.proc, &workermsg.Session{ID: id, Session: session, Record: r}, envelope) {
		w.kill() // the session goes to another, or is refused, once this one is reaped
	}
}

func (e effects) MayExit(worker uint64) {
	if w := e.m.workers.byID[worker]; w != nil {
		w.exiting = true
		e.m.send(w.proc, &workermsg.MayExit{}, -1)
	}
}

func (e effects) Kill(worker uint64) {
	if w := e.m.workers.byID[worker]; w != nil {
		w.kill()
	}
}

func (e effects) Kick(worker, id uint64, text string) {
	if w := e.m.workers.byID[worker]; w != nil {
		e.m.send(w.proc, &workermsg.Kick{ID: id, Text: text}, -1)
	}
}

func (e effects) Wake(worker uint64) {
	if w := e.m.workers.byID[worker]; w != nil {
		e.m.send(w.proc, &workermsg.Wake{}, -1)
	}
}

func (e effects) Close(fd int)                       { e.m.close(fd) }
func (e effects) DropLogin(login uint64, why string) { e.m.dropLogin(login, why) }
func (e effects) Warn(text string)                   { e.m.log.Warnf("%s", text) }
func (e effects) Info(text string)                   { e.m.log.Infof("%s", text) }
