package settings

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rookery/internal/e2e/harness"
	"rookery/internal/settings"
)

// The settings that count from the start, and at the end.
func TestSettingsOfTheStart(t *testing.T) {
	harness.NeedRoot(t)
	d := harness.Prepare(t)
	flags := []string{"--users", "1", "--empty"}
	d.Write(flags...)
	r := &rig{Demo: d, t: t}
	programs := r.path("programs")
	r.must(os.Mkdir(programs, 0o755))
	for _, name := range []string{"rookery-login", "rookery-authd", "rookery-logd", "rookery-imapworker", "rookery-pop3worker"} {
		data, err := os.ReadFile(filepath.Join(harness.Bin(t), name))
		r.must(err)
		r.must(os.WriteFile(filepath.Join(programs, name), data, 0o755))
	}
	r.configure([]string{`base_dir = "DIR/base"`, `state_dir = "DIR/lasting"`, `control_socket_path = "DIR/steering"`, `libexec_dir = "DIR/programs"`,
		`login_user = "58911"`, `auth_user = "58912"`, `log_user = "58913"`, `shutdown_timeout = "3 secs"`})
	users := r.path("users")
	r.must(os.Chown(users, 0, 58912))
	d.Start(flags...)
	for _, name := range []string{"base/empty", "lasting", "steering"} {
		if _, err := os.Stat(r.path(name)); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(r.path("run/empty")); err == nil {
		t.Error("the former base_dir was made too")
	}
	for program, uid := range map[string]string{"rookery-login": "58911", "rookery-authd": "58912", "rookery-logd": "58913"} {
		if got := r.status(program, "Uid"); got != strings.Join([]string{uid, uid, uid, uid}, " ") {
			t.Errorf("%s runs as %s, want %s", program, got, uid)
		}
		for _, pid := range r.procs(program) {
			if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err != nil || exe != filepath.Join(programs, program) {
				t.Errorf("%s is %s (%v)", program, exe, err)
			}
		}
	}
	if got := r.imap(loginU1); !strings.Contains(got, "OK ") {
		t.Errorf("login: %s", got)
	}
	d.MustCtl("status") // through the socket's new place
	d.Stop()
	if !strings.Contains(d.Log(), "master: Info: shutting down within 3s\n") {
		t.Errorf("shutdown_timeout is not in\n%s", d.Log())
	}
}

// What has just one value now: another one is refused, and says so.
func TestOneDriver(t *testing.T) {
	harness.NeedRoot(t)
	d := harness.Prepare(t)
	d.Write("--users", "1", "--empty")
	for line, want := range map[string]string{
		`mail_driver = "mdbox"`: `99-local.toml:1: mail_driver "mdbox" is not one of "maildir"`,
		"[[namespace]]\nname = \"inbox\"\ninbox = true\ntype = \"common\"": `99-local.toml:4: type "common" is not one of "private"`,
	} {
		d.Set(line)
		if out, err := d.Ctl("config", "check"); exit(err) != 78 || !strings.Contains(out, want) {
			t.Errorf("%s: %v, %s", line, err, out)
		}
	}
}

func exit(err error) int {
	if ee, ok := err.(*exec.ExitError); ok {
		return ee.ExitCode()
	}
	if err != nil {
		return -1
	}
	return 0
}

// diagnostic is a configuration that is wrong, and what is said of it.
type diagnostic struct {
	name, text string
	line       int
	want       string
}

var diagnostics = []diagnostic{
	{"unknown", "# one\nauth_verbos = true", 2, "there is no setting auth_verbos; did you mean auth_verbose?"},
	{"wrong type", `mail_max_userip_connections = "ten"`, 1, "mail_max_userip_connections is a string, but must be a whole number"},
	{"yes for true", `auth_verbose = yes`, 1, "auth_verbose must be true or false: write true"},
	{"out of range", `login_timeout = "2 days"`, 1, "login_timeout 2 days is out of range"},
	{"2.3 name", "\n\ndisable_plaintext_auth = no", 3, "disable_plaintext_auth is Dovecot's name; here it is auth_allow_cleartext, with the opposite value"},
	{"cannot be had", `ssl_cipher_suites = "x"`, 1, "ssl_cipher_suites cannot be set: Go's TLS library"},
	{"duplicate", "auth_verbose = true\nauth_debug = true\nauth_verbose = false", 3, "auth_verbose is set twice in this file, first in line 1"},
	{"scalar inside a table", "[[passdb]]\nname = \"x\"\ndriver = \"shadow\"\nauth_debug = true", 4, "auth_debug stands inside [[passdb]] of line 1; move it above"},
	{"missing certificate", `ssl_server_cert_file = "/nowhere/cert.pem"`, 1, "ssl_server_cert_file: /nowhere/cert.pem does not exist"},
	{"unreadable file", `ssl_server_key_file = "/nowhere/key.pem"`, 1, "ssl_server_key_file: /nowhere/key.pem does not exist"},
	{"key for all to read", `ssl_server_key_file = "DIR/open-key.pem"`, 1, "ssl_server_key_file: everybody on this machine can reach the private key"},
	{"passwords for all to read", "[[passdb]]\nname = \"x\"\ndriver = \"passwd-file\"\npasswd_file_path = \"DIR/open-users\"", 1, "passwd_file_path: everybody on this machine can read the passwords"},
	{"two inboxes", "[[namespace]]\nname = \"other\"\nprefix = \"x.\"\ninbox = true", 1, `[[namespace]] "other" has inbox = true, but "inbox" has it too`},
	{"bad table", "[[pasdb]]\nname = \"x\"", 1, "there is no table [[pasdb]]; did you mean [[passdb]]?"},
	{"contradiction", `ssl = "required"`, 1, `ssl = "required" and auth_allow_cleartext = true contradict each other`},
	{"old variable", `mail_path = "/srv/%u"`, 1, `mail_path "%u" is Dovecot 2.3's variable; write %{user}`},
}

// Each diagnostic names file and line: config check prints it, and the start
// fails with it, both with EX_CONFIG.
func TestDiagnostics(t *testing.T) {
	harness.NeedRoot(t)
	d := harness.Prepare(t)
	d.Write("--users", "1", "--empty")
	r := &rig{Demo: d, t: t}
	r.must(os.WriteFile(r.path("open-key.pem"), []byte(read(filepath.Join(d.Dir, "tls", "key.pem"))), 0o644))
	r.must(os.Chmod(r.path("open-key.pem"), 0o644))
	r.must(os.WriteFile(r.path("open-users"), []byte("x:{PLAIN}y\n"), 0o644))
	r.must(os.Chmod(r.path("open-users"), 0o644))
	local := filepath.Join(d.Dir, "conf.d", "99-local.toml")
	both := func(t *testing.T, line int, text string) {
		t.Helper()
		want := fmt.Sprintf("%s:%d: %s", local, line, text)
		if line == 0 {
			want = local + ": " + text
		}
		out, err := d.Ctl("config", "check")
		if exit(err) != 78 || !strings.Contains("\n"+out, "\n"+want) {
			t.Errorf("config check: %v\n%swant %s", err, out, want)
		}
		js, err := d.Ctl("config", "check", "--json")
		type diag struct {
			File, Text string
			Line       int
		}
		var found []diag
		if e := json.Unmarshal([]byte(js), &found); e != nil || exit(err) != 78 || !slices.ContainsFunc(found, func(f diag) bool {
			return f.File == local && f.Line == line && strings.HasPrefix(f.Text, text)
		}) {
			t.Errorf("config check --json: %v, %v\n%s", err, e, js)
		}
		cmd := exec.Command(filepath.Join(harness.Bin(t), "rookery"), "-c", filepath.Join(d.Dir, "rookery.toml"))
		started, err := cmd.CombinedOutput()
		if exit(err) != 78 || !strings.Contains(string(started), want) {
			t.Errorf("rookery: %v\n%swant %s", err, started, want)
		}
	}
	for _, x := range diagnostics {
		t.Run(x.name, func(t *testing.T) {
			r.configure([]string{x.text})
			both(t, x.line, strings.ReplaceAll(x.want, "DIR", d.Dir))
		})
	}
	d.Set()
	t.Run("a file that everybody can write", func(t *testing.T) {
		r.must(os.Chmod(local, 0o666))
		defer os.Chmod(local, 0o644)
		both(t, 0, "everybody on this machine can write it (mode 0666); chmod o-w "+local)
	})
	t.Run("a file that cannot be read", func(t *testing.T) { // root reads all that is a file
		r.must(os.Remove(local))
		r.must(os.Mkdir(local, 0o755))
		defer os.Remove(local)
		both(t, 0, "cannot be read (is a directory)")
	})
	t.Run("as a user who may not", func(t *testing.T) {
		main := filepath.Join(d.Dir, "rookery.toml")
		r.must(os.Chmod(main, 0o600))
		defer os.Chmod(main, 0o644)
		cmd := exec.Command("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", filepath.Join(harness.Bin(t), "rookeryctl"), "-c", main, "config", "check")
		if out, err := cmd.CombinedOutput(); exit(err) != 78 || !strings.Contains(string(out), main+": may not be read by this user; run as root, or let it be read (chmod, chown)") {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("nothing wrong", func(t *testing.T) {
		d.Set()
		if out, err := d.Ctl("config", "check"); err != nil || !strings.HasSuffix(out, " files, no errors.\n") {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

// conf.d, docs/SETTINGS.md, rookeryctl config and the manual page speak of the
// same settings with the same defaults.
func TestAllListsAgree(t *testing.T) {
	root := harness.Root(t)
	d := harness.Prepare(t)
	d.Write("--users", "1", "--empty")
	shown := d.MustCtl("config")
	var shipped strings.Builder
	files, _ := filepath.Glob(filepath.Join(root, "conf.d", "*.toml"))
	for _, f := range append(files, filepath.Join(root, "rookery.toml")) {
		shipped.WriteString(read(f))
	}
	docs, page := read(filepath.Join(root, "docs", "SETTINGS.md")), strings.ReplaceAll(read(filepath.Join(root, "docs", "man", "rookery.toml.5")), `\-`, "-")
	for _, s := range settings.All() {
		def := s.Show(s.Default)
		if !strings.Contains(shipped.String(), "\n#"+s.Name+" = "+def+"\n") && !strings.Contains(shipped.String(), "\n"+s.Name+" = ") && !strings.Contains(shipped.String(), "\n# "+s.Name+" = "+def+"\n") {
			t.Errorf("conf.d lacks %s = %s", s.Name, def)
		}
		if !strings.Contains(docs, "### `"+s.Name+"`\n") {
			t.Errorf("docs/SETTINGS.md lacks %s", s.Name)
		}
		if !strings.Contains("\n"+shown, "\n"+s.Name+" = ") {
			t.Errorf("rookeryctl config lacks %s", s.Name)
		}
		if !strings.Contains(page, s.Name) {
			t.Errorf("the manual page lacks %s", s.Name)
		}
	}
	for _, tab := range settings.Tables() {
		for ; tab != nil; tab = tab.Sub {
			if !strings.Contains(docs, "### `[["+tab.Name+"]]`\n") || !strings.Contains(page, "[["+tab.Name+"]]") {
				t.Errorf("docs or manual page lack [[%s]]", tab.Name)
			}
			for _, f := range tab.Fields {
				if !strings.Contains(docs, "| `"+f.Name+"` |") || !strings.Contains(page, f.Name) {
					t.Errorf("docs or manual page lack %s of [[%s]]", f.Name, tab.Name)
				}
			}
		}
	}
}
