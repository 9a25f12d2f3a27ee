package message

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestDecodeHeader(t *testing.T) {
	cases := []struct{ in, want string }{
		{"plain text", "plain text"},
		{"=?utf-8?Q?caf=C3=A9?=", "café"},
		{"=?UTF-8?b?Y2Fmw6k=?=", "café"},
		{"=?iso-8859-1?Q?a=20b_c?= d", "a b c d"},
		{"=?utf-8?q?a?= =?utf-8?q?b?=", "ab"},
		{"=?utf-8?q?a?=\t \t=?utf-8?b?Yg==?= c", "ab c"},
		{"=?utf-8?q?a?= x =?utf-8?q?b?=", "a x b"},
		{"=?utf-8?q?a?==?utf-8?q?b?=", "ab"},
		// A character cut in two words of one charset.
		{"=?utf-8?q?=C3?= =?utf-8?q?=A9?=", "é"},
		{"=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "日本"},
		{"=?koi8-r?Q?=D0=D2?= =?windows-1251?Q?=EF=F0?=", "прпр"},
		{"=?us-ascii*en?Q?hi?=", "hi"},
		{"=?utf-8?Q?with space?=", "with space"},
		{"=?utf-8?Q?broken=4?=", "broken=4"},
		{"raw caf\xc3\xa9 and caf\xe9", "raw café and café"},
		{"=?nope?Q?x=E9?=", "xé"},
		// Broken words pass.
		{"=?utf-8?Q?no end", "=?utf-8?Q?no end"},
		{"=?utf-8?X?what?=", "=?utf-8?X?what?="},
		{"=??Q?x?=", "=??Q?x?="},
		{"=?utf-8?Q", "=?utf-8?Q"},
		{"=?", "=?"},
		{"=?utf-8?Q?a =?utf-8?Q?b?=", "=?utf-8?Q?a b"},
		{"=?utf-8?Q??=", ""},
		{"", ""},
	}
	for _, c := range cases {
		if got := DecodeHeaderString(c.in); got != c.want {
			t.Errorf("%q: got %q, want %q", c.in, got, c.want)
		}
	}
}

// RFC 5255 §4.6: what cannot be converted is taken as octets, all of it.
func TestDecodeForOrder(t *testing.T) {
	for _, c := range []struct {
		in, want  string
		converted bool
	}{
		{"", "", true},
		{"plain caf\xc3\xa9", "plain café", true},
		{"=?utf-8?Q?caf=C3=A9?= =?iso-8859-1?Q?=E9?=", "caféé", true},
		{"=?utf-8?q?=C3?= =?utf-8?q?=A9?=", "é", true},
		{"=?koi8-r?Q?=D0=D2?=", "пр", true},
		{"=?us-ascii?Q?x=C3=A9?=", "xé", true},
		{"=?nope?Q?a?=", "a", false},
		{"=?nope?Q?a?= b =?utf-8?Q?c=C3=A9?=", "a b c\xc3\xa9", false},
		{"=?utf-8?Q?x=E9?= y", "x\xe9 y", false},
		{"=?utf-8?q?=C3?= =?koi8-r?q?=A9?=", "\xc3\xa9", false},
		{"=?gb18030?Q?=FF?=", "\xff", false},
		{"raw caf\xe9", "raw caf\xe9", false},
	} {
		if got, converted := DecodeForOrder(c.in); got != c.want || converted != c.converted {
			t.Errorf("%q: got %q, %v, want %q, %v", c.in, got, converted, c.want, c.converted)
		}
	}
}

// TestDecodeHeaderLinear shows that starts without ends are not looked at again
// and again: quadratic work on this input would take minutes.
func TestDecodeHeaderLinear(t *testing.T) {
	for _, piece := range []string{"=?a?q?x", "=?a?q?", "=?", "=?a?q?=", "=?=?a?q??"} {
		in := strings.Repeat(piece, 300_000)
		if got := DecodeHeaderString(in); len(got) > 3*len(in) {
			t.Errorf("%q grew to %d", piece, len(got))
		}
	}
}

func FuzzDecodeHeader(f *testing.F) {
	f.Add([]byte("=?utf-8?Q?caf=C3=A9?= =?iso-2022-jp?B?GyRCRnxLXBsoQg==?= x"))
	f.Add([]byte("=?utf-7?Q?+AOk-?= \xe9 =?a?b?"))
	f.Add([]byte("=?iso-2022-kr?Q?=1B$)C=0E!!=0F?="))
	f.Fuzz(func(t *testing.T, b []byte) {
		got := DecodeHeader(nil, b)
		if !utf8.Valid(got) {
			t.Fatalf("%q gave invalid UTF-8 %q", b, got)
		}
		if len(got) > 8*len(b)+8 {
			t.Fatalf("%d bytes grew to %d", len(b), len(got))
		}
		if text, converted := DecodeForOrder(string(b)); converted && text != string(got) || !converted && len(text) > len(b) {
			t.Fatalf("%q: %q, %v; decoded %q", b, text, converted, got)
		}
	})
}
