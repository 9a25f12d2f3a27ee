package master

import (
	"fmt"
	"time"

	"rookery/internal/child"
	"rookery/internal/child/spawn"
	"rookery/master/internal/restart"
)

// again starts a service's process anew after it died, at once or after a
// while. During the start of the whole it is fatal.
func (m *master) again(p *proc, e spawn.Exit, start func()) {
	if m.stop.began {
		return
	}
	if !m.up {
		m.finish(fail(exitUnavailable, "%s ended while the server started: %s", p.role, e))
		return
	}
	g := m.groups[p.role]
	if g == nil {
		g = &restart.Group{}
		m.groups[p.role] = g
	}
	wait := g.Died(time.Since(p.began), p.ready, m.siblings(p))
	if wait == 0 {
		start()
		return
	}
	m.log.Errorf("%s processes die just after their start; the next one is started in %s", p.role, wait)
	m.after(wait, func() {
		if !m.stop.began {
			start()
		}
	})
}

// siblings reports whether an older process of the role lives on.
func (m *master) siblings(p *proc) bool {
	for _, q := range m.procs {
		if q != p && q.role == p.role && q.ready && time.Since(q.began) > 2*time.Second {
			return true
		}
	}
	return false
}

// serviceFailed is for a process that could not even be started.
func (m *master) serviceFailed(role child.Role, err error) {
	if !m.up {
		m.finish(fail(exitOSErr, "%s cannot be started: %w", role, err))
		return
	}
	m.log.Errorf("%s cannot be started: %v", role, err)
	start := map[child.Role]func() error{child.Logd: m.startLogd, child.Authd: m.startAuthd}[role]
	if role == child.Login {
		start = func() error { m.logins.fill(m); return nil }
	}
	m.after(5*time.Second, func() {
		if m.stop.began {
			return
		}
		if err := start(); err != nil {
			m.serviceFailed(role, err)
		}
	})
}

// ended logs the end of a child that nobody expected.
func (m *master) ended(p *proc, e spawn.Exit) {
	text := fmt.Sprintf("%s[%d] ended: %s", p.role, p.pid, e)
	if p.exiting && e == (spawn.Exit{}) {
		return
	}
	m.log.Errorf("%s", text)
}
