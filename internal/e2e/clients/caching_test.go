package clients

import (
	"bufio"
	"compress/flate"
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
	"rookery/internal/numset"
)

// caching is a mail program that keeps a copy of INBOX over connections: it comes
// back with QRESYNC, hears of changes by NOTIFY without asking, in IDLE or not, and
// speaks through COMPRESS.
type caching struct {
	t     *testing.T
	d     *harness.Demo
	conn  net.Conn
	w     *flate.Writer
	lines chan string // closed at the connection's end
	tag   int
	said  []string // for a failure

	flags    map[uint32]string // by UID: the copy
	uids     []uint32          // by sequence number; 0 where the UID is not known yet
	opening  bool              // SELECT is under way: uids come from the copy
	next     uint32            // all messages below this UID are in the copy
	validity uint64
	highest  uint64
	seen     uint64            // the highest MODSEQ of the command under way
	told     uint64            // its HIGHESTMODSEQ, 0 for none
	others   map[string]string // what was told of other mailboxes
}

var (
	cacheCount   = regexp.MustCompile(`^\* (\d+) (EXISTS|EXPUNGE)$`)
	cacheFetch   = regexp.MustCompile(`^\* (\d+) FETCH \(.*UID (\d+).*FLAGS \(([^)]*)\).*MODSEQ \((\d+)\)`)
	cacheGone    = regexp.MustCompile(`^\* VANISHED (\(EARLIER\) )?([0-9:,]+)$`)
	cacheStatus  = regexp.MustCompile(`^\* STATUS (\S+) \(.*MESSAGES (\d+)`)
	cacheCode    = regexp.MustCompile(`\[(UIDVALIDITY|HIGHESTMODSEQ) (\d+)\]`)
	cacheDeleted = regexp.MustCompile(`^\* LIST \(\\NonExistent.*\) "." (\S+)$`)
)

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
	c.conn, c.lines = plain.Conn(), make(chan string, 1<<12)
	c.conn.SetDeadline(time.Time{})                   // it is bounded by who waits
	c.w, _ = flate.NewWriter(c.conn, flate.BestSpeed) // the level is one that there is
	go readLines(flate.NewReader(c.conn), c.lines)
	c.do("ENABLE QRESYNC")
	c.do("NOTIFY SET STATUS (SELECTED (MessageNew (UID FLAGS MODSEQ) MessageExpunge FlagChange)) (PERSONAL (MessageNew MessageExpunge MailboxName))")
	c.uids, c.opening = nil, true
	if c.highest == 0 {
		c.do("SELECT INBOX")
		c.do("UID FETCH 1:* (FLAGS)")
		return
	}
	maps.DeleteFunc(c.flags, func(uid uint32, _ string) bool { return uid >= c.next })
	c.do(fmt.Sprintf("SELECT INBOX (QRESYNC (%d %d %s))", c.validity, c.highest, numset.Span(1, max(c.next-1, 1))))
	c.do(fmt.Sprintf("UID FETCH %d:* (FLAGS)", c.next))
}

// readLines gives lines until the stream ends. What this client asks for has no literals.
func readLines(r io.Reader, to chan<- string) {
	defer close(to)
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		to <- strings.TrimRight(line, "\r\n")
	}
}

// lose ends the connection without a word.
func (c *caching) lose() {
	c.conn.Close()
	for range c.lines { // what was on its way is lost
	}
}

func (c *caching) send(text string) {
	c.t.Helper()
	io.WriteString(c.w, text+"\r\n")
	if err := c.w.Flush(); err != nil {
		c.t.Fatalf("sending %q: %v", text, err)
	}
	c.said = append(c.said, "C: "+text)
}

// do sends a command and learns from the answer.
func (c *caching) do(command string) {
	c.t.Helper()
	c.tag++
	tag := fmt.Sprintf("t%d ", c.tag)
	c.send(tag + command)
	c.until(tag)
}

func (c *caching) until(prefix string) {
	c.t.Helper()
	for {
		select {
		case line, ok := <-c.lines:
			if !ok {
				c.fail("the connection ended")
			}
			if c.learn(line); !strings.HasPrefix(line, prefix) {
				continue
			}
			if !strings.HasPrefix(line, "+") && !strings.HasPrefix(line, prefix+"OK") {
				c.fail("answer %q", line)
			}
			c.done()
			return
		case <-time.After(harness.Timeout):
			c.fail("no answer")
		}
	}
}

// done is the end of a command: what it told may be relied on (RFC 7162 §6).
func (c *caching) done() {
	c.place()
	c.highest = max(c.highest, c.seen)
	if c.told > 0 {
		c.highest = c.told
	}
	c.seen, c.told = 0, 0
	if n := len(c.uids); n > 0 && !slices.Contains(c.uids, 0) {
		c.next = max(c.next, c.uids[n-1]+1)
	}
}

