package master

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"rookery/internal/ipc/ctlmsg"
)

// workerPID reads the pid, as seen outside, of a user's worker.
func (s *server) workerPID(user string) int {
	s.t.Helper()
	for _, p := range s.status().Processes {
		if p.User == user {
			return p.PID
		}
	}
	return 0
}

func (s *server) expectLogin(addr, user, want string) *client {
	s.t.Helper()
	c, got := s.login(addr, user)
	if !strings.HasPrefix(got, want) {
		s.t.Errorf("login of %s: %q, want %q", user, got, want)
	}
	if strings.HasPrefix(want, "NO") {
		c.Close()
	}
	return c
}

func TestHandOver(t *testing.T) {
	s := newServer(t, "").start()
	a := s.expectLogin(s.imap, "ann", "OK ann")
	pid := s.workerPID("ann")
	b := s.expectLogin(s.imap, "ann", "OK ann")
	if s.workerPID("ann") != pid || pid == 0 {
		t.Error("two sessions of one user have two processes")
	}
	s.expectLogin(s.pop3, "ann", "OK ann")
	s.eventually("one POP3 process serves", func() bool { return len(s.pids("pop3worker")) == 1 })
	s.expectLogin(s.imap, "once-bob", "OK once-bob") // the first worker died before GO
	s.expectLogin(s.imap, "never-carl", "NO The mail process failed.")
	s.expectLogin(s.imap, "never-carl", "NO The mail process of this user keeps failing.") // his own back-off
	s.expectLogin(s.imap, "dora", "OK dora")
	s.expectLogin(s.imap, "forger", "NO Temporary authentication failure.")
	if asRoot() {
		s.expectLogin(s.imap, "root", "NO This account cannot be used")
	}
	a.say("DIE")
	if got := b.hear(); got == "" || strings.HasPrefix(got, "OK") {
		t.Error(got)
	}
	s.expectLogin(s.imap, "ann", "OK ann")
	s.eventually("the last one is taken", func() bool { return s.status().Counters.HandedOver == 6 })
	st := s.status()
	if st.Counters.Retried == 0 || st.Counters.TicketsRefused < 1 || st.Counters.BackedOff != 1 {
		t.Errorf("%+v", st.Counters)
	}
	for _, want := range []string{"dies just", "a ticket that authd refuses"} {
		if want == "dies just" {
			want = "died 2 times in a row"
		}
		if !strings.Contains(s.log(), want) {
			t.Errorf("the log lacks %q", want)
		}
	}
	s.stop()
}

func TestSparesServeSharedUIDs(t *testing.T) {
	if !asRoot() {
		t.Skip("needs root")
	}
	s := newServer(t, "").start()
	s.expectLogin(s.imap, "ann", "OK ann pid 1 uid 64200 spare false")
	if n := len(s.pids("imapworker")); n != 1 {
		t.Errorf("%d processes: nobody shares a uid yet", n)
	}
	s.expectLogin(s.imap, "bob", "OK bob pid 1 uid 64200 spare false")
	s.eventually("a spare waits", func() bool { return len(s.pids("imapworker")) == 3 })
	time.Sleep(100 * time.Millisecond) // it says Ready a moment after it is there; nothing tells us
	s.expectLogin(s.imap, "carl", "OK carl pid 1 uid 64200 spare true")
	s.eventually("the next one waits", func() bool { return len(s.pids("imapworker")) == 4 })
	s.stop()
}

func TestLimits(t *testing.T) {
	s := newServer(t, "mail_max_userip_connections = 2\nworker_process_limit = 2\n").start()
	s.expectLogin(s.imap, "ann", "OK")
	c := s.expectLogin(s.imap, "ann", "OK")
	s.expectLogin(s.imap, "ann", "NO Maximum number of connections from user+IP exceeded (mail_max_userip_connections=2)")
	s.expectLogin(s.imap, "bob", "OK")
	s.expectLogin(s.imap, "carl", "NO Maximum number of mail processes reached (worker_process_limit=2).")
	c.Close()
	s.eventually("a place is free", func() bool { return s.status().Now.Sessions == 2 })
	s.expectLogin(s.imap, "ann", "OK")
	if n := s.status().Counters; n.OverUserIP != 1 || n.OverWorkers != 1 {
		t.Errorf("%+v", n)
	}
	s.stop()
}

// Where the settings name the one uid, a process waits before the first login.
func TestSparesFromTheStart(t *testing.T) {
	if !asRoot() {
		t.Skip("needs root")
	}
	s := newServer(t, "mail_uid = \"64200\"\nmail_gid = \"64200\"\n").start()
	s.eventually("spares of both protocols wait", func() bool { return len(s.pids("imapworker")) == 1 && len(s.pids("pop3worker")) == 1 })
	time.Sleep(100 * time.Millisecond) // Ready comes a moment later; nothing tells us
	s.expectLogin(s.imap, "ann", "OK ann pid 1 uid 64200 spare true")
	s.stop()
}

