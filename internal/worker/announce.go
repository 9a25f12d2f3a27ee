package worker

import (
	"sync"
	"time"
)

// announceEvery is the least time between two messages to master that the user's mail
// changed. Each costs three processes a change of threads; the first of a row of
// changes is told at once, and who waits for the last hears it this much later.
const announceEvery = 20 * time.Millisecond

// announcer tells of changes, not more often than every announceEvery.
type announcer struct {
	tell func()

	mu    sync.Mutex
	told  time.Time
	later *time.Timer // nil: nothing is left to be told
}

// changed tells, at once or soon.
func (a *announcer) changed() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.later != nil {
		return
	}
	now := time.Now()
	if wait := announceEvery - now.Sub(a.told); wait > 0 {
		a.later = time.AfterFunc(wait, a.end)
		return
	}
	a.told = now
	a.tell()
}

// end tells what is left.
func (a *announcer) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.later == nil {
		return
	}
	a.later.Stop()
	a.later, a.told = nil, time.Now()
	a.tell()
}
