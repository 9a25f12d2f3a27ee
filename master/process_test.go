package master

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/ipc"
	"rookery/internal/ipc/ctlmsg"
	"rookery/internal/secret"
)

// server is a master with real processes.
type server struct {
	t      *testing.T
	dir    string
	imap   string
	pop3   string
	cmd    *exec.Cmd
	stderr *bytes.Buffer
	mu     sync.Mutex
	exited chan error
}

// copySelf puts the test's binary where every user can run it.
func copySelf(t *testing.T, path string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o755); err != nil {
		t.Fatal(err)
	}
}

// makePair makes a certificate and its key.
func makePair(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now().Add(24 * time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// asRoot reports whether the servers of the tests run as root. A race-detector
// build cannot be confined, so that master as root refuses it.
func asRoot() bool { return os.Getuid() == 0 && !raceBuild }

// nobody is whom a race-detector build runs as in place of root.
const nobody = 65534

func serverUID() int {
	if os.Getuid() == 0 && raceBuild {
		return nobody
	}
	return os.Getuid()
}

// newServer writes a configuration; extra is added to it.
func newServer(t *testing.T, extra string) *server {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "rookery-master-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, sub := range []string{"bin", "run", "mail", "conf.d"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	os.Chmod(dir, 0o755)
	if asRoot() {
		os.Chown(filepath.Join(dir, "mail"), 64200, 64200)
	}
	copySelf(t, filepath.Join(dir, "bin", fakeName))
	for _, name := range []string{"rookery", "rookery-logd", "rookery-login", "rookery-authd", "rookery-imapworker", "rookery-pop3worker"} {
		if err := os.Symlink(fakeName, filepath.Join(dir, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	imap, pop3 := freePort(t), freePort(t)
	s := &server{t: t, dir: dir, imap: fmt.Sprintf("127.0.0.1:%d", imap), pop3: fmt.Sprintf("127.0.0.1:%d", pop3), stderr: &bytes.Buffer{}}
	cert, key := makePair(t)
	s.write("tls.cert", cert)
	s.write("tls.key", key)
	s.write("rookery.toml", fmt.Sprintf(`
base_dir = "%[1]s/run"
state_dir = "%[1]s/run"
libexec_dir = "%[1]s/bin"
log_path = "%[1]s/log"
login_user = "64201"
auth_user = "64202"
log_user = "64203"
first_valid_uid = 1000
auth_anonymous_username = "MAILDIR<%[1]s/mail>"
shutdown_timeout = "2 secs"
ssl_server_cert_file = "%[1]s/tls.cert"
ssl_server_key_file = "%[1]s/tls.key"
login_process_min_avail = 2
`, dir))
	s.write("conf.d/10-listeners.toml", fmt.Sprintf("[[listener]]\nname = \"imap\"\nprotocol = \"imap\"\naddress = [\"127.0.0.1\"]\nport = %d\n[[listener]]\nname = \"pop3\"\nprotocol = \"pop3\"\naddress = [\"127.0.0.1\"]\nport = %d\n"+
		"[[passdb]]\nname = \"p\"\ndriver = \"passwd-file\"\npasswd_file_path = \"%s/users\"\n[[userdb]]\nname = \"u\"\ndriver = \"passwd-file\"\npasswd_file_path = \"%s/users\"\n", imap, pop3, dir, dir))
	s.write("users", "ann:{PLAIN}x\n")
	s.write("conf.d/99-local.toml", extra)
	return s
}

func (s *server) write(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	os.Lchown(path+".new", serverUID(), -1)
	if err := os.Rename(path+".new", path); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) log() string {
	b, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	return string(b)
}

// start starts it and waits until it serves.
func (s *server) start() *server {
	s.t.Helper()
	s.spawn()
	s.eventually("it serves", func() bool { return strings.Contains(s.log(), "serving on 2 sockets") })
	return s
}

func (s *server) spawn() {
	s.cmd = exec.Command(filepath.Join(s.dir, "bin", "rookery"), "-c", filepath.Join(s.dir, "rookery.toml"))
	s.cmd.Stderr = &lockedWriter{s}
	if uid := serverUID(); uid != os.Getuid() {
		filepath.Walk(s.dir, func(path string, _ os.FileInfo, _ error) error { return os.Lchown(path, uid, uid) })
		s.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	s.cmd.Env = append(os.Environ(), "GOTRACEBACK=all")
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.exited = make(chan error, 1)
	go func() { s.exited <- s.cmd.Wait() }()
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Logf("stderr:\n%s\nlog:\n%s", s.errors(), s.log())
		}
		s.cmd.Process.Kill()
		select {
		case <-s.exited:
		case <-time.After(5 * time.Second):
		}
	})
}

type lockedWriter struct{ s *server }

func (w *lockedWriter) Write(p []byte) (int, error) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return w.s.stderr.Write(p)
}

func (s *server) errors() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stderr.String()
}

// eventually waits for something that happens in another process.
func (s *server) eventually(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
		select {
		case err := <-s.exited:
			s.exited <- err
			s.t.Fatalf("waiting until %s: the server ended: %v", what, err)
		default:
		}
		if time.Now().After(end) {
			s.t.Fatalf("not in time: %s", what)
		}
	}
}

