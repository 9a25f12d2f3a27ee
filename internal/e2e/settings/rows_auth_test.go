package settings

import (
	"fmt"
	"strings"
)

const (
	okLogin = `.*OK .*Logged in`
	noAuth  = `NO \[AUTHENTICATIONFAILED\] .*`
	noAvail = `NO \[UNAVAILABLE\] .*`
)

func asUser(command string) func(r *rig) string {
	return func(r *rig) string { return r.imap(command) }
}

// authRows: 10-auth.
func authRows() []row {
	return []row{
		{name: "auth_mechanisms", lines: one(`auth_mechanisms = ["scram-sha-256"]`), without: `AUTH=CRAM-MD5 AUTH=LOGIN AUTH=PLAIN AUTH=SCRAM-SHA-1 AUTH=SCRAM-SHA-256`, with: `AUTH=SCRAM-SHA-256`,
			probe: func(r *rig) string {
				var found []string
				c := r.open(r.Addr("imap"), nil)
				defer c.close()
				for _, w := range strings.Fields(strings.ReplaceAll(c.line(), "]", " ")) {
					if strings.HasPrefix(w, "AUTH=") {
						found = append(found, w)
					}
				}
				return strings.Join(sorted(found), " ")
			}},
		{name: "auth_allow_cleartext", unit: "login.TestPasswordsNeedPrivacy"},
		{name: "auth_username_chars", lines: one(`auth_username_chars = "abc"`), without: `Login: user=<u1@`, with: "Username character disallowed by auth_username_chars: 0x75",
			probe: func(r *rig) string {
				return r.logged(`Username character disallowed by auth_username_chars: 0x75|Login: user=<u1@`, func() { r.imap(loginU1, "LOGOUT") })
			}},
		{name: "auth_default_domain", lines: one(`auth_default_domain = "nowhere.test"`), without: okLogin, with: noAuth, probe: asUser(loginU1)},
		{name: "auth_master_user_separator", lines: masters(`auth_master_user_separator = "*"`, `auth_default_domain = ""`), without: noAuth, with: okLogin, probe: asUser(`LOGIN "u1@example.test*admin" adminpass`)},
		{name: "auth_anonymous_username", lines: []string{`auth_mechanisms = ["plain", "anonymous"]`, `auth_anonymous_username = "u2@example.test"`}, without: `NO .*`, with: `.*OK .*Logged in`,
			probe: asUser(`AUTHENTICATE ANONYMOUS eA==`)},
		{name: "auth_failure_delay", lines: one(`auth_failure_delay = "1 secs"`), without: "fast", with: "slow",
			probe: func(r *rig) string { return fast(func() { r.imap("LOGIN u1 wrong") }) }},
		{name: "auth_internal_failure_delay", lines: one(`auth_internal_failure_delay = "1 secs"`), without: "fast", with: "slow",
			probe: func(r *rig) string { return fast(func() { r.imap("LOGIN what pass") }) }},
		{name: "auth_penalty", lines: one(`auth_penalty = false`), without: "slow", with: "fast",
			probe: func(r *rig) string { // from an address that is not exempt
				c := openFrom("127.0.0.46", r.Addr("imap"), nil)
				defer c.close()
				c.line()
				c.imap("LOGIN u1 wrong1")
				c.imap("LOGIN u1 wrong2")
				return fast(func() { c.imap("LOGIN u1 wrong3") })
			}},
		{name: "auth_allow_weak_schemes", lines: one(`auth_allow_weak_schemes = true`), without: noAvail, with: okLogin, probe: asUser("LOGIN weak pass")},
		{name: "auth_hash_process_limit", unit: "authd.TestSettingsReachTheirPlace"},
		{name: "auth_hash_memory_limit", unit: "authd.TestMemoryLimit"},
		{name: "auth_ticket_lifetime", unit: "authd.TestSettingsReachTheirPlace"},
		{name: "auth_username_format", lines: one(`auth_username_format = "%{user | upper}"`), without: okLogin, with: noAuth, probe: asUser(loginU1)},
	}
}

// masters adds a database of master users.
func masters(lines ...string) []string {
	return append(lines, `[[passdb]]`, `name = "masters"`, `driver = "passwd-file"`, `master = true`, `passwd_file_path = "DIR/masters"`)
}

// database makes a passdb or userdb of a file, with more lines.
func database(table, name, file string, more ...string) []string {
	return append([]string{"[[" + table + "]]", fmt.Sprintf("name = %q", name), `driver = "passwd-file"`, fmt.Sprintf("passwd_file_path = \"DIR/%s\"", file)}, more...)
}

