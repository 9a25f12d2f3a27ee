package authd

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/ipc/authmsg"
	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/secret"
	"rookery/internal/settings"
)

// The whole way of one login: SASL, ticket, redeemed once.
func TestPlainLogin(t *testing.T) {
	r := newRig(t, nil)
	g, ok := r.plain("ann", "pass").(*authmsg.Granted)
	if !ok || g.User != "ann" {
		t.Fatal(show(g))
	}
	m := r.redeem(g.Ticket, 7, "imap", "s1")
	if got := show(m); got != "redeemed ann 1000/1001 /srv/mail/ann [mail_path=/srv/mail/ann/Maildir] PLAIN" {
		t.Error(got)
	}
	rec := m.(*redeemmsg.Redeemed).Record
	if rec.Remote != r.peer().Remote || rec.Local != r.peer().Local || !rec.TLS {
		t.Errorf("facts of the connection: %+v", rec)
	}
	r.wantLog()
	if got := show(r.redeem(g.Ticket, 7, "imap", "s1")); got != `failed not found "The login ticket is not valid."` {
		t.Error(got)
	}
	r.wantLog("Error: refused a ticket of login channel 7 for imap, session <s1>: no such ticket: made up, used before or long expired")
}

// A ticket is good on its own channel, for its service and session only.
func TestTicketIsBound(t *testing.T) {
	r := newRig(t, nil)
	for _, c := range []struct {
		channel          uint64
		service, session string
		line             string
	}{
		{8, "imap", "s1", "Error: refused a ticket of login channel 8 for imap, session <s1>: the ticket was issued on another channel (issued to user ann, session <s1>)"},
		{7, "pop3", "s1", "Error: refused a ticket of login channel 7 for pop3, session <s1>: the ticket was issued for another service (issued to user ann, session <s1>)"},
		{7, "imap", "s2", "Error: refused a ticket of login channel 7 for imap, session <s2>: the ticket was issued for another session (issued to user ann, session <s1>)"},
	} {
		g := r.plain("ann", "pass").(*authmsg.Granted)
		if got := show(r.redeem(g.Ticket, c.channel, c.service, c.session)); got != `failed authentication failed "The login ticket is not valid."` {
			t.Error(got)
		}
		r.wantLog(c.line)
		if got := show(r.redeem(g.Ticket, 7, "imap", "s1")); !strings.HasPrefix(got, "failed") {
			t.Errorf("after a wrong showing: %s", got)
		}
		r.log.take()
	}
	// A channel that is not a login process's cannot get logins.
	other := r.attach(9, "lmtp")
	defer other.Close()
	r.recv(other)
	r.send(other, &authmsg.Begin{ID: 1, Peer: r.peer(), Mech: "PLAIN", HasInitial: true, Initial: secret.FromString("\x00ann\x00pass")})
	g := r.recv(other).(*authmsg.Granted)
	if got := show(r.redeem(g.Ticket, 9, "imap", "s1")); !strings.HasPrefix(got, "failed") {
		t.Error(got)
	}
}

