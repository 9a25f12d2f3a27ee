// Package hashpool decides when a costly password hash may run: so many at a
// time, so much memory together, and one client network's attempts never
// before all others'.
//
// Only authd uses it. It runs nothing itself: a caller waits for his turn in
// Do and hashes in his own goroutine. It knows no password and no scheme.
package hashpool

import (
	"container/list"
	"errors"
	"net/netip"
	"sync"
	"time"

	"rookery/authd/internal/passhash"
)

// Why a hash may not run.
var (
	ErrBusy      = errors.New("too many logins wait for their password to be hashed")
	ErrTooLarge  = errors.New("the hash needs more memory than auth_hash_memory_limit")
	ErrCancelled = errors.New("the client went away")
)

// Limits of a pool.
type Limits struct {
	Workers    int   // hashes at a time, at least 1
	Memory     int64 // bytes of all hashes at a time
	Queue      int   // jobs that wait, of all networks
	QueueOfNet int   // jobs that wait, of one network
	// Idle, if set, is called some seconds after the last job that took much
	// memory, when nothing runs: the place to give memory back.
	Idle func()
}

const (
	muchMemory = 8 << 20
	idleAfter  = 3 * time.Second
)

// maxSkips is how often others may pass a job whose memory is not free.
const maxSkips = 16

// Pool is safe for concurrent use.
type Pool struct {
	mu      sync.Mutex
	limits  Limits
	running int
	memory  int64
	waiting int
	nets    map[netip.Prefix]*list.List // jobs of a network, oldest first
	turn    *list.List                  // networks in the order of their turn
	ran     uint64                      // jobs that had their turn and ended
	used    bool                        // much memory since Idle was called
	timer   *time.Timer
}

type job struct {
	memory int64
	skips  int
	ready  chan struct{}
	inTurn *list.Element
}

// New makes a pool.
func New(l Limits) *Pool {
	l.Workers = max(l.Workers, 1)
	return &Pool{limits: l, nets: map[netip.Prefix]*list.List{}, turn: list.New()}
}

// SetLimits changes the limits for what has not begun.
func (p *Pool) SetLimits(l Limits) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.Workers = max(l.Workers, 1)
	p.limits = l
	p.start()
}

// Network is the part of an address that shares a queue: IPv4 /24, IPv6 /48.
// Clients without an address share one.
func Network(a netip.Addr) netip.Prefix {
	if !a.IsValid() {
		return netip.Prefix{}
	}
	a = a.Unmap().WithZone("")
	bits := 24
	if a.Is6() {
		bits = 48
	}
	return netip.PrefixFrom(a, bits).Masked()
}

// Do runs f when it is this network's turn, and waits for it. cancel, closed,
// takes a waiting job out. Costs too small to matter run at once.
func (p *Pool) Do(net netip.Prefix, cost passhash.Cost, cancel <-chan struct{}, f func()) error {
	if cost.Memory == 0 && cost.CPU.Microseconds() < 200 {
		f()
		return nil
	}
	j := &job{memory: cost.Memory, ready: make(chan struct{})}
	if err := p.enqueue(net, j); err != nil {
		return err
	}
	select {
	case <-j.ready:
	case <-cancel:
		if p.withdraw(net, j) {
			return ErrCancelled
		}
		<-j.ready // its turn came at the same moment
	}
	defer p.done(j)
	f()
	return nil
}

func (p *Pool) enqueue(net netip.Prefix, j *job) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.nets[net]
	switch {
	case j.memory > p.limits.Memory:
		return ErrTooLarge
	case p.waiting >= p.limits.Queue || (q != nil && q.Len() >= p.limits.QueueOfNet):
		return ErrBusy
	}
	if q == nil {
		q = list.New()
		p.nets[net] = q
		p.turn.PushBack(net)
	}
	j.inTurn = q.PushBack(j)
	p.waiting++
	p.start()
	return nil
}

// start gives turns while there is room. Networks take turns; one whose oldest
// job does not fit into memory is passed over, but not for ever.
func (p *Pool) start() {
	for p.running < p.limits.Workers {
		e := p.pick()
		if e == nil {
			return
		}
		net := e.Value.(netip.Prefix)
		q := p.nets[net]
		j := q.Remove(q.Front()).(*job)
		p.turn.Remove(e)
		if q.Len() == 0 {
			delete(p.nets, net)
		} else {
			p.turn.PushBack(net)
		}
		p.waiting--
		p.running++
		p.memory += j.memory
		close(j.ready)
	}
}

func (p *Pool) pick() *list.Element {
	for e := p.turn.Front(); e != nil; e = e.Next() {
		j := p.nets[e.Value.(netip.Prefix)].Front().Value.(*job)
		if p.memory+j.memory <= p.limits.Memory || p.running == 0 {
			return e
		}
		if j.skips++; j.skips > maxSkips {
			return nil
		}
	}
	return nil
}

func (p *Pool) withdraw(net netip.Prefix, j *job) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-j.ready:
		return false
	default:
	}
	q := p.nets[net]
	q.Remove(j.inTurn)
	p.waiting--
	if q.Len() == 0 {
		delete(p.nets, net)
		for e := p.turn.Front(); e != nil; e = e.Next() {
			if e.Value.(netip.Prefix) == net {
				p.turn.Remove(e)
				break
			}
		}
	}
	p.start()
	return true
}

func (p *Pool) done(j *job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running--
	p.ran++
	p.memory -= j.memory
	p.used = p.used || j.memory >= muchMemory
	p.start()
	if p.running == 0 && p.used && p.limits.Idle != nil {
		if p.timer == nil {
			p.timer = time.AfterFunc(idleAfter, p.idle)
		} else {
			p.timer.Reset(idleAfter)
		}
	}
}

// Ran is how many costly hashes have run.
func (p *Pool) Ran() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ran
}

func (p *Pool) idle() {
	p.mu.Lock()
	quiet := p.running == 0 && p.used
	p.used = p.used && !quiet
	f := p.limits.Idle
	p.mu.Unlock()
	if quiet && f != nil {
		f()
	}
}
