package message

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// oddMail is mail that the short ways must read as the long ones do.
var oddMail = []string{
	"",
	"\r\n",
	"\n",
	"\r",
	"Subject: x",
	"Subject: x\r\n",
	"Subject: x\r\n\r\n",
	"\r\nno header\r\n",
	"Subject: =?utf-8?q?gr=C3=BC?=\r\n =?utf-8?q?=C3=9Fe_aus?= K=?iso-8859-1?q?=F6ln?=\r\n\r\nbody\r\n",
	"Subject: =?utf-8?b?w7w=?= =?utf-8?b?\r\n w7w=?=\r\n\r\n",
	"Subject: \xfcber \xc3\xbcber\r\nFrom : spaced <a@b>\r\nsubject:second one\r\n\r\nK\xf6ln\r\n",
	"Subject: a\x00b\r\nTo: x\r\n\r\n\x00Needle\x00\r\n",
	"Subject: a\rb\r\n\tc\nd: e\n\nNEE\ndle needle\r",
	" leading blank\r\nSubject: after\r\nno colon here\r\n: empty name\r\n\r\nx",
	"Subject:\r\n \r\n \t\r\nX: y\r\n\r\n",
	"Date: Mon, 1 Jan 2024 10:00:00 +0100\r\nDate: Tue, 2 Jan 2024 10:00:00 +0100\r\n\r\n",
	"Date: Mon, 1 Jan\r\n 2024 10:00:00 +0100 (c)\r\n\r\n",
	"Content-Transfer-Encoding: base64\r\n\r\nTmVlZGxl\r\nIGFnYWlu\r\n",
	"Content-Transfer-Encoding: quoted-printable\r\n\r\nNee=\r\ndle =4e=45=45DLE\r\n",
	"Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 a\r\n&3F5E9&QE\r\nend\r\n",
	"Content-Transfer-Encoding: 8bit\r\n\r\nn\xc3\xa9edle NEEDLE stra\xc3\x9fe\r\n",
	"Content-Type: text/plain; charset=utf-16\r\n\r\nN\x00e\x00e\x00d\x00l\x00e\x00",
	"Content-Type: text/plain; charset=utf-7\r\n\r\n+AE4-eedle\r\n",
	"Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n\x1b$B$N$e\x1b(B needle\r\n",
	"Content-Type: text/plain; charset=hz-gb-2312\r\n\r\n~{VPND~} needle ~~\r\n",
	"Content-Type: text/plain; charset=no-such\r\n\r\nneedle\xff\xfe\r\n",
	"Content-Type: text/plain; charset*0=utf; charset*1=-16\r\n\r\nneedle\r\n",
	"Content-Type: application/octet-stream\r\n\r\nneedle\r\n",
	"Content-Type: multipart/mixed; boundary=b\r\n\r\nneedle in the preamble\r\n--b\r\nX-Note: folded\r\n needle\r\n\r\nfirst\r\n" +
		"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject:needle\r\n\r\ninner\r\n--b--\r\nneedle in the epilogue\r\n",
	"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html; charset=windows-1252\r\n\r\n<b>nee\x80dle</b>\r\n--b",
	"Subject: " + strings.Repeat("needl ", 3000) + "needle\r\n\r\n" + strings.Repeat("needl\r\n", 9000) + "NEEDLE",
	"X: " + strings.Repeat("\xc3\xa9", 5000) + "\r\n\r\n" + strings.Repeat("\xc3\xa9", 5000) + "needle" + strings.Repeat("\xef\xac\x81", 5000),
}

// oddKeys are searched for in it.
var oddKeys = []string{"", "needle", "NEEDLE again", "grüße aus Köln", "ü", "b", ": ", "x-note: folded needle", "ssubject", "fi", "e\u0301", "\u212a", "straße", "a\x00b", "\n", "inner", "Subject: needle", strings.Repeat("needl ", 40)}

// oddNames are names of fields.
var oddNames = []string{"Subject", "SUBJECT", "date", "From", "From ", "X", "", "x-note", "no colon here", "ſubject"}

