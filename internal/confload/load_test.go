package confload

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"math/big"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"rookery/internal/settings"
)

const mainFile = "/etc/rookery/rookery.toml"

// keyPair makes a self-signed certificate in PEM form.
func keyPair(t testing.TB) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Unix(1<<31, 0)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	p8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: p8})
}

// tables is the least that a server needs, without TLS.
const tables = `
[[listener]]
name = "imap"
protocol = "imap"
[[passdb]]
name = "users"
driver = "passwd-file"
passwd_file_path = "/etc/rookery/users"
[[userdb]]
name = "all"
driver = "static"
fields = { uid = 1000, gid = 1000, home = "/srv/%{user}" }
`

// tree is a file system with a whole configuration that has no problem; files
// replaces or adds some, each in its conf.d name or absolute path.
func tree(t testing.TB, files map[string]string) fstest.MapFS {
	t.Helper()
	cert, key := keyPair(t)
	fsys := fstest.MapFS{
		"etc/rookery/rookery.toml":          {Data: []byte("hostname = \"mail.example.org\"\n"), Mode: 0o644},
		"etc/rookery/conf.d/50-tables.toml": {Data: []byte(tables), Mode: 0o644},
		"etc/rookery/tls/cert.pem":          {Data: cert, Mode: 0o644},
		"etc/rookery/tls/key.pem":           {Data: key, Mode: 0o600},
		"etc/rookery/users":                 {Data: []byte("ann:{PLAIN}x\n"), Mode: 0o640},
	}
	for name, text := range files {
		full := "etc/rookery/conf.d/" + name
		if strings.HasPrefix(name, "/") {
			full = name[1:]
		}
		mode := fs.FileMode(0o644)
		if old, ok := fsys[full]; ok {
			mode = old.Mode
		}
		fsys[full] = &fstest.MapFile{Data: []byte(text), Mode: mode}
	}
	return fsys
}

func TestCleanConfiguration(t *testing.T) {
	r := Load(tree(t, map[string]string{"99-local.toml": "auth_verbose = true\n"}), mainFile)
	if len(r.Diags) != 0 {
		t.Fatal(r.Diags)
	}
	if !settings.AuthVerbose.Get(r.Set) || settings.Hostname.Get(r.Set) != "mail.example.org" {
		t.Error("values were not taken")
	}
	if got := r.Sources["auth_verbose"].String(); got != "/etc/rookery/conf.d/99-local.toml:1" {
		t.Error(got)
	}
	if got := r.Sources["passdb/users"].String(); got != "/etc/rookery/conf.d/50-tables.toml:5" {
		t.Error(got)
	}
}

// The shipped files themselves have no problem but for what only the machine
// can have (a certificate).
func TestShippedFiles(t *testing.T) {
	fsys := tree(t, nil)
	delete(fsys, "etc/rookery/conf.d/50-tables.toml")
	for name := range map[string]bool{"rookery.toml": true} {
		b, err := os.ReadFile("../../" + name)
		if err != nil {
			t.Fatal(err)
		}
		fsys["etc/rookery/"+name] = &fstest.MapFile{Data: b, Mode: 0o644}
	}
	entries, err := os.ReadDir("../../conf.d")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile("../../conf.d/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		fsys["etc/rookery/conf.d/"+e.Name()] = &fstest.MapFile{Data: b, Mode: 0o644}
	}
	r := Load(fsys, mainFile)
	if len(r.Diags) != 0 {
		t.Fatal(r.Diags)
	}
	if n := len(r.Set.Listeners()); n != 4 {
		t.Errorf("%d listeners", n)
	}
	for _, d := range settings.All() {
		if !r.Set.IsDefault(d) {
			t.Errorf("%s is shipped with a value that is not its default", d.Name)
		}
	}
	// Uncommenting each default changes nothing and stands in the right place.
	for name, f := range fsys {
		if strings.HasSuffix(name, ".toml") {
			var lines []string
			for _, line := range strings.Split(string(f.Data), "\n") {
				if bare, ok := strings.CutPrefix(line, "#"); ok {
					if key, _, ok := strings.Cut(bare, " = "); ok && settings.Lookup(key) != nil {
						line = bare
					}
				}
				lines = append(lines, line)
			}
			f.Data = []byte(strings.Join(lines, "\n"))
		}
	}
	again := Load(fsys, mainFile)
	if len(again.Diags) != 0 {
		t.Fatal(again.Diags)
	}
	for _, d := range settings.All() {
		if !again.Set.IsDefault(d) || again.Sources[d.Name].Line == 0 {
			t.Errorf("%s: uncommented, it is %s", d.Name, d.Show(again.Set.Value(d)))
		}
	}
}