// A login process that floods is ended, and the others serve on.
func TestFlood(t *testing.T) {
	s := newServer(t, "").start()
	before := s.pids("login")
	s.dial(s.imap).say("FLOOD")
	s.eventually("it is replaced", func() bool {
		now := s.pids("login")
		return len(now) == len(before) && !slices.Equal(now, before)
	})
	s.expectLogin(s.imap, "ann", "OK")
	// Which of both it is depends on how fast authd answers.
	s.eventually("the log says why", func() bool {
		return strings.Contains(s.log(), "requests in flight") || strings.Contains(s.log(), "tickets in a row that authd never issued")
	})
	if s.status().Counters.LoginsDropped == 0 {
		t.Error("nobody was dropped")
	}
	s.stop()
}

// Whatever dies comes back, and sessions that do not need it go on.
func TestDeaths(t *testing.T) {
	s := newServer(t, "").start()
	c := s.expectLogin(s.imap, "ann", "OK")
	for _, role := range []string{"logd", "authd", "login", "imapworker"} {
		old := s.pids(role)
		for _, pid := range old {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		if role == "imapworker" {
			if got := c.hear(); strings.HasPrefix(got, "ann") {
				t.Error("a dead worker answers", got)
			}
			s.expectLogin(s.imap, "ann", "OK")
			continue
		}
		s.eventually(role+" is back", func() bool {
			now := s.pids(role)
			return len(now) == len(old) && now[0] != old[0]
		})
		c.say(role)
		if got := c.hear(); got != "ann: "+role {
			t.Errorf("%s died: the session says %q", role, got)
		}
		s.eventually("logins work after "+role, func() bool {
			x, err := net.Dial("tcp", s.imap)
			if err != nil {
				return false
			}
			x.Close()
			_, got := s.login(s.imap, "ann")
			return strings.HasPrefix(got, "OK")
		})
		// The log channel of a process older than logd still works.
		s.dial(s.imap).say("LOG after " + role)
		s.eventually("the log goes on after "+role, func() bool { return strings.Contains(s.log(), "after "+role) })
	}
	s.stop()
}

func TestPanicIsLogged(t *testing.T) {
	s := newServer(t, "").start()
	s.dial(s.imap).say("PANIC")
	s.eventually("the trace is in the log", func() bool { return strings.Contains(s.log(), "panic: as asked") })
	s.expectLogin(s.imap, "ann", "OK")
	s.stop()
}

func (s *server) reload() (generation uint64, text string) {
	s.t.Helper()
	body, exit, text := s.ask(ctlmsg.Reload, "")
	if exit != 0 {
		return 0, text
	}
	var g struct{ Generation uint64 }
	json.Unmarshal(body, &g)
	return g.Generation, ""
}

func TestReload(t *testing.T) {
	s := newServer(t, "").start()
	c := s.expectLogin(s.imap, "ann", "OK")
	logins, worker := s.pids("login"), s.workerPID("ann")
	// Nothing that login gets has changed: no new processes.
	s.write("conf.d/99-local.toml", "mail_max_userip_connections = 1\n")
	if g, text := s.reload(); g != 2 || text != "" {
		t.Error(g, text)
	}
	if now := s.pids("login"); !slices.Equal(now, logins) {
		t.Errorf("login processes %v became %v", logins, now)
	}
	s.expectLogin(s.imap, "ann", "NO Maximum number of connections from user+IP exceeded (mail_max_userip_connections=1)")
	// A setting of workers: new sessions get a new process, the old one stays.
	s.write("conf.d/99-local.toml", "mail_max_keyword_length = 77\n")
	if g, text := s.reload(); g != 3 {
		t.Error(g, text)
	}
	s.expectLogin(s.imap, "ann", "OK")
	s.eventually("two processes of ann run", func() bool { return len(s.pids("imapworker")) == 2 && slices.Contains(s.pids("imapworker"), worker) })
	// A setting of login: new processes, and the old ones end when nobody needs them.
	s.write("conf.d/99-local.toml", "login_greeting = \"Hello.\"\n")
	if g, text := s.reload(); g != 4 {
		t.Error(g, text)
	}
	s.eventually("the old login processes end", func() bool {
		now := s.pids("login")
		return len(now) == len(logins) && !slices.Contains(now, logins[0]) && !slices.Contains(now, logins[1])
	})
	c.say("still")
	if got := c.hear(); got != "ann: still" {
		t.Error(got)
	}
	// A bad file changes nothing and says why.
	s.write("conf.d/99-local.toml", "login_greting = \"x\"\n")
	if g, text := s.reload(); g != 0 || !strings.Contains(text, "99-local.toml:1") || !strings.Contains(text, "login_greeting") {
		t.Error(g, text)
	}
	s.write("conf.d/99-local.toml", "auth_anonymous_username = \"REFUSE-ME\"\n")
	if g, text := s.reload(); g != 0 || !strings.Contains(text, "as the test wants") {
		t.Error(g, text)
	}
	if s.status().Generation != 4 {
		t.Error("a refused reload counts")
	}
	s.write("conf.d/99-local.toml", "base_dir = \"/elsewhere\"\n")
	if g, text := s.reload(); g != 0 || !strings.Contains(text, "restart") {
		t.Error(g, text)
	}
	s.write("conf.d/99-local.toml", "")
	s.cmd.Process.Signal(syscall.SIGHUP)
	s.eventually("SIGHUP does it too", func() bool { return s.status().Generation == 5 && s.status().State == "running" })
	s.stop()
}

func TestReloadMovesListeners(t *testing.T) {
	s := newServer(t, "").start()
	port := freePort(t)
	s.write("conf.d/99-local.toml", fmt.Sprintf("[[listener]]\nname = \"pop3\"\nprotocol = \"imap\"\naddress = [\"127.0.0.1\"]\nport = %d\n", port))
	if g, text := s.reload(); g != 2 {
		t.Fatal(text)
	}
	s.expectLogin(net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), "ann", "OK")
	s.eventually("the old one is closed", func() bool {
		c, err := net.Dial("tcp", s.pop3)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	s.stop()
}

// While old login processes hold sessions, generations do not pile up.
func TestReloadGenerations(t *testing.T) {
	s := newServer(t, "reload_generation_limit = 2\n").start()
	hold := []*client{s.dial(s.imap), s.dial(s.imap), s.dial(s.imap), s.dial(s.imap)} // strangers keep the fakes alive
	for _, c := range hold {
		c.say("LOG held")
	}
	s.eventually("they are accepted", func() bool { return strings.Count(s.log(), "held") == 4 })
	s.write("conf.d/99-local.toml", "reload_generation_limit = 2\nlogin_greeting = \"1\"\n")
	if g, text := s.reload(); g != 2 {
		t.Fatal(text)
	}
	s.write("conf.d/99-local.toml", "reload_generation_limit = 2\nlogin_greeting = \"2\"\n")
	if g, text := s.reload(); g != 0 || !strings.Contains(text, "reload_generation_limit = 2") {
		t.Error(g, text)
	}
	s.expectLogin(s.imap, "ann", "OK")
	for _, c := range hold {
		c.Close()
	}
	s.eventually("the old ones end", func() bool { return s.status().Logins.Generations == 1 })
	if g, text := s.reload(); g != 3 {
		t.Error(text)
	}
	s.stop()
}

func TestCertificates(t *testing.T) {
	s := newServer(t, "").start()
	cert, key := makePair(t)
	s.write("tls.cert", cert) // the key does not fit
	s.eventually("it is seen", func() bool { return strings.Contains(s.log(), "the old ones stay in use") })
	s.write("tls.key", key)
	s.eventually("the new pair is in use", func() bool { return strings.Count(s.log(), "the subject, valid until") == 2 })
	if !strings.Contains(s.log(), "1 days are left") && !strings.Contains(s.log(), "0 days are left") {
		t.Error("nobody was warned of the end")
	}
	s.stop()
}

func TestControl(t *testing.T) {
	s := newServer(t, "").start()
	c := s.expectLogin(s.imap, "ann", "OK")
	for _, q := range []struct {
		verb, password string
		args           []string
		exit           int
		want           string
	}{
		{ctlmsg.Who, "", []string{"bob"}, 0, "[]"},
		{ctlmsg.Who, "", []string{"a", "b"}, 64, "takes 0 to 1 arguments"},
		{ctlmsg.Lookup, "", []string{"ann"}, 0, `"user":"ann"`},
		{ctlmsg.Lookup, "", []string{"nobody"}, 67, "no such user"},
		{ctlmsg.AuthTest, "right", []string{"ann", "imap", "192.0.2.1"}, 0, `"uid":64200`},
		{ctlmsg.AuthTest, "wrong", []string{"ann"}, 77, "wrong password"},
		{ctlmsg.AuthTest, "right", []string{"ann", "imap", "x"}, 64, "ParseAddr"},
		{ctlmsg.LogDebug, "", []string{"user=ann"}, 0, `"filter":"user=ann"`},
		{ctlmsg.LogDebug, "", []string{"color=red"}, 64, "neither"},
		{ctlmsg.Kick, "", []string{"nobody"}, 0, `{"kicked":0}`},
		{ctlmsg.Kick, "", []string{"ann"}, 0, `{"kicked":1}`},
		{"dance", "", nil, 64, "does not know"},
	} {
		body, exit, text := s.ask(q.verb, q.password, q.args...)
		if exit != q.exit || !strings.Contains(string(body)+text, q.want) {
			t.Errorf("%s %v: %d %s %s, want %d %s", q.verb, q.args, exit, body, text, q.exit, q.want)
		}
	}
	if got := c.hear(); got != "BYE" {
		t.Error(got)
	}
	syscall.Kill(s.pids("login")[0], syscall.SIGKILL)
	var lines []errorBody
	s.eventually("the error can be read", func() bool {
		body, _, _ := s.ask(ctlmsg.LogErrors, "")
		json.Unmarshal(body, &lines)
		return slices.ContainsFunc(lines, func(l errorBody) bool {
			return l.Level == "error" && strings.Contains(l.Text, "killed by SIGKILL")
		})
	})
	if _, exit, _ := s.ask(ctlmsg.Stop, ""); exit != 0 {
		t.Error(exit)
	}
	select {
	case err := <-s.exited:
		s.exited <- err
	case <-time.After(8 * time.Second):
		t.Error("it did not stop")
	}
}

func TestControlIsForItsOwn(t *testing.T) {
	s := newServer(t, "").start()
	st, err := os.Stat(filepath.Join(s.dir, "run/control"))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st, err)
	}
	s.stop()
}

