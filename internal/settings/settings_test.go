package settings

import (
	"bytes"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// sample is a Set with one of everything.
func sample(t *testing.T) *Set {
	t.Helper()
	s := New()
	AuthVerbose.Put(s, true)
	LoginTrustedNetworks.Put(s, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")})
	LoginTimeout.Put(s, 90*time.Second)
	AuthVerbosePasswords.Put(s, PasswordLog{"sha1", 6})
	put := func(table, name string, raw map[string]any, sub ...Row) {
		tb := LookupTable(table)
		row := Row{Name: name, Values: map[string]any{}, Sub: sub}
		raw["name"] = name
		for k, v := range raw {
			got, err := tb.Field(k).FromRaw(v)
			if err != nil {
				t.Fatalf("%s %s: %v", table, k, err)
			}
			row.Values[k] = got
		}
		if err := tb.Check(row); err != nil {
			t.Fatal(err)
		}
		s.PutRow(table, row)
	}
	put("listener", "imap", map[string]any{"protocol": "imap", "haproxy": true})
	put("passdb", "users", map[string]any{"driver": "passwd-file", "passwd_file_path": "/etc/rookery/%{user | domain}/users",
		"fields": map[string]any{"userdb_mail_path": "~/Mail"}})
	put("userdb", "all", map[string]any{"driver": "static", "fields": map[string]any{"uid": int64(1000), "home": "/srv/%{user}"}})
	trash := Row{Name: "Trash", Values: map[string]any{"name": "Trash", "auto": "create", "special_use": []string{`\Trash`}}}
	put("namespace", "inbox", map[string]any{"inbox": true}, trash)
	put("ssl_server_name", "mail.example.org", map[string]any{"cert_file": "/c", "key_file": "/k"})
	return s
}

func TestRoleReceivesItsOwnPartOnly(t *testing.T) {
	s := sample(t)
	for _, row := range roleNames[1:] {
		b := s.ForRole(row.role)
		got, err := Decode(row.role, b)
		if err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		for _, d := range All() {
			has := bytes.Contains(b, append([]byte{byte(len(d.Name))}, d.Name...))
			if want := d.Roles&row.role != 0; has != want {
				t.Errorf("%s in the part of %s: %v, want %v", d.Name, row.name, has, want)
			} else if want && d.Show(got.Value(d)) != d.Show(s.Value(d)) {
				t.Errorf("%s: %s became %s", d.Name, d.Show(s.Value(d)), d.Show(got.Value(d)))
			}
		}
		if again := got.ForRole(row.role); !bytes.Equal(again, b) {
			t.Errorf("%s: a second encoding differs", row.name)
		}
		for cut := range b {
			if _, err := Decode(row.role, b[:cut]); err == nil {
				t.Fatalf("%s: %d of %d bytes were accepted", row.name, cut, len(b))
			}
		}
		if _, err := Decode(row.role, append(b, 0)); err == nil {
			t.Errorf("%s: an extra byte was accepted", row.name)
		}
	}
	if _, err := Decode(RoleLogin, s.ForRole(RoleAuthd)); err == nil {
		t.Error("login read authd's part")
	}
}

func TestDecodedTables(t *testing.T) {
	s := sample(t)
	authd, err := Decode(RoleAuthd, s.ForRole(RoleAuthd))
	if err != nil {
		t.Fatal(err)
	}
	if got := authd.Passdbs(); !reflect.DeepEqual(got, s.Passdbs()) || len(got) != 1 || got[0].DefaultScheme != "CRYPT" {
		t.Errorf("passdbs: %+v", got)
	}
	if got := authd.Namespaces()[0].Mailboxes; got != nil {
		t.Errorf("authd was told of mailboxes: %v", got)
	}
	worker, err := Decode(RoleIMAP, s.ForRole(RoleIMAP))
	if err != nil {
		t.Fatal(err)
	}
	want := []Mailbox{{Name: "Trash", Auto: "create", SpecialUse: []string{`\Trash`}, QuotaStoragePercentage: 100}}
	if got := worker.Namespaces()[0].Mailboxes; !reflect.DeepEqual(got, want) {
		t.Errorf("mailboxes: %+v", got)
	}
	if l := s.Listeners()[0]; l.Port != 143 || !l.Haproxy || l.Service() != "imap" || l.TLS() {
		t.Errorf("listener: %+v", l)
	}
}

func TestReadingAnothersSettingPanics(t *testing.T) {
	s, err := Decode(RoleLogin, New().ForRole(RoleLogin))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("login read auth_verbose")
		}
	}()
	AuthVerbose.Get(s)
}

