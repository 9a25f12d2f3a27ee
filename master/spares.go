package master

import (
	"slices"
	"strings"
	"time"

	"rookery/internal/child"
	"rookery/internal/ipc/workermsg"
	"rookery/internal/settings"
	"rookery/master/internal/policy"
)

func sameIdentity(a, b policy.Identity) bool {
	return a.UID == b.UID && a.GID == b.GID && slices.Equal(a.Groups, b.Groups)
}

// pool finds the spares of an identity, or makes an empty pool, in the place of
// the one unused for longest if there are too many.
func (ws *workers) pool(role child.Role, id policy.Identity) (p *pool, dropped *pool) {
	for _, p := range ws.pools {
		if p.role == role && sameIdentity(p.id, id) {
			return p, nil
		}
	}
	p = &pool{role: role, id: id}
	if len(ws.pools) >= maxPools {
		slices.SortFunc(ws.pools, func(a, b *pool) int { return a.last.Compare(b.last) })
		dropped = ws.pools[0]
		ws.pools = ws.pools[1:]
	}
	ws.pools = append(ws.pools, p)
	return p, dropped
}

// takeSpare gives a waiting process of that identity. A private uid has none:
// spares know no inotify.
func (m *master) takeSpare(role child.Role, id policy.Identity, private bool) *workerProc {
	if private {
		return nil
	}
	for _, p := range m.workers.pools {
		if p.role != role || !sameIdentity(p.id, id) {
			continue
		}
		for i, w := range p.spares {
			if w.ready && !w.doomed {
				p.spares = slices.Delete(p.spares, i, i+1)
				return w
			}
		}
	}
	return nil
}

// refill starts new spares a little later.
func (m *master) refill(role child.Role, id policy.Identity) {
	p, dropped := m.workers.pool(role, id)
	p.last = time.Now()
	if dropped != nil {
		m.endSpares(dropped)
	}
	m.after(refillAfter, func() { m.fillPool(p) })
}

func (m *master) fillPool(p *pool) {
	want := int(settings.WorkerProcessMinAvail.Get(m.cfg.set))
	if m.stop.began || !slices.Contains(m.workers.pools, p) {
		return
	}
	for len(p.spares) < want {
		w := &workerProc{proc: &proc{}}
		if err := m.launchWorker(w, p.role, p.id, m.workers.spare[p.role], ""); err != nil {
			m.log.Errorf("no spare %s process: %v", p.role, err)
			return
		}
		p.spares = append(p.spares, w)
	}
}

// removeSpare forgets one that is gone. It is replaced when the next login of
// its pool comes: one that dies by itself must not be started in a circle.
func (m *master) removeSpare(w *workerProc) {
	for _, p := range m.workers.pools {
		if i := slices.Index(p.spares, w); i >= 0 {
			p.spares = slices.Delete(p.spares, i, i+1)
		}
	}
}

func (m *master) endSpares(p *pool) {
	for _, w := range p.spares {
		w.exiting = true
		m.send(w.proc, &workermsg.MayExit{}, -1)
	}
	p.spares = nil
}

// dropSpares ends all spares, whose settings are old, and starts others.
func (m *master) dropSpares() {
	for _, p := range m.workers.pools {
		m.endSpares(p)
		m.after(refillAfter, func() { m.fillPool(p) })
	}
}

// firstSpares starts processes that wait, before the first login, where the
// settings say whom all users' workers run as.
func (m *master) firstSpares() {
	id, ok := m.cfg.policy.SharedIdentity()
	if !ok || !m.root || len(m.missing) > 0 && !settings.MailSharedUIDUnprotected.Get(m.cfg.set) {
		return
	}
	serves := map[child.Role]bool{}
	for _, s := range m.sockets.Sockets {
		serves[workerRole(strings.TrimSuffix(s.Info.Protocol, "s"))] = true
	}
	for role := range serves {
		m.refill(role, id)
	}
}
