// Package restart decides how long to wait before a service's process that
// died is started again. It is pure.
//
// A process that served for a while is started again at once: a client must
// not be able to slow others down by crashing its own. Only processes that die
// just after their start, while no older sibling lives on, make the next wait.
package restart

import "time"

// Group is the processes of one service.
type Group struct{ atOnce int }

const (
	soon    = 2 * time.Second
	free    = 2 // deaths at once that cost nothing
	minWait = 2 * time.Second
	maxWait = 60 * time.Second
)

// Died gives the wait after a death. ready: the process had said so; siblings:
// another one of the service has been living for longer than two seconds.
func (g *Group) Died(lived time.Duration, ready, siblings bool) time.Duration {
	if ready && (siblings || lived > soon) {
		g.atOnce = 0
		return 0
	}
	g.atOnce++
	if g.atOnce <= free {
		return 0
	}
	return min(minWait<<min(g.atOnce-free-1, 10), maxWait)
}
