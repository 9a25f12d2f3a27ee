package login

import (
	"crypto/tls"
	"net/netip"
	"strings"
	"time"

	"rookery/internal/settings"
	"rookery/login/internal/logline"
	"rookery/login/internal/tlsserver"
)

// config is what the settings say to this process.
type config struct {
	greeting       string
	hostname       string // "": what master says
	timeout        time.Duration
	badCommands    int
	ssl            string // "yes", "no", "required"
	cleartext      bool   // auth_allow_cleartext
	trusted        []netip.Prefix
	exempt         []netip.Prefix
	haproxyTrusted []netip.Prefix
	haproxyTimeout time.Duration
	strangers      int // login_unauthenticated_client_limit
	perAddress     int // login_unauthenticated_userip_limit
	clients        int // login_client_limit
	highSecurity   bool
	id             []string
	unauthenticate bool
	loginDelay     int // seconds
	expire         int // days
	format         *logline.Format
	debug          string
	tls            tlsserver.Options
}

func newConfig(set *settings.Set) *config {
	c := &config{
		greeting:       settings.LoginGreeting.Get(set),
		hostname:       settings.Hostname.Get(set),
		timeout:        settings.LoginTimeout.Get(set),
		badCommands:    int(settings.LoginBadCommandLimit.Get(set)),
		ssl:            settings.SSL.Get(set),
		cleartext:      settings.AuthAllowCleartext.Get(set),
		trusted:        settings.LoginTrustedNetworks.Get(set),
		exempt:         settings.LimitsExemptNetworks.Get(set),
		haproxyTrusted: settings.HaproxyTrustedNetworks.Get(set),
		haproxyTimeout: settings.HaproxyTimeout.Get(set),
		strangers:      int(settings.LoginUnauthenticatedClientLimit.Get(set)),
		perAddress:     int(settings.LoginUnauthenticatedUserIPLimit.Get(set)),
		clients:        int(settings.LoginClientLimit.Get(set)),
		highSecurity:   settings.LoginHighSecurity.Get(set),
		unauthenticate: settings.IMAPUnauthenticate.Get(set),
		loginDelay:     int(settings.POP3LoginDelay.Get(set) / time.Second),
		expire:         int(settings.POP3Expire.Get(set)),
		format:         logline.New(settings.LoginLogFormatElements.Get(set)),
		debug:          debugTerms(settings.LogDebug.Get(set)),
		tls:            tlsOptions(set),
	}
	for _, f := range settings.IMAPIDSend.Get(set) {
		if value, err := f.Value.Expand(nil); err == nil {
			c.id = append(c.id, f.Name, value)
		}
	}
	return c
}

// debugTerms turns log_debug's entries into those of maillog.ParseFilter.
func debugTerms(entries []string) string {
	var terms []string
	for _, e := range entries {
		terms = append(terms, strings.Replace(e, "remote_ip=", "ip=", 1))
	}
	return strings.Join(terms, " ")
}

func tlsOptions(set *settings.Set) tlsserver.Options {
	o := tlsserver.Options{
		MinVersion: tls.VersionTLS12,
		Tickets:    settings.SSLSessionTickets.Get(set) && !settings.LoginHighSecurity.Get(set),
	}
	if settings.SSLMinProtocol.Get(set) == "TLSv1.3" {
		o.MinVersion = tls.VersionTLS13
	}
	for _, name := range settings.SSLCipherList.Get(set) {
		for _, c := range settings.Ciphers() {
			if name == c.OpenSSL || name == c.IANA {
				o.Ciphers = append(o.Ciphers, c.ID)
			}
		}
	}
	curves := map[string]tls.CurveID{"X25519MLKEM768": tls.X25519MLKEM768, "X25519": tls.X25519,
		"P-256": tls.CurveP256, "P-384": tls.CurveP384, "P-521": tls.CurveP521}
	for _, name := range settings.SSLCurveList.Get(set) {
		o.Curves = append(o.Curves, curves[name])
	}
	return o
}

func contains(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a.Unmap().WithZone("")) {
			return true
		}
	}
	return false
}
