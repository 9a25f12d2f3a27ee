package hammer

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// view is what a client knows of the selected mailbox, made of nothing but what
// it was sent. Its methods tell which rule a response breaks.
type view struct {
	uids []uint32 // by sequence number; 0 is not known
}

// class says what a running command lets the server send (RFC 3501 §5.5, §7.4.1).
type class uint8

const (
	idle   class = iota // nothing runs: no EXPUNGE, sizes may grow
	steady              // FETCH, STORE, SEARCH: no EXPUNGE
	free                // all others, and IDLE
)

var (
	numbered = regexp.MustCompile(`^\* (\d+) (EXISTS|EXPUNGE|RECENT|FETCH)\b`)
	fetchUID = regexp.MustCompile(`\bUID (\d+)\b`)
)

// take checks one untagged line and takes it over.
func (v *view) take(line string, c class) error {
	m := numbered.FindStringSubmatch(line)
	if m == nil {
		return nil
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return fmt.Errorf("%q: %v", line, err)
	}
	switch m[2] {
	case "EXISTS":
		if n < len(v.uids) {
			return fmt.Errorf("EXISTS fell from %d to %d without EXPUNGE", len(v.uids), n)
		}
		v.uids = append(v.uids, make([]uint32, n-len(v.uids))...)
	case "RECENT":
		if n > len(v.uids) {
			return fmt.Errorf("%d RECENT of %d messages", n, len(v.uids))
		}
	case "EXPUNGE":
		if c != free {
			return fmt.Errorf("%q while a FETCH, STORE or SEARCH runs, or nothing (RFC 3501 §7.4.1)", line)
		}
		if n < 1 || n > len(v.uids) {
			return fmt.Errorf("%q of %d messages", line, len(v.uids))
		}
		v.uids = append(v.uids[:n-1], v.uids[n:]...)
	case "FETCH":
		if n < 1 || n > len(v.uids) {
			return fmt.Errorf("%.60q of %d messages", line, len(v.uids))
		}
		head, _, _ := strings.Cut(line, "\r\n") // not the bytes of a message
		if u := fetchUID.FindStringSubmatch(head); u != nil {
			return v.identify(n, u[1])
		}
	}
	return nil
}

// identify takes over that message n has a UID.
func (v *view) identify(n int, text string) error {
	u64, err := strconv.ParseUint(text, 10, 32)
	if err != nil || u64 == 0 {
		return fmt.Errorf("UID %q", text)
	}
	u := uint32(u64)
	if old := v.uids[n-1]; old != 0 && old != u {
		return fmt.Errorf("message %d had UID %d, now %d", n, old, u)
	}
	for i := n - 2; i >= 0; i-- {
		if b := v.uids[i]; b != 0 {
			if b >= u {
				return fmt.Errorf("UID %d of message %d is not above UID %d of message %d", u, n, b, i+1)
			}
			break
		}
	}
	for i := n; i < len(v.uids); i++ {
		if b := v.uids[i]; b != 0 {
			if b <= u {
				return fmt.Errorf("UID %d of message %d is not below UID %d of message %d", u, n, b, i+1)
			}
			break
		}
	}
	v.uids[n-1] = u
	return nil
}
