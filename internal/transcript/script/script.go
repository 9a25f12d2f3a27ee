// Package script reads the lines of transcripts; package transcript says what they look
// like and replays them against our own machines, package peers against other servers.
//
// It is pure and must never know a protocol.
package script

import (
	"fmt"
	"strconv"
	"strings"
)

// Sessions is how many sessions a transcript may have.
const Sessions = 4

// Parse reads one line of a transcript; kind is C, S, E or 0, for a comment or a line
// that describes the setup. Session counts from 1. p is what is sent or received, with
// CRLF at its end where a client's line has it, or the event's words.
func Parse(line string) (kind byte, session int, p []byte, err error) {
	if line == "" || line[0] == '#' || strings.HasPrefix(line, "given: ") {
		return 0, 0, nil, nil
	}
	kind, rest := line[0], line[1:]
	session = 1
	if len(rest) > 0 && rest[0] >= '1' && rest[0] <= '0'+Sessions {
		session, rest = int(rest[0]-'0'), rest[1:]
	}
	if len(rest) < 2 && rest != ":" || kind != 'C' && kind != 'S' && kind != 'E' {
		return 0, 0, nil, fmt.Errorf("cannot read %q", line)
	}
	mark, text := rest[0], strings.TrimPrefix(rest[1:], " ")
	switch mark {
	case ':':
		if kind == 'C' {
			text += "\r\n"
		}
		return kind, session, []byte(text), nil
	case '"', '!':
		raw, err := strconv.Unquote(text)
		return kind, session, []byte(raw), err
	}
	return 0, 0, nil, fmt.Errorf("cannot read %q", line)
}

// Given gives the words of the lines that describe the setup.
func Given(lines []string) (given []string) {
	for _, line := range lines {
		if words, ok := strings.CutPrefix(line, "given: "); ok {
			given = append(given, words)
		}
	}
	return given
}
