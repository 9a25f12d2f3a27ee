// Package places counts the clients that have not logged in: how many there
// are in all and of one address, and who came first.
//
// login uses it. It is pure and holds one small entry per client.
package places

import "net/netip"

// Verdict says what becomes of a new client.
type Verdict uint8

// The verdicts.
const (
	Taken    Verdict = iota // it has a place
	TooMany                 // its address has as many as it may
	MustDrop                // it has a place, and the oldest client must go
)

// Table is the places of one process. The zero value allows nobody. It is not
// safe for several goroutines.
type Table struct {
	total, perAddr int // perAddr 0: no limit
	n              int
	root           Entry // of the ring; oldest next
	byAddr         map[netip.Addr]int
}

// Entry is one client's place.
type Entry struct {
	Client     any
	addr       netip.Addr
	counted    bool // against its address
	prev, next *Entry
}

// New makes a table with that many places.
func New(total, perAddr int) *Table {
	t := &Table{total: total, perAddr: perAddr, byAddr: map[netip.Addr]int{}}
	t.root.prev, t.root.next = &t.root, &t.root
	return t
}

// Len is the number of clients.
func (t *Table) Len() int { return t.n }

// Key is what counts as one address: an IPv4 address, an IPv6 network of 64
// bits, which one customer has.
func Key(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		p, _ := a.Prefix(64)
		return p.Addr()
	}
	return a
}

// Add gives e a place. exempt clients do not count against their address. With
// MustDrop, oldest has lost its place to e.
func (t *Table) Add(e *Entry, addr netip.Addr, exempt bool) (v Verdict, oldest *Entry) {
	e.addr, e.counted = Key(addr), !exempt && addr.IsValid() && t.perAddr > 0
	if e.counted && t.byAddr[e.addr] >= t.perAddr {
		return TooMany, nil
	}
	if t.n >= t.total && t.n > 0 {
		v, oldest = MustDrop, t.root.next
		t.Remove(oldest)
	}
	if e.counted {
		t.byAddr[e.addr]++
	}
	e.prev, e.next = t.root.prev, &t.root
	e.prev.next, e.next.prev = e, e
	t.n++
	return v, oldest
}

// Oldest takes away and gives the client that came first, nil if there is none.
func (t *Table) Oldest() *Entry {
	if t.n == 0 {
		return nil
	}
	e := t.root.next
	t.Remove(e)
	return e
}

// Remove frees e's place; nothing happens if it has none.
func (t *Table) Remove(e *Entry) {
	if e.next == nil {
		return
	}
	e.prev.next, e.next.prev = e.next, e.prev
	e.prev, e.next = nil, nil
	t.n--
	if !e.counted {
		return
	}
	if t.byAddr[e.addr]--; t.byAddr[e.addr] == 0 {
		delete(t.byAddr, e.addr)
	}
}

// Each calls f with every client, oldest first.
func (t *Table) Each(f func(*Entry)) {
	for e := t.root.next; e != &t.root; e = e.next {
		f(e)
	}
}
