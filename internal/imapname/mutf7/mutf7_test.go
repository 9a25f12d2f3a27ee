package mutf7

import (
	"errors"
	"testing"
	"unicode/utf8"
)

func TestDecode(t *testing.T) {
	tests := []struct {
		in, want string
		err      error
	}{
		{"INBOX", "INBOX", nil},
		{"", "", nil},
		{"a&-b", "a&b", nil},
		{"&Jjo-!", "☺!", nil},
		{"~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語", nil},
		{"&2D3eAA-", "😀", nil},
		{"&AAo-", "\n", nil},
		{"&-&AOk-", "&é", nil},
		{"&AOk-&-", "é&", nil},
		{"&AOk-x&AOk-", "éxé", nil},
		{"&", "", ErrUnended},
		{"a&AOk", "", ErrUnended},
		{"é", "", ErrEightBit},
		{"a\x00", "", ErrEightBit},
		{"a\x7f", "", ErrEightBit},
		{"&AEE-", "", ErrPrintable},
		{"&ACY-", "", ErrPrintable},
		{"&U,BTFw-&ZeVnLIqe-", "", ErrSuperfluous},
		{"&2D0-", "", ErrSurrogate},
		{"&3gA-", "", ErrSurrogate},
		{"&2D0AQQ-", "", ErrSurrogate},
		{"&A-", "", ErrBase64},
		{"&AOl-", "", ErrBase64}, // the two unused bits are not zero
		{"&AO-", "", ErrBase64},
		{"&AO/k-", "", ErrBase64},
		{"&AOk=-", "", ErrBase64},
		{"&AOk\n-", "", ErrBase64},
	}
	for _, test := range tests {
		got, err := Decode(test.in)
		if got != test.want || !errors.Is(err, test.err) {
			t.Errorf("Decode(%q) = %q, %v; want %q, %v", test.in, got, err, test.want, test.err)
		}
		if test.err == nil && Encode(test.want) != test.in {
			t.Errorf("Encode(%q) = %q, want %q", test.want, Encode(test.want), test.in)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{"a&-b", "&Jjo-", "&2D3eAA-x", "&AEE-", "&U,BTFw-&ZeVnLIqe-", "é", "&"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if decoded, err := Decode(s); err == nil {
			if !utf8.ValidString(decoded) || Encode(decoded) != s {
				t.Fatalf("Decode(%q) = %q, which is encoded as %q", s, decoded, Encode(decoded))
			}
		}
		if utf8.ValidString(s) {
			if back, err := Decode(Encode(s)); err != nil || back != s {
				t.Fatalf("Encode(%q) = %q reads back as %q, %v", s, Encode(s), back, err)
			}
		}
	})
}
