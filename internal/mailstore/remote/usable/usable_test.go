package usable

import (
	"strings"
	"testing"

	"rookery/internal/message"
)

const mail = "From: \"A \\\"B\\\" \\\\\" <a@example.test>\r\nTo: b@example.test\r\nSubject: =?utf-8?q?x=C3=BC?= \"q\"\r\nMessage-ID: <1@x>\r\n" +
	"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nx\r\n" +
	"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: y\r\n\r\nz\r\n--b--\r\n"

// What this server makes is usable.
func TestMade(t *testing.T) {
	var p message.Parser
	tree := p.ParseBytes([]byte(mail), message.DefaultLimits())
	for field, value := range map[string][]byte{
		"imap.envelope":      message.AppendEnvelope(nil, tree.Envelope, message.DefaultLimits()),
		"imap.body":          message.AppendBody(nil, tree, message.DefaultLimits()),
		"imap.bodystructure": message.AppendBodyStructure(nil, tree, message.DefaultLimits()),
	} {
		if !Fact(field, value) {
			t.Errorf("%s is not usable: %s", field, value)
		}
		for n := range value { // and nothing that is cut, or goes on
			if Fact(field, value[:n]) {
				t.Errorf("%s is usable when cut: %s", field, value[:n])
			}
		}
		if Fact(field, append(value, ')')) || Fact(field, append(value, " x"...)) || Fact(field, append(value, "\r\n* BYE\r\n"...)) {
			t.Errorf("%s is usable with more after it", field)
		}
	}
}

func TestFact(t *testing.T) {
	for _, c := range []struct {
		field, value string
		want         bool
	}{
		{"imap.envelope", `(NIL "a\"b" ("x" 12) {3}` + "\r\na\r\n" + ` NIL)`, true},
		{"imap.envelope", "(\"a\r\n* 1 EXPUNGE\r\n\")", false},
		{"imap.envelope", "({5}\r\na\r\n)", false},            // beyond the end
		{"imap.envelope", "({2}\r\nab)\r\n* BYE)", false},     //
		{"imap.envelope", "({99999999999}\r\na)", false},      //
		{"imap.envelope", "({1}\r\n\x00)", false},             //
		{"imap.envelope", `("a\n")`, false},                   //
		{"imap.envelope", "(\"\xff\")", false},                //
		{"imap.envelope", "(XYZ)", false},                     //
		{"imap.envelope", "(1A)", false},                      //
		{"imap.envelope", "NIL", false},                       //
		{"imap.envelope", "", false},                          //
		{"imap.envelope", "()()", false},                      //
		{"imap.body", strings.Repeat("(", maxDepth+1), false}, //
		{"imap.body", strings.Repeat("(", 9) + strings.Repeat(")", 9), true},
		{"object.email", "abc-_9", true}, {"object.email", "a b", false}, {"object.email", "", false}, {"object.thread", "-", true},
		{"imap.header subject", "Subject: x\r\n\r\n", true}, {"imap.header subject", "\x00", false}, {"imap.headers", "x", false},
		{"preview.1", "=text\r\n", true}, {"preview.1", "=\x00", false}, {"mime.tree", "\x00", true},
		{"octets.nul", "0", true}, {"octets.nul", "1", true}, {"octets.nul", "2", false}, {"octets.nul", "00", false},
		{"binary.sizes", "\x02", false}, {"anything", "x", false},
	} {
		if got := Fact(c.field, []byte(c.value)); got != c.want {
			t.Errorf("%s %q: %v", c.field, c.value, got)
		}
	}
}

// FuzzList: what is usable is one list, which brings no line of its own beyond the
// literals that it announces.
func FuzzList(f *testing.F) {
	f.Add([]byte(`(NIL "a\"b" ("x" 12) NIL)`))
	f.Add([]byte("({3}\r\na\r\n)"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if !isList(b) {
			return
		}
		s := string(b)
		for {
			before, after, ok := strings.Cut(s, "\r\n")
			if strings.ContainsAny(before, "\r\n") && !strings.Contains(before, "{") {
				t.Fatalf("%q", b)
			}
			if !ok {
				return
			}
			open := strings.LastIndexByte(before, '{')
			if open < 0 {
				t.Fatalf("a line ends in %q", b)
			}
			n := 0
			for _, c := range strings.TrimSuffix(before[open+1:], "}") {
				n = n*10 + int(c-'0')
			}
			if n > len(after) {
				t.Fatalf("a literal of %d octets in %q", n, b)
			}
			s = after[n:]
		}
	})
}
