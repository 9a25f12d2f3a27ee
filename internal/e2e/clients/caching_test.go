package clients

import (
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"rookery/internal/e2e/harness"
	"rookery/internal/modelclient"
)

// caching is a mail program that keeps a copy of INBOX over connections: it comes
// back with QRESYNC, hears of changes by NOTIFY without asking, in IDLE or not, and
// speaks through COMPRESS. What the server may say, and when, package modelclient knows.
type caching struct {
	t         *testing.T
	d         *harness.Demo
	conn      net.Conn
	w         *flate.Writer
	responses chan modelclient.Response // closed at the connection's end
	tag       int
	said      []string // for a failure

	client *modelclient.Client
	cache  *modelclient.Cache // the copy
	others map[string]string  // what was told of other mailboxes: messages by name
}

// connect begins a connection, with TLS or without.
func (c *caching) connect(secure bool) {
	c.t.Helper()
	service := "imap"
	if secure {
		service = "imaps"
	}
	plain := c.d.Dial(service)
	plain.Login("u1")
	plain.OK("COMPRESS DEFLATE")
	c.conn, c.responses = plain.Conn(), make(chan modelclient.Response, 1<<12)
	c.conn.SetDeadline(time.Time{})                   // it is bounded by who waits
	c.w, _ = flate.NewWriter(c.conn, flate.BestSpeed) // the level is one that there is
	go readResponses(flate.NewReader(c.conn), c.responses)
	c.client = &modelclient.Client{}
	c.do("ENABLE QRESYNC")
	c.client.Qresync, c.client.Condstore = true, true
	c.do("NOTIFY SET STATUS (SELECTED (MessageNew (UID FLAGS MODSEQ) MessageExpunge FlagChange)) (PERSONAL (MessageNew MessageExpunge MailboxName))")
	c.client.Unasked = modelclient.AllMessages
	if c.cache.Highest == 0 {
		c.do("SELECT INBOX")
		c.do("UID FETCH 1:* (FLAGS)")
		return
	}
	c.do("SELECT INBOX (" + c.cache.Resync(modelclient.AskBelow, nil) + ")")
	c.do(fmt.Sprintf("UID FETCH %d:* (FLAGS)", c.cache.Next))
}

// readResponses gives responses until the stream ends, or what comes is none.
func readResponses(r io.Reader, to chan<- modelclient.Response) {
	defer close(to)
	var have []byte
	buf := make([]byte, 4<<10)
	for {
		n, err := r.Read(buf)
		have = append(have, buf[:n]...)
		for {
			one, rest, perr := modelclient.Next(have)
			if errors.Is(perr, modelclient.ErrMore) {
				break
			}
			if perr != nil {
				return
			}
			to <- one
			have = rest
		}
		if err != nil {
			return
		}
	}
}

// lose ends the connection without a word.
func (c *caching) lose() {
	c.conn.Close()
	for range c.responses { // what was on its way is lost
	}
	c.client.Lost()
}

func (c *caching) send(text string) {
	c.t.Helper()
	io.WriteString(c.w, text+"\r\n")
	if err := c.w.Flush(); err != nil {
		c.t.Fatalf("sending %q: %v", text, err)
	}
	c.said = append(c.said, "C: "+text)
}

// begin sends a command, and gives its tag.
func (c *caching) begin(command string) (tag string) {
	c.t.Helper()
	c.tag++
	tag = fmt.Sprintf("t%d", c.tag)
	c.client.Begin(tag, command, c.cache, nil)
	c.send(tag + " " + command)
	return tag
}

// do sends a command and learns from the answer.
func (c *caching) do(command string) {
	c.t.Helper()
	c.until(c.begin(command))
}

func (c *caching) until(tag string) {
	c.t.Helper()
	for {
		select {
		case r, ok := <-c.responses:
			if !ok {
				c.fail("the connection ended")
			}
			if c.learn(r); r.Tag != tag {
				continue
			}
			if tag != "+" && r.Name != "OK" {
				c.fail("answer %q", r.Raw)
			}
			return
		case <-time.After(harness.Timeout):
			c.fail("no answer")
		}
	}
}

func (c *caching) fail(format string, args ...any) {
	c.t.Helper()
	c.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(c.said[max(0, len(c.said)-60):], "\n"))
}

func (c *caching) learn(r modelclient.Response) {
	c.t.Helper()
	c.said = append(c.said, "S: "+r.Raw)
	if err := c.client.Learn(r); err != nil {
		c.fail("%v", err)
	}
	switch {
	case r.Name == "STATUS" && len(r.Data) == 2:
		for i, item := range r.Data[1].List {
			if item.Text == "MESSAGES" {
				c.others[r.Data[0].Text] = r.Data[1].List[i+1].Text
			}
		}
	case r.Name == "LIST" && len(r.Data) == 3:
		if slices.ContainsFunc(r.Data[0].List, func(v modelclient.Value) bool { return v.Text == `\NonExistent` }) {
			delete(c.others, r.Data[2].Text)
		}
	}
}

