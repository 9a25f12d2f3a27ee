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

// liveList is a result that a client keeps by what it is told alone.
type liveList struct {
	uid     bool
	sort    string // the criteria, "" for SEARCH
	keys    string
	members []uint32
}

// plain is the command that asks for the result anew.
func (l *liveList) plain(options string) string {
	verb := "SEARCH" + options + " " + l.keys
	if l.sort != "" {
		verb = "SORT" + options + " " + l.sort + " UTF-8 " + l.keys
	}
	if l.uid {
		verb = "UID " + verb
	}
	return verb
}

// liveClient follows some results, and keeps what it has saved for "$".
type liveClient struct {
	t       *testing.T
	peer    *peer
	tag     int
	lists   map[string]*liveList
	saved   []uint32 // sequence numbers
	history []string
}

var (
	liveAnswer = regexp.MustCompile(`^\* ESEARCH \(TAG "([^"]*)"\)( UID)?(.*)$`)
	liveItem   = regexp.MustCompile(`^ (ALL|COUNT|ADDTO|REMOVEFROM) (\(([^)]*)\)|\S+)`)
)

func (c *liveClient) fail(format string, args ...any) {
	c.t.Helper()
	c.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(c.history[max(0, len(c.history)-80):], "\n"))
}

// do sends a command, applies what comes and gives it.
func (c *liveClient) do(tag, command string) (lines []string) {
	c.t.Helper()
	if tag == "" {
		c.tag++
		tag = fmt.Sprintf("t%d", c.tag)
	}
	c.history = append(c.history, "C: "+tag+" "+command)
	c.peer.Send(1, []byte(tag+" "+command+"\r\n"))
	lines = strings.Split(strings.TrimSuffix(string(c.peer.Take(1)), "\r\n"), "\r\n")
	for _, line := range lines {
		c.history = append(c.history, "S: "+line)
		c.learn(line)
	}
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, tag+" OK") && !strings.HasPrefix(last, tag+" NO [EXPUNGEISSUED]") {
		c.fail("answer %q", last)
	}
	return lines
}

func (c *liveClient) learn(line string) {
	c.t.Helper()
	if m := countLine.FindStringSubmatch(line); m != nil && m[2] == "EXPUNGE" {
		n, _ := strconv.ParseUint(m[1], 10, 32)
		for tag, l := range c.lists {
			if !l.uid && slices.Contains(l.members, uint32(n)) {
				c.fail("%s: message %d is expunged and was not taken out before", tag, n)
			}
			if !l.uid {
				l.members = lower(l.members, uint32(n))
			}
		}
		c.saved = lower(c.saved, uint32(n))
		return
	}
	m := liveAnswer.FindStringSubmatch(line)
	if m == nil || c.lists[m[1]] == nil {
		return
	}
	l, rest := c.lists[m[1]], m[3]
	if l.uid != (m[2] != "") {
		c.fail("UID is not where it belongs: %s", line)
	}
	for rest != "" {
		item := liveItem.FindStringSubmatch(rest)
		if item == nil {
			c.fail("cannot read %q", rest)
		}
		rest = rest[len(item[0]):]
		switch item[1] {
		case "ALL":
			l.members = c.numbers(item[2])
		case "ADDTO", "REMOVEFROM":
			words := strings.Fields(item[3])
			for i := 0; i < len(words); i += 2 {
				at, _ := strconv.Atoi(words[i])
				c.apply(l, item[1] == "ADDTO", at, c.numbers(words[i+1]))
			}
		}
	}
}

// apply does what RFC 5267 §4.3.3 and §4.3.4 say that a client does.
func (c *liveClient) apply(l *liveList, add bool, at int, nums []uint32) {
	c.t.Helper()
	if (at == 0) != (l.sort == "") {
		c.fail("place %d in %s", at, l.plain(""))
	}
	switch {
	case add && at == 0:
		for _, n := range nums {
			i, there := slices.BinarySearch(l.members, n)
			if there {
				c.fail("%d is there already", n)
			}
			l.members = slices.Insert(l.members, i, n)
		}
	case add:
		for _, n := range nums {
			if slices.Contains(l.members, n) {
				c.fail("%d is there already", n)
			}
		}
		if at > len(l.members)+1 {
			c.fail("place %d of %d", at, len(l.members))
		}
		l.members = slices.Insert(l.members, at-1, nums...)
	case at == 0:
		for _, n := range nums {
			i, there := slices.BinarySearch(l.members, n)
			if !there {
				c.fail("%d is not there", n)
			}
			l.members = slices.Delete(l.members, i, i+1)
		}
	default:
		if at-1+len(nums) > len(l.members) || !slices.Equal(l.members[at-1:at-1+len(nums)], nums) {
			c.fail("at %d stands something else than %v: %v", at, nums, l.members)
		}
		l.members = slices.Delete(l.members, at-1, at-1+len(nums))
	}
}

// lower leaves n out and counts down what is above it.
func lower(list []uint32, n uint32) []uint32 {
	var out []uint32
	for _, m := range list {
		switch {
		case m < n:
			out = append(out, m)
		case m > n:
			out = append(out, m-1)
		}
	}
	return out
}

// numbers reads a sequence-set in its order.
func (c *liveClient) numbers(set string) (out []uint32) {
	c.t.Helper()
	for _, part := range strings.Split(set, ",") {
		first, last, is := strings.Cut(part, ":")
		if !is {
			last = first
		}
		a, err := strconv.ParseUint(first, 10, 32)
		b, err2 := strconv.ParseUint(last, 10, 32)
		if err != nil || err2 != nil || b < a {
			c.fail("set %q", set)
		}
		for n := a; n <= b; n++ {
			out = append(out, uint32(n))
		}
	}
	return out
}

