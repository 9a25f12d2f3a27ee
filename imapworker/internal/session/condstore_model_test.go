package session

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"rookery/imapworker/internal/view"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// syncMessage is what a client keeps of a message.
type syncMessage struct {
	flags  string
	modSeq uint64
}

// syncClient keeps a copy of a mailbox by mod-sequences alone: it never asks for
// the flags of all messages, but only for what has changed since the highest
// mod-sequence that it has seen, and loses its connection again and again.
type syncClient struct {
	t       *testing.T
	peer    *peer
	session int
	highest uint64                 // CHANGEDSINCE of the next time
	seen    uint64                 // the highest of the command under way
	cut     int                    // after how many lines the connection breaks; 0: not
	known   map[uint32]syncMessage // by UID
	uidNext uint32                 // messages below it are known
	uids    []uint32               // of the selected mailbox, 0 while unknown
	tag     int
	history []string

	quick   bool            // it uses QRESYNC
	sampled []uint32        // quick: the UIDs by sequence number at the end of the command before
	coded   uint64          // quick: HIGHESTMODSEQ of the command under way, 0 for none
	opening bool            // quick: SELECT is under way, uids are not known yet
	ask     func(n int) int // quick: what to choose
}

var (
	syncFetch   = regexp.MustCompile(`^\* (\d+) FETCH \((.*)\)$`)
	syncUID     = regexp.MustCompile(`UID (\d+)`)
	syncFlags   = regexp.MustCompile(`FLAGS \(([^)]*)\)`)
	syncModSeq  = regexp.MustCompile(`MODSEQ \((\d+)\)`)
	syncHighest = regexp.MustCompile(`\[HIGHESTMODSEQ (\d+)\]`)
	syncAnswer  = regexp.MustCompile(`^t\d+ (OK|NO \[EXPUNGEISSUED\]|NO \[MODIFIED|BAD Message number)`)
	syncGone    = regexp.MustCompile(`^\* VANISHED (\(EARLIER\) )?([0-9:,]+)$`)
)

func (c *syncClient) fail(format string, args ...any) {
	c.t.Helper()
	c.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(c.history[max(0, len(c.history)-60):], "\n"))
}

// do sends a command and learns from what comes. own is what the client expects of
// messages that .SILENT hides: their flags after its own change.
func (c *syncClient) do(command string, own func(flags string) string) (tagged string) {
	c.t.Helper()
	c.tag++
	tag := fmt.Sprintf("t%d", c.tag)
	c.history = append(c.history, "C: "+tag+" "+command)
	c.peer.Send(c.session, []byte(tag+" "+command+"\r\n"))
	c.coded = 0
	for _, line := range strings.Split(strings.TrimSuffix(string(c.peer.Take(c.session)), "\r\n"), "\r\n") {
		if c.cut > 0 {
			if c.cut--; c.cut == 0 {
				// What was seen of an answer that did not end is no point in time.
				c.history = append(c.history, "(the connection breaks)")
				c.peer.Take(c.session)
				c.connect()
				return ""
			}
		}
		c.history = append(c.history, "S: "+line)
		if m := syncHighest.FindStringSubmatch(line); m != nil {
			c.coded, _ = strconv.ParseUint(m[1], 10, 64)
		}
		if strings.HasPrefix(line, tag+" ") {
			tagged = line
			continue
		}
		c.learn(line, own)
	}
	if !syncAnswer.MatchString(tagged) {
		c.fail("answer %q", tagged)
	}
	c.place()
	if c.highest, c.seen = max(c.highest, c.seen), 0; c.quick && c.coded > 0 {
		// RFC 7162 §6: "the client MUST use it even if it has seen higher"
		c.highest = c.coded
	}
	c.sampled = slices.Clone(c.uids)
	return tagged
}

