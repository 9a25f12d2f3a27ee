package session

import (
	"strings"
	"testing"
)

// What a client does most, on a mailbox of 5,000 messages.
func BenchmarkCommands(b *testing.B) {
	p := openPeer(&testing.T{}, []string{"driver maildir", "mailbox INBOX 5000"}).(*peer)
	p.Send(1, []byte("a SELECT INBOX\r\n"))
	p.Take(1)
	for _, command := range []string{"NOOP", "FETCH 1:* (UID FLAGS)", "UID FETCH 2500 (FLAGS)", "UID STORE 2500 +FLAGS (\\Seen)", "UID SEARCH UNSEEN", "SELECT INBOX"} {
		b.Run(strings.Fields(command)[0]+" "+strings.Fields(command + " x")[1], func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				line := "a " + command + "\r\n"
				if i%2 == 1 {
					line = strings.Replace(line, "+FLAGS", "-FLAGS", 1)
				}
				p.Send(1, []byte(line))
				p.Take(1)
			}
		})
	}
}
