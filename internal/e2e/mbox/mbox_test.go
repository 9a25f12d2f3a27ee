// Package mbox tests the server with mail in mbox files: INBOX in a directory
// that only the group mail may write, beside programs that deliver there.
package mbox

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"rookery/internal/e2e/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// spoolDir makes what /var/mail is: root's, the group mail's to write.
func spoolDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "rookery-spool")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	g, err := user.LookupGroup("mail")
	if err != nil {
		t.Skip("needs the group mail")
	}
	gid, _ := strconv.Atoi(g.Gid)
	if err := os.Chown(dir, 0, gid); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o775|os.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	return dir
}

// helpers gives the processes of rookery-dotlock by /proc.
func helpers(d *harness.Demo) (out []string) {
	for _, p := range d.Status().Of("dotlock") {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID))
		ids := ""
		for _, line := range strings.Split(string(b), "\n") {
			if k, v, _ := strings.Cut(line, ":"); k == "Uid" || k == "Gid" || k == "Groups" || k == "NoNewPrivs" || k == "Seccomp" {
				ids += k + "=" + strings.Join(strings.Fields(v), ",") + " "
			}
		}
		out = append(out, strings.TrimSpace(ids))
	}
	return out
}

// TestSpool: rookery-dotlock makes a missing mbox, opens it and locks it, as the
// user and the group mail alone; another's mbox and links are refused; it ends with its worker.
func TestSpool(t *testing.T) {
	harness.NeedRoot(t)
	dir := spoolDir(t)
	d := harness.StartWith(t, []string{`mail_inbox_path = "` + dir + `/%{user | username}"`, `worker_idle_kill_interval = "0 secs"`},
		"--driver", "mbox", "--users", "3", "--empty")
	uid, _ := d.Owner(1)
	// Another's mbox under u2's name, and a link under u3's.
	other := filepath.Join(dir, "u2")
	if err := os.WriteFile(other, []byte("From x@y Sat Nov 29 22:33:52 2003\nSubject: secret\n\n\n"), 0o660); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("u2", filepath.Join(dir, "u3")); err != nil {
		t.Fatal(err)
	}

	c := d.Dial("imap")
	c.Login("u1")
	c.OK("SELECT INBOX")
	if err := c.Append("INBOX", `(\Flagged) `, "Subject: one\r\n\r\nbody\r\n"); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "u1")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	mail, _ := user.LookupGroup("mail")
	if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != uid || fmt.Sprint(st.Gid) != mail.Gid || info.Mode().Perm() != 0o660 {
		t.Errorf("the mbox is %d:%d %v, want %d:%s 0660", st.Uid, st.Gid, info.Mode(), uid, mail.Gid)
	}
	want := fmt.Sprintf("Uid=%d,%d,%d,%d Gid=%[5]s,%[5]s,%[5]s,%[5]s Groups= NoNewPrivs=1 Seccomp=2", uid, uid, uid, uid, mail.Gid)
	if got := helpers(d); len(got) != 1 || got[0] != want {
		t.Errorf("rookery-dotlock runs as %q, want %q", got, want)
	}
	if _, err := exec.LookPath("procmail"); err == nil {
		for i := range 5 {
			cmd := exec.Command("procmail", "ORGMAIL="+path, "DEFAULT="+path, "LOGFILE=/dev/null", "/dev/null")
			cmd.Stdin = strings.NewReader(fmt.Sprintf("From x@y Sat Nov 29 22:33:52 2003\nSubject: p%d\n\nbody\n", i))
			gid, _ := strconv.Atoi(mail.Gid)
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), Groups: []uint32{}}}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("procmail: %v %s", err, out)
			}
		}
		c.OK("NOOP")
		if got := strings.Join(c.OK("UID SEARCH ALL"), "\n"); !strings.Contains(got, "SEARCH 1 2 3 4 5 6") {
			t.Errorf("after five deliveries: %s", got)
		}
	}
	c.OK(`STORE 1 +FLAGS (\Deleted)`)
	c.OK("EXPUNGE")
	c.OK("LOGOUT")

	for _, u := range []string{"u2", "u3"} {
		c := d.Dial("imap")
		c.Login(u)
		if lines, err := c.TryIMAP("SELECT INBOX"); err == nil && strings.Contains(strings.Join(lines, "\n"), " OK ") {
			t.Errorf("%s opened an mbox that is not his: %q", u, lines)
		}
		c.Close()
	}
	d.Eventually("all helpers end with their workers", func() bool { return len(d.Status().Of("dotlock")) == 0 })
	left, _ := filepath.Glob(dir + "/*.lock*")
	if len(left) != 0 {
		t.Errorf("lock files stay: %v", left)
	}
	d.NoCrash(t)
}
