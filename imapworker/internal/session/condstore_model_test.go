package session

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"rookery/imapworker/internal/view"
	"rookery/internal/modelclient"
)

// syncClient keeps a copy of a mailbox by mod-sequences alone: it never asks for
// the flags of all messages, but only for what has changed since the highest
// mod-sequence that it has seen, and loses its connection again and again.
type syncClient struct {
	t       *testing.T
	peer    *peer
	session int
	client  *modelclient.Client
	cache   *modelclient.Cache
	quick   bool            // it uses QRESYNC
	cut     int             // after how many responses the connection breaks; 0: not
	ask     func(n int) int // what to choose
	tag     int
	history []string
}

var syncAnswer = regexp.MustCompile(`^t\d+ (OK|NO \[EXPUNGEISSUED\]|NO \[MODIFIED|BAD Message number)`)

func (c *syncClient) fail(format string, args ...any) {
	c.t.Helper()
	c.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(c.history[max(0, len(c.history)-60):], "\n"))
}

// do sends a command and learns from what comes.
func (c *syncClient) do(command string, quiet *modelclient.Quiet) {
	c.t.Helper()
	c.tag++
	tag := fmt.Sprintf("t%d", c.tag)
	c.history = append(c.history, "C: "+tag+" "+command)
	c.client.Begin(tag, command, c.cache, quiet)
	c.peer.Send(c.session, []byte(tag+" "+command+"\r\n"))
	all, err := modelclient.All(c.peer.Take(c.session))
	if err != nil {
		c.fail("%v", err)
	}
	for _, r := range all {
		if c.cut > 0 {
			if c.cut--; c.cut == 0 {
				// What was seen of an answer that did not end is no point in time.
				c.history = append(c.history, "(the connection breaks)")
				c.connect()
				return
			}
		}
		c.history = append(c.history, "S: "+r.Raw)
		if err := c.client.Learn(r); err != nil {
			c.fail("%v", err)
		}
	}
	if !syncAnswer.MatchString(c.client.Tagged.Raw) {
		c.fail("answer %q", c.client.Tagged.Raw)
	}
}

// connect begins anew, and brings the copy up to date.
func (c *syncClient) connect() {
	c.t.Helper()
	c.cut = 0
	if c.client != nil {
		c.client.Lost()
		c.peer.Send(c.session, []byte("x UNSELECT\r\n"))
		c.peer.Take(c.session)
	} else if c.quick {
		c.peer.Send(c.session, []byte("x ENABLE QRESYNC\r\n"))
		c.peer.Take(c.session)
	}
	c.client = &modelclient.Client{Condstore: true, Qresync: c.quick}
	if c.quick {
		c.reconnect()
	} else {
		c.compare()
	}
}

// compare is connect by mod-sequences alone: new messages by their UIDs, changed ones
// by CHANGEDSINCE (RFC 7162 §3.1.4.1).
func (c *syncClient) compare() {
	c.t.Helper()
	since, next := c.cache.Highest, c.cache.Next
	c.do("SELECT INBOX (CONDSTORE)", nil)
	c.do(fmt.Sprintf("UID FETCH %d:* (FLAGS MODSEQ)", next), nil)
	if since > 0 {
		c.do(fmt.Sprintf("UID FETCH 1:%d (FLAGS) (CHANGEDSINCE %d)", max(next-1, 1), since), nil)
	}
	c.do("UID FETCH 1:* (UID)", nil) // which are still there
	maps.DeleteFunc(c.cache.Messages, func(uid uint32, _ modelclient.Message) bool { return !slices.Contains(c.client.Slots, uid) })
	c.client.Commit()
}

// reconnect is connect with QRESYNC: one command (RFC 7162 §6).
func (c *syncClient) reconnect() {
	c.t.Helper()
	if c.cache.Highest == 0 {
		c.do("SELECT INBOX", nil)
		return
	}
	args := c.cache.Resync(modelclient.Known(c.ask(3)), func(int) bool { return c.ask(3) == 0 })
	c.cut = max(0, c.ask(16)-8)
	c.do("SELECT INBOX ("+args+")", nil)
	c.cut = 0
}

// learnNew asks for the flags of messages that came while it was connected.
func (c *syncClient) learnNew() {
	c.t.Helper()
	if slices.Contains(c.client.Slots, 0) {
		c.do(fmt.Sprintf("UID FETCH %d:* (FLAGS MODSEQ)", c.cache.Next), nil)
	}
}

// act changes flags under a condition that the client's copy says will hold.
func (c *syncClient) act(rng *rand.Rand) {
	c.t.Helper()
	if len(c.client.Slots) == 0 {
		return
	}
	uid := c.client.Slots[rng.IntN(len(c.client.Slots))]
	msg := c.cache.Messages[uid]
	if !msg.Known {
		return
	}
	flag := []string{`\Flagged`, `\Seen`, "$x"}[rng.IntN(3)]
	silent := []string{"", ".SILENT"}[rng.IntN(2)]
	c.do(fmt.Sprintf("UID STORE %d (UNCHANGEDSINCE %d) +FLAGS%s (%s)", uid, msg.ModSeq, silent, flag), &modelclient.Quiet{UIDs: []uint32{uid},
		Change: func(old string) string { return modelclient.FlagText(append(strings.Fields(old), flag)) }})
}

