package logline

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"rookery/internal/settings"
	"rookery/login/internal/prelogin"
)

func format() *Format { return New(settings.LoginLogFormatElements.Get(settings.New())) }

func facts() Facts {
	return Facts{User: "ann", Service: "imap", Mechanism: "PLAIN", Remote: netip.MustParseAddrPort("192.0.2.7:4711"),
		Local: netip.MustParseAddrPort("[::ffff:198.51.100.1]:143"), Session: "abc+/1"}
}

// The lines to the letter: stock filters read them.
func TestLines(t *testing.T) {
	created := time.Unix(1e9, 0)
	at := func(secs int) time.Time { return created.Add(time.Duration(secs)*time.Second + 900*time.Millisecond) }
	tests := []struct {
		why    string
		stats  prelogin.Stats
		change func(*Facts)
		secs   int
		want   string
	}{
		{prelogin.WhyGone, prelogin.Stats{Attempts: 1}, nil, 2,
			"Disconnected (auth failed, 1 attempts in 2 secs): user=<ann>, method=PLAIN, rip=192.0.2.7, lip=198.51.100.1, session=<abc+/1>"},
		{prelogin.WhyQuit, prelogin.Stats{Attempts: 3}, func(f *Facts) { f.TLS = true }, 16,
			"Aborted login (auth failed, 3 attempts in 16 secs): user=<ann>, method=PLAIN, rip=192.0.2.7, lip=198.51.100.1, TLS, session=<abc+/1>"},
		{prelogin.WhyQuit, prelogin.Stats{}, func(f *Facts) { f.User, f.Mechanism = "", "" }, 0,
			"Aborted login (no auth attempts in 0 secs): user=<>, rip=192.0.2.7, lip=198.51.100.1, session=<abc+/1>"},
		{prelogin.WhyInactivity, prelogin.Stats{}, func(f *Facts) { f.User, f.Mechanism, f.Secured = "", "", true }, 180,
			"Disconnected: Inactivity (no auth attempts in 180 secs): user=<>, rip=192.0.2.7, lip=198.51.100.1, secured, session=<abc+/1>"},
		{prelogin.WhyGone, prelogin.Stats{Attempts: 2, TriedPlaintext: true}, nil, 1,
			"Disconnected (tried to use disallowed plaintext auth): user=<ann>, method=PLAIN, rip=192.0.2.7, lip=198.51.100.1, session=<abc+/1>"},
		{prelogin.WhyGone, prelogin.Stats{Attempts: 1, Continuing: true}, func(f *Facts) { f.User = "" }, 5,
			"Disconnected (client didn't finish SASL auth, waited 5 secs): user=<>, method=PLAIN, rip=192.0.2.7, lip=198.51.100.1, session=<abc+/1>"},
		{prelogin.WhyGone, prelogin.Stats{Attempts: 1, Authenticating: true}, nil, 5,
			"Disconnected (disconnected while authenticating, waited 5 secs): user=<ann>, method=PLAIN, rip=192.0.2.7, lip=198.51.100.1, session=<abc+/1>"},
		{prelogin.WhyGone, prelogin.Stats{Attempts: 1, Aborted: true}, nil, 5,
			"Disconnected (aborted authentication): user=<ann>, method=PLAIN, rip=192.0.2.7, lip=198.51.100.1, session=<abc+/1>"},
		{prelogin.WhyGone, prelogin.Stats{Attempts: 1, TriedUnsupported: true}, nil, 5,
			"Disconnected (tried to use unsupported auth mechanism): user=<ann>, method=PLAIN, rip=192.0.2.7, lip=198.51.100.1, session=<abc+/1>"},
		{prelogin.WhyGone, prelogin.Stats{Attempts: 1, Granted: 1}, nil, 5,
			"Disconnected (internal failure, 1 successful auths): user=<ann>, method=PLAIN, rip=192.0.2.7, lip=198.51.100.1, session=<abc+/1>"},
		{prelogin.WhyGone, prelogin.Stats{Attempts: 2, Unavailable: 2}, nil, 5,
			"Disconnected (auth process communication failure): user=<ann>, method=PLAIN, rip=192.0.2.7, lip=198.51.100.1, session=<abc+/1>"},
		{prelogin.WhyBadCommands, prelogin.Stats{}, func(f *Facts) { f.TLSState = "TLS handshaking: x>y\n" }, 0,
			"Disconnected: Too many invalid commands (no auth attempts in 0 secs): user=<ann>, method=PLAIN, rip=192.0.2.7, lip=198.51.100.1, TLS handshaking: x?y?, session=<abc+/1>"},
	}
	for _, test := range tests {
		f := facts()
		if test.change != nil {
			test.change(&f)
		}
		got := format().Line(test.why+" "+test.stats.Extra(created, created, at(test.secs)), f)
		if got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
	f := facts()
	f.WorkerPID, f.TLS = 812, true
	want := "Login: user=<ann>, method=PLAIN, rip=192.0.2.7, lip=198.51.100.1, mpid=812, TLS, session=<abc+/1>"
	if got := format().Line("Login", f); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A name must not hide the address of who sent it, nor name another's.
func TestNamesCannotForgeALine(t *testing.T) {
	f := facts()
	f.User = "a>, rip=203.0.113.1, session=<x\r\n\u202eb\xff"
	got := format().Line("Disconnected", f)
	if want := "Disconnected: user=<a?, rip=203.0.113.1, session=?x???b?>, method=PLAIN, rip=192.0.2.7, lip=198.51.100.1, session=<abc+/1>"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := Visible(strings.Repeat("ö", 1000)); len(got) > maxName+4 || strings.Contains(got, "?") {
		t.Errorf("%d bytes: %s", len(got), got)
	}
	if got := Visible("jörg@example.test"); got != "jörg@example.test" {
		t.Error(got)
	}
}

// login_log_format_elements: other elements in another order.
func TestOtherElements(t *testing.T) {
	set := settings.New()
	if err := set.SetRaw(settings.LoginLogFormatElements.Decl(), "rip=%{remote_ip}:%{remote_port} %{ssl_security} name=%{local_name} user=<%{user | upper}>"); err != nil {
		t.Fatal(err)
	}
	f := facts()
	f.TLSVersion, f.TLSCipher = "TLSv1.3", "TLS_AES_128_GCM_SHA256"
	got := New(settings.LoginLogFormatElements.Get(set)).Line("Login", f)
	if want := "Login: rip=192.0.2.7:4711, TLSv1.3 with cipher TLS_AES_128_GCM_SHA256, user=<ANN>"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
