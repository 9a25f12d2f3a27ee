// Gen writes docs/IMAP.md, whose path is its argument. `make generate` runs it; a
// test fails where the page differs from what it would write.
package main

import (
	"fmt"
	"os"

	"rookery/imapworker/internal/imapdoc"
	"rookery/imapworker/internal/session"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gen docs/IMAP.md")
		os.Exit(2)
	}
	if err := os.WriteFile(os.Args[1], []byte(imapdoc.Page(session.Words())), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}
