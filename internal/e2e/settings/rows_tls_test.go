package settings

import (
	"crypto/tls"
	"fmt"
	"slices"
	"time"
)

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}

// trust is a TLS client that does not mind whose certificate it is.
func (r *rig) trust() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"}
}

// shake gives certificate, version, suite and curve of a handshake, or that it failed.
func (r *rig) shake(change func(*tls.Config)) string {
	conf := r.trust()
	change(conf)
	conn, err := tls.Dial("tcp", r.Addr("imaps"), conf)
	if err != nil {
		return "failed"
	}
	defer conn.Close()
	s := conn.ConnectionState()
	return fmt.Sprintf("%s, %s, %s, %s", s.PeerCertificates[0].Subject.CommonName, tls.VersionName(s.Version), tls.CipherSuiteName(s.CipherSuite), s.CurveID)
}

func tlsProbe(change func(*tls.Config)) func(*rig) string {
	return func(r *rig) string { return r.shake(change) }
}

func onlyRSA(c *tls.Config) {
	c.MaxVersion = tls.VersionTLS12
	c.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
}

// tlsRows: 10-ssl, 12-ssl-names.
func tlsRows() []row {
	pair := func(prefix, kind string) []string {
		return []string{fmt.Sprintf(`%scert_file = "DIR/%s.pem"`, prefix, kind), fmt.Sprintf(`%skey_file = "DIR/%s-key.pem"`, prefix, kind)}
	}
	named := func(more ...string) []string {
		return join([]string{`[[ssl_server_name]]`, `name = "other.test"`}, pair("", "ecdsa"), more)
	}
	other := func(c *tls.Config) { c.ServerName = "other.test" }
	return []row{
		{name: "ssl", lines: []string{`ssl = "required"`, `auth_allow_cleartext = false`}, without: okLogin, with: `NO \[PRIVACYREQUIRED\] .*`, probe: asUser(loginU1)},
		{name: "ssl_server_cert_file", lines: pair("ssl_server_", "ecdsa"), without: `localhost, .*`, with: `the ecdsa one, .*`, probe: tlsProbe(func(*tls.Config) {})},
		{name: "ssl_server_key_file", lines: pair("ssl_server_", "rsa"), without: `localhost, .*`, with: `the rsa one, .*`, probe: tlsProbe(func(*tls.Config) {})},
		{name: "ssl_server_alt_cert_file", lines: pair("ssl_server_alt_", "rsa"), without: `failed`, with: `the rsa one, .*`, probe: tlsProbe(onlyRSA)},
		{name: "ssl_server_alt_key_file", lines: pair("ssl_server_alt_", "rsa"), without: `failed`, with: `the rsa one, TLS 1\.2, .*`, probe: tlsProbe(onlyRSA)},
		{name: "ssl_min_protocol", lines: one(`ssl_min_protocol = "TLSv1.3"`), without: `localhost, TLS 1\.2, .*`, with: `failed`,
			probe: tlsProbe(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })},
		{name: "ssl_cipher_list", lines: one(`ssl_cipher_list = ["ECDHE-ECDSA-AES256-GCM-SHA384"]`), without: `.*, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, .*`, with: `failed`,
			probe: tlsProbe(func(c *tls.Config) {
				c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
			})},
		{name: "ssl_curve_list", lines: one(`ssl_curve_list = ["P-384"]`), without: `.*, CurveP256`, with: `.*, CurveP384`,
			probe: tlsProbe(func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP256, tls.CurveP384} })},
		{name: "ssl_session_tickets", lines: one(`ssl_session_tickets = false`), without: "true", with: "false", probe: resumes},
		{name: "ssl_server_name.name", lines: named(), without: `localhost, .*`, with: `the ecdsa one, .*`, probe: tlsProbe(other)},
		{name: "ssl_server_name.enabled", instead: named(), lines: named(`enabled = false`)[:0], without: `the ecdsa one, .*`, with: `localhost, .*`, probe: tlsProbe(other)},
		{name: "ssl_server_name.cert_file", lines: named(), without: `localhost, .*`, with: `the ecdsa one, .*`, probe: tlsProbe(other)},
		{name: "ssl_server_name.key_file", lines: named(), without: `localhost, .*`, with: `the ecdsa one, TLS 1\.3, .*`, probe: tlsProbe(other)},
		{name: "ssl_server_name.alt_cert_file", instead: named(), lines: named(pair("alt_", "rsa")...), without: `failed`, with: `the rsa one, .*`, probe: tlsProbe(func(c *tls.Config) { other(c); onlyRSA(c) })},
		{name: "ssl_server_name.alt_key_file", instead: named(), lines: named(pair("alt_", "rsa")...), without: `failed`, with: `the rsa one, .*`, probe: tlsProbe(func(c *tls.Config) { other(c); onlyRSA(c) })},
	}
}

