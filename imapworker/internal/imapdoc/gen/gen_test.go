package main

import (
	"os"
	"slices"
	"testing"

	"rookery/imapworker/internal/imapdoc"
	"rookery/imapworker/internal/session"
)

// Each word that is offered has a row, once.
func TestEachWordHasARow(t *testing.T) {
	for _, word := range session.Words() {
		if _, ok := imapdoc.Find(word); !ok {
			t.Errorf("%s is offered and has no row in imapdoc", word)
		}
	}
	var seen []string
	for _, r := range imapdoc.Rows {
		if slices.Contains(seen, r.Word) || r.Word == "" || r.RFC == "" {
			t.Errorf("row %+v", r)
		}
		seen = append(seen, r.Word)
	}
}

func TestPageAgrees(t *testing.T) {
	got, err := os.ReadFile("../../../../docs/IMAP.md")
	if err != nil || string(got) != imapdoc.Page(session.Words()) {
		t.Errorf("docs/IMAP.md differs from the rows (%v); run make generate", err)
	}
}
