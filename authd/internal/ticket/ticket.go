// Package ticket keeps the proofs that a login succeeded until master redeems
// them: 128 random bits, good once, for a short time, on the channel that they
// were issued on.
//
// Only authd uses it. A ticket is all that a login process gets; what it
// stands for stays here.
package ticket

import (
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"rookery/internal/ipc/redeemmsg"
)

// Limits of outstanding tickets.
const (
	MaxOutstanding = 1 << 16
	MaxOfChannel   = 1 << 13
)

// remembered is how long an expired ticket is known as one.
const remembered = time.Minute

// Why a ticket is refused.
var (
	ErrUnknown = errors.New("no such ticket: made up, used before or long expired")
	ErrExpired = errors.New("the ticket has expired")
	ErrChannel = errors.New("the ticket was issued on another channel")
	ErrService = errors.New("the ticket was issued for another service")
	ErrSession = errors.New("the ticket was issued for another session")
	ErrFull    = errors.New("too many tickets are outstanding")
)

// Claims are what a ticket is bound to, and what it is worth.
type Claims struct {
	Channel uint64 // never reused
	Kind    string // of the channel: "login"
	Service string
	Session string
	// Record has both addresses and the TLS facts as they were told on the
	// channel; master believes these and no later ones.
	Record redeemmsg.Record
}

type entry struct {
	claims  Claims
	expires time.Time
}

// Table holds the outstanding tickets.
type Table struct {
	mu        sync.Mutex
	entries   map[[16]byte]*entry
	ofChannel map[uint64]int
	lastSweep time.Time
}

// NewTable makes an empty table.
func NewTable() *Table {
	return &Table{entries: map[[16]byte]*entry{}, ofChannel: map[uint64]int{}}
}

// Issue makes a ticket that is good until lifetime has passed. ErrFull if too
// many are outstanding.
func (t *Table) Issue(now time.Time, lifetime time.Duration, c Claims) ([16]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep(now)
	if len(t.entries) >= MaxOutstanding || t.ofChannel[c.Channel] >= MaxOfChannel {
		return [16]byte{}, ErrFull
	}
	var id [16]byte
	rand.Read(id[:]) // never fails: crypto/rand ends the process instead
	t.entries[id] = &entry{c, now.Add(lifetime)}
	t.ofChannel[c.Channel]++
	return id, nil
}

// sweep forgets what has expired, at most once a second. Tickets stay a while
// after their time so that a late one is told from a made-up one: master ends a
// login process that shows made-up ones.
func (t *Table) sweep(now time.Time) {
	if now.Sub(t.lastSweep) < time.Second {
		return
	}
	t.lastSweep = now
	for id, e := range t.entries {
		if now.After(e.expires.Add(remembered)) {
			t.drop(id, e)
		}
	}
}

func (t *Table) drop(id [16]byte, e *entry) {
	delete(t.entries, id)
	if t.ofChannel[e.claims.Channel]--; t.ofChannel[e.claims.Channel] == 0 {
		delete(t.ofChannel, e.claims.Channel)
	}
}

// Redeem gives what the ticket stands for and forgets it. A ticket that is
// shown wrongly is forgotten too: whoever showed it has it and should not.
func (t *Table) Redeem(now time.Time, id [16]byte, channel uint64, service, session string) (Claims, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[id] // a lookup by 128 random bits tells nothing by its timing
	if e == nil {
		return Claims{}, ErrUnknown
	}
	t.drop(id, e)
	switch {
	case !now.Before(e.expires):
		return e.claims, ErrExpired
	case e.claims.Channel != channel:
		return e.claims, ErrChannel
	case e.claims.Service != service:
		return e.claims, ErrService
	case e.claims.Session != session:
		return e.claims, ErrSession
	}
	return e.claims, nil
}
