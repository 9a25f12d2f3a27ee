package logs

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rookery/internal/e2e/harness"
)

// crew is a server whose users have random passwords.
type crew struct {
	*harness.Demo
	users     []string
	passwords []string
	log       string // of the stage
}

// startCrew runs a server with a user for each alphabet.
func startCrew(t *testing.T, lines ...string) *crew {
	t.Helper()
	c := &crew{Demo: harness.Prepare(t)}
	flags := []string{"--users", fmt.Sprint(len(alphabets)), "--empty"}
	c.Write(flags...)
	users := filepath.Join(c.Dir, "users")
	text := read(users)
	for i, a := range alphabets {
		c.users = append(c.users, fmt.Sprintf("u%d@example.test", i+1))
		c.passwords = append(c.passwords, password(t, a))
		text = strings.Replace(text, c.users[i]+":{PLAIN}pass:", c.users[i]+":{PLAIN}"+c.passwords[i]+":", 1)
	}
	if err := os.WriteFile(users, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	c.log = filepath.Join(c.Dir, "rookery.log")
	c.Set(lines...)
	c.Start(flags...)
	return c
}

// stage sets lines, with a log file of its own.
func (c *crew) stage(t *testing.T, name string, lines ...string) {
	t.Helper()
	c.log = filepath.Join(c.Dir, "log-"+name)
	if name != "abort" {
		lines = append(lines, `auth_failure_delay = "0"`)
	}
	c.Set(append(lines, fmt.Sprintf("log_path = %q", c.log))...)
	c.MustCtl("reload")
	eventually(t, "the log has moved to "+c.log, func() bool {
		dial(t, c.Addr("imap"), nil).close()
		return strings.Contains(read(c.log), "(no auth attempts")
	})
}

// attempt is one login that was tried.
type attempt struct {
	login
	user, password string
	right          bool
}

// tryAll logs every user in by every mechanism, with the right and with a wrong
// password, and gives what must not be told.
func (c *crew) tryAll(t *testing.T, secret *secrets) []attempt {
	t.Helper()
	var tried []attempt
	for i, user := range c.users {
		for _, l := range logins() {
			if l.name == "LOGIN quoted" && strings.ContainsFunc(c.passwords[i]+alphabets[i], func(r rune) bool { return r > '~' }) {
				continue // RFC 3501's quoted strings are ASCII
			}
			for _, a := range []attempt{{l, user, c.passwords[i], true}, {l, user, password(t, alphabets[i]), false}} {
				conn := dial(t, c.Addr(l.service), nil)
				answer := l.run(conn, a.user, a.password)
				if succeeded(answer) != a.right {
					t.Errorf("%s %s with %q (right: %v): %s", l.service, l.name, a.password, a.right, answer)
				}
				if a.right && l.service == "imap" {
					conn.imap("LOGOUT")
				} else if a.right {
					conn.pop("QUIT")
				}
				conn.close()
				secret.add(a.password)
				secret.add(conn.shown...)
				tried = append(tried, a)
			}
		}
	}
	return tried
}

// settled waits until the log has the last line of every session.
func (c *crew) settled(t *testing.T, tried []attempt) string {
	t.Helper()
	ends := func(text string) int {
		return strings.Count(text, "(auth failed, 1 attempts") + strings.Count(text, "Disconnected: Logged out")
	}
	eventually(t, "all sessions have ended", func() bool { return ends(read(c.log)) >= len(tried) })
	return read(c.log)
}

// outputs are rookeryctl's.
func (c *crew) outputs(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, args := range [][]string{{"status"}, {"who"}, {"log", "errors"}, {"config"}, {"config", "-n"}, {"config", "check"}, {"privileges"}, {"auth", "lookup", c.users[0]}} {
		for _, flags := range [][]string{nil, {"--json"}} {
			out, _ := c.Ctl(append(flags, args...)...)
			fmt.Fprintf(&all, "== %s\n%s\n", strings.Join(args, " "), out)
		}
	}
	for i, user := range c.users {
		for _, word := range []string{c.passwords[i], "not " + c.passwords[i]} {
			for _, flags := range [][]string{nil, {"--json"}} {
				cmd := exec.Command(filepath.Join(harness.Bin(t), "rookeryctl"), append(flags, "-c", filepath.Join(c.Dir, "rookery.toml"), "auth", "test", user)...)
				cmd.Stdin = strings.NewReader(word + "\n")
				out, err := cmd.CombinedOutput()
				if (err == nil) != (word == c.passwords[i]) {
					t.Errorf("auth test of %s: %v\n%s", user, err, out)
				}
				all.Write(out)
			}
		}
	}
	return all.String()
}

// mismatches are the lines that auth_verbose writes of what was tried: one for
// each failure, in the order of the attempts.
func mismatches(tried []attempt, added func(password string) string) []string {
	var lines []string
	for _, a := range tried {
		if !a.right {
			text := ""
			if a.plain {
				text = added(a.password)
			}
			lines = append(lines, "auth: Info: passwd-file("+a.user+",127.0.0.1,<S>): Password mismatch"+text)
		}
	}
	return lines
}

// grep gives the lines of a log that hold text, without what differs each time.
func grep(log, text string) []string {
	var lines []string
	for line := range strings.Lines(log) {
		if strings.Contains(line, text) {
			lines = append(lines, normal(strings.TrimSuffix(line, "\n")))
		}
	}
	return lines
}

func equalLines(t *testing.T, what string, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d lines, want %d", what, len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Errorf("%s: line %d\ngot  %s\nwant %s", what, i, got[i], want[i])
			return
		}
	}
}