// copied is the copy: flags by UID.
func (c *caching) copied() map[uint32]string {
	out := map[uint32]string{}
	for uid, m := range c.cache.Messages {
		out[uid] = m.Flags
	}
	return out
}

// hears waits, without a word, until the copy is as the mailbox.
func (c *caching) hears(truth map[uint32]string) {
	c.t.Helper()
	late := time.After(harness.Timeout)
	for !maps.Equal(c.copied(), truth) {
		select {
		case r, ok := <-c.responses:
			if !ok {
				c.fail("the connection ended")
			}
			c.learn(r)
		case <-late:
			c.fail("the copy is\n%v\nthe mailbox is\n%v", c.copied(), truth)
		}
	}
	// What comes without a command counts with the next one's end.
}

// truthOf asks as a program does that keeps nothing.
func truthOf(c *harness.Client) map[uint32]string {
	truth := map[uint32]string{}
	for _, line := range c.OK("UID FETCH 1:* (FLAGS)") {
		m := regexp.MustCompile(`UID (\d+) FLAGS \(([^)]*)\)`).FindStringSubmatch(line)
		if m == nil {
			continue
		}
		uid, _ := strconv.ParseUint(m[1], 10, 32)
		truth[uint32(uid)] = modelclient.FlagText(strings.Fields(m[2]))
	}
	return truth
}

// A program that stays for long, loses its connection again and again, and asks for
// nothing twice has the right copy of its mailbox, whatever others do there.
func TestCaching(t *testing.T) {
	d := harness.Start(t)
	rng := rand.New(rand.NewPCG(5, 10))
	other := d.Dial("imap")
	other.Login("u1")
	for range 8 {
		if err := other.Append("INBOX", "", "Subject: x\r\n\r\nx\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	other.OK("SELECT INBOX")
	c := &caching{t: t, d: d, cache: modelclient.NewCache(), others: map[string]string{}}
	c.connect(false)
	folders := 0
	for step := range 250 {
		switch rng.IntN(9) {
		case 0:
			if err := other.Append("INBOX", []string{"", `(\Deleted) `, "($x) "}[rng.IntN(3)], "Subject: y\r\n\r\ny\r\n"); err != nil {
				t.Fatal(err)
			}
		case 1:
			if err := d.Deliver(1, fmt.Sprintf("1700000000.%d.caching", step), "Subject: z\n\nz\n"); err != nil {
				t.Fatal(err)
			}
		case 2:
			other.OK("EXPUNGE")
		case 3:
			other.OK("UID COPY %d INBOX", 1+rng.IntN(60))
		case 4:
			folders++
			other.OK("CREATE f%d", folders)
			if err := other.Append(fmt.Sprintf("f%d", folders), "", "Subject: w\r\n\r\nw\r\n"); err != nil {
				t.Fatal(err)
			}
		case 5:
			if folders > 1 && rng.IntN(2) == 0 {
				other.OK("DELETE f%d", folders)
				folders--
			}
		default:
			other.OK("UID STORE %d:%d %sFLAGS.SILENT (%s)", 1+rng.IntN(60), 1+rng.IntN(60), []string{"+", "-", ""}[rng.IntN(3)],
				[]string{`\Seen`, `\Deleted`, "$x"}[rng.IntN(3)])
		}
		switch rng.IntN(12) {
		case 0:
			c.lose()
			c.connect(rng.IntN(2) == 0)
		case 1:
			c.do("NOOP")
		case 2: // expunges may have to wait meanwhile
			if len(c.client.Slots) > 0 {
				c.do("UID SEARCH 1")
			}
		case 3:
			tag := c.begin("IDLE")
			c.until("+")
			other.OK("UID STORE 1:* +FLAGS.SILENT ($idle%d)", step%3)
			c.send("DONE")
			c.until(tag)
		case 4:
			c.hears(truthOf(other))
		}
	}
	c.hears(truthOf(other))
	for n := 1; n <= folders; n++ {
		name := fmt.Sprintf("f%d", n)
		d.Eventually(name+" told of", func() bool {
			c.do("NOOP")
			return c.others[name] == "1"
		})
	}
	c.lose()
	c.connect(true)
	if truth := truthOf(other); !maps.Equal(c.copied(), truth) {
		c.fail("after coming back the copy is\n%v\nthe mailbox is\n%v", c.copied(), truth)
	}
	c.lose()
	d.NoCrash(t)
}
