package session

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// modelMessage is what a client believes of one message; flags is "?" until it
// has been told them.
type modelMessage struct {
	uid   int // 0 while unknown
	flags string
}

// modelClient follows one session's untagged responses, as a client does that
// never asks twice.
type modelClient struct {
	t        *testing.T
	peer     *peer
	n        int
	messages []modelMessage
	history  []string
	tag      int
}

var (
	countLine = regexp.MustCompile(`^\* (\d+) (EXISTS|RECENT|EXPUNGE)$`)
	expected  = regexp.MustCompile(` NO \[(EXPUNGEISSUED|NONEXISTENT|BADURL)| BAD Message number`)
	fetchLine = regexp.MustCompile(`^\* (\d+) FETCH \((?:UID (\d+) )?FLAGS \(([^)]*)\)(?: UID (\d+))?\)$`)
)

func (c *modelClient) fail(format string, args ...any) {
	c.t.Helper()
	c.t.Fatalf("session %d: %s\n%s", c.n, fmt.Sprintf(format, args...), strings.Join(c.history[max(0, len(c.history)-100):], "\n"))
}

// do sends one command and follows the answer. It gives the tagged line.
func (c *modelClient) do(command string) string {
	c.t.Helper()
	c.tag++
	tag := fmt.Sprintf("t%d", c.tag)
	c.history = append(c.history, "C: "+tag+" "+command)
	if strings.Contains(command, ".SILENT") {
		// The client did not say which of them it changed; it has to ask.
		for i := range c.messages {
			c.messages[i].flags = "?"
		}
	}
	c.peer.Send(c.n, []byte(tag+" "+command+"\r\n"))
	return c.follow(tag, command)
}

// follow reads what has come. "" for tag reads untagged responses only.
func (c *modelClient) follow(tag, command string) (tagged string) {
	c.t.Helper()
	verb, _, _ := strings.Cut(command, " ")
	for _, line := range strings.Split(strings.TrimSuffix(string(c.peer.Take(c.n)), "\r\n"), "\r\n") {
		c.history = append(c.history, "S: "+line)
		switch {
		case tag != "" && strings.HasPrefix(line, tag+" "):
			tagged = line
		case countLine.MatchString(line):
			m := countLine.FindStringSubmatch(line)
			n, _ := strconv.Atoi(m[1])
			c.count(n, m[2], verb)
		case fetchLine.MatchString(line):
			c.fetched(fetchLine.FindStringSubmatch(line))
		}
	}
	if tag != "" && !strings.HasPrefix(tagged, tag+" OK") && !expected.MatchString(tagged) {
		c.fail("answer %q", tagged)
	}
	return tagged
}

func (c *modelClient) count(n int, what, verb string) {
	c.t.Helper()
	switch what {
	case "EXISTS":
		if n < len(c.messages) && verb != "SELECT" {
			c.fail("EXISTS went down from %d to %d", len(c.messages), n)
		}
		for len(c.messages) < n {
			c.messages = append(c.messages, modelMessage{flags: "?"})
		}
	case "EXPUNGE":
		if verb == "FETCH" || verb == "STORE" || verb == "SEARCH" {
			c.fail("EXPUNGE during %s", verb)
		}
		if n > len(c.messages) {
			c.fail("EXPUNGE %d of %d", n, len(c.messages))
		}
		c.messages = slices.Delete(c.messages, n-1, n)
	}
}

func (c *modelClient) fetched(m []string) {
	c.t.Helper()
	n, _ := strconv.Atoi(m[1])
	uid, _ := strconv.Atoi(m[2] + m[4])
	if n == 0 || n > len(c.messages) {
		c.fail("FETCH of %d of %d", n, len(c.messages))
	}
	known := &c.messages[n-1]
	if uid > 0 && known.uid > 0 && known.uid != uid {
		c.fail("message %d was UID %d and is now %d", n, known.uid, uid)
	}
	if uid > 0 {
		known.uid = uid
	}
	known.flags = m[3]
}

// check compares what the client believes with what it is told when it asks.
func (c *modelClient) check() {
	c.t.Helper()
	c.do("NOOP")
	believed := slices.Clone(c.messages)
	c.do("UID FETCH 1:* FLAGS")
	for i, m := range c.messages {
		if i < len(believed) && believed[i].flags != "?" && believed[i].flags != m.flags {
			c.fail("message %d (UID %d): the client believed %q, the server says %q", i+1, m.uid, believed[i].flags, m.flags)
		}
		if m.uid == 0 {
			c.fail("message %d was not told", i+1)
		}
	}
}

// act does something at random.
func (c *modelClient) act(rng *rand.Rand) {
	c.t.Helper()
	flags := []string{`\Seen`, `\Flagged`, `\Deleted`, "$a", "b", ""}[rng.IntN(6)]
	op := []string{"+FLAGS", "-FLAGS", "FLAGS", "+FLAGS.SILENT", "-FLAGS.SILENT", "FLAGS.SILENT"}[rng.IntN(6)]
	first, last := 1+rng.IntN(len(c.messages)+1), 1+rng.IntN(len(c.messages)+1)
	set := fmt.Sprintf("%d:%d", first, last)
	switch rng.IntN(14) {
	case 0, 1:
		c.do(fmt.Sprintf("STORE %s %s (%s)", set, op, flags))
	case 2:
		c.do(fmt.Sprintf("UID STORE %s %s (%s)", set, op, flags))
	case 3:
		c.do("EXPUNGE")
	case 4:
		c.do("UID EXPUNGE " + set)
	case 5, 6:
		c.do("FETCH " + set + " (UID FLAGS)")
	case 7:
		c.do("COPY " + set + " INBOX")
	case 8:
		c.do("UID MOVE " + set + " INBOX")
	case 9:
		c.do("APPEND INBOX (" + flags + ") {3+}\r\nabc")
	case 10:
		c.do("SEARCH ALL")
	case 11:
		c.do("NOOP")
	case 12:
		c.do(fmt.Sprintf("REPLACE %d INBOX (%s) {3+}\r\nnew", first, flags))
	case 13:
		c.do(fmt.Sprintf("UID REPLACE %d INBOX CATENATE (TEXT {3+}\r\nnew URL /INBOX/;UID=%d)", first, last))
	}
}

// Whatever some sessions do to one mailbox, each client's idea of it stays true.
func TestClientsStayInStep(t *testing.T) {
	for _, driver := range []string{"memory", "maildir"} {
		for seed := range uint64(30) {
			t.Run(fmt.Sprintf("%s/%d", driver, seed), func(t *testing.T) {
				t.Parallel()
				rng := rand.New(rand.NewPCG(seed, 1))
				p := openPeer(t, []string{"driver " + driver, "mailbox INBOX 5"}).(*peer)
				defer p.Close()
				var clients []*modelClient
				for n := 1; n <= 3; n++ {
					c := &modelClient{t: t, peer: p, n: n}
					c.do("SELECT INBOX")
					clients = append(clients, c)
				}
				for range 60 {
					c := clients[rng.IntN(len(clients))]
					if len(c.messages) < 60 {
						c.act(rng)
					} else {
						c.do("STORE 1:30 +FLAGS.SILENT (\\Deleted)")
						c.do("EXPUNGE")
					}
					if rng.IntN(10) == 0 {
						clients[rng.IntN(len(clients))].check()
					}
				}
				for _, c := range clients {
					c.check()
				}
				for _, c := range clients[1:] {
					if len(c.messages) != len(clients[0].messages) {
						c.fail("%d messages, session 1 has %d", len(c.messages), len(clients[0].messages))
					}
				}
			})
		}
	}
}
