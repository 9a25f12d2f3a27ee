// Package imapdoc is the page on what IMAP offers here: docs/IMAP.md, made of one
// row for each word of CAPABILITY.
//
// Its generator calls it, and tests: one that each word the session can offer has
// a row, one that the page in the tree is the one made of the rows. It must never
// be part of a program.
package imapdoc

import (
	"fmt"
	"slices"
	"strings"
)

//go:generate go run ./gen ../../../docs/IMAP.md

// Row tells of one word of CAPABILITY.
type Row struct {
	Word string
	RFC  string // where it is defined
	When string // when it is offered; "" for always, after login
	Text string // what was chosen where the text leaves freedom
}

// open reports whether the row is of all words that begin so.
func (r Row) open() bool { return strings.HasSuffix(r.Word, "=") || strings.HasSuffix(r.Word, "-") }

// Find gives the row of a word; "APPENDLIMIT=1000" has that of "APPENDLIMIT=".
func Find(word string) (Row, bool) {
	for _, r := range Rows {
		if r.Word == word || r.open() && strings.HasPrefix(word, r.Word) {
			return r, true
		}
	}
	return Row{}, false
}

// Page makes the page, of the rows of the words that are offered.
func Page(offered []string) string {
	var b strings.Builder
	b.WriteString(intro)
	for _, r := range Rows {
		if !slices.ContainsFunc(offered, func(word string) bool { found, ok := Find(word); return ok && found.Word == r.Word }) {
			continue
		}
		when := r.When
		if when == "" {
			when = "always"
		}
		name := r.Word
		if r.open() {
			name += "…"
		}
		fmt.Fprintf(&b, "\n### `%s`\n\n%s. Offered: %s.\n", name, r.RFC, when)
		if r.Text != "" {
			fmt.Fprintf(&b, "\n%s\n", r.Text)
		}
	}
	b.WriteString(rest)
	b.WriteString("\n| syntax | where | answer | in its place |\n|---|---|---|---|\n")
	for _, o := range Obsolete {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", o.Syntax, o.Where, o.Answer, o.Instead)
	}
	return b.String()
}

// Old is a piece of syntax that is no longer IMAP's.
type Old struct{ Syntax, Where, Answer, Instead string }