func sum(password string) string {
	s := sha1.Sum([]byte(password))
	return hex.EncodeToString(s[:])
}

func prefix(s string, n int) string { return string([]rune(s)[:n]) }

// Passwords, whatever their letters, and all that SASL makes of them, stand in
// no log at any verbosity but those that say so, and there as said.
func TestPasswordsStandNowhere(t *testing.T) {
	harness.NeedRoot(t)
	c := startCrew(t, `auth_failure_delay = "0"`)
	for i := range c.users { // rawlog is on for all
		home := filepath.Dir(c.Maildir(i + 1))
		info, err := os.Stat(home)
		if err != nil {
			t.Fatal(err)
		}
		rawlogs := filepath.Join(home, "rawlog")
		os.Mkdir(rawlogs, 0o700)
		uid, gid := owner(info)
		os.Chown(rawlogs, uid, gid)
	}
	none := func(string) string { return "" }
	stages := []struct {
		name    string
		lines   []string
		verbose bool
		added   func(password string) string
	}{
		{"none", nil, false, none},
		{"verbose", []string{"auth_verbose = true"}, true, none},
		{"verbose-no", []string{"auth_verbose = true", `auth_verbose_passwords = "no"`}, true, none},
		{"debug", []string{"auth_debug = true"}, true, none},
		{"log-debug", []string{`log_debug = ["user=` + c.users[0] + `", "remote_ip=127.0.0.0/8"]`}, true, none},
		{"json", []string{"auth_debug = true", `log_format = "json"`}, true, none},
		{"rawlog", []string{`rawlog_dir = "%{home}/rawlog"`}, false, none},
		{"plain-5", []string{`auth_verbose_passwords = "plain:5"`}, true, func(p string) string { return " (given password: " + prefix(p, 5) + ")" }},
		{"sha1", []string{`auth_verbose_passwords = "sha1"`}, true, func(p string) string { return " (SHA1 of given password: " + sum(p) + ")" }},
		{"sha1-7", []string{`auth_verbose_passwords = "sha1:7"`}, true, func(p string) string { return " (SHA1 of given password: " + sum(p)[:7] + ")" }},
	}
	secret := &secrets{}
	secret.add(c.passwords...)
	for _, s := range stages {
		t.Run(s.name, func(t *testing.T) {
			c.stage(t, s.name, s.lines...)
			tried := c.tryAll(t, secret)
			if s.name == "json" {
				c.jsonSettled(t, tried)
				return
			}
			log := c.settled(t, tried)
			want := mismatches(tried, s.added)
			if !s.verbose {
				want = nil
			}
			if s.added("0123456789abcdef") != "" { // mechanisms without a password need auth_verbose
				want = slices.DeleteFunc(want, func(line string) bool { return strings.HasSuffix(line, "mismatch") })
			}
			equalLines(t, "mismatches", grep(log, "mismatch"), want)
		})
	}
	t.Run("rookeryctl", func(t *testing.T) {
		text := c.outputs(t)
		secret.report(t, secret.search("rookeryctl", []byte(text)))
	})
	c.abort(t, secret)
	secret.searchProc(t, processes(t, c.PID()))
	secret.report(t, secret.search("standard error", []byte(c.Out.String())))
	secret.searchTree(t, c.Dir, func(path string) bool { return path == filepath.Join(c.Dir, "users") })
	if in, _ := filepath.Glob(filepath.Join(c.Dir, "mail", "*", "rawlog", "*.in")); len(in) < len(c.users) {
		t.Errorf("rawlog wrote %d files, so that the search of them says nothing", len(in))
	}
}

