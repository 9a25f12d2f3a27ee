package authd

import (
	"testing"

	"rookery/internal/ipc/authmsg"
	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/secret"
)

// One login of a cleartext secret over real channels: PLAIN, then the ticket.
func BenchmarkLogin(b *testing.B) {
	r := newRig(b, nil)
	for b.Loop() {
		r.nextID++
		r.send(r.login, &authmsg.Begin{ID: r.nextID, Peer: r.peer(), Mech: "PLAIN", HasInitial: true, Initial: secret.FromString("\x00ann\x00pass")})
		g, ok := r.recv(r.login).(*authmsg.Granted)
		if !ok {
			b.Fatal("refused")
		}
		r.send(r.master, &redeemmsg.Redeem{ID: 1, Channel: 7, Ticket: g.Ticket, Service: "imap", Session: "s1"})
		if _, ok := r.recv(r.master).(*redeemmsg.Redeemed); !ok {
			b.Fatal("not redeemed")
		}
	}
}