// Each default is itself a legal value, and survives being written and read.
func TestDefaultsAreLegal(t *testing.T) {
	for _, d := range All() {
		if err := d.validate(d.Default); err != nil {
			t.Errorf("%s: the default %v", d.Name, err)
		}
		if d.Text == "" || d.Roles == 0 || d.File == "" || !strings.HasSuffix(d.Text, ".") && !strings.HasSuffix(d.Text, `".`) {
			t.Errorf("%s: text, role or file is missing, or the text lacks its full stop", d.Name)
		}
	}
	for _, tb := range Tables() {
		for _, d := range tb.Fields {
			// A namespace has its own of what says where mail lies, and how.
			own := tb.Name == "namespace" && (strings.HasPrefix(d.Name, "mail_") || d.Name == "mailbox_list_layout")
			if Lookup(d.Name) != nil && !own {
				t.Errorf("the field %s of %s hides the setting of that name", d.Name, tb.Name)
			}
		}
	}
}

func TestFromRaw(t *testing.T) {
	for _, test := range []struct {
		decl *Decl
		raw  any
		want string // what Show writes, or "!" and a part of the error
	}{
		{AuthVerbose.Decl(), true, "true"},
		{AuthVerbose.Decl(), "yes", "!write true"},
		{AuthVerbose.Decl(), "no", "!write false"},
		{AuthVerbose.Decl(), int64(1), "!must be true or false"},
		{LoginTimeout.Decl(), "3 mins", `"3 mins"`},
		{LoginTimeout.Decl(), "180s", `"3 mins"`},
		{LoginTimeout.Decl(), int64(180), `!write "180 secs"`},
		{LoginTimeout.Decl(), "180", `!write "180 secs"`},
		{LoginTimeout.Decl(), "1s", "!out of range"},
		{LoginTimeout.Decl(), "3 moons", "!unknown unit"},
		{LoginTimeout.Decl(), "99999999999 weeks", "!too long"},
		{AuthFailureDelay.Decl(), int64(0), "0"},
		{IMAPMaxLineLength.Decl(), "64k", `"64 KiB"`},
		{IMAPMaxLineLength.Decl(), "1 MB", `"1 MiB"`},
		{IMAPMaxLineLength.Decl(), int64(65536), `"64 KiB"`},
		{IMAPMaxLineLength.Decl(), "1 GiB", "!out of range"},
		{IMAPMaxLineLength.Decl(), "9999999999 TiB", "!too large"},
		{MailMaxUserIPConnections.Decl(), int64(10), "10"},
		{MailMaxUserIPConnections.Decl(), "10", "!whole number"},
		{MailMaxUserIPConnections.Decl(), "unlimited", "0"},
		{MailMaxUserIPConnections.Decl(), int64(0), "0"},
		{MailMaxUserIPConnections.Decl(), int64(-1), "!out of range"},
		{WorkerProcessLimit.Decl(), int64(0), "!out of range"},
		{SSL.Decl(), "required", `"required"`},
		{SSL.Decl(), true, `!write "yes"`},
		{SSL.Decl(), "requird", `!did you mean "required"`},
		{AuthMechanisms.Decl(), []any{"plain", "login"}, `["plain", "login"]`},
		{AuthMechanisms.Decl(), "plain login", `!write ["plain", "login"]`},
		{AuthMechanisms.Decl(), []any{"plian"}, `!did you mean "plain"`},
		{LoginTrustedNetworks.Decl(), []any{"192.0.2.7", "10.0.0.0/8"}, `["192.0.2.7/32", "10.0.0.0/8"]`},
		{LoginTrustedNetworks.Decl(), []any{"10.0.0.1/8"}, `!write "10.0.0.0/8"`},
		{LoginTrustedNetworks.Decl(), []any{"localhost"}, "!is not a network"},
		{AuthVerbosePasswords.Decl(), "yes", `"plain"`},
		{AuthVerbosePasswords.Decl(), "plain:3", `"plain:3"`},
		{AuthVerbosePasswords.Decl(), "sha1:0", "!at least 1"},
		{AuthVerbosePasswords.Decl(), "sha1:-1", "!at least 1"},
		{AuthVerbosePasswords.Decl(), "md5", "!must be"},
		{AuthVerbosePasswords.Decl(), "no:3", "!must be"},
		{AuthVerbosePasswords.Decl(), true, `!write "yes"`},
		{SSLServerCertFile.Decl(), "cert.pem", "!absolute path"},
		{LogPath.Decl(), "syslog", `"syslog"`},
		{LogPath.Decl(), "mail.log", "!must be"},
		{LogDebug.Decl(), []any{"user=ann", "remote_ip=192.0.2.7"}, `["user=ann", "remote_ip=192.0.2.7"]`},
		{LogDebug.Decl(), []any{"ann"}, "!is no filter"},
		{MailPath.Decl(), "/srv/%{user | domain}/%{user | username}", `"/srv/%{user | domain}/%{user | username}"`},
		{MailPath.Decl(), "/srv/%u", "!write %{user}"},
		{MailPath.Decl(), "/srv/%{username}", "!write %{user | username}"},
		{MailPath.Decl(), "/srv/%{usr}", "!did you mean %{user}"},
		{POP3UIDLFormat.Decl(), "%08Xu%08Xv", "!Dovecot 2.3's variable"},
		{POP3UIDLFormat.Decl(), "%{uidvalidity}", "!must use %{uid}"},
		{AuthUsernameFormat.Decl(), "everybody", "!must use %{user}"},
		{SyslogTag.Decl(), "a b", "!cannot be a syslog tag"},
		{LoginGreeting.Decl(), "hi\r\n* BYE", "!control character"},
		{IMAPIDSend.Decl(), map[string]any{}, "{}"},
		{IMAPIDSend.Decl(), map[string]any{strings.Repeat("n", 30): strings.Repeat("v", 1024)}, "{ " + strings.Repeat("n", 30) + ` = "` + strings.Repeat("v", 1024) + `" }`},
		{IMAPIDSend.Decl(), map[string]any{strings.Repeat("n", 31): "v"}, "!longer than 30 octets"},
		{IMAPIDSend.Decl(), map[string]any{"": "v"}, "!empty"},
		{IMAPIDSend.Decl(), map[string]any{"n": strings.Repeat("v", 1025)}, "!longer than 1024 octets"},
		{IMAPIDSend.Decl(), map[string]any{"name": "x", "Name": "y"}, "!twice"},
		{IMAPIDSend.Decl(), manyFields(31), "!more than 30 fields"},
	} {
		v, err := test.decl.FromRaw(test.raw)
		if want, bad := strings.CutPrefix(test.want, "!"); bad {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s = %v: error %v, want %q in it", test.decl.Name, test.raw, err, want)
			}
		} else if err != nil || test.decl.Show(v) != want {
			t.Errorf("%s = %v: %s, %v; want %s", test.decl.Name, test.raw, test.decl.Show(v), err, want)
		}
	}
}