func (c *syncClient) learn(line string, own func(string) string) {
	c.t.Helper()
	if m := countLine.FindStringSubmatch(line); m != nil {
		n, _ := strconv.Atoi(m[1])
		switch m[2] {
		case "EXISTS":
			for len(c.uids) < n {
				c.uids = append(c.uids, 0)
			}
		case "EXPUNGE":
			if c.quick {
				c.fail("EXPUNGE after ENABLE QRESYNC")
			}
			delete(c.known, c.uids[n-1])
			c.uids = slices.Delete(c.uids, n-1, n)
		}
		return
	}
	if m := syncGone.FindStringSubmatch(line); m != nil {
		c.forget(m[2], m[1] != "")
		return
	}
	m := syncFetch.FindStringSubmatch(line)
	if m == nil {
		return
	}
	c.place()
	seq, _ := strconv.Atoi(m[1])
	if uid := syncUID.FindStringSubmatch(m[2]); uid != nil {
		u, _ := strconv.ParseUint(uid[1], 10, 32)
		if old := c.uids[seq-1]; old != 0 && old != uint32(u) {
			c.fail("message %d was UID %d, is UID %d", seq, old, u)
		}
		c.uids[seq-1] = uint32(u)
	}
	uid := c.uids[seq-1]
	modSeq := syncModSeq.FindStringSubmatch(m[2])
	if modSeq == nil || uid == 0 {
		if strings.Contains(m[2], "FLAGS") {
			c.fail("flags without UID and MODSEQ: %s", line)
		}
		return
	}
	n, _ := strconv.ParseUint(modSeq[1], 10, 64)
	msg := c.known[uid]
	if n < msg.modSeq {
		c.fail("UID %d: MODSEQ went down from %d", uid, msg.modSeq)
	}
	msg.modSeq = n
	if flags := syncFlags.FindStringSubmatch(m[2]); flags != nil {
		msg.flags = strings.TrimSpace(strings.ReplaceAll(flags[1], `\Recent`, ""))
	} else if own != nil {
		msg.flags = own(msg.flags)
	}
	c.known[uid] = msg
	c.seen = max(c.seen, n)
}

// connect selects the mailbox anew and brings the copy up to date: new messages by
// their UIDs, changed ones by CHANGEDSINCE.
func (c *syncClient) connect() {
	c.t.Helper()
	c.uids, c.cut, c.seen = nil, 0, 0
	if c.quick {
		c.reconnect()
		return
	}
	since := c.highest
	c.do("SELECT INBOX (CONDSTORE)", nil) // tells nothing of what the mailbox before still had to tell
	told := uint64(0)
	for _, line := range c.history {
		if m := syncHighest.FindStringSubmatch(line); m != nil {
			told, _ = strconv.ParseUint(m[1], 10, 64)
		}
	}
	c.do(fmt.Sprintf("UID FETCH %d:* (FLAGS MODSEQ)", c.uidNext), nil)
	if since > 0 {
		c.do(fmt.Sprintf("UID FETCH 1:%d (FLAGS) (CHANGEDSINCE %d)", max(c.uidNext-1, 1), since), nil)
	}
	c.do("UID FETCH 1:* (UID)", nil) // which are still there
	for uid := range c.known {
		if !slices.Contains(c.uids, uid) {
			delete(c.known, uid)
		}
	}
	if len(c.uids) > 0 {
		c.uidNext = c.uids[len(c.uids)-1] + 1
	}
	c.highest = max(c.highest, told)
}

// reconnect is connect with QRESYNC: one command (RFC 7162 §6).
func (c *syncClient) reconnect() {
	c.t.Helper()
	if c.highest == 0 {
		c.do("ENABLE QRESYNC", nil)
		c.do("SELECT INBOX", nil)
		return
	}
	// Of messages from uidNext on it may know some: it learns them anew.
	maps.DeleteFunc(c.known, func(uid uint32, _ syncMessage) bool { return uid >= c.uidNext })
	args := fmt.Sprintf("%d %d", c.validity(), c.highest)
	known := slices.Sorted(maps.Keys(c.known))
	switch c.ask(3) {
	case 0:
		args += fmt.Sprintf(" 1:%d", max(c.uidNext-1, 1))
	case 1:
		if len(known) > 0 {
			args += " " + numset.FromSorted(known).String()
		}
	}
	var seqs, uids []uint32
	for i, uid := range c.sampled {
		if uid > 0 && c.ask(3) == 0 {
			seqs, uids = append(seqs, uint32(i)+1), append(uids, uid)
		}
	}
	if len(seqs) > 0 {
		args += fmt.Sprintf(" (%s %s)", numset.FromSorted(seqs), numset.FromSorted(uids))
	}
	c.opening = true
	c.cut = max(0, c.ask(16)-8)
	c.do("SELECT INBOX (QRESYNC ("+args+"))", nil)
	c.cut = 0
}

