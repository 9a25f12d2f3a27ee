package peers

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
)

// What differs, and how much it matters.
func TestCompare(t *testing.T) {
	for _, test := range []struct {
		name, command string
		want, got     []string
		verdict       string
	}{
		{"the same", "a NOOP", []string{"a OK done"}, []string{"a OK Fertig."}, Same},
		{"order and case", "a FETCH 1 (UID FLAGS)", []string{`* 1 FETCH (UID 1 FLAGS (\Seen \Recent x))`, "a OK"}, []string{`* 1 Fetch (FLAGS (X \SEEN) UID 1)`, "a OK"}, Same},
		{"a value of its own", "a STATUS x (UIDVALIDITY)", []string{"* STATUS x (UIDVALIDITY 1001)", "a OK"}, []string{`* STATUS "x" (UIDVALIDITY 77)`, "a OK"}, Same},
		{"a literal", "a FETCH 1 BODY[TEXT]", []string{"* 1 FETCH (BODY[TEXT] {4}\r\nab\r\n)", "a OK"}, []string{"* 1 FETCH (BODY[TEXT] \"ab\r\n\")", "a OK"}, Same},
		{"another condition", "a NOOP", []string{"a OK"}, []string{"a NO"}, Different},
		{"refused either way", "a X", []string{"a BAD"}, []string{"a NO [CANNOT]"}, Words},
		{"another code", "a SELECT x", []string{"a NO [NONEXISTENT] no"}, []string{"a NO no"}, Words},
		{"MODIFIED has numbers", "a STORE 1:2 (UNCHANGEDSINCE 1) FLAGS ()", []string{"a OK [MODIFIED 1]"}, []string{"a OK [MODIFIED 2]"}, Words},
		{"another value", "a STATUS x (MESSAGES)", []string{"* STATUS x (MESSAGES 1)", "a OK"}, []string{"* STATUS x (MESSAGES 2)", "a OK"}, Different},
		{"data that lacks", "a SEARCH ALL", []string{"* SEARCH 1 2", "a OK"}, []string{"a OK"}, Different},
		{"search in another order", "a SEARCH ALL", []string{"* SEARCH 1 2", "a OK"}, []string{"* SEARCH 2 1", "a OK"}, Same},
		{"sort in another order", "a SORT (DATE) UTF-8 ALL", []string{"* SORT 1 2", "a OK"}, []string{"* SORT 2 1", "a OK"}, Different},
		{"news", "a NOOP", []string{"* 3 EXISTS", "a OK"}, []string{"a OK"}, Words},
		{"not news of SELECT", "a SELECT INBOX", []string{"* 3 EXISTS", "a OK"}, []string{"a OK"}, Different},
		{"RECENT is each server's", "a SELECT INBOX", []string{"* 3 RECENT", "a OK"}, []string{"* 0 RECENT", "a OK"}, Same},
		{"expunged from the other end", "a EXPUNGE", []string{"* 2 EXPUNGE", "* 3 EXPUNGE", "* 3 EXPUNGE", "a OK"}, []string{"* 5 EXPUNGE", "* 4 EXPUNGE", "* 2 EXPUNGE", "a OK"}, Same},
		{"another was expunged", "a EXPUNGE", []string{"* 2 EXPUNGE", "* 2 EXPUNGE", "a OK"}, []string{"* 2 EXPUNGE", "* 3 EXPUNGE", "a OK"}, Different},
		{"attributes that are free", `a LIST "" *`, []string{`* LIST (\HasNoChildren) "/" INBOX`, "a OK"}, []string{`* LIST (\UnMarked) "/" "inbox"`, "a OK"}, Same},
		{"attributes that are not", `a LIST "" *`, []string{`* LIST (\Noselect) "/" a`, "a OK"}, []string{`* LIST () "/" a`, "a OK"}, Different},
		{"NonExistent implies Noselect", `a LIST "" *`, []string{`* LIST (\NonExistent \Noselect) "/" a`, "a OK"}, []string{`* LIST (\NonExistent) "/" a`, "a OK"}, Same},
		{"the tag of ESEARCH", "b SEARCH RETURN (COUNT MIN) ALL", []string{`* ESEARCH (TAG "b") MIN 1 COUNT 3`, "b OK"}, []string{`* ESEARCH (TAG "b") COUNT 3 MIN 1`, "b OK"}, Same},
		{"UID in ESEARCH", "b UID SEARCH RETURN (MIN) ALL", []string{`* ESEARCH (TAG "b") UID MIN 1`, "b OK"}, []string{`* ESEARCH (TAG "b") MIN 1`, "b OK"}, Different},
		{"COPYUID", "a COPY 1 x", []string{"a OK [COPYUID 1002 1 1]"}, []string{"a OK [COPYUID 77 1 1]"}, Same},
		{"flags of another message", "a FETCH 1 FLAGS", []string{"* 1 FETCH (FLAGS ())", "a OK"}, []string{"* 1 FETCH (FLAGS ())", `* 2 FETCH (FLAGS (\Seen))`, "a OK"}, Words},
		{"hints", "a SELECT INBOX", []string{"* OK [MAILBOXID (F1)] x", "a OK"}, []string{"* OK [URLMECH INTERNAL] x", "a OK"}, Words},
		{"QRESYNC has CONDSTORE", "a ENABLE QRESYNC", []string{"* ENABLED QRESYNC", "a OK"}, []string{"* ENABLED CONDSTORE QRESYNC", "a OK"}, Same},
	} {
		if verdict, ours, theirs := Compare(test.command, test.want, test.got); verdict != test.verdict {
			t.Errorf("%s: %s (%q, %q), want %s", test.name, verdict, ours, theirs, test.verdict)
		}
	}
}

