package login

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"io"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/ipc"
	"rookery/internal/ipc/authmsg"
	"rookery/internal/ipc/envelopemsg"
	"rookery/internal/ipc/handoffmsg"
	"rookery/internal/settings"
)

func TestPlainLogin(t *testing.T) {
	r := start(t, options{})
	c := r.dial("imap")
	c.hear("* OK [CAPABILITY IMAP4rev1 ")
	c.say(`i ID ("name" "mutt")`)
	c.hear("* ID (\"name\" \"Rookery\")")
	c.hear("i OK")
	c.Write([]byte("a1 LOGIN ann pass\r\na2 SELECT INBOX\r\n"))
	w := r.next()
	local, remote := netip.MustParseAddrPort(c.RemoteAddr().String()), netip.MustParseAddrPort(c.LocalAddr().String())
	want := &envelopemsg.Go{Kind: envelopemsg.StreamSocket, Session: w.Go.Session, Tag: "a1", Command: "LOGIN", Pending: []byte("a2 SELECT INBOX\r\n"),
		Remote: remote, Local: local, Client: []string{"name=mutt"}}
	if !reflect.DeepEqual(w.Go, want) {
		t.Errorf("GO is %+v, want %+v", w.Go, want)
	}
	w.say("a1 OK Logged in\r\n")
	c.hear("a1 OK Logged in")
	c.say("a3 NOOP")
	w.hear(t, "a3 NOOP\r\n")
	r.wait("imap-login: Login: user=<ann@example.test>, method=PLAIN, rip=127.0.0.1, lip=127.0.0.1, mpid=812, secured, session=<" + w.Go.Session + ">")
	if b := r.begin(0); b.Peer.Session != w.Go.Session || !b.Peer.Secured || b.Peer.TLS || b.Peer.Remote != remote || b.Mech != "PLAIN" {
		t.Errorf("authd was told %+v", b)
	}
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	if len(r.server.sessions) != 0 || r.server.places.Len() != 0 {
		t.Error("login still holds the session")
	}
}

func TestPOP3Login(t *testing.T) {
	r := start(t, options{})
	c := r.dial("pop3")
	if line := c.hear("+OK Rookery ready. <ab12."); !strings.HasSuffix(line, "@mail.example.test>") {
		t.Error(line)
	}
	c.Write([]byte("UTF8\r\nUSER ann\r\nPASS wrong one\r\nUSER ann\r\nPASS pass\r\nSTAT\r\n"))
	c.hear("+OK")
	c.hear("+OK")
	c.hear("-ERR [AUTH] Authentication failed.")
	c.hear("+OK")
	w := r.next()
	if w.Go.Command != "PASS" || string(w.Go.Pending) != "STAT\r\n" || !w.Go.UTF8 {
		t.Errorf("%+v", w.Go)
	}
	r.wait("pop3-login: Login: user=<ann@example.test>, method=PLAIN, ")
}

// Every byte read before TLS is thrown away.
func TestSTARTTLSInjection(t *testing.T) {
	r := start(t, options{})
	for _, name := range []string{"imap", "pop3"} {
		c := r.dial(name)
		if name == "imap" {
			c.hear("* OK")
			c.Write([]byte("a1 STARTTLS\r\na2 NOOP\r\na3 LOGIN ann pass\r\n"))
			c.hear("a1 OK")
			c = c.startTLS(r, nil)
			c.say("a4 NOOP")
			c.hear("a4 OK")
			c.say("a5 STARTTLS")
			c.hear("a5 BAD")
			c.say("a6 LOGIN ann pass")
		} else {
			c.hear("+OK")
			c.Write([]byte("STLS\r\nUSER ann\r\nPASS pass\r\n"))
			c.hear("+OK Begin")
			c = c.startTLS(r, nil)
			c.say("PASS pass")
			c.hear("-ERR No name given")
			c.Write([]byte("USER ann\r\nPASS pass\r\n"))
			c.hear("+OK")
		}
		w := r.next()
		if !w.Go.TLS || w.Go.Kind != envelopemsg.StreamRelay {
			t.Errorf("%s: %+v", name, w.Go)
		}
		w.say("* OK hello\r\n")
		c.hear("* OK hello")
	}
}