// Each outcome of a password login: what the client is told and what the log says.
func TestOutcomes(t *testing.T) {
	r := newRig(t, nil)
	for _, c := range []struct {
		user, password, want string
		lines                []string
	}{
		{"ann", "wrong", `refused "ann" authentication failed ""`, []string{"Info: passwd-file(ann,192.0.2.7,<s1>): Password mismatch"}},
		{"hash", "secret", "granted hash", nil},
		{"hash", "wrong", `refused "hash" authentication failed ""`, []string{"Info: passwd-file(hash,192.0.2.7,<s1>): Password mismatch"}},
		{"nobody", "x", `refused "nobody" authentication failed ""`, []string{"Info: passwd-file(nobody,192.0.2.7,<s1>): unknown user"}},
		{"closed", "pass", `refused "closed" authorization failed "Closed_for_repairs"`, []string{"Info: passwd-file(closed,192.0.2.7,<s1>): nologin is set"}},
		{"closed", "wrong", `refused "closed" authentication failed ""`, []string{"Info: passwd-file(closed,192.0.2.7,<s1>): Password mismatch"}},
		{"far", "pass", `refused "far" authentication failed ""`, []string{"Info: passwd-file(far,192.0.2.7,<s1>): allow_nets check failed: IP 192.0.2.7 not in allowed networks"}},
		{"free", "anything", "granted free", nil},
		{"empty", "", `refused "empty" authentication failed ""`, []string{"Info: passwd-file(empty,192.0.2.7,<s1>): Password mismatch"}},
		{"odd", "x", `refused "odd" unavailable ""`, []string{"Error: passwd-file(odd,192.0.2.7,<s1>): The stored password cannot be used: unknown scheme NOSUCH"}},
		{"weak", "secret", `refused "weak" unavailable ""`, []string{"Error: passwd-file(weak,192.0.2.7,<s1>): The stored password cannot be used: weak scheme PLAIN-MD5 (auth_allow_weak_schemes is false)"}},
		{"prox", "pass", `refused "prox" unavailable ""`, []string{"Error: passwd-file(prox,192.0.2.7,<s1>): The extra field proxy is set, but this release does not proxy logins: remove proxy, proxy_maybe and host for this user"}},
		{"alias", "pass", "granted ann", nil},
		{"ANN", "pass", "granted ann", nil}, // auth_username_format's default
		{"root", "pass", `refused "root" unavailable ""`, []string{"Error: userdb(root,192.0.2.7,<s1>): Uid 0 is not permitted: first_valid_uid is 500, last_valid_uid 0"}},
		{"noid", "pass", `refused "noid" unavailable ""`, []string{"Error: userdb(noid,192.0.2.7,<s1>): The userdb gives no uid and mail_uid is not set"}},
		{"a b", "pass", `refused "a b" authentication failed ""`, []string{"Info: plain(?,192.0.2.7,<s1>): Username character disallowed by auth_username_chars: 0x20 (username: a%20b)"}},
		{"x,1.2.3.4):", "p", `refused "x,1.2.3.4):" authentication failed ""`, []string{"Info: plain(?,192.0.2.7,<s1>): Username character disallowed by auth_username_chars: 0x2c (username: x%2C1.2.3.4%29:)"}},
	} {
		if got := show(r.plain(c.user, c.password)); got != c.want {
			t.Errorf("%s/%s: %s, want %s", c.user, c.password, got, c.want)
		}
		r.wantLog(c.lines...)
	}
}

func TestQuietByDefault(t *testing.T) {
	r := newRig(t, func(s *settings.Set) { settings.AuthVerbose.Put(s, false) })
	r.plain("ann", "wrong")
	r.plain("nobody", "wrong")
	r.wantLog()
	r.plain("odd", "x") // an operator's fault is told all the same
	if got := r.log.take(); len(got) != 1 || !strings.HasPrefix(got[0], "Error: ") {
		t.Error(got)
	}
}

func TestVerbosePasswords(t *testing.T) {
	for _, c := range []struct {
		mode settings.PasswordLog
		want string
	}{
		{settings.PasswordLog{Mode: "plain"}, "Password mismatch (given password: wröng)"},
		{settings.PasswordLog{Mode: "plain", Cut: 3}, "Password mismatch (given password: wrö)"},
		{settings.PasswordLog{Mode: "sha1"}, "Password mismatch (SHA1 of given password: 36c9571fa371b727477809eb035d2ce25e314987)"},
		{settings.PasswordLog{Mode: "sha1", Cut: 6}, "Password mismatch (SHA1 of given password: 36c957)"},
	} {
		r := newRig(t, func(s *settings.Set) {
			settings.AuthVerbose.Put(s, false)
			settings.AuthVerbosePasswords.Put(s, c.mode)
		})
		r.wantLog(fmt.Sprintf("Warning: auth_verbose_passwords = %q: passwords of failed logins are written to the log. Switch it off when you are done", c.mode))
		r.plain("ann", "wröng")
		r.wantLog("Info: passwd-file(ann,192.0.2.7,<s1>): " + c.want)
		r.plain("nobody", "wröng")
		r.wantLog("Info: passwd-file(nobody,192.0.2.7,<s1>): " + strings.Replace(c.want, "Password mismatch", "unknown user", 1))
		r.plain("ann", "pass")
		r.wantLog()
	}
}

