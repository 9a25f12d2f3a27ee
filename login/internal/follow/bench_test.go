package follow

import (
	"bytes"
	"testing"
)

// BenchmarkWorker follows what a worker says, in the portions of the relay: the cost
// beside that of TLS for the same bytes, which is about 1 ms for 1 MB.
func BenchmarkWorker(b *testing.B) {
	for _, kind := range []struct{ name, text string }{
		{"bodies", "* 1 FETCH (BODY[] {1000000}\r\n" + string(make([]byte, 1_000_000)) + ")\r\n"},
		{"small", "* 1 FETCH (UID 1 BODY[] {4000}\r\n" + string(make([]byte, 4000)) + ")\r\n"},
		{"flags", "* 12345 FETCH (UID 23456 FLAGS (\\Seen $Junk) MODSEQ (1234567890123))\r\n"},
		{"envelopes", `* 12345 FETCH (UID 23456 FLAGS (\Seen) ENVELOPE ("Mon, 7 Feb 1994 21:52:25 -0800 (PST)" "afternoon meeting" (("Fred Foobar" NIL "foobar" "Blurdybloop.example")) (("Fred Foobar" NIL "foobar" "Blurdybloop.example")) NIL NIL NIL NIL NIL "<B27397-0100000@Blurdybloop.example>"))` + "\r\n"},
		{"escapes", `* LIST () "/" "a \"b\" c \\ d"` + "\r\n"},
	} {
		b.Run(kind.name, func(b *testing.B) {
			all := bytes.Repeat([]byte(kind.text), 16<<20/len(kind.text))
			b.SetBytes(int64(len(all)))
			b.ReportAllocs()
			for b.Loop() {
				s := New("a0")
				for rest := all; len(rest) > 0; {
					n := min(16<<10, len(rest))
					if err := s.Worker(rest[:n]); err != nil {
						b.Fatal(err)
					}
					rest = rest[n:]
				}
			}
		})
	}
}
