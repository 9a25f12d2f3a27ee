package login

import (
	"net/netip"

	"rookery/login/internal/prelogin"
)

// ownHost reports whether a connection comes from this host itself: over
// loopback, from the very address that it came to, or over a Unix socket. login
// has no network namespace of its own in which it could list addresses.
func ownHost(remote, local netip.AddrPort) bool {
	if !remote.IsValid() {
		return true
	}
	a := remote.Addr().Unmap()
	return a.IsLoopback() || a == local.Addr().Unmap()
}

// standing is what counts of a connection for what it may do.
type standing struct {
	ssl       string // "yes", "no", "required"
	cleartext bool   // auth_allow_cleartext
	tls       bool   // ours, or a trusted proxy's
	own       bool   // from this host, the proxy's part included
	trusted   bool   // login_trusted_networks
	canTLS    bool   // there is a certificate
}

// unlisted reports whether the connection counts as secured without TLS.
func (s standing) unlisted() bool { return s.ssl != "required" && (s.own || s.trusted) }

// facts is the rule of docs/security.md: secured is TLS, a client at one of
// this host's own addresses or, unless ssl = "required", one in
// login_trusted_networks. Elsewhere no mechanism that shows a password is
// offered, and with ssl = "required" none at all.
func (s standing) facts() prelogin.Facts {
	return prelogin.Facts{
		TLS:      s.tls,
		Secured:  s.tls || s.unlisted() || s.cleartext && s.ssl != "required",
		StartTLS: s.canTLS && !s.tls && s.ssl != "no",
		Refuse:   s.ssl == "required" && !s.tls,
		Trusted:  s.trusted,
	}
}
