// Rookery-imapworker serves one user's IMAP sessions; package imapworker is its
// manual.
package main

import (
	"os"

	"rookery/imapworker"
)

func main() { os.Exit(imapworker.Main()) }
