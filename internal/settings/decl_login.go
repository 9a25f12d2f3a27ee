package settings

import (
	"net/netip"
	"time"
)

const (
	fileLogin = "10-login"
	fileSSL   = "10-ssl"
)

var loginVars = []string{"user", "original_user", "auth_user", "protocol", "local_name", "local_ip", "remote_ip", "local_port", "remote_port",
	"real_local_ip", "real_remote_ip", "real_local_port", "real_remote_port", "mechanism", "mail_pid", "secured", "ssl_security", "session", "listener"}

// The settings of the login processes.
var (
	LoginGreeting = str("login_greeting", "Rookery ready.", RoleLogin, fileLogin,
		`Text of the greeting that a client sees first. It needs not name the product.`, checked(printable))

	LoginTimeout = duration("login_timeout", 180*time.Second, RoleLogin, fileLogin,
		`How long a client may take from its connection to its login. People who type need minutes.`,
		spanDuration(10*time.Second, time.Hour))

	LoginBadCommandLimit = integer("login_bad_command_limit", 3, RoleLogin, fileLogin,
		`After so many commands in a row that are no commands a client that has not logged in is told goodbye.`,
		limits(1, 1000), unit("commands"))

	LoginTrustedNetworks = networks("login_trusted_networks", []netip.Prefix{}, RoleLogin|RoleAuthd, fileLogin,
		`Networks of proxies and webmail servers that speak for others. A connection from there counts as secured, unless ssl = "required", and has no penalty.`,
		danger("Whoever sends from these networks may use unencrypted passwords and guess passwords without a penalty."))

	LoginLogFormatElements = template("login_log_format_elements",
		"user=<%{user}> method=%{mechanism} rip=%{remote_ip} lip=%{local_ip} mpid=%{mail_pid} %{secured} session=<%{session}>",
		loginVars, RoleLogin, fileLogin,
		`Elements of the login, failure and disconnect lines, separated by spaces here and by ", " in the log. An element whose variables are all empty is left out, but for one with %{user}. fail2ban needs "rip=%{remote_ip}".`)

	LoginHighSecurity = boolean("login_high_security", false, RoleMaster|RoleLogin, fileLogin,
		`One login process for each connection. A client that takes over its login process then reaches nobody else's password or stream. Each connection costs about 2 MB and a few milliseconds more, and there are no TLS session tickets.`)

	LoginProcessCount = integer("login_process_min_avail", 0, RoleMaster, fileLogin,
		`Login processes that share all connections. 0 means one per processor. With login_high_security: processes that wait for the next connection.`,
		limits(0, 256), unit("processes"))

	LoginUnauthenticatedClientLimit = integer("login_unauthenticated_client_limit", 1000, RoleMaster|RoleLogin, fileLogin,
		`Connections of one login process that have not logged in yet. When all places are taken, the oldest goes first. With login_high_security: such connections in all.`,
		limits(1, 1_000_000), unit("connections"))

	LoginUnauthenticatedUserIPLimit = integer("login_unauthenticated_userip_limit", 100, RoleMaster|RoleLogin, fileLogin,
		`The same for one client address (an IPv6 /64), in each login process; a further connection is told so and closed. 0 for no limit.`,
		limits(1, 1_000_000), unlimited(), unit("connections"))

	LoginClientLimit = integer("login_client_limit", 20_000, RoleMaster|RoleLogin, fileLogin,
		`Connections of one login process in all: those that have not logged in, and TLS sessions that it relays.`,
		limits(10, 1_000_000), unit("connections"))

	LoginRequestLimit = integer("login_request_limit", 64, RoleMaster|RoleLogin, fileLogin,
		`Logins of one login process that may be on their way to a mail process at once; further ones wait their turn.`,
		limits(1, 10_000), unit("logins"))

	HaproxyTimeout = duration("haproxy_timeout", 3*time.Second, RoleLogin, fileLogin,
		`How long the PROXY header may take on a listener with haproxy = true.`,
		spanDuration(100*time.Millisecond, time.Minute))

	HaproxyTrustedNetworks = networks("haproxy_trusted_networks", []netip.Prefix{}, RoleLogin, fileLogin,
		`Networks whose PROXY header is believed, on listeners with haproxy = true. A connection from elsewhere to such a listener is closed.`,
		danger("Whoever sends from these networks chooses the address that limits, allow_nets and the log see."))
)

