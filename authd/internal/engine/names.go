package engine

import (
	"fmt"
	"strings"

	"rookery/authd/internal/authdb"
	"rookery/internal/saslprep"
	"rookery/internal/settings"
)

// userName turns what a client wrote into a user's name: SASLprep, default
// domain, auth_username_chars, auth_username_format, in this order. The error
// is for the log; to the client the user is unknown.
func (c *Config) userName(given string) (string, error) {
	name, err := saslprep.Prepare(given)
	if err != nil {
		return "", fmt.Errorf("user name %w", err)
	}
	if c.DefaultDomain != "" && !strings.Contains(name, "@") {
		name += "@" + c.DefaultDomain
	}
	if c.UsernameChars != "" {
		for i := 0; i < len(name); i++ {
			if strings.IndexByte(c.UsernameChars, name[i]) < 0 {
				//lint:ignore ST1005 Dovecot's words
				return "", fmt.Errorf("Username character disallowed by auth_username_chars: 0x%02x (username: %s)", name[i], logName(name))
			}
		}
	}
	if !c.UsernameFormat.Empty() {
		if name, err = c.UsernameFormat.Expand(settings.Vars{"user": name}); err != nil {
			return "", fmt.Errorf("auth_username_format: %w", err)
		}
	}
	for _, r := range name {
		if r < 0x20 || r == 0x7f {
			return "", fmt.Errorf("user name holds a control character")
		}
	}
	local, domain, _ := strings.Cut(name, "@")
	if name != "" && (local == "" || strings.HasSuffix(name, "@") || dots(local) || dots(domain) || dots(name)) {
		return "", fmt.Errorf("user name with an empty part or one of dots alone, which in a path would name the folder of all users")
	}
	if name == "" || len(name) > authdb.MaxName {
		return "", fmt.Errorf("user name has %d bytes after auth_username_format, 1 to %d may be", len(name), authdb.MaxName)
	}
	return name, nil
}

func dots(s string) bool { return s == "." || s == ".." }

// splitMaster takes "user<separator>master" apart; master is "" without one.
func (c *Config) splitMaster(authcid string) (user, master string) {
	if c.MasterSeparator == "" {
		return authcid, ""
	}
	user, master, found := strings.Cut(authcid, c.MasterSeparator)
	if !found || user == "" {
		return authcid, ""
	}
	return user, master
}

// vars are the variables that database paths and fields know.
func (x *exchange) vars(user string) settings.Vars {
	secured := ""
	if x.peer.TLS {
		secured = "TLS"
	} else if x.peer.Secured {
		secured = "secured"
	}
	local := ""
	if x.peer.Local.IsValid() {
		local = x.peer.Local.Addr().Unmap().String()
	}
	auth := x.authcid
	if x.master != "" {
		auth = x.master
	}
	return settings.Vars{"user": user, "protocol": x.peer.Service, "local_name": x.peer.TLSServerName, "local_ip": local,
		"remote_ip": x.ip, "session": x.peer.Session, "mechanism": x.mech, "secured": secured, "auth_user": auth,
		"original_user": x.authcid, "login_user": x.loginUser, "master_user": x.master}
}
