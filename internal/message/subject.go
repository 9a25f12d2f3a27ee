package message

import "strings"

// BaseSubject gives the base subject of RFC 5256 §2.1: the value of a Subject
// field, decoded, without the marks of replies, forwards and mailing lists.
// reply says that a mark of a reply or a forward was among what was removed
// (§3, THREAD, step 5). The work grows with the value's length alone.
func BaseSubject(value string) (base string, reply bool) {
	return BaseOfDecoded(DecodeHeaderString(value))
}

// BaseOfDecoded is BaseSubject of a value that is decoded.
func BaseOfDecoded(text string) (base string, reply bool) {
	s := collapse(text) // (1)
	for {
		var marked bool
		if s, marked = withoutTrailers(s); marked { // (2)
			reply = true
		}
		if s, marked = withoutLeaders(s); marked { // (3) to (5)
			reply = true
		}
		const forward, end = "[fwd:", "]"
		if !hasPrefixFold(s, forward) || !strings.HasSuffix(s, end) { // (6)
			return s, reply
		}
		s, reply = s[len(forward):len(s)-len(end)], true
	}
}

// collapse makes one space of each run of blanks; line ends count as blanks.
func collapse(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	blank := false
	for i := range len(s) {
		switch c := s[i]; c {
		case ' ', '\t', '\r', '\n':
			blank = true
		default:
			if blank {
				b.WriteByte(' ')
				blank = false
			}
			b.WriteByte(c)
		}
	}
	return b.String() // blanks at the end are a subj-trailer
}

// withoutTrailers removes every subj-trailer: "(fwd)" and blanks.
func withoutTrailers(s string) (string, bool) {
	const forwarded = "(fwd)"
	marked := false
	for {
		s = strings.TrimRight(s, " ")
		head := len(s) - len(forwarded)
		if head < 0 || !strings.EqualFold(s[head:], forwarded) {
			return s, marked
		}
		s, marked = s[:head], true
	}
}

// withoutLeaders removes every subj-leader, and each subj-blob in front that
// leaves something behind it. A run of blobs is looked at once: either a mark
// follows it, and all of it belongs to the leader, or none does.
func withoutLeaders(s string) (string, bool) {
	marked := false
	for {
		s = strings.TrimLeft(s, " ")
		run, last := 0, 0 // where the blobs end, and where the last of them begins
		for n := blobLen(s); n > 0; n = blobLen(s[run:]) {
			run, last = run+n, run
		}
		if n := markLen(s[run:]); n > 0 {
			s, marked = s[run+n:], true
			continue
		}
		if run == len(s) { // the last blob is the base itself
			return s[last:], marked
		}
		if run == 0 {
			return s, marked
		}
		s = s[run:]
	}
}

// blobLen is the length of the subj-blob in front of s, 0 if there is none.
func blobLen(s string) int {
	if s == "" || s[0] != '[' {
		return 0
	}
	end := strings.IndexAny(s[1:], "[]")
	if end < 0 || s[1+end] != ']' {
		return 0
	}
	n := end + 2
	for n < len(s) && s[n] == ' ' {
		n++
	}
	return n
}

// markLen is the length of the subj-refwd in front of s, 0 if there is none.
func markLen(s string) int {
	n := 0
	for _, word := range [...]string{"re", "fwd", "fw"} {
		if hasPrefixFold(s, word) {
			n = len(word)
			break
		}
	}
	if n == 0 {
		return 0
	}
	for n < len(s) && s[n] == ' ' {
		n++
	}
	n += blobLen(s[n:])
	if n == len(s) || s[n] != ':' {
		return 0
	}
	return n + 1
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