// samePair compares the short ways with the long ones.
func samePair(t *testing.T, msg []byte, text string) {
	t.Helper()
	lim := DefaultLimits()
	r := bytes.NewReader(msg)
	head, err := ParseHeader(r, int64(len(msg)), lim)
	if err != nil {
		t.Fatal(err)
	}
	end := HeaderEnd(msg)
	if int64(end) != head.BodyStart {
		t.Fatalf("header ends at %d, parser says %d", end, head.BodyStart)
	}
	key, err := NewKey("utf-8", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range oddNames {
		names := []string{name}
		field := NewFieldSet(names, false).Append(nil, msg[:end], lim)
		want, err := key.InHeader(r, head, name, lim)
		if err != nil {
			t.Fatal(err)
		}
		if got := key.InHeaderBytes(msg[:end], name, lim); got != want {
			t.Fatalf("%q in field %q of the header: %v, want %v", text, name, got, want)
		}
		if got := key.InHeaderBytes(field, name, lim); got != want {
			t.Fatalf("%q in field %q of %q: %v, want %v", text, name, field, got, want)
		}
		for _, list := range [][]string{names, {name, "Subject"}, {text, name}} {
			for _, not := range []bool{false, true} {
				want, err := HeaderFields(r, head.Header(), list, not, lim)
				if err != nil {
					t.Fatal(err)
				}
				if got := NewFieldSet(list, not).Append([]byte("before"), msg[:end], lim); string(got) != "before"+string(want) {
					t.Fatalf("fields %q, not %v: %q, want %q", list, not, got, want)
				}
			}
		}
	}
	date := NewFieldSet([]string{"Date"}, false).Append(nil, msg[:end], lim)
	was, ok := ParseDate(head.Envelope.Date)
	if is, iok := HeaderDate(date, lim); iok != ok || ok && !is.Equal(was) {
		t.Fatalf("date %v %v, want %v %v", is, iok, was, ok)
	}
	tree, err := Parse(r, int64(len(msg)), lim)
	if err != nil {
		t.Fatal(err)
	}
	var parser Parser
	parser.ParseBytes([]byte("Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nbefore"), lim)
	if got := AppendTree(nil, parser.ParseBytes(msg, lim)); !bytes.Equal(got, AppendTree(nil, tree)) {
		t.Fatalf("the tree of the bytes is %q, want %q", got, AppendTree(nil, tree))
	}
	if got := AppendTree(nil, parser.ParseHeaderBytes(msg, lim)); !bytes.Equal(got, AppendTree(nil, head)) {
		t.Fatalf("the head of the bytes is %q, want %q", got, AppendTree(nil, head))
	}
	want, err := key.InBody(r, tree, lim)
	got, gerr := key.InBodyBytes(msg, tree, lim)
	if got != want || err != nil || gerr != nil {
		t.Fatalf("%q in the body: %v %v, want %v %v", text, got, gerr, want, err)
	}
	want, err = key.InText(r, tree, lim)
	got, gerr = key.InTextBytes(msg, tree, lim)
	if got != want || err != nil || gerr != nil {
		t.Fatalf("%q in the text: %v %v, want %v %v", text, got, gerr, want, err)
	}
}

func TestShortWays(t *testing.T) {
	for i, msg := range oddMail {
		for _, key := range oddKeys {
			t.Run(fmt.Sprintf("%d %.20q", i, key), func(t *testing.T) { samePair(t, []byte(msg), key) })
		}
	}
}

func FuzzShortWays(f *testing.F) {
	for i, msg := range oddMail {
		f.Add([]byte(msg), oddKeys[i%len(oddKeys)])
	}
	f.Fuzz(samePair)
}

// Limits cut the short way where they cut the long one.
func TestShortWaysAtLimits(t *testing.T) {
	msg := []byte("Subject: " + strings.Repeat("x", 50) + " needle\r\nTo: a\r\nSubject: late\r\n\r\n")
	r := bytes.NewReader(msg)
	for n := 1; n < 120; n++ {
		for _, lim := range []Limits{{HeaderBytes: int64(n)}, {FieldBytes: n}, {HeaderBytes: int64(n), FieldBytes: n / 2}} {
			for _, text := range []string{"needle", "late"} {
				key, _ := NewKey("", []byte(text))
				want, _ := key.InHeader(r, &Part{BodyStart: int64(len(msg))}, "Subject", lim)
				if got := key.InHeaderBytes(msg, "Subject", lim); got != want {
					t.Fatalf("%+v: %v, want %v", lim, got, want)
				}
			}
			want, _ := HeaderFields(r, Range{0, int64(len(msg))}, []string{"subject"}, false, lim)
			if got := NewFieldSet([]string{"Subject"}, false).Append(nil, msg, lim); !bytes.Equal(got, want) {
				t.Fatalf("%+v: %q, want %q", lim, got, want)
			}
		}
	}
}

// Charsets that are taken for supersets of ASCII are.
func TestLikeASCII(t *testing.T) {
	all := make([]byte, 128)
	for i := range all {
		all[i] = byte(i)
	}
	names := append(CharsetNames(), "", "x-none", "latin1", "cp437", "macintosh", "x-mac-cyrillic", "koi8-u", "ibm866", "cp850", "utf-32", "hz-gb-2312", "iso-2022-kr")
	for i := range 16 {
		names = append(names, fmt.Sprintf("iso-8859-%d", i+1), fmt.Sprintf("windows-%d", 1250+i))
	}
	for _, name := range names {
		if kindOf(name) == stateful {
			continue
		}
		if got := appendDecoded(nil, name, all); !bytes.Equal(got, all) {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, name := range []string{"utf-7", "utf-16", "utf-32", "iso-2022-jp", "hz-gb-2312", "iso-2022-kr"} {
		if kindOf(name) != stateful {
			t.Errorf("%s is taken for a superset of ASCII", name)
		}
	}
}

// The search for the rarest character finds what a search in a folded copy does.
func FuzzInASCII(f *testing.F) {
	f.Add("the quick brown fox jumps over the lazy dog, again and again and again, until nobody looks any more", "LAZY")
	f.Add(strings.Repeat("aA", 200), strings.Repeat("a", 90)+"b")
	f.Add(strings.Repeat("ab", 200)+"c", "abc")
	f.Fuzz(func(t *testing.T, text, want string) {
		if len(want) == 0 || !isASCII([]byte(text)) || !isASCII([]byte(want)) {
			return
		}
		key, _ := NewKey("", []byte(want))
		if got := key.inASCII([]byte(text)); got != strings.Contains(strings.ToUpper(text), strings.ToUpper(want)) {
			t.Fatalf("%q in %q: %v", want, text, got)
		}
	})
}

func BenchmarkSearchBodyPair(b *testing.B) {
	msg := []byte("Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + strings.Repeat("The meeting about the budget is next week, please see the draft of the report.\r\n", 70))
	tree, _ := Parse(bytes.NewReader(msg), int64(len(msg)), Limits{})
	key, _ := NewKey("", []byte("quicksilver"))
	b.Run("long", func(b *testing.B) {
		for b.Loop() {
			key.InBody(bytes.NewReader(msg), tree, Limits{})
		}
	})
	b.Run("short", func(b *testing.B) {
		for b.Loop() {
			key.InBodyBytes(msg, tree, Limits{})
		}
	})
}

func BenchmarkSearchField(b *testing.B) {
	field := []byte("Subject: Re: meeting budget draft the report\r\n\r\n")
	key, _ := NewKey("", []byte("zanzibar"))
	for b.Loop() {
		key.InHeaderBytes(field, "Subject", Limits{})
	}
}

func BenchmarkHeadToEnvelope(b *testing.B) {
	msg := benchMail()
	var p Parser
	b.ReportAllocs()
	for b.Loop() {
		head, _ := p.ParseHeader(bytes.NewReader(msg), int64(len(msg)), Limits{})
		AppendEnvelope(nil, head.Envelope, Limits{})
	}
}

func benchMail() []byte {
	hop := "Received: from mx1.example.org (mx1.example.org [192.0.2.7])\r\n\tby hub1.example.net (Postfix) with ESMTPS id 7F3A21\r\n\tfor <ann@example.org>; Fri, 01 Mar 2019 08:00:00 +0000\r\n"
	return []byte("Return-Path: <a@example.org>\r\n" + hop + hop + "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s1;\r\n\th=from:to:subject; bh=12ab;\r\n\tb=0123456789abcdef\r\n" +
		"Date: Fri, 01 Mar 2019 08:00:00 +0000\r\nFrom: Ann Archer <aarcher@example.org>\r\nTo: Bertil Borg <bborg@example.org>\r\nCc: \"Chiara\" <c@example.org>, team@example.com\r\n" +
		"Subject: Re: meeting budget draft the report\r\nMessage-ID: <m17@example.org>\r\nIn-Reply-To: <m16@example.org>\r\nReferences: <m15@example.org> <m16@example.org>\r\n" +
		"MIME-Version: 1.0\r\nUser-Agent: Letterbox/3.1\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + strings.Repeat("text of a line\r\n", 200))
}
