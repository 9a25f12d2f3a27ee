package badinput

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"rookery/internal/e2e/harness"
)

// exchange is something that a client sends and how the answer begins; "" for
// none. The connection must be in step afterwards.
type exchange struct {
	name, send, want string
	more             string // sent after want, if the first was half of it
}

func in(n int, s string) string { return strings.Repeat(s, n) }

// imapLines are broken, or stand at a limit, after login with INBOX selected.
func imapLines() []exchange {
	return []exchange{
		{"oversize literal", "x CREATE {100000}\r\n", "x NO [TOOBIG]", ""},
		{"oversize literal in APPEND", "x APPEND INBOX {1000000000}\r\n", "x NO [TOOBIG]", ""},
		{"size beyond all numbers", "x APPEND INBOX {99999999999999999999}\r\n", "x NO [TOOBIG]", ""},
		{"APPEND to nowhere", "x APPEND nowhere {10}\r\n", "x NO [TRYCREATE]", ""},
		{"non-synchronizing literal is drained", "x CREATE {100000+}\r\n" + in(100000, "A") + "\r\n", "x NO [TOOBIG]", ""},
		{"drained with commands in it", "x CREATE {100008+}\r\n" + in(100000, "A") + "\r\na b\r\n\r\n", "x NO [TOOBIG]", ""},
		{"non-synchronizing APPEND to nowhere", "x APPEND nowhere {10+}\r\n0123456789\r\n", "x NO [TRYCREATE]", ""},
		{"line over the limit", "x NOOP " + in(70000, "a") + "\r\n", "x BAD", ""},
		{"line far over the limit", "x NOOP " + in(3_000_000, "a") + "\r\n", "x BAD", ""},
		{"long line without a tag", in(70000, "(") + "\r\n", "* BAD", ""},
		{"NUL", "x NO\x00OP\r\n", "x BAD", ""},
		{"NUL in a literal", "x CREATE {3+}\r\na\x00b\r\n", "x BAD", ""},
		{"NUL in a message", "x APPEND INBOX {3+}\r\na\x00b\r\n", "x BAD", ""},
		{"8-bit in a quoted name", "x CREATE \"caf\xe9\"\r\n", "x BAD", ""},
		{"8-bit in an atom", "x CREATE caf\xe9\r\n", "x BAD", ""},
		{"8-bit in a literal name", "x CREATE {4+}\r\ncaf\xe9\r\n", "x BAD", ""},
		{"broken modified UTF-7", "x CREATE \"a&b\"\r\n", "x BAD", ""},
		{"unknown command", "x FROBNICATE\r\n", "x BAD Unknown command.", ""},
		{"no command", "x\r\n", "x BAD", ""},
		{"no tag", " NOOP\r\n", "* BAD", ""},
		{"empty line", "\r\n", "* BAD", ""},
		{"plus as a tag", "+ NOOP\r\n", "* BAD", ""},
		{"login again", "x LOGIN a b\r\n", "x BAD", ""},
		{"bare LF", "x NOOP\n", "x OK", ""},
		{"bare LF before a literal", "x STATUS {5+}\nINBOX (MESSAGES)\n", "* STATUS INBOX", ""},
		{"message number 0", "x FETCH 0 UID\r\n", "x BAD", ""},
		{"message number too big", "x FETCH 4294967296 UID\r\n", "x BAD", ""},
		{"message that is not there", "x FETCH 99 UID\r\n", "x BAD", ""},
		{"part number too deep", "x FETCH 1 BODY[" + in(9999, "1.") + "1]\r\n", "* 1 FETCH", ""},
		{"partial 0", "x FETCH 1 BODY[]<0.0>\r\n", "x BAD", ""},
		{"partial too big", "x FETCH 1 BODY[]<99999999999999999999.1>\r\n", "x BAD", ""},
		{"nested SEARCH", "x SEARCH " + in(3000, "(") + "ALL" + in(3000, ")") + "\r\n", "x BAD", ""},
		{"nested NOT", "x SEARCH " + in(9000, "NOT ") + "ALL\r\n", "x BAD", ""},
		{"nested OR", "x SEARCH " + in(9000, "OR ALL ") + "ALL\r\n", "x BAD", ""},
		{"unclosed quote", "x CREATE \"abc\r\n", "x BAD", ""},
		{"unclosed list", "x STORE 1 FLAGS (\\Seen\r\n", "x BAD", ""},
		{"system flag that is none", "x STORE 1 FLAGS (\\Nonsense)\r\n", "x BAD", ""},
		{"control character in a name", "x CREATE \"a\x01b\"\r\n", "x BAD", ""},
		{"name that climbs", "x CREATE ../../etc\r\n", "x NO [CANNOT]", ""},
		{"name with an empty level", "x CREATE a//b\r\n", "x NO [CANNOT]", ""},
		{"very long name", "x CREATE " + in(5000, "n") + "\r\n", "x NO", ""},
		{"very deep name", "x CREATE " + in(2000, "n/") + "n\r\n", "x NO", ""},
		{"CREATE INBOX", "x CREATE INBOX\r\n", "x NO", ""},
		{"DELETE INBOX", "x DELETE INBOX\r\n", "x NO", ""},
		{"charset that is none", "x SEARCH CHARSET NONSENSE SUBJECT x\r\n", "x NO [BADCHARSET", ""},
		{"IDLE ended by another word", "x IDLE\r\n", "+ ", "NOOP\r\n"},
	}
}

