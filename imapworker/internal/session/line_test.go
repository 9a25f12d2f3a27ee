package session

import (
	"slices"
	"testing"

	"rookery/internal/transcript"
)

func TestCompress(t *testing.T) { transcript.Run(t, "testdata/compress/*.txt", openPeer) }

func TestUnauthenticate(t *testing.T) { transcript.Run(t, "testdata/unauthenticate/*.txt", openPeer) }

func TestMessageLimit(t *testing.T) { everywhere(t, "testdata/messagelimit/*.txt") }

func TestRev2(t *testing.T) { everywhere(t, "testdata/rev2/*.txt") }

func TestUTF8(t *testing.T) { everywhere(t, "testdata/utf8/*.txt") }

// What IMAP4rev2 has within it is told too, for clients that know it by its own word
// (RFC 9051 Appendix A, E 2); LITERAL- is within LITERAL+.
func TestRev2IsWhole(t *testing.T) {
	for _, word := range []string{"NAMESPACE", "UNSELECT", "UIDPLUS", "ESEARCH", "SEARCHRES", "ENABLE", "IDLE", "SASL-IR", "LIST-EXTENDED",
		"LIST-STATUS", "MOVE", "LITERAL+", "BINARY", "SPECIAL-USE", "STATUS=SIZE", "CHILDREN"} {
		if !slices.Contains(Words(), word) {
			t.Errorf("IMAP4rev2 without %s", word)
		}
	}
}

// An octet above 127 is found in the header alone, however it comes.
func TestHeaderScan(t *testing.T) {
	for _, test := range []struct {
		text string
		high bool
	}{
		{"", false}, {"Subject: x\r\n\r\n\xc3\xbc", false}, {"Subject: \xc3\xbc\r\n\r\nx", true}, {"\xc3", true}, {"\r\n\xc3", false},
		{"\n\xc3", false}, {"a: b\n\n\xc3", false}, {"a: b\r\n \r\n\xc3: x\r\n\r\n", true}, {"a: b\r\r\n\xc3: x", true}, {"a\xff", true},
	} {
		for piece := 1; piece <= len(test.text)+1; piece++ {
			var h headerScan
			for p := []byte(test.text); len(p) > 0; p = p[min(piece, len(p)):] {
				h.see(p[:min(piece, len(p))])
			}
			if h.high != test.high {
				t.Errorf("%q in pieces of %d: %v", test.text, piece, h.high)
			}
		}
	}
}
