package engine

import (
	"slices"
	"strconv"
	"strings"

	"rookery/internal/errkind"
)

// Bounds of keywords: the octets of one, those of one message, and the names
// that one mailbox knows.
const (
	maxKeywordSize = 255
	maxPerMessage  = 100
	maxKeywords    = 1024
)

// fold is the form in which keywords are compared: ASCII letters in lower case.
func fold(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] >= 'A' && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if b[i] >= 'A' && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// goodKeyword reports whether a name can be kept.
func goodKeyword(name string) bool {
	if name == "" || len(name) > maxKeywordSize {
		return false
	}
	return strings.IndexFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7F }) < 0
}

// checkKeywords refuses what no mailbox can keep.
func checkKeywords(op string, names []string) error {
	if len(names) > maxPerMessage {
		return errkind.Newf(op, errkind.Limit, "more than "+strconv.Itoa(maxPerMessage)+" keywords")
	}
	for _, k := range names {
		if !goodKeyword(k) {
			return errkind.Newf(op, errkind.Limit, "a keyword is longer than "+strconv.Itoa(maxKeywordSize)+" octets or no atom")
		}
	}
	return nil
}

// words are the keyword names that a mailbox knows, by their folded form.
type words struct {
	names []string // in the order in which they came
	by    map[string]string
}

func (w *words) add(name string) {
	if w.by == nil {
		w.by = map[string]string{}
	}
	if _, ok := w.by[fold(name)]; !ok {
		w.by[fold(name)] = name
		w.names = append(w.names, name)
	}
}

// spell gives names as the mailbox spells them, sorted, each once.
func (w *words) spell(names []string) []string {
	if len(names) == 0 {
		return nil
	}
	out := make([]string, 0, len(names))
	for _, n := range names {
		w.add(n)
		out = append(out, w.by[fold(n)])
	}
	slices.Sort(out)
	return slices.Compact(out)
}
