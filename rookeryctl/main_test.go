package rookeryctl

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rookery/internal/ipc/ctlmsg"
)

func TestServerCommands(t *testing.T) {
	for _, test := range []struct {
		args    string
		stdin   string
		verb    string
		sent    string // arguments joined by |
		answer  []*ctlmsg.Answer
		exit    int
		out     string // what standard output is
		errText string // what standard error has in it
	}{
		{args: "status", verb: ctlmsg.Status, answer: []*ctlmsg.Answer{{Body: []byte(`{"version":"0.1",`), More: true}, {Body: []byte(`"limits":{"workers":7}}`)}}, out: "version: 0.1\nlimits:\n  workers: 7\n"},
		{args: "who", verb: ctlmsg.Who, answer: []*ctlmsg.Answer{{Body: []byte(`[{"user":"ann","service":"imap"}]`)}}, out: "user  service\nann   imap\n"},
		{args: "--json who ann", verb: ctlmsg.Who, sent: "ann", answer: []*ctlmsg.Answer{{Body: []byte(`[]`)}}, out: "[]\n"},
		{args: "kick ann", verb: ctlmsg.Kick, sent: "ann", answer: []*ctlmsg.Answer{{Body: []byte(`{"kicked":2}`)}}, out: "kicked: 2\n"},
		{args: "kick bob", verb: ctlmsg.Kick, sent: "bob", answer: []*ctlmsg.Answer{{Body: []byte(`{"kicked":0}`)}}, exit: 67, out: "kicked: 0\n", errText: "bob has no session"},
		{args: "reload", verb: ctlmsg.Reload, answer: []*ctlmsg.Answer{{Exit: 78, Text: "conf.d/x.toml:3: no"}}, exit: 78, errText: "rookeryctl: conf.d/x.toml:3: no"},
		{args: "stop", verb: ctlmsg.Stop, answer: []*ctlmsg.Answer{{}}},
		{args: "auth test ann", stdin: "pa ss\nrest", verb: ctlmsg.AuthTest, sent: "ann|imap|127.0.0.1", answer: []*ctlmsg.Answer{{Exit: 77, Text: "Password mismatch"}}, exit: 77, errText: "Password mismatch"},
		{args: "auth test --service pop3 --remote 192.0.2.7 ann", stdin: "pa ss", verb: ctlmsg.AuthTest, sent: "ann|pop3|192.0.2.7", answer: []*ctlmsg.Answer{{Body: []byte(`{"uid":7}`)}}, out: "uid: 7\n"},
		{args: "auth lookup ann", verb: ctlmsg.Lookup, sent: "ann|imap", answer: []*ctlmsg.Answer{{Exit: 67, Text: "unknown user"}}, exit: 67, errText: "unknown user"},
		{args: "log errors", verb: ctlmsg.LogErrors, answer: []*ctlmsg.Answer{{Body: []byte(`[{"number":1,"text":"a\u001b[2Jb"}]`)}}, out: "number  text\n1       a\\x1b[2Jb\n"},
		{args: "log debug user=ann remote_ip=192.0.2.0/24", verb: ctlmsg.LogDebug, sent: "user=ann remote_ip=192.0.2.0/24", answer: []*ctlmsg.Answer{{}}},
		{args: "log debug off", verb: ctlmsg.LogDebug, sent: "", answer: []*ctlmsg.Answer{{}}},
	} {
		s := newControlServer(t, func(*ctlmsg.Request) []*ctlmsg.Answer { return test.answer })
		exit, out, errOut := s.run(test.stdin, strings.Fields(test.args)...)
		if exit != test.exit || out != test.out || !strings.Contains(errOut, test.errText) || test.errText == "" && errOut != "" {
			t.Errorf("%s: exit %d\nout %q, want %q\nerr %q", test.args, exit, out, test.out, errOut)
		}
		r := <-s.requests
		if got := strings.Join(r.Args, "|"); r.Verb != test.verb || got != test.sent {
			t.Errorf("%s: sent %s %q", test.args, r.Verb, got)
		}
		if want := strings.SplitN(test.stdin, "\n", 2)[0]; string(r.Secret.Reveal()) != want {
			t.Errorf("%s: sent the password %q", test.args, r.Secret.Reveal())
		}
	}
}

