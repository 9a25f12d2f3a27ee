package modelclient

import (
	"strings"
	"testing"
)

// rules are dialogues of which the last response breaks a rule, or "" keeps it.
var rules = []struct {
	name    string
	enabled string // words
	said    string // lines: "C " a command, "S " a response; SELECT with 3 messages went before
	want    string // in the error; "" for none
}{
	{"EXISTS", "", "C NOOP|S * 4 EXISTS|S t OK", ""},
	{"EXISTS goes down", "", "C NOOP|S * 2 EXISTS", "goes down"},
	{"untagged without a command", "", "S * 4 EXISTS", "without a command"},
	{"FETCH without a command", "", "S * 1 FETCH (FLAGS ())", "without a command"},
	{"EXPUNGE", "", "C NOOP|S * 3 EXPUNGE|S * 2 EXPUNGE|S t OK", ""},
	{"EXPUNGE of too many", "", "C NOOP|S * 3 EXPUNGE|S * 3 EXPUNGE", "EXPUNGE of 2"},
	{"EXPUNGE during FETCH", "", "C FETCH 1 FLAGS|S * 3 EXPUNGE", "during FETCH"},
	{"EXPUNGE during STORE", "", "C STORE 1 FLAGS ()|S * 3 EXPUNGE", "during STORE"},
	{"EXPUNGE during SEARCH", "", "C SEARCH ALL|S * 3 EXPUNGE", "during SEARCH"},
	{"EXPUNGE during UID FETCH", "", "C UID FETCH 1 FLAGS|S * 3 EXPUNGE|S t OK", ""},
	{"VANISHED was not enabled", "", "C NOOP|S * VANISHED 5", "not enabled"},
	{"EXPUNGE under QRESYNC", "qresync", "C NOOP|S * 1 EXPUNGE", "instead of VANISHED"},
	{"VANISHED", "qresync", "C NOOP|S * 1 FETCH (UID 5 FLAGS () MODSEQ (3))|S * VANISHED 5|S t OK", ""},
	{"VANISHED of what is not there", "qresync", "C NOOP|S * 1 FETCH (UID 5 FLAGS () MODSEQ (3))|S * VANISHED 4", "no place"},
	{"VANISHED during SEARCH", "qresync", "C SEARCH ALL|S * VANISHED 5", "during SEARCH"},
	{"VANISHED (EARLIER) unasked", "qresync", "C NOOP|S * VANISHED (EARLIER) 5", "not asked for"},
	{"VANISHED (EARLIER) of a message with a number", "qresync", "C UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)|S * 1 FETCH (UID 5 FLAGS () MODSEQ (3))|S * VANISHED (EARLIER) 5", "has a number"},
	{"FETCH beyond the last", "", "C FETCH 1 FLAGS|S * 4 FETCH (FLAGS ())", "FETCH of 3"},
	{"another UID", "", "C FETCH 1 UID|S * 1 FETCH (UID 5)|S * 1 FETCH (UID 6)", "was UID 5"},
	{"UIDs descend", "", "C FETCH 1:2 UID|S * 1 FETCH (UID 5)|S * 2 FETCH (UID 4)", "do not ascend"},
	{"UID FETCH without UID", "", "C UID FETCH 5 FLAGS|S * 1 FETCH (FLAGS ())", "no UID"},
	{"unasked without UID", "rev2", "C NOOP|S * 1 FETCH (FLAGS ())", "no UID"},
	{"QRESYNC without UID", "qresync", "C NOOP|S * 1 FETCH (FLAGS () MODSEQ (3))", "no UID"},
	{"FETCH under UIDONLY", "uidonly", "C UID FETCH 5 FLAGS|S * 1 FETCH (UID 5 FLAGS ())", "instead of UIDFETCH"},
	{"UIDFETCH", "uidonly", "C UID FETCH 5 FLAGS|S * 5 UIDFETCH (FLAGS ())|S t OK", ""},
	{"UIDFETCH of too many", "uidonly", "C NOOP|S * 5 UIDFETCH (FLAGS ())|S * 6 UIDFETCH (FLAGS ())|S * 7 UIDFETCH (FLAGS ())|S * 8 UIDFETCH (FLAGS ())", "counts no such"},
	{"UIDFETCH was not enabled", "", "C NOOP|S * 5 UIDFETCH (FLAGS ())", "not enabled"},
	{"EXPUNGE under UIDONLY", "uidonly", "C NOOP|S * 1 EXPUNGE", "instead of VANISHED"},
	{"MODSEQ was not asked for", "", "C FETCH 1 FLAGS|S * 1 FETCH (FLAGS () MODSEQ (3))", "not asked for"},
	{"FLAGS without MODSEQ", "condstore", "C NOOP|S * 1 FETCH (UID 5 FLAGS ())", "without MODSEQ"},
	{"MODSEQ goes down", "condstore", "C NOOP|S * 1 FETCH (UID 5 FLAGS () MODSEQ (3))|S * 1 FETCH (UID 5 FLAGS () MODSEQ (2))", "goes down"},
	{"a keyword too early", "", "C NOOP|S * 1 FETCH (FLAGS ($new))", "not told of $new"},
	{"a keyword in time", "", "C NOOP|S * FLAGS (\\Seen $new)|S * 1 FETCH (FLAGS ($New \\Recent))|S t OK", ""},
	{"PERMANENTFLAGS that are none", "", "C NOOP|S * OK [PERMANENTFLAGS (\\Seen $other \\*)] x", "no $other"},
	{"RECENT in rev2", "rev2", "C NOOP|S * 1 RECENT", "no RECENT"},
	{"SELECT without CLOSED", "", "C SELECT b|S * 3 EXISTS|S t OK", "no CLOSED"},
	{"SELECT with CLOSED", "", "C SELECT b|S * OK [CLOSED] x|S * 1 EXISTS|S t OK", ""},
	{"CLOSED with NOOP", "", "C NOOP|S * OK [CLOSED] x", "no mailbox is left"},
	{"an answer to no command", "", "C NOOP|S t OK|S t OK", "no command"},
	{"NOTIFY", "notify", "S * 4 EXISTS|S * 1 FETCH (UID 4 FLAGS ())|S * 2 EXPUNGE", ""},
	{"NOTIFY without UID", "notify", "S * 1 FETCH (FLAGS ())", "no UID"},
	{"NOTIFY with SELECTED-DELAYED", "delayed", "S * 2 EXPUNGE", "no command is under way"},
}

