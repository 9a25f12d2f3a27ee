package abnf

import (
	"strings"
	"testing"
)

// Each class is written a second time here, as the plain sentence of its rule.
func TestClassesOverAllBytes(t *testing.T) {
	isCtl := func(b int) bool { return b < 0x20 || b == 0x7F }
	in := func(set string, b int) bool { return b < 0x80 && strings.IndexByte(set, byte(b)) >= 0 }
	isAlpha := func(b int) bool { return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' }
	isDigit := func(b int) bool { return b >= '0' && b <= '9' }
	isAtom := func(b int) bool { return b > 0 && b < 0x80 && !isCtl(b) && !in("(){ %*\"\\]", b) }
	isText := func(b int) bool { return b >= 1 && b <= 0x7F && b != '\r' && b != '\n' }
	tests := []struct {
		name  string
		class Class
		want  func(int) bool
	}{
		{"ALPHA", Alpha, isAlpha},
		{"DIGIT", Digit, isDigit},
		{"digit-nz", DigitNZ, func(b int) bool { return isDigit(b) && b != '0' }},
		{"HEXDIG", HexDigit, func(b int) bool { return isDigit(b) || in("abcdefABCDEF", b) }},
		{"CHAR", Char, func(b int) bool { return b >= 1 && b <= 127 }},
		{"CTL", Ctl, isCtl},
		{"CHAR8", Char8, func(b int) bool { return b != 0 }},
		{"VCHAR", VChar, func(b int) bool { return b > 0x20 && b < 0x7F }},
		{"WSP", WSP, func(b int) bool { return b == ' ' || b == '\t' }},
		{"list-wildcards", ListWildcards, func(b int) bool { return in("%*", b) }},
		{"quoted-specials", QuotedSpecials, func(b int) bool { return in("\"\\", b) }},
		{"resp-specials", RespSpecials, func(b int) bool { return b == ']' }},
		{"atom-specials", AtomSpecials, func(b int) bool { return isCtl(b) || in("(){ %*\"\\]", b) }},
		{"ATOM-CHAR", AtomChar, isAtom},
		{"ASTRING-CHAR", AstringChar, func(b int) bool { return isAtom(b) || b == ']' }},
		{"tag", TagChar, func(b int) bool { return (isAtom(b) || b == ']') && b != '+' }},
		{"list-char", ListChar, func(b int) bool { return isAtom(b) || in("%*]", b) }},
		{"TEXT-CHAR", TextChar, isText},
		{"QUOTED-CHAR", QuotedChar, func(b int) bool { return isText(b) && b != '"' && b != '\\' }},
		{"base64-char", Base64Char, func(b int) bool { return isAlpha(b) || isDigit(b) || b == '+' || b == '/' }},
		{"resp-text-code", CodeChar, func(b int) bool { return isText(b) && b != ']' }},
		{"sequence-set", SetChar, func(b int) bool { return isDigit(b) || in(":,*$", b) }},
		{"mailbox base64", MailboxBase64Char, func(b int) bool { return isAlpha(b) || isDigit(b) || b == '+' || b == ',' }},
		{"mailbox direct", MailboxDirectChar, func(b int) bool { return b >= 0x20 && b <= 0x7E && b != 0x26 }},
		{"ftext", FieldName, func(b int) bool { return b > 32 && b < 127 && b != ':' }},
		{"atext", AText, func(b int) bool { return isAlpha(b) || isDigit(b) || in("!#$%&'*+-/=?^_`{|}~", b) }},
		{"specials", Specials, func(b int) bool { return in("()<>[]:;@\\,.\"", b) }},
		{"MIME token", MIMEToken, func(b int) bool { return b > 32 && b < 127 && !in("()<>@,;:\\\"/[]?=", b) }},
		{"POP3", POP3Char, func(b int) bool { return b >= 0x20 && b < 0x7F }},
		{"unique-id", UIDLChar, func(b int) bool { return b >= 0x21 && b <= 0x7E }},
		{"POP3 space", POP3Space, func(b int) bool { return b == ' ' }},
	}
	for _, test := range tests {
		for b := 0; b < 256; b++ {
			if got := test.class.Has(byte(b)); got != test.want(b) {
				t.Errorf("%s.Has(%#02x) = %v, want %v", test.name, b, got, test.want(b))
			}
		}
	}
}

func TestSpanAndAll(t *testing.T) {
	if n := Digit.Span([]byte("123a4")); n != 3 {
		t.Errorf("Span = %d, want 3", n)
	}
	if n := Digit.Span([]byte("12")); n != 2 {
		t.Errorf("Span of all = %d, want 2", n)
	}
	if !Digit.All("") || !Digit.All("09") || Digit.All("0x9") {
		t.Error("All is wrong")
	}
	if Range('b', 'a') != (Class{}) {
		t.Error("a reversed range is not empty")
	}
	if Range(0, 255).Minus(Range(0, 255)) != (Class{}) {
		t.Error("all minus all is not empty")
	}
}
