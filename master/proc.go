package master

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/child"
	"rookery/internal/child/spawn"
	"rookery/internal/ipc"
	"rookery/master/internal/idents"
)

// proc is a child.
type proc struct {
	id      uint64
	role    child.Role
	user    string // of a worker
	pid     int
	child   *spawn.Child
	conn    *ipc.Conn
	logID   uint64
	began   time.Time
	ready   bool
	exiting bool // its end is expected
	doomed  bool // it was killed
	ended   bool // it closed its channel
	onMsg   func(ipc.Message, int)
	onGone  func(error)      // the channel is at its end
	onExit  func(spawn.Exit) // it is reaped, and all its messages are read
}

// birth is what a child is started with.
type birth struct {
	role   child.Role
	proto  *ipc.Protocol
	info   *os.File // settings memfd
	cred   *spawn.Cred
	extra  []int // what follows the role's own slots: auth channel, listeners
	stderr *os.File
	forker *spawn.Forker
	net    bool // namespaces of its own
	dir    int  // in the place of the empty directory; 0: that one
	memory int64
	procs  int // GOMAXPROCS
	user   string
}

// endGrace is how long a child may live on without a channel.
const endGrace = time.Second

// lastWords is how long after a child's end its channel is read. A login
// process can pass its end on to another, where the channel would not end.
const lastWords = 10 * time.Second

// sendBuffer is what a channel holds before master queues: some 10,000 small messages.
const sendBuffer = 4 << 20

// launch starts a child. The proc can be sent to at once: messages wait in its
// channel. started is called in the loop when the process exists, or cannot.
func (m *master) launch(b birth, p *proc, started func(error)) error {
	mine, theirs, err := ipc.Pair()
	if err != nil {
		return err
	}
	p.id, p.role, p.user, p.began = m.id(), b.role, b.user, time.Now()
	if p.conn, err = ipc.NewConn(mine, b.proto, ipc.FromServer); err != nil {
		unix.Close(theirs)
		return err
	}
	p.conn.SetSendBuffer(sendBuffer)
	logEnd := -1
	if b.role != child.Logd {
		if logEnd, p.logID, err = m.logd.attach(logRole(b.role), b.user); err != nil {
			p.conn.Close()
			unix.Close(theirs)
			return err
		}
	}
	m.procs[p.id] = p
	root := -1
	if !b.role.Worker() {
		root = m.empty
	}
	if b.dir > 0 {
		root = b.dir
	}
	spec := spawn.Spec{Program: m.progs[b.role], Files: append([]int{theirs, int(b.info.Fd()), logEnd, root}, b.extra...), Stderr: b.stderr,
		Env: spawn.Environment(b.procs, b.memory, os.Getenv("TZ")), Cred: b.cred, PID: m.pidNS, Net: b.net && m.netNS, Chroot: m.root}
	go func() {
		c, err := b.forker.Start(spec)
		runtime.KeepAlive(b.info) // a reload may have replaced it meanwhile
		unix.Close(theirs)
		if logEnd >= 0 {
			unix.Close(logEnd)
		}
		m.post(func() { m.launched(p, c, err, started) })
	}()
	return nil
}

func (m *master) launched(p *proc, c *spawn.Child, err error, started func(error)) {
	if err != nil {
		p.conn.Close()
		m.forget(p)
		started(err)
		return
	}
	p.child, p.pid = c, c.PID
	if p.doomed {
		p.kill()
	}
	m.logd.named(p.logID, p.pid, p.user)
	read := make(chan struct{})
	go m.receive(p, read)
	go func() {
		exit, err := c.Wait()
		select {
		case <-read: // its last words come before its end
		case <-time.After(lastWords):
			p.conn.Close() // another holds a copy of its end: it must not live on by that
			<-read
		}
		if err != nil {
			exit = spawn.Exit{Code: -1}
		}
		m.post(func() {
			m.forget(p)
			p.onExit(exit)
		})
	}()
	if c.Stderr != nil {
		go m.pumpStderr(p, c.Stderr)
	}
	started(nil)
}

// What a login process or a worker may say before it has to wait: with more it
// would have the loop for itself, and others would wait behind it.
const (
	floodCount  = 400
	floodWindow = 10 * time.Millisecond
)

// receive turns messages into events. It does not run in the loop.
func (m *master) receive(p *proc, done chan<- struct{}) {
	defer close(done)
	since, n := time.Now(), 0
	for {
		msg, fd, err := p.conn.Recv()
		if n++; n > floodCount && (p.role == child.Login || p.role.Worker()) {
			time.Sleep(floodWindow - time.Since(since))
			since, n = time.Now(), 0
		}
		if err != nil {
			m.post(func() {
				p.conn.Close()
				p.ended = errors.Is(err, io.EOF)
				p.onGone(err)
			})
			return
		}
		m.post(func() { p.onMsg(msg, fd) })
	}
}

// forget gives up what master holds of a child that is gone.
func (m *master) forget(p *proc) {
	delete(m.procs, p.id)
	m.logd.detach(p.logID)
}

// kill ends a child; onExit follows.
func (p *proc) kill() {
	if p.ended { // most likely it is exiting: let it tell with which code
		time.AfterFunc(endGrace, func() { p.signal() })
		return
	}
	p.doomed = true // if it is being started, then as soon as it is there
	p.signal()
}

func (p *proc) signal() {
	if p.child != nil {
		_ = p.child.Signal(unix.SIGKILL) // it may be gone already
	}
}

// why puts the end of a channel into words; "" for a plain end.
func why(err error) string {
	if errors.Is(err, io.EOF) {
		return ""
	}
	return err.Error()
}

// send sends a message; a child that does not read is killed.
func (m *master) send(p *proc, msg ipc.Message, fd int) bool {
	if p == nil || p.conn == nil {
		return false
	}
	err := p.conn.Send(msg, fd)
	if errors.Is(err, ipc.ErrQueueFull) {
		m.log.Errorf("%s[%d] does not read its channel: it is killed", p.role, p.pid)
		p.kill()
	}
	return err == nil
}

func logRole(r child.Role) string {
	switch r {
	case child.Authd:
		return "auth"
	case child.IMAPWorker:
		return "imap"
	case child.POP3Worker:
		return "pop3"
	case child.MailTool:
		return "mailtool"
	case child.Logd:
		return "log"
	}
	return string(r)
}

// cred is a service's user; nil where everything runs under one uid.
func (m *master) cred(u idents.User) *spawn.Cred {
	if !m.root {
		return nil
	}
	return &spawn.Cred{UID: u.UID, GID: u.GID}
}

// maxProcs is GOMAXPROCS for children that serve many.
func maxProcs(limit int) int { return min(limit, runtime.NumCPU()) }

// sealInfo makes a role's settings descriptor.
func sealInfo(role child.Role, info child.Info) (*os.File, error) {
	return child.Seal(fmt.Sprintf("rookery-%s-settings", role), info.Encode())
}
