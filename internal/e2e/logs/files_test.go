package logs

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"rookery/internal/e2e/harness"
)

// masterOf gives master's process id: the demo's child.
func masterOf(t *testing.T, d *harness.Demo) int {
	t.Helper()
	for _, pid := range processes(t, d.PID()) {
		if strings.TrimSpace(read(fmt.Sprintf("/proc/%d/comm", pid))) == "rookery" {
			return pid
		}
	}
	t.Fatal("no process is called rookery")
	return 0
}

// hello makes lines of every level.
func hello(t *testing.T, d *harness.Demo) {
	c := dial(t, d.Addr("imap"), nil)
	c.imap("LOGIN u1 wrong")
	c.imap("LOGIN u1 pass")
	c.imap("LOGOUT")
	c.drain()
}

// log_path, info_log_path and debug_log_path part the lines by their level;
// SIGUSR1 opens the files anew after a rotation, and no line is lost.
func TestFilesByLevelAndRotation(t *testing.T) {
	harness.NeedRoot(t)
	d := harness.Prepare(t)
	flags := []string{"--users", "1", "--empty"}
	d.Write(flags...)
	path := func(level string) string { return filepath.Join(d.Dir, level+".log") }
	d.Set(`auth_failure_delay = "0"`, `auth_debug = true`, `auth_verbose_passwords = "sha1:1"`, fmt.Sprintf("log_path = %q", path("error")), fmt.Sprintf("info_log_path = %q", path("info")), fmt.Sprintf("debug_log_path = %q", path("debug")))
	d.Start(flags...)
	hello(t, d)
	eventually(t, "the lines", func() bool { return strings.Contains(read(path("info")), "Disconnected: Logged out") })
	levels := map[string]string{"error": "Warning|Error|Fatal|Panic", "info": "Info", "debug": "Debug"}
	for name, words := range levels {
		text := read(path(name))
		level := regexp.MustCompile(`^[A-Z][a-z]{2} \d\d [\d:]{8} [^ ]+: (` + words + `): `)
		for line := range strings.Lines(text) {
			if !level.MatchString(line) {
				t.Errorf("%s.log has %s", name, line)
			}
		}
		if text == "" {
			t.Errorf("%s.log is empty", name)
		}
		if info, err := os.Stat(path(name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s.log: %v %v", name, info, err)
		}
	}
	if !regexp.MustCompile(`auth: Debug: client in: AUTH \d+ PLAIN service=imap secured session=\S{16} lip=127\.0\.0\.1 rip=127\.0\.0\.1 lport=\d+ rport=\d+ resp=<hidden>\n`).MatchString(read(path("debug"))) {
		t.Errorf("no line of the request:\n%s", read(path("debug")))
	}

	for name := range levels {
		if err := os.Rename(path(name), path(name)+".1"); err != nil {
			t.Fatal(err)
		}
	}
	hello(t, d) // still into the old ones
	eventually(t, "lines in the old file", func() bool {
		return strings.Count(read(path("info")+".1"), "Disconnected: Logged out") == 2
	})
	syscall.Kill(masterOf(t, d), syscall.SIGUSR1)
	eventually(t, "the line of it", func() bool { // it may come a moment before or after the change itself
		return strings.Contains(read(path("info")+".1")+read(path("info")), "master: Info: log files are reopened\n")
	})
	eventually(t, "the new file", func() bool { _, err := os.Stat(path("info")); return err == nil })
	eventually(t, "lines in it", func() bool {
		dial(t, d.Addr("imap"), nil).close()
		return read(path("info")) != ""
	})
	hello(t, d)
	eventually(t, "lines in the new file", func() bool { return strings.Contains(read(path("info")), "Disconnected: Logged out") })
	if n := strings.Count(read(path("info")+".1"), "Disconnected: Logged out"); n != 2 {
		t.Errorf("%d sessions in the old file, want 2", n)
	}
	if read(path("debug")) == "" {
		t.Error("the debug file was not opened anew")
	}
}

// log_format = "json": an object a line, with the same words.
func TestJSONLines(t *testing.T) {
	harness.NeedRoot(t)
	d := harness.StartWith(t, []string{`log_format = "json"`, `auth_failure_delay = "0"`, `auth_verbose = true`}, "--users", "1", "--empty")
	before := len(d.Log())
	hello(t, d)
	eventually(t, "the lines", func() bool { // login's may come after the worker's: it waits to learn the worker's pid
		text := d.Log()[before:]
		return strings.Contains(text, "Disconnected: Logged out") && strings.Contains(text, "Login: user=")
	})
	var got []string
	for line := range strings.Lines(d.Log()[before:]) {
		var o map[string]any
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if o["@module"] == "master" {
			continue // no session's
		}
		session, _ := o["session"].(string)
		if len(session) != 16 || o["pid"].(float64) < 2 || o["@timestamp"] == "" {
			t.Errorf("line %s", line)
		}
		user, _ := o["user"].(string)
		message := regexp.MustCompile(`in=\d+ out=\d+`).ReplaceAllString(strings.ReplaceAll(o["@message"].(string), session, "S"), "in=N out=N")
		got = append(got, fmt.Sprintf("%s %s [%s] %s", o["@level"], o["@module"], user, regexp.MustCompile(`mpid=\d+`).ReplaceAllString(message, "mpid=PID")))
	}
	for _, want := range []string{
		"info auth [] passwd-file(u1@example.test,127.0.0.1,<S>): Password mismatch",
		"info imap-login [] Login: user=<u1@example.test>, method=PLAIN, rip=127.0.0.1, lip=127.0.0.1, mpid=PID, secured, session=<S>",
		"info imap [u1@example.test] Disconnected: Logged out in=N out=N deleted=0 expunged=0 trashed=0 hdr_count=0 hdr_bytes=0 body_count=0 body_bytes=0",
	} {
		if !strings.Contains(strings.Join(got, "\n")+"\n", want+"\n") {
			t.Errorf("no line %s in\n%s", want, strings.Join(got, "\n"))
		}
	}
}

// The settings that change how lines look.
func TestLinesAsConfigured(t *testing.T) {
	harness.NeedRoot(t)
	d := harness.StartWith(t, []string{`log_timestamp = "%Y-%m-%dT%H:%M:%S.%L "`, `mail_log_prefix = "%{protocol}[%{process:pid}] %{user | username} {%{session}}: "`, `auth_failure_delay = "0"`,
		`login_log_format_elements = "rip=%{remote_ip}:%{remote_port} %{user | upper} %{ssl_security} %{listener} s=%{session}"`,
		`imap_logout_format = "%{input}/%{output}"`}, "--users", "1", "--empty")
	before := len(d.Log())
	hello(t, d)
	c := dial(t, d.Addr("imaps"), trust(t, d))
	c.imap("LOGIN u1 wrong")
	c.close()
	const stamp = `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3} `
	for _, want := range []string{
		stamp + `imap-login: Info: Login: rip=127\.0\.0\.1:\d+, U1@EXAMPLE\.TEST, imap, s=[A-Za-z0-9+/]{16}$`,
		stamp + `imap\[\d+\] u1 \{[A-Za-z0-9+/]{16}\}: Info: Disconnected: Logged out 11/\d+$`,
		stamp + `imap-login: Info: Disconnected \(auth failed, 1 attempts in \d+ secs\): rip=127\.0\.0\.1:\d+, U1, TLSv1\.3 with cipher TLS_[A-Z0-9_]+, imaps, s=\S+$`,
	} {
		form := regexp.MustCompile("(?m)" + want)
		eventually(t, want+" in\n"+d.Log()[before:], func() bool { return form.MatchString(d.Log()[before:]) })
	}
}

// rookeryctl log debug, and log_debug: lines of one user or address and of nobody else.
func TestDebugOfOneUser(t *testing.T) {
	harness.NeedRoot(t)
	d := harness.StartWith(t, []string{`auth_failure_delay = "0"`}, "--users", "2", "--empty")
	try := func(user, from string) string {
		before := len(d.Log())
		c := dialFrom(t, d.Addr("imap"), from)
		c.imap("LOGIN %s wrong", user)
		c.imap("LOGIN %s pass", user)
		c.imap("LOGOUT")
		c.close()
		eventually(t, "the session's end", func() bool { return strings.Contains(d.Log()[before:], "Disconnected: Logged out") })
		return d.Log()[before:]
	}
	debug := func(step, log string, want bool) {
		t.Helper()
		if strings.Contains(log, "auth: Debug: ") != want {
			t.Errorf("%s: debug lines %v, want %v:\n%s", step, !want, want, log)
		}
	}
	debug("nobody", try("u1", "127.0.0.1"), false)
	d.MustCtl("log", "debug", "user=u1@example.test")
	log := try("u1", "127.0.0.1")
	debug("u1", log, true)
	if !strings.Contains(log, "passwd-file(u1@example.test,127.0.0.1,<") || strings.Contains(log, "= 'pass'") {
		t.Errorf("u1's lines:\n%s", log)
	}
	debug("u2 while u1 is watched", try("u2", "127.0.0.1"), false)
	d.MustCtl("log", "debug", "remote_ip=127.0.0.7")
	debug("another address", try("u1", "127.0.0.1"), false)
	debug("the address", try("u2", "127.0.0.7"), true)
	d.MustCtl("log", "debug", "off")
	debug("off", try("u2", "127.0.0.7"), false)
	d.Set(`auth_failure_delay = "0"`, `log_debug = ["remote_ip=127.0.0.0/30"]`)
	d.MustCtl("reload")
	debug("log_debug", try("u2", "127.0.0.2"), true)
	debug("outside log_debug's network", try("u2", "127.0.0.7"), false)
}
