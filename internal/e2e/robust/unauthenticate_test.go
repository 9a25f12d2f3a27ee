package robust

import (
	"fmt"
	"strings"
	"testing"

	"rookery/internal/e2e/harness"
)

// TestUnauthenticate: users take turns on one connection, each with what he had before
// it and nothing of the one before him (RFC 8437).
func TestUnauthenticate(t *testing.T) {
	d := harness.StartWith(t, []string{"mail_max_userip_connections = 1"}, "--users", "3", "--empty", "--no-localhost-exemption")
	offered := func(c *harness.Client) bool {
		lines := c.OK("CAPABILITY")
		return strings.Contains(lines[0]+" ", " UNAUTHENTICATE ")
	}
	plain := mustLogin(t, d, "imap", "u3")
	if offered(plain) {
		t.Error("UNAUTHENTICATE is offered without TLS")
	}
	if lines := plain.IMAP("UNAUTHENTICATE"); !strings.Contains(lines[0], " BAD ") {
		t.Errorf("%q", lines)
	}
	c := d.Dial("imaps")
	c.Login("u1")
	if !offered(c) {
		t.Error("UNAUTHENTICATE is not offered over TLS")
	}
	c.OK("ENABLE IMAP4rev2 QRESYNC")
	c.OK("CREATE one")
	if err := c.Append("one", "", "Subject: one\r\n\r\none\r\n"); err != nil {
		t.Fatal(err)
	}
	c.OK("SELECT one")
	// All in one write: the last of u1, the change, and the first of u2. What looks like
	// the command in a literal is none.
	tricky := "Subject: t\r\n\r\nx2 UNAUTHENTICATE\r\nx3 LOGIN u3 pass\r\n"
	if err := c.Send(fmt.Sprintf("x1 APPEND one {%d+}\r\n%s\r\nx4 UNAUTHENTICATE\r\nx5 LOGIN u2 pass\r\nx6 STATUS one (MESSAGES)\r\nx7 SELECT INBOX\r\nx8 EXPUNGE\r\n", len(tricky), tricky)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct{ tag, answer string }{{"x1", "x1 OK [APPENDUID"}, {"x4", "x4 OK [CAPABILITY IMAP4rev1 "}, {"x5", "x5 OK [CAPABILITY "}, {"x6", "x6 NO [NONEXISTENT]"},
		{"x7", "x7 OK [READ-WRITE]"}, {"x8", "x8 OK"}} {
		lines, err := c.Until(want.tag)
		if err != nil || !strings.HasPrefix(lines[len(lines)-1], want.answer) {
			t.Fatalf("%s: %q, %v", want.tag, lines, err)
		}
		if want.tag == "x7" && !strings.Contains(strings.Join(lines, "\n"), " RECENT") {
			t.Errorf("IMAP4rev2 is still enabled: %q", lines)
		}
	}
	c.OK("UNAUTHENTICATE")
	if lines := c.IMAP("SELECT INBOX"); !strings.Contains(lines[0], " BAD ") {
		t.Errorf("%q", lines)
	}
	// The limit of one connection: each session has ended for it when its
	// UNAUTHENTICATE is answered.
	for i := range 40 {
		c.OK("LOGIN u1 pass")
		c.OK("NOOP")
		if i%2 == 0 {
			c.OK("SELECT one")
		}
		c.OK("UNAUTHENTICATE")
	}
	c.OK("LOGIN u1 pass")
	if lines := c.OK("STATUS one (MESSAGES)"); lines[0] != "* STATUS one (MESSAGES 2)" {
		t.Errorf("%q", lines)
	}
	c.OK("COMPRESS DEFLATE")
	d.WaitLog("Disconnected: Unauthenticated")
	d.WaitLog("UNAUTHENTICATE of user=<u1@example.test>")
	if strings.Contains(d.Log(), "Connection closed") {
		t.Error("a session that was left is logged as one that broke")
	}
	d.NoCrash(t)
}
