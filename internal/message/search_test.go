package message

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"rookery/internal/errkind"
)

func mustKey(t testing.TB, charset, text string) *Key {
	t.Helper()
	k, err := NewKey(charset, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestFold(t *testing.T) {
	cases := []struct{ a, b string }{
		{"hello", "HELLO"},
		{"straße", "STRAßE"},
		{"É", "é"},
		{"é", "e\u0301"},
		{"ﬁ", "fi"},
		{"ǆ", "Ǆ"},
		{"ǆ", "ǅ"},
		{"ǆ", "dz\u030c"},
		{"Ω", "ω"},
		{"Ω", "\u2126"}, // Ohm sign
		{"ς", "Σ"},
		{"１２", "12"},
		{"한", "\u1112\u1161\u11ab"},
		{"가", "\u1100\u1161"},
		{"İ", "i\u0307"},
	}
	for _, c := range cases {
		a, b := appendFold(nil, []byte(c.a)), appendFold(nil, []byte(c.b))
		if !bytes.Equal(a, b) {
			t.Errorf("%q folds to %q, %q to %q", c.a, a, c.b, b)
		}
	}
	for _, c := range []struct{ a, b string }{{"e", "é"}, {"a", "b"}, {"ı", "j"}} {
		if bytes.Equal(appendFold(nil, []byte(c.a)), appendFold(nil, []byte(c.b))) {
			t.Errorf("%q and %q fold alike", c.a, c.b)
		}
	}
}

const searchMail = `From: =?utf-8?Q?J=C3=B6rg?= <joerg@example.org>
Subject: =?iso-2022-jp?B?GyRCRnxLXBsoQg==?= folded
 subject
Content-Type: multipart/mixed; boundary=b

preamble is no text
--b
Content-Type: text/plain; charset=koi8-r
Content-Transfer-Encoding: quoted-printable
Content-Description: attached thing

=F0=D2=C9=D7=C5=D4
--b
Content-Type: application/octet-stream
Content-Transfer-Encoding: base64

c2VjcmV0
--b
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: base64

PGI+U3RyYcOfZTwvYj4=
--b
Content-Type: message/rfc822

Subject: inner =?utf-8?Q?caf=C3=A9?=
Content-Type: text/plain; charset=x-nope

inner b` + "\xe9" + `
--b--
epilogue is no text
`

func TestSearch(t *testing.T) {
	msg := crlf(searchMail)
	r := strings.NewReader(msg)
	root := mustParse(t, msg)
	cases := []struct {
		charset, key string
		body, text   bool
	}{
		{"utf-8", "привет", true, true},
		{"utf-8", "ПРИВЕТ", true, true},
		{"koi8-r", "\xd0\xd2\xc9\xd7", true, true},
		{"iso-2022-jp", "\x1b$BF|K\\\x1b(B", false, true},
		{"", "STRA", true, true},
		{"utf-8", "straße", true, true},
		{"", "secret", false, false},
		{"", "preamble", false, false},
		{"", "epilogue", false, false},
		{"", "ATTACHED thing", false, true},
		{"", "folded subject", false, true},
		{"", "subject: inner", false, true},
		{"utf-8", "inner café", false, true},
		{"utf-8", "inner bé", true, true},
		{"utf-8", "jörg <", false, true},
		{"", "jorg", false, false},
		{"", "", true, true},
		{"", "c2VjcmV0", false, false},
	}
	for _, c := range cases {
		k := mustKey(t, c.charset, c.key)
		body, err1 := k.InBody(r, root, Limits{})
		text, err2 := k.InText(r, root, Limits{})
		if body != c.body || text != c.text || err1 != nil || err2 != nil {
			t.Errorf("%q: body %v, text %v, %v %v", c.key, body, text, err1, err2)
		}
	}
}

func TestSearchHeader(t *testing.T) {
	msg := crlf(searchMail)
	r := strings.NewReader(msg)
	root := mustParse(t, msg)
	cases := []struct {
		name, key string
		want      bool
	}{
		{"FROM", "jörg", true},
		{"from", "JOERG@", true},
		{"Subject", "日本 FOLDED subject", true},
		{"Subject", "inner", false},
		{"To", "", false},
		{"From", "", true},
		{"X-None", "x", false},
	}
	for _, c := range cases {
		got, err := mustKey(t, "utf-8", c.key).InHeader(r, root, c.name, Limits{})
		if got != c.want || err != nil {
			t.Errorf("%s %q: %v, %v", c.name, c.key, got, err)
		}
	}
}

func TestNewKeyUnknownCharset(t *testing.T) {
	if _, err := NewKey("x-nope", []byte("x")); errkind.Of(err) != errkind.Invalid {
		t.Errorf("%v", err)
	}
}

// TestSearchStraddles finds a key at every offset around the borders of chunks,
// also when the text comes byte by byte.
func TestSearchStraddles(t *testing.T) {
	for _, text := range []string{"needle", "привет мир", "é", strings.Repeat("ab", 20_000) + "c"} {
		k := mustKey(t, "utf-8", text)
		for off := searchChunk - 20; off < searchChunk+5; off++ {
			hay := strings.Repeat("x", off) + strings.ToUpper(text) + "tail"
			if found, err := k.InReader(strings.NewReader(hay)); !found || err != nil {
				t.Fatalf("%.20q at %d: %v, %v", text, off, found, err)
			}
			if found, _ := k.InReader(strings.NewReader(hay[:off+len(text)-1])); found {
				t.Fatalf("%.20q cut at %d was found", text, off)
			}
		}
		hay := strings.Repeat("x", searchChunk-1) + text
		if found, _ := k.InReader(slowReader{strings.NewReader(hay)}); !found {
			t.Errorf("%.20q was not found byte by byte", text)
		}
	}
}

func TestSearchReaderErrors(t *testing.T) {
	msg := crlf("Subject: x\n\n" + strings.Repeat("text\n", 20_000))
	root := mustParse(t, msg)
	k := mustKey(t, "", "absent")
	if _, err := k.InBody(failingReader{strings.NewReader(msg), 50_000}, root, Limits{}); !errors.Is(err, errDisk) {
		t.Errorf("body: %v", err)
	}
	if _, err := k.InText(failingReader{strings.NewReader(msg), 5}, root, Limits{}); !errors.Is(err, errDisk) {
		t.Errorf("text: %v", err)
	}
	if _, err := k.InBody(strings.NewReader(msg[:50_000]), root, Limits{}); errkind.Of(err) != errkind.Corrupt {
		t.Errorf("a message that shrank: %v", err)
	}
}

// TestSearchMemory searches 50 MB of base64 and of one long line.
func TestSearchMemory(t *testing.T) {
	head := crlf("Content-Type: text/plain; charset=gb18030\nContent-Transfer-Encoding: base64\n\n")
	r := &repeatReader{head: head, unit: "1tC5+tbQ", size: 50 << 20}
	root, err := Parse(r, r.size, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	k := mustKey(t, "utf-8", "中国中国x")
	grown := allocated(func() {
		if found, err := k.InText(r, root, Limits{}); found || err != nil {
			t.Errorf("%v, %v", found, err)
		}
	})
	if grown > 1<<20 {
		t.Errorf("%d bytes were allocated", grown)
	}
}

func FuzzSearch(f *testing.F) {
	f.Add([]byte(crlf(searchMail)), "привет")
	f.Fuzz(func(t *testing.T, msg []byte, key string) {
		r := bytes.NewReader(msg)
		root, err := Parse(r, int64(len(msg)), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		k := mustKey(t, "utf-8", key)
		body, err1 := k.InBody(r, root, Limits{})
		text, err2 := k.InText(r, root, Limits{})
		_, err3 := k.InHeader(r, root, "subject", Limits{})
		if err1 != nil || err2 != nil || err3 != nil || (body && !text) {
			t.Fatalf("%v %v, %v %v %v", body, text, err1, err2, err3)
		}
		whole := k.InString(string(msg))
		if found, err := k.InReader(io.MultiReader(bytes.NewReader(msg))); err != nil || found != whole {
			t.Fatalf("found %v in one piece, %v in chunks", whole, found)
		}
	})
}