// TestIMAPLines: every broken line is answered in the protocol's words, once, and
// the connection lives on, in step.
func TestIMAPLines(t *testing.T) {
	d := harness.Start(t, "--users", "1", "--empty")
	c := login(t, d, "imap", "u1")
	must(t, c.Append("INBOX", "", mail("one")))
	c.OK("SELECT INBOX")
	before := d.Status().Of("imapworker")
	for n, x := range imapLines() {
		must(t, c.Send(x.send))
		line, err := c.TryLine()
		if err != nil {
			t.Fatalf("%s: %v", x.name, err)
		}
		if !strings.HasPrefix(line, x.want) {
			t.Errorf("%s: %.200q, want %q…", x.name, line, x.want)
		}
		for strings.HasPrefix(line, "* ") && !strings.HasPrefix(line, "* BAD") || strings.HasPrefix(line, "+ ") {
			must(t, c.Send(x.more))
			line = c.Line()
		}
		// In step: the next answer is the next command's; and it counts as a good one.
		if got := c.IMAP("NOOP"); len(got) != 1 || !strings.HasPrefix(got[0], fmt.Sprintf("t%d OK", n+4)) {
			t.Fatalf("%s: out of step: %q", x.name, got)
		}
	}
	if got := c.OK("SEARCH ALL"); got[0] != "* SEARCH 1" {
		t.Errorf("the mailbox has changed: %q", got)
	}
	alive(t, before, d.Status().Of("imapworker"))
	sessionLine(t, d, "Bad command, answered: Literal too big")
	d.NoCrash(t)
}

// TestIMAPTooManyBad: twenty bad commands in a row end the session with BYE; one
// good one between them makes the count begin anew.
func TestIMAPTooManyBad(t *testing.T) {
	d := harness.Start(t, "--users", "1", "--empty")
	c := login(t, d, "imap", "u1")
	for range 3 {
		for range 19 {
			must(t, c.Send("b NONSENSE\r\n"))
			c.ExpectPrefix("b BAD ")
		}
		c.OK("NOOP")
	}
	must(t, c.Send(in(40, "b NONSENSE\r\n")))
	got := c.Rest()
	if len(got) != 21 || got[19] != "b BAD Unknown command." || !strings.HasPrefix(got[20], "* BYE ") {
		t.Errorf("%d lines, the last %.300q", len(got), got[max(0, len(got)-3):])
	}
	sessionLine(t, d, "Disconnected: Too many invalid IMAP commands")
	d.NoCrash(t)
}

// TestIMAPFatal: a size that cannot be followed ends the connection with BYE.
func TestIMAPFatal(t *testing.T) {
	d := harness.Start(t, "--users", "1", "--empty")
	c := login(t, d, "imap", "u1")
	must(t, c.Send("x APPEND INBOX {18446744073709551616+}\r\n"))
	if got := c.Rest(); len(got) == 0 || !strings.HasPrefix(last(got), "* BYE ") {
		t.Errorf("a size beyond all numbers: %q", got)
	}
	// Not a literal at all.
	c = login(t, d, "imap", "u1")
	for _, text := range []string{"x CREATE {-1}", "x CREATE {}", "x CREATE {1", "x CREATE {a}", "x CREATE {1+"} {
		must(t, c.Send(text+"\r\n"))
		c.ExpectPrefix("x BAD ")
	}
	c.OK("NOOP")
	d.NoCrash(t)
}

