package robust

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rookery/internal/e2e/harness"
)

func hasBye(lines []string, prefix string) bool {
	for _, line := range lines {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return false
}

// TestStop: SIGTERM says BYE to everybody, waits for nobody longer than it
// should, and what was acknowledged before is there afterwards.
func TestStop(t *testing.T) {
	d := harness.Start(t, "--users", "3", "--empty")
	idle := mustLogin(t, d, "imaps", "u1")
	startIdle(t, idle)
	quiet := mustLogin(t, d, "imap", "u2")
	pop := mustLogin(t, d, "pop3", "u3")
	stranger := d.Dial("imap")
	stranger.ExpectPrefix("* OK ")
	busy := mustLogin(t, d, "imap", "u1")
	stored := make(chan int)
	go func() {
		n := 0
		for busy.Append("INBOX", "", fmt.Sprintf("Subject: b%d\r\n\r\nText.\r\n", n)) == nil {
			n++
		}
		stored <- n
	}()
	d.WaitLog("user=<u3@example.test>")
	time.Sleep(300 * time.Millisecond) // appends are under way
	began := time.Now()
	signal(t, d, syscall.SIGTERM)
	for name, c := range map[string]*harness.Client{"idle": idle, "quiet": quiet, "stranger": stranger} {
		if got := c.Rest(); !hasBye(got, "* BYE ") {
			t.Errorf("%s session: %q, want BYE", name, got)
		}
	}
	if got := pop.Rest(); len(got) > 0 && !strings.HasPrefix(got[0], "-ERR") {
		t.Errorf("POP3 session: %q", got)
	}
	n := <-stored
	for alive := true; alive; time.Sleep(10 * time.Millisecond) {
		_, err := d.TryStatus()
		alive = err == nil
	}
	took := d.Stop() // the demo's own process
	if all := time.Since(began); all > 5*time.Second {
		t.Errorf("the stop took %v (%v)", all, took)
	}
	if left := leftOver(d); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
	d.NoCrash(t)
	d.Start()
	c := mustLogin(t, d, "imap", "u1")
	lines := c.OK("SELECT INBOX")
	exists := 0
	for _, line := range lines {
		if count, ok := strings.CutSuffix(line, " EXISTS"); ok {
			exists = int(number(strings.TrimPrefix(count, "* ")))
		}
	}
	if exists != n && exists != n+1 { // the last had no answer
		t.Errorf("%d messages were acknowledged, %d are there", n, exists)
	}
}

// leftOver lists processes that run with this demo's programs or folder.
func leftOver(d *harness.Demo) []string {
	var out []string
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err == nil && strings.Contains(string(line), d.Dir) {
			out = append(out, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return out
}

// TestStopWithStalledClient: one that reads nothing does not hold the stop up.
func TestStopWithStalledClient(t *testing.T) {
	d := harness.Start(t, "--users", "1", "--empty")
	c := mustLogin(t, d, "imap", "u1")
	if err := c.Append("INBOX", "", "Subject: big\r\n\r\n"+strings.Repeat(strings.Repeat("x", 76)+"\r\n", 200_000)); err != nil {
		t.Fatal(err)
	}
	c.OK("SELECT INBOX")
	for range 3 {
		if err := c.Send("f FETCH 1 BODY[]\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(200 * time.Millisecond) // it is sending
	if took := d.Stop(); took > 5*time.Second {
		t.Errorf("the stop took %v", took)
	}
}

type session struct{ User, Service, Session string }

func who(t *testing.T, d *harness.Demo) []session {
	t.Helper()
	var list []session
	must(t, json.Unmarshal([]byte(d.MustCtl("who", "--json")), &list))
	return list
}

// TestKick: a user's sessions, or one, are ended and told so; others stay.
func TestKick(t *testing.T) {
	d := harness.Start(t, "--users", "2", "--empty")
	a, b := mustLogin(t, d, "imaps", "u1"), mustLogin(t, d, "imap", "u1")
	startIdle(t, a)
	other := mustLogin(t, d, "imap", "u2")
	pop := mustLogin(t, d, "pop3s", "u1")
	d.MustCtl("kick", "u1@example.test")
	for name, c := range map[string]*harness.Client{"IDLE": a, "quiet": b} {
		if got := c.Rest(); !hasBye(got, "* BYE Disconnected by the administrator.") {
			t.Errorf("%s session: %q", name, got)
		}
	}
	if got := pop.Rest(); len(got) > 0 && !strings.HasPrefix(got[0], "-ERR") {
		t.Errorf("POP3 session: %q", got)
	}
	other.OK("NOOP")
	second := mustLogin(t, d, "imap", "u2")
	var first string
	for _, s := range who(t, d) {
		if s.User == "u2@example.test" && first == "" {
			first = s.Session
		}
	}
	d.MustCtl("kick", first)
	d.Eventually("one session is left", func() bool { return len(who(t, d)) == 1 })
	alive := 0
	for _, c := range []*harness.Client{other, second} {
		if lines, err := c.TryIMAP("NOOP"); err == nil && strings.Contains(lines[len(lines)-1], " OK ") {
			alive++
		}
	}
	if alive != 1 {
		t.Errorf("%d of two sessions live after one was kicked", alive)
	}
	if out, err := d.Ctl("kick", "nobody"); err == nil {
		t.Errorf("kick of nobody: %q", out)
	}
}

// TestUpgradeUnderMaster: the files of the programs are replaced by another
// build's while master runs. New processes are still of its own build and work;
// after a restart all are of the new one.
func TestUpgradeUnderMaster(t *testing.T) {
	bin, err := os.MkdirTemp("/var/tmp", "rookery-upgrade-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(bin) })
	must(t, os.Chmod(bin, 0o755))
	files, err := os.ReadDir(harness.Bin(t))
	must(t, err)
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(harness.Bin(t), f.Name()))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(bin, f.Name()), text, 0o755))
	}
	t.Setenv("ROOKERY_BIN", bin)
	d := harness.Start(t, "--users", "3", "--empty")
	before := d.Status()
	mustLogin(t, d, "imap", "u1")

	other := filepath.Join(bin, "new")
	must(t, os.Mkdir(other, 0o755))
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-X rookery/internal/buildid.stamp=another-build", "-o", other+"/", "./cmd/...")
	cmd.Dir = harness.Root(t)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, f := range files {
		if f.Name() != "rookeryctl" { // the one that stops the demo, and asks
			must(t, os.Rename(filepath.Join(other, f.Name()), filepath.Join(bin, f.Name())))
		}
	}
	for n, service := range []string{"imap", "imaps", "pop3", "pop3s"} { // new workers
		mustLogin(t, d, service, fmt.Sprintf("u%d", n%2+2))
	}
	for _, role := range []string{"login", "authd", "logd"} {
		for _, p := range before.Of(role) {
			must(t, syscall.Kill(p.PID, syscall.SIGKILL))
		}
	}
	for _, service := range []string{"imaps", "pop3"} {
		d.Eventually(service+" is back", func() bool {
			c, err := login(d, service, "u1")
			if err == nil {
				c.Close()
			}
			return err == nil
		})
	}
	d.Set(`login_greeting = "Reloaded."`)
	d.MustCtl("reload")
	mustLogin(t, d, "imaps", "u3")
	if got := d.Status().Build; got != before.Build {
		t.Errorf("build %s, was %s", got, before.Build)
	}
	if log := d.Log(); strings.Contains(log, "another-build") {
		t.Error("a process of the other build was started")
	}
	d.NoCrash(t)
}

// TestKickStalled: a session whose client reads nothing can be ended too.
func TestKickStalled(t *testing.T) {
	d := harness.Start(t, "--users", "1", "--empty")
	c := mustLogin(t, d, "imap", "u1")
	must(t, c.Append("INBOX", "", "Subject: big\r\n\r\n"+strings.Repeat(strings.Repeat("x", 76)+"\r\n", 200_000)))
	c.OK("SELECT INBOX")
	for range 4 {
		must(t, c.Send("f FETCH 1 BODY.PEEK[]\r\n"))
	}
	p := mustLogin(t, d, "pop3", "u1")
	must(t, p.Send("RETR 1\r\nRETR 1\r\nRETR 1\r\n"))
	p2 := mustLogin(t, d, "pop3s", "u1")
	must(t, p2.Send("RETR 1\r\nRETR 1\r\nRETR 1\r\n"))
	time.Sleep(500 * time.Millisecond) // all buffers are full
	d.MustCtl("kick", "u1@example.test")
	d.Eventually("all sessions have ended", func() bool { return len(who(t, d)) == 0 })
}