func TestOrder(t *testing.T) {
	r := Load(tree(t, map[string]string{
		"/etc/rookery/rookery.toml": "login_greeting = \"main\"\nauth_failure_delay = \"1 sec\"\n",
		"10-b.toml":                 "login_greeting = \"ten b\"\nauth_failure_delay = \"3 secs\"\n",
		"10-B.toml":                 "login_greeting = \"ten B\"\n", // upper case comes first in byte order
		"9-a.toml":                  "login_greeting = \"nine\"\nlogin_timeout = \"9 mins\"\n",
		"99-x.txt":                  "login_greeting = 3\n",
		"99-x.toml~":                "login_greeting = 3\n",
		".99-x.toml":                "login_greeting = 3\n",
	}), mainFile)
	if len(r.Diags) != 0 {
		t.Fatal(r.Diags)
	}
	if got := settings.LoginGreeting.Get(r.Set); got != "nine" {
		t.Errorf("greeting of %q; byte order puts \"9-\" after \"10-\"", got)
	}
	if got := settings.AuthFailureDelay.Get(r.Set); got != 3*time.Second {
		t.Errorf("%v", got)
	}
}

func TestTablesReplaceAndVanish(t *testing.T) {
	r := Load(tree(t, map[string]string{
		"60-more.toml":  "[[listener]]\nname = \"imap\"\nprotocol = \"imap\"\nport = 1143\n[[listener]]\nname = \"pop3\"\nprotocol = \"pop3\"\n",
		"70-less.toml":  "[[listener]]\nname = \"pop3\"\nenabled = false\n",
		"80-boxes.toml": "[[namespace]]\nname = \"inbox\"\ninbox = true\n[[namespace.mailbox]]\nname = \"Junk\"\nspecial_use = [\"\\\\Junk\"]\n[[namespace.mailbox]]\nname = \"Old\"\n[[namespace]]\nname = \"arch\"\nprefix = \"Archive.\"\nmail_path = \"~/archive\"\n",
	}), mainFile)
	if len(r.Diags) != 0 {
		t.Fatal(r.Diags)
	}
	list := r.Set.Listeners()
	if len(list) != 1 || list[0].Name != "imap" || list[0].Port != 1143 {
		t.Errorf("%+v", list)
	}
	if _, still := r.Sources["listener/pop3"]; still {
		t.Error("a table that was taken away still has a source")
	}
	ns := r.Set.Namespaces()
	if len(ns) != 2 || len(ns[0].Mailboxes) != 2 || ns[0].Mailboxes[0].SpecialUse[0] != `\Junk` || len(ns[1].Mailboxes) != 0 {
		t.Errorf("%+v", ns)
	}
}

