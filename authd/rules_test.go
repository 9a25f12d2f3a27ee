package authd

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"rookery/authd/internal/passhash"
	"rookery/internal/child"
	"rookery/internal/errkind"
	"rookery/internal/ipc"
	"rookery/internal/ipc/authmsg"
	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/secret"
	"rookery/internal/settings"
)

// scramFinal is an honest client's last message.
func scramFinal(t testing.TB, password, firstBare, serverFirst string) string {
	t.Helper()
	var nonce, salt string
	var iterations int
	for _, a := range strings.Split(serverFirst, ",") {
		switch a[0] {
		case 'r':
			nonce = a[2:]
		case 's':
			salt = a[2:]
		case 'i':
			fmt.Sscan(a[2:], &iterations)
		}
	}
	saltBytes, err := base64.StdEncoding.DecodeString(salt)
	if err != nil {
		t.Fatal(err)
	}
	mac := func(key []byte, text string) []byte {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	u := mac([]byte(password), string(saltBytes)+"\x00\x00\x00\x01") // Hi(), RFC 5802 §2.2
	salted := slices.Clone(u)
	for range iterations - 1 {
		u = mac([]byte(password), string(u))
		for i := range u {
			salted[i] ^= u[i]
		}
	}
	clientKey := mac(salted, "Client Key")
	stored := sha256.Sum256(clientKey)
	without := "c=biws,r=" + nonce
	proof := mac(stored[:], firstBare+","+serverFirst+","+without)
	for i := range proof {
		proof[i] ^= clientKey[i]
	}
	return without + ",p=" + base64.StdEncoding.EncodeToString(proof)
}

func (r *rig) scram(user, password string) (end, salt string) {
	r.t.Helper()
	bare := "n=" + user + ",r=clientnonce"
	c, ok := r.begin("SCRAM-SHA-256", "n,,"+bare).(*authmsg.Challenge)
	if !ok {
		r.t.Fatal("no challenge")
	}
	salt = strings.Split(string(c.Data), ",")[1]
	m := r.next(scramFinal(r.t, password, bare, string(c.Data)))
	if c, ok := m.(*authmsg.Challenge); ok && strings.HasPrefix(string(c.Data), "v=") {
		m = r.next("")
	}
	return show(m), salt
}

// SCRAM with a stored verifier, with a cleartext secret and without a user; an
// unknown user's salt is as steady as a known one's.
func TestSCRAM(t *testing.T) {
	r := newRig(t, nil)
	r.write("users", stdUsers+"ver:"+hashed(t, "SCRAM-SHA-256", 0)+":1000:1000::/h::\n")
	_, salt := r.scram("nobody", "x")
	for _, c := range []struct{ user, password, want string }{
		{"ann", "pass", "granted ann"},
		{"ann", "no", `refused "ann" authentication failed ""`},
		{"nobody", "x", `refused "nobody" authentication failed ""`},
		{"hash", "secret", `refused "hash" authentication failed ""`},
		{"ver", "pass", "granted ver"},
		{"ver", "no", `refused "ver" authentication failed ""`},
	} {
		got, s := r.scram(c.user, c.password)
		if got != c.want || c.user == "nobody" && s != salt || len(s) != len(salt) {
			t.Errorf("%s: %s (%s), want %s (%s)", c.user, got, s, c.want, salt)
		}
	}
	r.wantLog("Info: passwd-file(nobody,192.0.2.7,<s1>): unknown user",
		"Info: passwd-file(ann,192.0.2.7,<s1>): Password mismatch",
		"Info: passwd-file(nobody,192.0.2.7,<s1>): unknown user",
		"Info: passwd-file(hash,192.0.2.7,<s1>): Requested SCRAM-SHA-256 scheme, but we have only SHA256",
		"Info: passwd-file(ver,192.0.2.7,<s1>): Password mismatch")
}

func TestDenyAndChains(t *testing.T) {
	r := newRig(t, func(s *settings.Set) {
		users := s.Rows("passdb")[0]
		s.RemoveRow("passdb", "users")
		path := strings.TrimSuffix(users.Values["passwd_file_path"].(settings.Template).String(), "users")
		tm := func(name string) settings.Template {
			v, err := settings.ParseTemplate(path+name, nil)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		s.PutRow("passdb", settings.Row{Name: "deny", Values: map[string]any{"driver": "passwd-file", "passwd_file_path": tm("denied"), "deny": true}})
		s.PutRow("passdb", settings.Row{Name: "first", Values: map[string]any{"driver": "passwd-file", "passwd_file_path": tm("first"), "result_failure": "continue", "result_internalfail": "continue"}})
		s.PutRow("passdb", users)
	})
	r.write("denied", "hash\n")
	r.write("first", "extra:{PLAIN}x:2000:2000::/h::userdb_uid=2000\nann:{PLAIN}other:1:1\n")
	for _, c := range []struct {
		user, password, want string
		lines                []string
	}{
		{"hash", "secret", `refused "hash" authentication failed ""`, []string{"Info: passwd-file(hash,192.0.2.7,<s1>): User found from deny passdb"}},
		{"ann", "pass", "granted ann", []string{"Info: passwd-file(ann,192.0.2.7,<s1>): Password mismatch"}},
		{"ann", "other", "granted ann", nil},
		{"ann", "none", `refused "ann" authentication failed ""`, []string{"Info: passwd-file(ann,192.0.2.7,<s1>): Password mismatch", "Info: passwd-file(ann,192.0.2.7,<s1>): Password mismatch"}},
		{"boss", "boss", "granted boss", []string{"Info: passwd-file(boss,192.0.2.7,<s1>): unknown user"}},
	} {
		if got := show(r.plain(c.user, c.password)); got != c.want {
			t.Errorf("%s/%s: %s, want %s", c.user, c.password, got, c.want)
		}
		r.wantLog(c.lines...)
	}
	// A deny list that cannot be read lets nobody in.
	r.write("denied", strings.Repeat("#", 10))
	if err := removeFile(r, "denied"); err != nil {
		t.Fatal(err)
	}
	if got := show(r.plain("ann", "pass")); got != `refused "ann" unavailable ""` {
		t.Error(got)
	}
	if lines := r.log.take(); len(lines) != 1 || !strings.Contains(lines[0], "no such file") {
		t.Error(lines)
	}
}

// Failures wait; nodelay and successes pass them by.
func TestFailureDelay(t *testing.T) {
	r := newRig(t, func(s *settings.Set) { settings.AuthFailureDelay.Put(s, 3*time.Second) })
	names := map[uint64]string{}
	for _, c := range []struct{ user, password string }{{"ann", "no"}, {"quick", "no"}, {"ann", "pass"}} {
		r.nextID++
		names[r.nextID] = c.user + "/" + c.password
		r.send(r.login, &authmsg.Begin{ID: r.nextID, Peer: r.peer(), Mech: "PLAIN", HasInitial: true, Initial: secret.FromString("\x00" + c.user + "\x00" + c.password)})
	}
	var order []string
	for range 3 {
		switch m := r.recv(r.login).(type) {
		case *authmsg.Granted:
			order = append(order, names[m.ID])
		case *authmsg.Refused:
			order = append(order, names[m.ID])
			if held := names[m.ID] == "ann/no"; held != (m.Delayed >= 3*time.Second*3/4-10*time.Millisecond) {
				t.Errorf("%s was held back for %v", names[m.ID], m.Delayed)
			}
		}
	}
	if len(order) != 3 || order[2] != "ann/no" {
		t.Errorf("answered in the order %v", order)
	}
}

func TestPenaltyAndExemption(t *testing.T) {
	r := newRig(t, func(s *settings.Set) {
		settings.AuthPenalty.Put(s, true)
		settings.LimitsExemptNetworks.Put(s, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
		settings.LoginTrustedNetworks.Put(s, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
	})
	from := func(ip string) func(*authmsg.Peer) {
		return func(p *authmsg.Peer) { p.Remote = netip.AddrPortFrom(netip.MustParseAddr(ip), 1) }
	}
	for _, ip := range []string{"127.0.0.1", "10.1.2.3"} {
		began := time.Now()
		for i := range 5 {
			r.plain("ann", fmt.Sprint("no", i), from(ip))
		}
		if d := time.Since(began); d > 15*time.Second { // 29 s with the penalty
			t.Errorf("%s is exempt, five failures took %v", ip, d)
		}
	}
	r.plain("ann", "no", from("198.51.100.1"))
	began := time.Now()
	r.plain("ann", "pass", from("198.51.100.1"))
	if d := time.Since(began); d < 1900*time.Millisecond || d > 20*time.Second {
		t.Errorf("after one failure the next attempt took %v, want 2 s", d)
	}
	// Who goes away while he waits leaves nothing behind.
	r.plain("ann", "no", from("198.51.100.2"))
	r.nextID++
	p := r.peer()
	p.Remote = netip.MustParseAddrPort("198.51.100.2:1")
	r.send(r.login, &authmsg.Begin{ID: r.nextID, Peer: p, Mech: "PLAIN", HasInitial: true, Initial: secret.FromString("\x00ann\x00pass")})
	r.send(r.login, &authmsg.Cancel{ID: r.nextID})
	if got := show(r.plain("ann", "pass")); got != "granted ann" {
		t.Errorf("the next answer is %s", got)
	}
}

// A login process that breaks the rules loses its channel; others go on.
func TestBadLoginProcess(t *testing.T) {
	for name, send := range map[string]func(r *rig, c *ipc.Conn){
		"a number again": func(r *rig, c *ipc.Conn) {
			r.send(c, &authmsg.Begin{ID: 5, Peer: r.peer(), Mech: "LOGIN"})
			r.recv(c)
			r.send(c, &authmsg.Begin{ID: 5, Peer: r.peer(), Mech: "LOGIN"})
		},
		"a response nobody asked for": func(r *rig, c *ipc.Conn) {
			r.send(c, &authmsg.Begin{ID: 6, Peer: r.peer(), Mech: "LOGIN"})
			r.recv(c)
			r.send(c, &authmsg.Continue{ID: 6, Response: secret.FromString("a")})
			r.send(c, &authmsg.Continue{ID: 6, Response: secret.FromString("b")})
			r.send(c, &authmsg.Continue{ID: 6, Response: secret.FromString("c")})
		},
	} {
		r := newRig(t, nil)
		other := r.attach(8, "login")
		r.recv(other)
		send(r, other)
		for {
			if _, _, err := other.Recv(); err != nil {
				if !errors.Is(err, io.EOF) {
					t.Errorf("%s: %v", name, err)
				}
				break
			}
		}
		other.Close()
		if got := show(r.plain("ann", "pass")); got != "granted ann" {
			t.Errorf("%s: the other login process: %s", name, got)
		}
		lines := r.log.take()
		// The login that the unasked response follows may have been refused by then,
		// or a moment later.
		lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasSuffix(l, ": unknown user") })
		if len(lines) != 1 || !strings.HasPrefix(lines[0], "Error: auth channel 8 is closed: login broke the auth channel's rules: ") {
			t.Errorf("%s: %q", name, lines)
		}
	}
}

// Unknown numbers are no error: an answer may have crossed them.
func TestCrossedMessages(t *testing.T) {
	r := newRig(t, nil)
	r.send(r.login, &authmsg.Cancel{ID: 77})
	r.send(r.login, &authmsg.Continue{ID: 78})
	r.begin("LOGIN", "")
	r.send(r.login, &authmsg.Cancel{ID: r.nextID})
	r.send(r.login, &authmsg.Continue{ID: r.nextID})
	if got := show(r.plain("ann", "pass")); got != "granted ann" {
		t.Error(got)
	}
}

func TestLookupAndTest(t *testing.T) {
	r := newRig(t, nil)
	ask := func(m ipc.Message) string { r.send(r.master, m); return show(r.recv(r.master)) }
	test := func(user, password string) string {
		return ask(&redeemmsg.Test{ID: 1, User: user, Password: secret.FromString(password), Service: "imap"})
	}
	for _, c := range []struct{ got, want string }{
		{ask(&redeemmsg.Lookup{ID: 1, User: "Ann", Service: "imap"}), "redeemed ann 1000/1001 /srv/mail/ann [mail_path=/srv/mail/ann/Maildir] "},
		{ask(&redeemmsg.Lookup{ID: 1, User: "nobody"}), `failed not found "no such user in any userdb"`},
		{ask(&redeemmsg.Lookup{ID: 1, User: "a b"}), `failed not found "Username character disallowed by auth_username_chars: 0x20 (username: a%20b)"`},
		{ask(&redeemmsg.Lookup{ID: 1, User: "root"}), `failed unavailable "the userdb failed; the log has the reason"`},
		{test("ann", "pass"), "redeemed ann 1000/1001 /srv/mail/ann [mail_path=/srv/mail/ann/Maildir] PLAIN"},
		{test("ann", "no"), `failed authentication failed "authentication failed"`},
		{test("nobody", "no"), `failed authentication failed "authentication failed"`},
		{test("closed", "pass"), `failed authorization failed "Closed_for_repairs"`},
		{test("", "x"), `failed invalid "user name or password is too long or empty"`},
	} {
		if c.got != c.want {
			t.Errorf("%s, want %s", c.got, c.want)
		}
	}
}

// New settings hold for what begins after them; bad ones change nothing.
func TestReload(t *testing.T) {
	r := newRig(t, nil)
	if got := show(r.plain("weak", "secret")); got != `refused "weak" unavailable ""` {
		t.Error(got)
	}
	reload := func(s *settings.Set) *redeemmsg.SettingsDone {
		memfd, err := child.Seal("settings", child.Info{Settings: s.ForRole(settings.RoleAuthd)}.Encode())
		if err != nil {
			t.Fatal(err)
		}
		defer memfd.Close()
		if err := r.master.Send(&redeemmsg.Settings{Generation: 3}, int(memfd.Fd())); err != nil {
			t.Fatal(err)
		}
		return r.recv(r.master).(*redeemmsg.SettingsDone)
	}
	set := r.set.Clone()
	settings.AuthAllowWeakSchemes.Put(set, true)
	if m := reload(set); m.Problem != "" || m.Generation != 3 {
		t.Errorf("%+v", m)
	}
	r.recv(r.login) // Welcome again
	if got := show(r.plain("weak", "secret")); got != "granted weak" {
		t.Error(got)
	}
	bad := set.Clone()
	settings.MailUID.Put(bad, "no-such-user-here")
	if m := reload(bad); m.Problem != `mail_uid = "no-such-user-here": /etc/passwd does not have it` {
		t.Errorf("%+v", m)
	}
	if got := show(r.plain("weak", "secret")); got != "granted weak" {
		t.Errorf("after a bad reload: %s", got)
	}
	named := set.Clone()
	settings.MailUID.Put(named, "daemon")
	settings.MailGID.Put(named, "daemon")
	settings.FirstValidUID.Put(named, 1)
	settings.MailHome.Put(named, r.template("home"))
	if m := reload(named); m.Problem != "" {
		t.Errorf("%+v", m)
	}
	r.recv(r.login)
	g, ok := r.plain("noid", "pass").(*authmsg.Granted)
	if !ok {
		t.Fatal("refused")
	}
	if rec := r.redeem(g.Ticket, 7, "imap", "s1").(*redeemmsg.Redeemed).Record; rec.UID != 1 || rec.GID != 1 || rec.Home != r.dir+"/home" {
		t.Errorf("%+v", rec)
	}
}

// A hash that needs more memory than all may have fails with a line.
func TestMemoryLimit(t *testing.T) {
	r := newRig(t, func(s *settings.Set) { settings.AuthHashMemoryLimit.Put(s, 16<<20) })
	r.write("users", "big:"+hashed(t, "ARGON2ID", 1)+":1000:1000::/h::\n")
	if got := show(r.plain("big", "pass")); got != `refused "big" unavailable ""` {
		t.Error(got)
	}
	r.wantLog("Error: passwd-file(big,192.0.2.7,<s1>): The hash needs more memory than auth_hash_memory_limit")
}

// An unknown user, a refused name and a user without a password cost what a
// wrong password of a known user costs: one hash of the scheme that is usual.
func TestUnknownUserCosts(t *testing.T) {
	r := newRig(t, nil)
	stored := hashed(t, "BLF-CRYPT", 5)
	r.write("users", "ann:"+stored+":1000:1000::/h::\nempty::1000:1000::/h::\n")
	s, err := passhash.Parse(stored, "CRYPT", false)
	if err != nil || s.Cost().CPU < time.Millisecond {
		t.Fatal(err, s.Cost())
	}
	for _, user := range []string{"nobody", "ann", "nobody", "empty", "bad name"} { // the first before any scheme is usual
		before := r.server.pool.Ran()
		m, ok := r.plain(user, "wrong").(*authmsg.Refused)
		if !ok || m.Kind != errkind.AuthFailed || m.Text != "" {
			t.Errorf("%q: %s", user, show(m))
		}
		if n := r.server.pool.Ran() - before; n != 1 {
			t.Errorf("%q: %d hashes were made, want 1", user, n)
		}
	}
}

// A user without a session id or with odd characters cannot shape a line.
func TestLinesCannotBeForged(t *testing.T) {
	r := newRig(t, func(s *settings.Set) { settings.AuthUsernameChars.Put(s, "") })
	r.plain("x,1.2.3.4): unknown user", "p", func(p *authmsg.Peer) { p.Session = "s,9.9.9.9>" })
	r.wantLog("Info: passwd-file(x%2C1.2.3.4%29:%20unknown%20user,192.0.2.7,<s%2C9.9.9.9%3E>): unknown user")
	r.plain(strings.Repeat("long", 60), "p", func(p *authmsg.Peer) { p.Session = "" })
	r.wantLog("Info: passwd-file(" + strings.Repeat("long", 16) + "...,192.0.2.7): unknown user")
	r.plain("u", "p", func(p *authmsg.Peer) { p.Remote = netip.AddrPort{} })
	r.wantLog("Info: passwd-file(u,<s1>): unknown user")
}
