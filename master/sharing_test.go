package master

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rookery/internal/ipc/ctlmsg"
)

func (c *client) ask(line, want string) {
	c.t.Helper()
	c.say(line)
	if got := c.hear(); got != want {
		c.t.Errorf("%s: %q, want %q", line, got, want)
	}
}

func (s *server) who(user string) (out []sessionBody) {
	s.t.Helper()
	body, exit, text := s.ask(ctlmsg.Who, "", user)
	if exit != 0 {
		s.t.Fatal(text)
	}
	if err := json.Unmarshal(body, &out); err != nil {
		s.t.Fatal(err)
	}
	return out
}

func TestGuests(t *testing.T) {
	s := newServer(t, "").start()
	ann := s.expectLogin(s.imap, "ann", "OK ann")
	bob := s.expectLogin(s.imap, "bob", "OK bob")
	eve := s.expectLogin(s.imap, "eve", "OK eve")
	const nobody = "NO not found: nothing"
	bob.ask("REACH ann", nobody)
	bob.ask("REACH nobody", nobody)
	bob.ask("SHARES", "SHARES")
	ann.ask("PUBLISH INBOX user=bob Team group=staff", "PUBLISHED")
	s.eventually("he is told", func() bool { bob.say("CHANGES"); return bob.hear() == "CHANGES 1" })
	eve.ask("CHANGES", "CHANGES 0")
	bob.ask("SHARES", "SHARES ann/INBOX ann/Team")
	eve.ask("SHARES", "SHARES")
	eve.ask("REACH ann", nobody)
	bob.ask("REACH ann", "CHANNEL welcome bob [staff] to ann")

	// ann's process stays for her guest alone.
	pid := s.workerPID("ann")
	ann.Close()
	s.eventually("her session is over", func() bool { return s.status().Now.Sessions == 2 })
	time.Sleep(700 * time.Millisecond) // a worker without anybody would have asked to go by then
	if s.workerPID("ann") != pid || s.status().Now.Guests != 1 {
		t.Error("the process ended under its guest")
	}
	got := s.who("ann")
	if len(got) != 1 || got[0].User != "bob" || got[0].Owner != "ann" || got[0].Service != "guest" || got[0].PID != pid {
		t.Errorf("who: %+v", got)
	}
	body, _, _ := s.ask(ctlmsg.Kick, "", "bob")
	if string(body) != `{"kicked":1}` {
		t.Errorf("kick: %s", body)
	}
	s.eventually("his visit is over too", func() bool { return s.status().Now.Guests == 0 })
	s.eventually("nobody needs the process", func() bool { return s.workerPID("ann") == 0 })

	// And is started for a guest.
	bob = s.expectLogin(s.imap, "bob", "OK bob")
	bob.ask("REACH ann", "CHANNEL welcome bob [staff] to ann")
	syscall.Kill(s.workerPID("ann"), syscall.SIGKILL)
	if got := bob.hear(); got != "CHANNEL ENDED" {
		t.Error(got)
	}
	s.eventually("another process is there", func() bool { // a channel to the dead one ends at once
		bob.say("REACH ann")
		return bob.hear() == "CHANNEL welcome bob [staff] to ann"
	})
	s.stop()
}

func TestGuestProcessesHaveTheirOwnLimit(t *testing.T) {
	s := newServer(t, "worker_process_limit = 2\nworker_guest_process_limit = 1\n").start()
	ann := s.expectLogin(s.imap, "ann", "OK ann")
	ann.ask("PUBLISH INBOX user=bob", "PUBLISHED")
	carl := s.expectLogin(s.imap, "carl", "OK carl")
	carl.ask("PUBLISH INBOX user=bob", "PUBLISHED")
	ann.Close()
	carl.Close()
	s.eventually("they have gone", func() bool { return s.status().Now.Workers == 0 })
	bob := s.expectLogin(s.imap, "bob", "OK bob")
	bob.ask("REACH ann", "CHANNEL welcome bob [staff] to ann")
	bob.ask("REACH carl", "NO limit reached: Too many users' mailboxes are open on this server. Try again later.")
	s.expectLogin(s.imap, "dora", "OK dora")
	s.expectLogin(s.imap, "eve", "NO Maximum number of mail processes reached (worker_process_limit=2).")
	s.stop()
}