// TestIMAPGarbage: random bytes, also with right pieces among them, never crash
// the worker, and others of the same user do not notice.
func TestIMAPGarbage(t *testing.T) {
	d := harness.Start(t, "--users", "1")
	quiet := login(t, d, "imap", "u1")
	quiet.OK("SELECT INBOX")
	before := d.Status().Of("imapworker")
	pieces := []string{"x ", "FETCH ", "1:* ", "BODY[", "]", "(", ")", "{5}", "{5+}", "\r\n", "\n", "\"", "\\", "UID ", "SEARCH ", "STORE ", "+FLAGS ", "\\Seen", "NIL", "INBOX", "*",
		"%", "<0.1>", "HEADER.FIELDS", "BODYSTRUCTURE", "APPEND ", "IDLE\r\n", "DONE\r\n", "LIST ", "\"\" ", "RETURN ", "\x00", "\xff", "&-", "CHARSET UTF-8 ", "OR ", "NOT ", "~{3}"}
	random := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		c := login(t, d, "imap", "u1")
		var b strings.Builder
		for range 400 {
			if random.IntN(5) == 0 {
				b.WriteByte(byte(random.Uint32()))
			} else {
				b.WriteString(pieces[random.IntN(len(pieces))])
			}
		}
		send(c, b.String())
		c.Close()
	}
	quiet.OK("NOOP")
	quiet.OK("FETCH 1 BODY.PEEK[]")
	alive(t, before, d.Status().Of("imapworker"))
	d.NoCrash(t)
}

// TestPOP3Lines is TestIMAPLines for POP3.
func TestPOP3Lines(t *testing.T) {
	d := harness.Start(t, "--users", "1", "--empty")
	a := login(t, d, "imap", "u1")
	must(t, a.Append("INBOX", "", mail("one")))
	c := login(t, d, "pop3", "u1")
	before := d.Status().Of("pop3worker")
	for _, x := range []exchange{
		{"unknown command", "FROBNICATE\r\n", "-ERR", ""},
		{"empty line", "\r\n", "-ERR", ""},
		{"NUL", "NO\x00OP\r\n", "-ERR", ""},
		{"long line", "NOOP " + in(5000, "a") + "\r\n", "-ERR", ""},
		{"very long line", "NOOP " + in(2_000_000, "a") + "\r\n", "-ERR", ""},
		{"8-bit", "RETR \xe9\r\n", "-ERR", ""},
		{"message 0", "RETR 0\r\n", "-ERR", ""},
		{"negative", "RETR -1\r\n", "-ERR", ""},
		{"sign", "RETR +1\r\n", "-ERR", ""},
		{"too big", "RETR 99999999999999999999\r\n", "-ERR", ""},
		{"not there", "DELE 2\r\n", "-ERR", ""},
		{"no number", "DELE\r\n", "-ERR", ""},
		{"two numbers", "DELE 1 1\r\n", "-ERR", ""},
		{"TOP without lines", "TOP 1\r\n", "-ERR", ""},
		{"TOP with negative lines", "TOP 1 -1\r\n", "-ERR", ""},
		{"login again", "USER u1\r\n", "-ERR", ""},
		{"bare LF", "NOOP\n", "+OK", ""},
	} {
		must(t, c.Send(x.send))
		if got := c.Line(); !strings.HasPrefix(got, x.want) {
			t.Errorf("%s: %.200q", x.name, got)
		}
		if got := c.POP3("STAT"); !strings.HasPrefix(got, "+OK 1 ") {
			t.Fatalf("%s: out of step: %q", x.name, got)
		}
	}
	must(t, c.Send(in(60, "NONSENSE\r\n")))
	got := c.Rest()
	if !strings.Contains(last(got), "Too many bad commands") || len(got) > 30 {
		t.Errorf("%d lines, last %q", len(got), last(got))
	}
	sessionLine(t, d, "Bad command, answered: ")
	sessionLine(t, d, "Disconnected: Too many bad commands")
	alive(t, before, d.Status().Of("pop3worker"))
	d.NoCrash(t)
}