func TestTLSLoginAndRelay(t *testing.T) {
	r := start(t, options{set: func(s *settings.Set) { settings.IMAPUnauthenticate.Put(s, false) }})
	c := r.dialTLS("imaps", &tls.Config{ServerName: "mail.example.test", NextProtos: []string{"imap"}})
	c.hear("* OK [CAPABILITY")
	c.Write([]byte("a1 AUTHENTICATE PLAIN AGFubgBwYXNz\r\na2 NOOP\r\n"))
	w := r.next()
	if w.Go.Tag != "a1" || w.Go.Command != "AUTHENTICATE" || string(w.Go.Pending) != "a2 NOOP\r\n" || !w.Go.TLS {
		t.Errorf("%+v", w.Go)
	}
	line := r.wait("Login: user=<ann@example.test>, method=PLAIN, rip=127.0.0.1, lip=127.0.0.1, mpid=812, TLS, session=<")
	if strings.Contains(line, "secured") {
		t.Error(line)
	}
	if p := r.begin(0).Peer; !p.TLS || p.TLSVersion != "TLSv1.3" || !strings.HasPrefix(p.TLSCipher, "TLS_") || p.TLSServerName != "mail.example.test" {
		t.Errorf("%+v", p)
	}
	up, down := make([]byte, 3<<20), make([]byte, 3<<20)
	rand.Read(up)
	rand.Read(down)
	go func() {
		c.Write(up)
		c.Conn.(*tls.Conn).CloseWrite()
	}()
	got, err := io.ReadAll(w.stream)
	if err != nil || !bytes.Equal(got, up) {
		t.Fatal(len(got), err)
	}
	go func() {
		w.stream.Write(down)
		w.stream.Close()
	}()
	back, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(back, down) {
		t.Fatal(len(back), err)
	}
}

// A timestamp of an authd that is gone proves nothing to the next one: that is no
// wrong password, and a client must not be told so.
func TestAPOPAfterAuthdIsNew(t *testing.T) {
	r := start(t, options{})
	r.mu.Lock()
	r.decide = func(m *authmsg.Begin) ipc.Message { return &authmsg.Refused{ID: m.ID, Kind: errkind.AuthFailed} }
	r.mu.Unlock()
	apop := func(c *client, want string) {
		t.Helper()
		c.say("APOP ann 00112233445566778899aabbccddeeff")
		c.hear(want)
	}
	c := r.dial("pop3")
	if line := c.hear("+OK"); !strings.Contains(line, "<ab12.") {
		t.Fatal(line)
	}
	apop(c, "-ERR [AUTH]") // authd decides
	c = r.dial("pop3")
	c.hear("+OK")
	r.prefix = "cd34"
	r.server.auth.attach(r.newAuthd())
	apop(c, "-ERR [SYS/TEMP]")                                   // whether the new one has said its prefix or not
	for greeting := ""; !strings.Contains(greeting, "<cd34."); { // it is in use
		c = r.dial("pop3")
		greeting = c.hear("+OK")
	}
	apop(c, "-ERR [AUTH]")
}

func TestSASLDialogue(t *testing.T) {
	r := start(t, options{})
	c := r.dial("imap")
	c.hear("* OK")
	c.say("a1 AUTHENTICATE PLAIN")
	c.hear("+ ")
	c.say("*")
	c.hear("a1 BAD")
	c.say("a2 AUTHENTICATE PLAIN")
	c.hear("+ ")
	c.say("AGFubgBwYXNz")
	if w := r.next(); w.Go.Tag != "a2" {
		t.Errorf("%+v", w.Go)
	}
}

