package master

import (
	"crypto/rand"
	"time"

	"rookery/internal/ipc/handoffmsg"
	"rookery/internal/settings"
)

// rotate makes a new key for TLS session tickets; the older ones still open
// tickets for a while.
func (ps *pairs) rotate(m *master, now time.Time) {
	var key [handoffmsg.TicketKey]byte
	rand.Read(key[:]) // never fails: crypto/rand ends the process instead
	ps.tickets = append([][handoffmsg.TicketKey]byte{key}, ps.tickets...)
	if len(ps.tickets) > ticketKeys {
		clear(ps.tickets[ticketKeys][:])
		ps.tickets = ps.tickets[:ticketKeys]
	}
	ps.rotated = now
	for _, l := range m.logins.all {
		ps.sendTickets(m, l)
	}
}

// sendTickets gives a login process the shared keys, or none: one process per
// connection would hold a key that opens the others' sessions.
func (ps *pairs) sendTickets(m *master, l *loginProc) {
	msg := &handoffmsg.TicketKeys{}
	if settings.SSLSessionTickets.Get(m.cfg.set) && !l.single {
		msg.Keys = ps.tickets
	}
	m.send(l.proc, msg, -1)
}
