package logd

import (
	"errors"
	"io"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/ipc"
	"rookery/internal/ipc/logmsg"
	"rookery/internal/maillog/sink"
)

// server holds everything that logd knows.
type server struct {
	mu     sync.Mutex
	sinks  sinks
	next   []*output   // sinks that master is sending, until SinksDone
	style  *sink.Style // in use
	styled *sink.Style // in use from SinksDone on
	ring   ring
	peers  map[uint64]*peer
	ctl    *ipc.Conn
	now    func() time.Time
	peerWG sync.WaitGroup
}

// peer is one process whose events arrive on a channel of its own.
type peer struct {
	role  string
	pid   int32
	user  string
	conn  *ipc.Conn
	quota quota
}

func newServer(ctl *ipc.Conn, now func() time.Time) *server {
	return &server{ctl: ctl, now: now, peers: map[uint64]*peer{}, style: &sink.Style{}, styled: &sink.Style{}, ring: newRing(1000)}
}

// serve runs until master goes. It then writes what the other channels still
// hold, so that the last words of a dying server are not lost.
func (s *server) serve() error {
	err := s.serveControl()
	deadline := time.Now().Add(2 * time.Second)
	s.mu.Lock()
	for _, p := range s.peers {
		p.conn.SetReadDeadline(deadline)
	}
	s.mu.Unlock()
	s.peerWG.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sinks.close()
	return err
}

func (s *server) serveControl() error {
	for {
		m, fd, err := s.ctl.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err // from above: fatal
		}
		s.control(m, fd)
	}
}

func (s *server) control(m ipc.Message, fd int) {
	switch m := m.(type) {
	case *logmsg.Attach:
		s.attach(m, fd)
	case *logmsg.Named:
		s.named(m)
	case *logmsg.Sink:
		s.mu.Lock()
		s.next = append(s.next, newOutput(m, fd))
		s.mu.Unlock()
	case *logmsg.SinksDone:
		s.mu.Lock()
		s.sinks.replace(s.next)
		s.next = nil
		s.style = s.styled
		s.mu.Unlock()
	case *logmsg.Style:
		s.mu.Lock()
		s.styled = newStyle(m)
		s.mu.Unlock()
	case *logmsg.SyslogSocket:
		s.mu.Lock()
		s.sinks.setSyslog(fd)
		s.mu.Unlock()
	case *logmsg.Stderr:
		s.stderr(m)
	case *logmsg.Errors:
		s.mu.Lock()
		lines, more := s.ring.after(m.After, 16)
		s.mu.Unlock()
		s.ctl.Send(&logmsg.ErrorLines{ID: m.ID, Lines: lines, More: more}, -1)
	}
}

func (s *server) attach(m *logmsg.Attach, fd int) {
	open := ipc.NewConn
	if m.Resumed { // an earlier logd has read the hello
		open = ipc.Resume
	}
	conn, err := open(fd, logmsg.Protocol, ipc.FromServer)
	if err != nil {
		s.own(logmsg.Error, "cannot read the log of "+m.Role+": "+err.Error())
		return
	}
	p := &peer{role: m.Role, pid: m.PID, user: m.User, conn: conn, quota: quota{last: s.now()}}
	s.mu.Lock()
	s.peers[m.ID] = p
	s.mu.Unlock()
	s.peerWG.Add(1)
	go func() {
		defer s.peerWG.Done()
		s.read(p)
		conn.Close()
		s.mu.Lock()
		delete(s.peers, m.ID)
		s.mu.Unlock()
	}()
}

// named fills in what was not known at Attach. A user is set once: a worker
// serves one and dies.
func (s *server) named(m *logmsg.Named) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.peers[m.ID]
	if p == nil {
		return
	}
	if m.PID != 0 {
		p.pid = m.PID
	}
	if p.user == "" {
		p.user = m.User
	}
}

// read writes a process's events until it goes or breaks the channel's rules.
func (s *server) read(p *peer) {
	for {
		m, _, err := p.conn.Recv()
		if err != nil {
			if !errors.Is(err, io.EOF) && !isTimeout(err) {
				s.own(logmsg.Error, "the log channel of "+p.role+" is closed: "+err.Error())
			}
			return
		}
		s.event(p, m.(*logmsg.Event))
	}
}

func (s *server) event(p *peer, e *logmsg.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	write, dropped := p.quota.take(now)
	if dropped > 0 {
		s.write(&sink.Line{Time: now, Role: p.role, User: p.user, PID: p.pid, Event: &logmsg.Event{Level: logmsg.Warning,
			Prefix: e.Prefix, Text: "lines dropped, since this process wrote too many: " + utoa(dropped)}})
	}
	if write {
		s.write(&sink.Line{Time: now, Role: p.role, User: p.user, PID: p.pid, Event: e})
	}
}

// write is called with mu held.
func (s *server) write(l *sink.Line) {
	if l.Event.Level >= logmsg.Warning {
		s.ring.add(l, s.style)
	}
	if s.sinks.write(l, s.style) {
		s.ctl.Send(&logmsg.Broken{}, -1) // the system's logger was restarted: ask master for a new socket
	}
}

// own writes a line of logd itself.
func (s *server) own(level logmsg.Level, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write(&sink.Line{Time: s.now(), Role: "log", PID: int32(unix.Getpid()), Event: &logmsg.Event{Level: level, Text: text}})
}

// stderr writes what a child printed, a line of the log for each of its lines.
func (s *server) stderr(m *logmsg.Stderr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range splitLines(m.Data) {
		s.write(&sink.Line{Time: s.now(), Role: m.Role, PID: m.PID, Event: &logmsg.Event{Level: logmsg.Error, Text: "stderr: " + text}})
	}
}
