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

	"rookery/internal/e2e/harness"
)

// seenWithin is how long a delivery by another program may take to be told to
// a session in IDLE.
const seenWithin = 2 * time.Second

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
	harness.Need(t, "postfix", "postfix")
	harness.Need(t, "unshare", "util-linux")
	d := harness.Start(t, "--users", "1", "--empty")
	dir := maildirFolder(t, d, 1, "")
	p := startPostfix(t, d)
	w := watch(t, d, "u1")
	for _, route := range []struct{ name, recipient string }{{"local(8)", "u1@local.test"}, {"virtual(8)", "u1@example.test"}} {
		body := "Hello by " + route.name + ".\n.\nFrom the start of a line\n"
		w.expect(route.name, dir, func() { p.send(route.recipient, plainMail("by Postfix", body)) })
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

// postfix is an instance.
type postfix struct {
	t    *testing.T
	conf string
	log  string
}

const postfixMain = `compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = loopback-only
inet_protocols = ipv4
myhostname = mx.local.test
mydestination = local.test
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
local_recipient_maps =
maillog_file = %[1]s/postfix.log
home_mailbox = Maildir/
mailbox_command =
virtual_mailbox_domains = example.test
virtual_mailbox_base = %[2]s
virtual_mailbox_maps = inline:{u1@example.test=u1@example.test/Maildir/}
virtual_uid_maps = static:%[3]d
virtual_gid_maps = static:%[4]d
virtual_minimum_uid = 100
`

const postfixMaster = `pickup unix n - n 1 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
local unix - n n - - local
virtual unix - n n - - virtual
postlog unix-dgram n - n - 1 postlogd
`

func startPostfix(t *testing.T, d *harness.Demo) *postfix {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "rookery-postfix-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	p := &postfix{t: t, conf: filepath.Join(dir, "conf"), log: filepath.Join(dir, "postfix.log")}
	for _, sub := range []string{"conf", "queue", "data"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	ok(t, "chown", "postfix", filepath.Join(dir, "data"))
	uid, gid := owner(t, d, 1)
	main := fmt.Sprintf(postfixMain, dir, filepath.Join(d.Dir, "mail"), uid, gid)
	for name, text := range map[string]string{"main.cf": main, "master.cf": postfixMaster} {
		if err := os.WriteFile(filepath.Join(p.conf, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	passwd := filepath.Join(dir, "passwd")
	line := fmt.Sprintf("u1:x:%d:%d::%s:/bin/sh\n", uid, gid, filepath.Dir(d.Maildir(1)))
	if err := os.WriteFile(passwd, []byte(read(t, "/etc/passwd")+line), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c",
		`mount --bind "$0" /etc/passwd && exec postfix -c "$1" start-fg`, passwd, p.conf)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		run(t, "postfix", "-c", p.conf, "stop")
		select {
		case <-ended:
		case <-time.After(15 * time.Second):
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-ended
		}
		if t.Failed() {
			t.Logf("Postfix said:\n%s", tailOf(read(t, p.log)))
		}
	})
	if !waitFor(t, 30*time.Second, "Postfix starts", func() bool {
		data, err := os.ReadFile(p.log)
		return err == nil && strings.Contains(string(data), "daemon started")
	}) {
		t.Fatalf("Postfix said: %s", read(t, out.Name()))
	}
	return p
}

// send gives a message to Postfix as a local program does.
func (p *postfix) send(recipient, text string) {
	p.t.Helper()
	r := runWith(p.t, text, nil, harness.Need(p.t, "sendmail", "postfix"), "-C", p.conf, "-i", "-f", "ann@example.test", recipient)
	if r.code != 0 {
		p.t.Fatalf("sendmail: %d %s%s", r.code, r.out, r.err)
	}
}
