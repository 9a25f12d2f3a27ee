// Rookery-mailtool is started by rookery, never by hand; package mailtool is its manual.
package main

import (
	"os"

	"rookery/mailtool"
)

func main() { os.Exit(mailtool.Main()) }
