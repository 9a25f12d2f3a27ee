package demo

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"rookery/rookeryctl/internal/control"
)

const (
	readyTimeout = 60 * time.Second
	// stopTimeout is more than the shutdown_timeout that the demo's server has,
	// and leaves time of the five seconds within which all must be gone.
	stopTimeout = 3500 * time.Millisecond
)

// Run makes or reuses the folder, starts the server and stays until ctx ends
// or the server does. out gets what is printed, errOut what the server itself
// says on its standard error.
func Run(ctx context.Context, o Options, out, errOut io.Writer) error {
	if err := o.Check(); err != nil {
		return err
	}
	syscall.Umask(0o022)
	if err := checkPrograms(o.ProgramDir); err != nil {
		return err
	}
	d := &place{programs: o.ProgramDir}
	defer d.clean()
	if err := d.choose(&o, out); err != nil {
		return err
	}
	if err := checkPorts(o.BasePort); err != nil {
		return err
	}
	if d.old == nil {
		if err := build(d.dir, d.programs, &o, time.Now()); err != nil {
			d.unmake()
			return err
		}
		fmt.Fprintf(out, "Wrote a configuration with %d users into %s\n", o.Users, d.dir)
	} else {
		fmt.Fprintf(out, "Using %s as it is there\n", d.dir)
	}
	if o.WriteOnly {
		return nil
	}
	return d.serve(ctx, &o, out, errOut)
}

// place is where the demo's files and programs are.
type place struct {
	dir      string
	programs string
	old      *marker // of an earlier run; nil for a new folder
	copied   string  // folder of copied programs, removed at the end
}

func (d *place) clean() {
	if d.copied != "" {
		os.RemoveAll(d.copied)
		os.Remove(filepath.Dir(d.copied)) // stays if the demo's folder is in it
	}
}

// unmake takes away what a failed build left in a folder that was empty or not
// there, so that the next try finds it so again.
func (d *place) unmake() {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		os.RemoveAll(filepath.Join(d.dir, e.Name()))
	}
	os.Remove(d.dir)
}

// choose decides on the folders and copies the programs where it must.
func (d *place) choose(o *Options, out io.Writer) error {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return control.Errorf(control.ExitUsage, "%v", err)
	}
	root := os.Geteuid() == 0
	fresh := ""
	if root && (!reachable(dir) || !programsReachable(d.programs)) {
		if fresh, err = scratch(); err != nil {
			return err
		}
	}
	if root && !programsReachable(d.programs) {
		d.copied = filepath.Join(fresh, "bin")
		fmt.Fprintf(out, "The users' processes cannot reach %s: the programs are copied to %s\n", d.programs, d.copied)
		if err := copyPrograms(d.programs, d.copied); err != nil {
			return control.Errorf(control.ExitCantCreate, "%v", err)
		}
		d.programs = d.copied
	}
	if root && !reachable(dir) {
		fmt.Fprintf(out, "The users' processes cannot reach %s: the demo's folder is %s\n", dir, filepath.Join(fresh, "demo"))
		dir = filepath.Join(fresh, "demo")
	}
	d.dir = dir
	if d.old, err = readMarker(dir); err != nil || d.old == nil {
		return err
	}
	return o.reuse(d.old, dir)
}

// serve starts bin/rookery, waits for its listeners, and ends it with ctx.
func (d *place) serve(ctx context.Context, o *Options, out, errOut io.Writer) error {
	cmd := exec.Command(filepath.Join(d.programs, "rookery"), "-c", filepath.Join(d.dir, "rookery.toml"))
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = errOut, errOut
	// A group of its own, so that Ctrl-C reaches only us, who end it in order;
	// and it ends when we are killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	// The kernel sends that signal when the thread that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return control.Errorf(control.ExitUnavailable, "%v", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ready := make(chan error, 1)
	readyCtx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	go func() { ready <- waitReady(readyCtx, o.BasePort, filepath.Join(d.dir, "tls", "cert.pem")) }()
	for {
		select {
		case err := <-ready:
			if err != nil && ctx.Err() == nil {
				d.stop(cmd, ended)
				return control.Errorf(control.ExitUnavailable, "the server does not answer: %v%s", err, d.logTail())
			}
			if err == nil {
				d.hints(out, o)
				fmt.Fprintln(out, "rookery ready")
			}
		case err := <-ended:
			if ctx.Err() != nil || err == nil {
				return nil
			}
			return control.Errorf(exitOf(err), "the server ended: %v%s", err, d.logTail())
		case <-ctx.Done():
			d.stop(cmd, ended)
			return nil
		}
	}
}