func TestWrongALPNAndNoTLS(t *testing.T) {
	r := start(t, options{})
	conn := tls.Client(r.dial("imaps").Conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	if err := conn.Handshake(); err == nil {
		t.Error("another protocol's client was let in")
	}
	r.wait("imap-login: Disconnected (no auth attempts in 0 secs): user=<>, rip=127.0.0.1, lip=127.0.0.1, TLS handshaking: tls: client requested unsupported application protocols")
	c := r.dial("imaps")
	c.say("a1 LOGIN ann pass")
	r.wait("TLS handshaking: the client does not speak TLS, session=<")
	r.dial("imaps").Close()
	r.wait("TLS handshaking: the client closed the connection, session=<")
}

func TestCertificatesAreReplaced(t *testing.T) {
	r := start(t, options{})
	name := func() string {
		c := r.dialTLS("imaps", &tls.Config{ServerName: "second.example.test"})
		return c.Conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	if got := name(); got != "mail.example.test" {
		t.Error(got)
	}
	r.sendCertificates("other.example.test", "second.example.test")
	for deadline := time.Now().Add(10 * time.Second); name() != "second.example.test"; {
		if time.Now().After(deadline) {
			t.Fatal("the new certificates are not in use")
		}
	}
}

func TestSessionTickets(t *testing.T) {
	r := start(t, options{})
	cfg := &tls.Config{ServerName: "mail.example.test", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for _, want := range []bool{false, true} {
		c := r.dialTLS("imaps", cfg)
		c.hear("* OK")
		if got := c.Conn.(*tls.Conn).ConnectionState().DidResume; got != want {
			t.Errorf("resumed: %v, want %v", got, want)
		}
	}
}

func TestPasswordsNeedPrivacy(t *testing.T) {
	far := func(r *rig) *client {
		c := r.dial("proxy")
		c.say("PROXY TCP4 192.0.2.9 198.51.100.1 4711 143")
		return c
	}
	trustProxy := func(s *settings.Set) {
		settings.HaproxyTrustedNetworks.Put(s, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
	}
	r := start(t, options{set: trustProxy})
	c := far(r)
	if line := c.hear("* OK"); !strings.Contains(line, " STARTTLS LOGINDISABLED AUTH=CRAM-MD5]") {
		t.Error(line)
	}
	c.say("a1 LOGIN ann pass")
	c.hear("a1 NO [PRIVACYREQUIRED]")
	c.Close()
	r.wait("imap-login: Disconnected (tried to use disallowed plaintext auth): user=<ann>, method=PLAIN, rip=192.0.2.9, lip=198.51.100.1, session=<")
	for _, test := range []struct {
		name string
		set  func(*settings.Set)
		want bool
	}{
		{"auth_allow_cleartext", func(s *settings.Set) { settings.AuthAllowCleartext.Put(s, true) }, true},
		{"login_trusted_networks", func(s *settings.Set) {
			settings.LoginTrustedNetworks.Put(s, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")})
		}, true},
		{"login_trusted_networks with ssl=required", func(s *settings.Set) {
			settings.LoginTrustedNetworks.Put(s, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")})
			settings.SSL.Put(s, "required")
		}, false},
	} {
		r := start(t, options{set: func(s *settings.Set) { trustProxy(s); test.set(s) }})
		c := far(r)
		c.hear("* OK")
		c.say("a1 LOGIN ann pass")
		if test.want {
			r.next()
		} else {
			c.hear("a1 NO [PRIVACYREQUIRED]")
		}
	}
}

func TestSSLRequiredAndNo(t *testing.T) {
	r := start(t, options{set: func(s *settings.Set) { settings.SSL.Put(s, "required") }})
	c := r.dial("imap") // from this host, but that does not count now
	if line := c.hear("* OK"); !strings.Contains(line, " STARTTLS LOGINDISABLED]") {
		t.Error(line)
	}
	c.say("a1 AUTHENTICATE CRAM-MD5")
	c.hear("a1 NO [PRIVACYREQUIRED]")
	r = start(t, options{set: func(s *settings.Set) { settings.SSL.Put(s, "no") }})
	c = r.dial("imap")
	if line := c.hear("* OK"); strings.Contains(line, "STARTTLS") {
		t.Error(line)
	}
	r = start(t, options{noCerts: true})
	c = r.dial("imap")
	if line := c.hear("* OK"); strings.Contains(line, "STARTTLS") {
		t.Error(line)
	}
}

func TestMasterIsGone(t *testing.T) {
	r := start(t, options{})
	c := r.dial("imap")
	c.hear("* OK")
	r.master.Close()
	if err := r.ended(); err == nil || !strings.Contains(err.Error(), "master is gone") {
		t.Error(err)
	}
	c.hear("* BYE [UNAVAILABLE] Server is shutting down.")
	c.end()
}

func TestShutdown(t *testing.T) {
	r := start(t, options{})
	stranger, user := r.dial("imap"), r.dialTLS("imaps", nil)
	stranger.hear("* OK")
	user.hear("* OK")
	user.say("a1 LOGIN ann pass")
	w := r.next()
	r.wait("Login:")
	r.master.Send(&handoffmsg.Shutdown{Within: time.Minute}, -1)
	stranger.hear("* BYE [UNAVAILABLE] Server is shutting down.")
	stranger.end()
	r.wait("Disconnected: Shutting down (no auth attempts in 0 secs): user=<>, ")
	w.say("* 1 EXISTS\r\n") // the relayed session goes on until its worker ends it
	user.hear("* 1 EXISTS")
	w.say("* BYE\r\n")
	w.stream.Close()
	user.hear("* BYE")
	user.end()
	user.Close()
	if err := r.ended(); err != nil {
		t.Error(err)
	}
}

func TestShutdownHasALimit(t *testing.T) {
	r := start(t, options{})
	user := r.dialTLS("imaps", nil)
	user.hear("* OK")
	user.say("a1 LOGIN ann pass")
	r.next()
	r.wait("Login:")
	r.master.Send(&handoffmsg.Shutdown{Within: 10 * time.Millisecond}, -1)
	if err := r.ended(); err != nil {
		t.Error(err)
	}
}

func TestDrain(t *testing.T) {
	r := start(t, options{})
	c := r.dial("imap")
	c.hear("* OK")
	r.master.Send(&handoffmsg.Drain{}, -1)
	c.say("a1 LOGIN ann pass") // who is there is served
	r.next()
	if err := r.ended(); err != nil {
		t.Error(err)
	}
}

func TestHighSecurity(t *testing.T) {
	r := start(t, options{set: func(s *settings.Set) { settings.LoginHighSecurity.Put(s, true) }})
	cfg := &tls.Config{ServerName: "mail.example.test", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	c := r.dialTLS("imaps", cfg)
	c.hear("* OK")
	if _, ok := cfg.ClientSessionCache.Get("mail.example.test"); ok {
		t.Error("a session ticket was given")
	}
	c.say("a1 LOGIN ann pass")
	w := r.next()
	w.say("* OK x\r\n")
	c.hear("* OK x")
	w.stream.Close()
	c.end()
	c.Close()
	if err := r.ended(); err != nil {
		t.Error(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.accept) != 1 || r.accept[0].String() != c.LocalAddr().String() {
		t.Errorf("master was told of %v", r.accept)
	}
}
