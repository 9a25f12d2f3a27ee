package main

import (
	"os"
	"slices"
	"testing"
)

func TestPageAgrees(t *testing.T) {
	want, err := makePage("../../../..")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile("../../../../docs/IMAP-sections.md"); err != nil || string(got) != want {
		t.Errorf("docs/IMAP-sections.md differs from the transcripts (%v); run make generate", err)
	}
}

func TestSectionsOf(t *testing.T) {
	const text = `Network Working Group                                        Somebody

Conventions

   The key words "MUST" and "SHALL" are to be interpreted.

1.  Introduction ..................................................  2
1.  Introduction

   A server MUST do it.  It MUST
   NOT do more, [PRIVACYREQUIRED]

Somebody                    Standards Track                     [Page 1]
` + "\f" + `
RFC 9999                         Something                     May 2026

   and SHALL stop.  That is REQUIRED; you must know.

1.1.  More|than one

   1. Not a section MUST be seen here.

1.2.  8-Bit Strings

   20 of them MUST be read.

Appendix B.  List

   MUST (specification requirement term)  Section 1

B.1.  Last
`
	want := []section{{"1", "Introduction", 4}, {"1.1", `More\|than one`, 1}, {"1.2", "8-Bit Strings", 1}, {"B", "List", 0}, {"B.1", "Last", 0}}
	if got := sectionsOf(text); !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
}
