package master

import (
	"fmt"
	"time"

	"rookery/internal/child"
	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/settings"
	"rookery/master/internal/listen"
	"rookery/master/internal/notify"
)

// reloading is a reload under way.
type reloading struct {
	active bool
	again  bool          // another was asked for meanwhile
	done   []func(error) // who wants to know
	later  []func(error) // the same, of the other one
}

// authdPatience is how long authd may take to put new settings into use.
const authdPatience = 10 * time.Second

// startReload reads the settings anew. Nothing is changed before all of it has
// been checked; done may be nil.
func (m *master) startReload(done func(error)) {
	if !m.up || m.stop.began {
		if done != nil {
			done(fmt.Errorf("the server is starting or stopping"))
		}
		return
	}
	if m.reload.active { // it may have read the files before they were what is meant now
		m.reload.again = true
		if done != nil {
			m.reload.later = append(m.reload.later, done)
		}
		return
	}
	if done != nil {
		m.reload.done = append(m.reload.done, done)
	}
	m.reload.active = true
	m.manager.Reloading(notify.Monotonic())
	go func() {
		cfg, err := loadConfig(m.file, m.root)
		m.post(func() { m.reloadRead(cfg, err) })
	}()
}

func (m *master) reloadDone(err error) {
	if err != nil {
		m.log.Errorf("reload refused, the old settings stay in use: %v", err)
	} else {
		m.log.Infof("settings are reloaded (generation %d)", m.cfg.generation)
	}
	m.manager.Ready(m.statusLine())
	m.reload.active = false
	done := m.reload.done
	m.reload.done = nil
	for _, f := range done {
		f(err)
	}
	if m.reload.again {
		later := m.reload.later
		m.reload.again, m.reload.later = false, nil
		m.startReload(func(err error) {
			for _, f := range later {
				f(err)
			}
		})
	}
}

// change is a reload that has been found possible.
type change struct {
	cfg     *config
	sockets *listen.Set
	logins  bool // login processes must be started anew
	print   [32]byte
}

func (m *master) reloadRead(cfg *config, err error) {
	if err != nil {
		m.reloadDone(err)
		return
	}
	if err := m.fixed(cfg); err != nil {
		m.reloadDone(err)
		return
	}
	sockets, err := listen.Open(cfg.set.Listeners(), m.sockets, m.given)
	if err != nil {
		m.reloadDone(err)
		return
	}
	cfg.generation = m.cfg.generation + 1
	c := change{cfg: cfg, sockets: sockets, print: cfg.loginPrint(describe(sockets))}
	c.logins = c.print != m.logins.print
	if limit := int(settings.ReloadGenerationLimit.Get(cfg.set)); c.logins && m.logins.generations() >= limit {
		m.undo(c)
		m.reloadDone(fmt.Errorf("%d generations of login processes still hold sessions (reload_generation_limit = %d); wait until old sessions end, end them with rookeryctl kick, or restart", m.logins.generations(), limit))
		return
	}
	m.reloadAuthd(c)
}

// fixed refuses changes that only a restart can make.
func (m *master) fixed(cfg *config) error {
	for _, k := range []settings.Key[string]{settings.BaseDir, settings.ControlSocketPath, settings.LibexecDir, settings.StateDir, settings.AuthUser, settings.LogUser} {
		if was, is := k.Get(m.cfg.set), k.Get(cfg.set); was != is {
			return fmt.Errorf("%s was %q and is %q now: that takes a restart", k.Name(), was, is)
		}
	}
	if m.root && len(m.missing) > 0 && policySharesUnprotected(cfg.set) {
		return m.sharedRefusal()
	}
	return nil
}

func describe(s *listen.Set) (infos []child.ListenerInfo, addresses []string) {
	for _, x := range s.Sockets {
		infos = append(infos, x.Info)
		addresses = append(addresses, x.Address)
	}
	return infos, addresses
}

// undo closes what a refused reload has opened.
func (m *master) undo(c change) { c.sockets.CloseUnused(m.sockets) }

// reloadAuthd puts the new settings into use at authd first: if it cannot, all
// stays as it was.
func (m *master) reloadAuthd(c change) {
	if c.cfg.set.Fingerprint(settings.RoleAuthd) == m.cfg.set.Fingerprint(settings.RoleAuthd) {
		m.apply(c)
		return
	}
	finish := func(problem string) {
		if m.authd.done == nil {
			return
		}
		m.authd.done = nil
		if problem != "" {
			m.undo(c)
			m.reloadDone(fmt.Errorf("authd: %s", problem))
			return
		}
		m.apply(c)
	}
	f, err := child.Seal("rookery-authd-settings", c.cfg.set.ForRole(settings.RoleAuthd))
	if err != nil {
		m.undo(c)
		m.reloadDone(err)
		return
	}
	defer f.Close()
	m.authd.done = finish
	if !m.send(m.authd.proc, &redeemmsg.Settings{Generation: c.cfg.generation}, int(f.Fd())) {
		finish("it does not run at the moment")
		return
	}
	m.after(authdPatience, func() {
		if m.cfg.generation < c.cfg.generation && m.authd.done != nil {
			finish("it did not answer in time")
		}
	})
}

// apply makes the new settings those of everything that starts from now on.
// Sessions that are open keep theirs.
func (m *master) apply(c change) {
	old := m.cfg
	m.cfg = c.cfg
	for _, w := range c.cfg.warnings {
		m.log.Warnf("%s", w)
	}
	m.warnDangers()
	m.table.SetLimits(m.cfg.limits())
	m.openSinks(nil)
	m.passFiles()
	m.pairs.reload(m, old.set)
	workersChanged := false
	for _, r := range []settings.Role{settings.RoleIMAP, settings.RolePOP3} {
		workersChanged = workersChanged || old.set.Fingerprint(r) != m.cfg.set.Fingerprint(r)
	}
	before := m.sockets
	err := m.setWorkers()
	if err == nil && c.logins {
		err = m.newLogins(c)
	}
	if err == nil && workersChanged {
		m.table.LetIdleGo()
	}
	switch {
	case c.logins && err == nil: // done when the new login processes are up
	case c.logins: // the old ones go on, with their sockets
		m.sockets = before
		m.undo(c)
		m.reloadDone(err)
	default:
		m.sockets = c.sockets
		before.CloseUnused(c.sockets)
		m.reloadDone(err)
	}
}

// newLogins starts the new generation of login processes; when it is up the
// old one accepts no more.
func (m *master) newLogins(c change) error {
	before, after := m.sockets, c.sockets
	m.sockets = after
	if err := m.setLogins(); err != nil {
		return err
	}
	m.logins.print = c.print
	told, earlier := false, m.logins.onReady // of a reload that was given up: it has sockets to close
	m.logins.onReady = func() {
		if earlier != nil {
			earlier()
		}
		m.logins.drainOld(m)
		before.CloseUnused(after)
		if !told {
			told = true
			m.reloadDone(nil)
		}
	}
	m.logins.fill(m)
	m.after(startLimit, func() {
		if !told { // the old ones serve on; should new ones come up after all, they take over
			told = true
			m.reloadDone(fmt.Errorf("the new login processes are not ready within %s; see the log", startLimit))
		}
	})
	return nil
}
