package preview

import (
	"errors"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"rookery/internal/message"
)

// of makes a preview of a message that is written with LF.
func of(t *testing.T, text string) string {
	t.Helper()
	text = strings.ReplaceAll(text, "\n", "\r\n")
	root, err := message.Parse(strings.NewReader(text), int64(len(text)), message.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	got, err := Of(strings.NewReader(text), root)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

const mixed = "Content-Type: multipart/mixed; boundary=b\n\n"

func TestOf(t *testing.T) {
	for name, c := range map[string]struct{ msg, want string }{
		"plain":             {"Subject: x\n\n  Hello,\n\n\tthis is\x01 text.\n", "Hello, this is text."},
		"nothing":           {"Subject: x\n\n", ""},
		"blanks":            {"Subject: x\n\n \n\t\n", ""},
		"charset":           {"Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\ngr=FC=DFe=\n aus K=F6ln\n", "grüße aus Köln"},
		"base64":            {"Content-Transfer-Encoding: base64\nContent-Type: text/plain; charset=utf-8\n\nR3LDvMOfZQo=\n", "Grüße"},
		"quotes":            {"Subject: x\n\n> You wrote this\n> and that\nYes.\n> more\nAnd no.\n", "Yes. And no."},
		"quotes alone":      {"Subject: x\n\n> You wrote this\n> and that\n", "> You wrote this > and that"},
		"html":              {"Content-Type: text/html\n\n<html><head><title>T</title><style>p{}</style></head><body><p>One<p>two</body>", "One two"},
		"alternative":       {"Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/html\n\n<b>rich</b>\n--b\n\nplain\n--b--\n", "plain"},
		"empty alternative": {"Content-Type: multipart/alternative; boundary=b\n\n--b\n\n \n--b\nContent-Type: text/html\n\n<b>ri</b>ch\n--b--\n", "rich"},
		"no attachment":     {mixed + "--b\nContent-Disposition: attachment\n\nnot this\n--b\nContent-Disposition: inline\n\nthis\n--b--\n", "this"},
		"attachment alone":  {"Content-Disposition: ATTACHMENT; filename=a.txt\n\nnot this\n", ""},
		"no inner message":  {mixed + "--b\nContent-Type: message/rfc822\n\nSubject: y\n\nnot this\n--b\n\nthis\n--b--\n", "this"},
		"image first":       {mixed + "--b\nContent-Type: image/png\n\nxx\n--b\n\nthis\n--b--\n", "this"},
		"calendar":          {"Content-Type: text/calendar\n\nBEGIN:VCALENDAR\n", ""},
		"related":           {"Content-Type: multipart/related; boundary=b\n\n--b\nContent-Type: text/html\n\n<img>\n--b\n\nnot this\n--b--\n", ""},
		"signed":            {"Content-Type: multipart/signed; boundary=b\n\n--b\n\nthis\n--b\n\nnot this\n--b--\n", "this"},
		"encrypted":         {"Content-Type: multipart/encrypted; boundary=b\n\n--b\n\nVersion: 1\n--b\n\nnot this\n--b--\n", ""},
		"encrypted within":  {mixed + "--b\nContent-Type: application/pkcs7-mime\n\nxx\n--b\n\nA list's footer\n--b--\n", ""},
	} {
		if got := of(t, c.msg); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// Of many parts only some are tried, and of a long one only the beginning.
func TestBounds(t *testing.T) {
	if got := of(t, mixed+strings.Repeat("--b\n\n \n", maxTexts-1)+"--b\n\nlast\n--b--\n"); got != "last" {
		t.Errorf("%q", got)
	}
	if got := of(t, mixed+strings.Repeat("--b\n\n \n", maxTexts)+"--b\n\ntoo late\n--b--\n"); got != "" {
		t.Errorf("%q", got)
	}
	if got := of(t, "Subject: x\n\n"+strings.Repeat(" ", plainBytes)+"too late\n"); got != "" {
		t.Errorf("%q", got)
	}
}

// RFC 8970 §3.3: 200 characters, not octets; a space is none at the end.
func TestLength(t *testing.T) {
	long := strings.Repeat("ü", Chars)
	for body, want := range map[string]string{
		long + "x":                       long,
		long[:2*(Chars-1)] + " xy":       long[:2*(Chars-1)],
		long[:2*(Chars-2)] + " xy":       long[:2*(Chars-2)] + " x",
		strings.Repeat("a ", Chars):      strings.Repeat("a ", Chars/2-1) + "a",
		long[:2*(Chars-1)] + "\u200dxyz": long[:2*(Chars-1)] + "\u200d",
	} {
		if got, err := fromPlain(strings.NewReader(body), false); err != nil || got != want {
			t.Errorf("%q:\n got %q, %v\nwant %q", body, got, err, want)
		}
	}
}

// Characters that nobody sees fill no preview, and those that join others stay.
func TestUnseen(t *testing.T) {
	for text, want := range map[string]string{
		"\u200c \u00a0\u200c\u00a0a\u00adb \u034f \ufeffc\u200bd": "ab c d",
		"\u202eabc":                      "abc",
		"\U0001f468\u200d\U0001f469":     "\U0001f468\u200d\U0001f469",
		"\u0645\u06cc\u200c\u062e\u06c1": "\u0645\u06cc\u200c\u062e\u06c1",
		"a\u200d b":                      "a b",
	} {
		if got, err := fromPlain(strings.NewReader(text), false); err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
}

func TestHTML(t *testing.T) {
	for text, want := range map[string]string{
		"a<b>b</b>c<br>d<div>e</div>f":               "abc d e f",
		"<script>if (a<b) x('</div>');</script>y":    "y",
		"<STYLE type='a>b'>p {}</STYLE >y":           "y",
		"<!-- a > b --><!--[if mso]>no<![endif]-->y": "y",
		"<!-->y<!--->z":                              "yz",
		"<!--a--!>y":                                 "y",
		"<!DOCTYPE html><?xml version='1.0'?>y":      "y",
		"<img alt=\"a>b\" src='c>d'>y":               "y",
		"<a title=it's>y</a>":                        "y",
		"<p title = \"a\">y":                         "y",
		"1 < 2 &amp;&lt; 3&nbsp;&#x2014;&#8212; &eacute;&EACUTE; &copy 4 & 5 &nosuch; &": "1 < 2 &< 3 —— é&EACUTE; © 4 & 5 &nosuch; &",
		"&#1;&#0;x":        "\ufffdx",
		"<":                "<",
		"x<br":             "x",
		"x<!--":            "x",
		"x<script>":        "x",
		"x<a href='":       "x",
		"<o:p>x</o:p>y":    "x y",
		"gr&uuml;&szlig;e": "grüße",
		"<textarea><p>no</textarea><select><option>no</select>y": "y",
	} {
		if got, err := fromHTML(strings.NewReader(text)); err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
}

func TestErrors(t *testing.T) {
	broken := errors.New("broken")
	if _, err := fromHTML(iotest.ErrReader(broken)); err != broken {
		t.Error(err)
	}
	if _, err := fromPlain(iotest.ErrReader(broken), false); err != broken {
		t.Error(err)
	}
}

func check(t *testing.T, from, got string) {
	t.Helper()
	if !utf8.ValidString(got) || utf8.RuneCountInString(got) > Chars || strings.TrimSpace(got) != got || strings.ContainsAny(got, "\x00\r\n\t") || strings.Contains(got, "  ") {
		t.Errorf("%q gives %q", from, got)
	}
}

func FuzzHTML(f *testing.F) {
	for _, s := range []string{"<p>a&amp;b<!-- c -->", "<script><b></script>x", "<a b='c\">'>d", "&#x110000;&#xd800;&zwj;", "<\xff>\xfe"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := fromHTML(strings.NewReader(s))
		if err != nil {
			t.Error(err)
		}
		check(t, s, got)
		whole := got
		if got, _ = fromHTML(iotest.OneByteReader(strings.NewReader(s))); got != whole {
			t.Errorf("%q gives %q, byte by byte %q", s, whole, got)
		}
	})
}

func FuzzOf(f *testing.F) {
	f.Add("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>y\r\n--b--\r\n")
	f.Add("Content-Type: text/plain; charset=utf-7\r\nContent-Transfer-Encoding: base64\r\n\r\n+AAAA-")
	f.Fuzz(func(t *testing.T, s string) {
		root, err := message.Parse(strings.NewReader(s), int64(len(s)), message.DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		got, err := Of(strings.NewReader(s), root)
		if err != nil {
			t.Error(err)
		}
		check(t, s, got)
	})
}
