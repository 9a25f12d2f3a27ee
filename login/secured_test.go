package login

import (
	"net/netip"
	"testing"

	"rookery/login/internal/prelogin"
)

// The rule of docs/security.md, whole.
func TestStanding(t *testing.T) {
	type f = prelogin.Facts
	for _, test := range []struct {
		s    standing
		want prelogin.Facts
	}{
		{standing{ssl: "yes", canTLS: true}, f{StartTLS: true}},
		{standing{ssl: "yes"}, f{}},
		{standing{ssl: "no", canTLS: true}, f{}},
		{standing{ssl: "yes", canTLS: true, tls: true}, f{TLS: true, Secured: true}},
		{standing{ssl: "yes", canTLS: true, own: true}, f{StartTLS: true, Secured: true}},
		{standing{ssl: "yes", canTLS: true, trusted: true}, f{StartTLS: true, Secured: true, Trusted: true}},
		{standing{ssl: "no", own: true}, f{Secured: true}},
		{standing{ssl: "yes", canTLS: true, cleartext: true}, f{StartTLS: true, Secured: true}},
		{standing{ssl: "required", canTLS: true}, f{StartTLS: true, Refuse: true}},
		{standing{ssl: "required", canTLS: true, own: true, trusted: true, cleartext: true}, f{StartTLS: true, Refuse: true, Trusted: true}},
		{standing{ssl: "required", canTLS: true, tls: true}, f{TLS: true, Secured: true}},
	} {
		if got := test.s.facts(); got != test.want {
			t.Errorf("%+v: %+v, want %+v", test.s, got, test.want)
		}
	}
}

func TestOwnHost(t *testing.T) {
	a := netip.MustParseAddrPort
	for _, test := range []struct {
		remote, local netip.AddrPort
		want          bool
	}{
		{a("127.0.0.1:1"), a("127.0.0.1:143"), true},
		{a("127.0.0.9:1"), a("127.0.0.1:143"), true},
		{a("[::1]:1"), a("[::1]:143"), true},
		{a("[::ffff:127.0.0.1]:1"), a("[::1]:143"), true},
		{a("198.51.100.1:1"), a("198.51.100.1:143"), true},
		{a("[::ffff:198.51.100.1]:1"), a("198.51.100.1:143"), true},
		{a("198.51.100.2:1"), a("198.51.100.1:143"), false},
		{a("[2001:db8::2]:1"), a("[2001:db8::1]:143"), false},
		{netip.AddrPort{}, netip.AddrPort{}, true}, // a Unix socket
	} {
		if got := ownHost(test.remote, test.local); got != test.want {
			t.Errorf("%v to %v: %v", test.remote, test.local, got)
		}
	}
}