// Cipher names one TLS 1.2 cipher suite, by its OpenSSL and its IANA name.
type Cipher struct {
	OpenSSL, IANA string
	ID            uint16 // the number on the wire
}

// Ciphers are the TLS 1.2 suites that can be chosen, in Go's order of
// preference; TLS 1.3's are all on and cannot be chosen.
func Ciphers() []Cipher {
	return []Cipher{
		{"ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", 0xc02b},
		{"ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", 0xc02f},
		{"ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", 0xc02c},
		{"ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", 0xc030},
		{"ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", 0xcca9},
		{"ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", 0xcca8},
		{"ECDHE-ECDSA-AES128-SHA", "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", 0xc009},
		{"ECDHE-RSA-AES128-SHA", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", 0xc013},
		{"ECDHE-ECDSA-AES256-SHA", "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", 0xc00a},
		{"ECDHE-RSA-AES256-SHA", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", 0xc014},
	}
}

func cipherWords() []string {
	var out []string
	for _, c := range Ciphers() {
		out = append(out, c.OpenSSL)
	}
	for _, c := range Ciphers() {
		out = append(out, c.IANA)
	}
	return out
}

// The settings of TLS.
var (
	SSL = enum("ssl", "yes", RoleMaster|RoleLogin|RoleAuthd, fileSSL,
		`"yes": TLS is offered. "required": no login without TLS, whatever the address; a connection from this machine counts as insecure too. "no": no TLS, and no certificate is needed.`,
		words("yes", "no", "required"))

	SSLServerCertFile = pathname("ssl_server_cert_file", "/etc/rookery/tls/cert.pem", RoleMaster, fileSSL,
		`Certificate in PEM form, with the intermediate ones after it. Read as root, again when the file or its link's target changes. More host names: [[ssl_server_name]].`)

	SSLServerKeyFile = pathname("ssl_server_key_file", "/etc/rookery/tls/key.pem", RoleMaster, fileSSL,
		`Private key in PEM form, without a passphrase. Only root, or its group, may read the file; a world-readable one stops the start.`)

	SSLServerAltCertFile = pathname("ssl_server_alt_cert_file", "", RoleMaster, fileSSL,
		`A second certificate with another kind of key (RSA beside ECDSA); each client gets the one that it can use.`)

	SSLServerAltKeyFile = pathname("ssl_server_alt_key_file", "", RoleMaster, fileSSL,
		`The key of ssl_server_alt_cert_file.`)

	SSLMinProtocol = enum("ssl_min_protocol", "TLSv1.2", RoleLogin, fileSSL,
		`The oldest TLS version that is accepted. TLS 1.0 and 1.1 cannot be had.`, words("TLSv1.2", "TLSv1.3"))

	SSLCipherList = wordList("ssl_cipher_list", []string{}, RoleLogin, fileSSL,
		`Cipher suites of TLS 1.2, by their OpenSSL or IANA names; empty for the safe ones of the TLS library. Their order has no meaning: the library chooses by the hardware of both ends. TLS 1.3's suites cannot be chosen.`,
		words(cipherWords()...))

	SSLCurveList = wordList("ssl_curve_list", []string{}, RoleLogin, fileSSL,
		`Key exchanges, empty for the TLS library's choice.`,
		words("X25519MLKEM768", "X25519", "P-256", "P-384", "P-521"))

	SSLSessionTickets = boolean("ssl_session_tickets", true, RoleMaster|RoleLogin, fileSSL,
		`Let TLS 1.3 clients resume a session with a ticket. TLS 1.2 clients never can: whoever got the ticket key could open recorded sessions. Tickets are off under login_high_security.`)
)
