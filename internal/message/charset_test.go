package message

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/transform"
)

func decodeAll(t testing.TB, charset, in string) string {
	t.Helper()
	d, ok := Decoder(charset)
	if !ok {
		t.Fatalf("no decoder for %q", charset)
	}
	got, err := io.ReadAll(transform.NewReader(slowReader{strings.NewReader(in)}, d))
	if err != nil {
		t.Fatalf("%s %q: %v", charset, in, err)
	}
	if once := string(appendDecoded(nil, charset, []byte(in))); once != string(got) {
		t.Errorf("%s %q: %q at once, %q byte by byte", charset, in, once, got)
	}
	return string(got)
}

func TestDecoder(t *testing.T) {
	cases := []struct{ charset, in, want string }{
		{"UTF-8", "h\xc3\xa9\xe2\x82\xac\U0001F600", "hé€😀"},
		{"utf8", "\xe9\xff bad", "éÿ bad"},
		{"us-ascii", "caf\xe9", "café"},
		{"ISO-8859-1", "caf\xe9", "café"},
		{"latin1", "\x80", "€"},
		{"iso-8859-2", "\xb1\xea", "ąę"},
		{"iso-8859-3", "\xa1", "Ħ"},
		{"iso-8859-4", "\xb6", "ļ"},
		{"iso-8859-5", "\xbf\xe0\xd8", "При"},
		{"iso-8859-6", "\xc7\xd1", "ار"},
		{"iso-8859-7", "\xe1\xe2", "αβ"},
		{"iso-8859-8-i", "\xe0\xe1", "אב"},
		{"iso-8859-9", "\xfd", "ı"},
		{"iso-8859-10", "\xa2", "Ē"},
		{"iso-8859-11", "\xa1", "ก"},
		{"iso-8859-13", "\xc6", "Ę"},
		{"iso-8859-14", "\xa1", "Ḃ"},
		{"ISO-8859-15", "\xa4", "€"},
		{"iso-8859-16", "\xa4", "€"},
		{"windows-1250", "\xb9\xea", "ąę"},
		{"cp1251", "\xcf\xf0\xe8", "При"},
		{"windows-1252", "\x93x\x94", "“x”"},
		{"windows-1253", "\xe1", "α"},
		{"windows-1254", "\xfd", "ı"},
		{"windows-1255", "\xe0", "א"},
		{"windows-1256", "\xc7", "ا"},
		{"windows-1257", "\xc6", "Ę"},
		{"windows-1258", "\xd0", "Đ"},
		{"KOI8-R", "\xf0\xd2\xc9", "При"},
		{"koi8-u", "\xa4", "є"},
		{"ISO-2022-JP", "\x1b$BF|K\\\x1b(B!", "日本!"},
		{"Shift_JIS", "\x93\xfa\x96\x7b", "日本"},
		{"cp932", "\x93\xfa", "日"},
		{"EUC-JP", "\xc6\xfc\xcb\xdc", "日本"},
		{"EUC-KR", "\xc7\xd1\xb1\xb9", "한국"},
		{"ks_c_5601-1987", "\xc7\xd1", "한"},
		{"ISO-2022-KR", "\x1b$)C\x0eGQ19\x0f!\n\x0eGQ\nab", "한국!\n한\nab"},
		{"GB2312", "\xd6\xd0\xb9\xfa", "中国"},
		{"gbk", "\xd6\xd0", "中"},
		{"GB18030", "\x94\x39\xda\x33\xd6\xd0", "💩中"},
		{"Big5", "\xa4\xa4\xb0\xea", "中國"},
		{"hz-gb-2312", "~{VP9z~}!", "中国!"},
		{"UTF-7", "Hi Mom -+Jjo--!", "Hi Mom -☺-!"},
		{"utf-7", "A+ImIDkQ. 1 +- 2 +2D3eAA-", "A≢Α. 1 + 2 😀"},
		{"utf-16le", "a\x00\xe9\x00", "aé"},
		{"UTF-16", "\xfe\xff\x00a", "a"},
		{"utf-32be", "\x00\x00\x00a", "a"},
		{"ibm866", "\x8f\xe0", "Пр"},
		{" \"UTF_8\" ", "x", "x"},
	}
	for _, c := range cases {
		if got := decodeAll(t, c.charset, c.in); got != c.want {
			t.Errorf("%s %q: got %q, want %q", c.charset, c.in, got, c.want)
		}
	}
	for _, name := range []string{"", "nope", "iso-8859-99", strings.Repeat("utf-8", 100), "iso-2022-cn"} {
		if _, ok := Decoder(name); ok {
			t.Errorf("there is a decoder for %q", name)
		}
	}
	for _, name := range CharsetNames() {
		if _, ok := Decoder(name); !ok {
			t.Errorf("%s is offered but not known", name)
		}
	}
}

func TestUTF7Broken(t *testing.T) {
	cases := []struct{ in, want string }{
		{"+", ""},
		{"+!", "!"},
		{"+A", ""},
		{"+2D0-x", "\ufffdx"},
		{"+2D0", "\ufffd"},
		{"+3eA-", "\ufffd"},
		{"+2D0AQQ-", "\ufffdA"},
		{"+AEE-+AEI-", "AB"},
		{"a\xe9b", "a\ufffdb"},
		{"+AEE\nx", "A\nx"},
	}
	for _, c := range cases {
		if got := decodeAll(t, "utf-7", c.in); got != c.want {
			t.Errorf("%q: got %q, want %q", c.in, got, c.want)
		}
	}
}

func TestISO2022KRBroken(t *testing.T) {
	for in, want := range map[string]string{
		"\x0eG":    "\ufffd",
		"\x0eG\n":  "\ufffd\n",
		"\x1b$":    "$",
		"\x0e\x0f": "",
		"\xff":     "\ufffd",
	} {
		if got := decodeAll(t, "iso-2022-kr", in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func FuzzDecoder(f *testing.F) {
	names := append(CharsetNames(), "iso-2022-kr", "utf-16", "utf-32", "hz-gb-2312", "nope")
	for i := range names {
		f.Add(i, []byte("a+Jjo-\x1b$)C\x0eGQ\x0f\xe9\xc3\xa9~{VP~}\x1b$BF|\x1b(B"))
	}
	f.Fuzz(func(t *testing.T, i int, in []byte) {
		name := names[uint(i)%uint(len(names))]
		once := appendDecoded(nil, name, in)
		if !utf8.Valid(once) || len(once) > 4*len(in)+4 {
			t.Fatalf("%s %q gave %q", name, in, once)
		}
		got, err := io.ReadAll(transform.NewReader(slowReader{bytes.NewReader(in)}, decoderOr(name)))
		if err != nil || !bytes.Equal(got, once) {
			t.Fatalf("%s %q: %q at once, %q byte by byte, %v", name, in, once, got, err)
		}
	})
}
