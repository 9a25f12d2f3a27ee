package settings

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

const fileLogging = "10-logging"

var facilityWords = []string{"auth", "authpriv", "cron", "daemon", "ftp", "kern", "local0", "local1", "local2", "local3", "local4",
	"local5", "local6", "local7", "lpr", "mail", "news", "syslog", "user", "uucp"}

// The settings of logging; those of authentication's logging stand in decl_auth.go.
var (
	LogPath = str("log_path", "syslog", RoleMaster|RoleLogd, fileLogging,
		`Where warnings and errors go, and all else that has no path of its own: "syslog", "stderr" (the journal, under systemd), or a file.`,
		checked(logPath))

	InfoLogPath = str("info_log_path", "", RoleMaster|RoleLogd, fileLogging,
		`Where informational lines go: logins, logouts, failures. Empty: log_path.`, checked(logPath))

	DebugLogPath = str("debug_log_path", "", RoleMaster|RoleLogd, fileLogging,
		`Where debug lines go. Empty: info_log_path.`, checked(logPath))

	SyslogFacility = enum("syslog_facility", "mail", RoleMaster|RoleLogd, fileLogging,
		`The facility of lines that go to syslog.`, words(facilityWords...))

	SyslogTag = str("syslog_tag", "dovecot", RoleMaster|RoleLogd, fileLogging,
		`The program name of each line in syslog; in the journal the unit sets it. "dovecot" is what fail2ban's filter of that name looks for.`,
		checked(func(v any) error {
			if s := v.(string); s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("[]:", r) }) {
				return fmt.Errorf("%q cannot be a syslog tag; use letters, digits, - and _", s)
			}
			return nil
		}))

	LogFormat = enum("log_format", "text", RoleMaster|RoleLogd, fileLogging,
		`"text" for people and fail2ban: Dovecot's lines; "json" for machines: one object per line.`, words("text", "json"))

	LogTimestamp = str("log_timestamp", "%b %d %H:%M:%S ", RoleMaster|RoleLogd, fileLogging,
		`How a line in a file begins, in strftime(3)'s letters; syslog and the journal have their own time.`, checked(printable))

	LogDebug = list("log_debug", []string{}, RoleMaster|RoleLogin|RoleAuthd|RoleLogd|RoleWorkers, fileLogging,
		`Debug lines for some sessions only: each entry is "user=NAME" or "remote_ip=ADDRESS" or "remote_ip=NETWORK". Passwords are hidden as with auth_debug. "rookeryctl log debug" does the same on the running server, until it is stopped.`,
		checked(func(v any) error {
			for _, entry := range v.([]string) {
				if _, err := ParseDebugFilter(entry); err != nil {
					return err
				}
			}
			return nil
		}))

	MailLogPrefix = template("mail_log_prefix", "%{protocol}(%{user})<%{process:pid}><%{session}>: ",
		[]string{"user", "protocol", "process:pid", "session"}, RoleMaster|RoleLogd, fileLogging,
		`How the lines of a user's mail process begin. logd fills it in: no process can choose another's name.`)

	RawlogDir = template("rawlog_dir", "", []string{"user", "home", "protocol"}, RoleWorkers, fileLogging,
		`A folder such as "%{home}/rawlog". Where a user has that folder, what client and server say after the login is written there, one pair of files (.in, .out) for each session. The folder is never made: making it turns this on for that user. Logins never reach these files.`,
		paths(), perUser(), danger("The files hold whole messages and searches of that user; delete them after use."))
)

func logPath(v any) error {
	s := v.(string)
	if s == "" || s == "syslog" || s == "stderr" || s == "/dev/stderr" || strings.HasPrefix(s, "/") && !strings.ContainsRune(s, 0) {
		return nil
	}
	return fmt.Errorf(`%q must be "syslog", "stderr" or an absolute path`, s)
}

// DebugFilter is one entry of log_debug: either a user or a network.
type DebugFilter struct {
	User    string
	Network netip.Prefix
}

// Matches reports whether the filter selects a session. user may be empty
// (not logged in yet); addr may be invalid (a Unix socket).
func (f DebugFilter) Matches(user string, addr netip.Addr) bool {
	if f.User != "" {
		return f.User == user
	}
	return addr.IsValid() && f.Network.Contains(addr.Unmap())
}

// ParseDebugFilter reads one entry of log_debug.
func ParseDebugFilter(entry string) (DebugFilter, error) {
	name, value, _ := strings.Cut(entry, "=")
	switch {
	case value == "":
	case name == "user":
		return DebugFilter{User: value}, nil
	case name == "remote_ip":
		p, err := parseNetwork(value)
		return DebugFilter{Network: p}, err
	}
	return DebugFilter{}, errors.New(quote(entry) + ` is no filter; write "user=NAME" or "remote_ip=192.0.2.7" or "remote_ip=192.0.2.0/24"`)
}