func TestNextPassdbIsNamed(t *testing.T) {
	r := newRig(t, func(s *settings.Set) {
		row := s.Rows("passdb")[0]
		s.PutRow("passdb", settings.Row{Name: "again", Values: row.Values})
		settings.AuthVerbosePasswords.Put(s, settings.PasswordLog{Mode: "plain"})
	})
	r.log.take()
	r.plain("ann", "no")
	r.wantLog("Info: passwd-file(ann,192.0.2.7,<s1>): Password mismatch (given password: no) - trying the next passdb",
		"Info: passwd-file(ann,192.0.2.7,<s1>): Password mismatch (given password: no)")
	r.plain("who", "no")
	r.wantLog("Info: passwd-file(who,192.0.2.7,<s1>): unknown user (given password: no) - trying the next passdb",
		"Info: passwd-file(who,192.0.2.7,<s1>): unknown user (given password: no)")
}

func TestDebugHidesPasswords(t *testing.T) {
	r := newRig(t, func(s *settings.Set) { settings.AuthVerbose.Put(s, false); settings.AuthDebug.Put(s, true) })
	r.plain("ann", "pass")
	r.wantLog(
		"Debug: client in: AUTH 1 PLAIN service=imap secured tls=TLSv1.3 session=s1 lip=192.0.2.1 rip=192.0.2.7 lport=143 rport=4711 resp=<hidden>",
		"Debug: passwd-file(ann,192.0.2.7,<s1>): lookup: user=ann",
		"Debug: passwd-file(ann,192.0.2.7,<s1>): extra fields: userdb_mail_path=/srv/mail/ann/Maildir",
		"Debug: master userdb out: USER 1 ann uid=1000 gid=1001 home=/srv/mail/ann mail_path=/srv/mail/ann/Maildir",
		"Debug: client passdb out: OK 1 user=ann",
	)
	r.plain("ann", "wrong") // auth_debug turns auth_verbose on
	r.wantLog(
		"Debug: client in: AUTH 2 PLAIN service=imap secured tls=TLSv1.3 session=s1 lip=192.0.2.1 rip=192.0.2.7 lport=143 rport=4711 resp=<hidden>",
		"Debug: passwd-file(ann,192.0.2.7,<s1>): lookup: user=ann",
		"Debug: passwd-file(ann,192.0.2.7,<s1>): extra fields: userdb_mail_path=/srv/mail/ann/Maildir",
		"Info: passwd-file(ann,192.0.2.7,<s1>): Password mismatch",
		"Debug: client passdb out: FAIL 2 user=ann code=authentication failed",
	)
}

// A password, right or wrong, in every mechanism shows in no line, nor in any
// encoding of it, unless a password setting says so.
func TestPasswordsShowNowhere(t *testing.T) {
	const right, wrong = "kX9qLw2TzR7vBn4M", "pY3hJc8WsD6gFa1Q"
	r := newRig(t, func(s *settings.Set) { settings.AuthDebug.Put(s, true) })
	r.write("users", "ann:{PLAIN}"+right+":1000:1000::/h::userdb_some_pass="+right+"\n")
	for _, pw := range []string{right, wrong} {
		r.plain("ann", pw)
		r.plain("nobody", pw)
		r.begin("LOGIN", "ann")
		r.next(pw)
		c := r.begin("CRAM-MD5", "").(*authmsg.Challenge)
		r.next("ann " + hmacMD5(pw, string(c.Data)))
		r.begin("PLAIN", "junk "+pw)
		r.begin("SCRAM-SHA-256", "n,,n=ann,r="+pw)
		r.next("c=biws,r=" + pw)
		r.plain(pw, "x") // typed into the wrong box: that is a user name then, and shown as one
		r.send(r.master, &redeemmsg.Test{ID: 5, User: "ann", Password: secret.FromString(pw), Service: "imap"})
		r.recv(r.master)
	}
	lines := r.log.take()
	if len(lines) < 50 {
		t.Errorf("only %d lines", len(lines))
	}
	for _, pw := range []string{right, wrong} {
		forms := []string{pw, hex.EncodeToString([]byte(pw))}
		for off := range 3 { // base64 of the password somewhere inside a longer text
			enc := base64.StdEncoding.EncodeToString([]byte("xxx"[:off] + pw))
			forms = append(forms, enc[4:len(enc)-4])
		}
		for _, line := range lines {
			if strings.Contains(line, "nobody") || !strings.Contains(line, "("+strings.ToLower(pw)+",") && !strings.Contains(line, "user="+strings.ToLower(pw)) && !strings.Contains(line, "user="+pw) {
				for _, form := range forms {
					if strings.Contains(line, form) {
						t.Errorf("%q shows in %s", form, line)
					}
				}
			}
		}
	}
}

