package control

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"rookery/internal/imapname"
)

func FuzzSubscriptions(f *testing.F) {
	f.Add("V\t2\n\nINBOX\na\tb\n")
	f.Add("INBOX\na.b\nT&APY-\n")
	f.Add("V\t2\nx\x01ty\n")
	f.Fuzz(func(t *testing.T, text string) {
		l := parseSubs(text, '.')
		out := l.format()
		again := parseSubs(string(out), '.')
		if l.v1 && len(l.lines) == 0 {
			return // nothing says which version an empty file had
		}
		if len(l.lines) > 0 && strings.HasPrefix(l.lines[0].raw, "V\t2") {
			return // a first name that looks like the header
		}
		if again.v1 != l.v1 && len(l.lines) > 0 || !slices.Equal(again.lines, l.lines) {
			t.Fatalf("%q\n%q\n%+v\n%+v", text, out, l, again)
		}
		for _, x := range l.lines {
			if x.name != "" && imapname.Name(x.name).Check() != nil {
				t.Fatalf("%q", x.name)
			}
		}
		if !bytes.Equal(again.format(), out) {
			t.Fatal("not stable")
		}
		l.asV2().format()
	})
}

func FuzzValidity(f *testing.F) {
	f.Add("00000000000000000007\n")
	f.Add("6550abcd")
	f.Fuzz(func(t *testing.T, s string) {
		if v := parseHex8(s); v > 0 && fmt.Sprintf("%08x", v) != strings.ToLower(s) {
			t.Fatalf("%q is read as %08x", s, v)
		}
	})
}