func TestSignals(t *testing.T) {
	s := newServer(t, "")
	sock := filepath.Join(s.dir, "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: sock, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", sock)
	t.Setenv("WATCHDOG_USEC", "200000")
	os.Chmod(sock, 0o666)
	s.start()
	heard := make(chan string, 1000)
	go func() {
		defer close(heard)
		buf := make([]byte, 512)
		for {
			n, err := l.Read(buf)
			if err != nil {
				return
			}
			heard <- string(buf[:n])
		}
	}()
	told := func(want string) {
		t.Helper()
		late := time.After(15 * time.Second)
		for {
			select {
			case got := <-heard:
				if strings.HasPrefix(got, want) {
					return
				}
			case <-late:
				t.Fatalf("nobody said %s", want)
			}
		}
	}
	told("READY=1")
	told("WATCHDOG=1")
	c := s.expectLogin(s.imap, "ann", "OK")
	if err := os.Rename(filepath.Join(s.dir, "log"), filepath.Join(s.dir, "log.1")); err != nil {
		t.Fatal(err)
	}
	s.cmd.Process.Signal(syscall.SIGUSR1)
	s.eventually("the log is opened anew", func() bool {
		_, err := os.Stat(filepath.Join(s.dir, "log"))
		return err == nil
	})
	s.dial(s.imap).say("LOG into the new file")
	s.eventually("lines go there", func() bool { return strings.Contains(s.log(), "into the new file") })
	s.cmd.Process.Signal(syscall.SIGHUP)
	told("RELOADING=1")
	told("READY=1")
	s.stop()
	told("STOPPING=1")
	if got := c.hear(); got != "BYE" {
		t.Error(got)
	}
}