// resumes tells whether a second connection resumes the first one's session.
func resumes(r *rig) string {
	conf := r.trust()
	conf.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	resumed := "failed"
	for range 2 {
		c := r.open(r.Addr("imaps"), conf)
		c.line()
		c.imap("NOOP")
		if c.Conn != nil {
			resumed = fmt.Sprint(c.Conn.(*tls.Conn).ConnectionState().DidResume)
		}
		c.close()
	}
	return resumed
}

// listenerRows: 10-master.
func listenerRows() []row {
	add := func(lines ...string) []string {
		return append([]string{`[[listener]]`, `name = "more"`, `protocol = "pop3"`}, lines...)
	}
	greets := func(r *rig, addr string) string { c := r.open(addr, nil); defer c.close(); return c.line() }
	return []row{
		{name: "listener.name", lines: []string{`login_log_format_elements = "on=%{listener}"`, `[[listener]]`, `name = "more"`, `protocol = "imap"`, `path = "DIR/more"`, `mode = "0666"`}, without: "nothing like it", with: `on=more`,
			probe: func(r *rig) string { return r.logged(`on=more`, func() { greets(r, r.path("more")) }) }},
		{name: "listener.enabled", lines: []string{`[[listener]]`, `name = "pop3s"`, `enabled = false`}, without: `closed|.*`, with: `refused`,
			probe: func(r *rig) string {
				c := r.open(r.Addr("pop3s"), nil)
				defer c.close()
				if c.Conn != nil {
					c.SetDeadline(time.Now().Add(200 * time.Millisecond))
				}
				return c.line()
			}},
		{name: "listener.protocol", lines: add(`path = "DIR/more"`), without: `refused`, with: `\+OK .*`, probe: func(r *rig) string { return greets(r, r.path("more")) }},
		{name: "listener.address", lines: add(`address = ["127.0.0.3"]`, `port = PORT`), without: `refused`, with: `\+OK .*`, probe: func(r *rig) string {
			return greets(r, fmt.Sprintf("127.0.0.3:%d", r.Base+111))
		}},
		{name: "listener.port", lines: add(`address = ["127.0.0.1"]`, `port = PORT`), without: `refused`, with: `\+OK .*`, probe: func(r *rig) string {
			return greets(r, fmt.Sprintf("127.0.0.1:%d", r.Base+111))
		}},
		{name: "listener.path", lines: add(`path = "DIR/sockets"`), without: `refused`, with: `\+OK .*`, probe: func(r *rig) string { return greets(r, r.path("sockets")) }},
		{name: "listener.mode", instead: add(`path = "DIR/mode"`), lines: add(`path = "DIR/mode2"`, `mode = "0660"`), without: `600 .*`, with: `.* 660`, probe: func(r *rig) string {
			return mode(r.path("mode")) + " " + mode(r.path("mode2"))
		}},
		{name: "listener.haproxy", lines: proxied, without: `refused`, with: `\* OK .*`, probe: func(r *rig) string {
			c := r.open(r.proxyAddr(), nil)
			defer c.close()
			c.write("PROXY TCP4 127.0.0.1 127.0.0.1 4711 143\r\n")
			return c.line()
		}},
		{name: "listener.systemd", unit: "master/internal/listen.TestSystemd"},
	}
}
