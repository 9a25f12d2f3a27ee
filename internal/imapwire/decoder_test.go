package imapwire

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rookery/internal/numset"
)

// read runs one Want method over all of in and shows its value or its error.
func read(in string, want func(d *Decoder) (any, bool)) string {
	d := NewDecoder([]byte(in), small)
	v, ok := want(d)
	ok = ok && d.WantEnd()
	if ok != (d.Err() == nil) {
		return fmt.Sprintf("ok %v but error %v", ok, d.Err())
	}
	if !ok {
		return "! " + d.Err().Error()
	}
	if t, isTime := v.(time.Time); isTime {
		return t.Format(time.RFC3339)
	}
	return fmt.Sprintf("%+v", v)
}

func str(f func(d *Decoder, s *string) bool) func(d *Decoder) (any, bool) {
	return func(d *Decoder) (any, bool) {
		var s string
		ok := f(d, &s)
		return s, ok
	}
}

func num(f func(d *Decoder, n *uint32) bool) func(d *Decoder) (any, bool) {
	return func(d *Decoder) (any, bool) {
		var n uint32
		ok := f(d, &n)
		return n, ok
	}
}

func TestTokens(t *testing.T) {
	tag, atom, astring := str((*Decoder).WantTag), str((*Decoder).WantAtom), str((*Decoder).WantAstring)
	pattern, flag := str((*Decoder).WantListMailbox), str((*Decoder).WantFlag)
	number, nz := num((*Decoder).WantNumber), num((*Decoder).WantNZNumber)
	number64 := func(d *Decoder) (any, bool) { var n uint64; ok := d.WantNumber64(&n); return n, ok }
	modSeq := func(d *Decoder) (any, bool) { var n uint64; ok := d.WantModSeq(&n); return n, ok }
	modSeqZero := func(d *Decoder) (any, bool) { var n uint64; ok := d.WantModSeqZero(&n); return n, ok }
	nstring := func(d *Decoder) (any, bool) { var n NString; ok := d.WantNString(&n); return n, ok }
	set := func(d *Decoder) (any, bool) { var e numset.Expr; ok := d.WantSet(&e); return e, ok }
	window := func(d *Decoder) (any, bool) {
		var w numset.Window
		ok := d.WantWindow(&w)
		return string(w.AppendTo(nil)), ok
	}
	flags := func(d *Decoder) (any, bool) { var f []string; ok := d.WantFlags(&f); return f, ok }
	flagList := func(d *Decoder) (any, bool) { var f []string; ok := d.WantFlagList(&f); return f, ok }
	date := func(d *Decoder) (any, bool) { var v Date; ok := d.WantDate(&v); return v, ok }
	dateTime := func(d *Decoder) (any, bool) { var v time.Time; ok := d.WantDateTime(&v); return v, ok }
	b64 := func(d *Decoder) (any, bool) { var v []byte; ok := d.WantBase64(&v); return fmt.Sprintf("%q", v), ok }
	binary := func(d *Decoder) (any, bool) { var v []byte; ok := d.WantBinary(&v); return fmt.Sprintf("%q", v), ok }
	section := func(d *Decoder) (any, bool) {
		var s Section
		ok := d.WantSection(&s)
		return fmt.Sprintf("%v %s %q", s.Part, sectionTexts[s.Text], s.Fields), ok
	}
	tests := []struct {
		name string
		read func(*Decoder) (any, bool)
		in   string
		want string
	}{
		{"partial range", window, "1:50", "1:50"}, {"partial range", window, "500:400", "500:400"}, {"partial range", window, "-1:-100", "-1:-100"},
		{"partial range", window, "0:5", "! expected number above zero at byte 0"}, {"partial range", window, "-1:5", "! expected '-' at byte 3"},
		{"partial range", window, "1:-5", "! expected number above zero at byte 2"}, {"partial range", window, "1:*", "! expected number above zero at byte 2"},
		{"partial range", window, "1", "! expected ':' at byte 1"}, {"partial range", window, "-0:-1", "! expected number above zero at byte 1"},
		{"set", set, "$", "$"}, {"set", set, "1,$", "1,$"}, {"set", set, "$,1", "! expected sequence set (not a sequence set) at byte 0"},
		{"tag", tag, "a1]", "a1]"}, {"tag", tag, "+", "! expected tag at byte 0"}, {"tag", tag, "", "! expected tag at byte 0"},
		{"tag", tag, "a+", "! expected end of command at byte 1"},
		{"mod-sequence", modSeq, "9223372036854775807", "9223372036854775807"}, {"mod-sequence", modSeq, "007", "7"},
		{"mod-sequence", modSeq, "0", "! expected mod-sequence from 1 to 9223372036854775807 at byte 0"},
		{"mod-sequence", modSeq, "9223372036854775808", "! expected mod-sequence from 1 to 9223372036854775807 at byte 0"},
		{"mod-sequence", modSeq, "", "! expected mod-sequence from 1 to 9223372036854775807 at byte 0"},
		{"mod-sequence or 0", modSeqZero, "0", "0"}, {"mod-sequence or 0", modSeqZero, "1", "1"},
		{"mod-sequence or 0", modSeqZero, "0)", "! expected end of command at byte 1"},
		{"mod-sequence or 0", modSeqZero, "00", "! expected mod-sequence from 1 to 9223372036854775807 at byte 0"},
		{"atom", atom, "a[b]", "! expected end of command at byte 3"}, {"atom", atom, "BODY[", "BODY["},
		{"atom", atom, "\xc3\xa9", "! expected atom at byte 0"}, {"atom", atom, "a\x7f", "! expected end of command at byte 1"},
		{"astring", astring, "a]", "a]"}, {"astring", astring, `""`, ""}, {"astring", astring, `"a b"`, "a b"},
		{"astring", astring, `"\"\\"`, `"\`}, {"astring", astring, `"\n"`, `! expected \" or \\ at byte 1`},
		{"astring", astring, `"a`, "! expected closing quote at byte 2"}, {"astring", astring, "\"a\r\"", "! expected closing quote at byte 2"},
		{"astring", astring, "\"\xc3\xa9\"", "é"}, {"astring", astring, "\xc3\xa9", "! expected string at byte 0"},
		{"astring", astring, "{3}\r\na\nb", "a\nb"}, {"astring", astring, "{0+}\r\n", ""},
		{"astring", astring, "{4}\r\nabc", "! expected the literal's bytes at byte 5"},
		{"astring", astring, "{1}\r\n\x00", "! expected literal without NUL at byte 5"},
		{"astring", astring, "~{1}\r\nx", "! expected end of command at byte 1"},
		{"astring", astring, "{1}x", "! expected string at byte 0"}, {"astring", astring, "(", "! expected string at byte 0"},
		{"binary", binary, "~{2}\r\n\x00a", `"\x00a"`}, {"binary", binary, "{1}\r\na", `"a"`}, {"binary", binary, "a", "! expected literal at byte 0"},
		{"nstring", nstring, "nil", "{S: Set:false}"}, {"nstring", nstring, `"NIL"`, "{S:NIL Set:true}"},
		{"nstring", nstring, "x", "! expected string or NIL at byte 0"},
		{"pattern", pattern, "a%*]", "a%*]"}, {"pattern", pattern, `""`, ""}, {"pattern", pattern, `"%"`, "%"}, {"pattern", pattern, "(", "! expected mailbox pattern at byte 0"},
		{"number", number, "0", "0"}, {"number", number, "4294967295", "4294967295"}, {"number", number, "4294967296", "! expected number at byte 0"},
		{"number", number, "-1", "! expected number at byte 0"}, {"number", number, "007", "7"},
		{"nz", nz, "0", "! expected number above zero at byte 0"}, {"nz", nz, "10", "10"}, {"nz", nz, "01", "! expected number above zero at byte 0"},
		{"number64", number64, "9223372036854775807", "9223372036854775807"}, {"number64", number64, "9223372036854775808", "! expected number at byte 0"},
		{"set", set, "1,5:*", "1,5:*"}, {"set", set, "0", "! expected sequence set (zero in a sequence set) at byte 0"},
		{"set", set, "1,2,3,4,5", "! expected sequence set (sequence set has too many ranges) at byte 0"}, {"set", set, "x", "! expected sequence set (not a sequence set) at byte 0"},
		{"flag", flag, `\Seen`, `\Seen`}, {"flag", flag, "$Forwarded", "$Forwarded"}, {"flag", flag, `\`, "! expected flag at byte 0"}, {"flag", flag, `\*`, "! expected flag at byte 0"},
		{"flags", flags, `\Seen a`, `[\Seen a]`}, {"flags", flags, `()`, `[]`}, {"flags", flags, `(a)`, `[a]`}, {"flags", flags, "", "! expected flag at byte 0"},
		{"flags", flags, "a b c d e", "! expected fewer flags at byte 8"},
		{"flag-list", flagList, "(a b c d e)", "! expected fewer list elements at byte 9"}, {"flag-list", flagList, "(a  b)", "! expected flag at byte 3"},
		{"flag-list", flagList, "(a", "! expected space at byte 2"}, {"flag-list", flagList, "a", "! expected list at byte 0"},
		{"date", date, "1-Feb-2024", "{Year:2024 Month:February Day:1}"}, {"date", date, `"29-feb-2024"`, "{Year:2024 Month:February Day:29}"},
		{"date", date, "29-Feb-2023", "! expected a day of the calendar at byte 0"}, {"date", date, "0-Feb-2023", "! expected a day of the calendar at byte 0"},
		{"date", date, `"1-Feb-2024`, `! expected '"' at byte 11`}, {"date", date, "1-Foo-2024", "! expected month at byte 2"}, {"date", date, "1-Feb-24", "! expected year at byte 6"},
		{"date-time", dateTime, `" 1-Feb-2024 01:02:03 +0530"`, "2024-02-01T01:02:03+05:30"},
		{"date-time", dateTime, `"17-Jul-1996 02:44:25 -0700"`, "1996-07-17T02:44:25-07:00"},
		{"date-time", dateTime, `"1-Feb-2024 01:02:03 +0000"`, "! expected day at byte 1"},
		{"date-time", dateTime, `"01-Feb-2024 24:02:03 +0000"`, "! expected time of day at byte 13"},
		{"date-time", dateTime, `"01-Feb-2024 01:02:03 0000"`, "! expected time zone at byte 22"}, {"date-time", dateTime, "x", "! expected date and time at byte 0"},
		{"base64", b64, "AGE=", `"\x00a"`}, {"base64", b64, "=", `""`}, {"base64", b64, "AGE", "! expected base64 at byte 0"},
		{"base64", b64, "AGF=", "! expected base64 at byte 0"}, {"base64", b64, "", "! expected base64 at byte 0"}, {"base64", b64, "A=GE", "! expected base64 at byte 0"},
		{"section", section, "[]", "[]  []"}, {"section", section, "[1.2]", "[1 2]  []"}, {"section", section, "[1.MIME]", "[1] MIME []"},
		{"section", section, "[text]", "[] TEXT []"}, {"section", section, "[MIME]", "! expected HEADER, HEADER.FIELDS, TEXT or MIME at byte 1"},
		{"section", section, "[1.2.HEADER.FIELDS.NOT (a \"b\")]", `[1 2] HEADER.FIELDS.NOT ["a" "b"]`},
		{"section", section, "[HEADER.FIELDS (\"\")]", `[] HEADER.FIELDS [""]`}, {"section", section, "[HEADER.FIELDS ()]", "! expected list element at byte 15"},
		{"section", section, "[1.]", "! expected name at byte 3"}, {"section", section, "[0]", "! expected number above zero at byte 1"},
		{"section", section, "[1TEXT]", "! expected part number or section at byte 2"}, {"section", section, "[1.2.3.4.5]", "! expected fewer part numbers at byte 9"},
		{"section", section, "[.1]", "! expected HEADER, HEADER.FIELDS, TEXT or MIME at byte 1"}, {"section", section, "[1", "! expected part number or section at byte 2"},
	}
	for _, test := range tests {
		if got := read(test.in, test.read); got != test.want {
			t.Errorf("%s %q = %s, want %s", test.name, test.in, got, test.want)
		}
	}
}

func TestTryTakesNothing(t *testing.T) {
	for _, in := range []string{"", "(", ")", "\\", "99999999999999999999x", "{3}", "x"} {
		d := NewDecoder([]byte(in), small)
		var b []byte
		var n uint64
		var when time.Time
		tries := []bool{d.Keyword("UID"), d.Number64(&n), d.StringBytes(&b), d.literalBytes(&b, true), d.DateTime(&when), d.SP(), d.Byte('y')}
		for i, ok := range tries {
			if ok || d.Offset() != 0 || d.Err() != nil {
				t.Errorf("%q: try %d took something: at %d, %v", in, i, d.Offset(), d.Err())
			}
		}
	}
}

func TestNesting(t *testing.T) {
	var nest func(d *Decoder) bool
	nest = func(d *Decoder) bool {
		var s string
		return d.List(func() bool { return nest(d) }) || d.Err() == nil && d.WantAtom(&s)
	}
	for in, want := range map[string]string{
		"((a b) (c (d)))": "",
		"((((a))))":       "expected less nesting at byte 3",
		"((a)":            "expected space at byte 4",
		"()":              "",
	} {
		d := NewDecoder([]byte(in), small)
		got := ""
		if nest(d); d.Err() != nil {
			got = d.Err().Error()
		}
		if got != want || d.depth != 0 {
			t.Errorf("%q: %q, want %q; depth %d", in, got, want, d.depth)
		}
	}
}

func TestFirstErrorStays(t *testing.T) {
	d := NewDecoder([]byte("a b"), small)
	var s string
	if d.WantSP() || d.WantAtom(&s) || d.Atom(&s) || d.WantEnd() || s != "" {
		t.Error("a method worked after an error")
	}
	if d.Err().Error() != "expected space at byte 0" {
		t.Error(d.Err())
	}
}

// Quoted strings hold any octet above 127, and UTF-8 alone once that is enabled.
func TestQuotedUTF8(t *testing.T) {
	for _, test := range []struct {
		text    string
		opt     Options
		allowed bool
	}{
		{"\"\xff\"", Options{}, true}, {"\"\xff\"", Options{UTF8: true}, false}, {"\"\xff\"", Options{Rev2: true}, false},
		{"\"a\\\"\xc3\"", Options{UTF8: true}, false}, {"\"a\\\"\xc3\xbc\"", Options{UTF8: true}, true}, {"\"\xed\xa0\x80\"", Options{Rev2: true}, false},
		{"{1}\r\n\xff", Options{UTF8: true}, true},
	} {
		d := NewDecoder([]byte(test.text), small)
		d.Options = test.opt
		var s string
		if got := d.WantString(&s); got != test.allowed {
			t.Errorf("%q with %+v: %v, %v", test.text, test.opt, got, d.Err())
		}
	}
}

func TestPartial(t *testing.T) {
	d := NewDecoder([]byte("<5.10>"), small)
	var p Partial
	if !d.Partial(&p) || p != (Partial{5, 10}) || p.End() != 15 || !d.WantEnd() {
		t.Errorf("%v %v", p, d.Err())
	}
	d = NewDecoder([]byte("<5.0>"), small)
	if d.Partial(&p) || d.Err() == nil {
		t.Error("an empty partial was taken")
	}
	d = NewDecoder([]byte("<9223372036854775807.9223372036854775807>"), small)
	if !d.Partial(&p) || p != (Partial{1<<63 - 1, 1<<63 - 1}) || p.End() != 1<<63-1 {
		t.Errorf("%v %v", p, d.Err())
	}
	if d = NewDecoder([]byte("<9223372036854775808.1>"), small); d.Partial(&p) || d.Err() == nil {
		t.Error("an offset of 64 bits was taken")
	}
}

func FuzzDecoder(f *testing.F) {
	for _, seed := range []string{
		`a1 LOGIN "u" {3}` + "\r\nabc", "a FETCH 1:*,3 (BODY.PEEK[1.2.HEADER.FIELDS (a b)]<0.5>)", `(\Seen $x) " 1-Feb-2024 01:02:03 +0000"`,
		"AGE= ~{2}\r\n\x00a nil 12 ((a) b)",
	} {
		f.Add(seed, []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
	}
	f.Fuzz(func(t *testing.T, in string, ops []byte) {
		d := NewDecoder([]byte(in), small)
		var s string
		var n32 uint32
		var n64 uint64
		var b []byte
		var ns NString
		var e numset.Expr
		var date Date
		var when time.Time
		var sec Section
		var part Partial
		var fl []string
		for _, op := range ops {
			before := d.Offset()
			var ok bool
			switch op % 20 {
			case 0:
				ok = d.Atom(&s)
			case 1:
				ok = d.Astring(&s)
			case 2:
				ok = d.SP()
			case 3:
				ok = d.WantNumber(&n32)
			case 4:
				ok = d.Number64(&n64)
			case 5:
				ok = d.WantSet(&e)
			case 6:
				ok = d.WantFlags(&fl)
			case 7:
				ok = d.WantDate(&date)
			case 8:
				ok = d.WantDateTime(&when)
			case 9:
				ok = d.WantSection(&sec)
			case 10:
				ok = d.Partial(&part)
			case 11:
				ok = d.WantNString(&ns)
			case 12:
				ok = d.WantBase64(&b)
			case 13:
				ok = d.WantBinary(&b)
			case 14:
				ok = d.List(func() bool { return d.WantAstring(&s) })
			case 15:
				ok = d.WantNZNumber(&n32)
			case 16:
				ok = d.WantTag(&s)
			case 17:
				ok = d.WantListMailbox(&s)
			case 18:
				ok = d.Keyword("UID")
			case 19:
				ok = d.WantEnd()
			}
			if ok && d.Err() != nil || d.Offset() > len(in) || !ok && d.Err() == nil && d.Offset() != before {
				t.Fatalf("op %d of %q: ok %v, error %v, from %d to %d", op%20, in, ok, d.Err(), before, d.Offset())
			}
			if strings.Contains(s, "\x00") {
				t.Fatal("NUL in a string")
			}
		}
	})
}
