package imapworker

import (
	"strings"
	"testing"
)

// A change in one session is told at once in another one of the process that
// watches the mailbox, without a command and without having it selected.
func TestNotifyWithinProcess(t *testing.T) {
	b := newBench(t)
	watcher, other := b.connect(""), b.connect("")
	watcher.until("a0")
	other.until("a0")
	other.send("b CREATE lists\r\n")
	other.until("b OK")
	watcher.send("c NOTIFY SET (PERSONAL (MessageNew MessageExpunge))\r\n")
	watcher.until("c OK")
	other.send("d APPEND lists {3+}\r\nabc\r\n")
	other.until("d OK")
	if line := watcher.until("* STATUS"); !strings.HasPrefix(line, "* STATUS lists (MESSAGES 1 UIDNEXT 2") {
		t.Errorf("told %q", line)
	}
}