// jsonSettled waits for the lines of the JSON form.
func (c *crew) jsonSettled(t *testing.T, tried []attempt) {
	t.Helper()
	eventually(t, "all sessions have ended", func() bool {
		text := read(c.log)
		return strings.Count(text, "(auth failed, 1 attempts")+strings.Count(text, "Disconnected: Logged out") >= len(tried)
	})
}

// abort kills login and authd with SIGABRT while they hold a password: their
// traces go to the log, and no core is left.
func (c *crew) abort(t *testing.T, secret *secrets) {
	t.Helper()
	c.stage(t, "abort", `auth_failure_delay = "30 secs"`)
	for _, program := range []string{"rookery-login", "rookery-authd"} {
		word := password(t, alphabets[0])
		secret.add(word)
		conn := dial(t, c.Addr("imap"), nil)
		conn.write("t1 LOGIN u1@example.test " + word + "\r\n")
		time.Sleep(100 * time.Millisecond) // nobody tells when authd has it: it waits to refuse
		killed := 0
		for _, pid := range processes(t, c.PID()) {
			if strings.TrimSpace(read(fmt.Sprintf("/proc/%d/comm", pid))) == program[:min(len(program), 15)] {
				if err := syscall.Kill(pid, syscall.SIGABRT); err != nil {
					t.Errorf("killing %s: %v", program, err)
				}
				killed++
			}
		}
		if killed == 0 {
			t.Errorf("no %s was there to be killed", program)
		}
		eventually(t, program+"'s trace is in the log", func() bool { return strings.Contains(read(c.log), "stderr: SIGABRT: abort") })
		conn.close()
		eventually(t, "a new "+program, func() bool {
			probe, err := c.TryDial("imap")
			if err != nil {
				return false
			}
			defer probe.Close()
			line, err := probe.TryLine()
			return err == nil && strings.HasPrefix(line, "* OK")
		})
	}
	for _, dir := range []string{"/", c.Dir, "/var/tmp", harness.Bin(t)} {
		if cores, _ := filepath.Glob(filepath.Join(dir, "core*")); len(cores) > 0 {
			t.Errorf("core files: %v", cores)
		}
	}
}

// With auth_verbose_passwords = "plain", and "yes", the password of each failure
// stands in that failure's line and nowhere else, the right ones nowhere.
func TestPlainPasswordsAsSpecified(t *testing.T) {
	harness.NeedRoot(t)
	c := startCrew(t, `auth_failure_delay = "0"`)
	for _, word := range []string{"plain", "yes"} {
		c.stage(t, word, fmt.Sprintf("auth_verbose_passwords = %q", word), `auth_mechanisms = ["plain", "login", "cram-md5", "scram-sha-256", "apop"]`)
		secret := &secrets{}
		tried := c.tryAll(t, secret)
		log := c.settled(t, tried)
		want := mismatches(tried, func(p string) string { return " (given password: " + p + ")" })
		want = slices.DeleteFunc(want, func(line string) bool { return strings.HasSuffix(line, "mismatch") })
		equalLines(t, word, grep(log, "Password mismatch"), want)
		for _, line := range want { // what else is there must hold none of it
			_, told, _ := strings.Cut(line, "mismatch")
			log = strings.Replace(log, told, "", 1)
		}
		secret.report(t, secret.search("the log", []byte(log)))
	}
}

// With auth_debug_passwords both passwords of a mismatch stand in authd's debug
// lines, and SASL's messages; in no other process's.
func TestDebugPasswordsAsSpecified(t *testing.T) {
	harness.NeedRoot(t)
	c := startCrew(t, `auth_failure_delay = "0"`)
	c.stage(t, "debug-passwords", "auth_debug_passwords = true")
	secret := &secrets{}
	tried := c.tryAll(t, secret)
	log := c.settled(t, tried)
	var want, unwanted []string
	for _, a := range tried {
		i := slices.Index(c.users, a.user)
		if !a.right && a.plain {
			want = append(want, fmt.Sprintf("auth: Debug: passwd-file(%s,127.0.0.1,<S>): PLAIN(%s) != '%s'", a.user, a.password, c.passwords[i]))
		}
		if a.name == "PLAIN initial response" {
			blob := " resp=" + b64("\x00"+a.user+"\x00"+a.password)
			if !strings.Contains(log, blob+"\n") {
				t.Errorf("no line ends in %q", blob)
			}
		}
	}
	equalLines(t, "debug lines", grep(log, ") != '"), want)
	for line := range strings.Lines(log) {
		if !strings.Contains(line, " auth: Debug: ") {
			unwanted = append(unwanted, secret.search("a line", []byte(line))...)
		}
	}
	secret.report(t, unwanted)
	if strings.Contains(log, "<hidden>") {
		t.Error("the log hides something")
	}
}
