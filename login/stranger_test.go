package login

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/ipc"
	"rookery/internal/ipc/authmsg"
	"rookery/internal/ipc/handoffmsg"
	"rookery/internal/settings"
)

func trustLoopback(s *settings.Set) {
	settings.HaproxyTrustedNetworks.Put(s, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
}

func TestProxyHeader(t *testing.T) {
	r := start(t, options{set: trustLoopback})
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x09\xc6\x33\x64\x01\x12\x67\x00\x8f"
	overTLS := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x14\xc0\x00\x02\x09\xc6\x33\x64\x01\x12\x67\x00\x8f\x20\x00\x05\x01\x00\x00\x00\x00"
	for _, test := range []struct {
		name, header string
		secured, tls bool
		remote       string
	}{
		{"v1", "PROXY TCP4 192.0.2.9 198.51.100.1 4711 143\r\n", false, false, "192.0.2.9:4711"},
		{"v2", v2, false, false, "192.0.2.9:4711"},
		{"v2 over TLS", overTLS, true, true, "192.0.2.9:4711"},
		{"LOCAL", "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", true, false, ""},
		{"own host", "PROXY TCP4 127.0.0.1 127.0.0.1 4711 143\r\n", true, false, "127.0.0.1:4711"},
	} {
		c := r.dial("proxy")
		c.Write([]byte(test.header + "a1 LOGIN ann pass\r\n")) // in one packet with the first command
		line := c.hear("* OK")
		if got := !strings.Contains(line, "LOGINDISABLED"); got != test.secured {
			t.Errorf("%s: secured %v: %s", test.name, got, line)
		}
		if !test.secured {
			c.hear("a1 NO [PRIVACYREQUIRED]")
			continue
		}
		w := r.next()
		if w.Go.TLS != test.tls || test.remote != "" && w.Go.Remote.String() != test.remote {
			t.Errorf("%s: %+v", test.name, w.Go)
		}
	}
	// TLS behind the header; not a byte of the hello is lost.
	c := r.dial("proxys")
	c.Write([]byte("PROXY TCP4 192.0.2.9 198.51.100.1 4711 993\r\n"))
	c = c.startTLS(r, nil)
	c.hear("* OK")
	c.say("a1 LOGIN ann pass")
	w := r.next()
	if w.Go.Remote.String() != "192.0.2.9:4711" || w.Go.Local.String() != "198.51.100.1:993" || !w.Go.TLS {
		t.Errorf("%+v", w.Go)
	}
	p := r.begin(-1).Peer
	if p.RealRemote.Addr().String() != "127.0.0.1" || p.Remote.String() != "192.0.2.9:4711" {
		t.Errorf("%+v", p)
	}
}

func TestProxyHeaderRefused(t *testing.T) {
	quick := func(c *config) { c.haproxyTimeout = 100 * time.Millisecond }
	r := start(t, options{set: trustLoopback, config: quick})
	c := r.dial("proxy")
	c.say("a1 LOGIN ann pass")
	c.end()
	r.wait("Disconnected: PROXY protocol: no PROXY header (no auth attempts in 0 secs): user=<>, rip=127.0.0.1, ")
	c = r.dial("proxy")
	c.Write([]byte("PROXY TCP4 192.0.2.9"))
	c.end()
	r.wait("Disconnected: PROXY protocol: no header within the 100ms of haproxy_timeout")
	r = start(t, options{config: quick}) // nobody is trusted by default
	c = r.dial("proxy")
	c.say("PROXY TCP4 192.0.2.9 198.51.100.1 4711 143")
	c.end()
	r.wait("Disconnected: PROXY protocol: the sender is not in haproxy_trusted_networks (no auth attempts in 0 secs): user=<>, rip=127.0.0.1, ")
	// On a listener without haproxy the header is a command like another.
	c = r.dial("imap")
	c.hear("* OK")
	c.say("PROXY TCP4 192.0.2.9 198.51.100.1 4711 143")
	c.hear("PROXY BAD")
}

// When all places are taken the oldest stranger goes.
func TestOldestStrangerGoes(t *testing.T) {
	r := start(t, options{config: func(c *config) { c.strangers = 2 }})
	a := r.dial("imap")
	a.hear("* OK")
	b := r.dial("pop3") // only now: a is the older one for certain
	b.hear("+OK")
	c := r.dial("imap")
	c.hear("* OK")
	a.hear("* BYE [UNAVAILABLE] Too many connections that have not logged in.")
	a.end()
	r.wait("imap-login: Disconnected: Connection queue full (no auth attempts in 0 secs): user=<>, ")
	d := r.dial("imap")
	d.hear("* OK")
	b.hear("-ERR [SYS/TEMP] Too many connections")
	c.say("a1 LOGIN ann pass") // who has logged in has no place to lose
	r.next()
	r.dial("imap").hear("* OK")
	r.dial("imap").hear("* OK")
	d.hear("* BYE [UNAVAILABLE]")
	deadline := time.Now().Add(10 * time.Second)
	for done := false; !done; {
		r.mu.Lock()
		done = len(r.loads) > 0 && r.loads[len(r.loads)-1].Dropped == 3
		r.mu.Unlock()
		if time.Now().After(deadline) {
			t.Fatalf("master was told %+v", r.loads)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestPlacesPerAddress(t *testing.T) {
	r := start(t, options{set: trustLoopback, config: func(c *config) { c.perAddress = 1 }})
	a := r.dial("imap")
	a.hear("* OK")
	b := r.dial("imap")
	b.hear("* BYE [UNAVAILABLE] Too many connections from your address that have not logged in (login_unauthenticated_userip_limit=1).")
	r.wait("Disconnected: Too many connections from your address")
	behind := func(ip string) *client {
		c := r.dial("proxy")
		c.say("PROXY TCP4 %s 198.51.100.1 4711 143", ip)
		return c
	}
	behind("192.0.2.9").hear("* OK") // a proxy's clients have their own addresses
	behind("192.0.2.10").hear("* OK")
	behind("192.0.2.9").end()
	r = start(t, options{config: func(c *config) {
		c.perAddress = 1
		c.exempt = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	}})
	for range 3 {
		r.dial("imap").hear("* OK")
	}
}

func TestClientLimit(t *testing.T) {
	r := start(t, options{config: func(c *config) { c.clients = 1 }})
	c := r.dialTLS("imaps", nil)
	c.hear("* OK")
	c.say("a1 LOGIN ann pass")
	r.next()
	r.wait("Login:")
	r.dial("imap").hear("* BYE [UNAVAILABLE] Too many connections, try again later.")
}

// Who is turned away for his address takes no other stranger's place with him.
func TestTurnedAwayWhenAllIsFull(t *testing.T) {
	r := start(t, options{config: func(c *config) { c.clients, c.perAddress = 1, 1 }})
	r.dial("imap").hear("* OK")
	for range 3 {
		r.dial("imap").hear("* BYE [UNAVAILABLE] Too many connections from your address")
	}
}

func TestBadCommandLimit(t *testing.T) {
	r := start(t, options{set: func(s *settings.Set) { settings.LoginBadCommandLimit.Put(s, 1) }})
	c := r.dial("imap")
	c.hear("* OK")
	c.say("a1 NONSENSE")
	c.hear("a1 BAD")
	c.hear("* BYE Too many invalid commands.")
	c.end()
	r.wait("Disconnected: Too many invalid commands (no auth attempts in 0 secs)")
}

func TestGreetingAndElements(t *testing.T) {
	r := start(t, options{set: func(s *settings.Set) {
		settings.LoginGreeting.Put(s, "At your service.")
		settings.Hostname.Put(s, "other.example.test")
		if err := s.SetRaw(settings.LoginLogFormatElements.Decl(), "user=<%{user}> %{protocol} on=%{listener}"); err != nil {
			t.Fatal(err)
		}
	}})
	if line := r.dial("imap").hear("* OK"); !strings.HasSuffix(line, "] At your service.") {
		t.Error(line)
	}
	c := r.dial("pop3")
	if line := c.hear("+OK At your service. <ab12."); !strings.HasSuffix(line, "@other.example.test>") {
		t.Error(line)
	}
	c.say("QUIT")
	c.hear("+OK")
	if line := r.wait("Aborted login"); line != "pop3-login: Aborted login (no auth attempts in 0 secs): user=<>, pop3, on=pop3" {
		t.Error(line)
	}
}

func TestTrustedClientSpeaksForOthers(t *testing.T) {
	r := start(t, options{set: func(s *settings.Set) {
		settings.LoginTrustedNetworks.Put(s, []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")})
	}})
	c := r.dial("imap")
	c.hear("* OK")
	c.say(`a1 ID ("x-originating-ip" "203.0.113.5" "x-originating-port" "99" "x-session-id" "webmail/1")`)
	c.hear("* ID")
	c.hear("a1 OK")
	c.say("a2 LOGIN ann wrong")
	c.hear("a2 NO [AUTHENTICATIONFAILED]")
	c.Close()
	r.wait("Disconnected (auth failed, 1 attempts in 0 secs): user=<ann>, method=PLAIN, rip=203.0.113.5, lip=127.0.0.1, secured, session=<webmail/1>")
	if p := r.begin(0).Peer; p.Remote.String() != "203.0.113.5:99" || p.RealRemote.Addr().String() != "127.0.0.1" || p.Session != "webmail/1" {
		t.Errorf("%+v", p)
	}
}

// What somebody between said before TLS is forgotten with the rest.
func TestForwardedBeforeTLSIsForgotten(t *testing.T) {
	r := start(t, options{set: func(s *settings.Set) {
		settings.LoginTrustedNetworks.Put(s, []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")})
	}})
	c := r.dial("imap")
	c.hear("* OK")
	c.say(`a1 ID ("x-originating-ip" "203.0.113.5" "x-session-id" "webmail/1")`)
	c.hear("* ID")
	c.hear("a1 OK")
	c.say("a2 STARTTLS")
	c.hear("a2 OK")
	c = c.startTLS(r, nil)
	c.say("a3 LOGIN ann wrong")
	c.hear("a3 NO [AUTHENTICATIONFAILED]")
	if p := r.begin(0).Peer; p.Remote.Addr().String() != "127.0.0.1" || p.Session == "webmail/1" {
		t.Errorf("%+v", p)
	}
	c.say(`a4 ID ("x-originating-ip" "203.0.113.6")`)
	c.hear("* ID")
	c.hear("a4 OK")
	c.say("a5 LOGIN ann wrong")
	c.hear("a5 NO [AUTHENTICATIONFAILED]")
	if p := r.begin(1).Peer; p.Remote.Addr().String() != "203.0.113.6" {
		t.Errorf("%+v", p)
	}
}

// Bad base64 of one client does not disturb another's login.
func TestBase64JunkDisturbsNobody(t *testing.T) {
	r := start(t, options{})
	a, b := r.dial("imap"), r.dial("imap")
	a.hear("* OK")
	b.hear("* OK")
	a.say("a1 AUTHENTICATE PLAIN")
	a.hear("+")
	b.say("b1 AUTHENTICATE PLAIN")
	b.hear("+")
	a.say("=!\xff=")
	a.hear("a1 BAD")
	b.say("AGFubgBwYXNz")
	if w := r.next(); w.Go.Tag != "b1" {
		t.Errorf("%+v", w.Go)
	}
}

// What strangers send in masses leaves nothing behind: parentheses, literals,
// aborted authentications, half handshakes.
func TestFloods(t *testing.T) {
	r := start(t, options{config: func(c *config) { c.badCommands = 1 << 30 }}, func(r *rig) {
		r.decide = func(m *authmsg.Begin) ipc.Message { return &authmsg.Challenge{ID: m.ID} }
	})
	flood := func(name, payload string, answers int, prefix string) {
		c := r.dial(name)
		c.hear("")
		go c.Write([]byte(payload))
		for range answers {
			c.hear(prefix)
		}
		c.Close()
	}
	work := func() {
		flood("imap", strings.Repeat("(", 1<<20)+"\r\na NOOP\r\n", 2, "")
		flood("pop3", strings.Repeat("(", 1<<20)+"\r\nNOOP\r\n", 2, "")
		flood("imap", strings.Repeat("a LOGIN {0+}\r\n {0+}\r\n\r\n", 5_000), 5_000, "a NO [AUTH")
		flood("imap", strings.Repeat("a LOGIN {9999}\r\n", 20_000), 20_000, "a NO [TOOBIG]")
		flood("imap", strings.Repeat("a X {1+}\r\nx {2+}\r\nyy {0+}\r\n\r\n", 10_000), 10_000, "a BAD")
	}
	r.mu.Lock()
	r.decide = func(m *authmsg.Begin) ipc.Message { return &authmsg.Refused{ID: m.ID, Kind: errkind.AuthFailed} }
	r.mu.Unlock()
	aborted := func(n int) {
		c := r.dial("imap")
		c.hear("* OK")
		for range n {
			c.say("a AUTHENTICATE PLAIN\r\n*")
			c.hear("+")
			c.hear("a BAD")
		}
		c.Close()
	}
	work()
	before := memory()
	work()
	r.mu.Lock()
	r.decide = nil
	r.mu.Unlock()
	aborted(10_000)
	for i := range 50 {
		c := tls.Client(r.dial("imaps").Conn, &tls.Config{InsecureSkipVerify: true, ServerName: fmt.Sprintf("host%d.example.test", i)})
		c.Handshake()
		c.Close()
	}
	r.mu.Lock()
	r.begun = nil
	r.mu.Unlock()
	if grown := memory() - before; grown > 4<<20 {
		t.Errorf("%d bytes more after the floods", grown)
	}
	r.server.auth.mu.Lock()
	defer r.server.auth.mu.Unlock()
	if n := len(r.server.auth.attempts) + len(r.server.auth.signs); n != 0 {
		t.Errorf("%d requests are left at authd", n)
	}
}

func memory() int64 {
	var m runtime.MemStats
	for range 2 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// A quiet stranger costs no buffer.
func TestQuietStrangersAreSmall(t *testing.T) {
	const n = 300
	r := start(t, options{config: func(c *config) { c.perAddress = 0 }})
	var clients []net.Conn
	r.dial("imap").hear("* OK")
	before := memory()
	for range n {
		c, err := net.Dial("tcp", r.addr["imap"])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		buf := make([]byte, 512)
		if _, err := c.Read(buf); err != nil || !bytes.HasPrefix(buf, []byte("* OK")) {
			t.Fatal(err)
		}
		clients = append(clients, c)
	}
	if per := (memory() - before) / n; per > 16<<10 {
		t.Errorf("%d bytes for each of %d quiet strangers", per, len(clients))
	} else {
		t.Logf("%d bytes each, with the test's end", per)
	}
}

// Debian's unchanged fail2ban filter matches each failure and no success.
func TestFail2banReadsOurLines(t *testing.T) {
	program, err := exec.LookPath("fail2ban-regex")
	if err != nil {
		t.Skip("fail2ban-regex is not installed")
	}
	filter := "/etc/fail2ban/filter.d/dovecot.conf"
	if _, err := os.Stat(filter); err != nil {
		t.Skip("no stock filter: ", err)
	}
	r := start(t, options{set: trustLoopback})
	fail := func(name, greeting string, lines ...string) {
		c := r.dial(name)
		if name == "proxy" {
			c.say("PROXY TCP4 192.0.2.9 198.51.100.1 4711 143")
		}
		c.hear(greeting)
		for i := 0; i < len(lines); i += 2 {
			c.say("%s", lines[i])
			c.hear(lines[i+1])
		}
		c.Close()
	}
	fail("imap", "* OK", "a1 LOGIN ann wrong", "a1 NO")
	fail("imap", "* OK", "a1 LOGIN \"a>, rip=203.0.113.1, session=<x\" wrong", "a1 NO", "a2 LOGOUT", "* BYE")
	fail("imap", "* OK", "a1 AUTHENTICATE PLAIN AGFubgB3cm9uZw==", "a1 NO", "a2 LOGIN ann b", "a2 NO")
	fail("pop3", "+OK", "USER bob smith", "+OK", "PASS wrong", "-ERR [AUTH]", "QUIT", "+OK")
	fail("proxy", "* OK", "a1 LOGIN ann pass", "a1 NO")
	r.dialTLS("imaps", nil).hear("* OK")
	good := r.dial("imap")
	good.hear("* OK")
	good.say("a1 LOGIN ann pass")
	r.next()
	r.wait("Login:")
	r.dial("imaps").Close()
	r.wait("TLS handshaking")
	r.dial("imap").Close()
	for deadline := time.Now().Add(10 * time.Second); ; {
		r.logs.mu.Lock()
		n := len(r.logs.lines)
		r.logs.mu.Unlock()
		if n >= 8 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(n, "lines")
		}
		time.Sleep(5 * time.Millisecond)
	}
	r.logs.mu.Lock()
	lines := append([]string(nil), r.logs.lines...)
	r.logs.mu.Unlock()
	failures := 0
	for _, line := range lines {
		want := strings.Contains(line, "(auth failed") || strings.Contains(line, "(tried to use disallowed")
		if want {
			failures++
		}
		file := filepath.Join(t.TempDir(), "log")
		text := time.Now().Format("Jan _2 15:04:05") + " mail dovecot: " + line + "\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(program, "--print-no-missed", file, filter).CombinedOutput()
		if err != nil && len(out) == 0 {
			t.Fatal(err)
		}
		if got := bytes.Contains(out, []byte("1 matched, 0 missed")) || bytes.Contains(out, []byte(" 1 matched")); got != want {
			t.Errorf("matched %v, want %v: %s%s", got, want, text, out)
		}
	}
	if failures != 5 {
		t.Errorf("%d failures in:\n%s", failures, strings.Join(lines, "\n"))
	}
}

// log_debug at start and at run time: lines about one address alone.
func TestDebugLines(t *testing.T) {
	r := start(t, options{set: trustLoopback})
	r.master.Send(&handoffmsg.LogDebug{Filter: "ip=192.0.2.9"}, -1)
	r.sendCertificates("marker.example.test") // master's messages are taken in order
	for c := (*client)(nil); c == nil || c.Conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName != "marker.example.test"; {
		c = r.dialTLS("imaps", nil)
		c.Close()
	}
	for _, ip := range []string{"192.0.2.8", "192.0.2.9"} {
		c := r.dial("proxy")
		c.say("PROXY TCP4 %s 127.0.0.1 4711 143", ip)
		c.hear("* OK")
		c.say("a1 AUTHENTICATE CRAM-MD5")
		c.hear("+")
		c.say("*")
		c.hear("a1 BAD")
	}
	r.wait("imap-login: authentication by CRAM-MD5 begins")
	r.logs.mu.Lock()
	defer r.logs.mu.Unlock()
	if got := strings.Join(r.logs.lines, "\n"); strings.Count(got, "begins") != 1 || strings.Count(got, "client connected to listener proxy from 192.0.2.9:4711") != 1 {
		t.Error(got)
	}
}
