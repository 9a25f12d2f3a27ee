package master

import (
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/child"
	"rookery/internal/child/spawn"
	"rookery/internal/ipc"
	"rookery/internal/ipc/handoffmsg"
	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/settings"
	"rookery/master/internal/handover"
)

// logins are the login processes of all generations.
type logins struct {
	all        map[uint64]*loginProc
	generation uint64 // of login settings: higher after a reload that changed them
	print      [32]byte
	info       *os.File // settings of the present generation
	fds        []int    // its listeners
	onReady    func()   // all processes of the present generation are up
}

// loginProc is one of them.
type loginProc struct {
	*proc
	generation uint64
	channel    uint64 // names its auth channel to authd
	single     bool   // login_high_security: it serves one connection
	drained    bool   // told to accept no more
	remote     netip.AddrPort
	accepted   time.Time // single: it has its client
	handed     bool      // single: its client has logged in
	load       handoffmsg.Load
}

// waiting reports whether it takes new connections.
func (l *loginProc) waiting() bool {
	return !l.drained && !l.exiting && l.accepted.IsZero()
}

// setLogins makes the present sockets and settings those of processes to come.
func (m *master) setLogins() error {
	var infos []child.ListenerInfo
	var fds []int
	for _, s := range m.sockets.Sockets {
		infos = append(infos, s.Info)
		fds = append(fds, s.FD)
	}
	info, err := sealInfo(child.Login, child.Info{Listeners: infos, Strict: m.strict, Settings: m.cfg.set.ForRole(settings.RoleLogin)})
	if err != nil {
		return err
	}
	ls := &m.logins
	ls.generation++
	ls.info, ls.fds = info, fds
	return nil
}

// fill starts processes until there are as many as should be.
func (ls *logins) fill(m *master) {
	if m.stop.began {
		return
	}
	n, unauthenticated := 0, 0
	for _, l := range ls.all {
		if l.generation == ls.generation && l.waiting() {
			n++
		}
		if l.single && !l.accepted.IsZero() && !l.handed && !l.exiting {
			unauthenticated++
		}
	}
	if m.cfg.highSecurity() && unauthenticated >= int(settings.LoginUnauthenticatedClientLimit.Get(m.cfg.set)) {
		ls.dropOldest(m)
	}
	for ; n < m.cfg.loginProcesses(); n++ {
		if err := m.startLogin(); err != nil {
			m.serviceFailed(child.Login, err)
			return
		}
	}
}

// dropOldest ends the connection that has been there longest without a login.
func (ls *logins) dropOldest(m *master) {
	var oldest *loginProc
	for _, l := range ls.all {
		if l.single && !l.accepted.IsZero() && !l.handed && !l.exiting && (oldest == nil || l.accepted.Before(oldest.accepted)) {
			oldest = l
		}
	}
	if oldest != nil {
		m.sendAway(oldest)
	}
}

// sendAway has a process tell its client that he is one too many.
func (m *master) sendAway(l *loginProc) {
	l.exiting = true
	m.send(l.proc, &handoffmsg.TooMany{}, -1)
	m.after(5*time.Second, l.kill) // it has ended long before
}

func (m *master) startLogin() error {
	ls := &m.logins
	mine, theirs, err := ipc.Pair()
	if err != nil {
		return err
	}
	l := &loginProc{proc: &proc{}, generation: ls.generation, single: m.cfg.highSecurity(), channel: m.id()}
	l.onMsg = func(msg ipc.Message, fd int) { m.fromLogin(l, msg, fd) }
	l.onGone = func(err error) {
		if text := why(err); text != "" {
			m.log.Errorf("login[%d] is ended: %s", l.pid, text)
		}
		m.table.LoginGone(l.id)
		l.kill()
	}
	l.onExit = func(e spawn.Exit) { m.loginGone(l, e) }
	err = m.launch(birth{role: child.Login, proto: handoffmsg.Protocol, info: ls.info, cred: m.cred(m.cfg.login), extra: append([]int{theirs}, ls.fds...),
		forker: m.forker, net: true, procs: maxProcs(2)}, l.proc, func(err error) {
		unix.Close(theirs)
		if err != nil { // mine is authd's by now, and closed here: its number may be another's
			delete(ls.all, l.id)
			m.table.LoginGone(l.id)
			m.serviceFailed(child.Login, err)
		}
	})
	if err != nil {
		unix.Close(mine)
		unix.Close(theirs)
		return err
	}
	ls.all[l.id] = l
	m.attachAuth(l, mine)
	m.table.LoginUp(l.id, m.cfg.credits())
	m.send(l.proc, &handoffmsg.Welcome{Credits: uint32(m.cfg.credits()), Processes: uint32(m.cfg.loginProcesses()), HostName: m.cfg.hostName()}, -1)
	m.pairs.send(m, l)
	m.pairs.sendTickets(m, l)
	if m.debug != "" {
		m.send(l.proc, &handoffmsg.LogDebug{Filter: m.debug}, -1)
	}
	return nil
}

