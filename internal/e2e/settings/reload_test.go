package settings

import (
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A bad file changes nothing and says why; a good one counts for new sessions,
// while open ones keep what they had.
func TestReload(t *testing.T) {
	r := newRig(t)
	masters := r.procs("rookery")
	if len(masters) != 1 {
		t.Fatalf("masters: %v", masters)
	}
	greeting := func() string { c := r.open(r.Addr("imap"), nil); defer c.close(); return c.line() }
	hangup := func(pattern string) {
		t.Helper()
		if got := r.logged(pattern, func() { syscall.Kill(masters[0], syscall.SIGHUP) }); got == "nothing like it" {
			t.Errorf("no line %q in\n%s", pattern, r.Log())
		}
	}
	first := greeting()

	r.configure([]string{`login_greeting = "Never."`, `imap_id_send = { "name" = "never" }`, `auth_verbos = true`})
	local := r.path("conf.d/99-local.toml")
	hangup(`master: Error: reload refused, the old settings stay in use: .*99-local\.toml:6: there is no setting auth_verbos; did you mean auth_verbose\?`)
	if got := greeting(); got != first {
		t.Errorf("after a bad file: %q", got)
	}
	out, err := r.Ctl("reload")
	if exit(err) != 78 || !strings.Contains(out, local+":6: there is no setting auth_verbos") {
		t.Errorf("rookeryctl reload: %v\n%s", err, out)
	}
	r.configure([]string{`base_dir = "DIR/elsewhere"`})
	hangup(`master: Error: reload refused, the old settings stay in use: base_dir was ".*/run" and is ".*/elsewhere" now: that takes a restart`)
	if _, err := os.Stat(r.path("elsewhere")); err == nil {
		t.Error("a refused reload made the new base_dir")
	}

	old, stranger := r.open(r.Addr("imap"), nil), r.open(r.Addr("imap"), nil)
	defer old.close()
	defer stranger.close()
	old.line()
	stranger.line()
	old.imap(loginU1)
	tooLong := strings.Repeat("x", 9<<10)
	r.configure([]string{`login_greeting = "Again."`, `imap_id_send = { "name" = "new" }`, `imap_max_line_length = "8 KiB"`, `auth_mechanisms = ["plain", "scram-sha-256"]`})
	hangup(`master: Info: settings are reloaded \(generation 2\)`)
	eventually(t, "the new greeting", func() bool { return strings.HasSuffix(greeting(), " Again.") })
	if got := old.imap("ID NIL"); !strings.HasPrefix(got, `* ID ("name" "Rookery")`) {
		t.Errorf("an open session's ID: %s", got)
	}
	if got := old.imap(tooLong); got != "BAD Unknown command." {
		t.Errorf("an open session's limit: %s", got)
	}
	if got := stranger.imap("ID NIL"); !strings.HasPrefix(got, `* ID ("name" "Rookery")`) {
		t.Errorf("ID before the login, of before the reload: %s", got)
	}
	if got := r.imap(loginU1, "ID NIL"); !strings.HasPrefix(got, `* ID ("name" "new")`) {
		t.Errorf("a new session's ID: %s", got)
	}
	if got := r.imap(loginU1, tooLong); !strings.HasPrefix(got, "BAD Command line too long") {
		t.Errorf("a new session's limit: %s", got)
	}
	if got := stranger.imap(loginU1); !strings.Contains(got, "OK ") {
		t.Errorf("a login on a connection of before the reload: %s", got)
	}

	logins := r.procs("rookery-login")
	r.configure([]string{`login_greeting = "Again."`, `imap_id_send = { "name" = "new" }`, `imap_max_line_length = "8 KiB"`, `auth_mechanisms = ["plain", "scram-sha-256"]`, `pop3_enable_last = true`, `mail_max_user_connections = 77`})
	hangup(`master: Info: settings are reloaded \(generation 3\)`)
	for _, pid := range r.procs("rookery-login") {
		if !slices.Contains(logins, pid) {
			t.Errorf("a reload without a login setting started login process %d beside %v", pid, logins)
		}
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Errorf("not within twenty seconds: %s", what)
}
