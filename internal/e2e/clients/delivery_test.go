package clients

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rookery/internal/e2e/beside"
	"rookery/internal/e2e/harness"
)

// seenWithin is how long a delivery by another program may take to be told to
// a session in IDLE.
const seenWithin = beside.SeenWithin

// watcher is a session in IDLE that notes when it hears of messages.
type watcher struct {
	t      *testing.T
	c      *harness.Client
	exists chan string
	count  int
}

// watch logs in over TLS, selects INBOX and begins IDLE.
func watch(t *testing.T, d *harness.Demo, user string) *watcher {
	t.Helper()
	c := d.Dial("imaps")
	c.Login(user)
	c.OK("SELECT INBOX")
	if err := c.Send("idle IDLE\r\n"); err != nil {
		t.Fatal(err)
	}
	c.ExpectPrefix("+ ")
	w := &watcher{t: t, c: c, exists: make(chan string, 100)}
	go func() {
		defer close(w.exists)
		for {
			line, err := c.TryLine()
			if err != nil || strings.HasPrefix(line, "idle ") {
				return
			}
			if strings.HasSuffix(line, " EXISTS") {
				w.exists <- line
			}
		}
	}()
	return w
}

// expect has something deliver one message, and the session must hear of it
// within two seconds of its being in new/.
func (w *watcher) expect(what, dir string, deliver func()) {
	w.t.Helper()
	w.count++
	before := len(messages(w.t, dir))
	deliver()
	if !waitFor(w.t, 20*time.Second, what+" delivers", func() bool { return len(messages(w.t, dir)) > before }) {
		return
	}
	began := time.Now()
	select {
	case line := <-w.exists:
		if want := fmt.Sprintf("* %d EXISTS", w.count); line != want {
			w.t.Errorf("%s: %q, want %q", what, line, want)
		}
		w.t.Logf("%s: seen after %v", what, time.Since(began).Round(time.Millisecond))
	case <-time.After(seenWithin):
		w.t.Errorf("%s: not seen within %v", what, seenWithin)
	}
}

// done ends IDLE and reads the last message in full.
func (w *watcher) done() string {
	w.t.Helper()
	if err := w.c.Send("DONE\r\n"); err != nil {
		w.t.Fatal(err)
	}
	for range w.exists {
	}
	lines := w.c.OK("FETCH %d BODY.PEEK[]", w.count)
	_, text, _ := strings.Cut(lines[0], "}\r\n")
	return strings.TrimSuffix(text, ")")
}

// asUser gives a command that runs under a user's uid.
func asUser(t *testing.T, d *harness.Demo, user int, program string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(program, args...)
	if os.Geteuid() == 0 {
		uid, gid := owner(t, d, user)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), Groups: []uint32{}}}
	}
	cmd.Dir = "/"
	return cmd
}

// shellDelivery is what a minimal deliverer does: tmp, then a link into new.
const shellDelivery = `cat >"$0/tmp/$1" && ln "$0/tmp/$1" "$0/new/$1" && rm "$0/tmp/$1"`

// TestDelivery has other programs deliver while a session waits in IDLE.
func TestDelivery(t *testing.T) {
	for _, uids := range []string{"private", "shared"} {
		t.Run(uids, func(t *testing.T) {
			t.Parallel()
			d := harness.Prepare(t)
			flags := []string{"--users", "2", "--empty"}
			d.Write(flags...)
			if uids == "shared" {
				shareUIDs(t, d)
			}
			d.Start(flags...)
			dir := maildirFolder(t, d, 1, "")
			w := watch(t, d, "u1")
			text := plainMail("delivered", "Hello.\n")
			for i := range 3 {
				w.expect("a shell script", dir, func() {
					cmd := asUser(t, d, 1, "/bin/sh", "-c", shellDelivery, dir, fmt.Sprintf("120000000%d.P%d.host", i, os.Getpid()))
					cmd.Stdin = strings.NewReader(text)
					if out, err := cmd.CombinedOutput(); err != nil {
						t.Fatalf("%v: %s", err, out)
					}
				})
			}
			if got := w.done(); got != crlf(text) {
				t.Errorf("the session reads %q", got)
			}
			wantMessages(t, dir, kept{"", text}, kept{"", text}, kept{"", text})
		})
	}
}

