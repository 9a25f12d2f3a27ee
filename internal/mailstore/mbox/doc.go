// Package mbox keeps mail in mbox files (RFC 4155), read and written beside
// other programs that deliver into them and change them.
//
// Workers open a store with Open; package engine has everything that is no
// matter of the format, mboxfmt the bytes of it. The package must never know a protocol.
//
// # What lies where
//
// Messages, their UIDs, flags and keywords, and the mailbox's UIDVALIDITY and
// last UID lie in the mbox itself, in the headers that c-client and Dovecot
// know (mboxfmt). Control files, in the control directory:
//
//	rookery-mboxes       identity of each mailbox, and its UIDs while it is empty (records.go)
//	rookery-mbox-redo    the journal of changes in the midst of a file (redo.go)
//	rookery-mbox-rename  only while a RENAME is under way (rename.go)
//	rookery-mbox-lock    a lock file is a second name of it (lock.go)
//
// # Changes
//
// A new message gets its metadata headers, with its UID, when it is first seen,
// before any client is told of it. Flags change in place, with no sync before the answer
// (with one within a second; mail_fsync = "always": before it). Appending,
// giving UIDs and expunging go through the journal, step by step, so that after a crash at
// any moment the file can be mended: see mover. Whoever takes the lock next does it.
//
// # Locks
//
// Every writer holds the user's lock, then the mbox's, each of WriteLocks in its
// order, then the journal. Readers of messages hold ReadLocks while they copy one.
// No lock is held while another is waited for (see lock), but the user's.
package mbox
