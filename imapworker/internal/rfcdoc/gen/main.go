// Gen makes the list of the RFCs' sections.
//
//	gen sections FOLDER        prints sections.txt, of the texts rfcN.txt of a folder
//	gen page TREE FILE         writes docs/IMAP-sections.md; `make generate` runs it
package main

import (
	"fmt"
	"os"

	"rookery/imapworker/internal/rfcdoc"
)

func main() {
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == "sections":
		err = sections(os.Args[2])
	case len(os.Args) == 4 && os.Args[1] == "page":
		err = page(os.Args[2], os.Args[3])
	default:
		fmt.Fprintln(os.Stderr, "usage: gen sections FOLDER | gen page TREE FILE")
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func page(tree, file string) error {
	text, err := makePage(tree)
	if err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

func makePage(tree string) (string, error) {
	all, err := rfcdoc.Sections()
	if err != nil {
		return "", err
	}
	shown, err := rfcdoc.ReadShown()
	if err != nil {
		return "", err
	}
	transcripts, err := rfcdoc.Transcripts(os.DirFS(tree))
	if err != nil {
		return "", err
	}
	return rfcdoc.Page(all, shown, rfcdoc.BySection(transcripts)), nil
}