// shareUIDs gives both users the first one's uid, as where all mail belongs to
// one user id.
func shareUIDs(t *testing.T, d *harness.Demo) {
	t.Helper()
	uid, gid := owner(t, d, 1)
	uid2, gid2 := owner(t, d, 2)
	file := filepath.Join(d.Dir, "users")
	text := strings.Replace(read(t, file), fmt.Sprintf(":%d:%d:", uid2, gid2), fmt.Sprintf(":%d:%d:", uid, gid), 1)
	st, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), st.Mode()); err != nil {
		t.Fatal(err)
	}
	if err := os.Lchown(filepath.Dir(d.Maildir(2)), uid, gid); err != nil {
		t.Fatal(err)
	}
}

func TestProcmail(t *testing.T) {
	procmail := harness.Need(t, "procmail", "procmail")
	d := harness.Start(t, "--users", "1", "--empty")
	dir := maildirFolder(t, d, 1, "")
	w := watch(t, d, "u1")
	text := plainMail("sorted", "Hello from procmail.\n")
	w.expect("procmail", dir, func() {
		cmd := asUser(t, d, 1, procmail, "-m", "DEFAULT="+dir+"/", "ORGMAIL="+dir+"/", "/dev/null")
		cmd.Env = []string{"HOME=" + filepath.Dir(dir), "PATH=/usr/bin:/bin"}
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	})
	if got := w.done(); got != crlf(text) {
		t.Errorf("the session reads %q", got)
	}
	wantMessages(t, dir, kept{"", text})
}

// TestPostfix runs a Postfix of its own: its own configuration and queue, no
// network, and an /etc/passwd of its own in a mount namespace, so that local(8)
// knows u1.
func TestPostfix(t *testing.T) {
	harness.NeedRoot(t)
	harness.Need(t, "unshare", "util-linux")
	d := harness.Start(t, "--users", "1", "--empty")
	dir := maildirFolder(t, d, 1, "")
	uid, gid := owner(t, d, 1)
	u := beside.NewUser(t, uid, gid, filepath.Dir(dir))
	p := beside.StartPostfix(u, "home_mailbox = Maildir/", "virtual_mailbox_domains = example.test",
		"virtual_mailbox_base = "+filepath.Dir(filepath.Dir(dir)), "virtual_mailbox_maps = inline:{u1@example.test=u1@example.test/Maildir/}",
		fmt.Sprintf("virtual_uid_maps = static:%d", uid), fmt.Sprintf("virtual_gid_maps = static:%d", gid), "virtual_minimum_uid = 100")
	w := watch(t, d, "u1")
	for _, route := range []struct{ name, recipient string }{{"local(8)", "u1@local.test"}, {"virtual(8)", "u1@example.test"}} {
		body := "Hello by " + route.name + ".\n.\nFrom the start of a line\n"
		w.expect(route.name, dir, func() {
			if err := p.Send(plainMail("by Postfix", body), route.recipient); err != nil {
				t.Fatal(err)
			}
		})
		if got := messages(t, dir); len(got) > 0 && !strings.HasSuffix(got[len(got)-1].text, "\n\n"+body) && !strings.HasSuffix(got[0].text, "\n\n"+body) {
			t.Errorf("%s left %v", route.name, got)
		}
	}
	last := w.done()
	found := false
	for _, k := range messages(t, dir) {
		found = found || crlf(k.text) == last
	}
	if !found {
		t.Errorf("the session reads %q, which is not what a file holds", last)
	}
	if n := len(messages(t, dir)); n != 2 {
		t.Errorf("%d messages, want 2", n)
	}
}
