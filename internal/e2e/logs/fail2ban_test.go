package logs

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"rookery/internal/e2e/harness"
)

// Addresses of this host that the clients of these tests come from.
const (
	honest  = "127.0.0.9"  // logs in, never fails
	clumsy  = "127.0.0.10" // fails, with harmless names
	hostile = "127.0.0.66" // fails, with names that would have others banned
)

// hostileNames try to have 192.0.2.99, or whoever is named, banned.
var hostileNames = []string{
	"a> rip=192.0.2.99",
	"a>, method=PLAIN, rip=192.0.2.99, lip=127.0.0.1, session=<x",
	"x,192.0.2.99,<s>): unknown user",
	"x,192.0.2.99",
	"x): unknown user auth: passwd-file(y,192.0.2.99): unknown user",
	"%{remote_ip}%s%d%n",
	"%20rip=192.0.2.99",
	strings.Repeat("rip=192.0.2.99 ", 20),
	strings.Repeat("ö", 120),
	"jörg\u202e\u2028rip=192.0.2.99",
	"<rip=192.0.2.99>",
	"pam(root,192.0.2.99):",
	`" rip=192.0.2.99 "`,
	"authentication failure; logname= uid=0 euid=0 tty=dovecot ruser=x rhost=192.0.2.99",
}

// controlNames have bytes that no protocol word may carry but a literal or SASL.
var controlNames = []string{
	"a\nNov 21 10:00:00 dovecot: imap-login: Disconnected (auth failed, 1 attempts in 2 secs): user=<x>, rip=192.0.2.99, lip=127.0.0.1",
	"a\r\nimap-login: Info: Disconnected (auth failed, 9 attempts): user=<x>, rip=192.0.2.99",
	"a\tb\x1b[2J\x7frip=192.0.2.99",
}

// dialFrom connects from one of this host's addresses.
func dialFrom(t *testing.T, addr, from string) *talk {
	t.Helper()
	c := newTalk(t, dialer(t, from, addr), nil)
	c.banner = c.line()
	return c
}

func dialer(t *testing.T, from, addr string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}
	conn, err := dialer.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// scenario makes every kind of line that failures and successes have, and gives
// the number of connections.
func scenario(t *testing.T, d *harness.Demo) int {
	conns := 0
	all := logins()
	do := func(service, from string, f func(c *talk)) {
		conns++
		c := dialFrom(t, d.Addr(service), from)
		f(c)
		c.close()
	}
	for _, l := range all {
		do(l.service, honest, func(c *talk) {
			if answer := l.run(c, "u1@example.test", "pass"); !succeeded(answer) {
				t.Errorf("%s: %s", l.name, answer)
			}
			if l.service == "imap" {
				c.imap("LOGOUT")
			} else {
				c.pop("QUIT")
			}
		})
		for _, user := range []string{"u1@example.test", "nobody@example.test"} {
			do(l.service, clumsy, func(c *talk) {
				if answer := l.run(c, user, "wrong"); succeeded(answer) {
					t.Errorf("%s: %s", l.name, answer)
				}
			})
		}
	}
	do("imap", clumsy, func(c *talk) { c.imap("LOGIN u1@example.test wrong"); c.imap("LOGOUT") })
	do("pop3", clumsy, func(c *talk) { c.pop("USER u1@example.test"); c.pop("PASS wrong"); c.pop("QUIT") })
	do("imap", honest, func(c *talk) { c.imap("LOGOUT") })
	do("pop3", honest, func(c *talk) { c.pop("QUIT") })
	for _, name := range append(append([]string{}, hostileNames...), controlNames...) {
		literal := all[0] // LOGIN with literals takes every byte but NUL
		do("imap", hostile, func(c *talk) { literal.run(c, name, "wrong") })
		for _, l := range saslLogins("pop3")[:3] {
			do("pop3", hostile, func(c *talk) { l.run(c, name, "wrong") })
		}
		if !strings.ContainsAny(name, "\r\n") {
			do("pop3", hostile, func(c *talk) { c.pop("USER " + name); c.pop("PASS wrong") })
		}
	}
	return conns
}

// ends counts the sessions whose last line is there.
func ends(text string) int {
	return strings.Count(text, "-login: Info: Disconnected") + strings.Count(text, "-login: Disconnected") +
		strings.Count(text, "Aborted login") + strings.Count(text, "Disconnected: Logged out")
}