func (c *syncClient) validity() uint32 {
	c.t.Helper()
	st, err := c.peer.store.Status("INBOX", mailstore.StatusWant{})
	if err != nil {
		c.t.Fatal(err)
	}
	return st.UIDValidity
}

// place puts what the client knows into the sequence numbers of a mailbox that it
// has just selected: what is left of its messages stands first.
func (c *syncClient) place() {
	if !c.opening {
		return
	}
	c.opening = false
	known := slices.Sorted(maps.Keys(c.known))
	if len(known) > len(c.uids) {
		c.fail("the client knows %d messages, there are %d", len(known), len(c.uids))
	}
	copy(c.uids, known)
}

// forget drops messages that VANISHED names.
func (c *syncClient) forget(set string, earlier bool) {
	c.t.Helper()
	if earlier != c.opening {
		c.fail("VANISHED, earlier %t", earlier)
	}
	expr, err := numset.Parse([]byte(set), 1000)
	if err != nil {
		c.fail("VANISHED %s: %v", set, err)
	}
	for uid := range expr.Resolve(0).All() {
		delete(c.known, uid)
		if earlier {
			continue
		}
		// One of which the client does not know the UID yet stands at the end.
		at := slices.Index(c.uids, uid)
		if at < 0 {
			at = slices.Index(c.uids, 0)
		}
		if at < 0 {
			c.fail("VANISHED %d: the client counts no such message", uid)
		}
		c.uids = slices.Delete(c.uids, at, at+1)
	}
}

// learnNew asks for the flags of messages that came while it was connected.
func (c *syncClient) learnNew() {
	c.t.Helper()
	if slices.Contains(c.uids, 0) {
		c.do(fmt.Sprintf("UID FETCH %d:* (FLAGS MODSEQ)", c.uidNext), nil)
	}
	if len(c.uids) > 0 && c.uids[len(c.uids)-1] != 0 {
		c.uidNext = max(c.uidNext, c.uids[len(c.uids)-1]+1)
	}
}

// act changes flags under a condition that the client's copy says will hold.
func (c *syncClient) act(rng *rand.Rand) {
	c.t.Helper()
	if len(c.uids) == 0 {
		return
	}
	uid := c.uids[rng.IntN(len(c.uids))]
	msg, ok := c.known[uid]
	if !ok {
		return
	}
	flag := []string{`\Flagged`, `\Seen`, "$x"}[rng.IntN(3)]
	silent := []string{"", ".SILENT"}[rng.IntN(2)]
	c.do(fmt.Sprintf("UID STORE %d (UNCHANGEDSINCE %d) +FLAGS%s (%s)", uid, msg.modSeq, silent, flag), func(flags string) string {
		if slices.Contains(strings.Fields(flags), flag) {
			return flags
		}
		return flags + " " + flag
	})
}

// check compares the copy with the truth.
func (c *syncClient) check(store *peer) {
	c.t.Helper()
	box, err := store.store.Open("INBOX")
	if err != nil {
		c.t.Fatal(err)
	}
	defer box.Close()
	s, err := box.Sync()
	if err != nil {
		c.t.Fatal(err)
	}
	if len(c.known) != s.Len() {
		c.fail("the client knows %d messages of %d", len(c.known), s.Len())
	}
	for i := range s.Len() {
		e := s.At(i)
		if c.quick && c.uids[i] != e.UID {
			c.fail("message %d: the client believes UID %d, the truth is %d", i+1, c.uids[i], e.UID)
		}
		names := append(view.SystemFlags(e.Flags), s.Keywords(e.Keywords)...)
		got := strings.Fields(c.known[e.UID].flags)
		slices.Sort(names)
		slices.Sort(got)
		if !slices.Equal(names, got) {
			c.fail("UID %d: the client believes %q, the truth is %q (MODSEQ %d)", e.UID, got, names, e.ModSeq)
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
					c.known, c.uidNext = map[uint32]syncMessage{}, 1
					c.quick, c.ask = quick, rng.IntN
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
						if len(c.uids) > 0 {
							c.do("FETCH 1 (UID FLAGS)", nil)
						}
					case 5:
						c.learnNew()
						c.do("NOOP", nil)
						c.learnNew()
						c.check(p)
					}
				}
				for _, c := range clients {
					c.connect()
					c.learnNew()
					c.check(p)
				}
			})
		}
	}
}