func TestWithUser(t *testing.T) {
	s := New()
	got, err := s.WithUser(map[string]string{"mail_path": "/x/%{user}", "uid": "7", "mail_max_userip_connections": "3"})
	if err != nil || MailPath.Get(got).String() != "/x/%{user}" || MailMaxUserIPConnections.Get(got) != 3 {
		t.Errorf("%v, %v", MailPath.Get(got), err)
	}
	if MailPath.Get(s).String() != "~/Maildir" {
		t.Error("the common set was changed")
	}
	if _, err := s.WithUser(map[string]string{"auth_verbose": "yes"}); err == nil {
		t.Error("a userdb set auth_verbose")
	}
}

func TestShowHidden(t *testing.T) {
	d := LookupTable("userdb").Field("fields")
	v, err := d.FromRaw(map[string]any{"password": "geheim", "uid": "7"})
	if err != nil || d.ShowHidden(v) != `{ password = "<hidden>", uid = "7" }` {
		t.Errorf("%s, %v", d.ShowHidden(v), err)
	}
}

func TestNearest(t *testing.T) {
	for word, want := range map[string]string{"auth_verbos": "auth_verbose", "auth_vebrose": "auth_verbose", "zzz": "", "ssl_mni_protocol": "ssl_min_protocol"} {
		var names []string
		for _, d := range All() {
			names = append(names, d.Name)
		}
		if got := Nearest(word, names); got != want {
			t.Errorf("%s: %q, want %q", word, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, row := range roleNames[1:] {
		f.Add(uint16(row.role), New().ForRole(row.role))
	}
	f.Fuzz(func(t *testing.T, role uint16, b []byte) {
		s, err := Decode(Role(role), b)
		if err != nil {
			return
		}
		if _, err := Decode(Role(role), s.ForRole(Role(role))); err != nil {
			t.Fatal("what was read cannot be read again:", err)
		}
	})
}

func manyFields(n int) map[string]any {
	m := map[string]any{}
	for i := range n {
		m[string(rune('a'+i/26))+string(rune('a'+i%26))] = "v"
	}
	return m
}
