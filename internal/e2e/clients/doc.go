// Package clients tests whole servers with the programs that people use: curl,
// mbsync, fetchmail, mpop, mutt, Python's imaplib and poplib, a client library for
// Go, Postfix and procmail as deliverers, and dialogues as one types them. What the clients
// leave in the Maildir is compared byte for byte.
//
// A missing program fails the test where CI is "true", and elsewhere skips it
// with the name of the Debian package; scripts/install-test-tools installs all.
package clients