func TestResponses(t *testing.T) {
	all, rest := responses([]byte("* 1 FETCH (BODY[] {5}\r\na\r\nb\r X {0}\r\n)\r\na OK\r\n* 2 FETCH (X {3}\r\nab"))
	if len(all) != 2 || all[0] != "* 1 FETCH (BODY[] {5}\r\na\r\nb\r X {0}\r\n)" || string(rest) != "* 2 FETCH (X {3}\r\nab" {
		t.Errorf("%q, %q", all, rest)
	}
}

const played = `# a transcript
given: mailbox INBOX 1
C: a SELECT INBOX
C: b STORE 1 +FLAGS (\Seen)
S: * 1 EXISTS
S: * OK [HIGHESTMODSEQ 1000] Highest
S: a OK [READ-WRITE] Select completed.
S: b OK done
C: c APPEND INBOX {3}
S: + OK
C" "ab\n\r\n"
S: c OK [APPENDUID 1001 2] Append completed.
C: d APPEND None {3}
S: d NO [TRYCREATE] no
C: e APPEND INBOX {3+}
C: abc
C: f IDLE
C: DONE
S: e OK [APPENDUID 1001 3] Append completed.
S: + idling
S: f OK Idle completed.
E: deliver INBOX
S: * 3 EXISTS
S2: * 3 EXISTS
C: g SEARCH MODSEQ 1000
S: * SEARCH
S: g OK done
`

