package session

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"rookery/imapworker/internal/sessiontest/peers"
	"rookery/imapworker/internal/view"
	"rookery/internal/errkind"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/memstore"
	"rookery/internal/numset"
)

func TestMessages(t *testing.T) { everywhere(t, "testdata/messages/*.txt") }

// say sends a line, or what a literal announced, and gives the answer.
func (p *peer) say(line string) string {
	p.Send(1, []byte(line+"\r\n"))
	return string(p.Take(1))
}

// put appends a message to INBOX.
func (p *peer) put(msg []byte) {
	p.t.Helper()
	if got := p.say(fmt.Sprintf("p APPEND INBOX ~{%d+}\r\n%s", len(msg), msg)); !strings.Contains(got, "p OK [APPENDUID ") {
		p.t.Fatal(got)
	}
}

// literal finds the string behind a label in an answer, and whether it is a literal8.
func literal(t *testing.T, answer, label string) (value []byte, binary bool) {
	t.Helper()
	_, rest, ok := strings.Cut(answer, label+" ")
	if strings.HasPrefix(rest, `""`) {
		return []byte{}, false
	}
	rest, binary = strings.CutPrefix(rest, "~")
	size, rest, _ := strings.Cut(strings.TrimPrefix(rest, "{"), "}\r\n")
	n, err := strconv.Atoi(size)
	if !ok || err != nil || n > len(rest) {
		t.Fatalf("no %s in %.200q", label, answer)
	}
	return []byte(rest[:n]), binary
}

// octets are random, with a NUL in the second half alone.
func octets(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(1 + r.IntN(255))
	}
	p[n-n/4] = 0
	return p
}