func join(parts ...[]string) []string {
	var all []string
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// second stands behind the demo's own passdb: u1's password is another there.
func second(more ...string) []string { return database("passdb", "second", "second", more...) }

// demoDB is the demo's passdb with more.
func demoDB(more ...string) []string { return database("passdb", "demo", "users", more...) }

// databaseRows: 11-auth-databases.
func databaseRows() []row {
	const other = "LOGIN u1 second"
	static := func(fields string) []string {
		return []string{`[[userdb]]`, `name = "demo"`, `driver = "static"`, `fields = { ` + fields + ` }`}
	}
	mine := `uid = "58901", gid = "58901", home = "DIR/mail/static"`
	return []row{
		{name: "passdb.name", lines: database("passdb", "demo", "second"), without: noAuth, with: okLogin, probe: asUser(other)}, // it replaces the one of this name
		{name: "passdb.enabled", lines: join(second(), []string{`[[passdb]]`, `name = "demo"`, `enabled = false`}), without: okLogin, with: noAuth, probe: asUser(loginU1)},
		{name: "passdb.driver", lines: []string{`[[passdb]]`, `name = "demo"`, `driver = "shadow"`}, without: okLogin, with: noAuth, probe: asUser(loginU1)},
		{name: "passdb.driver", lines: []string{`[[passdb]]`, `name = "demo"`, `driver = "static"`, `fields = { "password" = "{PLAIN}second" }`}, without: noAuth, with: okLogin, probe: asUser(other)},
		{name: "passdb.default_password_scheme", lines: demoDB(`default_password_scheme = "PLAIN"`), without: noAvail, with: okLogin, probe: asUser("LOGIN plain pass")},
		{name: "passdb.deny", lines: join([]string{`[[passdb]]`, `name = "demo"`, `enabled = false`}, database("passdb", "denied", "denied", "deny = true"), database("passdb", "users", "users")),
			without: okLogin, with: noAuth, probe: asUser(loginU1)},
		{name: "passdb.master", lines: masters(`auth_master_user_separator = "*"`, `auth_default_domain = ""`), without: noAuth, with: okLogin, probe: asUser(`LOGIN "u2@example.test*admin" adminpass`)},
		{name: "passdb.skip", instead: second(), lines: second(`skip = "unauthenticated"`), without: okLogin, with: noAuth, probe: asUser(other)},
		{name: "passdb.mechanisms_filter", instead: second(), lines: second(`mechanisms_filter = ["cram-md5"]`), without: okLogin, with: noAuth, probe: asUser(other)},
		{name: "passdb.username_filter", instead: second(), lines: second(`username_filter = ["!u1@*"]`), without: okLogin, with: noAuth, probe: asUser(other)},
		{name: "passdb.passwd_file_path", lines: second(), without: noAuth, with: okLogin, probe: asUser(other)},
		{name: "passdb.username_format", lines: database("passdb", "bare", "bare", `username_format = "%{user | username}"`), without: noAuth, with: okLogin, probe: asUser("LOGIN u1 bare")},
		{name: "passdb.fields", lines: demoDB(`fields = { "allow_nets" = "192.0.2.0/24" }`), without: okLogin, with: noAuth, probe: asUser(loginU1)},
		{name: "passdb.result_success", lines: demoDB(`result_success = "return-fail"`), without: okLogin, with: noAuth, probe: asUser(loginU1)},
		{name: "passdb.result_failure", instead: second(), lines: join(demoDB(`result_failure = "return-fail"`), second()), without: okLogin, with: noAuth, probe: asUser(other)},
		{name: "passdb.result_internalfail", instead: second(), lines: join(demoDB(`result_internalfail = "return-fail"`), second()), without: okLogin, with: noAvail, probe: asUser("LOGIN what second")},
		{name: "userdb.name", lines: static(mine), without: `u1`, with: `58901 .*`, probe: uidOfU1},
		{name: "userdb.enabled", lines: join(database("userdb", "bare", "bare"), []string{`[[userdb]]`, `name = "demo"`, `enabled = false`}), without: okLogin, with: `NO .*`, probe: asUser(loginU1)},
		{name: "userdb.driver", lines: static(mine), without: `u1`, with: `58901 .*`, probe: uidOfU1},
		{name: "userdb.skip", unit: "authd/internal/authdb.TestUserdbs"},
		{name: "userdb.passwd_file_path", lines: database("userdb", "demo", "bare"), without: okLogin, with: `NO .*`, probe: asUser(loginU1)},
		{name: "userdb.username_format", lines: database("userdb", "demo", "bare", `username_format = "%{user | username}"`), instead: database("userdb", "demo", "bare"), without: `NO .*`, with: okLogin, probe: asUser(loginU1)},
		{name: "userdb.fields", lines: database("userdb", "demo", "users", `fields = { "gid" = "58902" }`), without: `u1`, with: `.* 58902`, probe: uidOfU1},
		{name: "userdb.result_success", lines: database("userdb", "demo", "users", `result_success = "return-fail"`), without: okLogin, with: `NO .*`, probe: asUser(loginU1)},
		{name: "userdb.result_failure", unit: "authd/internal/authdb.TestUserdbs"},
		{name: "userdb.result_internalfail", unit: "authd/internal/authdb.TestUserdbs"},
	}
}

// uidOfU1 gives "u1" where a session of u1 runs under his own uid and gid, else both.
func uidOfU1(r *rig) string {
	own := strings.SplitN(read(r.path("users")), ":", 4)[2]
	c, pid, answer := r.session(loginU1)
	defer c.close()
	if pid == 0 {
		return answer
	}
	uid, gid := strings.Fields(field(pid, "Uid"))[0], strings.Fields(field(pid, "Gid"))[0]
	if uid == own && gid == own {
		return "u1"
	}
	return uid + " " + gid
}
