package session

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// FETCH tells how far it is between its responses, as SEARCH does (RFC 9585).
func TestFetchInProgress(t *testing.T) {
	p := openPeer(t, []string{"mailbox INBOX 64"}).(*peer)
	defer p.Close()
	now := start
	p.clock = func() time.Time {
		now = now.Add(time.Second)
		return now
	}
	p.Send(1, []byte("s SELECT INBOX\r\n"))
	p.Take(1)
	p.Send(1, []byte("a FETCH 1:64 BODY.PEEK[]\r\n"))
	fetched, told := 0, []int{}
	for line := range strings.SplitSeq(string(p.Take(1)), "\r\n") {
		var n int
		switch {
		case strings.Contains(line, "INPROGRESS"):
			if _, err := fmt.Sscanf(line, `* OK [INPROGRESS ("a" %d 64)] Still working.`, &n); err != nil || n != fetched {
				t.Errorf("%q after %d responses, %v", line, fetched, err)
			}
			told = append(told, n)
		case strings.Contains(line, " FETCH (BODY[] "):
			fetched++
		}
	}
	if fmt.Sprint(told) != "[9 19 29 39 49 59]" || fetched != 64 {
		t.Errorf("told %v, %d responses", told, fetched)
	}
}

// A command that takes long ends soon after the session was told to end, with BYE and
// without an answer of its own.
func TestKickInCommand(t *testing.T) {
	for _, command := range []string{"SEARCH BODY nonsense", "UID SORT (SUBJECT) UTF-8 BODY body", "SORT (SUBJECT) UTF-8 ALL", "THREAD REFS UTF-8 ALL", "FETCH 1:* BODY.PEEK[]", "FETCH 1:* FLAGS",
		"ESEARCH IN (selected mailboxes (a b c)) BODY body"} {
		p := openPeer(t, []string{"mailbox INBOX 300"}).(*peer)
		asked := 0
		p.kicked = func() string {
			if asked++; asked > 1 || strings.HasSuffix(command, "FLAGS") {
				return "Server shutting down."
			}
			return ""
		}
		p.Send(1, []byte("s SELECT INBOX\r\n"))
		p.Take(1)
		p.Send(1, []byte("a "+command+"\r\nb NOOP\r\n"))
		got := string(p.Take(1))
		if !strings.HasSuffix(got, "* BYE Server shutting down.\r\n") || strings.Contains(got, "\r\na ") || strings.Contains(got, "b OK") {
			t.Errorf("%s: %.300q", command, got[max(0, len(got)-300):])
		}
		if end, why := p.Session(1).Ended(); end != Killed || why != "Disconnected: Server shutting down." {
			t.Errorf("%s: ended %v, %q", command, end, why)
		}
		if n := strings.Count(got, " FETCH "); n > 2 {
			t.Errorf("%s: %d responses after it", command, n)
		}
		p.Close()
	}
}

// While COPY and MOVE are at work somebody else tells the client so: a whole response,
// before which all is sent that comes before it.
func TestAwait(t *testing.T) {
	p := openPeer(t, []string{"mailbox INBOX 3", "mailbox x 0"}).(*peer)
	defer p.Close()
	var line string
	stopped := 0
	p.await = func(text []byte) func() {
		line = string(text)
		if got := string(p.Take(1)); !strings.HasPrefix(got, "n OK ") {
			t.Errorf("not sent before it: %q", got)
		}
		return func() { stopped++ }
	}
	p.Send(1, []byte("s SELECT INBOX\r\n"))
	p.Take(1)
	for i, test := range []struct{ tag, command, want string }{{"a", "COPY 1:2 x", `"a"`}, {"c]", "UID MOVE 1:2 x", "NIL"}} {
		line = ""
		p.Send(1, fmt.Appendf(nil, "n NOOP\r\n%s %s\r\n", test.tag, test.command))
		if got := string(p.Take(1)); !strings.Contains(got, test.tag+" OK ") {
			t.Errorf("%s: %q", test.command, got)
		}
		if want := "* OK [INPROGRESS (" + test.want + " NIL NIL)] Still working.\r\n"; line != want || stopped != i+1 {
			t.Errorf("%s: %q, want %q; stopped %d times", test.command, line, want, stopped)
		}
	}
}