// stop ends it with SIGTERM and checks that it ends well.
func (s *server) stop() {
	s.t.Helper()
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-s.exited:
		s.exited <- err
		if err != nil {
			s.t.Errorf("it ended with %v", err)
		}
	case <-time.After(8 * time.Second):
		s.t.Error("it did not end")
	}
}

// client is a connection.
type client struct {
	*server
	net.Conn
	r *bufio.Reader
}

func (s *server) dial(addr string) *client {
	s.t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return &client{s, c, bufio.NewReader(c)}
}

func (c *client) say(line string) { fmt.Fprintf(c.Conn, "%s\n", line) }

func (c *client) hear() string {
	line, err := c.r.ReadString('\n')
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(line)
}

// login gives the answer's line, and from it the worker's pid.
func (s *server) login(addr, user string) (*client, string) {
	s.t.Helper()
	c := s.dial(addr)
	c.say("LOGIN " + user)
	return c, c.hear()
}

func (s *server) ask(verb string, password string, args ...string) (body []byte, exit int, text string) {
	s.t.Helper()
	c := s.control()
	defer c.Close()
	return s.request(c, verb, password, args...)
}

// control opens a connection as rookeryctl has it.
func (s *server) control() *ipc.Conn {
	s.t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: filepath.Join(s.dir, "run", "control")}); err != nil {
		s.t.Fatal(err)
	}
	c, err := ipc.NewConn(fd, ctlmsg.Protocol, ipc.FromClient)
	if err != nil {
		s.t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	return c
}

func (s *server) request(c *ipc.Conn, verb string, password string, args ...string) (body []byte, exit int, text string) {
	s.t.Helper()
	if err := c.Send(&ctlmsg.Request{Verb: verb, Args: args, Secret: secret.FromString(password)}, -1); err != nil {
		s.t.Fatal(err)
	}
	for {
		m, _, err := c.Recv()
		if err != nil {
			s.t.Fatalf("%s: %v", verb, err)
		}
		a := m.(*ctlmsg.Answer)
		body = append(body, a.Body...)
		if !a.More {
			return body, int(a.Exit), a.Text
		}
	}
}

func (s *server) status() (b statusBody) {
	s.t.Helper()
	body, exit, text := s.ask(ctlmsg.Status, "")
	if err := json.Unmarshal(body, &b); err != nil || exit != 0 {
		s.t.Fatalf("%v %d %s", err, exit, text)
	}
	return b
}

// pids lists the processes of a role.
func (s *server) pids(role string) (out []int) {
	s.t.Helper()
	for _, p := range s.status().Processes {
		if p.Role == role {
			out = append(out, p.PID)
		}
	}
	return out
}

func TestOneLogin(t *testing.T) {
	s := newServer(t, "").start()
	c, greeting := s.login(s.imap, "ann")
	if !strings.HasPrefix(greeting, "OK ann pid ") {
		t.Fatal(greeting)
	}
	uid := "uid " + strconv.Itoa(serverUID())
	if asRoot() {
		uid = "pid 1 uid 64200"
	}
	if !strings.Contains(greeting, uid) {
		t.Errorf("%q, want %s", greeting, uid)
	}
	c.say("hello")
	if got := c.hear(); got != "ann: hello" {
		t.Error(got)
	}
	var sessions []sessionBody
	var body []byte
	s.eventually("the session is on the list", func() bool { // once the worker's word has come
		body, _, _ = s.ask(ctlmsg.Who, "")
		json.Unmarshal(body, &sessions)
		return len(sessions) > 0
	})
	if len(sessions) != 1 || sessions[0].User != "ann" || sessions[0].Service != "imap" || sessions[0].Mechanism != "PLAIN" || !strings.HasPrefix(sessions[0].Remote, "127.0.0.1:") {
		t.Errorf("%s", body)
	}
	if st, err := os.Stat(filepath.Join(s.dir, "mail/ann/Maildir")); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("%v %v: the worker's program makes it", st, err)
	}
	c.Close()
	s.eventually("the worker goes", func() bool { return len(s.pids("imapworker")) == 0 })
	s.stop()
	if log := s.log(); strings.Contains(log, "rror") || !strings.Contains(log, "stopped") {
		t.Error(log)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "run/control")); !os.IsNotExist(err) {
		t.Error("the control socket is left")
	}
}
