package rookeryctl

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"rookery/internal/confload"
	"rookery/internal/ipc"
	"rookery/internal/ipc/ctlmsg"
	"rookery/internal/settings"
)

// TestMain lets copies of the test program stand in for the real ones: under
// the name rookeryctl it is rookeryctl, under the name rookery it is a server
// that greets and does no more.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "rookeryctl":
		os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	case "rookery":
		os.Exit(fakeRookery(os.Args[1:]))
	case "rookery-authd":
		os.Exit(fakeAuthd(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// fakeAuthd answers as rookery-authd does for `rookeryctl pw`.
func fakeAuthd(args []string) int {
	if len(args) == 1 && args[0] == "--schemes" {
		fmt.Println(`[{"scheme":"PLAIN","can_hash":true}]`)
		return 0
	}
	if len(args) != 4 || args[0] != "--hash" || args[1] == "NONE" {
		fmt.Fprintln(os.Stderr, "unknown scheme NONE")
		return 64
	}
	password, _ := io.ReadAll(os.Stdin)
	fmt.Printf("{%s}%s/%s/%s\n", args[1], args[2], args[3], password)
	return 0
}

// fakeRookery takes the configuration as the real one would and greets.
func fakeRookery(args []string) int {
	r := confload.Load(os.DirFS("/"), args[1])
	if err := r.Err(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 78
	}
	if settings.LoginGreeting.Get(r.Set) == "die" {
		fmt.Fprintln(os.Stderr, "as you wish")
		return 70
	}
	cert, err := tls.LoadX509KeyPair(settings.SSLServerCertFile.Get(r.Set), settings.SSLServerKeyFile.Get(r.Set))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 78
	}
	for _, li := range r.Set.Listeners() {
		l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", li.Addresses[0], li.Port))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 69
		}
		if li.TLS() {
			l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}})
		}
		go greet(l, li.Service())
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	<-stop
	if settings.LoginGreeting.Get(r.Set) == "deaf" {
		<-stop
	}
	return 0
}

func greet(l net.Listener, service string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			fmt.Fprint(c, map[string]string{"imap": "* OK hello\r\n", "pop3": "+OK hello\r\n"}[service])
			buf := make([]byte, 64)
			c.Read(buf)
		}()
	}
}

// controlServer is master's end: answer gives what each request gets.
type controlServer struct {
	config   string // the configuration that names the socket
	requests chan *ctlmsg.Request
}

func newControlServer(t *testing.T, answer func(*ctlmsg.Request) []*ctlmsg.Answer) *controlServer {
	t.Helper()
	dir := t.TempDir()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	d, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(d)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/control", d)}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 8); err != nil {
		t.Fatal(err)
	}
	s := &controlServer{config: filepath.Join(dir, "rookery.toml"), requests: make(chan *ctlmsg.Request, 8)}
	text := fmt.Sprintf("base_dir = %q\n", dir)
	if err := os.WriteFile(s.config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
			if err != nil {
				return
			}
			s.serve(c, answer)
		}
	}()
	t.Cleanup(func() {
		unix.Shutdown(fd, unix.SHUT_RDWR)
		<-done
		unix.Close(fd)
	})
	return s
}

func (s *controlServer) serve(fd int, answer func(*ctlmsg.Request) []*ctlmsg.Answer) {
	conn, err := ipc.NewConn(fd, ctlmsg.Protocol, ipc.FromServer)
	if err != nil {
		return
	}
	defer conn.Close()
	for {
		m, _, err := conn.Recv()
		if err != nil {
			return
		}
		request := m.(*ctlmsg.Request)
		s.requests <- request
		for _, a := range answer(request) {
			if conn.Send(a, -1) != nil {
				return
			}
		}
	}
}

// run is one rookeryctl command against the server.
func (s *controlServer) run(stdin string, args ...string) (exit int, out, errOut string) {
	return runCtl(stdin, append([]string{"-c", s.config}, args...)...)
}

func runCtl(stdin string, args ...string) (exit int, out, errOut string) {
	var o, e bytes.Buffer
	exit = Main(args, strings.NewReader(stdin), &o, &e)
	return exit, o.String(), e.String()
}

func body(v any) []*ctlmsg.Answer {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return []*ctlmsg.Answer{{Body: b}}
}
