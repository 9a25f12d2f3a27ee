package memfs

import (
	"sync/atomic"
	"time"
)

// Clock is a test's clock: it stands still but for a microsecond at each look, and
// jumps when the test says so. What works in the background may look at it, too.
type Clock struct{ ns atomic.Int64 }

// NewClock makes one that shows at, in UTC.
func NewClock(at time.Time) *Clock {
	c := &Clock{}
	c.ns.Store(at.UnixNano())
	return c
}

// Now is for Options.Now: the time, a microsecond later at each look.
func (c *Clock) Now() time.Time { return c.Jump(time.Microsecond) }

// Still is for Options.Now where only Jump may move the time.
func (c *Clock) Still() time.Time { return time.Unix(0, c.ns.Load()).UTC() }

// Jump moves the time by d, and gives it.
func (c *Clock) Jump(d time.Duration) time.Time { return time.Unix(0, c.ns.Add(int64(d))).UTC() }
