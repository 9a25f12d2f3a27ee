package tools

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rookery/internal/child/childtest"
	"rookery/internal/e2e/harness"
)

// A rookeryctl that is killed while it has a user's mail for itself leaves its
// tool behind for a moment. The user is let in only once that has ended: a
// session of before would go on in the store that the tool is about to replace.
func TestHoldLastsAsLongAsTheTool(t *testing.T) {
	d := harness.Start(t, "--users", "1", "--empty")
	holder := filepath.Join(t.TempDir(), "holder")
	build(t, "./holder", holder)
	cmd := exec.Command(holder, filepath.Join(d.Dir, "run", "control"), "u1", "u1@example.test")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	tools := d.Status().Of("mailtool")
	if len(tools) != 1 {
		t.Fatalf("tools: %v", tools)
	}
	if err := syscall.Kill(tools[0].PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	// A thread that has not heard of the signal yet may see that rookeryctl has gone.
	d.Eventually("all threads of the tool have stopped", func() bool {
		still, err := childtest.Stopped(tools[0].PID)
		if err != nil {
			t.Fatal(err)
		}
		return still
	})
	cmd.Process.Kill()
	cmd.Wait()
	for range 10 {
		time.Sleep(50 * time.Millisecond) // nothing happens in this time: there is no event to wait for
		c := d.Dial("imap")
		c.ExpectPrefix("* OK ")
		lines := c.IMAP("LOGIN u1 pass")
		if last := lines[len(lines)-1]; !strings.Contains(last, " NO [") || !strings.Contains(last, "worked on") {
			t.Fatalf("let in while the tool is there: %q", lines)
		}
		c.Close()
	}
	syscall.Kill(tools[0].PID, syscall.SIGCONT)
	login(t, d).Close()
	if left := d.Status().Of("mailtool"); len(left) > 0 {
		t.Errorf("let in before the tool ended: %v", left)
	}
	d.NoCrash(t)
}

// When a command that has a user's mail for itself has ended, so has all it kept
// out: his next login is let in, and the next command finds nobody in its way.
func TestHoldEndsWithTheCommand(t *testing.T) {
	d := harness.Start(t, "--users", "1", "--empty")
	fill(t, d, 3)
	for _, driver := range []string{"pack", "mbox", "maildir", "pack", "mbox"} {
		ctl(t, d, 0, "convert", "-u", "u1", "--to", driver)
		c := d.Dial("imap")
		c.ExpectPrefix("* OK ")
		c.OK("LOGIN u1 pass")
		c.OK("SELECT INBOX")
		c.Close()
		ctl(t, d, 0, "convert", "-u", "u1", "--discard-old")
	}
	d.NoCrash(t)
}