func TestDebugPasswords(t *testing.T) {
	r := newRig(t, func(s *settings.Set) { settings.AuthDebugPasswords.Put(s, true) })
	r.wantLog("Warning: auth_debug_passwords = true: passwords, right and wrong, and stored secrets are written to the log. Switch it off and delete the log when you are done")
	r.plain("ann", "wrong")
	lines := r.log.take()
	for _, want := range []string{
		"Debug: client in: AUTH 1 PLAIN service=imap secured tls=TLSv1.3 session=s1 lip=192.0.2.1 rip=192.0.2.7 lport=143 rport=4711 resp=AGFubgB3cm9uZw==",
		"Debug: passwd-file(ann,192.0.2.7,<s1>): PLAIN(wrong) != 'pass'",
		"Info: passwd-file(ann,192.0.2.7,<s1>): Password mismatch",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no line %q in\n%s", want, strings.Join(lines, "\n"))
		}
	}
	r.write("users", "ann:{PLAIN}5en6G6MezRroT3XKqkdPOmY/BfQ=:1000:1000::/h::\nbare:secret:1::\n")
	r.plain("ann", "secret")
	if lines := r.log.take(); !slices.Contains(lines, "Debug: passwd-file(ann,192.0.2.7,<s1>): PLAIN(secret) != '5en6G6MezRroT3XKqkdPOmY/BfQ=', try SHA scheme instead") {
		t.Error(strings.Join(lines, "\n"))
	}
	r.plain("bare", "secret")
	lines = r.log.take()
	if !slices.Contains(lines, "Debug: passwd-file(bare,192.0.2.7,<s1>): try PLAIN scheme instead") {
		t.Error(strings.Join(lines, "\n"))
	}
}

// log_debug for one user or address, from the settings and at run time.
func TestLogDebug(t *testing.T) {
	r := newRig(t, func(s *settings.Set) { settings.LogDebug.Put(s, []string{"user=ann"}) })
	r.plain("hash", "secret")
	r.wantLog()
	r.plain("ann", "pass")
	if got := r.log.take(); len(got) == 0 {
		t.Error("no debug line for ann")
	}
	set := func(filter string) {
		r.send(r.master, &redeemmsg.LogDebug{Filter: filter})
		r.send(r.master, &redeemmsg.Lookup{ID: 1, User: "boss", Service: "imap"}) // its answer comes after
		r.recv(r.master)
		r.log.take()
	}
	set("remote_ip=192.0.2.0/24")
	r.plain("hash", "secret")
	if got := r.log.take(); len(got) == 0 || !strings.HasPrefix(got[0], "Debug: client in: AUTH") || strings.Contains(strings.Join(got, ""), "secret") {
		t.Errorf("%q", got)
	}
	set("")
	r.plain("hash", "secret")
	r.wantLog()
}

func TestMechanisms(t *testing.T) {
	r := newRig(t, nil)
	var names []string
	for _, m := range r.mechs {
		names = append(names, fmt.Sprintf("%s/%t/%t", m.Name, m.Plaintext, m.Private))
	}
	if got := strings.Join(names, " "); got != "PLAIN/true/false LOGIN/true/false CRAM-MD5/false/false APOP/false/true SCRAM-SHA-256/false/false" {
		t.Error(got)
	}
	if got := show(r.begin("ANONYMOUS", "trace")); got != `refused "" invalid "Unsupported authentication mechanism."` {
		t.Error(got)
	}
	r.wantLog("Info: anonymous(?,192.0.2.7,<s1>): unsupported or disabled mechanism")
	r.begin("LOGIN", "")
	r.next("ann")
	if got := show(r.next("pass")); got != "granted ann" {
		t.Error(got)
	}
	if got := show(r.begin("PLAIN", "junk")); got != `refused "" invalid "Invalid authentication data."` {
		t.Error(got)
	}
	r.wantLog("Info: plain(?,192.0.2.7,<s1>): invalid input: 0 NULs, need 2")
}

func hmacMD5(key, text string) string {
	m := hmac.New(md5.New, []byte(key))
	m.Write([]byte(text))
	return hex.EncodeToString(m.Sum(nil))
}

