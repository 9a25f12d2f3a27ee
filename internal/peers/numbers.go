package peers

import (
	"regexp"
	"strconv"
	"strings"

	"rookery/internal/numset"
)

// values knows which number of the peer stands for one of the transcript's: of
// mod-sequences and UIDVALIDITY, which each server gives as it likes.
type values struct {
	modseq, validity map[uint64]uint64
}

var (
	saysModSeq   = regexp.MustCompile(`(?i)(?:HIGHESTMODSEQ|MODSEQ) \(?(\d+)`)
	saysValidity = regexp.MustCompile(`(?i)(?:UIDVALIDITY|APPENDUID|COPYUID) (\d+)`)
	fetchOf      = regexp.MustCompile(`(?i)^\* (\d+) (?:UID)?FETCH `)
	asksModSeq   = regexp.MustCompile(`(?i)((?:UN)?CHANGEDSINCE |\bMODSEQ (?:"[^"]*" [a-z]+ )?)(\d+)`)
	asksResync   = regexp.MustCompile(`(?i)(QRESYNC \()(\d+) (\d+)`)
)

// learn pairs the numbers of two answers: of the same kind of response, and of the same
// message.
func (v *values) learn(want, got []string) {
	if v.modseq == nil {
		v.modseq, v.validity = map[uint64]uint64{}, map[uint64]uint64{}
	}
	for _, w := range want {
		for _, g := range got {
			if !alike(w, g) {
				continue
			}
			pair(v.modseq, saysModSeq, w, g)
			pair(v.validity, saysValidity, w, g)
		}
	}
}

// alike reports whether two responses speak of the same thing.
func alike(w, g string) bool {
	a, b := fetchOf.FindStringSubmatch(w), fetchOf.FindStringSubmatch(g)
	if a != nil || b != nil {
		return a != nil && b != nil && a[1] == b[1]
	}
	s, ok := status(w)
	t, ok2 := status(g)
	if ok || ok2 {
		return ok && ok2 && s.Code == t.Code && s.Code != ""
	}
	f, h := strings.Fields(w), strings.Fields(g)
	return len(f) > 2 && len(h) > 2 && f[1] == h[1] && strings.Trim(f[2], `"`) == strings.Trim(h[2], `"`)
}

func pair(to map[uint64]uint64, says *regexp.Regexp, w, g string) {
	a, b := says.FindStringSubmatch(w), says.FindStringSubmatch(g)
	if a == nil || b == nil {
		return
	}
	x, err := strconv.ParseUint(a[1], 10, 64)
	y, err2 := strconv.ParseUint(b[1], 10, 64)
	if err == nil && err2 == nil {
		to[x] = y
	}
}

// real is the peer's number for one of the transcript's. What was not told is as far
// above the next one below as it is here; what is no number of such kind stays.
func real(known map[uint64]uint64, n uint64) uint64 {
	if y, ok := known[n]; ok || n < 100 || n > 1<<40 {
		if ok {
			return y
		}
		return n
	}
	below, found, most := uint64(0), false, uint64(0)
	for k := range known {
		most = max(most, k)
		if k < n && (!found || k > below) {
			below, found = k, true
		}
	}
	switch {
	case !found:
		return n
	case below == most: // above all: above all there, too
		return known[below] + (n - below)
	}
	return known[below]
}

// put writes the peer's numbers into a command.
func (v *values) put(p []byte) []byte {
	number := func(known map[uint64]uint64, s string) string {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return s
		}
		return strconv.FormatUint(real(known, n), 10)
	}
	s := asksResync.ReplaceAllStringFunc(string(p), func(m string) string {
		f := asksResync.FindStringSubmatch(m)
		return f[1] + number(v.validity, f[2]) + " " + number(v.modseq, f[3])
	})
	s = asksModSeq.ReplaceAllStringFunc(s, func(m string) string {
		f := asksModSeq.FindStringSubmatch(m)
		return f[1] + number(v.modseq, f[2])
	})
	return []byte(s)
}

// asked are the messages that a FETCH or STORE by sequence numbers names; ok is false for
// other commands, and where "*" is among them.
func asked(command string) (set numset.Set, ok bool) {
	f := strings.Fields(command)
	if len(f) < 2 || f[0] != "FETCH" && f[0] != "STORE" {
		return set, false
	}
	e, err := numset.Parse([]byte(f[1]), 1000)
	return e.Resolve(4294967295), err == nil && !e.HasSaved() && !e.HasStar()
}
