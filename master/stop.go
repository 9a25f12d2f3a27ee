package master

import (
	"os"
	"time"

	"rookery/internal/ipc/handoffmsg"
	"rookery/internal/ipc/workermsg"
	"rookery/internal/settings"
)

// stopping is the end under way.
type stopping struct {
	began bool
	over  bool // only authd and logd are left to end
	done  []func()
}

// startStop drains: no new connection, sessions finish what they do, then all
// end within shutdown_timeout.
func (m *master) startStop() {
	if m.stop.began {
		return
	}
	m.stop.began = true
	m.manager.Stopping()
	if !m.up {
		m.finish(nil)
		return
	}
	within := settings.ShutdownTimeout.Get(m.cfg.set)
	m.log.Infof("shutting down within %s", within)
	m.table.Stop()
	m.sockets.CloseUnused(nil)
	for _, l := range m.logins.all {
		l.exiting = true
		m.send(l.proc, &handoffmsg.Shutdown{Within: within}, -1)
	}
	for _, w := range m.workers.byID {
		w.exiting = true
		m.send(w.proc, &workermsg.Shutdown{Within: within}, -1)
	}
	for _, p := range m.workers.pools {
		m.endSpares(p)
	}
	m.stopTools(within)
	m.after(within+500*time.Millisecond, func() {
		for _, l := range m.logins.all {
			l.kill()
		}
		for _, w := range m.workers.byID {
			w.kill()
		}
		for _, p := range m.tools.procs {
			p.kill()
		}
	})
	m.after(within+2*time.Second, m.endServices) // whatever happens
	m.stopping()
}

// stopping goes on when the last login process and worker are gone.
func (m *master) stopping() {
	if m.stop.began && !m.stop.over && len(m.logins.all) == 0 && len(m.workers.byID) == 0 && len(m.tools.procs) == 0 {
		m.endServices()
	}
}

// endServices ends authd, then logd, whose channel ends last: it writes what
// the others have sent.
func (m *master) endServices() {
	if m.stop.over {
		return
	}
	m.stop.over = true
	if p := m.authd.proc; p != nil {
		p.exiting = true
		p.conn.Close()
	}
	m.log.Infof("stopped")
	m.after(50*time.Millisecond, m.endLogd)
}

func (m *master) endLogd() {
	p := m.logd.proc
	if p == nil {
		m.finish(nil)
		return
	}
	p.exiting = true
	m.logConn.Close()
	for id := range m.logd.attached {
		m.logd.detach(id)
	}
	p.conn.Close()
	go func() {
		gone := time.Now().Add(3 * time.Second)
		for time.Now().Before(gone) {
			if p.child == nil || p.child.Signal(0) != nil {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		m.post(func() { m.finish(nil) })
	}()
}

// cleanUp removes the files that the server made for its run.
func (m *master) cleanUp() {
	if m.control >= 0 {
		os.Remove(m.cfg.controlPath())
	}
	for _, f := range m.stop.done {
		f()
	}
}