func TestCRAMAndAPOP(t *testing.T) {
	r := newRig(t, nil)
	cram := func(user, password string) string {
		c := r.begin("CRAM-MD5", "").(*authmsg.Challenge)
		if !strings.HasPrefix(string(c.Data), "<") || !strings.HasSuffix(string(c.Data), "@mail.example.test>") {
			t.Errorf("challenge %q", c.Data)
		}
		return show(r.next(user + " " + hmacMD5(password, string(c.Data))))
	}
	for _, c := range []struct{ got, want string }{
		{cram("ann", "pass"), "granted ann"},
		{cram("ann", "wrong"), `refused "ann" authentication failed ""`},
		{cram("nobody", "x"), `refused "nobody" authentication failed ""`},
		{cram("hash", "secret"), `refused "hash" authentication failed ""`},
		{cram("closed", "pass"), `refused "closed" authorization failed "Closed_for_repairs"`},
	} {
		if c.got != c.want {
			t.Errorf("CRAM-MD5: %s, want %s", c.got, c.want)
		}
	}
	r.wantLog("Info: passwd-file(ann,192.0.2.7,<s1>): Password mismatch",
		"Info: passwd-file(nobody,192.0.2.7,<s1>): unknown user",
		"Info: passwd-file(hash,192.0.2.7,<s1>): Requested CRAM-MD5 scheme, but we have only SHA256",
		"Info: passwd-file(closed,192.0.2.7,<s1>): nologin is set")

	stamp := func(n int) string {
		return fmt.Sprintf("<%s.%d.%d@mail.example.test>", r.prefix, n, time.Now().Unix())
	}
	apop := func(stamp, user, password, session string) string {
		d := md5.Sum([]byte(stamp + password))
		return show(r.begin("APOP", stamp+"\x00"+user+"\x00"+string(d[:]), func(p *authmsg.Peer) { p.Service, p.Session = "pop3", session }))
	}
	one, two := stamp(1), stamp(2)
	const bad = `refused "" invalid "Invalid authentication data."`
	for _, c := range []struct{ name, got, want string }{
		{"wrong", apop(one, "ann", "wrong", "p1"), `refused "ann" authentication failed ""`},
		{"again on the same connection", apop(one, "ann", "pass", "p1"), "granted ann"},
		{"replayed there", apop(one, "ann", "pass", "p1"), bad},
		{"replayed elsewhere", apop(one, "ann", "pass", "p2"), bad},
		{"another's", apop(two, "ann", "wrong", "p3") + apop(two, "ann", "pass", "p4"), `refused "ann" authentication failed ""` + bad},
		{"made up", apop("<x.1.1@h>", "ann", "pass", "p5"), bad},
		{"old", apop(fmt.Sprintf("<%s.9.%d@h>", r.prefix, time.Now().Unix()-7200), "ann", "pass", "p6"), bad},
		{"unknown", apop(stamp(10), "nobody", "pass", "p7"), `refused "nobody" authentication failed ""`},
	} {
		if c.got != c.want {
			t.Errorf("APOP %s: %s, want %s", c.name, c.got, c.want)
		}
	}
}

func TestPrivacy(t *testing.T) {
	bare := func(p *authmsg.Peer) { p.TLS, p.Secured = false, false }
	r := newRig(t, nil)
	if got := show(r.plain("ann", "pass", bare)); got != `refused "" privacy required ""` {
		t.Error(got)
	}
	if got := show(r.begin("CRAM-MD5", "", bare)); !strings.HasPrefix(got, "challenge") {
		t.Errorf("CRAM-MD5 shows no password: %s", got)
	}
	r = newRig(t, func(s *settings.Set) { settings.AuthAllowCleartext.Put(s, true) })
	if got := show(r.plain("ann", "pass", bare)); got != "granted ann" {
		t.Error(got)
	}
	r = newRig(t, func(s *settings.Set) { settings.SSL.Put(s, "required") })
	secured := func(p *authmsg.Peer) { p.TLS = false }
	for _, mech := range []string{"PLAIN", "CRAM-MD5", "SCRAM-SHA-256"} {
		if m, ok := r.begin(mech, "", secured).(*authmsg.Refused); !ok || m.Kind != errkind.Privacy {
			t.Errorf("%s without TLS: %s", mech, show(m))
		}
	}
}

