package login

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"rookery/internal/errkind"
	"rookery/internal/ipc"
	"rookery/internal/ipc/authmsg"
	"rookery/internal/ipc/envelopemsg"
	"rookery/internal/ipc/handoffmsg"
	"rookery/internal/ipc/logmsg"
	"rookery/internal/maillog"
	"rookery/internal/secret"
	"rookery/internal/settings"
	"rookery/login/internal/relay"
	"rookery/login/internal/sock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a login process with a master, an authd and workers that the test
// plays, over real channels.
type rig struct {
	t       testing.TB
	server  *server
	master  *ipc.Conn
	logs    *logs
	addr    map[string]string // by listener's name
	result  chan error
	workers chan *worker // sessions that were handed over
	prefix  string       // of the next authd's timestamps

	mu     sync.Mutex
	authd  *ipc.Conn
	keys   map[[32]byte]crypto.Signer
	begun  []*authmsg.Begin
	loads  []handoffmsg.Load
	accept []netip.AddrPort
	wg     sync.WaitGroup

	// take plays master for a request; nil: a worker takes every session.
	take func(m *handoffmsg.Request, envelope int)
	// decide plays authd; nil: the password is "pass".
	decide func(m *authmsg.Begin) ipc.Message
}

type logs struct {
	mu    sync.Mutex
	lines []string
	more  chan struct{}
}

func (l *logs) SendEvent(e *logmsg.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, e.Prefix+": "+e.Text)
	close(l.more)
	l.more = make(chan struct{})
}

// wait waits for a line that holds all parts.
func (r *rig) wait(parts ...string) string {
	r.t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		r.logs.mu.Lock()
		more := r.logs.more
		for _, line := range r.logs.lines {
			ok := true
			for _, p := range parts {
				ok = ok && strings.Contains(line, p)
			}
			if ok {
				r.logs.mu.Unlock()
				return line
			}
		}
		lines := strings.Join(r.logs.lines, "\n")
		r.logs.mu.Unlock()
		select {
		case <-more:
		case <-deadline:
			r.t.Fatalf("no line with %q in:\n%s", parts, lines)
		}
	}
}

// worker is a session that was handed over.
type worker struct {
	Go     *envelopemsg.Go
	stream *sock.Conn
}

type options struct {
	set     func(*settings.Set)
	config  func(*config)
	noCerts bool
	welcome handoffmsg.Welcome
	relay   relay.Timeouts
}

func newRig(t testing.TB) *rig {
	return &rig{t: t, logs: &logs{more: make(chan struct{})}, addr: map[string]string{}, result: make(chan error, 1), workers: make(chan *worker, 100),
		keys: map[[32]byte]crypto.Signer{}, prefix: "ab12"}
}

func start(t testing.TB, o options, adjust ...func(*rig)) *rig {
	t.Helper()
	r := newRig(t)
	for _, f := range adjust {
		f(r)
	}
	set := settings.New()
	if o.set != nil {
		o.set(set)
	}
	cfg := newConfig(set)
	if o.config != nil {
		o.config(cfg)
	}
	var listeners []*listener
	for _, l := range []listener{{name: "imap", service: "imap"}, {name: "imaps", service: "imap", implicit: true}, {name: "pop3", service: "pop3"},
		{name: "proxy", service: "imap", haproxy: true}, {name: "proxys", service: "imap", haproxy: true, implicit: true}} {
		fd := listen(t, r, l.name)
		s, err := sock.NewListener(fd)
		if err != nil {
			t.Fatal(err)
		}
		l.sock = s
		listeners = append(listeners, &l)
	}
	ours, theirs, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	ctl, err := ipc.NewConn(ours, handoffmsg.Protocol, ipc.FromClient)
	if err != nil {
		t.Fatal(err)
	}
	if r.master, err = ipc.NewConn(theirs, handoffmsg.Protocol, ipc.FromServer); err != nil {
		t.Fatal(err)
	}
	r.server = newServer(cfg, maillog.New(r.logs), ctl, listeners, time.Now)
	r.server.relayFor = relay.Timeouts{Write: time.Minute, Half: time.Minute, Finish: time.Minute, Linger: 50 * time.Millisecond}
	if o.relay != (relay.Timeouts{}) {
		r.server.relayFor = o.relay
	}
	r.server.auth.attach(r.newAuthd())
	r.wg.Go(r.playMaster)
	if o.welcome.Credits == 0 {
		o.welcome = handoffmsg.Welcome{Credits: 4, Processes: 1, HostName: "mail.example.test"}
	}
	r.master.Send(&o.welcome, -1)
	if !o.noCerts {
		r.sendCertificates("mail.example.test")
		r.master.Send(&handoffmsg.TicketKeys{Keys: [][32]byte{{1}}}, -1)
	} else {
		r.master.Send(&handoffmsg.CertificatesEnd{}, -1)
	}
	go func() { r.result <- r.server.run() }()
	t.Cleanup(r.stop)
	return r
}

