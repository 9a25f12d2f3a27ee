package login

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"rookery/internal/ipc"
	"rookery/internal/ipc/authmsg"
	"rookery/internal/ipc/handoffmsg"
	"rookery/internal/maillog"
	"rookery/login/internal/places"
	"rookery/login/internal/relay"
	"rookery/login/internal/sock"
	"rookery/login/internal/tlsserver"
)

// listener is one listening socket and what its table says.
type listener struct {
	sock     *sock.Listener
	name     string
	service  string // "imap", "pop3"
	implicit bool   // begins with TLS
	haproxy  bool   // begins with a PROXY header
}

// server is the process.
type server struct {
	cfg       *config
	log       *maillog.Logger
	ctl       *ipc.Conn
	auth      *auth
	tls       *tlsserver.Server
	relayFor  relay.Timeouts
	now       func() time.Time
	listeners []*listener
	host      string
	credits   chan struct{} // one for each Request that may be in flight

	ready   map[string]bool // what master has sent so far; main loop's alone
	ended   chan error      // the first reason to end
	once    sync.Once
	idle    chan struct{} // told when the last session has ended
	stopped chan struct{} // closed when the process ends
	all     sync.WaitGroup
	gate    *sock.Gate // login_high_security

	mu       sync.Mutex
	places   *places.Table
	sessions map[*session]struct{} // strangers and relayed ones
	relayed  int
	dropped  uint64
	requests map[uint64]*handoff
	next     uint64
	closing  bool // no more clients
	leaving  bool // Shutdown was told: nobody logs in any more
	told     handoffmsg.Load
}

func newServer(cfg *config, log *maillog.Logger, ctl *ipc.Conn, listeners []*listener, now func() time.Time) *server {
	s := &server{
		cfg: cfg, log: log, ctl: ctl, listeners: listeners, now: now, relayFor: relay.Usual,
		ready: map[string]bool{}, ended: make(chan error, 1), idle: make(chan struct{}, 1), stopped: make(chan struct{}),
		places: places.New(cfg.strangers, cfg.perAddress), sessions: map[*session]struct{}{}, requests: map[uint64]*handoff{},
	}
	if cfg.highSecurity {
		s.gate = new(sock.Gate)
	}
	s.auth = newAuth(now, s.end)
	s.tls = tlsserver.New(cfg.tls, s.auth)
	if cfg.ssl == "no" {
		s.ready["certificates"] = true
	}
	return s
}

// end ends the process with its first reason; nil is the wanted end.
func (s *server) end(err error) {
	s.once.Do(func() { s.ended <- err })
}

// run serves until the process may end.
func (s *server) run() error {
	messages := make(chan ipc.Message)
	var readers sync.WaitGroup
	readers.Go(func() { s.receive(messages) })
	err := s.loop(messages)
	close(s.stopped)
	s.stopAccepting()
	s.cutAll()
	s.ctl.Close()
	s.auth.close()
	readers.Wait()
	s.all.Wait()
	return err
}

// receive reads master's channel. Its end means that master is gone.
func (s *server) receive(messages chan<- ipc.Message) {
	for {
		m, fd, err := s.ctl.Recv()
		if errors.Is(err, io.EOF) {
			err = errors.New("master is gone")
		}
		if err != nil {
			s.end(err)
			return
		}
		if _, ok := m.(*handoffmsg.Auth); ok {
			conn, err := ipc.NewConn(fd, authmsg.Protocol, ipc.FromClient)
			if err != nil {
				s.end(err)
				return
			}
			s.auth.attach(conn)
			continue
		}
		if m, ok := m.(*handoffmsg.Done); ok {
			s.requestDone(m) // not through the loop: logins wait for it
			continue
		}
		select {
		case messages <- m:
		case <-s.stopped:
			return
		}
	}
}

