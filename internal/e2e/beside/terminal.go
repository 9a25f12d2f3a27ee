package beside

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"rookery/internal/e2e/harness"
)

// Terminal is a program in a tmux session that has its own server.
type Terminal struct {
	t      testing.TB
	socket string
}

// NewTerminal starts a program in dir with this environment alone. The test's end
// ends it; if the test failed, its screen is shown.
func NewTerminal(t testing.TB, dir string, env []string, program ...string) *Terminal {
	t.Helper()
	tmux := harness.Need(t, "tmux", "tmux")
	term := &Terminal{t: t, socket: filepath.Join(t.TempDir(), "tmux")}
	args := append([]string{"-f", "/dev/null", "-S", term.socket, "new-session", "-d", "-x", "120", "-y", "40", "-c", dir, "env", "-i"}, env...)
	cmd := exec.Command(tmux, append(append(args, "TERM=screen"), program...)...)
	cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "TERM=screen", "LC_ALL=C.UTF-8"}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tmux: %v %s", err, out)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the screen:\n%s", strings.TrimRight(term.Screen(), "\n"))
		}
		exec.Command("tmux", "-S", term.socket, "kill-server").Run()
	})
	return term
}

// Screen is what it shows; empty once the program has ended.
func (term *Terminal) Screen() string {
	out, err := exec.Command("tmux", "-S", term.socket, "capture-pane", "-p").Output()
	if err != nil {
		return ""
	}
	return string(out)
}

// PID is the program's process.
func (term *Terminal) PID() (int, error) {
	out, err := exec.Command("tmux", "-S", term.socket, "list-panes", "-F", "#{pane_pid}").Output()
	if err != nil {
		return 0, fmt.Errorf("tmux list-panes: %w", err)
	}
	return strconv.Atoi(strings.TrimSpace(string(out)))
}

// Press presses keys by tmux's names.
func (term *Terminal) Press(names ...string) error {
	out, err := exec.Command("tmux", append([]string{"-S", term.socket, "send-keys"}, names...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("tmux send-keys %q: %w: %s", names, err, out)
	}
	return nil
}

// Keys is Press that must succeed.
func (term *Terminal) Keys(names ...string) {
	term.t.Helper()
	if err := term.Press(names...); err != nil {
		term.t.Fatal(err)
	}
}

// See waits until the screen shows text.
func (term *Terminal) See(text string) {
	term.t.Helper()
	if !within(20*time.Second, func() bool { return strings.Contains(term.Screen(), text) }) {
		term.t.Fatalf("the screen does not show %q", text)
	}
}

// Gone waits until the screen no longer shows text.
func (term *Terminal) Gone(text string) {
	term.t.Helper()
	if !within(20*time.Second, func() bool {
		s := term.Screen()
		return s != "" && !strings.Contains(s, text)
	}) {
		term.t.Errorf("the screen still shows %q", text)
	}
}

// WaitEnd waits until the program has ended, and its session with it.
func (term *Terminal) WaitEnd(limit time.Duration) {
	term.t.Helper()
	if !within(limit, term.Ended) {
		term.t.Errorf("the program does not end within %v", limit)
	}
}

// Ended tells whether the program has.
func (term *Terminal) Ended() bool {
	if _, err := os.Stat(term.socket); err != nil {
		return true
	}
	return exec.Command("tmux", "-S", term.socket, "has-session").Run() != nil
}