// fail2ban runs Debian's unchanged filter over lines and gives who would be
// banned for which of them.
func fail2ban(t *testing.T, lines []string, filter string) map[string]string {
	t.Helper()
	program := harness.Need(t, "fail2ban-regex", "fail2ban")
	file := filepath.Join(t.TempDir(), "log")
	write(t, file, strings.Join(lines, "\n")+"\n")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "-o", "<ip>|<matches>", file, filter).CombinedOutput()
	if err != nil {
		t.Fatalf("fail2ban-regex: %v\n%s", err, out)
	}
	banned := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if ip, text, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "|"); ok {
			banned[text] = ip
		}
	}
	return banned
}

// checkBans compares what the filter found with what should be found.
func checkBans(t *testing.T, lines []string, filter string) {
	t.Helper()
	banned := fail2ban(t, lines, filter)
	failure := regexp.MustCompile(`(?i)\): (unknown user|password mismatch)|\((auth failed,|tried to use disallowed)`)
	address := regexp.MustCompile(`(?:rip=|\(\S*,)(127\.0\.0\.\d+)`)
	failures := 0
	for _, line := range lines {
		ip, matched := banned[line]
		from := address.FindStringSubmatch(line)
		switch {
		case failure.MatchString(line) && !matched:
			t.Errorf("a failure that is not matched: %s", line)
		case matched && (ip == honest || ip != clumsy && ip != hostile):
			t.Errorf("%s would be banned for: %s", ip, line)
		case matched && !failure.MatchString(line):
			t.Errorf("no failure, and matched: %s", line)
		case matched && (from == nil || from[1] != ip):
			t.Errorf("%s is banned for another's line: %s", ip, line)
		case matched:
			failures++
		}
		delete(banned, line)
	}
	for line, ip := range banned {
		t.Errorf("%s would be banned for a line that is none of ours: %s", ip, line)
	}
	if failures < 120 {
		t.Errorf("only %d failures were seen", failures)
	}
}

// loose lets hostile names come as far as they can.
var loose = []string{`auth_failure_delay = "0"`, `auth_penalty = false`, `auth_verbose = true`, `auth_username_chars = ""`, `auth_default_domain = ""`}

func nonEmpty(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
	return lines
}

// In a file, as log_path has it.
func TestFail2banReadsFiles(t *testing.T) {
	harness.NeedRoot(t)
	d := harness.StartWith(t, loose, "--users", "1", "--empty")
	n := scenario(t, d)
	eventually(t, "all lines", func() bool { return ends(d.Log()) >= n })
	checkBans(t, nonEmpty(d.Log()), "dovecot")
	t.Run("names are refused first", func(t *testing.T) { // with the usual auth_username_chars
		d.Set(`auth_failure_delay = "0"`, `auth_penalty = false`, `auth_verbose = true`)
		d.MustCtl("reload")
		before := len(d.Log())
		n := scenario(t, d)
		eventually(t, "all lines", func() bool { return ends(d.Log()[before:]) >= n })
		checkBans(t, nonEmpty(d.Log()[before:]), "dovecot")
	})
}

// On the journal's standard error: systemd takes the level off each line and
// puts host, tag and pid before it.
func TestFail2banReadsTheJournal(t *testing.T) {
	harness.NeedRoot(t)
	d := harness.Prepare(t)
	flags := []string{"--users", "1", "--empty"}
	d.Write(flags...)
	d.Set(append(loose, `log_path = "stderr"`)...)
	stderr := filepath.Join(d.Dir, "stderr")
	d.Wrap = []string{"/bin/sh", "-c", `exec 2>>"$0"; JOURNAL_STREAM=$(stat -c %d:%i "$0") exec "$@"`, stderr}
	d.Start(flags...)
	n := scenario(t, d)
	eventually(t, "all lines", func() bool { return ends(read(stderr)) >= n })
	form := regexp.MustCompile(`^<([2-7])>(.*)$`)
	var lines []string
	for _, line := range nonEmpty(read(stderr)) {
		m := form.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("no level before the line: %q", line)
			continue
		}
		lines = append(lines, "Nov 21 10:11:12 host dovecot[4711]: "+m[2])
	}
	checkBans(t, lines, "dovecot[logtype=journal]")
	jail := read(filepath.Join(harness.Root(t), "contrib", "fail2ban", "rookery.conf"))
	unit := read(filepath.Join(harness.Root(t), "contrib", "systemd", "rookery.service"))
	if !strings.Contains(jail, `filter   = dovecot[journalmatch="_SYSTEMD_UNIT=rookery.service"]`) || !strings.Contains(unit, "SyslogIdentifier=dovecot") {
		t.Errorf("jail and unit do not belong together:\n%s\n%s", jail, unit)
	}
}

