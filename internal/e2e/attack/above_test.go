package attack_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rookery/internal/child"
	"rookery/internal/sandbox"
)

// TestAuthd takes over the process that says who a user is. master trusts it
// for that, and for no more: never root, no uid or group out of bounds.
func TestAuthd(t *testing.T) {
	for _, abi := range []int{0, 2} {
		s := setup{role: child.Authd, abi: abi}
		t.Run(s.String(), func(t *testing.T) {
			srv := start(t, s)
			login := func(user string) string {
				c, err := srv.dial("imap")
				must(t, err)
				defer c.Close()
				c.ExpectPrefix("* OK")
				return order(c, "a LOGIN %s x", user)
			}
			srv.eventually("it grants what it likes", func() bool { return strings.HasPrefix(login("plain-user"), "a OK") })
			for _, user := range []string{"uid-0", "gid-0", "uid-of-a-system-user", "uid-too-large", "home-of-root", "mail-in-etc"} {
				if got := login(user); !strings.HasPrefix(got, "a NO") {
					t.Errorf("%s: %q", user, got)
				}
				srv.noRoot(user)
			}
			if got := login("group-shadow"); !strings.HasPrefix(got, "a NO") && !strings.HasPrefix(got, "a OK") {
				t.Errorf("group-shadow: %q", got)
			}
			srv.noGroups()
			login("order")
			srv.eventually("authd has tried it all", func() bool { return strings.Contains(srv.demo.Log(), "summary {") })
			_, text, _ := strings.Cut(srv.demo.Log(), "summary ")
			text, _, _ = strings.Cut(text, "\n")
			if got := readSummary(t, text); got.Done != nil {
				t.Errorf("came through: %q", got.Done)
			}
			srv.forgedAs("auth")
		})
	}
}

// children lists master's children as the system sees them.
func (s *server) children() []sandbox.ProcState {
	s.t.Helper()
	var all []sandbox.ProcState
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.cmd.Process.Pid))
	must(s.t, err)
	for _, file := range tasks {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for _, pid := range strings.Fields(string(text)) {
			var n int
			fmt.Sscan(pid, &n)
			if p, err := sandbox.ReadProc(n); err == nil {
				all = append(all, p)
			}
		}
	}
	return all
}

func (s *server) noRoot(what string) {
	s.t.Helper()
	for _, p := range s.children() {
		if p.UIDs[0] == 0 || p.UIDs[1] == 0 || p.GIDs[0] == 0 || p.UIDs[1] < 500 {
			s.t.Errorf("%s: %s runs with uids %v, gids %v", what, p.Comm, p.UIDs, p.GIDs)
		}
	}
}

func (s *server) noGroups() {
	s.t.Helper()
	for _, p := range s.children() {
		if len(p.Groups) > 0 {
			s.t.Errorf("%s is in groups %v", p.Comm, p.Groups)
		}
	}
}

// TestLogd takes over the process that writes the logs: all that it can do is
// to write them.
func TestLogd(t *testing.T) {
	for _, abi := range []int{0, 2} {
		s := setup{role: child.Logd, abi: abi}
		t.Run(s.String(), func(t *testing.T) {
			srv := start(t, s)
			srv.eventually("logd has tried it all", func() bool { return strings.Contains(srv.demo.Log(), "summary {") })
			_, text, _ := strings.Cut(srv.demo.Log(), "summary ")
			text, _, _ = strings.Cut(text, "\n")
			if got := readSummary(t, text); got.Done != nil {
				t.Errorf("came through: %q", got.Done)
			}
			c, err := srv.dial("imap")
			must(t, err)
			c.Login("u1") // without a log the service goes on
		})
	}
}

// TestConfined looks at the real programs while they serve: everything that
// master starts is confined in all its threads, in namespaces of its own.
func TestConfined(t *testing.T) {
	srv := start(t, setup{role: child.POP3Worker}) // the others are the real ones
	c, err := srv.dial("imap")
	must(t, err)
	c.Login("u1")
	seen := map[string]int{}
	for _, p := range srv.children() {
		seen[p.Comm]++
		if p.Seccomp != 2 || !p.NoNewPrivs || p.Dumpable || p.Unconfined != nil || p.Caps["prm"] != "0000000000000000" || p.Caps["eff"] != "0000000000000000" {
			t.Errorf("%s: %+v", p.Comm, p)
		}
		if strings.Join(p.OwnNS, " ") != "ipc net pid" {
			t.Errorf("%s has namespaces %q", p.Comm, p.OwnNS)
		}
		for _, d := range p.Descriptors {
			if p.Comm == "rookery-authd" && (d.Target == "/etc/passwd" || d.Target == "/etc/group") {
				continue // master passes them for the database of system users
			}
			if strings.HasPrefix(d.Target, "/proc") || strings.HasPrefix(d.Target, "/etc") || strings.HasPrefix(d.Target, "/sys") {
				t.Errorf("%s holds %s", p.Comm, d.Target)
			}
		}
	}
	for _, comm := range []string{"rookery-login", "rookery-authd", "rookery-logd", "rookery-imapwor"} {
		if seen[comm] == 0 {
			t.Errorf("no %s runs: %v", comm, seen)
		}
	}
}
