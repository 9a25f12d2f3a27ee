package beside

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"rookery/internal/e2e/harness"
)

// muttRC: nothing is asked, and new mail is looked for when keys are pressed.
const muttRC = `set folder=~ move=no quit=yes mark_old=no wait_key=no confirmappend=no delete=no
set sort=mailbox-order timeout=600 mail_check=5 check_new=yes header_cache="" tmpdir="~" realname=Tester
set dotlock_program="%s"
`

// muttDotlock stands between mutt and its lock program. mutt takes the fcntl lock
// first and keeps it while it waits for the lock file: seconds, and then for as long
// as its question "Lock count exceeded, remove lock?" stands unanswered. Postfix,
// procmail and maildrop take the lock file first and wait for the fcntl lock with it in
// hand, so that nobody gets on. Here the lock file is asked for once, and "in
// use" (3) becomes an error (1): mutt gives up at once, gives the fcntl lock back and
// asks nothing. docs/mbox.md has the same for its readers.
const muttDotlock = `#!/bin/sh
was=
for a; do
	shift
	[ "$was" = -r ] && a=0
	set -- "$@" "$a"
	was=$a
done
mutt_dotlock "$@"
rc=$?
[ $rc -ne 3 ] || exit 1
exit $rc
`

// mutt looks into the mailbox at every change of it (by inotify). Each look takes
// the fcntl lock some milliseconds before the lock file; a local(8) that has just
// made the lock file then sleeps with it for a second, and nobody delivers. So mutt
// is put to sleep, as by Ctrl-Z, but for muttAwake in every muttEvery.
const (
	muttEvery = 8 * time.Second
	muttAwake = 500 * time.Millisecond
)

// Mutt has a mailbox open in a terminal.
type Mutt struct {
	*Terminal
	syncs int
}

// StartMutt opens a mailbox; nobody else may have it locked at this moment.
func StartMutt(u *User, mailbox string) *Mutt {
	u.T.Helper()
	mutt := harness.Need(u.T, "mutt", "mutt")
	rc := u.Write("muttrc", fmt.Sprintf(muttRC, u.Write("mutt-dotlock", muttDotlock, 0o700)), 0o600)
	m := &Mutt{Terminal: NewTerminal(u.T, u.Home, u.Env(), u.Args("/bin/sh", "-c", `"$0" -n -F "$1" -f "$2"; :`, mutt, rc, mailbox)...)}
	m.See("Mutt: ")
	return m
}

// Work flags the newest message and syncs, again and again, until stop: what mutt
// cannot write now since the mailbox is locked or has changed, it writes another time.
func (m *Mutt) Work(stop <-chan struct{}) error {
	pid, err := m.pid()
	if err != nil {
		return err
	}
	defer syscall.Kill(pid, syscall.SIGCONT)
	for {
		if err := m.Sync(); err != nil {
			return err
		}
		for pause := muttAwake; pause > 0; pause = m.sleep(pid) {
			select {
			case <-stop:
				return nil
			case <-time.After(pause):
			}
		}
		select {
		case <-stop:
			return nil
		case <-time.After(muttEvery - muttAwake):
		}
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			return fmt.Errorf("mutt: %w", err)
		}
	}
}

// pid is mutt's process: the shell's child in the terminal, since tmux wakes its own
// children that are stopped.
func (m *Mutt) pid() (int, error) {
	shell, err := m.PID()
	if err != nil {
		return 0, err
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", shell, shell))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(children)))
}

// sleep stops mutt where it holds no lock; else it gives how long to wait until
// that is tried again. The fcntl lock is the first that mutt takes and, but for
// the child that removes the lock file, the last that it gives back.
func (m *Mutt) sleep(pid int) time.Duration {
	syscall.Kill(pid, syscall.SIGSTOP)
	within(time.Second, func() bool { // it goes on until the signal has reached it
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(stat), ") T ")
	})
	locks, _ := os.ReadFile("/proc/locks")
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if !strings.Contains(string(locks), fmt.Sprintf(" %d ", pid)) && len(children) == 0 {
		return 0
	}
	syscall.Kill(pid, syscall.SIGCONT)
	return 10 * time.Millisecond
}

// Sync does it once. A question must not be there: its answer would be a key that
// is meant otherwise.
func (m *Mutt) Sync() error {
	screen := m.Screen()
	switch {
	case screen == "":
		return fmt.Errorf("mutt has ended after %d syncs", m.syncs)
	case asks(screen):
		return fmt.Errorf("mutt asks:\n%s", screen)
	}
	m.syncs++
	return m.Press("*", "w", "!", "$")
}

// Quit ends mutt. It writes before, which it may have to try again like a Sync: with
// what has changed meanwhile it stays, and must look once more.
func (m *Mutt) Quit() error {
	for range 10 {
		if screen := m.Screen(); asks(screen) {
			return fmt.Errorf("mutt asks:\n%s", screen)
		}
		if err := m.Press("q"); err != nil && !m.Ended() {
			return err
		}
		if within(2*time.Second, m.Ended) {
			return nil
		}
	}
	return fmt.Errorf("mutt does not end:\n%s", m.Screen())
}

// asks tells whether mutt waits for a yes or a no.
func asks(screen string) bool {
	return strings.Contains(screen, "([yes]/no)") || strings.Contains(screen, "(yes/[no])")
}