func TestSteps(t *testing.T) {
	given, steps, err := Steps(played)
	if err != nil || !slices.Equal(given, []string{"mailbox INBOX 1"}) {
		t.Fatal(given, err)
	}
	var got []string
	for _, s := range steps {
		got = append(got, fmt.Sprintf("%s%q %s open=%t resumes=%t want=%d others=%d", s.Event, s.Pieces, s.Tag, s.Open, s.Resumes, len(s.Want), len(s.Others)))
	}
	want := []string{
		`["a SELECT INBOX\r\n"] a open=false resumes=false want=3 others=0`,
		`["b STORE 1 +FLAGS (\\Seen)\r\n"] b open=false resumes=false want=1 others=0`,
		`["c APPEND INBOX {3}\r\n"] c open=true resumes=false want=1 others=0`,
		`["ab\n\r\n"] c open=false resumes=true want=1 others=0`,
		`["d APPEND None {3}\r\n"] d open=false resumes=false want=1 others=0`,
		`["e APPEND INBOX {3+}\r\nabc\r\n"] e open=false resumes=false want=1 others=0`,
		`["f IDLE\r\n"] f open=true resumes=false want=1 others=0`,
		`["DONE\r\n"] f open=false resumes=true want=1 others=0`,
		`deliver INBOX[]  open=false resumes=false want=0 others=2`,
		`["g SEARCH MODSEQ 1000\r\n"] g open=false resumes=false want=2 others=0`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A peer is asked with its own mod-sequences, takes a literal that ours refuses, and what
// it lacks is not asked for.
func TestPlay(t *testing.T) {
	_, steps, err := Steps(played)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	asked := make(chan string, 20)
	go serve(l, asked)
	p := Player{Name: "x.txt", Words: map[string]bool{"CONDSTORE": true, "IDLE": true}, Event: func(string) bool { return true },
		Login: func() (*Conn, error) { return Dial(l.Addr().String()) }}
	var got []string
	for _, o := range p.Play(steps) {
		got = append(got, o.Command+": "+o.Verdict)
	}
	want := []string{"a SELECT INBOX: same", `b STORE 1 +FLAGS (\Seen): different`, "c APPEND INBOX {3}: same", "…ab: same", "d APPEND None {3}: same",
		"e APPEND INBOX {3+}: same", "f IDLE: same", "…DONE: same", "(to session 1 after deliver INBOX): words", "g SEARCH MODSEQ 1000: same"}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	close(asked)
	var all []string
	for line := range asked {
		all = append(all, line)
	}
	if !slices.Contains(all, "g SEARCH MODSEQ 77") || !slices.Contains(all, "xxx") {
		t.Errorf("the peer was sent %q", all)
	}
}

// serve is a peer with one mind of its own: its mod-sequence is 77, and STORE tells what
// was not asked for.
func serve(l net.Listener, asked chan<- string) {
	answers := map[string]string{
		"a": "* OK [HIGHESTMODSEQ 77] x\r\n* 1 EXISTS\r\na OK [READ-WRITE] x\r\n", "b": "* 1 FETCH (X-NEWS 1)\r\nb OK x\r\n", "c": "+ go on\r\n",
		"ab": "", "": "c OK [APPENDUID 5 2] x\r\n", "d": "+ go on\r\n", "xxx": "d NO [TRYCREATE] x\r\n", "e": "", "abc": "e OK [APPENDUID 5 3] x\r\n",
		"f": "+ idling\r\n", "DONE": "f OK x\r\n", "g": "* SEARCH\r\ng OK x\r\n",
	}
	c, err := l.Accept()
	if err != nil {
		return
	}
	defer c.Close()
	fmt.Fprint(c, "* OK ready\r\n")
	for lines := bufio.NewScanner(c); lines.Scan(); {
		line := strings.TrimRight(lines.Text(), "\r")
		asked <- line
		tag, _, _ := strings.Cut(line, " ")
		fmt.Fprint(c, answers[tag])
	}
}

func TestJudgements(t *testing.T) {
	judged, err := ReadJudgements("# a comment\n\ndovecot | list | LIST | Noselect => $ | both | RFC 1 §2\n. | . | . | . | ours | RFC 3 §4: all the rest\n")
	if err != nil || len(judged) != 2 {
		t.Fatal(judged, err)
	}
	for _, bad := range []string{"a | b | c", "a | b | c | d | nobody | why", "( | . | . | . | ours | why"} {
		if _, err := ReadJudgements(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	o := Outcome{Transcript: "session/list.txt", Command: "a LIST", Verdict: Different, Ours: `\Noselect`}
	if j := judge(judged, "dovecot", o); j == nil || j.Right != "both" {
		t.Error(j)
	}
	if j := judge(judged, "cyrus", o); j == nil || j.Right != "ours" {
		t.Error(j)
	}
	r := Report{Peer: "dovecot", Title: "Dovecot", Outcomes: []Outcome{o, {Transcript: "session/list.txt", Command: "b", Verdict: Same}}}
	page := Page([]Report{r}, judged[:1])
	for _, want := range []string{"| session | 1 | 0 | 1 | 0 | 0 |", "| both | 1 | RFC 1 §2 | session/list.txt: `a LIST` |"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
	if page := Page([]Report{r}, nil); !strings.Contains(page, "Without judgement") {
		t.Error("a difference without judgement is not shown")
	}
}

func TestNeeds(t *testing.T) {
	for command, want := range map[string]string{"a NOOP": "", "a SELECT INBOX (QRESYNC (1 2))": "QRESYNC", "a UID MOVE 1 x": "MOVE", `a LIST "" *`: "", `a LIST "" (a b)`: "LIST-EXTENDED",
		"a SEARCH RETURN (SAVE) ALL": "SEARCHRES", "a FETCH $ FLAGS": "SEARCHRES", "a STORE 1 +FLAGS ($Junk)": "", "a STATUS x (HIGHESTMODSEQ)": "CONDSTORE", "a APPEND x ~{3+}": "BINARY"} {
		if got := Needs(command); got != want {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
}

func FuzzResponses(f *testing.F) {
	for _, s := range []string{"* 1 FETCH (BODY[HEADER.FIELDS (A)] {2}\r\nab)\r\n", "* LIST () \"/\" x\r\n", "* ESEARCH (TAG \"a\") ALL 1:2\r\n", "* SORT 1 (MODSEQ 2)\r\n", "* 1 FETCH\r\n", "* STATUS x\r\n"} {
		f.Add([]byte(s), "a FETCH 1 FLAGS")
	}
	f.Fuzz(func(t *testing.T, p []byte, command string) {
		all, _ := responses(p)
		if verdict, ours, theirs := Compare(command, all, all); verdict != Same {
			t.Errorf("%q differs from itself: %s, %q, %q", p, verdict, ours, theirs)
		}
	})
}