func TestCannotStart(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(*server)
		exit    int
		want    string
	}{
		"bad setting": {func(s *server) { s.write("conf.d/99-local.toml", "nonsense = 1\n") }, 78, "99-local.toml:1"},
		"busy port": {func(s *server) {
			l, err := net.Listen("tcp", s.imap)
			if err != nil {
				s.t.Fatal(err)
			}
			s.t.Cleanup(func() { l.Close() })
		}, 69, "address already in use"},
		"missing program": {func(s *server) { os.Remove(filepath.Join(s.dir, "bin/rookery-logd")) }, 69, "rookery-logd"},
		"program that is none": {func(s *server) {
			os.Remove(filepath.Join(s.dir, "bin/rookery-authd"))
			os.WriteFile(filepath.Join(s.dir, "bin/rookery-authd"), []byte("nonsense"), 0o755)
		}, 71, "authd cannot be started"},
		"log that cannot be opened": {func(s *server) { s.write("conf.d/99-local.toml", "log_path = \"/nonexistent/log\"\n") }, 78, "/nonexistent"},
		"empty folder that is not": {func(s *server) {
			os.MkdirAll(filepath.Join(s.dir, "run/empty/x"), 0o755)
		}, 71, "must be empty"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, "")
			c.prepare(s)
			s.spawn()
			select {
			case err := <-s.exited:
				s.exited <- err
			case <-time.After(10 * time.Second):
				t.Fatal("it runs")
			}
			if got := s.cmd.ProcessState.ExitCode(); got != c.exit || !strings.Contains(s.errors(), c.want) {
				t.Errorf("exit %d: %s", got, s.errors())
			}
		})
	}
}
