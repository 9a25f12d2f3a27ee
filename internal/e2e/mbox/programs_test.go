package mbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"rookery/internal/e2e/harness"
)

// others are the programs of other people that work on one user's mbox: as him,
// in the group mail, with an /etc/passwd that knows him.
type others struct {
	t        *testing.T
	uid, gid int
	home     string
	mbox     string
	passwd   string
}

func newOthers(t *testing.T, d *harness.Demo, mbox string) *others {
	t.Helper()
	g, err := user.LookupGroup("mail")
	if err != nil {
		t.Fatal(err)
	}
	o := &others{t: t, mbox: mbox}
	o.uid, _ = d.Owner(1)
	o.gid, _ = strconv.Atoi(g.Gid)
	if o.home, err = os.MkdirTemp("/var/tmp", "rookery-home-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(o.home) })
	if err := os.Chown(o.home, o.uid, o.gid); err != nil {
		t.Fatal(err)
	}
	known, err := os.ReadFile("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	o.passwd = filepath.Join(dir, "passwd")
	text := fmt.Sprintf("%su1:x:%d:%d::%s:/bin/sh\n", known, o.uid, o.gid, o.home)
	if err := os.WriteFile(o.passwd, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return o
}

// command gives a program as the user, under an /etc/passwd of its own.
func (o *others) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	all := append([]string{"--mount", "--propagation", "private", "sh", "-c",
		`mount --bind "$0" /etc/passwd && u=$1 g=$2 && shift 2 && exec setpriv --reuid "$u" --regid "$g" --clear-groups "$@"`,
		o.passwd, fmt.Sprint(o.uid), fmt.Sprint(o.gid), program}, args...)
	cmd := exec.CommandContext(ctx, "unshare", all...)
	cmd.Dir = o.home
	cmd.Env = []string{"HOME=" + o.home, "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LOGNAME=u1", "USER=u1", "TERM=xterm", "LC_ALL=C.UTF-8"}
	return cmd
}

// run runs one for at most two minutes and gives what it wrote.
func (o *others) run(stdin, program string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := o.command(ctx, program, args...)
	cmd.WaitDelay = 5 * time.Second
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, out)
	}
	return nil
}

// write makes a file of the user's in his home.
func (o *others) write(name, text string) string {
	o.t.Helper()
	path := filepath.Join(o.home, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		o.t.Fatal(err)
	}
	if err := os.Chown(path, o.uid, o.gid); err != nil {
		o.t.Fatal(err)
	}
	return path
}

// need ends the test where a program is missing.
func need(t *testing.T, program, debianPackage string) string {
	t.Helper()
	for _, path := range []string{program, "/usr/sbin/" + filepath.Base(program)} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	text := program + " is missing: install the Debian package " + debianPackage + " (scripts/install-test-tools does)"
	if os.Getenv("CI") == "true" {
		t.Fatal(text)
	}
	t.Skip(text)
	return ""
}

// letter is a small message.
func letter(id string) string {
	return "From: Ann <ann@example.test>\nTo: u1@local.test\nSubject: " + id + "\nDate: Mon, 02 Mar 2026 10:00:00 +0000\nMessage-ID: <" + id +
		"@example.test>\n\nLetter " + id + ".\n\nFrom the start of a line\n"
}

// pythonDelivers delivers as Python's mailbox module does, with its locks (fcntl
// and a dotlock): one process for all, each message locked and flushed by itself.
const pythonDelivers = `
import mailbox, sys, time
box, name, count = mailbox.mbox(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for i in range(count):
    text = sys.argv[4].replace("@ID@", "%s-%d" % (name, i))
    for attempt in range(600):
        try:
            box.lock()
            break
        except mailbox.ExternalClashError:
            time.sleep(0.05)
    else:
        sys.exit("no lock within 30 seconds")
    try:
        with open(sys.argv[1], "ab") as f:
            f.write(b"From ann@example.test Mon Mar  2 10:00:00 2026\n" + text.replace("\nFrom ", "\n>From ").encode() + b"\n")
    finally:
        box.unlock()
`

// postfix is an instance that delivers with local(8) into the spool directory.
type postfix struct {
	o    *others
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
mail_spool_directory = %[2]s
mailbox_command =
mailbox_delivery_lock = fcntl, dotlock
mailbox_size_limit = 0
minimal_backoff_time = 2s
maximal_backoff_time = 4s
queue_run_delay = 2s
deliver_lock_attempts = 60
local_destination_concurrency_limit = 2
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
postlog unix-dgram n - n - 1 postlogd
`

func startPostfix(o *others, spool string) *postfix {
	t := o.t
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "rookery-postfix-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &postfix{o: o, conf: filepath.Join(dir, "conf"), log: filepath.Join(dir, "postfix.log")}
	for _, d := range []string{dir, p.conf, filepath.Join(dir, "queue"), filepath.Join(dir, "data")} {
		if err := errors.Join(os.MkdirAll(d, 0o755), os.Chmod(d, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("chown", "postfix", filepath.Join(dir, "data")).CombinedOutput(); err != nil {
		t.Fatalf("chown: %v %s", err, out)
	}
	for name, text := range map[string]string{"main.cf": fmt.Sprintf(postfixMain, dir, spool), "master.cf": postfixMaster} {
		if err := os.WriteFile(filepath.Join(p.conf, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c",
		`mount --bind "$0" /etc/passwd && exec postfix -c "$1" start-fg`, o.passwd, p.conf)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		exec.Command("postfix", "-c", p.conf, "stop").Run()
		select {
		case <-ended:
		case <-time.After(15 * time.Second):
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-ended
		}
		if t.Failed() {
			said, _ := os.ReadFile(p.log)
			t.Logf("Postfix said:\n%s", said[max(0, len(said)-4000):])
		}
	})
	if !within(30*time.Second, func() bool {
		said, err := os.ReadFile(p.log)
		return err == nil && strings.Contains(string(said), "daemon started")
	}) {
		t.Fatal("Postfix does not start")
	}
	return p
}

// send gives a message to Postfix as a local program does.
func (p *postfix) send(text string) error {
	cmd := exec.Command(need(p.o.t, "sendmail", "postfix"), "-C", p.conf, "-i", "-f", "ann@example.test", "u1@local.test")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("sendmail: %w: %s", err, out)
	}
	return nil
}

// within polls for something that another process does.
func within(limit time.Duration, ok func() bool) bool {
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	return ok()
}