func (r *rig) stop() {
	r.master.Close()
	select {
	case <-r.result:
	case <-time.After(20 * time.Second):
		r.t.Error("login did not end with its master")
	}
	r.close()
}

// close ends what the rig plays.
func (r *rig) close() {
	r.master.Close()
	r.mu.Lock()
	if r.authd != nil {
		r.authd.Close()
	}
	r.mu.Unlock()
	r.wg.Wait()
	close(r.workers)
	for w := range r.workers {
		w.stream.Close()
	}
}

// ended waits for the process's own end and lets stop know.
func (r *rig) ended() error {
	r.t.Helper()
	select {
	case err := <-r.result:
		r.result <- err
		return err
	case <-time.After(20 * time.Second):
		r.t.Fatal("login did not end")
	}
	return nil
}

func listen(t testing.TB, r *rig, name string) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 128); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	r.addr[name] = sock.Addr(sa).String()
	return fd
}

// newAuthd makes a channel with an authd behind it and gives login's end.
func (r *rig) newAuthd() *ipc.Conn {
	ours, theirs, err := ipc.Pair()
	if err != nil {
		r.t.Fatal(err)
	}
	client, err := ipc.NewConn(ours, authmsg.Protocol, ipc.FromClient)
	if err != nil {
		r.t.Fatal(err)
	}
	r.startAuthd(theirs)
	return client
}

func (r *rig) startAuthd(fd int) {
	conn, err := ipc.NewConn(fd, authmsg.Protocol, ipc.FromServer)
	if err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	r.authd = conn
	r.mu.Unlock()
	conn.Send(&authmsg.Welcome{Mechanisms: []authmsg.Mechanism{{Name: "PLAIN", Plaintext: true}, {Name: "LOGIN", Plaintext: true}, {Name: "CRAM-MD5"}, {Name: "APOP", Private: true}},
		APOPPrefix: r.prefix}, -1)
	r.wg.Go(func() { r.playAuthd(conn) })
}

func (r *rig) playAuthd(conn *ipc.Conn) {
	for {
		m, _, err := conn.Recv()
		if err != nil {
			return
		}
		switch m := m.(type) {
		case *authmsg.Begin:
			r.mu.Lock()
			r.begun = append(r.begun, m)
			decide := r.decide
			r.mu.Unlock()
			if decide == nil {
				decide = plainAuthd
			}
			if reply := decide(m); reply != nil {
				conn.Send(reply, -1)
			}
		case *authmsg.Continue:
			conn.Send(plainReply(m.ID, m.Response), -1)
		case *authmsg.Sign:
			conn.Send(r.sign(m), -1)
		}
	}
}

func plainAuthd(m *authmsg.Begin) ipc.Message {
	if !m.HasInitial {
		return &authmsg.Challenge{ID: m.ID}
	}
	return plainReply(m.ID, m.Initial)
}

func plainReply(id uint64, response secret.Bytes) ipc.Message {
	parts := bytes.Split(response.Reveal(), []byte{0})
	if len(parts) != 3 {
		return &authmsg.Refused{ID: id, Kind: errkind.Invalid}
	}
	if string(parts[2]) != "pass" {
		return &authmsg.Refused{ID: id, Kind: errkind.AuthFailed, User: string(parts[1])}
	}
	return &authmsg.Granted{ID: id, User: string(parts[1]) + "@example.test", Ticket: [16]byte{7}}
}

func (r *rig) sign(m *authmsg.Sign) ipc.Message {
	r.mu.Lock()
	key := r.keys[m.SPKI]
	r.mu.Unlock()
	if key == nil || tls.SignatureScheme(m.Scheme) != tls.ECDSAWithP256AndSHA256 {
		return &authmsg.Signed{ID: m.ID}
	}
	sig, err := crypto.SignMessage(key, rand.Reader, m.Content, crypto.SHA256)
	if err != nil {
		r.t.Error(err)
	}
	return &authmsg.Signed{ID: m.ID, Signature: sig}
}

