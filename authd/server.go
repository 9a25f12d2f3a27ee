package authd

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"rookery/authd/internal/authdb"
	"rookery/authd/internal/dbfile"
	"rookery/authd/internal/engine"
	"rookery/authd/internal/hashpool"
	"rookery/authd/internal/signer"
	"rookery/internal/child"
	"rookery/internal/ipc"
	"rookery/internal/ipc/authmsg"
	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/maillog"
	"rookery/internal/settings"
)

// maxHalves bounds certificates that wait for their keys and the reverse.
const maxHalves = 1024

// maxChannels bounds login processes; with login_high_security each connection
// has one.
const maxChannels = 1 << 16

type server struct {
	ctl   *ipc.Conn
	log   *maillog.Logger
	files *dbfile.Store
	now   func() time.Time
	keys  *signer.Keys
	pool  *hashpool.Pool
	eng   *engine.Engine

	halves map[uint64]*half // of master's goroutine alone
	shares sharing          // the same

	mu       sync.Mutex
	channels map[uint64]*channel
	wg       sync.WaitGroup
}

// half is a certificate or key whose other half has not come.
type half struct {
	cert, key []byte
	problem   string // of the first that could not be read
	seen      int    // of the two
}

type channel struct {
	conn   *ipc.Conn
	client *engine.Client
}

func newServer(ctl *ipc.Conn, log *maillog.Logger, files *dbfile.Store, set *settings.Set, now func() time.Time) (*server, error) {
	s := &server{ctl: ctl, log: log, files: files, now: now, keys: signer.NewKeys(), pool: hashpool.New(poolLimits(set)),
		halves: map[uint64]*half{}, channels: map[uint64]*channel{}, shares: newSharing(log)}
	cfg, err := engineConfig(set, s.databaseEnv())
	if err != nil {
		return nil, err
	}
	s.eng = engine.New(log, now, cfg, s.pool, s.keys, settings.Hostname.Get(set))
	s.warn(set)
	return s, s.eng.LogDebugSetting(debugFilter(settings.LogDebug.Get(set)))
}

// warn says loudly, at each start, that passwords come into the log.
func (s *server) warn(set *settings.Set) {
	if settings.AuthDebugPasswords.Get(set) {
		s.log.Warnf("auth_debug_passwords = true: passwords, right and wrong, and stored secrets are written to the log. Switch it off and delete the log when you are done")
	}
	if mode := settings.AuthVerbosePasswords.Get(set); mode.Mode != "no" && mode.Mode != "" {
		s.log.Warnf("auth_verbose_passwords = %q: passwords of failed logins are written to the log. Switch it off when you are done", mode)
	}
	if settings.AuthAllowWeakSchemes.Get(set) {
		s.log.Warnf("auth_allow_weak_schemes = true: stored passwords in MD5 and DES schemes are accepted; whoever gets the file finds them in little time")
	}
}

// handle serves one message of master's. An error is fatal.
func (s *server) handle(m ipc.Message, fd int) error {
	switch m := m.(type) {
	case *redeemmsg.Attach:
		return s.attach(m, fd)
	case *redeemmsg.File:
		return s.file(m, fd)
	case *redeemmsg.Redeem:
		return s.ctl.Send(s.eng.Redeem(m), -1)
	case *redeemmsg.Lookup:
		return s.ctl.Send(s.eng.Lookup(m), -1)
	case *redeemmsg.Publish:
		return s.ctl.Send(s.shares.publish(m, s.now()), -1)
	case *redeemmsg.SharesOf:
		return s.eng.SharesOf(m, s.shares.keeper.List, func(part ipc.Message) error { return s.ctl.Send(part, -1) })
	case *redeemmsg.Visit:
		return s.ctl.Send(s.eng.Visit(m, s.shares.keeper.List), -1)
	case *redeemmsg.ListUsers:
		return s.listUsers(m)
	case *redeemmsg.Test:
		s.wg.Add(1)
		go func() { // compares a password, which may take its time
			defer s.wg.Done()
			s.eng.Test(m, func(answer ipc.Message) {
				if err := s.ctl.Send(answer, -1); err != nil {
					s.log.Errorf("auth test: %v", err)
				}
			})
		}()
		return nil
	case *redeemmsg.Settings:
		done := &redeemmsg.SettingsDone{Generation: m.Generation}
		if err := s.reload(fd); err != nil {
			done.Problem = clip(err.Error())
		}
		return s.ctl.Send(done, -1)
	case *redeemmsg.LogDebug:
		if err := s.eng.LogDebug(debugFilter([]string{m.Filter})); err != nil {
			s.log.Errorf("log_debug: %v", err)
		}
		return nil
	case *redeemmsg.PairDone:
		s.keys.Drop(m.Pair)
		delete(s.halves, m.Pair)
		return nil
	}
	return fmt.Errorf("channel redeem: no handler for %T", m)
}

func clip(s string) string {
	if len(s) > redeemmsg.MaxText {
		return s[:redeemmsg.MaxText]
	}
	return s
}

