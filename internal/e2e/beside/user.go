// Package beside has what tests need that run other people's programs on a user's
// mail while the server serves it: those programs themselves (Postfix, procmail,
// maildrop, mutt), each as the user and with its own locks; sessions that wait in
// IDLE; and Thousands, which puts them all together.
//
// Only tests below internal/e2e import it. It must never know how the server keeps
// mail: it is told the path that the programs use, and reads mail over IMAP.
package beside

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// User is whose mail it is: the programs run as him, under an /etc/passwd that
// knows him, which they see in a mount namespace of their own.
type User struct {
	T        testing.TB
	UID, GID int
	Home     string
	passwd   string
}

// name is what the system calls him.
const name = "u1"

// NewUser makes u1 known to the programs. Home must be his to write.
func NewUser(t testing.TB, uid, gid int, home string) *User {
	t.Helper()
	known, err := os.ReadFile("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	u := &User{T: t, UID: uid, GID: gid, Home: home, passwd: filepath.Join(t.TempDir(), "passwd")}
	line := fmt.Sprintf("%s:x:%d:%d::%s:/bin/sh\n", name, uid, gid, home)
	if err := os.WriteFile(u.passwd, append(known, line...), 0o644); err != nil {
		t.Fatal(err)
	}
	return u
}

// Args gives the command line of a program that runs as the user.
func (u *User) Args(program string, args ...string) []string {
	return append([]string{"unshare", "--mount", "--propagation", "private", "sh", "-c",
		`mount --bind "$0" /etc/passwd && u=$1 g=$2 && shift 2 && exec setpriv --reuid "$u" --regid "$g" --clear-groups "$@"`,
		u.passwd, fmt.Sprint(u.UID), fmt.Sprint(u.GID), program}, args...)
}

// Env is the programs' environment.
func (u *User) Env() []string {
	return []string{"HOME=" + u.Home, "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LOGNAME=" + name, "USER=" + name, "TERM=screen", "LC_ALL=C.UTF-8", "MAILCAPS=/dev/null"}
}

// Command gives a program as the user, in his home.
func (u *User) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	all := u.Args(program, args...)
	cmd := exec.CommandContext(ctx, all[0], all[1:]...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = u.Home, u.Env(), 5*time.Second
	return cmd
}

// Write makes a file of the user's in his home, with mode 0600 or, for a script, 0700.
func (u *User) Write(file, text string, mode os.FileMode) string {
	u.T.Helper()
	path := filepath.Join(u.Home, file)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		u.T.Fatal(err)
	}
	if err := os.Chown(path, u.UID, u.GID); err != nil {
		u.T.Fatal(err)
	}
	return path
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