func (r *rig) sendCertificates(names ...string) {
	for i, name := range names {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			r.t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{name}}
		template.Subject.CommonName = name
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			r.t.Fatal(err)
		}
		spki, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			r.t.Fatal(err)
		}
		sum := sha256.Sum256(spki)
		r.mu.Lock()
		r.keys[sum] = key
		r.mu.Unlock()
		m := &handoffmsg.Certificate{Name: name, SPKI: sum, KeyType: 2, Chain: [][]byte{der}}
		if i > 0 {
			m.Names = []string{name}
		}
		r.master.Send(m, -1)
	}
	r.master.Send(&handoffmsg.CertificatesEnd{Count: uint32(len(names))}, -1)
}

func (r *rig) playMaster() {
	for {
		m, fd, err := r.master.Recv()
		if err != nil {
			return
		}
		switch m := m.(type) {
		case *handoffmsg.Request:
			if r.take != nil {
				r.take(m, fd)
				continue
			}
			r.wg.Go(func() {
				r.work(fd)
				r.master.Send(&handoffmsg.Done{ID: m.ID, PID: 812}, -1)
			})
		case *handoffmsg.Load:
			r.mu.Lock()
			r.loads = append(r.loads, *m)
			r.mu.Unlock()
		case *handoffmsg.Accepted:
			r.mu.Lock()
			r.accept = append(r.accept, m.Remote)
			r.mu.Unlock()
		}
	}
}

// work plays a worker in an envelope to the end.
func (r *rig) work(envelope int) {
	env, err := ipc.NewConn(envelope, envelopemsg.Protocol, ipc.FromServer)
	if err != nil {
		r.t.Error(err)
		return
	}
	defer env.Close()
	env.Send(&envelopemsg.Accept{}, -1)
	r.readGo(env)
}

func (r *rig) readGo(env *ipc.Conn) {
	m, fd, err := env.Recv()
	if err != nil {
		return // login gave up
	}
	g := m.(*envelopemsg.Go)
	s, err := sock.New(fd, g.Local, g.Remote)
	if err != nil {
		r.t.Error(err)
		return
	}
	r.workers <- &worker{g, s}
}

// next gives the next session that was handed over.
func (r *rig) next() *worker {
	r.t.Helper()
	select {
	case w := <-r.workers:
		r.t.Cleanup(func() { w.stream.Close() })
		w.stream.SetDeadline(time.Now().Add(10 * time.Second))
		return w
	case <-time.After(10 * time.Second):
		r.t.Fatal("nothing was handed over")
	}
	return nil
}

// client is a test's connection.
type client struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func (r *rig) dial(name string) *client {
	r.t.Helper()
	c, err := net.Dial("tcp", r.addr[name])
	if err != nil {
		r.t.Fatal(err)
	}
	return r.wrap(c)
}

func (r *rig) wrap(c net.Conn) *client {
	c.SetDeadline(time.Now().Add(20 * time.Second))
	r.t.Cleanup(func() { c.Close() })
	return &client{c, r.t, bufio.NewReader(c)}
}

func (r *rig) dialTLS(name string, cfg *tls.Config) *client {
	r.t.Helper()
	return r.dial(name).startTLS(r, cfg)
}

func (c *client) startTLS(r *rig, cfg *tls.Config) *client {
	c.t.Helper()
	if cfg == nil {
		cfg = &tls.Config{}
	}
	cfg.InsecureSkipVerify = true
	t := tls.Client(c.Conn, cfg)
	if err := t.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	return r.wrap(t)
}

func (c *client) say(format string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c, format+"\r\n", args...); err != nil {
		c.t.Fatal(err)
	}
}

// hear wants a line that begins so.
func (c *client) hear(prefix string) string {
	c.t.Helper()
	line, err := c.r.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, prefix) {
		c.t.Fatalf("got %q, %v; want %q", line, err, prefix)
	}
	return strings.TrimSuffix(line, "\r\n")
}

// end wants the end of the connection.
func (c *client) end() {
	c.t.Helper()
	if rest, err := io.ReadAll(c.r); len(rest) > 0 || err != nil && os.IsTimeout(err) {
		c.t.Fatalf("%q, %v; want the end", rest, err)
	}
}

func (w *worker) hear(t *testing.T, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(w.stream, got); err != nil || string(got) != want {
		t.Fatalf("the worker read %q, %v; want %q", got, err, want)
	}
}

func (w *worker) say(text string) { w.stream.Write([]byte(text)) }

// begin gives the i-th authentication that authd saw; -1 is the last.
func (r *rig) begin(i int) *authmsg.Begin {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i < 0 {
		i += len(r.begun)
	}
	return r.begun[i]
}
