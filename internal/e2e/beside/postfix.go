package beside

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"rookery/internal/e2e/harness"
)

// Postfix is an instance with its own configuration and queue and no network, whose
// local(8) knows the user.
type Postfix struct {
	u    *User
	conf string
	log  string
	send string // the program
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
recipient_delimiter = +
maillog_file = %[1]s/postfix.log
mailbox_command =
%[2]s
`

// One local(8) at a time: two would only wait for each other, a second each time.
const postfixMaster = `pickup unix n - n 1 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
local unix - n n - 1 local
virtual unix - n n - - virtual
postlog unix-dgram n - n - 1 postlogd
`

// StartPostfix begins one with more lines in main.cf; the test's end stops it.
func StartPostfix(u *User, lines ...string) *Postfix {
	t := u.T
	t.Helper()
	harness.Need(t, "postfix", "postfix")
	dir, err := os.MkdirTemp("/var/tmp", "rookery-postfix-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &Postfix{u: u, conf: filepath.Join(dir, "conf"), log: filepath.Join(dir, "postfix.log"), send: harness.Need(t, "sendmail", "postfix")}
	for _, d := range []string{dir, p.conf, filepath.Join(dir, "queue"), filepath.Join(dir, "data")} {
		if err := errors.Join(os.MkdirAll(d, 0o755), os.Chmod(d, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("chown", "postfix", filepath.Join(dir, "data")).CombinedOutput(); err != nil {
		t.Fatalf("chown: %v %s", err, out)
	}
	for file, text := range map[string]string{"main.cf": fmt.Sprintf(postfixMain, dir, strings.Join(lines, "\n")), "master.cf": postfixMaster} {
		if err := os.WriteFile(filepath.Join(p.conf, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p.start()
	return p
}

func (p *Postfix) start() {
	t := p.u.T
	t.Helper()
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c",
		`mount --bind "$0" /etc/passwd && exec postfix -c "$1" start-fg`, p.u.passwd, p.conf)
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
			said := p.said()
			t.Logf("Postfix said:\n%s", said[max(0, len(said)-4000):])
		}
	})
	if !within(30*time.Second, func() bool { return strings.Contains(p.said(), "daemon started") }) {
		t.Fatal("Postfix does not start")
	}
}

// said is its log.
func (p *Postfix) said() string {
	b, _ := os.ReadFile(p.log)
	return string(b)
}

// Send gives a message to Postfix as a local program does.
func (p *Postfix) Send(text string, recipients ...string) error {
	cmd := exec.Command(p.send, append([]string{"-C", p.conf, "-i", "-f", "ann@example.test", "--"}, recipients...)...)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("sendmail: %w: %s", err, out)
	}
	return nil
}
