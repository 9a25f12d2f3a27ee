package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"rookery/internal/peers"
)

// server is a peer that runs.
type server struct {
	name, title string
	address     string
	makeUser    func(name string) error
	cmd         *exec.Cmd
	more        []func() // what else is to be ended
}

// login opens a session of a user; every password is "pass".
func (s *server) login(user string) (*peers.Conn, error) {
	c, err := peers.Dial(s.address)
	if err != nil {
		return nil, err
	}
	if err := c.Must("LOGIN " + user + " pass"); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// words are the capabilities after a login, in capitals; those of a family by their
// beginnings, too.
func (s *server) words() (map[string]bool, error) {
	if err := s.makeUser("words"); err != nil {
		return nil, err
	}
	c, err := s.login("words")
	if err != nil {
		return nil, err
	}
	defer c.Close()
	all, err := c.Do("CAPABILITY")
	if err != nil {
		return nil, err
	}
	words := map[string]bool{}
	for _, line := range all {
		for _, word := range strings.Fields(strings.ToUpper(line)) {
			words[word] = true
			if family, _, ok := strings.Cut(word, "="); ok && family == "APPENDLIMIT" {
				words[family] = true
			}
		}
	}
	words["X-"] = s.name == "dovecot" // X-GUID and X-MAILBOX have no word
	return words, nil
}

// freePort asks the system for a port that nobody uses.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// start runs the server and waits until it answers.
func (s *server) start(cmd *exec.Cmd, log string) error {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd = cmd
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		c, err := peers.Dial(s.address)
		if err == nil {
			c.Close()
			return nil
		}
		if time.Now().After(end) {
			s.stop()
			text, _ := os.ReadFile(log)
			return fmt.Errorf("does not answer: %w\n%s", err, text)
		}
	}
}

// stop ends the server and the processes that it started.
func (s *server) stop() {
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		done := make(chan struct{})
		go func() { _ = s.cmd.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
		}
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	}
	for _, end := range s.more {
		end()
	}
}
