package tools

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"rookery/internal/e2e/harness"
)

// evilPrograms are the programs with a tool in their midst that was taken over.
func evilPrograms(t *testing.T) string {
	t.Helper()
	good := harness.Bin(t)
	dir, err := os.MkdirTemp("/var/tmp", "rookery-evil-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	os.Chmod(dir, 0o755)
	in, err := os.ReadDir(good)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range in {
		data, err := os.ReadFile(filepath.Join(good, e.Name()))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, e.Name()), data, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	build(t, "./evil", filepath.Join(dir, "rookery-mailtool"))
	return dir
}

// build makes a program of this folder that talks to the ones under test: it has
// their build's name.
func build(t *testing.T, source, program string) {
	t.Helper()
	out, err := exec.Command(filepath.Join(harness.Bin(t), "rookeryctl"), "version").Output()
	if err != nil {
		t.Fatal(err)
	}
	_, id, _ := strings.Cut(strings.TrimSpace(string(out)), "build ")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-X rookery/internal/buildid.stamp="+id, "-o", program, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// A tool that was taken over is its user and sees his mail alone; rookeryctl,
// which is root, takes no harm from it.
func TestEvilTool(t *testing.T) {
	harness.NeedRoot(t)
	t.Setenv("ROOKERY_BIN", evilPrograms(t))
	d := harness.Start(t, "--users", "2")
	c := d.Dial("imap")
	c.Login("u2")
	c.OK("SELECT INBOX")
	other := d.Maildir(2)
	mail, err := filepath.Glob(filepath.Join(other, "cur", "*"))
	if err != nil || len(mail) == 0 {
		t.Fatalf("no mail to steal: %v", err)
	}
	uid, gid := d.Owner(1)
	got := rowsOf(t, d, 99, "mailbox", "status", "-u", "u1", other, mail[0], filepath.Join(d.Dir, "users"), filepath.Join(d.Dir, "tls", "key.pem"), filepath.Join(d.Dir, "rookery.toml"), "/etc/passwd", "/etc/shadow")
	if len(got) != 2 || fmt.Sprint(got[0]["uid"], got[0]["gid"], got[0]["euid"]) != fmt.Sprint(uid, gid, uid) || got[1]["tried"] != 7.0 {
		t.Errorf("%v", got)
	}
	if _, err := os.Stat(mail[0]); err != nil {
		t.Error(err)
	}
	out := ctl(t, d, 70, "search", "-u", "u1", "all")
	if strings.ContainsAny(out, "\x1b\a\u009b") {
		t.Errorf("%q reaches the terminal", out)
	}
	if out := ctl(t, d, 70, "fetch", "-u", "u1", "all"); !strings.Contains(out, "larger than "+strconv.Itoa(64<<20)) {
		t.Errorf("a line without an end: %.200s", out)
	}
	dir := filepath.Join(d.Dir, "export")
	if out := ctl(t, d, 70, "export", "-u", "u1", "--format", "eml", dir); !strings.Contains(out, "breaks the rules") {
		t.Errorf("%.200s", out)
	}
	if _, err := os.Stat("/etc/x"); err == nil {
		t.Error("an export led out of its directory")
	}
	ctl(t, d, 70, "mailbox", "list", "-u", "u1") // it dies of a call that it may not make
	d.WaitLog("mailtool: Error: stderr: SIGSYS: bad system call")
	d.WaitLog("of u1@example.test ended: exit code 2") // Go's own, on that signal
	if line := c.OK("NOOP"); len(line) == 0 {
		t.Error("the other user's session is gone")
	}
}
