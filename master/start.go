package master

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/buildid"
	"rookery/internal/child"
	"rookery/internal/child/spawn"
	"rookery/internal/ipc"
	"rookery/internal/ipc/logmsg"
	"rookery/internal/maillog"
	"rookery/internal/sandbox"
	"rookery/internal/settings"
	"rookery/master/internal/handover"
	"rookery/master/internal/listen"
	"rookery/master/internal/notify"
	"rookery/master/internal/policy"
	"rookery/master/internal/relocated"
	"rookery/master/internal/restart"
	"rookery/master/internal/watch"
)

// startLimit is how long all processes may take until they are ready.
const startLimit = 30 * time.Second

// run starts the server from its configuration and serves until it is stopped.
// The order is the checklist: what can be wrong is found before a process runs.
func run(file string) error {
	m, err := prepare(file)
	if err != nil {
		return err
	}
	defer m.closeFDs()
	go m.closing()
	go m.watching()
	if err := m.startLogd(); err != nil {
		return fail(exitOSErr, "logd cannot be started: %w", err)
	}
	m.after(startLimit, func() {
		if !m.up {
			m.finish(fail(exitUnavailable, "the processes were not ready within %s", startLimit))
		}
	})
	err = m.run()
	m.cleanUp()
	return err
}

func prepare(file string) (*master, error) {
	given, err := listen.FromSystemd(os.Getenv)
	if err != nil {
		return nil, fail(exitOSErr, "%w", err)
	}
	if err := spawn.Prepare(); err != nil {
		return nil, fail(exitOSErr, "%w", err)
	}
	unix.Umask(0o022)
	m := &master{file: file, root: os.Geteuid() == 0, started: time.Now(), events: make(chan func(), 1024), done: make(chan struct{}),
		closer: make(chan int, 1024), progs: map[child.Role]*spawn.Program{}, given: given, watchSet: make(chan []*watch.Set, 1),
		procs: map[uint64]*proc{}, groups: map[child.Role]*restart.Group{}, asked: map[uint64]func(answer){}, control: -1}
	if m.cfg, err = loadConfig(file, m.root); err != nil {
		return nil, fail(exitConfig, "the configuration cannot be used:\n%w", err)
	}
	m.cfg.generation = 1
	m.table = handover.New(effects{m}, m.cfg.limits())
	m.logd = logService{m: m, attached: map[uint64]*attachment{}, waiting: map[uint64]func(*logmsg.ErrorLines){}}
	m.pairs.init()
	m.logins.all = map[uint64]*loginProc{}
	m.tools = tools{held: map[string]int{}}
	m.sharing = newSharing()
	m.workers = workers{byID: map[uint64]*workerProc{}, users: map[uint32]string{}}
	for _, step := range []func() error{m.probe, m.openPrograms, m.openPlaces, m.openForkers, m.openLog, m.setWorkers, m.setLogins} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	m.logins.print = m.cfg.loginPrint(describe(m.sockets))
	return m, nil
}

// probe asks the kernel which protections can be had.
func (m *master) probe() error {
	p := sandbox.Probe()
	m.pidNS, m.netNS = m.root && p.PIDNS, m.root && p.NetNS && p.IPCNS
	if !m.root {
		return nil
	}
	m.missing = p.MissingForSharedUID()
	m.strict = len(m.missing) == 0
	if len(m.missing) > 0 && policySharesUnprotected(m.cfg.set) {
		return m.sharedRefusal()
	}
	return nil
}

// policySharesUnprotected: users share a uid, and no setting allows that
// without protection.
func policySharesUnprotected(set *settings.Set) bool {
	return policy.SharesUID(set) && !settings.MailSharedUIDUnprotected.Get(set)
}

func (m *master) sharedRefusal() error {
	return fail(exitConfig, "users share a uid, and this system lacks what keeps them apart: %v; give each user a uid, or set mail_shared_uid_unprotected = true and read what is lost", m.missing)
}

// openPrograms opens all programs now: an upgrade under a running server must
// not mix builds.
func (m *master) openPrograms() error {
	dir, err := m.cfg.libexec()
	if err != nil {
		return fail(exitOSErr, "%w", err)
	}
	for _, r := range []child.Role{child.Login, child.Authd, child.Logd, child.IMAPWorker, child.POP3Worker} {
		if m.progs[r], err = spawn.Open(dir, r.Program()); err != nil {
			return fail(exitUnavailable, "%w", err)
		}
	}
	m.openMailTool(dir)
	m.openDotlock(dir)
	return nil
}