// Every diagnostic: its file, its line, and what it says.
func TestDiagnostics(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"unknown", "auth_verbos = true", "1: there is no setting auth_verbos; did you mean auth_verbose?"},
		{"swapped letters", "\n\nauth_vrebose = true", "3: there is no setting auth_vrebose; did you mean auth_verbose?"},
		{"nothing near", "zebra = 1", "1: there is no setting zebra; docs/SETTINGS.md"},
		{"2.3 name", "disable_plaintext_auth = false", "1: disable_plaintext_auth is Dovecot's name; here it is auth_allow_cleartext, with the opposite value"},
		{"2.3 name, quotes lacking", "ssl_cert = </etc/ssl/x.pem", "1: ssl_cert is Dovecot's name; here it is ssl_server_cert_file"},
		{"mail_location", "mail_location = maildir:~/Maildir", "1: mail_location is Dovecot's name; here it is mail_driver, and mail_path"},
		{"impossible", "ssl_cipher_suites = \"x\"", "1: ssl_cipher_suites cannot be set: Go's TLS library"},
		{"impossible dh", "ssl_server_dh_file = \"/x\"", "1: ssl_server_dh_file cannot be set: Go's TLS library has no finite-field Diffie-Hellman"},
		{"later", "fts_autoindex = true", "1: fts_autoindex is not there yet: full-text search comes with a later release"},
		{"wrong type", "mail_max_userip_connections = \"ten\"", "1: mail_max_userip_connections is a string, but must be a whole number"},
		{"yes", "auth_verbose = yes", "1: auth_verbose must be true or false: write true"},
		{"quoted no", "auth_verbose = \"no\"", "1: auth_verbose must be true or false without quotes: write false"},
		{"bool for a word", "ssl = true", "1: ssl is a word here, not a boolean: write \"yes\""},
		{"no quotes", "log_path = syslog", "1: log_path needs quotes: write log_path = \"syslog\""},
		{"no quotes list", "auth_mechanisms = plain login", "1: auth_mechanisms must be a list: write [\"plain\", \"login\"]"},
		{"out of range", "login_timeout = \"2 days\"", "1: login_timeout 2 days is out of range; write a time such as \"30 secs\", 10 secs to 1 hour"},
		{"no unit", "login_timeout = 180", "1: login_timeout is a time and needs a unit: write \"180 secs\""},
		{"twice", "auth_verbose = true\n# x\nauth_verbose = false", "3: auth_verbose is set twice in this file, first in line 1"},
		{"in a table", "[[passdb]]\nname = \"x\"\nauth_debug = true", "3: auth_debug stands inside [[passdb]] of line 1; move it above"},
		{"field twice", "[[passdb]]\nname = \"x\"\nname = \"y\"", "3: name is set twice in this table, first in line 2"},
		{"unknown field", "[[passdb]]\nname = \"x\"\ndrivr = \"shadow\"", "3: [[passdb]] has no drivr; did you mean driver?"},
		{"2.3 field", "[[passdb]]\nname = \"x\"\nargs = \"/x\"", "3: [[passdb]] has no args; write passwd_file_path"},
		{"long 2.4 field", "[[passdb]]\nname = \"x\"\npassdb_driver = \"shadow\"", "3: [[passdb]] has no passdb_driver; it is driver here"},
		{"ssl in listener", "[[listener]]\nname = \"x\"\nssl = \"yes\"", "3: [[listener]] has no ssl; write protocol = \"imaps\""},
		{"no name", "\n[[userdb]]\ndriver = \"static\"", "2: [[userdb]] lacks its name"},
		{"no driver", "[[userdb]]\nname = \"x\"", "1: [[userdb]] \"x\" lacks \"driver\""},
		{"no path", "[[passdb]]\nname = \"x\"\ndriver = \"passwd-file\"", "1: [[passdb]] \"x\" needs passwd_file_path"},
		{"static without a password", "[[passdb]]\nname = \"x\"\ndriver = \"static\"", "1: [[passdb]] \"x\" needs fields = { \"password\""},
		{"static with a password and none", "[[passdb]]\nname = \"x\"\ndriver = \"static\"\nfields = { \"password\" = \"x\", \"nopassword\" = \"yes\" }", "1: [[passdb]] \"x\" needs fields = { \"password\""},
		{"a static deny list", "[[passdb]]\nname = \"x\"\ndriver = \"static\"\ndeny = true\nfields = { \"password\" = \"x\" }", "1: [[passdb]] \"x\" cannot be both deny and static"},
		{"row twice", "[[userdb]]\nname = \"x\"\ndriver = \"static\"\n[[userdb]]\nname = \"x\"\ndriver = \"static\"", "4: [[userdb]] \"x\" stands twice in this file, first in line 1"},
		{"nothing to take away", "[[userdb]]\nname = \"al\"\nenabled = false", "1: takes away [[userdb]] \"al\", but no earlier file has it (there are \"all\")"},
		{"one bracket", "[passdb]\nname = \"x\"\ndriver = \"shadow\"", "1: write [[passdb]], with two brackets"},
		{"unknown table", "[[pasdb]]\nname = \"x\"", "1: there is no table [[pasdb]]; did you mean [[passdb]]?"},
		{"orphan mailbox", "[[namespace.mailbox]]\nname = \"x\"", "1: [[namespace.mailbox]] must follow the [[namespace]]"},
		{"mailbox twice", "[[namespace]]\nname = \"inbox\"\ninbox = true\n[[namespace.mailbox]]\nname = \"x\"\n[[namespace.mailbox]]\nname = \"x\"", "6: [[namespace.mailbox]] \"x\" stands twice"},
		{"setting as table", "[[ssl]]", "1: ssl is a setting, not a table"},
		{"table as setting", "passdb = 3", "1: passdb is a table; write [[passdb]]"},
		{"field at the top", "passwd_file_path = \"/x\"", "1: passwd_file_path is Dovecot's name; here it is [[passdb]] passwd_file_path"},
		{"Dovecot's syntax", "passdb pam {\n}", "1: \"passdb pam {\" is no setting; write NAME = VALUE (what Dovecot writes"},
		{"dotted", "auth.verbose = true", "1: \"auth.verbose\" cannot be a setting's name"},
		{"no value", "auth_verbose =", "1: auth_verbose has no value"},
		{"open list", "auth_mechanisms = [\"plain\",\n", "1: auth_mechanisms lacks the closing ]"},
		{"open string", "login_greeting = \"hi\nauth_verbose = true", "1: login_greeting cannot be read"},
		{"bad word", "auth_mechanisms = [\n  \"plain\",\n  \"ploin\",\n]", "1: auth_mechanisms \"ploin\" is not one of"},
		{"old variable", "mail_path = \"/srv/%u\"", "1: mail_path \"%u\" is Dovecot 2.3's variable; write %{user}"},
		{"unknown variable", "mail_path = \"/srv/%{usr}\"", "1: mail_path %{usr} is not known here; did you mean %{user}?"},
		{"log folder", "log_path = \"/nowhere/mail.log\"", "1: log_path: the folder /nowhere does not exist"},
		{"contradiction", "ssl = \"required\"\nauth_allow_cleartext = true", "2: ssl = \"required\" and auth_allow_cleartext = true contradict each other; write ssl = \"yes\", or take auth_allow_cleartext away (ssl stands in /etc/rookery/conf.d/99-local.toml:1)"},
		{"flag", "pop3_delete_type = \"flag\"", "1: pop3_delete_type = \"flag\" needs a keyword"},
		{"uids", "last_valid_uid = 100", "1: last_valid_uid is below first_valid_uid"},
		{"root's uid", "mail_uid = \"root\"", "1: mail_uid is root's"},
		{"missing certificate", "ssl_server_cert_file = \"/etc/rookery/tls/crt.pem\"", "1: ssl_server_cert_file: /etc/rookery/tls/crt.pem does not exist"},
		{"missing key", "ssl_server_key_file = \"/x.pem\"", "1: ssl_server_key_file: /x.pem does not exist"},
		{"not a certificate", "ssl_server_cert_file = \"/etc/rookery/users\"", "1: ssl_server_cert_file /etc/rookery/users and ssl_server_key_file /etc/rookery/tls/key.pem: the first holds no certificate"},
		{"alt without key", "ssl_server_alt_cert_file = \"/etc/rookery/tls/cert.pem\"", "1: ssl_server_alt_cert_file needs ssl_server_alt_key_file"},
		{"imaps without TLS", "ssl = \"no\"\n[[listener]]\nname = \"s\"\nprotocol = \"imaps\"", "2: [[listener]] \"s\" needs TLS, but ssl = \"no\" (/etc/rookery/conf.d/99-local.toml:1)"},
		{"haproxy", "[[listener]]\nname = \"s\"\nprotocol = \"imap\"\nport = 2\nhaproxy = true", "1: [[listener]] \"s\" has haproxy = true, but haproxy_trusted_networks is empty"},
		{"same place", "[[listener]]\nname = \"s\"\nprotocol = \"imap\"", "1: [[listener]] \"s\" has * port 143, which \"imap\" has too"},
		{"two inboxes", "[[namespace]]\nname = \"a\"\ninbox = true\n[[namespace]]\nname = \"b\"\ninbox = true\nprefix = \"b.\"", "4: [[namespace]] \"b\" has inbox = true, but \"a\" has it too"},
		{"subscriptions", "[[namespace]]\nname = \"a\"\ninbox = true\nsubscriptions = false", "1: [[namespace]] \"a\" has subscriptions = false, but there is no other namespace"},
		{"separators", "[[namespace]]\nname = \"a\"\ninbox = true\n[[namespace]]\nname = \"b\"\nprefix = \"b/\"\nseparator = \"/\"\nmail_path = \"~/b\"", "4: [[namespace]] \"b\" has the separator \"/\", but \"a\" has \".\""},
		{"no place", "[[namespace]]\nname = \"a\"\ninbox = true\n[[namespace]]\nname = \"b\"\nprefix = \"b.\"", "4: [[namespace]] \"b\" has no mail_path"},
		{"same place", "[[namespace]]\nname = \"a\"\ninbox = true\n[[namespace]]\nname = \"b\"\nprefix = \"b.\"\nmail_path = \"~/Maildir\"", "4: [[namespace]] \"b\" has the mail_path \"~/Maildir\", where the mail of \"a\" lies"},
		{"subscriptions beside", "[[namespace]]\nname = \"a\"\nprefix = \"a.\"\ninbox = true\n[[namespace]]\nname = \"b\"\nprefix = \"b.\"\nmail_path = \"~/b\"\nsubscriptions = false", "5: [[namespace]] \"b\" has subscriptions = false, but there is no other namespace"},
		{"shared without prefix", "[[namespace]]\nname = \"a\"\ninbox = true\n[[namespace]]\nname = \"b\"\ntype = \"shared\"", "4: [[namespace]] \"b\" is shared and has no prefix; write prefix = \"Other Users.\""},
		{"shared as Dovecot", "[[namespace]]\nname = \"a\"\ninbox = true\n[[namespace]]\nname = \"b\"\ntype = \"shared\"\nseparator = \"/\"\nprefix = \"shared/%%u/\"", "4: [[namespace]] \"b\" has % in its prefix: the owner's name comes below the prefix by itself; write prefix = \"Other Users/\""},
		{"public without owner", "[[namespace]]\nname = \"a\"\ninbox = true\n[[namespace]]\nname = \"b\"\ntype = \"public\"\nprefix = \"P.\"", "4: [[namespace]] \"b\" is public and has no owner"},
		{"shared with owner", "[[namespace]]\nname = \"a\"\ninbox = true\n[[namespace]]\nname = \"b\"\ntype = \"shared\"\nprefix = \"P.\"\nowner = \"x\"", "4: [[namespace]] \"b\" is shared and has an owner"},
		{"shared with a place", "[[namespace]]\nname = \"a\"\ninbox = true\n[[namespace]]\nname = \"b\"\ntype = \"shared\"\nprefix = \"P.\"\nmail_path = \"~/x\"", "4: [[namespace]] \"b\" is shared and has mail_path"},
		{"shared with folders", "[[namespace]]\nname = \"a\"\ninbox = true\n[[namespace]]\nname = \"b\"\ntype = \"shared\"\nprefix = \"P.\"\n[[namespace.mailbox]]\nname = \"x\"", "4: [[namespace]] \"b\" is shared and has [[namespace.mailbox]] tables"},
		{"owner of one's own", "[[namespace]]\nname = \"a\"\ninbox = true\nowner = \"x\"", "1: [[namespace]] \"a\" has owner, which is for type = \"shared\" and \"public\""},
		{"shared twice", "[[namespace]]\nname = \"a\"\ninbox = true\n[[namespace]]\nname = \"b\"\ntype = \"shared\"\nprefix = \"P.\"\n[[namespace]]\nname = \"c\"\ntype = \"shared\"\nprefix = \"Q.\"", "8: [[namespace]] \"c\" is shared, and \"b\" is it too"},
		{"public twice", "[[namespace]]\nname = \"a\"\ninbox = true\n[[namespace]]\nname = \"b\"\ntype = \"public\"\nprefix = \"P.\"\nowner = \"x\"\n[[namespace]]\nname = \"c\"\ntype = \"public\"\nprefix = \"Q.\"\nowner = \"x\"", "9: [[namespace]] \"c\" has the owner \"x\", which \"b\" has too"},
		{"shared under a taken prefix", "[[namespace]]\nname = \"a\"\ninbox = true\n[[namespace]]\nname = \"p\"\nprefix = \"P.\"\nmail_path = \"~/p\"\n[[namespace]]\nname = \"b\"\ntype = \"shared\"\nprefix = \"P.\"", "8: [[namespace]] \"b\" has the prefix \"P.\", which \"p\" has too"},
		{"shared with another separator", "[[namespace]]\nname = \"a\"\ninbox = true\n[[namespace]]\nname = \"b\"\ntype = \"shared\"\nseparator = \"/\"\nprefix = \"P/\"", "4: [[namespace]] \"b\" has the separator \"/\", but \"a\" has \".\""},
		{"nobody keeps subscriptions", "[[namespace]]\nname = \"a\"\ninbox = true\nprefix = \"INBOX.\"\n[[namespace]]\nname = \"b\"\ntype = \"shared\"\nprefix = \"P.\"", "5: [[namespace]] \"b\": no namespace of the user's own would keep subscriptions"},
		{"prefix", "[[namespace]]\nname = \"a\"\ninbox = true\nprefix = \"b\"", "1: [[namespace]] \"a\" has the prefix \"b\", which must end in the separator: \"b.\""},
		{"missing passwd-file", "[[passdb]]\nname = \"f\"\ndriver = \"passwd-file\"\npasswd_file_path = \"/etc/none\"", "1: passwd_file_path: /etc/none does not exist"},
		{"idle", "mail_driver = \"mbox\"\nmail_compress_write_method = \"zstd\"", "2: warning: mail_compress_write_method = \"zstd\" is for mail_driver = \"maildir\" and \"pack\"; with \"mbox\" new messages are stored as they come"},
		{"loud", "auth_debug_passwords = true", "1: warning: auth_debug_passwords = true writes passwords"},
		{"loud verbose", "auth_verbose_passwords = \"plain\"", "1: warning: auth_verbose_passwords = \"plain\" writes passwords"},
	} {
		r := Load(tree(t, map[string]string{"99-local.toml": test.text + "\n"}), mainFile)
		want := "/etc/rookery/conf.d/99-local.toml:" + test.want
		found := false
		for _, d := range r.Diags {
			found = found || strings.HasPrefix(d.String(), want)
		}
		if !found {
			t.Errorf("%s: want %s\n got %v", test.name, want, r.Diags)
		}
		if warning := strings.Contains(test.want, "warning"); warning != (r.Err() == nil) {
			t.Errorf("%s: Err is %v", test.name, r.Err())
		}
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	r := Load(tree(t, map[string]string{
		"98-a.toml": "auth_verbos = true\nlogin_timeout = 7\nssl_dh = \"/x\"\n",
		"99-b.toml": "pop3_enable_last = yes\n",
	}), mainFile)
	var places []string
	for _, d := range r.Diags {
		places = append(places, strings.TrimPrefix(Source{d.File, d.Line}.String(), "/etc/rookery/conf.d/"))
	}
	if got := strings.Join(places, " "); got != "98-a.toml:1 98-a.toml:2 98-a.toml:3 99-b.toml:1" {
		t.Error(got, r.Diags)
	}
}

