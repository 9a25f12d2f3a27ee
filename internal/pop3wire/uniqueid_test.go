package pop3wire

import (
	"strings"
	"testing"
)

func TestUniqueID(t *testing.T) {
	for id, want := range map[string]string{
		"!":                     "!",
		"~a1~":                  "~a1~",
		strings.Repeat("x", 70): strings.Repeat("x", 70),
		// What MD5 makes of the others:
		"":                      "d41d8cd98f00b204e9800998ecf8427e",
		"a b":                   "0cc9cd4dd26c5137b675a0d819cb9ab0",
		"tab\t":                 "706dd99c2264220ae62694b02ea7e5aa",
		"del\x7f":               "338c482ea9380021306a830e0f0e2f5c",
		"\u00e9":                "66ddcd97cfdeabb2f6fb8a999b4bc76f",
		strings.Repeat("x", 71): "522966f2ff9ab1543c945d48ee25045b",
	} {
		if got := UniqueID(id); got != want {
			t.Errorf("%q: %q, want %q", id, got, want)
		}
	}
}