func exitOf(err error) int {
	var ee *exec.ExitError
	if errors.As(err, &ee) && ee.ExitCode() > 0 {
		return ee.ExitCode()
	}
	return control.ExitUnavailable
}

// stop ends the server in order, and by force when that takes too long.
func (d *place) stop(cmd *exec.Cmd, ended <-chan error) {
	_ = cmd.Process.Signal(syscall.SIGTERM) // gone already is fine
	select {
	case <-ended:
		return
	case <-time.After(stopTimeout):
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // the whole group
	<-ended
}

// waitReady connects to every listener until each has sent its greeting.
func waitReady(ctx context.Context, basePort int, certFile string) error {
	certPEM, err := os.ReadFile(certFile)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	config := &tls.Config{RootCAs: pool, ServerName: "localhost"}
	for _, s := range services(basePort) {
		for {
			err := greeting(ctx, s, config)
			if err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s on port %d: %w", s.name, s.port, err)
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}

func greeting(ctx context.Context, s service, config *tls.Config) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp4", s.addr())
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second)) // a TCP connection takes deadlines
	if strings.HasSuffix(s.name, "s") {
		conn = tls.Client(conn, config)
	}
	line, err := bufio.NewReader(io.LimitReader(conn, 4096)).ReadString('\n')
	if err != nil {
		return err
	}
	bye := "a1 LOGOUT\r\n"
	want := "* OK"
	if strings.HasPrefix(s.name, "pop3") {
		bye, want = "QUIT\r\n", "+OK"
	}
	if !strings.HasPrefix(line, want) {
		return fmt.Errorf("it greets with %q", line)
	}
	if _, err := io.WriteString(conn, bye); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(conn, 4096)) // so that it is no disconnect in the log
	return nil
}

// logTail is the end of the log, for a server that did not come up.
func (d *place) logTail() string {
	b, err := os.ReadFile(filepath.Join(d.dir, "rookery.log"))
	if err != nil || len(b) == 0 {
		return ""
	}
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	if len(lines) > 5 {
		lines = lines[len(lines)-5:]
	}
	return "\nThe log " + filepath.Join(d.dir, "rookery.log") + " ends with:\n" + strings.Join(lines, "\n")
}

// hints is how to try it, to be pasted.
func (d *place) hints(out io.Writer, o *Options) {
	port := func(standard int) int { return o.BasePort + standard }
	ctl := filepath.Join(d.programs, "rookeryctl") + " -c " + filepath.Join(d.dir, "rookery.toml")
	cert := filepath.Join(d.dir, "tls", "cert.pem")
	fmt.Fprintf(out, `
IMAP %d, IMAPS %d, POP3 %d, POP3S %d on 127.0.0.1; users u1 to u%d (also @%s), password %q.

Read mail:
  curl -u u1:%s imap://127.0.0.1:%d/INBOX
  curl -u u1:%s "imap://127.0.0.1:%d/INBOX;MAILINDEX=1"
  curl --cacert %s -u u1:%s imaps://localhost:%d/INBOX
  curl --cacert %s -u u1:%s pop3s://localhost:%d/1
Talk to it yourself:
  telnet 127.0.0.1 %d                                     then: 1 LOGIN u1 %s
  openssl s_client -quiet -crlf -connect localhost:%d -CAfile %s
  telnet 127.0.0.1 %d                                     then: USER u1, PASS %s, STAT
Mail lies in %s/uN@%s/Maildir.

See why logins fail: write
  auth_verbose = true
into %s, then
  %s reload
  tail -f %s
Look inside:
  %s who
  %s privileges
  %s config -n

`, port(143), port(993), port(110), port(995), o.Users, Domain, Password,
		Password, port(143), Password, port(143), cert, Password, port(993), cert, Password, port(995),
		port(143), Password, port(993), cert, port(110), Password,
		filepath.Join(d.dir, "mail"), Domain,
		filepath.Join(d.dir, "conf.d", "10-logging.toml"), ctl, filepath.Join(d.dir, "rookery.log"), ctl, ctl, ctl)
}
