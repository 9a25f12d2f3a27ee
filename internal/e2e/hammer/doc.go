// Package hammer has one user's mailbox used by everything at once: many IMAP
// sessions, POP3 sessions and the operator's tool, each in a process of its own,
// a program that delivers, a program that renames and deletes files, and one that
// deletes, cuts and garbles index files.
//
// Every response of every IMAP session is checked against what RFC 3501 allows
// (view), every message that anybody reads against what its UID named before, and
// in the end the mailbox against a ledger of all that was acknowledged.
package hammer