// coded is a message with a large part in base64, a large text in quoted-printable,
// whose lines end in LF behind the encoding, and a small one.
func codedMessage(data []byte, text string) []byte {
	var b bytes.Buffer
	b.WriteString("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	for text := base64.StdEncoding.EncodeToString(data); len(text) > 0; {
		n := min(76, len(text))
		b.WriteString(text[:n] + "\r\n")
		text = text[n:]
	}
	b.WriteString("--b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
	for _, c := range []byte(text) {
		if c == '\n' {
			b.WriteString("=0A=\r\n")
			continue
		}
		b.WriteByte(c)
	}
	b.WriteString("\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\nc21hbGw=\r\n--b--\r\n")
	return b.Bytes()
}

// Parts that are too large to be decoded in memory come out whole and in pieces,
// and have the sizes that are told (RFC 3516 §4.3: MUST match).
func TestLargeBinary(t *testing.T) {
	data := octets(2_500_000)
	text := strings.Repeat("a line of text\n", 9000)
	wire := strings.ReplaceAll(text, "\n", "\r\n")
	for _, driver := range []string{"memory", "maildir", "mbox", "pack"} {
		p := openPeer(t, []string{"driver " + driver, "mailbox INBOX 0"}).(*peer)
		p.shown = nil
		p.put(codedMessage(data, text))
		p.say("a SELECT INBOX")
		want := fmt.Sprintf("* 1 FETCH (BINARY.SIZE[1] %d BINARY.SIZE[2] %d BINARY.SIZE[3] 5)\r\n", len(data), len(wire))
		for _, query := range []string{"a FETCH 1 (BINARY.SIZE[1] BINARY.SIZE[2] BINARY.SIZE[3])", "a FETCH 1 (BINARY.SIZE[1] BINARY.SIZE[2] BINARY.SIZE[3])"} {
			if got := p.say(query); !strings.HasPrefix(got, want) {
				t.Errorf("%s: %.200q", driver, got)
			}
		}
		for _, c := range []struct {
			part, off, n int // n 0: whole
		}{{1, 0, 0}, {1, 0, 1_200_000}, {1, 0, 100}, {1, 600_000, 1_400_000}, {1, 1_870_000, 70_000}, {1, 1_875_000, 1000}, {1, 1_900_000, 2_000_000}, {1, 100, 1 << 62},
			{1, 2_499_990, 100_000}, {1, 2_500_000, 70_000}, {1, 2_500_000, 2_000_000}, {2, 0, 0}, {2, 3, 90_000}, {2, 100_000, 10}} {
			whole := data
			if c.part == 2 {
				whole = []byte(wire)
			}
			query, label, want := fmt.Sprintf("BINARY.PEEK[%d]", c.part), fmt.Sprintf("BINARY[%d]", c.part), whole
			if c.n > 0 {
				query, label = fmt.Sprintf("%s<%d.%d>", query, c.off, c.n), fmt.Sprintf("%s<%d>", label, c.off)
				want = whole[min(c.off, len(whole)):][:min(c.n, len(whole)-min(c.off, len(whole)))]
			}
			got, binary := literal(t, p.say("a FETCH 1 "+query), label)
			if !bytes.Equal(got, want) || binary != (bytes.IndexByte(want, 0) >= 0) {
				t.Errorf("%s: %s: %d octets, literal8 %t; want %d", driver, query, len(got), binary, len(want))
			}
		}
		// Both in one command, and again from the cache.
		for range 2 {
			answer := p.say("a FETCH 1 (BINARY.PEEK[1] BINARY.PEEK[2])")
			one, _ := literal(t, answer, "BINARY[1]")
			two, _ := literal(t, answer, "BINARY[2]")
			if !bytes.Equal(one, data) || string(two) != wire {
				t.Errorf("%s: %d and %d octets", driver, len(one), len(two))
			}
		}
		p.Close()
	}
}

// nowhere takes what goes to a client and keeps nothing.
type nowhere struct{ n int64 }

func (o *nowhere) Flush(enc *imapwire.Encoder) error {
	o.n += int64(enc.Len())
	enc.Reset()
	return nil
}

func (o *nowhere) Body(_ mailstore.Message, _, n int64) error {
	o.n += n
	return nil
}

// A part is never decoded whole in memory.
func TestBinaryMemory(t *testing.T) {
	p := openPeer(t, []string{"driver maildir", "mailbox INBOX 0"}).(*peer)
	defer p.Close()
	p.shown = nil
	const size = 12 << 20
	p.put(codedMessage(octets(size), "x"))
	out := &nowhere{}
	s := New(Config{Settings: p.settings, Store: p.store, Out: out, Log: peers.Lines{T: t}, Changes: make(chan struct{}, 1), Jobs: allJobs()}, p.Now)
	defer s.Close("end")
	s.Input(p.Now, []byte("a SELECT INBOX\r\na FETCH 1 BODYSTRUCTURE\r\n"))
	var before, after runtime.MemStats
	for _, c := range []struct {
		query string
		least int64
	}{{"BINARY.SIZE[1]", 0}, {"BINARY.PEEK[1]", size}, {"BINARY.PEEK[1]<1000000.9000000>", 9_000_000}, {"(EMAILID THREADID PREVIEW)", 0}} {
		runtime.ReadMemStats(&before)
		out.n = 0
		s.Input(p.Now, []byte("a FETCH 1 "+c.query+"\r\n"))
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 2<<20 || out.n < c.least {
			t.Errorf("%s: %d octets on the heap for %d sent", c.query, got, out.n)
		}
	}
}

// X-GUID is what the store knows the message by, whatever the format; a copy has
// another one.
func TestXGUID(t *testing.T) {
	guid := regexp.MustCompile(`FETCH \(X-GUID ([0-9a-f]{32})\)\r\n`)
	for _, driver := range []string{"memory", "maildir", "mbox", "pack"} {
		p := openPeer(t, []string{"driver " + driver, "mailbox INBOX 1"}).(*peer)
		p.shown = nil
		p.say("a SELECT INBOX")
		first := p.say("a FETCH 1 X-GUID")
		box, err := p.store.Open("INBOX")
		if err != nil {
			t.Fatal(err)
		}
		facts, err := box.Facts(1, mailstore.FactsWant{GUID: true})
		if err != nil {
			t.Fatal(err)
		}
		box.Close()
		if m := guid.FindStringSubmatch(first); m == nil || m[1] != hex.EncodeToString(facts.GUID[:]) || facts.GUID == (mailstore.GUID{}) {
			t.Errorf("%s: %q, %x", driver, first, facts.GUID)
		}
		if again := p.say("a FETCH 1 x-guid"); again != first {
			t.Errorf("%s: %q, then %q", driver, first, again)
		}
		p.Close()
	}
}

// looking counts how often messages are opened.
type looking struct {
	mailstore.Store
	n int
}

type lookingBox struct {
	mailstore.Mailbox
	of *looking
}

func (s *looking) Open(name mailstore.Name) (mailstore.Mailbox, error) {
	box, err := s.Store.Open(name)
	return lookingBox{box, s}, err
}

func (b lookingBox) Unwrap() mailstore.Mailbox { return b.Mailbox }

func (b lookingBox) Message(uid mailstore.UID) (mailstore.Message, error) {
	b.of.n++
	return b.Mailbox.Message(uid)
}

// What was once derived from a message costs no look at it any more, in another
// session either.
func TestDerivedOnce(t *testing.T) {
	for _, driver := range []string{"memory", "maildir", "mbox", "pack"} {
		p := openPeer(t, []string{"driver " + driver, "mailbox INBOX 0"}).(*peer)
		p.shown = nil
		p.put(codedMessage(octets(3000), "text\n"))
		p.put([]byte("Subject: none\r\n\r\n"))
		s := &looking{Store: p.store}
		p.store = s
		p.say("a SELECT INBOX")
		for _, item := range []string{"EMAILID", "THREADID", "PREVIEW", "PREVIEW (LAZY)", "(BINARY.SIZE[1] BINARY.SIZE[3])"} {
			first := p.say("a FETCH 1:* " + item)
			s.n = 0
			if again := p.say("a FETCH 1:* " + item); again != first || s.n != 0 {
				t.Errorf("%s: %s: %d messages opened for %q, before it was %q", driver, item, s.n, again, first)
			}
		}
		p.Close()
	}
}

// What is known of messages is written without anything on the heap for each.
func TestKnownAllocates(t *testing.T) {
	const messages = 2000
	p := openPeer(t, []string{fmt.Sprintf("mailbox INBOX %d", messages)}).(*peer)
	defer p.Close()
	s := New(Config{Settings: p.settings, Store: p.store, Out: &nowhere{}, Log: peers.Lines{T: t}, Changes: make(chan struct{}, 1), Jobs: allJobs()}, p.Now)
	defer s.Close("end")
	s.Input(p.Now, []byte("a SELECT INBOX\r\n"))
	for _, item := range []string{"EMAILID", "THREADID", "SAVEDATE", "X-GUID", "X-MAILBOX", "(EMAILID THREADID SAVEDATE X-GUID X-MAILBOX)"} {
		fetch := func() { s.Input(p.Now, []byte("a FETCH 1:* "+item+"\r\n")) }
		if n := testing.AllocsPerRun(3, fetch); n > messages/10 {
			t.Errorf("%s: %.0f allocations for %d messages", item, n, messages)
		}
	}
}

// stubborn is a store that cannot expunge one message, or finds that another
// session was faster.
type stubborn struct {
	mailstore.Store
	uid mailstore.UID
	err error
}

type stubbornBox struct {
	mailstore.Mailbox
	of *stubborn
}

func (s *stubborn) Open(name mailstore.Name) (mailstore.Mailbox, error) {
	box, err := s.Store.Open(name)
	return stubbornBox{box, s}, err
}

func (b stubbornBox) Expunge(uids numset.Set) (numset.Set, error) {
	if uids.Contains(b.of.uid) {
		return numset.Set{}, b.of.err
	}
	return b.Mailbox.Expunge(uids)
}

// Where the old message cannot go, the new one does not stay (RFC 8508 §3.4: "the
// server MUST NOT leave the selected mailbox in an inconsistent state; any untagged
// EXPUNGE response MUST NOT be sent").
func TestReplaceTakesBack(t *testing.T) {
	for _, err := range []error{nil, errkind.Newf("expunge", errkind.NoPermission, "it must stay")} {
		for _, driver := range []string{"memory", "maildir", "mbox", "pack"} {
			p := openPeer(t, []string{"driver " + driver, "as-memory", "mailbox INBOX 3", "mailbox Other 0"}).(*peer)
			if driver == "memory" {
				p.shown = nil
			}
			p.store = &stubborn{Store: p.store, uid: 2, err: err}
			p.say("a SELECT INBOX")
			want := "a NO [EXPUNGEISSUED]"
			if err != nil {
				want = "a NO [NOPERM]"
			}
			for _, to := range []string{"INBOX", "Other"} {
				got := p.say("a REPLACE 2 " + to + " {3+}\r\nnew")
				if !strings.Contains(got, want) || strings.Contains(got, "EXPUNGE\r\n") || strings.Contains(got, "APPENDUID") {
					t.Errorf("%s: %q", driver, got)
				}
			}
			got := p.say("a STATUS Other (MESSAGES)") + p.say("a UID SEARCH ALL")
			if !strings.Contains(got, "(MESSAGES 0)") || !strings.Contains(got, "* SEARCH 1 2 3\r\n") {
				t.Errorf("%s: %q", driver, got)
			}
			p.Close()
		}
	}
}

// Whatever an APPEND looks like, it is answered alike in one piece and byte by
// byte, and the session goes on.
func FuzzAppend(f *testing.F) {
	for _, s := range []string{
		"APPEND INBOX {3+}\r\nabc\r\n", "APPEND INBOX (\\Seen) CATENATE (URL \"/INBOX/;UID=1\" TEXT {2+}\r\nab)\r\n",
		"APPEND INBOX CATENATE (URL {13+}\r\n/INBOX/;UID=1 TEXT {1+}\r\nx URL {13+}\r\n/INBOX/;UID=1)\r\n",
		"UID REPLACE 1 {5+}\r\nINBOX ~{2+}\r\na\x00\r\n", "REPLACE * INBOX CATENATE (TEXT {0+}\r\n)\r\n",
		"APPEND INBOX UTF8 (~{2+}\r\nab) (\\Seen) {1+}\r\nx\r\n", "APPEND INBOX {1}\r\nx CATENATE (TEXT {1}\r\ny TEXT ~{1+}\r\nz)\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		whole := appended(t, p, len(p)+2)
		if bytes := appended(t, p, 1); bytes != whole {
			t.Errorf("%q is answered\n%q and byte by byte\n%q", p, whole, bytes)
		}
	})
}

// appended gives what a session says to a command that comes in steps, in a mailbox
// with one message.
func appended(t *testing.T, p []byte, step int) string {
	out := &peers.Output{}
	settings := Defaults()
	settings.MaxMessage = 1 << 20
	s := New(Config{Settings: settings, Store: memstore.New(memstore.Options{}), Out: out, Log: &keepLog{}, Changes: make(chan struct{}, 1), Jobs: allJobs()}, start)
	defer s.Close("end")
	s.Input(start, []byte("a SELECT INBOX\r\na APPEND INBOX {2+}\r\nhi\r\n"))
	out.Take()
	for rest := append([]byte("b "), p...); len(rest) > 0; {
		n := min(step, len(rest))
		s.Input(start, rest[:n:n])
		rest = rest[n:]
	}
	if err := s.enc.Err(); err != nil {
		t.Errorf("%q: %v", p, err)
	}
	return string(out.Take())
}

var _ view.Output = (*nowhere)(nil)
