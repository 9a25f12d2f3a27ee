package delay

import (
	"net/netip"
	"sync"
	"time"
)

const (
	penaltyDrop    = 29 * time.Second // since the last failure, for each step down
	penaltyRecent  = 10               // attempts of an address that are remembered
	maxPenalties   = 1 << 16
	penaltyV6Bits  = 48
	maxPenaltyStep = 4
)

// steps are how long the next attempt waits after so many failures.
var steps = [maxPenaltyStep + 1]time.Duration{0, 2 * time.Second, 4 * time.Second, 8 * time.Second, 15 * time.Second}

// Penalties counts failures by address: an IPv4 address, an IPv6 /48.
type Penalties struct {
	mu    sync.Mutex
	addrs map[netip.Prefix]*penalty
}

type penalty struct {
	step   int
	last   time.Time
	recent [penaltyRecent]uint64
	next   int
}

// NewPenalties makes an empty table.
func NewPenalties() *Penalties { return &Penalties{addrs: map[netip.Prefix]*penalty{}} }

func key(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = penaltyV6Bits
	}
	return netip.PrefixFrom(a, bits).Masked()
}

// level is the step that holds at now.
func (p *penalty) level(now time.Time) int {
	if age := now.Sub(p.last); age > 0 {
		return max(0, p.step-int(age/penaltyDrop))
	}
	return p.step
}

// Wait is how long an attempt from a must wait before its password is looked at.
func (t *Penalties) Wait(now time.Time, a netip.Addr) time.Duration {
	if !a.IsValid() {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.addrs[key(a)]
	if p == nil {
		return 0
	}
	return steps[p.level(now)]
}

// Failed counts a failure. attempt is a keyed hash of user and password: one
// that is among the last ten of the address does not raise the penalty, since a
// client with an old password in its settings repeats itself and does not guess.
// attempt 0 always counts.
func (t *Penalties) Failed(now time.Time, a netip.Addr, attempt uint64) {
	if !a.IsValid() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	k := key(a)
	p := t.addrs[k]
	if p == nil {
		t.makeRoom(now)
		p = &penalty{}
		t.addrs[k] = p
	}
	p.step = p.level(now)
	repeated := false
	for _, seen := range p.recent {
		repeated = repeated || (attempt != 0 && seen == attempt)
	}
	if !repeated {
		p.recent[p.next] = attempt
		p.next = (p.next + 1) % penaltyRecent
		p.step = min(p.step+1, maxPenaltyStep)
	}
	p.last = now
}

// Succeeded takes one step back. All of it would let a guesser who has one
// account of his own start anew at will.
func (t *Penalties) Succeeded(now time.Time, a netip.Addr) {
	if !a.IsValid() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.addrs[key(a)]; p != nil {
		p.step = max(0, p.level(now)-1)
		p.last = now
	}
}

// makeRoom drops what has expired, and if that is not enough some addresses: a
// sixteenth of all at a time, so that a flood does not pay for a scan each time.
func (t *Penalties) makeRoom(now time.Time) {
	if len(t.addrs) < maxPenalties {
		return
	}
	for k, p := range t.addrs {
		if p.level(now) == 0 {
			delete(t.addrs, k)
		}
	}
	for k := range t.addrs { // Go's order is random enough
		if len(t.addrs) < maxPenalties-maxPenalties/16 {
			return
		}
		delete(t.addrs, k)
	}
}
