package beside

import (
	"os"
	"strings"
	"sync"
	"time"
)

// clock counts the time in which a session could have been told something. A
// goroutine looks every few milliseconds. Two things make the clock stand still:
//
//   - The machine: where more than a tenth of a second is gone at once, this process
//     was not let run (a virtual machine that stood still, a host with other
//     work), the server neither, and only that tenth counts.
//   - Another program that keeps the mailbox locked, which nobody may look into
//     then: what one holds its lock file for beyond a twentieth of a second, ten times
//     what a delivery takes. procmail sleeps a second with it after each message,
//     local(8) where it meets mutt.
type clock struct {
	lock string // the lock file; empty: there is none

	mu       sync.Mutex
	ran      time.Duration
	stood    time.Duration // by the machine
	locked   time.Duration // by others
	last     time.Time
	holder   os.FileInfo
	since    time.Time
	stopping chan struct{}
	done     chan struct{}
}

const (
	clockStep = 5 * time.Millisecond
	clockMost = 100 * time.Millisecond
	lockMost  = 50 * time.Millisecond
)

func newClock(lock string) *clock {
	c := &clock{lock: lock, last: time.Now(), stopping: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(c.done)
		tick := time.NewTicker(clockStep)
		defer tick.Stop()
		for {
			select {
			case <-c.stopping:
				return
			case <-tick.C:
				c.now()
			}
		}
	}()
	return c
}

// now is how long the clock has run.
func (c *clock) now() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	step := now.Sub(c.last)
	c.last = now
	if c.isLocked(now) {
		c.locked += step
		return c.ran
	}
	if step > clockMost {
		c.stood += step - clockMost
		step = clockMost
	}
	c.ran += step
	return c.ran
}

// isLocked tells whether another program has had the lock file for long.
func (c *clock) isLocked(now time.Time) bool {
	if c.lock == "" {
		return false
	}
	info, err := os.Lstat(c.lock)
	if err != nil {
		c.holder = nil
		return false
	}
	if c.holder == nil || !os.SameFile(c.holder, info) || !c.holder.ModTime().Equal(info.ModTime()) {
		c.holder, c.since = info, now
		return false
	}
	if now.Sub(c.since) < lockMost {
		return false
	}
	text, _ := os.ReadFile(c.lock)
	return !strings.Contains(string(text), "rookery") // our own locks do count
}

// end stops it.
func (c *clock) end() {
	close(c.stopping)
	<-c.done
}