// Each rule is kept where it is kept, and noticed where it is broken.
func TestRules(t *testing.T) {
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			c := &Client{}
			play(t, c, `C SELECT a|S * FLAGS (\Seen)|S * 3 EXISTS|S * OK [UIDVALIDITY 7] x|S t OK`, "")
			switch rule.enabled {
			case "qresync":
				c.Qresync, c.Condstore = true, true
			case "condstore":
				c.Condstore = true
			case "uidonly":
				c.UIDOnly = true
			case "rev2":
				c.Rev2 = true
			case "notify":
				c.Unasked = AllMessages
			case "delayed":
				c.Unasked = NoExpunges
			}
			play(t, c, rule.said, rule.want)
		})
	}
}

// play replays a dialogue whose last response alone gives an error, if want says one.
func play(t *testing.T, c *Client, said, want string) {
	t.Helper()
	lines := strings.Split(said, "|")
	for i, line := range lines {
		if command, is := strings.CutPrefix(line, "C "); is {
			c.Begin("t", command, NewCache(), nil)
			continue
		}
		all, err := All([]byte(line[2:] + " \r\n"[boolInt(!strings.HasSuffix(line, "OK")):]))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		err = c.Learn(all[0])
		switch last := i == len(lines)-1; {
		case last && want != "":
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v, want %q", line, err, want)
			}
		case err != nil:
			t.Errorf("%s: %v", line, err)
		}
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// A client of QRESYNC comes back with what it knows, and forgets what it may have only
// half of.
func TestResync(t *testing.T) {
	k := NewCache()
	c := &Client{Qresync: true, Condstore: true}
	begin := func(command string) { c.Begin("t", command, k, nil) }
	learn := func(lines ...string) {
		t.Helper()
		for _, line := range lines {
			all, err := All([]byte(line + "\r\n"))
			if err == nil {
				err = c.Learn(all[0])
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	begin("SELECT a")
	learn(`* FLAGS (\Seen)`, "* 3 EXISTS", "* OK [UIDVALIDITY 7] x", "* OK [HIGHESTMODSEQ 20] x", "t OK x")
	begin("UID FETCH 1:* (FLAGS)")
	learn("* 1 FETCH (UID 2 FLAGS () MODSEQ (11))", "* 2 FETCH (UID 4 FLAGS () MODSEQ (12))", `* 3 FETCH (UID 6 FLAGS (\Seen) MODSEQ (20))`, "t OK x")
	begin("NOOP")
	learn("* 4 EXISTS", "* 1 FETCH (UID 2 FLAGS () MODSEQ (30))", "t OK [HIGHESTMODSEQ 25] x")
	c.Unasked = NoExpunges
	learn("* 2 FETCH (UID 4 FLAGS () MODSEQ (31))", "* OK [HIGHESTMODSEQ 25] x")
	begin("NOOP")
	learn("t OK x") // what came before the command counts (RFC 7162 §6)
	begin("NOOP")
	learn("* 4 FETCH (UID 9 FLAGS () MODSEQ (40))") // and the connection is lost
	c.Lost()
	if got, want := k.Resync(AskBelow, func(pos int) bool { return pos != 1 }), "QRESYNC (7 25 1:6 (1,3 2,6))"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := k.Resync(AskKnown, nil), "QRESYNC (7 25 2,4,6)"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if _, ok := k.Messages[9]; ok || len(k.Messages) != 3 {
		t.Errorf("the copy has %v", k.Messages)
	}
	c = &Client{Qresync: true, Condstore: true}
	begin("SELECT a (QRESYNC (7 25))")
	learn(`* FLAGS (\Seen)`, "* 3 EXISTS", "* OK [UIDVALIDITY 7] x", "* OK [HIGHESTMODSEQ 50] x", "* VANISHED (EARLIER) 4",
		`* 1 FETCH (UID 2 FLAGS (\Seen) MODSEQ (50))`, "t OK x")
	if len(c.Slots) != 3 || c.Slots[0] != 2 || c.Slots[1] != 6 || c.Slots[2] != 0 || k.Messages[2].Flags != `\seen` || k.Highest != 50 || k.Next != 7 {
		t.Errorf("slots %d, copy %+v", c.Slots, k)
	}
	begin("SELECT a (QRESYNC (7 50))")
	learn("* OK [CLOSED] x", "* OK [UIDVALIDITY 8] x")
	if len(k.Messages) != 0 || k.Highest != 0 {
		t.Errorf("with another UIDVALIDITY the copy has %v", k.Messages)
	}
}

// .SILENT changes what nothing else was told of.
func TestQuiet(t *testing.T) {
	c := &Client{}
	play(t, c, `C SELECT a|S * FLAGS (\Seen \Flagged)|S * 3 EXISTS|S t OK`, "")
	play(t, c, `C UID FETCH 1:* FLAGS|S * 1 FETCH (UID 1 FLAGS ())|S * 2 FETCH (UID 2 FLAGS ())|S * 3 FETCH (UID 3 FLAGS ())|S t OK`, "")
	c.Begin("t", "STORE 1:3 +FLAGS.SILENT (\\Seen)", nil, &Quiet{UIDs: []uint32{1, 2, 3}, Change: func(old string) string { return FlagText([]string{old, `\Seen`}) }})
	for _, line := range []string{`* 2 FETCH (FLAGS (\Flagged))`, "t OK [MODIFIED 3] x"} {
		all, _ := All([]byte(line + "\r\n"))
		if err := c.Learn(all[0]); err != nil {
			t.Fatal(err)
		}
	}
	for uid, want := range map[uint32]string{1: `\seen`, 2: `\flagged`, 3: ""} {
		if got := strings.TrimSpace(c.Cache.Messages[uid].Flags); got != want {
			t.Errorf("UID %d has %q, want %q", uid, got, want)
		}
	}
}

func TestNext(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"* 3 FETCH (FLAGS (\\Seen) BODY[HEADER.FIELDS (TO)]<0> {3}\r\na\r\n X NIL)\r\n", ""},
		{"* ESEARCH (TAG \"a\\\"b\") UID ALL 1:3\r\n", ""},
		{"* OK [PERMANENTFLAGS (\\*)] x\r\n", ""}, {"+ \r\n", ""}, {"t OK x\r\n", ""}, {"* OK [CODE x\r\n", "does not end"},
		{"* LIST (\\HasNoChildren) \".\" ~{2}\r\nab\r\n", ""}, {"* BODY ((\"a\")(\"b\") \"c\")\r\n", ""},
		{"* THREAD (1)(2 (3)(4))\r\n", ""}, {"* THREAD\r\n", ""}, {"* X (1)(2)\r\n", "expected"},
		{"*  3 EXISTS\r\n", "expected"}, {"* FLAGS (a\r\n", "expected"}, {"* X \"a\r\n\"\r\n", "expected"}, {"* X a\nb\r\n", "expected"}, {"* 3 EXISTS", ErrMore.Error()},
		{"* X {5}\r\nab\r\n", ErrMore.Error()}, {"* X {a}\r\n", "expected"},
	} {
		r, rest, err := Next([]byte(test.in))
		if test.want != "" {
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%q: error %v, want %s", test.in, err, test.want)
			}
			continue
		}
		if err != nil || len(rest) > 0 || r.Raw+"\r\n" != test.in {
			t.Errorf("%q: %q, %v, left %q", test.in, r.Raw, err, rest)
		}
	}
}

// Whatever comes is read in steps that get on, or refused.
func FuzzNext(f *testing.F) {
	for _, seed := range []string{"* 3 FETCH (FLAGS (\\Seen) BODY[A (B)]<0> {3}\r\na\r\n X NIL)\r\n", "* OK [A b] c\r\n", "+ x\r\n", "* X ((()))\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		for len(p) > 0 {
			r, rest, err := Next(p)
			if err != nil {
				return
			}
			if len(rest) >= len(p) || !strings.HasPrefix(string(p), r.Raw) {
				t.Fatalf("%q of %q, left %q", r.Raw, p, rest)
			}
			p = rest
		}
	})
}
