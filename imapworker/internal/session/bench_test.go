package session

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// What a client does most, on a mailbox of 5,000 messages.
func BenchmarkCommands(b *testing.B) {
	p := openPeer(&testing.T{}, []string{"driver maildir", "mailbox INBOX 5000"}).(*peer)
	p.shown = nil
	p.Send(1, []byte("a SELECT INBOX\r\n"))
	p.Take(1)
	for _, command := range []string{"NOOP", "FETCH 1:* (UID FLAGS)", "UID FETCH 2500 (FLAGS)", "UID STORE 2500 +FLAGS (\\Seen)", "UID SEARCH UNSEEN", "SELECT INBOX",
		// From here on the client keeps mod-sequences; nothing is above the last one.
		"UID FETCH 1:* (FLAGS MODSEQ)", "FETCH 1:* (FLAGS) (CHANGEDSINCE 1)", "UID FETCH 1:* (FLAGS) (CHANGEDSINCE 9000000000000000000)"} {
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

// What the index knows is written without anything on the heap for each message.
func TestFetchAllocates(t *testing.T) {
	const messages = 3000
	p := openPeer(t, []string{"driver maildir", fmt.Sprintf("mailbox INBOX %d", messages)}).(*peer)
	defer p.Close()
	p.shown = nil
	do := func(command string) []byte {
		p.Send(1, []byte("a "+command+"\r\n"))
		return p.Take(1)
	}
	do("SELECT INBOX (CONDSTORE)")
	do("STORE 1:* +FLAGS.SILENT (\\Seen)")
	for command, lines := range map[string]int{
		"UID FETCH 1:* (FLAGS MODSEQ)":                                messages,
		"FETCH 1:* (FLAGS) (CHANGEDSINCE 1)":                          messages,
		"FETCH 1:* (FLAGS) (CHANGEDSINCE 9000000000000000000)":        0,
		"UID SEARCH RETURN (COUNT) UNSEEN MODSEQ 9000000000000000000": 1,
	} {
		if got := bytes.Count(do(command), []byte("\n")) - 1; got != lines {
			t.Errorf("%s: %d responses, want %d", command, got, lines)
		}
		if n := testing.AllocsPerRun(5, func() { do(command) }); n > messages/10 {
			t.Errorf("%s: %.0f allocations for %d messages", command, n, messages)
		}
	}
}