func TestAnonymous(t *testing.T) {
	r := newRig(t, func(s *settings.Set) {
		settings.AuthMechanisms.Put(s, []string{"anonymous"})
		settings.AuthAnonymousUsername.Put(s, "ann")
	})
	g, ok := r.begin("ANONYMOUS", "me\x1b@x").(*authmsg.Granted)
	if !ok {
		t.Fatal("refused")
	}
	rec := r.redeem(g.Ticket, 7, "imap", "s1").(*redeemmsg.Redeemed).Record
	if rec.User != "ann" || !rec.Anonymous {
		t.Errorf("%+v", rec)
	}
	r.wantLog("Info: anonymous(ann,192.0.2.7,<s1>): anonymous login, trace: me\x1b@x") // logd makes it visible
}

func masters(s *settings.Set, more map[string]any) {
	row := s.Rows("passdb")[0]
	values := map[string]any{"driver": "passwd-file", "passwd_file_path": row.Values["passwd_file_path"], "master": true,
		"username_filter": []string{"boss"}}
	for k, v := range more {
		values[k] = v
	}
	s.PutRow("passdb", settings.Row{Name: "masters", Values: values})
	settings.AuthMasterUserSeparator.Put(s, "*")
	settings.AuthUsernameChars.Put(s, "")
}

func TestMasterUsers(t *testing.T) {
	r := newRig(t, func(s *settings.Set) { masters(s, nil) })
	for _, c := range []struct {
		initial, want string
		lines         []string
	}{
		{"\x00ann*boss\x00boss", "granted ann by boss", nil},
		{"ann\x00boss\x00boss", "granted ann by boss", nil},
		{"ann\x00ann\x00pass", "granted ann", nil},
		{"Ann\x00ann\x00pass", "granted ann", nil},
		{"\x00ann*boss\x00wrong", `refused "ann" authentication failed ""`, []string{"Info: passwd-file(boss,192.0.2.7,master,<s1>): Password mismatch"}},
		{"\x00ann*hash\x00secret", `refused "ann" authentication failed ""`, nil},
		{"hash\x00ann\x00pass", `refused "hash" authentication failed ""`, nil},
		{"\x00closed*boss\x00boss", `refused "closed" authorization failed "Closed_for_repairs"`, []string{"Info: passwd-file(closed,192.0.2.7,<s1>): nologin is set"}},
		{"\x00far*boss\x00boss", `refused "far" authentication failed ""`, []string{"Info: passwd-file(far,192.0.2.7,<s1>): allow_nets check failed: IP 192.0.2.7 not in allowed networks"}},
		{"\x00nobody*boss\x00boss", `refused "nobody" unavailable ""`, []string{"Error: userdb(nobody,192.0.2.7,<s1>): User not found from any userdbs"}},
		{"ann\x00x*boss\x00boss", `refused "x*boss" authentication failed ""`, []string{"Info: plain(?,192.0.2.7,<s1>): both an authorization identity and a master user in the name"}},
	} {
		if got := show(r.begin("PLAIN", c.initial)); got != c.want {
			t.Errorf("%q: %s, want %s", c.initial, got, c.want)
		}
		r.wantLog(c.lines...)
	}
	g := r.begin("PLAIN", "\x00ann*boss\x00boss").(*authmsg.Granted)
	if rec := r.redeem(g.Ticket, 7, "imap", "s1").(*redeemmsg.Redeemed).Record; rec.User != "ann" || rec.Master != "boss" || rec.UID != 1000 {
		t.Errorf("%+v", rec)
	}
	c := r.begin("CRAM-MD5", "").(*authmsg.Challenge)
	if got := show(r.next("ann*boss " + hmacMD5("boss", string(c.Data)))); got != "granted ann by boss" {
		t.Error(got)
	}
	// result_success = "continue": the user must be in a passdb himself.
	r = newRig(t, func(s *settings.Set) { masters(s, map[string]any{"result_success": "continue"}) })
	if got := show(r.begin("PLAIN", "\x00ann*boss\x00boss")); got != "granted ann by boss" {
		t.Error(got)
	}
	if got := show(r.begin("PLAIN", "\x00nobody*boss\x00boss")); got != `refused "nobody" authentication failed ""` {
		t.Error(got)
	}
}