func TestFilesThatAreWrong(t *testing.T) {
	change := func(f func(fstest.MapFS)) *Result {
		fsys := tree(t, nil)
		f(fsys)
		return Load(fsys, mainFile)
	}
	for _, test := range []struct {
		name, want string
		change     func(fstest.MapFS)
	}{
		{"no main file", mainFile + ": does not exist", func(f fstest.MapFS) { delete(f, "etc/rookery/rookery.toml") }},
		{"key readable by all", "ssl_server_key_file: everybody on this machine can reach the private key", func(f fstest.MapFS) { f["etc/rookery/tls/key.pem"].Mode = 0o644 }},
		{"passwd-file readable by all", "conf.d/50-tables.toml:5: passwd_file_path: everybody on this machine can read the passwords in", func(f fstest.MapFS) { f["etc/rookery/users"].Mode = 0o644 }},
		{"passwd-file writable by all", "conf.d/50-tables.toml:5: passwd_file_path: everybody on this machine can write", func(f fstest.MapFS) { f["etc/rookery/users"].Mode = 0o642 }},
		{"settings writable by all", mainFile + ": everybody on this machine can write it", func(f fstest.MapFS) { f["etc/rookery/rookery.toml"].Mode = 0o666 }},
		{"another key", "the certificate is for another key", func(f fstest.MapFS) { _, key := keyPair(t); f["etc/rookery/tls/key.pem"].Data = key }},
		{"empty certificate", "is empty", func(f fstest.MapFS) { f["etc/rookery/tls/cert.pem"].Data = nil }},
		{"not UTF-8", "is not UTF-8 text", func(f fstest.MapFS) { f["etc/rookery/rookery.toml"].Data = []byte("hostname = \"\xff\"") }},
		{"no listener", "there is no [[listener]]", func(f fstest.MapFS) { delete(f, "etc/rookery/conf.d/50-tables.toml") }},
		{"too large", "larger than 1 MiB", func(f fstest.MapFS) { f["etc/rookery/rookery.toml"].Data = []byte(strings.Repeat("#\n", 1<<20)) }},
	} {
		if r := change(test.change); r.Err() == nil || !strings.Contains(r.Err().Error(), test.want) {
			t.Errorf("%s: %v", test.name, r.Err())
		}
	}
	for mode, fine := range map[fs.FileMode]bool{0o400: true, 0o640: true, 0o604: false, 0o601: false} {
		if r := change(func(f fstest.MapFS) { f["etc/rookery/tls/key.pem"].Mode = mode }); (r.Err() == nil) != fine {
			t.Errorf("key of mode %v: %v", mode, r.Err())
		}
	}
	if r := change(func(f fstest.MapFS) {
		f["etc/rookery/conf.d/99.toml"] = &fstest.MapFile{Data: []byte("ssl = \"no\""), Mode: 0o644}
		delete(f, "etc/rookery/tls/key.pem")
	}); len(r.Diags) != 0 {
		t.Errorf("without TLS no key is needed: %v", r.Diags)
	}
}