func (s *server) loop(messages <-chan ipc.Message) error {
	welcomed := s.auth.welcomed
	load := time.NewTicker(time.Second)
	defer load.Stop()
	var limit <-chan time.Time
	for {
		select {
		case m := <-messages:
			if within, err := s.control(m); err != nil {
				return err
			} else if within > 0 {
				limit = time.After(within)
			}
		case <-welcomed:
			welcomed = nil
			s.ready["authd"] = true
		case <-load.C:
			s.tellLoad()
		case <-s.idle:
		case <-limit:
			return nil
		case err := <-s.ended:
			return err
		}
		s.startAccepting()
		if s.empty() {
			return nil
		}
	}
}

// empty reports whether the process is closing and has no session left.
func (s *server) empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing && len(s.sessions) == 0
}

// control does what master says. within is how long a Shutdown may take.
func (s *server) control(m ipc.Message) (within time.Duration, err error) {
	switch m := m.(type) {
	case *handoffmsg.Welcome:
		if s.credits != nil {
			return 0, errors.New("master welcomed twice")
		}
		s.host = m.HostName
		if s.cfg.hostname != "" {
			s.host = s.cfg.hostname
		}
		s.credits = make(chan struct{}, m.Credits)
		for range m.Credits {
			s.credits <- struct{}{}
		}
		s.ready["welcome"] = true
	case *handoffmsg.Certificate:
		if err := s.tls.AddCertificate(m); err != nil {
			return 0, err
		}
	case *handoffmsg.CertificatesEnd:
		if err := s.tls.Use(m.Count); err != nil {
			return 0, err
		}
		s.ready["certificates"] = true
	case *handoffmsg.TicketKeys:
		s.tls.SetTicketKeys(m.Keys)
	case *handoffmsg.LogDebug:
		s.setDebug(m.Filter)
	case *handoffmsg.Drain:
		s.stopAccepting()
	case *handoffmsg.TooMany:
		s.sendAway(kickFull)
	case *handoffmsg.Shutdown:
		s.sendAway(kickShutdown)
		return max(m.Within, time.Millisecond), nil
	}
	return 0, nil
}

func (s *server) setDebug(text string) {
	f, err := maillog.ParseFilter(text)
	if err != nil {
		s.log.Errorf("log_debug: %v", err)
		return
	}
	s.log.SetDebug(f)
}

func (s *server) tellLoad() {
	s.mu.Lock()
	now := handoffmsg.Load{Unauthenticated: uint32(s.places.Len()), Relayed: uint32(s.relayed), Dropped: s.dropped}
	changed := now != s.told
	s.told = now
	s.mu.Unlock()
	if changed {
		s.ctl.Send(&now, -1)
	}
}

// startAccepting begins once master and authd have said what is needed.
func (s *server) startAccepting() {
	if len(s.ready) < 3 || s.ready["accepting"] || !s.ready["welcome"] || !s.ready["certificates"] || !s.ready["authd"] {
		return
	}
	s.ready["accepting"] = true
	s.mu.Lock()
	closing := s.closing
	s.mu.Unlock()
	if closing {
		return
	}
	for _, l := range s.listeners {
		s.all.Go(func() { s.accept(l) })
	}
}

// stopAccepting closes our copies of the listeners; other processes go on.
func (s *server) stopAccepting() {
	s.mu.Lock()
	was := s.closing
	s.closing = true
	s.mu.Unlock()
	if was {
		return
	}
	for _, l := range s.listeners {
		l.sock.Close()
	}
	s.sayIdle()
}

func (s *server) sayIdle() {
	select {
	case s.idle <- struct{}{}:
	default:
	}
}

// sendAway says goodbye to strangers; relayed sessions go on until their
// workers end them.
func (s *server) sendAway(r kickReason) {
	s.stopAccepting()
	s.mu.Lock()
	s.leaving = s.leaving || r == kickShutdown
	strangers := make([]*session, 0, s.places.Len())
	s.places.Each(func(e *places.Entry) { strangers = append(strangers, e.Client.(*session)) })
	s.mu.Unlock()
	for _, c := range strangers {
		c.kick(r)
	}
}

