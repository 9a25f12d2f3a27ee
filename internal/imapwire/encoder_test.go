package imapwire

import (
	"strings"
	"testing"
	"time"

	"rookery/internal/numset"
)

func TestEncoder(t *testing.T) {
	rev1, rev2 := Options{}, Options{Rev2: true}
	when := time.Date(2024, 2, 1, 3, 4, 5, 0, time.FixedZone("", -5400))
	tests := []struct {
		name  string
		opt   Options
		write func(e *Encoder)
		want  string // "" when the response must be taken back
	}{
		{"status", rev1, func(e *Encoder) { e.Status("a", OK, Code{"READ-ONLY", ""}, "done") }, "a OK [READ-ONLY] done\r\n"},
		{"untagged status", rev1, func(e *Encoder) { e.Status("", BYE, Code{}, "bye") }, "* BYE bye\r\n"},
		{"code with argument", rev1, func(e *Encoder) { e.Status("a", OK, Code{"COPYUID", "1 2:3 4"}, "x") }, "a OK [COPYUID 1 2:3 4] x\r\n"},
		{"response splitting in text", rev1, func(e *Encoder) { e.Status("a", OK, Code{}, "x\r\nb OK y") }, ""},
		{"NUL in text", rev1, func(e *Encoder) { e.Status("a", OK, Code{}, "x\x00") }, ""},
		{"8-bit text", rev1, func(e *Encoder) { e.Status("a", OK, Code{}, "é") }, ""},
		{"8-bit text in rev2", rev2, func(e *Encoder) { e.Status("a", OK, Code{}, "é") }, "a OK é\r\n"},
		{"empty text", rev1, func(e *Encoder) { e.Status("a", OK, Code{}, "") }, ""},
		{"bad tag", rev1, func(e *Encoder) { e.Status("a b", OK, Code{}, "x") }, ""},
		{"bad code", rev1, func(e *Encoder) { e.Status("a", OK, Code{"X", "a]b"}, "x") }, ""},
		{"continue", rev1, func(e *Encoder) { e.Continue("OK") }, "+ OK\r\n"},
		{"challenge", rev1, func(e *Encoder) { e.ContinueBase64("") }, "+ \r\n"},
		{"bad challenge", rev1, func(e *Encoder) { e.ContinueBase64("a\r") }, ""},
		{"atom", rev1, func(e *Encoder) { e.Untagged().Atom("X").CRLF() }, "* X\r\n"},
		{"bad atom", rev1, func(e *Encoder) { e.Untagged().Atom("a b").CRLF() }, ""},
		{"empty atom", rev1, func(e *Encoder) { e.Untagged().Atom("").CRLF() }, ""},
		{"quoted", rev1, func(e *Encoder) { e.String(`a"\`).CRLF() }, `"a\"\\"` + "\r\n"},
		{"literal", rev1, func(e *Encoder) { e.String("a\nb").CRLF() }, "{3}\r\na\nb\r\n"},
		{"8-bit string", rev1, func(e *Encoder) { e.String("é").CRLF() }, "{2}\r\né\r\n"},
		{"8-bit string in rev2", rev2, func(e *Encoder) { e.String("é").CRLF() }, "\"é\"\r\n"},
		{"no UTF-8 in rev2", rev2, func(e *Encoder) { e.String("\xff").CRLF() }, "{1}\r\n\xff\r\n"},
		{"NUL in string", rev1, func(e *Encoder) { e.String("a\x00").CRLF() }, "{2}\r\na\x80\r\n"},
		{"quoted only", rev1, func(e *Encoder) { e.Quoted("a\n").CRLF() }, ""},
		{"long string", rev1, func(e *Encoder) { e.String(strings.Repeat("x", 1025)).CRLF() }, "{1025}\r\n" + strings.Repeat("x", 1025) + "\r\n"},
		{"nil", rev1, func(e *Encoder) { e.NString(NString{}).SP().NString(NString{"", true}).CRLF() }, "NIL \"\"\r\n"},
		{"astring", rev1, func(e *Encoder) { e.Astring("a]").SP().Astring("a b").SP().Astring("").SP().Astring("nIl").CRLF() }, "a] \"a b\" \"\" \"nIl\"\r\n"},
		{"mailbox", rev1, func(e *Encoder) { e.Mailbox("台北").SP().Mailbox("a&b").SP().Mailbox("x y%").CRLF() }, "&U,BTFw- a&-b \"x y%\"\r\n"},
		{"mailbox in rev2", rev2, func(e *Encoder) { e.Mailbox("台北").SP().Mailbox("a&b").CRLF() }, "\"台北\" a&b\r\n"},
		{"mailbox not UTF-8", rev1, func(e *Encoder) { e.Mailbox("\xff").CRLF() }, ""},
		{"flags", rev1, func(e *Encoder) { e.FlagsResponse([]string{`\Seen`, "$x", `\*`}) }, "* FLAGS (\\Seen $x \\*)\r\n"},
		{"bad flag", rev1, func(e *Encoder) { e.FlagsResponse([]string{"a)b"}) }, ""},
		{"bad system flag", rev1, func(e *Encoder) { e.FlagsResponse([]string{`\`}) }, ""},
		{"date-time", rev1, func(e *Encoder) { e.DateTime(when).CRLF() }, "\"01-Feb-2024 03:04:05 -0130\"\r\n"},
		{"section", rev1, func(e *Encoder) {
			e.Section(Section{Part: []uint32{1, 2}, Text: HeaderFields, Fields: []string{"a", "b c"}}).Origin(7).CRLF()
		}, "[1.2.HEADER.FIELDS (a \"b c\")]<7>\r\n"},
		{"empty section", rev1, func(e *Encoder) { e.Section(Section{}).CRLF() }, "[]\r\n"},
		{"set", rev1, func(e *Encoder) { e.Set(numset.Of(1, 2, 4)).CRLF() }, "1:2,4\r\n"},
		{"empty set", rev1, func(e *Encoder) { e.Set(numset.Set{}).CRLF() }, ""},
		{"mod-sequence", rev1, func(e *Encoder) { e.ModSeq(1<<63 - 1).CRLF() }, "MODSEQ (9223372036854775807)\r\n"},
		{"mod-sequence 0", rev1, func(e *Encoder) { e.ModSeq(0).CRLF() }, ""},
		{"number64", rev1, func(e *Encoder) { e.Num64(1 << 63).CRLF() }, ""},
		{"counts", rev1, func(e *Encoder) { e.Exists(3); e.Recent(1); e.Expunge(2) }, "* 3 EXISTS\r\n* 1 RECENT\r\n* 2 EXPUNGE\r\n"},
		{"counts in rev2", rev2, func(e *Encoder) { e.Exists(3); e.Recent(1) }, "* 3 EXISTS\r\n"},
		{"recent", rev1, func(e *Encoder) { e.FlagList([]string{`\Recent`, `\Seen`, `\Recent`}).CRLF() }, "(\\Recent \\Seen \\Recent)\r\n"},
		{"recent in rev2", rev2, func(e *Encoder) { e.FlagList([]string{`\Recent`, `\Seen`, `\Recent`}).CRLF() }, "(\\Seen)\r\n"},
		{"prefix", rev1, func(e *Encoder) { e.Prefix("台北/").SP().Prefix("").SP().Prefix("a&b/").CRLF() }, "\"&U,BTFw-/\" \"\" \"a&-b/\"\r\n"},
		{"prefix in UTF-8", Options{UTF8: true}, func(e *Encoder) { e.Prefix("台北/").SP().Prefix("a&b/").CRLF() }, "\"台北/\" \"a&b/\"\r\n"},
		{"expunge 0", rev1, func(e *Encoder) { e.Expunge(0) }, ""},
		{"fetch", rev1, func(e *Encoder) { e.Fetch(3, 9).Atom("UID").SP().Num(9).Close().CRLF() }, "* 3 FETCH (UID 9)\r\n"},
		{"fetch in uidonly", Options{UIDOnly: true}, func(e *Encoder) { e.Fetch(3, 9).Close().CRLF() }, "* 9 UIDFETCH ()\r\n"},
		{"capability", rev1, func(e *Encoder) { e.Capability([]string{"IMAP4rev1", "STATUS=SIZE"}) }, "* CAPABILITY IMAP4rev1 STATUS=SIZE\r\n"},
		{"body", rev1, func(e *Encoder) {
			if e.Untagged().Literal(3, false) {
				e.Body([]byte("a\x00b"), false)
			}
			e.Close().CRLF()
		}, "* {3}\r\na\x80b)\r\n"},
		{"no body after an error", rev1, func(e *Encoder) {
			if e.Atom("").Literal(3, true) {
				t.Error("Literal said true after an error")
			}
			e.CRLF()
		}, ""},
	}
	for _, test := range tests {
		e := Encoder{Options: test.opt}
		e.Status("before", OK, Code{}, "x")
		test.write(&e)
		e.Status("after", OK, Code{}, "x")
		want := "before OK x\r\n" + test.want + "after OK x\r\n"
		if got := string(e.Take()); got != want {
			t.Errorf("%s: %q, want %q", test.name, got, want)
		}
		if err := e.Err(); (err == nil) != (test.want != "") {
			t.Errorf("%s: error %v", test.name, err)
		}
	}
}

// Whatever strings are put in, what comes out is one response that reads back.
func FuzzEncoder(f *testing.F) {
	f.Add("a b", "x\r\n", `\Seen`)
	f.Add("\xff\x00", "nil", "]")
	f.Fuzz(func(t *testing.T, s, mailbox, flag string) {
		var e Encoder
		e.Untagged().String(s).SP().Mailbox(mailbox).SP().Flag(flag).CRLF()
		out := e.Take()
		if e.Err() != nil {
			if len(out) != 0 {
				t.Fatalf("bytes after an error: %q", out)
			}
			return
		}
		limits := Limits{Line: len(out), Literal: 1 << 20, LiteralsTotal: 1 << 20, LiteralCount: 9, Depth: 1, Items: 1}
		d := NewDecoder(out[:len(out)-2], limits)
		var s2, m2, f2 string
		if !d.Byte('*') || !d.SP() || !d.WantString(&s2) || !d.WantSP() || !d.WantMailbox(&m2) || !d.WantSP() {
			t.Fatalf("%q: %v", out, d.Err())
		}
		if s2 != strings.ReplaceAll(s, "\x00", "\x80") {
			t.Fatalf("string %q came back as %q", s, s2)
		}
		if flag != `\*` && (!d.WantFlag(&f2) || !d.WantEnd() || f2 != flag) {
			t.Fatalf("flag %q came back as %q: %v", flag, f2, d.Err())
		}
	})
}

// A long list of UIDs goes in several responses.
func TestVanished(t *testing.T) {
	var e Encoder
	e.Vanished(false, numset.Set{})
	e.Vanished(true, numset.Of(1, 2, 5))
	e.Vanished(false, numset.Of(7))
	if got := string(e.Bytes()); got != "* VANISHED (EARLIER) 1:2,5\r\n* VANISHED 7\r\n" {
		t.Errorf("%q", got)
	}
	e.Reset()
	var odd numset.Set
	for n := range uint32(2*vanishedRanges + 1) {
		odd.Add(2*n + 1)
	}
	e.Vanished(true, odd)
	lines := strings.Split(strings.TrimSuffix(string(e.Bytes()), "\r\n"), "\r\n")
	var all []string
	for _, l := range lines {
		uids, ok := strings.CutPrefix(l, "* VANISHED (EARLIER) ")
		if !ok {
			t.Fatalf("%q", l)
		}
		all = append(all, uids)
	}
	if len(lines) != 3 || strings.Join(all, ",") != odd.String() {
		t.Errorf("%d responses: %q", len(lines), all)
	}
}
