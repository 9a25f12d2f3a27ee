package settings

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

const fileAuth = "10-auth"

// mechanisms that this release has, in the order of the documents.
var mechanismWords = []string{"plain", "login", "scram-sha-256", "scram-sha-1", "cram-md5", "apop", "anonymous"}

// The settings of authentication. authd does the work; login needs to know
// what to offer.
var (
	AuthMechanisms = wordList("auth_mechanisms", []string{"plain"}, RoleLogin|RoleAuthd, fileAuth,
		`SASL mechanisms that clients may use. PLAIN and LOGIN work with every stored password; SCRAM-SHA-256 needs a {SCRAM-SHA-256} or {PLAIN} one, SCRAM-SHA-1 (for old clients) a {SCRAM-SHA-1} or {PLAIN} one, CRAM-MD5 a {CRAM-MD5} or {PLAIN} one, APOP (POP3) a {PLAIN} one. The IMAP command LOGIN and the POP3 commands USER and PASS belong to PLAIN. ANONYMOUS lets everybody in as auth_anonymous_username.`,
		words(mechanismWords...))

	AuthAllowCleartext = boolean("auth_allow_cleartext", false, RoleLogin|RoleAuthd, fileAuth,
		`Accept passwords that cross the network unencrypted: LOGIN, USER and PASS, PLAIN and LOGIN on a connection without TLS. Connections from this machine itself and from login_trusted_networks count as secured without this, unless ssl = "required". Contradicts ssl = "required".`,
		danger("Whoever listens on the way reads the passwords."))

	AuthUsernameFormat = template("auth_username_format", "%{user | lower}", []string{"user"}, RoleAuthd, fileAuth,
		`How the name that a client gives becomes the user's name, before any database is asked. "%{user | username}" drops the domain.`,
		checked(func(v any) error {
			if t := v.(Template); !t.Empty() && !t.Uses("user") {
				return errors.New("must use %{user}, else all users are one")
			}
			return nil
		}))

	AuthUsernameChars = str("auth_username_chars", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ01234567890.-_@", RoleAuthd, fileAuth,
		`Characters that a user name may have; a name with another one is refused as an unknown user. Empty means all, and then "/" and ".." in a name are still refused wherever a name becomes part of a path.`)

	AuthDefaultDomain = str("auth_default_domain", "", RoleAuthd, fileAuth,
		`Domain that is added, as "@domain", to a user name that has none. Empty adds nothing.`)

	AuthMasterUserSeparator = str("auth_master_user_separator", "", RoleAuthd, fileAuth,
		`Character between the user and the master user in a login name: with "*", "ann*admin" is the master user admin who logs in as ann, with admin's password. Empty turns that form off; SASL's authorization identity still works. Master users stand in a [[passdb]] with master = true.`,
		checked(func(v any) error {
			if s := v.(string); len([]rune(s)) > 1 {
				return fmt.Errorf("%q has more than one character", s)
			}
			return nil
		}))

	AuthAnonymousUsername = str("auth_anonymous_username", "anonymous", RoleAuthd, fileAuth,
		`User name of clients that log in with the mechanism ANONYMOUS.`, checked(notEmpty))

	AuthFailureDelay = duration("auth_failure_delay", 2*time.Second, RoleAuthd, fileAuth,
		`How long a failed login waits for its answer at most. Failures are answered together, which hides what failed. 0 answers at once.`,
		spanDuration(0, time.Minute))

	AuthInternalFailureDelay = duration("auth_internal_failure_delay", 2*time.Second, RoleAuthd, fileAuth,
		`The same for failures that are not the client's: a database cannot be read. Up to half of it is added at random, so that clients do not come back all at once.`,
		spanDuration(0, time.Minute))

	AuthPenalty = boolean("auth_penalty", true, RoleAuthd, fileAuth,
		`Let the next attempts of an address (an IPv6 /48) that failed wait: 2, 4, 8, then 15 seconds. The penalty drops with time. limits_exempt_networks and login_trusted_networks have none.`)

	AuthAllowWeakSchemes = boolean("auth_allow_weak_schemes", false, RoleAuthd, fileAuth,
		`Accept stored passwords in weak schemes: $1$ (MD5-CRYPT), MD5, PLAIN-MD5, LDAP-MD5, SMD5, HMAC-MD5, and DES-CRYPT. Without it such an entry fails with a line in the log.`,
		danger("Passwords in these schemes can be found from a stolen file in little time."))

	AuthHashLimit = integer("auth_hash_process_limit", 0, RoleAuthd, fileAuth,
		`How many passwords are hashed at the same time. 0 means one per processor.`,
		limits(0, 1024), unit("hashes"))

	AuthHashMemoryLimit = size("auth_hash_memory_limit", 256<<20, RoleAuthd, fileAuth,
		`Memory that hashes in work may take together; ARGON2 and yescrypt need many MiB each. A login waits until there is room for its hash; one that needs more than this alone fails with a line in the log.`,
		limits(16<<20, 1<<40))

	AuthTicketLifetime = duration("auth_ticket_lifetime", 30*time.Second, RoleAuthd, fileAuth,
		`How long a login that succeeded may take to reach the user's mail process.`,
		spanDuration(time.Second, 5*time.Minute))

	AuthVerbose = boolean("auth_verbose", false, RoleAuthd, fileLogging,
		`Log each failed login with its reason: "auth: passwd-file(ann,192.0.2.7,<session>): Password mismatch", or "unknown user". Set it before you ask users to try again. auth_debug turns it on too.`)

	AuthVerbosePasswords = declare(KindPasswordLog, "auth_verbose_passwords", PasswordLog{Mode: "no"}, RoleAuthd, fileLogging,
		`Write the password of a failed login to the log. "plain" (or "yes") writes it as it came: "Password mismatch (given password: secret)"; "sha1" writes its SHA-1 sum: "(SHA1 of given password: e5e9fa1b…)", which is enough to see whether attempts repeat one password. ":N" after either cuts it to N characters: "sha1:6". The line is written even if auth_verbose is false. Mechanisms that do not send the password have nothing to write.`,
		danger(`With "plain" a mistyped password, and so nearly a right one, stands in the log for all who can read it, in its copies and backups; users who mistake one account for another leave the other's password there. A full "sha1" is found by guessing. A warning is logged at each start.`))

	AuthDebug = boolean("auth_debug", false, RoleAuthd, fileLogging,
		`Log what authentication does, step by step: databases asked, fields found, mechanisms' states. Passwords are written as <hidden>. Turns auth_verbose on.`)

	AuthDebugPasswords = boolean("auth_debug_passwords", false, RoleAuthd, fileLogging,
		`Log passwords and stored hashes in debug lines: "PLAIN(given) != 'stored'" with another scheme to try where one fits, and what SASL exchanges say. Turns auth_debug and auth_verbose on.`,
		danger("Every password that is typed, right or wrong, and every stored one that is compared, stands in the log as it is. Use it only on a test server, and delete the log after. A warning is logged at each start."))
)

func notEmpty(v any) error {
	if v.(string) == "" {
		return errors.New("must not be empty")
	}
	return nil
}

// printable refuses control characters: the value is written to clients.
func printable(v any) error {
	if strings.ContainsFunc(v.(string), func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		return errors.New("holds a control character")
	}
	return nil
}