func (c *caching) fail(format string, args ...any) {
	c.t.Helper()
	c.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(c.said[max(0, len(c.said)-60):], "\n"))
}

// place gives the copy's messages their sequence numbers: they stand first.
func (c *caching) place() {
	if !c.opening {
		return
	}
	c.opening = false
	known := slices.Sorted(maps.Keys(c.flags))
	if len(known) > len(c.uids) {
		c.fail("the copy has %d messages, the mailbox %d", len(known), len(c.uids))
	}
	copy(c.uids, known)
}

func (c *caching) learn(line string) {
	c.t.Helper()
	c.said = append(c.said, "S: "+line)
	if m := cacheCode.FindStringSubmatch(line); m != nil {
		n, _ := strconv.ParseUint(m[2], 10, 64)
		if m[1] == "UIDVALIDITY" {
			c.validity = n
		} else {
			c.told = n
		}
	}
	if m := cacheCount.FindStringSubmatch(line); m != nil {
		n, _ := strconv.Atoi(m[1])
		if m[2] == "EXPUNGE" {
			c.fail("EXPUNGE after ENABLE QRESYNC")
		}
		for len(c.uids) < n {
			c.uids = append(c.uids, 0)
		}
	}
	if m := cacheGone.FindStringSubmatch(line); m != nil {
		c.forget(m[2], m[1] != "")
	}
	if m := cacheFetch.FindStringSubmatch(line); m != nil {
		c.place()
		seq, _ := strconv.Atoi(m[1])
		uid, _ := strconv.ParseUint(m[2], 10, 32)
		if seq > len(c.uids) || c.uids[seq-1] != 0 && c.uids[seq-1] != uint32(uid) {
			c.fail("message %d of %d is UID %d", seq, len(c.uids), uid)
		}
		c.uids[seq-1] = uint32(uid)
		flags := strings.Fields(strings.ReplaceAll(m[3], `\Recent`, ""))
		slices.Sort(flags)
		c.flags[uint32(uid)] = strings.Join(flags, " ")
		n, _ := strconv.ParseUint(m[4], 10, 64)
		c.seen = max(c.seen, n)
	}
	if m := cacheStatus.FindStringSubmatch(line); m != nil {
		c.others[m[1]] = m[2]
	}
	if m := cacheDeleted.FindStringSubmatch(line); m != nil {
		delete(c.others, m[1])
	}
}

func (c *caching) forget(set string, earlier bool) {
	c.t.Helper()
	expr, err := numset.Parse([]byte(set), 1000)
	if err != nil || earlier != c.opening {
		c.fail("VANISHED %s, earlier %t: %v", set, earlier, err)
	}
	for uid := range expr.Resolve(0).All() {
		delete(c.flags, uid)
		if earlier {
			continue
		}
		at := slices.Index(c.uids, uid)
		if at < 0 {
			at = slices.Index(c.uids, 0) // one that it knows no UID of stands at the end
		}
		if at < 0 {
			c.fail("VANISHED %d, which was never told of", uid)
		}
		c.uids = slices.Delete(c.uids, at, at+1)
	}
}

// hears waits, without a word, until the copy is as the mailbox.
func (c *caching) hears(truth map[uint32]string) {
	c.t.Helper()
	late := time.After(harness.Timeout)
	for !maps.Equal(c.flags, truth) {
		select {
		case line, ok := <-c.lines:
			if !ok {
				c.fail("the connection ended")
			}
			c.learn(line)
		case <-late:
			c.fail("the copy is\n%v\nthe mailbox is\n%v", c.flags, truth)
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
		flags := strings.Fields(strings.ReplaceAll(m[2], `\Recent`, ""))
		slices.Sort(flags)
		truth[uint32(uid)] = strings.Join(flags, " ")
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
	c := &caching{t: t, d: d, flags: map[uint32]string{}, next: 1, others: map[string]string{}}
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
			if len(c.uids) > 0 {
				c.do("UID SEARCH 1")
			}
		case 3:
			c.tag++
			c.send(fmt.Sprintf("t%d IDLE", c.tag))
			c.until("+")
			other.OK("UID STORE 1:* +FLAGS.SILENT ($idle%d)", step%3)
			c.send("DONE")
			c.until(fmt.Sprintf("t%d ", c.tag))
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
	if truth := truthOf(other); !maps.Equal(c.flags, truth) {
		c.fail("after coming back the copy is\n%v\nthe mailbox is\n%v", c.flags, truth)
	}
	c.lose()
	d.NoCrash(t)
}