// A file that this user may not read is named as such.
func TestUnreadable(t *testing.T) {
	if os.Getuid() == 0 {
		// Root reads everything: the error comes from a file system that refuses.
		r := Load(deny{tree(t, nil), "etc/rookery/conf.d/50-tables.toml"}, mainFile)
		if err := r.Err(); err == nil || !strings.Contains(err.Error(), "50-tables.toml: may not be read by this user; run as root") {
			t.Error(err)
		}
		return
	}
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/rookery.toml", nil, 0); err != nil {
		t.Fatal(err)
	}
	if err := Load(os.DirFS("/"), dir+"/rookery.toml").Err(); err == nil || !strings.Contains(err.Error(), "may not be read") {
		t.Error(err)
	}
}

type deny struct {
	fstest.MapFS
	name string
}

func (d deny) Open(name string) (fs.File, error) {
	if name == d.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return d.MapFS.Open(name)
}

// Names that the tables lead to exist, and names that they refuse do not.
func TestNameTables(t *testing.T) {
	for old, target := range renamed() {
		name, _, _ := strings.Cut(target, "|")
		if settings.Lookup(old) != nil {
			t.Errorf("%s is a setting and a Dovecot name at once", old)
		}
		if _, twice := impossible()[old]; twice {
			t.Errorf("%s is both renamed and impossible", old)
		}
		if table, ok := strings.CutPrefix(name, "[["); ok {
			table, field, _ := strings.Cut(table, "]]")
			tb := settings.LookupTable(strings.Split(table, ".")[0])
			if tb != nil && strings.Contains(table, ".") {
				tb = tb.Sub
			}
			if tb == nil || field != "" && tb.Field(strings.TrimSpace(field)) == nil {
				t.Errorf("%s leads to %s, which does not exist", old, name)
			}
			continue
		}
		if settings.Lookup(name) == nil {
			t.Errorf("%s leads to %s, which does not exist", old, name)
		}
	}
	for name := range impossible() {
		if settings.Lookup(name) != nil {
			t.Errorf("%s is refused and a setting at once", name)
		}
	}
	for _, d := range settings.All() {
		if f := later(d.Name); f != "" {
			t.Errorf("%s is a setting, but its family %q is said to come later", d.Name, f)
		}
	}
}
