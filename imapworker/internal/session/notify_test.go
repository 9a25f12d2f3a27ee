package session

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// RFC 5465 §5.8: a server that cannot deliver "MUST notify these clients by sending an
// untagged "OK [NOTIFICATIONOVERFLOW]" response and behave as if a NOTIFY NONE command had
// just been received". §3.1: it MAY refuse with that code; what was told before is told on.
func TestNotifyOverflow(t *testing.T) {
	p := openPeer(t, []string{"mailbox INBOX 1", "mailbox Box 0"}).(*peer)
	defer p.Close()
	const set = "NOTIFY SET (SELECTED (MessageNew MessageExpunge)) (PERSONAL (MessageNew MessageExpunge))"
	if got := p.say("a " + set); got != "a OK Notify completed.\r\n" {
		t.Fatal(got)
	}
	p.say("a SELECT INBOX")
	told := func(mailbox string) string {
		p.fill([]string{mailbox, "1"})
		p.advance(time.Minute)
		return string(p.Take(1))
	}
	if got := told("Box"); got != "* STATUS Box (MESSAGES 1 UIDNEXT 2)\r\n" {
		t.Errorf("before: %q", got)
	}
	for i := range maxNotifyFolders {
		if _, err := p.store.Create(fmt.Sprintf("m%d", i), 0); err != nil {
			t.Fatal(err)
		}
	}
	if got := told("Box"); got != "* OK [NOTIFICATIONOVERFLOW] Too many mailboxes.\r\n" {
		t.Errorf("with too many mailboxes: %q", got)
	}
	if got := told("Box") + told("INBOX"); got != "" {
		t.Errorf("afterwards: %q", got)
	}
	if got := p.say("b NOTIFY SET (SELECTED (MessageNew MessageExpunge))"); !strings.HasSuffix(got, "b OK Notify completed.\r\n") {
		t.Errorf("of the selected mailbox alone: %q", got)
	}
	if got := p.say("c " + set); got != "c NO [NOTIFICATIONOVERFLOW] Too many mailboxes.\r\n" {
		t.Errorf("asked for again: %q", got)
	}
	if got := told("INBOX"); !strings.HasPrefix(got, "* 3 EXISTS\r\n") {
		t.Errorf("after it was refused: %q", got)
	}
}
