// Rookery-login is started by rookery, never by hand; package login is its manual.
package main

import (
	"os"

	"rookery/login"
)

func main() { os.Exit(login.Main()) }