// attach begins to serve a login process.
func (s *server) attach(m *redeemmsg.Attach, fd int) error {
	conn, err := ipc.NewConn(fd, authmsg.Protocol, ipc.FromServer)
	if err != nil {
		s.log.Errorf("auth channel %d: %v", m.Channel, err)
		return nil // the login process is dead already
	}
	client := s.eng.Attach(m.Channel, m.Kind, func(m ipc.Message) error { return conn.Send(m, -1) })
	s.mu.Lock()
	taken := s.channels[m.Channel] != nil
	full := len(s.channels) >= maxChannels
	if !taken && !full {
		s.channels[m.Channel] = &channel{conn, client}
		s.wg.Add(1)
	}
	s.mu.Unlock()
	if taken || full {
		conn.Close()
		return fmt.Errorf("channel redeem: attach of channel %d, which is taken (%t) or one too many (%t)", m.Channel, taken, full)
	}
	if err := conn.Send(client.Welcome(), -1); err != nil && s.log.Debugging("", "") {
		s.log.Debugf("auth channel %d: %v", m.Channel, err)
	}
	go func() {
		defer s.wg.Done()
		s.read(m.Channel, conn, client)
	}()
	return nil
}

// read serves a login process until it goes or breaks the rules. A bad message
// from below closes that peer and nothing else.
func (s *server) read(id uint64, conn *ipc.Conn, client *engine.Client) {
	for {
		m, _, err := conn.Recv()
		if err == nil {
			err = client.Handle(m)
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, io.EOF) {
			s.log.Errorf("auth channel %d is closed: %v", id, err)
		}
		break
	}
	s.mu.Lock()
	delete(s.channels, id)
	s.mu.Unlock()
	client.Close()
	conn.Close()
}

// reload puts new settings into use; open exchanges keep theirs.
func (s *server) reload(fd int) error {
	data, err := readSealed(fd)
	if err != nil {
		return err
	}
	if info, err := child.DecodeInfo(data); err == nil { // a start's form, too
		data = info.Settings
	}
	set, err := settings.Decode(settings.RoleAuthd, data)
	if err != nil {
		return err
	}
	cfg, err := engineConfig(set, s.databaseEnv())
	if err != nil {
		return err
	}
	if err := s.eng.LogDebugSetting(debugFilter(settings.LogDebug.Get(set))); err != nil {
		return err
	}
	s.pool.SetLimits(poolLimits(set))
	s.eng.Configure(cfg)
	s.warn(set)
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, c := range s.channels {
		if err := c.conn.Send(c.client.Welcome(), -1); err != nil && s.log.Debugging("", "") {
			s.log.Debugf("auth channel %d: %v", id, err)
		}
	}
	return nil
}

// file takes a file from master.
func (s *server) file(m *redeemmsg.File, fd int) error {
	switch m.Use {
	case "passwd-file":
		s.files.Give(m.Path, fd)
	case "shadow":
		s.files.Give(shadowPath, fd)
	case "passwd":
		s.files.Give(passwdPath, fd)
	case "shares":
		return s.shares.file(m, fd)
	case "certificate", "key":
		data, err := dbfile.ReadGiven(fd, m.Path, signer.MaxPEM)
		return s.pairHalf(m, data, err)
	default:
		return fmt.Errorf("channel redeem: a file for the use %q", m.Use)
	}
	return nil
}

// pairHalf takes a certificate or a key; once both are there, or could not be
// read, master is answered.
func (s *server) pairHalf(m *redeemmsg.File, data []byte, problem error) error {
	h := s.halves[m.Pair]
	if h == nil {
		if len(s.halves) >= maxHalves {
			return fmt.Errorf("channel redeem: more than %d certificates without their keys", maxHalves)
		}
		h = &half{}
		s.halves[m.Pair] = h
	}
	if problem != nil && h.problem == "" {
		h.problem = clip(fmt.Sprintf("%s: %v", m.Path, problem))
	}
	if m.Use == "certificate" {
		h.cert = data
	} else {
		h.key = data
	}
	if h.seen++; h.seen < 2 {
		return nil
	}
	delete(s.halves, m.Pair)
	defer clear(h.key)
	if h.problem != "" {
		return s.ctl.Send(&redeemmsg.PairChecked{Pair: m.Pair, Problem: h.problem}, -1)
	}
	return s.ctl.Send(s.checkPair(m, h), -1)
}

// maxChainBytes leaves room in PairChecked's packet for its other fields.
const maxChainBytes = 128 << 10

func (s *server) checkPair(m *redeemmsg.File, h *half) *redeemmsg.PairChecked {
	out := &redeemmsg.PairChecked{Pair: m.Pair}
	pair, err := signer.ParsePair(h.cert, h.key)
	if err == nil {
		size := 0
		for _, der := range pair.Chain {
			size += len(der)
		}
		if size > maxChainBytes {
			err = fmt.Errorf("the certificate chain has %d bytes, at most %d are taken", size, maxChainBytes)
		}
	}
	if err == nil {
		err = s.keys.Add(m.Pair, pair.SPKI, pair.Key)
	}
	if err != nil {
		out.Problem = clip(err.Error())
		return out
	}
	out.SPKI, out.KeyType, out.NotAfter, out.Subject, out.Chain = pair.SPKI, pair.Type, pair.NotAfter, clip(pair.Subject), pair.Chain
	return out
}

// close ends all channels and waits for what runs.
func (s *server) close() {
	s.eng.Close()
	s.mu.Lock()
	for _, c := range s.channels {
		c.conn.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
	s.shares.close()
	s.files.Close()
}

var _ authdb.Files = (*dbfile.Store)(nil)

func readSealed(fd int) ([]byte, error) {
	defer unix.Close(fd)
	return child.ReadSealed(fd)
}
