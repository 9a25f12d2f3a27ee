// Package delay slows guessing down: failed logins are answered late and
// together, and an address that fails often waits before it may try again.
//
// Only authd uses it. It knows neither names nor passwords.
package delay

import (
	"math/rand/v2"
	"sync"
	"time"
)

// maxHeld bounds the answers that wait. Beyond it answers go at once: the
// memory matters more than the delay of a flood.
const maxHeld = 1 << 16

// Queue holds answers back. Answers that fall due together go together, in
// random order, so that nobody can tell from the order which check failed.
type Queue struct {
	mu     sync.Mutex
	groups map[int64]*group
	held   int
	closed bool
}

type group struct {
	timer *time.Timer
	run   []func()
}

// NewQueue makes a queue.
func NewQueue() *Queue { return &Queue{groups: map[int64]*group{}} }

// due is the moment of the grid at which an answer of now goes out: at least
// three quarters of the delay away and at most the delay.
func due(now time.Time, delay time.Duration) time.Time {
	grid := max(delay/4, time.Millisecond)
	earliest := now.Add(delay - grid).UnixNano()
	steps := (earliest + int64(grid) - 1) / int64(grid)
	return time.Unix(0, steps*int64(grid))
}

// Hold runs f after at most delay, in a goroutine of the queue's. A delay of 0
// or a closed or full queue runs it at once.
func (q *Queue) Hold(now time.Time, delay time.Duration, f func()) {
	q.mu.Lock()
	if delay <= 0 || q.closed || q.held >= maxHeld {
		q.mu.Unlock()
		f()
		return
	}
	defer q.mu.Unlock()
	at := due(now, delay)
	key := at.UnixNano()
	g := q.groups[key]
	if g == nil {
		g = &group{}
		q.groups[key] = g
		g.timer = time.AfterFunc(at.Sub(now), func() { q.flush(key) })
	}
	g.run = append(g.run, f)
	q.held++
}

func (q *Queue) flush(key int64) {
	q.mu.Lock()
	g := q.groups[key]
	delete(q.groups, key)
	if g != nil {
		q.held -= len(g.run)
	}
	q.mu.Unlock()
	if g == nil {
		return
	}
	g.timer.Stop()
	rand.Shuffle(len(g.run), func(i, j int) { g.run[i], g.run[j] = g.run[j], g.run[i] })
	for _, f := range g.run {
		f()
	}
}

// Close answers all at once; shutting down waits for nobody.
func (q *Queue) Close() {
	q.mu.Lock()
	q.closed = true
	var keys []int64
	for key := range q.groups {
		keys = append(keys, key)
	}
	q.mu.Unlock()
	for _, key := range keys {
		q.flush(key)
	}
}
