package settings

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// processRows: rookery.toml, 10-limits.
func processRows() []row {
	fixed := "internal/e2e/settings.TestSettingsOfTheStart"
	return []row{
		{name: "hostname", lines: one(`hostname = "mx.example.org"`), without: `\+OK .*@localhost>`, with: `\+OK .*@mx\.example\.org>`,
			probe: func(r *rig) string { c := r.open(r.Addr("pop3"), nil); defer c.close(); return c.line() }},
		{name: "base_dir", unit: fixed},
		{name: "state_dir", unit: fixed},
		{name: "control_socket_path", unit: fixed},
		{name: "libexec_dir", unit: fixed},
		{name: "login_user", unit: fixed},
		{name: "auth_user", unit: fixed},
		{name: "log_user", unit: fixed},

		{name: "mail_max_userip_connections", unit: "internal/e2e/logs.TestRefusalShapes"},
		{name: "mail_max_user_connections", lines: one(`mail_max_user_connections = 1`), without: `.*OK .*Logged in`, with: `NO \[LIMIT\] .*mail_max_user_connections=1.*`,
			probe: func(r *rig) string {
				c := r.open(r.Addr("imap"), nil)
				defer c.close()
				c.line()
				c.imap(loginU1)
				return r.imap(loginU1)
			}},
		{name: "worker_process_limit", lines: []string{`worker_process_limit = 1`, `worker_process_min_avail = 0`}, without: `.*OK .*Logged in`, with: `NO \[(UNAVAILABLE|LIMIT)\] .*`,
			probe: func(r *rig) string {
				c := r.open(r.Addr("imap"), nil)
				defer c.close()
				c.line()
				c.imap(loginU1)
				return r.imap("LOGIN u2 pass")
			}},
		{name: "worker_process_min_avail", lines: shared(3), instead: shared(1), without: `1`, with: `3`,
			probe: func(r *rig) string {
				c := r.open(r.Addr("pop3"), nil)
				defer c.close()
				c.line()
				c.pop("USER u1")
				c.pop("PASS pass") // the first login fills the pool
				waiting := 0
				for _, pid := range r.procs("rookery-pop3worker") {
					if strings.Contains(read(fmt.Sprintf("/proc/%d/status", pid)), "\nUid:\t58999\t") {
						waiting++
					}
				}
				return fmt.Sprint(waiting - 1)
			}},
		{name: "worker_idle_kill_interval", lines: one(`worker_idle_kill_interval = "0"`), without: "stays", with: "goes",
			probe: func(r *rig) string {
				before := r.procs("rookery-imapworker")
				r.imap("LOGIN u3 pass", "LOGOUT")
				time.Sleep(300 * time.Millisecond)
				if len(r.procs("rookery-imapworker")) > len(before) {
					return "stays"
				}
				return "goes"
			}},
		{name: "worker_memory_limit", lines: one(`worker_memory_limit = "64 MiB"`), without: `GOMEMLIMIT=268435456`, with: `GOMEMLIMIT=67108864`,
			probe: func(r *rig) string {
				c, pid, _ := r.session(loginU1)
				defer c.close()
				environ := read(fmt.Sprintf("/proc/%d/environ", pid))
				return regexp.MustCompile(`GOMEMLIMIT=\d+`).FindString(environ)
			}},
		{name: "limits_exempt_networks", instead: one(`login_unauthenticated_userip_limit = 1`), lines: []string{`limits_exempt_networks = ["127.0.0.1/32", "127.0.0.44/32"]`, `login_unauthenticated_userip_limit = 1`}, without: `BYE .*`, with: `OK .*`,
			probe: func(r *rig) string { return exempt(r, "127.0.0.44") }},
		{name: "worker_guest_process_limit", unit: "master.TestGuestProcessesHaveTheirOwnLimit"},
		{name: "mail_max_guest_connections", unit: "master/internal/policy.TestGuestLimits"},
		{name: "mail_max_guests", unit: "master/internal/policy.TestGuestLimits"},
		{name: "shutdown_timeout", unit: fixed},
		{name: "reload_generation_limit", unit: "master.TestReloadGenerations"},
	}
}

// shared has one uid for all users, and spares for them.
func shared(spares int) []string {
	return []string{fmt.Sprintf(`worker_process_min_avail = %d`, spares), `mail_uid = "58999"`, `mail_gid = "58999"`, `mail_home = "DIR/mail/58999"`,
		`[[userdb]]`, `name = "demo"`, `driver = "static"`}
}

// exempt gives the greeting of the third connection from an address that does
// not log in.
func exempt(r *rig, from string) string {
	var last string
	for range 3 {
		c := openFrom(from, r.Addr("imap"), nil)
		defer c.close()
		last = strings.TrimPrefix(c.line(), "* ")
	}
	return last
}

