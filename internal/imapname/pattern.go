package imapname

import (
	"math/bits"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// MaxPattern is the longest pattern in bytes.
const MaxPattern = 1024

// Pattern is a list-mailbox pattern joined with its reference (RFC 3501
// §6.3.8): "*" matches anything, "%" anything within one level. Matching
// costs at most the name's length times the pattern's length by 64, whatever
// the pattern.
type Pattern struct {
	never bool
	text  []rune // wildcards are the runes below
	inbox []rune // the same with the letters of its first level in upper case, for INBOX
}

const (
	anything rune = -1 - iota // "*"
	oneLevel                  // "%"
)

// NewPattern is Dialect.Pattern with '/' between the levels.
func NewPattern(reference, pattern string, utf8Mode bool) Pattern {
	return Dialect{UTF8: utf8Mode}.Pattern(reference, pattern)
}

// Pattern joins reference and pattern as they came from the client. A
// pattern that is no valid name with wildcards matches nothing: it is never an
// error (RFC 3501 §6.3.8 lets a server return an empty answer).
func (d Dialect) Pattern(reference, pattern string) Pattern {
	if len(reference)+len(pattern) > MaxPattern {
		return Pattern{never: true}
	}
	joined := reference + pattern
	// RFC 3501 §6.3.8: a pattern that begins at the root ignores the reference.
	if strings.HasPrefix(pattern, d.separator()) {
		joined = pattern
	}
	joined, err := d.text(joined)
	if err != nil {
		return Pattern{never: true}
	}
	var p Pattern
	for _, r := range norm.NFC.String(joined) {
		switch r {
		case '*':
			r = anything
		case '%':
			r = oneLevel
		}
		// A run of wildcards matches what its strongest member matches.
		if n := len(p.text); r < 0 && n > 0 && p.text[n-1] < 0 {
			p.text[n-1] = max(p.text[n-1], r)
			continue
		}
		p.text = append(p.text, r)
	}
	p.inbox = upperInbox(p.text)
	return p
}

// Match reports whether the pattern matches the whole name.
func (p Pattern) Match(name Name) bool {
	matched, _ := p.run(name)
	return matched
}

// MatchBelow reports whether some name below name could match, so that LIST
// knows whether a hidden branch is worth a look.
func (p Pattern) MatchBelow(name Name) bool {
	_, more := p.run(name + Separator)
	return more
}

// Levels reports whether the pattern ends in "%": then parents that exist only
// by their children are shown too (RFC 3501 §6.3.8).
func (p Pattern) Levels() bool {
	return len(p.text) > 0 && p.text[len(p.text)-1] == oneLevel
}

// run matches by keeping the set of places in the pattern that the name so far
// can have led to, as bits.
func (p Pattern) run(name Name) (matched, more bool) {
	if p.never {
		return false, false
	}
	// RFC 3501 §5.1: "INBOX" in any case is INBOX
	if name == Inbox || strings.HasPrefix(string(name), Inbox+Separator) {
		return match(p.inbox, string(name))
	}
	return match(p.text, string(name))
}

// upperInbox gives text with its letters in upper case up to the first
// separator; INBOX itself is, so this makes the first level match in any case.
func upperInbox(text []rune) []rune {
	out := append([]rune(nil), text...)
	for i, r := range out {
		if r == '/' {
			break
		}
		if r >= 'a' && r <= 'z' {
			out[i] = r - 'a' + 'A'
		}
	}
	return out
}

func match(text []rune, name string) (matched, more bool) {
	if len(text) == 1 && text[0] == anything { // all names, the usual question
		return true, true
	}
	words := len(text)/64 + 1
	var few [2][4]uint64
	now, next := few[0][:], few[1][:]
	if words > len(now) {
		now, next = make([]uint64, words), make([]uint64, words)
	}
	now, next = now[:words], next[:words]
	set(now, 0)
	skipWildcards(text, now)
	for _, r := range name {
		clear(next)
		alive := false
		for w, word := range now {
			for ; word != 0; word &= word - 1 {
				i := w*64 + bits.TrailingZeros64(word)
				if i == len(text) {
					continue
				}
				switch t := text[i]; {
				case t == anything || t == oneLevel && r != '/':
					set(next, i)
					alive = true
				case t == r:
					set(next, i+1)
					alive = true
				}
			}
		}
		if !alive {
			return false, false
		}
		now, next = next, now
		skipWildcards(text, now)
	}
	end := uint64(1) << (len(text) % 64)
	matched = now[len(text)/64]&end != 0
	now[len(text)/64] &^= end
	for _, word := range now {
		more = more || word != 0
	}
	return matched, more
}

func set(now []uint64, i int) { now[i/64] |= 1 << (i % 64) }

// skipWildcards adds the place after each wildcard reached: both may match
// nothing. Runs of wildcards were joined, so one step is enough.
func skipWildcards(text []rune, now []uint64) {
	for i := range text {
		if text[i] < 0 && now[i/64]&(1<<(i%64)) != 0 {
			set(now, i+1)
		}
	}
}
