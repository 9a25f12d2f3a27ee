package saslprep

import (
	"errors"
	"testing"
)

// RFC 4013 §3's examples, and one for each rule.
func TestPrepare(t *testing.T) {
	for _, c := range []struct {
		in, want string
		bad      bool
	}{
		{"I\u00adX", "IX", false},
		{"user", "user", false},
		{"USER", "USER", false},
		{"\u00aa", "a", false},
		{"\u2168", "IX", false},
		{"\u0007", "", true},
		{"\u0627\u0031", "", true},
		{"\u0627\u0031\u0628", "\u0627\u0031\u0628", false},
		{"\u0627a\u0628", "", true},
		{"a\u00a0b", "a b", false},
		{"e\u0301", "\u00e9", false},
		{"\xff", "", true},
		{"a\u202eb", "", true},
		{"a\ufffdb", "", true},
		{"a\ue000b", "", true},
		{"a\x7fb", "", true},
		{"", "", false},
	} {
		got, err := Prepare(c.in)
		if got != c.want || (err != nil) != c.bad || (err != nil && !errors.Is(err, ErrProhibited)) {
			t.Errorf("Prepare(%q) = %q, %v; want %q, bad %v", c.in, got, err, c.want, c.bad)
		}
	}
}

// Preparing twice changes nothing more.
func FuzzPrepare(f *testing.F) {
	f.Add("I\u00adX")
	f.Add("\u0627\u0031\u0628")
	f.Fuzz(func(t *testing.T, s string) {
		once, err := Prepare(s)
		if err != nil {
			return
		}
		twice, err := Prepare(once)
		if err != nil || twice != once {
			t.Errorf("%q -> %q -> %q, %v", s, once, twice, err)
		}
	})
}