// loggingRows: 10-logging. The lines have tests of their own.
func loggingRows() []row {
	const logs = "internal/e2e/logs."
	return []row{
		{name: "auth_verbose", unit: logs + "TestPasswordsStandNowhere"},
		{name: "auth_verbose_passwords", unit: logs + "TestPlainPasswordsAsSpecified"},
		{name: "auth_debug", unit: logs + "TestFilesByLevelAndRotation"},
		{name: "auth_debug_passwords", unit: logs + "TestDebugPasswordsAsSpecified"},
		{name: "log_path", unit: logs + "TestFilesByLevelAndRotation"},
		{name: "info_log_path", unit: logs + "TestFilesByLevelAndRotation"},
		{name: "debug_log_path", unit: logs + "TestFilesByLevelAndRotation"},
		{name: "syslog_facility", unit: logs + "TestFail2banReadsSyslog"},
		{name: "syslog_tag", unit: logs + "TestFail2banReadsSyslog"},
		{name: "log_format", unit: logs + "TestJSONLines"},
		{name: "log_timestamp", unit: logs + "TestLinesAsConfigured"},
		{name: "log_debug", unit: logs + "TestDebugOfOneUser"},
		{name: "mail_log_prefix", unit: logs + "TestLinesAsConfigured"},
		{name: "rawlog_dir", unit: logs + "TestPasswordsStandNowhere"},
	}
}

// loginRows: 10-login.
func loginRows() []row {
	return []row{
		{name: "login_greeting", lines: one(`login_greeting = "Good day."`), without: `\* OK \[CAPABILITY .*\] Rookery ready\.`, with: `\* OK \[CAPABILITY .*\] Good day\.`,
			probe: func(r *rig) string { c := r.open(r.Addr("imap"), nil); defer c.close(); return c.line() }},
		{name: "login_timeout", unit: "internal/e2e/logs.TestLineShapes"},
		{name: "login_bad_command_limit", lines: one(`login_bad_command_limit = 5`), without: `3`, with: `5`,
			probe: func(r *rig) string {
				c := r.open(r.Addr("imap"), nil)
				defer c.close()
				c.line()
				for n := range 9 {
					c.write("a b\r\n")
					if !strings.HasPrefix(c.line(), "a BAD") {
						return fmt.Sprint(n)
					}
				}
				return "more"
			}},
		{name: "login_trusted_networks", unit: "login.TestTrustedClientSpeaksForOthers"},
		{name: "login_high_security", unit: "master.TestRealHighSecurity"},
		{name: "login_process_min_avail", lines: one(`login_process_min_avail = 5`), without: `[1-4]`, with: `5`,
			probe: func(r *rig) string { return fmt.Sprint(len(r.procs("rookery-login"))) }},
		{name: "login_unauthenticated_client_limit", lines: []string{`login_unauthenticated_client_limit = 2`, `login_process_min_avail = 1`}, without: `t1 OK NOOP completed\.|OK .*`, with: `\* BYE .*Too many connections that have not logged in\..*|.*closed`,
			probe: func(r *rig) string {
				c := r.open(r.Addr("imap"), nil)
				defer c.close()
				c.line()
				for range 3 {
					other := r.open(r.Addr("imap"), nil)
					defer other.close()
					other.line()
				}
				return c.imap("NOOP")
			}},
		{name: "login_unauthenticated_userip_limit", lines: []string{`login_unauthenticated_userip_limit = 1`, `login_process_min_avail = 1`}, without: `OK .*`, with: `BYE .*`,
			probe: func(r *rig) string { return exempt(r, "127.0.0.45") }},
		{name: "login_client_limit", lines: []string{`login_client_limit = 10`, `login_unauthenticated_client_limit = 10`, `login_process_min_avail = 1`}, without: `\* OK .*`, with: `\* BYE .*|closed|refused`,
			probe: func(r *rig) string { // sessions with TLS, which login relays
				for range 10 {
					c := r.open(r.Addr("imaps"), r.trust())
					defer c.close()
					c.line()
					c.imap(loginU1)
				}
				c := r.open(r.Addr("imap"), nil)
				defer c.close()
				return c.line()
			}},
		{name: "login_request_limit", unit: "login.TestCredits"},
		{name: "haproxy_timeout", lines: append([]string{`haproxy_timeout = "100 ms"`}, proxied...), without: `refused`, with: `fast`,
			probe: func(r *rig) string {
				c := r.open(r.proxyAddr(), nil)
				if c.Conn == nil {
					return "refused" // there is no such listener without these lines
				}
				defer c.close()
				return fast(func() { c.line() })
			}},
		{name: "haproxy_trusted_networks", unit: "internal/e2e/logs.TestBehindStunnel"},
		{name: "login_log_format_elements", unit: "internal/e2e/logs.TestLinesAsConfigured"},
	}
}

// proxied is a listener that wants a PROXY header.
var proxied = []string{`haproxy_trusted_networks = ["127.0.0.0/8"]`, `[[listener]]`, `name = "proxied"`, `protocol = "imap"`, `haproxy = true`, `path = "DIR/proxied"`, `mode = "0666"`}

func (r *rig) proxyAddr() string { return r.path("proxied") }