// What a worker must not say ends it, and nobody else.
func TestHostileWorkers(t *testing.T) {
	s := newServer(t, "").start()
	bob := s.expectLogin(s.imap, "bob", "OK bob")
	for user, line := range map[string]string{"ann": "FOREIGN", "carl": "FLOOD"} {
		c := s.expectLogin(s.imap, user, "OK "+user)
		c.say(line)
		if got := c.hear(); strings.HasPrefix(got, user) {
			t.Errorf("%s: %q", line, got)
		}
	}
	p := s.expectLogin(s.pop3, "dora", "OK dora")
	p.say("SHARES")
	if got := p.hear(); strings.HasPrefix(got, "SHARES") {
		t.Errorf("a POP3 process was told %q", got)
	}
	for _, want := range []string{"it spoke of guest 4711, which is not its own", "it told what its user shares without a pause", "it asked for a list of shares"} {
		s.eventually("the log says: "+want, func() bool { return strings.Contains(s.log(), want) })
	}
	bob.ask("PUBLISH bad user=carl", "PUBLISHED")
	s.eventually("the log says what was not taken", func() bool {
		return strings.Contains(s.log(), "what user bob shares was not taken into the list of shares: as the test wants")
	})
	bob.ask("SHARES", "SHARES")
	s.stop()
}

// A user whose mail is worked on has no guests.
func TestHoldEndsGuests(t *testing.T) {
	s := newServer(t, "").start()
	ann := s.expectLogin(s.imap, "ann", "OK ann")
	ann.ask("PUBLISH INBOX user=bob", "PUBLISHED")
	bob := s.expectLogin(s.imap, "bob", "OK bob")
	bob.ask("REACH ann", "CHANNEL welcome bob [staff] to ann")
	ctl := s.control()
	defer ctl.Close()
	if _, exit, text := s.request(ctl, ctlmsg.MailHold, "", "ann"); exit != 0 {
		t.Fatal(text)
	}
	if got := bob.hear(); got != "CHANNEL ENDED" {
		t.Error(got)
	}
	s.eventually("no process of hers is left", func() bool { return s.workerPID("ann") == 0 })
	bob.ask("REACH ann", "NO unavailable: "+heldText)
	if _, exit, text := s.request(ctl, ctlmsg.MailLet, ""); exit != 0 {
		t.Fatal(text)
	}
	bob.ask("REACH ann", "CHANNEL welcome bob [staff] to ann")
	s.stop()
}

// The list's files are opened by master, in state_dir, for nobody else to read.
func TestSharesFiles(t *testing.T) {
	s := newServer(t, "").start()
	for _, name := range []string{"shares-a", "shares-b"} {
		found, err := filepath.Glob(filepath.Join(s.dir, "*", name))
		if err != nil || len(found) != 1 {
			t.Fatalf("%s: %q, %v", name, found, err)
		}
		info, err := os.Stat(found[0])
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	// Without authd the question is answered all the same.
	bob := s.expectLogin(s.imap, "bob", "OK bob")
	s.eventually("he is told that it cannot be had", func() bool { // unless authd is back before he asks
		pids := s.pids("authd")
		if len(pids) == 0 {
			return false
		}
		syscall.Kill(pids[0], syscall.SIGSTOP)
		bob.say("SHARES")
		time.Sleep(20 * time.Millisecond) // nothing tells that the question has come
		syscall.Kill(pids[0], syscall.SIGKILL)
		return bob.hear() == "SHARES "+authdAway
	})
	s.stop()
}
