package attack_test

import (
	"slices"
	"strings"
	"testing"

	"rookery/internal/child"
	"rookery/internal/e2e/harness"
)

// takenLogin gives a connection to an evil login process.
func (s *server) takenLogin() *harness.Client {
	s.t.Helper()
	var c *harness.Client
	s.eventually("a login process answers", func() bool {
		var err error
		if c, err = s.dial("imap"); err != nil {
			return false
		}
		if strings.HasPrefix(order(c, "ping"), "login ") {
			return true
		}
		c.Close()
		return false
	})
	return c
}

// TestLogin takes over the processes that meet strangers.
func TestLogin(t *testing.T) {
	for _, abi := range []int{0, 2} {
		s := setup{role: child.Login, abi: abi}
		t.Run(s.String(), func(t *testing.T) {
			srv := start(t, s)
			srv.takenLogin() // one more, whose socket the attempts may use
			got := readSummary(t, order(srv.takenLogin(), "try"))
			if !slices.Equal(got.Done, []string{"descriptors through a fresh pair"}) {
				t.Errorf("came through: %q", got.Done)
			}
			for _, name := range got.NoAim {
				if !strings.Contains(name, "client socket") {
					t.Errorf("not tried: %s", name)
				}
			}
		})
	}
}

// TestTickets: what a taken-over login process cannot do with tickets.
func TestTickets(t *testing.T) {
	srv := start(t, setup{role: child.Login, config: "login_process_min_avail = 2"})
	c := srv.takenLogin()
	ticket := func(user string) string {
		t.Helper()
		answer := order(c, "begin %s pass s1 imap", user)
		hex, ok := strings.CutPrefix(answer, "ticket ")
		if !ok {
			t.Fatalf("no ticket: %q", answer)
		}
		return hex
	}
	refused := func(what, answer string) {
		t.Helper()
		if !strings.HasPrefix(answer, "refused ") {
			t.Errorf("%s: %q", what, answer)
		}
	}
	refused("a wrong password", order(c, "begin u1 wrong s1 imap"))
	good := ticket("u1")
	if got := order(c, "use %s s1 imap", good); got != "taken" {
		t.Errorf("a ticket: %q", got)
	}
	refused("a ticket used twice", order(c, "use %s s1 imap", good))
	for _, text := range []string{"", "any text at all", strings.Repeat(" ", 64) + "TLS_1.3,_client_CertificateVerify"} {
		if got := order(c, "sign %s", text); got != "signature of 0 bytes" {
			t.Errorf("signing %q: %s", text, got)
		}
	}
	if got := order(c, "log"); got != "done" {
		t.Errorf("forged lines: %q", got)
	}
	srv.forgedAs("imap-login", "pop3-login", "login")
	stolen := ticket("u1")
	other := srv.notBy(order(c, "pid"))
	if got := order(other, "use %s s1 imap", stolen); got != "" && !strings.HasPrefix(got, "refused ") {
		t.Errorf("a ticket of another login process: %q", got)
	}
	// Who shows what was issued to somebody else is ended, after its answer or before.
	for _, wrong := range []struct{ what, session, service string }{{"another session's ticket", "s2", "imap"}, {"another service's ticket", "s1", "pop3"}} {
		c = srv.takenLogin()
		mark := order(c, "pid")
		if got := order(c, "use %s %s %s", ticket("u1"), wrong.session, wrong.service); got != "" && !strings.HasPrefix(got, "refused ") {
			t.Errorf("%s: %q", wrong.what, got)
		}
		srv.eventually("the process that showed "+wrong.what+" is ended", func() bool { return order(c, "pid") != mark })
	}
	c = srv.takenLogin()
	if got := order(c, "forge"); got != "" && !strings.HasPrefix(got, "refused ") {
		t.Errorf("tickets that nobody issued: %q", got)
	}
}

// notBy gives a connection to an evil login process other than that one.
func (s *server) notBy(mark string) (c *harness.Client) {
	s.t.Helper()
	s.eventually("another login process answers", func() bool {
		c = s.takenLogin()
		if order(c, "pid") != mark {
			return true
		}
		c.Close()
		return false
	})
	return c
}

// TestLoginChannels breaks every rule of login's channels to master and authd.
// That process may end; another one, and who is connected to it, notices
// nothing.
func TestLoginChannels(t *testing.T) {
	srv := start(t, setup{role: child.Login, config: "login_process_min_avail = 3"})
	bystander := srv.takenLogin()
	mark := order(bystander, "pid")
	before := srv.descriptors()
	for _, channel := range []string{"abuse", "abuse-auth"} {
		for _, kind := range []string{"unknown message", "bytes left over", "cut short", "one byte", "nothing", "huge", "noise", "other side's message",
			"no descriptor", "wrong descriptor", "many descriptors", "itself as descriptor", "flood", "flood of descriptors"} {
			c := srv.notBy(mark)
			order(c, "%s %s", channel, kind)
			c.Close()
			if got := order(bystander, "begin u1 pass s1 imap"); !strings.HasPrefix(got, "ticket ") {
				t.Fatalf("%s, %s: a login by the other process: %q", channel, kind, got)
			}
		}
	}
	srv.eventually("master holds no more descriptors than before", func() bool { return srv.descriptors() <= before+8 })
	ticket := strings.TrimPrefix(order(bystander, "begin u1 pass s1 imap"), "ticket ")
	if got := order(bystander, "use %s s1 imap", ticket); got != "taken" {
		t.Errorf("a login after it all: %q", got)
	}
}