// check compares the copy with the truth.
func (c *syncClient) check() {
	c.t.Helper()
	box, err := c.peer.store.Open("INBOX")
	if err != nil {
		c.t.Fatal(err)
	}
	defer box.Close()
	s, err := box.Sync()
	if err != nil {
		c.t.Fatal(err)
	}
	if len(c.cache.Messages) != s.Len() || len(c.client.Slots) != s.Len() {
		c.fail("the client knows %d messages of %d", len(c.cache.Messages), s.Len())
	}
	for i := range s.Len() {
		e := s.At(i)
		if c.client.Slots[i] != e.UID {
			c.fail("message %d: the client believes UID %d, the truth is %d", i+1, c.client.Slots[i], e.UID)
		}
		want := modelclient.FlagText(append(view.SystemFlags(e.Flags), s.Keywords(e.Keywords)...))
		if got := c.cache.Messages[e.UID]; !got.Known || got.Flags != want {
			c.fail("UID %d: the client believes %+v, the truth is %q (MODSEQ %d)", e.UID, got, want, e.ModSeq)
		}
	}
}

// disturb changes the mailbox in another session that keeps no mod-sequences.
func disturb(p *peer, session int, rng *rand.Rand) {
	flags := []string{`\Seen`, `\Flagged`, `\Deleted`, "$x", ""}[rng.IntN(5)]
	op := []string{"+FLAGS", "-FLAGS.SILENT", "FLAGS"}[rng.IntN(3)]
	set := fmt.Sprintf("%d:%d", 1+rng.IntN(12), 1+rng.IntN(40))
	command := fmt.Sprintf("UID STORE %s %s (%s)", set, op, flags)
	switch rng.IntN(9) {
	case 0:
		command = "EXPUNGE"
	case 1:
		command = "APPEND INBOX (" + flags + ") {3+}\r\nabc"
	case 2:
		command = fmt.Sprintf("UID COPY %d INBOX", 1+rng.IntN(40))
	case 3:
		command = fmt.Sprintf("UID MOVE %d INBOX", 1+rng.IntN(40))
	case 4:
		command = fmt.Sprintf("UID REPLACE %d INBOX (%s) {3+}\r\nnew", 1+rng.IntN(40), flags)
	}
	p.Send(session, []byte("x "+command+"\r\n"))
	p.Take(session)
}

// A client that only ever asks for what has changed since the highest mod-sequence
// that it knows of has the right picture, whatever others do, however often its
// connection breaks, in the middle of an answer too (RFC 7162 §3.1.4.1).
func TestSyncByModSeq(t *testing.T) { testSync(t, false) }

// A client that keeps its copy over connections is right after one command
// (RFC 7162 §3.2.5), whatever it was told before its connection broke.
func TestSyncByQresync(t *testing.T) { testSync(t, true) }

func testSync(t *testing.T, quick bool) {
	seeds := uint64(25)
	if testing.Short() {
		seeds = 6
	}
	for _, driver := range []string{"memory", "maildir", "mbox", "pack"} {
		for seed := range seeds {
			t.Run(fmt.Sprintf("%s/%d", driver, seed), func(t *testing.T) {
				t.Parallel()
				rng := rand.New(rand.NewPCG(seed, 2))
				p := openPeer(t, []string{"driver " + driver, "mailbox INBOX 8"}).(*peer)
				p.shown = nil
				defer p.Close()
				clients := []*syncClient{{t: t, peer: p, session: 1}, {t: t, peer: p, session: 2}}
				for _, c := range clients {
					c.cache, c.quick, c.ask = modelclient.NewCache(), quick, rng.IntN
					c.connect()
				}
				for n := 3; n <= 4; n++ {
					p.Send(n, []byte("x SELECT INBOX\r\n"))
					p.Take(n)
				}
				for range 120 {
					disturb(p, 3+rng.IntN(2), rng)
					c := clients[rng.IntN(2)]
					switch rng.IntN(7) {
					case 0:
						c.connect()
					case 1:
						c.cut = 1 + rng.IntN(4)
						c.do("NOOP", nil)
						c.cut = 0
					case 2, 3:
						c.learnNew()
						c.act(rng)
					case 4: // expunges have to wait
						if len(c.client.Slots) > 0 {
							c.do("FETCH 1 (UID FLAGS)", nil)
						}
					case 5:
						c.learnNew()
						c.do("NOOP", nil)
						c.learnNew()
						c.check()
					}
				}
				for _, c := range clients {
					c.connect()
					c.learnNew()
					c.check()
				}
			})
		}
	}
}