// attachAuth gives authd its end of a login process's auth channel.
func (m *master) attachAuth(l *loginProc, fd int) {
	m.send(m.authd.proc, &redeemmsg.Attach{Channel: l.channel, Kind: string(child.Login)}, fd)
	unix.Close(fd)
}

// reattach gives a login process a channel to a new authd.
func (m *master) reattach(l *loginProc) {
	mine, theirs, err := ipc.Pair()
	if err != nil {
		m.log.Errorf("login[%d] gets no channel to authd: %v", l.pid, err)
		return
	}
	l.channel = m.id()
	m.attachAuth(l, mine)
	m.send(l.proc, &handoffmsg.Auth{}, theirs)
	unix.Close(theirs)
}

func (m *master) fromLogin(l *loginProc, msg ipc.Message, fd int) {
	if r, ok := msg.(*handoffmsg.Request); ok {
		m.table.NewRequest(handover.Request{Login: l.id, ID: r.ID, Ticket: r.Ticket, Service: r.Service, Session: r.Session, Envelope: fd}, time.Now())
		return
	}
	switch msg := msg.(type) {
	case *handoffmsg.Ready:
		l.ready = true
		m.advance()
		m.logins.check()
	case *handoffmsg.Load:
		l.load = *msg
	case *handoffmsg.Accepted:
		m.accepted(l, msg.Remote)
	}
}

// check tells who waits for it that all processes of the present generation are up.
func (ls *logins) check() {
	if f := ls.onReady; f != nil && ls.allReady() {
		ls.onReady = nil
		f()
	}
}

func (ls *logins) allReady() bool {
	n := 0
	for _, l := range ls.all {
		if l.generation != ls.generation {
			continue
		}
		if !l.ready && !l.exiting {
			return false
		}
		n++
	}
	return n > 0
}

// accepted: under login_high_security a process has its one client.
func (m *master) accepted(l *loginProc, remote netip.AddrPort) {
	if !l.single || !l.accepted.IsZero() {
		m.log.Warnf("login[%d] is ended: it took a second connection", l.pid)
		l.kill()
		return
	}
	l.accepted, l.remote = time.Now(), remote
	if limit := int(settings.LoginUnauthenticatedUserIPLimit.Get(m.cfg.set)); limit > 0 && !m.exempt(remote.Addr()) && m.logins.from(remote.Addr()) > limit {
		m.log.Infof("a connection of %s is closed: it has more than login_unauthenticated_userip_limit (%d) without a login", remote.Addr(), limit)
		m.sendAway(l)
	}
	m.logins.fill(m)
}

// network is what one client can take addresses from: an IPv6 /64.
func network(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

func (m *master) exempt(a netip.Addr) bool {
	for _, n := range settings.LimitsExemptNetworks.Get(m.cfg.set) {
		if n.Contains(a.Unmap()) {
			return true
		}
	}
	return !a.IsValid()
}

// from counts an address's connections without a login.
func (ls *logins) from(a netip.Addr) int {
	n := 0
	for _, l := range ls.all {
		if l.single && !l.accepted.IsZero() && !l.handed && !l.exiting && network(l.remote.Addr()) == network(a) {
			n++
		}
	}
	return n
}

func (m *master) loginGone(l *loginProc, e spawn.Exit) {
	m.table.LoginGone(l.id)
	delete(m.logins.all, l.id)
	defer m.logins.check()
	if m.stop.began {
		m.stopping()
		return
	}
	ended := l.single && !l.accepted.IsZero() // its one connection is over
	if l.drained || ended && e == (spawn.Exit{}) || l.exiting {
		m.logins.fill(m)
		return
	}
	m.ended(l.proc, e)
	if l.generation != m.logins.generation {
		return
	}
	m.again(l.proc, e, func() { m.logins.fill(m) })
}

// drainOld tells processes of older generations to accept no more.
func (ls *logins) drainOld(m *master) {
	for _, l := range ls.all {
		if l.generation == ls.generation || l.drained {
			continue
		}
		l.drained = true
		m.send(l.proc, &handoffmsg.Drain{}, -1)
	}
}

// generations counts those that still have processes.
func (ls *logins) generations() int {
	seen := map[uint64]bool{}
	for _, l := range ls.all {
		seen[l.generation] = true
	}
	return len(seen)
}

// tick kills processes that are not ready in time.
func (ls *logins) tick(m *master, now time.Time) {
	for _, l := range ls.all {
		if !l.ready && l.child != nil && !l.doomed && now.Sub(l.began) > 30*time.Second {
			m.log.Errorf("login[%d] was not ready within 30 seconds: it is killed", l.pid)
			l.kill()
		}
	}
}

// dropLogin ends a login process that broke the rules.
func (m *master) dropLogin(id uint64, why string) {
	l := m.logins.all[id]
	if l == nil {
		return
	}
	m.log.Errorf("login[%d] is ended: %s", l.pid, why)
	l.kill()
}

func (l *loginProc) String() string { return fmt.Sprintf("login[%d]", l.pid) }
