package imaplang

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// Every text stands once, in all languages, and can be written as resp-text of
// RFC 5255 §3.5; the English one in US-ASCII.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range table {
		if seen[r.english] {
			t.Errorf("%q stands twice", r.english)
		}
		seen[r.english] = true
		for i := range len(r.english) {
			if r.english[i] >= 0x80 {
				t.Errorf("%q is not US-ASCII", r.english)
			}
		}
		for _, other := range r.other {
			if other == "" || !utf8.ValidString(other) || other[0] == '[' || strings.ContainsFunc(other, func(c rune) bool { return c < ' ' || c == 0x7f }) {
				t.Errorf("%q: %q cannot be written", r.english, other)
			}
			if strings.Count(other, "%") != strings.Count(r.english, "%") {
				t.Errorf("%q: %q has other places for words", r.english, other)
			}
		}
	}
}

func TestText(t *testing.T) {
	for _, test := range []struct{ tag, english, want string }{
		{"de", "Still here", "Noch da"}, {"fr", "Still here", "Toujours là"}, {"es", "Still here", "Sigo aquí"}, {"ja", "Still here", "接続中です"},
		{"en", "Still here", "Still here"}, {Default, "Still here", "Still here"}, {"de", "No such text", "No such text"}, {"xx", "Still here", "Still here"},
		{"de", "Mailbox names begin with A/ here.", "Namen von Postfächern beginnen hier mit A/."},
		{"de", "Mailbox names begin with here.", "Mailbox names begin with here."},
		{"fr", "Filter 100% holds no search keys.", "Le filtre 100% ne contient pas de critères."},
	} {
		if got := Text(test.tag, test.english); got != test.want {
			t.Errorf("%s, %q: %q", test.tag, test.english, got)
		}
	}
}

// RFC 4647 §3.4, RFC 5255 §3.2: the first range that names a language, cut at its end.
func TestMatch(t *testing.T) {
	for _, test := range []struct{ ranges, want string }{
		{"de", "de"}, {"DE-IT", "de"}, {"fr-ca en-ca", "fr"}, {"it es", "es"}, {"mul", ""}, {"default", Default}, {"*", Default}, {"I-Default", Default},
		{"ja-x-private", "ja"}, {"zh-x-de", ""}, {"", ""}, {"e", ""}, {"deu", ""},
	} {
		got, ok := Match(strings.Fields(test.ranges))
		if got != test.want || ok != (test.want != "") {
			t.Errorf("%s: %q, %v", test.ranges, got, ok)
		}
	}
	for _, good := range []string{"de", "*", "x-1", "abcdefgh-12345678", "default"} {
		if !Valid(good) {
			t.Errorf("%q is no range", good)
		}
	}
	for _, bad := range []string{"", "-", "de-", "-de", "d1", "abcdefghi", "de_AT", "de AT", "d\u00e9", "de-*", strings.Repeat("a-", 40) + "a"} {
		if Valid(bad) {
			t.Errorf("%q is a range", bad)
		}
	}
}
