package worker

import (
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/ipc"
	"rookery/internal/ipc/envelopemsg"
	"rookery/internal/ipc/workermsg"
	"rookery/internal/settings"
)

// goTimeout is how long a session waits for login to pass the stream. login
// answers at once; only one that hangs does not.
const goTimeout = 30 * time.Second

// quiet is how long nothing must have come from any client before memory is given
// back.
const quiet = time.Second

// loop owns the process's sessions.
type loop struct {
	host     *Host
	ctl      *ipc.Conn
	server   Server
	protocol string
	linger   time.Duration
	sessions map[uint64]chan string // ends of sessions under way, and of guests
	ended    chan uint64
	messages chan received
	over     chan struct{} // closed when run has ended
	stopping bool
	rest     *resting
}

type received struct {
	m   ipc.Message
	fd  int
	err error
}

func newLoop(host *Host, protocol string, ctl *ipc.Conn, server Server) *loop {
	return &loop{host: host, protocol: protocol, ctl: ctl, server: server, linger: settings.WorkerIdleKillInterval.Get(host.Settings), rest: newResting(),
		sessions: map[uint64]chan string{}, ended: make(chan uint64), messages: make(chan received), over: make(chan struct{})}
}

// run serves until master lets the process go, or goes itself.
func (l *loop) run() error {
	defer close(l.over)
	defer l.server.Close()
	defer l.host.sharing.end() // a session that waits for another's process lets go of the store
	go l.receive()
	lingering := time.NewTimer(l.linger)
	trim := time.NewTimer(quiet)
	trim.Stop()
	tend := time.NewTicker(tendEvery)
	defer tend.Stop()
	var deadline <-chan time.Time
	for {
		select {
		case r := <-l.messages:
			done, within, err := l.message(r)
			if done || err != nil {
				return err
			}
			if within > 0 {
				deadline = time.After(within)
			}
			if _, begun := r.m.(*workermsg.Session); begun {
				trim.Reset(quiet) // a session that only waits leaves what its login and SELECT needed
			}
		case id := <-l.ended:
			delete(l.sessions, id)
			lingering.Reset(l.linger)
			trim.Reset(quiet)
			if len(l.sessions) == 0 {
				l.host.tend()
			}
		case <-tend.C:
			l.host.tend()
		case <-l.rest.awake:
			trim.Reset(quiet)
		case <-trim.C:
			if !l.rest.quiet() {
				trim.Reset(quiet)
			}
		case <-lingering.C:
			if len(l.sessions) == 0 && !l.stopping {
				l.ctl.Send(&workermsg.AskExit{}, -1)
				lingering.Reset(l.linger)
			}
		case <-deadline:
			return nil
		}
		if l.stopping && len(l.sessions) == 0 {
			return nil
		}
	}
}

func (l *loop) receive() {
	for {
		m, fd, err := l.ctl.Recv()
		select {
		case l.messages <- received{m, fd, err}:
		case <-l.over:
			if fd >= 0 {
				unix.Close(fd)
			}
			return
		}
		if err != nil {
			return
		}
	}
}

// message handles one of master's. within, if above 0, is when all must be over.
func (l *loop) message(r received) (done bool, within time.Duration, err error) {
	if errors.Is(r.err, io.EOF) {
		return true, 0, nil // without master there is nothing to serve for
	}
	if r.err != nil {
		return true, 0, r.err
	}
	switch m := r.m.(type) {
	case *workermsg.Session:
		l.begin(m, r.fd)
	case *workermsg.MayExit:
		return len(l.sessions) == 0, 0, nil
	case *workermsg.Kick:
		l.kick(m.ID, m.Text)
	case *workermsg.Wake:
		l.server.Wake()
	case *workermsg.Guest:
		if err := l.beginGuest(m, r.fd); err != nil {
			return true, 0, err
		}
	case *workermsg.Reached:
		l.host.sharing.reached(m, r.fd)
	case *workermsg.Shares:
		l.host.sharing.part(m)
	case *workermsg.SharesChanged:
		if s, ok := l.server.(GuestServer); ok {
			s.SharesChanged()
		}
	case *workermsg.LogDebug:
		setDebug(l.host.Log, m.Filter)
	case *workermsg.Shutdown:
		l.stopping = true
		l.kick(0, "Server shutting down.")
		return len(l.sessions) == 0, max(m.Within, time.Millisecond), nil
	default:
		if r.fd >= 0 {
			unix.Close(r.fd)
		}
		return true, 0, fmt.Errorf("master sent %T to a worker that has its user", m)
	}
	return false, 0, nil
}

// kick ends one session, or all if id is 0.
func (l *loop) kick(id uint64, text string) {
	for sid, end := range l.sessions {
		if id == 0 || sid == id {
			select {
			case end <- text:
			default: // it was told already
			}
		}
	}
}

func (l *loop) begin(m *workermsg.Session, envelope int) {
	end := make(chan string, 1)
	l.sessions[m.ID] = end
	s := &Session{ID: m.ID, Name: m.Session, Record: m.Record, End: end, Log: l.host.Log.Session(m.Session)}
	go func() {
		l.serve(s, envelope, func(in, out uint64) { l.ctl.Send(&workermsg.Ended{ID: m.ID, In: in, Out: out}, -1) })
		l.ended <- m.ID
	}()
}

// serve serves one session. over is called once with its octets, before the stream is
// closed: who reads its end and comes again must not be one too many for master.
func (l *loop) serve(s *Session, envelope int, over func(in, out uint64)) {
	g, fd, err := l.open(s.ID, envelope)
	if err != nil {
		if !errors.Is(err, io.EOF) { // EOF: the client or login went before GO
			s.Log.Errorf("session %s was not handed over: %v", s.Name, err)
		}
		over(0, 0)
		return
	}
	stream, err := NewStream(fd, g.Pending)
	if err != nil {
		s.Log.Errorf("session %s: %v", s.Name, err)
		over(0, 0)
		return
	}
	s.Go, s.Stream, stream.rest = g, stream, l.rest
	defer stream.Close()
	if stream.raw = l.host.openRawlog(s, l.protocol, time.Now()); stream.raw != nil {
		defer stream.raw.close()
	}
	l.server.Serve(s)
	over(stream.Octets())
}

// open says ACCEPT in the envelope and waits for GO. Only a session whose GO
// was read is taken: until then master can give it to another worker.
func (l *loop) open(id uint64, envelope int) (*envelopemsg.Go, int, error) {
	env, err := ipc.NewConn(envelope, envelopemsg.Protocol, ipc.FromServer)
	if err != nil {
		return nil, -1, err
	}
	defer env.Close()
	// If login is gone already, GO may still wait to be read: an error here says nothing.
	_ = env.Send(&envelopemsg.Accept{}, -1)
	env.SetReadDeadline(time.Now().Add(goTimeout))
	m, fd, err := env.Recv()
	if err != nil {
		return nil, -1, err
	}
	if err := l.ctl.Send(&workermsg.Taken{ID: id}, -1); err != nil {
		unix.Close(fd)
		return nil, -1, err
	}
	return m.(*envelopemsg.Go), fd, nil
}
