package master

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/child"
	"rookery/internal/child/spawn"
	"rookery/internal/ipc"
	"rookery/internal/maillog"
	"rookery/master/internal/handover"
	"rookery/master/internal/listen"
	"rookery/master/internal/notify"
	"rookery/master/internal/relocated"
	"rookery/master/internal/restart"
	"rookery/master/internal/watch"
)

// master is all state. Its methods run in the loop unless they say otherwise.
type master struct {
	file    string // rookery.toml
	root    bool
	strict  bool // a protection that cannot be had ends a child
	pidNS   bool
	netNS   bool
	missing []string // what this kernel lacks for users who share a uid
	started time.Time

	events chan func()
	done   chan struct{} // closed when the loop has ended
	closer chan int

	cfg      *config
	log      *maillog.Logger
	logConn  *ipc.Conn
	table    *handover.Machine
	progs    map[child.Role]*spawn.Program
	forker   *spawn.Forker // for logd, authd, login
	workFork *spawn.Forker // for workers: sits in their namespaces
	empty    int           // the empty directory
	given    []listen.Given
	sockets  *listen.Set
	manager  *notify.Manager
	watchSet chan []*watch.Set

	nextID   uint64
	procs    map[uint64]*proc
	logd     logService
	authd    authService
	pairs    pairs
	logins   logins
	workers  workers
	tools    tools
	sharing  sharing
	moves    *relocated.Table // where users' mail was moved to
	groups   map[child.Role]*restart.Group
	debug    string // the filter of log_debug at run time
	asked    map[uint64]func(answer)
	control  int // listening socket
	up       bool
	stop     stopping
	reload   reloading
	exitErr  error
	finished bool
}

// post hands an event to the loop. It may wait while the loop is busy: that
// is how one peer's flood stays in its own channel.
func (m *master) post(f func()) {
	select {
	case m.events <- f:
	case <-m.done:
	}
}

// after posts an event later.
func (m *master) after(d time.Duration, f func()) { time.AfterFunc(d, func() { m.post(f) }) }

// id gives a number that is never used again.
func (m *master) id() uint64 {
	m.nextID++
	return m.nextID
}

// run is the loop.
func (m *master) run() error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	signal.Ignore(syscall.SIGPIPE)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var alive <-chan time.Time
	if m.manager.Watchdog > 0 {
		t := time.NewTicker(m.manager.Watchdog)
		defer t.Stop()
		alive = t.C
	}
	for !m.finished {
		select {
		case f := <-m.events:
			f()
		case s := <-signals:
			m.signalled(s)
		case now := <-tick.C:
			m.tick(now)
		case <-alive:
			m.manager.Alive()
		}
	}
	close(m.done)
	return m.exitErr
}

func (m *master) signalled(s os.Signal) {
	switch s {
	case syscall.SIGHUP:
		m.startReload(nil)
	case syscall.SIGUSR1:
		m.reopenLogs()
	default:
		m.startStop()
	}
}

func (m *master) tick(now time.Time) {
	m.table.Tick(now)
	m.pairs.tick(m, now)
	m.logins.tick(m, now)
}

// finish ends the loop.
func (m *master) finish(err error) {
	if m.exitErr == nil {
		m.exitErr = err
	}
	m.finished = true
}

// closing closes descriptors: a socket with SO_LINGER may hold its closer for
// seconds.
func (m *master) closing() {
	for fd := range m.closer {
		unix.Close(fd)
	}
}

// close closes a descriptor elsewhere.
func (m *master) close(fd int) {
	if fd < 0 {
		return
	}
	select {
	case m.closer <- fd:
	default:
		go unix.Close(fd)
	}
}
