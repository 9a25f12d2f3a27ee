package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// server is one of the measured servers, started or not.
type server struct {
	name  string // "rookery", "dovecot", "dovecot-hp"
	title string // for tables
	ports map[string]int
	// command gives the program to start in the foreground.
	command func() *exec.Cmd
	logFile string

	cmd   *exec.Cmd
	ended chan error
	group *group
}

// services, with the offset of their ports from a base.
var services = []struct {
	name     string
	standard int
}{{"imap", 143}, {"imaps", 993}, {"pop3", 110}, {"pop3s", 995}}

func portsFrom(base int) map[string]int {
	ports := map[string]int{}
	for _, s := range services {
		ports[s.name] = base + s.standard
	}
	return ports
}

// freeBase finds a base port at or above from with which every service's port is free.
func freeBase(from int) (int, error) {
next:
	for base := from; base < 32000; base += 101 {
		for _, s := range services {
			l, err := net.Listen("tcp4", loopback(base+s.standard))
			if err != nil {
				continue next
			}
			l.Close()
		}
		return base, nil
	}
	return 0, errors.New("no free ports on loopback")
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

func (s *server) addr(service string) string { return loopback(s.ports[service]) }

// start runs the server in a process group of its own whose CPU time is
// counted, and waits until it greets on each port.
func (s *server) start(ctx context.Context) error {
	g, err := newGroup(s.name)
	if err != nil {
		return err
	}
	s.group = g
	s.cmd = g.wrap(s.command())
	s.cmd.Dir = "/"
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	out, err := os.OpenFile(s.logFile+".out", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	s.cmd.Stdout, s.cmd.Stderr = out, out
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	g.top = s.cmd.Process.Pid
	s.ended = make(chan error, 1)
	go func(cmd *exec.Cmd, ended chan<- error) { ended <- cmd.Wait() }(s.cmd, s.ended)
	for _, service := range services {
		if err := s.waitGreeting(ctx, service.name); err != nil {
			defer s.stop()
			return fmt.Errorf("%s does not come up: %w%s", s.name, err, tail(s.logFile+".out", s.logFile))
		}
	}
	select {
	case err := <-s.ended: // what greets there is another server
		s.ended <- err
		s.stop()
		return fmt.Errorf("%s ended: %v%s", s.name, err, tail(s.logFile+".out"))
	default:
		return nil
	}
}

func (s *server) waitGreeting(ctx context.Context, service string) error {
	limit, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	for {
		c, err := dial(limit, s, service)
		if err == nil {
			c.close()
			return nil
		}
		select {
		case e := <-s.ended:
			s.ended <- e
			return fmt.Errorf("it ended: %v", e)
		case <-limit.Done():
			return err
		case <-time.After(30 * time.Millisecond):
		}
	}
}

// stop ends the server as a service manager does, and by force after 15 s.
func (s *server) stop() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // gone already is fine
	select {
	case <-s.ended:
	case <-time.After(15 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.ended
	}
	s.group.end()
	s.cmd = nil
}

// tail is the end of some log files, for a server that did not come up.
func tail(names ...string) string {
	var b strings.Builder
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil || len(data) == 0 {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(data)), "\n")
		fmt.Fprintf(&b, "\n%s ends with:\n%s", name, strings.Join(lines[max(0, len(lines)-15):], "\n"))
	}
	return b.String()
}

// prepareRookery writes a demo's configuration and brings its passwd-file to
// the wanted number of users.
func prepareRookery(dir, bin string, users int) (*server, error) {
	base, err := freeBase(21000)
	if err != nil {
		return nil, err
	}
	demo := filepath.Join(dir, "rookery")
	args := []string{"demo", "--dir", demo, "--base-port", fmt.Sprint(base), "--users", fmt.Sprint(min(users, 1000)), "--empty"}
	ctl := filepath.Join(bin, "rookeryctl")
	out, err := exec.Command(ctl, append(args[:len(args):len(args)], "--write-only")...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("rookeryctl demo: %w\n%s", err, out)
	}
	if err := extendUsers(filepath.Join(demo, "users"), filepath.Join(demo, "mail"), users); err != nil {
		return nil, err
	}
	return &server{
		name: "rookery", title: "Rookery", ports: portsFrom(base), logFile: filepath.Join(demo, "rookery.log"),
		command: func() *exec.Cmd { return exec.Command(ctl, args...) },
	}, nil
}

// user is a line of the passwd-file.
type user struct {
	name     string
	uid, gid int
	home     string
}

// readUsers reads a passwd-file as the demo writes it.
func readUsers(name string) ([]user, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []user
	for lines := bufio.NewScanner(f); lines.Scan(); {
		u, err := parseUser(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, u)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s names no user", name)
	}
	return all, nil
}

// parseUser reads name:{PLAIN}pass:uid:gid::home::.
func parseUser(line string) (user, error) {
	f := strings.Split(line, ":")
	if len(f) < 6 || f[1] != "{PLAIN}"+password {
		return user{}, fmt.Errorf("not a demo's user: %q", line)
	}
	u := user{name: f[0], home: f[5]}
	if _, err := fmt.Sscanf(f[2]+" "+f[3], "%d %d", &u.uid, &u.gid); err != nil {
		return user{}, fmt.Errorf("not a demo's user: %q", line)
	}
	return u, nil
}

func (u user) line() string {
	return fmt.Sprintf("%s:{PLAIN}%s:%d:%d::%s::\n", u.name, password, u.uid, u.gid, u.home)
}

// password of everybody, the demo's.
const password = "pass"

// name of user n, counted from 1.
func name(n int) string { return fmt.Sprintf("u%d@example.test", n) }

// inventUsers gives users of the demo's kind where no demo is measured.
func inventUsers(count int) []user {
	var all []user
	for n := 1; n <= count; n++ {
		all = append(all, user{name: name(n), uid: 58099 + n, gid: 58099 + n})
	}
	return all
}

// extendUsers appends users of the demo's kind and makes everybody's Maildir.
func extendUsers(file, mail string, want int) error {
	all, err := readUsers(file)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	for n := len(all) + 1; n <= want; n++ {
		u := user{name: name(n), uid: all[0].uid + n - 1, gid: all[0].gid + n - 1, home: filepath.Join(mail, name(n))}
		if _, err := io.WriteString(f, u.line()); err != nil {
			return err
		}
		all = append(all, u)
	}
	for _, u := range all {
		if err := makeMaildir(u); err != nil {
			return err
		}
	}
	return nil
}

// makeMaildir makes an empty Maildir in the user's home, so that no server
// spends its first login on it.
func makeMaildir(u user) error {
	for _, sub := range []string{"", "Maildir", "Maildir/cur", "Maildir/new", "Maildir/tmp"} {
		path := filepath.Join(u.home, sub)
		if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		if err := os.Lchown(path, u.uid, u.gid); err != nil {
			return err
		}
	}
	return nil
}