// answer gives the numbers of a plain SEARCH or SORT.
func (c *liveClient) answer(command string) (out []uint32) {
	c.t.Helper()
	for _, line := range c.do("", command) {
		words := strings.Fields(line)
		if len(words) > 1 && words[0] == "*" && (words[1] == "SEARCH" || words[1] == "SORT") {
			for _, w := range words[2:] {
				n, _ := strconv.ParseUint(w, 10, 32)
				out = append(out, uint32(n))
			}
		}
	}
	return out
}

// check compares what is kept with what is there once all has been told.
func (c *liveClient) check() {
	c.t.Helper()
	c.do("", "NOOP")
	for tag, l := range c.lists {
		if want := c.answer(l.plain("")); !slices.Equal(l.members, want) {
			c.fail("%s, %s: the client has %v, the mailbox %v", tag, l.plain(""), l.members, want)
		}
	}
	if got := c.answer("SEARCH $"); !slices.Equal(got, c.saved) {
		c.fail(`"$" is %v, must be %v`, got, c.saved)
	}
}

// follow begins to follow a result, in the place of an older one if there are many.
func (c *liveClient) follow(rng *rand.Rand) {
	c.t.Helper()
	keys := []string{"FLAGGED", "UNSEEN", "UNDELETED KEYWORD $x", "SUBJECT b", "NOT FLAGGED", "OR SEEN DELETED", "UID 3:*", "ALL", "NOT UID *", "SMALLER 60 UNSEEN"}
	sorts := []string{"(REVERSE SUBJECT)", "(ARRIVAL)", "(SIZE)", "(REVERSE SIZE SUBJECT)"}
	l := &liveList{uid: rng.IntN(2) == 0, keys: keys[rng.IntN(len(keys))]}
	options := " RETURN (UPDATE ALL)"
	if rng.IntN(3) == 0 {
		l.sort = sorts[rng.IntN(len(sorts))]
	}
	sorted := 0
	for _, old := range c.lists {
		if old.sort != "" {
			sorted++
		}
	}
	for tag, old := range c.lists {
		full := l.sort != "" && sorted >= maxSortedHere
		if full && old.sort != "" || !full && len(c.lists) >= 6 {
			delete(c.lists, tag)
			c.do("", `CANCELUPDATE "`+tag+`"`)
			break
		}
	}
	c.tag++
	tag := fmt.Sprintf("L%d", c.tag)
	c.lists[tag] = l
	c.do(tag, l.plain(options))
}

// maxSortedHere is below what a mailbox takes.
const maxSortedHere = 3

// save makes "$" something new.
func (c *liveClient) save(rng *rand.Rand) {
	c.t.Helper()
	key := []string{"ALL", "FLAGGED", "UNSEEN", "2:4", "DELETED"}[rng.IntN(5)]
	c.tag++
	tag := fmt.Sprintf("S%d", c.tag)
	c.lists[tag] = &liveList{keys: key}
	c.do(tag, "SEARCH RETURN (SAVE ALL) "+key)
	c.saved = c.lists[tag].members
	delete(c.lists, tag)
}

// disturbMore is disturb with messages of several subjects.
func disturbMore(p *peer, session int, rng *rand.Rand) {
	if rng.IntN(4) > 0 {
		disturb(p, session, rng)
		return
	}
	text := "Subject: " + string(rune('a'+rng.IntN(4))) + "\r\n\r\n" + strings.Repeat("x", rng.IntN(80)) + "\r\n"
	p.Send(session, fmt.Appendf(nil, "x APPEND INBOX (%s) {%d+}\r\n%s\r\n", []string{`\Seen`, `\Flagged`, "$x", ""}[rng.IntN(4)], len(text), text))
	p.Take(session)
}

// A client that keeps results by ADDTO and REMOVEFROM alone, and counts what it
// saved down with each EXPUNGE, has what a plain command would give, whatever
// others and itself do (RFC 5267 §4.3, RFC 5182 §2.1).
func TestLiveModel(t *testing.T) {
	seeds := uint64(25)
	if testing.Short() {
		seeds = 4
	}
	for _, driver := range []string{"memory", "maildir", "mbox", "pack"} {
		for seed := range seeds {
			t.Run(fmt.Sprintf("%s/%d", driver, seed), func(t *testing.T) {
				t.Parallel()
				rng := rand.New(rand.NewPCG(seed, 3))
				p := openPeer(t, []string{"driver " + driver, "mailbox INBOX 8"}).(*peer)
				p.shown = nil
				defer p.Close()
				c := &liveClient{t: t, peer: p, lists: map[string]*liveList{}}
				c.do("", "SELECT INBOX")
				for n := 2; n <= 3; n++ {
					p.Send(n, []byte("x SELECT INBOX\r\n"))
					p.Take(n)
				}
				for range 100 {
					disturbMore(p, 2+rng.IntN(2), rng)
					switch rng.IntN(9) {
					case 0, 1:
						c.follow(rng)
					case 2:
						c.save(rng)
					case 3:
						c.do("", fmt.Sprintf("UID STORE %d:%d +FLAGS.SILENT (\\Flagged)", 1+rng.IntN(20), 1+rng.IntN(20)))
					case 4:
						c.do("", "UID STORE $ -FLAGS (\\Flagged $x)")
					case 5: // expunges have to wait
						c.do("", "SEARCH ALL")
					case 6:
						c.do("", "NOOP")
					case 7:
						c.do("", "UID FETCH 1:* BODY[]")
					case 8:
						c.check()
					}
				}
				c.check()
			})
		}
	}
}