// openPlaces opens the empty directory, the control socket and the listeners.
func (m *master) openPlaces() (err error) {
	if m.empty, err = m.cfg.emptyDir(); err != nil {
		return fail(exitOSErr, "%w", err)
	}
	if m.moves, err = relocated.Open(settings.StateDir.Get(m.cfg.set)); err != nil {
		return fail(exitConfig, "%w", err)
	}
	if m.manager, err = notify.New(os.Getenv); err != nil {
		return fail(exitOSErr, "%w", err)
	}
	if m.control, err = listen.BindUnix(m.cfg.controlPath(), unix.SOCK_SEQPACKET, 0o600); err != nil {
		return fail(exitUnavailable, "control socket %s: %w (does the server run already?)", m.cfg.controlPath(), err)
	}
	if m.sockets, err = listen.Open(m.cfg.set.Listeners(), nil, m.given); err != nil {
		return fail(exitUnavailable, "%w", err)
	}
	if len(m.sockets.Sockets) == 0 {
		return fail(exitConfig, "no [[listener]] is enabled: nobody could connect")
	}
	return nil
}

func (m *master) openForkers() (err error) {
	if m.forker, err = spawn.NewForker(false); err != nil {
		return fail(exitOSErr, "%w", err)
	}
	if m.workFork, err = spawn.NewForker(m.netNS); err != nil {
		return fail(exitOSErr, "%w", err)
	}
	return nil
}

// openLog makes master's own log channel; what is written before logd runs
// waits in it.
func (m *master) openLog() error {
	writer, id, err := m.logd.attach("master", "")
	if err != nil {
		return fail(exitOSErr, "%w", err)
	}
	if m.logConn, err = ipc.NewConn(writer, logmsg.Protocol, ipc.FromClient); err != nil {
		return fail(exitOSErr, "%w", err)
	}
	m.logd.attached[id].pid = int32(os.Getpid())
	m.log = maillog.New(maillog.ToChannel(m.logConn))
	return nil
}

// advance goes on with the start as soon as the next step can be taken.
func (m *master) advance() {
	switch {
	case m.up || m.stop.began || m.finished:
	case m.logd.proc == nil || !m.logd.proc.ready:
	case m.authd.proc == nil:
		m.introduce()
		if err := m.startAuthd(); err != nil {
			m.serviceFailed(child.Authd, err)
		}
	case !m.authd.proc.ready || len(m.pairs.asked) > 0:
	case m.pairs.problem != nil:
		m.finish(fail(exitConfig, "%w", m.pairs.problem))
	case len(m.logins.all) == 0:
		m.pairs.rotate(m, time.Now())
		m.logins.fill(m)
	case m.logins.allReady():
		m.ready()
	}
}

// introduce writes the first lines of the log.
func (m *master) introduce() {
	m.log.Infof("Rookery v%s (build %s) starting up", buildid.Version, buildid.ID())
	if !m.root {
		text := fmt.Sprintf("not started by root: all processes and all users' mail run under uid %d, and only Landlock and seccomp keep them apart", os.Geteuid())
		fmt.Fprintln(os.Stderr, "rookery:", text)
		m.log.Warnf("%s", text)
	} else if len(m.missing) > 0 {
		m.log.Warnf("this system lacks protections: %v", m.missing)
	}
	if err := m.tools.missing; err != nil {
		m.log.Warnf("rookeryctl cannot work on users' mail: %v", err)
	}
	for _, w := range append(m.cfg.warnings, m.sockets.Warnings...) {
		m.log.Warnf("%s", w)
	}
	m.warnDangers()
}

// warnDangers says loudly what is dangerous in the settings, at each start and
// reload.
func (m *master) warnDangers() {
	set := m.cfg.set
	if settings.AuthDebugPasswords.Get(set) {
		m.log.Warnf("auth_debug_passwords = true: every password that is typed stands in the log; use it only on a test server")
	}
	if p := settings.AuthVerbosePasswords.Get(set); p.Mode != "no" && p.Mode != "" {
		m.log.Warnf("auth_verbose_passwords = %q: passwords of failed logins stand in the log", p)
	}
}

// ready: clients are served.
func (m *master) ready() {
	m.up = true
	go m.serveControl()
	m.manager.Ready(m.statusLine())
	m.log.Infof("%s", m.statusLine())
	m.firstSpares()
}

func (m *master) statusLine() string {
	return fmt.Sprintf("serving on %d sockets with %d login processes", len(m.sockets.Sockets), m.cfg.loginProcesses())
}

// closeFDs ends everything that lives from master's descriptors and threads.
func (m *master) closeFDs() {
	for _, p := range m.procs {
		p.kill()
	}
	unix.Close(m.control)
}
