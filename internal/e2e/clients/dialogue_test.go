package clients

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"rookery/internal/e2e/harness"
)

// step is one line that a person types, and the lines that come back; a want
// that begins with "~" is a regular expression.
type step struct {
	say  string
	want []string
}

// connect dials in a mode and puts STARTTLS or STLS before the dialogue.
func connect(t *testing.T, d *harness.Demo, m mode, pop3 bool) (c *harness.Client, greeting string) {
	t.Helper()
	service, tlsCommand := m.imap, "1 STARTTLS"
	if pop3 {
		service, tlsCommand = m.pop3, "STLS"
	}
	c = d.Dial(service)
	greeting = c.Line()
	if m.starttls {
		if err := c.Send(tlsCommand + "\r\n"); err != nil {
			t.Fatal(err)
		}
		if line := c.Line(); !strings.Contains(line, "OK") {
			t.Fatalf("%s: %s", tlsCommand, line)
		}
		conf, err := d.TLS()
		if err != nil {
			t.Fatal(err)
		}
		c.StartTLS(conf)
	}
	return c, greeting
}

// converse plays a dialogue: each line's answer is there before the next is said.
func converse(t *testing.T, c *harness.Client, steps []step) {
	t.Helper()
	for _, s := range steps {
		if err := c.Send(s.say + "\r\n"); err != nil {
			t.Fatal(err)
		}
		for _, want := range s.want {
			got := c.Line()
			if pattern, isPattern := strings.CutPrefix(want, "~"); isPattern {
				if !regexp.MustCompile("^" + pattern + "$").MatchString(got) {
					t.Errorf("%s: %q, want it to match %s", s.say, got, pattern)
				}
			} else if got != want {
				t.Errorf("%s: %q, want %q", s.say, got, want)
			}
		}
	}
	if line, err := c.TryLine(); err == nil {
		t.Errorf("after the dialogue comes %q, want the end", line)
	}
}

// The dialogue of the tutorials, as one types it into telnet.
func TestPOP3Dialogue(t *testing.T) {
	one, two := plainMail("one", "Hello.\n.\nBye.\n"), plainMail("two", "Second.\n")
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			d := harness.Start(t, "--users", "1", "--empty")
			deliver(t, d, 1, "", "1000000001.M1P1.host", one)
			deliver(t, d, 1, "", "1000000002.M1P1.host", two)
			sizes := []int{len(crlf(one)), len(crlf(two))}
			head := strings.Split(strings.TrimSuffix(strings.SplitAfter(crlf(one), "\r\n\r\n")[0], "\r\n"), "\r\n")
			c, greeting := connect(t, d, m, true)
			if !strings.HasPrefix(greeting, "+OK ") {
				t.Errorf("greeting %q", greeting)
			}
			converse(t, c, []step{
				{"USER u1", []string{`~\+OK.*`}},
				{"PASS pass", []string{`~\+OK.*`}},
				{"STAT", []string{fmt.Sprintf("+OK 2 %d", sizes[0]+sizes[1])}},
				{"LIST", []string{`~\+OK.*`, fmt.Sprintf("1 %d", sizes[0]), fmt.Sprintf("2 %d", sizes[1]), "."}},
				{"LIST 2", []string{fmt.Sprintf("+OK 2 %d", sizes[1])}},
				{"UIDL", []string{`~\+OK.*`, `~1 [!-\~]{1,70}`, `~2 [!-\~]{1,70}`, "."}},
				{"TOP 1 2", append(append([]string{`~\+OK.*`}, head...), "Hello.", "..", ".")},
				{"DELE 1", []string{`~\+OK.*`}},
				{"NOOP", []string{`~\+OK.*`}},
				{"STAT", []string{fmt.Sprintf("+OK 1 %d", sizes[1])}},
				{"LIST 1", []string{`~-ERR.*`}},
				{"RSET", []string{`~\+OK.*`}},
				{"STAT", []string{fmt.Sprintf("+OK 2 %d", sizes[0]+sizes[1])}},
				{"DELE 2", []string{`~\+OK.*`}},
				{"QUIT", []string{`~\+OK.*`}},
			})
			d.Eventually("the second message is gone", func() bool { return len(messages(t, d.Maildir(1))) == 1 })
			wantMessages(t, d.Maildir(1), kept{"", one})
		})
	}
}

