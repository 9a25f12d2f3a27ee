// Package transcript replays golden dialogues against protocol machines.
//
// A transcript is a text file of lines:
//
//	# a comment
//	given: words that the test's own setup understands
//	C: a NOOP                what session 1 sends, CRLF added
//	C2: a NOOP               what session 2 sends
//	C" "raw\x00bytes"        what session 1 sends, a quoted Go string, nothing added
//	E: words                 an event that the test's own code understands
//	S: a OK NOOP completed.  a line that session 1 must receive
//	S2" "…\x80…"             the same, where the line is not printable
//	S! "+ "                  bytes without a line end
//
// Lines are exact and in order. C lines of one session that follow each other
// are sent in one piece, as a pipelining client does. After each block of C
// lines and each event, everything that every session received is compared.
//
// Each transcript is replayed whole and again byte by byte. With -update the S
// lines are rewritten; the diff is the review.
//
// Only tests use it. It must never know a protocol.
package transcript

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"rookery/internal/transcript/script"
)

var update = flag.Bool("update", false, "rewrite the S lines of transcripts")

// Peer is what a transcript is replayed against. Sessions count from 1; a
// session begins when it is first named.
type Peer interface {
	Send(session int, p []byte)
	Event(words string)
	Take(session int) []byte // what it has received since the last call
	Close()
}

// Sessions is how many sessions a transcript may have.
const Sessions = script.Sessions

// Run replays every transcript that matches pattern.
func Run(t *testing.T, pattern string, open func(t *testing.T, given []string) Peer) {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no transcript matches %s", pattern)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".txt")
		t.Run(name, func(t *testing.T) { replay(t, path, open) })
	}
}

// Variant is another Peer that transcripts are replayed against, too.
type Variant struct {
	Name  string
	Given []string               // lines that come before those of the transcript
	But   func(name string) bool // transcripts that are left out; nil: none
}

// RunIn is Run, and then once more for each variant.
func RunIn(t *testing.T, pattern string, open func(t *testing.T, given []string) Peer, variants ...Variant) {
	t.Helper()
	Run(t, pattern, open)
	paths, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range variants {
		t.Run(v.Name, func(t *testing.T) {
			for _, path := range paths {
				if v.But != nil && v.But(strings.TrimSuffix(filepath.Base(path), ".txt")) {
					continue
				}
				Run(t, path, func(t *testing.T, given []string) Peer {
					return open(t, append(v.Given[:len(v.Given):len(v.Given)], given...))
				})
			}
		})
	}
}

func replay(t *testing.T, path string, open func(t *testing.T, given []string) Peer) {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	given := script.Given(lines)
	for _, mode := range []struct {
		name string
		send func(p []byte, send func([]byte))
	}{
		{"whole", func(p []byte, send func([]byte)) { send(p) }},
		{"byte by byte", func(p []byte, send func([]byte)) {
			for i := range p {
				send(p[i : i+1 : i+1])
			}
		}},
	} {
		peer := open(t, given)
		got, err := play(lines, peer, mode.send)
		peer.Close()
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if *update && mode.name == "whole" {
			if err := os.WriteFile(path, []byte(strings.Join(got, "\n")+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			lines = got
			continue
		}
		compare(t, path, mode.name, lines, got)
	}
}

// compare shows the first line that differs.
func compare(t *testing.T, path, mode string, want, got []string) {
	t.Helper()
	for i := range max(len(want), len(got)) {
		w, g := "(end)", "(end)"
		if i < len(want) {
			w = want[i]
		}
		if i < len(got) {
			g = got[i]
		}
		if w != g {
			t.Errorf("%s:%d, %s:\n got  %s\n want %s", path, i+1, mode, g, w)
			return
		}
	}
}

// play sends what the C and E lines say and gives the transcript with the S
// lines that came instead of those that were there.
func play(lines []string, peer Peer, deliver func([]byte, func([]byte))) (out []string, err error) {
	pending, to := []byte(nil), 0
	collect := func() {
		if to > 0 {
			deliver(pending, func(p []byte) { peer.Send(to, p) })
			pending, to = nil, 0
		}
		for session := 1; session <= Sessions; session++ {
			out = append(out, render(session, peer.Take(session))...)
		}
	}
	for n, line := range lines {
		kind, session, p, err := script.Parse(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
		switch kind {
		case 'S':
			// The answer is due: lines that were not followed by an S line wait
			// for what is sent next.
			collect()
			continue
		case 'C':
			if to != 0 && to != session {
				collect()
			}
			to, pending = session, append(pending, p...)
		case 'E':
			collect()
			peer.Event(string(p))
		}
		out = append(out, line)
	}
	collect()
	return out, nil
}

// render writes received bytes as S lines.
func render(session int, p []byte) (lines []string) {
	name := "S"
	if session > 1 {
		name += strconv.Itoa(session)
	}
	for len(p) > 0 {
		line, rest, whole := strings.Cut(string(p), "\r\n")
		p = []byte(rest)
		switch {
		case !whole:
			lines = append(lines, name+"! "+strconv.QuoteToASCII(line))
		case printable(line):
			lines = append(lines, strings.TrimRight(name+": "+line, " "))
		default:
			lines = append(lines, name+`" `+strconv.QuoteToASCII(line))
		}
	}
	return lines
}

// printable reports whether a line can stand in a transcript as it is; a space
// at its end could not be seen.
func printable(line string) bool {
	for _, r := range line {
		if r < 0x20 || r >= 0x7F && r < 0xA0 || r == 0xFFFD {
			return false
		}
	}
	return !strings.HasSuffix(line, " ")
}