func TestUsageErrors(t *testing.T) {
	for _, test := range []struct{ args, errText string }{
		{"frob", "unknown command"},
		{"--frob", "unknown flag"},
		{"kick", "write: rookeryctl kick USER|SESSION"},
		{"kick a b", "write: rookeryctl kick"},
		{"status now", "write: rookeryctl status"},
		{"log debug ann", "is no filter"},
		{"man nothing", "there is no page nothing"},
		{"demo --driver tape", "not known"},
		{"demo --users 0", "out of range"},
		{"demo --base-port 65000", "out of range"},
		{"demo --json", "take -c and --json away"},
		{"mailbox list", "whose mail? write -u USER"},
		{"mailbox rename -u a b", "write: rookeryctl mailbox rename -u USER FROM TO"},
		{"flags -u a -m b add", "all is a key"},
		{"copy -u a -m b c", "write: rookeryctl copy -u USER -m MAILBOX TO KEY"},
		{"export -u a", "where to?"},
		{"export -u a --format tar /nonexistent", "there is no format tar; there are maildir,"},
		{"convert -u a", "write one of --to DRIVER"},
		{"convert -u a --to pack --abandon", "write one of --to DRIVER"},
		{"share -u a --with b --rights l", "write: rookeryctl share -u USER MAILBOX[/*]… --with WHO --rights RIGHTS"},
		{"share -u a m --with b", "with whom, and with which rights?"},
		{"share -u a m --rights l", "with whom, and with which rights?"},
		{"unshare -u a", "write: rookeryctl unshare"},
		{"adopt -u a", "write --dry-run"},
		{"adopt -n -u a --against http://x", "write imaps://HOST"},
		{"config auth_verbos", "did you mean auth_verbose?"},
	} {
		exit, out, errOut := runCtl("", strings.Fields(test.args)...)
		if exit != 64 || !strings.Contains(errOut, test.errText) || out != "" {
			t.Errorf("%s: exit %d, %q, %q", test.args, exit, out, errOut)
		}
	}
}

func TestNoServer(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "rookery.toml")
	if err := os.WriteFile(config, []byte("base_dir = \""+dir+"\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if exit, _, errOut := runCtl("", "-c", config, "status"); exit != 69 || !strings.Contains(errOut, "is not running") {
		t.Errorf("%d %q", exit, errOut)
	}
	if exit, _, errOut := runCtl("", "-c", dir+"/none.toml", "status"); exit != 78 || !strings.Contains(errOut, "does not exist") {
		t.Errorf("%d %q", exit, errOut)
	}
}

func TestConfigCommand(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "rookery.toml")
	text := `ssl = "no"
auth_verbose = true
[[listener]]
name = "imap"
protocol = "imap"
port = 1143
[[passdb]]
name = "p"
driver = "shadow"
[[userdb]]
name = "u"
driver = "static"
fields = { uid = 7, password = "geheim" }
`
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	exit, out, errOut := runCtl("", "-c", config, "config", "-n")
	if exit != 0 || !strings.Contains(out, "auth_verbose = true  # "+config+":2\n") || !strings.Contains(out, "ssl = \"no\"           # "+config+":1\n") ||
		!strings.Contains(out, "[[listener]]  # "+config+":3\nname = \"imap\"\n") || strings.Contains(out, "# default") {
		t.Errorf("%d\n%s%s", exit, out, errOut)
	}
	if strings.Contains(out, "geheim") || !strings.Contains(out, `password = "<hidden>"`) {
		t.Errorf("a secret is shown:\n%s", out)
	}
	_, all, _ := runCtl("", "-c", config, "config")
	if !strings.Contains(all, "auth_debug = false") || !strings.Contains(all, "# default") {
		t.Error(all)
	}
	// What is shown is a configuration of the same meaning.
	again := filepath.Join(dir, "again.toml")
	if err := os.WriteFile(again, []byte(strings.ReplaceAll(all, `"<hidden>"`, `"geheim"`)), 0o644); err != nil {
		t.Fatal(err)
	}
	_, all2, errOut := runCtl("", "-c", again, "config")
	if stripPlaces(all2) != stripPlaces(all) {
		t.Errorf("read back it differs: %s\n%s", errOut, all2)
	}
	if exit, one, _ := runCtl("", "-c", config, "config", "auth_debug"); exit != 0 || stripPlaces(one) != "auth_debug = false\n" {
		t.Errorf("%d %q", exit, one)
	}
	_, out, _ = runCtl("", "-c", config, "--json", "config", "-n", "auth_verbose")
	var rows []shownSetting
	if err := json.Unmarshal([]byte(out), &rows); err != nil || len(rows) != 1 || rows[0] != (shownSetting{"auth_verbose", "true", false, config, 2, ""}) {
		t.Errorf("%+v, %v", rows, err)
	}
	if exit, out, _ := runCtl("", "-c", config, "config", "check"); exit != 0 || out != "1 files, no errors.\n" {
		t.Errorf("%d %q", exit, out)
	}
}