// The same with APOP in place of USER and PASS, worked out by hand.
func TestAPOPDialogue(t *testing.T) {
	d := harness.Start(t, "--users", "1")
	for _, m := range modes() {
		c, greeting := connect(t, d, m, true)
		stamp := regexp.MustCompile(`<[^>]+>`).FindString(greeting)
		if stamp == "" {
			t.Fatalf("no timestamp in %q", greeting)
		}
		sum := md5.Sum([]byte(stamp + "pass"))
		converse(t, c, []step{
			{"APOP u1 " + hex.EncodeToString(sum[:]), []string{`~\+OK.*`}},
			{"STAT", []string{`~\+OK 7 [0-9]+`}},
			{"QUIT", []string{`~\+OK.*`}},
		})
	}
}

// Tutorials use the same tag on every line; so may a client.
func TestIMAPDialogue(t *testing.T) {
	one := plainMail("one", "Hello.\n")
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			d := harness.Start(t, "--users", "1", "--empty")
			deliver(t, d, 1, "", "1000000001.M1P1.host", one)
			c, greeting := connect(t, d, m, false)
			if !strings.HasPrefix(greeting, "* OK ") {
				t.Errorf("greeting %q", greeting)
			}
			special := []string{
				`* LIST (\HasNoChildren) "." INBOX`, `* LIST (\HasNoChildren \Drafts) "." Drafts`, `* LIST (\HasNoChildren \Junk) "." Junk`,
				`* LIST (\HasNoChildren \Sent) "." Sent`, `* LIST (\HasNoChildren \Trash) "." Trash`,
			}
			converse(t, c, []step{
				{"1 LOGIN u1 pass", []string{`~1 OK \[CAPABILITY IMAP4rev1 .*`}},
				{`1 LIST "" *`, append(special, `~1 OK.*`)},
				{`1 CREATE "INBOX"`, []string{`~1 NO .*`}},
				{`1 DELETE "INBOX"`, []string{`~1 NO .*`}},
				{`1 CREATE "Archive"`, []string{`~1 OK.*`}},
				{`1 RENAME "Archive" "Old"`, []string{`~1 OK.*`}},
				{`1 SUBSCRIBE "Old"`, []string{`~1 OK.*`}},
				{`1 LSUB "" "O*"`, []string{`* LSUB () "." Old`, `~1 OK.*`}},
				{"1 SELECT INBOX", []string{
					`* FLAGS (\Answered \Flagged \Deleted \Seen \Draft $Forwarded)`, `* OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft $Forwarded \*)] Flags permitted.`,
					"* 1 EXISTS", "* 1 RECENT", `~\* OK \[UNSEEN 1\] .*`, `~\* OK \[UIDVALIDITY [0-9]+\] .*`, `~\* OK \[UIDNEXT 2\] .*`, `~\* OK \[HIGHESTMODSEQ [0-9]+\] .*`, `~\* OK \[MAILBOXID \(F[0-9a-f]{32}\)\] .*`, `~1 OK \[READ-WRITE\] .*`,
				}},
				{"1 UNSELECT", []string{`~1 OK.*`}},
				{"1 SELECT INBOX", []string{
					`* FLAGS (\Answered \Flagged \Deleted \Seen \Draft $Forwarded)`, `* OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft $Forwarded \*)] Flags permitted.`,
					"* 1 EXISTS", "* 0 RECENT", `~\* OK \[UNSEEN 1\] .*`, `~\* OK \[UIDVALIDITY [0-9]+\] .*`, `~\* OK \[UIDNEXT 2\] .*`, `~\* OK \[HIGHESTMODSEQ [0-9]+\] .*`, `~\* OK \[MAILBOXID \(F[0-9a-f]{32}\)\] .*`, `~1 OK \[READ-WRITE\] .*`,
				}},
				{"1 FETCH 1 all", []string{
					`~\* 1 FETCH \(FLAGS \(\) INTERNALDATE "[0-9 ][0-9]-[A-Z][a-z]{2}-[0-9]{4} [0-9:]{8} [+-][0-9]{4}" RFC822\.SIZE ` + fmt.Sprint(len(crlf(one))) +
						` ENVELOPE \("Mon, 02 Mar 2026 10:00:00 \+0000" "one" \(\("Ann" NIL "ann" "example\.test"\)\) \(\("Ann" NIL "ann" "example\.test"\)\) ` +
						`\(\("Ann" NIL "ann" "example\.test"\)\) \(\(NIL NIL "u1" "example\.test"\)\) NIL NIL NIL "<one@example\.test>"\)\)`,
					`~1 OK.*`,
				}},
				{"1 CLOSE", []string{`~1 OK.*`}},
				{"1 LOGOUT", []string{`~\* BYE .*`, `~1 OK.*`}},
			})
			wantMessages(t, d.Maildir(1), kept{"", one})
			wantMessages(t, filepath.Join(d.Maildir(1), ".Old"))
		})
	}
}