// cutAll ends everything at once.
func (s *server) cutAll() {
	s.mu.Lock()
	all := make([]*session, 0, len(s.sessions))
	for c := range s.sessions {
		all = append(all, c)
	}
	s.mu.Unlock()
	for _, c := range all {
		c.cut()
	}
}

// accept takes clients of one listener.
func (s *server) accept(l *listener) {
	for {
		conn, err := l.sock.Accept(s.gate)
		if err != nil {
			if s.isClosing() || errors.Is(err, sock.ErrTaken) {
				return
			}
			// Too many open files, or no memory: the client waits in the queue.
			s.log.Prefix(l.service+"-login").Warnf("accept() failed: %v", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		if s.cfg.highSecurity {
			s.ctl.Send(&handoffmsg.Accepted{Remote: conn.Remote()}, -1)
		}
		s.admit(l, conn)
		if s.cfg.highSecurity {
			s.stopAccepting()
			return
		}
	}
}

func (s *server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// admit gives a client its place and its goroutine.
func (s *server) admit(l *listener, conn *sock.Conn) {
	c := newSession(s, l, conn)
	exempt := contains(s.cfg.exempt, conn.Remote().Addr()) || l.haproxy
	s.mu.Lock()
	verdict, oldest := s.places.Add(&c.place, conn.Remote().Addr(), exempt)
	if verdict != places.TooMany && oldest == nil && len(s.sessions) >= s.cfg.clients {
		// Only for one who has a place himself: whoever is turned away must not
		// take another's.
		if oldest = s.places.Oldest(); oldest == &c.place {
			s.mu.Unlock()
			c.turnAway("Too many connections, try again later.")
			return
		}
	}
	if verdict == places.TooMany {
		s.mu.Unlock()
		c.turnAway(fmt.Sprintf("Too many connections from your address that have not logged in (login_unauthenticated_userip_limit=%d).", s.cfg.perAddress))
		return
	}
	s.sessions[c] = struct{}{}
	if oldest != nil {
		s.dropped++
	}
	s.mu.Unlock()
	if oldest != nil {
		oldest.Client.(*session).kick(kickFull)
	}
	s.all.Go(c.serve)
}

// replace counts a client against the address that a PROXY header told.
func (s *server) replace(c *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.places.Remove(&c.place)
	c.place = places.Entry{Client: c}
	verdict, other := s.places.Add(&c.place, c.remote.Addr(), contains(s.cfg.exempt, c.remote.Addr()))
	if other != nil {
		s.dropped++
		go other.Client.(*session).kick(kickFull)
	}
	return verdict != places.TooMany
}

// leave frees a session's places.
func (s *server) leave(c *session) {
	s.mu.Lock()
	s.places.Remove(&c.place)
	delete(s.sessions, c)
	last := s.closing && len(s.sessions) == 0
	s.mu.Unlock()
	if last {
		s.sayIdle()
	}
}

// stranger gives a place to a client whose login is over, and says why it cannot stay,
// if it cannot.
func (s *server) stranger(c *session) *kickReason {
	s.mu.Lock()
	if s.leaving {
		s.mu.Unlock()
		return &kickShutdown
	}
	c.place = places.Entry{Client: c}
	verdict, oldest := s.places.Add(&c.place, c.remote.Addr(), contains(s.cfg.exempt, c.remote.Addr()))
	if oldest != nil {
		s.dropped++
	}
	s.mu.Unlock()
	if oldest != nil {
		oldest.Client.(*session).kick(kickFull)
	}
	if verdict == places.TooMany {
		return &kickFull
	}
	return nil
}

// noStranger frees a session's place: its stream goes to a worker.
func (s *server) noStranger(c *session) {
	s.mu.Lock()
	s.places.Remove(&c.place)
	s.mu.Unlock()
}

// relayBegins counts a session whose TLS stays here.
func (s *server) relayBegins() {
	s.all.Add(1)
	s.mu.Lock()
	s.relayed++
	s.mu.Unlock()
}

func (s *server) relayEnded() {
	s.mu.Lock()
	s.relayed--
	s.mu.Unlock()
	s.all.Done()
}