// stripPlaces drops the comments, which name the file.
func stripPlaces(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		head, _, _ := strings.Cut(line, "  # ")
		lines[i] = strings.TrimRight(head, " ")
	}
	return strings.Join(lines, "\n")
}

func TestConfigCheck(t *testing.T) {
	config := filepath.Join(t.TempDir(), "rookery.toml")
	if err := os.WriteFile(config, []byte("\nauth_verbos = true\nauth_debug_passwords = true\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	exit, out, errOut := runCtl("", "-c", config, "config", "check")
	want := config + ":2: there is no setting auth_verbos; did you mean auth_verbose?\n" + config + ":3: warning: auth_debug_passwords = true writes passwords"
	if exit != 78 || !strings.Contains(out, want) || errOut != "" {
		t.Errorf("%d %q %q", exit, out, errOut)
	}
	exit, out, _ = runCtl("", "-c", config, "config", "check", "--json")
	var diags []struct {
		File string
		Line int
	}
	if err := json.Unmarshal([]byte(out), &diags); exit != 78 || err != nil || diags[0].Line != 2 || diags[0].File != config {
		t.Errorf("%d %v %s", exit, err, out)
	}
}

func TestPrivileges(t *testing.T) {
	s := newControlServer(t, func(*ctlmsg.Request) []*ctlmsg.Answer {
		return body([]process{{Role: "imapworker", PID: os.Getppid(), User: "ann", Landlock: "ABI 5"}, {Role: "login", PID: 1 << 30}})
	})
	exit, out, errOut := s.run("", "privileges")
	// The fake server is this very process: the kernel names it as master.
	for _, want := range []string{"master, process " + itoa(os.Getpid()) + "\n", "imapworker for ann, process " + itoa(os.Getppid()), "landlock:       ABI 5", "seccomp:", "descriptors:", "gone or not to be seen"} {
		if exit != 0 || !strings.Contains(out, want) {
			t.Fatalf("%d: lacks %q\n%s%s", exit, want, out, errOut)
		}
	}
	_, out, _ = s.run("", "privileges", "--json")
	var rows []privilege
	if err := json.Unmarshal([]byte(out), &rows); err != nil || len(rows) != 3 || rows[0].State.PID != os.Getpid() {
		t.Errorf("%v\n%s", err, out)
	}
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

func TestManAndVersion(t *testing.T) {
	exit, out, _ := runCtl("", "man", "rookery.toml")
	if exit != 0 || !strings.Contains(out, "auth_verbose_passwords\n") || strings.Contains(out, `\-`) {
		t.Errorf("%d %.300s", exit, out)
	}
	if _, raw, _ := runCtl("", "man", "--raw", "rookeryctl"); !strings.HasPrefix(raw, ".TH ROOKERYCTL 8") {
		t.Errorf("%.100s", raw)
	}
	if exit, out, _ := runCtl("", "version", "--json"); exit != 0 || !strings.Contains(out, `"version": "0.1.0"`) {
		t.Error(out)
	}
	if exit, out, _ := runCtl("", "completion", "bash"); exit != 0 || !strings.Contains(out, "rookeryctl") {
		t.Errorf("%d %.80s", exit, out)
	}
	if exit, out, _ := runCtl("", "__complete", "config", "auth_verbose_p"); exit != 0 || !strings.Contains(out, "auth_verbose_passwords") {
		t.Errorf("%d %.80s", exit, out)
	}
	s := newControlServer(t, func(*ctlmsg.Request) []*ctlmsg.Answer {
		return body([]map[string]string{{"user": "ann"}, {"user": "ann"}})
	})
	if exit, out, _ := runCtl("", "__complete", "-c", s.config, "kick", ""); exit != 0 || !strings.HasPrefix(out, "ann\n:") {
		t.Errorf("completion of users: %q", out)
	}
}