// privateDev runs a command with a /dev of its own, whose log is the socket $0.
const privateDev = `set -e
new=$(mktemp -d)
mount -t tmpfs -o mode=755 none "$new"
for n in null zero full random urandom; do : >"$new/$n"; mount --bind "/dev/$n" "$new/$n"; done
ln -s "$0" "$new/log"
mount --move "$new" /dev
rmdir "$new"
exec "$@"`

// syslogd is a system's logger that only writes down.
type syslogd struct {
	conn  *net.UnixConn
	path  string
	lines chan string
}

func startSyslogd(t *testing.T, dir string) *syslogd {
	t.Helper()
	path := filepath.Join(dir, "dev-log")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadBuffer(1 << 20)
	os.Chmod(path, 0o666)
	t.Cleanup(func() { conn.Close() })
	s := &syslogd{conn, path, make(chan string, 10000)}
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				close(s.lines)
				return
			}
			s.lines <- string(buf[:n])
		}
	}()
	return s
}

// until reads lines until enough says so.
func (s *syslogd) until(t *testing.T, enough func(text string) bool) []string {
	t.Helper()
	var all []string
	text := &strings.Builder{}
	deadline := time.After(20 * time.Second)
	for {
		select {
		case line, open := <-s.lines:
			if !open {
				t.Fatalf("the socket has closed after %d lines", len(all))
			}
			all = append(all, line)
			text.WriteString(line + "\n")
			if enough(text.String()) {
				return all
			}
		case <-deadline:
			t.Fatalf("not within twenty seconds; %d lines:\n%s", len(all), text)
		}
	}
}

// In syslog: the datagrams of /dev/log, as rsyslog writes them to mail.log.
func TestFail2banReadsSyslog(t *testing.T) {
	harness.NeedRoot(t)
	d := harness.Prepare(t)
	flags := []string{"--users", "1", "--empty"}
	d.Write(flags...)
	s := startSyslogd(t, d.Dir)
	d.Set(append(loose, `log_path = "syslog"`)...)
	d.Wrap = []string{"unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", privateDev, s.path}
	d.Start(flags...)
	s.until(t, func(text string) bool { return ends(text) >= 4 }) // the demo's own, which looks whether all listeners answer
	n := scenario(t, d)
	raw := s.until(t, func(text string) bool { return ends(text) >= n })
	form := regexp.MustCompile(`^<(\d+)>([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d )(dovecot: .*)$`)
	var lines []string
	for _, line := range raw {
		m := form.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("no datagram of syslog's: %q", line)
			continue
		}
		if want := "22"; m[1] != want && !strings.Contains(line, "Warning") {
			t.Errorf("priority %s, want %s (mail.info): %q", m[1], want, line)
		}
		lines = append(lines, m[2]+"host "+m[3])
	}
	checkBans(t, lines, "dovecot")
	t.Run("facility and tag", func(t *testing.T) {
		d.Set(append(loose, `log_path = "syslog"`, `syslog_facility = "local3"`, `syslog_tag = "mailer"`)...)
		d.MustCtl("reload")
		form := regexp.MustCompile(`(?m)^<158>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d mailer: imap-login: Aborted login \(no auth attempts in 0 secs\): user=<>, rip=127\.0\.0\.1, lip=127\.0\.0\.1, secured, session=<[^>]+>$`)
		s.until(t, func(text string) bool {
			c := dial(t, d.Addr("imap"), nil)
			c.imap("LOGOUT")
			c.drain()
			return form.MatchString(text)
		})
	})
	t.Run("the logger comes back", func(t *testing.T) {
		s.conn.Close()
		os.Remove(s.path)
		c := dial(t, d.Addr("imap"), nil)
		c.imap("LOGOUT")
		c.drain()
		again := startSyslogd(t, d.Dir)
		told := ""
		eventually(t, "lines arrive again, and how many did not", func() bool {
			c := dial(t, d.Addr("imap"), nil)
			c.imap("LOGOUT")
			c.drain()
			for len(again.lines) > 0 {
				told += <-again.lines + "\n"
			}
			return regexp.MustCompile(`(?m)^<156>.* mailer: log: Warning: the system's logger did not take these many lines before this one: [1-9]\d*$`).MatchString(told)
		})
	})
}
